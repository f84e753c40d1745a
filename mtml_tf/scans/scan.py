"""Labelled scans: PLY files to scenes and back."""

import dataclasses
import pathlib
import re
from collections.abc import Mapping

import numpy as np
from absl import logging

from mtml_tf import arrays, files
from mtml_tf.scans import ply
from mtml_tf.scene import Scene

LABEL = "label"
_INT32 = np.iinfo(np.int32)
_COARSEST_STEP = 0.25  # voxels; coarser coordinates move vertices into other voxels
_COLORS = ("red", "green", "blue")
# For each axis that points up: the rows are the new axes in terms of the old ones. Rotations all.
UP_AXES = {
    "z": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "y": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "x": ((0, 1, 0), (0, 0, 1), (1, 0, 0)),
    "-z": ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    "-y": ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    "-x": ((0, -1, 0), (0, 0, 1), (-1, 0, 0)),
}


def parse_label_map(text: str) -> dict[int, int]:
    """Parses `13:2,14:0` into `{13: 2, 14: 0}`: class ids of a file, and the ids to read them as.

    Raises:
        ValueError: not of that form, an id to read them as below 0, or an id mapped twice.
    """
    label_map: dict[int, int] = {}
    for pair in text.split(",") if text.strip() else ():
        match = re.fullmatch(r"\s*([+-]?\d+)\s*:\s*(\d+)\s*", pair, re.ASCII)
        if match is None:
            raise ValueError(
                f"label map '{text}': expected ID:ID,ID:ID,..., found '{pair.strip()}'"
            )
        source, target = int(match[1]), int(match[2])
        if source in label_map:
            raise ValueError(f"label map '{text}': expected each id once, found {source} twice")
        label_map[source] = target
    return label_map


def scene_name(path: str | pathlib.Path) -> str:
    """Returns the name of a scan's scene: that of its file, spaces replaced by `_`."""
    return re.sub(r"\s+", "_", pathlib.Path(path).stem)


def read_scan(
    path: str | pathlib.Path,
    label_map: Mapping[int, int] | None = None,
    label_property: str = LABEL,
    need_instances: bool = True,
) -> Scene:
    """Reads a scan, labelled or not, from a PLY file.

    Vertex properties: `x`, `y`, `z` in metres, z up; optional `red`, `green`, `blue` (0 to 255, 16
    bits, or floating point from 0 to 1); optional `label` (class id, 0 unlabelled) and `instance`
    (0 none) of any type, as long as their values are whole numbers.

    Args:
        path: the file; the scene gets its `scene_name`.
        label_map: class ids of the file to read as other ids; ids that it lacks stay as they are.
        label_property: name of the vertex property that holds the class ids; one of another name
            than the usual must be there. Empty: class ids are left out, whatever the file has.
        need_instances: False leaves out an `instance` property whose values are no ids, such as
            -1 for none.

    Returns:
        The scene; semantic_ids, instance_ids, colors and faces are None where the file has none.

    Raises:
        ValueError: not a whole PLY file, no vertices, no coordinates, coordinates that are not
            finite, or labels and instances that are not whole numbers of 0 or more.
    """
    elements = ply.read_ply(path)
    vertex = elements.get("vertex")
    if vertex is None or not len(vertex):
        raise ValueError(f"{path}: expected vertices, found none")
    present = vertex.dtype.names or ()
    missing = [axis for axis in "xyz" if axis not in present]
    if missing:
        raise ValueError(
            f"{path}: expected the vertex properties x, y, z, found no {', '.join(missing)} among "
            f"{files.shown(list(present))}"
        )
    with np.errstate(invalid="ignore"):  # of a NaN that signals
        vertices = np.stack([vertex[axis].astype(np.float64) for axis in "xyz"], axis=1)
    wrong = np.count_nonzero(~np.isfinite(vertices).all(axis=1))
    if wrong:
        raise ValueError(
            f"{path}: expected finite coordinates, found NaN or infinity at {wrong} of "
            f"{len(vertices)} vertices; remove these vertices"
        )
    singles = [vertex[axis] for axis in "xyz" if vertex[axis].dtype == np.float32]
    colors = None
    if all(name in present for name in _COLORS):
        colors = _color_bytes(np.stack([vertex[name] for name in _COLORS], axis=1))
    semantic_ids = instance_ids = None
    if label_property in present:
        semantic_ids = _ids(path, label_property, vertex[label_property], label_map or {})
    elif label_property not in ("", LABEL):
        raise ValueError(
            f"{path}: expected the vertex property '{label_property}', found "
            f"{files.shown(list(present))}"
        )
    if "instance" in present:
        try:
            instance_ids = _ids(path, "instance", vertex["instance"], {})
        except ValueError as error:
            if need_instances:
                raise
            logging.info("%s; taken as a scan without instances", error)
    return Scene(
        name=scene_name(path),
        vertices=vertices,
        colors=colors,
        faces=elements.get("faces"),
        semantic_ids=semantic_ids,
        instance_ids=instance_ids,
        coordinate_step=float(max((np.spacing(np.abs(x).max()) for x in singles), default=0)),
    )


def in_metres(scene: Scene, up_axis: str = "z", scale: float = 1.0) -> Scene:
    """Returns a scan in metres and z up.

    Args:
        scene: in other units, or with another axis up.
        up_axis: the axis that points up, such as `y` or `-z`.
        scale: metres that one of the scan's units is, such as 0.001 for millimetres.

    Raises:
        ValueError: no such axis, or a scale that is not above 0.
    """
    if up_axis not in UP_AXES:
        raise ValueError(f"expected an up axis among {list(UP_AXES)}, found '{up_axis}'")
    if not 0 < scale < np.inf:
        raise ValueError(f"expected a finite scale above 0, found {scale}")
    with np.errstate(over="ignore", invalid="ignore"):  # a scene of infinite vertices is refused
        vertices = scene.vertices @ np.array(UP_AXES[up_axis], np.float64).T * scale
    return dataclasses.replace(
        scene, vertices=vertices, coordinate_step=scene.coordinate_step * scale
    )


def check_step(scene: Scene, voxel_size: float) -> None:
    """Raises ValueError where a scan's file held coordinates too coarse for voxels, metres."""
    largest = np.abs(scene.vertices).max(initial=0)
    dtype = np.result_type(scene.vertices.dtype, np.float32)
    step = max(scene.coordinate_step, float(np.spacing(largest.astype(dtype))))
    if step > voxel_size * _COARSEST_STEP:
        raise ValueError(
            f"scene {scene.name}: expected coordinates that tell voxels of {voxel_size:g} m apart, "
            f"found numbers of 32 bits up to {largest:.3g} m, which go in steps of {step:.2g} m; "
            "store x, y, z as double, or take an offset off before they become float"
        )


def write_scan(
    path: str | pathlib.Path,
    scene: Scene,
    overwrite: bool = False,
    properties: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Writes a scene as a binary PLY file that `read_scan` reads back; features are not written.

    `label`, `instance` and whole numbers in `properties`, further vertex properties [N], are
    written as `ushort` where all of them fit, else as `int`.

    Raises:
        ValueError: the file exists and `overwrite` is False.
    """
    written = {}
    given = {"label": scene.semantic_ids, "instance": scene.instance_ids, **(properties or {})}
    for name, ids in given.items():
        if ids is not None:
            short = not ids.size or (ids.min() >= 0 and ids.max() <= np.iinfo(np.uint16).max)
            written[name] = ids.astype(np.uint16 if short else np.int32)
    ply.write_ply(path, scene.vertices, scene.colors, scene.faces, written, overwrite)


def _color_bytes(values: np.ndarray) -> np.ndarray:
    """Returns uint8 [N, 3]: floats up to 1 and whole numbers above 255 are brought to 0..255."""
    largest = 255.0
    if values.dtype.kind == "f" and np.nanmax(values, initial=0) <= 1:
        largest = 1.0
    elif values.dtype.kind != "f" and values.max(initial=0) > 255:
        largest = float(np.iinfo(np.uint16).max)
    with np.errstate(over="ignore", invalid="ignore"):  # infinity is 255, too
        values = np.nan_to_num(values.astype(np.float64)) * (255 / largest)
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def _ids(
    path: str | pathlib.Path, name: str, values: np.ndarray, label_map: Mapping[int, int]
) -> np.ndarray:
    """Returns int32 [N] ids, mapped; raises ValueError for what is no id."""
    found, rows = np.unique(values, return_inverse=True)
    whole = arrays.are_whole(found)
    if not whole.all():
        raise ValueError(
            f"{path}: expected whole numbers in the vertex property '{name}', found "
            f"{found[~whole][0]}"
        )
    ids = [label_map.get(int(value), int(value)) for value in found]
    wrong = [value for value in ids if not 0 <= value <= _INT32.max]
    if wrong:
        advice = (
            f"; if it means unlabelled, give --label_map={wrong[0]}:0" if name != "instance" else ""
        )
        raise ValueError(
            f"{path}: expected ids from 0 to {_INT32.max} in the vertex property '{name}', found "
            f"{wrong[0]}{advice}"
        )
    return np.array(ids, np.int32)[rows.reshape(-1)]
