"""Tests of mtml_tf.semantic.batches."""

import dataclasses

import numpy as np
import pytest
from semantic_scenes import BOX, NETWORK, box_scan, write_points

from mtml_tf.data.pipeline import Share
from mtml_tf.semantic.batches import (
    CHANNELS,
    SITES,
    make_batches,
    network_input,
    scenes_of_step,
    training_batch,
)
from mtml_tf.semantic.config import SemanticDataConfig
from mtml_tf.semantic.point_folder import PointFolder
from mtml_tf.semantic.points import point_scene
from mtml_tf.semantic.views import view_for_prediction

DATA = SemanticDataConfig(batch_size=2)


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory):
    return PointFolder(write_points(tmp_path_factory.mktemp("semantic"), 5, 1))


def test_a_site_has_the_mean_of_its_points():
    points = point_scene(box_scan(0))
    coarse = dataclasses.replace(NETWORK, voxel_size=0.3)
    view = view_for_prediction(points, coarse, 0)
    inputs, sites = network_input([view], 2)
    for site in (0, 7, len(inputs["features"]) - 1):
        mean = view.features[sites == site].mean(axis=0)
        np.testing.assert_allclose(inputs["features"][site], mean, atol=1e-6)
        assert len(np.unique(view.voxels[sites == site], axis=0)) == 1


def test_every_scene_comes_once_an_epoch_and_in_another_order_in_the_next():
    names = [f"scene_{number}" for number in range(6)]
    epochs = [
        [name for step in steps for _, name in scenes_of_step(names, DATA, step)]
        for steps in (range(3), range(3, 6))
    ]
    assert sorted(epochs[0]) == sorted(epochs[1]) == names
    assert epochs[0] != epochs[1]


def test_replicas_share_the_scenes_of_a_step():
    names = [f"scene_{number}" for number in range(8)]
    data = dataclasses.replace(DATA, batch_size=4)
    whole = scenes_of_step(names, data, 3)
    shares = [scenes_of_step(names, data, 3, Share(2, first, 1)) for first in (0, 1)]
    assert shares[0] + shares[1] == whole


def test_points_of_a_batch_know_their_class(folder):
    scenes = scenes_of_step(folder.names("train"), DATA, 0)
    batch = training_batch(folder, "train", scenes, NETWORK, DATA)
    labels = np.concatenate([folder.read("train", name).semantic_ids for _, name in scenes])
    np.testing.assert_array_equal(batch[CHANNELS], labels == BOX)
    assert batch[SITES].max() == len(batch["features"]) - 1


def test_batches_are_those_of_their_step_wherever_training_begins(folder):
    names = folder.names("train")
    whole = list(make_batches(folder, "train", names, NETWORK, DATA, 0, 4))
    rest = list(make_batches(folder, "train", names, NETWORK, DATA, 2, 2))
    assert len(whole) == 4
    for one, other in zip(whole[2:], rest, strict=True):
        for name, values in one.items():
            np.testing.assert_array_equal(values, other[name])


def test_a_split_without_labels_is_refused(folder, monkeypatch):
    read = PointFolder.read

    def unlabelled(self, split, name):
        return dataclasses.replace(read(self, split, name), semantic_ids=None)

    monkeypatch.setattr(PointFolder, "read", unlabelled)
    with pytest.raises(ValueError, match="expected labels in split 'train' to train on"):
        training_batch(folder, "train", [(0, folder.names("train")[0])], NETWORK, DATA)
