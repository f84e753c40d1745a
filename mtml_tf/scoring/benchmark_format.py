"""Files of the ScanNet instance benchmark.

    <scene>.txt                       a line for each instance: mask path, class id, confidence
    predicted_masks/<scene>_NNN.txt   a line for each vertex: 1 for members, 0 for others

or, in their place and with the same content, `<scene>.masks` (see `compact_masks`). Whichever of
the two ends a scene, `<scene>.txt` or `<scene>.masks`, is written last: where it is, all is.

Ground truth is `<scene>.txt` too, with `class_id * 1000 + instance` in a line for each vertex.
"""

import math
import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
from absl import logging

from mtml_tf import files
from mtml_tf.scene import Instance
from mtml_tf.scoring import compact_masks

Array = np.ndarray

MASK_FOLDER = "predicted_masks"
_ZERO, _ONE, _NEWLINE, _RETURN = b"01\n\r"
_ZERO_LINE = np.uint16(_NEWLINE << 8 | _ZERO)  # "0" and a newline, little-endian
_MOST_DIGITS = 18  # what int64 surely holds


def write_predictions(
    folder: str | pathlib.Path,
    scene_name: str,
    instances: Sequence[Instance],
    num_vertices: int,
    compact: bool = False,
    overwrite: bool = False,
) -> None:
    """Adds a scene to a folder of predictions.

    A process that is killed leaves masks that no file names, which the next call overwrites.

    Args:
        folder: folder of predictions; made where it is missing.
        scene_name: name of the scene.
        instances: with vertex rows as indices; written in their order.
        num_vertices: number of vertices of the scan.
        compact: write `<scene>.masks`.
        overwrite: replace a scene that is there, by the same form.

    Raises:
        ValueError: a scene name that cannot name a file in this format, a scene that is there
            already, an index beyond the vertices, or a score that is not finite.
    """
    folder = pathlib.Path(folder)
    if len(scene_name.split()) != 1 or scene_name != pathlib.PurePath(scene_name).name:
        raise ValueError(
            f"{folder}: expected a scene name without spaces and slashes, found '{scene_name}'"
        )
    if has_predictions(folder, scene_name) and not overwrite:
        raise ValueError(
            f"{prediction_path(folder, scene_name)}: expected each scene once, found the file "
            "already there"
        )
    if compact:
        path = folder / f"{scene_name}{compact_masks.SUFFIX}"
        compact_masks.write_masks(path, instances, num_vertices, overwrite)
        return
    files.make_folder(folder / MASK_FOLDER)
    for name, content in encode_predictions(scene_name, instances, num_vertices):
        with files.writing_file(folder / name, overwrite=True) as temporary:
            temporary.write_bytes(content)


def encode_predictions(
    scene_name: str, instances: Sequence[Instance], num_vertices: int
) -> Iterator[tuple[str, bytes]]:
    """Yields a scene's text files, masks first: paths in the folder, with `/`, and contents.

    Raises:
        ValueError: an index beyond the vertices, or a score that is not finite.
    """
    lines = []
    for number, instance in enumerate(instances):
        instance.check(f"scene {scene_name}", num_vertices)
        mask_path = f"{MASK_FOLDER}/{scene_name}_{number:03d}.txt"
        yield mask_path, _encode_mask(instance.indices, num_vertices)
        # All digits, so that no two scores become equal by writing them.
        lines.append(f"{mask_path} {instance.class_id} {float(instance.score)!r}\n")
    yield f"{scene_name}.txt", "".join(lines).encode()


def prediction_path(folder: str | pathlib.Path, scene_name: str) -> pathlib.Path:
    """Returns the file that a scene's predictions are complete with: `.masks`, or else `.txt`.

    Raises:
        ValueError: both are there.
    """
    text, compact = (
        pathlib.Path(folder, f"{scene_name}{suffix}") for suffix in (".txt", compact_masks.SUFFIX)
    )
    if not compact.exists():
        return text
    if text.exists():
        raise ValueError(
            f"{folder}: expected predictions of scene {scene_name} in one form, found {text.name} "
            f"and {compact.name}; remove one of them"
        )
    return compact


def has_predictions(folder: str | pathlib.Path, scene_name: str) -> bool:
    """Whether the predictions of a scene are there, complete."""
    return prediction_path(folder, scene_name).exists()


def read_predictions(
    folder: str | pathlib.Path, scene_name: str, num_vertices: int
) -> list[Instance]:
    """Reads a scene of a folder of predictions, of text masks or compact ones.

    Where several lines name the same mask, the last of them holds, as in the official program.

    Args:
        folder: folder of predictions.
        scene_name: name of the scene.
        num_vertices: that each mask must have.

    Returns:
        Instances in the order of the file, with vertex rows as indices.

    Raises:
        ValueError: a file that is missing, a line that is not `mask class_id confidence`, a mask
            outside the folder, one with another number of vertices, a confidence that is not a
            finite number, or compact masks that are damaged.
    """
    path = prediction_path(folder, scene_name)
    if path.suffix == compact_masks.SUFFIX:
        return compact_masks.read_masks(path, num_vertices)[0]
    # As the official program reads it: a byte order mark would be part of the first path.
    text = files.read_text(path, encoding="utf-8")
    described: dict[str, tuple[int, float]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        mask_path, class_id, score = parse_line(path, number, line)
        if mask_path in described:
            logging.warning("%s: line %d names a mask for the second time", path, number)
        described[mask_path] = class_id, score
    return [
        Instance(class_id, score, _read_mask(pathlib.Path(mask_path), num_vertices))
        for mask_path, (class_id, score) in described.items()
    ]


def write_ground_truth(path: str | pathlib.Path, ids: Array) -> None:
    """Writes ground truth; a file that is there is replaced.

    Args:
        path: `<scene>.txt`; its folder is made where it is missing.
        ids: integers [N], `class_id * 1000 + instance` for each vertex.

    Raises:
        ValueError: not a row of integers.
    """
    path, ids = pathlib.Path(path), np.asarray(ids)
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(
            f"{path}: expected one integer for each vertex, found {ids.dtype} {list(ids.shape)}"
        )
    # Few ids, many vertices: each id is turned into text once.
    distinct, row_of_vertex = np.unique(ids, return_inverse=True)
    lines = np.array([f"{number}\n" for number in distinct.tolist()], object)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines[row_of_vertex].tolist()), encoding="ascii")


def read_ground_truth(path: str | pathlib.Path) -> Array:
    """Reads ground truth.

    Args:
        path: `<scene>.txt`.

    Returns:
        int64 [N], `class_id * 1000 + instance` for each vertex.

    Raises:
        ValueError: a file that is missing or empty, or has anything but an integer in each line.
    """
    path = pathlib.Path(path)
    ids = read_integers(path)
    if not len(ids):
        raise ValueError(f"{path}: expected an integer for each vertex, found an empty file")
    return ids.astype(np.int64)


def parse_line(path: pathlib.Path, number: int, line: str) -> tuple[str, int, float]:
    """Parses a line of a scene's prediction file.

    Args:
        path: `<scene>.txt` in the folder of predictions.
        number: the line's number, for the error.
        line: the line.

    Returns:
        The mask's real path (no links, no `..`), the class id, the confidence.

    Raises:
        ValueError: not `mask class_id confidence`, a mask outside the folder, or a number that is
            not finite.
    """
    fields = line.split(" ")
    if len(fields) != 3:
        raise ValueError(
            f"{path}: expected 'mask class_id confidence', split by one space, in line {number}, "
            f"found '{files.shown(line)}'"
        )
    folder = os.path.realpath(path.parent)
    mask_path = os.path.realpath(os.path.join(folder, fields[0].replace("\0", "")))
    if os.path.isabs(fields[0]) or os.path.commonpath([mask_path, folder]) != folder:
        raise ValueError(
            f"{path}: expected a mask inside the folder, by a relative path, in line {number}, "
            f"found '{files.shown(fields[0])}'"
        )
    try:
        class_id, score = int(float(fields[1])), float(fields[2])
    except (ValueError, OverflowError):
        score = math.nan
    if not math.isfinite(score):
        raise ValueError(
            f"{path}: expected a class id and a finite confidence in line {number}, found "
            f"'{files.shown(line)}'"
        )
    return mask_path, class_id, score


def read_integers(path: pathlib.Path) -> Array:
    """Reads a file of one integer a line, in the fastest way that suits the file.

    Args:
        path: the file.

    Returns:
        uint8 or int64 [N], one from each line; N is 0 for an empty file.

    Raises:
        ValueError: a file that is missing, or has anything but an integer in each line.
    """
    return _parse_integers(path, _read_bytes(path))


def _encode_mask(indices: Array, num_vertices: int) -> bytes:
    table = np.full((num_vertices, 2), (_ZERO, _NEWLINE), np.uint8)
    table[indices, 0] = _ONE
    return table.tobytes()


def _read_mask(path: pathlib.Path, num_vertices: int) -> Array:
    """Returns int32 [k], the rows that are not 0."""
    data = _read_bytes(path)
    if len(data) == 2 * num_vertices:
        # The usual mask: a digit and a newline each. All but members are compared only once.
        lines = np.frombuffer(data, "<u2")
        rows = np.flatnonzero(lines != _ZERO_LINE)
        if (lines[rows] - _ZERO_LINE < 10).all():  # wraps below '0'
            return rows.astype(np.int32)
    mask = _parse_integers(path, data)
    if len(mask) != num_vertices:
        raise ValueError(
            f"{path}: expected {num_vertices} lines, one for each vertex, found {len(mask)}"
        )
    return np.flatnonzero(mask).astype(np.int32)


def _read_bytes(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        folder, name = path.parent, files.shown(path.name)  # of what a file of predictions names
        raise ValueError(
            f"{files.shown(str(folder), 1000)}/{name}: expected a readable file, found: "
            f"{error.strerror}"
        ) from error


def _parse_integers(path: pathlib.Path, data: bytes) -> Array:
    if data and not data.endswith(b"\n"):
        data += b"\r\n" if data[1:3] == b"\r\n" else b"\n"
    values = _parse_digits(data)
    if values is None:
        values = _parse_unsigned(data)
    return _parse_any(path, data) if values is None else values


def _parse_digits(data: bytes) -> Array | None:
    """Returns uint8 [N] where every line is one digit, as in a mask, else None."""
    ending = b"\r\n" if data[1:3] == b"\r\n" else b"\n"
    width = 1 + len(ending)
    if len(data) % width:
        return None
    table = np.frombuffer(data, np.uint8).reshape(-1, width)
    digits = table[:, 0] - _ZERO  # wraps below '0'
    same_ending = all((table[:, 1 + place] == byte).all() for place, byte in enumerate(ending))
    return digits if same_ending and (digits < 10).all() else None


def _parse_unsigned(data: bytes) -> Array | None:
    """Returns int64 [N] where every line is digits only, at most 18, else None."""
    characters = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(characters == _NEWLINE)
    starts = np.append(0, ends[:-1] + 1)
    ends = ends - (characters[ends - 1] == _RETURN)
    lengths = ends - starts
    if lengths.min() < 1 or lengths.max() > _MOST_DIGITS:
        return None
    values = np.zeros(len(ends), np.int64)
    for place in range(lengths.max()):  # from the last digit to the first
        rows = np.flatnonzero(lengths > place)
        digits = characters[ends[rows] - 1 - place] - _ZERO  # wraps below '0'
        if (digits > 9).any():
            return None
        values[rows] += digits.astype(np.int64) * 10**place
    return values


def _parse_any(path: pathlib.Path, data: bytes) -> Array:
    """Returns int64 [N] of lines that Python takes as integers. Raises ValueError for others."""
    values = np.zeros(data.count(b"\n"), np.int64)
    for row, line in enumerate(data[:-1].split(b"\n")):
        try:
            values[row] = int(line)
        except (ValueError, OverflowError) as error:
            found = files.shown(line[:40].decode(errors="replace").strip())
            raise ValueError(
                f"{path}: expected one integer a line, found '{found}' in line {row + 1}"
            ) from error
    return values
