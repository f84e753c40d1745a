"""The program that scores semantic labels, on folders written here."""

import subprocess
import sys

import numpy as np
import pytest
from raw_scannet import write_ids

from mtml_tf.classes import ClassSet
from mtml_tf.engines import Engine
from mtml_tf.scans import preparing, scan
from mtml_tf.scene import Scene
from mtml_tf.semantic.point_folder import write_point_folder
from mtml_tf.semantic.preparing import ScanPoints

CLASSES = ClassSet((1, 3, 5), ("table", "cup", "box"), ("stuff", "thing", "thing"))
IDS = np.array([1, 1, 3, 3, 0], np.int32)


def prepare(folder, split, **labels):
    for stem, ids in labels.items():
        vertices = np.random.default_rng(0).random((len(IDS), 3))
        scan.write_scan(folder / split / f"{stem}.ply", Scene(stem, vertices, semantic_ids=ids))
    sources = preparing.as_split(split, preparing.find_scans(folder / split))
    write_point_folder(folder / "points", sources, ScanPoints(CLASSES), Engine(num_workers=1))


@pytest.fixture
def folder(tmp_path):
    """Two scenes; of one the ids are predicted, of the other probabilities, with two mistakes."""
    prepare(tmp_path, "val", desk=IDS, lab=IDS)
    write_ids(tmp_path / "pred", [1, 3, 3, 0, 5], "desk")
    probabilities = np.array([[0.6, 0.2, 0.2], [1, 0, 0], [0, 1, 0], [0.4, 0.5, 0.1], [1, 0, 0]])
    np.save(tmp_path / "pred" / "lab.npy", probabilities)
    return tmp_path


def evaluate(folder, *arguments):
    given = [f"--prediction_dir={folder}/pred", f"--data_dir={folder}/points", *arguments]
    return subprocess.run(
        [sys.executable, "-m", "mtml_tf.evaluate_semantic", *given],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_table_is_printed_and_written(folder):
    done = evaluate(folder, f"--output_csv={folder}/out/table.csv")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "class            IoU  accuracy\n"
        "table          0.750     0.750\n"
        "cup            0.600     0.750\n"
        "box              nan       nan\n"
        "average        0.675     0.750\n"
        "all vertices             0.750\n"
    )
    assert (folder / "out/table.csv").read_text() == (
        "class,class id,iou,accuracy\ntable,1,0.75,0.75\ncup,3,0.6,0.75\nbox,5,nan,nan\n"
    )
    again = evaluate(folder, f"--output_csv={folder}/out/table.csv")
    assert again.returncode == 1
    assert "table.csv: exists already" in again.stderr
    assert evaluate(folder, f"--output_csv={folder}/out/table.csv", "--overwrite").returncode == 0


def assert_refused(done, sentence):
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert sentence in line


def test_scenes_without_a_prediction_are_named(folder):
    (folder / "pred" / "desk.txt").unlink()
    assert_refused(
        evaluate(folder, f"--output_csv={folder}/table.csv"),
        "pred: expected <scene>.txt or <scene>.npy of each of the 2 scenes of split 'val', found "
        "none of 1: desk; predict them first",
    )
    assert not (folder / "table.csv").exists()


@pytest.mark.parametrize(
    ("ids", "sentence"),
    [
        ([1, 1, 3], "desk.txt: expected 5 class ids, one for each vertex, found 3"),
        ([1, 1, 3, 3, 4], "desk.txt: expected class ids among [1, 3, 5] (or 0), found [4]"),
    ],
)
def test_a_prediction_that_does_not_fit_is_named(folder, ids, sentence):
    write_ids(folder / "pred", ids, "desk")
    assert_refused(evaluate(folder), sentence)


def test_a_split_that_is_not_there_and_scenes_without_labels_are_told(folder):
    assert_refused(evaluate(folder, "--split=test"), "expected a split 'test', found the splits")
    prepare(folder, "test", bare=None)
    write_ids(folder / "pred", [0] * 5, "bare")
    assert_refused(
        evaluate(folder, "--split=test"),
        "points: expected labels to score by, found none in scene bare of split 'test'",
    )
