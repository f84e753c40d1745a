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

from mtml_tf.rooms.camera import ScanSettings, camera_path
from mtml_tf.rooms.light import (
    Light,
    LightSettings,
    develop,
    directional_shade,
    draw_light,
    spots_of_light,
)
from mtml_tf.rooms.mesh import Room, merge
from mtml_tf.rooms.paint import PaintSettings, paint_points

Array = np.ndarray
Rng = np.random.Generator

# Frames that see surface in fewer of their pixels are left out.
_LEAST_SEEN = 0.02
# Beside a scan's seed, that of its light and paint.
_VARIETY = 1
# Edge of a block of the distance field's grid, voxels.
_BLOCK = 8


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


def scan_room(
    room: Room,
    seed: int,
    settings: ScanSettings = ScanSettings(),
    light: LightSettings = LightSettings(),
    paint: PaintSettings = PaintSettings(),
) -> Scan:
    """Returns the scan of a room.

    Open3D takes as many threads as OMP_NUM_THREADS allows; the result does not depend on it.

    Args:
        room: what to scan.
        seed: of the path, the noise and the colours.
        settings: of the sensor and the fusion.
        light: how much the room's light may differ from other rooms'; colours depend on it alone.
        paint: how often pieces are painted otherwise than they were built; likewise.

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
    poses = camera_path(open3d, caster, room, settings, rng)
    vertices, faces = _fuse(open3d, caster, poses, settings, rng)
    vertices, faces = _without_fragments(*_in_order(vertices, faces), settings.min_fragment)
    if not len(faces):
        raise ValueError(
            f"room {room.name}: expected some surface in the scan, found that no surface was seen "
            f"in {settings.num_frames} frames; give num_frames more or min_weight less"
        )
    nearest = caster.compute_closest_points(open3d.core.Tensor(vertices), nthreads=1)
    triangles = nearest["primitive_ids"].numpy()
    # Light and paint have a generator of their own, so that all else is the same in any light.
    variety = np.random.default_rng((seed, _VARIETY))
    drawn = draw_light(room.size, light, variety)
    base = paint_points(
        surface.colors[triangles],
        vertices,
        nearest["primitive_normals"].numpy(),
        owners[triangles],
        room.pieces,
        paint,
        variety,
    )
    colors = _shaded(base, vertices, faces, drawn, rng)
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
    lost &= rng.random(depth.shape, np.float32) < settings.edge_loss
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
    order = np.lexsort(vertices.T[::-1])
    vertices = vertices[order]
    is_new = np.append(True, np.any(vertices[1:] != vertices[:-1], axis=1))
    new_row = np.empty(len(order), np.int64)
    new_row[order] = np.cumsum(is_new) - 1
    vertices, faces = vertices[is_new], new_row[faces]
    faces = faces[
        (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    ]
    turn = (faces.argmin(axis=1)[:, None] + np.arange(3)) % 3
    # As single numbers, which sort ten times as fast as rows.
    count = max(len(vertices), 1)
    keys = np.unique(np.take_along_axis(faces, turn, axis=1) @ (count**2, count, 1))
    faces = np.stack([keys // count**2, keys // count % count, keys % count], axis=1)
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


def _shaded(base: Array, vertices: Array, faces: Array, light: Light, rng: Rng) -> Array:
    """Returns uint8 [N, 3], the colours as a camera sees them: lit from above, uneven, noisy."""
    side = rng.uniform(0, 2 * np.pi)
    direction = np.array([0.5 * np.cos(side), 0.5 * np.sin(side), 0.8])
    shade = directional_shade(_normals(vertices, faces), direction, light)
    extent = np.ptp(vertices, axis=0) + vertices.min(axis=0)
    shade += _smooth_field(vertices, extent, 0.05, rng)[:, 0]
    grain = rng.normal(0, 4, (len(base), 3)) + rng.normal(0, 4, (len(base), 1))
    seen = develop(base * shade[:, None] * spots_of_light(vertices, light), light)
    return np.clip(seen + grain, 0, 255).astype(np.uint8)


def _smooth_field(points: Array, size: Any, deviation: float, rng: Rng) -> Array:
    """Returns float64 [N, 3], a random field of the given deviation that varies over 0.6 m."""
    pitch = 0.6
    shape = np.ceil(np.asarray(size) / pitch).astype(int) + 4
    knots = rng.normal(0, deviation, (3, *shape))
    where = (points / pitch + 1).T
    return np.stack(
        [ndimage.map_coordinates(knot, where, order=1, mode="nearest") for knot in knots], axis=1
    )
