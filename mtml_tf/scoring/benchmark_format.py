"""Files of the ScanNet instance benchmark.

    <scene>.txt                       one line an instance: mask path, class id, confidence
    predicted_masks/<scene>_NNN.txt   one line a vertex: 1 for members, 0 for others

and ground truth: `<scene>.txt`, `class_id * 1000 + instance` a vertex line.
"""

import math
import pathlib
from collections.abc import Sequence

import numpy as np

from mtml_tf.scene import Instance

Array = np.ndarray

MASK_FOLDER = "predicted_masks"
_ZERO, _NEWLINE, _RETURN = ord("0"), ord("\n"), ord("\r")


def write_predictions(
    folder: str | pathlib.Path, scene_name: str, instances: Sequence[Instance], num_vertices: int
) -> None:
    """Writes a scene's instances, with vertex rows as indices, into a folder of predictions.

    Raises:
        ValueError: a scene name with white space, or an index beyond the vertices.
    """
    folder = pathlib.Path(folder)
    if len(scene_name.split()) != 1:
        raise ValueError(f"{folder}: expected a scene name without spaces, found '{scene_name}'")
    (folder / MASK_FOLDER).mkdir(parents=True, exist_ok=True)
    lines = []
    for number, instance in enumerate(instances):
        if len(instance.indices) and instance.indices.max() >= num_vertices:
            raise ValueError(
                f"scene {scene_name}: expected vertex rows below {num_vertices}, found "
                f"{instance.indices.max()}"
            )
        mask_path = f"{MASK_FOLDER}/{scene_name}_{number:03d}.txt"
        text = np.full((num_vertices, 2), (_ZERO, _NEWLINE), np.uint8)
        text[instance.indices, 0] += 1
        (folder / mask_path).write_bytes(text.tobytes())
        lines.append(f"{mask_path} {instance.class_id} {instance.score:.9g}\n")
    (folder / f"{scene_name}.txt").write_text("".join(lines), encoding="utf-8")


def read_predictions(
    folder: str | pathlib.Path, scene_name: str, num_vertices: int
) -> list[Instance]:
    """Reads a scene's instances in the order of the file.

    Args:
        folder: folder of predictions.
        scene_name: name of the scene.
        num_vertices: lines that each mask must have.

    Returns:
        Instances with vertex rows as indices.

    Raises:
        ValueError: a line that is not `path class_id confidence`, a mask outside the folder or
            missing, one with another number of lines, or a confidence that is no finite number.
    """
    folder = pathlib.Path(folder)
    path = folder / f"{scene_name}.txt"
    instances = []
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        fields = line.split(" ")
        if len(fields) != 3:
            raise ValueError(
                f"{path}: expected 'mask class_id confidence' in line {number}, found '{line}'"
            )
        mask_path = (folder / fields[0]).resolve()
        if not mask_path.is_relative_to(folder.resolve()):
            raise ValueError(
                f"{path}: expected a mask inside {folder} in line {number}, found '{fields[0]}'"
            )
        try:
            class_id, score = int(float(fields[1])), float(fields[2])
        except (ValueError, OverflowError):
            class_id, score = 0, math.nan
        if not math.isfinite(score):
            raise ValueError(
                f"{path}: expected a class id and a finite confidence in line {number}, found "
                f"'{line}'"
            )
        mask = _read_integers(mask_path)
        if len(mask) != num_vertices:
            raise ValueError(
                f"{mask_path}: expected {num_vertices} lines, one a vertex, found {len(mask)}"
            )
        instances.append(Instance(class_id, score, np.flatnonzero(mask).astype(np.int32)))
    return instances


def write_ground_truth(path: str | pathlib.Path, ids: Array) -> None:
    """Writes ground truth: int [N], `class_id * 1000 + instance` of each vertex."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Few ids, many vertices: each id is turned into text once.
    distinct, inverse = np.unique(ids, return_inverse=True)
    lines = np.array([f"{i}\n" for i in distinct.tolist()], object)
    path.write_text("".join(lines[inverse].tolist()), encoding="ascii")


def read_ground_truth(path: str | pathlib.Path) -> Array:
    """Returns int64 [N]. Raises ValueError for a file that is not one integer a line."""
    return _read_integers(pathlib.Path(path))


def _read_bytes(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: expected a readable file, found: {error.strerror}") from error


def _read_text(path: pathlib.Path) -> str:
    try:
        return _read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected UTF-8 text, found other bytes") from error


def _read_integers(path: pathlib.Path) -> Array:
    """Reads one integer a line; lines of one digit each at the speed of memory."""
    data = _read_bytes(path)
    if data and not data.endswith(b"\n"):
        data += b"\n"
    for ending in (b"\n", b"\r\n"):
        width = 1 + len(ending)
        if len(data) % width == 0:
            table = np.frombuffer(data, np.uint8).reshape(-1, width)
            digits = table[:, 0] - _ZERO  # wraps below '0'
            if (digits < 10).all() and (table[:, 1:] == np.frombuffer(ending, np.uint8)).all():
                return digits.astype(np.int64)
    try:
        return np.array(data.split(), np.int64)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{path}: expected one integer a line, found other text") from error
