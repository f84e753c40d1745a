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
from collections.abc import Sequence

import numpy as np

from mtml_tf.classes import ClassSet

Array = np.ndarray

STUFF_COLOR = (226, 226, 226)
NO_COLOR = (180, 180, 180)  # of a scan without colours
_BACKGROUND = 255
_NUM_COLORS = 256
_SUPERSAMPLING = 2
_MARGIN = 0.025  # of the width
_TALLEST = 4  # a picture's height, of its width; a scene that is taller leaves white at the sides
_COS_30 = np.sqrt(3) / 2

# Faces: upwards, towards +p (the right one seen), towards +q (the left one), and their light.
_TOP, _RIGHT, _LEFT = range(3)
_LIGHT = np.array([1.0, 0.62, 0.8])
# The two directions along each face; a corner of a face between two occupied voxels is dark.
_NORMALS = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])
_ALONG = np.array([[[1, 0, 0], [0, 1, 0]], [[0, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 0, 1]]])
_CORNER_LIGHT = np.array([1.0, 0.84, 0.72, 0.6])  # by the number of occupied voxels around it
_EDGE_LIGHT = 0.84
_EDGE_WIDTH = 0.05  # voxels

_LARGEST_SPLAT = 0.02  # radius, of the width
# Points: how far beside a pixel nearer points darken it (of the width), and how much.
_RELIEF_REACHES = (0.006, 0.014)
_DEEPEST = 0.015  # of the scene's width
_RELIEF = 9.0
_FIRST_COLOR = (70, 130, 200)

# The triangles that a voxel covers: offset of the cell (i, j), which half of it, and which face.
_TRIANGLES = (
    (-1, -1, 0, _TOP),
    (-1, -1, 1, _TOP),
    (0, -1, 1, _RIGHT),
    (0, 0, 0, _RIGHT),
    (-1, 0, 0, _LEFT),
    (0, 0, 1, _LEFT),
)


def draw_voxels(
    coordinates: Array, colors: Array, width: int = 700, quarter_turns: int = 0
) -> Array:
    """Draws voxels as shaded cubes.

    Takes O(M log M) time, and memory for (X + Z) (Y + Z) lattice cells.

    Args:
        coordinates: int [M, 3], voxel indices x, y, z (up).
        colors: uint8 [M, 3], red green blue.
        width: pixels.
        quarter_turns: how often the viewer goes 90 degrees around the scene, counterclockwise as
            seen from above; scans that a sensor took from one side look best from there.

    Returns:
        uint8 [H, W, 3] on white; W is `width`, H what the scene takes.

    Raises:
        ValueError: not one color for each voxel, or a width below 1.
    """
    _check(len(coordinates), colors, width)
    if not len(coordinates):
        return _blank(width)
    voxels = _towards_viewer(np.asarray(coordinates, np.int64), quarter_turns)
    voxels -= voxels.min(axis=0)
    corner, cells, row, face = _nearest_faces(voxels)
    light = _corner_light(voxels, row, face)

    # The outline in lattice units, to the right (u) and down (v), decides the scale.
    p, q, z = voxels.T
    left, right = (p - q).min() - 1, (p - q).max() + 1
    top, bottom = ((p + q) / 2 - z).min() - 1, ((p + q) / 2 - z).max() + 1
    margin = _MARGIN * width * _SUPERSAMPLING
    fine_width = width * _SUPERSAMPLING
    outline = max((right - left) * _COS_30, (bottom - top) / _TALLEST)
    scale = (fine_width - 2 * margin) / outline
    height = int(np.ceil(((bottom - top) * scale + 2 * margin) / _SUPERSAMPLING))
    u = (np.arange(fine_width) + 0.5 - fine_width / 2) / (scale * _COS_30) + (left + right) / 2
    v = (np.arange(height * _SUPERSAMPLING) + 0.5 - margin) / scale + top
    # p + q - 2 z = 2 v and p - q = u, so:
    i, j = np.broadcast_arrays(v[:, None] + u / 2 - corner[0], v[:, None] - u / 2 - corner[1])

    cell_i, cell_j = np.floor(i).astype(np.int32), np.floor(j).astype(np.int32)
    f, g = i - cell_i, j - cell_j
    # Pixels outside the lattice look up its rim, which shows nothing.
    places = [np.clip(c, 0, n - 1) for c, n in zip((cell_i, cell_j), cells.shape[:2], strict=True)]
    seen = cells[places[0], places[1], (g > f).view(np.int8)]
    shown = seen >= 0
    seen, f, g = seen[shown], f[shown], g[shown]
    # Where on its face a pixel lies, 0 to 1 in both directions of `_ALONG`.
    pixel_face = face[seen]
    along = np.choose(pixel_face, (f, (g - f) % 1, (f - g) % 1))
    across = np.choose(pixel_face, (g, 1 - f, 1 - g))
    brightness = _interpolate(light[seen], along, across)
    to_edge = np.minimum(np.minimum(along, 1 - along), np.minimum(across, 1 - across))
    # A line of less than a pixel would flicker: it fades instead.
    line = np.clip(_EDGE_WIDTH * scale, 0, 1) * (1 - _EDGE_LIGHT)
    brightness *= 1 - line * (to_edge < max(_EDGE_WIDTH, 1 / scale))
    image = np.full((*shown.shape, 3), _BACKGROUND, np.float32)
    image[shown] = colors[row[seen]] * brightness[:, None]
    return _shrink(image)


def _towards_viewer(places: Array, quarter_turns: int) -> Array:
    """Returns places [n, 3] along the axes p, q, z instead of x, y, z."""
    p, q, z = places[:, 0], -places[:, 1], places[:, 2]
    for _ in range(quarter_turns % 4):
        p, q = -q, p
    return np.stack([p, q, z], axis=1)


def _nearest_faces(voxels: Array) -> tuple[Array, Array, Array, Array]:
    """Finds which face each triangle of the lattice shows.

    Args:
        voxels: int64 [M, 3], p, q, z, from 0.

    Returns:
        corner: int64 [2], the lattice cell (i, j) that `cells` begins with.
        cells: int32 [I, J, 2], a row of the two results below, or -1 (as all round the rim); the
            second half of a cell is that with the larger fraction of j.
        row: int64 [F], the voxel.
        face: int64 [F], which of its faces.
    """
    order = np.argsort(voxels.sum(axis=1), kind="stable")  # the nearest last
    base = voxels[order, :2] - voxels[order, 2:]
    corner = base.min(axis=0) - 2  # an empty rim all round
    shape = (*(base.max(axis=0) + 2 - corner), 2)
    step_i, step_j, half, face = np.array(_TRIANGLES).T
    cells = np.full(shape, -1, np.int64)
    # Of several voxels on one triangle the last assigned stays: the nearest.
    places = (base[:, :1] - corner[0] + step_i, base[:, 1:] - corner[1] + step_j, half)
    cells[places] = 3 * order[:, None] + face
    shown, numbered = np.unique(cells, return_inverse=True)
    nothing = int(shown[0] < 0)  # the first number is that of triangles that show nothing
    shown = shown[nothing:]
    cells = (numbered.reshape(shape) - nothing).astype(np.int32)
    return corner, cells, shown // 3, shown % 3


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
    light = np.empty((len(row), 2, 2), np.float32)
    for a in (0, 1):
        for b in (0, 1):
            step_a, step_b = (2 * a - 1) * along, (2 * b - 1) * across
            side_a, side_b = occupied(front + step_a), occupied(front + step_b)
            diagonal = occupied(front + step_a + step_b)
            count = np.where(side_a & side_b, 3, 0 + side_a + side_b + diagonal)
            light[:, a, b] = _LIGHT[face] * _CORNER_LIGHT[count]
    return light


def _interpolate(corners: Array, along: Array, across: Array) -> Array:
    """Interpolates [P, 2, 2] bilinearly at [P] places from 0 to 1."""
    low = corners[:, 0, 0] * (1 - along) + corners[:, 1, 0] * along
    high = corners[:, 0, 1] * (1 - along) + corners[:, 1, 1] * along
    return low * (1 - across) + high * across


def draw_points(vertices: Array, colors: Array, width: int = 700, quarter_turns: int = 0) -> Array:
    """Draws the points of a scan, in the same view, as splats wide enough to close the surface.

    Points are darker where something nearer is beside them in the picture, so that shapes stand
    out without surface normals.

    Args:
        vertices: float [N, 3], metres, z up.
        colors: uint8 [N, 3], red green blue.
        width: pixels.
        quarter_turns: how often the viewer goes 90 degrees around the scene, counterclockwise as
            seen from above; scans that a sensor took from one side look best from there.

    Returns:
        uint8 [H, W, 3] on white; W is `width`, H what the scene takes.

    Raises:
        ValueError: not one color for each point, or a width below 1.
    """
    _check(len(vertices), colors, width)
    if not len(vertices):
        return _blank(width)
    p, q, z = _towards_viewer(np.asarray(vertices, np.float64), quarter_turns).T
    place = np.stack([(p + q) / 2 - z, (p - q) * _COS_30], axis=1)
    place -= place.min(axis=0)
    near = p + q + z
    fine_width = width * _SUPERSAMPLING
    extent = np.maximum(place.max(axis=0), 1e-9 * (1 + np.abs(vertices).max()))
    scale = fine_width * (1 - 2 * _MARGIN) / max(extent[1], extent[0] / _TALLEST)
    margin = fine_width * _MARGIN
    height = int(np.ceil((extent[0] * scale + 2 * margin) / _SUPERSAMPLING))
    shape = (height * _SUPERSAMPLING, fine_width)
    pixel = np.floor(place * scale + (margin, (fine_width - extent[1] * scale) / 2)).astype(int)

    # Of several points on one pixel the last assigned stays: the nearest.
    order = np.argsort(near, kind="stable")
    steps = _splat(pixel, shape)
    splats = pixel[order][:, None] + steps
    rows, columns = np.clip(splats, 0, np.array(shape) - 1).transpose(2, 0, 1)
    shown = np.full(shape, -1, np.int32)
    shown[rows, columns] = order[:, None]
    depth = np.where(shown >= 0, near[shown], -np.inf)
    image = np.full((*shape, 3), _BACKGROUND, np.float32)
    seen = shown >= 0
    # A splat faces the viewer, so on a slanting surface it juts out by about its radius.
    light = _relief(depth, extent[1], steps.max() / scale)
    image[seen] = colors[shown[seen]] * light[seen][:, None]
    return _shrink(image)


def _splat(pixel: Array, shape: tuple[int, int]) -> Array:
    """Returns int [S, 2], the steps to the pixels of a disc that closes the gaps between points."""
    cell = max(1, shape[1] // 40)  # coarse cells tell how much of the picture the points cover
    _, counts = np.unique(pixel // cell, axis=0, return_counts=True)
    area_of_point = cell**2 / np.median(counts)
    radius = min(1.2 * np.sqrt(area_of_point), _LARGEST_SPLAT * shape[1])
    reach = np.arange(-int(radius), int(radius) + 1)
    steps = np.stack(np.meshgrid(reach, reach, indexing="ij"), axis=-1).reshape(-1, 2)
    return steps[(steps**2).sum(axis=1) <= radius**2]


def _relief(depth: Array, extent: float, slack: float) -> Array:
    """Returns float [H, W] in (0, 1], less in hollows and beside nearer points.

    Args:
        depth: float [H, W], nearness of what each pixel shows, -inf for nothing.
        extent: width of the scene in the same unit.
        slack: how much nearer something must be to count.
    """
    height, width = depth.shape
    hollow = np.zeros(depth.shape)
    for reach in _RELIEF_REACHES:
        step = max(1, round(reach * width))
        padded = np.pad(depth, step, constant_values=-np.inf)
        for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
            # The mean of two opposite pixels is as near as the middle one on any plane.
            pair = [
                padded[y : y + height, x : x + width]
                for y, x in (
                    (step * (1 + down), step * (1 + right)),
                    (step * (1 - down), step * (1 - right)),
                )
            ]
            with np.errstate(invalid="ignore"):  # nothing beside nothing
                rise = (pair[0] + pair[1]) / 2 - depth - slack
            hollow += np.fmin(np.fmax(rise / extent, 0), _DEEPEST)
    return np.exp(-_RELIEF * hollow)


def instance_colors(ids: Array) -> Array:
    """Returns uint8 [n, 3], a color for each instance id, always the same one; 0 is light grey.

    Up to 256 ids differ, the smaller ones the most; then colors return.

    Args:
        ids: int [n], 0 for none.
    """
    ids = np.asarray(ids, np.int64)
    colors = _palette()[(ids - 1) % _NUM_COLORS]
    return np.where((ids == 0)[:, None], np.array(STUFF_COLOR, np.uint8), colors)


def class_colors(semantic_ids: Array, classes: ClassSet) -> Array:
    """Returns uint8 [n, 3], a color for each class; stuff and unlabelled are light grey.

    Args:
        semantic_ids: int [n], ids of `classes` or 0.
        classes: the class set; its things are colored in their order.

    Raises:
        ValueError: an id that is neither 0 nor listed.
    """
    numbers = [0] * len(classes)
    for number, class_id in enumerate(classes.thing_ids, start=1):
        numbers[classes.ids.index(class_id)] = number
    # The last entry serves channel -1, which is unlabelled.
    return instance_colors(np.array([*numbers, 0])[classes.channels_of(semantic_ids)])


@functools.cache
def _palette() -> Array:
    """Returns uint8 [256, 3]: each color is the one farthest from those before it, in CIELAB.

    Candidates are neither so light, dark nor pale that shading could make two of them alike.
    """
    steps = np.arange(0, 256, 15)
    rgb = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = _lab(rgb)
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    usable = (lab[:, 0] > 50) & (lab[:, 0] < 84) & (chroma > 30) & (chroma < 72)
    rgb, lab = rgb[usable], lab[usable] * (0.6, 1, 1)  # shading changes lightness
    distance = np.full(len(rgb), np.inf)
    chosen = [int(np.argmin(np.abs(lab - _lab(np.array(_FIRST_COLOR)) * (0.6, 1, 1)).sum(axis=1)))]
    while len(chosen) < _NUM_COLORS:
        distance = np.minimum(distance, np.linalg.norm(lab - lab[chosen[-1]], axis=1))
        chosen.append(int(np.argmax(distance)))
    return rgb[chosen].astype(np.uint8)


def _lab(rgb: Array) -> Array:
    """Returns the CIELAB values, [..., 3], of sRGB colors from 0 to 255, [..., 3]."""
    share = rgb / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    relative = linear @ (to_xyz / to_xyz.sum(axis=1, keepdims=True)).T  # white is 1, 1, 1
    root = np.where(relative > 0.008856, np.cbrt(relative), 7.787 * relative + 16 / 116)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def side_by_side(images: Sequence[Array]) -> Array:
    """Puts images in a row, from left to right, centred vertically on white.

    Args:
        images: uint8 [H, W, 3] each, at least one.

    Returns:
        uint8 [largest H, sum of the W, 3].

    Raises:
        ValueError: no images.
    """
    if not images:
        raise ValueError("expected at least one image to put side by side, found none")
    height = max(len(image) for image in images)
    padded = []
    for image in images:
        above = (height - len(image)) // 2
        below = height - len(image) - above
        rows = ((above, below), (0, 0), (0, 0))
        padded.append(np.pad(image, rows, constant_values=_BACKGROUND))
    return np.concatenate(padded, axis=1)


def _check(count: int, colors: Array, width: int) -> None:
    if np.shape(colors) != (count, 3):
        raise ValueError(
            f"expected a color [{count}, 3] for each element, found {list(np.shape(colors))}"
        )
    if width < 1:
        raise ValueError(f"expected a width of at least 1 pixel, found {width}")


def _blank(width: int) -> Array:
    return np.full((max(1, width // 2), width, 3), _BACKGROUND, np.uint8)


def _shrink(image: Array) -> Array:
    """Averages the pixels of a supersampled image: float [n H, n W, 3] to uint8 [H, W, 3]."""
    n = _SUPERSAMPLING
    height, width = image.shape[0] // n, image.shape[1] // n
    means = image.reshape(height, n, width, n, 3).mean(axis=(1, 3))
    return np.clip(np.round(means), 0, 255).astype(np.uint8)
