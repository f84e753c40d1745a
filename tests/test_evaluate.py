"""The scoring program, on folders written here."""

import re
import subprocess
import sys

import numpy as np
import pytest

from mtml_tf.classes import ClassSet, encode_classes, read_classes
from mtml_tf.scene import Instance
from mtml_tf.scoring import benchmark_format
from mtml_tf.scoring.folders import evaluate_folder

CLASSES = ClassSet((1, 3, 5), ("table", "cup", "box"), ("stuff", "thing", "thing"))
IDS = np.repeat([1000, 3001, 5001], [50, 120, 120])


def instance(start, stop, class_id, score=0.5):
    return Instance(class_id, score, np.arange(start, stop, dtype=np.int32))


@pytest.fixture
def folders(tmp_path):
    """Two scenes; in the first the cup is found, in the second nothing."""
    (tmp_path / "classes.csv").write_text(encode_classes(CLASSES))
    for name in ("desk", "lab"):
        benchmark_format.write_ground_truth(tmp_path / "truth" / f"{name}.txt", IDS)
    found = [instance(50, 170, 3)]
    benchmark_format.write_predictions(tmp_path / "pred", "desk", found, len(IDS))
    benchmark_format.write_predictions(tmp_path / "pred", "lab", [], len(IDS))
    return tmp_path


def evaluate(folder, *arguments, **paths):
    paths = {
        "prediction_dir": folder / "pred",
        "ground_truth_dir": folder / "truth",
        "classes": folder / "classes.csv",
        **paths,
    }
    given = [f"--{name}={path}" for name, path in paths.items() if path is not None]
    return subprocess.run(
        [sys.executable, "-m", "mtml_tf.evaluate", *given, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_table_is_printed_and_written(folders):
    done = evaluate(folders, f"--output_csv={folders}/out/table.csv")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "class        AP    AP50    AP25\n"
        "cup       0.500   0.500   0.500\n"
        "box       0.000   0.000   0.000\n"
        "average   0.250   0.250   0.250\n"
    )
    assert (folders / "out/table.csv").read_text() == (
        "class,class id,ap,ap50,ap25\ncup,3,0.5,0.5,0.5\nbox,5,0.0,0.0,0.0\n"
    )


def test_a_table_that_exists_is_replaced_only_when_told(folders):
    path = folders / "table.csv"
    path.write_text("mine")
    refused = evaluate(folders, f"--output_csv={path}")
    assert refused.returncode == 1
    assert "table.csv: exists already" in refused.stderr.splitlines()[-1]
    assert path.read_text() == "mine"
    assert evaluate(folders, f"--output_csv={path}", "--overwrite").returncode == 0
    assert path.read_text().startswith("class,class id")


def test_a_table_that_exists_is_refused_before_anything_is_read(folders):
    path = folders / "table.csv"
    path.write_text("mine")
    refused = evaluate(folders, f"--output_csv={path}", prediction_dir=folders / "nowhere")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "table.csv: exists already" in refused.stderr
    assert "nowhere" not in refused.stderr


@pytest.mark.parametrize("name", ["classes.csv", "pred/desk.txt", "truth/desk.txt"])
def test_a_table_replaces_nothing_that_is_read(folders, name):
    before = (folders / name).read_text()
    refused = evaluate(folders, f"--output_csv={folders / name}", "--overwrite")
    assert (refused.returncode, refused.stdout) == (1, "")
    sentence = f"error: {folders / name}: (expected|choose another path to write to: expected)"
    assert re.search(sentence, refused.stderr)
    assert (folders / name).read_text() == before


def test_nothing_is_left_where_scoring_fails(folders):
    failed = evaluate(folders, f"--output_csv={folders}/table.csv", prediction_dir=folders / "none")
    assert "none: expected a folder" in failed.stderr
    assert sorted(path.name for path in folders.iterdir()) == ["classes.csv", "pred", "truth"]


def test_the_scores_are_explained_when_told(folders):
    wrong = [instance(170, 290, 3), instance(50, 110, 3, 0.75), instance(110, 170, 3)]
    benchmark_format.write_predictions(folders / "pred", "hall", wrong, len(IDS))
    benchmark_format.write_ground_truth(folders / "truth/hall.txt", IDS)
    plain = evaluate(folders, "--min_vertices=10")
    done = evaluate(folders, "--min_vertices=10", "--explain")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == plain.stdout + (
        "\n"
        "class  objects  found  wrong class  merged  split  missed  "
        "predictions  match  duplicate  ignored  wrong class  false\n"
        "cup          3      1            0       0      1       1  "
        "          4      1          0        0            1      2\n"
        "box          3      0            1       0      0       2  "
        "          0      0          0        0            0      0\n"
        "all          6      1            1       0      1       3  "
        "          4      1          0        0            1      2\n"
    )


def test_smaller_instances_count_when_told(folders):
    ids = np.repeat([1000, 3001], [50, 20])
    benchmark_format.write_ground_truth(folders / "truth/small.txt", ids)
    small = [instance(50, 70, 3)]
    benchmark_format.write_predictions(folders / "pred", "small", small, len(ids))
    assert "cup       0.500" in evaluate(folders).stdout
    assert "cup       0.667" in evaluate(folders, "--min_vertices=10").stdout


def test_the_built_in_classes_have_a_name(folders):
    done = evaluate(folders, classes="scannet18")
    assert len(done.stdout.splitlines()) == 20
    assert done.stdout.splitlines()[1] == "cabinet          0.500   0.500   0.500"


def test_what_was_left_out_is_told(folders):
    (folders / "pred/lab.txt").unlink()
    strangers = [instance(0, 100, 7), instance(0, 100, 1)]
    benchmark_format.write_ground_truth(folders / "truth/hall.txt", IDS)
    benchmark_format.write_predictions(folders / "pred", "hall", strangers, len(IDS))
    benchmark_format.write_predictions(folders / "pred", "attic", [], len(IDS))
    done = evaluate(folders)
    assert done.returncode == 0
    assert "cup       0.333   0.333" in done.stdout
    assert "1 of 3 scenes have no prediction file and count as empty: lab\n" in done.stderr
    assert "1 prediction files have no ground truth: attic\n" in done.stderr
    assert "2 class ids of predictions are not scored: 1, 7\n" in done.stderr


def test_a_mask_named_twice_is_told(folders):
    lines = "predicted_masks/desk_000.txt 5 0.5\npredicted_masks/desk_000.txt 3 0.5\n"
    (folders / "pred/desk.txt").write_text(lines)
    done = evaluate(folders)
    assert "cup       0.500" in done.stdout
    assert "desk.txt: line 2 names a mask for the second time" in done.stderr


def test_ground_truth_of_other_classes_is_told(folders):
    (folders / "other.csv").write_text("id,name,kind\n9,lid,thing\n")
    done = evaluate(folders, classes=folders / "other.csv")
    assert "none of the 1 scored classes has ground truth of 100 or more" in done.stderr
    assert "average     nan" in done.stdout


@pytest.mark.parametrize("folder", ["prediction_dir", "ground_truth_dir"])
def test_a_missing_or_empty_folder_is_told_in_a_sentence(folders, folder):
    (folders / "empty").mkdir()
    (folders / "empty" / ".hidden.txt").write_text("")
    for path, sentence in (
        ("empty", "expected <scene>.txt files, found none"),
        ("nowhere", "expected a folder of <scene>.txt files, found no such folder"),
    ):
        done = evaluate(folders, **{folder: folders / path})
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"error: {folders}/{path}: {sentence}\n"


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        (
            "pred/desk.txt",
            "predicted_masks/desk_000.txt 3\n",
            "expected 'mask class_id confidence'",
        ),
        ("pred/predicted_masks/desk_000.txt", "1\n0\n", "expected 290 lines, one for each vertex"),
        ("truth/desk.txt", "3001\nchair\n", "expected one integer a line, found 'chair' in line 2"),
        ("classes.csv", "3,cup\n", "expected the header 'id,name,kind'"),
    ],
)
def test_a_file_that_is_wrong_is_told_in_a_sentence(folders, file, text, sentence):
    (folders / file).write_text(text)
    done = evaluate(folders)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {folders}/{file}: {sentence}")


@pytest.mark.parametrize("flag", ["prediction_dir", "ground_truth_dir", "classes"])
def test_a_flag_that_is_missing_is_wrong_usage(folders, flag):
    done = evaluate(folders, **{flag: None})
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--{flag}" in done.stderr


def test_a_negative_size_is_wrong_usage(folders):
    assert evaluate(folders, "--min_vertices=-1").returncode == 2


def test_the_library_scores_as_the_program_does(folders):
    classes = read_classes(folders / "classes.csv")
    table = evaluate_folder(folders / "pred", folders / "truth", classes)
    np.testing.assert_array_equal(table.ap50, [0.5, 0.0])
    assert table.names == ("cup", "box")
