"""Intersection over union of classes by the rules of the ScanNet semantic benchmark.

Vertices whose true label is none of the classes are left out. What else is predicted there than a
class, 0 among it, is a miss: it counts against the true class, and for none.
"""

import csv
import dataclasses
import io
from collections.abc import Iterable

import numpy as np

from mtml_tf.classes import ClassSet

Array = np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class IouTable:
    """How well the class of vertices was predicted.

    Attributes:
        class_ids, names: the classes, C of them.
        confusion: int64 [C, C + 1], vertices of each true class (rows) by the class that was
            predicted (columns); the last column is what is no class.
    """

    class_ids: tuple[int, ...]
    names: tuple[str, ...]
    confusion: Array

    @property
    def iou(self) -> Array:
        """float64 [C] in [0, 1]: true positives by all that are true, predicted or both.

        As in the official program, 0 for a class that is predicted at labelled vertices and has no
        true ones, and NaN for a class that has neither.
        """
        hits, predicted = self._hits(), self.confusion[:, :-1].sum(axis=0)
        return _share(hits, self._true() + predicted - hits)

    @property
    def accuracy(self) -> Array:
        """float64 [C] in [0, 1]: the share of a class's true vertices that was found; or NaN."""
        return _share(self._hits(), self._true())

    @property
    def mean_iou(self) -> float:
        """Mean over the classes that are true or predicted anywhere; NaN where none is."""
        return _nan_mean(self.iou)

    @property
    def mean_iou_of_occurring(self) -> float:
        """Mean over the classes that have true vertices; NaN where none has.

        Not in the official program: for data that lack classes, of which a single vertex that is
        predicted would count as much as a class that occurs.
        """
        return _nan_mean(self.iou[self._true() > 0])

    @property
    def mean_accuracy(self) -> float:
        """Mean over the classes that have true vertices; NaN where none has."""
        return _nan_mean(self.accuracy)

    @property
    def overall_accuracy(self) -> float:
        """The share of all labelled vertices whose class was found; NaN where there are none."""
        return float(_share(self._hits().sum(), self.confusion.sum()))

    def encode_text(self) -> str:
        """Returns an aligned table with an average row, and the accuracy over all vertices.

        Where classes without true vertices are predicted, a last row has the average without them.
        """
        rows = [*self._rows(), ("average", self.mean_iou, self.mean_accuracy)]
        lines = [(name, f"{iou:.3f}", f"{accuracy:.3f}") for name, iou, accuracy in rows]
        lines += [("all vertices", "", f"{self.overall_accuracy:.3f}")]
        of_occurring = self.mean_iou_of_occurring
        if not np.array_equal(of_occurring, self.mean_iou, equal_nan=True):
            lines += [("classes that occur", f"{of_occurring:.3f}", f"{self.mean_accuracy:.3f}")]
        width = max(len(name) for name, _, _ in lines)
        return "".join(
            f"{name:<{width}}  {iou:>6}  {accuracy:>8}\n"
            for name, iou, accuracy in [("class", "IoU", "accuracy"), *lines]
        )

    def encode_csv(self) -> str:
        """Returns one row a class, in full precision, no average."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["class", "class id", "iou", "accuracy"])
        for class_id, row in zip(self.class_ids, self._rows(), strict=True):
            writer.writerow([row[0], class_id, *row[1:]])
        return text.getvalue()

    def _hits(self) -> Array:
        return np.diagonal(self.confusion)

    def _true(self) -> Array:
        return self.confusion.sum(axis=1)

    def _rows(self) -> list[tuple[str, float, float]]:
        return list(zip(self.names, self.iou.tolist(), self.accuracy.tolist(), strict=True))


def semantic_iou(scenes: Iterable[tuple[Array, Array]], classes: ClassSet) -> IouTable:
    """Scores the class of vertices.

    Args:
        scenes: for each scene its true and its predicted class ids, int [N] both; any ids.
        classes: the classes that are scored.

    Raises:
        ValueError: a scene with another number of true than of predicted ids.
    """
    confusion = np.zeros((len(classes), len(classes) + 1), np.int64)
    for number, (true_ids, predicted_ids) in enumerate(scenes, start=1):
        if np.shape(true_ids) != np.shape(predicted_ids):
            raise ValueError(
                f"scene {number} of those scored: expected {len(true_ids)} predicted class ids, "
                f"one for each vertex, found {len(predicted_ids)}"
            )
        confusion += confusion_matrix(true_ids, predicted_ids, classes)
    return IouTable(classes.ids, classes.names, confusion)


def confusion_matrix(true_ids: Array, predicted_ids: Array, classes: ClassSet) -> Array:
    """Returns int64 [C, C + 1], see `IouTable`.

    Args:
        true_ids: int [N] class ids; vertices of any other id are left out.
        predicted_ids: int [N] class ids; any other id is taken for no class.
        classes: C of them.
    """
    num_classes = len(classes)
    rows, columns = _channels(true_ids, classes), _channels(predicted_ids, classes)
    counted = rows < num_classes
    cells = rows[counted] * (num_classes + 1) + columns[counted]
    counts = np.bincount(cells, minlength=num_classes * (num_classes + 1))
    return counts.reshape(num_classes, num_classes + 1)


def _channels(ids: Array, classes: ClassSet) -> Array:
    """Returns int64 [N], the place of each id among the classes, C of any other id."""
    ids = np.asarray(ids, np.int64)
    table = np.append(classes.channel_table, -1)  # the last row is that of ids beyond
    inside = (ids >= 0) & (ids < len(table))
    channels = table[np.where(inside, ids, len(table) - 1)].astype(np.int64)
    return np.where(channels < 0, len(classes), channels)


def _share(parts: Array, of: Array) -> Array:
    """Returns float64, NaN where there is nothing to have parts."""
    return np.where(of, parts / np.where(of, of, 1), np.nan)


def _nan_mean(values: Array) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")
