"""Tests of mtml_tf.semantic.prediction and mtml_tf.semantic.models: views, folds, damaged files."""

import contextlib
import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import special
from semantic_scenes import BOX, CLASSES, NETWORK, box_scan, red_model, write_red_run

from mtml_tf.backend import tf
from mtml_tf.scene import Scene
from mtml_tf.semantic import models, prediction
from mtml_tf.semantic.batches import network_input
from mtml_tf.semantic.models import SemanticDescription, SemanticModel
from mtml_tf.semantic.network import build_semantic_network
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


# --- Adapting ----------------------------------------------------------------------------------


@pytest.fixture(name="random_model", scope="module")
def _random_model():
    """Random weights on all levels, and averages that no scan has."""
    network = build_semantic_network(NETWORK)
    rng = np.random.default_rng(0)
    for average in network.non_trainable_weights:
        average.assign(rng.uniform(0.5, 1.5, average.shape))
    return SemanticModel(SemanticDescription(NETWORK, CLASSES), network)


def averages_of(model):
    return [average.numpy() for average in model.network.non_trainable_weights]


@contextlib.contextmanager
def with_averages(model, values):
    before = averages_of(model)
    try:
        for average, value in zip(model.network.non_trainable_weights, values, strict=True):
            average.assign(value)
        yield
    finally:
        for average, value in zip(model.network.non_trainable_weights, before, strict=True):
            average.assign(value)


def own_averages(model, number):
    """Returns the statistics of a view where each layer normalises by them."""
    inputs, _ = network_input([view_for_prediction(POINTS, NETWORK, number)], NETWORK.num_levels)
    with with_averages(model, averages_of(model)):
        for _ in range(200):  # 0.9 to the power of 200 is nothing
            model.network(inputs, training=True)
        return averages_of(model)


@pytest.mark.parametrize("share", [0.25, 1])
def test_an_adapted_network_normalises_by_a_share_of_each_views_own(random_model, share):
    models_, before = [random_model, red_model()], averages_of(random_model)
    logits = []
    for model in models_:
        averages = averages_of(model)
        for number in range(2):
            own = own_averages(model, number)
            mixed = [(1 - share) * a + share * b for a, b in zip(averages, own, strict=True)]
            with with_averages(model, mixed):
                logits.append(logits_of_view(model, number))
    found = predict_probabilities(models_, POINTS, 2, share)
    np.testing.assert_allclose(found, special.softmax(np.mean(logits, axis=0), axis=1), atol=1e-3)
    assert np.abs(found - predict_probabilities(models_, POINTS, 2)).max() > 0.01
    for found, expected in zip(averages_of(random_model), before, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("failing", [True, False], ids=["own statistics", "logits"])
def test_a_network_that_failed_while_adapted_is_as_before(random_model, failing, monkeypatch):
    before, compiled = averages_of(random_model), prediction._compiled

    def too_large(inputs):
        raise tf.errors.ResourceExhaustedError(None, None, "no memory")

    def failing_at(network, training=False):
        return too_large if training == failing else compiled(network, training)

    monkeypatch.setattr(prediction, "_compiled", failing_at)
    with pytest.raises(ValueError, match="expected a scan that fits into memory"):
        predict_probabilities([random_model], POINTS, adapt=0.5)
    for found, expected in zip(averages_of(random_model), before, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_threads_adapt_one_network_one_after_the_other(random_model, monkeypatch):
    passes, compiled = [], prediction._compiled

    def slow(network, training=False):
        passes.append(training)
        time.sleep(0.05)  # others would begin
        return compiled(network, training)

    scans = [point_scene(box_scan(seed, length=1 + seed % 3)) for seed in range(8)]
    expected = [predict_probabilities([random_model], scan, adapt=0.5) for scan in scans]
    monkeypatch.setattr(prediction, "_compiled", slow)
    with ThreadPoolExecutor(4) as threads:
        found = list(
            threads.map(lambda scan: predict_probabilities([random_model], scan, adapt=0.5), scans)
        )
    assert passes == [True, False] * len(scans)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_scan_of_one_vertex_is_predicted_by_its_own_statistics(random_model):
    scan = point_scene(Scene("dot", np.zeros((1, 3)), colors=np.full((1, 3), 90, np.uint8)))
    found = predict_probabilities([random_model], scan, adapt=1)
    assert found.shape == (1, 2)
    np.testing.assert_allclose(found.sum(), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"adapt": 1.5}, r"adapt in 0\.\.1, found 1\.5"),
        ({"adapt": float("nan")}, r"adapt in 0\.\.1, found nan"),
        ({"num_views": 0}, "num_views of at least 1, found 0"),
    ],
)
def test_a_way_to_predict_out_of_range_is_told(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        SemanticSource("rooms_semantic", **given)


# --- Models ------------------------------------------------------------------------------------


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
