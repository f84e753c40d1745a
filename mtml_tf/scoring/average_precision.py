"""Average precision by the rules of the ScanNet instance benchmark.

For every threshold and class, predictions are matched with ground truth scene by scene; what is
kept of a scene is a short list of scores, so that memory does not grow with the scenes' size.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from mtml_tf.classes import ClassSet
from mtml_tf.scene import Instance

Array = np.ndarray

# The official program steps from 0.5 by 0.05 and stops before 0.95; these are its numbers.
AP_THRESHOLDS = tuple(float(t) for t in np.arange(0.5, 0.95, 0.05))
THRESHOLDS = (*AP_THRESHOLDS, 0.25)
INSTANCES_PER_CLASS = 1000  # ground truth is class_id * 1000 + instance


@dataclasses.dataclass(frozen=True)
class ApValues:
    """AP (mean over 0.50 to 0.90), AP50 and AP25, each in [0, 1] or NaN."""

    ap: float
    ap50: float
    ap25: float


@dataclasses.dataclass(frozen=True, eq=False)
class ApTable:
    """Average precision of each class.

    Attributes:
        class_ids, names: the scored classes, C of them.
        ap, ap50, ap25: float64 [C], NaN for a class without ground truth.
    """

    class_ids: tuple[int, ...]
    names: tuple[str, ...]
    ap: Array
    ap50: Array
    ap25: Array

    @property
    def average(self) -> ApValues:
        """Means over the classes that have ground truth; NaN where none has."""
        return ApValues(*(_nan_mean(values) for values in (self.ap, self.ap50, self.ap25)))

    def encode_text(self) -> str:
        """Returns an aligned table with an average row."""
        average = self.average
        rows = [*zip(self.names, self.ap, self.ap50, self.ap25, strict=True)]
        rows.append(("average", average.ap, average.ap50, average.ap25))
        width = max(len(row[0]) for row in rows)
        lines = [f"{'class':<{width}}  {'AP':>6}  {'AP50':>6}  {'AP25':>6}"]
        lines += [f"{row[0]:<{width}}  " + "  ".join(f"{v:6.3f}" for v in row[1:]) for row in rows]
        return "\n".join(lines) + "\n"

    def encode_csv(self) -> str:
        """Returns the official program's CSV: one row a class, no average."""
        rows = zip(self.names, self.class_ids, self.ap, self.ap50, self.ap25, strict=True)
        lines = [",".join(str(value) for value in row) for row in rows]
        return "\n".join(["class,class id,ap,ap50,ap25", *lines]) + "\n"


@dataclasses.dataclass
class _Tally:
    """What the curve of one class at one threshold is made of, gathered over the scenes."""

    true_scores: list[float] = dataclasses.field(default_factory=list)
    false_scores: list[float] = dataclasses.field(default_factory=list)
    missed: int = 0
    has_truth: bool = False
    has_prediction: bool = False


def average_precision(
    scenes: Iterable[tuple[Array, Sequence[Instance]]],
    classes: ClassSet,
    min_vertices: int = 100,
) -> ApTable:
    """Scores instances.

    Args:
        scenes: for each scene the ground truth, int [N] (`class_id * 1000 + instance` a vertex),
            and the predicted instances, with vertex rows as indices. Taken one by one.
        classes: its thing classes are scored; instances of other classes are left out.
        min_vertices: smaller predictions are left out, smaller ground truths are no targets.

    Returns:
        The table of AP, AP50 and AP25.
    """
    class_ids = classes.thing_ids
    tallies = {(c, t): _Tally() for c in class_ids for t in THRESHOLDS}
    for ground_truth, instances in scenes:
        _add_scene(tallies, np.asarray(ground_truth), instances, class_ids, min_vertices)
    scores = np.array([[_area(tallies[c, t]) for t in THRESHOLDS] for c in class_ids])
    return ApTable(
        class_ids,
        tuple(classes.name_of(class_id) for class_id in class_ids),
        ap=scores[:, : len(AP_THRESHOLDS)].mean(axis=1),
        ap50=scores[:, THRESHOLDS.index(0.5)],
        ap25=scores[:, THRESHOLDS.index(0.25)],
    )


def _add_scene(
    tallies: dict[tuple[int, float], _Tally],
    ground_truth: Array,
    instances: Sequence[Instance],
    class_ids: tuple[int, ...],
    min_vertices: int,
) -> None:
    """Adds a scene's matches to the tallies of every class and threshold."""
    truth_ids, truth_rows, truth_sizes = np.unique(
        ground_truth, return_inverse=True, return_counts=True
    )
    truth_classes = truth_ids // INSTANCES_PER_CLASS
    is_void = ~np.isin(truth_classes, class_ids)
    # Unmarked things (instance 0) of a scored class are a ground truth of their own, as officially.
    for class_id in class_ids:
        truths = np.flatnonzero(truth_classes == class_id)
        members = [
            i for i in instances if i.class_id == class_id and len(i.indices) >= min_vertices
        ]
        overlaps = np.array(
            [np.bincount(truth_rows[i.indices], minlength=len(truth_ids)) for i in members]
        ).reshape(len(members), len(truth_ids))
        sizes = overlaps.sum(axis=1)
        shared = overlaps[:, truths]
        union = sizes[:, None] + truth_sizes[truths] - shared
        is_target = truth_sizes[truths] >= min_vertices
        ignored = overlaps[:, is_void].sum(axis=1) + shared[:, ~is_target].sum(axis=1)
        _match(
            {t: tallies[class_id, t] for t in THRESHOLDS},
            iou=shared / union,
            is_target=is_target,
            scores=np.array([i.score for i in members], np.float64),
            ignored_share=ignored / np.maximum(sizes, 1),
        )


def _match(
    tallies: dict[float, _Tally],
    iou: Array,
    is_target: Array,
    scores: Array,
    ignored_share: Array,
) -> None:
    """Matches the predictions of one class in one scene with its ground truths.

    Args:
        tallies: by threshold; added to.
        iou: float64 [P, G], predictions in file order, ground truths by ascending id.
        is_target: bool [G], False for ground truths that are too small to count.
        scores: float64 [P].
        ignored_share: float64 [P], share of each prediction on void or small ground truths.
    """
    for threshold, tally in tallies.items():
        tally.has_truth |= bool(is_target.any())
        tally.has_prediction |= len(scores) > 0
        overlapping = iou > threshold
        taken = np.zeros(len(scores), bool)
        for truth in np.flatnonzero(is_target):
            best = None
            for prediction in np.flatnonzero(overlapping[:, truth] & ~taken):
                score = scores[prediction]
                if best is None:
                    best = score
                    taken[prediction] = True
                else:  # the lower one is a false positive; the second is not marked as taken
                    tally.false_scores.append(min(best, score))
                    best = max(best, score)
            if best is None:
                tally.missed += 1
            else:
                tally.true_scores.append(best)
        unmatched = ~overlapping.any(axis=1) & (ignored_share <= threshold)
        tally.false_scores.extend(scores[unmatched])


def _area(tally: _Tally) -> float:
    """Area under the precision-recall curve, summed as the official program does."""
    if not tally.has_truth:
        return float("nan")
    if not tally.has_prediction:
        return 0.0
    scores = np.array([*tally.true_scores, *tally.false_scores])
    is_true = np.arange(len(scores)) < len(tally.true_scores)
    if not len(scores):
        return 0.0
    order = np.argsort(scores)
    # At each distinct score, ascending: what has at least that score.
    _, first = np.unique(scores[order], return_index=True)
    true_from = np.cumsum(is_true[order][::-1])[::-1][first].astype(np.float64)
    all_from = len(scores) - first
    precision = np.append(true_from / all_from, 1.0)
    recall = np.append(true_from / (len(tally.true_scores) + tally.missed), 0.0)
    padded = np.concatenate([recall[:1], recall, [0.0]])
    return float(np.dot(precision, np.convolve(padded, [-0.5, 0, 0.5], "valid")))


def _nan_mean(values: Array) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")
