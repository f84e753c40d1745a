"""Pictures of voxels and of points from above, with NumPy alone: no display, GPU or other library.

The view is isometric: the viewer stands far off at (+x, -y, +z), x runs to the lower right, y to
the upper right, z up, and a voxel is a regular hexagon. Along that line of sight all voxels fall
onto one lattice of triangles, and each triangle shows exactly one face of one voxel, the nearest.
So hidden faces are settled on the lattice, exactly, before there are any pixels; then every pixel
looks up its triangle.

    p, q, z    voxel axes towards the viewer: p = x, q = -y
    i, j       lattice cells: what p - z and q - z are along a line of sight
    near       p + q + z: the larger, the nearer
"""

import functools

import numpy as np

from mtml_tf.classes import ClassSet

Array = np.ndarray

STUFF_COLOR = (206, 206, 206)
_BACKGROUND = 255
_NUM_COLORS = 256
_SUPERSAMPLING = 2
_MARGIN = 0.02  # of the width
_COS_30 = np.sqrt(3) / 2

# Faces: upwards, towards +p (the right one seen), towards +q (the left one), and their light.
_TOP, _RIGHT, _LEFT = range(3)
_LIGHT = np.array([1.0, 0.62, 0.8])
# The two directions along each face; a corner of a face between two occupied voxels is dark.
_NORMALS = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])
_ALONG = np.array([[[1, 0, 0], [0, 1, 0]], [[0, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 0, 1]]])
_CORNER_LIGHT = np.array([1.0, 0.84, 0.72, 0.6])  # by the number of occupied voxels around it
_EDGE_LIGHT = 0.8
_EDGE_WIDTH = 0.05  # voxels

# The triangles that a voxel covers: offset of the cell (i, j), which half of it, and which face.
_TRIANGLES = (
    (-1, -1, 0, _TOP),
    (-1, -1, 1, _TOP),
    (0, -1, 1, _RIGHT),
    (0, 0, 0, _RIGHT),
    (-1, 0, 0, _LEFT),
    (0, 0, 1, _LEFT),
)


def draw_voxels(coordinates: Array, colors: Array, width: int = 700) -> Array:
    """Draws voxels as shaded cubes.

    Takes O(M log M) time, and memory for (X + Z) (Y + Z) lattice cells.

    Args:
        coordinates: int [M, 3], voxel indices x, y, z (up).
        colors: uint8 [M, 3], red green blue.
        width: pixels.

    Returns:
        uint8 [H, W, 3] on white; W is `width`, H what the scene takes.

    Raises:
        ValueError: not one color for each voxel, or a width below 1.
    """
    _check(len(coordinates), colors, width)
    if not len(coordinates):
        return _blank(width)
    voxels = np.asarray(coordinates, np.int64) * (1, -1, 1)
    voxels -= voxels.min(axis=0)
    corner, cells, row, face = _nearest_faces(voxels)
    light = _corner_light(voxels, row, face)

    # The outline in lattice units, to the right (u) and down (v), decides the scale.
    p, q, z = voxels.T
    left, right = (p - q).min() - 1, (p - q).max() + 1
    top, bottom = ((p + q) / 2 - z).min() - 1, ((p + q) / 2 - z).max() + 1
    margin = _MARGIN * width * _SUPERSAMPLING
    scale = (width * _SUPERSAMPLING - 2 * margin) / ((right - left) * _COS_30)
    height = int(np.ceil(((bottom - top) * scale + 2 * margin) / _SUPERSAMPLING))
    u = (np.arange(width * _SUPERSAMPLING) + 0.5 - margin) / (scale * _COS_30) + left
    v = (np.arange(height * _SUPERSAMPLING) + 0.5 - margin) / scale + top
    # p + q - 2 z = 2 v and p - q = u, so:
    i, j = np.broadcast_arrays(v[:, None] + u / 2 - corner[0], v[:, None] - u / 2 - corner[1])

    cell_i, cell_j = np.floor(i).astype(np.int64), np.floor(j).astype(np.int64)
    image = np.full((*i.shape, 3), _BACKGROUND, np.float32)
    inside = (cell_i >= 0) & (cell_j >= 0) & (cell_i < cells.shape[0]) & (cell_j < cells.shape[1])
    inside = np.nonzero(inside)
    cell_i, cell_j = cell_i[inside], cell_j[inside]
    f, g = i[inside] - cell_i, j[inside] - cell_j
    seen = cells[cell_i, cell_j, (g > f).astype(np.int64)]
    shown = seen >= 0
    seen, f, g = seen[shown], f[shown], g[shown]
    # Where on its face a pixel lies, 0 to 1 in both directions of `_ALONG`.
    pixel_face = face[seen]
    along = np.choose(pixel_face, (f, (g - f) % 1, (f - g) % 1))
    across = np.choose(pixel_face, (g, 1 - f, 1 - g))
    brightness = _LIGHT[pixel_face] * _interpolate(light[seen], along, across)
    to_edge = np.minimum(np.minimum(along, 1 - along), np.minimum(across, 1 - across))
    # A line of less than a pixel would flicker: it fades instead.
    line = np.clip(_EDGE_WIDTH * scale, 0, 1) * (1 - _EDGE_LIGHT)
    brightness *= 1 - line * (to_edge < max(_EDGE_WIDTH, 1 / scale))
    image[inside[0][shown], inside[1][shown]] = colors[row[seen]] * brightness[:, None]
    return _shrink(image)


def _nearest_faces(voxels: Array) -> tuple[Array, Array, Array, Array]:
    """Finds which face each triangle of the lattice shows.

    Args:
        voxels: int64 [M, 3], p, q, z, from 0.

    Returns:
        corner: int64 [2], the lattice cell (i, j) that `cells` begins with.
        cells: int64 [I, J, 2], a row of the two results below, or -1; the second half of a cell
            is that with the larger fraction of j.
        row: int64 [F], the voxel.
        face: int64 [F], which of its faces.
    """
    base = voxels[:, :2] - voxels[:, 2:]
    corner = base.min(axis=0) - 1
    shape = (*(base.max(axis=0) + 1 - corner), 2)
    faces = np.full(shape, -1, np.int64)
    order = np.argsort(voxels.sum(axis=1), kind="stable")  # the nearest last
    base = base[order] - corner
    nearest = np.full(shape, -1, np.int64)
    near = voxels.sum(axis=1)
    for step_i, step_j, half, face in _TRIANGLES:
        # Of several voxels on one triangle the last assignment stays: the nearest.
        found = np.full(shape[:2], -1, np.int64)
        found[base[:, 0] + step_i, base[:, 1] + step_j] = order
        old = nearest[..., half]
        nearer = (found >= 0) & ((old < 0) | (near[found] > near[old]))
        nearest[..., half] = np.where(nearer, found, old)
        faces[..., half] = np.where(nearer, 3 * found + face, faces[..., half])
    shown, cells = np.unique(faces, return_inverse=True)
    # Row 0 of the unique values is the -1 of triangles that show nothing, if there are any.
    nothing = int(shown[0] < 0)
    return corner, cells.reshape(shape) - nothing, shown[nothing:] // 3, shown[nothing:] % 3


def _corner_light(voxels: Array, row: Array, face: Array) -> Array:
    """Returns float [F, 2, 2], the light at the corners of faces: less beside other voxels.

    The corners' order is (first, second) direction of `_ALONG`, backwards before forwards.
    """
    shape = voxels.max(axis=0) + 3  # an empty layer all round
    keys = np.sort(np.ravel_multi_index(tuple((voxels + 1).T), tuple(shape)))

    def occupied(places: Array) -> Array:
        wanted = np.ravel_multi_index(tuple((places + 1).T), tuple(shape))
        return keys[np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)] == wanted

    front = voxels[row] + _NORMALS[face]
    along, across = _ALONG[face, 0], _ALONG[face, 1]
    light = np.empty((len(row), 2, 2))
    for a in (0, 1):
        for b in (0, 1):
            step_a, step_b = (2 * a - 1) * along, (2 * b - 1) * across
            side_a, side_b = occupied(front + step_a), occupied(front + step_b)
            diagonal = occupied(front + step_a + step_b)
            count = np.where(side_a & side_b, 3, 0 + side_a + side_b + diagonal)
            light[:, a, b] = _CORNER_LIGHT[count]
    return light


def _interpolate(corners: Array, along: Array, across: Array) -> Array:
    """Interpolates [P, 2, 2] bilinearly at [P] places from 0 to 1."""
    low = corners[:, 0, 0] * (1 - along) + corners[:, 1, 0] * along
    high = corners[:, 0, 1] * (1 - along) + corners[:, 1, 1] * along
    return low * (1 - across) + high * across


def draw_points(vertices: Array, colors: Array, width: int = 700) -> Array:
    """Draws the points of a scan, in the same view, as splats wide enough to close the surface.

    Points are darker where something nearer is beside them in the picture, so that shapes stand
    out without surface normals.

    Args:
        vertices: float [N, 3], metres, z up.
        colors: uint8 [N, 3], red green blue.
        width: pixels.

    Returns:
        uint8 [H, W, 3] on white; W is `width`, H what the scene takes.

    Raises:
        ValueError: not one color for each point, or a width below 1.
    """
    _check(len(vertices), colors, width)
    if not len(vertices):
        return _blank(width)
    p, q, z = (np.asarray(vertices, np.float64) * (1, -1, 1)).T
    place = np.stack([(p + q) / 2 - z, (p - q) * _COS_30], axis=1)
    place -= place.min(axis=0)
    near = p + q + z
    fine_width = width * _SUPERSAMPLING
    extent = np.maximum(place.max(axis=0), 1e-9 * (1 + np.abs(vertices).max()))
    scale = fine_width * (1 - 2 * _MARGIN) / max(extent[1], extent[0] / 4)
    margin = fine_width * _MARGIN
    height = int(np.ceil((extent[0] * scale + 2 * margin) / _SUPERSAMPLING))
    shape = (height * _SUPERSAMPLING, fine_width)
    pixel = np.floor(place * scale + (margin, (fine_width - extent[1] * scale) / 2)).astype(int)

    splat = _splat(_spacing(pixel, shape))
    order = np.argsort(near, kind="stable")  # the nearest last, which stays
    shown = np.full(shape, -1, np.int64)
    depth = np.full(shape, -np.inf)
    for step in splat:
        rows, columns = np.clip(pixel[order] + step, 0, np.array(shape) - 1).T
        found = np.full(shape, -1, np.int64)
        found[rows, columns] = order
        nearer = (found >= 0) & (near[found] > depth)
        shown[nearer], depth[nearer] = found[nearer], near[found[nearer]]
    image = np.full((*shape, 3), _BACKGROUND, np.float32)
    seen = shown >= 0
    image[seen] = colors[shown[seen]] * _relief(depth * scale, fine_width)[seen][:, None]
    return _shrink(image)
