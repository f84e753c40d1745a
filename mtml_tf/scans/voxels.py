"""Vertices to voxels and back."""

import dataclasses
import math

import numpy as np

from mtml_tf.classes import ClassSet
from mtml_tf.scene import CELLS, Instance, Points, Scene, VoxelScene

_MAX_SIZE = 1 << 16  # along an axis; what a record of a data folder holds
# Voxels of a grid, occupied or not. A hundred times a large building at 2 cm, and less than a room
# at 10 cm whose millimetres are taken for metres; keys of voxels have 64 bits.
_MAX_VOXELS = 1 << 40


def voxelize(
    scene: Scene,
    voxel_size: float,
    classes: ClassSet | None = None,
    origin: np.ndarray | None = None,
    with_points: bool = False,
) -> VoxelScene:
    """Sorts the vertices of a labelled scan into the voxels of a regular grid.

    A vertex v lies in voxel floor((v - origin) / voxel_size). A voxel gets the label that most of
    its vertices have, the instance that most of the vertices with that label have, and the mean
    of its vertices' features; of equally frequent ids the smallest. Unlabelled (0) counts like
    any other label. Takes O(N log N) time.

    Args:
        scene: N vertices, metres, with semantic_ids; instance_ids and features are optional.
        voxel_size: edge length of a voxel, metres.
        classes: where given, every semantic id must be 0 or one of them, and voxels of a class
            without instances get instance 0.
        origin: [3], metres, outer corner of voxel (0, 0, 0); the smallest x, y, z of the vertices
            by default. No vertex may lie below it.
        with_points: keep the thinned scan as well, for training.

    Returns:
        The occupied voxels in row-major order of their coordinates; the grid is as large as the
        scan, filled up to even sizes. It may be larger than what a network can take at once.

    Raises:
        ValueError: a voxel size that is not above 0, no vertices or not finite ones, vertices
            below `origin`, no labels, a label that is not in `classes`, or more than 65536 voxels
            along an axis or 2**40 in all, as a scan in millimetres has.
    """
    owner = f"scene {scene.name}"
    if not (voxel_size > 0 and math.isfinite(voxel_size)):
        raise ValueError(f"{owner}: expected a voxel size above 0 m, found {voxel_size}")
    if scene.semantic_ids is None:
        raise ValueError(
            f"{owner}: expected a class id for each vertex (vertex property 'label'), found no "
            "labels"
        )
    if not len(scene.vertices):
        raise ValueError(f"{owner}: expected vertices, found none")
    if classes is not None:
        try:
            classes.channels_of(scene.semantic_ids)
        except ValueError as error:
            raise ValueError(f"{owner}: {error}") from error
    lowest = scene.vertices.min(axis=0)
    origin = np.array(lowest if origin is None else origin, np.float64)
    if np.any(lowest < origin):
        raise ValueError(
            f"{owner}: expected no vertex below the origin {origin.tolist()}, found "
            f"{lowest.tolist()}"
        )
    with np.errstate(over="ignore"):
        extent = np.floor((scene.vertices.max(axis=0) - origin) / voxel_size)
    if not np.all(extent < _MAX_SIZE) or np.prod(extent + 1) > _MAX_VOXELS:
        raise ValueError(
            f"{owner}: expected at most {_MAX_SIZE} voxels along each axis and {_MAX_VOXELS:.2g} "
            f"in all, found {' x '.join(f'{size:.6g}' for size in extent + 1)} voxels of "
            f"{voxel_size:g} m; give vertices in metres (--scale), take a larger voxel size "
            "or remove points that lie far from the rest"
        )
    sizes = [int(size) + 1 for size in extent]
    grid_shape = (sizes[0] + sizes[0] % 2, sizes[1] + sizes[1] % 2, sizes[2] + sizes[2] % 2)

    cells = np.floor((scene.vertices - origin) / voxel_size).astype(np.int64)
    keys, vertex_to_voxel = np.unique(
        (cells[:, 0] * grid_shape[1] + cells[:, 1]) * grid_shape[2] + cells[:, 2],
        return_inverse=True,
    )
    vertex_to_voxel = vertex_to_voxel.reshape(-1)
    semantic_ids, instance_ids = _labels(vertex_to_voxel, scene, len(keys), classes)
    points = None
    if with_points:
        within = (scene.vertices - origin) / voxel_size - cells  # from 0 to 1
        points = _thin(vertex_to_voxel, within, scene, len(keys), classes)
    features = None
    if scene.features is not None:
        features = _means(vertex_to_voxel, scene.features, len(keys))
    return VoxelScene(
        name=scene.name,
        coordinates=np.stack(np.unravel_index(keys, grid_shape), axis=1).astype(np.int32),
        grid_shape=grid_shape,
        voxel_size=float(voxel_size),
        origin=origin,
        semantic_ids=semantic_ids,
        instance_ids=instance_ids,
        features=features,
        vertex_to_voxel=vertex_to_voxel.astype(np.int32),
        points=points,
    )


def with_input(
    voxel_scene: VoxelScene, semantic_ids: np.ndarray, features: np.ndarray | None = None
) -> VoxelScene:
    """Replaces what the network sees of a scene; the instances, its target, stay as they are.

    A voxel gets the majority of its vertices' ids (of equally frequent ones the smallest) and the
    mean of their features, as in `voxelize`; a point gets the majority of its cell.

    Args:
        voxel_scene: M voxels, N vertices.
        semantic_ids: int32 [N], class ids (0 unlabelled), such as a semantic network predicts.
        features: float32 [N, C], or None where the ids are the input.

    Raises:
        ValueError: not one row a vertex, or a scene that is voxels only or read from disk.
    """
    vertex_to_voxel, count = _vertex_to_voxel(voxel_scene), len(voxel_scene.coordinates)
    for values in (semantic_ids, features):
        if values is not None and len(values) != len(vertex_to_voxel):
            raise ValueError(
                f"scene {voxel_scene.name}: expected {len(vertex_to_voxel)} rows of input, one a "
                f"vertex, found {len(values)}"
            )
    points = voxel_scene.points
    if points is not None:
        if points.vertex_to_point is None:
            raise ValueError(
                f"scene {voxel_scene.name}: expected points with a vertex_to_point index, found "
                "none; replace the input before the scene is written"
            )
        groups = points.vertex_to_point.astype(np.int64)
        points = dataclasses.replace(
            points,
            semantic_ids=_majority(groups, semantic_ids, len(points.cells)),
            true_ids=points.semantic_ids if points.true_ids is None else points.true_ids,
        )
    return dataclasses.replace(
        voxel_scene,
        semantic_ids=_majority(vertex_to_voxel.astype(np.int64), semantic_ids, count),
        features=None if features is None else _means(vertex_to_voxel, features, count),
        points=points,
    )


def devoxelize(values: np.ndarray, voxel_scene: VoxelScene) -> np.ndarray:
    """Gives each vertex the value of its voxel: [M, ...] to [N, ...].

    Raises:
        ValueError: not one value a voxel, or a scene that is voxels only.
    """
    vertex_to_voxel, count = _vertex_to_voxel(voxel_scene), len(voxel_scene.coordinates)
    if len(values) != count:
        raise ValueError(
            f"scene {voxel_scene.name}: expected {count} values, one a voxel, found {len(values)}"
        )
    return np.asarray(values)[vertex_to_voxel]


def mean_on_voxels(values: np.ndarray, voxel_scene: VoxelScene) -> np.ndarray:
    """Gives each voxel the mean of its vertices' values: [N, C] to float32 [M, C].

    Raises:
        ValueError: not one row a vertex, or a scene that is voxels only.
    """
    vertex_to_voxel, count = _vertex_to_voxel(voxel_scene), len(voxel_scene.coordinates)
    if len(values) != len(vertex_to_voxel):
        raise ValueError(
            f"scene {voxel_scene.name}: expected {len(vertex_to_voxel)} values, one a vertex, "
            f"found {len(values)}"
        )
    return _means(vertex_to_voxel, values, count)


def on_vertices(instance: Instance, scene: VoxelScene) -> Instance:
    """Returns the instance with vertex rows; where a scene has no vertices its voxels are them."""
    if scene.vertex_to_voxel is None:
        return instance
    is_member = np.zeros(len(scene.coordinates), bool)
    is_member[instance.indices] = True
    vertices = np.flatnonzero(is_member[scene.vertex_to_voxel]).astype(np.int32)
    return Instance(instance.class_id, instance.score, vertices)


def _vertex_to_voxel(voxel_scene: VoxelScene) -> np.ndarray:
    """Returns int32 [N], the row of each vertex's voxel."""
    if voxel_scene.vertex_to_voxel is None:
        raise ValueError(
            f"scene {voxel_scene.name}: expected a vertex_to_voxel index, found a scene of voxels "
            "only"
        )
    return voxel_scene.vertex_to_voxel


def _thin(
    vertex_to_voxel: np.ndarray,
    within: np.ndarray,
    scene: Scene,
    num_voxels: int,
    classes: ClassSet | None,
) -> Points:
    """Returns a point for each occupied cell of a voxel.

    Args:
        vertex_to_voxel: int64 [N].
        within: float64 [N, 3], where each vertex lies in its voxel, 0 to 1 along each axis.
        scene: N vertices, labelled.
        num_voxels: M.
        classes: see `voxelize`.
    """
    # A vertex just below the upper border of its voxel can be rounded onto it.
    x, y, z = np.clip(np.floor(within * CELLS), 0, CELLS - 1).astype(np.int64).T
    keys, vertex_to_point = np.unique(
        ((vertex_to_voxel * CELLS + x) * CELLS + y) * CELLS + z, return_inverse=True
    )
    vertex_to_point = vertex_to_point.reshape(-1)
    semantic_ids, instance_ids = _labels(vertex_to_point, scene, len(keys), classes)
    voxels, cells = np.divmod(keys, CELLS**3)
    return Points(
        per_voxel=np.bincount(voxels, minlength=num_voxels).astype(np.uint8),
        cells=cells.astype(np.uint8),
        semantic_ids=semantic_ids,
        instance_ids=instance_ids,
        vertex_to_point=vertex_to_point.astype(np.int32),
    )


def _labels(
    groups: np.ndarray, scene: Scene, num_groups: int, classes: ClassSet | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns the semantic and the instance ids of groups of vertices; see `voxelize`."""
    given = np.asarray(scene.semantic_ids)
    semantic_ids = _majority(groups, given, num_groups)
    if scene.instance_ids is None:
        return semantic_ids, None
    agree = given == semantic_ids[groups]
    instance_ids = _majority(groups[agree], scene.instance_ids[agree], num_groups)
    if classes is not None:
        instance_ids[~classes.is_thing(semantic_ids)] = 0
    return semantic_ids, instance_ids


def _majority(groups: np.ndarray, ids: np.ndarray, num_groups: int) -> np.ndarray:
    """Returns int32 [num_groups], the most frequent id of each group; the smallest of equals.

    Args:
        groups: integers [N] in [0, num_groups); each group occurs.
        ids: integers [N].
        num_groups: how many groups.
    """
    distinct, ranks = np.unique(ids, return_inverse=True)
    pairs, counts = np.unique(groups * len(distinct) + ranks.reshape(-1), return_counts=True)
    pair_groups = pairs // len(distinct)
    # Pairs come sorted by group, then id; the stable sort keeps the smaller id of equals first.
    order = np.lexsort((-counts, pair_groups))
    first = np.searchsorted(pair_groups, np.arange(num_groups))
    return distinct[pairs[order[first]] % len(distinct)].astype(np.int32)


def _means(groups: np.ndarray, values: np.ndarray, num_groups: int) -> np.ndarray:
    """Returns float32 [num_groups, C], the mean of each group's rows of `values` [N, C]."""
    counts = np.bincount(groups, minlength=num_groups)
    sums = [np.bincount(groups, column, num_groups) for column in values.T]
    return (np.stack(sums, axis=1) / counts[:, None]).astype(np.float32)
