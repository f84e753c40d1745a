"""Tests of mtml_tf.training.fitting."""

import dataclasses
import errno
import os
import pathlib
import threading

import pytest
from scenes import box_scene, write_folder
from training_runs import eagerly, latest_step, one_step, quiet

from mtml_tf.backend import tf
from mtml_tf.data.records import DataFolder
from mtml_tf.network import memory
from mtml_tf.training import run
from mtml_tf.training.fitting import Schedule, schedule_of


@pytest.mark.parametrize(
    ("done", "fits"),
    [
        (0, [(range(0, 3), 0, 4)]),
        (3, [(range(0, 1), 3, 1), (range(1, 3), 4, 4)]),
        (4, [(range(1, 3), 4, 4)]),
        (10, [(range(2, 3), 10, 2)]),
        (12, []),
        (13, []),
    ],
)
def test_what_is_left_of_a_run(done, fits):
    assert Schedule(steps_per_epoch=4, epochs=3).left(done) == fits


@pytest.mark.parametrize(("batch_size", "steps"), [(1, 3), (2, 2), (3, 1), (4, 1)])
def test_every_scene_comes_in_an_epoch(tmp_path, batch_size, steps):
    folder = DataFolder(write_folder(tmp_path / "data", train=[box_scene(i) for i in range(3)]))
    experiment = quiet(epochs=5)
    data = dataclasses.replace(experiment.data, batch_size=batch_size)
    schedule = schedule_of(folder, dataclasses.replace(experiment, data=data))
    assert schedule == Schedule(steps, 5)
    assert schedule.total_steps == 5 * steps


def test_steps_of_all_grids_and_epochs_are_traced_once(tmp_path, monkeypatch):
    """An epoch that was begun, then whole ones: two calls of `fit`."""
    scenes = [box_scene(seed, grid_shape=(8 + 2 * seed, 12, 8)) for seed in range(4)]
    data = str(write_folder(tmp_path / "data", two=scenes))
    experiment = dataclasses.replace(quiet(epochs=1), train_split="two")
    learners, original = [], run.fit

    def fit(learner, *rest):
        learners.append(learner)
        original(learner, *rest)

    monkeypatch.setattr(run, "fit", fit)
    monkeypatch.setattr(Schedule, "left", lambda *_: [(range(1), 1, 1), (range(1, 3), 2, 2)])
    run.train(data, str(tmp_path / "run"), experiment)
    (learner,) = learners
    assert learner.step == 5
    assert learner.training_model.train_tf_function.experimental_get_tracing_count() == 1


# --- What runs out -----------------------------------------------------------------------------


def test_a_step_that_memory_does_not_hold_is_told_in_one_sentence(tmp_path, monkeypatch):
    """A grid beyond any address space, on a machine that claims to have room for it."""
    far = dataclasses.replace(box_scene(0), grid_shape=(65534, 65534, 65534))
    data = write_folder(tmp_path / "data", two=[far, dataclasses.replace(far, name="b")])
    monkeypatch.setattr(memory, "available_memory", lambda *_: 1 << 80)
    monkeypatch.setattr(run, "check_scenes", lambda *_: None)
    experiment = one_step()
    still = dataclasses.replace(experiment.data, flips=False, rotations=False, origins=False)
    sentence = rf"{data}: take a smaller .*: expected batches that fit into memory, found that"
    with eagerly(), pytest.raises(ValueError, match=sentence):
        run.train(str(data), str(tmp_path / "run"), dataclasses.replace(experiment, data=still))
    assert latest_step(tmp_path / "run") is None


def test_a_full_disk_is_not_taken_for_a_lack_of_memory(tmp_path, monkeypatch):
    """TensorFlow raises the same error for both; here from a device that is always full."""
    data = write_folder(tmp_path / "data", two=[box_scene(seed) for seed in range(2)])

    def save(*_, **__):
        tf.io.write_file("/dev/full", "a checkpoint " * 100_000)

    monkeypatch.setattr(tf.train.CheckpointManager, "save", save)
    sentence = (
        rf"^{tmp_path}/run: expected room to write it, found the disk full; make room and start "
        "again, which goes on from the last checkpoint$"
    )
    with eagerly(), pytest.raises(ValueError, match=sentence):
        run.train(str(data), str(tmp_path / "run"), one_step())


@pytest.mark.parametrize(
    ("number", "found"),
    [
        (errno.ENOENT, "a file of records, found: .*; make the data folder again"),
        (errno.EIO, "a disk that works, found that it fails .*; mend it or its mount and read it"),
    ],
)
def test_a_shard_that_goes_while_it_is_trained_on_is_named(number, found, tmp_path, monkeypatch):
    """Not the run folder, though the disk of the data may have failed."""
    data = write_folder(tmp_path / "data", two=[box_scene(seed) for seed in range(2)])
    shard, fit, opened = data / "two-00000-of-00001.tfrecord", run.fit, pathlib.Path.open

    def fail(path, *how):
        if path == shard and threading.current_thread() is not threading.main_thread():
            raise OSError(number, os.strerror(number), str(path))
        return opened(path, *how)

    def fit_without_it(*arguments):
        monkeypatch.setattr(pathlib.Path, "open", fail)
        fit(*arguments)

    monkeypatch.setattr(run, "fit", fit_without_it)
    sentence = (
        rf"^{shard}: expected {found}.*; start again, which goes on from the last checkpoint$"
    )
    with eagerly(), pytest.raises(ValueError, match=sentence):
        run.train(str(data), str(tmp_path / "run"), one_step(hashes="first"))
