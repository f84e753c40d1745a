"""The multi-task loss of paper section 3.2, Eq. 1 to 6.

Each function takes one scene: rows are voxels, and voxels of instance id 0 take no part. All are
sums over segments: any number of instances, no loop over them. Values and gradients are finite
everywhere; a scene without instances has loss 0.

A negative id is an instance of surroundings (`DataConfig.surroundings`), not in the paper: it has
features to learn, and no direction.
"""

import dataclasses
from typing import Any

from mtml_tf.backend import keras, tf
from mtml_tf.config import LossConfig

_TERMS = ("variance", "distance", "regularization", "direction", "label")


def _norm(vectors: tf.Tensor) -> tf.Tensor:
    """Euclidean norm over the last axis, with gradient 0 (not NaN) at 0."""
    squared = tf.reduce_sum(vectors * vectors, axis=-1)
    positive = squared > 0
    return tf.where(positive, tf.sqrt(tf.where(positive, squared, 1)), 0)


def _unit(vectors: tf.Tensor) -> tf.Tensor:
    """Vectors scaled to length 1; 0 stays 0."""
    norm = _norm(vectors)[..., None]
    return vectors / tf.where(norm > 0, norm, 1)


def _members(
    instance_ids: tf.Tensor, *values: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    """Keeps the voxels that belong to an instance.

    Returns:
        cluster int32 [m] (0..C-1), number of clusters C, and the values' rows [m, ...].
    """
    rows = tf.where(instance_ids != 0)[:, 0]
    ids, cluster = tf.unique(tf.gather(instance_ids, rows))
    return cluster, tf.size(ids), [tf.gather(value, rows) for value in values]


def _segment_mean(values: tf.Tensor, cluster: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Mean of the rows of each cluster: [C, ...]."""
    return tf.math.unsorted_segment_mean(values, cluster, count)


def _mean(values: tf.Tensor) -> tf.Tensor:
    """Mean over the first axis; 0 where it is empty."""
    return tf.math.divide_no_nan(tf.reduce_sum(values), tf.cast(tf.size(values), values.dtype))


def variance_loss(embedding: tf.Tensor, instance_ids: tf.Tensor, delta_var: float) -> tf.Tensor:
    """Pulls features to the mean of their instance: Eq. 2.

    Args:
        embedding: float [M, E], x_i.
        instance_ids: int [M], 0 for voxels that take no part. A voxel of a negative id weighs what
            one of an object of mean size does.
        delta_var: distance to the mean mu_c within which nothing is pulled.

    Returns:
        A scalar of at least 0.
    """
    cluster, count, (features, ids) = _members(instance_ids, embedding, instance_ids)
    centres = _segment_mean(features, cluster, count)
    distance = _norm(tf.gather(centres, cluster) - features)
    excess = tf.nn.relu(distance - delta_var)
    sums = tf.math.unsorted_segment_sum(excess * excess, cluster, count)
    of_objects = tf.cast(ids > 0, features.dtype)
    sizes = tf.math.unsorted_segment_sum(tf.ones_like(of_objects), cluster, count)
    is_object = tf.math.unsorted_segment_max(of_objects, cluster, count)
    num_objects = tf.reduce_sum(is_object)
    # Surroundings are large: each of their voxels weighs what one of a usual object does.
    usual = tf.math.divide_no_nan(tf.reduce_sum(of_objects), num_objects)
    sizes = tf.where((is_object > 0) | (num_objects == 0), sizes, usual)
    return tf.math.divide_no_nan(
        tf.reduce_sum(sums / sizes),
        tf.where(num_objects > 0, num_objects, tf.cast(count, sums.dtype)),
    )


def distance_loss(embedding: tf.Tensor, instance_ids: tf.Tensor, delta_dist: float) -> tf.Tensor:
    """Pushes the means of different instances apart: Eq. 3, over all ordered pairs.

    Released code: its loop leaves the first instance out; we: all pairs, as the paper.

    Args:
        embedding: float [M, E].
        instance_ids: int [M], 0 for voxels that take no part.
        delta_dist: centres further apart than 2 delta_dist are not pushed.

    Returns:
        A scalar of at least 0; identical centres count (2 delta_dist)^2.
    """
    cluster, count, (features,) = _members(instance_ids, embedding)
    centres = _segment_mean(features, cluster, count)
    distance = _norm(centres[:, None] - centres[None, :])
    lack = tf.nn.relu(2 * delta_dist - distance)
    others = 1 - tf.eye(count, dtype=embedding.dtype)
    return tf.math.divide_no_nan(tf.reduce_sum(lack * lack * others), tf.reduce_sum(others))


def regularization_loss(embedding: tf.Tensor, instance_ids: tf.Tensor) -> tf.Tensor:
    """Mean distance of the instances' means from the origin: Eq. 4.

    Args:
        embedding: float [M, E].
        instance_ids: int [M], 0 for voxels that take no part.

    Returns:
        A scalar of at least 0.
    """
    cluster, count, (features,) = _members(instance_ids, embedding)
    return _mean(_norm(_segment_mean(features, cluster, count)))


def direction_loss(
    directions: tf.Tensor, coordinates: tf.Tensor, instance_ids: tf.Tensor
) -> tf.Tensor:
    """Turns directions towards the centre of their object: Eq. 5.

    Paper: Eq. 5 prints (X_i - X_c) / |X_i - X_c|, its text says 'towards the object center';
    released code: centre - voxel; we: towards the centre.

    Args:
        directions: float [M, 3], of any length; v_i is the direction scaled to length 1.
        coordinates: int or float [M, 3], voxel indices X_i; X_c is their mean in an instance.
        instance_ids: int [M], at most 0 for voxels that take no part.

    Returns:
        A scalar in [-1, 1], -1 where all is right. A voxel exactly at its centre has no
        direction and counts 0.
    """
    cluster, count, (predicted, positions) = _members(
        tf.maximum(instance_ids, 0), directions, coordinates
    )
    positions = tf.cast(positions, directions.dtype)
    centres = _segment_mean(positions, cluster, count)
    target = _unit(tf.gather(centres, cluster) - positions)
    cosine = tf.reduce_sum(_unit(predicted) * target, axis=-1)
    return -_mean(_segment_mean(cosine, cluster, count))


def label_loss(labels: tf.Tensor, true_channels: tf.Tensor) -> tf.Tensor:
    """Cross entropy of the labels that the network tells. Not in the paper.

    Args:
        labels: float [M, L], logits; the last is none of the classes.
        true_channels: int [M], channel of each voxel's true class; -1 for none of them, below that
            for voxels that take no part.

    Returns:
        A scalar of at least 0; 0 where there are no voxels.
    """
    unlabelled = labels.shape[-1] - 1
    rows = tf.where(true_channels >= -1)[:, 0]
    targets, logits = tf.gather(true_channels, rows), tf.gather(labels, rows)
    targets = tf.where(targets < 0, unlabelled, targets)
    return _mean(tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits))


# What of a batch the losses compare the network's outputs with.
TRUTH = ("coordinates", "instance_ids", "true_channels")


class MultiTaskLoss(keras.layers.Layer):
    """Adds the joint loss (Eq. 1 and 6) of a batch to the model and logs every term.

    Each scene's loss is computed on its own and then averaged over the batch, so that instance
    ids of different scenes never meet. A term of weight 0 is neither computed nor logged.
    """

    def __init__(self, config: LossConfig, **kwargs: Any):
        super().__init__(**kwargs)
        self.config = config

    def scene_terms(self, scene: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns the terms of one scene that have a weight, each a scalar, unweighted.

        Args:
            scene: outputs and truth by name, as in `call` but of one scene.
        """
        c = self.config
        embedding, instance_ids = scene["embedding"], scene["instance_ids"]
        terms = {
            "variance": lambda: variance_loss(embedding, instance_ids, c.delta_var),
            "distance": lambda: distance_loss(embedding, instance_ids, c.delta_dist),
            "regularization": lambda: regularization_loss(embedding, instance_ids),
            "direction": lambda: direction_loss(
                scene["direction"], scene["coordinates"], instance_ids
            ),
            "label": lambda: label_loss(scene["labels"], scene["true_channels"]),
        }
        return {name: terms[name]() for name, weight in self.weights_of_terms.items() if weight}

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """The weight of each term in the joint loss."""
        c = self.config
        gammas = (c.gamma_var, c.gamma_dist, c.gamma_reg)
        of_features = (c.alpha_feature * gamma for gamma in gammas)
        weights = (*of_features, c.alpha_direction, c.alpha_label)
        return dict(zip(_TERMS, weights, strict=True))

    def terms(
        self,
        outputs: dict[str, tf.Tensor],
        coordinates: tf.Tensor,
        instance_ids: tf.Tensor,
        true_channels: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        """Returns the terms that have a weight, each [B], unweighted; for arguments see `call`."""
        names = [name for name, weight in self.weights_of_terms.items() if weight]
        if "label" in names and true_channels is None:
            raise ValueError("give true_channels: expected them where labels have a weight")
        scenes = {**outputs, "coordinates": coordinates, "instance_ids": instance_ids}
        if true_channels is not None:
            scenes["true_channels"] = true_channels
        return tf.map_fn(
            self.scene_terms,
            scenes,
            fn_output_signature=dict.fromkeys(names, self.compute_dtype),
        )

    def call(
        self,
        outputs: dict[str, tf.Tensor],
        coordinates: tf.Tensor,
        instance_ids: tf.Tensor,
        true_channels: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        """Adds the loss and passes the network's outputs through.

        Args:
            outputs: `embedding` [B, M, E] and `direction` [B, M, 3], and `labels` [B, M, L] where
                they have a weight.
            coordinates: int32 [B, M, 3].
            instance_ids: int32 [B, M], 0 in padding rows too.
            true_channels: int32 [B, M], -1 for no class, -2 in padding rows; needed where labels
                have a weight.

        Returns:
            `outputs`.
        """
        terms = self.terms(outputs, coordinates, instance_ids, true_channels)
        means = {name: _mean(values) for name, values in terms.items()}
        for name, value in means.items():
            self.add_metric(value, name=name)
        self.add_loss(tf.add_n([self.weights_of_terms[name] * means[name] for name in means]))
        return outputs

    def get_config(self) -> dict[str, Any]:
        """Returns the layer's settings, as Keras saves them."""
        return {**super().get_config(), "config": dataclasses.asdict(self.config)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MultiTaskLoss":
        """Makes a layer of what `get_config` returned."""
        return cls(**{**config, "config": LossConfig(**config["config"])})
