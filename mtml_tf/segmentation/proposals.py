"""Proposals: sets of voxels that may be an object (paper section 3.2, post-processing).

A proposal is an index set: int32 [k], ascending rows of the scene's voxels. Proposals may overlap.
"""

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from mtml_tf import timing
from mtml_tf.config import SegmentConfig
from mtml_tf.scene import VoxelScene
from mtml_tf.segmentation.components import spatial_components
from mtml_tf.segmentation.mean_shift import mean_shift

Array = np.ndarray


def find_proposals(voxel_scene: VoxelScene, embedding: Array, config: SegmentConfig) -> list[Array]:
    """Returns the proposals that `config` turns on, no set of voxels twice.

    Mean shift sees the thing voxels of all classes together: the embedding alone tells instances
    apart, also where the input labels of one object are mixed.

    Args:
        voxel_scene: the scene; only voxels of `config.thing_ids` take part.
        embedding: float32 [M, E], a feature for each voxel.
        config: kinds of proposals, bandwidths, connectivity, and the smallest size.

    Returns:
        List of int32 [k] index sets, k at least `config.min_voxels`, in a fixed order.
    """
    things = np.flatnonzero(np.isin(voxel_scene.semantic_ids, config.thing_ids)).astype(np.int32)
    if not len(things):
        return []
    coordinates = voxel_scene.coordinates[things]
    partitions = []
    if config.propose_clusters or config.propose_cluster_components:
        for bandwidth in config.bandwidths:
            with timing.stage("mean shift"):
                clusters, _ = mean_shift(embedding[things], bandwidth)
            if config.propose_clusters:
                partitions.append(clusters)
            if config.propose_cluster_components:
                with timing.stage("components"):
                    parts = spatial_components(coordinates, clusters, config.connectivity)
                partitions.append(parts)
    if config.propose_label_components:
        labels = voxel_scene.semantic_ids[things]
        with timing.stage("components"):
            partitions.append(spatial_components(coordinates, labels, config.connectivity))
    sets = [things[indices] for partition in partitions for indices in index_sets(partition)]
    large = [indices for indices in sets if len(indices) >= config.min_voxels]
    return list({indices.tobytes(): indices for indices in large}.values())


def index_sets(labels: Array) -> list[Array]:
    """Returns, for each label in ascending order, the int32 [k] ascending rows that have it.

    Args:
        labels: integers [M].
    """
    rows = np.argsort(labels, kind="stable").astype(np.int32)
    changes = np.flatnonzero(np.diff(np.asarray(labels)[rows])) + 1
    return np.split(rows, changes) if len(rows) else []


def members(proposals: Sequence[Array]) -> tuple[Array, Array]:
    """Returns all pairs of a proposal and a voxel in it, proposal by proposal.

    Returns:
        owners: int64 [T], the proposal of each pair; T is the sum of the proposals' sizes.
        rows: int32 [T], its voxel.
    """
    sizes = np.array([len(indices) for indices in proposals], np.int64)
    owners = np.repeat(np.arange(len(proposals)), sizes)
    return owners, np.concatenate([np.zeros(0, np.int32), *proposals])


def overlaps(owners: Array, rows: Array) -> tuple[Array, Array, Array]:
    """Returns which proposals share voxels, each with itself too, of what `members` returns.

    Returns:
        Two proposals, and how many voxels they share: int [K] each. K counts a pair both ways.
    """
    incidence = sparse.csr_matrix((np.ones(len(rows), np.int32), (owners, rows)))
    shared = (incidence @ incidence.T).tocoo()
    return shared.row, shared.col, shared.data


def probable_labels(
    proposals: Sequence[Array],
    probabilities: Array,
    class_ids: Sequence[int],
    thing_ids: Sequence[int],
) -> Array:
    """Returns int32 [P], the thing class of the largest summed probability; of equals the first.

    Stuff does not count, though its sum may be the largest: at each voxel of a proposal a thing is
    the most probable, and where these are several things, stuff that is nowhere the most probable
    would win over all of them.

    Args:
        proposals: P index sets, none empty.
        probabilities: float32 [M, C].
        class_ids: the class id of each column, all of the things among them.
        thing_ids: the classes that have instances.
    """
    if not len(proposals):
        return np.zeros(0, np.int32)
    columns = np.flatnonzero(np.isin(class_ids, thing_ids))
    of_things = probabilities[:, columns]
    sums = np.stack([of_things[rows].sum(axis=0, dtype=np.float64) for rows in proposals])
    return np.asarray(class_ids, np.int32)[columns[sums.argmax(axis=1)]]


def majority_labels(proposals: Sequence[Array], semantic_ids: Array) -> Array:
    """Returns int32 [P], the label most voxels of each proposal have; of equals the smallest.

    Paper section 3.2: "the most probable label for all points within the clustered voxels".

    Args:
        proposals: P index sets, none empty.
        semantic_ids: int32 [M].
    """
    if not len(proposals):
        return np.zeros(0, np.int32)
    owners, rows = members(proposals)
    labels, columns = np.unique(semantic_ids[rows], return_inverse=True)
    votes = np.bincount(
        owners * len(labels) + columns.reshape(-1), minlength=len(proposals) * len(labels)
    )
    return labels[votes.reshape(len(proposals), -1).argmax(axis=1)].astype(np.int32)
