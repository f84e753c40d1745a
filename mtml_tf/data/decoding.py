"""Records to tensors, within the graph of a `tf.data` pipeline.

Voxels are the dictionary that the network takes, without the batch axis: `coordinates` int32
[M, 3], `instance_ids` int32 [M], `true_channels` int32 [M], `grid_shape` int32 [3], and `channels`
int32 [M] or `features` float32 [M, C].

Points are what training turns, bends and voxelizes anew:

    positions     float32 [P, 3], in voxels, from the outer corner of voxel (0, 0, 0)
    semantic_ids  int32 [P], the input; 0 unlabelled
    true_ids      int32 [P], the same where the true labels are the input
    instance_ids  int32 [P], 0 none
    grid_shape    int32 [3]
    rows          int32 [P], of each point's features; only where the records hold features
    features      float32 [M + 1, C], of the voxels; zeros in the last row, for what is not named
"""

import itertools

import numpy as np

from mtml_tf.backend import tf
from mtml_tf.classes import ClassSet
from mtml_tf.data.majority import majority
from mtml_tf.scene import CELLS

Voxels = dict[str, tf.Tensor]
Points = dict[str, tf.Tensor]

# In voxels, from the middle. A voxel without points is turned as these eight: near enough to those
# of its neighbours that no holes are torn, though the scene is stretched, and no farther apart than
# that takes, so that surfaces thicken little.
_CORNERS = np.array(list(itertools.product((-0.2, 0.2), repeat=3)), np.float32)


def decode_voxels(record: tf.Tensor, num_features: int, classes: ClassSet) -> Voxels:
    """Returns the voxels of a record as they are.

    Args:
        record: string [], of `records.encode_record`.
        num_features: C; 0 where the class ids are the input.
        classes: the class set.
    """
    parsed = _parse(record)
    coordinates, semantic_ids, instance_ids = _voxels(parsed)
    channels = tf.constant(classes.channel_table)
    voxels = {
        "coordinates": coordinates,
        "instance_ids": instance_ids,
        "true_channels": tf.gather(channels, _true_ids(parsed, semantic_ids)),
        "grid_shape": tf.cast(parsed["grid_shape"], tf.int32),
    }
    if num_features:
        voxels["features"] = _features(parsed, num_features)
    else:
        voxels["channels"] = tf.gather(channels, semantic_ids)
    return voxels


def decode_points(record: tf.Tensor, num_features: int, within_voxels: bool) -> Points:
    """Returns the points of a record.

    Args:
        record: string [], of `records.encode_record`.
        num_features: C; 0 where the class ids are the input.
        within_voxels: whether they may move by less than a voxel, or turn. Otherwise the middles
            of the voxels are the points, which is the record to the last voxel and label.
    """
    parsed = _parse(record)
    coordinates, semantic_ids, instance_ids = _voxels(parsed)
    rows = tf.range(tf.shape(coordinates)[0])
    middles = tf.cast(coordinates, tf.float32) + 0.5

    of_middles = {
        "positions": middles,
        "semantic_ids": semantic_ids,
        "true_ids": semantic_ids,
        "instance_ids": instance_ids,
        "rows": rows,
    }

    def of_corners() -> Points:
        points = {n: tf.repeat(value, len(_CORNERS), axis=0) for n, value in of_middles.items()}
        corners = tf.reshape(middles[:, None] + _CORNERS, [-1, 3])
        return {**points, "positions": corners}

    def of_record() -> Points:
        cells = tf.cast(tf.io.decode_raw(parsed["point_cells"], tf.uint8), tf.int32)
        per_voxel = tf.cast(tf.io.decode_raw(parsed["points_per_voxel"], tf.uint8), tf.int32)
        voxels = tf.repeat(rows, per_voxel)
        places = tf.stack([cells // CELLS**2, cells // CELLS % CELLS, cells % CELLS], axis=1)
        within = (tf.cast(places, tf.float32) + 0.5) / CELLS
        count = tf.size(cells)
        semantic, instance, true = (
            _decode_ids(parsed[f"point_{name}_ids"], count)
            for name in ("semantic", "instance", "true")
        )
        return {
            "positions": tf.gather(tf.cast(coordinates, tf.float32), voxels) + within,
            "semantic_ids": semantic,
            "true_ids": tf.where(tf.strings.length(parsed["point_true_ids"]) > 0, true, semantic),
            "instance_ids": instance,
            "rows": voxels,
        }

    points = of_middles
    if within_voxels:
        has_points = tf.strings.length(parsed["point_cells"]) > 0
        points = tf.cond(has_points, of_record, of_corners)
    points["grid_shape"] = tf.cast(parsed["grid_shape"], tf.int32)
    if num_features:
        points["features"] = tf.pad(_features(parsed, num_features), [[0, 1], [0, 0]])
    else:
        del points["rows"]
    return points


def _parse(record: tf.Tensor) -> dict[str, tf.Tensor]:
    """Parses what training needs of a record; what it does not have is an empty string."""
    names = ("coordinates", "semantic_ids", "instance_ids", "features", "points_per_voxel")
    of_points = ("point_cells", "point_semantic_ids", "point_instance_ids", "point_true_ids")
    described = {
        name: tf.io.FixedLenFeature([], tf.string, default_value="") for name in names + of_points
    }
    described["grid_shape"] = tf.io.FixedLenFeature([3], tf.int64)
    return tf.io.parse_single_example(record, described)


def _voxels(parsed: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns coordinates, semantic ids and instance ids (0 where there are none)."""
    coordinates = tf.reshape(tf.io.decode_raw(parsed["coordinates"], tf.uint16), [-1, 3])
    semantic_ids = tf.io.decode_raw(parsed["semantic_ids"], tf.int32)
    count = tf.shape(coordinates)[0]
    return tf.cast(coordinates, tf.int32), semantic_ids, _decode_ids(parsed["instance_ids"], count)


def _true_ids(parsed: dict[str, tf.Tensor], semantic_ids: tf.Tensor) -> tf.Tensor:
    """Returns int32 [M], the true label of most of a voxel's points; the input where it is true."""

    def of_points() -> tf.Tensor:
        count = tf.shape(semantic_ids)[0]
        per_voxel = tf.cast(tf.io.decode_raw(parsed["points_per_voxel"], tf.uint8), tf.int32)
        voxels = tf.repeat(tf.range(count), per_voxel)
        ids = _decode_ids(parsed["point_true_ids"], tf.size(voxels))
        return majority(voxels, ids, tf.ones_like(ids), count)

    has_truth = tf.strings.length(parsed["point_true_ids"]) > 0
    return tf.cond(has_truth, of_points, lambda: semantic_ids)


def _features(parsed: dict[str, tf.Tensor], num_features: int) -> tf.Tensor:
    return tf.reshape(tf.io.decode_raw(parsed["features"], tf.float32), [-1, num_features])


def _decode_ids(text: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Returns int32 [count] of little-endian ids of 1, 2 or 4 bytes; zeros of an empty text."""
    raw = tf.io.decode_raw(text, tf.uint8)
    width = tf.size(raw) // tf.maximum(count, 1)
    digits = tf.cast(tf.reshape(raw, [count, width]), tf.int32)
    places = tf.bitwise.left_shift(1, 8 * tf.range(width))
    return tf.reduce_sum(digits * places, axis=1)  # the highest bit of 4 bytes is the sign
