"""Instances from the input labels alone: the paper's two baselines (section 4)."""

from collections.abc import Collection

import numpy as np

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
    rows = _thing_rows(voxel_scene, thing_ids)
    return _largest_first(voxel_scene, rows, voxel_scene.semantic_ids[rows])


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
    rows = _thing_rows(voxel_scene, thing_ids)
    labels = spatial_components(
        voxel_scene.coordinates[rows], voxel_scene.semantic_ids[rows], connectivity
    )
    instances = _largest_first(voxel_scene, rows, labels)
    return [instance for instance in instances if len(instance.indices) >= min_voxels]


def _thing_rows(voxel_scene: VoxelScene, thing_ids: Collection[int]) -> Array:
    return np.flatnonzero(np.isin(voxel_scene.semantic_ids, list(thing_ids))).astype(np.int32)


def _largest_first(voxel_scene: VoxelScene, rows: Array, labels: Array) -> list[Instance]:
    """Returns the rows of each label as an instance; equal sizes by their first voxel."""
    sets = [rows[members] for members in index_sets(labels)]
    sets.sort(key=lambda indices: (-len(indices), indices[0]))
    return [Instance(int(voxel_scene.semantic_ids[i[0]]), 1.0, i) for i in sets]
