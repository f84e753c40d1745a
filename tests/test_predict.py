"""The programs one after the other, on small scenes: train, predict, evaluate."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from mtml_tf.data import records, writing
from mtml_tf.inference import models, prediction
from mtml_tf.scans import scan, toy
from mtml_tf.scans.preparing import Settings
from mtml_tf.scans.voxels import on_vertices
from mtml_tf.scene import Instance, Scene
from mtml_tf.scoring.benchmark_format import read_ground_truth, read_predictions
from mtml_tf.scoring.ground_truth import ground_truth_ids

CONFIG = toy.ToyConfig(grid_shape=(32, 32, 14), min_objects=2, max_objects=3)


def run(module, *arguments):
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def toy_scan(number):
    """A toy scene as a scan: one vertex in the middle of each voxel, and a second beside it."""
    (scene,) = toy.make_toy_scenes(f"scan{number}", 1, 0, CONFIG)
    middles = (scene.coordinates + 0.5) * scene.voxel_size
    return Scene(
        name=f"scan{number}",
        vertices=np.concatenate([middles, middles + 0.01]),
        semantic_ids=np.tile(scene.semantic_ids, 2),
        instance_ids=np.tile(scene.instance_ids, 2),
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a data folder (train, val), one scan, and a run trained for a moment."""
    folder = tmp_path_factory.mktemp("programs")
    for number in range(3):
        scan.write_scan(folder / "scans" / f"scan{number}.ply", toy_scan(number))
    paths = sorted((folder / "scans").glob("*.ply"))
    settings = Settings(toy.TOY_CLASSES, CONFIG.voxel_size)
    splits = {
        "train": map(settings.voxelize, paths[:2]),
        "val": map(settings.voxelize, paths[2:]),
    }
    writing.write_data_folder(folder / "data", toy.TOY_CLASSES, splits)
    result = run(
        "mtml_tf.train",
        *(f"--data_dir={folder / 'data'}", f"--run_dir={folder / 'run'}", "--width=0.125"),
        *("--epochs=1", "--validation_split=val", "--ap_every=1", "--norotations", "--origins"),
        *("--min_voxels=7", "--embedding_size=3"),
    )
    assert result.returncode == 0, result.stderr
    return folder


def test_the_run_folder_tells_what_was_trained(place):
    config = models.read_model_config(place / "run")
    assert config.network.embedding_size == 3
    assert config.segment.min_voxels == 7
    assert set(config.segment.size_statistics) <= set(toy.EDGES)
    assert "--width=0.125" in (place / "run" / "flags.cfg").read_text().splitlines()
    assert "tensorflow" in json.loads((place / "run" / "versions.json").read_text())


def test_predictions_are_on_the_vertices_and_can_be_scored(place):
    output = place / "predictions"
    result = run(
        "mtml_tf.predict",
        *(f"--run_dir={place / 'run'}", f"--data_dir={place / 'data'}", "--split=val"),
        f"--output_dir={output}",
    )
    assert result.returncode == 0, result.stderr
    count = len(toy_scan(2).vertices)
    instances = read_predictions(output, "scan2", count)
    assert instances
    assert all(instance.class_id in toy.EDGES for instance in instances)
    scores = [instance.score for instance in instances]
    assert scores == sorted(scores, reverse=True)

    truth_dir = place / "data" / "ground_truth" / "val"
    scored = run(
        "mtml_tf.evaluate",
        *(f"--prediction_dir={output}", f"--ground_truth_dir={truth_dir}"),
        f"--classes={place / 'data' / 'classes.csv'}",
    )
    assert scored.returncode == 0, scored.stderr
    assert "average" in scored.stdout

    again = run(
        "mtml_tf.predict",
        *(f"--run_dir={place / 'run'}", f"--data_dir={place / 'data'}", "--split=val"),
        f"--output_dir={output}",
    )
    assert again.returncode == 0
    assert again.stdout.endswith(f"split 'val', in {output} (1 of them there already)\n")

    other = run(
        "mtml_tf.predict",
        *(f"--run_dir={place / 'run'}", f"--data_dir={place / 'data'}", "--split=train"),
        f"--output_dir={output}",
    )
    assert other.returncode == 1
    assert "exists already" in other.stderr


def test_a_scan_alone_gives_what_its_data_folder_gives(place):
    model = models.load_model(place / "run")
    (from_folder,) = (
        [on_vertices(instance, scene) for instance in model.segment(scene)]
        for scene in records.DataFolder(place / "data").scenes("val")
    )
    from_scan = prediction.segment_scan(scan.read_scan(place / "scans" / "scan2.ply"), model)
    assert len(from_scan) == len(from_folder)
    for one, other in zip(from_scan, from_folder, strict=True):
        assert (one.class_id, one.score) == (other.class_id, other.score)
        np.testing.assert_array_equal(one.indices, other.indices)


def test_ground_truth_of_a_prepared_scan_has_a_line_a_vertex(place):
    ids = read_ground_truth(place / "data" / "ground_truth" / "val" / "scan2.txt")
    np.testing.assert_array_equal(ids, ground_truth_ids(toy_scan(2), toy.TOY_CLASSES))


def test_voxels_become_their_vertices():
    instance = Instance(2, 0.5, np.array([1, 3], np.int32))
    (scene,) = toy.make_toy_scenes("test", 1, 0, CONFIG)
    assert on_vertices(instance, scene) is instance
    vertex_to_voxel = np.array([3, 0, 1, 3, 2], np.int32)
    scanned = dataclasses.replace(scene, vertex_to_voxel=vertex_to_voxel)
    vertices = on_vertices(instance, scanned)
    assert vertices.indices.tolist() == [0, 2, 3]
    assert (vertices.class_id, vertices.score) == (2, 0.5)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--data_dir=missing"], 1, "missing: expected a data folder"),
        (["--data_dir={data}", "--split=nosuch"], 1, "expected a split 'nosuch'"),
        (["--scan=missing.ply"], 1, "missing.ply"),
        (["--data_dir={data}", "--scan=x.ply"], 2, "either --data_dir or --scan"),
        ([], 2, "either --data_dir or --scan"),
        (["--data_dir={data}", "--views=2"], 2, "expected --views together with --scan only"),
        (["--data_dir={data}", "--adapt=0.5"], 2, "expected --adapt together with --semantic only"),
        (["--data_dir={data}", "--connectivity=5"], 1, "connectivity 6, 18 or 26"),
    ],
)
def test_bad_input_is_told_in_one_sentence(place, arguments, code, text):
    filled = [argument.format(data=place / "data") for argument in arguments]
    output = place / "none"
    result = run("mtml_tf.predict", f"--run_dir={place / 'run'}", f"--output_dir={output}", *filled)
    assert result.returncode == code
    assert text in result.stderr
    assert "Traceback" not in result.stderr
    assert not output.exists()


def test_a_run_folder_that_is_none_is_told_in_one_sentence(tmp_path):
    result = run(
        "mtml_tf.predict",
        *(f"--run_dir={tmp_path}", "--data_dir=x", f"--output_dir={tmp_path / 'out'}"),
    )
    assert result.returncode == 1
    assert "expected a run folder with model.json" in result.stderr


def test_classes_that_the_model_does_not_know_are_refused(place):
    model = models.load_model(place / "run")
    strange = Scene("strange", np.zeros((1, 3)), semantic_ids=np.array([9], np.int32))
    with pytest.raises(ValueError, match="9"):
        prediction.segment_scan(strange, model)
