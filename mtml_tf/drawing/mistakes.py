"""Where the mistakes of a prediction are: the counts of `scoring.explain`, for each vertex."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mtml_tf.classes import ClassSet
from mtml_tf.scene import Instance
from mtml_tf.scoring import explain
from mtml_tf.scoring.overlaps import find_overlaps

Array = np.ndarray

FALSE = "false"
MISTAKE_COLORS = {
    "found": (176, 214, 170),
    "wrong class": (240, 150, 40),
    "merged": (150, 80, 190),
    "split": (40, 120, 215),
    "missed": (215, 40, 50),
    FALSE: (70, 60, 60),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Mistakes:
    """What became of the objects of a scene, by the rules of AP50 (see `scoring.explain`).

    Attributes:
        object_kinds: for each ground truth id (`class_id * 1000 + instance`) that is to be found
            one of `explain.OBJECT_KINDS`.
        on_false: bool [N], True on predictions that are no object and none by mistaken class,
            where they are not on an object of `object_kinds`.
        num_false: how many such predictions there are.
    """

    object_kinds: Mapping[int, str]
    on_false: Array
    num_false: int

    def counts(self) -> dict[str, int]:
        """Returns how many objects are of each kind, and how many predictions are false."""
        kinds = list(self.object_kinds.values())
        return {kind: kinds.count(kind) for kind in explain.OBJECT_KINDS} | {FALSE: self.num_false}

    def colors(self, truth: Array, background: tuple[int, int, int]) -> Array:
        """Returns uint8 [N, 3], `MISTAKE_COLORS` on the objects and on false predictions.

        Args:
            truth: int64 [N], the ground truth.
            background: colour of everything else.
        """
        colors = np.full((len(truth), 3), background, np.uint8)
        for truth_id, kind in self.object_kinds.items():
            colors[truth == truth_id] = MISTAKE_COLORS[kind]
        colors[self.on_false] = MISTAKE_COLORS[FALSE]
        return colors


def find_mistakes(
    truth: Array, instances: Sequence[Instance], classes: ClassSet, min_vertices: int = 100
) -> Mistakes:
    """Says of each object of a scene whether it was found, and why not.

    Args:
        truth: int64 [N], ground truth: `class_id * 1000 + instance`.
        instances: predictions; indices are vertex rows.
        classes: its thing classes are scored.
        min_vertices: smaller objects are not looked for, smaller predictions do not count.

    Raises:
        ValueError: an index beyond the vertices.
    """
    for instance in instances:
        instance.check("a scene to explain", len(truth))
    overlaps = find_overlaps(truth, instances, classes.thing_ids, min_vertices)
    truth_ids = np.unique(truth)
    targets = np.flatnonzero(overlaps.is_target).tolist()
    object_kinds = {
        int(truth_ids[target]): explain.OBJECT_KINDS[explain.object_kind(overlaps, target)]
        for target in targets
    }
    on_false, num_false = np.zeros(len(truth), bool), 0
    for members, kind in zip(overlaps.members, explain.prediction_kinds(overlaps), strict=True):
        if explain.PREDICTION_KINDS[kind] == "false":
            on_false[members] = True
            num_false += 1
    on_false &= ~np.isin(truth, list(object_kinds))
    return Mistakes(object_kinds, on_false, num_false)
