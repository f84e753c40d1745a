"""Tests of predict with several scans in one call, bad ones among them, and of weak instances."""

import dataclasses
import json

import numpy as np
import pytest
from own_scans import (
    CLASSES,
    Held,
    assert_finds_box_and_ball,
    room,
    run,
    tiny_model,
    write_binary_ply,
)

from mtml_tf.data import writing
from mtml_tf.inference import many_scenes, models
from mtml_tf.inference.model_source import ModelSource
from mtml_tf.scans import ply
from mtml_tf.scans.preparing import Settings
from mtml_tf.scans.scan_file import ScanFile
from mtml_tf.scoring.benchmark_format import read_predictions

EXTRAS = ("txt", "ply", "json", "html")


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def run_dir(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    models.write_model_config(folder, model.config)
    models.write_weights(folder, models.LAST, model.network)
    return folder


@pytest.fixture
def scans(tmp_path):
    """A folder with the scans s2 and s10, and the bad scan s7, which ends too early."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in ("s2", "s7", "s10"):
        write_binary_ply(folder / f"{name}.ply", *room(), "<")
    whole = (folder / "s7.ply").read_bytes()
    (folder / "s7.ply").write_bytes(whole[: len(whole) // 2])
    return folder


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_bad_scan_does_not_stop_the_others(run_dir, scans, tmp_path):
    output = tmp_path / "out"
    done = run(f"--run_dir={run_dir}", f"--scan={scans}", f"--output_dir={output}", "--timing")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"{scans / 's7.ply'}: expected 2900 rows of 'vertex'" in done.stderr
    assert done.stderr.splitlines()[-1] == (
        f"error: mend {scans / 's7.ply'} and start again, which makes only them: expected 3 scans "
        "to be segmented, found 1 that could not be (the log tells why, the others are written)"
    )
    assert done.stdout.splitlines()[:2] == [
        f"{scans / name}.ply: 2 instances, in {output / name}" for name in ("s2", "s10")
    ]
    assert "| stage | first scene | median of 1 more |" in done.stdout
    assert done.stdout.count("load the model") == 1
    assert names_in(output) == ["s10", "s2"]
    for name in ("s2", "s10"):
        found = names_in(output / name)
        assert found == sorted(
            [".predictions.json", "predicted_masks", *(f"{name}.{suffix}" for suffix in EXTRAS)]
        )
        assert_finds_box_and_ball(read_predictions(output / name, name, 2900))


def test_a_restart_replaces_scan_folders_only_where_that_is_asked_for(run_dir, scans, tmp_path):
    output = tmp_path / "out"
    (output / "s10" / "predicted_masks").mkdir(parents=True)
    (output / "s10" / "old.txt").touch()
    (output / "others").mkdir()
    (output / "others" / "thesis.tex").touch()
    (output / "notes.txt").touch()
    paths = f"{scans / 's2.ply'},{scans / 's10.ply'}"
    arguments = (f"--run_dir={run_dir}", f"--scan={paths}", f"--output_dir={output}", "--noextras")
    done = run(*arguments)
    assert done.returncode == 1
    assert f"error: {output / 's10'}: exists already; choose another folder" in done.stderr
    assert names_in(output) == ["notes.txt", "others", "s10"]
    done = run(*arguments, "--overwrite")
    assert done.returncode == 0, done.stderr
    assert names_in(output) == ["notes.txt", "others", "s10", "s2"]
    assert names_in(output / "s10") == [".predictions.json", "predicted_masks", "s10.txt"]
    assert names_in(output / "others") == ["thesis.tex"]
    (output / "s10" / "thesis.tex").touch()
    done = run(*arguments, "--overwrite")
    assert done.returncode == 1
    assert "a folder of predictions to replace, found thesis.tex in it" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--scan=a/x.ply,b/x.ply"], "b/x.ply: expected scans of different names, found that of a"),
        (["--scan=a.ply,b.ply", "--labels=a.txt"], "a.txt: expected a folder with a file of label"),
        (["--scan=b.ply,empty"], "empty: expected PLY files, found none"),
        (["--scan=,"], "expected paths of scans with commas between, found ','"),
        (["--scan=a.ply,b.ply", "--output_dir=taken"], "taken: expected a folder to write, found"),
        (["--scan=out/s/s.ply,b.ply", "--overwrite"], "that is read, found out/s/s.ply there"),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_work(tmp_path, arguments, sentence):
    (tmp_path / "empty").mkdir()
    (tmp_path / "taken").touch()
    (tmp_path / "a.txt").touch()
    # No such model: it is refused before that is seen.
    done = run("--run_dir=none", "--output_dir=out", *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert names_in(tmp_path) == ["a.txt", "empty", "taken"]


def test_all_bad_scans_are_counted_and_named(model, scans, tmp_path, caplog):
    files = {tmp_path / "out" / name: ScanFile(str(scans / f"{name}.ply")) for name in ("s1", "s7")}
    with pytest.raises(ValueError, match=r"mend .*s1\.ply, .*s7\.ply and .*: expected 2 scans"):
        list(many_scenes.predict_scans(Held(model), files))
    assert "s1.ply: expected a PLY file, found" in caplog.text
    assert not (tmp_path / "out").exists()


def test_each_scan_takes_its_labels_from_the_folder(run_dir, tmp_path):
    vertices, labels = room()
    (tmp_path / "given").mkdir()
    for name in ("a", "b"):
        ply.write_ply(tmp_path / f"{name}.ply", vertices)
    np.save(tmp_path / "given" / "a.npy", labels)
    np.savetxt(tmp_path / "given" / "b.txt", np.where(labels == 7, 1, labels), fmt="%d")
    done = run(
        *(f"--run_dir={run_dir}", f"--scan={tmp_path / 'a.ply'},{tmp_path / 'b.ply'}"),
        *(f"--labels={tmp_path / 'given'}", "--noextras", f"--output_dir={tmp_path / 'out'}"),
    )
    assert done.returncode == 0, done.stderr
    assert_finds_box_and_ball(read_predictions(tmp_path / "out" / "a", "a", 2900))
    assert [i.class_id for i in read_predictions(tmp_path / "out" / "b", "b", 2900)] == [2]


@pytest.fixture(scope="module")
def weak(model, tmp_path_factory):
    """A scan, also as a data folder, and a run whose boxes are as large as its box, balls not."""
    folder = tmp_path_factory.mktemp("weak")
    path = folder / "a.ply"
    write_binary_ply(path, *room(), "<")
    prepared = [Settings(CLASSES, 0.1).voxelize(path)]
    writing.write_data_folder(folder / "data", CLASSES, {"val": prepared})
    ((voxels, _),) = prepared
    usual = float(np.log(np.count_nonzero(voxels.semantic_ids == 2)))
    segment = dataclasses.replace(
        model.config.segment, size_statistics={2: (usual, 1.0), 7: (0.0, 1.0)}
    )
    models.write_model_config(folder / "run", dataclasses.replace(model.config, segment=segment))
    models.write_weights(folder / "run", models.LAST, model.network)
    return folder


def test_weak_instances_are_in_no_file_of_a_scan(weak, tmp_path):
    output = tmp_path / "out"
    done = run(
        *(f"--run_dir={weak / 'run'}", f"--scan={weak / 'a.ply'}", "--min_score=0.5"),
        f"--output_dir={output}",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{weak / 'a.ply'}: 1 instances, in {output}\n"
    assert [i.class_id for i in read_predictions(output, "a", 2900)] == [2]
    assert names_in(output / "predicted_masks") == ["a_000.txt"]
    summary = json.loads((output / "a.json").read_text())
    assert [told["class"] for told in summary["instances"]] == ["box"]
    assert ply.read_ply(output / "a.ply")["vertex"]["predicted_instance"].max() == 1
    assert (output / "a.html").read_text(encoding="utf-8").count('"members": ') == 1


@pytest.mark.parametrize(("min_score", "class_ids"), [(0, [2, 7]), (0.5, [2])])
def test_weak_instances_of_a_split_are_left_out_where_that_is_asked_for(
    weak, tmp_path, min_score, class_ids
):
    source = ModelSource(str(weak / "run"), changed=(("min_score", min_score),))
    many_scenes.predict_split(source, weak / "data", "val", tmp_path / "out")
    found = read_predictions(tmp_path / "out", "a", 2900)
    assert [i.class_id for i in found] == class_ids
    # The ball is odd by three deviations or more.
    np.testing.assert_allclose([i.score for i in found], [1.0, np.exp(-4.5)][: len(class_ids)])
    assert len(names_in(tmp_path / "out" / "predicted_masks")) == len(class_ids)
