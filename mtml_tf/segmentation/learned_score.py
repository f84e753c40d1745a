"""A learned score: how well a proposal covers an object, told by regression trees.

Not in the paper, whose three scores the formula of `scores.final_score` weighs. Here trees that
were fitted to the proposals of training scenes take their place: they see the scores and what else
is cheap to know of a proposal (`COLUMNS`), and tell its intersection over union with the best
object. They are plain arrays, evaluated in NumPy.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mtml_tf.scene import VoxelScene
from mtml_tf.segmentation.components import neighbours, spatial_components
from mtml_tf.segmentation.proposals import members, overlaps
from mtml_tf.segmentation.scores import means, size_deviation

Array = np.ndarray

# What is known of a proposal, and whether more of it can only make it better (1) or worse (-1):
# what holds for simulated rooms only is not to be learned.
COLUMNS = {
    "direction": 1,  # coherency; 0 without directions
    "feature": 0,  # coherency
    "log_size": 0,  # natural logarithm of the number of voxels
    "deviation": 0,  # of it from its class's mean, standard deviations; 0 where nothing is known
    "class_size": 0,  # the mean of its class; the proposal's own where nothing is known
    "label_share": 1,  # of voxels with the label that the proposal has
    "contact": -1,  # share of the faces between voxels of one label that lead out of it
    "largest_piece": 1,  # share of voxels in its largest connected piece
    "height": 0,  # standard deviation along z, voxels
    "length": 0,  # and along the longest,
    "width": 0,  # and the shortest horizontal axis
    "holds": 0,  # size of the largest proposal that lies in it, relative to its own
    "held": 0,  # logarithm of how many times as large the largest one is in which it lies
    "label": 1,  # score; 1 where the network tells no labels
}
_NUM_TREES, _MAX_DEPTH, _LEAST_IN_LEAF, _LEARNING_RATE = 60, 4, 20, 0.1
_LEAF = -1
_INSIDE = 0.9  # share of a proposal that lies in another one, which counts as all of it
_DIGITS = 6  # significant ones of what leaves add


def describe_proposals(
    proposals: Sequence[Array],
    class_ids: Array,
    voxel_scene: VoxelScene,
    direction: Array | None,
    feature: Array,
    label: Array | None,
    statistics: Mapping[int, tuple[float, float]],
) -> Array:
    """Returns float64 [P, len(COLUMNS)], what the trees see of each proposal.

    Args:
        proposals: P index sets.
        class_ids: int32 [P].
        voxel_scene: M voxels.
        direction: float64 [P], direction coherency, or None.
        feature: float64 [P], feature coherency.
        label: float64 [P], label score, or None.
        statistics: see `scores.size_score`.
    """
    count = len(proposals)
    if not count:
        return np.zeros((0, len(COLUMNS)))
    owners, rows = members(proposals)
    log_sizes = np.log([len(indices) for indices in proposals])
    expected = [statistics[int(i)][0] if int(i) in statistics else np.nan for i in class_ids]
    class_sizes = np.where(np.isnan(expected), log_sizes, expected)
    labels = voxel_scene.semantic_ids[rows]
    apart = _apart(owners, voxel_scene.coordinates[rows])
    return np.stack(
        [
            np.zeros(count) if direction is None else direction,
            feature,
            log_sizes,
            size_deviation(proposals, class_ids, statistics),
            class_sizes,
            means(owners, (labels == class_ids[owners])[:, None], count)[:, 0],
            _contact(owners, rows, apart, voxel_scene),
            _largest_piece(owners, apart, count),
            *_extents(owners, voxel_scene.coordinates[rows].astype(np.float64), count).T,
            *_nesting(owners, rows, count).T,
            np.ones(count) if label is None else label,
        ],
        axis=1,
    )


def _apart(owners: Array, coordinates: Array) -> Array:
    """Returns int64 [T, 3], the members' voxels with proposals so far apart that none touch."""
    places = coordinates.astype(np.int64)
    places[:, 0] += owners * (int(coordinates[:, 0].max()) + 2)
    return places


def _contact(owners: Array, rows: Array, apart: Array, voxel_scene: VoxelScene) -> Array:
    labels, count = voxel_scene.semantic_ids, int(owners[-1]) + 1
    pairs = neighbours(voxel_scene.coordinates)
    faces = np.bincount(pairs[:, labels[pairs[0]] == labels[pairs[1]]].ravel(), None, len(labels))
    of_proposal = np.bincount(owners, faces[rows], count)
    inner = neighbours(apart)
    inner = inner[:, labels[rows[inner[0]]] == labels[rows[inner[1]]]]
    inside = np.bincount(owners[inner[0]], minlength=count) * 2  # each face is two voxels'
    return 1 - np.divide(inside, of_proposal, out=np.ones(count), where=of_proposal > 0)


def _largest_piece(owners: Array, apart: Array, count: int) -> Array:
    pieces = spatial_components(apart)
    first = np.unique(pieces, return_index=True)[1]
    largest = np.zeros(count)
    np.maximum.at(largest, owners[first], np.bincount(pieces))
    return largest / np.bincount(owners)


def _extents(owners: Array, places: Array, count: int) -> Array:
    """Returns float64 [P, 3]: spread along z, the longest and the shortest horizontal axis."""
    offsets = places - means(owners, places, count)[owners]
    x, y, z = offsets.T
    xx, yy, xy, zz = means(owners, np.stack([x * x, y * y, x * y, z * z], axis=1), count).T
    middle, radius = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    return np.sqrt(np.maximum(0, np.stack([zz, middle + radius, middle - radius], axis=1)))


def _nesting(owners: Array, rows: Array, count: int) -> Array:
    """Returns float64 [P, 2], `holds` and `held`; 0 where no other proposal does."""
    inner, outer, shared = overlaps(owners, rows)
    sizes = np.bincount(owners)
    lies_in = (inner != outer) & (shared >= _INSIDE * sizes[inner])
    inner, outer = inner[lies_in], outer[lies_in]
    holds, held = np.zeros(count), np.zeros(count)
    np.maximum.at(holds, outer, sizes[inner] / sizes[outer])
    np.maximum.at(held, inner, np.log(sizes[outer] / sizes[inner]))
    return np.stack([holds, held], axis=1)


@dataclasses.dataclass(frozen=True, eq=False)
class Trees:
    """Regression trees whose values add up.

    Attributes:
        base: float, the sum starts with it.
        roots: int [T], ascending; the nodes of a tree lie from its root to the next one.
        column: int [K], what a node asks for: its left child, the next node, has the proposals
            whose value is at most its threshold, its right child the others.
        threshold: float64 [K].
        right: int [K], the node of the right child; -1 for a leaf.
        value: float64 [K], what a leaf adds.

    Raises:
        ValueError: arrays that are no trees.
    """

    base: float
    roots: Array
    column: Array
    threshold: Array
    right: Array
    value: Array

    def __post_init__(self) -> None:
        count = len(self.column)
        inner = np.flatnonzero(self.right != _LEAF)
        well_formed = (
            all(
                a.ndim == 1
                for a in (self.roots, self.column, self.threshold, self.right, self.value)
            )
            and len(self.threshold) == len(self.right) == len(self.value) == count
            and np.all((self.roots >= 0) & (self.roots < count))
            and np.all((self.right[inner] > inner) & (self.right[inner] < count))
            and np.all((self.column >= 0) & (self.column < len(COLUMNS)))
            and np.isfinite([self.base, *self.threshold, *self.value]).all()
        )
        if not well_formed:
            raise ValueError(
                "expected regression trees as experiments.learn_scores writes them into "
                "model.json, found arrays that do not fit; make them again"
            )

    def __call__(self, described: Array) -> Array:
        """Returns float64 [P] in [0, 1]; `described` is what `describe_proposals` returns."""
        columns = np.ascontiguousarray(described.T)
        total = np.full(len(described), self.base)
        rows = np.arange(len(described))
        for root in self.roots:
            nodes = np.full(len(described), root)
            while True:
                right = self.right[nodes]
                inner = right != _LEAF
                if not inner.any():
                    break
                goes_left = columns[self.column[nodes], rows] <= self.threshold[nodes]
                nodes = np.where(inner, np.where(goes_left, nodes + 1, right), nodes)
            total += self.value[nodes]
        return np.clip(total, 0, 1)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain numbers and lists, as JSON has them."""
        return {
            field.name: np.asarray(getattr(self, field.name)).tolist()
            for field in dataclasses.fields(self)
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Trees":
        """Returns the trees of `to_dict`. Raises ValueError for anything else."""
        try:
            whole = {n: np.asarray(fields[n], np.int64) for n in ("roots", "column", "right")}
            parts = {n: np.asarray(fields[n], np.float64) for n in ("threshold", "value")}
            return cls(base=float(fields["base"]), **whole, **parts)
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"expected regression trees, found {error!r}") from error


def fit_trees(described: Array, ious: Array) -> Trees:
    """Fits trees to proposals of training scenes.

    Args:
        described: float64 [P, len(COLUMNS)].
        ious: float64 [P], the intersection over union of each with its best object.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    fitted = HistGradientBoostingRegressor(
        max_iter=_NUM_TREES,
        max_depth=_MAX_DEPTH,
        min_samples_leaf=_LEAST_IN_LEAF,
        learning_rate=_LEARNING_RATE,
        monotonic_cst=list(COLUMNS.values()),
        early_stopping=False,
        random_state=0,
    ).fit(described, ious)
    # Nowhere public; in a node's own order, in which a left child follows its parent.
    trees = [predictor.nodes for (predictor,) in fitted._predictors]
    sizes = [len(nodes) for nodes in trees]
    roots = np.cumsum([0, *sizes])[:-1]
    nodes = np.concatenate(trees)
    is_leaf = nodes["is_leaf"].astype(bool)
    right = np.where(is_leaf, _LEAF, nodes["right"] + np.repeat(roots, sizes))
    return Trees(
        base=_rounded(np.ravel(fitted._baseline_prediction))[0],
        roots=roots,
        column=np.where(is_leaf, 0, nodes["feature_idx"]).astype(np.int64),
        # To the last digit: a threshold may be the value of many proposals.
        threshold=np.where(is_leaf, 0, nodes["num_threshold"]),
        right=right.astype(np.int64),
        value=_rounded(np.where(is_leaf, nodes["value"], 0)),
    )


def _rounded(values: Array) -> Array:
    return np.array([float(f"{value:.{_DIGITS}g}") for value in values])
