"""From a raw download to a data folder: many scenes, some of them bad."""

import dataclasses
import json
import logging
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from raw_scannet import (
    GROUPS,
    NUM_VERTICES,
    NYU40,
    TRUTH,
    change_json,
    file_of,
    raw_scene,
    write_download,
)

from mtml_tf import parallel
from mtml_tf.data import records
from mtml_tf.scannet import layout, preparing
from mtml_tf.scannet.folder import write_scannet_folder
from mtml_tf.scannet.preparing import Settings
from mtml_tf.scannet.writer import RawGroup
from mtml_tf.scans import semantic_input
from mtml_tf.scoring import benchmark_format

ROOT = pathlib.Path(__file__).resolve().parent.parent


def prepare(scannet_dir, output_dir, splits=("train",), **options):
    settings = {
        name: options.pop(name)
        for name in [field.name for field in dataclasses.fields(Settings)]
        if name in options
    }
    options.setdefault("num_workers", 1)
    return write_scannet_folder(
        output_dir, Settings(str(scannet_dir), **settings), splits, **options
    )


def report_of(folder):
    report = json.loads((folder / "report.json").read_text())
    return {split: part["scenes"] for split, part in report.items()}


def names_in(folder):
    """The files below a folder, as texts."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def contents(folder):
    return {name: (folder / name).read_bytes() for name in names_in(folder)}


def spoil(source, name):
    """Damages the mesh of a scene; what is returned mends it."""
    mesh = file_of(source / "scans" / name, layout.MESH)
    content = mesh.read_bytes()
    mesh.write_bytes(content[:400])
    return lambda: mesh.write_bytes(content)


def test_of_ten_scenes_three_bad_ones_do_not_stop_the_others(tmp_path):
    names = [f"scene{number:04d}_00" for number in range(10)]
    unknown = [*GROUPS[:3], RawGroup(3, "zebra", (13,)), RawGroup(4, "yak", (14,))]
    scenes = [raw_scene(name, unknown if name == names[2] else GROUPS) for name in names]
    source = write_download(tmp_path / "raw", train=scenes)
    folders = [source / "scans" / name for name in names]
    mesh = file_of(folders[4], layout.MESH)
    mesh.write_bytes(mesh.read_bytes()[:400])
    change_json(file_of(folders[5], layout.SEGMENTS), segIndices=[10] * 11)
    file_of(folders[7], layout.SEGMENTS).unlink()

    output = tmp_path / "data"
    command = [sys.executable, "tools/prepare_scannet.py", f"--scannet_dir={source}"]
    command += [f"--output_dir={output}", "--splits=train", "--num_workers=2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "found 3 that could not be (the others are written)" in done.stderr
    assert "Traceback" not in done.stderr
    good = [name for name in names if name not in (names[4], names[5], names[7])]
    folder = records.DataFolder(output)
    assert [entry.name for entry in folder.entries("train")] == good
    # What is made is kept for the run after the bad ones are mended.
    assert names_in(tmp_path / "data.partial") == [f"train/{name}.npz" for name in good]

    report = report_of(output)["train"]
    assert list(report) == names
    status = [report[name]["status"] for name in names]
    assert (status.count("prepared"), status.count("warned"), status.count("failed")) == (6, 1, 3)
    reasons = {name: report[name]["reasons"] for name in names}
    assert all(len(reasons[names[number]]) == 1 for number in (2, 4, 5, 7))
    assert reasons[names[2]][0].endswith("unlabelled: 'yak' (1), 'zebra' (1)")
    assert f"{mesh}: expected 12 rows of 'vertex'" in reasons[names[4]][0]
    assert "segs.json: expected 12 values in 'segIndices'" in reasons[names[5]][0]
    assert "segs.json: expected a text file in UTF-8, found no such file" in reasons[names[7]][0]
    for number in (2, 4, 5, 7):
        assert reasons[names[number]][0] in done.stderr


def test_a_prepared_scene_holds_true_instances_and_the_benchmarks_ground_truth(tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene("a")], val=[raw_scene("b")])
    sentence = prepare(source, tmp_path / "data", ["train", "val"])
    assert sentence.startswith(f"{tmp_path / 'data'}: wrote 2 scenes; ")
    folder = records.DataFolder(tmp_path / "data")
    (scene,) = folder.scenes("val")
    np.testing.assert_array_equal(scene.semantic_ids, [1, 2, 5, 5, 0, 0])
    np.testing.assert_array_equal(scene.instance_ids, [0, 0, 3, 4, 0, 0])
    np.testing.assert_array_equal(scene.vertex_to_voxel, np.repeat(np.arange(6), 2))
    assert scene.voxel_size == 0.1
    assert scene.features is None
    truth = benchmark_format.read_ground_truth(folder.ground_truth_dir("val") / "b.txt")
    np.testing.assert_array_equal(truth, TRUTH)


def write_ids(folder, ids, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}.txt").write_text("".join(f"{number}\n" for number in ids))
    return str(folder)


def test_predicted_labels_are_the_input_and_leave_the_targets_alone(tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene("a")])
    predicted = np.repeat([5, 2, 1, 7, 3, 0], 2)
    semantic_dir = write_ids(tmp_path / "predicted", predicted, "a")
    prepare(source, tmp_path / "data", semantic_dir=semantic_dir)
    folder = records.DataFolder(tmp_path / "data")
    (scene,) = folder.scenes("train")
    np.testing.assert_array_equal(scene.semantic_ids, [5, 2, 1, 7, 3, 0])
    np.testing.assert_array_equal(scene.instance_ids, [0, 0, 3, 4, 0, 0])
    truth = benchmark_format.read_ground_truth(folder.ground_truth_dir("train") / "a.txt")
    np.testing.assert_array_equal(truth, TRUTH)


def test_logits_reach_the_record_as_probabilities(tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene("a")])
    logits = np.zeros((NUM_VERTICES, 20))
    logits[:, 3] = np.log(20)
    (tmp_path / "predicted").mkdir()
    np.save(tmp_path / "predicted" / "a.npy", logits)
    prepare(source, tmp_path / "data", semantic_dir=str(tmp_path / "predicted"), scores="logits")
    (scene,) = records.DataFolder(tmp_path / "data").scenes("train")
    expected = np.full((6, 20), 1 / 39)
    expected[:, 3] = 20 / 39
    np.testing.assert_allclose(scene.features, expected, rtol=1e-5)
    np.testing.assert_array_equal(scene.semantic_ids, [4] * 6)
    np.testing.assert_array_equal(scene.instance_ids, [0, 0, 3, 4, 0, 0])


def test_test_scenes_have_neither_instances_nor_ground_truth(tmp_path):
    source = write_download(tmp_path / "raw", test=[raw_scene("a")])
    (source / layout.LABEL_TABLE).unlink()  # the test scenes alone do not need it
    semantic_dir = write_ids(tmp_path / "predicted", np.repeat([5, 2, 1, 7, 3, 0], 2), "a")
    prepare(source, tmp_path / "data", ["test"], semantic_dir=semantic_dir)
    folder = records.DataFolder(tmp_path / "data")
    (scene,) = folder.scenes("test")
    np.testing.assert_array_equal(scene.semantic_ids, [5, 2, 1, 7, 3, 0])
    assert scene.instance_ids is None
    assert not folder.ground_truth_dir("test").exists()


def test_test_scenes_need_predictions(tmp_path):
    source = write_download(tmp_path / "raw", test=[raw_scene("a")])
    with pytest.raises(
        ValueError, match=r"split 'test': expected semantic predictions .*--semantic"
    ):
        prepare(source, tmp_path / "data", ["test"])
    with pytest.raises(ValueError, match="none: expected a folder of semantic predictions"):
        prepare(source, tmp_path / "data", ["test"], semantic_dir=str(tmp_path / "none"))


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


def test_a_missing_prediction_is_told_before_the_mesh_is_read(tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene("a"), raw_scene("b")])
    spoil(source, "a")
    semantic_dir = write_ids(tmp_path / "predicted", [5] * NUM_VERTICES, "b")
    with pytest.raises(ValueError, match="found 1 that could not be"):
        prepare(source, tmp_path / "data", semantic_dir=semantic_dir)
    (reason,) = report_of(tmp_path / "data")["train"]["a"]["reasons"]
    assert "expected either a.txt or a.npy, found neither" in reason


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


def test_a_scene_that_is_listed_but_missing_is_reported(tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene("a")])
    (source / "scannetv2_train.txt").write_text("scene0042_00\na\n")
    with pytest.raises(ValueError, match="found 1 that could not be"):
        prepare(source, tmp_path / "data")
    (reason,) = report_of(tmp_path / "data")["train"]["scene0042_00"]["reasons"]
    assert reason.endswith(
        "scans/scene0042_00: expected the folder of a scene, found no such folder"
    )


def test_where_no_scene_can_be_prepared_no_data_folder_appears(tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene("a")])
    file_of(source / "scans" / "a", layout.MESH).unlink()
    with pytest.raises(
        ValueError,
        match=r"found 1 that could not be; .*data\.partial/report\.json tells why; started again, ",
    ):
        prepare(source, tmp_path / "data")
    assert not (tmp_path / "data").exists()
    assert report_of(tmp_path / "data.partial")["train"]["a"]["status"] == "failed"


def test_warnings_are_logged_and_counted(tmp_path, caplog):
    groups = [*GROUPS, RawGroup(5, "chair", (12,))]
    source = write_download(tmp_path / "raw", train=[raw_scene("a", groups), raw_scene("b")])
    with caplog.at_level(logging.WARNING, logger="absl"):
        sentence = prepare(source, tmp_path / "data")
    assert "wrote 2 scenes, 1 of them with warnings; " in sentence
    assert "a warned (train)" in caplog.text
    assert "left out: 5 (as 2)" in caplog.text


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
    assert prepare(source, output) == f"{output}: there already: train (--overwrite makes anew)"
    assert contents(output) == before
    sentence = prepare(source, output, ["train", "val"])
    assert sentence.startswith(f"{output}: wrote 1 scenes; ")
    assert sentence.endswith("; there already: train (--overwrite makes anew)")
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
    with pytest.raises(ValueError, match=r"\(the others are written\);.*again with --overwrite, "):
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
        match=rf"found {len(bad)} that could not be \(the splits that exist stay as they are\); "
        rf"{partial}/report\.json tells why; started again with --overwrite, ",
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
    assert names_in(partial) == sorted([*others, "report.json"])
    assert list(report_of(partial)) == ["val"]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"voxel_size": 0.2}, "expected the voxel_size of its split 'train', 0.1, found 0.2"),
        ({"align_axes": False}, "the align_axes of its split 'train', True, found False"),
        (
            {"semantic_dir": "predicted"},
            "the semantic input of its split 'train', true labels, found probabilities",
        ),
    ],
)
def test_the_splits_of_a_folder_have_the_same_settings(changed, sentence, tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene("a")], val=[raw_scene("b")])
    prepare(source, tmp_path / "data")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=f"data: .*{sentence}; choose another folder"):
            prepare(source, tmp_path / "data", ["val"], overwrite=overwrite, **changed)
    assert not (tmp_path / "data.partial").exists()


def test_scores_are_compared_only_where_they_are_read(tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene("a")], val=[raw_scene("b")])
    prepare(source, tmp_path / "true")
    prepare(source, tmp_path / "true", ["val"], scores="logits")
    one = write_ids(tmp_path / "one", [5] * NUM_VERTICES, "a", "b")
    two = write_ids(tmp_path / "two", [5] * NUM_VERTICES, "a", "b")
    prepare(source, tmp_path / "data", semantic_dir=one)
    with pytest.raises(ValueError, match=r"the semantic input of .*, probabilities, found logits"):
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


def test_a_scene_too_large_for_any_memory_is_prepared(tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene("a")])
    prepare(source, tmp_path / "data", voxel_size=0.0005)
    (scene,) = records.DataFolder(tmp_path / "data").scenes("train")
    assert max(scene.grid_shape) > 10000


def test_a_folder_of_other_classes_is_found_before_the_work_begins(tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene("a")], val=[raw_scene("b")])
    prepare(source, tmp_path / "data")
    (tmp_path / "data" / "classes.csv").write_text("id,name,kind\n5,chair,thing\n")
    with pytest.raises(
        ValueError, match=r"classes\.csv: expected the 20 classes of ScanNet, found"
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


def test_a_split_that_is_asked_for_twice_is_prepared_once(tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene("a")])
    assert "wrote 1 scenes; " in prepare(source, tmp_path / "data", ["train", "train"])
    assert len(records.DataFolder(tmp_path / "data").entries("train")) == 1


def test_scenes_stay_as_they_are_where_they_are_not_to_be_aligned(tmp_path):
    turn = [[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 2], [0, 0, 0, 1]]
    source = write_download(tmp_path / "raw", train=[raw_scene("a", alignment=turn)])
    prepare(source, tmp_path / "turned")
    prepare(source, tmp_path / "plain", align_axes=False)
    (turned,) = records.DataFolder(tmp_path / "turned").scenes("train")
    (plain,) = records.DataFolder(tmp_path / "plain").scenes("train")
    # Six segments 1 m apart: along y, 2 m up, once turned.
    assert turned.grid_shape == (2, 52, 2)
    assert plain.grid_shape == (52, 2, 2)
    assert (turned.origin[2], plain.origin[2]) == (2, 0)


def test_other_files_are_not_overwritten_and_found_before_the_work_begins(tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene("a")])
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="data: expected a data folder or an empty one"):
        prepare(source, tmp_path / "data", overwrite=True)
    assert not (tmp_path / "data.partial").exists()


def test_no_splits_are_refused(tmp_path):
    with pytest.raises(ValueError, match="expected at least one split to prepare"):
        prepare(tmp_path, tmp_path / "data", [])


def outcomes_of(source, cache, num_workers=1, **settings):
    scenes = [("train", name) for name in ("a", "b", "c")]
    return preparing.prepare_scenes(scenes, Settings(str(source), **settings), cache, num_workers)


@pytest.fixture
def source(tmp_path):
    return write_download(tmp_path / "raw", train=[raw_scene(name) for name in "abc"])


def times(outcomes):
    return {outcome.name: outcome.path.stat().st_mtime_ns for outcome in outcomes}


def test_what_is_prepared_is_not_prepared_again(source, tmp_path):
    first = outcomes_of(source, tmp_path / "cache")
    before = times(first)
    first[1].path.unlink()
    first[2].path.write_bytes(first[2].path.read_bytes()[:-200])
    after = times(outcomes_of(source, tmp_path / "cache"))
    assert [after[name] == before[name] for name in "abc"] == [True, False, False]
    assert len(list(preparing.PreparedScenes([o.path for o in first]))) == 3


def test_other_settings_and_changed_files_are_prepared_again(source, tmp_path):
    before = times(outcomes_of(source, tmp_path / "cache"))
    path = file_of(source / "scans" / "b", layout.AGGREGATION)
    change_json(path, appId="Aggregator.v3")
    changed = times(outcomes_of(source, tmp_path / "cache"))
    assert [changed[name] == before[name] for name in "abc"] == [True, False, True]
    outcomes = outcomes_of(source, tmp_path / "cache", voxel_size=0.5)
    assert all(changed[name] != time for name, time in times(outcomes).items())
    paths = [outcome.path for outcome in outcomes]
    assert {scene.voxel_size for scene, _ in preparing.PreparedScenes(paths)} == {0.5}


def test_changed_predictions_are_prepared_again(source, tmp_path):
    semantic_dir = write_ids(tmp_path / "predicted", [5] * NUM_VERTICES, *"abc")
    before = times(outcomes_of(source, tmp_path / "cache", semantic_dir=semantic_dir))
    write_ids(tmp_path / "predicted", [33] * NUM_VERTICES, "b")
    outcomes = outcomes_of(source, tmp_path / "cache", semantic_dir=semantic_dir)
    after = times(outcomes)
    assert [after[name] == before[name] for name in "abc"] == [True, False, True]
    paths = [outcome.path for outcome in outcomes]
    found = [set(s.semantic_ids) for s, _ in preparing.PreparedScenes(paths)]
    assert found == [{5}, {33}, {5}]


def test_with_another_label_table_all_is_prepared_again(source, tmp_path):
    before = times(outcomes_of(source, tmp_path / "cache"))
    table = source / layout.LABEL_TABLE
    table.write_text(table.read_text().replace("office chair", "office throne"))
    outcomes = outcomes_of(source, tmp_path / "cache")
    assert all(before[name] != time for name, time in times(outcomes).items())
    assert [outcome.status for outcome in outcomes] == ["warned"] * 3


def test_warnings_survive_a_second_run(source, tmp_path):
    file_of(source / "scans" / "b", layout.LABELS_MESH).unlink()
    first = outcomes_of(source, tmp_path / "cache")
    second = outcomes_of(source, tmp_path / "cache")
    assert [outcome.status for outcome in second] == ["prepared", "warned", "prepared"]
    assert second == first


def test_several_processes_give_what_one_gives(source, tmp_path):
    file_of(source / "scans" / "b", layout.MESH).unlink()
    alone = outcomes_of(source, tmp_path / "alone")
    together = outcomes_of(source, tmp_path / "together", num_workers=3)
    assert [(o.name, o.status, o.reasons) for o in alone] == [
        (o.name, o.status, o.reasons) for o in together
    ]
    pairs = [
        list(preparing.PreparedScenes([o.path for o in outcomes if o.path]))
        for outcomes in (alone, together)
    ]
    assert len(pairs[0]) == 2
    for (scene, truth), (other, other_truth) in zip(*pairs, strict=True):
        np.testing.assert_array_equal(truth, other_truth)
        for field in dataclasses.fields(scene):
            np.testing.assert_array_equal(getattr(scene, field.name), getattr(other, field.name))


def test_what_no_one_foresaw_costs_one_scene_only(source, tmp_path, monkeypatch):
    def fail(folder, *_):
        if folder.name == "b":
            raise IndexError("out of bounds")
        return read(folder, *_)

    read = preparing.reader.read_scene
    monkeypatch.setattr(preparing.reader, "read_scene", fail)
    outcomes = outcomes_of(source, tmp_path / "cache")
    assert [outcome.status for outcome in outcomes] == ["prepared", "failed", "prepared"]
    assert outcomes[1].reasons == (f"{source}/scans/b: IndexError: out of bounds",)


def test_a_process_that_dies_is_told(source, tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "_end_with_parent", sys.exit)
    with pytest.raises(ValueError, match=r"one has died, .* smaller --num_workers"):
        outcomes_of(source, tmp_path / "cache", num_workers=2)


def test_scores_of_no_known_kind_are_refused():
    with pytest.raises(ValueError, match=r"expected scores among .*found 'odds'"):
        Settings("raw", scores="odds")
    assert Settings("raw").scores == semantic_input.PROBABILITIES


@pytest.mark.parametrize("size", [0, -0.1, float("inf"), float("nan")])
def test_a_voxel_size_that_is_none_is_refused(size):
    with pytest.raises(ValueError, match=f"expected a voxel_size above 0 m, found {size}"):
        Settings("raw", voxel_size=size)


def test_the_workers_load_no_tensorflow():
    # A process that is spawned runs the program's module under another name first.
    code = (
        "import runpy, sys; runpy.run_path('tools/prepare_scannet.py', run_name='x'); "
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "False\n"
