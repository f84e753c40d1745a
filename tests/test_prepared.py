"""Many scenes are prepared, in parallel, resumable, whatever befalls single ones."""

import errno
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from raw_scannet import (
    NUM_VERTICES,
    change_json,
    file_of,
    raw_scene,
    write_download,
    write_ids,
)
from scenes import assert_same_scene

from mtml_tf import files, parallel
from mtml_tf.engines import Engine
from mtml_tf.scannet import layout, preparing, reader
from mtml_tf.scannet.preparing import Settings
from mtml_tf.scans import prepared, semantic_input

ROOT = pathlib.Path(__file__).resolve().parent.parent


def outcomes_of(source, cache, num_workers=1, engine=None, **settings):
    scenes = preparing.find_scenes(source, ["train"])
    engine = engine or Engine(num_workers=num_workers)
    return prepared.prepare_scenes(scenes, Settings(str(source), **settings), cache, engine)


@pytest.fixture
def source(tmp_path):
    return write_download(tmp_path / "raw", train=[raw_scene(name) for name in "abc"])


def times(outcomes):
    return {outcome.name: outcome.path.stat().st_mtime_ns for outcome in outcomes}


def test_what_is_prepared_is_not_prepared_again(source, tmp_path):
    first = outcomes_of(source, tmp_path / "cache")
    before = times(first)
    first[1].path.unlink()
    first[2].path.write_bytes(first[2].path.read_bytes()[:-200])
    after = times(outcomes_of(source, tmp_path / "cache"))
    assert [after[name] == before[name] for name in "abc"] == [True, False, False]
    assert len(list(prepared.PreparedScenes([o.path for o in first]))) == 3


def test_other_settings_and_changed_files_are_prepared_again(source, tmp_path):
    before = times(outcomes_of(source, tmp_path / "cache"))
    path = file_of(source / "scans" / "b", layout.AGGREGATION)
    change_json(path, appId="Aggregator.v3")
    changed = times(outcomes_of(source, tmp_path / "cache"))
    assert [changed[name] == before[name] for name in "abc"] == [True, False, True]
    outcomes = outcomes_of(source, tmp_path / "cache", voxel_size=0.5)
    assert all(changed[name] != time for name, time in times(outcomes).items())
    paths = [outcome.path for outcome in outcomes]
    assert {scene.voxel_size for scene, _ in prepared.PreparedScenes(paths)} == {0.5}


def test_changed_predictions_are_prepared_again(source, tmp_path):
    semantic_dir = write_ids(tmp_path / "predicted", [5] * NUM_VERTICES, *"abc")
    before = times(outcomes_of(source, tmp_path / "cache", semantic_dir=semantic_dir))
    write_ids(tmp_path / "predicted", [33] * NUM_VERTICES, "b")
    outcomes = outcomes_of(source, tmp_path / "cache", semantic_dir=semantic_dir)
    after = times(outcomes)
    assert [after[name] == before[name] for name in "abc"] == [True, False, True]
    paths = [outcome.path for outcome in outcomes]
    found = [set(s.semantic_ids) for s, _ in prepared.PreparedScenes(paths)]
    assert found == [{5}, {33}, {5}]


def test_with_another_label_table_all_is_prepared_again(source, tmp_path):
    before = times(outcomes_of(source, tmp_path / "cache"))
    table = source / layout.LABEL_TABLE
    table.write_text(table.read_text().replace("office chair", "office throne"))
    outcomes = outcomes_of(source, tmp_path / "cache")
    assert all(before[name] != time for name, time in times(outcomes).items())
    assert [outcome.status for outcome in outcomes] == ["warned"] * 3


def test_warnings_survive_a_second_run(source, tmp_path):
    file_of(source / "scans" / "b", layout.LABELS_MESH).unlink()
    first = outcomes_of(source, tmp_path / "cache")
    second = outcomes_of(source, tmp_path / "cache")
    assert [outcome.status for outcome in second] == ["prepared", "warned", "prepared"]
    assert second == first


def test_several_processes_give_what_one_gives(source, tmp_path):
    file_of(source / "scans" / "b", layout.MESH).unlink()
    alone = outcomes_of(source, tmp_path / "alone")
    together = outcomes_of(source, tmp_path / "together", num_workers=3)
    assert [(o.name, o.status, o.reasons) for o in alone] == [
        (o.name, o.status, o.reasons) for o in together
    ]
    pairs = [
        list(prepared.PreparedScenes([o.path for o in outcomes if o.path]))
        for outcomes in (alone, together)
    ]
    assert len(pairs[0]) == 2
    for (scene, truth), (other, other_truth) in zip(*pairs, strict=True):
        np.testing.assert_array_equal(truth, other_truth)
        assert_same_scene(other, scene)


def test_what_no_one_foresaw_costs_one_scene_only(source, tmp_path, monkeypatch):
    def fail(folder, *_):
        if folder.name == "b":
            raise IndexError("out of bounds")
        return read(folder, *_)

    read = reader.read_scene
    monkeypatch.setattr(reader, "read_scene", fail)
    outcomes = outcomes_of(source, tmp_path / "cache")
    assert [outcome.status for outcome in outcomes] == ["prepared", "failed", "prepared"]
    assert outcomes[1].reasons == (f"{source}/scans/b: IndexError: out of bounds",)


def test_a_full_disk_ends_all_and_is_gone_on_with(source, tmp_path, monkeypatch):
    write, tried = pathlib.Path.write_bytes, []

    def fill_up_at_b(path, content):
        tried.append(path.name)
        if len(tried) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    monkeypatch.setattr(pathlib.Path, "write_bytes", fill_up_at_b)
    sentence = rf"^{tmp_path}/cache/train/b\.npz: expected room to write it, found the disk full; "
    with pytest.raises(files.DiskError, match=sentence):
        outcomes_of(source, tmp_path / "cache")
    assert len(tried) == 2
    outcomes = outcomes_of(source, tmp_path / "cache")
    assert len(tried) == 4  # those that were missing
    assert [outcome.status for outcome in outcomes] == ["prepared"] * 3


def test_a_process_that_dies_is_told(source, tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "_end_with_parent", sys.exit)
    with pytest.raises(ValueError, match=r"one has died, .* smaller --num_workers"):
        outcomes_of(source, tmp_path / "cache", num_workers=2)


def test_scores_of_no_known_kind_are_refused():
    with pytest.raises(ValueError, match=r"expected scores among .*found 'odds'"):
        Settings("raw", scores="odds")
    assert Settings("raw").scores == semantic_input.PROBABILITIES


@pytest.mark.parametrize("size", [0, -0.1, float("inf"), float("nan")])
def test_a_voxel_size_that_is_none_is_refused(size):
    with pytest.raises(ValueError, match=f"expected a voxel_size above 0 m, found {size}"):
        Settings("raw", voxel_size=size)


@pytest.mark.parametrize("program", ["prepare_scannet", "prepare_scans"])
def test_the_workers_load_no_tensorflow(program):
    # A process that is spawned runs the program's module under another name first.
    code = (
        f"import runpy, sys; runpy.run_path('tools/{program}.py', run_name='x'); "
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "False\n"
