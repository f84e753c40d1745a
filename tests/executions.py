"""Both executions of the network with equal weights, and how their values and gradients compare."""

import contextlib

import numpy as np
from scenes import give_random_weights

from mtml_tf.backend import keras, tf
from mtml_tf.network import architecture
from mtml_tf.network.voxel_network import VoxelNetwork


class MaxPoolOfAnyType(keras.layers.Layer):
    """`MaxPool3D(2)`, which TensorFlow has in float32 only."""

    def __init__(self, size, name, dtype):
        super().__init__(name=name, dtype=dtype)
        assert size == 2

    def call(self, x, empty):
        x = tf.maximum(x[:, ::2], x[:, 1::2])
        x = tf.maximum(x[:, :, ::2], x[:, :, 1::2])
        return tf.maximum(x[:, :, :, ::2], x[:, :, :, 1::2]), empty


@contextlib.contextmanager
def double_precision(monkeypatch):
    """Networks that are built within are float64: rounding would flip a ReLU here and there."""
    monkeypatch.setattr(architecture, "MaxPool3D", MaxPoolOfAnyType)
    keras.backend.set_floatx("float64")
    try:
        yield
    finally:
        keras.backend.set_floatx("float32")


def both_executions(config):
    """Two networks with the same random weights: occupied and dense."""
    occupied, dense = VoxelNetwork(config), VoxelNetwork(config, execution="dense")
    assert (occupied.execution, dense.execution) == ("occupied", "dense")
    give_random_weights(occupied)
    dense.dense.set_weights(occupied.dense.get_weights())
    return occupied, dense


def assert_equal_outputs(found, expected, tolerance=1e-5):
    assert set(found) == set(expected) >= {"embedding", "direction"}
    for name in expected:
        scale = np.abs(expected[name]).max()
        assert scale > 1e-2, "the test tells nothing where all values are 0"
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=tolerance * scale)


def assert_equal_gradients(networks, inputs, tolerance=1e-10):
    """Of some loss by every variable, which it must depend on."""
    gradients = []
    for network in networks:
        with tf.GradientTape() as tape:
            outputs = network(inputs, training=True)
            loss = tf.add_n([tf.reduce_sum(tf.sin(x)) for x in outputs.values()])
        gradients.append(tape.gradient(loss, network.dense.trainable_variables))
    for variable, found, expected in zip(
        networks[0].dense.trainable_variables, *gradients, strict=True
    ):
        scale = np.abs(expected).max()
        assert scale > 1e-6, variable.name
        np.testing.assert_allclose(
            found, expected, rtol=0, atol=tolerance * scale, err_msg=variable.name
        )
