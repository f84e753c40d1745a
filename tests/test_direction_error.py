"""Angles between predicted directions and the ways to the objects' centres."""

import numpy as np
import pytest

from mtml_tf.scoring.direction_error import direction_errors

BAR = np.array([[0, 5, 2], [2, 5, 2]])  # its centre is at (1, 5, 2)


def errors(direction, coordinates=BAR, instance_ids=(1, 1)):
    return direction_errors(
        np.array(direction, np.float32), np.array(coordinates, np.int32), np.array(instance_ids)
    )


@pytest.mark.parametrize(
    ("first", "degrees"),
    [
        ([1, 0, 0], 0),
        ([1, 1, 0], 45),
        ([0.5, 0, np.sqrt(0.75)], 60),
        ([0, 0, -1], 90),
        ([-1, 0, 0], 180),
    ],
)
def test_the_angle_is_measured_to_the_way_to_the_centre(first, degrees):
    np.testing.assert_allclose(errors([first, [-1, 0, 0]]), [degrees, 0], atol=1e-4)


def test_the_length_of_a_direction_does_not_matter():
    np.testing.assert_allclose(errors([[100, 100, 0], [-1e-3, 0, 0]]), [45, 0], atol=1e-4)


def test_each_voxel_points_to_the_centre_of_its_own_instance():
    # Two bars in one row of voxels: their joint centre would be at 3.5 for all four.
    coordinates = [[0, 0, 0], [5, 0, 0], [2, 0, 0], [7, 0, 0]]
    direction = [[1, 0, 0], [1, 0, 0], [-1, 0, 0], [-1, 0, 0]]
    np.testing.assert_allclose(errors(direction, coordinates, [4, 9, 4, 9]), 0, atol=1e-4)


def test_the_centre_is_the_mean_of_the_voxels_not_the_middle_of_the_box():
    # Mean x is 2, the middle of the box is 4.
    coordinates = [[0, 0, 0], [0, 0, 0], [0, 0, 0], [8, 0, 0], [2, 0, 0], [2, 0, 0]]
    coordinates[4] = [2, 3, 0]
    coordinates[5] = [2, -3, 0]
    direction = np.zeros((6, 3))
    direction[4] = [0, -1, 0]
    np.testing.assert_allclose(errors(direction, coordinates, np.ones(6)), [0], atol=1e-4)


def test_voxels_without_an_instance_take_no_part():
    direction = [[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, 1, 0]]
    coordinates = [BAR[0], [50, 50, 50], BAR[1], [9, 9, 9]]
    np.testing.assert_allclose(errors(direction, coordinates, [1, 0, 1, -1]), [0, 0], atol=1e-4)


def test_a_voxel_at_the_centre_has_no_direction_and_is_left_out():
    coordinates = [BAR[0], [1, 5, 2], BAR[1]]
    direction = [[1, 0, 0], [1, 0, 0], [0, 1, 0]]
    np.testing.assert_allclose(errors(direction, coordinates, [1, 1, 1]), [0, 90], atol=1e-4)


def test_a_prediction_of_zero_length_is_left_out():
    np.testing.assert_allclose(errors([[0, 0, 0], [-1, 0, 0]]), [0], atol=1e-4)


@pytest.mark.parametrize(
    ("coordinates", "instance_ids"),
    [(np.zeros((0, 3)), []), ([[1, 2, 3]], [1]), ([[1, 2, 3], [4, 5, 6]], [0, 0])],
)
def test_nothing_to_measure_gives_an_empty_result(coordinates, instance_ids):
    found = errors(np.ones((len(coordinates), 3)), coordinates, np.array(instance_ids, np.int32))
    assert found.shape == (0,)


def test_moving_the_scene_and_renaming_its_instances_change_nothing():
    rng = np.random.default_rng(0)
    coordinates = rng.integers(0, 20, (60, 3))
    direction = rng.normal(size=(60, 3))
    instance_ids = rng.integers(0, 4, 60)
    here = errors(direction, coordinates, instance_ids)
    assert len(here) > 30
    assert here.min() >= 0
    assert here.max() <= 180
    there = errors(
        direction, coordinates + np.array([7, -3, 100]), np.array([0, 30, 2, 11])[instance_ids]
    )
    np.testing.assert_allclose(there, here, atol=1e-4)


def test_errors_add_up_to_a_half_turn_with_those_of_the_opposite_directions():
    rng = np.random.default_rng(1)
    coordinates, direction = rng.integers(0, 20, (40, 3)), rng.normal(size=(40, 3))
    ids = np.ones(40, int)
    both = errors(direction, coordinates, ids) + errors(-direction, coordinates, ids)
    np.testing.assert_allclose(both, 180, atol=1e-4)
