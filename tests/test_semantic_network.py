"""Tests of mtml_tf.semantic.network."""

import numpy as np
import pytest

from mtml_tf.backend import keras, tf
from mtml_tf.semantic.config import SemanticNetworkConfig
from mtml_tf.semantic.network import build_semantic_network, table_inputs
from mtml_tf.semantic.tables import build_levels, unique_sites

LARGE = SemanticNetworkConfig(voxel_size=0.02, planes=32, block_reps=2, residual=True)
TINY = SemanticNetworkConfig(num_classes=4, planes=3, num_levels=3)


def inputs_of(config, seed=0, shape=(2, 8, 8, 8)):
    rng = np.random.default_rng(seed)
    sites, _ = unique_sites(np.argwhere(rng.random(shape) < 0.2))
    features = rng.normal(size=(len(sites), len(config.channels))).astype(np.float32)
    return sites, {"features": features, **table_inputs(build_levels(sites, config.num_levels))}


def test_the_small_network_has_the_published_number_of_weights():
    network = build_semantic_network(SemanticNetworkConfig())
    assert sum(int(np.prod(v.shape)) for v in network.trainable_variables) == 2_689_860


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


def test_the_large_network_has_the_weights_of_its_description():
    network = build_semantic_network(LARGE)
    count = sum(int(np.prod(v.shape)) for v in network.trainable_variables)
    assert count == weights_of_unet(32, 2, 3, 20) == 30_104_372


@pytest.mark.parametrize("changed", [{}, {"residual": True, "block_reps": 2}])
def test_outputs_have_a_row_for_each_site_and_every_weight_has_a_gradient(changed):
    config = SemanticNetworkConfig(num_classes=4, planes=3, num_levels=3, **changed)
    network = build_semantic_network(config)
    sites, inputs = inputs_of(config)
    with tf.GradientTape() as tape:
        logits = network(inputs, training=True)
        loss = tf.reduce_sum(logits * tf.random.stateless_normal(tf.shape(logits), (1, 2)))
    assert logits.shape == (len(sites), 4)
    gradients = tape.gradient(loss, network.trainable_variables)
    assert all(np.any(gradient) for gradient in gradients)


def test_kernels_begin_with_the_deviation_of_the_library():
    keras.utils.set_random_seed(0)
    network = build_semantic_network(SemanticNetworkConfig())
    for name, inputs in (("level_7_down_1", 27 * 112), ("level_2_out", 8 * 32)):
        kernel = network.get_layer(name).kernel.numpy()
        assert kernel.std() == pytest.approx((2 / inputs) ** 0.5, rel=0.03)


def test_a_scene_alone_has_the_logits_that_it_has_in_a_batch():
    network = build_semantic_network(TINY)
    sites, inputs = inputs_of(TINY)
    together = network(inputs).numpy()
    for scene in (0, 1):
        own = sites[:, 0] == scene
        tables = table_inputs(build_levels(sites[own], TINY.num_levels))
        alone = network({"features": inputs["features"][own], **tables})
        np.testing.assert_allclose(alone, together[own], atol=1e-5)


def test_a_network_is_saved_and_loaded_with_equal_outputs(tmp_path):
    network = build_semantic_network(TINY)
    _, inputs = inputs_of(TINY)
    network.save(tmp_path / "network")
    loaded = keras.models.load_model(tmp_path / "network", compile=False)
    np.testing.assert_allclose(loaded(inputs), network(inputs), atol=1e-6)


def test_scenes_of_all_sizes_share_one_trace():
    network = build_semantic_network(TINY)
    traces = []

    def apply(inputs):
        traces.append(1)
        return network(inputs)

    signature = {
        name: tf.TensorSpec(tensor.shape, tensor.dtype) for name, tensor in network.input.items()
    }
    compiled = tf.function(apply, input_signature=[signature])
    for seed, size in ((0, 5), (1, 9)):
        _, inputs = inputs_of(TINY, seed, (1, size, size, size))
        compiled(inputs)
    assert len(traces) == 1
