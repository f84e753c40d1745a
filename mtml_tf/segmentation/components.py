"""Spatially connected components of sparse voxels."""

import itertools

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

Array = np.ndarray

# Neighbours differ by at most 1 along each axis, and along so many axes at most.
_MOST_AXES = {6: 1, 18: 2, 26: 3}


def spatial_components(
    coordinates: Array, groups: Array | None = None, connectivity: int = 6
) -> Array:
    """Labels connected voxels; two neighbours connect only if they are of the same group.

    Complexity: O(M log M), whatever the size of the grid.

    Args:
        coordinates: int [M, 3], voxels, no row twice.
        groups: int [M], such as class ids; None takes all as one group.
        connectivity: 6 (common face), 18 (or edge) or 26 (or corner).

    Returns:
        int32 [M], labels 0..K-1 in the order of each component's first voxel.

    Raises:
        ValueError: another connectivity.
    """
    first, second = neighbours(coordinates, connectivity)
    count = len(coordinates)
    if not count:
        return np.zeros(0, np.int32)
    if groups is not None:
        same = groups[first] == groups[second]
        first, second = first[same], second[same]
    graph = sparse.coo_matrix((np.ones(len(first), bool), (first, second)), shape=(count, count))
    _, labels = csgraph.connected_components(graph, directed=False)
    _, first_rows, labels = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first_rows), np.int32)
    rank[np.argsort(first_rows)] = np.arange(len(first_rows), dtype=np.int32)
    return rank[labels]


def neighbours(coordinates: Array, connectivity: int = 6) -> Array:
    """Returns int64 [2, E], the rows of each pair of neighbours once; see `spatial_components`."""
    if connectivity not in _MOST_AXES:
        raise ValueError(f"expected connectivity 6, 18 or 26, found {connectivity}")
    count = len(coordinates)
    if not count:
        return np.zeros((2, 0), np.int64)
    places = coordinates.astype(np.int64) - coordinates.min(axis=0) + 1
    shape = places.max(axis=0) + 2  # a margin of 1, so that no step wraps around
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    keys = places @ strides
    order = np.argsort(keys)
    sorted_keys = keys[order]
    pairs = []
    for step in itertools.product((-1, 0, 1), repeat=3):
        if step <= (0, 0, 0) or np.abs(step).sum() > _MOST_AXES[connectivity]:
            continue  # each pair of neighbours once
        wanted = sorted_keys + np.dot(step, strides)
        found = np.minimum(np.searchsorted(sorted_keys, wanted), count - 1)
        is_voxel = sorted_keys[found] == wanted
        pairs.append(np.stack([order[is_voxel], order[found[is_voxel]]]))
    return np.concatenate(pairs, axis=1)
