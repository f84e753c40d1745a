"""Tiny voxelized scenes and weights for networks, made at run time."""

import numpy as np

from mtml_tf.classes import ClassSet
from mtml_tf.data.writing import write_data_folder
from mtml_tf.scene import VoxelScene
from mtml_tf.scoring.ground_truth import ground_truth_ids

FLOOR, BOX, TOWER = 2, 3, 7
CLASSES = ClassSet((FLOOR, BOX, TOWER), ("floor", "box", "tower"), ("stuff", "thing", "thing"))
NUM_FEATURES = 5
_ARRAYS = ["coordinates", "semantic_ids", "instance_ids", "features", "vertex_to_voxel", "origin"]
_POINT_ARRAYS = ["per_voxel", "cells", "semantic_ids", "instance_ids", "true_ids"]


def box_scene(seed, name=None, grid_shape=(16, 16, 8), num_objects=3, with_features=False):
    """A floor with boxes (4 x 4 x 3) and towers (3 x 3 x 6) on it; a later one may hide another."""
    rng = np.random.default_rng(seed)
    semantic, instance = np.zeros(grid_shape, np.int32), np.zeros(grid_shape, np.int32)
    semantic[:, :, 0] = FLOOR
    for number in range(1, num_objects + 1):
        class_id, size = ((BOX, (4, 4, 3)), (TOWER, (3, 3, 6)))[rng.integers(2)]
        x, y = (rng.integers(0, grid_shape[axis] - size[axis] + 1) for axis in (0, 1))
        place = np.s_[x : x + size[0], y : y + size[1], 1 : 1 + size[2]]
        semantic[place], instance[place] = class_id, number
    coordinates = np.argwhere(semantic > 0).astype(np.int32)
    index = tuple(coordinates.T)
    return VoxelScene(
        name=name or f"scene_{seed:03d}",
        coordinates=coordinates,
        grid_shape=grid_shape,
        voxel_size=0.05,
        origin=np.array([0.5, -0.25, 0.0]),
        semantic_ids=semantic[index],
        instance_ids=instance[index],
        features=(
            rng.normal(size=(len(coordinates), NUM_FEATURES)).astype(np.float32)
            if with_features
            else None
        ),
    )


def scenes_of(*seeds, **settings):
    return [box_scene(seed, grid_shape=(8 + 2 * (seed % 3), 8, 8), **settings) for seed in seeds]


def sparse_scene(seed, grid_shape, count, ids=(0, *CLASSES.ids), num_features=0):
    """`count` random voxels, the grid's two outermost corners among them where count allows."""
    rng = np.random.default_rng(seed)
    total = int(np.prod(grid_shape))
    inner = 1 + rng.permutation(total - 2)
    cells = np.concatenate([[0, total - 1], inner])[:count] if count > 1 else inner[:1]
    coordinates = np.stack(np.unravel_index(rng.permutation(cells), grid_shape), axis=1)
    return VoxelScene(
        name=f"sparse_{seed}",
        coordinates=coordinates.astype(np.int32),
        grid_shape=grid_shape,
        voxel_size=0.1,
        origin=np.zeros(3),
        semantic_ids=rng.choice(ids, count).astype(np.int32),
        instance_ids=rng.integers(0, 4, count).astype(np.int32),
        features=(
            rng.normal(size=(count, num_features)).astype(np.float32) if num_features else None
        ),
    )


def batch_of(scenes, classes=CLASSES):
    """Returns scenes as the network takes them, padded to the longest; without instance ids."""
    longest = max(len(scene.coordinates) for scene in scenes)

    def padded(values, filler):
        width = [(0, longest - len(values))] + [(0, 0)] * (values.ndim - 1)
        return np.pad(values, width, constant_values=filler)

    batch = {
        "coordinates": np.stack([padded(scene.coordinates, -1) for scene in scenes]),
        "grid_shape": np.array([scene.grid_shape for scene in scenes], np.int32),
    }
    if scenes[0].features is None:
        channels = [padded(classes.channels_of(scene.semantic_ids), -1) for scene in scenes]
        batch["channels"] = np.stack(channels)
    else:
        batch["features"] = np.stack([padded(scene.features, 0) for scene in scenes])
    return batch


def write_folder(path, overwrite=False, with_truth=True, **splits):
    """Writes a data folder of scenes (a list for each split), with their ground truth."""
    write_data_folder(
        path,
        CLASSES,
        {
            split: [
                (scene, ground_truth_ids(scene, CLASSES) if with_truth else None)
                for scene in scenes
            ]
            for split, scenes in splits.items()
        },
        overwrite,
    )
    return path


def assert_same_scene(found, expected):
    assert found.name == expected.name
    assert found.grid_shape == expected.grid_shape
    assert found.voxel_size == expected.voxel_size
    assert (found.points is None) == (expected.points is None)
    pairs = [(found, expected, field) for field in _ARRAYS]
    if expected.points is not None:
        pairs += [(found.points, expected.points, field) for field in _POINT_ARRAYS]
    for one, other, field in pairs:
        a, b = getattr(one, field), getattr(other, field)
        assert (a is None) == (b is None), field
        if b is not None:
            assert a.dtype == b.dtype, field
            np.testing.assert_array_equal(a, b, err_msg=field)


def files_in(path):
    """The files below a folder, as texts."""
    return sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())


def contents(path):
    return {name: (path / name).read_bytes() for name in files_in(path)}


def give_random_weights(network, seed=0):
    """Random weights, biases too, of a size that keeps values near 1."""
    rng = np.random.default_rng(seed)
    for variable in network.dense.variables:
        fan_in = int(np.prod(variable.shape[:-1])) if len(variable.shape) > 1 else 9
        variable.assign(rng.normal(size=variable.shape) * np.sqrt(2 / fan_in))
