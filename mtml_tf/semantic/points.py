"""Scans as the semantic network sees them: where each vertex is, its colour, how its surface lies.

The geometry of a vertex is that of its neighbourhood, its 12 nearest vertices (it is one of them):
the normal of the plane that fits them best, and how far they are from lying in it.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from mtml_tf import files
from mtml_tf.scans import scan
from mtml_tf.scene import Scene

Array = np.ndarray

NEIGHBOURS = 12
_FINEST = 0.02  # metres; the voxels that coordinates have to tell apart
_CHUNK = 16_384  # vertices at once, whose neighbourhoods take 10 MB
# Of the sum of a neighbourhood's variances: below it the middle one is 0, up to rounding.
_NO_PLANE = 1e-9
# Beyond, numbers of 32 bits no longer tell a tenth of a millimetre apart.
_FARTHEST = 1000.0
LARGEST_ID = 255  # of a class, in 8 bits
# Fields and the shape of each; those that may be None last.
_FIELDS = {
    "vertices": (np.float32, 3),
    "upright": (np.uint8, 0),
    "roughness": (np.uint8, 0),
    "colors": (np.uint8, 3),
    "semantic_ids": (np.uint8, 0),
}
_OPTIONAL = ("colors", "semantic_ids")


@dataclasses.dataclass(frozen=True, eq=False)
class PointScene:
    """The vertices of a scan, each with what the semantic network learns its class from.

    Attributes:
        name: name of the scene.
        vertices: float32 [N, 3], metres, z up, in the order of the scan's file.
        colors: uint8 [N, 3] red green blue, or None for a scan without colours.
        upright: uint8 [N], 255 times the absolute z component of the neighbourhood's unit normal:
            255 on a floor, 0 on a wall, and 0 where there is no plane (a line, one place).
        roughness: uint8 [N], 255 times three times the share of the neighbourhood's variance that
            is along its normal: 0 in a plane, 255 where all directions are alike.
        semantic_ids: uint8 [N] class ids (0 unlabelled), or None for a scan without labels.

    Raises:
        ValueError: no vertices, arrays of another type or shape or without one row a vertex, or
            vertices that are not finite.
    """

    name: str
    vertices: Array
    colors: Array | None
    upright: Array
    roughness: Array
    semantic_ids: Array | None = None

    def __post_init__(self) -> None:
        count = len(np.atleast_1d(self.vertices))
        for field, (dtype, columns) in _FIELDS.items():
            array = getattr(self, field)
            shape = (count, columns) if columns else (count,)
            if array is None and field in _OPTIONAL:
                continue
            if not isinstance(array, np.ndarray) or (array.dtype, array.shape) != (dtype, shape):
                found = (
                    f"{array.dtype} {list(array.shape)}"
                    if isinstance(array, np.ndarray)
                    else f"a {type(array).__name__}"
                )
                raise ValueError(
                    f"scene {self.name}: expected {field} as {np.dtype(dtype)} {list(shape)}, "
                    f"found {found}"
                )
        if not count or not np.isfinite(self.vertices).all():
            found = "NaN or infinity" if count else "none"
            raise ValueError(f"scene {self.name}: expected finite vertices, found {found}")

    @classmethod
    def from_arrays(cls, name: str, arrays: Mapping[str, Array]) -> "PointScene":
        """Returns the scene of `arrays`. Raises ValueError where there are others."""
        if not set(_FIELDS) >= set(arrays) >= set(_FIELDS) - set(_OPTIONAL):
            raise ValueError(
                f"scene {name}: expected the arrays {list(_FIELDS)}, found "
                f"{files.shown(sorted(arrays))}"
            )
        fields: dict[str, Any] = {"colors": None, **arrays}
        return cls(name=name, **fields)

    def arrays(self) -> dict[str, Array]:
        """Returns the arrays by the names of their fields, without those that are None."""
        given = {field: getattr(self, field) for field in _FIELDS}
        return {field: array for field, array in given.items() if array is not None}


def point_scene(scene: Scene) -> PointScene:
    """Returns what the semantic network sees of a scan.

    Takes O(N log N) time, about 1.5 s for 150,000 vertices. Vertices more than 1 km from the
    origin come back with whole metres taken off, so that 32 bits hold them.

    Args:
        scene: the scan, in metres and z up.

    Raises:
        ValueError: no vertices, coordinates too coarse for voxels of 2 cm, or class ids beyond 255.
    """
    if not len(scene.vertices):
        raise ValueError(f"scene {scene.name}: expected vertices, found none")
    scan.check_step(scene, _FINEST)
    vertices = scene.vertices.astype(np.float64)
    if np.abs(vertices).max() > _FARTHEST:
        vertices -= np.floor(vertices.min(axis=0))
    semantic_ids = scene.semantic_ids
    if semantic_ids is not None:
        wrong = semantic_ids[(semantic_ids < 0) | (semantic_ids > LARGEST_ID)]
        if len(wrong):
            raise ValueError(
                f"scene {scene.name}: expected class ids from 0 to {LARGEST_ID}, found {wrong[0]}"
            )
        semantic_ids = semantic_ids.astype(np.uint8)
    upright, roughness = _geometry(vertices)
    return PointScene(
        name=scene.name,
        vertices=vertices.astype(np.float32),
        colors=None if scene.colors is None else scene.colors.astype(np.uint8),
        upright=upright,
        roughness=roughness,
        semantic_ids=semantic_ids,
    )


def _geometry(vertices: Array) -> tuple[Array, Array]:
    """Returns uint8 [N] upright and uint8 [N] roughness (see `PointScene`) of float64 [N, 3]."""
    upright, roughness = (np.zeros(len(vertices), np.uint8) for _ in range(2))
    # Vertices that lie together are looked up together, which takes a third of the time.
    order = cKDTree(vertices).indices
    vertices = vertices[order]
    tree = cKDTree(vertices, balanced_tree=False)
    near = list(range(1, min(NEIGHBOURS, len(vertices)) + 1))  # a list: [n, 1] for one, too
    for start in range(0, len(vertices), _CHUNK):
        rows = slice(start, start + _CHUNK)
        offsets = vertices[tree.query(vertices[rows], near)[1]] - vertices[rows, None]
        offsets -= offsets.mean(axis=1, keepdims=True)
        variances, axes = np.linalg.eigh(offsets.transpose(0, 2, 1) @ offsets)  # ascending
        total = variances.sum(axis=1)
        planar = variances[:, 1] > _NO_PLANE * total
        share = np.where(planar, variances[:, 0] / np.where(planar, total, 1), 0)
        upright[order[rows]] = _bytes(np.where(planar, np.abs(axes[:, 2, 0]), 0))
        roughness[order[rows]] = _bytes(3 * share)
    return upright, roughness


def _bytes(values: Array) -> Array:
    """Returns uint8 of values from 0 to 1."""
    return np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)
