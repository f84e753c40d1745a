"""Folders of predictions that one process writes at a time, all by the same settings.

Their `report.json` tells what became of each scene of a split, laid out as that of prepared scenes.
"""

import contextlib
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mtml_tf import files
from mtml_tf.data.records import read_object
from mtml_tf.scoring.folders import (
    FAILED,
    PREDICTED,
    PREDICTIONS,
    REPORT,
    check_may_predict,
    remove_predictions,
)


@contextlib.contextmanager
def claimed(
    folder: pathlib.Path,
    settings: Mapping[str, Any],
    overwrite: bool,
    kind: files.FolderKind = PREDICTIONS,
) -> Iterator[None]:
    """Makes a folder ready for predictions of these settings, and keeps other processes out.

    Args:
        folder: the folder; made where there is none.
        settings: all that the predictions depend on, as JSON has it.
        overwrite: replace what is there, all of it; otherwise what the same settings began stays.
        kind: of what may be there.

    Raises:
        ValueError: it holds something else, and may not be overwritten, or another process
            predicts into it.
    """
    check_may_predict(folder, overwrite, kind)
    files.make_folder(folder)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(files.locked(folder, wait=False))
        except files.LockedError as error:
            raise ValueError(
                f"{folder}: expected a folder that nobody writes, found that another process "
                "predicts into it; wait for its end or choose another folder"
            ) from error
        if overwrite:
            remove_predictions(folder, kind)
        _begin(folder / kind.settings, settings)
        yield


def take_report(folder: pathlib.Path, split: str) -> dict[str, Any]:
    """Takes what the report tells of a split out of it, until `write_report` makes it true again.

    Args:
        folder: the folder.
        split: the split.

    Returns:
        What it told of each scene, by name; nothing of a report that can't be read.
    """
    path = folder / REPORT
    others = _read_report(path)
    told = others.pop(split, None)
    if others:
        files.write_text(path, json.dumps(others, indent=1) + "\n", overwrite=True)
    else:
        path.unlink(missing_ok=True)
    scenes = told.get("scenes") if isinstance(told, dict) else None
    return scenes if isinstance(scenes, dict) else {}


def write_report(
    folder: pathlib.Path,
    split: str,
    settings: Mapping[str, Any],
    names: Iterable[str],
    failed: Mapping[str, str],
    predicted: Mapping[str, Any] = {},
) -> None:
    """Writes what became of each scene of a split; what the report tells of others stays.

    Args:
        folder: the folder.
        split: the split.
        settings: all that the predictions depend on.
        names: of all scenes of the split.
        failed: why scenes are not predicted, by name.
        predicted: what there is to say of scenes that are (see `encode_scene`), by name; of others
            nothing.
    """
    path = folder / REPORT
    scenes = {
        name: encode_scene(FAILED, failed[name])
        if name in failed
        else predicted.get(name, encode_scene(PREDICTED))
        for name in names
    }
    report = {**_read_report(path), split: {"settings": settings, "scenes": scenes}}
    files.write_text(path, json.dumps(report, indent=1) + "\n", overwrite=True)


def encode_scene(status: str, *reasons: str) -> dict[str, Any]:
    """Returns what a report tells of a scene."""
    return {"status": status, "reasons": list(reasons)}


def _read_report(path: pathlib.Path) -> dict[str, Any]:
    """Returns what a report tells, by split; nothing where it is missing or damaged."""
    try:
        return read_object(path) if path.exists() else {}
    except ValueError:
        return {}


def _begin(path: pathlib.Path, settings: Mapping[str, Any]) -> None:
    """Writes the settings, or checks that those that are there are the same."""
    if not path.exists():
        files.write_text(path, json.dumps(settings, indent=1) + "\n")
        return
    theirs = read_object(path)
    for name, ours in settings.items():
        if theirs.get(name) != ours:
            raise ValueError(
                f"{path.parent}: exists already; choose another folder or give --overwrite: "
                f"expected predictions of the same '{name}' to go on with, found "
                f"{_brief(theirs.get(name))} in {path} instead of {_brief(ours)}"
            )


def _brief(value: Any) -> str:
    return files.shown(json.dumps(value), 40)
