"""Tests of mtml_tf.data.decoding."""

import dataclasses

import numpy as np
import pytest
from scenes import BOX, CLASSES, FLOOR, NUM_FEATURES, box_scene

from mtml_tf.backend import tf
from mtml_tf.data.decoding import decode_points, decode_voxels
from mtml_tf.data.records import encode_record
from mtml_tf.scene import Points, VoxelScene

SCENE = VoxelScene(
    "pair",
    np.array([[0, 1, 2], [3, 0, 0]], np.int32),
    (4, 2, 4),
    0.1,
    np.zeros(3),
    np.array([FLOOR, BOX], np.int32),
    np.array([0, 70000], np.int32),
    points=Points(
        per_voxel=np.array([1, 2], np.uint8),
        cells=np.array([16 * 3 + 4 * 2 + 1, 0, 63], np.uint8),
        semantic_ids=np.array([FLOOR, BOX, 300], np.int32),
        instance_ids=np.array([0, 70000, 0], np.int32),
    ),
)


def decode(scene, within_voxels=True):
    record = tf.constant(encode_record(scene))
    found = decode_points(record, scene.num_features, within_voxels)
    return {name: value.numpy() for name, value in found.items()}


def test_points_lie_in_the_middles_of_their_cells():
    found = decode(SCENE)
    expected = [[0.875, 1.625, 2.375], [3.125, 0.125, 0.125], [3.875, 0.875, 0.875]]
    np.testing.assert_array_equal(found["positions"], expected)
    np.testing.assert_array_equal(found["semantic_ids"], [FLOOR, BOX, 300])
    np.testing.assert_array_equal(found["true_ids"], [FLOOR, BOX, 300])
    np.testing.assert_array_equal(found["instance_ids"], [0, 70000, 0])
    np.testing.assert_array_equal(found["grid_shape"], [4, 2, 4])


def test_true_ids_are_read_where_they_are_not_the_input():
    points = dataclasses.replace(SCENE.points, true_ids=np.array([5, 6, 7], np.int32))
    found = decode(dataclasses.replace(SCENE, points=points))
    np.testing.assert_array_equal(found["semantic_ids"], [FLOOR, BOX, 300])
    np.testing.assert_array_equal(found["true_ids"], [5, 6, 7])


def test_the_true_channel_of_a_voxel_is_that_of_most_points():
    true_ids = np.array([BOX, FLOOR, FLOOR], np.int32)
    for points, expected in (
        (dataclasses.replace(SCENE.points, true_ids=true_ids), [1, 0]),
        (SCENE.points, [0, 1]),  # the input is true
        (None, [0, 1]),
    ):
        record = tf.constant(encode_record(dataclasses.replace(SCENE, points=points)))
        found = decode_voxels(record, 0, CLASSES)
        np.testing.assert_array_equal(found["channels"], [0, 1])
        np.testing.assert_array_equal(found["true_channels"], expected)


def test_without_ground_truth_there_is_no_instance():
    points = dataclasses.replace(SCENE.points, instance_ids=None)
    found = decode(dataclasses.replace(SCENE, points=points))
    np.testing.assert_array_equal(found["instance_ids"], [0, 0, 0])


@pytest.mark.parametrize("points", [SCENE.points, None])
def test_middles_of_voxels_are_the_points_where_nothing_moves_within_them(points):
    found = decode(dataclasses.replace(SCENE, points=points), within_voxels=False)
    np.testing.assert_array_equal(found["positions"], [[0.5, 1.5, 2.5], [3.5, 0.5, 0.5]])
    np.testing.assert_array_equal(found["semantic_ids"], [FLOOR, BOX])
    np.testing.assert_array_equal(found["instance_ids"], [0, 70000])


def test_a_voxel_without_points_stands_for_eight():
    found = decode(dataclasses.replace(SCENE, points=None))
    assert len(found["positions"]) == 16
    away = found["positions"] - np.repeat([[0.5, 1.5, 2.5], [3.5, 0.5, 0.5]], 8, axis=0)
    np.testing.assert_allclose(np.abs(away), 0.2, atol=1e-6)
    assert len(np.unique(np.sign(away[:8]), axis=0)) == 8
    np.testing.assert_array_equal(found["semantic_ids"], np.repeat([FLOOR, BOX], 8))
    np.testing.assert_array_equal(found["instance_ids"], np.repeat([0, 70000], 8))


def test_a_point_has_the_features_of_its_voxel():
    scene = box_scene(0, with_features=True)
    found = decode(scene)
    np.testing.assert_array_equal(found["rows"], np.repeat(np.arange(len(scene.coordinates)), 8))
    np.testing.assert_array_equal(found["features"][:-1], scene.features)
    np.testing.assert_array_equal(found["features"][-1], np.zeros(NUM_FEATURES))


@pytest.mark.parametrize("with_features", [True, False])
def test_voxels_are_those_of_the_record(with_features):
    scene = box_scene(1, with_features=with_features)
    record = tf.constant(encode_record(scene))
    found = decode_voxels(record, scene.num_features, CLASSES)
    np.testing.assert_array_equal(found["coordinates"], scene.coordinates)
    np.testing.assert_array_equal(found["instance_ids"], scene.instance_ids)
    np.testing.assert_array_equal(found["grid_shape"], scene.grid_shape)
    if with_features:
        np.testing.assert_array_equal(found["features"], scene.features)
    else:
        np.testing.assert_array_equal(found["channels"], CLASSES.channels_of(scene.semantic_ids))
