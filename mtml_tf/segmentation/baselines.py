"""What needs no network: the paper's two baselines (section 4)."""

from collections.abc import Collection

import numpy as np

from mtml_tf.scene import Instance, VoxelScene
from mtml_tf.segmentation.components import spatial_components
from mtml_tf.segmentation.proposals import index_sets


def segmentation_as_instance(voxel_scene: VoxelScene, thing_ids: Collection[int]) -> list[Instance]:
    """Takes all voxels of a class as one instance, of score 1; the largest first."""
    rows = _rows_of_things(voxel_scene, thing_ids)
    return _instances(voxel_scene, rows, voxel_scene.semantic_ids[rows])


def connected_components(
    voxel_scene: VoxelScene, thing_ids: Collection[int], connectivity: int = 6
) -> list[Instance]:
    """Takes the connected voxels of a class as an instance, of score 1; the largest first.

    Args:
        voxel_scene: the scene.
        thing_ids: classes that have instances.
        connectivity: 6, 18 or 26 neighbours of a voxel.
    """
    rows = _rows_of_things(voxel_scene, thing_ids)
    labels = spatial_components(
        voxel_scene.coordinates[rows], voxel_scene.semantic_ids[rows], connectivity
    )
    return _instances(voxel_scene, rows, labels)


def _rows_of_things(voxel_scene: VoxelScene, thing_ids: Collection[int]) -> np.ndarray:
    return np.flatnonzero(np.isin(voxel_scene.semantic_ids, list(thing_ids)))


def _instances(voxel_scene: VoxelScene, rows: np.ndarray, labels: np.ndarray) -> list[Instance]:
    sets = [rows[members].astype(np.int32) for members in index_sets(labels)]
    sets.sort(key=lambda indices: (-len(indices), indices[0]))
    return [Instance(int(voxel_scene.semantic_ids[i[0]]), 1.0, i) for i in sets]
