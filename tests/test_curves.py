import math
import re
from xml.etree import ElementTree

import pytest

from mtml_tf.drawing.curves import encode_curves


def lines_of(svg):
    root = ElementTree.fromstring(svg)
    return [
        [tuple(map(float, point.split(","))) for point in line.get("points").split()]
        for line in root.iter("{http://www.w3.org/2000/svg}polyline")
    ]


def test_higher_values_lie_higher_and_equal_ones_level():
    (line,) = lines_of(encode_curves("t", "x", "y", [0, 1, 3], {"a": [0.2, 0.4, 0.4]}))
    (x0, y0), (x1, y1), (x2, y2) = line
    assert y1 == y2 < y0
    assert x2 - x1 == pytest.approx(2 * (x1 - x0), abs=0.2)


def test_a_missing_value_leaves_a_gap():
    svg = encode_curves("t", "x", "y", [0, 1, 2, 3], {"a": [0.2, math.nan, 0.4, 0.4]})
    before, after = lines_of(svg)
    assert (len(before), len(after)) == (1, 2)
    assert svg.count("<circle") == 3
    assert lines_of(encode_curves("t", "x", "y", [0], {"a": [math.nan]})) == []


def test_every_series_has_its_name_and_a_color_of_its_own():
    svg = encode_curves("t", "x", "y", [0, 1], {"a<b": [0, 1], "c": [1, 0]})
    assert "a&lt;b" in svg
    assert len(set(re.findall(r'stroke="(#\w+)" stroke-width="2"', svg))) == 2


def test_one_place_and_zeros_alone_can_be_drawn():
    assert len(lines_of(encode_curves("t", "x", "y", [5], {"a": [0.0]}))[0]) == 1


def test_no_place_and_a_series_of_another_length_are_refused():
    with pytest.raises(ValueError, match="expected at least one place on the axis, found none"):
        encode_curves("t", "x", "y", [], {})
    with pytest.raises(ValueError, match="chart 't': expected 2 values in 'a', found 1"):
        encode_curves("t", "x", "y", [0, 1], {"a": [1]})
