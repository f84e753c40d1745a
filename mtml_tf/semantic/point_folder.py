"""Points folders: scans as the semantic network is trained on them.

    classes.csv           as data folders have it
    <split>.txt           the names of the split's scenes in order; written last
    <split>/<scene>.npz   the arrays of a `PointScene`, not packed, so that they are quickly read,
                          and `stamp`, a text that tells what the scene was made of

A split that has its list is whole. Scenes appear whole, so that work that was ended goes on where
it was.
"""

import collections
import dataclasses
import io
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from absl import logging

from mtml_tf import arrays, files, program
from mtml_tf.classes import ClassSet, encode_classes, read_classes
from mtml_tf.engines import Engine
from mtml_tf.scans.prepared import Source
from mtml_tf.scene import Scene
from mtml_tf.semantic.points import LARGEST_ID, PointScene, point_scene

CLASSES = "classes.csv"
_STAMP = "stamp"
_VERSION = 1  # of what is in a scene's file; another one makes it anew
_AGAIN = "make it again with --overwrite"


class PointPreparation(Protocol):
    """How one scan is read: a frozen data class, which is sent to the other processes."""

    @property
    def classes(self) -> ClassSet:
        """The classes of the labels."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What decides, beside the scan's files, what comes out; as JSON has it."""

    def check(self, sources: Sequence[Source]) -> None:
        """Raises ValueError where, whatever the scans are like, they can't be read."""

    def inputs(self, source: Source) -> list[pathlib.Path]:
        """Returns the files that a scan is made of."""

    def __call__(self, source: Source) -> tuple[Scene, list[str]]:
        """Reads one scan.

        Returns:
            The scan, in metres, z up, with ids of `classes` or 0, or without labels; and what is
            wrong with it, a sentence each that names the file.

        Raises:
            ValueError: a scan that can't be read.
        """


class PointFolder:
    """A points folder, checked when it is opened.

    Attributes:
        path: the folder.
        classes: its class set.
    """

    def __init__(self, path: str | pathlib.Path):
        """Opens a folder. Raises ValueError where there is none, or a damaged one."""
        self.path = pathlib.Path(path)
        if not (self.path / CLASSES).is_file():
            found = f"no {CLASSES} in it" if self.path.is_dir() else "no such folder"
            raise ValueError(
                f"{self.path}: expected a points folder, found {found}; "
                "tools/prepare_semantic.py makes one"
            )
        self.classes = read_classes(self.path / CLASSES)
        self._names = {
            listed.stem: files.read_scene_list(listed)
            for listed in sorted(self.path.glob("*.txt"))
            if listed.with_suffix("").is_dir()
        }

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the whole splits, in alphabetical order."""
        return tuple(self._names)

    def names(self, split: str) -> list[str]:
        """Returns the scenes of a split in order. Raises ValueError where there is none."""
        if split not in self._names:
            begun = files.is_inside(split) and (self.path / split).is_dir()
            raise ValueError(
                f"{self.path}: expected a split '{files.shown(split)}', found "
                f"{'one that is not whole' if begun else f'the splits {list(self.splits)}'}; "
                "tools/prepare_semantic.py makes it"
            )
        return list(self._names[split])

    def scene_path(self, split: str, name: str) -> pathlib.Path:
        """Returns the path of a scene's file."""
        return _scene_path(self.path, split, name)

    def read(self, split: str, name: str) -> PointScene:
        """Reads a scene.

        Raises:
            ValueError: no such split or scene, or a file that is cut, of another kind, or has
                class ids that the folder has not.
        """
        if name not in self.names(split):
            raise ValueError(
                f"{self.path}: expected a scene of split '{split}', found '{files.shown(name)}'"
            )
        path = _scene_path(self.path, split, name)
        found = arrays.read_npz(path)
        found.pop(_STAMP, None)
        try:
            scene = PointScene.from_arrays(name, found)
            if scene.semantic_ids is not None:
                self.classes.channels_of(np.unique(scene.semantic_ids))
        except ValueError as error:
            raise ValueError(
                f"{path}: expected the points of a scene, found {files.shown(str(error))}; {_AGAIN}"
            ) from error
        return scene


def write_point_folder(
    output_dir: str | pathlib.Path,
    sources: Sequence[Source],
    preparation: PointPreparation,
    engine: Engine = Engine(),
    overwrite: bool = False,
) -> str:
    """Writes scans as a points folder, or adds their splits to one.

    A scene whose file is there, made of the same files with the same settings, is not made again.
    One that can't be made does not stop the others: the log tells of it, and the split is without
    it.

    Args:
        output_dir: the points folder.
        sources: the scans.
        preparation: how each is read.
        engine: where the work is done.
        overwrite: make scenes anew that were made of other files or with other settings, and
            replace lists of splits that name others.

    Returns:
        A sentence on what was written.

    Raises:
        ValueError: before any work, a folder of something else or of other classes, scenes or
            splits that would be replaced, or what the `PointPreparation` checks; or, once all
            that can be made is written, scenes that could not be.
    """
    output_dir = pathlib.Path(output_dir)
    classes = preparation.classes
    if max(classes.ids) > LARGEST_ID:
        raise ValueError(
            f"{output_dir}: expected class ids up to {LARGEST_ID} in a points folder, found "
            f"{max(classes.ids)}; give the classes other ids"
        )
    for source in sources:
        if not files.is_inside(source.name):
            raise ValueError(
                f"{source.path}: expected a scene whose name can be that of a file, found "
                f"'{files.shown(source.name)}'"
            )
    preparation.check(sources)
    folder = _open_for_writing(output_dir, classes)
    names: dict[str, list[str]] = collections.defaultdict(list)
    for source in sources:
        names[source.split].append(source.name)
    worker = _Worker(preparation, output_dir)
    left = _left_to_make(worker, folder, names, sources, overwrite)
    if not folder:
        files.write_text(output_dir / CLASSES, encode_classes(classes))
    for source in left:
        # What a split lists is about to change; until it is whole again it has no list.
        if _scene_path(output_dir, source.split, source.name).exists():
            _list_path(output_dir, source.split).unlink(missing_ok=True)
    failed, num_warned = _make(worker, left, engine)
    for split, found in names.items():
        whole = [name for name in found if (split, name) not in failed]
        if whole:
            text = "".join(f"{name}\n" for name in whole)
            files.write_text(_list_path(output_dir, split), text, overwrite=True)
    if failed:
        raise ValueError(
            f"{output_dir}: mend the scenes that the log calls failed and start again"
            f"{' with --overwrite' if overwrite else ''}, which makes only them: expected "
            f"{len(sources)} scenes to be prepared, found {len(failed)} that could not be (the "
            "splits are without them)"
        )
    warned = f", {num_warned} of them with warnings" if num_warned else ""
    there = len(sources) - len(left)
    kept = f"; {there} were there already" if there else ""
    return f"{output_dir}: wrote {len(left)} scenes{warned}{kept}"


@dataclasses.dataclass(frozen=True)
class _Worker:
    """Makes the points of one scan; returns whether it did, and what is wrong with the scan."""

    preparation: PointPreparation
    output_dir: pathlib.Path

    def __call__(self, source: Source) -> tuple[bool, list[str]]:
        try:
            stamp = self.stamp(source)
            scene, reasons = self.preparation(source)
            try:
                points = point_scene(scene)
            except ValueError as error:
                raise ValueError(f"{source.path}: {error}") from error
            content = io.BytesIO()  # a zip file on a disk that fails would print a traceback
            np.savez(content, **{_STAMP: np.array(stamp)}, **points.arrays())
            path = _scene_path(self.output_dir, source.split, source.name)
            with files.writing_file(path, overwrite=True) as temporary:
                temporary.write_bytes(content.getbuffer())
        except files.DiskError:  # the same for every scene
            raise
        # Whatever is wrong with one scene must not cost the other 1,500.
        except Exception as error:
            reason = str(error) or "no reason given"
            if not isinstance(error, ValueError):
                reason = f"{source.path}: {type(error).__name__}: {reason}"
            return False, [reason]
        return True, reasons

    def stamp(self, source: Source) -> str:
        """Returns a text that changes with the settings and with the scan's files."""
        paths = [path for path in self.preparation.inputs(source) if path.is_file()]
        stats = [(path.name, path.stat()) for path in paths]
        described = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
        return json.dumps([_VERSION, dict(self.preparation.settings), described])


def _make(
    worker: _Worker, sources: Sequence[Source], engine: Engine
) -> tuple[set[tuple[str, str]], int]:
    """Makes the points of scans, and tells the log what is wrong with them.

    Returns:
        Split and name of those that failed, and how many others have something wrong.
    """
    failed: set[tuple[str, str]] = set()
    num_warned = 0
    results = engine.map(worker, sources, "scenes", worker.output_dir)
    for source, (made, reasons) in zip(
        sources, program.progress(results, "scenes", len(sources)), strict=True
    ):
        for reason in reasons:
            log, status = (logging.warning, "warned") if made else (logging.error, "failed")
            log("%s %s (%s): %s", source.name, status, source.split, reason)
        num_warned += bool(made and reasons)
        if not made:
            failed.add((source.split, source.name))
    return failed, num_warned


def _open_for_writing(path: pathlib.Path, classes: ClassSet) -> PointFolder | None:
    """Opens a folder that gets more scenes, None where there is none.

    Raises:
        ValueError: a folder of something else, or of other classes.
    """
    files.check_folder(path)
    if not path.exists() or not any(path.iterdir()):
        return None
    folder = PointFolder(path)
    for inner in sorted(path.iterdir()):
        foreign = inner.is_file() and inner.suffix != ".txt" and inner.name != CLASSES
        if foreign and not inner.name.startswith("."):  # left of a process that was killed
            raise ValueError(
                f"{path}: expected a points folder, found {files.shown(inner.name)} in it; choose "
                "another folder"
            )
    if folder.classes != classes:
        raise ValueError(
            f"{path / CLASSES}: expected the classes of the new scenes, found others; choose "
            "another folder"
        )
    return folder


def _left_to_make(
    worker: _Worker,
    folder: PointFolder | None,
    names: Mapping[str, Sequence[str]],
    sources: Sequence[Source],
    overwrite: bool,
) -> list[Source]:
    """Returns the scans that have no file yet or, to be replaced, a file made of something else.

    Raises:
        ValueError: something that would be replaced, and `overwrite` is False.
    """
    if folder is None:
        return list(sources)
    for split in folder.splits:
        lost = [name for name in folder.names(split) if name not in names.get(split, ())]
        if split in names and lost and not overwrite:
            raise ValueError(
                f"{_list_path(folder.path, split)}: split '{split}' exists already, with other "
                f"scenes such as {lost[0]}; choose another folder or split, or give --overwrite"
            )
    missing, changed = [], []
    for source in sources:
        path = _scene_path(folder.path, source.split, source.name)
        if not path.exists():
            missing.append(source)
        elif _read_stamp(path) != worker.stamp(source):
            changed.append(source)
    if changed and not overwrite:
        first = _scene_path(folder.path, changed[0].split, changed[0].name)
        raise ValueError(
            f"{first}: expected a scene made of the files and by the settings of today, found "
            f"another ({len(changed)} of {len(sources)} scenes); choose another folder or give "
            "--overwrite"
        )
    again = {*missing, *changed}
    return [source for source in sources if source in again]


def _read_stamp(path: pathlib.Path) -> str | None:
    """Returns what a scene was made of, None where its file can't be read."""
    try:
        return str(arrays.read_npz(path, [_STAMP])[_STAMP])
    except ValueError:
        return None


def _list_path(folder: pathlib.Path, split: str) -> pathlib.Path:
    return folder / f"{split}.txt"


def _scene_path(folder: pathlib.Path, split: str, name: str) -> pathlib.Path:
    return folder / split / f"{name}.npz"
