"""The example scans: what they look like, and that a seed settles them."""

import subprocess
import sys

import numpy as np
import pytest
from coarse_rooms import coarse_settings

from mtml_tf.classes import SCANNET20
from mtml_tf.rooms import examples
from mtml_tf.scans import scan, toy
from mtml_tf.scans.voxels import voxelize

COARSE = coarse_settings(5)


def test_the_toy_example_has_one_vertex_in_each_voxel_of_the_scene():
    scene = examples.make_toy_example(3)
    (voxels,) = toy.make_toy_scenes("example", 1, 3, toy.ToyConfig())
    again = voxelize(scene, 0.1, toy.TOY_CLASSES)
    np.testing.assert_array_equal(again.coordinates, voxels.coordinates)
    np.testing.assert_array_equal(again.semantic_ids, voxels.semantic_ids)
    np.testing.assert_array_equal(again.instance_ids, voxels.instance_ids)


@pytest.mark.parametrize("seed", [0, 3])
def test_the_tabletop_example_shows_enough_of_each_object(seed):
    scene = examples.make_tabletop_example(seed)
    counts = np.bincount(scene.instance_ids)
    assert 4 <= len(counts) - 1 <= 6
    assert counts.min() >= 1200
    is_object = scene.instance_ids > 0
    np.testing.assert_array_equal(
        scene.semantic_ids, np.where(is_object, examples.OBJECT, examples.TABLE)
    )
    table = scene.vertices[~is_object]
    assert abs(table[:, 2].mean()) < 5e-4
    assert 1e-3 < table[:, 2].std() < 2e-3
    # 12 cm of table around what is seen of the objects, on the side of the camera at least.
    reach = scene.vertices[:, 1].max() - scene.vertices[is_object, 1].max()
    assert reach == pytest.approx(0.12, abs=0.01)


def test_the_camera_sees_only_the_sides_that_face_it():
    rng = np.random.default_rng(0)
    cube = examples._Solid(np.zeros(2), (0.1, 0.1, 0.1), 0.0, False)
    points, owner = examples._take_frame(rng, [cube])
    seen = points[owner == 1]
    # Top at z = 0.1 and front at y = 0.05; nothing behind, nothing inside.
    on_top, on_front = np.abs(seen[:, 2] - 0.1) < 0.01, np.abs(seen[:, 1] - 0.05) < 0.01
    assert (on_top | on_front).all()
    assert on_top.sum() > 500
    assert on_front.sum() > 500
    # Its shadow reaches 17.5 cm behind its middle, beyond the table around it.
    behind = points[points[:, 1] < -0.06]
    assert np.abs(behind[:, 0]).min() > 0.04
    assert (np.abs(behind[:, 0]) > 0.08).sum() > 500


def test_a_cylinder_is_seen_at_its_radius():
    drum = examples._Solid(np.array([0.02, 0.01]), (0.1, 0.1, 0.12), 0.0, True)
    points, owner = examples._take_frame(np.random.default_rng(0), [drum])
    seen = points[(owner == 1) & (points[:, 2] < 0.1)]
    radius = np.hypot(seen[:, 0] - 0.02, seen[:, 1] - 0.01)
    assert len(seen) > 1000
    np.testing.assert_allclose(radius, 0.05, atol=0.01)


def test_a_seed_settles_an_example():
    for make in (examples.make_toy_example, examples.make_tabletop_example):
        first, again, other = make(1), make(1), make(2)
        np.testing.assert_array_equal(first.vertices, again.vertices)
        np.testing.assert_array_equal(first.semantic_ids, again.semantic_ids)
        assert first.vertices.shape != other.vertices.shape


def test_the_room_example_has_predicted_labels_and_walls_along_the_axes(tmp_path):
    pytest.importorskip("open3d", exc_type=ImportError)
    examples.make_examples(tmp_path / "made", COARSE)
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == [
        *("room.ply", "tabletop.ply", "toy.ply")
    ]
    scene = scan.read_scan(tmp_path / "made" / "room.ply")
    assert scene.instance_ids is None
    assert scene.colors is not None
    assert len(np.unique(scene.semantic_ids)) > 5
    assert set(np.unique(scene.semantic_ids)) <= set(SCANNET20.ids)
    # The four walls of a room along the axes are the fullest planes x or y = constant.
    wall = scene.vertices[scene.semantic_ids == 1]
    fullest = [np.histogram(wall[:, axis], np.arange(-1, 9, 0.1))[0].max() for axis in (0, 1)]
    assert min(fullest) > 0.05 * len(wall)  # turned, each would have a fiftieth
    with pytest.raises(ValueError, match="made"):
        examples.make_examples(tmp_path / "made", COARSE)


def test_the_tool_asks_for_a_folder():
    done = subprocess.run(
        [sys.executable, "tools/make_examples.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "--output_dir" in done.stderr


def test_the_tool_replaces_no_files_of_others(tmp_path):
    (tmp_path / "toy.ply").touch()
    (tmp_path / "mine.ply").touch()
    done = subprocess.run(
        [sys.executable, "tools/make_examples.py", f"--output_dir={tmp_path}", "--overwrite"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "a folder of example scans to replace, found mine.ply in it" in done.stderr
    assert (tmp_path / "mine.ply").exists()
