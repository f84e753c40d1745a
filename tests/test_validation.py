"""Tests of mtml_tf.training.validation."""

import dataclasses
import types

import numpy as np
import pytest
from scenes import BOX, CLASSES, FLOOR, box_scene, give_random_weights, write_folder

from mtml_tf.config import DataConfig, LossConfig, NetworkConfig, TrainConfig
from mtml_tf.data.pipeline import make_dataset
from mtml_tf.data.records import DataFolder
from mtml_tf.data.writing import write_data_folder
from mtml_tf.network.voxel_network import VoxelNetwork
from mtml_tf.scene import Instance
from mtml_tf.scoring.ground_truth import ground_truth_ids
from mtml_tf.training.building import build_training_model
from mtml_tf.training.validation import losses_of, validate


def test_the_loss_is_the_mean_over_the_scenes_whatever_the_batch(tmp_path):
    """Three scenes in batches of two: the last one counts a third, and not a half."""
    scenes = [box_scene(seed, grid_shape=(8 + 4 * seed, 12, 8)) for seed in range(3)]
    splits = {"val": scenes, **{f"only{i}": [scene] for i, scene in enumerate(scenes)}}
    folder = DataFolder(write_folder(tmp_path / "data", **splits))
    network = VoxelNetwork(NetworkConfig(3, width=1 / 8, dilations=(1, 2)))
    give_random_weights(network)
    config = LossConfig()

    training_model = build_training_model(network, config, 0)
    training_model.compile()
    alone = [
        training_model.evaluate(
            make_dataset(folder, f"only{i}", DataConfig(), training=False),
            verbose=0,
            return_dict=True,
        )
        for i in range(3)
    ]
    losses = losses_of(network, config, folder, "val", DataConfig(batch_size=2))
    found = losses()
    assert set(found) == {"loss", "variance", "distance", "regularization", "direction"}
    for name, value in found.items():
        values = [of_one[name] for of_one in alone]
        assert value == pytest.approx(np.mean(values), rel=1e-5)
        assert abs(value - (np.mean(values[:2]) + values[2]) / 2) > 1e-4 * abs(value)

    for variable in network.dense.variables:
        variable.assign(variable * 0.5)
    assert losses()["loss"] != pytest.approx(found["loss"], rel=1e-3)  # of the weights as they are


def test_validation_compares_with_the_true_classes_whatever_the_input_says(tmp_path):
    """On the vertices: here three in the first voxel, one in each other."""
    scene = box_scene(1)
    vertex_to_voxel = np.concatenate([[0, 0], np.arange(len(scene.coordinates))])
    truth = ground_truth_ids(scene, CLASSES)
    wrongly_labelled = dataclasses.replace(
        scene,
        semantic_ids=np.full_like(scene.semantic_ids, FLOOR),
        vertex_to_voxel=vertex_to_voxel.astype(np.int32),
    )
    labelled = [(wrongly_labelled, truth[vertex_to_voxel])]
    write_data_folder(tmp_path, CLASSES, {"val": labelled})
    objects = np.unique(truth[truth % 1000 > 0])

    def ap50(class_of):
        found = [Instance(class_of(i), 1.0, np.flatnonzero(truth == i)) for i in objects]
        model = types.SimpleNamespace(
            config=types.SimpleNamespace(classes=CLASSES), segment=lambda seen: found
        )
        config = TrainConfig(validation_split="val", min_vertices=1)
        return validate(model, DataFolder(tmp_path), config).average.ap50

    assert len(set(objects // 1000)) == 2
    assert ap50(lambda i: int(i) // 1000) == 1
    assert 0 < ap50(lambda i: BOX) < 1
    assert ap50(lambda i: FLOOR) == 0
