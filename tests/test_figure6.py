import dataclasses

import numpy as np
import pytest
from scenes import CLASSES, box_scene

from experiments import figure6
from experiments.scan_rows import PredictedScan
from mtml_tf.inference.models import Values
from mtml_tf.scene import Scene

SCENE = box_scene(0, num_objects=2)
IS_THING = CLASSES.is_thing(SCENE.semantic_ids)
# Each object at its own place in a feature space of four dimensions.
EMBEDDING = (SCENE.instance_ids[:, None] * (5.0, 1.0, 0.0, 0.0)).astype(np.float32)


def test_a_cluster_has_the_id_of_the_object_that_it_is():
    ids = figure6.cluster_ids(SCENE, EMBEDDING, IS_THING, bandwidth=1.0)
    np.testing.assert_array_equal(ids, SCENE.instance_ids)


def test_what_is_no_thing_takes_no_part():
    ids = figure6.cluster_ids(SCENE, 0 * EMBEDDING, IS_THING, bandwidth=1.0)
    assert set(ids[~IS_THING].tolist()) == {0}
    assert len(set(ids[IS_THING].tolist())) == 1
    none = figure6.cluster_ids(SCENE, EMBEDDING, np.zeros_like(IS_THING), bandwidth=1.0)
    assert not none.any()


def test_the_feature_space_shows_two_objects_apart():
    ids = SCENE.instance_ids[IS_THING]
    colors = np.where((ids == 1)[:, None], (250, 0, 0), (0, 0, 250)).astype(np.uint8)
    spread = np.random.default_rng(0).normal(0, 0.2, (len(ids), 4))
    picture = figure6.draw_feature_space(EMBEDDING[IS_THING] + spread, colors, 200).astype(int)
    red, blue = (
        np.flatnonzero((picture[..., channel] - picture[..., 2 - channel] > 60).any(axis=0))
        for channel in (0, 2)
    )
    assert len(red) > 5
    assert len(blue) > 5
    assert red.max() < blue.min() or blue.max() < red.min()
    assert figure6.draw_feature_space(EMBEDDING[:0], colors[:0], 100).min() == 255


def test_a_row_has_five_pictures_and_counts_the_clusters():
    count = len(SCENE.coordinates)
    scanned = dataclasses.replace(SCENE, vertex_to_voxel=np.arange(count, dtype=np.int32))
    room = PredictedScan(
        *(Scene("room", SCENE.coordinates * 0.1), scanned, np.zeros(count), CLASSES),
        Values(EMBEDDING, np.zeros((count, 3), np.float32)),
    )
    picture, clusters = figure6.draw_row(room, 1.0, 40)
    assert picture.shape[1:] == (200, 3)
    assert clusters == 2
    without = dataclasses.replace(room, scene=dataclasses.replace(scanned, instance_ids=None))
    with pytest.raises(ValueError, match="scene scene_000: expected true instances, found none"):
        figure6.draw_row(without, 1.0, 40)
