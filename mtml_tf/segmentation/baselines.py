"""Instances from the input labels alone: the paper's two baselines (section 4).

Each of them on voxels, which is what the network sees, and on the vertices of a mesh.
"""

from collections.abc import Collection

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from mtml_tf.scene import Instance, VoxelScene
from mtml_tf.segmentation.components import spatial_components
from mtml_tf.segmentation.proposals import index_sets

Array = np.ndarray


def segmentation_as_instance(voxel_scene: VoxelScene, thing_ids: Collection[int]) -> list[Instance]:
    """Takes all voxels of a class as one instance.

    Args:
        voxel_scene: the scene.
        thing_ids: classes that have instances.

    Returns:
        Instances of score 1, the largest first.
    """
    return segmentation_as_instance_of_vertices(voxel_scene.semantic_ids, thing_ids)


def segmentation_as_instance_of_vertices(
    semantic_ids: Array, thing_ids: Collection[int], min_vertices: int = 1
) -> list[Instance]:
    """Takes all vertices of a class as one instance.

    Args:
        semantic_ids: int [N] class ids (0 unlabelled).
        thing_ids: classes that have instances.
        min_vertices: smaller instances are dropped.

    Returns:
        Instances of score 1, the largest first; indices are rows of vertices.
    """
    rows = _thing_rows(semantic_ids, thing_ids)
    return _largest_first(semantic_ids, rows, semantic_ids[rows], min_vertices)


def connected_components(
    voxel_scene: VoxelScene,
    thing_ids: Collection[int],
    connectivity: int = 6,
    min_voxels: int = 1,
) -> list[Instance]:
    """Takes each set of connected voxels of one class as an instance.

    Args:
        voxel_scene: the scene.
        thing_ids: classes that have instances.
        connectivity: 6 (common face), 18 (or edge) or 26 (or corner).
        min_voxels: smaller components are dropped.

    Returns:
        Instances of score 1, the largest first.

    Raises:
        ValueError: another connectivity.
    """
    semantic_ids = voxel_scene.semantic_ids
    rows = _thing_rows(semantic_ids, thing_ids)
    labels = spatial_components(voxel_scene.coordinates[rows], semantic_ids[rows], connectivity)
    return _largest_first(semantic_ids, rows, labels, min_voxels)


def connected_components_of_mesh(
    semantic_ids: Array, faces: Array, thing_ids: Collection[int], min_vertices: int = 1
) -> list[Instance]:
    """Takes each set of vertices of one class that the mesh connects as an instance.

    Two vertices connect where a triangle has both of them and they are of the same class. Takes
    O(N log N + F) time.

    Args:
        semantic_ids: int [N] class ids (0 unlabelled).
        faces: int [F, 3] vertex indices.
        thing_ids: classes that have instances.
        min_vertices: smaller components are dropped; 1 keeps vertices without any neighbour.

    Returns:
        Instances of score 1, the largest first; indices are rows of vertices.

    Raises:
        ValueError: faces that are no triangles or that name a vertex that there isn't.
    """
    count = len(semantic_ids)
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f"expected faces [F, 3], found shape {list(faces.shape)}")
    if len(faces) and not 0 <= faces.min() <= faces.max() < count:
        raise ValueError(
            f"expected faces of vertices 0 to {count - 1}, found {faces.min()} to {faces.max()}"
        )
    first, second = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    same = semantic_ids[first] == semantic_ids[second]
    first, second = first[same], second[same]
    graph = sparse.coo_matrix((np.ones(len(first), bool), (first, second)), shape=(count, count))
    _, labels = csgraph.connected_components(graph, directed=False)
    rows = _thing_rows(semantic_ids, thing_ids)
    return _largest_first(semantic_ids, rows, labels[rows], min_vertices)


def _thing_rows(semantic_ids: Array, thing_ids: Collection[int]) -> Array:
    return np.flatnonzero(np.isin(semantic_ids, list(thing_ids))).astype(np.int32)


def _largest_first(
    semantic_ids: Array, rows: Array, labels: Array, smallest: int
) -> list[Instance]:
    """Returns the rows of each label as an instance; equal sizes by their first row."""
    sets = [rows[members] for members in index_sets(labels) if len(members) >= smallest]
    sets.sort(key=lambda indices: (-len(indices), indices[0]))
    return [Instance(int(semantic_ids[i[0]]), 1.0, i) for i in sets]
