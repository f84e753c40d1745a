"""A labelled scan becomes a voxelized scene, or one sentence."""

import dataclasses

import numpy as np
import pytest

from mtml_tf.classes import ClassSet
from mtml_tf.scans import preparing, scan
from mtml_tf.scene import Scene

CLASSES = ClassSet((1, 2), ("table", "object"), ("stuff", "thing"))


def write(folder, stem, labels=(1, 2, 2), instances=(0, 1, 1)):
    vertices = np.array([[0.0, 0, 0], [0.5, 0, 0], [0.5, 0.25, 0]])
    ids = [None if given is None else np.array(given, np.int32) for given in (labels, instances)]
    scan.write_scan(folder / f"{stem}.ply", Scene(stem, vertices, None, None, *ids))


def prepared(path, **settings):
    return preparing.Settings(CLASSES, 0.1, **settings).voxelize(path)


def test_scans_come_in_natural_order_with_their_ground_truth(tmp_path):
    for stem in ("learn10", "learn2", "extra"):
        write(tmp_path, stem)
    paths = preparing.find_scans(tmp_path, exclude_scenes=["extra"])
    found = [prepared(path) for path in paths]
    assert [voxel_scene.name for voxel_scene, _ in found] == ["learn2", "learn10"]
    voxel_scene, truth = found[0]
    np.testing.assert_array_equal(truth, [1000, 2001, 2001])
    np.testing.assert_array_equal(voxel_scene.instance_ids, [0, 1, 1])


def test_scans_in_other_units_and_axes_become_metres_with_z_up(tmp_path):
    write(tmp_path, "metres")
    expected = scan.read_scan(tmp_path / "metres.ply")
    vertices = expected.vertices[:, [0, 2, 1]] * [1000, 1000, -1000]  # y up, millimetres
    (tmp_path / "other").mkdir()
    scan.write_scan(
        tmp_path / "other" / "scan.ply", dataclasses.replace(expected, vertices=vertices)
    )
    there, _ = prepared(tmp_path / "metres.ply")
    found, _ = prepared(tmp_path / "other" / "scan.ply", up_axis="y", scale=0.001)
    assert found.grid_shape == there.grid_shape
    np.testing.assert_array_equal(found.coordinates, there.coordinates)


def test_a_scan_without_instances_has_no_ground_truth(tmp_path):
    write(tmp_path, "a", instances=None)
    _, truth = prepared(tmp_path / "a.ply")
    assert truth is None


def test_the_jitter_of_the_origin_depends_on_the_seed_and_the_name_alone(tmp_path):
    for stem in ("a", "b"):
        write(tmp_path, stem)

    def origins(seed, *scenes):
        paths = preparing.find_scans(tmp_path, scenes)
        scenes = [prepared(path, origin_jitter_seed=seed)[0] for path in paths]
        return {scene.name: tuple(scene.origin) for scene in scenes}

    first = origins(1)
    assert first["b"] == origins(1, "b")["b"]
    assert first["a"] != first["b"]
    assert first["a"] != origins(2)["a"]
    assert all(-0.1 < value <= 0 for value in first["a"])


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [((1, 2, 9), r"b\.ply: scene b: .*found \[9\]"), (None, r"b\.ply: scene b: .*no labels")],
)
def test_a_bad_file_is_named(labels, sentence, tmp_path):
    write(tmp_path, "b", labels=labels)
    with pytest.raises(ValueError, match=sentence):
        prepared(tmp_path / "b.ply")


def test_coordinates_too_coarse_for_the_voxels_are_refused(tmp_path):
    names = "property float x\nproperty float y\nproperty float z\nproperty ushort label\n"
    header = f"ply\nformat ascii 1.0\nelement vertex 1\n{names}end_header\n"
    (tmp_path / "a.ply").write_text(f"{header}5000000 0 0 1\n", encoding="ascii")
    with pytest.raises(ValueError, match=r"a\.ply: scene a: .* go in steps of 0\.5 m"):
        prepared(tmp_path / "a.ply")


def test_two_scenes_of_one_name_are_refused(tmp_path):
    write(tmp_path, "a b")
    write(tmp_path, "a_b")
    sources = preparing.as_split("train", preparing.find_scans(tmp_path))
    with pytest.raises(ValueError, match=r"a_b\.ply: expected a new scene name, found .*a b\.ply"):
        preparing.Settings(CLASSES, 0.1).check(sources)


def test_a_folder_without_what_is_asked_for_is_refused(tmp_path):
    with pytest.raises(ValueError, match="none: expected a folder of PLY files, found no such"):
        preparing.find_scans(tmp_path / "none")
    with pytest.raises(ValueError, match="expected PLY files, found none"):
        preparing.find_scans(tmp_path)
    write(tmp_path, "a")
    with pytest.raises(ValueError, match=r"expected the file b\.ply, found no such file"):
        preparing.find_scans(tmp_path, ["a", "b"])
    with pytest.raises(ValueError, match="found all excluded"):
        preparing.find_scans(tmp_path, exclude_scenes=["a"])


@pytest.mark.parametrize("name", ["a/b", "a b", "", "..", " a"])
def test_a_name_that_no_split_can_have_is_refused(name):
    preparing.as_split("train-2.v1", [])
    with pytest.raises(ValueError, match=f"the name of a split without .*, found '{name}'"):
        preparing.as_split(name, [])
