"""Reads text; writes files that appear whole or not at all, and overwrites none unasked."""

import contextlib
import fcntl
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator


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
        if len(name.split()) != 1 or "/" in name:
            raise ValueError(
                f"{path}: expected scene names without spaces and slashes, found '{name}'"
            )
        if name in seen:
            raise ValueError(f"{path}: expected each scene once, found '{name}' twice")
        seen.add(name)
    return tuple(names)


def check_may_write(path: str | pathlib.Path, overwrite: bool) -> None:
    """Raises ValueError where a file exists and `overwrite` is False; for before long work."""
    if pathlib.Path(path).exists() and not overwrite:
        raise ValueError(f"{path}: exists already; choose another path or give --overwrite")


@contextlib.contextmanager
def writing_file(path: str | pathlib.Path, overwrite: bool = False) -> Iterator[pathlib.Path]:
    """Yields a temporary path beside `path`; on leaving, what was written there becomes `path`.

    Raises:
        ValueError: `path` exists and `overwrite` is False.
    """
    path = pathlib.Path(path)
    check_may_write(path, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = pathlib.Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | pathlib.Path, text: str, overwrite: bool = False) -> None:
    """Writes a whole UTF-8 text file. Raises ValueError where it exists and may not be replaced."""
    with writing_file(path, overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def writing_folder(path: str | pathlib.Path, overwrite: bool = False) -> Iterator[pathlib.Path]:
    """Yields a temporary folder beside `path`; on leaving without an error it becomes `path`.

    An existing empty folder is taken as absent. A folder that is replaced is deleted only after
    the new one is complete.

    Raises:
        ValueError: `path` exists, is not an empty folder, and `overwrite` is False.
    """
    path = pathlib.Path(path)
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path}: expected a folder to write, found a file of that name")
    if path.is_dir() and any(path.iterdir()) and not overwrite:
        raise ValueError(f"{path}: exists already; choose another folder or give --overwrite")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = pathlib.Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        sync_files(temporary)
        _replace_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def locked(folder: str | pathlib.Path) -> Iterator[None]:
    """Keeps other processes that lock the same folder waiting until it is left.

    For what is read, changed and written again. No file remains of the lock, and it ends with the
    process. Where a file system knows no locks, nobody waits.

    Args:
        folder: one that exists.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def sync_files(folder: pathlib.Path) -> None:
    """Waits until the content of every file in `folder` is on disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            handle = os.open(os.path.join(parent, name), os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def _replace_folder(new: pathlib.Path, path: pathlib.Path) -> None:
    """Renames `new` to `path`; what was there is moved aside first and deleted last."""
    if not path.exists():
        new.replace(path)
        return
    aside = pathlib.Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
    path.replace(aside)
    try:
        new.replace(path)
    except OSError:
        aside.replace(path)
        raise
    shutil.rmtree(aside)
