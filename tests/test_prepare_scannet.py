"""From a raw download to a data folder: many scenes, some of them bad."""

import logging
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from raw_scannet import (
    GROUPS,
    NUM_VERTICES,
    TRUTH,
    change_json,
    file_of,
    prepare,
    raw_scene,
    report_of,
    spoil,
    write_download,
    write_ids,
)
from scenes import files_in

from mtml_tf.data import records
from mtml_tf.scannet import layout
from mtml_tf.scannet.writer import RawGroup
from mtml_tf.scoring import benchmark_format

ROOT = pathlib.Path(__file__).resolve().parent.parent


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


def test_a_missing_prediction_is_told_before_the_mesh_is_read(tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene("a"), raw_scene("b")])
    spoil(source, "a")
    semantic_dir = write_ids(tmp_path / "predicted", [5] * NUM_VERTICES, "b")
    with pytest.raises(ValueError, match="found 1 that could not be"):
        prepare(source, tmp_path / "data", semantic_dir=semantic_dir)
    (reason,) = report_of(tmp_path / "data")["train"]["a"]["reasons"]
    assert "expected either a.txt or a.npy, found neither" in reason


def test_a_scene_that_is_listed_but_missing_is_reported(tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene("a")])
    (source / "scannetv2_train.txt").write_text("scene0042_00\na\n")
    with pytest.raises(ValueError, match="found 1 that could not be"):
        prepare(source, tmp_path / "data")
    (reason,) = report_of(tmp_path / "data")["train"]["scene0042_00"]["reasons"]
    assert reason.endswith(
        "scans/scene0042_00: expected the folder of a scene, found no such folder"
    )


def test_a_scene_too_large_for_any_memory_is_prepared(tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene("a")])
    prepare(source, tmp_path / "data", voxel_size=0.0005)
    (scene,) = records.DataFolder(tmp_path / "data").scenes("train")
    assert max(scene.grid_shape) > 10000


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


def test_no_splits_are_refused(tmp_path):
    with pytest.raises(ValueError, match="expected at least one split to prepare"):
        prepare(tmp_path, tmp_path / "data", [])


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
    assert files_in(tmp_path / "data.partial") == [f"train/{name}.npz" for name in good]

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


def test_warnings_are_logged_and_counted(tmp_path, caplog):
    groups = [*GROUPS, RawGroup(5, "chair", (12,))]
    source = write_download(tmp_path / "raw", train=[raw_scene("a", groups), raw_scene("b")])
    with caplog.at_level(logging.WARNING, logger="absl"):
        sentence = prepare(source, tmp_path / "data")
    assert "wrote 2 scenes, 1 of them with warnings; " in sentence
    assert "a warned (train)" in caplog.text
    assert "left out: 5 (as 2)" in caplog.text


def test_a_split_that_is_asked_for_twice_is_prepared_once(tmp_path):
    source = write_download(tmp_path / "raw", train=[raw_scene("a")])
    assert "wrote 1 scenes; " in prepare(source, tmp_path / "data", ["train", "train"])
    assert len(records.DataFolder(tmp_path / "data").entries("train")) == 1
