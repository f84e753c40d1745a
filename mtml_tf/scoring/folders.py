"""Scores a folder of predictions against a folder of ground truth."""

import os
import pathlib
import re
from collections.abc import Collection, Iterator, Sequence

import numpy as np
from absl import logging

from mtml_tf import files, program, replacing
from mtml_tf.classes import ClassSet
from mtml_tf.scene import Instance
from mtml_tf.scoring import compact_masks
from mtml_tf.scoring.average_precision import ApTable, average_precision
from mtml_tf.scoring.benchmark_format import (
    MASK_FOLDER,
    read_ground_truth,
    read_predictions,
    write_predictions,
)
from mtml_tf.scoring.explain import Explanation, explain_nothing, explain_scene

# In a folder with the scenes of a split: what they were predicted by, and what became of each.
SETTINGS, REPORT = "predictions.json", "report.json"
# Beside the one scene of a scan: what it was predicted by. No scan has such a name.
SCAN_SETTINGS = ".predictions.json"
PREDICTED, FAILED = "predicted", "failed"


def _is_predicted(path: pathlib.Path) -> bool:
    """Whether a file is a mask, lists the masks of a scene, or is an extra beside such a list."""
    if path.name == SCAN_SETTINGS:
        return True
    if path.name.startswith("."):  # `.<name>.<random>` is left of a process that was killed
        left = re.fullmatch(r"\.(.+)\.[a-z0-9_]{8}", path.name)
        path = path.with_name(left[1] if left else path.name)
    if path.parent.name == MASK_FOLDER:
        return path.suffix == ".txt"
    if path.suffix == compact_masks.SUFFIX or path.name in (SETTINGS, REPORT):
        return True
    listed = path.with_suffix(".txt")
    if path.suffix not in (".txt", ".ply", ".json", ".html"):
        return False
    if path.with_suffix(compact_masks.SUFFIX).is_file() and path != listed:
        return True
    if not listed.is_file():
        return False
    lines = files.read_text(listed, errors="replace").splitlines()
    return all(line.startswith(f"{MASK_FOLDER}/") for line in lines)


# What may be replaced by predictions.
PREDICTIONS = files.FolderKind(
    *("predictions", MASK_FOLDER, _is_predicted, (f"*{compact_masks.SUFFIX}", SETTINGS)),
    settings=SETTINGS,
)


def check_may_predict(
    folder: str | pathlib.Path, overwrite: bool, kind: files.FolderKind = PREDICTIONS
) -> None:
    """Checks that a folder may get the scenes of a split; for before long work.

    Args:
        folder: the folder.
        overwrite: what is there may be replaced.
        kind: of what may be there.

    Raises:
        ValueError: it holds something else than predictions, or `overwrite` is False and it does
            not tell what they were predicted by.
    """
    files.check_folder(folder)
    if overwrite and os.path.isdir(folder) and os.listdir(folder):
        kind.check(folder)
    elif not pathlib.Path(folder, kind.settings).is_file():
        files.check_may_replace(folder, overwrite, kind)


def is_complete(folder: str | pathlib.Path) -> bool:
    """Whether a folder has the predictions of all scenes: predicting did not end before, or fail.

    Raises:
        ValueError: a report that can't be read.
    """
    settings, report = pathlib.Path(folder, SETTINGS), pathlib.Path(folder, REPORT)
    if not settings.exists():  # then it appeared whole
        return settings.parent.exists()
    return report.exists() and f'"status": "{FAILED}"' not in files.read_text(report)


def remove_predictions(folder: pathlib.Path, kind: files.FolderKind = PREDICTIONS) -> None:
    """Empties a folder of predictions; one that is killed meanwhile leaves no scene in part.

    Args:
        folder: the folder.
        kind: of what may be there.

    Raises:
        ValueError: there is something else in it; nothing is removed then.
    """
    if not any(folder.iterdir()):
        return
    kind.check(folder)
    paths = [path for path in folder.rglob("*") if not path.is_dir()]
    # Lists before their masks, and the settings last.
    for path in sorted(paths, key=lambda path: (path.name == kind.settings, len(path.parts))):
        path.unlink()


def evaluate_folder(
    prediction_dir: str | pathlib.Path,
    ground_truth_dir: str | pathlib.Path,
    classes: ClassSet,
    min_vertices: int = 100,
) -> ApTable:
    """Scores every scene that has ground truth; one scene is held at a time.

    A scene without a prediction file counts as one in which nothing was found. That, predictions
    without ground truth and class ids that are not scored are told as warnings.

    Args:
        prediction_dir: folder of predictions, of text masks or compact ones.
        ground_truth_dir: folder of `<scene>.txt`.
        classes: its thing classes are scored.
        min_vertices: see `average_precision`.

    Returns:
        AP, AP50 and AP25 of each thing class.

    Raises:
        ValueError: a folder that is missing or has no scene, folders without a common one, or a
            file that is not as it should be.
    """
    scenes = _read_scenes(prediction_dir, ground_truth_dir, classes)
    table = average_precision(scenes, classes, min_vertices)
    _warn_where_nothing_is_scored(table, ground_truth_dir, min_vertices)
    return table


def export_text(
    prediction_dir: str | pathlib.Path, output_dir: str | pathlib.Path, overwrite: bool = False
) -> int:
    """Writes the compact masks of a folder as the benchmark's text files.

    Args:
        prediction_dir: folder of `<scene>.masks`.
        output_dir: folder in benchmark format; appears whole or not at all.
        overwrite: replace a folder of predictions that exists.

    Returns:
        The number of scenes.

    Raises:
        ValueError: no compact masks there, a file that is damaged, or a folder that may not be
            replaced.
    """
    files.check_apart(output_dir, [prediction_dir])
    scenes = _scene_files(prediction_dir, (compact_masks.SUFFIX,))
    with files.writing_folder(output_dir, overwrite, PREDICTIONS) as folder:
        for name, path in program.progress(sorted(scenes.items()), "scenes", len(scenes)):
            write_predictions(folder, name, *compact_masks.read_masks(path))
    return len(scenes)


def explain_folder(
    prediction_dir: str | pathlib.Path,
    ground_truth_dir: str | pathlib.Path,
    classes: ClassSet,
    min_vertices: int = 100,
) -> tuple[ApTable, Explanation]:
    """Scores every scene as `evaluate_folder` does, and counts why the scores are what they are.

    The files are read once for both. Arguments and errors are those of `evaluate_folder`.
    """
    explanation = explain_nothing(classes)

    def scenes() -> Iterator[tuple[np.ndarray, Sequence[Instance]]]:
        nonlocal explanation
        for ids, instances in _read_scenes(prediction_dir, ground_truth_dir, classes):
            explanation += explain_scene(ids, instances, classes, min_vertices)
            yield ids, instances

    table = average_precision(scenes(), classes, min_vertices)
    _warn_where_nothing_is_scored(table, ground_truth_dir, min_vertices)
    return table, explanation


def _read_scenes(
    prediction_dir: str | pathlib.Path, ground_truth_dir: str | pathlib.Path, classes: ClassSet
) -> Iterator[tuple[np.ndarray, Sequence[Instance]]]:
    """Yields ground truth and predictions of each scene; warns of what does not fit together."""
    # In a data folder whose split a process was replacing when it was killed, it lies elsewhere.
    place = pathlib.Path(os.path.abspath(ground_truth_dir))
    current = replacing.locate(place.parent.parent, f"{place.parent.name}/{place.name}")
    predicted = _scene_files(prediction_dir, (".txt", compact_masks.SUFFIX))
    truths = _scene_files(current)
    if not truths.keys() & predicted.keys():
        raise ValueError(
            f"{prediction_dir}: expected predictions of scenes in {ground_truth_dir}, such as "
            f"{min(truths)}.txt, found those of others, such as {min(predicted)}.txt; give the two "
            "folders of one split"
        )
    _warn(
        f"of {len(truths)} scenes have no prediction file and count as empty",
        truths.keys() - predicted.keys(),
    )
    _warn("prediction files have no ground truth", predicted.keys() - truths.keys())
    if not is_complete(prediction_dir):
        logging.warning(
            "%s: predicting was ended, or failed for some scenes; the same command of predict goes "
            "on with it",
            prediction_dir,
        )
    unknown_ids: set[int] = set()
    for name in program.progress(sorted(truths), "scenes"):
        ids = read_ground_truth(truths[name])
        instances = read_predictions(prediction_dir, name, len(ids)) if name in predicted else []
        unknown_ids.update({i.class_id for i in instances}.difference(classes.thing_ids))
        yield ids, instances
    _warn("class ids of predictions are not scored", unknown_ids)


def _warn_where_nothing_is_scored(
    table: ApTable, ground_truth_dir: str | pathlib.Path, min_vertices: int
) -> None:
    if np.isnan(table.ap).all():
        logging.warning(
            "%s: none of the %d scored classes has ground truth of %d or more vertices",
            *(ground_truth_dir, len(table.names), min_vertices),
        )


def _warn(problem: str, names: Collection[str] | Collection[int]) -> None:
    if names:
        listed = ", ".join(str(name) for name in sorted(names)[:10])
        logging.warning("%d %s: %s%s", len(names), problem, listed, ", ..." * (len(names) > 10))


def _scene_files(
    folder: str | pathlib.Path, suffixes: Sequence[str] = (".txt",)
) -> dict[str, pathlib.Path]:
    """Returns the files of a folder, one a scene. Raises ValueError where there are none."""
    folder = pathlib.Path(folder)
    expected = f"<scene>{suffixes[0]} files"
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder of {expected}, found no such folder")

    def files_in(folder: pathlib.Path) -> list[pathlib.Path]:
        found = [path for suffix in suffixes for path in folder.glob(f"*{suffix}")]
        return [path for path in found if not path.name.startswith(".")]

    found = files_in(folder)
    if not found:
        inner = sorted(path.name for path in folder.iterdir() if files_in(path))
        elsewhere = f", but some in its folders {', '.join(inner[:10])}; give one of these"
        raise ValueError(f"{folder}: expected {expected}, found none{elsewhere if inner else ''}")
    return {path.stem: path for path in found}
