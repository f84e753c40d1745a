"""Tests of mtml_tf.drawing.view and of the page that view_html makes of a view."""

import base64
import dataclasses
import json
import math
import re
import sys

import numpy as np
import pytest
from scenes import BOX, CLASSES, FLOOR, TOWER

from mtml_tf.classes import ClassSet
from mtml_tf.drawing.pictures import STUFF_COLOR, class_colors, instance_colors
from mtml_tf.drawing.view import View, draw_view, scan_view
from mtml_tf.drawing.view_html import encode_html, plotly_script, thin, write_view
from mtml_tf.scene import Instance, Scene

# Ten points of floor, a box of four, a tower of six.
SEMANTIC = np.repeat([FLOOR, BOX, TOWER], (10, 4, 6)).astype(np.int32)
INSTANCE = np.repeat([0, 700, 4], (10, 4, 6)).astype(np.int32)
VERTICES = np.random.default_rng(0).uniform(-1, 1, (20, 3))
BOX_ROWS, TOWER_ROWS = np.arange(10, 14, dtype=np.int32), np.arange(14, 20, dtype=np.int32)


def scan(**changes):
    arrays = {
        "colors": np.arange(60, dtype=np.uint8).reshape(20, 3),
        "semantic_ids": SEMANTIC,
        "instance_ids": INSTANCE,
    }
    return Scene("room", VERTICES, **{**arrays, **changes})


def data_of(page):
    """Returns what the page's script reads."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    return json.loads(text)


def decode(text, dtype):
    return np.frombuffer(base64.b64decode(text), dtype)


def simple_view(count=20, **changes):
    points = np.random.default_rng(1).uniform(0, 3, (count, 3))
    values = {
        "title": "room",
        "points": points,
        "modes": {"plain": np.full((count, 3), 9, np.uint8)},
        "hover": None,
        "instances": [],
        "class_names": {},
    }
    return View(**{**values, **changes})


def test_a_scan_has_a_mode_for_all_that_is_known_of_it():
    found = [Instance(TOWER, 0.9, TOWER_ROWS), Instance(BOX, 0.4, np.arange(4, dtype=np.int32))]
    view = scan_view(
        scan(),
        found,
        CLASSES,
        embedding=np.random.default_rng(0).normal(size=(20, 4)),
        direction=np.ones((20, 3)),
        min_vertices=1,
    )
    assert list(view.modes) == [
        *("colour", "semantic input", "ground truth", "instances"),
        *("embedding", "direction", "mistakes"),
    ]
    np.testing.assert_array_equal(view.modes["colour"], scan().colors)
    np.testing.assert_array_equal(view.modes["semantic input"], class_colors(SEMANTIC, CLASSES))
    # The found tower has the colour of the true one, the false box another than the true box.
    truth, predicted = view.modes["ground truth"], view.modes["instances"]
    np.testing.assert_array_equal(truth[TOWER_ROWS], predicted[TOWER_ROWS])
    assert tuple(predicted[0]) not in map(tuple, [*truth, STUFF_COLOR])
    for name in ("embedding", "direction"):
        assert (view.modes[name][:10] == STUFF_COLOR).all()
        assert (view.modes[name][10:] != STUFF_COLOR).any()
    assert dict(view.legends["mistakes"]).keys() >= {"found: 1", "missed: 1", "false: 0"}
    assert [label for label, _ in view.legends["semantic input"]] == ["box", "tower", "floor"]


def test_points_tell_input_truth_and_prediction():
    view = scan_view(scan(), [Instance(TOWER, 0.876, TOWER_ROWS)], CLASSES, min_vertices=1)
    assert view.hover[0] == "input: floor\ntruth: floor"
    assert view.hover[10] == "input: box\ntruth: box 2, missed"
    assert view.hover[19] == "input: tower\ntruth: tower 1, found\ninstance 1: tower, score 0.88"


def test_without_predictions_the_true_instances_are_listed_without_a_score():
    view = scan_view(scan(), [], CLASSES)
    assert [instance.class_id for instance in view.instances] == [BOX, TOWER]
    assert all(math.isnan(instance.score) for instance in view.instances)
    np.testing.assert_array_equal(view.instances[0].indices, BOX_ROWS)
    assert "mistakes" not in view.modes
    assert [i["score"] for i in data_of(encode_html(view))["instances"]] == [None, None]


def test_predictions_are_listed_best_first_and_the_better_one_is_seen():
    worse, better = Instance(BOX, 0.2, TOWER_ROWS), Instance(TOWER, 0.7, TOWER_ROWS)
    view = scan_view(scan(instance_ids=None), [worse, better], CLASSES)
    assert [instance.score for instance in view.instances] == [0.7, 0.2]
    np.testing.assert_array_equal(
        view.modes["instances"][TOWER_ROWS], instance_colors(np.ones(6, int))
    )


@pytest.mark.parametrize(
    ("changes", "found", "opening"),
    [
        ({}, [Instance(TOWER, 0.5, TOWER_ROWS)], "instances"),
        ({}, [], "ground truth"),
        ({"instance_ids": np.zeros(20, np.int32)}, [], "colour"),
        ({"instance_ids": None}, [], "colour"),
        ({"instance_ids": None, "colors": None}, [], "semantic input"),
    ],
    ids=["predicted", "true", "no objects", "no truth", "labels alone"],
)
def test_a_page_opens_on_the_instances_where_there_are_any(changes, found, opening):
    view = scan_view(scan(**changes), found, CLASSES)
    data = data_of(encode_html(view))
    assert data["opening"] == opening
    assert [mode["name"] for mode in data["modes"]] == list(view.modes)


def test_ground_truth_given_apart_goes_before_the_scans_own():
    truth = np.where(np.arange(20) < 10, BOX * 1000 + 3, 0)
    view = scan_view(scan(), [], CLASSES, truth=truth)
    assert [instance.indices.tolist() for instance in view.instances] == [list(range(10))]
    with pytest.raises(ValueError, match="scene room: expected ground truth for 20 vertices"):
        scan_view(scan(), [], CLASSES, truth=truth[:9])


def test_a_bare_cloud_is_colored_by_height():
    view = scan_view(Scene("bare", VERTICES), [], CLASSES)
    assert list(view.modes) == ["height"]
    heights = view.modes["height"][np.argsort(VERTICES[:, 2])].astype(int)
    assert (np.diff(heights[:, 0]) >= 0).all()
    assert np.ptp(heights[:, 0]) > 100
    assert set(view.hover) == {""}


def test_a_single_point_makes_a_page():
    one = Scene("one", np.zeros((1, 3)), semantic_ids=np.array([BOX], np.int32))
    assert data_of(encode_html(scan_view(one, [], CLASSES)))["total"] == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": np.zeros((0, 3))}, "room: expected at least one point and one mode to show"),
        ({"modes": {}}, "found 20 points and 0 modes"),
        ({"modes": {"x": np.zeros((3, 3), np.uint8)}}, "expected 20 rows in mode 'x', found 3"),
        ({"hover": ["a"]}, "expected 20 rows in hover, found 1"),
        (
            {"instances": [Instance(1, 0.5, np.array([20], np.int32))]},
            "expected rows of instances from 0 to 19, found 20 to 20",
        ),
    ],
)
def test_a_view_that_does_not_fit_together_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        simple_view(**changes)


def test_selected_points_keep_what_belongs_to_them():
    view = scan_view(scan(), [], CLASSES).select(np.array([3, 11, 13, 19]))
    np.testing.assert_array_equal(view.points, VERTICES[[3, 11, 13, 19]])
    assert [instance.indices.tolist() for instance in view.instances] == [[1, 2], [3]]
    assert view.hover[1].startswith("input: box")
    assert view.of_points == 20


def test_thinning_is_repeatable_even_and_keeps_every_instance():
    small = Instance(1, 0.5, np.arange(7, 12, dtype=np.int32))
    large = Instance(1, 0.5, np.arange(100, 5000, dtype=np.int32))
    view = simple_view(5000, instances=[small, large])
    once, twice = thin(view, 500), thin(view, 500)
    np.testing.assert_array_equal(once.points, twice.points)
    assert len(once.points) == 500
    assert len(once.instances[0].indices) == 5
    assert 400 < len(once.instances[1].indices) < 500
    assert len(thin(view, 3).points) == 25
    assert thin(view, 5000) is view


def test_the_page_says_how_many_points_of_how_many_it_shows():
    data = data_of(encode_html(simple_view(3000), max_points=100))
    assert data["total"] == 3000
    assert len(decode(data["points"], "<u2")) == 300


def test_a_page_is_thinned_until_it_is_small_enough():
    rng = np.random.default_rng(0)
    modes = {f"mode {i}": rng.integers(0, 255, (20_000, 3), np.uint8) for i in range(7)}
    view = simple_view(20_000, modes=modes)
    allowed = len(encode_html(simple_view())) + 200_000
    page = encode_html(view, max_bytes=allowed)
    assert allowed * 0.95 < len(page.encode()) <= allowed
    with pytest.raises(ValueError, match="room: expected a page of at most 9 bytes, found"):
        encode_html(view, max_bytes=9)


def test_the_page_holds_points_colors_and_texts():
    view = scan_view(scan(), [Instance(TOWER, 0.5, TOWER_ROWS)], CLASSES)
    data = data_of(encode_html(view))
    places = decode(data["points"], "<u2").reshape(-1, 3)
    np.testing.assert_allclose(places * data["step"], VERTICES - VERTICES.min(axis=0), atol=2e-5)
    for mode in data["modes"]:
        rgb = decode(mode.get("rgb", mode.get("palette")), np.uint8).reshape(-1, 3)
        if "index" in mode:
            rgb = rgb[decode(mode["index"], np.uint8)]
        np.testing.assert_array_equal(rgb, view.modes[mode["name"]])
    texts = np.array(data["hover"]["texts"])[decode(data["hover"]["index"], "<u4")]
    assert texts.tolist() == list(view.hover)
    (instance,) = data["instances"]
    np.testing.assert_array_equal(decode(instance["members"], "<u4"), TOWER_ROWS)
    assert instance["color"] == view.modes["instances"][14].tolist()
    assert (instance["name"], instance["score"]) == ("tower", 0.5)


def test_many_colors_are_kept_as_they_are():
    colors = np.random.default_rng(0).integers(0, 255, (1000, 3), np.uint8)
    (mode,) = data_of(encode_html(simple_view(1000, modes={"many": colors})))["modes"]
    np.testing.assert_array_equal(decode(mode["rgb"], np.uint8).reshape(-1, 3), colors)


def test_names_cannot_become_markup():
    bad = "</script><script>alert(1)</script><!--&"
    classes = ClassSet((FLOOR, BOX, TOWER), (bad, bad, bad), ("stuff", "thing", "thing"))
    scene = dataclasses.replace(scan(), name=bad)
    clean, page = (
        encode_html(scan_view(scan(), [], CLASSES)),
        encode_html(scan_view(scene, [], classes)),
    )
    for tag in ("<script", "</script", "<!--"):
        assert page.count(tag) == clean.count(tag)
    assert "<title>&lt;/script&gt;" in page
    assert data_of(page)["instances"][0]["name"] == bad


def test_the_page_asks_for_nothing_from_elsewhere():
    page = encode_html(simple_view())
    assert not re.search(r"<(?:script|link|img|iframe)[^>]*\s(?:src|href)=", page)


def test_an_existing_page_is_not_replaced_unasked(tmp_path):
    path = tmp_path / "view.html"
    path.write_text("mine")
    with pytest.raises(ValueError, match=r"view\.html: exists already"):
        write_view(path, simple_view())
    assert path.read_text() == "mine"
    write_view(path, simple_view(), overwrite=True)
    assert path.read_text().startswith("<!DOCTYPE html>")


def test_slopes_are_darker_than_the_floor():
    x, y = (each.ravel() for each in np.meshgrid(np.arange(20.0), np.arange(20.0)))
    floor, wall = np.stack([x, y, 0 * x], axis=1), np.stack([0 * x + 40, x, y], axis=1)
    light = decode(
        data_of(encode_html(simple_view(800, points=np.concatenate([floor, wall]))))["light"],
        np.uint8,
    )
    assert light[:400].min() > light[400:].max() + 20


def test_a_picture_shows_the_modes_side_by_side():
    view = scan_view(scan(), [], CLASSES)
    assert draw_view(view, 50).shape[1] == 150
    boxes = dataclasses.replace(simple_view(), voxel_size=0.5)
    assert draw_view(boxes, 60, ["plain"]).shape[1] == 60
    with pytest.raises(ValueError, match=r"room: expected modes of \['plain'\], found 'x'"):
        draw_view(boxes, 60, ["x"])


def test_without_plotly_one_sentence_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly", None)
    plotly_script.cache_clear()
    with pytest.raises(ImportError, match="the page needs plotly, which comes with open3d"):
        encode_html(simple_view())
