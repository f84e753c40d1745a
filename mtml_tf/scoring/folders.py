"""Scores a folder of predictions against a folder of ground truth."""

import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
from absl import logging

from mtml_tf import program
from mtml_tf.classes import ClassSet
from mtml_tf.scene import Instance
from mtml_tf.scoring.average_precision import ApTable, average_precision
from mtml_tf.scoring.benchmark_format import read_ground_truth, read_predictions


def evaluate_folder(
    prediction_dir: str | pathlib.Path,
    ground_truth_dir: str | pathlib.Path,
    classes: ClassSet,
    min_vertices: int = 100,
) -> ApTable:
    """Scores every scene that has ground truth.

    A scene without a prediction file counts as one without instances; this, class ids that are
    not scored, and predictions without ground truth are logged.

    Args:
        prediction_dir: folder in benchmark format.
        ground_truth_dir: folder of `<scene>.txt`.
        classes: its thing classes are scored.
        min_vertices: see `average_precision`.

    Raises:
        ValueError: a folder that is missing or empty, or a file that is not as it should be.
    """
    predicted, truths = _text_files(prediction_dir), _text_files(ground_truth_dir)
    missing = sorted(set(truths) - set(predicted))
    if missing:
        logging.warning(
            "%d of %d scenes have no prediction file (first: %s) and count as empty",
            *(len(missing), len(truths), missing[0]),
        )
    strangers = sorted(set(predicted) - set(truths))
    if strangers:
        logging.warning("%d predictions have no ground truth: %s", len(strangers), strangers[0])
    unknown: set[int] = set()

    def scenes() -> Iterator[tuple[np.ndarray, Sequence[Instance]]]:
        for name in program.progress(sorted(truths), "scenes"):
            ids = read_ground_truth(truths[name])
            instances = (
                read_predictions(prediction_dir, name, len(ids)) if name in predicted else []
            )
            unknown.update({i.class_id for i in instances} - set(classes.thing_ids))
            yield ids, instances

    table = average_precision(scenes(), classes, min_vertices)
    if unknown:
        logging.warning("class ids that are not scored were left out: %s", sorted(unknown))
    return table


def _text_files(folder: str | pathlib.Path) -> dict[str, pathlib.Path]:
    """Returns the `.txt` files of a folder by stem. Raises ValueError where there are none."""
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder of <scene>.txt files, found no such folder")
    found = {path.stem: path for path in folder.glob("*.txt")}
    if not found:
        raise ValueError(f"{folder}: expected <scene>.txt files, found none")
    return found
