"""The page of a view in a real browser: it opens without errors, and draws what it should."""

import dataclasses
import pathlib

import browser
import numpy as np
import pytest
from scenes import CLASSES, box_scene

from mtml_tf.drawing.view import scan_view
from mtml_tf.drawing.view_html import write_view
from mtml_tf.scene import Instance, Scene

pytestmark = pytest.mark.skipif(
    browser.find_browser() is None,
    reason="no browser; as root type: apt-get install -y --no-install-recommends chromium",
)

MODES = [
    *("colour", "semantic input", "ground truth", "instances"),
    *("embedding", "direction", "mistakes"),
]
SIZE = (640, 320)
_HEADER, _SIDE = 150, 270  # pixels, more than the page's header and exactly its list


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of a scan with all modes and three predictions: one right, two halves."""
    voxels = box_scene(1, "<i>room</i>", num_objects=2)
    rng = np.random.default_rng(0)
    points = voxels.origin + (voxels.coordinates + 0.5) * voxels.voxel_size
    first, second = (np.flatnonzero(voxels.instance_ids == number) for number in (1, 2))
    class_ids = [int(voxels.semantic_ids[rows[0]]) for rows in (first, second)]
    halves = np.array_split(second, 2)
    scene = Scene(
        voxels.name,
        points,
        colors=rng.integers(0, 255, points.shape, np.uint8),
        semantic_ids=voxels.semantic_ids,
        instance_ids=voxels.instance_ids,
    )
    instances = [
        Instance(class_ids[0], 0.9, first.astype(np.int32)),
        Instance(class_ids[1], 0.6, halves[0].astype(np.int32)),
        Instance(class_ids[1], 0.3, halves[1].astype(np.int32)),
    ]
    view = scan_view(
        scene,
        instances,
        CLASSES,
        embedding=rng.normal(size=(len(points), 4)),
        direction=rng.normal(size=points.shape),
        min_vertices=1,
    )
    path = tmp_path_factory.mktemp("view") / "view.html"
    write_view(path, view)
    return path, view


def scene_of(image):
    """The part of a screenshot that shows the points."""
    return image[_HEADER:, :-_SIDE].astype(int)


def differing(one, other):
    """The share of pixels that differ clearly."""
    return float((np.abs(scene_of(one) - scene_of(other)).max(axis=-1) > 24).mean())


@pytest.fixture(scope="module")
def pictures(page):
    """Screenshots by what follows `#` in the address."""
    fragments = [f"mode={mode.replace(' ', '+')}" for mode in MODES]
    fragments.append("mode=instances&hide=1")
    return dict(zip(fragments, browser.screenshots(page[0], fragments, SIZE), strict=True))


def test_the_page_opens_without_errors_and_shows_all_points(page):
    path, view = page
    state = browser.read_state(path)
    assert state["errors"] == ""
    assert (state["state"], state["mode"]) == ("drawn", "instances")
    assert int(state["points"]) == len(view.points)


def test_a_link_leads_to_a_mode_without_some_instances_and_without_what_lies_above(page):
    path, view = page
    state = browser.read_state(path, "mode=mistakes&hide=1,3&rest=0&top=0.12")
    assert (state["errors"], state["mode"]) == ("", "mistakes")
    members = view.instances[1].indices
    heights = view.points[members, 2] - view.points[:, 2].min()
    assert int(state["points"]) == int((heights < 0.12).sum()) < len(members)


def test_a_scene_far_from_the_origin_looks_the_same(page, pictures, tmp_path):
    _, view = page
    far = dataclasses.replace(view, points=view.points + np.array([4e5, 5e6, 100]))
    write_view(tmp_path / "far.html", far)
    (shot,) = browser.screenshots(tmp_path / "far.html", ["mode=instances"], SIZE)
    assert differing(shot, pictures["mode=instances"]) < 0.03  # rounding at the edges of points


def test_a_page_with_an_error_says_so(page, tmp_path):
    broken = tmp_path / "broken.html"
    text = pathlib.Path(page[0]).read_text(encoding="utf-8")
    broken.write_text(text.replace('"step": [', '"steps": ['), encoding="utf-8")
    state = browser.read_state(broken)
    assert "TypeError" in state["errors"]
    assert "state" not in state


def test_each_mode_draws_and_looks_different(pictures):
    shown = [pictures[f"mode={mode.replace(' ', '+')}"] for mode in MODES]
    for mode, image in zip(MODES, shown, strict=True):
        drawn = (scene_of(image) < 245).any(axis=-1).mean()
        assert drawn > 0.1, mode
    for i, one in enumerate(shown):
        for j, other in enumerate(shown[:i]):
            assert differing(one, other) > 0.004, (MODES[i], MODES[j])


def test_switching_instances_off_in_the_list_changes_the_picture(pictures):
    everything = pictures["mode=instances"]
    assert differing(everything, everything) == 0
    without_first = pictures["mode=instances&hide=1"]
    assert differing(everything, without_first) > 0.004
