"""Scans turned about the vertical axis."""

import dataclasses

import numpy as np

from mtml_tf.scene import Scene

Array = np.ndarray


def turned(scene: Scene, angle: float) -> Scene:
    """Returns a scan turned by an angle in radians, from x towards y; 0 leaves it as it is."""
    return dataclasses.replace(scene, vertices=turned_vectors(scene.vertices, angle))


def turned_vectors(vectors: Array, angle: float) -> Array:
    """Returns vectors [N, 3] turned by an angle in radians about z, from x towards y."""
    cos, sin = np.cos(angle), np.sin(angle)
    x, y, z = vectors.T
    return np.stack([cos * x - sin * y, sin * x + cos * y, z], axis=1)


def view_angles(num_views: int) -> list[float]:
    """Returns the angles at which a scan is looked at, radians, the first of them 0.

    They lie all round the circle, and each is another angle within the quarter circle, evenly
    spaced: a grid that is turned by a quarter has the same voxels again.

    Raises:
        ValueError: less than one view.
    """
    if num_views < 1:
        raise ValueError(f"expected at least 1 view, found {num_views}")
    return [(1 + 1 / num_views) * np.pi / 2 * view for view in range(num_views)]
