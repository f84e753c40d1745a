"""Flat-kernel mean shift (Fukunaga and Hostetler), fast enough for all voxels of a scene.

A window of radius `bandwidth` starts at every occupied cell of a lattice and moves to the mean of
the features inside it, until it stands still. Three things make this fast:

* All windows move at once, in groups of neighbours. A group meets only the blocks of features
  near its bounding box, by one matrix product for the distances and one for the means.
* Windows that have met go on as one; those that stand still leave.
* The windows climb first over fine cells (`bandwidth / 7` wide), each a single point at the mean
  of its features, weighted by their number; from there they go on over the features themselves,
  so that modes are exact. Where features are sparse, a cell holds one, and nothing is rounded.
"""

import dataclasses

import numpy as np
from scipy import spatial

Array = np.ndarray

# To a bandwidth. Odd, so that a fine cell lies within one of the cells that windows start from.
_FINE_CELLS = 7
_TOLERANCE = 1e-3  # of the bandwidth: a step this short ends a climb; windows this close are one
_MAX_STEPS = 300
_GROUP = 16  # windows that share one matrix product
_BLOCK = 64  # points that share one bounding box


def mean_shift(features: Array, bandwidth: float) -> tuple[Array, Array]:
    """Clusters features by the nearest mode of their density.

    A mode within a bandwidth of a better one is a duplicate and is dropped. The better mode is
    the one with more features in its window; of equal ones, the one whose coordinates come first.

    Complexity: O(M log M) to sort the features, then O(S b E) a step for S windows with b fine
    cells near each (S is the number of occupied cells at first and falls quickly as windows
    meet). Memory O(M E).

    Args:
        features: float [M, E], in units of the embedding.
        bandwidth: radius of the window, same units, above 0.

    Returns:
        labels: int32 [M], the row of the nearest centre. Every feature has one, also those that
            lie outside of all windows.
        centres: float32 [K, E], the modes, best first; K is 0 only where M is 0.

    Raises:
        ValueError: features that are not [M, E] or not finite, or a bandwidth that is not above 0.
    """
    features = np.asarray(features)
    if features.ndim != 2:
        raise ValueError(f"expected features of shape [M, E], found {list(features.shape)}")
    if not 0 < bandwidth < np.inf:
        raise ValueError(f"expected a finite bandwidth above 0, found {bandwidth}")
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        raise ValueError(f"expected finite features, found {features[~finite][0].tolist()}")
    if not len(features):
        return np.zeros(0, np.int32), np.zeros(features.shape, np.float32)

    points = features.astype(np.float64) / bandwidth
    order, starts = _cells(points, 1 / _FINE_CELLS)
    sizes = np.diff(starts, append=len(order)).astype(np.float64)
    means = np.add.reduceat(points[order], starts, axis=0) / sizes[:, None]
    order, starts = _cells(means, 1.0)
    windows = _onto_points(np.round(means[order[starts]]), means)
    modes, _ = _climb(_in_blocks(means, sizes), windows)
    modes = _onto_points(modes, points)
    modes, counts = _climb(_in_blocks(points, np.ones(len(points))), modes)
    centres = _without_duplicates(modes, counts)
    _, labels = spatial.KDTree(centres).query(points)
    return labels.astype(np.int32), (centres * bandwidth).astype(np.float32)


def _onto_points(windows: Array, points: Array) -> Array:
    """Returns unit windows [S, E], those that are empty moved to the nearest point.

    From five dimensions on the corner of a cell is further than 1 from the middle.
    """
    distances, nearest = spatial.KDTree(points).query(windows)
    return np.where(distances[:, None] > 1, points[nearest], windows)


def _cells(points: Array, width: float) -> tuple[Array, Array]:
    """Sorts points into the cells of a lattice whose points are the middles of the cells.

    Returns:
        order: int [M], the rows of the points, cell by cell.
        starts: int [B], where in `order` each occupied cell starts.
    """
    lattice = np.round(points / width)
    order = np.lexsort(lattice.T[::-1])
    changes = np.any(lattice[order[1:]] != lattice[order[:-1]], axis=1)
    return order, np.concatenate([[0], np.flatnonzero(changes) + 1])


@dataclasses.dataclass(frozen=True, eq=False)
class _Blocks:
    """Weighted points in blocks of `_BLOCK` neighbours, each with its bounding box.

    Attributes:
        points: float64 [B, E]; the last block is filled up with points of weight 0.
        weights: float64 [B].
        low, high: float64 [B / _BLOCK, E], the corners of the boxes.
    """

    points: Array
    weights: Array
    low: Array
    high: Array


def _in_blocks(points: Array, weights: Array) -> _Blocks:
    by_place = spatial.KDTree(points, leafsize=_BLOCK).indices
    missing = -len(points) % _BLOCK
    points = np.pad(points[by_place], ((0, missing), (0, 0)), mode="edge")
    weights = np.pad(weights[by_place], (0, missing))
    boxes = points.reshape(-1, _BLOCK, points.shape[1])
    return _Blocks(points, weights, boxes.min(axis=1), boxes.max(axis=1))


def _climb(blocks: _Blocks, windows: Array) -> tuple[Array, Array]:
    """Moves unit windows uphill until they stand still.

    Returns:
        modes: float64 [S', E], where windows came to rest, none twice.
        counts: float64 [S'], the weight inside each.
    """
    modes, counts = [], []
    for step in range(1, _MAX_STEPS + 1):
        means, inside = _window_means(blocks, windows)
        occupied = inside > 0  # an empty window has nowhere to go
        moving = np.linalg.norm(means - windows, axis=1) > _TOLERANCE
        resting = occupied & (~moving | (step == _MAX_STEPS))
        modes.append(means[resting])
        counts.append(inside[resting])
        windows = means[occupied & ~resting]
        if not len(windows):
            break
        windows = windows[_first_of_each_place(windows)]
    found = np.concatenate(modes)
    first = _first_of_each_place(found)
    return found[first], np.concatenate(counts)[first]


def _first_of_each_place(windows: Array) -> Array:
    """Returns the row of one window for each occupied place, places being a tolerance wide."""
    order, starts = _cells(windows, _TOLERANCE)
    return order[starts]


def _window_means(blocks: _Blocks, windows: Array) -> tuple[Array, Array]:
    """Returns the weighted mean [S, E] of the points in each unit window, and their weight [S].

    The mean of an empty window is the window's own place.
    """
    means, inside = windows.copy(), np.zeros(len(windows))
    by_place = spatial.KDTree(windows, leafsize=_GROUP).indices
    for group in np.split(by_place, range(_GROUP, len(by_place), _GROUP)):
        low, high = windows[group].min(axis=0), windows[group].max(axis=0)
        rows = _rows_near(blocks, low, high)
        # Relative to the middle, so that the expanded square below loses no digits. A point x is
        # in the window w where |x - w|^2 <= 1, that is x.w >= (|x|^2 + |w|^2 - 1) / 2.
        middle = (low + high) / 2
        points, targets = blocks.points[rows] - middle, windows[group] - middle
        halves = np.einsum("be,be->b", points, points) / 2
        limits = (np.einsum("se,se->s", targets, targets)[:, None] - 1) / 2
        members = (targets @ points.T >= halves + limits).astype(np.float64)
        weights = blocks.weights[rows, None]
        sums = members @ np.concatenate([points * weights, weights], axis=1)
        occupied = sums[:, -1] > 0
        means[group[occupied]] = sums[occupied, :-1] / sums[occupied, -1:] + middle
        inside[group] = sums[:, -1]
    return means, inside


def _rows_near(blocks: _Blocks, low: Array, high: Array) -> Array:
    """Returns the rows of the points in blocks within 1 of a box: all that its windows may hold."""
    gap = np.maximum(0, np.maximum(blocks.low - high, low - blocks.high))
    near = np.flatnonzero(np.einsum("be,be->b", gap, gap) <= 1)
    return (near[:, None] * _BLOCK + np.arange(_BLOCK)).reshape(-1)


def _without_duplicates(modes: Array, counts: Array) -> Array:
    """Returns the modes [K, E], best first, that have no better one within a bandwidth."""
    modes = modes[np.lexsort((*modes.T[::-1], -counts))]
    near, kept = spatial.KDTree(modes), np.ones(len(modes), bool)
    for row, mode in enumerate(modes):
        if kept[row]:
            kept[near.query_ball_point(mode, 1)] = False
            kept[row] = True
    return modes[kept]
