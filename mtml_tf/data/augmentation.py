"""Random flips, turns and shifts of a voxelized scene (paper section 3.3), in TensorFlow.

A scene here is the dictionary that the network takes, without the batch axis: `coordinates`
int32 [M, 3], `grid_shape` int32 [3], and any arrays with one row a voxel. Every function is pure:
what is random comes in as a number or as a seed.
"""

import math

from mtml_tf.backend import rotate_image, tf
from mtml_tf.config import DataConfig

Scene = dict[str, tf.Tensor]


def augment(scene: Scene, seed: tf.Tensor, config: DataConfig) -> Scene:
    """Applies the augmentations that `config` names, drawn from `seed` (int64 [2])."""
    draws = tf.random.stateless_uniform([6], seed)
    if config.flips:
        scene = flip(scene, tf.stack([draws[0] < 0.5, draws[1] < 0.5, False]))
    if config.rotations:
        scene = rotate(scene, draws[2] * 2 * math.pi)
    if config.shifts:
        scene = shift(scene, tf.cast(draws[3:6] < 0.5, tf.int32))
    return scene


def flip(scene: Scene, mirrored: tf.Tensor) -> Scene:
    """Mirrors the scene along the axes where `mirrored` (bool [3]) is True."""
    coordinates = tf.where(
        mirrored, scene["grid_shape"] - 1 - scene["coordinates"], scene["coordinates"]
    )
    return {**scene, "coordinates": coordinates}


def shift(scene: Scene, offset: tf.Tensor) -> Scene:
    """Moves the scene by `offset` (int32 [3], 0 or more) voxels; the grid grows as much."""
    return {
        **scene,
        "coordinates": scene["coordinates"] + offset,
        "grid_shape": scene["grid_shape"] + offset,
    }


def rotate(scene: Scene, angle: tf.Tensor) -> Scene:
    """Turns the scene about the vertical axis by `angle` (radians), nearest neighbour.

    What is turned is a grid of row numbers, so that labels, features and instances move together
    whatever they are. The canvas is large enough that nothing is cut; the result is trimmed to
    what it holds. Voxels, and so whole small instances, may vanish between grid points.
    """
    x_size, y_size, z_size = tf.unstack(scene["grid_shape"])
    diagonal = tf.sqrt(tf.cast(x_size * x_size + y_size * y_size, tf.float32))
    # As even or odd as the grid, so that the middle stays the middle; both axes alike.
    canvas = tf.cast(tf.math.ceil(diagonal), tf.int32) + 2
    canvas_x, canvas_y = canvas + (canvas - x_size) % 2, canvas + (canvas - y_size) % 2
    margin = tf.stack([(canvas_x - x_size) // 2, (canvas_y - y_size) // 2, 0])
    rows = tf.range(1, tf.shape(scene["coordinates"])[0] + 1)
    row_grid = tf.scatter_nd(
        scene["coordinates"] + margin, rows, tf.stack([canvas_x, canvas_y, z_size])
    )
    turned = rotate_image(row_grid[None], angle)[0]
    # A scene of a voxel or two may vanish altogether; it stays as it is.
    turned = tf.where(tf.reduce_any(turned > 0), turned, row_grid)
    coordinates = tf.where(turned > 0)
    kept = tf.gather_nd(turned, coordinates) - 1
    coordinates = tf.cast(coordinates, tf.int32)
    first = tf.reduce_min(coordinates, axis=0) * tf.constant([1, 1, 0])
    last = tf.reduce_max(coordinates, axis=0)
    trimmed = {
        "coordinates": coordinates - first,
        "grid_shape": tf.stack([*tf.unstack((last - first + 1)[:2]), z_size]),
    }
    values = {name: tf.gather(value, kept) for name, value in scene.items() if name not in trimmed}
    return {**values, **trimmed}
