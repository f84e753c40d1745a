"""How the predictions of a scene lie on its ground truth, counted in vertices.

The rules are those of the ScanNet instance benchmark: predictions of other classes or of too few
vertices are left out before anything else, ground truths of too few vertices are no targets, and
void is whatever does not belong to a scored class.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from mtml_tf.scene import Instance
from mtml_tf.scoring.ground_truth import INSTANCES_PER_CLASS

Array = np.ndarray

_LARGEST_TABLE = 1 << 20  # ids below it are counted in a table, others are sorted


@dataclasses.dataclass(frozen=True, eq=False)
class SceneOverlaps:
    """All P predictions that are scored on all G distinct ids of the ground truth.

    Attributes:
        truth_classes: int64 [G], class ids, ids ascending. Instance 0 of a scored class is one more
            ground truth, as in the official program.
        truth_sizes: int64 [G], vertices.
        is_void: bool [G], True where the class is not scored.
        is_target: bool [G], True for ground truths that are to be found: scored and large enough.
        truth_of_vertex: integers [N], rows of the arrays above.
        classes: int64 [P], class ids of the predictions, in file order.
        scores: float64 [P].
        members: for each prediction its vertex rows, ascending, none twice.
        shared: int64 [P, G], vertices that a prediction has in common with a ground truth.
    """

    truth_classes: Array
    truth_sizes: Array
    is_void: Array
    is_target: Array
    truth_of_vertex: Array
    classes: Array
    scores: Array
    members: tuple[Array, ...]
    shared: Array

    @functools.cached_property
    def sizes(self) -> Array:
        """int64 [P], vertices of each prediction."""
        return self.shared.sum(axis=1)

    @functools.cached_property
    def iou(self) -> Array:
        """float64 [P, G], intersection over union, as the official program divides it."""
        return self.shared / (self.sizes[:, None] + self.truth_sizes - self.shared)

    @functools.cached_property
    def same_class(self) -> Array:
        """Whether prediction and ground truth are of one class; bool [P, G]."""
        return self.classes[:, None] == self.truth_classes

    @functools.cached_property
    def ignored_share(self) -> Array:
        """float64 [P], share of each prediction that lies where nothing is looked for.

        That is on void and on too small ground truths of its class.
        """
        not_looked_for = self.is_void | (self.same_class & ~self.is_target)
        return (self.shared * not_looked_for).sum(axis=1) / self.sizes

    def of_class(self, class_id: int) -> "ClassOverlaps":
        """Returns the overlaps among predictions and ground truths of one scored class."""
        rows, truths = self.classes == class_id, self.truth_classes == class_id
        return ClassOverlaps(
            iou=self.iou[np.ix_(rows, truths)],
            is_target=self.is_target[truths],
            scores=self.scores[rows],
            ignored_share=self.ignored_share[rows],
        )


@dataclasses.dataclass(frozen=True, eq=False)
class ClassOverlaps:
    """The P predictions of a class on its G ground truths.

    Attributes:
        iou: float64 [P, G], intersection over union; predictions in file order, ground truths by
            ascending id.
        is_target: bool [G], False for ground truths that are too small to be looked for.
        scores: float64 [P].
        ignored_share: float64 [P], see `SceneOverlaps.ignored_share`.
    """

    iou: Array
    is_target: Array
    scores: Array
    ignored_share: Array


def find_overlaps(
    ids: Array, instances: Sequence[Instance], class_ids: Sequence[int], min_vertices: int
) -> SceneOverlaps:
    """Counts the vertices that predictions and ground truths of a scene have in common.

    Args:
        ids: int64 [N], ground truth: `class_id * 1000 + instance` for each vertex.
        instances: predictions, whose indices are vertex rows.
        class_ids: scored classes.
        min_vertices: smaller predictions are left out, smaller ground truths are no targets; a
            prediction without vertices is always left out.
    """
    truth_ids, truth_of_vertex, truth_sizes = _count_ids(ids)
    truth_classes = truth_ids // INSTANCES_PER_CLASS
    is_scored = np.isin(truth_classes, class_ids)
    kept = [
        (instance, members)
        for instance in instances
        if instance.class_id in class_ids
        and len(members := _distinct(instance.indices)) >= max(min_vertices, 1)
    ]
    shared = np.zeros((len(kept), len(truth_ids)), np.int64)
    for row, (_, members) in enumerate(kept):
        shared[row] = np.bincount(truth_of_vertex[members], minlength=len(truth_ids))
    return SceneOverlaps(
        truth_classes=truth_classes,
        truth_sizes=truth_sizes,
        is_void=~is_scored,
        is_target=is_scored & (truth_sizes >= min_vertices),
        truth_of_vertex=truth_of_vertex,
        classes=np.array([instance.class_id for instance, _ in kept], np.int64),
        scores=np.array([instance.score for instance, _ in kept], np.float64),
        members=tuple(members for _, members in kept),
        shared=shared,
    )


def _distinct(indices: Array) -> Array:
    """Returns the indices, no row twice; at once where they are ascending, as they should be."""
    return indices if (np.diff(indices) > 0).all() else np.unique(indices)


def _count_ids(ids: Array) -> tuple[Array, Array, Array]:
    """Returns the distinct ids, ascending [G], each vertex's row among them [N], their counts."""
    if len(ids) and ids.min() >= 0 and ids.max() < _LARGEST_TABLE:  # many times faster than sorting
        counts = np.bincount(ids)
        distinct = np.flatnonzero(counts)
        row_of_id = np.cumsum(counts > 0) - 1
        return distinct, row_of_id[ids], counts[distinct]
    return np.unique(ids, return_inverse=True, return_counts=True)
