"""Example scans for the models that come with the package, one for each: all of it simulated.

No model was trained on them or chosen by them. They have a class label for each vertex (that of
the room predicted, with errors; the others true), and the files have no instances.
"""

import dataclasses
import pathlib

import numpy as np
from scipy import ndimage

from mtml_tf import files
from mtml_tf.rooms import making
from mtml_tf.scans import contact, scan, toy
from mtml_tf.scene import Scene

Array = np.ndarray
Rng = np.random.Generator

# Beyond the numbers of any set of rooms that is worth making.
ROOM_NUMBER = 1000
_ROOM_CELL = 0.038  # m, one vertex is kept of each such cell

TABLE, OBJECT = 1, 2  # as in experiments/tabletop_classes.csv
_NUM_OBJECTS = (4, 6)
_LEAST_SEEN = 1200  # vertices of each object; hidden ones are no example
_FOOTPRINT_CELL = 0.002  # m, footprints are compared in squares of this size
_AREA = 0.4  # m, edge of the square that objects stand in
_CONTACT_PROBABILITY = 0.5
_TRIES = 200
# A Kinect's frame of a table from 1 m away and 45 degrees above, at the side of +y.
_IMAGE = (640, 480)
_FOCAL = 577.0  # pixels
_DISTANCE = 1.0  # m
_ELEVATION = 45.0  # degrees
_NOISE = 0.002  # m, along the ray; across a face that is seen at 45 degrees 1.4 mm
_DROPOUT = 0.02
_JUMP = 0.02  # m, pixels beside a larger jump of the depth are lost
_MARGIN = 0.12  # m, table around the objects
_FRAME_CELL = 0.003  # m, one point is kept of each such cell
_TABLE_COLOR = (176, 150, 120)
_OBJECT_COLORS = (
    *((170, 60, 55), (60, 90, 150), (210, 190, 70), (70, 130, 80)),
    *((225, 225, 220), (90, 70, 110)),
)


@dataclasses.dataclass(frozen=True)
class _Solid:
    """A box or an upright cylinder that stands on the table.

    Attributes:
        centre: (x, y), metres.
        size: (x, y, z) edges, metres; of a cylinder twice the diameter, and the height.
        yaw: radians.
        is_round: a cylinder.
    """

    centre: Array
    size: tuple[float, float, float]
    yaw: float
    is_round: bool


def make_examples(
    output_dir: str | pathlib.Path, settings: making.MakingSettings, overwrite: bool = False
) -> None:
    """Writes `toy.ply`, `tabletop.ply` and `room.ply`, without true instances.

    Args:
        output_dir: folder, appears whole or not at all.
        settings: how the room is made; its seed is that of all three.
        overwrite: replace a folder that exists.

    Raises:
        ImportError: Open3D, which scans the room, or its system library is missing.
        ValueError: the folder exists and `overwrite` is False, or the room can't be scanned.
    """
    with files.writing_folder(output_dir, overwrite) as folder:
        for scene in (
            make_toy_example(settings.seed),
            make_tabletop_example(settings.seed),
            make_room_example(settings),
        ):
            without_truth = dataclasses.replace(scene, instance_ids=None)
            scan.write_scan(folder / f"{scene.name}.ply", without_truth)


def make_toy_example(seed: int = 0) -> Scene:
    """Returns a toy scene as a cloud: a vertex in the middle of each voxel, true instances.

    Only the first one lies nearer to its voxel's corner: a grid that begins at the lowest vertex
    would otherwise have all of them on the borders of its voxels.
    """
    (voxels,) = toy.make_toy_scenes("example", 1, seed, toy.ToyConfig())
    places = np.full(voxels.coordinates.shape, 0.5)
    places[0] = 0.25
    centres = voxels.origin + (voxels.coordinates + places) * voxels.voxel_size
    return Scene(
        name="toy",
        vertices=centres.astype(np.float32).astype(np.float64),
        semantic_ids=voxels.semantic_ids,
        instance_ids=voxels.instance_ids,
    )


def make_room_example(settings: making.MakingSettings) -> Scene:
    """Returns a simulated room as a cloud with predicted labels, its walls along the axes.

    Args:
        settings: how rooms are made.

    Raises:
        ImportError: Open3D or its system library is missing.
        ValueError: a room that can't be scanned.
    """
    raw, predicted = making.make_room(ROOM_NUMBER, settings)
    aligned = (raw.vertices @ raw.axis_alignment[:3, :3].T).astype(np.float32)
    kept = _one_a_cell(aligned, _ROOM_CELL)
    return Scene(
        name="room",
        vertices=aligned[kept].astype(np.float64),
        colors=raw.colors[kept],
        semantic_ids=predicted[kept],
    )


def make_tabletop_example(seed: int = 0) -> Scene:
    """Returns one depth frame of a table with boxes and cylinders, with true instances.

    The table lies at z = 0. Surfaces are one-sided: the camera is at the side of +y.

    Args:
        seed: of objects, colours and noise.
    """
    rng = np.random.default_rng(seed)
    while True:
        solids = _place_objects(rng, int(rng.integers(_NUM_OBJECTS[0], _NUM_OBJECTS[1] + 1)))
        points, owner = _take_frame(rng, solids)
        if np.bincount(owner, minlength=len(solids) + 1).min() >= _LEAST_SEEN:
            break
    palette = np.array([_TABLE_COLOR, *rng.permutation(_OBJECT_COLORS)[: len(solids)]])
    tops = np.array([0.0, *(solid.size[2] for solid in solids)])
    light = np.where(points[:, 2] > tops[owner] - 2 * _NOISE, 1.0, 0.75)
    colors = palette[owner] * light[:, None] + rng.normal(0, 5, points.shape)
    return Scene(
        name="tabletop",
        vertices=points.astype(np.float64),
        colors=np.clip(colors, 0, 255).astype(np.uint8),
        semantic_ids=np.where(owner > 0, OBJECT, TABLE).astype(np.int32),
        instance_ids=owner,
    )


def _one_a_cell(points: Array, cell: float) -> Array:
    """Returns ascending rows of `points` [N, 3]: the first one in each cube of edge `cell`."""
    _, rows = np.unique(np.floor(points / cell).astype(np.int64), axis=0, return_index=True)
    return np.sort(rows)


# The objects.


def _place_objects(rng: Rng, count: int) -> list[_Solid]:
    """Returns up to `count` solids that don't overlap; some touch another one."""
    solids: list[_Solid] = []
    covered = np.zeros((round(_AREA / _FOOTPRINT_CELL),) * 2, bool)
    for _ in range(_TRIES):
        if len(solids) == count:
            break
        solid = _draw_solid(rng)
        if solids and rng.random() < _CONTACT_PROBABILITY:
            goal = solids[rng.integers(len(solids))].centre
            solid = _slide(solid, goal, covered)
        footprint = _footprint(solid, covered.shape)
        if footprint is not None and not (footprint & covered).any():
            solids.append(solid)
            covered |= footprint
    return solids


def _draw_solid(rng: Rng) -> _Solid:
    centre = rng.uniform(-_AREA / 2, _AREA / 2, 2)
    if rng.random() < 0.4:
        width = rng.uniform(0.06, 0.1)
        return _Solid(centre, (width, width, rng.uniform(0.08, 0.2)), 0.0, True)
    size = (rng.uniform(0.08, 0.18), rng.uniform(0.05, 0.12), rng.uniform(0.05, 0.18))
    return _Solid(centre, size, rng.uniform(0, np.pi), False)


def _slide(solid: _Solid, goal: Array, covered: Array) -> _Solid:
    """Moves a solid straight towards a place as far as nothing is in its way."""

    def footprint_at(centre: Array) -> Array:
        footprint = _footprint(dataclasses.replace(solid, centre=centre), covered.shape)
        return np.zeros_like(covered) if footprint is None else footprint

    steps = int(np.linalg.norm(goal - solid.centre) / _FOOTPRINT_CELL)
    path = np.linspace(solid.centre, goal, steps + 2)
    centre = contact.last_free(path, footprint_at, covered)
    return solid if centre is None else dataclasses.replace(solid, centre=centre)


def _footprint(solid: _Solid, shape: tuple[int, ...]) -> Array | None:
    """Returns bool [X, Y], the cells that a solid covers; None where it leaves the area."""
    reach = np.hypot(solid.size[0], solid.size[1]) / 2
    if np.abs(solid.centre).max() + reach > _AREA / 2:
        return None
    centre = (solid.centre + _AREA / 2) / _FOOTPRINT_CELL
    if solid.is_round:
        x, y = np.ogrid[: shape[0], : shape[1]]
        radius = solid.size[0] / 2 / _FOOTPRINT_CELL
        return np.hypot(x + 0.5 - centre[0], y + 0.5 - centre[1]) < radius
    length, width = (round(edge / _FOOTPRINT_CELL) for edge in solid.size[:2])
    return contact.box_footprint(shape, centre, (length, width, 1), solid.yaw)


# The camera.


def _camera() -> tuple[Array, Array]:
    """Returns the camera's place float64 [3] and the unit rays [pixels, 3] it sends out."""
    elevation = np.radians(_ELEVATION)
    forward = -np.array([0, np.cos(elevation), np.sin(elevation)])
    right = np.array([-1.0, 0, 0])
    down = np.cross(forward, right)
    column, row = np.meshgrid(*((np.arange(n) - (n - 1) / 2) / _FOCAL for n in _IMAGE))
    rays = forward + column.reshape(-1, 1) * right + row.reshape(-1, 1) * down
    return -_DISTANCE * forward, rays / np.linalg.norm(rays, axis=1, keepdims=True)


def _take_frame(rng: Rng, solids: list[_Solid]) -> tuple[Array, Array]:
    """Returns what one depth frame sees of the solids and the table around them.

    Returns:
        float32 [N, 3], metres, and int32 [N], the number of the solid from 1, or 0 for the table.
    """
    eye, rays = _camera()
    depths = np.stack([_table_depth(eye, rays), *(_depth(eye, rays, s) for s in solids)])
    depth, owner = depths.min(axis=0), depths.argmin(axis=0)
    image = depth.reshape(_IMAGE[1], _IMAGE[0])
    jump = ndimage.maximum_filter(image, 3) - ndimage.minimum_filter(image, 3)
    kept = (jump.ravel() < _JUMP) & (rng.random(depth.shape) >= _DROPOUT)
    measured = depth + rng.normal(0, _NOISE, depth.shape)
    points = (eye + rays * measured[:, None]).astype(np.float32)
    seen = points[kept & (owner > 0), :2]
    kept &= np.all(points[:, :2] > seen.min(axis=0) - _MARGIN, axis=1)
    kept &= np.all(points[:, :2] < seen.max(axis=0) + _MARGIN, axis=1)
    rows = np.flatnonzero(kept)
    rows = rows[_one_a_cell(points[rows], _FRAME_CELL)]
    return points[rows], owner[rows].astype(np.int32)


def _table_depth(eye: Array, rays: Array) -> Array:
    """Returns float64 [pixels], how far along each ray the table's plane z = 0 is."""
    return -eye[2] / np.minimum(rays[:, 2], -1e-9)


def _depth(eye: Array, rays: Array, solid: _Solid) -> Array:
    """Returns float64 [pixels], how far along each ray a solid is; infinite where it is not hit.

    A convex solid is where several intervals of the ray meet, one for each pair of its faces.
    """
    cosine, sine = np.cos(solid.yaw), np.sin(solid.yaw)
    turn = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    start = turn @ (eye - (*solid.centre, solid.size[2] / 2))
    heading = rays @ turn.T
    heading = np.where(np.abs(heading) < 1e-12, 1e-12, heading)
    half = np.array(solid.size) / 2
    ends = np.sort((np.stack([-half, half])[:, None] - start) / heading, axis=0)
    enter, leave = ends[0], ends[1]
    if solid.is_round:
        a = (heading[:, :2] ** 2).sum(axis=1)
        b = heading[:, :2] @ start[:2]
        inside = b**2 - a * (start[:2] @ start[:2] - half[0] ** 2)
        root = np.sqrt(np.maximum(inside, 0))
        missed = inside < 0
        side = np.stack([np.where(missed, np.inf, (-b - root) / a), (-b + root) / a])
        enter = np.stack([side[0], enter[:, 2]], axis=1)
        leave = np.stack([side[1], leave[:, 2]], axis=1)
    first, last = enter.max(axis=1), leave.min(axis=1)
    return np.where(first < last, first, np.inf)
