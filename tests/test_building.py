"""Tests of mtml_tf.training.building."""

import dataclasses
import logging

import numpy as np
import pytest
from scenes import CLASSES, give_random_weights

from mtml_tf.backend import keras, tf
from mtml_tf.classes import ClassSet
from mtml_tf.config import NetworkConfig, SegmentConfig, TrainConfig
from mtml_tf.inference import models
from mtml_tf.network.voxel_network import VoxelNetwork
from mtml_tf.training.building import initialise_from, learning_rate

NETWORK = NetworkConfig(input_channels=3, width=1 / 8, dilations=(1, 2), embedding_size=3)


OTHER_NAMES = ClassSet(CLASSES.ids, ("floor", "tower", "box"), CLASSES.kinds)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A run folder with the weights of a network for the three classes."""
    path = tmp_path_factory.mktemp("runs") / "source"
    network = VoxelNetwork(NETWORK)
    give_random_weights(network)
    config = models.ModelConfig(NETWORK, SegmentConfig(CLASSES.thing_ids), CLASSES, 0.05, True)
    models.write_model_config(path, config)
    models.write_weights(path, models.LAST, network)
    return path


@pytest.mark.parametrize(
    ("changes", "classes", "initialised"),
    [
        ({}, CLASSES, set()),
        ({"embedding_size": 6}, CLASSES, {"head_3/kernel:0", "head_3/bias:0"}),
        ({"input_channels": 5}, CLASSES, {"stem/kernel:0"}),
        ({}, OTHER_NAMES, {"stem/kernel:0", "stem/bias:0"}),
    ],
)
def test_weights_of_equal_shape_and_meaning_are_taken_over(
    source, changes, classes, initialised, caplog
):
    network = VoxelNetwork(dataclasses.replace(NETWORK, **changes))
    for variable in network.dense.variables:
        variable.assign(tf.fill(variable.shape, 7.0))
    with caplog.at_level(logging.INFO, logger="absl"):
        initialise_from(network, str(source), classes)
    expected = {v.name: v.numpy() for v in models.load_model(source).network.dense.variables}
    for variable in network.dense.variables:
        if variable.name in initialised:
            assert (variable.numpy() == 7).all(), variable.name
        else:
            np.testing.assert_array_equal(variable, expected[variable.name])
    told = {record.getMessage().partition(":")[0].partition("/")[0] for record in caplog.records}
    assert told == {name.partition("/")[0] for name in initialised}


def test_a_layer_that_is_left_out_is_told_with_the_classes(source, caplog):
    with caplog.at_level(logging.INFO, logger="absl"):
        initialise_from(VoxelNetwork(NETWORK), str(source), OTHER_NAMES)
    assert (
        "stem: initialised, for its input are the classes floor, tower, box, and those of "
        f"{source} are floor, box, tower"
    ) in caplog.text


def test_the_rate_falls_to_0_by_a_cosine():
    config = TrainConfig(learning_rate=0.2, decay="cosine")
    schedule = learning_rate(config, 100)
    assert [float(schedule(step)) for step in (0, 50, 100)] == pytest.approx([0.2, 0.1, 0.0])
    assert learning_rate(TrainConfig(learning_rate=0.2), 100) == 0.2
    assert isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule)
