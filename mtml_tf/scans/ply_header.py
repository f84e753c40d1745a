"""The header of a PLY file: what elements the body holds, and how they are stored."""

import dataclasses
import pathlib
import re

import numpy as np

from mtml_tf import files

TYPES = {
    "char": "i1",
    "int8": "i1",
    "uchar": "u1",
    "uint8": "u1",
    "short": "i2",
    "int16": "i2",
    "ushort": "u2",
    "uint16": "u2",
    "int": "i4",
    "int32": "i4",
    "uint": "u4",
    "uint32": "u4",
    "float": "f4",
    "float32": "f4",
    "double": "f8",
    "float64": "f8",
}
NAMES = {np.dtype(code): name for name, code in reversed(TYPES.items())}
BYTE_ORDERS = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}
# A header is a few lines; a file without an end_header is not searched to its last byte.
MAX_HEADER_BYTES = 1 << 20
_END_OF_HEADER = re.compile(rb"^end_header[ \t]*\r?\n", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Property:
    """A value of each row, or a list of values.

    Attributes:
        name: of the property.
        dtype: of the value, or of those in the list.
        count_dtype: of the list's length; None for a single value.
    """

    name: str
    dtype: np.dtype
    count_dtype: np.dtype | None = None


@dataclasses.dataclass(frozen=True)
class Element:
    """A kind of rows, such as the vertices.

    Attributes:
        name: of the element.
        count: rows.
        properties: what each row holds, in order.
    """

    name: str
    count: int
    properties: tuple[Property, ...]

    @property
    def min_row(self) -> tuple[int, int]:
        """Bytes and values of a row whose lists are all empty."""
        dtypes = [item.count_dtype or item.dtype for item in self.properties]
        return sum(dtype.itemsize for dtype in dtypes), len(dtypes)


def parse_header(path: pathlib.Path, content: bytes) -> tuple[str, list[Element], int]:
    """Parses the header of a PLY file.

    Args:
        path: the file, for what errors say.
        content: its bytes, or the first `MAX_HEADER_BYTES` of them.

    Returns:
        The byte order as NumPy writes it ("=" for ascii), the elements, and where the body starts.

    Raises:
        ValueError: not a PLY file, or a damaged header.
    """
    if not re.match(rb"ply[ \t]*\r?\n", content):
        is_text = re.fullmatch(rb"[ -~\r\n\t]*", content[:12])
        start = repr(content[:12].decode("ascii")) if is_text else "another kind of file"
        raise ValueError(
            f"{path}: expected a PLY file ('ply' in line 1), found {start}; convert it to PLY, "
            "with Open3D for example"
        )
    end = _END_OF_HEADER.search(content, 0, MAX_HEADER_BYTES)
    if end is None:
        raise ValueError(f"{path}: expected a PLY header that ends in 'end_header', found none")
    byte_order = ""
    found: list[tuple[str, int, list[Property]]] = []
    for line in content[: end.start()].decode("ascii", errors="replace").splitlines()[1:]:
        match line.split():
            case [] | ["comment" | "obj_info", *_]:
                pass
            case ["format", name, "1.0"] if name in BYTE_ORDERS:
                byte_order = BYTE_ORDERS[name]
            case ["element", name, count] if count.isdecimal() and count.isascii():
                # Forty digits say well enough how absurd a count is.
                found.append((name, int(count[:40]), []))
            case ["property", "list", count_type, type_name, name] if found:
                count_dtype = _dtype(path, count_type)
                if count_dtype.kind == "f":
                    raise ValueError(
                        f"{path}: expected an integer type for the length of the list '{name}', "
                        f"found '{files.shown(count_type)}'"
                    )
                found[-1][2].append(Property(name, _dtype(path, type_name), count_dtype))
            case ["property", type_name, name] if found:
                found[-1][2].append(Property(name, _dtype(path, type_name)))
            case _:
                raise ValueError(
                    f"{path}: expected a line of a PLY header, found '{files.shown(line, 80)}'"
                )
    if not byte_order:
        raise ValueError(
            f"{path}: expected a line 'format NAME 1.0' with NAME among {list(BYTE_ORDERS)}, "
            "found none"
        )
    names = [name for name, _, _ in found]
    for owner, given in [("element", names)] + [
        (f"property of '{name}'", [item.name for item in properties])
        for name, _, properties in found
    ]:
        if len(set(given)) < len(given):
            twice = next(name for name in given if given.count(name) > 1)
            raise ValueError(
                f"{path}: expected each {owner} once, found '{files.shown(twice)}' twice"
            )
    elements = [Element(name, count, tuple(properties)) for name, count, properties in found]
    return byte_order, elements, end.end()


def _dtype(path: pathlib.Path, type_name: str) -> np.dtype:
    if type_name not in TYPES:
        raise ValueError(
            f"{path}: expected a PLY type among {list(TYPES)}, found '{files.shown(type_name)}' "
            "in the header"
        )
    return np.dtype(TYPES[type_name])
