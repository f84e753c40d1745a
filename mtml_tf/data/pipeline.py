"""From a data folder to batches (`tf.data`).

Which scene comes when, and how it is augmented, is a pure function of (seed, number of the
example): a run that starts again at step s sees what it would have seen.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from mtml_tf.backend import tf
from mtml_tf.classes import ClassSet
from mtml_tf.config import DataConfig
from mtml_tf.data import augmentation
from mtml_tf.data.records import DataFolder, RecordEntry
from mtml_tf.scene import VoxelScene

# Scenes whose grids differ by less than so many voxels along x are sorted by y.
_ALIKE = 8
_PADDING = {"coordinates": -1, "channels": -1, "features": 0.0, "instance_ids": 0, "grid_shape": 0}


def make_dataset(
    data_dir: str | DataFolder,
    split: str,
    config: DataConfig,
    *,
    training: bool = True,
    first_step: int = 0,
    num_steps: int | None = None,
) -> tf.data.Dataset:
    """Batches of scenes, padded to the largest of the batch.

    Args:
        data_dir: a data folder.
        split: one of its splits.
        config: batch size, augmentation, seed.
        training: shuffle (anew in every epoch) and augment; otherwise each scene once, in order.
        first_step: number of the first batch; for training only.
        num_steps: how many batches; None for no end (training) or all scenes once.

    Returns:
        A dataset of {"coordinates": int32 [B, M, 3] (-1 in padding rows), "instance_ids": int32
        [B, M] (0 in padding rows; all 0 where a scene has no instances), "grid_shape": int32 [B, 3]
        (even), and either "channels": int32 [B, M] or, where the records hold features,
        "features": float32 [B, M, C]}.

    Raises:
        ValueError: a folder or split that can't be read.
    """
    folder = data_dir if isinstance(data_dir, DataFolder) else DataFolder(data_dir)
    entries = folder.entries(split)
    num_features = folder.scene(entries[0]).num_features
    classes = folder.classes

    if training:
        start = first_step * config.batch_size
        stop = (
            np.iinfo(np.int64).max if num_steps is None else start + num_steps * config.batch_size
        )
    else:
        start, stop = 0, len(entries)
    examples = tf.data.Dataset.range(start, stop)

    def read(example: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        row = _row_of_example(example, entries, config) if training else example
        record = tf.numpy_function(
            lambda i: folder.record(entries[i]),
            [row],
            tf.string,
            stateful=False,
        )
        return example, record

    def decode(example: tf.Tensor, record: tf.Tensor) -> augmentation.Scene:
        scene = _decode(tf.ensure_shape(record, []), num_features, classes)
        if training:
            # Apart from the seed of the order: the two must not be the same numbers.
            seed = tf.stack([tf.constant(config.seed + 1, tf.int64), example])
            scene = augmentation.augment(scene, seed, config)
        return {**scene, "grid_shape": (scene["grid_shape"] + 1) // 2 * 2}

    dataset = examples.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    dataset = dataset.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    dataset = dataset.padded_batch(
        config.batch_size,
        padding_values={
            name: tf.constant(_PADDING[name], spec.dtype)
            for name, spec in dataset.element_spec.items()
        },
    )
    return dataset.prefetch(tf.data.AUTOTUNE)


@dataclasses.dataclass(frozen=True)
class BatchGrid:
    """The grid that the scenes of a batch share.

    Attributes:
        shape: (X, Y, Z), voxels; even.
        scenes: names of those that are largest along x, y and z.
    """

    shape: tuple[int, int, int]
    scenes: tuple[str, str, str]

    def __str__(self) -> str:
        """Which scenes make it: `scene a`, or `scenes a (x, y) and b (z)`."""
        axes: dict[str, list[str]] = {}
        for name, axis in zip(self.scenes, "xyz", strict=True):
            axes.setdefault(name, []).append(axis)
        if len(axes) == 1:
            return f"scene {self.scenes[0]}"
        *others, last = (f"{name} ({', '.join(along)})" for name, along in axes.items())
        return f"scenes {', '.join(others)} and {last}"


def largest_grid(
    entries: Sequence[RecordEntry], config: DataConfig, training: bool = True
) -> BatchGrid:
    """Returns a grid that holds any batch of the scenes.

    Args:
        entries: the scenes; those of a batch share the largest size along each axis.
        config: batch size and augmentation.
        training: see `make_dataset`.
    """
    shapes = np.array([entry.grid_shape for entry in entries], np.float64)
    if training and config.rotations:
        # Several scenes may lie along both axes; one is largest where it lies askew.
        along, across = shapes[:, :1], shapes[:, 1:2]
        askew = (along + across) / math.sqrt(2)
        side = askew if config.batch_size == 1 else np.hypot(along, across)
        shapes[:, :2] = np.ceil(side) + 1
    if training and config.shifts:
        shapes += 1
    rows = shapes.argmax(axis=0)
    if config.batch_size == 1:
        rows[:] = np.prod(shapes, axis=1).argmax()
    x_size, y_size, z_size = (int(size + size % 2) for size in shapes[rows, range(3)])
    x, y, z = (entries[row].name for row in rows)
    return BatchGrid((x_size, y_size, z_size), (x, y, z))


def training_scenes(entries: list[RecordEntry], config: DataConfig, step: int) -> list[str]:
    """Returns the names of the scenes in the training batch of number `step`."""
    examples = range(step * config.batch_size, (step + 1) * config.batch_size)
    rows = (_row_of_example(tf.constant(e, tf.int64), entries, config) for e in examples)
    return [entries[int(row)].name for row in rows]


def batch_of_one(scene: VoxelScene, classes: ClassSet) -> dict[str, tf.Tensor]:
    """Returns one scene as the network takes it (a batch of size 1), for prediction."""
    values = {
        "coordinates": scene.coordinates,
        "grid_shape": np.asarray(scene.grid_shape, np.int32),
    }
    if scene.features is None:
        values["channels"] = classes.channels_of(scene.semantic_ids)
    else:
        values["features"] = scene.features
    return {name: tf.constant(value)[None] for name, value in values.items()}


def num_channels(scene: VoxelScene, classes: ClassSet) -> int:
    """Returns the number of input channels of a scene: its features' or one a class."""
    return scene.num_features or len(classes)


def _row_of_example(
    example: tf.Tensor, entries: Sequence[RecordEntry], config: DataConfig
) -> tf.Tensor:
    """Which scene example number `example` (int64) is: a fresh permutation in every epoch.

    Within each run of `config.bucket_scenes` examples the scenes are sorted by the shape of their
    grids, so that those of a batch are alike and little is padded; their batches come in any order.
    """
    num_scenes = len(entries)
    epoch, position = example // num_scenes, example % num_scenes
    first = position - position % config.bucket_scenes
    bucket = tf.range(first, tf.minimum(first + config.bucket_scenes, num_scenes))
    rows = tf.random.experimental.index_shuffle(
        bucket,
        seed=tf.stack([tf.constant(config.seed, tf.int64), epoch]),
        max_index=num_scenes - 1,
    )
    shapes = tf.constant([_shape_key(entry.grid_shape) for entry in entries], tf.int64)
    order = tf.argsort(tf.gather(shapes, rows), stable=True)
    beyond = position - first
    return tf.gather(rows, order[_shuffle_batches(beyond, example - beyond, len(bucket), config)])


def _shuffle_batches(
    place: tf.Tensor, first_example: tf.Tensor, count: tf.Tensor, config: DataConfig
) -> tf.Tensor:
    """Returns which of the `count` sorted scenes of a bucket comes at `place`.

    Whole batches change places, so that training does not go from small scenes to large ones again
    and again. Examples that share a batch with another bucket's stay.

    Args:
        place: int64, 0..count - 1.
        first_example: int64, number of the bucket's first example.
        count: of the bucket's examples.
        config: batch size and seed.
    """
    size = config.batch_size
    lead = -first_example % size
    whole = tf.maximum((tf.cast(count, tf.int64) - lead) // size, 0)
    batch, row = (place - lead) // size, (place - lead) % size
    last = tf.maximum(whole - 1, 0)
    shuffled = tf.random.experimental.index_shuffle(
        tf.clip_by_value(batch, 0, last),
        seed=tf.stack([tf.constant(config.seed, tf.int64), first_example]),
        max_index=last,
    )
    return tf.where((batch >= 0) & (batch < whole), lead + shuffled * size + row, place)


def _shape_key(grid_shape: tuple[int, int, int]) -> int:
    """Returns a number by which grids lie near one another that are alike in both x and y.

    The number of voxels would not do: a long and narrow grid can have as many as a square one, and
    one grid that holds both has far more. Scenes are sorted as they are on disk, not as they will
    be turned; heights differ little.
    """
    x_size, y_size, _ = grid_shape
    column = x_size // _ALIKE
    # Up one column and down the next: no step from the longest grid to the shortest between them.
    return (column << 32) + (y_size if column % 2 == 0 else -y_size)


def _decode(record: tf.Tensor, num_features: int, classes: ClassSet) -> augmentation.Scene:
    """Parses what training needs of a record."""
    text = tf.io.FixedLenFeature([], tf.string, default_value="")
    parsed = tf.io.parse_single_example(
        record,
        {
            "coordinates": text,
            "semantic_ids": text,
            "instance_ids": text,
            "features": text,
            "grid_shape": tf.io.FixedLenFeature([3], tf.int64),
        },
    )
    coordinates = tf.reshape(tf.io.decode_raw(parsed["coordinates"], tf.uint16), [-1, 3])
    instance_ids = tf.io.decode_raw(parsed["instance_ids"], tf.int32)
    none = tf.zeros(tf.shape(coordinates)[:1], tf.int32)
    scene = {
        "coordinates": tf.cast(coordinates, tf.int32),
        "instance_ids": tf.cond(tf.size(instance_ids) > 0, lambda: instance_ids, lambda: none),
        "grid_shape": tf.cast(parsed["grid_shape"], tf.int32),
    }
    if num_features:
        features = tf.io.decode_raw(parsed["features"], tf.float32)
        scene["features"] = tf.reshape(features, [-1, num_features])
    else:
        semantic_ids = tf.io.decode_raw(parsed["semantic_ids"], tf.int32)
        scene["channels"] = tf.gather(tf.constant(classes.channel_table), semantic_ids)
    return scene
