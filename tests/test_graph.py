"""Tests of mtml_tf.network.graph: a layer that is added runs, or the network runs dense."""

import dataclasses
import logging

import numpy as np
import pytest
from executions import (
    assert_equal_gradients,
    assert_equal_outputs,
    both_executions,
    double_precision,
)
from scenes import CLASSES, batch_of, give_random_weights, sparse_scene

from mtml_tf.backend import keras, tf
from mtml_tf.config import NetworkConfig, SegmentConfig
from mtml_tf.inference import exporting
from mtml_tf.inference.model_config import ModelConfig
from mtml_tf.inference.models import Model
from mtml_tf.network import architecture, graph
from mtml_tf.network.blocks import split_grid
from mtml_tf.network.graph import Graph
from mtml_tf.network.voxel_network import VoxelNetwork

layers = keras.layers
SMALL = NetworkConfig(12, width=1 / 16, dilations=(2, 2), num_labels=13)


def conv(filters, size, **settings):
    return architecture.Conv3D(filters, size, padding="same", **settings)


def another_dilated_block(layer, x):
    """Behind a layer of 4 filters."""
    x = layer(x)
    y = architecture.DilatedConv3D(4, 3, dilation_rate=3, padding="same", name="added")(x)
    return layers.Add(name="sum")([layers.ReLU(name="relu")(y), x])


# In place of which layer, and what: it gets the layer and its input.
ADDED = {
    "1^3 layer behind up": ("up", lambda layer, x: conv(6, 1, name="added")(layer(x))),
    "bent layer behind up": (
        "up",
        lambda layer, x: conv(16, 1, activation="softplus", name="added")(layer(x)),
    ),
    "activation behind up": ("up", lambda layer, x: layers.ELU(name="bend")(layer(x))),
    "skip around head_1": (
        "head_1",
        lambda layer, x: layers.Add(name="sum")([layer(x), conv(8, 1, name="added")(x)]),
    ),
    "layer without bias in the head": (
        "head_2",
        lambda layer, x: layer(layers.Dense(8, use_bias=False, name="added")(x)),
    ),
    "dilated block": ("dilated_2_conv_2", another_dilated_block),
    "layer in the stem": (
        "stem_conv_1",
        lambda layer, x: conv(3, 5, activation="tanh", name="added")(layer(x)),
    ),
    "layer behind the stem's first": ("stem", lambda layer, x: conv(2, 3, name="added")(layer(x))),
}
NOT_UNDERSTOOD = {
    "3^3 layer behind up": (
        ("up", lambda layer, x: conv(6, 3, name="added")(layer(x))),
        "expected layers behind up that look at one voxel each, found added (Conv3D)",
    ),
    "statistics of the grid behind up": (
        ("head_1", lambda layer, x: layers.GroupNormalization(2, name="norm")(layer(x))),
        "expected layers behind up that look at one voxel each, found norm (GroupNormalization)",
    ),
    "strided layer before the grid's": (
        ("stem", lambda layer, x: layer(conv(2, 1, name="added")(x))),
        "expected one 'same' convolution of odd size alone to take the grid, found added (Conv3D)",
    ),
    "skip around the first layer": (
        ("stem", lambda layer, x: layers.Add(name="sum")([layer(x), conv(1, 1, name="added")(x)])),
        "expected one 'same' convolution of odd size alone to take the grid, found stem (Conv3D)",
    ),
    "a layer that is used twice": (
        ("head_2", lambda layer, x: layer(layer(x))),
        "expected every layer to be used once, found head_2 (Conv3D)",
    ),
    "full resolution before up": (
        ("up", lambda layer, x: layers.MaxPool3D(2)(layer(layers.UpSampling3D(name="wide")(x)))),
        "expected one 4^3 transposed convolution from half resolution on all paths, found up "
        "(Conv3DTranspose)",
    ),
}


class Changed:
    """Stands in for a layer; what it gives is not known in empty space."""

    def __init__(self, make, layer):
        self.make, self.layer = make, layer

    def __call__(self, x, empty=None):
        values = self.make(self.layer, x)
        if empty is None or isinstance(self.layer, layers.Conv3DTranspose):
            return values
        return values, tf.zeros([values.shape[-1]], values.dtype)


@pytest.fixture(name="change")
def fixture_change(monkeypatch):
    """Puts something else in place of a layer of `build_network`."""

    def change(name, make):
        def patched(kind):
            def build(*args, **settings):
                layer = kind(*args, **settings)
                return Changed(make, layer) if settings.get("name") == name else layer

            return build

        def patch_within(build):
            def build_changed(*args, **settings):
                with monkeypatch.context() as patch:
                    for kind in ("Conv3D", "DilatedConv3D", "Conv3DTranspose"):
                        patch.setattr(architecture, kind, patched(getattr(architecture, kind)))
                    return build(*args, **settings)

            return build_changed

        monkeypatch.setattr(architecture, "build_network", patch_within(architecture.build_network))

    return change


def features_of(count=60, seed=0, grid_shape=(8, 12, 6)):
    return sparse_scene(seed, grid_shape, count, num_features=12)


@pytest.mark.parametrize("name", ADDED)
def test_an_added_layer_runs_at_occupied_voxels(name, change, monkeypatch):
    change(*ADDED[name])
    inputs = batch_of([features_of(), features_of(20, 1, (10, 6, 8))])
    inputs["features"] = inputs["features"].astype(np.float64)
    with double_precision(monkeypatch):
        networks = both_executions(SMALL)
        added = {"activation behind up": 0, "layer without bias in the head": 1}.get(name, 2)
        assert len(networks[0].dense.trainable_variables) == 36 + added
        occupied, dense = (network(inputs) for network in networks)
        assert_equal_outputs(occupied, dense, tolerance=1e-10)
        assert_equal_gradients(networks, inputs)


def model_of(network):
    segment = SegmentConfig(thing_ids=CLASSES.thing_ids)
    return Model(ModelConfig(network.config, segment, CLASSES, 0.1, True), network)


@pytest.mark.parametrize("name", NOT_UNDERSTOOD)
def test_a_graph_that_is_not_understood_runs_dense_and_says_so(name, change, caplog):
    place, sentence = NOT_UNDERSTOOD[name]
    change(*place)
    with caplog.at_level(logging.WARNING):
        network = VoxelNetwork(SMALL)
    assert caplog.messages == [f"the network runs dense, all of it on the whole grid: {sentence}"]
    assert network.execution == "dense"
    give_random_weights(network)
    scene = features_of()
    found = network(batch_of([scene]))
    grid = np.zeros((1, *scene.grid_shape, 12), np.float32)
    grid[(0, *scene.coordinates.T)] = scene.features
    at_voxels = {
        key: values.numpy()[(0, *scene.coordinates.T)][None]
        for key, values in network.dense(grid).items()
    }
    none = np.maximum(1 - scene.features.sum(axis=1, keepdims=True), 0)
    at_voxels["labels"] += 4 * np.concatenate([scene.features, none], axis=1)
    assert_equal_outputs(found, at_voxels)


def test_the_network_of_the_paper_is_understood(caplog):
    plan = Graph(architecture.build_network(SMALL)).plan()
    assert [[layer.name for layer in stage.layers][-1] for stage in plan.stages] == ["pool", "join"]
    assert (plan.stem.name, plan.up.name, plan.folded.name) == ("stem", "up", "head_1")
    VoxelNetwork(SMALL)
    assert not caplog.messages


def test_the_halo_is_half_the_papers_receptive_field():
    assert Graph(architecture.build_network(NetworkConfig(1))).halo == 72  # 142 / 2, made even


# In place of which layer, what, and how many voxels it adds to the halo at dilations (2, 2).
WIDER = {
    "two layers of dilation 3": ("dilated_2_conv_2", another_dilated_block, 6),
    "5^3 layer in the stem": (*ADDED["layer in the stem"], 2),
    "1^3 layer": (*ADDED["1^3 layer behind up"], 0),
}


@pytest.mark.parametrize("name", WIDER)
def test_blocks_reach_as_far_as_an_added_layer(name, change):
    usual = VoxelNetwork(SMALL).halo
    layer, make, more = WIDER[name]
    change(layer, make)
    network = VoxelNetwork(SMALL)
    assert network.halo == usual + more + more % 2
    give_random_weights(network)
    scene = dataclasses.replace(features_of(2000, grid_shape=(120, 8, 8)), voxel_size=0.1)
    model = model_of(network)
    whole = model.predict(scene)
    blocks = split_grid(scene.grid_shape, network.halo, 100 * 8 * 8)
    assert len(blocks) > 1
    for found, expected in zip(model._predict_blocks(scene, blocks), whole, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_where_a_layers_reach_is_not_known_no_grid_is_split(change):
    change("dilated_2_conv_2", lambda layer, x: layers.GroupNormalization(2, name="norm")(layer(x)))
    network = VoxelNetwork(SMALL)
    assert (network.execution, network.halo) == ("occupied", graph.WHOLE_GRID)
    shape = (400, 80, 80)
    (block,) = split_grid(shape, network.halo, 400 * 80 * 80)
    assert block.grid_shape == shape
    assert not split_grid(shape, network.halo, 400 * 80 * 80 - 1)


@pytest.mark.parametrize("name", ["1^3 layer behind up", "3^3 layer behind up"])
def test_an_exported_model_has_the_added_layer_and_its_halo(name, change, tmp_path):
    change(*(ADDED.get(name) or NOT_UNDERSTOOD[name][0]))
    network = VoxelNetwork(SMALL)
    give_random_weights(network)
    model = model_of(network)
    exporting.write_saved_model(model, tmp_path)
    loaded = exporting.load_saved_model(tmp_path)
    for told in ("halo", "most_voxels", "execution"):
        assert getattr(loaded.network, told) == getattr(network, told)
    scene = dataclasses.replace(features_of(), voxel_size=0.1)
    for found, expected in zip(loaded.predict(scene), model.predict(scene), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
