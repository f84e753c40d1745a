"""Small rooms, coarsely scanned, all the way to a data folder."""

import dataclasses
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from coarse_rooms import coarse_settings

from mtml_tf.classes import SCANNET20
from mtml_tf.rooms import making
from mtml_tf.rooms.light import LightSettings
from mtml_tf.rooms.paint import PaintSettings
from mtml_tf.scannet import layout, reader

pytest.importorskip("open3d", exc_type=ImportError)

SETTINGS = coarse_settings(5)


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms") / "raw"
    making.make_rooms(folder, 2, 1, SETTINGS, num_workers=2)
    return folder


def files_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_set_has_the_raw_layout_and_predicted_labels(rooms):
    assert reader.read_split(rooms, "train") == ["room0000_00"]
    assert reader.read_split(rooms, "val") == ["room0001_00"]
    table = reader.read_label_table(rooms / layout.LABEL_TABLE)
    for split, name in (("train", "room0000_00"), ("val", "room0001_00")):
        scene, faults = reader.read_scene(reader.scene_folder(rooms, split, name), table)
        assert faults == []
        assert len(np.unique(scene.instance_ids)) > 10
        predicted = np.loadtxt(rooms / "semantic" / f"{name}.txt", dtype=int)
        assert len(predicted) == len(scene.vertices) == len(scene.colors)
        assert set(np.unique(predicted)) <= set(SCANNET20.ids)
        labelled = np.isin(scene.semantic_ids, SCANNET20.ids)
        agreement = np.mean(predicted[labelled] == scene.semantic_ids[labelled])
        assert 0.5 < agreement < 0.98


def test_the_alignment_turns_the_walls_back_to_the_axes(rooms):
    folder = reader.scene_folder(rooms, "train", "room0000_00")
    aligned, turned = (reader.read_mesh(folder, align_axes) for align_axes in (True, False))
    extents = [np.prod(np.ptp(mesh.vertices[:, :2], axis=0)) for mesh in (aligned, turned)]
    assert extents[0] < extents[1]


def test_an_interrupted_making_ends_with_the_same_files(rooms, tmp_path):
    again = tmp_path / "raw"
    making.make_rooms(again, 2, 1, SETTINGS, num_workers=1)
    assert files_of(again) == files_of(rooms)
    # Without the last file of a room it is made again, the other one is not touched.
    (again / "semantic" / "room0001_00.txt").unlink()
    kept = (again / "semantic" / "room0000_00.txt").stat().st_mtime_ns
    making.make_rooms(again, 2, 1, SETTINGS, num_workers=1)
    assert files_of(again) == files_of(rooms)
    assert (again / "semantic" / "room0000_00.txt").stat().st_mtime_ns == kept


def test_rooms_of_another_variety_differ_in_their_colors_alone(rooms):
    plain = dataclasses.replace(
        SETTINGS, light=LightSettings(strength=0.0), paint=PaintSettings(strength=0.0)
    )
    (varied, labels), (other, other_labels) = (making.make_room(0, s) for s in (SETTINGS, plain))
    for field in ("vertices", "faces", "segments", "axis_alignment"):
        np.testing.assert_array_equal(getattr(varied, field), getattr(other, field))
    assert [(g.label, list(g.segments)) for g in varied.groups] == [
        (g.label, list(g.segments)) for g in other.groups
    ]
    np.testing.assert_array_equal(labels, other_labels)
    assert np.any(varied.colors != other.colors)
    told = json.loads((rooms / "rooms.json").read_text())
    assert told["light"]["strength"] == told["paint"]["strength"] == 1
    with pytest.raises(ValueError, match=r"rooms\.json: expected the settings that are asked for"):
        making.make_rooms(rooms, 2, 1, plain)


def test_a_folder_of_other_settings_or_of_something_else_is_left_alone(rooms, tmp_path):
    other = dataclasses.replace(SETTINGS, seed=6)
    with pytest.raises(ValueError, match=r"rooms\.json: expected the settings that are asked for"):
        making.make_rooms(rooms, 2, 1, other)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="expected an empty folder or one of rooms, found other"):
        making.make_rooms(tmp_path, 2, 1, SETTINGS)
    with pytest.raises(ValueError, match="expected 0 to 2 validation rooms, found 3"):
        making.make_rooms(tmp_path / "new", 2, 3, SETTINGS)
    with pytest.raises(ValueError, match="expected at least 1 room, found 0"):
        making.make_rooms(tmp_path / "new", 0, 0, SETTINGS)
    assert not (tmp_path / "new").exists()
    with pytest.raises(ValueError, match=r"mine\.txt: expected a folder of rooms, found a file"):
        making.make_rooms(tmp_path / "mine.txt", 2, 1, SETTINGS)


def test_rooms_become_a_data_folder(rooms, tmp_path):
    tool = pathlib.Path(__file__).parent.parent / "tools" / "prepare_scannet.py"
    done = subprocess.run(
        [
            *(sys.executable, str(tool), f"--scannet_dir={rooms}", "--num_workers=1"),
            *(f"--semantic_dir={rooms}/semantic", f"--output_dir={tmp_path}/data"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "data" / "report.json").read_text())
    told = {name: scene for part in report.values() for name, scene in part["scenes"].items()}
    assert told == {
        name: {"status": "prepared", "reasons": []} for name in ("room0000_00", "room0001_00")
    }
