"""From voxels with embedding and direction to instances (paper section 3.2, post-processing).

    find proposals -> label and score them -> sort -> suppress -> (optional) one label a voxel

`propose` does the costly first half and `select` the cheap second one, so that weights and
thresholds can be tried many times on the same proposals.
"""

import dataclasses

import numpy as np

from mtml_tf import timing
from mtml_tf.config import SegmentConfig
from mtml_tf.scene import Instance, VoxelScene
from mtml_tf.segmentation import scores
from mtml_tf.segmentation.learned_score import Trees, describe_proposals
from mtml_tf.segmentation.proposals import (
    find_proposals,
    majority_labels,
    probable_labels,
)
from mtml_tf.segmentation.suppression import coherent_labelling, suppress

Array = np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Proposals:
    """P scored proposals of a scene, in the order in which they were found.

    Attributes:
        indices: P index sets, int32 [k] ascending rows of the scene's voxels.
        class_ids: int32 [P], the most probable thing, or the label most of their voxels have.
        direction: float64 [P] in [-1, 1], direction coherency, or None without directions.
        feature: float64 [P] in [0, 1], feature coherency.
        size: float64 [P] in [0, 1], size score.
        label: float64 [P] in [0, 1], label score, or None where the network tells no labels.
        learned: float64 [P] in [0, 1], the learned score, or None where it is not in use.
    """

    indices: list[Array]
    class_ids: Array
    direction: Array | None
    feature: Array
    size: Array
    label: Array | None = None
    learned: Array | None = None

    def final_score(self, config: SegmentConfig) -> Array:
        """Returns float64 [P]: the learned score where `config` wants it and there is one.

        Otherwise see `scores.final_score`, whose weights are those of `config`.
        """
        if config.learned_score and self.learned is not None:
            return self.learned
        return scores.final_score(
            self.direction,
            self.feature,
            self.size,
            config.direction_weight,
            config.feature_weight,
            config.size_weight,
            self.label,
            config.label_weight,
        )


def segment(
    voxel_scene: VoxelScene,
    embedding: Array,
    direction: Array | None,
    config: SegmentConfig,
    labels: Array | None = None,
) -> list[Instance]:
    """Segments a scene into instances.

    Args:
        voxel_scene: the scene; only voxels of `config.thing_ids` take part.
        embedding: float32 [M, E], a feature for each voxel.
        direction: float32 [M, 3], the predicted direction to the object's centre, of any length;
            or None, which takes a `direction_weight` of 0.
        config: see `SegmentConfig`.
        labels: float32 [M, L], probabilities of the labels `config.label_ids`; None where there are
            none of these.

    Returns:
        Instances of voxel rows, best first; none for a scene without things. They may overlap
        unless `config.coherent`.

    Raises:
        ValueError: arrays that do not have one finite row for each voxel, no direction though it
            has a weight, or labels that are not one column for each of `config.label_ids`.
    """
    proposals = propose(voxel_scene, embedding, direction, config, labels)
    with timing.stage("suppression"):
        return select(proposals, config)


def propose(
    voxel_scene: VoxelScene,
    embedding: Array,
    direction: Array | None,
    config: SegmentConfig,
    labels: Array | None = None,
) -> Proposals:
    """Finds, labels and scores the proposals. Arguments and errors are those of `segment`.

    Of `config`, the weights, `suppression_iou`, `min_score` and `coherent` have no influence here.
    """
    _check_rows(voxel_scene, "embedding", embedding)
    if direction is not None:
        _check_rows(voxel_scene, "direction", direction)
    if labels is not None:
        _check_rows(voxel_scene, "labels", labels)
    columns = 0 if labels is None else labels.shape[1]
    if columns != len(config.label_ids):
        raise ValueError(
            f"scene {voxel_scene.name}: expected {len(config.label_ids)} columns in labels, one "
            f"for each of label_ids, found {columns}"
        )
    indices = find_proposals(voxel_scene, embedding, config)
    with timing.stage("scores"):
        return _score(indices, voxel_scene, embedding, direction, config, labels)


def _score(
    indices: list[Array],
    voxel_scene: VoxelScene,
    embedding: Array,
    direction: Array | None,
    config: SegmentConfig,
    labels: Array | None,
) -> Proposals:
    if config.probability_ids and voxel_scene.features is not None:
        class_ids = probable_labels(
            indices, voxel_scene.features, config.probability_ids, config.thing_ids
        )
    else:
        class_ids = majority_labels(indices, voxel_scene.semantic_ids)
    coherency = None
    if direction is not None:
        coherency = scores.direction_coherency(indices, voxel_scene.coordinates, direction)
    feature = scores.feature_coherency(indices, embedding, config.feature_threshold)
    label = None
    if labels is not None:
        label = scores.label_score(indices, class_ids, labels, config.label_ids)
    learned = None
    if config.learned_score and config.score_trees is not None:
        described = describe_proposals(
            indices, class_ids, voxel_scene, coherency, feature, label, config.size_statistics
        )
        learned = Trees.from_dict(config.score_trees)(described)
    size = scores.size_score(indices, class_ids, config.size_statistics)
    return Proposals(indices, class_ids, coherency, feature, size, label, learned)


def select(proposals: Proposals, config: SegmentConfig) -> list[Instance]:
    """Chooses the instances among scored proposals.

    Proposals are sorted by their final score, equal ones by size, largest first, then by their
    first voxel.

    Args:
        proposals: what `propose` returns.
        config: the weights, `suppression_iou`, `min_voxels`, `min_score` and `coherent` are used.

    Returns:
        Instances, best first.

    Raises:
        ValueError: no direction scores, though `direction_weight` is above 0.
    """
    score = proposals.final_score(config)
    size = np.array([len(indices) for indices in proposals.indices], np.int64)
    first = np.array([indices[0] for indices in proposals.indices], np.int64)
    order = np.lexsort((first, -size, -score))
    order = order[(size[order] >= config.min_voxels) & (score[order] >= config.min_score)]
    ranked = [proposals.indices[row] for row in order]
    order = order[suppress(ranked, proposals.class_ids[order], config.suppression_iou)]
    chosen = [(row, proposals.indices[row]) for row in order]
    if config.coherent:
        left = coherent_labelling([indices for _, indices in chosen], config.min_voxels)
        chosen = [(order[position], indices) for position, indices in left]
    return [
        Instance(int(proposals.class_ids[row]), float(score[row]), indices)
        for row, indices in chosen
    ]


def _check_rows(voxel_scene: VoxelScene, name: str, array: Array) -> None:
    count = len(voxel_scene.coordinates)
    if array.ndim != 2 or len(array) != count:
        raise ValueError(
            f"scene {voxel_scene.name}: expected {count} rows in {name}, one for each voxel, "
            f"found the shape {list(array.shape)}"
        )
    if not np.isfinite(array).all():
        raise ValueError(
            f"scene {voxel_scene.name}: expected finite values in {name}, found "
            f"{array[~np.isfinite(array)][0]}"
        )
