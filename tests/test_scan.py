"""Labelled scans are read as scenes; files that are none are refused."""

import numpy as np
import pytest

from mtml_tf.scans import ply, scan
from mtml_tf.scene import Scene

VERTICES = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0.25]])


def test_a_scene_is_read_back_as_it_was_written(tmp_path):
    scene = Scene(
        "table",
        VERTICES + 0.1,
        colors=np.arange(9, dtype=np.uint8).reshape(3, 3),
        faces=np.array([[0, 1, 2]], np.int32),
        semantic_ids=np.array([0, 1, 40], np.int32),
        instance_ids=np.array([0, 70000, 3], np.int32),
    )
    scan.write_scan(tmp_path / "table.ply", scene)
    found = scan.read_scan(tmp_path / "table.ply")
    assert found.name == "table"
    for name in ("vertices", "colors", "faces", "semantic_ids", "instance_ids"):
        np.testing.assert_array_equal(getattr(found, name), getattr(scene, name))
        assert getattr(found, name).dtype == getattr(scene, name).dtype


def test_ids_are_written_short_where_they_fit(tmp_path):
    ids = np.array([0, 65535, 1], np.int32)
    scan.write_scan(
        tmp_path / "a.ply", Scene("a", VERTICES, semantic_ids=ids, instance_ids=ids + 1)
    )
    vertex = ply.read_ply(tmp_path / "a.ply")["vertex"]
    assert vertex["label"].dtype == np.uint16
    assert vertex["instance"].dtype == np.int32


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8"])
def test_labels_of_any_type_are_read(dtype, tmp_path):
    ids = np.array([0, 7, 100]).astype(dtype)
    ply.write_ply(tmp_path / "a.ply", VERTICES, properties={"label": ids, "instance": ids})
    scene = scan.read_scan(tmp_path / "a.ply")
    np.testing.assert_array_equal(scene.semantic_ids, [0, 7, 100])
    assert scene.instance_ids.dtype == np.int32


def test_a_scan_without_labels_has_none(tmp_path):
    ply.write_ply(tmp_path / "my scan 2.ply", VERTICES)
    scene = scan.read_scan(tmp_path / "my scan 2.ply")
    assert scene.name == "my_scan_2"
    assert (scene.semantic_ids, scene.instance_ids, scene.colors, scene.faces) == (None,) * 4


def test_floating_point_colors_go_from_0_to_1(tmp_path):
    channel = np.array([0, 0.5, 1], np.float32)
    properties = dict.fromkeys(("red", "green", "blue"), channel)
    ply.write_ply(tmp_path / "a.ply", VERTICES, properties=properties)
    np.testing.assert_array_equal(scan.read_scan(tmp_path / "a.ply").colors[:, 0], [0, 128, 255])


def test_the_label_map_moves_labels_and_leaves_the_rest(tmp_path):
    properties = {"label": np.array([13, -1, 5], np.int16), "instance": np.array([13, 1, 1], "i2")}
    ply.write_ply(tmp_path / "a.ply", VERTICES, properties=properties)
    scene = scan.read_scan(tmp_path / "a.ply", scan.parse_label_map("13:2, -1:0"))
    np.testing.assert_array_equal(scene.semantic_ids, [2, 0, 5])
    np.testing.assert_array_equal(scene.instance_ids, [13, 1, 1])


def test_a_label_map_is_parsed():
    assert scan.parse_label_map("13:2,14:0") == {13: 2, 14: 0}
    assert scan.parse_label_map("") == {}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("13", "expected ID:ID,ID:ID,..., found '13'"),
        ("1:2,", "found ''"),
        ("1:-2", "found '1:-2'"),
        ("1:2,1:3", "expected each id once, found 1 twice"),
    ],
)
def test_a_bad_label_map_is_refused(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        scan.parse_label_map(text)


@pytest.mark.parametrize(
    ("vertices", "properties", "sentence"),
    [
        (np.zeros((0, 3)), {}, "expected vertices, found none"),
        (
            np.array([[0, 0, np.nan], [0, np.inf, 0], [0, 0, 0]]),
            {},
            "NaN or infinity at 2 of 3 vertices",
        ),
        (
            VERTICES,
            {"label": [0, 0.5, 1]},
            "whole numbers in the vertex property 'label', found 0.5",
        ),
        (VERTICES, {"instance": [0, np.nan, 1]}, "'instance', found nan"),
        (VERTICES, {"label": [0, -1, 1]}, "'label', found -1; .* --label_map=-1:0"),
        (VERTICES, {"instance": [0, 3e9, 1]}, "'instance', found 3000000000"),
    ],
)
def test_a_bad_scan_is_refused(vertices, properties, sentence, tmp_path):
    properties = {name: np.array(values, np.float64) for name, values in properties.items()}
    ply.write_ply(tmp_path / "a.ply", vertices, properties=properties)
    with pytest.raises(ValueError, match=r"a\.ply: .*" + sentence):
        scan.read_scan(tmp_path / "a.ply")


def test_a_scan_without_coordinates_is_refused(tmp_path):
    text = "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n"
    (tmp_path / "a.ply").write_text(text)
    with pytest.raises(ValueError, match=r"x, y, z, found no y, z among \['x'\]"):
        scan.read_scan(tmp_path / "a.ply")


def test_labels_and_instances_that_nobody_needs_are_left_out(tmp_path):
    properties = {"label": np.array([0, 0.5, -1]), "instance": np.array([-1, 1, 2], np.int32)}
    ply.write_ply(tmp_path / "a.ply", VERTICES, properties=properties)
    scene = scan.read_scan(tmp_path / "a.ply", label_property="", need_instances=False)
    assert (scene.semantic_ids, scene.instance_ids) == (None, None)
    with pytest.raises(ValueError, match="'instance', found -1"):
        scan.read_scan(tmp_path / "a.ply", label_property="")
    properties["instance"] = np.array([0, 1, 2], np.int32)
    ply.write_ply(tmp_path / "b.ply", VERTICES, properties=properties)
    scene = scan.read_scan(tmp_path / "b.ply", label_property="", need_instances=False)
    assert scene.instance_ids.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0, 128, 255], np.uint8), [0, 128, 255]),
        (np.array([0, 0.5, 1], np.float32), [0, 128, 255]),
        (np.array([10, 100, 200], np.float32), [10, 100, 200]),
        (np.array([0, 32896, 65535], np.uint16), [0, 128, 255]),
        (np.array([0, 128, 255], np.uint16), [0, 128, 255]),
        (np.array([-1, np.nan, np.inf], np.float32), [0, 0, 255]),
    ],
)
def test_colours_of_any_range_become_bytes(tmp_path, values, expected):
    colors = dict.fromkeys(("red", "green", "blue"), values)
    ply.write_ply(tmp_path / "a.ply", np.eye(3), properties=colors)
    found = scan.read_scan(tmp_path / "a.ply").colors
    np.testing.assert_array_equal(found, np.repeat(np.array(expected)[:, None], 3, axis=1))


def write_far(path, dtype):
    """Writes vertices at map coordinates, x and y of this type."""
    names = {np.float32: "float", np.float64: "double"}
    header = "ply\nformat binary_little_endian 1.0\nelement vertex 3\n"
    header += f"property {names[dtype]} x\nproperty {names[dtype]} y\nproperty float z\n"
    rows = np.empty(3, [("x", dtype), ("y", dtype), ("z", np.float32)])
    rows["x"], rows["y"], rows["z"] = (VERTICES + np.array([4e6, 5e6, 0])).T
    path.write_bytes(header.encode() + b"end_header\n" + rows.tobytes())


def test_single_precision_that_is_coarser_than_voxels_is_refused(tmp_path):
    write_far(tmp_path / "a.ply", np.float32)
    scene = scan.read_scan(tmp_path / "a.ply")
    assert scene.coordinate_step == 0.5
    sentence = r"scene a: .* up to 5e\+06 m, which go in steps of 0\.5 m; store x, y, z as double"
    with pytest.raises(ValueError, match=sentence):
        scan.check_step(scene, 0.1)
    scan.check_step(scene, 2.0)
    in_millimetres = scan.in_metres(scene, scale=0.001)
    scan.check_step(in_millimetres, 0.01)
    with pytest.raises(ValueError, match=r"steps of 0\.0005 m"):
        scan.check_step(in_millimetres, 0.001)


def test_double_precision_is_fine_enough(tmp_path):
    write_far(tmp_path / "a.ply", np.float64)
    scene = scan.read_scan(tmp_path / "a.ply")
    assert scene.coordinate_step < 1e-6  # that of z
    scan.check_step(scene, 0.01)
    with pytest.raises(ValueError, match="numbers of 32 bits"):
        scan.check_step(Scene("b", scene.vertices.astype(np.float32)), 0.01)
    scan.check_step(Scene("c", np.full((1, 3), 255, np.uint8)), 0.01)


def test_a_file_of_another_kind_is_told_how_to_become_one(tmp_path):
    (tmp_path / "a.obj").write_bytes(b"v 1.0 2.0 3.0\n")
    with pytest.raises(
        ValueError, match=r"found 'v 1\.0 2\.0 3\.'; convert it to PLY, with Open3D"
    ):
        scan.read_scan(tmp_path / "a.obj")
    (tmp_path / "a.las").write_bytes(b"LASF\x00\x01\xff" * 9)
    with pytest.raises(ValueError, match="found another kind of file; convert it"):
        scan.read_scan(tmp_path / "a.las")


def test_a_folder_is_no_scan(tmp_path):
    with pytest.raises(ValueError, match="expected a PLY file, found a folder"):
        scan.read_scan(tmp_path)
