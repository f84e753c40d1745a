"""Objects on a plane are moved until they touch.

Footprints are cells of a grid where scenes are drawn, and points where they are composed of scans,
whose gaps are finer than a grid. On cells, the first free place on the way out of an object is not
always the last free one on the way in (a corner may slip between the middles of cells), so the
toy scenes of a seed need the one and the example scans the other.
"""

from collections.abc import Callable, Iterable

import numpy as np
import scipy.spatial

Array = np.ndarray
FootprintAt = Callable[[Array], Array]

_STEP = 0.0005  # m, precision with which points are moved into contact
_SPACING = 0.002  # m, of the points that outline a footprint


def box_footprint(
    shape: tuple[int, ...], centre: Array, edges: tuple[int, int, int], yaw: float
) -> Array:
    """Returns bool [X, Y]: the cells whose middle lies in the turned rectangle.

    Args:
        shape: (X, Y), cells.
        centre: float [2], cells.
        edges: of the box, of which x and y are used.
        yaw: radians.
    """
    x = np.arange(shape[0])[:, None] + 0.5 - centre[0]
    y = np.arange(shape[1])[None, :] + 0.5 - centre[1]
    along = np.cos(yaw) * x + np.sin(yaw) * y
    across = np.cos(yaw) * y - np.sin(yaw) * x
    # Half open, so that an unturned box has its edges' number of cells wherever it lies.
    half = np.array(edges[:2]) / 2
    return (-half[0] <= along) & (along < half[0]) & (-half[1] <= across) & (across < half[1])


def first_free(path: Iterable[Array], footprint_at: FootprintAt, standing: Array) -> Array | None:
    """Returns the first place on a path where an object overlaps nothing, or None.

    Args:
        path: places float [2], one after the other.
        footprint_at: returns bool [X, Y], what the object covers at a place.
        standing: bool [X, Y], what it must not overlap.
    """
    return next((place for place in path if not (footprint_at(place) & standing).any()), None)


def last_free(path: Iterable[Array], footprint_at: FootprintAt, standing: Array) -> Array | None:
    """Returns the last place on a path that an object reaches without overlapping anything.

    Args:
        path: places float [2], one after the other.
        footprint_at: returns bool [X, Y], what the object covers at a place.
        standing: bool [X, Y], what it must not overlap.

    Returns:
        A place, or None where the first one is not free.
    """
    reached = None
    for place in path:
        if (footprint_at(place) & standing).any():
            break
        reached = place
    return reached


def slide_points(
    standing: Array, moving: Array, aim: Array, direction: Array, gap: float
) -> Array | None:
    """Moves an object from far away towards a place until the footprints are a gap apart.

    Each step is as long as the present distance allows, so that nothing is jumped over.

    Args:
        standing: float [N, 2 or 3], points of the objects that stand, metres.
        moving: float [n, 2 or 3], points of the object to move, around x = y = 0.
        aim: float [2], metres, where it is moved to if nothing stops it.
        direction: float [2], unit vector from `aim` to where it comes from.
        gap: distance of the footprints at which it stops, metres.

    Returns:
        float [2], metres, by how much to move it, or None if it reaches `aim` without meeting
        anything.
    """
    standing, moving = _outline(standing), _outline(moving)
    tree = scipy.spatial.cKDTree(standing)
    radius = np.linalg.norm(moving, axis=1).max()
    travel = np.linalg.norm(standing - aim, axis=1).max() + radius + gap + _STEP
    while travel > 0:
        shift = aim + travel * direction
        distance = tree.query(moving + shift)[0].min()
        if distance <= gap + _STEP:
            return shift
        travel -= max(distance - gap, _STEP)
    return None


def _outline(points: Array) -> Array:
    """Returns [n, 2] a footprint's points, at most one in a square of `_SPACING`."""
    flat = points[:, :2]
    cells = np.floor(flat / _SPACING).astype(np.int64)
    return flat[np.unique(cells, axis=0, return_index=True)[1]]
