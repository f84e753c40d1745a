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
from mtml_tf.data import augmentation, decoding, voxelizing
from mtml_tf.data.records import DataFolder, RecordEntry
from mtml_tf.scene import CELLS, VoxelScene

# Scenes whose grids differ by less than so many voxels along x are sorted by y.
_ALIKE = 8
# A part of a scene may hold so many times the voxels that its area tells.
_DENSE = 2.0
_PADDING = {
    "coordinates": -1,
    "channels": -1,
    "features": 0.0,
    "instance_ids": 0,
    "true_channels": -2,
    "grid_shape": 0,
}


@dataclasses.dataclass(frozen=True)
class Share:
    """Which scenes of each step a process reads: those of some of the replicas.

    Attributes:
        num_replicas: that share the scenes of a step evenly.
        first: number of the process's first replica.
        count: number of its replicas.
    """

    num_replicas: int = 1
    first: int = 0
    count: int = 1


def make_dataset(
    data_dir: str | DataFolder,
    split: str,
    config: DataConfig,
    *,
    training: bool = True,
    first_step: int = 0,
    num_steps: int | None = None,
    share: Share = Share(),
) -> tf.data.Dataset:
    """Batches of scenes, padded to the largest of the batch.

    Args:
        data_dir: a data folder.
        split: one of its splits.
        config: batch size, augmentation, seed.
        training: shuffle (anew in every epoch) and augment; otherwise each scene once, in order.
        first_step: number of the first batch; for training only.
        num_steps: how many batches; None for no end (training) or all scenes once.
        share: of replicas that share a step; a batch is then what one of them gets, and those of
            the first replica come first. For training only.

    Returns:
        A dataset of {"coordinates": int32 [B, M, 3] (-1 in padding rows), "instance_ids": int32
        [B, M] (0 in padding rows and where there is no instance; below 0 see
        `config.surroundings`), "true_channels": int32 [B, M] (channel of the true class, -1
        unlabelled, -2 in padding rows), "grid_shape": int32 [B, 3] (even), and either "channels":
        int32 [B, M] or, where the records hold features, "features": float32 [B, M, C]}.

    Raises:
        ValueError: a folder or split that can't be read.
    """
    folder = data_dir if isinstance(data_dir, DataFolder) else DataFolder(data_dir)
    entries = folder.entries(split)
    first = folder.scene(entries[0])  # all are of one kind
    num_features, voxel_size, classes = first.num_features, first.voxel_size, folder.classes

    if training:
        stop = np.iinfo(np.int64).max if num_steps is None else first_step + num_steps
        examples = tf.data.Dataset.range(first_step, stop).flat_map(
            lambda step: tf.data.Dataset.from_tensor_slices(_deal(step, entries, config, share))
        )
    else:
        examples = tf.data.Dataset.range(len(entries))

    def read(example: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        row = _row_of_example(example, entries, config) if training else example
        record = tf.numpy_function(
            lambda i: folder.record(entries[i]),
            [row],
            tf.string,
            stateful=False,
        )
        return example, record

    def decode(example: tf.Tensor, record: tf.Tensor) -> decoding.Voxels:
        record = tf.ensure_shape(record, [])
        if training:
            return draw(record, example, config, classes, num_features, voxel_size)
        return _with_even_grid(decoding.decode_voxels(record, num_features, classes))

    dataset = examples.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    dataset = dataset.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    dataset = dataset.padded_batch(
        config.batch_size // share.num_replicas,
        padding_values={
            name: tf.constant(_PADDING[name], spec.dtype)
            for name, spec in dataset.element_spec.items()
        },
    )
    return dataset.prefetch(tf.data.AUTOTUNE)


def draw(
    record: tf.Tensor,
    example: tf.Tensor,
    config: DataConfig,
    classes: ClassSet,
    num_features: int,
    voxel_size: float,
) -> decoding.Voxels:
    """Returns a scene as training sees it as the example of a number.

    Args:
        record: string [], of `records.encode_record`.
        example: int64 [].
        config: augmentation and seed.
        classes: the class set.
        num_features: C; 0 where the class ids are the input.
        voxel_size: metres.
    """
    # Apart from the seed of the order: the two must not be the same numbers.
    seed = tf.stack([tf.constant(config.seed + 1, tf.int64), example])
    within_voxels = augmentation.moves_within_voxels(config)
    points = decoding.decode_points(record, num_features, within_voxels)
    points = augmentation.augment(points, seed, config, voxel_size)
    return _with_even_grid(voxelizing.voxelize(points, classes, config.surroundings))


def _with_even_grid(voxels: decoding.Voxels) -> decoding.Voxels:
    return {**voxels, "grid_shape": (voxels["grid_shape"] + 1) // 2 * 2}


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
    entries: Sequence[RecordEntry], config: DataConfig, voxel_size: float, training: bool = True
) -> BatchGrid:
    """Returns a grid that holds any batch of the scenes.

    Args:
        entries: the scenes; those of a batch share the largest size along each axis.
        config: batch size and augmentation.
        voxel_size: metres.
        training: see `make_dataset`.
    """
    shapes = np.array([entry.grid_shape for entry in entries], np.float64)
    if training:
        shapes = _drawn_shapes(shapes, config, voxel_size)
    rows = shapes.argmax(axis=0)
    if config.batch_size == 1:
        rows[:] = np.prod(shapes, axis=1).argmax()
    x_size, y_size, z_size = (int(size + size % 2) for size in shapes[rows, range(3)])
    x, y, z = (entries[row].name for row in rows)
    return BatchGrid((x_size, y_size, z_size), (x, y, z))


def _drawn_shapes(shapes: np.ndarray, config: DataConfig, voxel_size: float) -> np.ndarray:
    """Returns float64 [n, 3], whole: the largest grids that scenes of these grids are drawn on."""
    if augmentation.moves_within_voxels(config):
        # Between the middles of the outermost cells.
        extents = (shapes - 1 / CELLS) * (1 + config.stretch)
        if config.rotations:
            # Several scenes may lie along both axes; one is largest where it lies askew.
            along, across = extents[:, :1], extents[:, 1:2]
            askew = (along + across) / math.sqrt(2)
            extents[:, :2] = askew if config.batch_size == 1 else np.hypot(along, across)
        extents += 2 * config.warp / voxel_size
        turned_only = not (config.origins or config.stretch or config.warp)
        # What is e long touches e + 2 voxels at most; turns leave heights on their grid.
        shapes = np.where([False, False, turned_only], shapes, np.floor(extents) + 2)
    if config.crop:
        shapes[:, :2] = np.minimum(shapes[:, :2], config.crop)
    return shapes


def most_voxels(entries: Sequence[RecordEntry], config: DataConfig, training: bool = True) -> float:
    """Returns about how many occupied voxels a scene may have, of surfaces that lie askew."""
    most: float = max(entry.num_voxels for entry in entries)
    if not training:
        return most
    if config.crop:
        most = max(entry.num_voxels * _share_of_window(entry, config.crop) for entry in entries)
    return most * (1 + config.stretch) ** 2 * (math.sqrt(2) if config.rotations else 1)


def _share_of_window(entry: RecordEntry, size: int) -> float:
    """Returns about the most of a scene's voxels that a window of `size` voxels may hold."""
    of_area = math.prod(min(1.0, size / length) for length in entry.grid_shape[:2])
    return min(1.0, _DENSE * of_area)


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


def _deal(
    step: tf.Tensor, entries: Sequence[RecordEntry], config: DataConfig, share: Share
) -> tf.Tensor:
    """Returns the numbers of a step's examples that a process reads, int64, by replica.

    They are dealt by size, to and fro, so that all replicas have about as many voxels.
    """
    size, replicas = config.batch_size, share.num_replicas
    examples = step * size + tf.range(size, dtype=tf.int64)
    if replicas == 1:
        return examples
    rows = tf.map_fn(lambda example: _row_of_example(example, entries, config), examples)
    num_voxels = tf.gather([entry.num_voxels for entry in entries], rows)
    dealt = tf.reshape(tf.argsort(-num_voxels, stable=True), [size // replicas, replicas])
    fro = tf.range(size // replicas)[:, None] % 2 == 1
    hands = tf.transpose(tf.where(fro, dealt[:, ::-1], dealt))
    return tf.gather(examples, tf.reshape(hands[share.first : share.first + share.count], [-1]))


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
