"""Predict with --semantic: scans without labels get those of a semantic network."""

import dataclasses
import json

import numpy as np
import pytest
from own_scans import BARE, run, tiny_model
from semantic_scenes import BOX, CLASSES, box_scan, write_red_run

from mtml_tf.classes import ClassSet
from mtml_tf.config import NetworkConfig, SegmentConfig
from mtml_tf.inference import models, prediction
from mtml_tf.inference.models import Model, ModelConfig
from mtml_tf.network.voxel_network import VoxelNetwork
from mtml_tf.scans.scan import read_scan, write_scan
from mtml_tf.scans.scan_file import ScanFile
from mtml_tf.scene import Scene
from mtml_tf.scoring.benchmark_format import read_predictions
from mtml_tf.scoring.folders import SCAN_SETTINGS
from mtml_tf.semantic import labelling
from mtml_tf.semantic.labelling import SemanticLabels
from mtml_tf.semantic.predicting import SemanticSource


@pytest.fixture(name="model", scope="module")
def _model():
    """The parts of a label that touch are its instances."""
    segment = dataclasses.replace(
        tiny_model().config.segment, thing_ids=(BOX,), label_ids=(*CLASSES.ids, 0)
    )
    network = NetworkConfig(2, width=1 / 16, num_labels=3)
    return Model(ModelConfig(network, segment, CLASSES, 0.1, True), VoxelNetwork(network))


@pytest.fixture(name="place", scope="module")
def _place(model, tmp_path_factory):
    """A folder with a run of each kind, and the scans `bare` and `labelled`, all of it floor."""
    folder = tmp_path_factory.mktemp("labelling")
    models.write_model_config(folder / "run", model.config)
    models.write_weights(folder / "run", models.LAST, model.network)
    write_red_run(folder / "red")
    write_scan(folder / "bare.ply", box_scan(0, "bare", labelled=False))
    floor = box_scan(0, "labelled", labelled=False)
    ids = np.full(len(floor.vertices), CLASSES.ids[0], np.int32)
    write_scan(folder / "labelled.ply", dataclasses.replace(floor, semantic_ids=ids))
    return folder


def labels_of(place, name="red"):
    return SemanticLabels(SemanticSource(str(place / name)))


def test_scans_without_labels_get_them_and_those_with_labels_keep_them(place, tmp_path):
    done = run(
        *(f"--run_dir={place}/run", f"--semantic={place}/red", "--adapt=0.25", "--noextras"),
        *(
            "--num_workers=2",
            f"--scan={place}/bare.ply,{place}/labelled.ply",
            f"--output_dir={tmp_path}/out",
        ),
    )
    assert (done.returncode, done.stdout) == (
        0,
        f"{place}/bare.ply: 1 instances, in {tmp_path}/out/bare\n"
        f"{place}/labelled.ply: 0 instances, in {tmp_path}/out/labelled\n",
    ), done.stderr
    count = len(box_scan(0).vertices)
    (found,) = read_predictions(tmp_path / "out" / "bare", "bare", count)
    assert found.class_id == BOX
    is_box = box_scan(0).semantic_ids == BOX
    assert is_box[found.indices].mean() > 0.9
    assert len(found.indices) > 0.6 * is_box.sum()  # near the floor its voxels are less red
    settings = json.loads((tmp_path / "out" / "bare" / SCAN_SETTINGS).read_text())
    assert settings["semantic"]["adapt"] == 0.25


def test_the_coloured_scan_has_the_labels_that_were_told(place, model, tmp_path):
    scan_file = ScanFile(str(place / "bare.ply"))
    written = prediction.ScanOutput(html=False)
    prediction.predict_scan(
        model, scan_file, tmp_path / "out", written=written, labelling=labels_of(place)
    )
    ids = read_scan(tmp_path / "out" / "bare.ply", need_instances=False).semantic_ids
    assert np.mean(ids == box_scan(0).semantic_ids) > 0.97


def test_a_semantic_model_of_other_classes_is_refused(place, model, tmp_path):
    other = ClassSet(CLASSES.ids, ("floor", "crate"), CLASSES.kinds)
    config = dataclasses.replace(model.config, classes=other)
    with pytest.raises(
        ValueError, match="red: expected a semantic model of the classes floor, cra"
    ):
        prediction.predict_scan(
            *(Model(config, model.network), ScanFile(str(place / "bare.ply")), tmp_path / "out"),
            written=BARE,
            labelling=labels_of(place),
        )
    assert not (tmp_path / "out").exists()


def test_a_model_that_takes_features_is_refused(place, tmp_path):
    network = NetworkConfig(5, width=1 / 16)
    config = ModelConfig(network, SegmentConfig((BOX,)), CLASSES, 0.1, True)
    with pytest.raises(ValueError, match="scene bare: expected a model that takes classes of vert"):
        prediction.predict_scan(
            *(Model(config, VoxelNetwork(network)), ScanFile(str(place / "bare.ply"))),
            *(tmp_path / "out", False, BARE),
            labelling=labels_of(place),
        )


def test_a_scan_unlike_those_learned_from_is_told(place, caplog, monkeypatch):
    monkeypatch.setattr(labelling, "share_of_doubt", lambda probabilities: 0.5)
    labels_of(place)(box_scan(0, labelled=False), CLASSES)
    assert "scan scan_0: 50% of the vertices have a class with less than half of" in caplog.text
    assert "learned from; --adapt=0.5 may help" in caplog.text
    caplog.clear()
    adapted = SemanticLabels(SemanticSource(str(place / "red"), adapt=0.5))
    adapted(box_scan(0, labelled=False), CLASSES)
    assert "learned from" in caplog.text
    assert "may help" not in caplog.text


def test_the_fingerprint_changes_with_the_weights_and_the_views(place):
    write_red_run(place / "other", scale=9)
    ours, others = (labels_of(place, name).settings() for name in ("red", "other"))
    assert ours != others
    assert ours != SemanticLabels(SemanticSource(str(place / "red"), 2)).settings()
    assert ours == labels_of(place).settings()


def test_a_scan_without_labels_is_told_of_semantic_networks(place, model, tmp_path):
    with pytest.raises(ValueError, match=r"bare\.ply: expected a class .* by --semantic=NAME"):
        prediction.predict_scan(model, ScanFile(str(place / "bare.ply")), tmp_path / "out")


def test_a_scan_too_coarse_for_its_points_is_told(place):
    scene = Scene("far", np.zeros((3, 3)), coordinate_step=0.5)
    with pytest.raises(ValueError, match="scene far: expected coordinates that tell voxels"):
        labels_of(place)(scene, CLASSES)
