"""Tests of mtml_tf.semantic.training."""

import dataclasses
import re
import shutil

import numpy as np
import pytest
from semantic_scenes import NETWORK, experiment, write_points
from training_runs import assert_bit_identical, eagerly, latest_step

from mtml_tf.backend import keras, tf
from mtml_tf.semantic.batches import CHANNELS, SITES, scenes_of_step, training_batch
from mtml_tf.semantic.models import find_run_folders, load_semantic_model, read_description
from mtml_tf.semantic.point_folder import PointFolder
from mtml_tf.semantic.training import build_learner, scenes_of_fold, train_semantic
from mtml_tf.training.stopping import Stopping

EXPERIMENT = experiment(2)


@pytest.fixture(name="data_dir", scope="module")
def _data_dir(tmp_path_factory):
    return str(write_points(tmp_path_factory.mktemp("semantic")))


def weights_of(run_dir):
    return load_semantic_model(run_dir).network.get_weights()


def test_the_loss_is_the_mean_over_the_labelled_points(data_dir):
    folder, settings = PointFolder(data_dir), experiment()
    scenes = scenes_of_step(folder.names("train"), settings.data, 0)
    batch = training_batch(folder, "train", scenes, NETWORK, settings.data)
    batch[CHANNELS] = np.where(np.arange(len(batch[CHANNELS])) % 3, batch[CHANNELS], -1)
    learner = build_learner(NETWORK, settings.train, 10, tf.distribute.get_strategy())
    logits = learner.training_model(batch, training=True)
    (loss,) = learner.training_model.losses
    probabilities = keras.activations.softmax(logits).numpy()[batch[SITES]]
    labelled = batch[CHANNELS] >= 0
    right = probabilities[labelled, batch[CHANNELS][labelled]]
    np.testing.assert_allclose(loss, -np.log(right).mean(), rtol=1e-5)


@pytest.fixture(name="whole", scope="module")
def _whole(data_dir, tmp_path_factory):
    """A run that came to its end in one go."""
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    with eagerly():
        train_semantic(data_dir, str(run_dir), EXPERIMENT)
    return run_dir


def test_a_run_that_was_stopped_ends_with_the_weights_of_one_that_was_not(
    data_dir, whole, tmp_path, monkeypatch
):
    hook = Stopping.on_train_batch_end

    def interrupted(self, batch, logs):
        self._signals.came = True
        hook(self, batch, logs)

    monkeypatch.setattr(Stopping, "on_train_batch_end", interrupted)
    with eagerly(), pytest.raises(KeyboardInterrupt):
        train_semantic(data_dir, str(tmp_path), EXPERIMENT)
    monkeypatch.undo()
    assert latest_step(tmp_path) == 1
    with eagerly():
        train_semantic(data_dir, str(tmp_path), EXPERIMENT)
    assert_bit_identical(weights_of(tmp_path), weights_of(whole))


def test_each_fold_is_kept_from_one_network_that_starts_with_given_weights(
    data_dir, whole, tmp_path
):
    names = PointFolder(data_dir).names("train")
    still = experiment(1, folds=2, init_from=str(whole), learning_rate=1e-12)
    with eagerly():
        trained = train_semantic(data_dir, str(tmp_path), still)
    folders = find_run_folders(tmp_path)
    assert [folder.name for folder in folders] == ["fold_1_of_2", "fold_2_of_2"]
    described = [read_description(folder) for folder in folders]
    assert described == [model.description for model in trained]
    assert [one.fold for one in described] == [1, 2]
    assert sorted(described[0].unseen + described[1].unseen) == sorted(names)
    assert len(described[0].unseen) == len(described[1].unseen)
    given = load_semantic_model(whole).network.trainable_variables
    for model in trained:
        for ours, theirs in zip(model.network.trainable_variables, given, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-9)


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"data": {"seed": 5}}, "expected --seed=0 as this run was begun with, found --seed=5"),
        (
            {"decay": "cosine"},
            "expected --decay=constant as this run was begun with, found --decay=cosine",
        ),
    ],
)
def test_a_run_goes_on_by_its_own_method_only(data_dir, whole, changed, found):
    with pytest.raises(ValueError, match=found):
        train_semantic(data_dir, str(whole), experiment(2, **changed))


def test_a_run_goes_on_with_its_own_scenes_and_classes_only(data_dir, whole, tmp_path):
    fewer = write_points(tmp_path / "fewer", num_train=3)
    told = f"{fewer}: expected the scenes that {whole} was begun with, of split 'train' in "
    with pytest.raises(ValueError, match=re.escape(f"{told}{data_dir}, found others")):
        train_semantic(str(fewer), str(whole), experiment(2))
    renamed = tmp_path / "renamed"
    shutil.copytree(data_dir, renamed)
    classes = renamed / "classes.csv"
    classes.write_text(classes.read_text().replace("box", "crate"))
    with pytest.raises(ValueError, match=r"renamed: expected the classes that .* was begun with"):
        train_semantic(str(renamed), str(whole), experiment(2))


def test_too_many_folds_and_no_such_split_are_told(data_dir, tmp_path):
    with pytest.raises(ValueError, match="expected at least 9 scenes in split 'train'"):
        train_semantic(data_dir, str(tmp_path / "run"), experiment(1, folds=9))
    other = dataclasses.replace(experiment(1), train_split="test")
    with pytest.raises(ValueError, match="expected a split 'test'"):
        train_semantic(data_dir, str(tmp_path / "run"), other)
    assert not (tmp_path / "run").exists()


def test_scans_of_one_room_are_in_one_fold():
    names = ["scene0000_00", "scene0000_01", "scene0001_00", "scan_10", "scan_11", "scene0002_00"]
    folds = [scenes_of_fold(names, fold, 2) for fold in (1, 2)]
    assert sorted(folds[0] + folds[1]) == sorted(names)
    assert folds[0] == ("scene0000_00", "scene0000_01", "scan_10", "scene0002_00")


def test_colours_are_not_lost_where_nothing_else_is_told():
    network = dataclasses.replace(NETWORK, inputs=("color",))
    with pytest.raises(ValueError, match="expected inputs with geometry for color_loss, found col"):
        experiment(network=network, data={"color_loss": 0.5})


def test_a_budget_leaves_a_site_to_every_scene():
    with pytest.raises(ValueError, match="at least one for each scene of a batch, found 1"):
        experiment(data={"max_sites": 1})
