"""Data folders that are added to and replaced: whole or not at all, whatever happens."""

import dataclasses
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from killed_writers import NEW
from scenes import (
    CLASSES,
    assert_same_scene,
    box_scene,
    contents,
    files_in,
    scenes_of,
    write_folder,
)

from mtml_tf import files, replacing
from mtml_tf.backend import tf
from mtml_tf.classes import SCANNET20
from mtml_tf.data import writing
from mtml_tf.data.records import DataFolder
from mtml_tf.data.writing import write_data_folder
from mtml_tf.scene import Instance
from mtml_tf.scoring.benchmark_format import write_predictions
from mtml_tf.scoring.folders import evaluate_folder
from mtml_tf.scoring.ground_truth import ground_truth_ids

ROOT = pathlib.Path(__file__).resolve().parent.parent


def test_a_split_is_added_to_a_folder(folder):
    before = contents(folder)
    write_folder(folder, extra=scenes_of(20, 21, 22))
    assert DataFolder(folder).splits == ("train", "val", "extra")
    for split, seeds in (("train", range(5)), ("val", (7, 8)), ("extra", (20, 21, 22))):
        for found, expected in zip(
            DataFolder(folder).scenes(split), scenes_of(*seeds), strict=True
        ):
            assert_same_scene(found, expected)
    for name, content in before.items():
        if name not in ("index.json", "manifest.json"):
            assert (folder / name).read_bytes() == content
    assert (folder / "ground_truth" / "extra" / "scene_021.txt").exists()


def test_an_existing_split_is_refused(folder):
    before = contents(folder)
    with pytest.raises(
        ValueError,
        match=rf"{folder}: split 'val' exists already; choose another folder or split, or give "
        "--overwrite",
    ):
        write_folder(folder, extra=scenes_of(9), val=scenes_of(9))
    assert contents(folder) == before


def meanwhile(path, scenes, **splits):
    """Yields scenes; before the last of them, another process adds splits to the folder."""
    for scene in scenes[:-1]:
        yield scene, ground_truth_ids(scene, CLASSES)
    write_folder(path, **splits)
    yield scenes[-1], ground_truth_ids(scenes[-1], CLASSES)


@pytest.mark.parametrize("exists", [False, True])
def test_splits_that_are_written_at_the_same_time_are_all_kept(exists, tmp_path):
    path = tmp_path / "data"
    if exists:
        write_folder(path, test=scenes_of(1))
    scenes = meanwhile(path, scenes_of(11, 12), val=scenes_of(20), more=scenes_of(21, 22))
    write_data_folder(path, CLASSES, {"train": scenes})
    data = DataFolder(path)
    assert data.splits == (*(("test",) if exists else ()), "val", "more", "train")
    names = {split: [scene.name for scene in data.scenes(split)] for split in data.splits}
    assert names["train"] == ["scene_011", "scene_012"]
    assert names["val"] == ["scene_020"]
    assert names["more"] == ["scene_021", "scene_022"]


def test_a_split_that_another_process_has_written_first_is_refused(tmp_path):
    path = tmp_path / "data"
    scenes = meanwhile(path, scenes_of(11, 12), train=scenes_of(20))
    with pytest.raises(ValueError, match="split 'train' exists already"):
        write_data_folder(path, CLASSES, {"train": scenes})
    assert [entry.name for entry in DataFolder(path).entries("train")] == ["scene_020"]


def with_features(scene, width):
    features = np.ones((len(scene.coordinates), width), np.float32) if width else None
    return dataclasses.replace(scene, features=features)


@pytest.mark.parametrize(
    ("width", "other", "sentence"),
    [
        (4, 3, "expected 4 features a voxel like split 'train' of {}, found 3 features a voxel"),
        (4, 0, "expected 4 features a voxel like split 'train' of {}, found class ids as input"),
        (0, 4, "expected class ids as input like split 'train' of {}, found 4 features a voxel"),
    ],
)
def test_splits_of_other_widths_are_refused(width, other, sentence, tmp_path):
    path = tmp_path / "data"
    ours, theirs = with_features(box_scene(1), width), with_features(box_scene(2), other)
    write_folder(path, train=[ours])
    assert DataFolder(path).num_features("train") == width
    before = contents(path)
    sentence = re.escape("scene scene_002: " + sentence.format(path) + "; prepare all splits")
    with pytest.raises(ValueError, match=sentence):
        write_folder(path, val=[theirs])
    assert contents(path) == before
    # Nor within a split, in one go, or while another process writes; but all may be replaced.
    with pytest.raises(ValueError, match=r"scene scene_002: expected .* like scene scene_001, "):
        write_folder(tmp_path / "new", train=[ours, theirs])
    with pytest.raises(ValueError, match=r"scene scene_002: expected .* like scene scene_001, "):
        write_folder(tmp_path / "new", train=[ours], val=[theirs])
    with pytest.raises(ValueError, match=r"scene scene_001: expected .* like split 'val' of"):
        write_data_folder(
            tmp_path / "new", CLASSES, {"train": meanwhile(tmp_path / "new", [ours], val=[theirs])}
        )
    write_data_folder(path, CLASSES, {"train": [(theirs, None)]}, overwrite=True)
    assert DataFolder(path).num_features("train") == other


def test_overwrite_replaces_a_split_and_nothing_else(folder):
    """The old split had more shards, and another split's name begins with its name."""
    write_folder(folder, **{"train-2": scenes_of(30)})
    write_data_folder(
        folder, CLASSES, {"train": ((s, None) for s in scenes_of(11, 12))}, overwrite=True
    )
    data = DataFolder(folder)
    assert [entry.name for entry in data.entries("train")] == ["scene_011", "scene_012"]
    assert [entry.name for entry in data.entries("train-2")] == ["scene_030"]
    assert len(data.entries("val")) == 2
    assert [name for name in files_in(folder) if name.startswith("train")] == [
        "train-00000-of-00001.tfrecord",
        "train-2-00000-of-00001.tfrecord",
        "train-2-statistics.json",
        "train-statistics.json",
    ]
    assert not (folder / "ground_truth" / "train").exists()


def test_splits_whose_names_begin_alike_are_added_together(folder):
    write_folder(folder, **{"val-2": scenes_of(30), "val-3": scenes_of(31)})
    data = DataFolder(folder)
    assert [len(data.entries(split)) for split in data.splits] == [5, 2, 1, 1]


def test_other_classes_are_refused(folder):
    with pytest.raises(
        ValueError, match=r"classes.csv: expected the classes that are to be written, found others"
    ):
        write_data_folder(folder, SCANNET20, {"extra": ((s, None) for s in scenes_of(9))})


def test_a_folder_of_other_files_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("keep me")
    with pytest.raises(
        ValueError, match=r"expected a data folder or an empty one, found other files; choose"
    ):
        write_folder(tmp_path, train=scenes_of(1))
    assert files_in(tmp_path) == ["notes.txt"]


def failing(scenes):
    yield from ((scene, ground_truth_ids(scene, CLASSES)) for scene in scenes)
    raise RuntimeError("no more")


@pytest.mark.parametrize("exists", [False, True])
def test_nothing_is_left_of_a_folder_whose_making_fails(exists, tmp_path):
    path = tmp_path / "data"
    if exists:
        write_folder(path, train=scenes_of(1))
    before = contents(tmp_path)
    with pytest.raises(RuntimeError, match="no more"):
        write_data_folder(path, CLASSES, {"val": failing(scenes_of(3, 4))})
    assert contents(tmp_path) == before
    assert [p.name for p in tmp_path.iterdir()] == (["data"] if exists else [])


def test_a_full_disk_is_told_and_leaves_the_folder_as_it_was(tmp_path, monkeypatch):
    path, writer = tmp_path / "data", tf.io.TFRecordWriter
    write_folder(path, train=scenes_of(1))
    before = contents(tmp_path)
    monkeypatch.setattr(writing.tf.io, "TFRecordWriter", lambda _: writer("/dev/full"))
    sentence = f"^{path}: expected room to write it, found the disk full; make room and start again"
    with pytest.raises(files.DiskError, match=sentence):
        write_folder(path, val=scenes_of(3, 4))
    assert contents(tmp_path) == before


def test_a_name_twice_is_refused(tmp_path):
    for with_truth in (False, True):
        pairs = [
            (scene, ground_truth_ids(scene, CLASSES) if with_truth else None)
            for scene in scenes_of(1, 2, 1)
        ]
        with pytest.raises(
            ValueError, match=r"split 'val': expected distinct scene names, found 'scene_001' twice"
        ):
            write_data_folder(tmp_path / "data", CLASSES, {"val": pairs})
    assert not list(tmp_path.iterdir())


def test_a_split_without_scenes_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"split 'val': expected at least one scene, found none"):
        write_data_folder(tmp_path / "data", CLASSES, {"val": []})
    assert not list(tmp_path.iterdir())


# --- Killed -------------------------------------------------------------------------------------


def state_of(folder, predictions):
    """All that can be read from a folder: records, ground truth, and what `evaluate` makes of it.

    Nothing is written. The places of ground truth are looked at too, as other programs would.
    """
    data = DataFolder(folder)
    read = {}
    for split in data.splits:
        entries = data.entries(split)
        truths = [
            data.ground_truth(split, entry).tolist() if data.has_ground_truth(split, entry) else 0
            for entry in entries
        ]
        read[split] = [(entry.name, data.record(entry)) for entry in entries], truths
    try:
        scored = evaluate_folder(predictions, folder / "ground_truth" / "train", CLASSES, 1)
    except ValueError:
        return read, "no ground truth"
    return read, scored.encode_csv()


def truth_at_its_place(folder):
    return {path.name: path.read_text() for path in (folder / "ground_truth/train").glob("*")}


@pytest.mark.parametrize("with_truth", [True, False])
def test_a_folder_whose_writer_is_killed_at_any_step_is_as_before_or_as_after(
    with_truth, folder, tmp_path
):
    folder.rename(tmp_path / "before")
    predictions = tmp_path / "predictions"
    (scene,) = scenes_of(1)
    voxels = np.flatnonzero(scene.instance_ids == 1)
    found = Instance(scene.semantic_ids[voxels[0]], 1.0, voxels)
    write_predictions(predictions, scene.name, [found], len(scene.coordinates))
    command = [sys.executable, "tests/killed_writers.py", tmp_path, str(int(with_truth))]
    subprocess.run(command, cwd=ROOT, check=True, timeout=3600)

    folders = [tmp_path / str(step) / "data" for step in range(len(list(tmp_path.glob("[0-9]*"))))]
    before = state_of(tmp_path / "before", predictions)
    after = state_of(folders[-1], predictions)
    assert before != after
    truths = [truth_at_its_place(path) for path in (tmp_path / "before", folders[-1])]
    found = []
    for path in folders:
        found.append([before, after].index(state_of(path, predictions)))
        assert truth_at_its_place(path) in [*truths, {}]
        # The next writer completes what was begun, and takes away what is left.
        write_folder(path, True, with_truth, train=scenes_of(*NEW))
        assert state_of(path, predictions) == after
        assert [left.name for left in path.parent.iterdir()] == ["data"]
        assert files_in(path) == files_in(folders[-1])
        assert not (path / replacing.UPDATE).exists()
    decided = found.index(1)
    assert 10 < decided < len(found) - 10
    assert found == [0] * decided + [1] * (len(found) - decided)


def test_a_replacement_that_fails_before_it_is_decided_leaves_nothing(folder, monkeypatch):
    before = contents(folder)
    write_text = files.write_text

    def fail(path, *content):
        if path.name == "journal.json":
            raise OSError("no room")
        write_text(path, *content)

    monkeypatch.setattr(files, "write_text", fail)
    with pytest.raises(OSError, match="no room"):
        write_folder(folder, True, train=scenes_of(*NEW))
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["data"]
