import numpy as np
import pytest

from mtml_tf.scans import contact
from mtml_tf.scans.toy import EDGES

EAST = np.array([1.0, 0.0])


def test_an_unturned_box_has_its_edges_number_of_cells():
    for edges in EDGES.values():
        for centre in ([32.0, 32.0], [20.3, 40.77]):
            footprint = contact.box_footprint((64, 64), np.array(centre), edges, yaw=0.0)
            rows, columns = np.flatnonzero(footprint.any(1)), np.flatnonzero(footprint.any(0))
            assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == edges[:2]
            assert footprint.sum() == edges[0] * edges[1]


def in_a_line(*cells):
    line = np.zeros((20, 1), bool)
    line[list(cells)] = True
    return line


def two_cells(place):
    return in_a_line(int(place[0]), int(place[0]) + 1)


def along(*places):
    return [np.array([place, 0.0]) for place in places]


def test_on_the_way_out_the_first_gap_counts_and_on_the_way_in_the_last_place_before_the_object():
    standing = in_a_line(5, 6, 9, 10)
    outward = along(*range(5, 15))
    assert contact.first_free(outward, two_cells, standing)[0] == 7
    assert contact.last_free(outward[::-1], two_cells, standing)[0] == 11


def test_without_a_free_place_there_is_none():
    standing = in_a_line(5, 6, 7)
    assert contact.first_free(along(5, 6), two_cells, standing) is None
    assert contact.last_free(along(5, 8), two_cells, standing) is None
    assert contact.first_free([], two_cells, standing) is None


def square(x, y, edge=0.1, spacing=0.005):
    steps = np.arange(0, edge + 1e-9, spacing) - edge / 2
    return np.stack(np.meshgrid(steps + x, steps + y), axis=-1).reshape(-1, 2)


@pytest.mark.parametrize("gap", [0.0, 0.004, 0.03])
def test_points_stop_at_the_gap_from_the_nearest_of_what_stands(gap):
    standing = np.concatenate([square(0, 0), square(0.3, 0)])
    shift = contact.slide_points(standing, square(0, 0), np.zeros(2), EAST, gap)
    np.testing.assert_allclose(shift, [0.4 + gap, 0], atol=6e-4)


def test_points_that_meet_nothing_on_their_way_have_no_place():
    standing = square(0, 0.5)
    assert contact.slide_points(standing, square(0, 0), np.zeros(2), EAST, 0.01) is None
