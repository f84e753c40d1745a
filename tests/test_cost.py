"""Tests of experiments.cost."""

import sys

import numpy as np
import pytest
from scenes import CLASSES

from experiments import cost
from experiments.cost import Cost
from mtml_tf.scans import scan
from mtml_tf.scans.toy import TOY_CLASSES

USES = """
import pathlib, sys, time
held = bytearray(64 << 20)
start = time.process_time()
while time.process_time() - start < 0.3:
    pass
pathlib.Path(sys.argv[1], "sub").mkdir(parents=True)
pathlib.Path(sys.argv[1], "sub", "a").write_bytes(bytes(12345))
pathlib.Path(sys.argv[1], "b").write_bytes(bytes(5))
"""


def test_what_a_program_takes_is_measured(tmp_path):
    found = cost.measure(["-c", USES, str(tmp_path / "out")], tmp_path / "out")
    idle = cost.measure(["-c", "import time; time.sleep(0.3)"])
    assert found.num_bytes == 12350
    assert idle.num_bytes == 0
    assert found.memory_mib - idle.memory_mib > 50
    assert min(found.seconds, idle.seconds, found.cpu_seconds) >= 0.3
    assert found.cpu_seconds > idle.cpu_seconds


def test_a_program_that_fails_is_named():
    with pytest.raises(ValueError, match=r"python -c import sys; sys.exit\(3\): failed, as told"):
        cost.measure(["-c", "import sys; sys.exit(3)"])


def test_toy_scenes_are_scans_with_instances(tmp_path):
    num_vertices = cost.write_scans(tmp_path, 2, None)
    found = [scan.read_scan(path) for path in sorted(tmp_path.iterdir())]
    assert num_vertices == sum(len(scene.vertices) for scene in found) / 2
    assert not np.array_equal(found[0].semantic_ids, found[1].semantic_ids)
    for scene in found:
        TOY_CLASSES.channels_of(scene.semantic_ids)
        assert len(np.unique(scene.instance_ids)) > 2


def test_parts_of_a_label_that_touch_are_objects_of_a_scan(tmp_path):
    """Two boxes, which do not touch, stand on a floor, which has no instance."""
    places = np.argwhere(np.ones((10, 3, 1))) * cost.VOXEL_SIZE + 0.01
    labels = np.where(np.isin(places[:, 0] // cost.VOXEL_SIZE, (2, 3, 7)), 3, 2).astype(np.int32)
    scan.write_scan(tmp_path / "a.ply", cost.Scene("a", places, semantic_ids=labels))
    found = cost.labelled_scan(str(tmp_path / "a.ply"), CLASSES)
    assert len(set(found.instance_ids[labels == 3])) == 2
    assert set(found.instance_ids[labels == 2]) == {0}


def test_the_line_goes_through_the_first_and_the_last():
    costs = {
        10: dict.fromkeys(cost.TITLES, Cost(9, 4.0, 100, 1_000)),
        20: dict.fromkeys(cost.TITLES, Cost(0, 0.0, 0, 0)),
        110: dict.fromkeys(cost.TITLES, Cost(9, 5.0, 110, 201_000)),
    }
    rows = cost.line_of(costs, 36.0, 100_000)
    # 10 ms and 2,000 bytes for each further scan; a scan is 36 of these.
    assert rows[1] == ["prepare", "10.00", "2,000", "10.0", "7.2"]
    assert [row[0] for row in rows[1:]] == list(cost.TITLES.values())
    table = cost.rows_of(costs)
    assert table[1] == ["prepare", "10", "9.0", "4.0", "100", "0.00"]
    assert len(table) == 1 + 3 * len(cost.TITLES)


def test_noise_is_called_so():
    costs = {
        10: dict.fromkeys(cost.TITLES, Cost(9, 5.0, 100, 1_000)),
        110: dict.fromkeys(cost.TITLES, Cost(9, 4.9, 110, 1_000)),
    }
    assert cost.line_of(costs, 36.0, 100_000)[1] == [
        "prepare",
        "0 (noise)",
        "0",
        "0 (noise)",
        "0.0",
    ]


def test_one_number_of_scenes_makes_no_line(tmp_path):
    command = ["-m", "experiments.cost", "--num_scenes=3", f"--work_dir={tmp_path / 'work'}"]
    result = cost.subprocess.run([sys.executable, *command], capture_output=True, text=True)
    assert result.returncode == 1
    assert "--num_scenes: expected two numbers or more, found ['3']" in result.stderr
