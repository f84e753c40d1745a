"""Colours for what the network gives: embeddings and directions."""

import numpy as np

Array = np.ndarray

_PERCENTILES = (2, 98)
_AXES = {"+x": (1, 0, 0), "+y": (0, 1, 0), "-x": (-1, 0, 0), "-y": (0, -1, 0)}
_UP_DOWN = {"up": (0, 0, 1), "down": (0, 0, -1)}


def principal_components(features: Array, count: int = 3) -> Array:
    """Returns the coordinates of features along the axes of their largest variance.

    The sign of an axis is free; here the largest loading of each is positive, so that equal
    features give equal results everywhere.

    Args:
        features: float [M, E], M of at least 1.
        count: how many components; those that features of less than `count` dimensions lack are 0.

    Returns:
        float64 [M, count], centred.
    """
    centred = np.asarray(features, np.float64) - np.mean(features, axis=0, dtype=np.float64)
    # The covariance is [E, E]: fast for any number of points.
    _, vectors = np.linalg.eigh(centred.T @ centred)
    axes = vectors[:, ::-1][:, :count]
    largest = np.abs(axes).argmax(axis=0)
    axes = axes * np.sign(axes[largest, np.arange(axes.shape[1])])
    parts = centred @ axes
    return np.pad(parts, ((0, 0), (0, count - parts.shape[1])))


def embedding_colors(embedding: Array) -> Array:
    """Returns uint8 [M, 3]: the three principal components of [M, E] features as red, green, blue.

    Each component is stretched from its 2nd to its 98th percentile.
    """
    if not len(embedding):
        return np.zeros((0, 3), np.uint8)
    parts = principal_components(embedding)
    low, high = np.percentile(parts, _PERCENTILES, axis=0)
    return (np.clip((parts - low) / np.maximum(high - low, 1e-9), 0, 1) * 255).astype(np.uint8)


def direction_colors(direction: Array) -> Array:
    """Returns uint8 [M, 3]: the hue of the horizontal direction, light upwards and dark downwards.

    Straight up is white, straight down black, no direction (all zeros) grey.

    Args:
        direction: float [M, 3], of any length; z up.
    """
    direction = np.asarray(direction, np.float64)
    length = np.linalg.norm(direction, axis=1, keepdims=True)
    x, y, z = (direction / np.where(length > 0, length, 1)).T
    hue = np.arctan2(y, x) * 3 / np.pi  # in sixths of a turn
    # Red, green and blue have their peaks a third of a turn apart.
    distance = np.abs((hue[:, None] - np.array([0, 2, 4]) + 3) % 6 - 3)
    pure = np.clip(2 - distance, 0, 1)
    flat = np.hypot(x, y)[:, None]
    middle = 0.5 + 0.5 * z[:, None]
    colors = middle + flat * (pure - 0.5)
    return np.round(np.clip(colors, 0, 1) * 255).astype(np.uint8)


def _legend() -> tuple[tuple[str, tuple[int, int, int]], ...]:
    directions = {**_AXES, **_UP_DOWN}
    colors = direction_colors(np.array(list(directions.values())))
    return tuple(
        (f"towards {name}" if name in _AXES else name, (int(r), int(g), int(b)))
        for name, (r, g, b) in zip(directions, colors, strict=True)
    )


DIRECTION_LEGEND = _legend()
