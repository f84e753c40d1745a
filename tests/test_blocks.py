"""Tests of mtml_tf.network.blocks: block by block equals the whole."""

import dataclasses
import math

import numpy as np
import pytest
from scenes import CLASSES, give_random_weights, sparse_scene

from mtml_tf.backend import tf
from mtml_tf.classes import ClassSet
from mtml_tf.config import NetworkConfig, SegmentConfig
from mtml_tf.inference import models
from mtml_tf.inference.model_config import ModelConfig
from mtml_tf.inference.models import Model
from mtml_tf.network.blocks import crop, split_grid
from mtml_tf.network.voxel_network import VoxelNetwork

# A receptive field of 62 voxels instead of 142, so that small scenes have blocks.
NETWORK = NetworkConfig(len(CLASSES), width=1 / 16, dilations=(2, 2), num_labels=4)


@pytest.fixture(scope="module")
def model():
    """One with random weights; its graph is made once for all tests."""
    network = VoxelNetwork(NETWORK)
    give_random_weights(network)
    segment = SegmentConfig(thing_ids=CLASSES.thing_ids)
    return Model(ModelConfig(network.config, segment, CLASSES, 0.1, True), network)


def needed_for_a_voxel(network, scene):
    occupancy = len(scene.coordinates) / math.prod(scene.grid_shape)
    return models.bytes_per_voxel(network, occupancy)


@pytest.mark.parametrize("parts", [2, 5])
def test_blocks_give_the_values_of_the_whole(model, parts, monkeypatch):
    scene = sparse_scene(0, (150, 90, 12), 3000)
    scene = dataclasses.replace(scene, voxel_size=0.1)
    whole = model.predict(scene)
    reach = model.network.halo
    sizes = {
        len(blocks): most
        for most in range(40_000, 162_000, 2_000)
        if (blocks := split_grid(scene.grid_shape, reach, most))
    }
    count = min(count for count in sizes if count >= parts)
    for_a_voxel = needed_for_a_voxel(NETWORK, scene)
    monkeypatch.setattr(models, "available_memory", lambda: (sizes[count] + 1) * for_a_voxel)
    in_blocks = model.predict(scene)
    for found, expected in zip(in_blocks, whole, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_less_than_half_the_receptive_field_would_not_do(model):
    scene = sparse_scene(0, (150, 12, 12), 4000)
    scene = dataclasses.replace(scene, voxel_size=0.1)
    whole, *_ = model.predict(scene)
    near, *_ = model._predict_blocks(scene, split_grid(scene.grid_shape, 4, 150 * 12 * 8))
    assert np.abs(near - whole).max() > 1e-3 * np.abs(whole).max()


def test_memory_that_runs_out_leads_to_smaller_blocks(model, monkeypatch):
    scene = dataclasses.replace(sparse_scene(0, (300, 12, 12), 500), voxel_size=0.1)
    whole, *_ = model.predict(scene)
    graph, seen, most = model.network.traced, [], 200 * 12 * 12

    def call(inputs):
        shape = inputs["grid_shape"][0].numpy()
        seen.append(math.prod(shape.tolist()))
        if seen[-1] > most:
            raise tf.errors.ResourceExhaustedError(None, None, "out of memory")
        return graph(inputs)

    monkeypatch.setitem(model.network.__dict__, "traced", call)
    found, *_ = model.predict(scene)
    assert seen[0] == 300 * 12 * 12
    fitting = [size for size in seen if size <= most]
    assert len(fitting) > 1
    assert seen[-len(fitting) :] == fitting
    np.testing.assert_allclose(found, whole, rtol=0, atol=1e-5 * np.abs(whole).max())


def test_a_grid_of_which_not_even_a_block_fits_is_refused(model, monkeypatch):
    scene = dataclasses.replace(sparse_scene(0, (150, 12, 12), 500), voxel_size=0.1)
    monkeypatch.setattr(models, "available_memory", lambda: 10_000)
    with pytest.raises(ValueError, match="expected a grid that fits into memory"):
        model.predict(scene)


@pytest.mark.parametrize("most", [96 * 80 * 16, 140 * 80 * 16, 200 * 80 * 16])
def test_cores_fill_the_grid_once_and_boxes_are_even(most):
    shape = (200, 80, 16)
    blocks = split_grid(shape, 32, most)
    filled = np.zeros(shape, int)
    for block in blocks:
        (x0, y0, z0), (x1, y1, z1) = block.core
        filled[x0:x1, y0:y1, z0:z1] += 1
        assert all(bound % 2 == 0 for corner in block.box for bound in corner)
        assert all(low >= 0 for low in block.box[0])
        assert all(high <= size for high, size in zip(block.box[1], shape, strict=True))
        assert math.prod(block.grid_shape) <= most
    np.testing.assert_array_equal(filled, 1)


def test_a_grid_that_fits_is_one_block():
    (block,) = split_grid((8, 6, 4), 72, 8 * 6 * 4)
    assert block.core == block.box == ((0, 0, 0), (8, 6, 4))


def test_a_cropped_scene_knows_its_rows():
    scene = sparse_scene(1, (40, 8, 8), 200)
    block = split_grid((40, 8, 8), 4, 24 * 8 * 8)[1]
    part, rows, rows_of_part = crop(scene, block)
    np.testing.assert_array_equal(
        part.coordinates[rows_of_part] + np.array(block.box[0]), scene.coordinates[rows]
    )
    np.testing.assert_array_equal(part.semantic_ids[rows_of_part], scene.semantic_ids[rows])
    np.testing.assert_allclose(
        part.origin, scene.origin + np.array(block.box[0]) * scene.voxel_size
    )


def test_the_cheapest_way_to_cut_is_taken():
    # Along x the boxes are 20 + 20 + 40 and 20 + 40 + 20 long (halo 20 within, none at the ends),
    # along y a cut of 60 would be computed nearly twice.
    blocks = split_grid((120, 60, 16), 20, 80 * 60 * 16)
    assert [block.core[1][1] for block in blocks] == [60, 60]
    assert [block.grid_shape for block in blocks] == [(80, 60, 16), (80, 60, 16)]


def test_halos_do_not_hide_that_a_grid_can_be_cut():
    blocks = split_grid((200, 200, 200), 72, 5_000_000)
    assert max(math.prod(block.grid_shape) for block in blocks) <= 5_000_000
    computed = sum(math.prod(block.grid_shape) for block in blocks)
    assert computed < 18 * 200**3


def test_no_memory_at_all_is_told_whatever_the_width(monkeypatch):
    network = dataclasses.replace(NETWORK, width=0.3)
    segment = SegmentConfig(thing_ids=CLASSES.thing_ids)
    model = Model(ModelConfig(network, segment, CLASSES, 0.1, True), VoxelNetwork(network))
    scene = sparse_scene(0, (12, 12, 12), 20)
    for_a_voxel = needed_for_a_voxel(network, scene)
    monkeypatch.setattr(models, "available_memory", lambda: 12**3 * for_a_voxel - 1)
    with pytest.raises(ValueError, match=r"scene .*: expected a grid that fits into memory"):
        model.predict(scene)


def test_many_classes_come_in_blocks_too(monkeypatch):
    """Their first layer is another."""
    many = ClassSet(tuple(range(1, 13)), tuple("abcdefghijkl"), ("thing",) * 12)
    network = dataclasses.replace(NETWORK, input_channels=12, num_labels=13)
    segment = SegmentConfig(thing_ids=many.thing_ids)
    model = Model(ModelConfig(network, segment, many, 0.1, True), VoxelNetwork(network))
    scene = sparse_scene(0, (150, 20, 12), 1000, ids=(0, *many.ids))
    whole = model.predict(scene)
    most = 120 * 20 * 12
    assert len(split_grid(scene.grid_shape, model.network.halo, most)) > 1
    for_a_voxel = needed_for_a_voxel(network, scene)
    monkeypatch.setattr(models, "available_memory", lambda: most * for_a_voxel)
    for found, expected in zip(model.predict(scene), whole, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_scenes_of_any_size_and_models_of_one_network_share_one_graph(model, monkeypatch):
    """TensorFlow warns of retracing otherwise, and each trace of a network takes seconds."""
    traced = []
    network, values = model.network, model.network.call
    monkeypatch.setattr(
        network, "call", lambda inputs, **how: traced.append(1) or values(inputs, **how)
    )
    monkeypatch.delitem(network.__dict__, "traced", raising=False)  # that of other tests
    for seed, shape in enumerate([(8, 8, 8), (12, 10, 6), (16, 8, 4)]):
        model.with_settings(min_voxels=4 + seed).predict(
            dataclasses.replace(sparse_scene(seed, shape, 20), voxel_size=0.1)
        )
    assert len(traced) == 1
