"""Tests of mtml_tf.data.statistics."""

import dataclasses
import json
import logging
import re

import numpy as np
import pytest
from scenes import BOX, CLASSES, TOWER, box_scene, contents, scenes_of, write_folder
from training_runs import EXPERIMENT

from mtml_tf.data import records, statistics
from mtml_tf.data.records import DataFolder
from mtml_tf.data.writing import write_data_folder
from mtml_tf.training.description import describe

FILE = "train-statistics.json"


def forget(folder, split):
    """Makes of a folder one that was written before there were statistics."""
    content = json.loads((folder / "manifest.json").read_text())
    (folder / content["splits"][split].pop("statistics")["file"]).unlink()
    (folder / "manifest.json").write_text(json.dumps(content))


def rewrite(folder, change):
    """Changes the statistics and what the manifest says of their file."""
    content = json.loads((folder / FILE).read_text())
    change(content)
    (folder / FILE).write_text(json.dumps(content))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["splits"]["train"]["statistics"] = records.describe_file(folder / FILE)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_statistics_are_those_of_the_scenes(folder):
    found = statistics.read_statistics(DataFolder(folder), "train")
    assert (found.num_scenes, found.voxel_size, found.num_features) == (5, 0.05, 0)
    assert (found.are_probabilities, found.without_instances) == (False, "")
    counts = {BOX: [], TOWER: []}
    for scene in scenes_of(*range(5)):
        for number in range(1, 4):  # one class an instance: the floor belongs to none
            of_instance = scene.semantic_ids[scene.instance_ids == number]
            if len(of_instance):
                counts[int(of_instance[0])].append(len(of_instance))
    assert {i: sorted(sizes) for i, sizes in found.instance_sizes.items()} == {
        i: sorted(sizes) for i, sizes in counts.items()
    }


def test_a_folder_without_statistics_describes_the_same_model_to_the_bit(folder, caplog):
    with caplog.at_level(logging.INFO, logger="absl"):
        before = describe(DataFolder(folder), EXPERIMENT)
        assert "reads all" not in caplog.text
        forget(folder, "train")
        assert describe(DataFolder(folder), EXPERIMENT) == before
    assert f"{folder}: reads all 5 scenes of split 'train' for their statistics" in caplog.text


def test_a_model_is_described_without_reading_a_record(folder, monkeypatch):
    def fail(*_):
        raise AssertionError("read")

    monkeypatch.setattr(DataFolder, "record", fail)
    assert describe(DataFolder(folder), EXPERIMENT).voxel_size == 0.05


def test_statistics_of_another_version_are_measured_anew(folder):
    expected = statistics.read_statistics(DataFolder(folder), "train")
    rewrite(folder, lambda content: content.update(version=2, instance_sizes={}))
    assert statistics.read_statistics(DataFolder(folder), "train") == expected


def test_a_scene_without_instances_is_named(tmp_path):
    scenes = [box_scene(0), dataclasses.replace(box_scene(1), instance_ids=None)]
    write_data_folder(tmp_path / "data", CLASSES, {"train": [(scene, None) for scene in scenes]})
    with pytest.raises(
        ValueError, match=r"instance ids in split 'train' .* in scene scene_001; pr"
    ):
        describe(DataFolder(tmp_path / "data"), EXPERIMENT)


def test_a_changed_file_of_statistics_is_found(folder):
    text = (folder / FILE).read_text()
    (folder / FILE).write_text(text.replace("48", "84", 1))
    with pytest.raises(ValueError, match=rf"{FILE}: expected the SHA-256 that manifest.json lists"):
        statistics.read_statistics(DataFolder(folder), "train")
    (folder / FILE).unlink()
    with pytest.raises(ValueError, match=rf"{FILE}: listed in manifest.json, but there is no such"):
        statistics.read_statistics(DataFolder(folder), "train")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"num_scenes": 4}, "4 scenes"),
        ({"num_scenes": "5"}, "num_scenes 5"),
        ({"voxel_size": 1}, "voxel_size 1"),
        ({"voxel_size": float("nan")}, "voxels of nan m, 0 features"),
        ({"num_features": -1}, "-1 features"),
        ({"are_probabilities": None}, "are_probabilities None"),
        ({"instance_sizes": {"3": [48, 0]}}, "instances of class 3 without voxels"),
        ({"instance_sizes": {"3": []}}, "instances of class 3 without voxels"),
        ({"instance_sizes": {"box": [48]}}, "invalid literal"),
        ({"instance_sizes": None}, "'NoneType'"),
    ],
)
def test_statistics_that_do_not_fit_are_refused(folder, change, found):
    rewrite(folder, lambda content: content.update(change))
    sentence = rf"{FILE}: expected the statistics of 5 scenes, found others \(.*{re.escape(found)}"
    with pytest.raises(ValueError, match=sentence):
        statistics.read_statistics(DataFolder(folder), "train")


def test_a_replaced_split_has_its_own_statistics_and_another_keeps_its_own(folder):
    before = contents(folder)
    write_folder(folder, overwrite=True, train=scenes_of(11, 12))
    data = DataFolder(folder)
    assert statistics.read_statistics(data, "train").num_scenes == 2
    assert statistics.read_statistics(data, "val").num_scenes == 2
    assert (folder / "val-statistics.json").read_bytes() == before["val-statistics.json"]


def test_a_split_without_statistics_is_replaced_by_one_with_them(folder):
    forget(folder, "train")
    write_folder(folder, overwrite=True, train=scenes_of(11, 12))
    assert (folder / FILE).exists()
    assert statistics.read_statistics(DataFolder(folder), "train").num_scenes == 2


def test_joined_statistics_keep_the_order_of_the_scenes():
    """Sums of logarithms depend on it, in their last bits."""
    parts = [statistics.measure(box_scene(seed), CLASSES) for seed in range(3)]
    joined = statistics.join(parts)
    for class_id in (BOX, TOWER):
        in_order = [n for part in parts for n in part.instance_sizes.get(class_id, [])]
        assert joined.instance_sizes[class_id] == in_order
    assert joined == statistics.join([statistics.join(parts[:2]), parts[2]])


def test_probabilities_are_those_of_every_scene():
    sure = np.eye(len(CLASSES), dtype=np.float32)
    scene = box_scene(0)
    scene = dataclasses.replace(scene, features=sure[CLASSES.channels_of(scene.semantic_ids)])
    other = dataclasses.replace(scene, features=scene.features + 1)
    good, bad = (statistics.measure(s, CLASSES) for s in (scene, other))
    assert good.are_probabilities
    assert good.num_features == 3
    assert not statistics.join([good, bad]).are_probabilities
