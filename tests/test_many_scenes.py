"""Predicting many scenes: begun and gone on with, on any engine, whatever befalls single ones."""

import errno
import importlib.util
import json
import os
import pathlib
import shutil
import sys

import numpy as np
import pytest
from own_scans import BARE, CLASSES, assert_finds_box_and_ball, room, run, tiny_model
from own_scans import write_binary_ply as write_scan

from mtml_tf import files
from mtml_tf.data import writing
from mtml_tf.engines import Engine
from mtml_tf.inference import many_scenes, models, prediction
from mtml_tf.inference.model_source import ModelSource
from mtml_tf.scans.preparing import Settings
from mtml_tf.scans.scan_file import ScanFile
from mtml_tf.scoring import folders
from mtml_tf.scoring.benchmark_format import read_predictions, write_ground_truth

NAMES = ("a", "b", "c", "d")
ENGINES = [
    Engine(num_workers=2),
    pytest.param(
        Engine("beam"),
        marks=pytest.mark.skipif(
            importlib.util.find_spec("apache_beam") is None, reason="no Apache Beam"
        ),
    ),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A tiny model's run, and scans of rooms that differ, also as a data folder."""
    folder = tmp_path_factory.mktemp("many")
    model = tiny_model()
    models.write_model_config(folder / "run", model.config)
    models.write_weights(folder / "run", models.LAST, model.network)
    vertices, labels = room()
    for number, name in enumerate(NAMES):
        count = len(vertices) - 100 * number
        write_scan(folder / f"{name}.ply", vertices[:count], labels[:count], "<")
    write_data(folder / "data", folder, NAMES)
    return folder


def write_data(output, folder, names):
    scenes = [Settings(CLASSES, 0.1).voxelize(folder / f"{name}.ply") for name in names]
    writing.write_data_folder(output, CLASSES, {"val": scenes}, overwrite=True)


def predict(place, output, **options):
    source = options.pop("source", ModelSource(str(place / "run")))
    return many_scenes.predict_split(source, place / "data", "val", output, **options)


def bytes_of(folder):
    paths = [path for path in pathlib.Path(folder).rglob("*") if path.is_file()]
    return {os.path.relpath(path, folder): path.read_bytes() for path in sorted(paths)}


def times_of(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module", params=[False, True], ids=["text", "compact"])
def whole(request, place, tmp_path_factory):
    """Whether masks are compact, and the split predicted in one go by one process."""
    output = tmp_path_factory.mktemp("whole") / "out"
    done = predict(place, output, compact=request.param)
    assert (done.num_scenes, done.num_there, len(done.times)) == (4, 0, 4)
    return request.param, output


def test_a_split_is_written_in_the_form_that_is_asked_for(whole):
    compact, output = whole
    marks = {f"{name}.masks" if compact else f"{name}.txt" for name in NAMES}
    rest = {"predictions.json", "report.json"} | (set() if compact else {"predicted_masks"})
    assert {path.name for path in output.iterdir()} == marks | rest
    assert_finds_box_and_ball(read_predictions(output, "a", 2900))
    report = json.loads((output / "report.json").read_text())["val"]["scenes"]
    assert report == {name: {"status": "predicted", "reasons": []} for name in NAMES}
    folders.PREDICTIONS.check(output)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_writes_the_same_bytes(whole, place, tmp_path, engine):
    compact, output = whole
    done = predict(place, tmp_path / "out", compact=compact, engine=engine)
    assert (done.num_there, len(done.times)) == (0, 4)
    assert bytes_of(tmp_path / "out") == bytes_of(output)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_was_ended_is_gone_on_with(whole, place, tmp_path, monkeypatch):
    compact, output = whole
    write = many_scenes.write_predictions

    def end_at_c(folder, name, *rest):
        if name == "c":
            raise KeyboardInterrupt
        write(folder, name, *rest)

    monkeypatch.setattr(many_scenes, "write_predictions", end_at_c)
    with pytest.raises(KeyboardInterrupt):
        predict(place, tmp_path / "out", compact=compact)
    monkeypatch.setattr(many_scenes, "write_predictions", write)
    before = times_of(tmp_path / "out")
    assert "report.json" not in before
    done = predict(place, tmp_path / "out", compact=compact)
    assert (done.num_scenes, done.num_there, len(done.times)) == (4, 2, 2)
    assert before.items() <= times_of(tmp_path / "out").items()
    assert bytes_of(tmp_path / "out") == bytes_of(output)


def test_a_full_disk_ends_all_and_is_gone_on_with(whole, place, tmp_path, monkeypatch):
    compact, output = whole
    write, tried = many_scenes.write_predictions, []

    def fill_up_at_b(folder, name, *rest):
        tried.append(name)
        if name == "b":
            raise files.disk_error(folder, errno.ENOSPC)
        write(folder, name, *rest)

    monkeypatch.setattr(many_scenes, "write_predictions", fill_up_at_b)
    sentence = rf"^{tmp_path}/out: expected room to write it, found the disk full; make room and st"
    with pytest.raises(files.DiskError, match=sentence):
        predict(place, tmp_path / "out", compact=compact)
    assert tried == ["a", "b"]
    monkeypatch.setattr(many_scenes, "write_predictions", write)
    assert predict(place, tmp_path / "out", compact=compact).num_there == 1
    assert bytes_of(tmp_path / "out") == bytes_of(output)


def test_masks_without_the_list_that_ends_a_scene_are_made_again(place, tmp_path):
    predict(place, tmp_path / "out")
    expected = bytes_of(tmp_path / "out")
    (tmp_path / "out" / "b.txt").unlink()
    (tmp_path / "out" / "predicted_masks" / "b_000.txt").write_text("1\n")
    assert predict(place, tmp_path / "out").num_there == 3
    assert bytes_of(tmp_path / "out") == expected


def test_a_scene_that_fails_does_not_stop_the_others(whole, place, tmp_path, monkeypatch, caplog):
    compact, output = whole
    read = many_scenes.read_scene

    def fail_at_b(data_dir, entry, classes):
        if entry.name == "b":
            raise IndexError("out of bounds")
        return read(data_dir, entry, classes)

    monkeypatch.setattr(many_scenes, "read_scene", fail_at_b)
    sentence = r"report\.json calls failed and start again, which .*: expected 4 .*, found 1 that"
    for _ in range(2):
        with pytest.raises(ValueError, match=sentence):
            predict(place, tmp_path / "out", compact=compact)
    assert "b failed (val): scene b: IndexError: out of bounds" in caplog.text
    report = json.loads((tmp_path / "out" / "report.json").read_text())["val"]["scenes"]
    assert report["b"] == {"status": "failed", "reasons": ["scene b: IndexError: out of bounds"]}
    assert [scene["status"] for scene in report.values()].count("predicted") == 3
    monkeypatch.setattr(many_scenes, "read_scene", read)
    assert predict(place, tmp_path / "out", compact=compact).num_there == 3
    assert bytes_of(tmp_path / "out") == bytes_of(output)


def test_predictions_of_other_settings_are_not_gone_on_with(place, tmp_path):
    output = tmp_path / "out"
    predict(place, output)
    expected = bytes_of(output)
    stricter = ModelSource(str(place / "run"), changed=(("min_score", 0.5),))
    for name, options in (("masks", {"compact": True}), ("segment", {"source": stricter})):
        with pytest.raises(ValueError, match=f"out: exists already; .* same '{name}' to go on"):
            predict(place, output, **options)
    write_data(tmp_path / "data", place, NAMES[1:])
    (tmp_path / "run").symlink_to(place / "run")
    with pytest.raises(ValueError, match="predictions of the same 'data' to go on with"):
        predict(tmp_path, output)
    assert bytes_of(output) == expected
    predict(tmp_path, output, overwrite=True, compact=True)
    assert {path.name for path in output.glob("*.*")} == {
        *("b.masks", "c.masks", "d.masks", "predictions.json", "report.json")
    }


def test_more_training_makes_another_model(place, tmp_path):
    model = tiny_model()
    models.write_model_config(tmp_path / "run", model.config)
    models.write_weights(tmp_path / "run", models.LAST, model.network)
    source = ModelSource(str(tmp_path / "run"))
    assert source.fingerprint == ModelSource(str(tmp_path / "run")).fingerprint
    first = source.load()
    assert ModelSource(str(tmp_path / "run")).load() is first
    model.network.dense.trainable_variables[0].assign_add(
        model.network.dense.trainable_variables[0] + 1
    )
    models.write_weights(tmp_path / "run", models.LAST, model.network)
    again = ModelSource(str(tmp_path / "run"))
    assert again.fingerprint != source.fingerprint
    assert again.load() is not first


def test_only_predictions_are_overwritten(place, tmp_path):
    output = tmp_path / "out"
    predict(place, output)
    (output / "thesis.tex").touch()
    expected = bytes_of(output)
    with pytest.raises(ValueError, match=r"predictions to replace, found thesis\.tex in it"):
        predict(place, output, overwrite=True)
    assert bytes_of(output) == expected
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").touch()
    with pytest.raises(ValueError, match="other: exists already"):
        predict(place, tmp_path / "other")


def test_a_model_or_data_that_is_none_leaves_no_folder(place, tmp_path):
    with pytest.raises(ValueError, match="expected a run folder"):
        predict(place, tmp_path / "out", source=ModelSource(str(tmp_path)))
    with pytest.raises(ValueError, match="expected a data folder"):
        predict(tmp_path, tmp_path / "out", source=ModelSource(str(place / "run")))
    assert list(tmp_path.iterdir()) == []


def test_both_forms_score_equally(place, tmp_path):
    tables = []
    for number, name in enumerate(NAMES):
        labels = room()[1][: 2900 - 100 * number]
        ids = np.where(labels == 1, 0, labels * 1000 + 1)
        write_ground_truth(tmp_path / "truth" / f"{name}.txt", ids)
    for compact in (False, True):
        predict(place, tmp_path / str(compact), compact=compact)
        tables.append(folders.evaluate_folder(tmp_path / str(compact), tmp_path / "truth", CLASSES))
    assert tables[0].encode_csv() == tables[1].encode_csv()
    assert tables[0].average.ap50 == 1


def predict_scans(place, output, **options):
    scans = {output / name: ScanFile(str(place / f"{name}.ply")) for name in NAMES}
    source = ModelSource(str(place / "run"))
    found = many_scenes.predict_scans(source, scans, written=BARE, **options)
    return {folder.name: count for folder, count, _ in found}


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_writes_the_same_bytes_of_scans(place, tmp_path, engine):
    for output, by in (("one", many_scenes.THIS_PROCESS), ("other", engine)):
        found = predict_scans(place, tmp_path / output, engine=by)
        assert found == dict.fromkeys(NAMES, 2)
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "other")


def test_scans_that_are_there_are_not_made_again(place, tmp_path):
    def done(**options):
        return predict_scans(place, tmp_path / "out", **options)

    assert done() == dict.fromkeys(NAMES, 2)
    before = bytes_of(tmp_path / "out")
    for path in (tmp_path / "out" / "b").glob("**/*.txt"):
        path.unlink()
    (tmp_path / "out" / "b" / ".predictions.json").unlink()
    (tmp_path / "out" / "b" / "predicted_masks").rmdir()
    assert done() == {"a": None, "b": 2, "c": None, "d": None}
    assert bytes_of(tmp_path / "out") == before
    os.utime(place / "c.ply")
    with pytest.raises(ValueError, match="c: exists already; choose another folder or give"):
        done()
    assert done(overwrite=True) == dict.fromkeys(NAMES, 2)


def test_a_folder_that_another_process_writes_is_left_to_it(place, tmp_path):
    (tmp_path / "out").mkdir()
    sentence = "expected a folder that nobody writes, found that another process predicts into it"
    with files.locked(tmp_path / "out"), pytest.raises(ValueError, match=sentence):
        predict(place, tmp_path / "out")
    assert bytes_of(tmp_path / "out") == {}


def test_nothing_is_overwritten_for_an_engine_that_is_not_there(whole, place, monkeypatch):
    compact, output = whole
    monkeypatch.setitem(sys.modules, "apache_beam.options.pipeline_options", None)
    before = bytes_of(output)
    with pytest.raises(ImportError, match="--engine=beam needs Apache Beam"):
        predict(place, output, overwrite=True, compact=compact, engine=Engine("beam"))
    assert bytes_of(output) == before


def test_beam_is_not_for_a_single_scan(place, tmp_path):
    scans = {tmp_path / "a": ScanFile(str(place / "a.ply"))}
    found = many_scenes.predict_scans(ModelSource(str(place / "run")), scans, engine=Engine("beam"))
    with pytest.raises(ValueError, match=r"leave --engine out for a single scan: .*a\.ply"):
        list(found)
    assert not (tmp_path / "a").exists()


def test_a_model_that_changed_since_the_start_predicts_nothing(place, tmp_path):
    shutil.copytree(place / "run", tmp_path / "run")
    source = ModelSource(str(tmp_path / "run"))
    assert source.fingerprint == ModelSource(str(place / "run")).fingerprint
    other = tiny_model()
    models.write_weights(tmp_path / "run", models.LAST, other.network)
    with pytest.raises(ValueError, match="run: expected a model that does not change while"):
        source.load()


def test_a_scan_may_have_the_name_of_a_settings_file(place, tmp_path):
    for name in ("predictions", "report"):
        shutil.copy(place / "a.ply", tmp_path / f"{name}.ply")
    scans = {
        tmp_path / "out" / path.stem: ScanFile(str(path)) for path in sorted(tmp_path.glob("*.ply"))
    }
    source = ModelSource(str(place / "run"))
    written = prediction.ScanOutput(html=False)
    found = list(many_scenes.predict_scans(source, scans, written=written))
    assert [count for _, count, _ in found] == [2, 2]
    for folder in scans:
        folders.PREDICTIONS.check(folder)


def test_a_scan_of_its_own_may_have_compact_masks(place, tmp_path):
    model = ModelSource(str(place / "run")).load()
    written = prediction.ScanOutput(html=False, compact=True)
    prediction.predict_scan(
        model, ScanFile(str(place / "a.ply")), tmp_path / "out", written=written
    )
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.masks", "a.json", "a.ply"}
    assert_finds_box_and_ball(read_predictions(tmp_path / "out", "a", 2900))
    folders.PREDICTIONS.check(tmp_path / "out")


def test_the_program_goes_on_and_says_so(place, tmp_path):
    arguments = [
        *(f"--run_dir={place / 'run'}", f"--data_dir={place / 'data'}", "--num_workers=2"),
        *("--masks=compact", f"--output_dir={tmp_path / 'out'}", "--timing"),
    ]
    first = run(*arguments)
    assert first.returncode == 0, first.stderr
    assert f"4 scenes of split 'val', in {tmp_path / 'out'}\n" in first.stdout
    assert "| stage | first scene | median of 3 more |" in first.stdout
    (tmp_path / "out" / "c.masks").unlink()
    second = run(*arguments)
    assert second.returncode == 0, second.stderr
    assert f"in {tmp_path / 'out'} (3 of them there already)\n" in second.stdout
    refused = run(*arguments, "--min_score=0.5")
    assert refused.returncode == 1
    assert "found {} in" in refused.stderr
    assert "Traceback" not in refused.stderr
    wrong = run(*arguments, "--engine=spark")
    assert wrong.returncode == 2
    assert "expected --engine=pool or beam, found spark" in wrong.stderr
