"""Tests of experiments.real_rooms, on boxes for which everything is known."""

import subprocess
import sys
import types

import numpy as np
import pytest

from experiments import real_rooms
from mtml_tf.classes import STUFF, THING, ClassSet
from mtml_tf.scans.scan import write_scan
from mtml_tf.scene import Scene
from mtml_tf.semantic import labelling

CLASSES = ClassSet(ids=(1, 5), names=("wall", "chair"), kinds=(STUFF, THING))
CONFIG = types.SimpleNamespace(classes=CLASSES, voxel_size=0.1)


def box_scan(name="a"):
    """Two chairs of 125 vertices, one of which is 10 cm from a wall of 25."""
    box = np.stack(np.meshgrid(*[np.arange(5)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    wall = box[box[:, 0] == 0]
    vertices = np.concatenate([box, box + np.eye(3)[0] * 20, wall + np.eye(3)[0] * 27]) * 0.1 + 0.05
    return Scene(
        name,
        vertices,
        semantic_ids=np.repeat([5, 5, 1], [125, 125, 25]).astype(np.int32),
        instance_ids=np.repeat([1, 2, 0], [125, 125, 25]).astype(np.int32),
    )


def test_turns_differ_within_a_quarter():
    angles = np.degrees(np.arange(real_rooms.NUM_TURNS) * real_rooms.TURN) % 90
    np.testing.assert_allclose(np.sort(angles), np.arange(8) * 11.25)


def test_methods_are_scored_on_vertices_against_the_true_labels():
    methods = real_rooms.methods_of(types.SimpleNamespace(config=CONFIG))
    del methods["multi_task"]
    scan = box_scan()
    tables = real_rooms.score([scan], [scan.semantic_ids], methods, CONFIG, min_vertices=100)
    assert tables["connected_components"].average.ap50 == 1
    assert tables["segmentation_as_instance"].average.ap50 == 0  # both chairs as one: half right
    # With labels that call one chair a wall, one of two is found.
    wrong = scan.semantic_ids.copy()
    wrong[:125] = 1
    tables = real_rooms.score([scan], [wrong], methods, CONFIG, min_vertices=100)
    assert tables["connected_components"].average.ap50 == 0.5
    assert tables["segmentation_as_instance"].average.ap50 == 0.5


def test_labels_are_those_of_the_semantic_model_adapted_as_asked(monkeypatch):
    told = []

    def labels(source):
        told.append(source)
        return lambda scene, classes: scene

    monkeypatch.setattr(labelling, "SemanticLabels", labels)
    (found,) = real_rooms.predicted_labels([box_scan()], "rooms_semantic", 0.25, CLASSES)
    np.testing.assert_array_equal(found, box_scan().semantic_ids)
    assert [(source.path, source.adapt) for source in told] == [("rooms_semantic", 0.25)]


def test_adapting_without_a_semantic_model_is_refused():
    command = [sys.executable, "-m", "experiments.real_rooms", "--scans_dir=S", "--adapt=0.5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "expected --adapt together with --semantic only" in done.stderr


def test_small_objects_do_not_count():
    def none(*_):
        return []

    scan = box_scan()
    for min_vertices, expected in ((125, 0.0), (126, np.nan)):
        table = real_rooms.score(
            [scan], [scan.semantic_ids], {"multi_task": none}, CONFIG, min_vertices
        )
        np.testing.assert_equal(table["multi_task"].average.ap50, expected)


def test_rows_have_the_means_over_the_turns_and_the_spread_of_ap50():
    def turn(ap50):
        average = real_rooms.ApTable((5,), ("chair",), *(np.array([x]) for x in (0.5, ap50, 1.0)))
        return {"multi_task": average}

    (row,) = real_rooms.encode_rows("true", [turn(0.25), turn(0.75)])
    assert row == ["true", "Multi-task", "0.500", "0.500", "1.000", "0.250 to 0.750"]


def test_scans_without_truth_are_refused(tmp_path):
    scan = box_scan()
    write_scan(tmp_path / "a.ply", scan)
    (read,) = real_rooms.read_labelled_scans(tmp_path, CLASSES)
    np.testing.assert_array_equal(read.instance_ids, scan.instance_ids)
    write_scan(tmp_path / "b.ply", Scene("b", scan.vertices))
    with pytest.raises(ValueError, match="scene b: expected labels and instances"):
        real_rooms.read_labelled_scans(tmp_path, CLASSES)
