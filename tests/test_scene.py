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


@pytest.mark.parametrize("field", ["colors", "semantic_ids", "instance_ids", "features"])
def test_a_scan_has_one_row_a_vertex(field):
    with pytest.raises(ValueError, match=f"scene room: expected 3 rows in {field}, found 2"):
        Scene(name="room", vertices=np.zeros((3, 3)), **{field: np.zeros((2, 3))})


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
