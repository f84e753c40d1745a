"""Arrays in files as numpy.save and numpy.savez write them, of which nothing is believed.

NumPy's own reader takes a header for Python, and the sizes in it for true: damaged files end in
errors of many kinds, in warnings, or in all of the memory. Here a header has one form, and no more
is read than a file has.
"""

import io
import math
import os
import pathlib
import re
from collections.abc import Collection
from typing import BinaryIO

import numpy as np

from mtml_tf import archives, files

Array = np.ndarray

_MAGIC = b"\x93NUMPY"
_ARCHIVE = b"PK"
# Bytes of the header's length, by the version of the format.
_LENGTH_BYTES = {1: 2, 2: 4, 3: 4}
_MOST_HEADER_BYTES = 10_000  # as in NumPy
_MOST_BYTES = 1 << 62
_DESCR = r"""['"]descr['"]\s*:\s*['"]([<>|=]?[biufU][0-9]{1,9})['"]"""
_OBJECTS = "'|O'"  # what a type says that is pickled
_ORDER = r"""['"]fortran_order['"]\s*:\s*(True|False)"""
# Python 2 wrote an L behind a number.
_SHAPE = r"""['"]shape['"]\s*:\s*\(\s*((?:[0-9]{1,18}L?\s*,\s*)*(?:[0-9]{1,18}L?)?)\s*\)"""

_HEADER = rf"\{{\s*(?:(?:{_DESCR}|{_ORDER}|{_SHAPE})\s*(?:,\s*|(?=\}}))){{3}}\}}\s*"


def read_npy(path: str | pathlib.Path) -> Array:
    """Reads an array as numpy.save writes it.

    Args:
        path: the file.

    Returns:
        The array, of numbers, truth values or text; its rows in any order of memory.

    Raises:
        ValueError: no such file, another kind of file, one that holds Python objects, records or
            dates, or fewer bytes than the header promises (found before they are read).
    """
    path = pathlib.Path(path)
    try:
        with path.open("rb") as file:
            return _read(file, path.stat().st_size)
    except (OSError, ValueError) as error:
        found = error.strerror if isinstance(error, OSError) else error
        raise ValueError(
            f"{path}: expected an array of numbers as numpy.save writes it, found {found}"
        ) from error


def read_npz(path: str | pathlib.Path, names: Collection[str] = ()) -> dict[str, Array]:
    """Reads the arrays of an archive as numpy.savez writes it.

    Args:
        path: the file.
        names: of the arrays to read; all where empty.

    Raises:
        ValueError: no such file, another kind of file, arrays that are larger than the file, one
            that `read_npy` would not take, or no array of such a name.
    """
    found = {}
    with archives.open_zip(path, "an archive of arrays as numpy.savez writes it") as archive:
        promised, size = sum(info.file_size for info in archive.infolist()), os.path.getsize(path)
        if promised > size:
            raise ValueError(
                f"{path}: expected arrays that are not packed, found {promised} bytes of them in a "
                f"file of {size}"
            )
        for name in [f"{name}.npy" for name in names] or archive.namelist():
            content = archives.read_entry(path, archive, name)
            try:
                found[name.removesuffix(".npy")] = _read(io.BytesIO(content), len(content))
            except ValueError as error:
                raise ValueError(
                    f"{path}: expected an array of numbers in {files.shown(name)}, found {error}"
                ) from error
    return found


def are_whole(values: Array) -> Array:
    """Returns bool of the same shape, True for whole numbers: neither parts, infinity nor NaN."""
    with np.errstate(invalid="ignore"):  # of a NaN that signals
        return np.isfinite(values) & (values == np.floor(values))


def _read(file: BinaryIO, size: int) -> Array:
    """Reads an array from a file of so many bytes. Raises ValueError: what was found instead."""
    start = file.read(len(_MAGIC) + 2)
    if start.startswith(_ARCHIVE):
        raise ValueError("an archive of arrays")
    length_bytes = _LENGTH_BYTES.get(start[-2]) if len(start) == len(_MAGIC) + 2 else None
    if not start.startswith(_MAGIC) or length_bytes is None:
        raise ValueError("another kind of file, or one that is cut short")
    length = int.from_bytes(file.read(length_bytes), "little")
    if length > _MOST_HEADER_BYTES:
        raise ValueError(f"a header of {length} bytes")
    header = file.read(length).decode("utf-8", errors="replace")
    parts = [re.search(pattern, header) for pattern in (_DESCR, _ORDER, _SHAPE)]
    descr, order, shape_text = (part[1] if part else "" for part in parts)
    shape = tuple(int(number) for number in re.findall("[0-9]+", shape_text))
    try:
        dtype = np.dtype(descr)
    except TypeError:
        descr = ""
    if not descr or not all(parts) or not re.fullmatch(_HEADER, header):
        pickled = ": Object arrays cannot be loaded" if _OBJECTS in header else ""
        raise ValueError(f"the header {files.shown(header.strip())}{pickled}")
    promised = math.prod(shape) * dtype.itemsize
    left = size - file.tell()
    if promised > left or max(shape, default=0) > _MOST_BYTES:
        raise ValueError(f"{left} bytes after a header that promises {promised}")
    values = np.empty(shape[::-1] if order == "True" else shape, dtype)
    if values.nbytes and file.readinto(values.reshape(-1).view(np.uint8)) != values.nbytes:  # type: ignore[attr-defined]
        raise ValueError("a file that became shorter while it was read")
    return values.T if order == "True" else values
