"""Replaces several parts of a folder at one moment, whatever ends the process that does it.

    <folder>/.update/new/         the new parts, under their names
    <folder>/.update/journal.json which parts they are, and which are only taken away
    <folder>/.update/old/         what they have replaced

One rename decides, that of the journal to its name. Before it the folder holds what it held. From
then on `locate` finds each part in `new/` until it is at its place, so that who asks it reads all
as before or all as after, without the right to write. `finish` moves to their places what a
process that was killed has left; each step of it may be the last of a process, and is made once.
A part, a file or a folder, is moved as a whole: who looks at a place itself finds the old one, the
new one or, between two renames of a folder, none.
"""

import json
import pathlib
import shutil
from collections.abc import Sequence

from mtml_tf import files

UPDATE = ".update"
_JOURNAL, _NEW, _OLD = "journal.json", "new", "old"
_MOVED, _REMOVED = "moved", "removed"
_EXPECTED = "the journal of parts that are replaced"


def locate(folder: str | pathlib.Path, part: str) -> pathlib.Path:
    """Returns where a part of a folder lies, or would lie if it were there.

    Args:
        folder: one of which parts may have been replaced.
        part: name of the file or folder in it, slashes between folders.
    """
    staged = pathlib.Path(folder, UPDATE, _NEW, part)
    journal = _read_journal(pathlib.Path(folder))
    if part in journal[_REMOVED] or (part in journal[_MOVED] and staged.exists()):
        return staged
    return pathlib.Path(folder, part)


def replace_parts(
    folder: pathlib.Path, staging: pathlib.Path, moved: Sequence[str], removed: Sequence[str]
) -> None:
    """Replaces parts of a folder. One process at a time: see `files.locked`.

    Args:
        folder: the folder.
        staging: a folder on the same file system; holds the new parts under their names, and is
            gone afterwards with all else in it.
        moved: names of the parts that are new or replaced.
        removed: names of the parts that are taken away.
    """
    finish(folder)
    update = folder / UPDATE
    update.mkdir()
    try:
        staging.chmod(0o755)
        staging.replace(update / _NEW)
        files.write_text(
            update / _JOURNAL, json.dumps({_MOVED: list(moved), _REMOVED: list(removed)})
        )
    finally:
        finish(folder)


def finish(folder: pathlib.Path) -> None:
    """Completes what `replace_parts` began and decided; takes away what it did not decide."""
    update = folder / UPDATE
    journal = _read_journal(folder)
    for part in (*journal[_REMOVED], *journal[_MOVED]):
        new, place, old = update / _NEW / part, folder / part, update / _OLD / part
        if place.exists() and (part in journal[_REMOVED] or (place.is_dir() and new.exists())):
            old.parent.mkdir(parents=True, exist_ok=True)
            place.replace(old)
        if new.exists():
            place.parent.mkdir(exist_ok=True)
            new.replace(place)
    if update.exists():
        shutil.rmtree(update)


def _read_journal(folder: pathlib.Path) -> dict[str, list[str]]:
    path = folder / UPDATE / _JOURNAL
    if not path.is_file():
        return {_MOVED: [], _REMOVED: []}
    journal = files.read_json(path, _EXPECTED)
    for part in (_MOVED, _REMOVED):
        names = journal.get(part) if isinstance(journal, dict) else None
        if not isinstance(names, list) or not all(map(files.is_inside, names)):
            raise ValueError(
                f"{path}: expected {_EXPECTED}, found no list '{part}' of names of files in the "
                "folder; make the folder again"
            )
    return journal
