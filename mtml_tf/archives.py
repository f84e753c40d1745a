"""Zip files of other people: nothing is unpacked to disk, nor more of it than it says."""

import contextlib
import os
import pathlib
import struct
import zipfile
import zlib
from collections.abc import Iterator

from mtml_tf import files

# What zipfile raises for damaged files, its own errors and those of what it calls.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,  # a method of compression, or a version
    OSError,  # an offset before the file
    OverflowError,
    RuntimeError,  # a password
    struct.error,
    ValueError,
)
_MOST_RATIO = 1100  # deflate makes a thousandth of zeros, and no less
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@contextlib.contextmanager
def open_zip(path: str | pathlib.Path, expected: str) -> Iterator[zipfile.ZipFile]:
    """Yields an open zip file.

    Args:
        path: the file.
        expected: what it is, for the error.

    Raises:
        ValueError: no such file, or another kind of file.
    """
    try:
        archive = zipfile.ZipFile(path)
    except _DAMAGE as error:
        found = files.shown(str(error))
        raise ValueError(f"{path}: expected {expected}, found '{found}'") from error
    with archive:
        yield archive


def read_entry(
    path: str | pathlib.Path, archive: zipfile.ZipFile, name: str, most_bytes: int = 1 << 40
) -> bytes:
    """Returns the content of a file in a zip.

    Args:
        path: of the zip, for the error.
        archive: from `open_zip`.
        name: of the file in it.
        most_bytes: that it may have.

    Raises:
        ValueError: no such file in it, a larger one, or one that is damaged or unpacks to more
            than it can.
    """
    told = files.shown(name)
    try:
        info = archive.getinfo(name)
    except KeyError as error:
        raise ValueError(f"{path}: expected a file {told} in the zip, found none") from error
    size = info.file_size
    if size > most_bytes:
        raise ValueError(f"{path}: {told}: expected {most_bytes} bytes at most, found {size}")
    packed = info.compress_size
    possible = packed <= os.path.getsize(path) and size <= _MOST_RATIO * packed
    if not possible or info.compress_type not in _METHODS:
        raise ValueError(f"{path}: {told}: expected a whole file, found sizes that can't be")
    try:
        with archive.open(info) as file:
            content = file.read(size + 1)  # no more, whatever is packed there
    except _DAMAGE as error:
        found = files.shown(str(error))
        raise ValueError(f"{path}: {told}: expected a whole file, found '{found}'") from error
    if len(content) != size:
        raise ValueError(f"{path}: {told}: expected {size} bytes, found {len(content)}")
    return content
