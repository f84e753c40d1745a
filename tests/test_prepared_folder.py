"""Prepared scenes become a data folder with a report; what is whole there is never spoilt."""

import json
import os
import pathlib

import numpy as np
import pytest
from raw_scannet import (
    NUM_VERTICES,
    NYU40,
    file_of,
    prepare,
    raw_scene,
    report_of,
    spoil,
    write_download,
    write_ids,
)
from scenes import contents, files_in

from mtml_tf.data import records
from mtml_tf.scannet import layout

ROOT = pathlib.Path(__file__).resolve().parent.parent


def test_a_scene_without_prediction_fails_alone(tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene("a"), raw_scene("b")])
    semantic_dir = write_ids(tmp_path / "predicted", NYU40 * (NYU40 != 18), "b")
    with pytest.raises(ValueError, match=r"expected 2 scenes to be prepared, found 1"):
        prepare(source, tmp_path / "data", semantic_dir=semantic_dir)
    report = report_of(tmp_path / "data")["train"]
    assert report["b"] == {"status": "prepared", "reasons": []}
    assert "expected either a.txt or a.npy, found neither" in report["a"]["reasons"][0]


def test_a_folder_without_any_prediction_is_told_before_the_work_begins(tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene("a"), raw_scene("b")])
    semantic_dir = write_ids(tmp_path / "predicted", NYU40, "c")
    with pytest.raises(
        ValueError, match=r"predicted: expected files such as a\.txt or a\.npy, .* of the 2 scenes"
    ):
        prepare(source, tmp_path / "data", semantic_dir=semantic_dir)
    assert not (tmp_path / "data.partial").exists()


def test_a_scene_with_another_kind_of_input_fails_alone(tmp_path):
    names = ["a", "b", "c"]
    source = write_download(tmp_path / "raw", train=[raw_scene(name) for name in names])
    semantic_dir = write_ids(tmp_path / "predicted", [5] * NUM_VERTICES, "b")
    for name in ("a", "c"):
        np.save(tmp_path / "predicted" / f"{name}.npy", np.full((NUM_VERTICES, 20), 0.05))
    with pytest.raises(ValueError, match="found 1 that could not be"):
        prepare(source, tmp_path / "data", semantic_dir=semantic_dir)
    (reason,) = report_of(tmp_path / "data")["train"]["b"]["reasons"]
    assert reason == (
        "scene b: expected 20 features a vertex as semantic input, like most scenes, "
        "found class ids"
    )


def test_where_no_scene_can_be_prepared_no_data_folder_appears(tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene("a")])
    file_of(source / "scans" / "a", layout.MESH).unlink()
    with pytest.raises(
        ValueError,
        match=r"mend the scenes that .*data\.partial/report\.json calls failed and start again, .*"
        "expected 1 scenes to be prepared, found 1 that could not be$",
    ):
        prepare(source, tmp_path / "data")
    assert not (tmp_path / "data").exists()
    assert report_of(tmp_path / "data.partial")["train"]["a"]["status"] == "failed"


def test_splits_are_added_and_never_replaced_unasked(tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene("a")], val=[raw_scene("b")])
    prepare(source, tmp_path / "data", ["train"])
    prepare(source, tmp_path / "data", ["val"])
    assert set(records.DataFolder(tmp_path / "data").splits) == {"train", "val"}
    assert set(report_of(tmp_path / "data")) == {"train", "val"}
    both = ["train", "val"]
    with pytest.raises(ValueError, match=r"data: split 'train' exists already; choose another fol"):
        prepare(source, tmp_path / "data", both, voxel_size=0.2)
    assert not (tmp_path / "data.partial").exists()
    prepare(source, tmp_path / "data", both, overwrite=True, voxel_size=0.2)
    assert next(records.DataFolder(tmp_path / "data").scenes("val")).voxel_size == 0.2
    assert next(records.DataFolder(tmp_path / "data").scenes("train")).voxel_size == 0.2


def test_what_is_there_whole_is_left_and_the_rest_is_made(tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene("a")], val=[raw_scene("b")])
    output = tmp_path / "data"
    prepare(source, output)
    before = contents(output)
    there = "there already: train (--overwrite takes changed scans)"
    assert prepare(source, output) == f"{output}: {there}"
    assert contents(output) == before
    sentence = prepare(source, output, ["train", "val"])
    assert sentence.startswith(f"{output}: wrote 1 scenes; ")
    assert sentence.endswith(f"; {there}")
    assert before.items() - contents(output).items() == {
        (name, before[name]) for name in ("index.json", "manifest.json", "report.json")
    }
    assert set(report_of(output)) == {"train", "val"}
    # A longer list is not what is there, nor is a folder that no report tells of.
    (source / "scannetv2_train.txt").write_text("a\nb\n")
    with pytest.raises(ValueError, match="split 'train' exists already; choose"):
        prepare(source, output)
    (output / "report.json").unlink()
    with pytest.raises(ValueError, match="split 'val' exists already; choose"):
        prepare(source, output, ["val"])


def test_a_split_without_its_bad_scenes_is_completed_after_they_are_mended(tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene(name) for name in "abc"])
    output, partial = tmp_path / "data", tmp_path / "data.partial"
    mend = spoil(source, "b")
    with pytest.raises(ValueError, match=r"again with --overwrite, .*\(the others are written\)$"):
        prepare(source, output)
    with pytest.raises(
        ValueError, match=r"exists already without 1 scenes that failed; .*--overwr"
    ):
        prepare(source, output)
    mend()
    for name in "ac":  # made again, they would fail now; a file's size and time tell no damage
        mesh = file_of(source / "scans" / name, layout.MESH)
        times = mesh.stat().st_atime_ns, mesh.stat().st_mtime_ns
        mesh.write_bytes(bytes(mesh.stat().st_size))
        os.utime(mesh, ns=times)
    assert "wrote 3 scenes; " in prepare(source, output, overwrite=True)
    assert [entry.name for entry in records.DataFolder(output).entries("train")] == list("abc")
    assert {scene["status"] for scene in report_of(output)["train"].values()} == {"prepared"}
    assert not partial.exists()


@pytest.mark.parametrize("bad", ["a", "abc"])
def test_an_existing_split_is_never_replaced_by_a_smaller_one(bad, tmp_path):
    scenes = [raw_scene(name) for name in "abc"]
    source = write_download(tmp_path / "raw", train=scenes, val=[raw_scene("d")])
    output, partial = tmp_path / "data", tmp_path / "data.partial"
    prepare(source, output)
    before = contents(output)
    mend = [spoil(source, name) for name in bad]
    with pytest.raises(
        ValueError,
        match=rf"mend the scenes that {partial}/report\.json calls failed and start again with "
        rf"--overwrite, .*, found {len(bad)} that could not be \(the splits that exist stay",
    ):
        prepare(source, output, ["train", "val"], overwrite=True)
    assert contents(output) == before
    report = report_of(partial)
    assert [name for name, scene in report["train"].items() if scene["status"] == "failed"] == [
        *bad
    ]
    for each in mend:
        each()
    prepare(source, output, ["train", "val"], overwrite=True)
    assert set(records.DataFolder(output).splits) == {"train", "val"}
    assert not partial.exists()


def test_a_new_split_without_a_good_scene_does_not_keep_back_the_others(tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene("a")], val=[raw_scene("b")])
    spoil(source, "b")
    with pytest.raises(ValueError, match=r"found 1 that could not be \(the others are written\)"):
        prepare(source, tmp_path / "data", ["train", "val"])
    assert records.DataFolder(tmp_path / "data").splits == ("train",)
    assert report_of(tmp_path / "data")["val"]["b"]["status"] == "failed"


def test_only_what_this_run_made_is_removed(tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene("a")], val=[raw_scene("b")])
    partial = tmp_path / "data.partial"
    mend = spoil(source, "a")
    with pytest.raises(ValueError, match="found 1 that could not be"):
        prepare(source, tmp_path / "data", ["train"])
    # Another process is at split `val`, and someone keeps notes.
    others = ["notes.txt", "train/notes.txt", "val/.b.npz.x1", "val/b.npz"]
    for name in others:
        (partial / name).parent.mkdir(exist_ok=True)
        (partial / name).write_text("")
    (partial / "train" / ".a.npz.k3_v").write_text("")  # of a process that was killed
    told = json.loads((partial / "report.json").read_text())
    (partial / "report.json").write_text(json.dumps({**told, "val": told["train"]}))
    mend()
    prepare(source, tmp_path / "data", ["train"])
    assert files_in(partial) == sorted([*others, "report.json"])
    assert list(report_of(partial)) == ["val"]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"voxel_size": 0.2}, "one voxel_size in all its splits, found 0.1 in 'train' and 0.2"),
        ({"align_axes": False}, "one align_axes in all its splits, found True in 'train' and Fal"),
        (
            {"semantic_dir": "predicted"},
            "one semantic input in all its splits, found true labels in 'train' and probabilities",
        ),
    ],
)
def test_the_splits_of_a_folder_have_the_same_settings(changed, sentence, tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene("a")], val=[raw_scene("b")])
    prepare(source, tmp_path / "data")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=f"data: choose another folder, or .*{sentence}"):
            prepare(source, tmp_path / "data", ["val"], overwrite=overwrite, **changed)
    assert not (tmp_path / "data.partial").exists()


def test_scores_are_compared_only_where_they_are_read(tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene("a")], val=[raw_scene("b")])
    prepare(source, tmp_path / "true")
    prepare(source, tmp_path / "true", ["val"], scores="logits")
    one = write_ids(tmp_path / "one", [5] * NUM_VERTICES, "a", "b")
    two = write_ids(tmp_path / "two", [5] * NUM_VERTICES, "a", "b")
    prepare(source, tmp_path / "data", semantic_dir=one)
    with pytest.raises(
        ValueError, match=r"one semantic input .* probabilities in 'train' and logits"
    ):
        prepare(source, tmp_path / "data", ["val"], semantic_dir=two, scores="logits")
    prepare(source, tmp_path / "data", ["val"], semantic_dir=two)


def test_the_splits_of_a_folder_have_input_of_one_width(tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene("a")], val=[raw_scene("b")])
    for folder, width in (("one", 4), ("two", 3)):
        write_ids(tmp_path / folder, [5] * NUM_VERTICES, "a", "b")
        for name in "ab":
            np.save(tmp_path / folder / f"{name}.npy", np.ones((NUM_VERTICES, width)))
    prepare(source, tmp_path / "data", semantic_dir=str(tmp_path / "one"), scores="features")
    before = contents(tmp_path / "data")
    with pytest.raises(
        ValueError,
        match=r"scene b: expected 4 features a voxel like split 'train' of .*, found 3 features",
    ):
        two = str(tmp_path / "two")
        prepare(source, tmp_path / "data", ["val"], semantic_dir=two, scores="features")
    assert contents(tmp_path / "data") == before


def test_a_folder_of_other_classes_is_found_before_the_work_begins(tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene("a")], val=[raw_scene("b")])
    prepare(source, tmp_path / "data")
    (tmp_path / "data" / "classes.csv").write_text("id,name,kind\n5,chair,thing\n")
    with pytest.raises(
        ValueError, match=r"classes\.csv: expected the classes that are to be written, found"
    ):
        prepare(source, tmp_path / "data", ["val"])
    assert not (tmp_path / "data.partial").exists()


@pytest.mark.parametrize("folder", ["data", "data.partial"])
@pytest.mark.parametrize(
    "text",
    [
        *("[", "[]", "1", '{"train": []}', '{"train": {"settings": {}, "scenes": {"a": 1}}}'),
        '{"train": {"a": {"status": "prepared", "reasons": []}}}',  # as an older version wrote it
    ],
)
def test_a_damaged_report_is_found_before_the_work_begins(text, folder, tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene("a")], val=[raw_scene("b")])
    prepare(source, tmp_path / "data")
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / "report.json").write_text(text)
    with pytest.raises(ValueError, match=rf"{folder}/report\.json: expected the report of an ear"):
        prepare(source, tmp_path / "data", ["val"])
    assert records.DataFolder(tmp_path / "data").splits == ("train",)
    assert not (tmp_path / "data.partial" / "val").exists()


def test_other_files_are_not_overwritten_and_found_before_the_work_begins(tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene("a")])
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="data: expected a data folder or an empty one"):
        prepare(source, tmp_path / "data", overwrite=True)
    assert not (tmp_path / "data.partial").exists()
