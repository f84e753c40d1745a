"""Scores a folder of semantic predictions against the labels of a points folder."""

import pathlib
from collections.abc import Iterator

import numpy as np

from mtml_tf import program
from mtml_tf.scans import semantic_input
from mtml_tf.scoring.semantic_iou import IouTable, semantic_iou
from mtml_tf.semantic.point_folder import PointFolder

Array = np.ndarray

_MOST_NAMED = 5


def evaluate_split(
    prediction_dir: str | pathlib.Path, data_dir: str | pathlib.Path, split: str
) -> IouTable:
    """Scores every scene of a split; one scene is held at a time.

    Args:
        prediction_dir: folder of `<scene>.txt` or `<scene>.npy`; see `semantic_input`.
        data_dir: the points folder.
        split: of labelled scenes.

    Raises:
        ValueError: no such folder or split, a scene without labels or prediction, or a file that
            is not as it should be.
    """
    folder = PointFolder(data_dir)
    names = folder.names(split)
    semantic_input.check_folder(prediction_dir, names)
    missing = [name for name in names if not semantic_input.find_files(prediction_dir, name)]
    if missing:
        told = ", ".join(missing[:_MOST_NAMED]) + ", ..." * (len(missing) > _MOST_NAMED)
        raise ValueError(
            f"{prediction_dir}: expected <scene>.txt or <scene>.npy of each of the {len(names)} "
            f"scenes of split '{split}', found none of {len(missing)}: {told}; predict them first"
        )

    def scenes() -> Iterator[tuple[Array, Array]]:
        for name in program.progress(names, "scenes"):
            true_ids = folder.read(split, name).semantic_ids
            if true_ids is None:
                raise ValueError(
                    f"{folder.path}: expected labels to score by, found none in scene {name} of "
                    f"split '{split}'; prepare labelled scans"
                )
            given = semantic_input.read_semantic_input(
                prediction_dir, name, len(true_ids), folder.classes
            )
            yield true_ids, given.semantic_ids

    return semantic_iou(scenes(), folder.classes)
