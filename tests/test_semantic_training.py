"""Tests of mtml_tf.semantic.training."""

import dataclasses

import numpy as np
import pytest

from mtml_tf.backend import keras, tf
from mtml_tf.semantic.batches import CHANNELS, SITES, scenes_of_step, training_batch
from mtml_tf.semantic.models import find_run_folders, load_semantic_model, read_description
from mtml_tf.semantic.point_folder import PointFolder
from mtml_tf.semantic.training import build_learner, train_semantic
from mtml_tf.training.stopping import Stopping
from tests.semantic_scenes import NETWORK, experiment, write_points


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


def test_a_network_learns_what_a_box_is(data_dir, tmp_path):
    run_dir = str(tmp_path / "run")
    said = []
    train_semantic(data_dir, run_dir, experiment(20, learning_rate=0.01), report=said.append)
    assert said == [f"{run_dir}: 40 steps done, weights in {run_dir}/last"]
    history = [
        value.simple_value or tf.make_ndarray(value.tensor)
        for path in (tmp_path / "run" / "logs").rglob("events*")
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
        if value.tag == "epoch_loss"
    ]
    assert history[-1] < 0.2 < history[0]


def test_a_run_that_was_stopped_ends_with_the_weights_of_one_that_was_not(
    data_dir, tmp_path, monkeypatch
):
    train_semantic(data_dir, str(tmp_path / "whole"), experiment(2))
    stopped = str(tmp_path / "stopped")
    hook = Stopping.on_train_batch_end

    def interrupted(self, batch, logs):
        self._signals.came = True
        hook(self, batch, logs)

    monkeypatch.setattr(Stopping, "on_train_batch_end", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_semantic(data_dir, stopped, experiment(2))
    monkeypatch.undo()
    train_semantic(data_dir, stopped, experiment(2))
    for ours, theirs in zip(weights_of(stopped), weights_of(tmp_path / "whole"), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_each_fold_is_kept_from_one_network(data_dir, tmp_path):
    names = PointFolder(data_dir).names("train")
    trained = train_semantic(data_dir, str(tmp_path / "run"), experiment(1, folds=2))
    folders = find_run_folders(tmp_path / "run")
    assert [folder.name for folder in folders] == ["fold_1_of_2", "fold_2_of_2"]
    described = [read_description(folder) for folder in folders]
    assert described == [model.description for model in trained]
    assert sorted(described[0].unseen + described[1].unseen) == sorted(names)
    assert len(described[0].unseen) == len(described[1].unseen)


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"data": {"seed": 5}}, "expected seed 0 as this run was begun with, found 5"),
        ({"decay": "cosine"}, "expected decay constant as this run was begun with, found cosine"),
    ],
)
def test_a_run_goes_on_by_its_own_method_only(data_dir, tmp_path, changed, found):
    run_dir = str(tmp_path / "run")
    train_semantic(data_dir, run_dir, experiment(1))
    with pytest.raises(ValueError, match=found):
        train_semantic(data_dir, run_dir, experiment(2, **changed))


def test_weights_of_equal_shape_are_taken_from_another_run(data_dir, tmp_path):
    train_semantic(data_dir, str(tmp_path / "first"), experiment(1))
    started = train_semantic(
        data_dir,
        str(tmp_path / "second"),
        experiment(1, init_from=str(tmp_path / "first"), learning_rate=1e-12),
    )
    first = load_semantic_model(tmp_path / "first").network
    for ours, theirs in zip(
        started[0].network.trainable_variables, first.trainable_variables, strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_too_many_folds_and_no_such_split_are_told(data_dir, tmp_path):
    with pytest.raises(ValueError, match="expected at least 9 scenes in split 'train'"):
        train_semantic(data_dir, str(tmp_path / "run"), experiment(1, folds=9))
    other = dataclasses.replace(experiment(1), train_split="test")
    with pytest.raises(ValueError, match="expected a split 'test'"):
        train_semantic(data_dir, str(tmp_path / "run"), other)
    assert not (tmp_path / "run").exists()


