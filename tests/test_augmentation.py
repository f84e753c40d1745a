"""Tests of mtml_tf.data.augmentation."""

import math

import numpy as np
import pytest
from scenes import box_scene

from mtml_tf.backend import tf
from mtml_tf.config import DataConfig
from mtml_tf.data import augmentation

ANGLES = np.random.default_rng(0).uniform(0, 2 * math.pi, 12)


def tensors_of(coordinates, grid_shape):
    """A scene whose values tell where each voxel came from."""
    rows = np.arange(len(coordinates), dtype=np.int32)
    return {
        "coordinates": tf.constant(coordinates, tf.int32),
        "grid_shape": tf.constant(grid_shape, tf.int32),
        "channels": tf.constant(rows),
        "instance_ids": tf.constant(1000 + rows),
        "features": tf.constant(np.stack([rows + 0.25, -rows], axis=1), tf.float32),
    }


def random_scene(seed, grid_shape=(10, 6, 4), share=0.4):
    cells = np.argwhere(np.random.default_rng(seed).random(grid_shape) < share)
    return tensors_of(cells, grid_shape)


def solid_box(size):
    return tensors_of(np.argwhere(np.ones(size)), size)


def dense_grid(scene):
    """The row number + 1 of each voxel on the grid, after checking that values came along."""
    rows = scene["channels"].numpy()
    np.testing.assert_array_equal(scene["instance_ids"], 1000 + rows)
    np.testing.assert_array_equal(scene["features"], np.stack([rows + 0.25, -rows], axis=1))
    coordinates = scene["coordinates"].numpy()
    assert len(np.unique(coordinates, axis=0)) == len(coordinates), "a voxel twice"
    assert (coordinates >= 0).all()
    assert (coordinates < scene["grid_shape"].numpy()).all()
    grid = np.zeros(scene["grid_shape"].numpy(), np.int32)
    grid[tuple(coordinates.T)] = rows + 1
    return grid


def trimmed(grid):
    """Without empty slices at either end of the horizontal axes."""
    x, y = (np.flatnonzero(grid.any(axis=axes)) for axes in ((1, 2), (0, 2)))
    return grid[x[0] : x[-1] + 1, y[0] : y[-1] + 1]


MIRRORS = [(False, False, False), (True, False, False), (False, True, False), (True, True, False)]


@pytest.mark.parametrize("mirrored", MIRRORS)
def test_flip_mirrors_the_dense_grid(mirrored):
    scene = random_scene(0)
    axes = [axis for axis in range(3) if mirrored[axis]]
    flipped = augmentation.flip(scene, tf.constant(mirrored))
    np.testing.assert_array_equal(dense_grid(flipped), np.flip(dense_grid(scene), axes))


@pytest.mark.parametrize("mirrored", MIRRORS)
def test_flipping_twice_changes_nothing(mirrored):
    scene = random_scene(1)
    twice = augmentation.flip(augmentation.flip(scene, tf.constant(mirrored)), mirrored)
    for name, values in scene.items():
        np.testing.assert_array_equal(twice[name], values)


def test_shift_moves_all_and_lets_the_grid_grow():
    scene = random_scene(2)
    shifted = augmentation.shift(scene, tf.constant([1, 0, 2]))
    np.testing.assert_array_equal(shifted["grid_shape"], [11, 6, 6])
    expected = np.pad(dense_grid(scene), [(1, 0), (0, 0), (2, 0)])
    np.testing.assert_array_equal(dense_grid(shifted), expected)


@pytest.mark.parametrize("grid_shape", [(10, 6, 4), (6, 10, 2), (8, 8, 4), (2, 16, 4)])
@pytest.mark.parametrize("turns", [0, 1, 2, 3, 4])
def test_quarter_turns_equal_rot90(turns, grid_shape):
    scene = random_scene(3, grid_shape)
    turned = augmentation.rotate(scene, tf.constant(turns * math.pi / 2, tf.float32))
    # Like rot90, from the first axis towards the second.
    expected = trimmed(np.rot90(dense_grid(scene), turns, axes=(0, 1)))
    np.testing.assert_array_equal(dense_grid(turned), expected)


@pytest.mark.parametrize("size", [(40, 18, 3), (24, 24, 2), (10, 60, 2)])
@pytest.mark.parametrize("angle", ANGLES)
def test_rotation_cuts_nothing(angle, size):
    """A box that fills its grid: as many voxels, and the extents of the turned rectangle."""
    grid = dense_grid(augmentation.rotate(solid_box(size), tf.constant(angle, tf.float32)))
    assert (grid > 0).sum() == pytest.approx(np.prod(size), rel=0.03)
    cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
    assert grid.shape[0] == pytest.approx(size[0] * cos + size[1] * sin, abs=2)
    assert grid.shape[1] == pytest.approx(size[0] * sin + size[1] * cos, abs=2)
    assert grid.shape[2] == size[2]


@pytest.mark.parametrize("angle", ANGLES[:4])
def test_rotation_moves_every_voxel_where_it_belongs(angle):
    """Each voxel that is kept lies within a voxel of its turned place."""
    size = (24, 24, 2)
    grid = dense_grid(augmentation.rotate(solid_box(size), tf.constant(angle, tf.float32)))
    places = np.argwhere(grid > 0)
    sources = np.argwhere(np.ones(size))[grid[tuple(places.T)] - 1]
    old = sources[:, :2] - sources[:, :2].mean(axis=0)
    new = places[:, :2] - places[:, :2].mean(axis=0)
    cos, sin = math.cos(angle), math.sin(angle)
    turned = np.stack([cos * old[:, 0] - sin * old[:, 1], sin * old[:, 0] + cos * old[:, 1]], 1)
    assert np.abs(turned - new).max() < 1.2
    np.testing.assert_array_equal(places[:, 2], sources[:, 2])  # nothing moves up or down


@pytest.mark.parametrize("angle", [0.0, *ANGLES[:5]])
def test_rotation_trims_the_sides_but_not_the_height(angle):
    scene = tensors_of([[20, 3, 2], [21, 3, 2], [20, 4, 2], [21, 4, 2]], (30, 30, 8))
    turned = augmentation.rotate(scene, tf.constant(angle, tf.float32))
    grid = dense_grid(turned)
    assert grid.shape[2] == 8
    assert set(turned["coordinates"].numpy()[:, 2]) == {2}
    np.testing.assert_array_equal(trimmed(grid), grid)
    assert max(grid.shape[:2]) <= 4


def test_small_instances_may_vanish_and_leave_no_trace():
    """Single voxels apart from each other: at some angles a few fall between grid points."""
    cells = np.argwhere(np.ones((8, 8, 1))) * [4, 4, 1]
    counts = set()
    for angle in ANGLES:
        turned = augmentation.rotate(tensors_of(cells, (30, 30, 2)), tf.constant(angle, tf.float32))
        grid = dense_grid(turned)
        assert len(turned["channels"]) == (grid > 0).sum()
        counts.add(len(np.unique(turned["instance_ids"])))
    assert min(counts) < 64


def test_a_scene_that_would_vanish_altogether_stays():
    for angle in np.linspace(0, 2 * math.pi, 200):
        scene = tensors_of([[3, 0, 1]], (4, 6, 2))
        turned = augmentation.rotate(scene, tf.constant(angle, tf.float32))
        assert dense_grid(turned).any()
        assert max(turned["grid_shape"].numpy()[:2]) <= 2


def augmented(scene, example, **config):
    config = {"flips": False, "rotations": False, "shifts": False, **config}
    seed = tf.constant([5, example], tf.int64)
    return augmentation.augment(scene, seed, DataConfig(**config))


def test_without_augmentations_nothing_changes():
    scene = random_scene(4)
    for name, values in augmented(scene, 0).items():
        np.testing.assert_array_equal(values, scene[name])


def test_augmentation_is_a_function_of_the_seed():
    scene, all_on = random_scene(5), {"flips": True, "rotations": True, "shifts": True}
    grids = [dense_grid(augmented(scene, example, **all_on)) for example in (0, 0, 1, 2)]
    np.testing.assert_array_equal(grids[0], grids[1])
    assert len({grid.tobytes() for grid in grids}) == 3


def test_every_flip_and_every_shift_occurs():
    scene = random_scene(6)
    flips = {dense_grid(augmented(scene, i, flips=True)).tobytes() for i in range(40)}
    expected = {np.flip(dense_grid(scene), axes).tobytes() for axes in ((), 0, 1, (0, 1))}
    assert flips == expected  # never upside down
    shifts = {tuple(augmented(scene, i, shifts=True)["coordinates"][0].numpy()) for i in range(80)}
    assert len(shifts) == 8


def test_angles_are_spread_over_the_whole_circle():
    """A voxel far out, and one in the middle to see it from."""
    scene = tensors_of([[20, 20, 0], [40, 20, 0]], (42, 42, 1))
    angles = []
    for example in range(40):
        turned = augmented(scene, example, rotations=True)
        if len(turned["channels"]) == 2:
            at = turned["coordinates"].numpy()[np.argsort(turned["channels"])]
            angles.append(math.atan2(*(at[1] - at[0])[:2]))
    quarters = np.floor(np.array(angles) / (math.pi / 2)).astype(int)
    assert set(quarters) == {-2, -1, 0, 1}


@pytest.mark.parametrize("seed", range(10))
def test_what_comes_out_fits_its_grid(seed):
    voxels = box_scene(seed, grid_shape=(12, 18, 8))
    scene = tensors_of(voxels.coordinates, voxels.grid_shape)
    result = augmented(scene, seed, flips=True, rotations=True, shifts=True)
    grid = dense_grid(result)  # checks the bounds
    assert 0.9 * len(voxels.coordinates) < (grid > 0).sum() < 1.1 * len(voxels.coordinates)


def test_augmentation_runs_in_a_dataset():
    scene = random_scene(7)
    config = DataConfig(shifts=True)
    dataset = tf.data.Dataset.range(3).map(
        lambda i: augmentation.augment(scene, tf.stack([tf.constant(5, tf.int64), i]), config)
    )
    for i, result in enumerate(dataset):
        expected = augmented(scene, i, flips=True, rotations=True, shifts=True)
        np.testing.assert_array_equal(dense_grid(result), dense_grid(expected))
