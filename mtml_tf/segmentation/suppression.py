"""Which of the scored proposals stay: non-maximum suppression, and one label a voxel."""

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from mtml_tf.segmentation.proposals import members, overlaps

Array = np.ndarray


def suppress(proposals: Sequence[Array], class_ids: Array, max_iou: float) -> Array:
    """Non-maximum suppression: drops what overlaps with a better proposal of the same class.

    Going from best to worst, a proposal stays unless its intersection over union with one of its
    class that stays is larger than `max_iou`.

    Complexity: with d proposals at a voxel, the intersections cost O(sum of d^2 over the voxels).

    Args:
        proposals: P index sets of voxel rows, best first.
        class_ids: int [P].
        max_iou: in [0, 1].

    Returns:
        int64 [P'], the positions of those that stay, ascending.
    """
    if not len(proposals):
        return np.zeros(0, np.int64)
    owners, rows = members(proposals)
    better, worse, shared = overlaps(owners, rows)
    sizes = np.bincount(owners)
    iou = shared / (sizes[better] + sizes[worse] - shared)
    clash = (better < worse) & (class_ids[better] == class_ids[worse]) & (iou > max_iou)
    beats = sparse.csr_matrix(
        (clash[clash], (better[clash], worse[clash])), shape=(len(proposals),) * 2
    )
    stays = np.ones(len(proposals), bool)
    for position in range(len(proposals)):
        if stays[position]:
            stays[beats.indices[beats.indptr[position] : beats.indptr[position + 1]]] = False
    return np.flatnonzero(stays)


def coherent_labelling(proposals: Sequence[Array], min_voxels: int) -> list[tuple[int, Array]]:
    """Gives every voxel to the best proposal that has it, whatever its class.

    A proposal of which less than half, or fewer than `min_voxels`, is left when its turn comes is
    dropped: it is no longer what was scored. Its voxels are free for the next ones. Voxels that
    no proposal keeps have no instance.

    Args:
        proposals: P index sets of voxel rows, best first.
        min_voxels: at least 1.

    Returns:
        (position, int32 [k] ascending voxel rows left) of each proposal that stays, best first.
        No voxel occurs twice.
    """
    free = np.ones(max((int(indices[-1]) + 1 for indices in proposals), default=0), bool)
    kept = []
    for position, indices in enumerate(proposals):
        left = indices[free[indices]]
        if len(left) >= max(min_voxels, len(indices) / 2):
            free[left] = False
            kept.append((position, left))
    return kept
