"""Tests of mtml_tf.training.verification, and of runs whose shards have changed."""

import dataclasses
import errno
import json
import threading
import types

import numpy as np
import pytest
from training_runs import changed, eagerly, latest_step, write_data

from mtml_tf import files
from mtml_tf.backend import tf
from mtml_tf.data import records
from mtml_tf.data.records import DataFolder
from mtml_tf.inference import models
from mtml_tf.training import callbacks, run
from mtml_tf.training.verification import Verification, verifying

CHANGED = "expected the SHA-256 that manifest.json lists, found another; the file has changed, make"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("training") / "data")


@pytest.fixture
def data(whole, tmp_path):
    """A folder of links, whose files can be replaced."""
    path = tmp_path / "data"
    path.mkdir()
    for file in whole.iterdir():
        (path / file.name).symlink_to(file)
    return path


def change(data, split="train", place=None):
    """Flips a bit of a label of the last scene, or of a place in the shard; returns the shard."""
    entry = DataFolder(data).entries(split)[-1]
    path = data / entry.shard
    content = bytearray(path.read_bytes())
    labels = DataFolder(data).scene(entry).semantic_ids.astype("<i4").tobytes()
    place = content.rindex(labels) + 3 if place is None else place
    content[place] ^= 1
    path.unlink()
    path.write_bytes(content)
    return path


def test_shards_are_hashed_once_and_not_before_it_begins(data, monkeypatch):
    hashed, digest = [], records.digest

    def counted(path):
        hashed.append(path.name.partition("-")[0])
        return digest(path)

    monkeypatch.setattr(records, "digest", counted)
    folder = DataFolder(data, hashes_later=True)
    for split in folder.splits:
        assert folder.entries(split)
        folder.digests(split)
    with verifying(folder, ["train", "val"]) as verification:
        assert not hashed
        verification.check()
        verification.wait()
        assert hashed == ["train", "val"]
    verification.wait()
    Verification(folder, ["train"]).wait()
    assert hashed == ["train", "val"]
    DataFolder(data).entries("two")
    assert hashed == ["train", "val", "two"]


def test_a_shard_of_another_size_is_found_at_once(data):
    path = data / DataFolder(data).entries("train")[0].shard
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-1])
    with pytest.raises(ValueError, match="the file is cut or changed, make the data folder again"):
        DataFolder(data, hashes_later=True).entries("train")


def test_a_changed_shard_is_told_in_place_of_what_it_causes(data):
    path = change(data)
    folder = DataFolder(data, hashes_later=True)
    with pytest.raises(ValueError, match=f"{path}: {CHANGED}"), verifying(folder, ["train"]):
        raise tf.errors.InvalidArgumentError(None, None, "no record")
    with pytest.raises(RuntimeError, match="another"), verifying(folder, ["val"]):
        raise RuntimeError("another")


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.ResourceExhaustedError(None, None, "memory"),
        tf.errors.UnavailableError(None, None, "a worker is gone"),
        files.disk_error("runs", errno.ENOSPC),
    ],
)
def test_what_no_data_can_cause_is_told_at_once(data, error):
    change(data)
    folder = DataFolder(data, hashes_later=True)
    with pytest.raises(type(error)), verifying(folder, ["train"]):
        raise error


def test_a_signal_waits_for_the_hashes_no_longer_than_it_may(data, monkeypatch, caplog):
    may_go_on, digest = threading.Event(), records.digest

    def slow(path):
        assert may_go_on.wait(60)
        return digest(path)

    monkeypatch.setattr(records, "digest", slow)
    verification = Verification(DataFolder(data, hashes_later=True), ["train"])
    saved = []
    manager = types.SimpleNamespace(
        latest_checkpoint=None, save=lambda checkpoint_number: saved.append(checkpoint_number)
    )
    optimizer = types.SimpleNamespace(iterations=tf.constant(7))
    checkpoints = callbacks.Checkpoints(
        optimizer, manager, 1, before_last=False, verification=verification
    )
    with caplog.at_level("WARNING", logger="absl"):
        checkpoints.save(0.01)
    assert "saves no checkpoint of step 7: 0.01 s were too short" in caplog.text
    assert saved == []
    may_go_on.set()
    checkpoints.save()
    assert saved == [7]


def test_whatever_keeps_it_from_hashing_is_no_verification(data, monkeypatch):
    def fail(path):
        raise MemoryError("hash")

    monkeypatch.setattr(records, "digest", fail)
    with pytest.raises(MemoryError, match="hash"):
        Verification(DataFolder(data, hashes_later=True), ["train"]).wait()


@pytest.mark.parametrize("split", ["train", "val"])
def test_nothing_is_saved_of_a_run_whose_shards_have_changed(data, split, tmp_path, monkeypatch):
    """Here it is found when the first step that would be saved has been checked already."""
    path = change(data, split)
    steps, digest, is_due = [], records.digest, threading.Event()
    on_train_batch_end = run.callbacks.Progress.on_train_batch_end

    def counted(self, batch, logs):
        steps.append(batch)
        if len(steps) == 4:
            is_due.set()  # the checkpoint of step 4 comes next, and waits
        on_train_batch_end(self, batch, logs)

    def late(file):
        if not file.name.endswith(".json"):
            assert is_due.wait(120)
        return digest(file)

    monkeypatch.setattr(run.callbacks.Progress, "on_train_batch_end", counted)
    monkeypatch.setattr(records, "digest", late)
    with eagerly(), pytest.raises(ValueError, match=f"{path}: {CHANGED}"):
        run.train(str(data), str(tmp_path / "run"), changed(epochs=1))
    assert len(steps) == 4
    assert latest_step(tmp_path / "run") is None
    assert not {models.LAST, models.BEST} & {p.name for p in (tmp_path / "run").iterdir()}


def test_hashes_are_compared_first_where_that_is_asked_for(data, tmp_path):
    path = change(data)
    with pytest.raises(ValueError, match=f"{path}: {CHANGED}"):
        run.train(str(data), str(tmp_path / "run"), changed(epochs=1, hashes="first"))
    assert not (tmp_path / "run").exists()


def test_a_record_that_cannot_be_parsed_is_told_as_a_changed_shard(data, tmp_path):
    entry = DataFolder(data).entries("train")[-1]
    path = change(data, place=entry.offset)
    experiment = changed(epochs=1, validation_split="", checkpoint_every=500)
    with eagerly(), pytest.raises(ValueError, match=f"{path}: {CHANGED}"):
        run.train(str(data), str(tmp_path / "run"), experiment)
    assert latest_step(tmp_path / "run") is None


def test_a_voxel_far_away_is_told_before_memory_is_asked_for_it(data, tmp_path, monkeypatch):
    """Augmentation makes the grid as large as what it holds; here no hash tells of the damage."""
    entry = DataFolder(data).entries("train")[-1]
    scene = DataFolder(data).scene(entry)
    whole = {path.name: records.digest(path) for path in data.iterdir() if path.is_file()}
    place = (data / entry.shard).read_bytes().index(scene.coordinates.astype("<u2").tobytes())
    path = change(data, place=place + 1)  # the upper byte of x
    monkeypatch.setattr(records, "digest", lambda path: whole[path.name])
    sentence = rf"{path}: record at {entry.offset}: expected voxels in the grid .* found .*; make"
    experiment = changed(epochs=1, validation_split="", checkpoint_every=500)
    with eagerly(), pytest.raises(ValueError, match=sentence):
        run.train(str(data), str(tmp_path / "run"), experiment)


def test_a_run_that_is_told_to_wait_learns_the_same(data, tmp_path):
    weights = []
    for hashes in ("beside", "first"):
        experiment = changed(epochs=1, validation_split="", hashes=hashes)
        experiment = dataclasses.replace(experiment, train_split="two")
        with eagerly():
            model = run.train(str(data), str(tmp_path / hashes), experiment)
        weights.append(model.network.dense.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)
    settings = json.loads((tmp_path / "beside" / "settings.json").read_text())
    assert "hashes" not in settings["method"]
