"""Tests of mtml_tf.semantic.exporting and mtml_tf.export_semantic: what others load, its values."""

import json
import subprocess
import sys

import numpy as np
import pytest
from semantic_scenes import CLASSES, NETWORK, box_scan, write_red_run
from tensorflow.core.protobuf import saved_model_pb2

from mtml_tf.backend import tf
from mtml_tf.classes import read_classes
from mtml_tf.semantic.batches import network_input
from mtml_tf.semantic.exporting import load_for_export, write_semantic_saved_model
from mtml_tf.semantic.models import fold_dir, load_semantic_model, read_description
from mtml_tf.semantic.points import point_scene
from mtml_tf.semantic.views import view_for_prediction


def export(*flags):
    command = [sys.executable, "-m", "mtml_tf.export_semantic", *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(name="place", scope="module")
def _place(tmp_path_factory):
    """A folder with a run and what the program made of it."""
    folder = tmp_path_factory.mktemp("export")
    run_dir = write_red_run(folder / "run")
    done = export(f"--run_dir={run_dir}", f"--output_dir={folder}/exported")
    assert (done.returncode, done.stdout) == (0, f"{folder}/exported/1: written\n"), done.stderr
    return folder


def test_the_saved_model_gives_the_logits_of_the_run_for_scenes_of_any_size(place):
    loaded = tf.saved_model.load(str(place / "exported" / "1"))
    network = load_semantic_model(place / "run").network
    sizes = set()
    for seed, length in ((0, 2), (1, 1)):
        points = point_scene(box_scan(seed, length=length))
        inputs, _ = network_input([view_for_prediction(points, NETWORK, 1)], NETWORK.num_levels)
        expected = network(inputs).numpy()
        tensors = {name: tf.constant(values) for name, values in inputs.items()}
        found = loaded.signatures["serving_default"](**tensors)
        assert set(found) == {"logits"}
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found["logits"], expected, rtol=0, atol=1e-5 * scale)
        sizes.add(len(expected))
    assert len(sizes) == 2


def test_the_saved_model_asks_for_no_keras_and_tells_what_it_is(place):
    folder = place / "exported" / "1"
    message = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    for graph in message.meta_graphs:
        kinds = {node.user_object.identifier for node in graph.object_graph_def.nodes}
        assert not any("keras" in kind for kind in kinds)
    assert not (folder / "keras_metadata.pb").exists()
    assert read_classes(folder / "assets" / "classes.csv") == CLASSES
    assert read_description(folder / "assets") == read_description(place / "run")


def test_an_export_is_replaced_only_where_that_is_asked_for(place, tmp_path):
    model = load_for_export(place / "run")
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_text("old")
    with pytest.raises(ValueError, match="1: exists already"):
        write_semantic_saved_model(model, tmp_path)
    (tmp_path / "1" / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"an exported model to replace, found notes\.txt in it"):
        write_semantic_saved_model(model, tmp_path, overwrite=True)
    assert (tmp_path / "1" / "saved_model.pb").read_text() == "old"
    (tmp_path / "1" / "notes.txt").unlink()
    write_semantic_saved_model(model, tmp_path, overwrite=True)
    told = json.loads((tmp_path / "1" / "assets" / "semantic.json").read_text())
    assert told["network"]["voxel_size"] == NETWORK.voxel_size


def test_one_of_several_folds_is_asked_for(place, tmp_path):
    for fold in (1, 2):
        folder = fold_dir(tmp_path, fold, 2)
        folder.mkdir()
        (folder / "semantic.json").write_text((place / "run" / "semantic.json").read_text())
    sentence = f"found those of 2 folds; .* --run_dir={fold_dir(tmp_path, 1, 2)}$"
    with pytest.raises(ValueError, match=sentence):
        load_for_export(tmp_path)


def test_flags_that_do_not_go_together_are_wrong_usage():
    done = export("--output_dir=out", "--run_dir=a", "--model=b")
    assert done.returncode == 2
    assert "expected either --run_dir or --model" in done.stderr
