"""Tests of the data classes that travel through the package."""

import dataclasses

import numpy as np
import pytest

from mtml_tf.scene import Instance, Scene, VoxelScene

VOXELS = {
    "name": "room",
    "coordinates": np.array([[0, 0, 0], [3, 1, 1]], np.int32),
    "grid_shape": (4, 2, 2),
    "voxel_size": 0.1,
    "origin": np.zeros(3),
    "semantic_ids": np.array([1, 2], np.int32),
}


@pytest.mark.parametrize(
    ("field", "shape"),
    [("colors", (2, 3)), ("semantic_ids", 2), ("instance_ids", 2), ("features", (2, 5))],
)
def test_a_scan_has_one_row_a_vertex(field, shape):
    with pytest.raises(ValueError, match=f"scene room: expected 3 rows in {field}, found 2"):
        Scene(name="room", vertices=np.zeros((3, 3)), **{field: np.zeros(shape, np.uint8)})


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("vertices", [[0.0, 0, 0]], r"array of numbers \[N, 3\], found a list"),
        ("vertices", np.zeros((3, 2)), r"array of numbers \[N, 3\], found float64 \[3, 2\]"),
        ("vertices", np.array([["x", "y", "z"]]), "found <U1"),
        ("semantic_ids", np.ones(3), r"whole numbers \[N\], found float64 \[3\]"),
        ("instance_ids", np.ones((3, 1), int), r"whole numbers \[N\], found int64 \[3, 1\]"),
        ("colors", np.ones((3, 4), np.uint8), r"\[N, 3\], found uint8 \[3, 4\]"),
        ("faces", np.zeros((1, 4), int), r"\[F, 3\], found int64 \[1, 4\]"),
        ("features", np.ones(3), r"array of numbers \[N, C\], found float64 \[3\]"),
    ],
)
def test_what_is_no_such_array_is_told(field, value, sentence):
    with pytest.raises(ValueError, match=rf"scene a: expected {field} as a NumPy .*{sentence}"):
        Scene(**{"name": "a", "vertices": np.zeros((3, 3)), field: value})


def test_vertices_that_are_not_finite_are_told():
    with pytest.raises(ValueError, match=r"scene a: expected finite vertices, found .* in 1 of 2"):
        Scene("a", np.array([[0, 0, np.nan], [0, 0, 0]]))


def test_faces_are_not_rows_of_vertices():
    scene = Scene(name="room", vertices=np.zeros((3, 3)), faces=np.array([[0, 1, 2]], np.int32))
    assert len(scene.faces) == 1


@pytest.mark.parametrize("field", ["semantic_ids", "instance_ids", "features"])
def test_a_voxel_scene_has_one_row_a_voxel(field):
    with pytest.raises(ValueError, match=f"scene room: expected 2 rows in {field}, found 3"):
        VoxelScene(**{**VOXELS, field: np.zeros((3, 4))})


@pytest.mark.parametrize("outside", [[4, 0, 0], [0, 2, 0], [0, 0, -1]])
def test_a_voxel_outside_the_grid_is_refused(outside):
    coordinates = np.array([[0, 0, 0], outside], np.int32)
    with pytest.raises(ValueError, match=r"expected coordinates within the grid \(4, 2, 2\)"):
        VoxelScene(**{**VOXELS, "coordinates": coordinates})


def test_a_voxel_that_comes_twice_is_refused():
    coordinates = np.array([[0, 0, 0], [1, 2, 3], [1, 2, 2], [1, 2, 3]], np.int32)
    with pytest.raises(ValueError, match=r"scene a: expected every voxel once, found \[1, 2, 3\]"):
        VoxelScene("a", coordinates, (4, 4, 4), 0.1, np.zeros(3), np.zeros(4, np.int32))


def test_a_scene_without_a_voxel_is_a_scene():
    empty = {"coordinates": np.zeros((0, 3), np.int32), "semantic_ids": np.zeros(0, np.int32)}
    assert len(VoxelScene(**{**VOXELS, **empty}).coordinates) == 0


def test_vertices_may_outnumber_voxels():
    scene = VoxelScene(**VOXELS, vertex_to_voxel=np.array([0, 1, 1, 0, 1], np.int32))
    assert len(scene.vertex_to_voxel) == 5


def test_scenes_and_instances_are_frozen_and_compare_by_identity():
    instance = Instance(class_id=2, score=0.5, indices=np.array([1]))
    with pytest.raises(dataclasses.FrozenInstanceError):
        instance.score = 1.0  # type: ignore[misc]
    # Comparing arrays field by field has no single truth value.
    assert VoxelScene(**VOXELS) != VoxelScene(**VOXELS)
