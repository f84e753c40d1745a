"""PLY files: ascii, binary little-endian and binary big-endian, any scalar or list property.

An ascii body is turned into float64 values first, which hold every 32-bit integer exactly, and is
then decoded like a binary body whose values are all float64. So there is one decoder.
"""

import array
import dataclasses
import pathlib
import re
from collections.abc import Mapping

import numpy as np

from mtml_tf import arrays, files
from mtml_tf.scans.ply_header import (
    MAX_HEADER_BYTES,
    NAMES,
    Element,
    Property,
    parse_header,
)

_FACE_LISTS = ("vertex_indices", "vertex_index")


def read_ply(path: str | pathlib.Path) -> dict[str, np.ndarray]:
    """Reads a PLY file.

    Args:
        path: the file.

    Returns:
        For each element (`vertex`, `face`, ...) a structured array [count] of its scalar
        properties in native byte order; list properties are left out. Where there is a `face`
        element with a list `vertex_indices` (or `vertex_index`), also `faces`: int32 [F, 3] rows
        of `vertex`, polygons cut into triangles as a fan around their first corner.

    Raises:
        ValueError: no such file, not a PLY file, a damaged header or an unknown type in it, fewer
            bytes than the header promises (found before anything is allocated), a value that does
            not fit its type, or a face that names a vertex that does not exist.
    """
    path = _existing(path)
    content = path.read_bytes()
    byte_order, elements, start = parse_header(path, content)
    body: bytes | memoryview = memoryview(content)[start:]
    _check_size(path, elements, len(body), byte_order == "=")
    if byte_order == "=":
        body = _parse_ascii(path, content[start:])
    result: dict[str, np.ndarray] = {}
    faces = None
    offset = 0
    for element in elements:
        if not element.properties:
            continue
        scalars, lengths, corners, offset = _decode(path, element, body, offset, byte_order)
        result[element.name] = scalars
        if lengths is not None:
            faces = _triangulate(lengths, corners)
    if faces is not None:
        _check_faces(path, faces, len(result.get("vertex", ())))
        result["faces"] = faces.astype(np.int32)
    return result


def read_vertex_count(path: str | pathlib.Path) -> int:
    """Returns the number of vertices that the header of a PLY file states.

    Raises:
        ValueError: no such file, not a PLY file, a damaged header, or one without vertices.
    """
    path = _existing(path)
    with path.open("rb") as file:
        _, elements, _ = parse_header(path, file.read(MAX_HEADER_BYTES))
    for element in elements:
        if element.name == "vertex":
            return element.count
    raise ValueError(f"{path}: expected an element 'vertex' in the PLY header, found none")


def write_ply(
    path: str | pathlib.Path,
    vertices: np.ndarray,
    colors: np.ndarray | None = None,
    faces: np.ndarray | None = None,
    properties: Mapping[str, np.ndarray] | None = None,
    overwrite: bool = False,
) -> None:
    """Writes a binary little-endian PLY file, whole or not at all.

    Args:
        path: the file.
        vertices: [N, 3], metres; written as `float` where that loses nothing, else as `double`.
        colors: uint8 [N, 3] red green blue, or None.
        faces: integers [F, 3], rows of `vertices`, or None.
        properties: further vertex properties: for each name an array [N] of a type that PLY has
            (integers of 8 to 32 bits, float32, float64).
        overwrite: replaces a file that exists.

    Raises:
        ValueError: the file exists, arrays that do not have one row a vertex, a name with a space,
            a type that PLY does not have, or a face that names a vertex that does not exist.
    """
    vertices = np.asarray(vertices)
    single = vertices.astype(np.float32)
    exact = np.array_equal(single, vertices, equal_nan=True)
    columns: dict[str, np.ndarray] = {}
    for axis, name in enumerate("xyz"):
        columns[name] = single[:, axis] if exact else vertices[:, axis].astype(np.float64)
    if colors is not None:
        for axis, name in enumerate(("red", "green", "blue")):
            columns[name] = np.asarray(colors, np.uint8)[:, axis]
    for name, values in (properties or {}).items():
        columns[name] = np.asarray(values)
    for name, column in columns.items():
        if not re.fullmatch(r"[!-~]+", name):
            raise ValueError(f"{path}: expected a property name without spaces, found '{name}'")
        if column.shape != (len(vertices),):
            raise ValueError(
                f"{path}: expected {len(vertices)} values of '{name}', found shape {column.shape}"
            )
        if column.dtype.newbyteorder("=") not in NAMES:
            raise ValueError(
                f"{path}: expected '{name}' as an integer of 8 to 32 bits, float32 or float64, "
                f"found {column.dtype}"
            )
    dtype = np.dtype([(name, column.dtype.newbyteorder("<")) for name, column in columns.items()])
    rows = np.empty(len(vertices), dtype)
    for name, column in columns.items():
        rows[name] = column
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}"]
    header += [
        f"property {NAMES[column.dtype.newbyteorder('=')]} {name}"
        for name, column in columns.items()
    ]
    face_rows = np.empty(0 if faces is None else len(faces), [("n", "u1"), ("corners", "<i4", 3)])
    if faces is not None:
        _check_faces(path, np.asarray(faces), len(vertices))
        face_rows["n"], face_rows["corners"] = 3, faces
        header += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
    header.append("end_header\n")
    with files.writing_file(path, overwrite) as temporary, temporary.open("wb") as file:
        file.write("\n".join(header).encode("ascii"))
        file.write(rows.tobytes())
        file.write(face_rows.tobytes())


def _existing(path: str | pathlib.Path) -> pathlib.Path:
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(
            f"{path}: expected a PLY file, found {'a folder' if path.is_dir() else 'no such file'}"
        )
    return path


def _short_of(path: pathlib.Path, what: str, expected: str, found: str) -> ValueError:
    return ValueError(
        f"{path}: expected {what} ({expected}), found {found}; the file is cut short or its "
        "header is wrong"
    )


def _check_size(path: pathlib.Path, elements: list[Element], size: int, ascii: bool) -> None:
    """Raises ValueError where the body can't hold what the header promises, lists empty."""
    left = size
    for element in elements:
        num_bytes, num_values = element.min_row
        # A value and the space after it; the last one of the file may stand without the space.
        row = 2 * num_values if ascii else num_bytes
        if row and element.count * row > left + ascii:
            raise _short_of(
                path,
                f"{element.count} rows of '{files.shown(element.name)}'",
                f"{element.count * row} bytes{' at least' if ascii else ''}",
                f"{left} bytes, which hold {left // row} rows{' at most' if ascii else ''}",
            )
        left -= element.count * row


def _parse_ascii(path: pathlib.Path, body: bytes) -> bytes:
    """Returns the numbers of an ascii body as float64 bytes."""
    try:
        return np.array(body.split(), dtype=np.float64).tobytes()
    except ValueError as error:
        raise ValueError(
            f"{path}: expected numbers after the header of an ascii PLY, found otherwise "
            f"({files.shown(str(error))})"
        ) from error


def _decode(
    path: pathlib.Path, element: Element, body: bytes | memoryview, offset: int, byte_order: str
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray, int]:
    """Decodes the rows of an element that start at byte `offset` of the body.

    Returns:
        Structured array [count] of the scalar properties; lengths of the face lists [count] and
        their corners, one list after the other (None and empty where the element has no such
        list); the offset behind the element.
    """
    declared = element.properties
    stored = tuple(
        dataclasses.replace(
            item,
            dtype=_stored(item.dtype, byte_order),
            count_dtype=item.count_dtype and _stored(item.count_dtype, byte_order),
        )
        for item in declared
    )
    face_list = None
    if element.name == "face":
        face_list = next(
            (p.name for p in declared if p.count_dtype and p.name in _FACE_LISTS), None
        )
    rows: np.ndarray | dict[str, np.ndarray]
    rows, offset, varying = _rows_of_equal_lists(path, element, stored, body, offset)
    lengths: np.ndarray | None = None
    corners = np.empty(0, np.int64)
    if varying:
        rows, offset = _rows_of_varying_lists(path, element, stored, body, offset)
        if face_list is not None:
            lengths, corners = rows[f"{face_list} length"], rows[face_list]
    elif face_list is not None:
        lengths = rows[f"{face_list} length"].astype(np.int64)
        corners = rows[face_list].reshape(-1)
    if face_list is not None:
        wanted = next(item for item in declared if item.name == face_list).dtype
        corners = _cast(path, face_list, corners, np.dtype(np.int64), wanted)
    scalars = [item for item in declared if item.count_dtype is None]
    result = np.empty(element.count, [(item.name, item.dtype) for item in scalars])
    for item in scalars:
        result[item.name] = _cast(path, item.name, rows[item.name], item.dtype, item.dtype)
    return result, lengths, corners, offset


def _stored(dtype: np.dtype, byte_order: str) -> np.dtype:
    """Returns the type in which a value of a declared type stands in the body."""
    return np.dtype(np.float64) if byte_order == "=" else dtype.newbyteorder(byte_order)  # type: ignore[arg-type]


def _rows_of_equal_lists(
    path: pathlib.Path,
    element: Element,
    properties: tuple[Property, ...],
    body: bytes | memoryview,
    offset: int,
) -> tuple[np.ndarray, int, bool]:
    """Decodes the rows as one structured array, lists as long as those of the first row.

    Returns:
        The rows, the offset behind them, False; or nothing, `offset`, True where the lists differ
        in length. The length of list `L` is the field `L length`.
    """
    fields: list[tuple] = []
    end = offset
    for item in properties:
        if item.count_dtype is None:
            fields.append((item.name, item.dtype))
            end += item.dtype.itemsize
        else:
            length = 0
            if element.count:
                length = _list_length(path, element, item, body, end)
            fields += [
                (f"{item.name} length", item.count_dtype),
                (item.name, item.dtype, (length,)),
            ]
            end += item.count_dtype.itemsize + length * item.dtype.itemsize
    row_bytes = end - offset
    has_lists = any(item.count_dtype for item in properties)
    if offset + element.count * row_bytes > len(body):
        if has_lists:
            return np.empty(0), offset, True
        raise _too_short(path, element, len(body) - offset, row_bytes)
    rows = np.frombuffer(body, np.dtype(fields), element.count, offset)
    for item in properties:
        if item.count_dtype is not None and element.count:
            lengths = rows[f"{item.name} length"]
            if np.any(lengths != lengths[0]):
                return np.empty(0), offset, True
    return rows, offset + element.count * row_bytes, False


def _rows_of_varying_lists(
    path: pathlib.Path,
    element: Element,
    properties: tuple[Property, ...],
    body: bytes | memoryview,
    offset: int,
) -> tuple[dict[str, np.ndarray], int]:
    """Decodes row by row.

    Returns:
        By name the scalars [count], and the values of the lists, one list after the other; the
        lengths of list `L` [count] as `L length`; the offset behind the rows.
    """
    start = offset
    # Two numbers for each list, where an array for each would take ten times the file.
    starts = {item.name: array.array("q") for item in properties}
    lengths = {item.name: array.array("q") for item in properties if item.count_dtype}
    for row in range(element.count):
        for item in properties:
            length = _list_length(path, element, item, body, offset, row)
            if item.count_dtype is not None:
                offset += item.count_dtype.itemsize
            end = offset + length * item.dtype.itemsize
            if end > len(body):
                raise _short_of(
                    path,
                    f"{element.count} rows of '{files.shown(element.name)}'",
                    f"row {row} alone ends {end - len(body)} bytes behind the file",
                    f"{row} whole rows in {len(body) - start} bytes",
                )
            starts[item.name].append(offset)
            if item.count_dtype is not None:
                lengths[item.name].append(length)
            offset = end
    decoded: dict[str, np.ndarray] = {}
    for item in properties:
        places = np.frombuffer(starts[item.name], np.int64)
        if item.count_dtype is not None:
            counts = np.frombuffer(lengths[item.name], np.int64)
            decoded[f"{item.name} length"] = counts
            before = (np.cumsum(counts) - counts).repeat(counts)
            step = np.arange(len(before)) - before
            places = places.repeat(counts) + step * item.dtype.itemsize
        bytes_of = places[:, None] + np.arange(item.dtype.itemsize)
        values = np.frombuffer(body, np.uint8)[bytes_of]
        decoded[item.name] = values.reshape(-1).view(item.dtype)
    return decoded, offset


def _list_length(
    path: pathlib.Path,
    element: Element,
    item: Property,
    body: bytes | memoryview,
    offset: int,
    row: int = 0,
) -> int:
    """Returns the length of the list that starts at byte `offset`."""
    if item.count_dtype is None:
        return 1
    if offset + item.count_dtype.itemsize > len(body):
        raise _short_of(
            path,
            f"{element.count} rows of '{files.shown(element.name)}'",
            f"a list '{files.shown(item.name)}' in each",
            f"the end of the file in row {row}",
        )
    value = np.frombuffer(body, item.count_dtype, 1, offset)[0]
    if not (value >= 0 and arrays.are_whole(value)):
        raise ValueError(
            f"{path}: expected a length of the list '{files.shown(item.name)}' in row {row} of "
            f"'{files.shown(element.name)}', found {value}"
        )
    return int(value)


def _too_short(path: pathlib.Path, element: Element, size: int, row_bytes: int) -> ValueError:
    return _short_of(
        path,
        f"{element.count} rows of '{files.shown(element.name)}'",
        f"{len(element.properties)} values each",
        f"{size // row_bytes} whole rows",
    )


def _cast(
    path: pathlib.Path, name: str, values: np.ndarray, dtype: np.dtype, declared: np.dtype
) -> np.ndarray:
    """Returns the values as `dtype`; integers of an ascii file must fit their declared type."""
    if values.dtype.kind == "f" and declared.kind in "iu" and values.size:
        info = np.iinfo(declared)
        fits = (values >= info.min) & (values <= info.max) & arrays.are_whole(values)
        if not fits.all():
            raise ValueError(
                f"{path}: expected integers from {info.min} to {info.max} for "
                f"'{files.shown(name)}', found {values[~fits][0]:g}"
            )
    # Too large for 32 bits is infinite, which readers refuse like NaN.
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(dtype)


def _triangulate(lengths: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Cuts polygons into fans: lengths [F], corners [sum of lengths] to int64 [T, 3]."""
    num_triangles = np.maximum(lengths - 2, 0)
    first = (np.cumsum(lengths) - lengths).repeat(num_triangles)
    before = (np.cumsum(num_triangles) - num_triangles).repeat(num_triangles)
    step = np.arange(num_triangles.sum()) - before
    return corners[np.stack([first, first + step + 1, first + step + 2], axis=1)]


def _check_faces(path: str | pathlib.Path, faces: np.ndarray, num_vertices: int) -> None:
    if faces.size and (faces.min() < 0 or faces.max() >= num_vertices):
        wrong = int(faces.min() if faces.min() < 0 else faces.max())
        raise ValueError(
            f"{path}: expected faces of the vertices 0 to {num_vertices - 1}, found vertex {wrong}"
        )
