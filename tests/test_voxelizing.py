"""Tests of mtml_tf.data.voxelizing."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from scenes import BOX, CLASSES, FLOOR, TOWER

from mtml_tf.backend import tf
from mtml_tf.data.majority import majority
from mtml_tf.data.voxelizing import voxelize
from mtml_tf.scans import voxels
from mtml_tf.scene import Scene


def one_voxel(semantic_ids, instance_ids, true_ids=None, surroundings=False):
    """Channel and instance of a voxel with these points."""
    points = {
        "cells": tf.zeros([len(semantic_ids), 3], tf.int32),
        "semantic_ids": tf.constant(semantic_ids, tf.int32),
        "true_ids": tf.constant(true_ids or semantic_ids, tf.int32),
        "instance_ids": tf.constant(instance_ids, tf.int32),
        "grid_shape": tf.constant([1, 1, 1]),
    }
    found = voxelize(points, CLASSES, surroundings)
    return int(found["channels"][0]), int(found["instance_ids"][0])


@pytest.mark.parametrize(
    ("groups", "ids", "weights", "expected"),
    [
        ([0, 0, 0], [4, 7, 7], [1, 1, 1], [7]),
        ([0, 0], [9, 2], [1, 1], [2]),  # of equals the smallest
        ([0, 0, 0], [4, 7, 7], [3, 1, 1], [4]),
        ([1, 0, 1], [5, 0, 6], [1, 1, 0], [0, 5]),
        ([0, 0, 0], [2**31 - 1, -(2**31), 2**31 - 1], [1, 1, 1], [2**31 - 1]),
        ([0, 0], [-1, 1], [1, 1], [-1]),
    ],
)
def test_the_heaviest_id_wins_and_the_smallest_of_equals(groups, ids, weights, expected):
    given = (tf.constant(values, tf.int32) for values in (groups, ids, weights))
    np.testing.assert_array_equal(majority(*given, len(expected)), expected)


@pytest.mark.parametrize(
    ("semantic_ids", "instance_ids", "expected"),
    [
        ([FLOOR, BOX, BOX], [0, 4, 4], (1, 4)),
        ([FLOOR, BOX], [0, 4], (0, 0)),
        ([0, 0, TOWER], [0, 0, 8], (-1, 0)),
        # Instance 0 has most points, but those of the winning label are of 3 and 5.
        ([FLOOR, FLOOR, 0, 0, BOX, BOX, BOX], [0, 0, 0, 0, 5, 5, 3], (1, 5)),
    ],
)
def test_the_instance_is_that_of_the_winning_label(semantic_ids, instance_ids, expected):
    assert one_voxel(semantic_ids, instance_ids) == expected


def test_where_labels_are_predicted_the_true_ones_choose_the_instance():
    assert one_voxel([FLOOR] * 3, [0, 4, 4], [FLOOR, BOX, BOX]) == (0, 4)
    assert one_voxel([BOX] * 3, [0, 0, 4], [FLOOR, FLOOR, BOX]) == (1, 0)


def test_surroundings_are_an_instance_for_each_true_label():
    assert one_voxel([BOX], [0], [0], surroundings=True) == (1, -1)
    assert one_voxel([BOX], [0], [FLOOR], surroundings=True) == (1, -1 - FLOOR)
    assert one_voxel([0], [4], [BOX], surroundings=True) == (-1, 4)
    assert one_voxel([BOX], [0], surroundings=True) == (1, 0)  # an object that nobody annotated


def test_the_true_channel_is_that_of_most_points():
    points = {
        "cells": tf.constant([[0, 0, 0]] * 3 + [[1, 0, 0]]),
        "semantic_ids": tf.constant([BOX, BOX, BOX, FLOOR]),
        "true_ids": tf.constant([FLOOR, FLOOR, BOX, 0]),
        "instance_ids": tf.zeros([4], tf.int32),
        "grid_shape": tf.constant([2, 1, 1]),
    }
    found = voxelize(points, CLASSES)
    assert found["channels"].numpy().tolist() == [1, 0]
    assert found["true_channels"].numpy().tolist() == [0, -1]


@hypothesis.given(st.integers(0, 2**32 - 1))
@hypothesis.settings(max_examples=25)
def test_points_are_voxelized_as_vertices_are(seed):
    """Coordinates, labels, instances and features of a random heap."""
    rng = np.random.default_rng(seed)
    size, count = rng.integers(1, 6, 3), rng.integers(1, 200)
    cells = rng.integers(0, size, (count, 3))
    scene = Scene(
        "heap",
        cells + 0.5,
        semantic_ids=rng.choice([0, *CLASSES.ids], count).astype(np.int32),
        instance_ids=rng.integers(0, 4, count).astype(np.int32),
        features=rng.random((count, 2), np.float32),
    )
    expected = voxels.voxelize(scene, 1.0, origin=np.zeros(3))
    points = {
        "cells": tf.constant(cells, tf.int32),
        "semantic_ids": tf.constant(scene.semantic_ids),
        "true_ids": tf.constant(scene.semantic_ids),
        "instance_ids": tf.constant(scene.instance_ids),
        "grid_shape": tf.constant(size, tf.int32),
    }
    found = voxelize(points, CLASSES)
    np.testing.assert_array_equal(found["coordinates"], expected.coordinates)
    np.testing.assert_array_equal(found["channels"], CLASSES.channels_of(expected.semantic_ids))
    np.testing.assert_array_equal(found["instance_ids"], expected.instance_ids)
    with_features = {**points, "features": tf.constant(scene.features), "rows": tf.range(count)}
    found = voxelize(with_features, CLASSES)
    np.testing.assert_allclose(found["features"], expected.features, rtol=1e-5)
    assert "channels" not in found
