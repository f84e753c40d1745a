"""Plain formulations to compare the speed with: what one writes first, read off the paper."""

from mtml_tf.backend import tf
from mtml_tf.config import LossConfig


def looped_loss(
    embedding: tf.Tensor,
    direction: tf.Tensor,
    coordinates: tf.Tensor,
    instance_ids: tf.Tensor,
    config: LossConfig,
) -> tf.Tensor:
    """The joint loss of one scene (Eq. 1 and 6) by loops over its instances.

    For use inside `tf.function`. There must be at least two instances, of more than one voxel.

    Args:
        embedding: float32 [M, E].
        direction: float32 [M, 3].
        coordinates: int32 [M, 3].
        instance_ids: int32 [M], 0 for voxels that take no part.
        config: weights and margins.

    Returns:
        A scalar.
    """
    ids = tf.unique(tf.boolean_mask(instance_ids, instance_ids > 0)).y
    count = tf.size(ids)
    centres = tf.TensorArray(embedding.dtype, count, element_shape=[embedding.shape[-1]])
    pull, length, turn = 0.0, 0.0, 0.0
    for i in tf.range(count):
        members = tf.equal(instance_ids, ids[i])
        features = tf.boolean_mask(embedding, members)
        centre = tf.reduce_mean(features, axis=0)
        centres = centres.write(i, centre)
        distance = tf.norm(features - centre, axis=1)
        pull += tf.reduce_mean(tf.nn.relu(distance - config.delta_var) ** 2)
        length += tf.norm(centre)
        places = tf.cast(tf.boolean_mask(coordinates, members), direction.dtype)
        target = tf.math.l2_normalize(tf.reduce_mean(places, axis=0) - places, axis=1)
        ways = tf.math.l2_normalize(tf.boolean_mask(direction, members), axis=1)
        turn -= tf.reduce_mean(tf.reduce_sum(ways * target, axis=1))
    all_centres = centres.stack()
    push = 0.0
    for i in tf.range(count):
        others = tf.concat([all_centres[:i], all_centres[i + 1 :]], axis=0)
        gaps = tf.norm(others - all_centres[i], axis=1)
        push += tf.reduce_sum(tf.nn.relu(2 * config.delta_dist - gaps) ** 2)
    number = tf.cast(count, embedding.dtype)
    feature_loss = (
        config.gamma_var * pull / number
        + config.gamma_dist * push / (number * (number - 1))
        + config.gamma_reg * length / number
    )
    return config.alpha_feature * feature_loss + config.alpha_direction * turn / number
