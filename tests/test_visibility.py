import numpy as np

from mtml_tf.scans.visibility import visible


def wall_and_floor():
    wall = np.stack(
        np.meshgrid(np.arange(-0.1, 0.1, 0.003), [0.0], np.arange(0, 0.2, 0.003)), axis=-1
    ).reshape(-1, 3)
    return wall, np.array([[0.0, -0.1, 0.0], [0.0, 0.1, 0.0], [0.0, -0.35, 0.0], [0.3, -0.1, 0.0]])


def test_the_camera_sees_neither_behind_a_wall_nor_is_it_stopped_beside_it():
    wall, spots = wall_and_floor()
    seen = visible(np.concatenate([wall, spots]), np.zeros(3), 90, 45, 1)
    assert seen[: len(wall)].all()
    np.testing.assert_array_equal(seen[len(wall) :], [False, True, True, True])


def test_what_is_hidden_depends_on_where_the_camera_stands():
    wall, spots = wall_and_floor()
    seen = visible(np.concatenate([wall, spots]), np.zeros(3), -90, 45, 1)
    np.testing.assert_array_equal(seen[len(wall) :], [True, False, True, True])
