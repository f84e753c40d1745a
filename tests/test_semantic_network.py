"""Tests of mtml_tf.semantic.network."""

import numpy as np
import pytest

from mtml_tf.backend import keras, tf
from mtml_tf.semantic import sparse_conv
from mtml_tf.semantic.config import SemanticNetworkConfig
from mtml_tf.semantic.network import build_semantic_network, table_inputs
from mtml_tf.semantic.tables import build_levels, unique_sites

SMALL = SemanticNetworkConfig()
LARGE = SemanticNetworkConfig(voxel_size=0.02, planes=32, block_reps=2, residual=True)
TINY = SemanticNetworkConfig(num_classes=4, planes=2, num_levels=2)


@pytest.fixture(name="tiny", scope="module")
def _tiny():
    return build_semantic_network(TINY)


@pytest.fixture(name="weights_only")
def _weights_only(monkeypatch):
    """Saves most of the time that building takes: layers make their weights and compute little."""
    for name in ("submanifold_conv", "strided_conv", "inverse_conv"):
        monkeypatch.setattr(sparse_conv, name, lambda rows, kernel, *tables: rows @ kernel[0])
    monkeypatch.setattr(keras.layers.BatchNormalization, "call", lambda self, inputs: inputs)


def inputs_of(config, seed=0, shape=(2, 8, 8, 8)):
    rng = np.random.default_rng(seed)
    sites, _ = unique_sites(np.argwhere(rng.random(shape) < 0.2))
    features = rng.normal(size=(len(sites), len(config.channels))).astype(np.float32)
    return sites, {"features": features, **table_inputs(build_levels(sites, config.num_levels))}


def num_weights(network):
    return sum(int(np.prod(v.shape)) for v in network.trainable_variables)


def test_the_small_network_has_the_published_weights_and_first_deviations(weights_only):
    keras.utils.set_random_seed(0)
    network = build_semantic_network(SMALL)
    assert num_weights(network) == 2_689_860
    for name, inputs in (("level_7_down_1", 27 * 112), ("level_2_out", 8 * 32)):
        kernel = network.get_layer(name).kernel.numpy()
        assert kernel.std() == pytest.approx((2 / inputs) ** 0.5, rel=0.03)


def weights_of_unet(planes, reps, channels, classes):
    """Counts the weights of the residual configuration by its description, level by level."""

    def block(source, target):
        skip = 0 if source == target else source * target
        return skip + 2 * source + 27 * source * target + 2 * target + 27 * target**2

    count = 27 * channels * planes + 2 * planes + planes * classes + classes
    for level in range(1, 8):
        own, below = level * planes, (level + 1) * planes
        count += reps * block(own, own)
        if level < 7:
            count += 2 * own + 8 * own * below + 2 * below + 8 * below * own
            count += block(2 * own, own) + (reps - 1) * block(own, own)
    return count


def test_the_large_network_has_the_weights_of_its_description(weights_only):
    assert num_weights(build_semantic_network(LARGE)) == weights_of_unet(32, 2, 3, 20) == 30_104_372


@pytest.mark.parametrize("residual", [False, True])
def test_outputs_have_a_row_for_each_site_and_every_weight_has_a_gradient(tiny, residual):
    config = SemanticNetworkConfig(4, planes=2, num_levels=3, residual=True) if residual else TINY
    network = build_semantic_network(config) if residual else tiny
    sites, inputs = inputs_of(config)
    with tf.GradientTape() as tape:
        logits = network(inputs, training=True)
        loss = tf.reduce_sum(logits * tf.random.stateless_normal(tf.shape(logits), (1, 2)))
    assert logits.shape == (len(sites), 4)
    gradients = tape.gradient(loss, network.trainable_variables)
    assert all(np.any(gradient) for gradient in gradients)


def test_a_scene_alone_has_the_logits_that_it_has_in_a_batch(tiny):
    sites, inputs = inputs_of(TINY)
    together = tiny(inputs).numpy()
    for scene in (0, 1):
        own = sites[:, 0] == scene
        tables = table_inputs(build_levels(sites[own], TINY.num_levels))
        alone = tiny({"features": inputs["features"][own], **tables})
        np.testing.assert_allclose(alone, together[own], atol=1e-5)
