"""Tests of mtml_tf.semantic.prediction and mtml_tf.semantic.models: views, folds, damaged files."""

import json
import shutil

import numpy as np
import pytest
from scipy import special
from semantic_scenes import BOX, CLASSES, NETWORK, box_scan, red_model, write_red_run

from mtml_tf.semantic import models, prediction
from mtml_tf.semantic.batches import network_input
from mtml_tf.semantic.points import point_scene
from mtml_tf.semantic.predicting import SemanticSource, encode_labels, for_scene
from mtml_tf.semantic.prediction import predict_probabilities, share_of_doubt
from mtml_tf.semantic.views import view_for_prediction

SCAN = box_scan(0)
POINTS = point_scene(SCAN)


@pytest.fixture(name="model", scope="module")
def _model():
    """Its logits differ from view to view, where voxels of the floor and the box meet."""
    return red_model()


@pytest.fixture(name="run_dir", scope="module")
def _run_dir(tmp_path_factory):
    return write_red_run(tmp_path_factory.mktemp("runs") / "red")


def test_red_vertices_are_a_box_and_probabilities_add_up_to_1(model):
    probabilities = predict_probabilities([model], POINTS)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    ids = np.array(encode_labels(probabilities, CLASSES, "ids").split(), int)
    assert np.mean(ids == SCAN.semantic_ids) > 0.97
    assert np.mean(ids[SCAN.semantic_ids == BOX] == BOX) > 0.9


def logits_of_view(model, number):
    view = view_for_prediction(POINTS, NETWORK, number)
    inputs, sites = network_input([view], NETWORK.num_levels)
    return model.network(inputs).numpy()[sites]


def test_the_logits_of_several_views_are_averaged(model):
    logits = [logits_of_view(model, number) for number in range(3)]
    assert np.abs(logits[0] - logits[1]).max() > 1
    expected = special.softmax(np.mean(logits, axis=0), axis=1)
    found = predict_probabilities([model], POINTS, 3)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_training_scene_is_predicted_by_the_fold_that_never_saw_it_others_by_all(tmp_path):
    for fold, bias in ((1, (0, 2)), (2, (4, 0))):
        folder = models.fold_dir(tmp_path, fold, 2)
        write_red_run(folder, 0, bias, fold=fold, unseen=(f"scan_{fold}",))
    loaded = SemanticSource(str(tmp_path)).load()
    for name, logits in (("scan_1", (0, 2)), ("scan_2", (4, 0)), ("scan_3", (2, 1))):
        found = predict_probabilities(for_scene(loaded, name), POINTS)
        expected = np.tile(special.softmax(logits), (len(found), 1))
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_doubt_is_less_than_half_of_the_probability():
    rows = np.array([[0.4, 0.3, 0.3], [0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [0.49, 0.49, 0.02]])
    assert share_of_doubt(rows) == 0.5


def damaged(run_dir, tmp_path, change):
    shutil.copytree(run_dir, tmp_path / "run")
    path = tmp_path / "run" / models.DESCRIPTION
    fields = json.loads(path.read_text())
    path.write_text(change(fields) or json.dumps(fields))
    return tmp_path / "run"


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: "{",
        lambda fields: "[]",
        lambda fields: fields.pop("network") and None,
        lambda fields: fields.update(classes={"ids": [1]}),
        lambda fields: fields.update(colour="red"),
        lambda fields: fields["network"].update(planes="3"),
        lambda fields: fields["network"].update(num_levels=0),
        lambda fields: fields["network"].update(num_classes=3),
    ],
    ids=["cut", "list", "no network", "classes", "strange", "text", "range", "other classes"],
)
def test_a_damaged_description_is_told_in_one_sentence(run_dir, tmp_path, change):
    folder = damaged(run_dir, tmp_path, change)
    sentence = "semantic.json: expected (the description of a semantic network|a readable)"
    with pytest.raises(ValueError, match=sentence) as caught:
        models.load_semantic_model(folder)
    assert "\n" not in str(caught.value)


def test_weights_of_another_network_are_told(run_dir, tmp_path):
    folder = damaged(run_dir, tmp_path, lambda fields: fields["network"].update(planes=2))
    with pytest.raises(ValueError, match=r"last/weights: expected the weights of the network in "):
        models.load_semantic_model(folder)


@pytest.mark.parametrize("name", ["weights.index", "weights.data-00000-of-00001"])
def test_weights_that_are_cut_are_told(run_dir, tmp_path, name):
    shutil.copytree(run_dir, tmp_path / "run")
    path = tmp_path / "run" / "last" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    told = (
        r"last/weights: expected the weights of the network in semantic\.json, .*'s; train again$"
    )
    with pytest.raises(ValueError, match=told):
        models.load_semantic_model(tmp_path / "run")


def test_weights_that_are_missing_are_told(run_dir, tmp_path):
    shutil.copytree(run_dir, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "last")
    with pytest.raises(ValueError, match="run: expected trained weights in last, found none"):
        SemanticSource(str(tmp_path / "run")).load()


def test_a_model_that_is_not_there_is_told_with_those_that_are(tmp_path, monkeypatch):
    monkeypatch.setattr("mtml_tf.inference.shipped.SHIPPED", tmp_path)
    sentence = "nosuch: expected a run folder with semantic.json, or a semantic model that comes wi"
    with pytest.raises(
        ValueError, match=rf"{sentence}.* \(there are none\), found no such folder; "
    ):
        SemanticSource("nosuch").load()
    for name in ("red", "blue"):
        models.write_description(tmp_path / name, models.SemanticDescription(NETWORK, CLASSES))
    with pytest.raises(
        ValueError, match=rf"{sentence}.* \(blue, red\), found no such folder; mtml"
    ):
        SemanticSource("nosuch").load()
    assert models.find_run_folders("red") == [tmp_path / "red"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: expected .* found none in it"):
        models.find_run_folders(tmp_path / "empty")


def test_a_run_that_lacks_a_fold_is_refused(tmp_path):
    """The scenes that it keeps from itself would be predicted by networks that saw them."""
    write_red_run(models.fold_dir(tmp_path, 1, 2), 0, (0, 2), fold=1, unseen=("scan_1",))
    with pytest.raises(
        ValueError, match="the networks of all folds of one number, found fold_1_of_2"
    ):
        SemanticSource(str(tmp_path)).load()
    write_red_run(models.fold_dir(tmp_path, 3, 3), 0, (0, 2), fold=3, unseen=("scan_2",))
    with pytest.raises(
        ValueError, match=r"found fold_1_of_2, fold_3_of_3; start mtml_tf.train_sem"
    ):
        SemanticSource(str(tmp_path)).load()


def test_a_scan_that_memory_would_not_hold_is_told_before_it_is_tried(model, monkeypatch):
    monkeypatch.setattr(prediction, "available_memory", lambda: 1000)
    with pytest.raises(
        ValueError, match=r"scan_0: expected a scan that fits into memory, found \d"
    ):
        predict_probabilities([model], POINTS)


def test_a_model_that_changes_while_it_predicts_is_refused(tmp_path):
    run_dir = write_red_run(tmp_path / "run")
    source = SemanticSource(str(run_dir))
    _ = source.fingerprint
    (run_dir / "semantic.json").write_text((run_dir / "semantic.json").read_text() + "\n")
    with pytest.raises(ValueError, match="expected a model that does not change while it predicts"):
        source.load()
