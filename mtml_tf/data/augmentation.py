"""What training draws for a scene anew each time, in TensorFlow.

Paper section 3.3: flips and turns about the vertical axis. The rest is not in the paper. What is
moved are points (`decoding` tells what they are), not voxels, so that surfaces keep no holes.
Every function is pure: what is random comes in as numbers or as a seed.
"""

import math

from mtml_tf.backend import tf
from mtml_tf.config import DataConfig
from mtml_tf.data.decoding import Points

_MOST_HOLES = 5
_WAVES = 3
# In amplitudes: long enough that neighbours stay neighbours, short enough that straight walls bend.
_WAVELENGTHS = (20.0, 60.0)


def moves_within_voxels(config: DataConfig) -> bool:
    """Returns whether points may move by less than a voxel, or turn."""
    return bool(config.rotations or config.origins or config.stretch or config.warp)


def augment(points: Points, seed: tf.Tensor, config: DataConfig, voxel_size: float) -> Points:
    """Draws what `config` names, and puts the points on a grid.

    Args:
        points: at least one.
        seed: int64 [2].
        config: which augmentations.
        voxel_size: metres.

    Returns:
        At least one point, ready for `voxelizing.voxelize`. Where points stay in the middles of
        voxels the grid is the scene's; otherwise it is as large as what it holds.
    """
    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 9))

    def draw(shape: list[int], low: float = 0.0, high: float = 1.0) -> tf.Tensor:
        return tf.random.stateless_uniform(shape, seeds.pop(), low, high)

    # All are drawn, asked for or not, so that one flag does not change what another one draws.
    mirrored, angle, factors = draw([2]) < 0.5, draw([], 0, 2 * math.pi), draw([2], -1, 1)
    origin, waves, window = draw([3]), draw([_WAVES, 7]), draw([3])
    balls, num_balls = draw([_MOST_HOLES, 2]), draw([], 0, _MOST_HOLES + 1)
    middle = tf.cast(points["grid_shape"], tf.float32) / 2
    if config.holes:
        radii = balls[:, 1] * (config.holes / voxel_size)
        radii = tf.where(tf.range(_MOST_HOLES) < tf.cast(num_balls, tf.int32), radii, 0)
        points = select(points, outside_balls(points["positions"], balls[:, 0], radii))
    if config.unannotated:
        points = without_annotation(points, config.unannotated, seeds.pop())
    positions = points["positions"]
    if config.flips:
        positions = mirror(positions, mirrored, middle)
    if config.rotations:
        positions = turn(positions, angle, middle)
    if config.stretch:
        across, up = tf.unstack(1 + config.stretch * factors)
        positions = middle + (positions - middle) * tf.stack([across, across, up])
    if config.warp:
        positions += bend(positions, waves, config.warp / voxel_size)
    if config.origins:
        positions += origin
    points = put_on_grid({**points, "positions": positions}, trim=moves_within_voxels(config))
    return crop(points, config.crop, window) if config.crop else points


def mirror(positions: tf.Tensor, mirrored: tf.Tensor, middle: tf.Tensor) -> tf.Tensor:
    """Mirrors positions [P, 3] along x and y where `mirrored` (bool [2]) says so."""
    mirrored = tf.concat([mirrored, [False]], axis=0)
    return tf.where(mirrored, 2 * middle - positions, positions)


def turn(positions: tf.Tensor, angle: tf.Tensor, middle: tf.Tensor) -> tf.Tensor:
    """Turns positions [P, 3] about the vertical axis by `angle`, radians, from x towards y."""
    cos, sin = tf.cos(angle), tf.sin(angle)
    x, y, z = tf.unstack(positions - middle, axis=1)
    return middle + tf.stack([cos * x - sin * y, sin * x + cos * y, z], axis=1)


def bend(positions: tf.Tensor, waves: tf.Tensor, amplitude: float) -> tf.Tensor:
    """Returns how far positions move in a smooth warp: the sum of a few long waves.

    Args:
        positions: float32 [P, 3].
        waves: float32 [W, 7], each from 0 to 1: of each wave the direction that it runs in
            (azimuth and height), its length, its phase, and how far it moves along each axis.
        amplitude: the most that a position moves along an axis; in the unit of the positions.

    Returns:
        float32 [P, 3].
    """
    azimuth, height, length, phase = (waves[:, column] for column in range(4))
    low, high = _WAVELENGTHS
    up = 2 * height - 1
    across = tf.sqrt(1 - up * up)
    heading = tf.stack(
        [across * tf.cos(2 * math.pi * azimuth), across * tf.sin(2 * math.pi * azimuth), up]
    )  # [3, W]
    frequency = heading * (2 * math.pi / (amplitude * (low + (high - low) * length)))
    moves = (2 * waves[:, 4:] - 1) * (amplitude / len(waves))
    return tf.sin(positions @ frequency + 2 * math.pi * phase) @ moves


def outside_balls(positions: tf.Tensor, places: tf.Tensor, radii: tf.Tensor) -> tf.Tensor:
    """Returns bool [P], which positions lie outside a few balls; all where none would.

    Args:
        positions: float32 [P, 3].
        places: float32 [n], each from 0 to 1: the position that a ball lies about.
        radii: float32 [n], in the unit of the positions; 0 for no ball.
    """
    count = tf.cast(tf.shape(positions)[0], tf.float32)
    outside = tf.ones(tf.shape(positions)[:1], bool)
    for place, radius in zip(tf.unstack(places), tf.unstack(radii), strict=True):
        centre = tf.gather(positions, tf.cast(place * count, tf.int32))
        distances = tf.reduce_sum(tf.math.squared_difference(positions, centre), axis=1)
        outside &= distances >= tf.square(radius)
    return outside | ~tf.reduce_any(outside)


def without_annotation(points: Points, share: float, seed: tf.Tensor) -> Points:
    """Takes instance and label away from the points of a share of the objects.

    They are then neither a target nor named in the input: unlabelled, or features of 0.
    """
    _, numbers = tf.unique(points["instance_ids"])
    lost = tf.random.stateless_uniform([tf.reduce_max(numbers) + 1], seed) < share
    lost = tf.gather(lost, numbers) & (points["instance_ids"] > 0)
    changed = {
        name: tf.where(lost, 0, points[name])
        for name in ("semantic_ids", "true_ids", "instance_ids")
    }
    if "features" in points:
        last = tf.shape(points["features"])[0] - 1
        changed["rows"] = tf.where(lost, last, points["rows"])
    return {**points, **changed}


def put_on_grid(points: Points, trim: bool) -> Points:
    """Replaces positions by the voxels that they lie in, `cells` int32 [P, 3].

    Args:
        points: all within the grid where it is not trimmed.
        trim: the grid begins and ends where the points do.
    """
    cells = tf.cast(tf.floor(points["positions"]), tf.int32)
    grid_shape = points["grid_shape"]
    if trim:
        cells -= tf.reduce_min(cells, axis=0)
        grid_shape = tf.reduce_max(cells, axis=0) + 1
    others = {name: value for name, value in points.items() if name != "positions"}
    return {**others, "cells": cells, "grid_shape": grid_shape}


def crop(points: Points, size: int, window: tf.Tensor) -> Points:
    """Keeps the points within a window of at most `size` voxels along x and y.

    Args:
        points: on a grid.
        size: voxels.
        window: float32 [3], each from 0 to 1: which point the window holds for certain, and where
            that lies in it along x and y.
    """
    cells, grid_shape = points["cells"], points["grid_shape"]
    count = tf.cast(tf.shape(cells)[0], tf.float32)
    held = tf.gather(cells, tf.cast(window[0] * count, tf.int32))[:2]
    start = held - tf.cast(window[1:] * size, tf.int32)
    start = tf.maximum(tf.minimum(start, grid_shape[:2] - size), 0)
    start = tf.concat([start, [0]], axis=0)
    shape = tf.concat([tf.minimum(grid_shape[:2], size), grid_shape[2:]], axis=0)
    points = {**points, "cells": cells - start, "grid_shape": shape}
    return select(points, tf.reduce_all((cells >= start) & (cells < start + shape), axis=1))


def select(points: Points, mask: tf.Tensor) -> Points:
    """Returns the points of `mask`, bool [P]."""
    rows = tf.where(mask)[:, 0]
    whole = ("grid_shape", "features")  # not of the points
    return {n: v if n in whole else tf.gather(v, rows) for n, v in points.items()}
