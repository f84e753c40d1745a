"""Tests of predicting on one scan of one's own, and of the program that does it."""

import dataclasses
import json
import logging
import re
import sys

import numpy as np
import pytest
from own_scans import (
    CLASSES,
    assert_finds_box_and_ball,
    predict,
    room,
    run,
    tiny_model,
    write_binary_ply,
    write_text_ply,
)

from mtml_tf.drawing.view_html import plotly_script
from mtml_tf.inference import models, prediction, shipped
from mtml_tf.scannet.submission import check_submission
from mtml_tf.scans import ply, scan
from mtml_tf.scans.scan_file import ScanFile
from mtml_tf.scene import Instance, Scene
from mtml_tf.scoring.benchmark_format import read_predictions, write_ground_truth
from mtml_tf.scoring.folders import evaluate_folder
from mtml_tf.scoring.summary import best_instances, summarize

WITHOUT_PAGE = prediction.ScanOutput(html=False)


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.mark.parametrize("up_axis", list(scan.UP_AXES))
def test_other_axes_and_units_find_the_same(model, tmp_path, up_axis):
    vertices, labels = room()
    turned = (
        vertices @ np.array(scan.UP_AXES[up_axis]) * 1000
    )  # the other way round: z up to theirs
    assert np.linalg.det(np.array(scan.UP_AXES[up_axis])) == pytest.approx(1)
    write_binary_ply(tmp_path / "mm.ply", turned, labels, "<")
    reading = {"up_axis": up_axis, "scale": 0.001}
    assert_finds_box_and_ball(predict(model, tmp_path / "mm.ply", tmp_path / "out", **reading))
    given = scan.in_metres(scan.read_scan(tmp_path / "mm.ply"), up_axis, 0.001)
    np.testing.assert_allclose(given.vertices, vertices, atol=1e-6)


def test_millimetres_taken_for_metres_are_told(model, tmp_path):
    vertices, labels = room()
    write_binary_ply(tmp_path / "mm.ply", vertices * 1000, labels, "<")
    with pytest.raises(ValueError, match=r"mm: expected metres, found a scan of 1950 x 1950 x .*"):
        predict(model, tmp_path / "mm.ply", tmp_path / "out")
    with pytest.raises(ValueError, match=r"give --scale \(0\.001 for millimetres, 0\.01 for cent"):
        predict(model, tmp_path / "mm.ply", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("is_flat", [False, True])
def test_few_points_far_apart_are_told_before_the_hours_they_would_take(model, tmp_path, is_flat):
    vertices, labels = room()
    box = vertices[labels == 2] * (1500 if is_flat else 300)  # 750 or 150 millimetres wide
    box[:, 2] *= not is_flat
    write_binary_ply(tmp_path / "mm.ply", box, labels[labels == 2], "<")
    sentence = r"mm: expected metres, found a scan of .* apart; .* --scale \(0\.001 for"
    with pytest.raises(ValueError, match=sentence):
        predict(model, tmp_path / "mm.ply", tmp_path / "out")
    found = predict(model, tmp_path / "mm.ply", tmp_path / "out", scale=0.001)
    assert all(instance.class_id == 2 for instance in found)


def test_coordinates_too_coarse_for_the_voxels_are_told(model, tmp_path):
    vertices, labels = room()
    far = vertices + np.array([4e6, 5e6, 0])
    write_binary_ply(tmp_path / "a.ply", far, labels, "<", "f4")
    with pytest.raises(ValueError, match=r"scene a: .* in steps of 0\.5 m; store x, y, z as doubl"):
        predict(model, tmp_path / "a.ply", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    write_binary_ply(tmp_path / "b.ply", far, labels, "<", "f8")
    assert_finds_box_and_ball(predict(model, tmp_path / "b.ply", tmp_path / "out"))


def test_the_size_of_a_scan_is_told(model, tmp_path, caplog):
    vertices, labels = room()
    write_binary_ply(tmp_path / "a.ply", vertices * 1000, labels, "<")
    with caplog.at_level(logging.INFO, logger="absl"):
        predict(model, tmp_path / "a.ply", tmp_path / "out", scale=0.001)
    told = r"scan a: 1\.95 x 1\.95 x 0\.6 m, [\d,]+ voxels of 0\.1 m, \d+ % of them of things"
    assert re.search(told, caplog.text)


def test_what_is_no_scan_is_told(model):
    with pytest.raises(ValueError, match=r"expected a Scene, such as .* gives, found a str"):
        prediction.segment_scan("scan.ply", model)
    with pytest.raises(ValueError, match="scene a: expected vertices, found none"):
        prediction.segment_scan(Scene("a", np.zeros((0, 3))), model)


def test_one_point_far_away_does_not_matter(model, tmp_path):
    vertices, labels = room()
    vertices[0] = 150
    scene = Scene("far", vertices, semantic_ids=labels.astype(np.int32))
    assert np.prod(prediction.voxelize_for(scene, model).grid_shape) > 3e9


@pytest.mark.parametrize("scale", [0, -1, np.inf, np.nan])
def test_a_scale_that_is_none_is_refused(scale):
    with pytest.raises(ValueError, match="expected a finite scale above 0"):
        scan.in_metres(Scene("a", np.zeros((1, 3))), scale=scale)
    with pytest.raises(ValueError, match="expected an up axis among"):
        scan.in_metres(Scene("a", np.zeros((1, 3))), up_axis="w")


def test_one_single_vertex_gives_an_empty_result(model, tmp_path):
    write_binary_ply(tmp_path / "dot.ply", np.zeros((1, 3)), np.array([2]), "<")
    assert predict(model, tmp_path / "dot.ply", tmp_path / "out") == []
    assert (tmp_path / "out" / "dot.txt").read_text() == ""


def test_a_scan_without_things_gives_whole_files_and_says_so(model, tmp_path, caplog):
    vertices, labels = room()
    write_binary_ply(tmp_path / "floor.ply", vertices[labels == 1], labels[labels == 1], "<")
    with caplog.at_level(logging.INFO, logger="absl"):
        prediction.predict_scan(model, ScanFile(str(tmp_path / "floor.ply")), tmp_path / "out")
    assert "floor: 0 instances: no vertex has a class with instances (2 box, 7 ball)" in caplog.text
    assert json.loads((tmp_path / "out" / "floor.json").read_text())["instances"] == []
    assert (tmp_path / "out" / "floor.html").stat().st_size > 1000
    vertices_written = ply.read_ply(tmp_path / "out" / "floor.ply")["vertex"]
    assert vertices_written["predicted_instance"].max() == 0


def test_things_of_too_few_voxels_are_told(model, tmp_path, caplog):
    vertices, labels = room()
    write_binary_ply(tmp_path / "a.ply", vertices, labels, "<")
    with caplog.at_level(logging.INFO, logger="absl"):
        assert predict(model, tmp_path / "a.ply", tmp_path / "out", scale=0.001) == []
    assert "a: 0 instances: the scan measures 0.00195 x 0.00195 x 0.000599751 m" in caplog.text
    assert f"needs {model.config.segment.min_voxels} (--min_voxels)" in caplog.text


def test_600000_vertices(model, tmp_path):
    rng = np.random.default_rng(1)
    vertices, labels = room()
    rows = rng.integers(0, len(vertices), 600_000)
    write_binary_ply(tmp_path / "large.ply", vertices[rows], labels[rows], "<")
    found = predict(model, tmp_path / "large.ply", tmp_path / "out")
    assert {i.class_id for i in found} == {2, 7}
    assert sum(len(i.indices) for i in found) == np.count_nonzero(labels[rows] > 1)


def test_coordinates_that_are_not_finite_are_refused(model, tmp_path):
    vertices, labels = room()
    vertices[5, 1] = np.nan
    write_binary_ply(tmp_path / "nan.ply", vertices, labels, "<")
    with pytest.raises(ValueError, match=r"nan\.ply: expected finite coordinates"):
        predict(model, tmp_path / "nan.ply", tmp_path / "out")


def test_the_extras_are_in_the_units_and_axes_of_the_scan(model, tmp_path):
    vertices, labels = room()
    turned = vertices[:, [0, 2, 1]] * [1000, 1000, -1000]  # y up, millimetres
    faces = np.array([[0, 1, 40]], np.int32)
    path = tmp_path / "scan.ply"
    ply.write_ply(path, turned, None, faces, {"label": labels.astype(np.uint16)})
    count, seconds = prediction.predict_scan(
        model, ScanFile(str(path), up_axis="y", scale=0.001), tmp_path / "out"
    )
    assert count == 2
    assert {"read the scan", "voxelize", "network", "write the masks"} <= set(seconds)
    written = scan.read_scan(tmp_path / "out" / "scan.ply")
    np.testing.assert_allclose(written.vertices, turned, atol=1e-3)
    np.testing.assert_array_equal(written.faces, faces)
    np.testing.assert_array_equal(written.semantic_ids, labels)
    assert written.instance_ids is None  # nobody should take them for the truth
    predicted = ply.read_ply(tmp_path / "out" / "scan.ply")["vertex"]["predicted_instance"]
    assert set(np.unique(predicted)) == {0, 1, 2}
    assert len(np.unique(written.colors, axis=0)) == 3
    told = json.loads((tmp_path / "out" / "scan.json").read_text())
    by_class = {instance["class"]: instance for instance in told["instances"]}
    assert set(by_class) == {"box", "ball"}
    box = turned[labels == 2]
    np.testing.assert_allclose(by_class["box"]["box_min"], box.min(axis=0), atol=1e-3)
    np.testing.assert_allclose(by_class["box"]["centre"], box.mean(axis=0), atol=1e-3)
    assert by_class["box"]["num_vertices"] == 800
    assert "plotly" in (tmp_path / "out" / "scan.html").read_text(encoding="utf-8").lower()


def test_nothing_that_exists_is_replaced(model, tmp_path):
    vertices, labels = room()
    write_binary_ply(tmp_path / "a.ply", vertices, labels, "<")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="exists already"):
        predict(model, tmp_path / "a.ply", tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


def test_extras_disturb_neither_scores_nor_submissions(model, tmp_path):
    vertices, labels = room()
    write_binary_ply(tmp_path / "a.ply", vertices, labels, "<")
    prediction.predict_scan(model, ScanFile(str(tmp_path / "a.ply")), tmp_path / "out")
    assert {p.suffix for p in (tmp_path / "out").glob("a.*")} == {".txt", ".ply", ".json", ".html"}
    write_ground_truth(tmp_path / "truth" / "a.txt", np.where(labels == 1, 0, labels * 1000 + 1))
    table = evaluate_folder(tmp_path / "out", tmp_path / "truth", CLASSES)
    assert table.ap50.tolist() == [1, 1]
    packed, problems = check_submission(tmp_path / "out", ["a"], {"a": len(labels)})
    assert all("one of the class ids" in problem for problem in problems)  # 2 is the floor there
    masks = {f"predicted_masks/a_{number:03d}.txt" for number in range(2)}
    assert set(packed.paths) == {"a.txt", *masks}


def test_without_plotly_the_page_alone_is_missing(model, tmp_path, monkeypatch):
    vertices, labels = room()
    write_binary_ply(tmp_path / "a.ply", vertices, labels, "<")
    reading = ScanFile(str(tmp_path / "a.ply"))
    for name in ("plotly", "plotly.offline"):
        monkeypatch.setitem(sys.modules, name, None)
    plotly_script.cache_clear()
    with pytest.raises(ImportError, match=r"needs plotly.* do without the page \(--nohtml of"):
        prediction.predict_scan(model, reading, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    prediction.predict_scan(model, reading, tmp_path / "out", written=WITHOUT_PAGE)
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"a.txt", "predicted_masks", "a.ply", "a.json"}


@pytest.fixture(scope="module")
def run_dir(model, tmp_path_factory):
    """A run folder with the tiny model."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    models.write_model_config(folder, model.config)
    models.write_weights(folder, models.LAST, model.network)
    return folder


def test_the_program_takes_all_that_a_scan_may_need(run_dir, tmp_path):
    vertices, labels = room()
    turned = vertices @ np.array(scan.UP_AXES["-x"]) * 1000
    write_text_ply(tmp_path / "bare.ply", turned, [])
    np.save(tmp_path / "given.npy", 9.0 * np.eye(3)[np.searchsorted([1, 2, 7], labels)])
    result = run(
        *(f"--run_dir={run_dir}", f"--scan={tmp_path / 'bare.ply'}"),
        *(f"--labels={tmp_path / 'given.npy'}", "--scores=logits", "--up_axis=-x"),
        *("--scale=0.001", "--nohtml", "--timing", f"--output_dir={tmp_path / 'out'}"),
    )
    assert result.returncode == 0, result.stderr
    assert_finds_box_and_ball(read_predictions(tmp_path / "out", "bare", len(labels)))
    assert "| network |" in result.stdout
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"bare.txt", "predicted_masks", "bare.ply", "bare.json"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "one of --run_dir, --saved_model and --model"),
        (["--run_dir=a", "--model=b"], "one of --run_dir, --saved_model and --model"),
        (["--model=a", "--weights=best"], "--weights together with --run_dir only"),
        (["--model=a", "--scores=logits"], "--scores together with --labels only"),
        (["--model=a", "--labels=a", "--label_property=b"], "either --label_property or --labels"),
    ],
)
def test_flags_that_contradict_each_other_are_wrong_usage(tmp_path, arguments, sentence):
    result = run("--scan=scan.ply", f"--output_dir={tmp_path / 'out'}", *arguments)
    assert result.returncode == 2
    assert sentence in result.stderr


def test_what_is_read_is_not_replaced(run_dir, tmp_path):
    vertices, labels = room()
    write_binary_ply(tmp_path / "a.ply", vertices, labels, "<")
    result = run(
        *(f"--run_dir={run_dir}", f"--scan={tmp_path / 'a.ply'}"),
        *(f"--output_dir={tmp_path}", "--overwrite"),
    )
    assert result.returncode == 1
    assert f"that is read, found {tmp_path / 'a.ply'} there" in result.stderr
    assert (tmp_path / "a.ply").exists()


def test_only_predictions_are_replaced_by_predictions(run_dir, tmp_path):
    vertices, labels = room()
    write_binary_ply(tmp_path / "a.ply", vertices, labels, "<")
    arguments = (
        *(f"--run_dir={run_dir}", f"--scan={tmp_path / 'a.ply'}"),
        *(f"--output_dir={tmp_path / 'out'}", "--overwrite"),
    )
    for _ in range(2):
        assert run(*arguments).returncode == 0
    (tmp_path / "out" / "thesis.tex").touch()
    result = run(*arguments)
    assert result.returncode == 1
    assert "a folder of predictions to replace, found thesis.tex in it" in result.stderr
    assert (tmp_path / "out" / "thesis.tex").exists()


def test_a_summary_in_plain_values():
    scene = Scene("s", np.array([[0.0, 0, 0], [1, 2, 3], [5, 5, 5]]))
    told = summarize(scene, [Instance(7, 0.5, np.array([0, 1], np.int32))], CLASSES)
    assert told == {
        "scene": "s",
        "num_vertices": 3,
        "instances": [
            {
                "mask": 0,
                "class_id": 7,
                "class": "ball",
                "score": 0.5,
                "num_vertices": 2,
                "box_min": [0, 0, 0],
                "box_max": [1, 2, 3],
                "centre": [0.5, 1, 1.5],
            }
        ],
    }


def test_a_vertex_belongs_to_the_best_of_its_instances():
    instances = [Instance(2, 0.9, np.array([1, 2])), Instance(2, 0.4, np.array([0, 1]))]
    assert best_instances(instances, 4).tolist() == [2, 1, 1, 0]


def test_features_that_are_probabilities_decide_the_class_of_a_voxel(model):
    segment = dataclasses.replace(model.config.segment, probability_ids=CLASSES.ids)
    config = dataclasses.replace(model.config, segment=segment)
    scene = Scene(
        "s",
        np.array([[0.01, 0.01, 0.01], [0.02, 0.02, 0.02], [0.03, 0.03, 0.03]]),
        semantic_ids=np.array([2, 2, 7], np.int32),
        features=np.array([[0, 0.6, 0.4], [0, 0.6, 0.4], [0, 0, 1]], np.float32),
    )
    voxel_scene = prediction.voxelize_for(scene, dataclasses.replace(model, config=config))
    assert voxel_scene.semantic_ids.tolist() == [7]  # means 0, 0.4, 0.6


def test_an_unknown_shipped_model_is_told_which_there_are():
    with pytest.raises(ValueError, match=r"comes with the package, one of .*, found 'office'"):
        shipped.find_shipped_model("office")


def test_a_shipped_model_is_a_run_folder_that_is_loaded_by_name(run_dir, monkeypatch):
    monkeypatch.setattr(shipped, "SHIPPED", run_dir.parent)
    assert shipped.shipped_models() == ("tiny",)
    vertices, labels = room()
    scene = Scene("s", vertices, semantic_ids=labels.astype(np.int32))
    for loaded in (
        models.load_model("tiny"),
        models.load_model(shipped.find_shipped_model("tiny")),
    ):
        assert_finds_box_and_ball(prediction.segment_scan(scene, loaded))
    with pytest.raises(ValueError, match=r"one of \['tiny'\], found 'office'"):
        shipped.find_shipped_model("office")
