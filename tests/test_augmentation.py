"""Tests of mtml_tf.data.augmentation: what is drawn, by hand and on whole scenes."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from scenes import BOX, CLASSES, FLOOR, box_scene, sparse_scene

from mtml_tf.backend import tf
from mtml_tf.config import DataConfig
from mtml_tf.data import augmentation, pipeline
from mtml_tf.data.records import encode_record
from mtml_tf.scans import voxels
from mtml_tf.scene import Scene

PLAIN = DataConfig(flips=False, rotations=False)
ALL = DataConfig(
    origins=True, stretch=0.15, warp=0.1, holes=0.3, unannotated=0.3, crop=12, batch_size=1
)
MIDDLE = tf.constant([4.0, 3.0, 1.0])
ANGLES = np.random.default_rng(0).uniform(0, 2 * math.pi, 12)


def drawn(scene, example=0, **changes):
    """The scene as an example of a training, as arrays; `changes` of no augmentation at all."""
    config = dataclasses.replace(PLAIN, **changes)
    given = (tf.constant(encode_record(scene)), tf.constant(example, tf.int64), config, CLASSES)
    found = pipeline.draw(*given, scene.num_features, scene.voxel_size)
    return {name: value.numpy() for name, value in found.items()}


def assert_is_scene(found, scene, grid_shape=None):
    np.testing.assert_array_equal(found["coordinates"], scene.coordinates)
    np.testing.assert_array_equal(found["channels"], CLASSES.channels_of(scene.semantic_ids))
    np.testing.assert_array_equal(found["instance_ids"], scene.instance_ids)
    assert tuple(found["grid_shape"]) == (grid_shape or scene.grid_shape)


def dense_grid(found):
    grid = np.zeros(found["grid_shape"], np.int32)
    grid[tuple(found["coordinates"].T)] = found["channels"] + 1
    return grid


def trimmed(grid):
    """Without empty slices at either end of the axes."""
    cells = np.argwhere(grid)
    low, high = cells.min(axis=0), cells.max(axis=0) + 1
    return grid[low[0] : high[0], low[1] : high[1], low[2] : high[2]]


def scanned(spacing=0.2, voxel_size=1.0):
    """A voxelized scan of a floor with a box (instance 1) and a low one (instance 2) on it."""
    x, y = (np.arange(0, size, spacing) for size in (14.0, 9.0))
    plane = np.stack([*np.meshgrid(x, y, indexing="ij"), np.zeros((len(x), len(y)))], axis=-1)
    floor = plane.reshape(-1, 3)
    top = (floor[:, :2] > 2).all(axis=1) & (floor[:, :2] < 5).all(axis=1)
    low = (floor[:, 0] > 9) & (floor[:, 0] < 12) & (floor[:, 1] > 4.5)
    vertices = np.concatenate([floor, floor[top] + [0, 0, 2.5], floor[low] + [0, 0, 1.5]])
    ids = np.repeat([0, 1, 2], [len(floor), top.sum(), low.sum()]).astype(np.int32)
    scene = Scene(
        "scan",
        vertices * voxel_size,
        semantic_ids=np.array([FLOOR, BOX, BOX], np.int32)[ids],
        instance_ids=ids,
    )
    return voxels.voxelize(scene, voxel_size, CLASSES, with_points=True)


# --- The functions, by hand --------------------------------------------------------------------

POSITIONS = np.array([[1.0, 2.0, 0.5], [6.0, 3.0, 2.0]], np.float32)


@pytest.mark.parametrize(
    ("mirrored", "expected"),
    [
        ([False, False], [[1, 2, 0.5], [6, 3, 2]]),
        ([True, False], [[7, 2, 0.5], [2, 3, 2]]),
        ([False, True], [[1, 4, 0.5], [6, 3, 2]]),
        ([True, True], [[7, 4, 0.5], [2, 3, 2]]),
    ],
)
def test_mirrored_positions_lie_on_the_other_side_of_the_middle(mirrored, expected):
    found = augmentation.mirror(tf.constant(POSITIONS), tf.constant(mirrored), MIDDLE)
    np.testing.assert_array_equal(found, expected)


def test_a_turn_takes_x_to_y_about_the_middle():
    found = augmentation.turn(tf.constant(POSITIONS), tf.constant(math.pi / 2), MIDDLE)
    np.testing.assert_allclose(found, [[5, 0, 0.5], [4, 5, 2]], atol=1e-6)


def test_a_wave_moves_what_it_says():
    """One that runs along x, 40 amplitudes long, and moves all along z by the whole amplitude."""
    wave = tf.constant([[0, 0.5, 0.5, 0, 0.5, 0.5, 1]])
    positions = tf.constant([[0.0, 5, 1], [5, 0, 2], [10, 1, 0], [15, 9, 9]])
    found = augmentation.bend(positions, wave, amplitude=0.5)
    np.testing.assert_allclose(found[:, :2], 0, atol=1e-6)
    np.testing.assert_allclose(found[:, 2], [0, 0.5, 0, -0.5], atol=1e-6)


def test_a_warp_moves_by_no_more_than_its_amplitude_and_neighbours_alike():
    rng = np.random.default_rng(1)
    line = np.stack([np.arange(0, 50, 0.25), np.full(200, 3.0), np.full(200, 2.0)], axis=1)
    for _ in range(20):
        waves = tf.constant(rng.random((3, 7)), tf.float32)
        moved = augmentation.bend(tf.constant(line, tf.float32), waves, amplitude=1.0).numpy()
        assert np.abs(moved).max() <= 1
        # The steepest of a wave: 2 pi / 20 of the amplitude a voxel.
        assert np.abs(np.diff(moved, axis=0)).max() <= 0.25 * 2 * math.pi / 20
        assert np.abs(moved).max() > 0.01


def test_what_lies_in_a_ball_is_left_out():
    line = tf.constant([[x, 0.0, 0.0] for x in range(10)])
    # About the positions 2 and 7; the third is none.
    places, radii = tf.constant([0.25, 0.7, 0.0]), tf.constant([1.5, 1.0, 0.0])
    outside = augmentation.outside_balls(line, places, radii).numpy()
    assert np.flatnonzero(outside).tolist() == [0, 4, 5, 6, 8, 9]


def test_a_ball_that_would_take_all_takes_nothing():
    line = tf.constant([[x, 0.0, 0.0] for x in range(10)])
    assert augmentation.outside_balls(line, tf.constant([0.5]), tf.constant([99.0])).numpy().all()


def test_an_object_loses_its_annotation_as_a_whole():
    rng = np.random.default_rng(2)
    instance_ids = rng.integers(0, 40, 1000)
    points = {
        "instance_ids": tf.constant(instance_ids, tf.int32),
        "semantic_ids": tf.constant(np.full(1000, 7), tf.int32),
        "true_ids": tf.constant(np.full(1000, 3), tf.int32),
        "rows": tf.range(1000),
        "features": tf.zeros([1001, 2]),
    }
    seed = tf.constant([1, 2], tf.int64)
    found = augmentation.without_annotation(points, 0.5, seed)
    lost = (found["instance_ids"].numpy() == 0) & (instance_ids > 0)
    gone = set(instance_ids[lost])
    assert 10 < len(gone) < 30
    assert gone.isdisjoint(instance_ids[~lost])
    np.testing.assert_array_equal(found["semantic_ids"], np.where(lost, 0, 7))
    np.testing.assert_array_equal(found["true_ids"], np.where(lost, 0, 3))
    np.testing.assert_array_equal(found["rows"], np.where(lost, 1000, np.arange(1000)))
    for share, count in ((0.0, 0), (1.0, 39)):
        found = augmentation.without_annotation(points, share, seed)["instance_ids"].numpy()
        assert len(set(instance_ids) - set(found)) == count


def test_a_grid_begins_and_ends_with_the_points_where_it_is_trimmed():
    points = {
        "positions": tf.constant([[-1.5, 2.9, 0.0], [3.0, 2.1, 0.99]]),
        "grid_shape": tf.constant([8, 8, 8]),
    }
    found = augmentation.put_on_grid(points, trim=True)
    np.testing.assert_array_equal(found["cells"], [[0, 0, 0], [5, 0, 0]])
    np.testing.assert_array_equal(found["grid_shape"], [6, 1, 1])
    points["positions"] += [2.0, 0, 0]
    found = augmentation.put_on_grid(points, trim=False)
    np.testing.assert_array_equal(found["cells"], [[0, 2, 0], [5, 2, 0]])
    np.testing.assert_array_equal(found["grid_shape"], [8, 8, 8])


@pytest.mark.parametrize("place", [0.0, 0.3, 0.999])
@pytest.mark.parametrize("point", [0.0, 0.5, 0.999])
def test_a_window_holds_what_it_is_asked_to_and_no_more(point, place):
    cells = np.array(list(itertools.product(range(20), range(6), range(3))), np.int32)
    points = {"cells": tf.constant(cells), "grid_shape": tf.constant([20, 6, 3])}
    points["semantic_ids"] = tf.range(len(cells))
    found = augmentation.crop(points, 8, tf.constant([point, place, place]))
    np.testing.assert_array_equal(found["grid_shape"], [8, 6, 3])
    kept = found["semantic_ids"].numpy()
    assert len(kept) == 8 * 6 * 3
    start = cells[kept[0]]
    np.testing.assert_array_equal(found["cells"], cells[kept] - start)
    assert int(point * len(cells)) in kept


# --- Scenes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [scanned, lambda: box_scene(3)])
def test_without_augmentations_nothing_changes(make):
    assert_is_scene(drawn(make()), make())


def test_points_that_do_not_move_give_the_voxels_of_the_record():
    """A warp of a nanometre: all goes through the points, and the grid fits what it holds."""
    scene = scanned()
    assert len(scene.points.cells) > 2 * len(scene.coordinates)
    assert_is_scene(drawn(scene, warp=1e-9), scene)
    bare = dataclasses.replace(scene, points=None)
    assert_is_scene(drawn(bare, warp=1e-9), bare)


@pytest.mark.parametrize("points", [True, False])
def test_a_quarter_turn_is_that_of_the_voxels(points):
    scene = scanned() if points else box_scene(4, grid_shape=(12, 18, 8))
    before = dense_grid(drawn(scene))
    given = pipeline.decoding.decode_points(tf.constant(encode_record(scene)), 0, True)
    middle = tf.cast(given["grid_shape"], tf.float32) / 2
    for turns in range(4):
        positions = augmentation.turn(given["positions"], tf.constant(turns * math.pi / 2), middle)
        moved = augmentation.put_on_grid({**given, "positions": positions}, trim=True)
        found = pipeline.voxelizing.voxelize(moved, CLASSES)
        np.testing.assert_array_equal(
            dense_grid({name: value.numpy() for name, value in found.items()}),
            trimmed(np.rot90(before, turns, axes=(0, 1))),
        )


@pytest.mark.parametrize("points", [True, False])
def test_surfaces_have_no_holes_at_any_yaw(points):
    """A floor, and a wall that lies askew already; the outermost voxels may be half there."""
    spacing = 0.11
    along, up = np.meshgrid(np.arange(0, 25, spacing), np.arange(0, 6, spacing), indexing="ij")
    wall = np.stack([along * math.cos(0.3), along * math.sin(0.3), up], axis=-1).reshape(-1, 3)
    floor = np.stack(
        [*np.meshgrid(np.arange(0, 25, spacing), np.arange(0, 15, spacing))], axis=-1
    ).reshape(-1, 2)
    vertices = np.concatenate([wall, np.pad(floor, ((0, 0), (0, 1)))])
    labels = np.repeat([BOX, FLOOR], [len(wall), len(floor)]).astype(np.int32)
    scene = voxels.voxelize(
        Scene("room", vertices, semantic_ids=labels), 1.0, CLASSES, with_points=points
    )
    for example in range(12):
        found = drawn(scene, example, rotations=True, origins=True, stretch=0.15, warp=1e-3)
        grid = dense_grid(found) > 0
        heights = np.flatnonzero(grid.any(axis=(0, 1)))
        # The floor: between its outermost voxels of a column all are there.
        layers = grid[:, :, : heights[0] + 2].any(axis=2)
        for column in layers:
            occupied = np.flatnonzero(column)
            if len(occupied):
                assert len(occupied) == np.ptp(occupied) + 1
        # The wall, seen along the axis that it lies across more: no ray passes it.
        seen = np.argwhere(grid[:, :, heights[0] + 2 : heights[-1]])
        along = int(np.ptp(seen, axis=0)[1] > np.ptp(seen, axis=0)[0])
        rays = grid[:, :, heights[0] + 2 : heights[-1]].any(axis=1 - along)
        there = np.flatnonzero(rays.any(axis=1))
        assert rays[there[0] + 1 : there[-1]].all()


@pytest.mark.parametrize("angle", ANGLES[:4])
def test_turned_points_are_voxelized_as_turned_vertices_would_be(angle):
    """Away from ties: where most points of a voxel agree, so do most of its vertices."""
    scene = scanned(0.05)
    given = pipeline.decoding.decode_points(tf.constant(encode_record(scene)), 0, True)
    positions = augmentation.turn(given["positions"], tf.constant(angle, tf.float32), MIDDLE)
    moved = augmentation.put_on_grid({**given, "positions": positions}, trim=True)
    found = pipeline.voxelizing.voxelize(moved, CLASSES)
    expected = voxels.voxelize(
        Scene(
            "turned",
            positions.numpy().astype(np.float64),
            semantic_ids=scene.points.semantic_ids,
            instance_ids=scene.points.instance_ids,
        ),
        1.0,
        CLASSES,
        origin=np.floor(positions.numpy().min(axis=0)),
    )
    found = {name: value.numpy() for name, value in found.items()}
    found["grid_shape"] += found["grid_shape"] % 2
    assert_is_scene(found, expected)


def test_flips_show_the_scene_and_its_three_mirror_images():
    scene = box_scene(5)
    grid = dense_grid(drawn(scene))
    flips = {dense_grid(drawn(scene, i, flips=True)).tobytes() for i in range(40)}
    images = (grid, grid[::-1], grid[:, ::-1], grid[::-1, ::-1])
    assert flips == {np.ascontiguousarray(image).tobytes() for image in images}


def test_turns_go_all_round():
    """Two towers 40 voxels apart: how one lies from the other."""
    vertices = np.array([[0, 0, 0.0], [40, 0, 0], [20, 0, 9]])
    labels = np.array([FLOOR, BOX, 0], np.int32)
    scene = voxels.voxelize(Scene("towers", vertices, semantic_ids=labels), 1.0, with_points=True)
    headings = []
    for example in range(40):
        found = drawn(scene, example, rotations=True)
        places = dict(zip(found["channels"], found["coordinates"], strict=True))
        away = places[1] - places[0]
        assert 38 < np.linalg.norm(away) < 42
        assert away[2] == 0
        headings.append(math.atan2(away[1], away[0]) % (2 * math.pi))
    assert set(np.floor(np.array(headings) / (math.pi / 4)).astype(int)) == set(range(8))


def test_origins_are_anywhere_within_a_voxel():
    """Points 0.375 voxels apart share a voxel as often as chance has it: 5 of 8 along each axis."""
    vertices = np.array([[0.1, 0.1, 0.1], [0.6, 0.1, 0.1], [0.1, 0.1, 9.1]])
    scene = Scene("pair", vertices, semantic_ids=np.array([2, 3, 3], np.int32))
    scene = voxels.voxelize(scene, 1.0, origin=np.zeros(3), with_points=True)
    parted = [len(drawn(scene, i, origins=True)["coordinates"]) == 3 for i in range(200)]
    assert 0.35 < np.mean(parted) < 0.65


def test_stretch_changes_length_and_width_alike_and_the_height_apart():
    scene = box_scene(1, grid_shape=(200, 100, 80))
    ends = dataclasses.replace(
        sparse_scene(0, (200, 100, 80), 2), semantic_ids=np.array([FLOOR, BOX], np.int32)
    )
    ends = dataclasses.replace(ends, coordinates=np.array([[0, 0, 0], [199, 99, 79]], np.int32))
    assert scene.grid_shape == ends.grid_shape
    factors = []
    for example in range(60):
        size = np.ptp(drawn(ends, example, stretch=0.1)["coordinates"], axis=0)
        factors.append(size / [199, 99, 79])
        assert abs(factors[-1][0] - factors[-1][1]) < 0.025
    x, _, z = np.array(factors).T
    assert 0.89 < x.min() < 0.93
    assert 1.07 < x.max() < 1.11
    assert 0.88 < z.min() < 0.93
    assert 1.07 < z.max() < 1.12
    assert abs(np.corrcoef(x, z)[0, 1]) < 0.4


def test_holes_only_take_voxels_away():
    scene = scanned()
    whole = {tuple(cell): c for cell, c in zip(scene.coordinates, scene.semantic_ids, strict=True)}
    counts = set()
    for example in range(20):
        found = drawn(scene, example, holes=2.5)
        assert {tuple(cell) for cell in found["coordinates"]} <= set(whole)
        assert tuple(found["grid_shape"]) == scene.grid_shape
        counts.add(len(found["coordinates"]))
    assert max(counts) == len(scene.coordinates)  # none of the balls
    assert min(counts) < 0.9 * len(scene.coordinates)


def test_an_object_without_annotation_is_no_target_and_not_named():
    scene = scanned()
    kept = set()
    for example in range(20):
        found = drawn(scene, example, unannotated=0.5)
        np.testing.assert_array_equal(found["coordinates"], scene.coordinates)
        ids = set(found["instance_ids"]) - {0}
        kept.add(tuple(sorted(ids)))
        lost = ~np.isin(scene.instance_ids, [0, *ids])
        assert (found["channels"][lost] == -1).all()
        np.testing.assert_array_equal(
            found["channels"][~lost], CLASSES.channels_of(scene.semantic_ids[~lost])
        )
        np.testing.assert_array_equal(found["instance_ids"][~lost], scene.instance_ids[~lost])
    assert kept == {(), (1,), (2,), (1, 2)}


def test_features_of_an_object_without_annotation_are_0():
    scene = box_scene(2, with_features=True)
    found = drawn(scene, unannotated=1.0)
    is_object = scene.instance_ids > 0
    assert (found["features"][is_object] == 0).all()
    np.testing.assert_array_equal(found["features"][~is_object], scene.features[~is_object])
    assert (found["instance_ids"] == 0).all()


def test_crops_are_windows_of_the_scene():
    scene = box_scene(6, grid_shape=(40, 10, 8))
    grid = dense_grid(drawn(scene))
    starts = set()
    for example in range(40):
        found = drawn(scene, example, crop=16)
        assert tuple(found["grid_shape"]) == (16, 10, 8)
        window = dense_grid(found)
        (start,) = (i for i in range(25) if np.array_equal(grid[i : i + 16], window))
        starts.add(start)
    assert len(starts) > 10


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("num_features", [0, 3])
def test_a_voxel_or_two_never_vanish(count, num_features):
    scene = sparse_scene(0, (2, 2, 2), count, num_features=num_features)
    for example in range(20):
        changes = dataclasses.asdict(ALL)
        found = drawn(scene, example, **changes)
        assert len(found["coordinates"])
        assert (found["coordinates"] < found["grid_shape"]).all()
        assert (found["grid_shape"] % 2 == 0).all()


@pytest.mark.parametrize("points", [True, False])
def test_an_example_is_a_function_of_seed_and_number(points):
    scene = scanned() if points else box_scene(7)
    changes = dataclasses.asdict(ALL)
    first, again, other = (drawn(scene, example, **changes) for example in (3, 3, 4))
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
    assert not np.array_equal(first["coordinates"], other["coordinates"])
    seeded = drawn(scene, 3, **{**changes, "seed": 9})
    assert not np.array_equal(first["coordinates"], seeded["coordinates"])


def test_what_one_flag_draws_does_not_depend_on_the_others():
    """The same balls without the flips and with the annotation of objects taken away."""
    scene = box_scene(8, grid_shape=(30, 30, 8))
    one = drawn(scene, 5, holes=0.5)
    two = drawn(scene, 5, holes=0.5, unannotated=1.0)
    assert len(one["coordinates"]) < len(scene.coordinates)
    np.testing.assert_array_equal(one["coordinates"], two["coordinates"])
