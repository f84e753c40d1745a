"""Tests of mtml_tf.training.run: whole runs on tiny scenes."""

import dataclasses
import json
import logging
import re
import shutil
import sys

import numpy as np
import pytest
from scenes import CLASSES, box_scene
from training_runs import (
    EXPERIMENT,
    FLAGS,
    STEPS_PER_EPOCH,
    assert_bit_identical,
    changed,
    command,
    eagerly,
    latest_step,
    logged_values,
    one_step,
    quiet,
    run_program,
    weights_of,
    write_data,
)

from mtml_tf.backend import tf
from mtml_tf.data.pipeline import training_scenes
from mtml_tf.data.records import DataFolder
from mtml_tf.inference import models
from mtml_tf.network import architecture
from mtml_tf.training import run


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("training") / "data")


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """Folder of a run of the experiment that nothing interrupted, and its model."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    return path, run.train(str(data), str(path), EXPERIMENT)


@pytest.fixture(scope="module")
def run_dir(whole):
    return whole[0]


@pytest.fixture
def eager():
    with eagerly():
        yield


# --- A run -------------------------------------------------------------------------------------


def test_the_loss_falls_and_every_term_is_logged(run_dir):
    loss = logged_values(run_dir, "epoch_loss")
    assert len(loss) == 2
    assert loss[1] < loss[0] - 0.1
    names = ("variance", "distance", "regularization", "direction", "label")
    terms = {name: logged_values(run_dir, f"epoch_{name}") for name in names}
    for epoch in range(2):
        weighted = (
            0.5 * (terms["variance"][epoch] + terms["distance"][epoch])
            + 0.0005 * terms["regularization"][epoch]
            + terms["direction"][epoch]
            + 0.5 * terms["label"][epoch]
        )
        assert loss[epoch] == pytest.approx(weighted, rel=1e-4)
    assert len(logged_values(run_dir, "epoch_loss", "validation")) == 2
    assert len(logged_values(run_dir, "epoch_ap50", "validation")) == 2


def test_a_run_folder_holds_all_that_prediction_needs(whole):
    path, trained = whole
    scene = box_scene(200, grid_shape=(12, 12, 8))
    last = models.load_model(path, models.LAST)
    for found, expected in zip(last.predict(scene), trained.predict(scene), strict=True):
        np.testing.assert_array_equal(found, expected)
    found, expected = last.segment(scene), trained.segment(scene)
    assert [(i.class_id, i.score, list(i.indices)) for i in found] == [
        (i.class_id, i.score, list(i.indices)) for i in expected
    ]
    assert len(found) > 0

    for which in (models.BEST, models.LAST):
        config = models.load_model(path, which).config
        assert config == trained.config
        assert config.classes == CLASSES
        assert config.network == dataclasses.replace(
            EXPERIMENT.network, input_channels=3, num_labels=4
        )
        assert config.voxel_size == 0.05
        assert config.has_direction
        assert config.segment.thing_ids == CLASSES.thing_ids
        assert config.segment.min_voxels == 4
        assert set(config.segment.size_statistics) == set(CLASSES.thing_ids)
    assert_bit_identical(weights_of(path, ""), weights_of(path, models.BEST))


def test_two_checkpoints_are_kept(run_dir):
    assert latest_step(run_dir) == 2 * STEPS_PER_EPOCH
    assert len(list((run_dir / "checkpoints").glob("*.index"))) == 2


def test_a_finished_run_is_left_as_it_is(data, run_dir):
    before, begun, told = weights_of(run_dir), [], []
    run.train(
        str(data), str(run_dir), EXPERIMENT, lambda: begun.append("begun"), report=told.append
    )
    assert_bit_identical(weights_of(run_dir), before)
    assert not begun
    (sentence,) = told
    assert re.fullmatch(
        rf"{run_dir}: 30 steps done, weights in {run_dir}/last and {run_dir}/best "
        r"\(validation AP50 [01]\.\d{3}\)",
        sentence,
    )


def test_a_run_that_is_longer_than_asked_for_is_left_as_it_is(data, run_dir, caplog):
    before, begun = weights_of(run_dir), []
    with caplog.at_level(logging.INFO, logger="absl"):
        run.train(str(data), str(run_dir), changed(epochs=1), lambda: begun.append("begun"))
    assert "trained for 30 steps already where --epochs=1 asks for 15" in caplog.text
    assert "resumed" not in caplog.text
    assert_bit_identical(weights_of(run_dir), before)
    assert not begun


# --- Going on ----------------------------------------------------------------------------------

KILLED = """
import os, signal
from mtml_tf import program, train
from mtml_tf.training import callbacks

def kill(self, batch, logs):
    if batch == 5:
        os.kill(os.getpid(), signal.SIGKILL)

callbacks.Progress.on_train_batch_end = kill
program.run(train.main)
"""


@pytest.fixture(scope="module")
def killed(data, tmp_path_factory):
    """Folder of the same run, killed after 6 steps: the last checkpoint is of 4."""
    path = tmp_path_factory.mktemp("runs") / "killed"
    arguments = [f"--data_dir={data}", f"--run_dir={path}", *FLAGS]
    result = run_program(sys.executable, "-c", KILLED, *arguments)
    assert result.returncode == -9, result.stderr
    assert latest_step(path) == 4
    return path


def test_a_killed_run_can_be_used_before_it_goes_on(killed, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(killed, moved)
    reader = tf.train.load_checkpoint(str(moved / "checkpoints" / "ckpt-4"))
    dense = models.load_model(moved, models.LAST).network.dense
    biases = [layer.bias for layer in dense.layers if layer.weights]
    saved = [
        reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if name.startswith("network/") and name.endswith("bias/.ATTRIBUTES/VARIABLE_VALUE")
    ]
    assert len(biases) == 18
    assert any(bias.numpy().any() for bias in biases)
    assert sorted(b.numpy().tolist() for b in biases) == sorted(b.tolist() for b in saved)
    for which, names in (("", "best or last"), (models.BEST, "best")):
        with pytest.raises(
            ValueError,
            match=rf"{moved}: expected trained weights in {names}, found none; give "
            "--weights=last, which takes the newest checkpoint of an unfinished run",
        ):
            models.load_model(moved, which)


def test_a_run_that_goes_on_has_no_last_weights_of_before(data, run_dir, tmp_path, monkeypatch):
    path = tmp_path / "run"
    shutil.copytree(run_dir, path)
    assert (path / models.LAST).is_dir()

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "fit", stop)
    with pytest.raises(KeyboardInterrupt):
        run.train(str(data), str(path), changed(epochs=EXPERIMENT.train.epochs + 1))
    assert not (path / models.LAST).exists()
    before = weights_of(run_dir, models.LAST)
    assert_bit_identical(weights_of(path, models.LAST), before)  # from the checkpoint


def test_a_run_without_a_checkpoint_is_told_to_begin(killed, tmp_path):
    shutil.copy(killed / "model.json", tmp_path)
    for which in ("", models.BEST, models.LAST):
        with pytest.raises(ValueError, match=r"found none; start the training, which has not re"):
            models.load_model(tmp_path, which)


TERMINATED = """
import os, signal, sys
from mtml_tf import program, train
from mtml_tf.training import callbacks, run

def terminate(self, batch, logs):
    if batch == 1:
        os.kill(os.getpid(), signal.SIGTERM)

def terminate_here(*_):
    os.kill(os.getpid(), signal.SIGTERM)
    raise AssertionError("ends before")

if sys.argv.pop(1) == "step":
    callbacks.Progress.on_train_batch_end = terminate
else:
    run.validate = terminate_here
program.run(train.main)
"""


def test_a_run_that_is_told_to_end_saves_its_step_and_ends_with_the_same_weights(
    data, run_dir, killed, tmp_path
):
    """First within a step, then within a validation: its step and all of it are done again."""
    path = tmp_path / "run"
    shutil.copytree(killed, path)
    arguments = [f"--data_dir={data}", f"--run_dir={path}", *FLAGS]
    for where, saved in (("step", 6), ("validation", STEPS_PER_EPOCH - 1)):
        result = run_program(sys.executable, "-c", TERMINATED, where, *arguments)
        assert result.returncode == 1, result.stderr
        told = "interrupted; the same command goes on from the last checkpoint"
        assert result.stderr.splitlines()[-1] == told
        assert latest_step(path) == saved
        assert ("ends after this step" in result.stderr) == (where == "step")
    run.train(str(data), str(path), EXPERIMENT)
    assert_bit_identical(weights_of(path), weights_of(run_dir))
    assert_bit_identical(weights_of(path, models.BEST), weights_of(run_dir, models.BEST))


def test_a_run_that_was_killed_ends_with_the_same_weights(data, run_dir, killed):
    assert not (killed / "last").exists()
    result = run_program(*command(data, killed, *FLAGS))
    assert result.returncode == 0, result.stderr
    assert f"resumed at step 4 of {2 * STEPS_PER_EPOCH}" in result.stderr
    assert_bit_identical(weights_of(killed), weights_of(run_dir))
    assert_bit_identical(weights_of(killed, models.BEST), weights_of(run_dir, models.BEST))
    assert json.loads((killed / "versions.json").read_text())["tensorflow"] == tf.__version__
    assert "--learning_rate=0.005" in (killed / "flags.cfg").read_text()


def test_a_run_goes_on_after_the_end_of_an_epoch(data, run_dir, tmp_path):
    """Also: neither validation nor the number of checkpoints changes what is learned."""
    path = tmp_path / "run"
    run.train(str(data), str(path), quiet(epochs=1))
    assert latest_step(path) == STEPS_PER_EPOCH
    model = run.train(str(data), str(path), quiet())
    assert latest_step(path) == 2 * STEPS_PER_EPOCH
    assert_bit_identical(model.network.dense.get_weights(), weights_of(run_dir))
    assert not (path / "best").exists()


def test_a_run_that_is_out_of_time_stops_in_good_order(data, tmp_path, eager, caplog):
    told = []
    with caplog.at_level(logging.INFO, logger="absl"):
        run.train(str(data), str(tmp_path), quiet(max_minutes=1e-9), report=told.append)
    assert latest_step(tmp_path) == 1
    assert (tmp_path / "last").exists()
    assert "30 scenes, 15 steps an epoch, 30 steps to go, on CPU" in caplog.text
    assert told == [f"{tmp_path}: 1 steps done, weights in {tmp_path}/last"]


def test_a_start_that_fails_writes_nothing(data, run_dir, tmp_path):
    begun = []
    with pytest.raises(ValueError, match="missing: expected a run folder"):
        run.train(str(data), str(tmp_path / "run"), quiet(init_from="missing"))
    assert not (tmp_path / "run").exists()

    shutil.copytree(run_dir, tmp_path / "cut")
    for path in (tmp_path / "cut" / "checkpoints").glob("*.index"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"cut or another network's; choose another run folder"):
        run.train(
            str(data), str(tmp_path / "cut"), changed(epochs=3), lambda: begun.append("begun")
        )
    assert not begun


# --- Where a run starts ------------------------------------------------------------------------


def test_init_from_is_where_a_run_starts(data, run_dir, tmp_path, eager):
    """A rate so small that nothing moves shows the weights that it started from."""
    start = one_step(learning_rate=1e-30, init_from=str(run_dir))
    model = run.train(str(data), str(tmp_path / "run"), start)
    assert_bit_identical(model.network.dense.get_weights(), weights_of(run_dir, models.BEST))


def test_a_run_in_bfloat16_that_recomputes_is_near_one_that_does_not(
    data, tmp_path, eager, bfloat16
):
    weights = []
    for name, settings in {
        "plain": {},
        "other": {"precision": bfloat16, "recompute": True},
    }.items():
        model = run.train(str(data), str(tmp_path / name), one_step(**settings))
        weights.append(np.concatenate([w.ravel() for w in model.network.dense.get_weights()]))
    assert not np.array_equal(*weights)
    assert np.abs(weights[0] - weights[1]).max() < 0.05


# --- What goes wrong ---------------------------------------------------------------------------


def test_a_run_in_bfloat16_where_the_machine_has_none_is_refused(data, tmp_path, monkeypatch):
    monkeypatch.setattr(architecture, "_sum_in_bfloat16", lambda: 4096.0)
    sentence = (
        "leave --precision at float32: .* that sum 32768 ones to 32768 .* found a sum of 4096"
    )
    with pytest.raises(ValueError, match=sentence):
        run.train(str(data), str(tmp_path / "run"), quiet(precision="bfloat16"))
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_no_number_stops_the_run(data, tmp_path, eager):
    wild = quiet(learning_rate=1e30)
    with pytest.raises(ValueError, match=r"^step \d+: expected a finite loss, found \S+, in") as e:
        run.train(str(data), str(tmp_path / "run"), wild)
    step, names = re.match(r"step (\d+): .* in scenes (.*); lower", str(e.value)).groups()
    folder = DataFolder(data)
    expected = training_scenes(folder.entries("train"), wild.data, int(step))
    assert names.split(", ") == expected
    assert step == "1"  # step 0 itself is still fine
    assert latest_step(tmp_path / "run") is None
