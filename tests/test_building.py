"""Tests of mtml_tf.training.building."""

import dataclasses
import logging
import shutil

import numpy as np
import pytest
from scenes import CLASSES, give_random_weights
from training_runs import EXPERIMENT, assert_bit_identical, weights_of

from mtml_tf.backend import keras, tf
from mtml_tf.classes import ClassSet
from mtml_tf.config import NetworkConfig, SegmentConfig, TrainConfig
from mtml_tf.inference import models
from mtml_tf.network.voxel_network import VoxelNetwork
from mtml_tf.training import run_folder
from mtml_tf.training.building import build, initialise_from, learning_rate, restore, saving

NETWORK = NetworkConfig(input_channels=3, width=1 / 8, dilations=(1, 2), embedding_size=3)


OTHER_NAMES = ClassSet(CLASSES.ids, ("floor", "tower", "box"), CLASSES.kinds)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A run folder with the weights of a network for the three classes."""
    path = tmp_path_factory.mktemp("runs") / "source"
    network = VoxelNetwork(NETWORK)
    give_random_weights(network)
    config = models.ModelConfig(NETWORK, SegmentConfig(CLASSES.thing_ids), CLASSES, 0.05, True)
    models.write_model_config(path, config)
    models.write_weights(path, models.LAST, network)
    return path


@pytest.mark.parametrize(
    ("changes", "classes", "initialised"),
    [
        ({}, CLASSES, set()),
        ({"embedding_size": 6}, CLASSES, {"head_3/kernel:0", "head_3/bias:0"}),
        ({"input_channels": 5}, CLASSES, {"stem/kernel:0"}),
        ({}, OTHER_NAMES, {"stem/kernel:0", "stem/bias:0"}),
    ],
)
def test_weights_of_equal_shape_and_meaning_are_taken_over(
    source, changes, classes, initialised, caplog
):
    network = VoxelNetwork(dataclasses.replace(NETWORK, **changes))
    for variable in network.dense.variables:
        variable.assign(tf.fill(variable.shape, 7.0))
    with caplog.at_level(logging.INFO, logger="absl"):
        initialise_from(network, str(source), classes)
    expected = {v.name: v.numpy() for v in models.load_model(source).network.dense.variables}
    for variable in network.dense.variables:
        if variable.name in initialised:
            assert (variable.numpy() == 7).all(), variable.name
        else:
            np.testing.assert_array_equal(variable, expected[variable.name])
    told = {record.getMessage().partition(":")[0].partition("/")[0] for record in caplog.records}
    assert told == {name.partition("/")[0] for name in initialised}


def test_a_layer_that_is_left_out_is_told_with_the_classes(source, caplog):
    with caplog.at_level(logging.INFO, logger="absl"):
        initialise_from(VoxelNetwork(NETWORK), str(source), OTHER_NAMES)
    assert (
        "stem: initialised, for its input are the classes floor, tower, box, and those of "
        f"{source} are floor, box, tower"
    ) in caplog.text


def test_the_rate_falls_to_0_by_a_cosine():
    config = TrainConfig(learning_rate=0.2, decay="cosine")
    schedule = learning_rate(config, 100)
    assert [float(schedule(step)) for step in (0, 50, 100)] == pytest.approx([0.2, 0.1, 0.0])
    assert learning_rate(TrainConfig(learning_rate=0.2), 100) == 0.2
    assert isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule)


# --- Checkpoints -------------------------------------------------------------------------------

STEPS = (4, 8)


@pytest.fixture(scope="module")
def learner():
    network = dataclasses.replace(NETWORK, num_labels=4)
    config = models.ModelConfig(network, SegmentConfig(CLASSES.thing_ids), CLASSES, 0.05, True)
    return build(config, EXPERIMENT, 10, 0, tf.distribute.get_strategy())


@pytest.fixture(scope="module")
def checkpointed(learner, tmp_path_factory):
    """A run folder with checkpoints of two steps, and the weights of each."""
    path, weights = tmp_path_factory.mktemp("runs") / "checkpointed", {}
    for step in STEPS:
        give_random_weights(learner.model.network, seed=step)
        weights[step] = learner.model.network.dense.get_weights()
        learner.optimizer.iterations.assign(step)
        saving(learner, str(path)).save(checkpoint_number=step)
    return path, weights


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


def remove(path):
    path.unlink()


def restored(learner, run_dir):
    """The step and the weights that a start with the folder begins from."""
    learner.optimizer.iterations.assign(0)
    for variable in learner.model.network.dense.variables:
        variable.assign(tf.fill(variable.shape, 7.0))
    restore(learner, str(run_dir), EXPERIMENT.train)
    return learner.step, learner.model.network.dense.get_weights()


@pytest.mark.parametrize("damage", [cut, flip, remove])
@pytest.mark.parametrize("file", ["ckpt-8.index", "ckpt-8.data-00000-of-00001"])
def test_a_run_whose_newest_checkpoint_is_damaged_goes_on_from_the_one_before(
    file, damage, learner, checkpointed, tmp_path, caplog
):
    weights, folder = checkpointed[1], tmp_path / "run" / "checkpoints"
    shutil.copytree(checkpointed[0], tmp_path / "run")
    damage(folder / file)
    step, found = restored(learner, tmp_path / "run")
    assert step == 4
    assert_bit_identical(found, weights[4])
    (warning,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    named = folder / "checkpoint" if (file, damage) == ("ckpt-8.index", remove) else folder / "ckpt"
    assert warning.getMessage().startswith(f"{named}")
    assert "8: expected a checkpoint" in warning.getMessage() or "step 8" in warning.getMessage()

    manager = saving(learner, str(tmp_path / "run"))
    assert manager.latest_checkpoint.endswith("ckpt-4")  # so that step 8 is saved anew
    learner.optimizer.iterations.assign(8)
    manager.save(checkpoint_number=8)
    assert_bit_identical(restored(learner, tmp_path / "run")[1], weights[4])
    assert learner.step == 8


def test_a_start_tells_whether_it_begins_with_the_newest_checkpoint(
    learner, checkpointed, tmp_path
):
    run_dir = tmp_path / "run"
    assert restore(learner, str(run_dir), EXPERIMENT.train)  # there is none
    shutil.copytree(checkpointed[0], run_dir)
    assert restore(learner, str(run_dir), EXPERIMENT.train)
    cut(run_dir / "checkpoints" / "ckpt-8.index")
    assert not restore(learner, str(run_dir), EXPERIMENT.train)


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.ResourceExhaustedError(None, None, "memory"),
        tf.errors.PermissionDeniedError(None, None, "rights"),
        tf.errors.UnknownError(None, None, "ckpt-8.index; Input/output error"),
    ],
)
def test_a_checkpoint_that_something_else_keeps_back_is_not_passed_over(
    error, learner, checkpointed, monkeypatch
):
    def fail(path):
        raise error

    monkeypatch.setattr(learner.checkpoint, "restore", fail)
    with pytest.raises(type(error)):
        restore(learner, str(checkpointed[0]), EXPERIMENT.train)


@pytest.mark.parametrize("content", [b"", b"model_che", b"\xff\x00", b"x: 1\n"])
def test_a_damaged_list_of_checkpoints_loses_none(content, learner, checkpointed, tmp_path):
    shutil.copytree(checkpointed[0], tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "checkpoint").write_bytes(content)
    step, found = restored(learner, tmp_path / "run")
    assert step == 8
    assert_bit_identical(found, checkpointed[1][8])
    assert len(saving(learner, str(tmp_path / "run")).checkpoints) == 2


@pytest.mark.parametrize(("damaged", "step"), [("", 8), ("ckpt-8.data-00000-of-00001", 4)])
def test_checkpoints_without_their_list_are_gone_on_with(
    damaged, step, learner, checkpointed, tmp_path, caplog
):
    folder = tmp_path / "run" / "checkpoints"
    shutil.copytree(checkpointed[0], tmp_path / "run")
    remove(folder / "checkpoint")
    if damaged:
        cut(folder / damaged)
    found = restored(learner, tmp_path / "run")
    assert found[0] == step
    assert_bit_identical(found[1], checkpointed[1][step])
    told = f"{folder}/checkpoint: expected a list of the checkpoints beside it, found none; the "
    assert caplog.messages == [f"{told}newest that is whole is {folder}/ckpt-{step}"]
    assert run_folder.has_begun(str(tmp_path / "run"))
    saving(learner, str(tmp_path / "run"))
    assert (folder / "checkpoint").exists()


def test_a_first_checkpoint_that_was_not_written_to_its_end_is_none(
    learner, checkpointed, tmp_path, caplog
):
    """A process was killed as it wrote it: there is no list yet, and nothing to go on from."""
    folder = tmp_path / "run" / "checkpoints"
    shutil.copytree(checkpointed[0], tmp_path / "run")
    for name in ("checkpoint", "ckpt-8.index", "ckpt-8.data-00000-of-00001"):
        remove(folder / name)
    cut(folder / "ckpt-4.index")
    assert restored(learner, tmp_path / "run")[0] == 0
    assert caplog.messages[0].endswith("found none; none of them is whole")
    assert saving(learner, str(tmp_path / "run")).latest_checkpoint is None


@pytest.mark.parametrize("damage", [cut, flip, remove])
@pytest.mark.parametrize("file", ["ckpt-8.index", "ckpt-8.data-00000-of-00001"])
def test_the_last_weights_of_an_unfinished_run_are_those_of_a_whole_checkpoint(
    file, damage, learner, checkpointed, tmp_path, caplog
):
    run_dir = tmp_path / "run"
    shutil.copytree(checkpointed[0], run_dir)
    models.write_model_config(run_dir, learner.model.config)
    assert_bit_identical(weights_of(run_dir, models.LAST), checkpointed[1][8])
    assert not caplog.records
    damage(run_dir / "checkpoints" / file)
    for _ in range(2):
        assert_bit_identical(weights_of(run_dir, models.LAST), checkpointed[1][4])
    (warning,) = caplog.messages
    assert "8: expected a checkpoint" in warning or "the checkpoint of step 8" in warning


def test_a_checkpoint_that_was_not_written_to_its_end_is_passed_over(
    learner, checkpointed, tmp_path, caplog
):
    folder = tmp_path / "run" / "checkpoints"
    shutil.copytree(checkpointed[0], tmp_path / "run")
    (folder / "ckpt-12.index").write_bytes(b"killed")
    assert restored(learner, tmp_path / "run")[0] == 8
    assert not caplog.records


def test_a_run_without_one_whole_checkpoint_is_refused(learner, checkpointed, tmp_path):
    folder = tmp_path / "run" / "checkpoints"
    shutil.copytree(checkpointed[0], tmp_path / "run")
    for path in folder.glob("*.data-*"):
        cut(path)
    with pytest.raises(ValueError, match=rf"{folder}/ckpt-8: expected a checkpoint of this run, "):
        restored(learner, tmp_path / "run")
    for path in folder.glob("*.index"):
        path.unlink()
    with pytest.raises(ValueError, match=rf"{folder}/checkpoint: expected the checkpoints that"):
        restored(learner, tmp_path / "run")
