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
    SETTINGS,
    check_may_predict,
    remove_predictions,
)


@contextlib.contextmanager
def claimed(
    folder: pathlib.Path,
    settings: Mapping[str, Any],
    overwrite: bool,
    kind: files.FolderKind = PREDICTIONS,
    settings_name: str = SETTINGS,
) -> Iterator[None]:
    """Makes a folder ready for predictions of these settings, and keeps other processes out.

    Args:
        folder: the folder; made where there is none.
        settings: all that the predictions depend on, as JSON has it.
        overwrite: replace what is there, all of it; otherwise what the same settings began stays.
        kind: of what may be there.
        settings_name: of the file in it that keeps the settings.

    Raises:
        ValueError: it holds something else, and may not be overwritten, or another process
            predicts into it.
    """
    check_may_predict(folder, overwrite, kind, settings_name)
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
            remove_predictions(folder, kind, settings_name)
        _begin(folder / settings_name, settings)
        yield


def write_report(
    folder: pathlib.Path,
    split: str,
    settings: Mapping[str, Any],
    names: Iterable[str],
    failed: Mapping[str, str],
    doubted: Mapping[str, str] = {},
) -> None:
    """Writes what became of each scene of a split; what the report tells of others stays.

    Args:
        folder: the folder.
        split: the split.
        settings: all that the predictions depend on.
        names: of all scenes of the split.
        failed: why scenes are not predicted, by name.
        doubted: what is to be said of scenes that are, by name.
    """
    path = folder / REPORT
    scenes = {
        name: {
            "status": FAILED if name in failed else PREDICTED,
            "reasons": [told[name] for told in (failed, doubted) if name in told],
        }
        for name in names
    }
    others = read_object(path) if path.exists() else {}
    report = {**others, split: {"settings": settings, "scenes": scenes}}
    files.write_text(path, json.dumps(report, indent=1) + "\n", overwrite=True)


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
