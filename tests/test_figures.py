import struct
import subprocess
import sys

import numpy as np
import pytest

from experiments.figures import draw_scene, draw_shapes, match_ids, predicted_ids
from mtml_tf.classes import ClassSet
from mtml_tf.drawing.pictures import STUFF_COLOR, instance_colors
from mtml_tf.scans import toy
from mtml_tf.scene import Instance, VoxelScene


def row_of_voxels(count, **fields):
    coordinates = np.stack([np.arange(count), np.zeros(count), np.zeros(count)], axis=1)
    values = {"semantic_ids": np.full(count, 2, np.int32), **fields}
    return VoxelScene("row", coordinates.astype(np.int32), (8, 2, 2), 0.1, np.zeros(3), **values)


def test_of_instances_that_share_a_voxel_the_best_is_shown():
    scene = row_of_voxels(5)
    instances = [
        Instance(2, 0.2, np.array([2, 3])),
        Instance(2, 0.9, np.array([0, 1, 2])),
    ]
    assert predicted_ids(scene, instances).tolist() == [1, 1, 1, 2, 0]


def test_the_vertices_of_an_instance_color_their_voxels():
    scene = row_of_voxels(3, vertex_to_voxel=np.array([2, 2, 0, 1, 0], np.int32))
    assert predicted_ids(scene, [Instance(2, 0.5, np.array([0, 1, 4]))]).tolist() == [1, 0, 1]


def test_matched_instances_take_the_true_id_and_others_a_new_one():
    true = np.array([5, 5, 5, 5, 2, 2, 0, 0])
    # 1 and 3 split the true 5, the larger one matches; 2 matches 2; 4 lies where nothing is.
    predicted = np.array([1, 1, 1, 3, 2, 2, 4, 0])
    assert match_ids(predicted, true).tolist() == [5, 5, 5, 6, 2, 2, 7, 0]


def test_a_prediction_over_two_objects_matches_the_larger_one_only():
    assert match_ids(np.array([1, 1, 1]), np.array([1, 2, 2])).tolist() == [2, 2, 2]


@pytest.mark.parametrize("none", [np.zeros(3, int), np.zeros(0, int)])
def test_nothing_predicted_or_nothing_true_is_fine(none):
    assert match_ids(none, none).tolist() == none.tolist()
    assert match_ids(none, np.arange(len(none))).tolist() == none.tolist()
    some = np.arange(len(none))
    assert match_ids(some, none).tolist() == some.tolist()


def test_a_scene_without_truth_has_two_views():
    classes = ClassSet((2,), ("box",), ("thing",))
    assert len(draw_scene(row_of_voxels(3), classes, [], 40, 0)) == 2
    truth = np.array([1, 1, 2], np.int32)
    views = draw_scene(row_of_voxels(3, instance_ids=truth), classes, [], 40, 0)
    assert len(views) == 3

    def shows(view, color):
        return (view == np.array(color, np.uint8)).all(axis=-1).any()

    assert shows(views[2], STUFF_COLOR)
    assert not shows(views[1], STUFF_COLOR)
    assert shows(views[1], instance_colors(np.array([2]))[0])


def test_the_toy_shapes_are_all_there():
    image = draw_shapes(500)
    for color in instance_colors(np.arange(1, 6)):
        assert (image == color).all(axis=-1).sum() > 500


def size_of(path):
    return struct.unpack(">II", path.read_bytes()[16:24])


def test_the_program_draws_the_figures_and_one_picture_a_scene(tmp_path):
    from mtml_tf.data.writing import write_data_folder
    from mtml_tf.scoring.benchmark_format import write_predictions

    scenes = list(toy.make_toy_scenes("test", 3, 0, toy.ToyConfig(min_objects=1, max_objects=2)))
    write_data_folder(
        tmp_path / "data", toy.TOY_CLASSES, {"test": [(scene, None) for scene in scenes]}
    )
    for scene in scenes:
        rows = np.flatnonzero(scene.instance_ids == 1)
        instances = [Instance(int(scene.semantic_ids[rows[0]]), 1.0, rows)]
        count = len(scene.coordinates)
        write_predictions(tmp_path / "predictions", scene.name, instances, count)
    command = [sys.executable, "-m", "experiments.figures", "--width=100"]
    command += [f"--{name}_dir={tmp_path / name}" for name in ("data", "output")]
    command.append(f"--prediction_dir={tmp_path / 'predictions'}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pictures = {path.name: size_of(path) for path in (tmp_path / "output").iterdir()}
    height = pictures["toy_test_0000.png"][1]
    assert set(done.stdout.split()) == {str(tmp_path / "output" / name) for name in pictures}
    assert pictures == {
        "figure4.png": (300, height),
        "figure5.png": (300, height + pictures["toy_test_0001.png"][1]),
        "toy_test_0000.png": (300, height),
        "toy_test_0001.png": (300, pictures["toy_test_0001.png"][1]),
    }
