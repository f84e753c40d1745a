"""The program that predicts the class of every vertex, and what it calls."""

import json
import subprocess
import sys

import numpy as np
import pytest
from semantic_scenes import BOX, CLASSES, FLOOR, box_scan, write_points, write_red_run, write_split

from mtml_tf.scans import semantic_input
from mtml_tf.semantic import predicting
from mtml_tf.semantic.evaluating import evaluate_split
from mtml_tf.semantic.point_folder import PointFolder
from mtml_tf.semantic.predicting import SemanticSource, predict_split

VAL = ["scan_100", "scan_101"]


@pytest.fixture(name="run_dir", scope="module")
def _run_dir(tmp_path_factory):
    return write_red_run(tmp_path_factory.mktemp("runs") / "red")


@pytest.fixture(name="data_dir", scope="module")
def _data_dir(tmp_path_factory):
    return write_points(tmp_path_factory.mktemp("semantic"), num_train=1)


@pytest.fixture(name="ids", scope="module")
def _ids(run_dir, data_dir, tmp_path_factory):
    """Folder of the ids of split `val`, in this process, of two views, adapted a little."""
    folder = tmp_path_factory.mktemp("predicted") / "ids"
    source = SemanticSource(str(run_dir), 2, adapt=0.25)
    told = predict_split(source, str(data_dir), "val", str(folder))
    assert told == f"{data_dir}: 2 scenes of split 'val', in {folder}"
    return folder


def predict(*flags):
    command = [sys.executable, "-m", "mtml_tf.predict_semantic", *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def reported(folder, split):
    return json.loads((folder / "report.json").read_text())[split]["scenes"]


def test_two_processes_write_the_bytes_that_one_writes(run_dir, data_dir, ids, tmp_path):
    done = predict(
        *(f"--run_dir={run_dir}", f"--data_dir={data_dir}", f"--output_dir={tmp_path}/out"),
        *("--views=2", "--adapt=0.25", "--num_workers=2"),
    )
    told = f"{data_dir}: 2 scenes of split 'val', in {tmp_path}/out\n"
    assert (done.returncode, done.stdout) == (0, told), done.stderr
    assert contents(tmp_path / "out") == contents(ids)


def test_ids_are_what_prepare_and_evaluate_read(data_dir, ids):
    assert sorted(contents(ids)) == [
        *("report.json", "scan_100.txt", "scan_101.txt", "settings.json")
    ]
    for name in VAL:
        true_ids = PointFolder(data_dir).read("val", name).semantic_ids
        given = semantic_input.read_semantic_input(ids, name, len(true_ids), CLASSES)
        assert set(given.semantic_ids.tolist()) == {FLOOR, BOX}
    assert evaluate_split(ids, data_dir, "val").mean_iou > 0.8


def test_probabilities_are_those_of_the_ids(run_dir, data_dir, ids, tmp_path):
    source = SemanticSource(str(run_dir), 2, adapt=0.25)
    predict_split(source, str(data_dir), "val", str(tmp_path / "out"), "probabilities")
    for name in VAL:
        expected = semantic_input.read_semantic_input(
            ids, name, len((ids / f"{name}.txt").read_text().splitlines()), CLASSES
        )
        count = len(expected.semantic_ids)
        given = semantic_input.read_semantic_input(tmp_path / "out", name, count, CLASSES)
        assert given.features.shape == (count, 2)
        np.testing.assert_array_equal(given.semantic_ids, expected.semantic_ids)


def test_only_what_is_missing_is_made_and_of_the_same_settings(run_dir, data_dir, tmp_path):
    output, source = tmp_path / "out", SemanticSource(str(run_dir))
    predict_split(source, str(data_dir), "val", str(output))
    expected = contents(output)
    (output / "scan_100.txt").write_text("old")
    (output / "scan_101.txt").unlink()
    told = predict_split(source, str(data_dir), "val", str(output))
    assert told.endswith("out (1 of them there already)")
    assert contents(output) == {**expected, "scan_100.txt": b"old"}
    sentence = "out: exists already; choose another folder or give --overwrite: expected predic"
    with pytest.raises(ValueError, match=rf"{sentence}.* 'views' to .* found 1 in .* instead of 2"):
        predict_split(SemanticSource(str(run_dir), 2), str(data_dir), "val", str(output))
    with pytest.raises(ValueError, match=r"'adapt' to .* found 0.0 in .* instead of 0.5"):
        adapted = SemanticSource(str(run_dir), adapt=0.5)
        predict_split(adapted, str(data_dir), "val", str(output))
    with pytest.raises(
        ValueError, match=r"'written' to go on with, found \"ids\" in .* instead of \"pro"
    ):
        predict_split(source, str(data_dir), "val", str(output), "probabilities")
    told = predict_split(source, str(data_dir), "train", str(output))  # beside the other split
    assert told.endswith("1 scenes of split 'train', in " + str(output))
    assert "scan_0.txt" in contents(output)
    assert list(reported(output, "val")) == VAL
    assert list(reported(output, "train")) == ["scan_0"]
    predict_split(source, str(data_dir), "val", str(output), overwrite=True)
    assert contents(output) == expected


def test_a_folder_of_something_else_is_left_alone(run_dir, data_dir, tmp_path):
    (tmp_path / "notes.txt").touch()
    given = SemanticSource(str(run_dir)), str(data_dir), "val", str(tmp_path)
    with pytest.raises(ValueError, match="exists already; choose another folder or give --overwr"):
        predict_split(*given)
    with pytest.raises(ValueError, match=r"semantic predictions to replace, found no settings\.js"):
        predict_split(*given, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "settings.json").write_text("{}")
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"semantic predictions to replace, found thesis\.tex in"):
        predict_split(*given, overwrite=True)
    assert len(list(tmp_path.iterdir())) == 3


def test_folders_within_are_left_alone(run_dir, data_dir, tmp_path):
    inner = tmp_path / "notes" / "scan_100.txt"
    inner.parent.mkdir()
    for path in (inner, tmp_path / "settings.json"):
        path.write_text("{}")
    with pytest.raises(ValueError, match=r"to replace, found notes/scan_100\.txt in it; choose"):
        predict_split(
            SemanticSource(str(run_dir)), str(data_dir), "val", str(tmp_path), overwrite=True
        )
    assert inner.read_text() == "{}"


def test_a_broken_scene_does_not_stop_the_others(run_dir, tmp_path, caplog):
    data_dir = write_split(tmp_path, "val", [box_scan(seed) for seed in range(2)])
    path = data_dir / "val" / "scan_0.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    source, output = SemanticSource(str(run_dir)), tmp_path / "out"
    with pytest.raises(ValueError, match="found 1 that could not be") as caught:
        predict_split(source, str(data_dir), "val", str(output))
    told = f"{output}: mend the scenes that {output / 'report.json'} calls failed and start again"
    assert str(caught.value).startswith(told)
    assert f"scan_0 failed (val): {path}: expected" in caplog.text
    assert sorted(contents(output)) == ["report.json", "scan_1.txt", "settings.json"]
    broken, other = reported(output, "val").values()
    assert (broken["status"], other) == ("failed", {"status": "predicted", "reasons": []})
    assert broken["reasons"][0].startswith(f"{path}: expected")
    path.write_bytes(whole)
    told = predict_split(source, str(data_dir), "val", str(output))
    assert told.endswith("(1 of them there already)")
    assert {scene["status"] for scene in reported(output, "val").values()} == {"predicted"}
    assert len((output / "scan_0.txt").read_text().splitlines()) == len(box_scan(0).vertices)


def test_a_scan_unlike_those_learned_from_is_told(run_dir, data_dir, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(predicting, "share_of_doubt", lambda probabilities: 0.41)
    source = SemanticSource(str(run_dir))
    predict_split(source, str(data_dir), "train", str(tmp_path / "out"))
    told = "scan_0 (train): 41% of the vertices have a class with less than half of the probability"
    assert told in caplog.text
    (scene,) = reported(tmp_path / "out", "train").values()
    assert scene["status"] == "predicted"
    assert scene["reasons"][0].startswith("41% of the vertices")
    assert "(1 of them there" in predict_split(
        source, str(data_dir), "train", str(tmp_path / "out")
    )
    assert list(reported(tmp_path / "out", "train").values()) == [scene]  # it is said still


def test_a_model_of_other_classes_is_refused(run_dir, tmp_path, data_dir):
    path = tmp_path / "points"
    path.mkdir()
    (path / "val").mkdir()
    (path / "val.txt").write_text("scan_100\n")
    (path / "classes.csv").write_text("id,name,kind\n1,floor,stuff\n2,box,thing\n")
    with pytest.raises(ValueError, match=r"points: expected the classes that .* others in classes"):
        predict_split(SemanticSource(str(run_dir)), str(path), "val", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ([], "expected either --run_dir or --model"),
        (["--run_dir=a", "--model=b"], "expected either --run_dir or --model"),
    ],
)
def test_flags_that_do_not_go_together_are_wrong_usage(flags, sentence):
    done = predict("--data_dir=d", "--output_dir=out", *flags)
    assert done.returncode == 2
    assert sentence in done.stderr


def test_settings_tell_the_model(ids, run_dir):
    told = json.loads((ids / "settings.json").read_text())
    assert told["model"] == SemanticSource(str(run_dir)).fingerprint
    assert (told["views"], told["written"]) == (2, "ids")
