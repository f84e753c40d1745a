"""Average precision by the rules of the ScanNet instance benchmark.

    overlaps of a scene -> matches at a threshold -> precision-recall curve -> table

Scenes are taken one by one. What is kept of each is, for every class and threshold, the scores of
its true and false positives and the number of its missed objects.
"""

import array
import csv
import dataclasses
import io
from collections.abc import Iterable, Sequence

import numpy as np

from mtml_tf.classes import ClassSet
from mtml_tf.scene import Instance
from mtml_tf.scoring.overlaps import ClassOverlaps, find_overlaps

Array = np.ndarray

# The official program's own floats: nine steps from 0.5, of which 0.95 is none.
AP_THRESHOLDS = tuple(float(threshold) for threshold in np.arange(0.5, 0.95, 0.05))
THRESHOLDS = (*AP_THRESHOLDS, 0.25)
_AP50, _AP25 = THRESHOLDS.index(0.5), THRESHOLDS.index(0.25)


@dataclasses.dataclass(frozen=True)
class ApValues:
    """AP (mean over the thresholds 0.50 to 0.90), AP50 and AP25, each in [0, 1] or NaN."""

    ap: float
    ap50: float
    ap25: float


@dataclasses.dataclass(frozen=True, eq=False)
class ApTable:
    """Average precision of each scored class.

    Attributes:
        class_ids, names: the scored classes, C of them.
        ap: float64 [C] in [0, 1], mean over the thresholds 0.50 to 0.90; NaN for a class without
            ground truth.
        ap50, ap25: float64 [C], likewise, at the thresholds 0.50 and 0.25.
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

    def rows(self) -> list[tuple[str, float, float, float]]:
        """Returns (name, AP, AP50, AP25) of each class and, last, of the average."""
        columns = (self.ap.tolist(), self.ap50.tolist(), self.ap25.tolist())
        average = self.average
        return [
            *zip(self.names, *columns, strict=True),
            ("average", average.ap, average.ap50, average.ap25),
        ]

    def encode_text(self) -> str:
        """Returns an aligned table with an average row."""
        rows = self.rows()
        width = max(len(row[0]) for row in rows)
        lines = [f"{'class':<{width}}  {'AP':>6}  {'AP50':>6}  {'AP25':>6}"]
        lines += [f"{name:<{width}}  {a:6.3f}  {b:6.3f}  {c:6.3f}" for name, a, b, c in rows]
        return "\n".join(lines) + "\n"

    def encode_markdown(self) -> str:
        """Returns a Markdown table with an average row."""
        lines = ["| class | AP | AP50 | AP25 |", "| --- | ---: | ---: | ---: |"]
        lines += [f"| {name} | {a:.3f} | {b:.3f} | {c:.3f} |" for name, a, b, c in self.rows()]
        return "\n".join(lines) + "\n"

    def encode_csv(self) -> str:
        """Returns the official program's CSV: one row a class, in full precision, no average."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["class", "class id", "ap", "ap50", "ap25"])
        for class_id, row in zip(self.class_ids, self.rows()[:-1], strict=True):
            writer.writerow([row[0], class_id, *row[1:]])
        return text.getvalue()


@dataclasses.dataclass(eq=False)
class _Tally:
    """What the curve of one class at one threshold is made of; grows with every scene."""

    true_scores: array.array = dataclasses.field(default_factory=lambda: array.array("d"))
    false_scores: array.array = dataclasses.field(default_factory=lambda: array.array("d"))
    missed: int = 0


def average_precision(
    scenes: Iterable[tuple[Array, Sequence[Instance]]],
    classes: ClassSet,
    min_vertices: int = 100,
) -> ApTable:
    """Scores instances.

    Args:
        scenes: for each scene its ground truth, int [N] (`class_id * 1000 + instance` for each
            vertex), and its predictions, whose indices are vertex rows.
        classes: its thing classes are scored; predictions of other classes are left out.
        min_vertices: smaller predictions are left out, smaller ground truths need not be found.

    Returns:
        AP, AP50 and AP25 of each thing class.

    Raises:
        ValueError: a prediction with a row that the scene has not, or a score that is not finite.
    """
    class_ids = classes.thing_ids
    tallies = {class_id: [_Tally() for _ in THRESHOLDS] for class_id in class_ids}
    for number, (ground_truth, instances) in enumerate(scenes, start=1):
        ids = np.asarray(ground_truth, np.int64)
        for instance in instances:
            instance.check(f"scene {number} of those scored", len(ids))
        scene = find_overlaps(ids, instances, class_ids, min_vertices)
        for class_id in np.intersect1d([*scene.truth_classes, *scene.classes], class_ids).tolist():
            overlaps = scene.of_class(class_id)
            for threshold, tally in zip(THRESHOLDS, tallies[class_id], strict=True):
                _add_matches(tally, overlaps, threshold)
    area = np.array([[_area(tally) for tally in tallies[class_id]] for class_id in class_ids])
    area = area.reshape(len(class_ids), len(THRESHOLDS))
    return ApTable(
        class_ids,
        tuple(classes.name_of(class_id) for class_id in class_ids),
        ap=area[:, : len(AP_THRESHOLDS)].mean(axis=1),
        ap50=area[:, _AP50],
        ap25=area[:, _AP25],
    )


def _add_matches(tally: _Tally, overlaps: ClassOverlaps, threshold: float) -> None:
    """Matches predictions with ground truths in one scene, and adds what comes of it."""
    matches = overlaps.iou > threshold
    taken: set[int] = set()
    for truth in np.flatnonzero(overlaps.is_target):
        rows = [row for row in np.flatnonzero(matches[:, truth]).tolist() if row not in taken]
        if not rows:
            tally.missed += 1
            continue
        # The best of several is the true positive; only the first is spent on this ground truth,
        # so that another one may match the rest.
        taken.add(rows[0])
        *lower, best = sorted(overlaps.scores[rows].tolist())
        tally.true_scores.append(best)
        tally.false_scores.extend(lower)
    is_false = ~matches.any(axis=1) & (overlaps.ignored_share <= threshold)
    tally.false_scores.extend(overlaps.scores[is_false].tolist())


def _precision_recall(true_scores: Array, false_scores: Array, missed: int) -> tuple[Array, Array]:
    """Returns precision and recall [T + 1] at each of the T distinct scores, ascending.

    The last point, precision 1 and recall 0, stands for a score above all.

    Args:
        true_scores: float64 [t], at least one where nothing is missed.
        false_scores: float64 [f].
        missed: number of ground truths without a match.
    """
    scores = np.unique(np.concatenate([true_scores, false_scores]))
    true_from = len(true_scores) - np.searchsorted(np.sort(true_scores), scores)
    false_from = len(false_scores) - np.searchsorted(np.sort(false_scores), scores)
    precision = true_from / (true_from + false_from)
    recall = true_from / (len(true_scores) + missed)
    return np.append(precision, 1.0), np.append(recall, 0.0)


def _area(tally: _Tally) -> float:
    """Returns the area under the precision-recall curve, summed as the official program does."""
    true_scores, false_scores = np.array(tally.true_scores), np.array(tally.false_scores)
    if not len(true_scores) + tally.missed:
        return float("nan")
    precision, recall = _precision_recall(true_scores, false_scores, tally.missed)
    padded = np.concatenate([recall[:1], recall, [0.0]])
    return float(np.dot(precision, np.convolve(padded, [-0.5, 0.0, 0.5], "valid")))


def _nan_mean(values: Array) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")
