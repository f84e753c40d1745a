import dataclasses

import numpy as np
import pytest

from experiments import robustness
from mtml_tf.scene import VoxelScene

CHAIR = 5


def room(size=4, num_vertices=6):
    """Two voxels of a chair and one of a floor; two vertices in each voxel."""
    coordinates = np.array([[0, 0, 0], [1, 0, 0], [size - 1, 1, 1]], np.int32)
    scene = VoxelScene(
        name="room",
        coordinates=coordinates,
        grid_shape=(size, 2, 2),
        voxel_size=0.1,
        origin=np.zeros(3),
        semantic_ids=np.array([CHAIR, CHAIR, 2], np.int32),
        instance_ids=np.array([3, 3, 0], np.int32),
        vertex_to_voxel=np.repeat(np.arange(3, dtype=np.int32), num_vertices // 3),
    )
    return scene, np.repeat([5003, 5003, 2000], num_vertices // 3)


def test_rooms_in_a_row_stand_apart_and_keep_their_objects_apart():
    row, truth = robustness.in_a_row([room(), room(6)], "row")
    assert row.grid_shape == (18, 2, 2)
    np.testing.assert_array_equal(row.coordinates[:, 0], [0, 1, 3, 8, 9, 13])
    np.testing.assert_array_equal(row.instance_ids, [3, 3, 0, 203, 203, 0])
    np.testing.assert_array_equal(row.vertex_to_voxel, np.repeat(np.arange(6), 2))
    np.testing.assert_array_equal(truth[[0, 5, 6, 11]], [5003, 2000, 5203, 2000])


def test_one_room_in_a_row_is_that_room():
    scene, truth = room()
    row, same_truth = robustness.in_a_row([(scene, truth)], "room")
    np.testing.assert_array_equal(row.coordinates, scene.coordinates)
    np.testing.assert_array_equal(same_truth, truth)


def test_a_scene_without_vertices_is_refused():
    scene, truth = room()
    with pytest.raises(ValueError, match="scene room: expected instances on vertices, found none"):
        robustness.in_a_row([(dataclasses.replace(scene, vertex_to_voxel=None), truth)], "row")


def test_only_scored_instances_count():
    ids = np.repeat([5001, 5002, 2003, 4000, 0], [100, 99, 500, 500, 500])
    assert robustness.num_instances(ids) == 1
    assert robustness.num_instances(ids, min_vertices=99) == 2
