"""Tests of mtml_tf.data.records."""

import dataclasses
import json
import math
import re

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scenes import (
    CLASSES,
    assert_same_scene,
    box_scene,
    files_in,
    scenes_of,
    write_folder,
)

from mtml_tf.backend import tf
from mtml_tf.data.records import DataFolder, decode_record, encode_record
from mtml_tf.data.writing import write_data_folder
from mtml_tf.scene import Points, VoxelScene
from mtml_tf.scoring.benchmark_format import read_ground_truth
from mtml_tf.scoring.ground_truth import ground_truth_ids


@st.composite
def points_of(draw, num_voxels):
    """Points of a scene, whose ids take 1, 2 or 4 bytes."""
    per_voxel = draw(arrays.arrays(np.uint8, num_voxels, elements=st.integers(1, 64)))
    count = int(per_voxel.sum(dtype=int))
    low, high = draw(st.sampled_from([(0, 255), (0, 65535), (-(2**31), 2**31 - 1)]))
    ids = arrays.arrays(np.int32, count, elements=st.integers(low, high))
    cells = arrays.arrays(np.uint8, count, elements=st.integers(0, 63))
    return Points(per_voxel, draw(cells), draw(ids), draw(st.none() | ids), draw(st.none() | ids))


@st.composite
def voxel_scenes(draw):
    grid_shape = draw(st.tuples(*[st.integers(1, 1 << 16)] * 3))
    keys = draw(st.lists(st.integers(0, math.prod(grid_shape) - 1), max_size=12, unique=True))
    count = len(keys)
    places = np.unravel_index(np.array(keys, np.int64), grid_shape)
    int32 = st.integers(-(2**31), 2**31 - 1)
    ids = arrays.arrays(np.int32, count, elements=int32)
    float32 = st.floats(width=32, allow_nan=False)
    features = st.integers(1, 4).flatmap(
        lambda columns: arrays.arrays(np.float32, (count, columns), elements=float32)
    )
    links = st.integers(0, 20).flatmap(
        lambda n: arrays.arrays(np.int32, n, elements=st.integers(0, max(count - 1, 0)))
    )
    number = st.floats(allow_nan=False, allow_infinity=False)
    return VoxelScene(
        name=draw(st.text(min_size=1)),
        coordinates=np.stack(places, axis=1).astype(np.int32),
        grid_shape=grid_shape,
        voxel_size=draw(number),
        origin=draw(arrays.arrays(np.float64, 3, elements=number)),
        semantic_ids=draw(ids),
        instance_ids=draw(st.none() | ids),
        features=draw(st.none() | features),
        vertex_to_voxel=draw(st.none() | links),
        points=draw(st.none() | points_of(count)),
    )


@hypothesis.given(voxel_scenes())
@hypothesis.settings(max_examples=60)
def test_a_decoded_record_is_the_scene(scene):
    assert_same_scene(decode_record(encode_record(scene)), scene)


def test_points_take_three_bytes_and_a_voxel_one():
    """Where there are at most 255 classes and instances; and the names of four fields."""
    scene = box_scene(0)
    count = len(scene.coordinates)
    points = Points(
        per_voxel=np.full(count, 10, np.uint8),
        cells=np.tile(np.arange(10, dtype=np.uint8), count),
        semantic_ids=np.repeat(scene.semantic_ids, 10),
        instance_ids=np.repeat(scene.instance_ids, 10),
    )
    added = len(encode_record(dataclasses.replace(scene, points=points)))
    added -= len(encode_record(scene))
    assert 0 < added - (count + 3 * 10 * count) < 150


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"per_voxel": np.array([2, 2], np.uint8)}, "points: expected 4 rows in cells, found 3"),
        ({"per_voxel": np.array([3, 0], np.uint8)}, "at least 1 in every voxel"),
        ({"cells": np.array([0, 1, 64], np.uint8)}, "cells from 0 to 63, found 1 and 64"),
        ({"instance_ids": np.zeros(2, np.int32)}, "expected 3 rows in instance_ids, found 2"),
    ],
)
def test_points_that_do_not_fit_are_refused(changes, sentence):
    ids = np.zeros(3, np.int32)
    given = Points(np.array([1, 2], np.uint8), np.array([0, 1, 2], np.uint8), ids)
    with pytest.raises(ValueError, match=sentence):
        dataclasses.replace(given, **changes)


def test_points_are_those_of_the_voxels():
    points = Points(*[np.ones(3, np.uint8)] * 3)
    with pytest.raises(ValueError, match=r"expected \d+ rows in points, found 3"):
        dataclasses.replace(box_scene(0), points=points)


def test_a_grid_that_a_record_cannot_hold_is_refused():
    scene = box_scene(0)
    wide = VoxelScene(
        "wide", scene.coordinates, (65538, 16, 8), 0.01, scene.origin, scene.semantic_ids
    )
    with pytest.raises(
        ValueError,
        match=r"scene wide: expected at most 65536 voxels along an axis, found \(65538, 16, 8\); "
        "choose a larger voxel size",
    ):
        encode_record(wide)


def test_what_a_folder_holds(folder):
    assert files_in(folder) == [
        "classes.csv",
        *(f"ground_truth/train/scene_00{i}.txt" for i in range(5)),
        *(f"ground_truth/val/scene_00{i}.txt" for i in (7, 8)),
        "index.json",
        "manifest.json",
        *(f"train-0000{i}-of-00003.tfrecord" for i in range(3)),
        "train-statistics.json",
        "val-00000-of-00001.tfrecord",
        "val-statistics.json",
    ]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["schema_version"] == 1
    shards = manifest["splits"]["train"]["shards"]
    assert [shard["records"] for shard in shards] == [2, 2, 1]
    assert [shard["names"] for shard in shards][2] == ["scene_004"]
    assert all(re.fullmatch("[0-9a-f]{64}", shard["sha256"]) for shard in shards)


def test_scene_i_is_read_by_the_index(folder):
    data, scenes = DataFolder(folder), scenes_of(*range(5))
    assert data.classes == CLASSES
    assert data.splits == ("train", "val")
    entries = data.entries("train")
    for i in (4, 0, 2, 3, 1):
        assert_same_scene(data.scene(entries[i]), scenes[i])
        assert entries[i].name == scenes[i].name
        assert entries[i].grid_shape == scenes[i].grid_shape
        assert entries[i].num_voxels == len(scenes[i].coordinates)
        assert entries[i].shard == f"train-0000{i // 2}-of-00003.tfrecord"
    assert [scene.name for scene in data.scenes("val")] == ["scene_007", "scene_008"]
    ids = read_ground_truth(data.ground_truth_dir("train") / "scene_003.txt")
    np.testing.assert_array_equal(ids, ground_truth_ids(scenes[3], CLASSES))


def test_shards_are_tfrecords_with_valid_checksums(folder):
    paths = [str(path) for path in sorted(folder.glob("train-*.tfrecord"))]
    found = [decode_record(record.numpy()) for record in tf.data.TFRecordDataset(paths)]
    for scene, expected in zip(found, scenes_of(*range(5)), strict=True):
        assert_same_scene(scene, expected)


def test_scenes_without_ground_truth_leave_no_file(tmp_path):
    write_data_folder(tmp_path / "data", CLASSES, {"test": ((s, None) for s in scenes_of(1))})
    assert not (tmp_path / "data" / "ground_truth").exists()
    assert len(DataFolder(tmp_path / "data").entries("test")) == 1


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "data").mkdir()
    write_folder(tmp_path / "data", train=scenes_of(1))
    assert DataFolder(tmp_path / "data").splits == ("train",)


def test_a_folder_can_be_read_by_others(folder):
    assert folder.stat().st_mode & 0o777 == 0o755


# --- Damage ------------------------------------------------------------------------------------

SHARD = "train-00001-of-00003.tfrecord"


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(
        ValueError,
        match=rf"{tmp_path / 'none'}: expected a data folder with manifest.json, found no such "
        "folder; tools/make_toy.py, tools/prepare_scans.py and tools/prepare_scannet.py make one",
    ):
        DataFolder(tmp_path / "none")


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"with manifest.json, found none in it; tools"):
        DataFolder(tmp_path)


def test_an_unknown_split_is_refused(folder):
    with pytest.raises(
        ValueError,
        match=r"expected a split 'test' with scenes, found the splits \['train', 'val'\]",
    ):
        DataFolder(folder).entries("test")


@pytest.mark.parametrize("cut", [1, 500])
def test_a_truncated_shard_is_found(folder, cut):
    content = (folder / SHARD).read_bytes()
    (folder / SHARD).write_bytes(content[:-cut])
    data = DataFolder(folder)
    assert len(data.entries("val")) == 2  # other splits can still be read
    with pytest.raises(
        ValueError,
        match=rf"{SHARD}: expected {len(content)} bytes as manifest.json says, found "
        rf"{len(content) - cut}; the file is cut or changed, make the data folder again",
    ):
        data.entries("train")


def test_a_shard_cut_at_the_end_of_a_record_is_found(folder):
    """What a reader of TFRecords would take for a whole file."""
    second = DataFolder(folder).entries("train")[3]
    content = (folder / SHARD).read_bytes()
    (folder / SHARD).write_bytes(content[: second.offset - 12])
    assert len(list(tf.data.TFRecordDataset(str(folder / SHARD)))) == 1
    with pytest.raises(ValueError, match="the file is cut or changed"):
        DataFolder(folder).entries("train")


def test_a_flipped_bit_is_found(folder):
    content = bytearray((folder / SHARD).read_bytes())
    content[len(content) // 2] ^= 4
    (folder / SHARD).write_bytes(content)
    with pytest.raises(
        ValueError,
        match=rf"{SHARD}: expected the SHA-256 that manifest.json lists, found another; the file "
        "has changed, make the data folder again",
    ):
        DataFolder(folder).entries("train")


def test_a_record_on_another_grid_than_the_index_tells_is_not_given_to_others(folder):
    folder = DataFolder(folder)
    entry = folder.entries("train")[0]
    assert decode_record(folder.record(entry)).grid_shape == entry.grid_shape
    told = dataclasses.replace(entry, grid_shape=(entry.grid_shape[0] - 1, *entry.grid_shape[1:]))
    sentence = rf"record at {entry.offset}: expected voxels in the grid \({told.grid_shape[0]}, "
    with pytest.raises(ValueError, match=sentence):
        folder.record(told)


def test_a_missing_shard_is_found(folder):
    (folder / SHARD).unlink()
    with pytest.raises(
        ValueError, match=rf"{SHARD}: listed in manifest.json, but there is no such file"
    ):
        DataFolder(folder).entries("train")


def test_a_shard_cut_after_it_was_checked_is_found(folder):
    data = DataFolder(folder)
    entry = data.entries("train")[3]
    (folder / SHARD).write_bytes(b"short")
    with pytest.raises(
        ValueError,
        match=rf"{SHARD}: expected {entry.length} bytes at {entry.offset}, found 0; the file is "
        "cut",
    ):
        data.scene(entry)


def change_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("file", "change", "sentence"),
    [
        (
            "manifest.json",
            lambda manifest: manifest.update(schema_version=99),
            "manifest.json: expected schema_version 1, found 99; make the folder again",
        ),
        (
            "manifest.json",
            lambda manifest: manifest.pop("schema_version"),
            "expected schema_version 1, found None",
        ),
        (
            "index.json",
            lambda index: index.pop("val"),
            "manifest.json and index.json do not fit each other ('val'); make the folder again",
        ),
        (
            "manifest.json",
            lambda manifest: manifest["splits"]["val"]["shards"][0]["names"].reverse(),
            "index.json: expected the scenes that manifest.json lists for split 'val', found",
        ),
        (
            "index.json",
            lambda index: index["train"].pop(),
            "index.json: expected the scenes that manifest.json lists for split 'train', found",
        ),
        (
            "index.json",
            lambda index: index["train"][0].pop("offset"),
            "manifest.json and index.json do not fit each other",
        ),
        (
            "manifest.json",
            lambda manifest: manifest["splits"]["val"]["shards"][0].update(records=7),
            "another record count",
        ),
        (
            "manifest.json",
            lambda manifest: manifest["splits"]["val"]["shards"][0].pop("sha256"),
            "['sha256']",
        ),
        (
            "manifest.json",
            lambda manifest: manifest["splits"]["val"]["statistics"].update(file="../a.json"),
            "no name of a file in the folder",
        ),
    ],
)
def test_a_manifest_or_index_that_does_not_fit_is_refused(folder, file, change, sentence):
    change_json(folder / file, change)
    with pytest.raises(ValueError, match=re.escape(sentence)):
        DataFolder(folder)


def test_a_split_that_was_never_finished_is_none(folder):
    change_json(folder / "index.json", lambda index: index.update(more=index["val"]))
    assert "more" not in DataFolder(folder).splits


@pytest.mark.parametrize("file", ["manifest.json", "index.json"])
@pytest.mark.parametrize("text", ["", '{"splits": ', "[1, 2]", "7"])
def test_broken_json_is_named(folder, file, text):
    (folder / file).write_text(text)
    with pytest.raises(ValueError, match=rf"{file}: expected a readable JSON file, found: .+"):
        DataFolder(folder)


def test_a_missing_index_is_named(folder):
    (folder / "index.json").unlink()
    with pytest.raises(ValueError, match=r"index.json: expected a readable JSON file, found: .*No"):
        DataFolder(folder)
