"""Why the average precision is what it is: what became of each object and of each prediction.

Everything is looked at as AP50 looks at it: at an IoU of 0.5, at which a prediction can match one
object only, by the rules of the ScanNet instance benchmark. An object is a ground truth of a scored
class with at least `min_vertices` vertices. It is the first of these that applies:

    found        a prediction of its class overlaps it with an IoU above 0.5
    wrong class  a prediction of another scored class does
    merged       of the predictions of its class, the one that overlaps it best covers it and at
                 least one more ground truth of the class (covers: holds more than half of its
                 vertices)
    split        at least two predictions of its class are pieces of it (piece: more than half of
                 the prediction lies on it), and together the pieces cover it
    missed       none of these: no prediction touches it enough

A prediction of a scored class is the first of these that applies:

    match        of the predictions of its class whose IoU with an object is above 0.5, the one with
                 the highest score, the first of them where scores are equal; a right one in AP50
    duplicate    another one of those predictions; a mistake in AP50
    ignored      neither right nor a mistake in AP50: it has less than `min_vertices` vertices, or
                 more than half of it lies on void (on what belongs to no scored class) and on too
                 small ground truths of its class
    wrong class  its IoU with a ground truth of another scored class is above 0.5; a mistake in AP50
    false        none of these; a mistake in AP50

So the objects of a class are the sum of its first five counts, its predictions are the sum of the
last five, and there are as many matches as objects found.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mtml_tf.classes import ClassSet
from mtml_tf.scene import Instance
from mtml_tf.scoring.overlaps import SceneOverlaps, find_overlaps

Array = np.ndarray

OBJECT_KINDS = ("found", "wrong class", "merged", "split", "missed")
PREDICTION_KINDS = ("match", "duplicate", "ignored", "wrong class", "false")
_HEADER = ("class", "objects", *OBJECT_KINDS, "predictions", *PREDICTION_KINDS)
_IOU = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class Explanation:
    """Counts of what became of objects and predictions; those of several scenes can be added.

    Attributes:
        names: names of the scored classes, C of them.
        objects: int64 [C, 5], objects of each class and kind, in the order of `OBJECT_KINDS`.
        predictions: int64 [C, 5], likewise, in the order of `PREDICTION_KINDS`.
    """

    names: tuple[str, ...]
    objects: Array
    predictions: Array

    def __add__(self, other: "Explanation") -> "Explanation":
        return Explanation(
            self.names, self.objects + other.objects, self.predictions + other.predictions
        )

    def rows(self) -> list[tuple[str, list[int]]]:
        """Returns the name and the counts of each class and, last, of all classes.

        The counts are: objects, their five kinds, predictions, their five kinds.
        """
        counts = np.concatenate(
            [
                self.objects.sum(axis=1, keepdims=True),
                self.objects,
                self.predictions.sum(axis=1, keepdims=True),
                self.predictions,
            ],
            axis=1,
        )
        return [
            *zip(self.names, counts.tolist(), strict=True),
            ("all", counts.sum(axis=0).tolist()),
        ]

    def encode_text(self) -> str:
        """Returns an aligned table with a row of sums."""
        table = [_HEADER, *((name, *map(str, counts)) for name, counts in self.rows())]
        widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
            for row in table
        ]
        return "\n".join(lines) + "\n"

    def encode_markdown(self) -> str:
        """Returns a Markdown table with a row of sums."""
        lines = ["| " + " | ".join(_HEADER) + " |", "| --- |" + " ---: |" * (len(_HEADER) - 1)]
        lines += [f"| {name} | {' | '.join(map(str, counts))} |" for name, counts in self.rows()]
        return "\n".join(lines) + "\n"


def explain_nothing(classes: ClassSet) -> Explanation:
    """Returns the explanation of no scene at all, to add others to."""
    shape = len(classes.thing_ids), len(OBJECT_KINDS)
    names = tuple(classes.name_of(class_id) for class_id in classes.thing_ids)
    return Explanation(names, np.zeros(shape, np.int64), np.zeros(shape, np.int64))


def explain_scene(
    ground_truth: Array, instances: Sequence[Instance], classes: ClassSet, min_vertices: int = 100
) -> Explanation:
    """Explains one scene.

    Args:
        ground_truth: int [N], `class_id * 1000 + instance` for each vertex.
        instances: predictions, whose indices are vertex rows.
        classes: its thing classes are scored; predictions of other classes are left out.
        min_vertices: smaller predictions are ignored, smaller ground truths are no objects.

    Returns:
        What became of each object and of each prediction.

    Raises:
        ValueError: a prediction with a row that the scene has not, or a score that is not finite.
    """
    ids = np.asarray(ground_truth, np.int64)
    for instance in instances:
        instance.check("a scene to explain", len(ids))
    class_ids = classes.thing_ids
    overlaps = find_overlaps(ids, instances, class_ids, min_vertices)
    explanation = explain_nothing(classes)
    targets = np.flatnonzero(overlaps.is_target)
    object_kinds = [object_kind(overlaps, truth) for truth in targets.tolist()]
    _count(explanation.objects, class_ids, overlaps.truth_classes[targets], object_kinds)
    _count(explanation.predictions, class_ids, overlaps.classes, prediction_kinds(overlaps))
    given = [instance.class_id for instance in instances]
    for row, class_id in enumerate(class_ids):
        too_small = given.count(class_id) - np.count_nonzero(overlaps.classes == class_id)
        explanation.predictions[row, PREDICTION_KINDS.index("ignored")] += too_small
    return explanation


def _count(table: Array, class_ids: Sequence[int], of_class: Array, kinds: Sequence[int]) -> None:
    """Adds 1 to the cell of each class and kind."""
    row_of_class = {class_id: row for row, class_id in enumerate(class_ids)}
    for class_id, kind in zip(of_class.tolist(), kinds, strict=True):
        table[row_of_class[class_id], kind] += 1


def object_kind(overlaps: SceneOverlaps, truth: int) -> int:
    """Returns the place in `OBJECT_KINDS` of what became of an object.

    Args:
        overlaps: of the scene.
        truth: column of the object.
    """
    iou = overlaps.iou[:, truth]
    mine = overlaps.same_class[:, truth]
    if (iou[mine] > _IOU).any():
        return OBJECT_KINDS.index("found")
    if (iou > _IOU).any():
        return OBJECT_KINDS.index("wrong class")
    if not mine.any():
        return OBJECT_KINDS.index("missed")
    of_class = overlaps.truth_classes == overlaps.truth_classes[truth]
    best = np.argmax(np.where(mine, iou, -1.0))
    covered = of_class & (overlaps.shared[best] > overlaps.truth_sizes / 2)
    if covered[truth] and np.count_nonzero(covered) > 1:
        return OBJECT_KINDS.index("merged")
    pieces = np.flatnonzero(mine & (overlaps.shared[:, truth] > overlaps.sizes / 2))
    if len(pieces) > 1:
        members = np.unique(np.concatenate([overlaps.members[row] for row in pieces]))
        held = np.count_nonzero(overlaps.truth_of_vertex[members] == truth)
        if held > overlaps.truth_sizes[truth] / 2:
            return OBJECT_KINDS.index("split")
    return OBJECT_KINDS.index("missed")


def prediction_kinds(overlaps: SceneOverlaps) -> list[int]:
    """Returns for each of the P predictions its place in `PREDICTION_KINDS`."""
    overlapping = overlaps.iou > _IOU
    on_target = overlapping & overlaps.same_class & overlaps.is_target
    # Which one of several is the match makes no difference to the counts: the first.
    is_first = on_target & (np.cumsum(on_target, axis=0) == 1)
    kinds = []
    for row in range(len(overlaps.classes)):
        if on_target[row].any():
            kind = "match" if is_first[row].any() else "duplicate"
        # More than half of a prediction that matches a too small ground truth lies on it.
        elif overlaps.ignored_share[row] > _IOU:
            kind = "ignored"
        else:
            kind = "wrong class" if overlapping[row].any() else "false"
        kinds.append(PREDICTION_KINDS.index(kind))
    return kinds
