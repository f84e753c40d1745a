"""Which sites of a sparse grid neighbour which, at every resolution of a network.

A site is an occupied voxel. A convolution over sites needs no grid: it gathers, for each site, the
rows of its neighbours, and these rows are the same for all convolutions of a resolution. So they
are found once a batch, in the input pipeline, by NumPy: sites sorted by one whole number each, in
which neighbours are found by bisection. S sites cost O(S log S) time and 116 S bytes.

A number in a table that equals the count of the sites it points to means "none there".
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

Array = np.ndarray

# Of a site and its neighbours: (-1, -1, -1), (-1, -1, 0), ... (1, 1, 1). Column k of a table and
# column 26 - k are opposite.
OFFSETS = tuple(itertools.product((-1, 0, 1), repeat=3))
# Of the sites within one of the next coarser grid: (0, 0, 0), (0, 0, 1), ... (1, 1, 1).
CORNERS = tuple(itertools.product((0, 1), repeat=3))


@dataclasses.dataclass(frozen=True, eq=False)
class Level:
    """The sites of one resolution, S of them, within S' of the next coarser one.

    Attributes:
        neighbours: int32 [S, 27], row of the neighbour at each of `OFFSETS`; S where there is none.
        children: int32 [S', 8], row of the site at each of `CORNERS` of a coarser one; S where
            there is none. None at the coarsest level.
        places: int32 [S], where in `children` a site stands: 8 times the row of the coarser site
            plus the number of the corner. None at the coarsest level.
    """

    neighbours: Array
    children: Array | None = None
    places: Array | None = None

    @property
    def num_sites(self) -> int:
        """S."""
        return len(self.neighbours)


def unique_sites(voxels: Array) -> tuple[Array, Array]:
    """Returns the sites that points lie in, in the order that `build_levels` needs.

    Args:
        voxels: int [P, 4], of each point the number of its scene, at least 0, and its voxel.

    Returns:
        int64 [S, 4], each site once, ascending; and int32 [P], the row of each point's site.
    """
    keys, low, shape = _keys(np.asarray(voxels, np.int64))
    found, rows = np.unique(keys, return_inverse=True)
    return _unravelled(found, low, shape), rows.reshape(-1).astype(np.int32)


def build_levels(sites: Array, num_levels: int) -> list[Level]:
    """Finds the tables of a grid and of those that are each half as fine as the one before.

    Args:
        sites: int64 [S, 4], of `unique_sites`.
        num_levels: how many resolutions.

    Returns:
        The levels, finest first. Sites of different scenes never neighbour one another.
    """
    levels = []
    for number in range(num_levels):
        neighbours = _neighbours(sites)
        if number + 1 == num_levels:
            levels.append(Level(neighbours))
            break
        halves = sites // (1, 2, 2, 2)
        coarser, parents = unique_sites(halves)
        corners = (sites - halves * (1, 2, 2, 2))[:, 1:] @ (4, 2, 1)
        places = parents * len(CORNERS) + corners
        children = np.full(len(coarser) * len(CORNERS), len(sites), np.int32)
        children[places] = np.arange(len(sites))
        levels.append(
            Level(neighbours, children.reshape(-1, len(CORNERS)), places.astype(np.int32))
        )
        sites = coarser
    return levels


def _neighbours(sites: Array) -> Array:
    keys, _, shape = _keys(sites)
    count = len(keys)
    neighbours = np.full((len(OFFSETS), count), count, np.int32)
    rows = np.arange(count, dtype=np.int32)
    middle = len(OFFSETS) // 2
    neighbours[middle] = rows
    strides = np.array([shape[2] * shape[3], shape[3], 1])
    for number, offset in enumerate(OFFSETS[:middle]):
        wanted = keys + np.dot(offset, strides)
        found = np.searchsorted(keys, wanted)  # below the key itself, so never beyond the end
        there = keys[found] == wanted
        neighbours[number, there] = found[there]
        neighbours[-1 - number, found[there]] = rows[there]
    return np.ascontiguousarray(neighbours.T)


def _keys(voxels: Array) -> tuple[Array, Array, Sequence[int]]:
    """Returns int64 [P], one number for each voxel, in lexicographic order; and how to undo it.

    The grid has an empty voxel on all sides, so that an offset never leads into another row.

    Raises:
        ValueError: scenes so wide that the numbers would not fit.
    """
    if not len(voxels):
        return np.zeros(0, np.int64), np.zeros(4, np.int64), (1, 1, 1, 1)
    low = voxels.min(axis=0)
    shape = [int(n) for n in voxels.max(axis=0) - low + (1, 3, 3, 3)]
    if np.prod([float(n) for n in shape]) > np.iinfo(np.int64).max:
        raise ValueError(
            f"expected scenes whose voxels 63 bits can number, found {shape[0]} of up to "
            f"{shape[1:]} voxels; take larger voxels or remove points that lie far from the rest"
        )
    return np.ravel_multi_index(tuple((voxels - low + (0, 1, 1, 1)).T), shape), low, shape


def _unravelled(keys: Array, low: Array, shape: Sequence[int]) -> Array:
    return np.stack(np.unravel_index(keys, shape), axis=1) - (0, 1, 1, 1) + low
