"""Writes scenes in the raw layout of ScanNet v2, as `reader.read_scene` reads them."""

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Mapping

import numpy as np

from mtml_tf import files
from mtml_tf.scannet import layout
from mtml_tf.scannet.layout import RawGroup
from mtml_tf.scans import ply

# What the real files state of the over-segmentation; readers of them may expect the key.
_SEGMENT_PARAMETERS = {"kThresh": "0.01", "segMinVerts": "20"}


@dataclasses.dataclass(frozen=True, eq=False)
class RawScene:
    """A scene as ScanNet stores it.

    Attributes:
        name: such as scene0000_00; without spaces.
        vertices: float32 [N, 3], metres, z up.
        colors: uint8 [N, 3], red green blue.
        faces: int32 [F, 3], rows of `vertices`.
        segments: integers [N], at least 0: the segment of the over-segmentation of each vertex.
        groups: the annotated objects; vertices of segments that none names are unannotated.
        axis_alignment: float64 [4, 4], takes homogeneous coordinates of `vertices` to a room
            whose walls run along x and y.

    Raises:
        ValueError: arrays that do not have the shapes above.
    """

    name: str
    vertices: np.ndarray
    colors: np.ndarray
    faces: np.ndarray
    segments: np.ndarray
    groups: tuple[RawGroup, ...]
    axis_alignment: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.vertices)
        shapes = {
            "vertices": (count, 3),
            "colors": (count, 3),
            "faces": (len(self.faces), 3),
            "segments": (count,),
            "axis_alignment": (4, 4),
        }
        for field, shape in shapes.items():
            found = np.shape(getattr(self, field))
            if found != shape:
                raise ValueError(f"scene {self.name}: expected {field} {shape}, found {found}")


def write_raw_scene(
    scans_dir: str | pathlib.Path, raw: RawScene, label_table: Mapping[str, int]
) -> None:
    """Writes the folder of an annotated scene, whole or not at all.

    Args:
        scans_dir: folder of the scenes' folders (`<scannet_dir>/scans`).
        raw: the scene.
        label_table: NYU40 id of each raw category name; a name that it lacks gives its vertices
            the label 0, as in the real files.

    Raises:
        ValueError: the scene's folder exists and is not empty.
    """
    with files.writing_folder(pathlib.Path(scans_dir) / raw.name) as folder:
        _write_mesh(folder, raw)
        _write_labels_mesh(folder, raw, label_table)
        _write_json(
            folder / layout.SEGMENTS.format(scene=raw.name),
            {
                "params": _SEGMENT_PARAMETERS,
                "sceneId": raw.name,
                "segIndices": np.asarray(raw.segments).tolist(),
            },
        )
        groups = [
            {
                "id": number,
                "objectId": int(group.object_id),
                "segments": [int(segment) for segment in group.segments],
                "label": group.label,
            }
            for number, group in enumerate(raw.groups)
        ]
        _write_json(
            folder / layout.AGGREGATION.format(scene=raw.name),
            {
                "sceneId": f"scannet.{raw.name}",
                "appId": "Aggregator.v2",
                "segGroups": groups,
                "segmentsFile": f"scannet.{layout.SEGMENTS.format(scene=raw.name)}",
            },
        )
        alignment = " ".join(f"{value:.17g}" for value in np.ravel(raw.axis_alignment))
        files.write_text(
            folder / layout.DESCRIPTION.format(scene=raw.name),
            f"axisAlignment = {alignment}\n",
        )


def write_label_table(
    path: str | pathlib.Path, table: Mapping[str, int], class_names: Mapping[int, str]
) -> None:
    """Writes the table of raw category names, with the columns of the real one.

    Args:
        path: the tsv file.
        table: NYU40 id of each raw category name.
        class_names: NYU40 name of each of those ids.

    Raises:
        ValueError: the file exists.
    """
    lines = ["\t".join(layout.TABLE_COLUMNS)]
    for number, (name, class_id) in enumerate(table.items(), start=1):
        cells = {
            "id": str(number),
            "raw_category": name,
            "category": name,
            "count": "1",
            "nyu40id": str(class_id),
            "nyu40class": class_names[class_id],
        }
        lines.append("\t".join(cells.get(column, "") for column in layout.TABLE_COLUMNS))
    files.write_text(path, "\n".join(lines) + "\n")


def write_split_list(scannet_dir: str | pathlib.Path, split: str, names: Iterable[str]) -> None:
    """Writes the list of a split's scenes. Raises ValueError where it exists."""
    path = pathlib.Path(scannet_dir) / layout.SPLIT_LIST.format(split=split)
    files.write_text(path, "".join(f"{name}\n" for name in names))


def _write_mesh(folder: pathlib.Path, raw: RawScene) -> None:
    path = folder / layout.MESH.format(scene=raw.name)
    ply.write_ply(path, _single(raw.vertices), raw.colors, raw.faces, {"alpha": _opaque(raw)})


def _write_labels_mesh(folder: pathlib.Path, raw: RawScene, label_table: Mapping[str, int]) -> None:
    labels = np.zeros(len(raw.vertices), np.uint16)
    for group in raw.groups:
        labels[np.isin(raw.segments, group.segments)] = label_table.get(group.label, 0)
    path = folder / layout.LABELS_MESH.format(scene=raw.name)
    properties = {"alpha": _opaque(raw), "label": labels}
    ply.write_ply(path, _single(raw.vertices), raw.colors, raw.faces, properties)


def _single(vertices: np.ndarray) -> np.ndarray:
    return np.asarray(vertices, np.float32)


def _opaque(raw: RawScene) -> np.ndarray:
    return np.full(len(raw.vertices), 255, np.uint8)


def _write_json(path: pathlib.Path, content: Mapping[str, object]) -> None:
    files.write_text(path, json.dumps(content))
