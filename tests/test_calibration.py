import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import raw_scannet

from experiments import calibration, real_figures
from mtml_tf.classes import SCANNET20
from mtml_tf.scans import scan, voxels
from mtml_tf.scene import Scene

WALL, CABINET, CHAIR, TABLE = 1, 3, 5, 7


def bars(*parts):
    """A scene of bars along x: (class, instance, first and last step of 10 cm, y, z)."""
    points, labels, instances = [], [], []
    for label, instance, first, last, y, z in parts:
        steps = np.arange(first, last + 1)
        points.append(np.stack([steps, 0 * steps + y, 0 * steps + z], axis=1) * 0.1 + 0.05)
        labels += [label] * len(steps)
        instances += [instance] * len(steps)
    corner = np.zeros((1, 3))  # so that voxels begin at 0
    return Scene(
        "room",
        np.concatenate([corner, *points]),
        semantic_ids=np.array([0, *labels], np.int32),
        instance_ids=np.array([0, *instances], np.int32),
    )


def voxelized(scene):
    return voxels.voxelize(scene, calibration.VOXEL_SIZE, SCANNET20)


# Two chairs of 6 that touch, one of 5 in another row, one of 4, a table in pieces of 5, 2 and 6
# voxels, a wall; the corner is unlabelled.
ROOM = bars(
    *((CHAIR, 1, 1, 6, 0, 0), (CHAIR, 2, 7, 12, 0, 0), (CHAIR, 3, 1, 5, 2, 3)),
    *((CHAIR, 4, 7, 10, 2, 0), (TABLE, 5, 0, 4, 4, 0), (TABLE, 5, 6, 7, 4, 0)),
    *((TABLE, 5, 9, 14, 4, 1), (WALL, 9, 0, 9, 5, 0)),
)


def test_a_scene_is_measured_by_its_voxels():
    # 45 voxels and the corner on a grid of 16 x 6 x 4; 15 and 6 steps long.
    measured = calibration.measure_scene(voxelized(ROOM), 4)
    expected = [45, 45 / 384, 4, 1 / 45, 10 / 45, 0, 0.6, 1.5, 0.9]
    assert measured == pytest.approx(expected)
    assert len(measured) == len(real_figures.SCENES)


def test_instances_touch_and_fall_into_pieces():
    things = calibration.measure_things(voxelized(ROOM), ROOM)
    assert [dataclasses.astuple(thing) for thing in things] == [
        (CHAIR, 6, 0.0, True, 1),
        (CHAIR, 6, 0.0, True, 1),
        (CHAIR, 5, 0.0, False, 1),
        (TABLE, 13, pytest.approx(0.1), False, 2),
    ]


def test_classes_are_summed_up_beside_the_real_ones():
    rows = calibration.class_rows(calibration.measure_things(voxelized(ROOM), ROOM), 2)
    by_name = {row[0]: row[1:] for row in rows}
    assert by_name["chair"] == [
        "3.0 / 1.5",
        "115 (77 to 158) / 6 (5 to 6)",
        "0.87 / 0.00",
        "0.36 / 0.67",
        "1.26 / 1.00",
    ]
    assert by_name["bathtub"] == ["- / -"] * 5
    assert by_name["table"][-1] == "1.33 / 2.00"


def test_patches_are_of_one_class_and_hang_together():
    line = np.arange(0, 1, 0.04)
    points = np.stack([line, 0 * line, 0 * line], axis=1)
    assert calibration.patch_sizes(points, np.full(25, CHAIR)).tolist() == [25]
    assert sorted(calibration.patch_sizes(points, np.repeat([CHAIR, TABLE], [10, 15]))) == [10, 15]
    apart = points[(line < 0.3) | (line > 0.5)]
    assert sorted(calibration.patch_sizes(apart, np.full(len(apart), CHAIR))) == [8, 12]
    assert len(calibration.patch_sizes(np.zeros((0, 3)), np.zeros(0, int))) == 0


def labels_of(scene, changes):
    predicted = np.where(scene.semantic_ids == 0, WALL, scene.semantic_ids)
    for rows, class_id in changes:
        predicted[rows] = class_id
    return predicted


# 100 steps of a cabinet, 100 of a wall behind them from step 50 on.
SHELF = bars((CABINET, 1, 0, 99, 0, 0), (WALL, 0, 50, 149, 1, 0))


def test_label_errors_by_hand():
    # The cabinet is called wall on its first 60 voxels: 10 of them have the wall beside them.
    # Steps of 9 cm: no two have a cell in common, and only what is side by side is within 10 cm.
    shelf = dataclasses.replace(SHELF, vertices=SHELF.vertices * 0.9)
    predicted = labels_of(shelf, [(slice(1, 61), WALL)])
    errors = calibration.measure_labels(shelf, predicted, 100)
    assert errors.right.tolist() == [0.4]
    assert errors.confusions[0].tolist() == [1] + [0] * 19  # the unlabelled corner
    assert errors.confusions.sum() == 201
    assert errors.patches.sum() == 60
    assert errors.patches.max() < 50
    # The corner, unlabelled, is another class too.
    assert errors.num_near_border == 1 + 10
    rows = {row[0]: row[2] for row in calibration.label_rows([errors], 100)}
    assert list(rows) == list(real_figures.LABELS)
    # The cabinet 40 of 100, the wall 100 of 160.
    assert rows["mIoU over the classes present"] == f"{(0.4 + 0.625) / 2:.2f}"
    assert rows["accuracy of labelled vertices"] == "0.70"
    assert rows["instances with 10 to 50 %"] == "1.00"
    assert rows["share of wrong vertices in patches under 50"] == "1.00"
    assert rows["wrong vertices within 10 cm of a true border"] == f"{11 / 60:.2f}"


def test_sizes_of_patches_follow_the_number_of_points():
    errors = calibration.LabelErrors(
        np.eye(21, 20, -1, dtype=int) * 500, np.ones(1), np.array([10, 30, 700]), 0
    )
    whole, third = (
        {row[0]: row[2] for row in calibration.label_rows([errors], least)} for least in (100, 33)
    )
    # Of 10,000 vertices, that is one patch for 100,000 counts 10 times.
    small, large = list(real_figures.LABELS)[6:8]
    assert (whole[small], whole[large]) == ("10.00", "0.00")
    assert (third[small], third[large]) == (f"{20 * 0.33:.2f}", f"{10 * 0.33:.2f}")


def test_confusions_are_shares_of_the_true_class():
    errors = calibration.measure_labels(SHELF, labels_of(SHELF, [(slice(1, 61), WALL)]), 100)
    rows = {row[0]: row[1:] for row in calibration.confusion_rows(errors.confusions)}
    assert rows["cabinet called wall"] == ["0.11", "0.60"]
    assert rows["unlabelled called wall"] == ["0.32 to 0.47", "1.00"]
    assert rows["chair called table"] == ["0.07", "nan"]


def test_rooms_are_measured_from_their_files(tmp_path):
    # Two chairs of 120 vertices, in pairs 1 m apart; one vertex in six is taken for a table.
    segments = np.repeat([10, 11, 12, 13, 14, 77], 120)
    raw = raw_scannet.raw_scene("room0000_00", segments=segments)
    download = raw_scannet.write_download(tmp_path / "raw", val=[raw])
    predicted = np.repeat([1, 2, 5, 5, 39, 39], 120)
    predicted[240:480:6] = TABLE
    (tmp_path / "semantic").mkdir()
    np.savetxt(tmp_path / "semantic" / "room0000_00.txt", predicted, fmt="%d")
    scans = calibration.read_rooms(download, tmp_path / "semantic", "val", ["room0000_00"])
    measured = calibration.measure(scans, 100)
    # Wall and floor 1, chair 200 of 240 right and none wrong; the pillow counts for nothing.
    rows = {row[0]: row[2] for row in calibration.label_rows(measured.errors, 100)}
    assert rows["mIoU over the classes present"] == f"{(1 + 1 + 200 / 240) / 3:.2f}"
    # No two pairs of vertices touch, so that no component has 100 vertices; all chairs as one
    # overlap each chair by half, which is not more than half.
    assert measured.baselines[:2] == ["0.000 / 0.000 / 0.000"] * 2
    # At 25 % it finds one of them: precision 1 and recall 1/2, and the curve ends at (0, 1).
    assert measured.baselines[2] == "0.000 / 0.000 / 0.500"
    missing = calibration.read_rooms(download, tmp_path / "none", "val", ["room0000_00"])
    with pytest.raises(ValueError, match=r"room0000_00: expected either room0000_00\.txt or"):
        calibration.measure(missing, 100)


def test_labelled_scans_are_measured_by_the_program(tmp_path):
    scan.write_scan(tmp_path / "scans" / "a.ply", SHELF)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "experiments.calibration", "--label_noise=0"),
            f"--scans_dir={tmp_path}/scans",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "| accuracy of labelled vertices | 0.89 to 0.91 | 1.00 |" in lines
    assert sum(line.startswith("| cabinet |") for line in lines) == 1
    tables = (real_figures.SCENES, real_figures.LABELS, real_figures.BASELINES)
    for name in (name for table in tables for name in table):
        assert any(line.startswith(f"| {name} |") for line in lines)
    (tmp_path / "scans" / "a.ply").unlink()
    scan.write_scan(tmp_path / "scans" / "b.ply", dataclasses.replace(SHELF, instance_ids=None))
    bare = calibration.read_scans([tmp_path / "scans" / "b.ply"], "", 1.0)
    with pytest.raises(ValueError, match="scene b: expected labels and instances, found none"):
        calibration.measure(bare, 100)
