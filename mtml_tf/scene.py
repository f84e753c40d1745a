"""The three things that travel through the package: a scan, its voxels, an instance.

Axis legend, the same everywhere:

    N vertices   M occupied voxels   K instances
    C input channels   E embedding size   B batch   X, Y, Z grid axes (z up)

Instance id 0 means "no instance", semantic id 0 means "unlabelled".
"""

import dataclasses
import math

import numpy as np

Array = np.ndarray

CELLS = 4  # of a voxel along each axis


def _check_rows(owner: str, count: int, **arrays: Array | None) -> None:
    """Raises ValueError unless every given array has `count` rows."""
    for field, array in arrays.items():
        if array is not None and len(array) != count:
            raise ValueError(f"{owner}: expected {count} rows in {field}, found {len(array)}")


def _check_array(owner: str, field: str, array: Array, shape: str, kinds: str) -> None:
    """Raises ValueError unless it is an array of these kinds and a shape such as `N, 3`."""
    sizes = shape.split(", ")
    if not isinstance(array, np.ndarray):
        found = f"a {type(array).__name__}"
    elif (
        array.ndim == len(sizes)
        and array.dtype.kind in kinds
        and all(size in ("N", "F", "C", str(n)) for size, n in zip(sizes, array.shape, strict=True))
    ):
        return
    else:
        found = f"{array.dtype} {list(array.shape)}"
    numbers = "numbers" if "f" in kinds else "whole numbers"
    raise ValueError(
        f"{owner}: expected {field} as a NumPy array of {numbers} [{shape}], found {found}"
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """A scan: a mesh or a point cloud, z up.

    Attributes:
        name: name of the scene, without spaces; names its files.
        vertices: float64 [N, 3], metres.
        colors: uint8 [N, 3] red green blue, or None.
        faces: int32 [F, 3] vertex indices, or None for a point cloud.
        semantic_ids: int32 [N] class ids, or None where the scan has no labels.
        instance_ids: int32 [N], or None where the scan has no ground truth.
        features: float32 [N, C], one vector a vertex (class probabilities or any feature that
            a semantic network gives), or None.
        coordinate_step: the coarsest step between coordinates that the file of the scan could
            tell apart, metres; 0 where nothing is known of a file.

    Raises:
        ValueError: no arrays, arrays of another kind or shape or without one row a vertex, or
            vertices that are not finite.
    """

    name: str
    vertices: Array
    colors: Array | None = None
    faces: Array | None = None
    semantic_ids: Array | None = None
    instance_ids: Array | None = None
    features: Array | None = None
    coordinate_step: float = 0.0

    def __post_init__(self) -> None:
        owner = f"scene {self.name}"
        _check_array(owner, "vertices", self.vertices, "N, 3", "iuf")
        wrong = np.count_nonzero(~np.isfinite(self.vertices).all(axis=1))
        if wrong:
            raise ValueError(
                f"{owner}: expected finite vertices, found NaN or infinity in {wrong} of "
                f"{len(self.vertices)}"
            )
        for field, shape, kinds in (
            ("colors", "N, 3", "iu"),
            ("faces", "F, 3", "iu"),
            ("semantic_ids", "N", "iu"),
            ("instance_ids", "N", "iu"),
            ("features", "N, C", "iuf"),
        ):
            if (array := getattr(self, field)) is not None:
                _check_array(owner, field, array, shape, kinds)
        _check_rows(
            owner,
            len(self.vertices),
            colors=self.colors,
            semantic_ids=self.semantic_ids,
            instance_ids=self.instance_ids,
            features=self.features,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Points:
    """The scan of a voxelized scene, thinned: one point in each occupied cell of a voxel.

    A voxel has 4 x 4 x 4 cells. Training voxelizes the points anew after it has turned and bent
    them; voxels that are turned themselves would tear holes into surfaces. Features stay with the
    voxels: a point has those of its voxel.

    Attributes:
        per_voxel: uint8 [M], how many points each voxel has, 1 to 64. The points are in the order
            of their voxels' rows.
        cells: uint8 [P], the cell of each point in its voxel: 16 x + 4 y + z, each from 0 to 3.
        semantic_ids: int32 [P], the class id that most vertices of the cell have as input (0
            unlabelled).
        instance_ids: int32 [P] (0 none), or None where there is no ground truth.
        true_ids: int32 [P], true class ids, where they are not the input; None where they are.
        vertex_to_point: int32 [N], the row of each vertex's point; None in what is read from disk.

    Raises:
        ValueError: rows that do not match, a voxel without points, or a cell beyond 63.
    """

    per_voxel: Array
    cells: Array
    semantic_ids: Array
    instance_ids: Array | None = None
    true_ids: Array | None = None
    vertex_to_point: Array | None = None

    def __post_init__(self) -> None:
        _check_rows(
            "points",
            int(self.per_voxel.sum(dtype=np.int64)),
            cells=self.cells,
            semantic_ids=self.semantic_ids,
            instance_ids=self.instance_ids,
            true_ids=self.true_ids,
        )
        if self.per_voxel.min(initial=1) < 1 or self.cells.max(initial=0) >= CELLS**3:
            raise ValueError(
                f"points: expected at least 1 in every voxel and cells from 0 to {CELLS**3 - 1}, "
                f"found {self.per_voxel.min(initial=1)} and {self.cells.max(initial=0)}"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class VoxelScene:
    """A voxelized scene: its occupied voxels only.

    Attributes:
        name: name of the scene.
        coordinates: int32 [M, 3] voxel indices, each within `grid_shape`, no row twice.
        grid_shape: (X, Y, Z), voxels; even, so that the network's pooling loses nothing.
        voxel_size: edge length of a voxel, metres.
        origin: float64 [3], metres: the outer corner of voxel (0, 0, 0); the centre of voxel v
            lies at `origin + (v + 0.5) * voxel_size`.
        semantic_ids: int32 [M] class ids (0 unlabelled).
        instance_ids: int32 [M] (0 none), or None where there is no ground truth.
        features: float32 [M, C], or None where the semantic ids are the input.
        vertex_to_voxel: int32 [N], the row of each vertex's voxel, or None where the voxels are
            all there is (the toy scenes).
        points: the scan thinned to a quarter of the voxel, to train on; None where it is not
            needed, or where the voxels are all there is.

    Raises:
        ValueError: rows that do not match, a coordinate outside the grid, or a voxel twice.
    """

    name: str
    coordinates: Array
    grid_shape: tuple[int, int, int]
    voxel_size: float
    origin: Array
    semantic_ids: Array
    instance_ids: Array | None = None
    features: Array | None = None
    vertex_to_voxel: Array | None = None
    points: Points | None = None

    def __post_init__(self) -> None:
        count = len(self.coordinates)
        _check_rows(
            f"scene {self.name}",
            count,
            semantic_ids=self.semantic_ids,
            instance_ids=self.instance_ids,
            features=self.features,
            points=None if self.points is None else self.points.per_voxel,
        )
        if count and (
            self.coordinates.min() < 0
            or np.any(self.coordinates.max(axis=0) >= np.asarray(self.grid_shape))
        ):
            raise ValueError(
                f"scene {self.name}: expected coordinates within the grid {self.grid_shape}, "
                f"found {self.coordinates.min(axis=0).tolist()} to "
                f"{self.coordinates.max(axis=0).tolist()}"
            )
        keys = np.sort(np.ravel_multi_index(tuple(self.coordinates.T), self.grid_shape))
        if len(twice := keys[1:][keys[1:] == keys[:-1]]):
            voxel = [int(index) for index in np.unravel_index(twice[0], self.grid_shape)]
            raise ValueError(f"scene {self.name}: expected every voxel once, found {voxel} twice")

    @property
    def num_vertices(self) -> int:
        """N; where a scene has no vertices, its voxels are them."""
        return len(self.coordinates if self.vertex_to_voxel is None else self.vertex_to_voxel)

    @property
    def num_features(self) -> int:
        """C; 0 where the semantic ids are the input."""
        return 0 if self.features is None else self.features.shape[1]


@dataclasses.dataclass(frozen=True, eq=False)
class Instance:
    """One segmented object.

    Attributes:
        class_id: id of its class.
        score: confidence in [0, 1]; instances are sorted by it, best first.
        indices: int32 [k], ascending: the members, as rows of the scene's voxels (from `segment`)
            or of its vertices (in benchmark files).
    """

    class_id: int
    score: float
    indices: Array

    def check(self, owner: str, num_rows: int) -> None:
        """Raises ValueError, naming `owner`, for a row beyond `num_rows` or no finite score."""
        if len(self.indices) and not 0 <= self.indices.min() <= self.indices.max() < num_rows:
            raise ValueError(
                f"{owner}: expected vertex rows from 0 to {num_rows - 1}, found "
                f"{self.indices.min()} to {self.indices.max()}"
            )
        if not math.isfinite(self.score):
            raise ValueError(f"{owner}: expected finite scores, found {self.score}")
