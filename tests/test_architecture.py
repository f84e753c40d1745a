"""Tests of mtml_tf.network.architecture."""

import os
import subprocess
import sys

import numpy as np
import pytest

from mtml_tf.backend import keras, tf
from mtml_tf.config import NetworkConfig
from mtml_tf.network.architecture import Conv3D, DilatedConv3D, build_network

SMALL = NetworkConfig(input_channels=3, width=1 / 16)


@pytest.mark.parametrize(
    ("channels", "width", "count"),
    [(40, 0.5, 1_390_047), (40, 1.0, 5_338_551), (20, 0.5, 1_335_167)],
)
@pytest.mark.parametrize("native_dilation", [False, True])
def test_number_of_parameters(channels, width, count, native_dilation):
    config = NetworkConfig(input_channels=channels, width=width, embedding_size=4)
    network = build_network(config, native_dilation)
    assert network.count_params() == count
    assert sum(int(np.prod(v.shape)) for v in network.trainable_variables) == count


# Name: filters at width 1, kernel size, dilation, activation.
CONVOLUTIONS = {
    "stem": (16, 7, 1, "relu"),
    "stem_conv_1": (32, 3, 1, "relu"),
    "stem_conv_2": (32, 3, 1, "linear"),
    "stem_skip": (32, 1, 1, "linear"),
    "block_2_conv_1": (64, 3, 1, "relu"),
    "block_2_conv_2": (64, 3, 1, "linear"),
    "block_2_skip": (64, 1, 1, "linear"),
    "block_3_conv_1": (64, 3, 1, "relu"),
    "block_3_conv_2": (64, 3, 1, "linear"),
    "dilated_1_conv_1": (64, 3, 7, "relu"),
    "dilated_1_conv_2": (64, 3, 7, "relu"),
    "dilated_2_conv_1": (64, 3, 9, "relu"),
    "dilated_2_conv_2": (64, 3, 9, "linear"),
    "up": (256, 4, 1, "linear"),
    "head_1": (128, 1, 1, "relu"),
    "head_2": (128, 1, 1, "relu"),
    "head_3": (3 + 5, 1, 1, "linear"),
}


@pytest.mark.parametrize("native_dilation", [False, True])
def test_layers_are_those_of_the_paper(native_dilation):
    config = NetworkConfig(width=1.0, dilations=(7, 9), embedding_size=5)
    network = build_network(config, native_dilation)
    layers = {x.name: x for x in network.layers if isinstance(x, keras.layers.Conv3D)}
    assert set(layers) == set(CONVOLUTIONS)
    for name, (filters, size, dilation, activation) in CONVOLUTIONS.items():
        layer = layers[name]
        assert layer.filters == filters, name
        assert layer.kernel_size == (size,) * 3, name
        assert layer.dilation_rate == (dilation,) * 3, name
        assert layer.activation.__name__ == activation, name
        assert layer.strides == ((2,) * 3 if name == "up" else (1,) * 3), name
        assert layer.use_bias, name
        # 'valid' is the same for the last 1^3 layer.
        assert layer.padding == "same" or size == 1, name
    assert isinstance(layers["up"], keras.layers.Conv3DTranspose)
    assert network.get_layer("pool").pool_size == (2, 2, 2)
    assert network.get_layer("pool").strides == (2, 2, 2)


def test_blocks_are_joined_as_in_the_paper():
    """What each sum, the concatenation and the ReLUs after them take."""
    network = build_network(SMALL)

    def sources(name):
        (node,) = network.get_layer(name).inbound_nodes
        # Each once: it gives its values, and what they are in empty space.
        return list(dict.fromkeys(x.name for x in tf.nest.flatten(node.inbound_layers)))

    assert sorted(sources("stem_sum")) == ["stem_conv_2", "stem_skip"]
    assert sources("stem_skip") == ["stem"]
    assert sources("pool") == ["stem_sum"]  # no ReLU between
    assert sorted(sources("block_2_sum")) == ["block_2_conv_2", "block_2_skip"]
    assert sources("block_2_skip") == ["pool"]
    assert sources("block_2") == ["block_2_sum"]
    assert sorted(sources("block_3_sum")) == ["block_2", "block_3_conv_2"]
    assert sources("block_3") == ["block_3_sum"]
    assert sources("dilated_1_conv_1") == ["block_3"]
    assert sources("dilated_2_conv_1") == ["dilated_1_conv_2"]
    assert sorted(sources("dilated_2")) == ["dilated_1_conv_2", "dilated_2_conv_2"]
    assert sources("concat") == ["dilated_2", "dilated_1_conv_2", "block_3", "block_2"]
    assert sources("join") == ["concat"]
    assert sources("up") == ["join"]
    assert sources("head_1") == ["up"]


@pytest.mark.parametrize("grid_shape", [(2, 2, 2), (4, 8, 2), (10, 6, 12), (34, 2, 18)])
def test_outputs_are_as_large_as_the_input(grid_shape):
    network = build_network(NetworkConfig(input_channels=2, width=1 / 16, embedding_size=6))
    outputs = network(np.ones((2, *grid_shape, 2), np.float32))
    assert set(outputs) == {"embedding", "direction"}
    assert outputs["embedding"].shape == (2, *grid_shape, 6)
    assert outputs["direction"].shape == (2, *grid_shape, 3)


def test_the_first_three_outputs_are_the_direction():
    network = build_network(SMALL)
    kernel, bias = network.get_layer("head_3").get_weights()
    bias = np.arange(len(bias), dtype=np.float32)
    network.get_layer("head_3").set_weights([0 * kernel, bias])
    outputs = network(np.zeros((1, 2, 2, 2, 3), np.float32))
    np.testing.assert_array_equal(outputs["direction"][0, 0, 0, 0], [0, 1, 2])
    np.testing.assert_array_equal(outputs["embedding"][0, 0, 0, 0], [3, 4, 5, 6])


def reach(config, axis, at, size, native_dilation=False):
    """Returns the first and last input voxel along an axis that output voxel `at` depends on.

    All weights are positive, so that no path cancels another and no ReLU is dead. The input
    grows away from `at`, so that max pooling keeps the voxel of a cell that is farther away.
    """
    network = build_network(config, native_dilation)
    for variable in network.trainable_variables:
        fan_in = np.prod(variable.shape[:-1])
        variable.assign(tf.fill(variable.shape, 1.0 / float(fan_in)))  # keeps values near 1
    shape = [4, 4, 4]
    shape[axis] = size
    ramp = 1 + np.abs(np.arange(size) - (at // 2 * 2 + 0.5))
    ramp = ramp.reshape([-1 if a == axis else 1 for a in range(3)])
    grid = tf.constant(np.broadcast_to(ramp[None, ..., None], (1, *shape, 1)), tf.float32)
    place = [2, 2, 2]
    place[axis] = at
    with tf.GradientTape() as tape:
        tape.watch(grid)
        outputs = network(grid)
        value = tf.reduce_sum(outputs["embedding"][(0, *place)])
    gradient = tape.gradient(value, grid).numpy()[0, ..., 0]
    assert np.isfinite(gradient).all()
    touched = np.flatnonzero(gradient.any(axis=tuple(a for a in range(3) if a != axis)))
    return touched[0], touched[-1]


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("at", [90, 91])
def test_receptive_field_is_142_voxels(axis, at):
    first, last = reach(NetworkConfig(input_channels=1, width=1 / 16), axis, at, 180)
    assert first > 0  # the grid's border cuts nothing
    assert last < 179
    assert last - first + 1 == 142
    assert first < at - 69 < at + 69 < last  # about as far to both sides


@pytest.mark.parametrize("dilations", [(1, 1), (5, 5), (2, 4)])
def test_receptive_field_grows_with_the_dilations(dilations):
    config = NetworkConfig(input_channels=1, width=1 / 16, dilations=dilations)
    first, last = reach(config, 0, 70, 140, native_dilation=True)
    assert last - first + 1 == 30 + 8 * sum(dilations)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("dilation", [2, 7])
def test_native_dilation_equals_keras(dilation, dtype, tolerance):
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=(2, 10, 6, 16, 3)), dtype)
    settings = {
        "filters": 4,
        "kernel_size": 3,
        "dilation_rate": dilation,
        "padding": "same",
        "activation": "softplus",  # smooth: no gradient that rounding could flip
        "dtype": dtype,
        "bias_initializer": "normal",
    }
    plain, native = keras.layers.Conv3D(**settings), DilatedConv3D(**settings)
    plain.build(x.shape)
    native.build(x.shape)
    native.set_weights(plain.get_weights())
    results = []
    for layer in (plain, native):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = layer(x)
            loss = tf.reduce_sum(value * tf.sin(value))
        results.append((value, *tape.gradient(loss, [x, layer.kernel, layer.bias])))
    for expected, found in zip(*results, strict=True):
        np.testing.assert_allclose(
            found, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max()
        )


def test_a_machine_without_native_dilation_takes_keras_own():
    """On a CPU it comes with oneDNN, which is off on some CPUs."""
    code = (
        "from mtml_tf.config import NetworkConfig; from mtml_tf.network import architecture as n; "
        "net = n.build_network(NetworkConfig(input_channels=1, width=1/16), native_dilation=True); "
        "outputs = net(n.tf.ones([1, 2, 2, 2, 1])); "
        "print(n._dilates_natively(n.tf.float32), outputs['direction'].shape)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": "-1"},
    )
    assert run.stdout == "False (1, 2, 2, 2, 3)\n", run.stderr


def test_both_builds_give_the_same_values_with_the_same_weights():
    plain, native = build_network(SMALL), build_network(SMALL, native_dilation=True)
    assert [v.name for v in plain.variables] == [v.name for v in native.variables]
    native.set_weights(plain.get_weights())
    grid = np.random.default_rng(0).normal(size=(1, 20, 16, 18, 3)).astype(np.float32)
    for name, expected in plain(grid).items():
        np.testing.assert_allclose(native(grid)[name], expected, rtol=1e-4, atol=1e-6)


def give_weights(network):
    """Random ones, biases too, that keep values near 1."""
    rng = np.random.default_rng(0)
    weights = network.get_weights()
    sizes = [np.prod(w.shape[:-1]) if w.ndim > 1 else 4 for w in weights]
    network.set_weights(
        [rng.normal(size=w.shape) / np.sqrt(n) for w, n in zip(weights, sizes, strict=True)]
    )


@pytest.mark.parametrize("native_dilation", [False, True])
def test_an_empty_grid_has_one_answer_however_large(native_dilation):
    """A margin adds what each layer says of empty space, and no border."""
    config = NetworkConfig(3, width=1 / 16, dilations=(1, 2))
    network = build_network(config, native_dilation)
    give_weights(network)
    outputs = network(np.zeros((2, 6, 4, 8, 3), np.float32))
    for values in outputs.values():
        assert np.abs(values).max() > 1e-3
        pattern = values[0, :2, :2, :2]  # one a parity, of the transposed convolution
        np.testing.assert_allclose(values, np.tile(pattern, (2, 3, 2, 4, 1)), rtol=1e-4, atol=1e-6)
    empty = keras.Model(network.input, network.get_layer("join").output[0])
    assert not empty(np.zeros((1, 6, 4, 8, 3), np.float32)).numpy().any()


def test_values_far_from_the_grids_end_are_those_of_plain_layers(monkeypatch):
    """The layers hold differences from empty space, and tell the paper's values in the end."""

    def plain_answer(layer, products, empty=None):
        values = layer.activation(products + layer.bias)
        return values if empty is None else (values, tf.zeros([layer.filters]))

    network = build_network(NetworkConfig(3, width=1 / 16, dilations=(1, 1)))
    give_weights(network)
    grid = np.random.default_rng(1).normal(size=(1, 56, 56, 56, 3)).astype(np.float32)
    found = network(grid)
    monkeypatch.setattr(Conv3D, "answer", plain_answer)
    expected = network(grid)
    middle = slice(24, 32)  # beyond half the receptive field of 46 from the border
    for name in found:
        values, others = (x[name][0, middle, middle, middle] for x in (found, expected))
        np.testing.assert_allclose(values, others, rtol=1e-3, atol=1e-4)
