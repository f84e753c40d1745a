"""Tests of experiments.rooms on hand-made rooms: the data that it makes. Nothing is trained."""

import subprocess
import sys

import numpy as np
import pytest
from raw_scannet import TRUTH, raw_scene, write_download

from experiments import rooms
from mtml_tf.classes import SCANNET20
from mtml_tf.data.records import DataFolder
from mtml_tf.scans import scan
from mtml_tf.scene import Scene

# Of the six voxels of a room; the last two are a pillow and what nobody annotated.
TRUE_IDS = [1, 2, 5, 5, 0, 0]
INSTANCE_IDS = [0, 0, 3, 4, 0, 0]
FLOOR = 2


@pytest.fixture
def raw(tmp_path):
    """The rooms 0 and 1 to train on, and 2 to validate."""
    scenes = [raw_scene(f"room{number:04d}_00") for number in range(3)]
    return write_download(tmp_path / "raw", train=scenes[:2], val=scenes[2:])


@pytest.fixture
def asked(monkeypatch):
    """A labeller that calls everything floor; returns what it was asked: (name, strength, seed)."""
    asked = []

    def call_it_floor(scene, strength, seed):
        asked.append((scene.name, strength, seed))
        return np.full(len(scene.vertices), FLOOR, np.int32)

    monkeypatch.setattr(rooms, "predict_scene", call_it_floor)
    monkeypatch.setattr(rooms.parallel, "num_cores", lambda: 1)  # others have the real labeller
    return asked


def prepare(raw, data_dir):
    rooms.prepare(raw, data_dir)
    return DataFolder(data_dir)


def scenes_of(folder, split):
    return {entry.name: folder.scene(entry) for entry in folder.entries(split)}


@pytest.mark.usefixtures("asked")
def test_each_training_room_is_there_with_true_and_with_erring_labels(raw, tmp_path):
    folder = prepare(raw, tmp_path / "data")
    assert folder.splits == ("train", "val", "val_true")
    train = scenes_of(folder, "train")
    names = ["room0000_00", "room0001_00"]
    assert list(train) == [*names, *(f"{name}_predicted" for name in names)]
    for name, scene in train.items():
        expected = [FLOOR] * 6 if name.endswith("_predicted") else TRUE_IDS
        assert scene.semantic_ids.tolist() == expected
        assert scene.instance_ids.tolist() == INSTANCE_IDS


@pytest.mark.usefixtures("asked")
def test_training_rooms_have_points_that_keep_the_truth(raw, tmp_path):
    train = scenes_of(prepare(raw, tmp_path / "data"), "train")
    # The two vertices of a voxel lie 1 cm apart: one point.
    true, erring = (train[name].points for name in ("room0000_00", "room0000_00_predicted"))
    assert true.per_voxel.tolist() == erring.per_voxel.tolist() == [1] * 6
    assert true.semantic_ids.tolist() == TRUE_IDS
    assert true.true_ids is None  # they are the input
    assert erring.semantic_ids.tolist() == [FLOOR] * 6
    assert erring.true_ids.tolist() == TRUE_IDS
    assert true.instance_ids.tolist() == erring.instance_ids.tolist() == INSTANCE_IDS


@pytest.mark.usefixtures("asked")
def test_validation_rooms_are_two_splits_under_the_names_of_their_raw_files(raw, tmp_path):
    folder = prepare(raw, tmp_path / "data")
    for split, expected in {"val": [FLOOR] * 6, "val_true": TRUE_IDS}.items():
        ((name, scene),) = scenes_of(folder, split).items()
        assert name == "room0002_00"
        assert scene.semantic_ids.tolist() == expected
        assert scene.instance_ids.tolist() == INSTANCE_IDS


@pytest.mark.usefixtures("asked")
def test_the_ground_truth_is_that_of_the_scan_whatever_the_labels(raw, tmp_path):
    folder = prepare(raw, tmp_path / "data")
    for split in folder.splits:
        for entry in folder.entries(split):
            np.testing.assert_array_equal(folder.ground_truth(split, entry), TRUTH)


def test_each_training_room_errs_by_a_strength_of_its_own_and_validation_rooms_by_one(
    raw, tmp_path, asked
):
    prepare(raw, tmp_path / "data")
    names, strengths, seeds = zip(*asked, strict=True)
    assert names == ("room0000_00", "room0001_00", "room0002_00")
    # CRC-32 of the names: the same in every process, on every machine.
    assert seeds == (1182626614, 4274066515, 3967073213)
    low, high = rooms.STRENGTHS
    assert low < strengths[0] < high
    assert low < strengths[1] < high
    assert strengths[0] != strengths[1]
    assert strengths[2] == 1
    once = list(asked)
    prepare(raw, tmp_path / "again")
    assert asked == 2 * once


@pytest.mark.usefixtures("asked")
def test_more_copies_err_by_strengths_of_their_own(raw, tmp_path, asked):
    rooms.prepare(raw, tmp_path / "data", num_copies=2)
    names = ["room0000_00", "room0001_00"]
    assert list(scenes_of(DataFolder(tmp_path / "data"), "train")) == [
        *names,
        *(f"{name}_predicted" for name in names),
        *(f"{name}_predicted2" for name in names),
    ]
    assert len({strength for _, strength, _ in asked[:4]}) == 4


@pytest.mark.parametrize("of_one_class", [0, 1])
@pytest.mark.usefixtures("asked")
def test_a_table_is_a_floor_whose_objects_are_furniture(raw, tmp_path, monkeypatch, of_one_class):
    """Three objects of two vertices, and a vertex that nobody annotated."""
    monkeypatch.setattr(rooms, "OF_ONE_CLASS", of_one_class)
    vertices = np.stack([np.arange(8) * 0.013, np.zeros(8), np.zeros(8)], axis=1)
    table = Scene(
        "learn0",
        vertices,
        semantic_ids=np.array([1, 2, 2, 2, 2, 2, 2, 2], np.int32),
        instance_ids=np.array([0, 5, 5, 7, 7, 9, 9, 0], np.int32),
    )
    (tmp_path / "tables").mkdir()
    scan.write_scan(tmp_path / "tables" / "learn0.ply", table)
    rooms.prepare(raw, tmp_path / "data", tables_dir=str(tmp_path / "tables"))
    train = scenes_of(DataFolder(tmp_path / "data"), "train")
    assert [name for name in train if name.startswith("l")] == ["learn0", "learn0_predicted"]
    true, erring = train["learn0"], train["learn0_predicted"]
    assert true.instance_ids.tolist() == erring.instance_ids.tolist() == [0, 1, 1, 2, 2, 3, 3, 0]
    assert true.semantic_ids[0] == FLOOR
    assert true.semantic_ids[7] == 0
    classes = true.semantic_ids[1:7].reshape(3, 2)
    assert (classes[:, 0] == classes[:, 1]).all()
    assert set(classes[:, 0]) <= set(SCANNET20.thing_ids)
    assert (len(set(classes[:, 0])) == 1) == of_one_class
    assert erring.semantic_ids.tolist() == [FLOOR] * 8


def test_the_labeller_calls_clutter_something(raw, tmp_path):
    (source, _) = rooms.find_scenes(raw, ["train"])
    true, _ = rooms.Labelled(str(raw), None)(source)
    erring, _ = rooms.Labelled(str(raw), rooms.STRENGTHS)(source)
    assert true.semantic_ids.tolist() == TRUE_IDS
    assert erring.semantic_ids.all()


def test_started_again_it_takes_data_and_models_that_are_there(tmp_path):
    raw = write_download(tmp_path / "raw", train=[raw_scene("a")], val=[raw_scene("b")])
    for name in rooms.TRAINED:
        last = tmp_path / "runs" / name / "last"
        last.mkdir(parents=True)
        (last / "weights.index").touch()

    def run(rooms_dir):
        return subprocess.run(
            [
                *(sys.executable, "-m", "experiments.rooms", f"--rooms_dir={rooms_dir}"),
                *(f"--data_dir={tmp_path / 'data'}", f"--work_dir={tmp_path / 'runs'}"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )

    done = run(raw)
    assert done.returncode == 0, done.stderr
    assert list(scenes_of(DataFolder(tmp_path / "data"), "train")) == ["a", "a_predicted"]
    done = run(tmp_path / "none")  # which could not be read
    assert done.returncode == 0, done.stderr
