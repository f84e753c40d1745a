"""Reads text and JSON; writes files that appear whole or not at all, overwrites none unasked."""

import contextlib
import ctypes
import dataclasses
import errno
import fcntl
import json
import os
import pathlib
import reprlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_DISK_FAILED = (errno.EIO, errno.EROFS, errno.ESTALE)
# Its cable, server or mount is gone. TensorFlow tells of other machines in the same words.
_DISK_GONE = (
    *(errno.ENOTCONN, errno.ECONNABORTED, errno.ESHUTDOWN),
    *(errno.EREMOTEIO, errno.EHOSTDOWN, errno.ETIMEDOUT),
)
_HERE, _RENAME_EXCHANGE = -100, 2  # of Linux: AT_FDCWD, and a flag of renameat2
_SHOWN_CHARACTERS = 160  # of what a file holds, in an error
_MOST_OF_NAME = 200  # characters of a name that files hold; more is none on most disks
_SHORT = reprlib.Repr()
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxset = _SHORT.maxdict = 40
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = _SHOWN_CHARACTERS


class LockedError(ValueError):
    """Somebody else holds the lock of a folder."""


class DiskError(ValueError):
    """A disk is full, or can't be written, or is gone: the same for all that goes there.

    Attributes:
        number: of the system's error.
        place: what lies on the disk, as far as that is known.
    """

    number: int = 0
    place: str = ""


@dataclasses.dataclass(frozen=True)
class FolderKind:
    """What a folder of one kind consists of, to tell an earlier output from anyone's files.

    Attributes:
        what: the noun for its content, such as "predictions".
        mark: the file or folder that each of them has.
        has: whether a file in it, or in a folder of it, belongs there.
        other_marks: patterns of names, each of which does in place of `mark`.
        settings: name of the file in it that tells what it was made by; empty where none does.
        flat: whether nothing in its folders belongs there.
    """

    what: str
    mark: str
    has: Callable[[pathlib.Path], bool]
    other_marks: tuple[str, ...] = ()
    settings: str = ""
    flat: bool = False

    def check(self, folder: str | pathlib.Path) -> None:
        """Raises ValueError where a folder is not of this kind, or not only."""
        paths = sorted(path for path in pathlib.Path(folder).rglob("*") if not path.is_dir())
        strange = [
            os.path.relpath(path, folder)
            for path in paths
            if not self.has(path) or (self.flat and path.parent != pathlib.Path(folder))
        ]
        marks = (self.mark, *self.other_marks)
        if not any(any(pathlib.Path(folder).glob(mark)) for mark in marks):
            strange.append(f"no {self.mark}")
        if strange:
            raise ValueError(
                f"{folder}: expected a folder of {self.what} to replace, found {strange[0]} in it; "
                "choose another folder or remove it yourself"
            )


def shown(found: object, most: int = _SHOWN_CHARACTERS) -> str:
    """Returns what was found in a file as an error tells it: not long, on one line, printable.

    Whatever else a file may hold, such as the control characters of a terminal, is escaped.

    Args:
        found: a text, which is taken as it is, or anything else.
        most: characters of it.
    """
    text = found if isinstance(found, str) else _SHORT.repr(found)
    cut = text if len(text) <= most else f"{text[:most]}..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)


def is_inside(name: object) -> bool:
    """Whether what a file holds is the name of something in a folder, and of nothing outside it."""
    if not isinstance(name, str) or not name.isprintable() or len(name) > _MOST_OF_NAME:
        return False
    return not {"", ".", ".."} & set(name.split("/"))


def read_text(path: str | pathlib.Path, encoding: str = "utf-8-sig", errors: str = "strict") -> str:
    """Reads a whole text file.

    Args:
        path: the file.
        encoding: `utf-8-sig`, or `utf-8` where a byte order mark is to stay in the text.
        errors: `replace` takes anything; see `bytes.decode`.

    Raises:
        ValueError: no such file, one that can't be read, or one that is not in UTF-8.
    """
    try:
        return pathlib.Path(path).read_text(encoding=encoding, errors=errors)
    except (OSError, UnicodeDecodeError) as error:
        reason = str(error)
        if isinstance(error, OSError):
            missing = isinstance(error, FileNotFoundError)
            reason = "no such file" if missing else error.strerror or reason
        raise ValueError(f"{path}: expected a text file in UTF-8, found {reason}") from error


def read_json(path: str | pathlib.Path, expected: str = "a JSON file") -> Any:
    """Reads a JSON file.

    Args:
        path: the file.
        expected: what it is, for the error.

    Raises:
        ValueError: no such file, or one that is not JSON, or nested too deeply to be any that this
            package reads.
    """
    try:
        return parse_json(pathlib.Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: expected {expected}, found: {error}") from error


def parse_json(text: str) -> Any:
    """Returns what a JSON text holds. Raises ValueError where it is none, or nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("brackets within brackets, too deep to be read") from error


def read_scene_list(path: str | pathlib.Path) -> tuple[str, ...]:
    """Reads a list of scenes, a name a line.

    Raises:
        ValueError: no such file, no name, a name with spaces or slashes, or one that is there
            twice.
    """
    names = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not names:
        raise ValueError(f"{path}: expected the name of a scene in each line, found none")
    seen: set[str] = set()
    for name in names:
        if len(name.split()) != 1 or "/" in name or not is_inside(name):
            raise ValueError(
                f"{path}: expected scene names without spaces and slashes, found '{shown(name)}'"
            )
        if name in seen:
            raise ValueError(f"{path}: expected each scene once, found '{shown(name)}' twice")
        seen.add(name)
    return tuple(names)


def disk_fault(error: BaseException) -> int:
    """Returns the number of the system's error that says that a disk is full or gone, 0 of others.

    Args:
        error: of the system, or of TensorFlow, which tells it in its message alone.
    """
    numbers = (*_DISK_FULL, *_DISK_FAILED)
    if isinstance(error, DiskError):
        return error.number
    if isinstance(error, OSError):
        return error.errno if error.errno in (*numbers, *_DISK_GONE) else 0
    if type(error).__module__.partition(".")[0] != "tensorflow":
        return 0
    return next((number for number in numbers if os.strerror(number) in str(error)), 0)


@contextlib.contextmanager
def told_of_disk(path: str | pathlib.Path, then: str = "start again") -> Iterator[None]:
    """Tells in a sentence, as DiskError, that a disk is full or gone.

    That is the disk of what is written within, or else of what is read for it, as far as the error
    tells.

    Args:
        path: what is written, for the sentence.
        then: what to do when the disk is mended.
    """
    try:
        yield
    except Exception as error:  # TensorFlow's among them, which this module does not know
        if number := disk_fault(error):
            raise disk_error(_at_fault(path, error, number), number, then) from error
        raise


def disk_error(path: str | pathlib.Path, number: int, then: str = "start again") -> DiskError:
    """Returns what `told_of_disk` raises."""
    wrong = f"a disk that works, found that it fails ({os.strerror(number)}); mend it or its mount"
    if number in _DISK_FULL:
        wrong = "room to write it, found the disk full; make room"
    elif number == errno.EROFS:
        wrong = "a disk that can be written to, found it read-only; let it be written to"
    error = DiskError(f"{path}: expected {wrong} and {then}")
    error.number, error.place = number, str(path)
    return error


def _at_fault(path: str | pathlib.Path, error: BaseException, number: int) -> str:
    """Returns what to name for an error of a disk while `path` is written."""
    if isinstance(error, DiskError):
        named = error.place
    else:
        named = str(getattr(error, "filename", None) or "")
    place, found = os.path.realpath(path), os.path.realpath(named)
    # What is not in it may lie beside it until it is complete.
    beside = os.path.join(os.path.dirname(place), f".{os.path.basename(place)}.")
    if named and not f"{found}/".startswith((f"{place}/", beside)):
        return named
    if named or number in (*_DISK_FULL, errno.EROFS):  # which nobody finds who reads
        return str(path)
    return f"{path}, or what is read for it"


def check_apart(output: str | pathlib.Path, inputs: Iterable[str | pathlib.Path | None]) -> None:
    """Checks that replacing an output deletes nothing that is read.

    Args:
        output: a file or folder that is written.
        inputs: files and folders that are read; empty ones and None count for nothing.

    Raises:
        ValueError: one of them is the output or lies in it.
    """
    place = pathlib.Path(os.path.realpath(output))
    for path in (given for given in inputs if given):
        read = pathlib.Path(os.path.realpath(path))
        if place in (read, *read.parents):
            raise ValueError(
                f"{output}: choose another path to write to: expected one that holds nothing "
                f"that is read, found {path} there"
            )


def check_suffix(path: str | pathlib.Path, suffix: str) -> None:
    """Raises ValueError where a file's name does not tell what will be in it."""
    if pathlib.Path(path).suffix.lower() != suffix:
        raise ValueError(f"{path}: expected the name of a {suffix} file to write, found another")


def check_may_write(path: str | pathlib.Path, overwrite: bool) -> None:
    """Checks that a file may be written; for before long work.

    Raises:
        ValueError: it exists and `overwrite` is False, or it is a folder or device.
    """
    if not os.path.exists(path):
        return
    if not os.path.isfile(path):
        found = "a folder" if os.path.isdir(path) else "a device"
        raise ValueError(f"{path}: expected a file to write, found {found}; choose another path")
    if not overwrite:
        raise ValueError(f"{path}: exists already; choose another path or give --overwrite")


def check_folder(path: str | pathlib.Path) -> None:
    """Raises ValueError where a path is taken, and not by a folder."""
    if os.path.exists(path) and not os.path.isdir(path):
        raise ValueError(f"{path}: expected a folder to write, found a file of that name")


def make_folder(path: str | pathlib.Path) -> None:
    """Makes a folder where there is none. Raises ValueError where it can't be made."""
    with told_of_disk(path), _told_of(pathlib.Path(path)):
        pathlib.Path(path).mkdir(parents=True, exist_ok=True)


def check_may_replace(
    path: str | pathlib.Path, overwrite: bool, kind: FolderKind | None = None
) -> None:
    """Checks that a folder may be written; for before long work.

    Args:
        path: the folder.
        overwrite: whether one that is not empty may be replaced.
        kind: of what may be replaced; None for any.

    Raises:
        ValueError: it is a file; it is not empty and `overwrite` is False or it is of another
            kind; or it can't be moved.
    """
    check_folder(path)
    if not os.path.exists(path):
        return
    if os.listdir(path):
        if not overwrite:
            raise ValueError(f"{path}: exists already; choose another folder or give --overwrite")
        if kind:
            kind.check(path)
    if os.path.ismount(path) or os.path.samefile(path, "."):
        found = "a mount point" if os.path.ismount(path) else "the current one"
        raise ValueError(
            f"{path}: expected a folder that can be replaced as a whole, found {found}; choose a "
            "folder in it"
        )


@contextlib.contextmanager
def writing_file(path: str | pathlib.Path, overwrite: bool = False) -> Iterator[pathlib.Path]:
    """Yields a temporary path beside `path`; on leaving, what was written there becomes `path`.

    Where `path` is a symbolic link, what it leads to is written.

    Raises:
        ValueError: `path` exists and `overwrite` is False, or it can't be written.
    """
    check_may_write(path, overwrite)
    with _beside(path, _make_file, _install_file) as temporary:
        yield temporary


def write_text(path: str | pathlib.Path, text: str, overwrite: bool = False) -> None:
    """Writes a whole UTF-8 text file. Raises ValueError where it exists and may not be replaced."""
    with writing_file(path, overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def writing_folder(
    path: str | pathlib.Path, overwrite: bool = False, kind: FolderKind | None = None
) -> Iterator[pathlib.Path]:
    """Yields a temporary folder beside `path`; on leaving without an error it becomes `path`.

    An existing empty folder is taken as absent. A folder that is replaced is deleted only after
    the new one is complete. Where `path` is a symbolic link, what it leads to is written.

    Args:
        path: the folder.
        overwrite: whether one that is not empty may be replaced.
        kind: of what may be replaced; None for any.

    Raises:
        ValueError: see `check_may_replace`; or `path` can't be written.
    """
    check_may_replace(path, overwrite, kind)
    with _beside(path, tempfile.mkdtemp, _install_folder) as temporary:
        yield temporary


@contextlib.contextmanager
def locked(folder: str | pathlib.Path, wait: bool = True) -> Iterator[None]:
    """Keeps others that lock the same folder out until it is left.

    For what is read, changed and written again. No file remains of the lock, and it ends with the
    process. Where a file system knows no locks, nobody is kept out.

    Args:
        folder: one that exists.
        wait: until others have left it.

    Raises:
        LockedError: somebody else has locked it, and `wait` is False.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError as error:
                raise LockedError(f"{folder}: expected a folder that nobody has locked") from error
        yield
    finally:
        os.close(handle)


def is_locked(folder: str | pathlib.Path) -> bool:
    """Whether a process holds the lock of a folder; also where that can't be told."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def sync_files(folder: pathlib.Path) -> None:
    """Waits until the content of every file in `folder` is on disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            handle = os.open(os.path.join(parent, name), os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


@contextlib.contextmanager
def _beside(
    path: str | pathlib.Path,
    make: Callable[[str, str, pathlib.Path], str],
    install: Callable[[pathlib.Path, pathlib.Path], None],
) -> Iterator[pathlib.Path]:
    """Yields something temporary in the folder of `path`; where that fails, nothing remains of it.

    Args:
        path: what is written in the end.
        make: makes it, from a suffix, a prefix and the folder.
        install: moves it, when it is complete, to where `path` leads.

    Raises:
        ValueError: it can't be made or moved, or the disk is full, read-only or gone.
    """
    path, place = pathlib.Path(path), pathlib.Path(os.path.realpath(path))
    missing = [folder for folder in place.parents if not os.path.exists(folder)]
    temporary = None
    try:
        with told_of_disk(path):
            with _told_of(path):
                place.parent.mkdir(parents=True, exist_ok=True)
                temporary = pathlib.Path(make("", f".{place.name}.", place.parent))
            yield temporary
            with _told_of(path):
                install(temporary, place)
    finally:
        if temporary and temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        elif temporary:
            with contextlib.suppress(OSError):
                temporary.unlink()
        for folder in missing:
            with contextlib.suppress(OSError):  # it is not empty: `path` was written
                folder.rmdir()


@contextlib.contextmanager
def _told_of(path: pathlib.Path) -> Iterator[None]:
    """Names `path` in an error of the system, which would name something temporary."""
    try:
        yield
    except OSError as error:
        if disk_fault(error):
            raise
        folder = next(
            parent for parent in (*path.parents, pathlib.Path("/")) if os.path.exists(parent)
        )
        found = "is a file" if os.path.isfile(folder) else f"can't be written to ({error.strerror})"
        raise ValueError(
            f"{path}: expected a place to write to, found that {folder} {found}; choose another"
        ) from error


def _make_file(suffix: str, prefix: str, folder: pathlib.Path) -> str:
    handle, name = tempfile.mkstemp(suffix, prefix, folder)
    os.close(handle)
    return name


def _install_file(new: pathlib.Path, path: pathlib.Path) -> None:
    with new.open("rb") as file:
        os.fsync(file.fileno())
    new.chmod(0o644)
    new.replace(path)


def _install_folder(new: pathlib.Path, path: pathlib.Path) -> None:
    """Renames `new` to `path`; what was there is deleted last."""
    new.chmod(0o755)
    sync_files(new)
    if not path.exists():
        new.replace(path)
        return
    if _exchange(new, path):
        shutil.rmtree(new, ignore_errors=True)  # the new one is in place, whatever comes of this
        return
    aside = pathlib.Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
    try:
        path.replace(aside)
        new.replace(path)
    except OSError:
        if path.exists():
            aside.rmdir()
        else:
            aside.replace(path)
        raise
    shutil.rmtree(aside)


def _exchange(one: pathlib.Path, other: pathlib.Path) -> bool:
    """Lets two paths change names at one moment; returns False where the system can't do that."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    names = os.fsencode(one), os.fsencode(other)
    if rename is None:
        return False
    return bool(rename(_HERE, names[0], _HERE, names[1], _RENAME_EXCHANGE) == 0)
