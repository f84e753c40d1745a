"""Points to voxels, within the graph of a `tf.data` pipeline, as `scans/voxels.voxelize` does it.

TensorFlow sorts slowly, so points are counted by hashing and only voxels are sorted.
"""

from mtml_tf.backend import tf
from mtml_tf.classes import ClassSet
from mtml_tf.data.decoding import Points, Voxels

_INT32, _INT64 = tf.int32, tf.int64


def voxelize(points: Points, classes: ClassSet, surroundings: bool = False) -> Voxels:
    """Sorts points into voxels.

    A voxel gets the input label that most of its points have, the instance that most of the points
    have whose true label most of its points have, and the mean of its points' features; of equally
    frequent ids the smallest.

    Args:
        points: at least one, each in one of the grid's voxels: with `cells` int32 [P, 3] (see
            `augmentation.put_on_grid`).
        classes: the class set.
        surroundings: voxels whose true label has no instances have, instead of 0, the negative id
            of an instance of all that have that label.

    Returns:
        The occupied voxels in row-major order of their coordinates.
    """
    shape = tf.cast(points["grid_shape"], _INT64)
    x, y, z = tf.unstack(tf.cast(points["cells"], _INT64), axis=1)
    keys, groups = tf.unique((x * shape[1] + y) * shape[2] + z)
    order = tf.argsort(keys)
    keys, rows = tf.gather(keys, order), tf.gather(tf.math.invert_permutation(order), groups)
    coordinates = [keys // (shape[1] * shape[2]), keys // shape[2] % shape[1], keys % shape[2]]
    num_voxels, alike = tf.size(keys), tf.ones_like(rows)

    true_ids = majority(rows, points["true_ids"], alike, num_voxels)
    agree = tf.cast(points["true_ids"] == tf.gather(true_ids, rows), _INT32)
    voxels = {
        "coordinates": tf.cast(tf.stack(coordinates, axis=1), _INT32),
        "instance_ids": majority(rows, points["instance_ids"], agree, num_voxels),
        "grid_shape": points["grid_shape"],
    }
    if surroundings:
        is_thing = tf.reduce_any(true_ids[:, None] == tf.constant(classes.thing_ids), axis=1)
        voxels["instance_ids"] = tf.where(is_thing, voxels["instance_ids"], -1 - true_ids)
    if "features" in points:
        of_points = tf.gather(points["features"], points["rows"])
        voxels["features"] = tf.math.unsorted_segment_mean(of_points, rows, num_voxels)
    else:
        semantic_ids = majority(rows, points["semantic_ids"], alike, num_voxels)
        voxels["channels"] = tf.gather(tf.constant(classes.channel_table), semantic_ids)
    return voxels


def majority(
    groups: tf.Tensor, ids: tf.Tensor, weights: tf.Tensor, num_groups: tf.Tensor
) -> tf.Tensor:
    """Returns int32 [num_groups], the heaviest id of each group; the smallest of equals.

    Args:
        groups: int32 [P] in [0, num_groups); each group occurs.
        ids: int32 [P].
        weights: int32 [P], 0 or more.
        num_groups: int32 [].
    """
    # Ids of either sign in the lower half of a number, the group in the upper half.
    id_range, lowest = 1 << 32, _INT32.min
    pairs, pair_of_point = tf.unique(
        tf.cast(groups, _INT64) * id_range + (tf.cast(ids, _INT64) - lowest)
    )
    pair_groups = tf.cast(pairs // id_range, _INT32)
    pair_ids = tf.cast(pairs % id_range + lowest, _INT32)
    pair_weights = tf.math.unsorted_segment_sum(weights, pair_of_point, tf.size(pairs))
    largest = tf.math.unsorted_segment_max(pair_weights, pair_groups, num_groups)
    is_heaviest = pair_weights == tf.gather(largest, pair_groups)
    return tf.math.unsorted_segment_min(
        tf.where(is_heaviest, pair_ids, _INT32.max), pair_groups, num_groups
    )
