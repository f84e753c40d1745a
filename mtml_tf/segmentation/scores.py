"""How good a proposal is (paper section 3.2, post-processing): three scores and the final one.

A fourth, which is not in the paper, is there where the network tells labels.

All functions score P proposals at once. A proposal is an index set: int32 [k], k at least 1, rows
of the scene's M voxels.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from mtml_tf.scene import VoxelScene
from mtml_tf.segmentation.proposals import index_sets, majority_labels, members

Array = np.ndarray

# Natural logarithm of the number of voxels. Below this spread (28 %), a difference in size says
# more about the borders of the mask than about the object.
_LEAST_STD = 0.25
# Standard deviations; what is farther off is just as odd.
_MOST_DEVIATION = 3.0


def direction_coherency(proposals: Sequence[Array], coordinates: Array, direction: Array) -> Array:
    """Mean cosine between predicted directions and those to the proposal's centre.

    This is -L_dir (Eq. 5) of the proposal taken as an instance: v_i is the predicted direction,
    normalised, and v_i^GT points from the voxel to the proposal's centre, the mean of its voxels.
    A voxel exactly at the centre, or one whose prediction is zero, counts as 0.

    Args:
        proposals: P index sets.
        coordinates: int32 [M, 3], voxels.
        direction: float32 [M, 3], of any length.

    Returns:
        float64 [P] in [-1, 1].
    """
    owners, rows = members(proposals)
    places = coordinates[rows].astype(np.float64)
    to_centre = means(owners, places, len(proposals))[owners] - places
    cosines = np.einsum("td,td->t", normalized(direction)[rows], normalized(to_centre))
    return np.clip(means(owners, cosines[:, None], len(proposals))[:, 0], -1, 1)


def feature_coherency(proposals: Sequence[Array], embedding: Array, threshold: float) -> Array:
    """Share of a proposal's voxels whose feature is within a threshold of its mean feature.

    Paper: the number of such voxels; we: their share, so that only the size score scores size.

    Args:
        proposals: P index sets.
        embedding: float32 [M, E].
        threshold: distance in units of the embedding; a feature at exactly this distance counts.

    Returns:
        float64 [P] in [0, 1].
    """
    owners, rows = members(proposals)
    features = embedding[rows].astype(np.float64)
    distances = np.linalg.norm(features - means(owners, features, len(proposals))[owners], axis=1)
    within = (distances <= threshold).astype(np.float64)
    return means(owners, within[:, None], len(proposals))[:, 0]


def label_score(
    proposals: Sequence[Array], class_ids: Array, labels: Array, label_ids: Sequence[int]
) -> Array:
    """Mean probability of the proposal's class, as the network tells it. Not in the paper.

    Args:
        proposals: P index sets.
        class_ids: int32 [P], each one of `label_ids`.
        labels: float32 [M, L], probabilities.
        label_ids: the class id of each column.

    Returns:
        float64 [P] in [0, 1].
    """
    owners, rows = members(proposals)
    columns = (np.asarray(class_ids)[:, None] == np.asarray(label_ids)).argmax(axis=1)
    return means(owners, labels[rows, columns[owners]][:, None], len(proposals))[:, 0]


def size_score(
    proposals: Sequence[Array],
    class_ids: Array,
    statistics: Mapping[int, tuple[float, float]],
) -> Array:
    """Favours sizes that are regular for the class: exp(-z^2 / 2), with |z| at most 3.

    z = (ln k - mean) / std for a proposal of k voxels; mean and std are those of its class. The
    bound keeps an odd size from deciding alone. A class without statistics scores 1.

    Args:
        proposals: P index sets.
        class_ids: int32 [P].
        statistics: for each class id, mean and standard deviation of the natural logarithm of
            the number of voxels; see `size_statistics`.

    Returns:
        float64 [P] in [0.011, 1].
    """
    return np.exp(-(size_deviation(proposals, class_ids, statistics) ** 2) / 2)


def size_deviation(
    proposals: Sequence[Array],
    class_ids: Array,
    statistics: Mapping[int, tuple[float, float]],
) -> Array:
    """Returns float64 [P], the z of `size_score`, from -3 to 3; 0 without statistics."""
    sizes = np.array([len(indices) for indices in proposals], np.float64)
    known = np.array([int(class_id) in statistics for class_id in class_ids], bool)
    expected = np.array([statistics.get(int(i), (0.0, 1.0)) for i in class_ids]).reshape(-1, 2)
    deviation = (np.log(sizes) - expected[:, 0]) / expected[:, 1]
    return np.where(known, np.clip(deviation, -_MOST_DEVIATION, _MOST_DEVIATION), 0.0)


def final_score(
    direction: Array | None,
    feature: Array,
    size: Array,
    direction_weight: float,
    feature_weight: float,
    size_weight: float,
    label: Array | None = None,
    label_weight: float = 0.0,
) -> Array:
    """The one score that sorts, suppresses and is the confidence: a weighted geometric mean.

        score = (max(direction, 0)^w_d * feature^w_f * size^w_s) ^ (1 / (w_d + w_f + w_s))

    A proposal must do well in all three; one whose directions lead away from its centre on
    average scores 0. All weights 0 give 1. A label score, where there is one, is a fourth factor,
    and its weight is one more in the root.

    Args:
        direction: float64 [P], direction coherency; None where w_d is 0.
        feature: float64 [P], feature coherency.
        size: float64 [P], size score.
        direction_weight: w_d, at least 0.
        feature_weight: w_f, at least 0.
        size_weight: w_s, at least 0.
        label: float64 [P], label score, or None.
        label_weight: its exponent, at least 0; of no influence without it.

    Returns:
        float64 [P] in [0, 1].

    Raises:
        ValueError: no direction scores, though they have a weight.
    """
    if direction is None:
        if direction_weight > 0:
            raise ValueError(
                f"expected a direction_weight of 0 where no directions are given, found "
                f"{direction_weight}"
            )
        direction = np.ones(len(feature))
    product = (
        np.maximum(direction, 0) ** direction_weight * feature**feature_weight * size**size_weight
    )
    total = direction_weight + feature_weight + size_weight
    if label is not None:
        product, total = product * label**label_weight, total + label_weight
    return product ** (1 / total) if total > 0 else product


def instance_sizes(voxel_scene: VoxelScene) -> dict[int, list[int]]:
    """Measures how large the instances of a scene are.

    An instance has the class that most of its voxels have; unlabelled ones are left out.

    Args:
        voxel_scene: a scene with instance ids.

    Returns:
        For each class id found the numbers of voxels of its instances.

    Raises:
        ValueError: a scene without instance ids.
    """
    if voxel_scene.instance_ids is None:
        raise ValueError(
            f"scene {voxel_scene.name}: expected instance ids to measure sizes, found none"
        )
    sets = index_sets(voxel_scene.instance_ids)
    instances = [indices for indices in sets if voxel_scene.instance_ids[indices[0]] > 0]
    class_ids = majority_labels(instances, voxel_scene.semantic_ids)
    sizes: dict[int, list[int]] = {}
    for indices, class_id in zip(instances, class_ids.tolist(), strict=True):
        if class_id > 0:
            sizes.setdefault(class_id, []).append(len(indices))
    return sizes


def size_statistics(sizes: Mapping[int, Sequence[int]]) -> dict[int, tuple[float, float]]:
    """Sums up how large the instances of each class are.

    Args:
        sizes: for each class id the numbers of voxels of its instances, at least one; of all
            training scenes, see `instance_sizes`.

    Returns:
        For each class id, in ascending order: mean and standard deviation (at least 0.25) of the
        natural logarithm of these numbers.
    """
    logarithms = {i: [float(np.log(size)) for size in sizes[i]] for i in sorted(sizes)}
    return {
        class_id: (float(np.mean(values)), max(_LEAST_STD, float(np.std(values))))
        for class_id, values in logarithms.items()
    }


def means(owners: Array, values: Array, count: int) -> Array:
    """Returns float64 [count, D], the mean of the rows of `values` [T, D] that each owner has."""
    sums = [np.bincount(owners, column, count) for column in values.T]
    return np.stack(sums, axis=1) / np.bincount(owners, minlength=count)[:, None]


def normalized(vectors: Array) -> Array:
    """Returns float64 vectors [T, D] of length 1; a zero vector stays zero."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)
