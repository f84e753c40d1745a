"""The authors' HDF5 grids become voxelized scenes, or one sentence."""

import logging
import pathlib
import re
import subprocess
import sys

import h5py
import numpy as np
import pytest

from mtml_tf.classes import SCANNET20
from mtml_tf.data.records import DataFolder
from mtml_tf.data.writing import write_data_folder
from mtml_tf.scannet import mtml_hdf5
from mtml_tf.scoring.benchmark_format import read_ground_truth

ROOT = pathlib.Path(__file__).resolve().parent.parent
WALL, FLOOR, CHAIR, TABLE, BLINDS = 1, 2, 5, 7, 13
SHAPE = (5, 4, 3)

# (x, y, z): label, instance. Blinds and 40 are not among the 20 classes, but occupied.
VOXELS = {
    (0, 0, 0): (FLOOR, 9),
    (0, 0, 2): (CHAIR, 4),
    (1, 3, 1): (CHAIR, 2000),
    (2, 1, 0): (BLINDS, 5),
    (3, 2, 1): (40, 6),
    (4, 0, 0): (CHAIR, 4),
    (4, 3, 2): (TABLE, 0),
}


def write(path, **datasets):
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values


def grids(dtype=np.int64):
    labels, instances = np.zeros(SHAPE, dtype), np.zeros(SHAPE, dtype)
    for place, (label, instance) in VOXELS.items():
        labels[place], instances[place] = label, instance
    return labels, instances


def write_truth(folder, name="scene0000_00", dtype=np.int64):
    labels, instances = grids(dtype)
    write(folder / f"{name}_seg.hdf5", voxel_grid=labels)
    write(folder / f"{name}_inst.hdf5", voxel_grid=instances)
    return folder


def log_scores(*class_ids):
    """Log scores, 0.9 for a class and the rest spread evenly."""
    scores = np.full((len(class_ids), 20), 0.1 / 19)
    scores[np.arange(len(class_ids)), [SCANNET20.ids.index(i) for i in class_ids]] = 0.9
    return np.log(scores).astype(np.float32)


# Not in row-major order; the second one has no true label.
PLACES = np.array([(4, 3, 2), (1, 1, 1), (0, 0, 2), (1, 3, 1)])


def write_predicted(folder, name="scene0000_00", places=PLACES, scores=None):
    scores = log_scores(TABLE, WALL, TABLE, CHAIR) if scores is None else scores
    write(folder / f"{name}_h_pred.hdf5", h_pred_compact=scores, h_pred_idx=places)
    return folder


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_true_labels_become_a_scene_of_the_occupied_voxels(tmp_path, dtype):
    labels, instances = np.minimum(grids(), 255)
    write(tmp_path / "a_seg.hdf5", voxel_grid=labels.astype(dtype))
    write(tmp_path / "a_inst.hdf5", voxel_grid=instances.astype(dtype))
    scene, truth = mtml_hdf5.read_scene(tmp_path, "a")
    assert scene.name == "a"
    np.testing.assert_array_equal(scene.coordinates, list(VOXELS))
    np.testing.assert_array_equal(scene.semantic_ids, [FLOOR, CHAIR, CHAIR, 0, 0, CHAIR, TABLE])
    # Only things have instances; 4 and 2000 (here 255) are numbered anew.
    np.testing.assert_array_equal(scene.instance_ids, [0, 1, 2, 0, 0, 1, 0])
    np.testing.assert_array_equal(truth, [2000, 5001, 5002, 0, 0, 5001, 0])
    assert scene.features is None
    assert scene.vertex_to_voxel is None
    assert scene.voxel_size == 0.1
    assert {a.dtype for a in (scene.coordinates, scene.semantic_ids, scene.instance_ids)} == {
        np.dtype(np.int32)
    }


def test_the_grid_is_filled_up_to_even_sizes(tmp_path):
    scene, _ = mtml_hdf5.read_scene(write_truth(tmp_path), "scene0000_00")
    assert scene.grid_shape == (6, 4, 4)


def test_axes_stay_in_the_order_of_the_file(tmp_path):
    labels = np.zeros((2, 4, 6), np.int32)
    labels[1, 2, 5] = CHAIR
    write(tmp_path / "a_seg.hdf5", voxel_grid=labels)
    write(tmp_path / "a_inst.hdf5", voxel_grid=labels)
    scene, _ = mtml_hdf5.read_scene(tmp_path, "a")
    assert scene.grid_shape == (2, 4, 6)
    np.testing.assert_array_equal(scene.coordinates, [[1, 2, 5]])


def test_predictions_become_probabilities_and_instances_stay_true(tmp_path):
    write_predicted(write_truth(tmp_path))
    scene, truth = mtml_hdf5.read_scene(tmp_path, "scene0000_00", mtml_hdf5.PREDICTED)
    np.testing.assert_array_equal(scene.coordinates, [(0, 0, 2), (1, 1, 1), (1, 3, 1), (4, 3, 2)])
    np.testing.assert_array_equal(scene.semantic_ids, [TABLE, WALL, CHAIR, TABLE])
    assert scene.features.dtype == np.float32
    np.testing.assert_allclose(scene.features.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(scene.features.max(axis=1), 0.9, atol=1e-6)
    # By the true classes: chair 4, none, chair 2000, and a table without an instance.
    np.testing.assert_array_equal(scene.instance_ids, [1, 0, 2, 0])
    np.testing.assert_array_equal(truth, [5001, 0, 5002, 0])
    assert scene.grid_shape == (6, 4, 4)


def test_a_constant_added_to_log_scores_changes_nothing(tmp_path):
    scores = log_scores(CHAIR, WALL, TABLE, CHAIR)
    write_predicted(tmp_path, "a", scores=scores)
    write_predicted(tmp_path, "b", scores=scores + 500)
    (a, _), (b, _) = (mtml_hdf5.read_scene(tmp_path, n, mtml_hdf5.PREDICTED) for n in "ab")
    np.testing.assert_allclose(a.features, b.features, atol=1e-4)


def test_scores_of_zero_have_an_infinite_logarithm_and_are_taken(tmp_path):
    scores = np.full((4, 20), -np.inf)
    scores[:, SCANNET20.ids.index(CHAIR)] = 0
    write_predicted(tmp_path, "a", scores=scores)
    scene, _ = mtml_hdf5.read_scene(tmp_path, "a", mtml_hdf5.PREDICTED)
    np.testing.assert_array_equal(scene.features.max(axis=1), 1)
    assert set(scene.semantic_ids) == {CHAIR}


def test_a_scene_with_predictions_alone_has_no_ground_truth(tmp_path):
    scene, truth = mtml_hdf5.read_scene(
        write_predicted(tmp_path), "scene0000_00", mtml_hdf5.PREDICTED
    )
    assert truth is None
    assert scene.instance_ids is None
    assert scene.grid_shape == (6, 4, 4)


def test_scenes_are_found_by_the_file_that_is_their_input(tmp_path):
    for name in ("b", "a"):
        write_truth(tmp_path, name)
    write_predicted(tmp_path, "c")
    assert mtml_hdf5.find_scenes(tmp_path) == ["a", "b"]
    assert mtml_hdf5.find_scenes(tmp_path, mtml_hdf5.PREDICTED) == ["c"]
    assert mtml_hdf5.find_scenes(tmp_path, scenes=["b"]) == ["b"]


def test_scenes_with_labels_but_without_predictions_are_told(tmp_path, caplog):
    for number in range(7):
        write_truth(tmp_path, f"s{number}")
    write_predicted(tmp_path, "s0")
    with caplog.at_level(logging.WARNING, logger="absl"):
        assert mtml_hdf5.find_scenes(tmp_path, mtml_hdf5.PREDICTED) == ["s0"]
    assert "labels but no predictions, are 6 scenes: s1, s2, s3, s4, s5 and 1 more" in caplog.text
    caplog.clear()
    mtml_hdf5.find_scenes(tmp_path)
    mtml_hdf5.find_scenes(tmp_path, mtml_hdf5.PREDICTED, ["s0"])
    assert caplog.text == ""


def test_a_folder_without_scenes_is_told(tmp_path):
    with pytest.raises(ValueError, match="gone: expected a folder of HDF5 files, found no such"):
        mtml_hdf5.find_scenes(tmp_path / "gone")
    with pytest.raises(ValueError, match=r"expected files <scene>_seg\.hdf5, found none"):
        mtml_hdf5.find_scenes(tmp_path)
    write_truth(tmp_path, "a")
    with pytest.raises(ValueError, match=r"b_seg\.hdf5: expected the file of a scene to take"):
        mtml_hdf5.find_scenes(tmp_path, scenes=["a", "b"])
    with pytest.raises(ValueError, match=r"expected semantic input among .* found 'guessed'"):
        mtml_hdf5.find_scenes(tmp_path, "guessed")


SEG, INST, PRED = (f"scene0000_00_{what}.hdf5" for what in ("seg", "inst", "h_pred"))


@pytest.mark.parametrize(
    ("file", "datasets", "message"),
    [
        (SEG, {"grid": np.ones(SHAPE)}, "expected the dataset 'voxel_grid', found ['grid']"),
        (SEG, {"voxel_grid/a": np.ones(3)}, "expected the dataset 'voxel_grid', found ['vox"),
        (SEG, {"voxel_grid": np.ones((2, 3))}, "expected voxel_grid [X, Y, Z], found shape [2, 3]"),
        (SEG, {"voxel_grid": 3}, "expected voxel_grid [X, Y, Z], found shape []"),
        (
            SEG,
            {"voxel_grid": np.full(SHAPE, 0.5)},
            "expected whole numbers from 0 up in voxel_grid",
        ),
        (SEG, {"voxel_grid": np.full(SHAPE, np.nan)}, "from 0 up in voxel_grid, found nan"),
        (SEG, {"voxel_grid": np.zeros(SHAPE)}, "expected labelled voxels, found none"),
        (SEG, {"voxel_grid": [[[b"chair"]]]}, "expected numbers in 'voxel_grid', found"),
        (INST, {"voxel_grid": np.full(SHAPE, -1)}, "in voxel_grid, found -1"),
        (INST, {"voxel_grid": np.ones((5, 4, 4))}, f"grid [5, 4, 3] of {SEG}, found [5, 4, 4]"),
        (PRED, {"h_pred_idx": PLACES}, "dataset 'h_pred_compact', found ['h_pred_idx']"),
        (
            PRED,
            {"h_pred_idx": PLACES[:3], "h_pred_compact": np.zeros((4, 20))},
            "expected h_pred_compact [3, 20], a row for each of h_pred_idx",
        ),
        (
            PRED,
            {"h_pred_idx": PLACES, "h_pred_compact": np.zeros((4, 40))},
            "ScanNet's classes, found shape [4, 40]",
        ),
        (
            PRED,
            {"h_pred_idx": PLACES.T, "h_pred_compact": np.zeros((3, 20))},
            "expected h_pred_idx [M, 3], found shape [3, 4]",
        ),
        (
            PRED,
            {"h_pred_idx": PLACES[[0, 1, 1]], "h_pred_compact": np.zeros((3, 20))},
            "expected each voxel once in h_pred_idx, found [1, 1, 1] twice",
        ),
        (
            PRED,
            {"h_pred_idx": PLACES + np.array([0, 0, 1]), "h_pred_compact": np.zeros((4, 20))},
            f"expected voxels within the grid [5, 4, 3] of {SEG}, found [4, 3, 3]",
        ),
        (
            PRED,
            {"h_pred_idx": PLACES, "h_pred_compact": np.full((4, 20), -np.inf)},
            "expected log scores in h_pred_compact, found NaN or infinity in 4 of 4 rows",
        ),
        (
            PRED,
            {"h_pred_idx": PLACES, "h_pred_compact": np.full((4, 20), np.nan)},
            "expected log scores in h_pred_compact, found NaN or infinity in 4 of 4 rows",
        ),
    ],
)
def test_a_bad_file_is_told_by_name(tmp_path, file, datasets, message):
    write_predicted(write_truth(tmp_path))
    write(tmp_path / file, **datasets)
    semantic = mtml_hdf5.PREDICTED if file == PRED else mtml_hdf5.GROUND_TRUTH
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        mtml_hdf5.read_scene(tmp_path, "scene0000_00", semantic)
    assert str(raised.value).startswith(f"{tmp_path / file}: ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("file", [SEG, INST])
def test_a_missing_or_cut_file_is_told_by_name(tmp_path, file):
    path = write_truth(tmp_path) / file
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=rf"{file}: expected a readable HDF5 file, found: \w"):
        mtml_hdf5.read_scene(tmp_path, "scene0000_00")
    path.unlink()
    with pytest.raises(ValueError, match=f"{file}: expected an HDF5 file, found no such file"):
        mtml_hdf5.read_scene(tmp_path, "scene0000_00")


def test_predictions_with_one_of_the_two_true_grids_are_refused(tmp_path):
    write_predicted(write_truth(tmp_path))
    (tmp_path / INST).unlink()
    with pytest.raises(ValueError, match=f"{INST}: expected an HDF5 file, found no such file"):
        mtml_hdf5.read_scene(tmp_path, "scene0000_00", mtml_hdf5.PREDICTED)


def test_a_scene_with_more_instances_than_the_benchmark_counts_is_refused(tmp_path):
    labels = np.full((10, 10, 10), CHAIR)
    write(tmp_path / SEG, voxel_grid=labels)
    write(tmp_path / INST, voxel_grid=np.arange(1, 1001).reshape(labels.shape))
    with pytest.raises(ValueError, match=rf"{INST}: .* instance ids from 0 to 999, found 1000"):
        mtml_hdf5.read_scene(tmp_path, "scene0000_00")


def test_a_voxel_size_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected a voxel size above 0 m, found 0"):
        mtml_hdf5.read_scene(write_truth(tmp_path), "scene0000_00", voxel_size=0)


def test_the_program_writes_a_data_folder(tmp_path):
    for name in ("b", "a"):
        write_predicted(write_truth(tmp_path / "in", name), name)
    command = [
        *(sys.executable, "tools/import_mtml_hdf5.py", f"--input_dir={tmp_path / 'in'}"),
        *(f"--output_dir={tmp_path / 'out'}", "--split=val", "--semantic=predicted"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("wrote 2 scenes as split 'val'\n")
    data = DataFolder(tmp_path / "out")
    assert data.classes == SCANNET20
    assert [entry.name for entry in data.entries("val")] == ["a", "b"]
    assert data.scene(data.entries("val")[0]).features.shape == (4, 20)
    truth = read_ground_truth(data.ground_truth_dir("val") / "a.txt")
    np.testing.assert_array_equal(truth, [5001, 0, 5002, 0])


def test_nothing_is_written_where_one_file_is_bad(tmp_path):
    for name in ("a", "b"):
        write_truth(tmp_path / "in", name)
    (tmp_path / "in" / "b_inst.hdf5").write_text("not HDF5")
    scenes = mtml_hdf5.ImportedScenes(tmp_path / "in", mtml_hdf5.find_scenes(tmp_path / "in"))
    assert len(scenes) == 2
    with pytest.raises(ValueError, match=r"b_inst\.hdf5: expected a readable HDF5 file"):
        write_data_folder(tmp_path / "out", SCANNET20, {"train": scenes})
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
