import csv
import dataclasses
import json
import math
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import raw_scannet

from experiments import running, table2
from experiments.paper_numbers import TABLE_2
from mtml_tf.classes import SCANNET18, SCANNET20
from mtml_tf.data.writing import write_data_folder
from mtml_tf.scene import Instance, VoxelScene
from mtml_tf.scoring.average_precision import ApTable
from mtml_tf.scoring.ground_truth import ground_truth_ids

ROOT = pathlib.Path(__file__).resolve().parent.parent
FLOOR, CHAIR = 2, 5
NAME = "scene0000_00"
SIZE = 120  # voxels of a chair, and vertices: above what is scored


def two_chairs(gap):
    """Two bars of 120 voxels side by side, `gap` voxels apart, and a speck of the floor."""
    bar = np.stack([np.arange(SIZE), np.zeros(SIZE), np.ones(SIZE)], axis=1)
    floor = np.array([[0, 8, 0]])
    other = bar + np.array([0, 1 + gap, 0])
    return VoxelScene(
        name=NAME,
        coordinates=np.concatenate([bar, other, floor]).astype(np.int32),
        grid_shape=(SIZE, 10, 2),
        voxel_size=0.1,
        origin=np.zeros(3),
        semantic_ids=np.repeat([CHAIR, CHAIR, FLOOR], [SIZE, SIZE, 1]).astype(np.int32),
        instance_ids=np.repeat([1, 2, 0], [SIZE, SIZE, 1]).astype(np.int32),
    )


def write_data(path, scene):
    write_data_folder(path, SCANNET20, {"val": [(scene, ground_truth_ids(scene, SCANNET20))]})
    return path


def chair_scores(table):
    row = SCANNET18.ids.index(CHAIR)
    return table.ap[row], table.ap50[row], table.ap25[row]


@pytest.fixture
def here(tmp_path):
    return running.Workplace(write_data(tmp_path / "data", two_chairs(gap=1)), tmp_path / "work")


# One prediction over both chairs overlaps each by a half: no match above 0.5, and above 0.25 a
# match for one of the two, so recall 0.5 at precision 1.
MERGED = (0.0, 0.0, 0.5)


def test_baselines_split_chairs_apart_or_take_them_for_one(here):
    one = table2.score_baseline(here, "segmentation_as_instance", "val", None)
    parts = table2.score_baseline(here, "connected_components", "val", None)
    assert [*one, *parts] == ["segmentation_as_instance", "connected_components"]
    assert chair_scores(one["segmentation_as_instance"]) == MERGED
    assert chair_scores(parts["connected_components"]) == (1.0, 1.0, 1.0)


def test_predictions_that_are_there_are_read(here):
    table2.score_baseline(here, "connected_components", "val", None)
    (here.work_dir / "predictions" / "val_connected_components" / f"{NAME}.txt").write_text("")
    tables = table2.score_baseline(here, "connected_components", "val", None)
    assert chair_scores(tables["connected_components"]) == (0.0, 0.0, 0.0)


def test_predictions_of_other_data_or_another_run_do_not_pass_for_these(here, tmp_path):
    table2.score_baseline(here, "connected_components", "val", None)
    other = write_data(tmp_path / "other", two_chairs(gap=0))
    elsewhere = running.Workplace(other, here.work_dir)
    with pytest.raises(
        ValueError, match=r"val_connected_components\.json: expected results of data"
    ):
        table2.score_baseline(elsewhere, "connected_components", "val", None)
    # Once they are gone, so is what they were made of.
    shutil.rmtree(here.work_dir / "predictions" / "val_connected_components")
    tables = table2.score_baseline(elsewhere, "connected_components", "val", None)
    assert chair_scores(tables["connected_components"]) == MERGED


def test_what_results_are_made_of_is_noted_as_seen_from_the_workplace(here):
    here.claim("made_of", run_dir=here.work_dir.parent / "runs" / "a", settings="--width=1")
    note = json.loads((here.work_dir / "made_of.json").read_text())
    assert note == {"run_dir": "../runs/a", "settings": "--width=1"}
    here.claim("made_of", run_dir=here.work_dir.parent / "runs" / "a", settings="--width=1")
    with pytest.raises(ValueError, match=r"run_dir '../runs/b' .* found those of '../runs/a'"):
        here.claim("made_of", run_dir=here.work_dir.parent / "runs" / "b", settings="--width=1")
    with pytest.raises(ValueError, match="expected results of settings 'None'"):
        here.claim("made_of", run_dir=here.work_dir.parent / "runs" / "a")
    for text, message in (("{", "expected a note in JSON"), ("[]", "expected a JSON object")):
        (here.work_dir / "made_of.json").write_text(text)
        with pytest.raises(ValueError, match=f"made_of.json: {message}"):
            here.claim("made_of")


def test_predictions_without_a_note_are_taken_for_what_they_are_called(here):
    table2.score_baseline(here, "connected_components", "val", None)
    (here.work_dir / "predictions" / "val_connected_components.json").unlink()
    tables = table2.score_baseline(here, "connected_components", "val", None)
    assert chair_scores(tables["connected_components"]) == (1.0, 1.0, 1.0)


def test_only_what_can_be_scored_is_written(here):
    scene = two_chairs(gap=1)
    instances = [Instance(CHAIR, 1.0, np.arange(k, dtype=np.int32)) for k in (120, 100, 99, 1)]
    assert running.scored_only(scene, instances) == instances[:2]
    # A voxel counts as many times as it has vertices.
    crowded = dataclasses.replace(scene, vertex_to_voxel=np.repeat([0, 7], [99, 100]))
    assert running.scored_only(crowded, instances) == instances[:3]


def test_with_raw_scenes_the_baselines_are_scored_on_meshes_too(tmp_path):
    # The chairs touch as voxels, but no triangle joins their vertices.
    scene = two_chairs(gap=0)
    here = running.Workplace(write_data(tmp_path / "data", scene), tmp_path / "work")
    starts = np.concatenate([np.arange(SIZE - 2), SIZE + np.arange(SIZE - 2)])
    mesh = dataclasses.replace(
        raw_scannet.raw_scene(NAME, groups=(), segments=np.zeros(2 * SIZE + 1, np.int64)),
        faces=np.stack([starts, starts + 1, starts + 2], axis=1).astype(np.int32),
    )
    download = raw_scannet.write_download(tmp_path / "download", val=[mesh])
    (tmp_path / "semantic").mkdir()
    np.savetxt(tmp_path / "semantic" / f"{NAME}.txt", scene.semantic_ids, fmt="%d")

    raw = running.RawScenes(str(download), str(tmp_path / "semantic"))
    tables = table2.score_baseline(here, "segmentation_as_instance", "val", raw)
    tables |= table2.score_baseline(here, "connected_components", "val", raw)
    assert {method: chair_scores(table) for method, table in tables.items()} == {
        "segmentation_as_instance": MERGED,
        "segmentation_as_instance_on_mesh": MERGED,
        "connected_components": MERGED,
        "connected_components_on_mesh": (1.0, 1.0, 1.0),
    }


def test_a_network_is_trained_only_where_no_run_is_given(tmp_path, monkeypatch):
    calls = []

    def train(_, name, flagfile):
        calls.append(("train", name, flagfile))
        return pathlib.Path("trained", name)

    def score_model(_, name, run_dir, split):
        calls.append(("score", name, str(run_dir), split))

    monkeypatch.setattr(running.Workplace, "train", train)
    monkeypatch.setattr(running.Workplace, "score_model", score_model)
    here = running.Workplace(tmp_path, tmp_path)
    table2.score_network(here, "fe_only", "val", "", "a.cfg")
    table2.score_network(here, "fe_only", "val", "runs/seed1", "a.cfg")
    table2.score_network(here, "multi_task", "test", "runs/seed1", "b.cfg")
    assert calls == [
        ("train", "fe_only", "a.cfg"),
        ("score", "val_fe_only", "trained/fe_only", "val"),
        ("score", "val_fe_only_seed1", "runs/seed1", "val"),
        ("score", "test_multi_task_seed1", "runs/seed1", "test"),
    ]


def ap_table(ap, ap50, ap25, names=SCANNET18.names):
    columns = (np.full(len(names), value) for value in (ap, ap50, ap25))
    return ApTable(tuple(range(1, len(names) + 1)), tuple(names), *columns)


def test_rows_stand_beside_the_papers_numbers():
    rows = table2.table_rows({"multi_task": ap_table(0.1, 0.2, 0.3), "fe_only": ap_table(0, 0, 1)})
    assert rows[0] == ["method", "class", "AP", "AP50", "AP25", "paper AP", *rows[0][6:]]
    assert len(rows) == 1 + 2 * 19
    ours = ["0.100", "0.200", "0.300"]
    assert rows[1] == ["multi_task", "cabinet", *ours, "0.042", "0.145", "0.346"]
    assert rows[19] == ["multi_task", "average", *ours, "0.203", "0.402", "0.554"]
    assert rows[38] == ["fe_only", "average", "0.000", "0.000", "1.000", "0.171", "0.333", "0.492"]


def test_mesh_columns_stand_beside_the_numbers_of_their_method():
    (_, first, *_) = table2.table_rows({"connected_components_on_mesh": ap_table(0, 0, 0)})
    assert first[5:] == ["0.024", "0.081", "0.153"]


def test_what_is_not_scored_or_not_in_the_paper_is_a_dash():
    table = ap_table(math.nan, math.nan, math.nan, names=("chair", "lamp"))
    chair, lamp, average = table2.table_rows({"multi_task": table})[1:]
    assert chair[2:] == ["-", "-", "-", "0.567", "0.792", "0.877"]
    assert lamp[2:] == ["-"] * 6
    # The paper's average is one over other classes.
    assert average[2:] == ["-"] * 6


def test_markdown_has_a_table_for_each_metric_with_two_columns_a_method():
    text = table2.encode_tables({method: ap_table(0.1, 0.2, 0.3) for method in TABLE_2})
    assert text.startswith("AP\n\n| class | Seg. as instance | paper | Connected comp. | paper |")
    # The second one: AP50.
    assert "| average | 0.200 | 0.145 | 0.200 | 0.230 | 0.200 | 0.333 | 0.200 | 0.402 |" in text
    assert text.count("| average |") == 3
    assert text.count("| shower curtain |") == 3


def test_the_program_prints_and_writes_the_table(here):
    command = [
        *(sys.executable, "-m", "experiments.table2", f"--data_dir={here.data_dir}"),
        *(f"--work_dir={here.work_dir}", "--methods=connected_components"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "| chair | 1.000 | 0.239 |" in done.stdout
    assert (here.work_dir / "table2.md").read_text() == done.stdout.removesuffix("\n")
    with open(here.work_dir / "table2.csv", newline="") as file:
        rows = {row["class"]: row for row in csv.DictReader(file)}
    assert (rows["chair"]["AP50"], rows["chair"]["paper AP50"]) == ("1.000", "0.239")
    assert rows["sink"]["AP"] == "-"
