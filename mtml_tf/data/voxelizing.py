"""Points to voxels, within the graph of a `tf.data` pipeline, as `scans/voxels.voxelize` does it.

TensorFlow sorts slowly, so points are counted by hashing and only voxels are sorted.
"""

from mtml_tf.backend import tf
from mtml_tf.classes import ClassSet
from mtml_tf.data.decoding import Points, Voxels
from mtml_tf.data.majority import majority

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
        "true_channels": tf.gather(tf.constant(classes.channel_table), true_ids),
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
