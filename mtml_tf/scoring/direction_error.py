"""How far predicted directions are off."""

import numpy as np


def direction_errors(
    direction: np.ndarray, coordinates: np.ndarray, instance_ids: np.ndarray
) -> np.ndarray:
    """Angle between each predicted direction and the one to the centre of the voxel's instance.

    Args:
        direction: float [M, 3], of any length.
        coordinates: int [M, 3], voxels.
        instance_ids: int [M], 0 for voxels that take no part.

    Returns:
        float64 [m], degrees in [0, 180], of the voxels that belong to an instance, lie off its
        centre (the mean of its voxels) and have a prediction that is not zero.
    """
    rows = np.flatnonzero(instance_ids > 0)
    _, owner = np.unique(instance_ids[rows], return_inverse=True)
    places = coordinates[rows].astype(np.float64)
    counts = np.bincount(owner)[:, None]
    centres = np.stack([np.bincount(owner, axis) for axis in places.T], axis=1) / counts
    target, predicted = centres[owner] - places, direction[rows].astype(np.float64)
    lengths = np.linalg.norm(target, axis=1) * np.linalg.norm(predicted, axis=1)
    defined = lengths > 0
    cosine = np.einsum("md,md->m", target, predicted)[defined] / lengths[defined]
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))
