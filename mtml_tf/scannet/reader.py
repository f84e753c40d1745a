"""Reads raw ScanNet v2: split lists, the label table, scenes and their ground truth.

What is wrong with a scene in a way that leaves it usable (a name that the label table lacks, a
group given twice, labels that contradict the table) is corrected by what the files hold, never by
the scene's name, and comes back as a list of faults. What leaves it unusable raises ValueError.
"""

import collections
import csv
import dataclasses
import itertools
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mtml_tf import files
from mtml_tf.classes import SCANNET20
from mtml_tf.scannet import layout
from mtml_tf.scannet.layout import RawGroup
from mtml_tf.scans import ply, scan
from mtml_tf.scene import Scene
from mtml_tf.scoring.ground_truth import INSTANCES_PER_CLASS

Array = np.ndarray

_MOST_DIGITS = 9  # of an id, which has 32 bits
_MOST_NAMED = 5  # of many like faults, so many are named
_TURN_TOLERANCE = 1e-3  # of an alignment's entries; the real ones are written with six digits


def read_split(
    scannet_dir: str | pathlib.Path, split: str, split_dir: str | pathlib.Path | None = None
) -> list[str]:
    """Returns the names of a split's scenes, in the order of the list.

    Args:
        scannet_dir: the download; the list is looked for in it and in its `Tasks/Benchmark`.
        split: `train`, `val` or `test`.
        split_dir: where given, the only folder in which the list is looked for.

    Raises:
        ValueError: no list, or one that is not as `files.read_scene_list` expects.
    """
    name = layout.SPLIT_LIST.format(split=split)
    folders = [pathlib.Path(scannet_dir, part) for part in layout.SPLIT_FOLDERS]
    if split_dir:
        folders = [pathlib.Path(split_dir)]
    path = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if path is None:
        raise ValueError(
            f"{folders[0] / name}: expected the list of the scenes of split '{split}', found no "
            "such file; --split_dir names the folder of the lists"
        )
    return list(files.read_scene_list(path))


def scene_folder(scannet_dir: str | pathlib.Path, split: str, name: str) -> pathlib.Path:
    """Returns where the files of a scene lie: test scenes apart from the others, or among them."""
    folder = pathlib.Path(scannet_dir, layout.SCANS, name)
    apart = pathlib.Path(scannet_dir, layout.TEST_SCANS, name)
    if split == layout.TEST_SPLIT and (apart.is_dir() or not folder.is_dir()):
        return apart
    return folder


def read_label_table(path: str | pathlib.Path) -> dict[str, int]:
    """Returns the NYU40 id of each raw category name of `scannetv2-labels.combined.tsv`.

    Raises:
        ValueError: no such file, no columns `raw_category` and `nyu40id`, an id that is not a
            whole number, or a cell that is too long to be one.
    """
    path = pathlib.Path(path)
    reader = csv.DictReader(
        files.read_text(path).splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE, restval=""
    )
    try:
        columns = list(reader.fieldnames or ())
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise ValueError(f"{path}: expected a tab separated table, found {error}") from error
    for column in ("raw_category", "nyu40id"):
        if column not in columns:
            raise ValueError(
                f"{path}: expected a column '{column}' (tab separated), found "
                f"{files.shown(columns[:_MOST_NAMED])}"
            )
    table = {}
    for number, row in rows:
        text = row["nyu40id"].strip()
        if not text.isdecimal() or len(text) > _MOST_DIGITS:
            raise ValueError(
                f"{path}: expected a NYU40 id in line {number}, found "
                f"'{files.shown(row['nyu40id'])}'"
            )
        table[row["raw_category"].strip()] = int(text)
    return table


def read_scene(
    folder: str | pathlib.Path, label_table: Mapping[str, int], align_axes: bool = True
) -> tuple[Scene, list[str]]:
    """Reads an annotated scene: mesh, labels mesh, segments and aggregation.

    Labels are those that the label table gives the aggregation's names; the labels mesh only
    serves to check them, since some of the real ones hold ids that the table doesn't give.

    Args:
        folder: folder of the scene, named like it.
        label_table: see `read_label_table`.
        align_axes: see `read_mesh`.

    Returns:
        The scene, with NYU40 ids (0 unlabelled) as semantic_ids, and as instance_ids the object's
        number in the aggregation plus 1 (0 unannotated); and the faults found, a sentence each.

    Raises:
        ValueError: a file that is missing or damaged, counts that disagree, or an object number
            beyond what the benchmark's format holds.
    """
    folder = pathlib.Path(folder)
    scene = read_mesh(folder, align_axes)
    count = len(scene.vertices)
    aggregation_path = _path(folder, layout.AGGREGATION)
    segments = read_segments(folder, count)
    groups = _read_groups(aggregation_path)
    kept, faults = _without_duplicates(groups)
    semantic_ids, instance_ids, known, more = _annotate(kept, segments, label_table)
    faults = [f"{aggregation_path}: {fault}" for fault in faults + more]
    faults += _check_labels(_path(folder, layout.LABELS_MESH), semantic_ids, known)
    if align_axes and _axis_alignment(folder) is None:
        path = _path(folder, layout.DESCRIPTION)
        faults.append(f"{path}: expected a line 'axisAlignment = ...', found none; left unaligned")
    annotated = dataclasses.replace(scene, semantic_ids=semantic_ids, instance_ids=instance_ids)
    return annotated, faults


def read_mesh(folder: str | pathlib.Path, align_axes: bool = True) -> Scene:
    """Reads the mesh of a scene alone, which is all that the benchmark's test scenes have.

    Args:
        folder: folder of the scene, named like it.
        align_axes: turn and shift the vertices as `axisAlignment` in `<scene>.txt` says, so that
            walls run along x and y and the grid is as small as the room; vertices stay as they
            are where there is no such line. Their order does not change.

    Returns:
        The scene, named like the folder, without labels and instances.

    Raises:
        ValueError: a file that is missing or damaged, or an alignment that is more than a turn
            about z and a shift.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected the folder of a scene, found no such folder")
    scene = scan.read_scan(_path(folder, layout.MESH))
    vertices = scene.vertices
    alignment = _axis_alignment(folder) if align_axes else None
    if alignment is not None:
        with np.errstate(over="ignore", invalid="ignore"):  # infinite vertices are refused
            vertices = vertices @ alignment[:3, :3].T + alignment[:3, 3]
    try:
        return Scene(folder.name, vertices, scene.colors, scene.faces)
    except ValueError as error:
        raise ValueError(f"{_path(folder, layout.DESCRIPTION)}: axisAlignment: {error}") from error


def read_segments(folder: str | pathlib.Path, count: int) -> Array:
    """Returns int64 [N], the segment of the over-segmentation that each vertex belongs to.

    Args:
        folder: folder of the scene, named like it.
        count: N, the number of vertices of its mesh.

    Raises:
        ValueError: a file that is missing or damaged, or another number of values.
    """
    path = _path(pathlib.Path(folder), layout.SEGMENTS)
    values = _read_list(path, "segIndices")
    if len(values) != count:
        raise ValueError(
            f"{path}: expected {count} values in 'segIndices', one for each vertex of the mesh, "
            f"found {len(values)}"
        )
    return _integers(path, "segIndices", values)


def read_vertex_counts(scannet_dir: str | pathlib.Path, names: Iterable[str]) -> dict[str, int]:
    """Returns the number of vertices of test scenes, from the headers of their meshes.

    Scenes that are not in `scans_test/` are looked for in `scans/`.

    Raises:
        ValueError: a mesh that is missing or has no number of vertices in its header.
    """
    counts = {}
    for name in names:
        folder = scene_folder(scannet_dir, layout.TEST_SPLIT, name)
        counts[name] = ply.read_vertex_count(_path(folder, layout.MESH))
    return counts


def benchmark_ids(scene: Scene) -> Array:
    """Returns int64 [N], `NYU40 id * 1000 + instance`, 0 where either of them is 0.

    These are the lines of the benchmark's ground truth files. Annotated objects outside its 18
    classes stay: the evaluation needs to know that something else is there.

    Args:
        scene: from `read_scene`.

    Raises:
        ValueError: a scene without labels or instances.
    """
    if scene.semantic_ids is None or scene.instance_ids is None:
        raise ValueError(f"scene {scene.name}: expected labels and instances, found none")
    annotated = (scene.semantic_ids > 0) & (scene.instance_ids > 0)
    ids = scene.semantic_ids.astype(np.int64) * INSTANCES_PER_CLASS + scene.instance_ids
    return np.where(annotated, ids, 0)


def with_benchmark_classes(scene: Scene) -> Scene:
    """Returns the scene with the label 0 wherever it is not one of the benchmark's 20 classes.

    Args:
        scene: from `read_scene` or `read_mesh`; one without labels is unlabelled all over.
    """
    ids = scene.semantic_ids
    if ids is None:
        ids = np.zeros(len(scene.vertices), np.int32)
    kept = np.where(np.isin(ids, SCANNET20.ids), ids, 0).astype(np.int32)
    return dataclasses.replace(scene, semantic_ids=kept)


def _path(folder: pathlib.Path, pattern: str) -> pathlib.Path:
    return folder / pattern.format(scene=folder.name)


def _read_list(path: pathlib.Path, key: str) -> list[Any]:
    """Returns the list that a JSON file holds under `key`."""
    text = files.read_text(path)
    try:
        content = files.parse_json(text)
    except ValueError as error:
        raise ValueError(
            f"{path}: expected a JSON file, found {error}; the file is cut short or damaged"
        ) from error
    values = content.get(key) if isinstance(content, dict) else None
    if not isinstance(values, list):
        raise ValueError(f"{path}: expected a list '{key}', found {type(values).__name__}")
    return values


def _integers(path: pathlib.Path, owner: str, values: Sequence[Any]) -> Array:
    if set(map(type, values)) == {str}:
        values = [text[:1] for text in values]  # told by their kind alone
    try:
        array = np.array(values, None if _are_numbers(values) else object)
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"{path}: expected integers in '{owner}', found {files.shown(str(error))}"
        ) from error
    if array.shape != (len(values),) or (len(values) and array.dtype.kind not in "iu"):
        raise ValueError(
            f"{path}: expected integers in '{owner}', found {array.dtype} {list(array.shape)}"
        )
    if array.dtype.kind == "u" and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{path}: expected integers below 2**63 in '{owner}', found {array.max()}")
    return array.astype(np.int64)


def _are_numbers(values: Sequence[Any]) -> bool:
    """Whether values, and those in lists of them, may be put into an array of their kind.

    One long text among many short ones would take its memory for each of them.
    """
    items = itertools.chain(*(value if isinstance(value, list) else [value] for value in values))
    kinds = set(map(type, items))
    return kinds <= {int, float, bool, type(None)} or all(isinstance(v, str) for v in values)


def _read_groups(path: pathlib.Path) -> list[RawGroup]:
    groups = []
    for number, item in enumerate(_read_list(path, "segGroups")):
        owner = f"segGroups[{number}]"
        fields = item if isinstance(item, dict) else {}
        object_id, label = fields.get("objectId"), fields.get("label")
        segments = fields.get("segments")
        if (
            not isinstance(object_id, int)
            or not isinstance(label, str)
            or not isinstance(segments, list)
        ):
            raise ValueError(
                f"{path}: expected an integer 'objectId', a text 'label' and a list 'segments' in "
                f"{owner}, found {files.shown(item, 80)}"
            )
        if not 0 <= object_id < INSTANCES_PER_CLASS - 1:
            raise ValueError(
                f"{path}: expected an 'objectId' from 0 to {INSTANCES_PER_CLASS - 2} in {owner}, "
                f"found {files.shown(object_id)}"
            )
        ids = _integers(path, f"{owner}.segments", segments)
        groups.append(RawGroup(object_id, label.strip(), tuple(ids.tolist())))
    return groups


def _without_duplicates(
    groups: Sequence[RawGroup],
) -> tuple[list[RawGroup], list[str]]:
    """Drops each group whose segments are those of an earlier one."""
    first: dict[frozenset[int], int] = {}
    kept, dropped = [], []
    for group in groups:
        segments = frozenset(group.segments)
        if segments and segments in first:
            dropped.append(f"{group.object_id} (as {first[segments]})")
        else:
            first[segments] = group.object_id
            kept.append(group)
    faults = []
    if dropped:
        faults.append(
            f"objects with the same segments as an earlier one are left out: {_some(dropped)}"
        )
    counts = collections.Counter(group.object_id for group in kept)
    twice = sorted(object_id for object_id, count in counts.items() if count > 1)
    if twice:
        faults.append(f"groups that share an objectId are taken for one object: {_some(twice)}")
    return kept, faults


def _annotate(
    groups: Sequence[RawGroup], segments: Array, label_table: Mapping[str, int]
) -> tuple[Array, Array, Array, list[str]]:
    """Gives each vertex the class and the instance of its segment's group.

    Returns:
        int32 [N] NYU40 ids, int32 [N] instances, bool [N] False where the group's name is not in
        the table, and the faults.
    """
    distinct, rows = np.unique(segments, return_inverse=True)
    semantic, instance = np.zeros(len(distinct), np.int32), np.zeros(len(distinct), np.int32)
    known = np.ones(len(distinct), bool)
    num_missing = num_shared = 0
    unknown_names: dict[str, int] = {}
    for group in groups:
        wanted = np.unique(np.array(group.segments, np.int64))
        places = np.minimum(np.searchsorted(distinct, wanted), len(distinct) - 1)
        places, num_wanted = places[distinct[places] == wanted], len(wanted)
        num_missing += num_wanted - len(places)
        num_shared += np.count_nonzero(instance[places])
        semantic[places] = label_table.get(group.label, 0)
        instance[places] = group.object_id + 1
        known[places] = group.label in label_table
        if group.label not in label_table:
            unknown_names[group.label] = unknown_names.get(group.label, 0) + 1
    faults = []
    if unknown_names:
        names = [
            f"'{files.shown(name)}' ({count})" for name, count in sorted(unknown_names.items())
        ]
        faults.append(
            f"labels that the label table lacks are taken as unlabelled: {', '.join(names)}"
        )
    if num_missing:
        faults.append(f"{num_missing} segments of objects are not in 'segIndices'")
    if num_shared:
        faults.append(f"{num_shared} segments belong to several objects; the last has them")
    rows = rows.reshape(-1)
    return semantic[rows], instance[rows], known[rows], faults


def _check_labels(path: pathlib.Path, semantic_ids: Array, known: Array) -> list[str]:
    """Compares the labels mesh with the labels that hold.

    Raises:
        ValueError: a mesh that is damaged, has no labels or another number of vertices.
    """
    if not path.exists():
        return [f"{path}: no such file; labels are not checked against it"]
    labels = scan.read_scan(path).semantic_ids
    if labels is None:
        raise ValueError(f"{path}: expected a vertex property 'label', found none")
    if len(labels) != len(semantic_ids):
        raise ValueError(
            f"{path}: expected {len(semantic_ids)} vertices as in the mesh, found {len(labels)}"
        )
    wrong = known & (labels != semantic_ids)
    if not wrong.any():
        return []
    pairs, counts = np.unique(
        np.stack([labels[wrong], semantic_ids[wrong]], axis=1), axis=0, return_counts=True
    )
    told = [
        f"{found} for {expected} at {count} vertices"
        for (found, expected), count in zip(pairs.tolist(), counts.tolist(), strict=True)
    ]
    return [f"{path}: labels other than those of aggregation and label table: {_some(told)}"]


def _axis_alignment(folder: pathlib.Path) -> Array | None:
    """Returns float64 [4, 4], or None where the scene's description has no alignment.

    Raises:
        ValueError: an alignment that is not a turn about z and a shift.
    """
    path = _path(folder, layout.DESCRIPTION)
    if not path.exists():
        return None
    # The other lines may hold anything, in any encoding.
    for line in files.read_text(path, errors="replace").splitlines():
        key, _, value = line.partition("=")
        if key.strip() != "axisAlignment":
            continue
        try:
            matrix = np.array([float(part) for part in value.split()]).reshape(4, 4)
        except ValueError:
            matrix = np.full((4, 4), np.nan)
        if not np.isfinite(matrix).all():
            raise ValueError(
                f"{path}: expected 16 finite numbers after 'axisAlignment =', found "
                f"'{files.shown(value.strip(), 80)}'"
            )
        turn, rest = np.clip(matrix[:3, :3], -2, 2), np.eye(4)  # whose squares are finite
        rest[:2, :2], rest[:3, 3] = turn[:2, :2], matrix[:3, 3]
        rigid = np.allclose(turn @ turn.T, np.eye(3), rtol=0, atol=_TURN_TOLERANCE)
        upright = np.allclose(matrix, rest, rtol=0, atol=_TURN_TOLERANCE)
        if not rigid or not upright or np.linalg.det(turn) < 0:
            raise ValueError(
                f"{path}: expected a turn about z and a shift after 'axisAlignment =', found "
                f"'{files.shown(value.strip())}'"
            )
        return matrix
    return None


def _some(items: Sequence[object]) -> str:
    """Returns the first of many, and how many more there are."""
    text = ", ".join(str(item) for item in items[:_MOST_NAMED])
    more = len(items) - _MOST_NAMED
    return f"{text} and {more} more" if more > 0 else text
