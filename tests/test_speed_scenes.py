import dataclasses
import math

import numpy as np
import pytest

from experiments.speed import growth
from experiments.speed.scenes import (
    RoomSize,
    make_directions,
    make_embedding,
    make_room,
    make_scan,
    voxel_scene_of,
)
from experiments.speed.sizes import FULL, QUICK
from mtml_tf.classes import SCANNET20
from mtml_tf.scans.voxels import voxelize

TINY = RoomSize((16, 16, 8), channels=20, occupancy=0.2, num_objects=3)


@pytest.mark.parametrize(
    "size",
    [
        TINY,
        *FULL.rooms,
        *(FULL.growth.room(factor) for factor in growth.BY_SIZE),
        *(FULL.growth.fuller_room(factor) for factor in growth.BY_OCCUPANCY),
        *(QUICK.growth.room(factor) for factor in growth.BY_SIZE),
        *(QUICK.growth.fuller_room(factor) for factor in growth.BY_OCCUPANCY),
    ],
)
def test_a_room_has_as_many_voxels_as_asked_for(size):
    room = make_room(size)
    assert len(room.coordinates) == round(math.prod(size.grid_shape) * size.occupancy)
    assert len(np.unique(room.coordinates, axis=0)) == len(room.coordinates)
    assert (room.coordinates >= 0).all()
    assert (room.coordinates < size.grid_shape).all()
    assert room.channels.min() == 0
    assert room.channels.max() < size.channels
    assert len(np.unique(room.instance_ids)) > 3
    # Surfaces: floor and walls belong to no object.
    assert not room.instance_ids[room.channels < 2].any()


def test_a_room_too_empty_for_its_floor_is_refused():
    with pytest.raises(ValueError, match=r"16 x 16 x 8, .*: expected at least"):
        make_room(dataclasses.replace(TINY, occupancy=0.01))


def test_a_scan_of_a_room_voxelizes_to_the_room():
    scene = voxel_scene_of(make_room(TINY), SCANNET20, 0.1)
    scan = make_scan(scene, 3000)
    assert len(scan.vertices) == 3000
    again = voxelize(scan, 0.1, SCANNET20, origin=np.zeros(3))
    np.testing.assert_array_equal(again.coordinates, scene.coordinates)
    np.testing.assert_array_equal(again.semantic_ids, scene.semantic_ids)


def test_made_up_clusters_lie_apart():
    clusters = np.arange(3000) % 10
    embedding = make_embedding(clusters)
    middles = np.stack([np.median(embedding[clusters == label], axis=0) for label in range(10)])
    gaps = np.linalg.norm(middles[:, None] - middles, axis=2)[np.triu_indices(10, 1)]
    assert gaps.min() > 2
    assert embedding.dtype == np.float32


def test_made_up_directions_point_to_the_middles():
    coordinates = np.array([[0, 0, 0], [10, 0, 0], [5, 0, 0]], np.int32)
    directions = make_directions(coordinates, np.array([1, 1, 1]))
    np.testing.assert_allclose(directions, [[1, 0, 0], [-1, 0, 0], [0, 0, 0]], atol=0.9)
    assert directions[0, 0] > 0 > directions[1, 0]
