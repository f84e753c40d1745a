import numpy as np
from scenes import CLASSES, FLOOR, box_scene

from experiments import figure7
from mtml_tf.drawing.pictures import instance_colors
from mtml_tf.scene import Instance


def test_features_of_two_objects_get_two_colors():
    embedding = np.repeat([[0.0, 0.0], [4.0, 1.0]], 50, axis=0).astype(np.float32)
    embedding += np.random.default_rng(0).normal(0, 0.01, embedding.shape)
    colors = figure7.embedding_colors(embedding).astype(int)
    assert colors.shape == (100, 3)
    assert np.abs(colors[0] - colors[-1]).max() > 200


def test_walls_towards_the_viewer_are_those_at_high_x_and_low_y():
    vertices = np.array([[0, 0, 0], [5, 5, 0], [0, 5, 0], [5, 0, 0], [2, 2, 0]], float)
    np.testing.assert_array_equal(
        figure7.towards_viewer(vertices), [True, True, False, True, False]
    )


def test_a_found_object_has_the_color_of_the_true_one():
    scene = box_scene(0)
    count = len(scene.coordinates)
    scanned = type(scene)(**{**vars(scene), "vertex_to_voxel": np.arange(count, dtype=np.int32)})
    truth = np.where(scene.instance_ids > 0, scene.semantic_ids * 1000 + scene.instance_ids, 0)
    found = [
        Instance(3, 1.0, np.flatnonzero(scene.instance_ids == number).astype(np.int32))
        for number in np.unique(scene.instance_ids)
        if number
    ]
    wall = np.where(truth == 0, FLOOR * 1000 + 9, 0)
    true, same = figure7.instance_views(scanned, truth + wall, CLASSES, [found[::-1]])
    np.testing.assert_array_equal(true, same)
    np.testing.assert_array_equal(true, instance_colors(scene.instance_ids))
