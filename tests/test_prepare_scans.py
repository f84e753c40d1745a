"""From a folder of labelled scans to a data folder: some of them bad, some with predictions."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from raw_scannet import report_of, write_ids
from scenes import files_in
from test_preparing import CLASSES, write

from mtml_tf.classes import encode_classes
from mtml_tf.data.records import DataFolder

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture
def scans(tmp_path):
    """Three labelled scans of three vertices, a voxel each; beside the folder its classes.csv."""
    (tmp_path / "scans").mkdir()
    for stem in ("scan1", "scan2", "scan10"):
        write(tmp_path / "scans", stem)
    (tmp_path / "classes.csv").write_text(encode_classes(CLASSES))
    return tmp_path / "scans"


def run(scans, *flags, output="data"):
    place = scans.parent
    command = [sys.executable, "tools/prepare_scans.py", f"--input_dir={scans}"]
    command += [f"--output_dir={place / output}", f"--classes={place / 'classes.csv'}"]
    command += ["--voxel_size=0.1", "--num_workers=1", *flags]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def on_vertices(values, scene):
    return np.asarray(values)[scene.vertex_to_voxel]


def test_a_bad_scan_does_not_stop_the_others_and_is_made_once_it_is_mended(scans):
    output, partial = scans.parent / "data", scans.parent / "data.partial"
    content = (scans / "scan2.ply").read_bytes()
    (scans / "scan2.ply").write_bytes(content[:-3])
    done = run(scans, "--num_workers=2")
    assert done.returncode == 1
    assert "expected 3 scenes to be prepared, found 1 that could not be (the others" in done.stderr
    assert "Traceback" not in done.stderr
    assert [entry.name for entry in DataFolder(output).entries("train")] == ["scan1", "scan10"]
    report = report_of(output)["train"]
    assert {name: scene["status"] for name, scene in report.items()} == {
        "scan1": "prepared",
        "scan2": "failed",
        "scan10": "prepared",
    }
    assert f"{scans}/scan2.ply: expected 3 rows of 'vertex'" in report["scan2"]["reasons"][0]
    assert files_in(partial) == ["train/scan1.npz", "train/scan10.npz"]

    (scans / "scan2.ply").write_bytes(content)
    for stem in ("scan1", "scan10"):  # made again, they would fail; size and time tell no damage
        path = scans / f"{stem}.ply"
        stat = path.stat()
        path.write_bytes(bytes(stat.st_size))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    done = run(scans, "--overwrite")
    assert done.stdout.startswith(f"{output}: wrote 3 scenes; "), done.stderr
    names = [entry.name for entry in DataFolder(output).entries("train")]
    assert names == ["scan1", "scan2", "scan10"]
    assert not partial.exists()


def test_predicted_labels_are_the_input_and_the_scans_labels_the_truth(scans):
    predicted = write_ids(scans.parent / "predicted", [2, 2, 1], "scan1", "scan2", "scan10")
    for output, flags, ids in (
        ("true", [], [1, 2, 2]),
        ("predicted_labels", [f"--semantic_dir={predicted}"], [2, 2, 1]),
    ):
        assert run(scans, *flags, output=output).returncode == 0
        folder = DataFolder(scans.parent / output)
        for entry in folder.entries("train"):
            scene = folder.scene(entry)
            np.testing.assert_array_equal(on_vertices(scene.semantic_ids, scene), ids)
            np.testing.assert_array_equal(on_vertices(scene.instance_ids, scene), [0, 1, 1])
            np.testing.assert_array_equal(folder.ground_truth("train", entry), [1000, 2001, 2001])


def test_logits_of_any_classes_become_probabilities(scans):
    place = scans.parent / "predicted"
    place.mkdir()
    probabilities = np.array([[0.25, 0.75], [0.5, 0.5], [0.9, 0.1]])
    np.save(place / "scan1.npy", np.log(probabilities))
    flags = [f"--semantic_dir={place}", "--scores=logits", "--scenes=scan1"]
    assert run(scans, *flags).returncode == 0
    (scene,) = DataFolder(scans.parent / "data").scenes("train")
    np.testing.assert_allclose(on_vertices(scene.features, scene), probabilities, rtol=1e-6)
    np.testing.assert_array_equal(on_vertices(scene.semantic_ids, scene), [2, 1, 1])
    np.testing.assert_array_equal(on_vertices(scene.instance_ids, scene), [0, 1, 1])


def test_a_scan_without_labels_has_no_truth_and_takes_the_predictions(scans):
    write(scans, "bare", labels=None, instances=None)
    predicted = write_ids(scans.parent / "predicted", [2, 2, 1], "bare")
    flags = ["--scenes=bare", "--split=test", f"--semantic_dir={predicted}"]
    assert run(scans, *flags).returncode == 0
    folder = DataFolder(scans.parent / "data")
    (entry,) = folder.entries("test")
    scene = folder.scene(entry)
    np.testing.assert_array_equal(on_vertices(scene.semantic_ids, scene), [2, 2, 1])
    assert scene.instance_ids is None
    assert not folder.has_ground_truth("test", entry)


def test_what_is_there_by_the_same_settings_stays_and_other_settings_are_refused(scans):
    output = scans.parent / "data"
    assert run(scans).returncode == 0
    there = "there already: train (--overwrite takes changed scans)"
    assert run(scans).stdout == f"{output}: {there}\n"
    done = run(scans, "--label_map=2:1")
    assert done.returncode == 1
    assert "split 'train' exists already; choose another folder or split, or" in done.stderr
    done = run(scans, "--split=val", "--voxel_size=0.2")
    assert "one voxel_size in all its splits, found 0.1 in 'train' and 0.2" in done.stderr
