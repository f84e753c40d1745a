"""Simulated scanning of a room: what a person with a hand-held depth sensor gets of it.

A camera walks through the free space and looks around; every frame is ray cast, degraded as a
structured-light sensor degrades it, and fused into a truncated signed distance field whose zero
surface is the scan. So surfaces are partial, merged where they touch, and have holes behind and
under things. Every result is a function of the room and the seed, bit by bit.
"""

import dataclasses
import types
from typing import Any

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse import csgraph

from mtml_tf.rooms.mesh import Mesh, Room, merge

Array = np.ndarray
Rng = np.random.Generator

# Cells of the map that the path is planned on, metres.
_CELL = 0.1
# What a person steps over rather than around, metres.
_STEP = 0.12
# A detour of so many metres is taken rather than a metre held out over furniture.
_DETOUR = 4.0
# Frames that see surface in fewer of their pixels are left out.
_LEAST_SEEN = 0.02
# Edge of a block of the distance field's grid, voxels.
_BLOCK = 8


@dataclasses.dataclass(frozen=True)
class ScanSettings:
    """How a room is scanned.

    Attributes:
        num_frames: depth frames along the whole path.
        image_width: pixels.
        image_height: pixels.
        field_of_view: horizontal, degrees; 58 is the Structure sensor's and the Kinect's.
        min_depth: nearer surfaces are not measured, metres.
        max_depth: nor are farther ones, metres.
        low_height: lowest height of the camera, metres.
        high_height: highest height of the camera, metres.
        clearance: distance that the camera keeps from any surface, metres.
        stop_spacing: least distance between the places that the path leads through, metres;
            smaller values visit more of the room.
        disparity_steps: a surface at 1 metre is measured with so many steps of disparity; at z
            metres a step is z**2 / disparity_steps metres. 75 mm baseline x 285 pixels focal
            length x 16 steps a pixel.
        disparity_noise: standard deviation of the disparity, steps.
        lateral_noise: standard deviation of a pixel's place, pixels.
        grazing_angle: surfaces seen at less than this angle give no depth, degrees.
        edge_step: pixels next to a jump of the depth by more than this fraction are lost.
        dropout: fraction of pixels lost at random.
        pose_noise: standard deviation of the error of each frame's position, metres.
        warp: standard deviation of the slow bending of the whole scan that an imperfect camera
            track leaves, metres.
        voxel_size: of the signed distance field, metres.
        truncation: distance behind and before a surface that a frame takes part in, voxels.
        min_weight: surface that fewer frames saw is left out.
        min_fragment: connected pieces of fewer vertices are left out.

    Raises:
        ValueError: a value out of range.
    """

    num_frames: int = 280
    image_width: int = 240
    image_height: int = 180
    field_of_view: float = 58.0
    min_depth: float = 0.4
    max_depth: float = 4.0
    low_height: float = 1.2
    high_height: float = 1.7
    clearance: float = 0.25
    stop_spacing: float = 1.3
    disparity_steps: float = 342.0
    disparity_noise: float = 0.5
    lateral_noise: float = 0.4
    grazing_angle: float = 12.0
    edge_step: float = 0.04
    dropout: float = 0.02
    pose_noise: float = 0.002
    warp: float = 0.004
    voxel_size: float = 0.025
    truncation: float = 4.0
    min_weight: float = 3.0
    min_fragment: int = 80

    def __post_init__(self) -> None:
        for name in (
            *("num_frames", "image_width", "image_height", "voxel_size", "truncation"),
            *("disparity_steps", "stop_spacing"),
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"expected {name} above 0, found {getattr(self, name)}")
        if not 0 < self.field_of_view < 180:
            raise ValueError(f"expected field_of_view in 0..180, found {self.field_of_view}")
        for low, high in (("min_depth", "max_depth"), ("low_height", "high_height")):
            if not 0 <= getattr(self, low) <= getattr(self, high):
                raise ValueError(
                    f"expected {low} from 0 to {high}, found {getattr(self, low)} and "
                    f"{getattr(self, high)}"
                )

    @property
    def intrinsic(self) -> Array:
        """float64 [3, 3], the pinhole camera: x to the right, y down (pixels), z forwards."""
        focal = self.image_width / 2 / np.tan(np.radians(self.field_of_view) / 2)
        centre = ((self.image_width - 1) / 2, (self.image_height - 1) / 2)
        return np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1]])


@dataclasses.dataclass(frozen=True, eq=False)
class Scan:
    """What was scanned of a room.

    Attributes:
        vertices: float32 [N, 3], metres, in the room's coordinates.
        faces: int32 [F, 3] vertex indices.
        colors: uint8 [N, 3] red green blue.
        piece_ids: int32 [N], the row in `room.pieces` of the nearest true surface.
    """

    vertices: Array
    faces: Array
    colors: Array
    piece_ids: Array


def scan_room(room: Room, seed: int, settings: ScanSettings = ScanSettings()) -> Scan:
    """Returns the scan of a room.

    Open3D takes as many threads as OMP_NUM_THREADS allows; the result does not depend on it.

    Args:
        room: what to scan.
        seed: of the path, the noise and the colours.
        settings: of the sensor and the fusion.

    Raises:
        ImportError: Open3D or its system library is missing.
        ValueError: the room leaves no place for the camera, or nothing of it was seen.
    """
    open3d = _import_open3d()
    rng = np.random.default_rng(seed)
    surface = merge([piece.mesh for piece in room.pieces])
    owners = np.repeat(np.arange(len(room.pieces)), [len(p.mesh.faces) for p in room.pieces])
    caster = open3d.t.geometry.RaycastingScene(nthreads=1)
    caster.add_triangles(
        open3d.core.Tensor(surface.vertices.astype(np.float32)),
        open3d.core.Tensor(surface.faces.astype(np.uint32)),
    )
    poses = _camera_path(open3d, caster, room, surface, settings, rng)
    vertices, faces = _fuse(open3d, caster, poses, settings, rng)
    vertices, faces = _without_fragments(*_in_order(vertices, faces), settings.min_fragment)
    if not len(faces):
        raise ValueError(
            f"room {room.name}: expected some surface in the scan, found that no surface was seen "
            f"in {settings.num_frames} frames; give num_frames more or min_weight less"
        )
    nearest = caster.compute_closest_points(open3d.core.Tensor(vertices), nthreads=1)
    triangles = nearest["primitive_ids"].numpy()
    colors = _shaded(surface.colors[triangles], vertices, faces, rng)
    bent = vertices + _smooth_field(vertices, room.size, settings.warp, rng)
    return Scan(bent.astype(np.float32), faces, colors, owners[triangles].astype(np.int32))


def _import_open3d() -> types.ModuleType:
    try:
        import open3d
    except (ImportError, OSError) as error:
        raise ImportError(
            "simulated scanning needs the package open3d and its system libraries, found "
            f"'{error}'; install them with 'pip install open3d' and 'apt-get install libusb-1.0-0 "
            "libgl1 libegl1 libx11-6'"
        ) from error
    return open3d


# The camera's path.


def _camera_path(
    open3d: Any, caster: Any, room: Room, surface: Mesh, settings: ScanSettings, rng: Rng
) -> Array:
    """Returns float64 [frames, 4, 4], from camera to room coordinates."""
    count = settings.num_frames
    route = _route(open3d, caster, room, settings, rng)
    height = rng.normal(size=count)
    height = ndimage.gaussian_filter1d(height, max(1, count / 12), mode="wrap")
    height = (height - height.min()) / max(np.ptp(height), 1e-9)
    height = settings.low_height + height * (settings.high_height - settings.low_height)
    places = np.column_stack([_resampled(route, count), height])
    targets = _targets(surface, places, rng)
    forward = targets - places
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    forward = ndimage.gaussian_filter1d(forward, 3.0, axis=0, mode="nearest")
    forward /= np.maximum(np.linalg.norm(forward, axis=1, keepdims=True), 1e-9)
    down = np.array([0.0, 0.0, -1.0])
    right = np.cross(down, forward)
    right /= np.maximum(np.linalg.norm(right, axis=1, keepdims=True), 1e-9)
    roll = ndimage.gaussian_filter1d(rng.normal(0, 0.3, count), 5.0)[:, None]
    below = np.cross(forward, right)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, 0] = np.cos(roll) * right + np.sin(roll) * below
    poses[:, :3, 1] = np.cos(roll) * below - np.sin(roll) * right
    poses[:, :3, 2] = forward
    poses[:, :3, 3] = places
    return poses


def _route(open3d: Any, caster: Any, room: Room, settings: ScanSettings, rng: Rng) -> Array:
    """Returns float64 [P, 2], a path over the floor that keeps the camera clear of all surfaces."""
    cells = np.maximum(np.floor(np.asarray(room.size[:2]) / _CELL).astype(int), 1)
    centres = [(np.arange(n) + 0.5) * _CELL for n in cells]
    ground = np.stack(np.meshgrid(*centres, indexing="ij"), axis=2).reshape(-1, 2)
    heights = np.linspace(settings.low_height, settings.high_height, 4)
    points = np.array([(*place, z) for z in heights for place in ground], np.float32)
    distance = caster.compute_distance(open3d.core.Tensor(points), nthreads=1).numpy()
    clear = (distance.reshape(len(heights), -1) >= settings.clearance + _CELL / 2).all(axis=0)
    # The inside of a closed piece is clear as well; nothing of the floor is below it, or a part
    # of the map that no path leads to.
    parts, _ = ndimage.label(clear.reshape(cells))
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    if not sizes.any():
        raise ValueError(
            f"room {room.name}: expected room for the camera, {settings.clearance} m from any "
            "surface, found none"
        )
    inside = np.flatnonzero(parts.ravel() == sizes.argmax())
    rays = np.zeros((len(inside), 6), np.float32)
    rays[:, :2], rays[:, 2], rays[:, 5] = ground[inside], settings.low_height, -1
    drop = caster.cast_rays(open3d.core.Tensor(rays), nthreads=1)["t_hit"].numpy()
    walkable = settings.low_height - drop < _STEP
    if not walkable.any():
        walkable[:] = True
    stops = _spread(ground[inside], np.flatnonzero(walkable), settings.stop_spacing, rng)
    links = _links(inside, tuple(cells), np.where(walkable, 1.0, _DETOUR))
    lengths, before = csgraph.dijkstra(links, indices=stops, return_predecessors=True)
    left = list(range(1, len(stops)))
    path, here = [stops[0]], 0
    while left:
        after = min(left, key=lambda stop: lengths[here, stops[stop]])
        left.remove(after)
        leg = [stops[after]]
        while leg[-1] != stops[here]:
            leg.append(before[here, leg[-1]])
        path += leg[::-1][1:]
        here = after
    line = ground[inside][path]
    smooth = ndimage.gaussian_filter1d(line, 3.0, axis=0, mode="nearest")
    # Where smoothing cuts a corner that must not be cut, the path stays as planned.
    index = np.clip(np.floor(smooth / _CELL).astype(int), 0, cells - 1)
    cut = parts[index[:, 0], index[:, 1]] != sizes.argmax()
    return np.where(cut[:, None], line, smooth)


def _spread(places: Array, candidates: Array, spacing: float, rng: Rng) -> Array:
    """Returns rows of `places` among `candidates` at least `spacing` apart, in random order."""
    chosen: list[int] = []
    for row in rng.permutation(candidates):
        if not chosen or np.linalg.norm(places[chosen] - places[row], axis=1).min() >= spacing:
            chosen.append(int(row))
    return np.array(chosen)


def _links(inside: Array, shape: tuple[int, ...], costs: Array) -> sparse.csr_matrix:
    """Returns the graph of neighbouring cells; `inside` are flat indices on a map of `shape`."""
    row_of = np.full(int(np.prod(shape)), -1)
    row_of[inside] = np.arange(len(inside))
    row_of = row_of.reshape(shape)
    pairs: list[Array] = []
    for a, b in (
        (row_of[:-1], row_of[1:]),
        (row_of[:, :-1], row_of[:, 1:]),
        (row_of[:-1, :-1], row_of[1:, 1:]),
        (row_of[1:, :-1], row_of[:-1, 1:]),
    ):
        both = (a >= 0) & (b >= 0)
        pairs.append(np.column_stack([a[both], b[both], np.full(both.sum(), len(pairs) > 1)]))
    first, second, diagonal = np.concatenate(pairs).T
    cost = np.where(diagonal, np.sqrt(2.0), 1.0) * (costs[first] + costs[second]) / 2
    graph = sparse.coo_matrix((cost, (first, second)), (len(inside), len(inside))).tocsr()
    return graph + graph.T


def _resampled(line: Array, count: int) -> Array:
    """Returns `count` points at equal steps along a polyline [P, 2]."""
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    steps = np.linspace(0, along[-1], count)
    return np.column_stack([np.interp(steps, along, line[:, axis]) for axis in (0, 1)])


def _targets(surface: Mesh, places: Array, rng: Rng) -> Array:
    """Returns float64 [frames, 3], what the camera looks at: a point of the surface for a while.

    Each look goes to a surface within reach, by preference on the side that has not been looked
    at for longest.
    """
    corners = surface.vertices[surface.faces]
    area = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), 2, 1
    )
    rows = rng.choice(len(area), 2000, p=area / area.sum())
    mix = rng.dirichlet((1, 1, 1), len(rows))
    points = (corners[rows] * mix[:, :, None]).sum(axis=1)
    points = points[points[:, 2] < 2.0]
    seen = np.zeros(len(points))
    targets = np.empty_like(places)
    frame = 0
    while frame < len(places):
        stay = int(rng.integers(5, 10))
        offset = points - places[min(frame + stay // 2, len(places) - 1)]
        reach = np.linalg.norm(offset, axis=1)
        score = (
            seen
            + 0.5 * np.abs(reach - 1.8)
            + 3.0 * (reach < 0.8)
            + rng.uniform(0, 0.5, len(points))
        )
        best = int(score.argmin())
        targets[frame : frame + stay] = points[best]
        near = np.linalg.norm(points - points[best], axis=1)
        seen += np.exp(-((near / 0.7) ** 2))
        frame += stay
    return targets


# The sensor and the fusion.


def _fuse(
    open3d: Any, caster: Any, poses: Array, settings: ScanSettings, rng: Rng
) -> tuple[Array, Array]:
    """Returns float32 [V, 3] vertices and int64 [F, 3] faces of the fused depth, in any order."""
    float32 = open3d.core.float32
    field = open3d.t.geometry.VoxelBlockGrid(
        ("tsdf", "weight"), (float32, float32), ((1), (1)), settings.voxel_size, _BLOCK, 20000
    )
    intrinsic = open3d.core.Tensor(settings.intrinsic)
    width, height = settings.image_width, settings.image_height
    column, row = np.meshgrid(np.arange(width), np.arange(height))
    pixels = np.stack([column, row, np.ones_like(row)], axis=2).reshape(-1, 3)
    directions = pixels @ np.linalg.inv(settings.intrinsic).T
    rays = np.empty((len(directions), 6), np.float32)
    for pose in poses:
        rays[:, :3] = pose[:3, 3]
        rays[:, 3:] = directions @ pose[:3, :3].T
        hit = caster.cast_rays(open3d.core.Tensor(rays), nthreads=1)
        # The rays' z is 1 in camera coordinates, so that their length is the depth.
        depth = hit["t_hit"].numpy().reshape(height, width)
        cosine = np.abs((hit["primitive_normals"].numpy() * rays[:, 3:]).sum(axis=1))
        cosine /= np.linalg.norm(directions, axis=1)
        measured = _degraded(depth, cosine.reshape(height, width), settings, rng)
        # A look over the top of a wall; Open3D refuses a frame that touches no block.
        if np.count_nonzero(depth < settings.max_depth) < _LEAST_SEEN * depth.size:
            continue
        tracked = pose.copy()
        tracked[:3, 3] += rng.normal(0, settings.pose_noise, 3)
        extrinsic = open3d.core.Tensor(np.linalg.inv(tracked))
        # Blocks are those of the true surface, so that lost pixels never lose a whole block.
        clean = open3d.t.geometry.Image(
            np.where(depth < settings.max_depth, depth, 0).astype(np.float32)[:, :, None]
        )
        blocks = field.compute_unique_block_coordinates(
            clean, intrinsic, extrinsic, 1.0, settings.max_depth, settings.truncation
        )
        if len(blocks):
            field.integrate(
                blocks,
                open3d.t.geometry.Image(measured[:, :, None]),
                intrinsic,
                extrinsic,
                1.0,
                settings.max_depth,
                settings.truncation,
            )
    try:
        mesh = field.extract_triangle_mesh(weight_threshold=settings.min_weight)
    except RuntimeError:  # what Open3D says to a field without any surface
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int64)
    if "positions" not in mesh.vertex or "indices" not in mesh.triangle:
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int64)
    return mesh.vertex["positions"].numpy(), mesh.triangle["indices"].numpy()


def _degraded(depth: Array, cosine: Array, settings: ScanSettings, rng: Rng) -> Array:
    """Returns float32 [height, width], what a structured-light sensor makes of a true depth.

    Args:
        depth: float32 [height, width], metres; infinite where there is nothing.
        cosine: of the angle between ray and surface normal.
        settings: of the sensor.
        rng: of the noise.
    """
    near = np.where(np.isfinite(depth), depth, 2 * settings.max_depth)
    jump = ndimage.maximum_filter(near, 3) - ndimage.minimum_filter(near, 3)
    lost = (jump > settings.edge_step * near + 0.02) & (cosine > 0.3)
    lost |= cosine < np.sin(np.radians(settings.grazing_angle))
    lost |= rng.random(depth.shape, np.float32) < settings.dropout
    shift = np.rint(rng.standard_normal((2, *depth.shape), np.float32) * settings.lateral_noise)
    row = np.clip(np.arange(depth.shape[0])[:, None] + shift[0].astype(int), 0, len(depth) - 1)
    column = np.clip(np.arange(depth.shape[1]) + shift[1].astype(int), 0, depth.shape[1] - 1)
    moved = near[row, column]
    disparity = settings.disparity_steps / np.maximum(moved, 1e-3)
    disparity += settings.disparity_noise * rng.standard_normal(depth.shape, np.float32)
    measured = settings.disparity_steps / np.maximum(np.rint(disparity), 1)
    lost |= (measured < settings.min_depth) | (measured > settings.max_depth)
    return np.where(lost, 0, measured).astype(np.float32)


# The mesh.


def _in_order(vertices: Array, faces: Array) -> tuple[Array, Array]:
    """Returns the same mesh with each vertex once, in an order that depends on the values alone.

    The fusion hands vertices and faces over in the order in which its threads found them.
    """
    if not len(faces):
        return vertices.astype(np.float32), faces.astype(np.int32)
    vertices, new_row = np.unique(vertices, axis=0, return_inverse=True)
    faces = new_row.reshape(-1)[faces]
    faces = faces[
        (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    ]
    turn = (faces.argmin(axis=1)[:, None] + np.arange(3)) % 3
    faces = np.unique(np.take_along_axis(faces, turn, axis=1), axis=0)
    return vertices, faces.astype(np.int32)


def _without_fragments(vertices: Array, faces: Array, min_fragment: int) -> tuple[Array, Array]:
    """Returns the mesh without its connected parts of fewer than `min_fragment` vertices."""
    count = len(vertices)
    edges = (np.ones(2 * len(faces)), (faces[:, [0, 1]].ravel(), faces[:, [1, 2]].ravel()))
    _, part = csgraph.connected_components(sparse.coo_matrix(edges, (count, count)), False)
    kept = np.bincount(part, minlength=1)[part] >= min_fragment
    kept &= np.bincount(faces.ravel(), minlength=count) > 0
    faces = faces[kept[faces].all(axis=1)]
    new_row = np.cumsum(kept) - 1
    return vertices[kept], new_row[faces].astype(np.int32)


def _normals(vertices: Array, faces: Array) -> Array:
    """Returns float64 [N, 3], unit normals of the vertices."""
    corners = vertices[faces].astype(float)
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.stack(
        [
            np.bincount(faces.ravel(), np.repeat(across[:, axis], 3), len(vertices))
            for axis in range(3)
        ],
        axis=1,
    )
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def _shaded(base: Array, vertices: Array, faces: Array, rng: Rng) -> Array:
    """Returns uint8 [N, 3], the colours as a camera sees them: lit from above, uneven, noisy."""
    normals = _normals(vertices, faces)
    side = rng.uniform(0, 2 * np.pi)
    light = np.array([0.5 * np.cos(side), 0.5 * np.sin(side), 0.8])
    shade = 0.8 + 0.2 * normals @ light
    extent = np.ptp(vertices, axis=0) + vertices.min(axis=0)
    shade += _smooth_field(vertices, extent, 0.05, rng)[:, 0]
    grain = rng.normal(0, 4, (len(base), 3)) + rng.normal(0, 4, (len(base), 1))
    return np.clip(base * shade[:, None] + grain, 0, 255).astype(np.uint8)


def _smooth_field(points: Array, size: Any, deviation: float, rng: Rng) -> Array:
    """Returns float64 [N, 3], a random field of the given deviation that varies over 0.6 m."""
    pitch = 0.6
    shape = np.ceil(np.asarray(size) / pitch).astype(int) + 4
    knots = rng.normal(0, deviation, (3, *shape))
    where = (points / pitch + 1).T
    return np.stack(
        [ndimage.map_coordinates(knot, where, order=1, mode="nearest") for knot in knots], axis=1
    )
