"""Tests of mtml_tf.network.voxel_network: both executions, and what a scene's values depend on."""

import dataclasses

import numpy as np
import pytest
from executions import (
    assert_equal_gradients,
    assert_equal_outputs,
    both_executions,
    double_precision,
)
from scenes import CLASSES, batch_of, box_scene, give_random_weights, sparse_scene
from scipy import special

from mtml_tf.backend import tf
from mtml_tf.classes import ClassSet
from mtml_tf.config import NetworkConfig, SegmentConfig
from mtml_tf.inference import models
from mtml_tf.inference.models import Model, ModelConfig
from mtml_tf.network.voxel_network import VoxelNetwork

# More than 8 channels take the scattered first layer, fewer the plain one.
MANY = ClassSet(tuple(range(1, 13)), tuple(f"class {i}" for i in range(1, 13)), ("thing",) * 12)


# Scenes of one batch: their grids and their numbers of voxels.
BATCHES = {
    "one scene": [((16, 12, 8), 100)],
    "padding rows": [((12, 16, 8), 30), ((12, 16, 8), 90), ((12, 16, 8), 2)],
    "different grids": [((16, 6, 10), 50), ((8, 14, 4), 80)],
    "a single voxel": [((8, 8, 8), 1)],
    "the smallest grid": [((2, 2, 2), 8)],
}


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("classes", [CLASSES, MANY], ids=["3 classes", "12 classes"])
def test_occupied_equals_dense_for_labels(batch, classes):
    config = NetworkConfig(len(classes), width=1 / 8, num_labels=len(classes) + 1)
    occupied, dense = both_executions(config)
    scenes = [
        sparse_scene(seed, grid_shape, count, ids=(0, *classes.ids))
        for seed, (grid_shape, count) in enumerate(BATCHES[batch])
    ]
    inputs = batch_of(scenes, classes)
    assert_equal_outputs(occupied(inputs), dense(inputs))


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("num_features", [5, 11])
def test_occupied_equals_dense_for_features(batch, num_features):
    occupied, dense = both_executions(NetworkConfig(num_features, width=1 / 8))
    scenes = [
        sparse_scene(seed, grid_shape, count, num_features=num_features)
        for seed, (grid_shape, count) in enumerate(BATCHES[batch])
    ]
    inputs = batch_of(scenes)
    assert_equal_outputs(occupied(inputs), dense(inputs))


@pytest.mark.parametrize("what", ["3 classes", "12 classes", "5 features", "11 features"])
def test_gradients_of_both_executions_are_equal(what, monkeypatch):
    """Of labels and of features, through the plain and the scattered first layer."""
    count, kind = what.split()
    classes = MANY if count == "12" else CLASSES
    shape = {"ids": (0, *classes.ids)} if kind == "classes" else {"num_features": int(count)}
    scenes = [sparse_scene(0, (8, 12, 6), 60, **shape), sparse_scene(1, (10, 6, 8), 20, **shape)]
    inputs = batch_of(scenes, classes)
    if kind == "features":
        inputs["features"] = inputs["features"].astype(np.float64)
    with double_precision(monkeypatch):
        networks = both_executions(NetworkConfig(int(count), width=1 / 8))
        assert len(networks[0].dense.trainable_variables) == 34
        assert_equal_gradients(networks, inputs)


def test_a_network_that_learned_nothing_tells_the_labels_that_it_gets():
    network = VoxelNetwork(NetworkConfig(len(CLASSES), width=1 / 16, num_labels=4))
    for weight in network.dense.get_layer("labels").weights:
        weight.assign(tf.zeros_like(weight))
    inputs = batch_of([sparse_scene(0, (8, 8, 8), 40, ids=(0, *CLASSES.ids))])
    told = network(inputs)["labels"][0].numpy().argmax(axis=1)
    np.testing.assert_array_equal(np.where(told == 3, -1, told), inputs["channels"][0])
    assert set(told) == {0, 1, 2, 3}


def test_labels_of_sure_probabilities_are_those_of_class_ids():
    network = VoxelNetwork(NetworkConfig(len(CLASSES), width=1 / 16, num_labels=4))
    give_random_weights(network)
    inputs = batch_of([sparse_scene(0, (8, 8, 8), 40, ids=(0, *CLASSES.ids))])
    channels = inputs.pop("channels")
    probabilities = {**inputs, "features": tf.one_hot(channels, len(CLASSES)).numpy()}
    found, expected = network(probabilities), network({**inputs, "channels": channels})
    np.testing.assert_allclose(found["labels"], expected["labels"], rtol=0, atol=1e-5)


def test_padding_rows_are_zero():
    network = VoxelNetwork(NetworkConfig(len(CLASSES), width=1 / 16))
    give_random_weights(network)
    outputs = network(batch_of([sparse_scene(0, (8, 8, 8), 5), sparse_scene(1, (8, 8, 8), 20)]))
    for values in outputs.values():
        assert values.shape[:2] == (2, 20)
        assert not values[0, 5:].numpy().any()
        assert values[0, :5].numpy().any(axis=1).all()


def test_unlabelled_voxels_are_empty_input():
    """They have values of their own, but others see them as empty."""
    network = VoxelNetwork(NetworkConfig(len(CLASSES), width=1 / 16))
    give_random_weights(network)
    scene = sparse_scene(0, (8, 8, 8), 40)
    inputs = batch_of([scene])
    labelled = scene.semantic_ids > 0
    assert 0 < labelled.sum() < 40
    alone = {name: x[:, labelled] for name, x in inputs.items() if name != "grid_shape"}
    alone["grid_shape"] = inputs["grid_shape"]
    expected = {name: x.numpy()[:, labelled] for name, x in network(inputs).items()}
    assert_equal_outputs(network(alone), expected)


@pytest.mark.parametrize("execution", ["occupied", "dense"])
def test_order_of_voxels_does_not_matter(execution):
    network = VoxelNetwork(NetworkConfig(len(CLASSES), width=1 / 16), execution)
    give_random_weights(network)
    inputs = batch_of([sparse_scene(0, (8, 10, 6), 40)])
    order = np.random.default_rng(0).permutation(40)
    turned = {**inputs, **{name: inputs[name][:, order] for name in ("coordinates", "channels")}}
    expected = {name: x.numpy()[:, order] for name, x in network(inputs).items()}
    assert_equal_outputs(network(turned), expected)


@pytest.mark.parametrize("execution", ["occupied", "dense"])
@pytest.mark.parametrize("classes", [CLASSES, MANY], ids=["3 classes", "12 classes"])
def test_scenes_of_a_batch_do_not_see_each_other(execution, classes):
    """Whatever lies beside a scene, in a batch and in memory, it has the values that it has alone.

    The scenes fill their grids up to the faces, where a wrong index would reach the next one.
    """
    network = VoxelNetwork(NetworkConfig(len(classes), width=1 / 16), execution)
    give_random_weights(network)
    scenes = [
        sparse_scene(seed, (4, 6, 4), count, ids=classes.ids)
        for seed, count in enumerate((60, 96, 20))
    ]
    alone = [network(batch_of([scene], classes)) for scene in scenes]
    together = network(batch_of(scenes, classes))
    for i, (scene, expected) in enumerate(zip(scenes, alone, strict=True)):
        found = {name: x[i : i + 1, : len(scene.coordinates)] for name, x in together.items()}
        assert_equal_outputs(found, expected)


def model_of(network, classes=CLASSES):
    config = ModelConfig(
        network.config, SegmentConfig(classes.thing_ids), classes, 0.05, has_direction=True
    )
    return Model(config, network)


@pytest.mark.parametrize("execution", ["occupied", "dense"])
def test_a_scene_has_its_own_values_beside_a_larger_one(execution):
    network = VoxelNetwork(NetworkConfig(len(CLASSES), width=1 / 16), execution)
    give_random_weights(network)
    small = sparse_scene(0, (6, 8, 4), 60)
    alone = network(batch_of([small]))
    together = network(batch_of([small, sparse_scene(1, (20, 18, 12), 90)]))
    assert_equal_outputs({name: x[:1, :60] for name, x in together.items()}, alone)


def test_prediction_is_of_the_scene_alone_on_its_own_grid():
    """To the bit, whatever was predicted before; and the same as a batch of one."""
    network = VoxelNetwork(NetworkConfig(len(CLASSES), width=1 / 16, num_labels=4))
    give_random_weights(network)
    model = model_of(network)
    small = box_scene(0, grid_shape=(8, 10, 8))
    large = box_scene(1, grid_shape=(18, 12, 10))
    first = model.predict(small)
    model.predict(large)
    again = model.predict(small)
    for before, after in zip(first, again, strict=True):
        assert before.dtype == np.float32
        np.testing.assert_array_equal(after, before)
    alone = network(batch_of([small]))
    found = {**first._asdict(), "labels": np.log(first.labels)}
    expected = {name: x.numpy()[0] for name, x in alone.items()}
    expected["labels"] -= special.logsumexp(expected["labels"], axis=1, keepdims=True)
    assert_equal_outputs(found, expected)


@pytest.mark.parametrize("margin", [1, 7, 20, 40])
@pytest.mark.parametrize("execution", ["occupied", "dense"])
def test_predictions_do_not_depend_on_the_margin(execution, margin):
    network = VoxelNetwork(NetworkConfig(len(CLASSES), 1 / 16, (1, 1), num_labels=4), execution)
    give_random_weights(network)
    model = model_of(network)
    scene = box_scene(0, grid_shape=(8, 10, 8))
    size = 8 + 2 * margin, 10 + 2 * margin, 8 + 2 * margin
    moved = dataclasses.replace(
        scene, coordinates=scene.coordinates + margin, grid_shape=size, origin=scene.origin - 1.0
    )
    for found, expected in zip(model.predict(moved), model.predict(scene), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_prediction_refuses_input_of_another_length():
    model = model_of(VoxelNetwork(NetworkConfig(len(CLASSES), width=1 / 16)))
    sentence = "scene scene_000: expected 3 input channels as the model was trained with, found 5"
    with pytest.raises(ValueError, match=sentence):
        model.predict(box_scene(0, with_features=True))


def test_weights_of_one_execution_serve_the_other(tmp_path):
    config = NetworkConfig(len(MANY), width=1 / 8)
    occupied = VoxelNetwork(config)
    give_random_weights(occupied, seed=5)
    models.write_weights(tmp_path, models.LAST, occupied)
    dense = VoxelNetwork(config, execution="dense")
    checkpoint = tf.train.Checkpoint(network=dense.dense)
    checkpoint.read(str(tmp_path / "last" / "weights")).assert_consumed()
    inputs = batch_of([sparse_scene(0, (10, 8, 6), 40, ids=(0, *MANY.ids))], MANY)
    assert_equal_outputs(dense(inputs), occupied(inputs))
    models.write_weights(tmp_path, models.BEST, dense)
    models.write_model_config(tmp_path, model_of(dense, MANY).config)
    loaded = models.load_model(tmp_path, models.BEST)
    for variable, expected in zip(
        loaded.network.dense.variables, dense.dense.variables, strict=True
    ):
        np.testing.assert_array_equal(variable, expected)
    loaded = models.load_model(tmp_path, models.BEST, execution="dense")
    assert loaded.network.execution == "dense"
    assert_equal_outputs(loaded.network(inputs), dense(inputs), tolerance=1e-9)


def gradients_of(network, inputs):
    """Outputs and gradients of some loss, by a graph; and how many convolutions the graph has."""

    @tf.function
    def compute():
        with tf.GradientTape() as tape:
            outputs = network(inputs, training=True)
            loss = tf.add_n([tf.reduce_sum(tf.sin(x)) for x in outputs.values()])
        return outputs, tape.gradient(loss, network.dense.trainable_variables)

    outputs, gradients = compute()
    operations = compute.get_concrete_function().graph.get_operations()
    return outputs, gradients, sum(operation.type == "Conv3D" for operation in operations)


@pytest.mark.parametrize("classes", [CLASSES, MANY], ids=["3 classes", "12 classes"])
def test_recomputed_activations_give_equal_gradients(classes):
    config = NetworkConfig(len(classes), width=1 / 8)
    kept, recomputed = VoxelNetwork(config), VoxelNetwork(config, recompute=True)
    give_random_weights(kept)
    recomputed.dense.set_weights(kept.dense.get_weights())
    inputs = batch_of([sparse_scene(0, (8, 10, 6), 60, ids=(0, *classes.ids))], classes)
    outputs, gradients, convolutions = gradients_of(kept, inputs)
    again = gradients_of(recomputed, inputs)
    assert_equal_outputs(again[0], outputs, tolerance=1e-6)
    for variable, found, expected in zip(
        kept.dense.trainable_variables, again[1], gradients, strict=True
    ):
        scale = np.abs(expected).max()
        assert scale > 1e-6, variable.name
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * scale)
    stages = 12 + 2  # convolutions on the grid behind the first layer, and in the head
    assert again[2] == convolutions + stages


@pytest.mark.parametrize("execution", ["occupied", "dense"])
@pytest.mark.parametrize("classes", [CLASSES, MANY], ids=["3 classes", "12 classes"])
def test_bfloat16_is_near_float32(execution, classes, bfloat16):
    config = NetworkConfig(len(classes), width=1 / 2)
    exact, rounded = (VoxelNetwork(config, execution, name) for name in ("float32", bfloat16))
    give_random_weights(exact)
    rounded.dense.set_weights(exact.dense.get_weights())
    assert {variable.dtype for variable in rounded.dense.variables} == {tf.float32}
    inputs = batch_of([sparse_scene(0, (8, 10, 6), 60, ids=(0, *classes.ids))], classes)
    expected, expected_gradients, _ = gradients_of(exact, inputs)
    found, gradients, _ = gradients_of(rounded, inputs)
    for name, values in expected.items():
        assert found[name].dtype == tf.float32
        difference = np.abs(found[name] - values).max() / np.abs(values).max()
        assert 1e-5 < difference < 0.05
    for gradient, exact_gradient in zip(gradients, expected_gradients, strict=True):
        assert gradient.dtype == tf.float32
        together = np.sum(gradient * exact_gradient)
        assert together > 0.98 * np.linalg.norm(gradient) * np.linalg.norm(exact_gradient)


@pytest.mark.parametrize("execution", ["occupied", "dense"])
def test_in_bfloat16_biases_of_many_voxels_have_the_gradients_of_float32(execution, bfloat16):
    """A sum in bfloat16 stops growing at 256 times its addends; here there are 13,824."""
    config = NetworkConfig(len(MANY), width=1 / 8)
    exact, rounded = (VoxelNetwork(config, execution, name) for name in ("float32", bfloat16))
    give_random_weights(exact)
    rounded.dense.set_weights(exact.dense.get_weights())
    inputs = batch_of([sparse_scene(0, (24, 24, 24), 1000, ids=(0, *MANY.ids))], MANY)
    _, expected, _ = gradients_of(exact, inputs)
    _, found, _ = gradients_of(rounded, inputs)
    for variable, gradient, exact_gradient in zip(
        exact.dense.trainable_variables, found, expected, strict=True
    ):
        if "bias" in variable.name:
            off = np.linalg.norm(gradient - exact_gradient) / np.linalg.norm(exact_gradient)
            assert off < 0.1, variable.name
