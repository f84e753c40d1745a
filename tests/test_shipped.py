"""The models that come with the package, on the example scans."""

import collections
import configparser
import dataclasses
import pathlib

import numpy as np
import pytest

import mtml_tf
from mtml_tf.classes import SCANNET20
from mtml_tf.config import SegmentConfig
from mtml_tf.inference import models, shipped
from mtml_tf.rooms import examples
from mtml_tf.scans.toy import TOY_CLASSES
from mtml_tf.semantic import models as semantic_models
from mtml_tf.semantic.labelling import SemanticLabels
from mtml_tf.semantic.predicting import SemanticSource

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXAMPLE_OF = {"rooms": "room", "tabletop": "tabletop", "toy": "toy"}


def read_example(name):
    return mtml_tf.read_scan(ROOT / "examples" / f"{EXAMPLE_OF[name]}.ply")


def sure(instances, least=0.5):
    return [instance for instance in instances if instance.score > least]


def best_ious(instances, instance_ids):
    """Returns for each true object the largest IoU with an instance."""
    ious = []
    for object_id in range(1, instance_ids.max() + 1):
        truth = set(np.flatnonzero(instance_ids == object_id).tolist())
        found = [set(instance.indices.tolist()) for instance in instances]
        ious.append(max((len(truth & rows) / len(truth | rows) for rows in found), default=0.0))
    return ious


def test_three_models_come_with_the_package_and_each_has_an_example():
    assert shipped.shipped_models() == tuple(sorted(EXAMPLE_OF))
    present = sorted(path.stem for path in (ROOT / "examples").glob("*.ply"))
    assert present == sorted(EXAMPLE_OF.values())


@pytest.mark.parametrize("name", sorted(EXAMPLE_OF))
def test_a_model_is_small_whole_and_described(name):
    folder = shipped.SHIPPED / name
    assert sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    ) == [
        "last/weights.data-00000-of-00001",
        "last/weights.index",
        "model.json",
    ]
    assert sum(path.stat().st_size for path in folder.rglob("*")) < 6e6
    assert f"\n## {name}\n" in (shipped.SHIPPED / "README.md").read_text()


def test_the_semantic_model_is_whole_described_and_of_the_classes_of_rooms():
    assert semantic_models.shipped_models() == ("rooms_semantic",)
    (folder,) = semantic_models.find_run_folders("rooms_semantic")
    assert "\n## rooms_semantic\n" in (shipped.SHIPPED / "README.md").read_text()
    assert sum(path.stat().st_size for path in folder.rglob("*")) < 12e6
    model = semantic_models.load_semantic_model(folder)
    assert model.description.classes == SCANNET20
    assert model.description.unseen == ()


def test_the_semantic_model_knows_floor_and_walls_of_the_example_room():
    scene = read_example("rooms")
    unlabelled = dataclasses.replace(scene, semantic_ids=None)
    labelled = SemanticLabels(SemanticSource("rooms_semantic"))(unlabelled, SCANNET20)
    for class_id, least in ((1, 0.4), (2, 0.8)):
        known = scene.semantic_ids == class_id  # with the errors of a simulated network
        assert np.mean(labelled.semantic_ids[known] == class_id) > least


def test_the_package_is_built_with_its_data():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    patterns = config["options.package_data"]["mtml_tf"].split()
    taken = {path for pattern in patterns for path in (ROOT / "mtml_tf").glob(pattern)}
    there = {path for path in (ROOT / "mtml_tf").rglob("*") if path.is_file()}
    assert taken == {path for path in there if path.suffix not in (".py", ".pyc")}


@pytest.mark.parametrize("name", sorted(EXAMPLE_OF))
def test_the_settings_are_the_defaults_but_for_scans_of_the_world(name):
    segment = models.read_model_config(shipped.SHIPPED / name).segment
    default = SegmentConfig(thing_ids=(1,))
    changed = {
        field
        for field in (
            *("bandwidths", "connectivity", "direction_weight", "feature_weight", "size_weight"),
            *("suppression_iou", "min_voxels", "learned_score"),
        )
        if getattr(segment, field) != getattr(default, field)
    }
    rooms = {"bandwidths", "connectivity", "learned_score"}
    assert changed == {"rooms": rooms, "tabletop": {"learned_score"}, "toy": set()}[name]


@pytest.mark.parametrize("name", sorted(EXAMPLE_OF))
def test_an_example_has_labels_of_its_model_and_no_instances(name):
    scene = read_example(name)
    classes = models.read_model_config(shipped.SHIPPED / name).classes
    assert scene.instance_ids is None
    assert set(np.unique(scene.semantic_ids)) <= set(classes.ids)
    assert (ROOT / "examples" / f"{EXAMPLE_OF[name]}.ply").stat().st_size < 2e6


def test_toy_finds_every_box_of_its_example():
    scene, truth = read_example("toy"), examples.make_toy_example()
    np.testing.assert_array_equal(scene.vertices, truth.vertices)
    np.testing.assert_array_equal(scene.semantic_ids, truth.semantic_ids)
    instances = mtml_tf.segment_scan(scene, mtml_tf.load_model("toy"))
    count = truth.instance_ids.max()
    assert len(sure(instances)) == count == 9
    assert min(best_ious(sure(instances), truth.instance_ids)) > 0.8
    of_class = collections.Counter(instance.class_id for instance in sure(instances))
    true_class = [truth.semantic_ids[truth.instance_ids == i][0] for i in range(1, count + 1)]
    assert of_class == collections.Counter(true_class)
    assert set(of_class) <= set(TOY_CLASSES.thing_ids)


def test_tabletop_finds_every_object_of_its_example():
    scene, truth = read_example("tabletop"), examples.make_tabletop_example()
    # Another processor may round a point into the neighbouring cell.
    assert len(scene.vertices) == pytest.approx(len(truth.vertices), rel=1e-3)
    np.testing.assert_allclose(scene.vertices.max(axis=0), truth.vertices.max(axis=0), atol=1e-3)
    # What it scores by is the overlap that it expects.
    instances = sure(mtml_tf.segment_scan(truth, mtml_tf.load_model("tabletop")), 0.45)
    assert truth.instance_ids.max() == 6 <= len(instances) <= 8
    assert min(best_ious(instances, truth.instance_ids)) > 0.85


def test_rooms_finds_furniture_in_its_example():
    instances = sure(mtml_tf.segment_scan(read_example("rooms"), mtml_tf.load_model("rooms")))
    assert 15 <= len(instances) <= 40
    names = dict(zip(SCANNET20.ids, SCANNET20.names, strict=True))
    found = collections.Counter(names[instance.class_id] for instance in instances)
    assert found["bed"] == found["toilet"] == found["refrigerator"] == 1
    assert found["chair"] >= 2
    assert found["table"] >= 2
    assert found["cabinet"] >= 3
