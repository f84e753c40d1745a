"""The id that most of a group have, within the graph of a `tf.data` pipeline."""

from mtml_tf.backend import tf

_INT32, _INT64 = tf.int32, tf.int64


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
