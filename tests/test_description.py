"""Tests of mtml_tf.training.description."""

import dataclasses

import numpy as np
import pytest
from scenes import CLASSES, box_scene, write_folder
from training_runs import EXPERIMENT

from mtml_tf.config import LossConfig
from mtml_tf.data.records import DataFolder
from mtml_tf.data.writing import write_data_folder
from mtml_tf.training.description import describe

OF_FEATURES = dataclasses.replace(EXPERIMENT, loss=LossConfig())


def test_scenes_without_instances_are_refused(tmp_path):
    scene = dataclasses.replace(box_scene(0), instance_ids=None)
    path = tmp_path / "data"
    write_data_folder(path, CLASSES, {"train": [(scene, None)]})
    with pytest.raises(
        ValueError,
        match=rf"{path}: expected instance ids in split 'train' to train on, found none",
    ):
        describe(DataFolder(path), EXPERIMENT)


def test_labels_are_corrected_where_they_are_the_input_and_nowhere_else(tmp_path):
    labels, features = tmp_path / "labels", tmp_path / "features"
    write_folder(labels, train=[box_scene(0)])
    described = describe(DataFolder(labels), EXPERIMENT)
    assert described.segment.label_ids == (*CLASSES.ids, 0)
    assert described.network.num_labels == len(CLASSES) + 1
    write_folder(features, train=[box_scene(0, with_features=True)])
    with pytest.raises(ValueError, match="leave --alpha_label at 0: expected labels as the input"):
        describe(DataFolder(features), EXPERIMENT)
    assert describe(DataFolder(features), OF_FEATURES).network.num_labels == 0


def test_features_that_are_class_probabilities_are_told_from_others(tmp_path):
    scene = box_scene(0)
    labels = CLASSES.channels_of(scene.semantic_ids)
    probabilities = np.eye(len(CLASSES), dtype=np.float32)[labels] * 0.7 + 0.1
    for features, expected in ((probabilities, CLASSES.ids), (probabilities + 1, ())):
        folder = tmp_path / f"data{len(expected)}"
        write_folder(folder, train=[dataclasses.replace(scene, features=features)])
        config = describe(DataFolder(folder), OF_FEATURES)
        assert config.segment.probability_ids == expected


def test_features_are_probabilities_only_where_those_of_all_scenes_are(tmp_path):
    first, last = box_scene(0), box_scene(1)
    sure = np.eye(len(CLASSES), dtype=np.float32)
    scenes = [
        dataclasses.replace(scene, features=sure[CLASSES.channels_of(scene.semantic_ids)])
        for scene in (first, last)
    ]
    write_folder(tmp_path / "all", train=scenes)
    config = describe(DataFolder(tmp_path / "all"), OF_FEATURES)
    assert config.segment.probability_ids == CLASSES.ids
    scenes[1].features[-1, 0] += 0.5
    write_folder(tmp_path / "most", train=scenes)
    config = describe(DataFolder(tmp_path / "most"), OF_FEATURES)
    assert config.segment.probability_ids == ()
