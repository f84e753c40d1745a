"""What of a cloud of points a camera can see."""

import numpy as np

_PIXEL = 0.0025  # m at the distance of the target: half a scan's spacing
_TOLERANCE = 0.015  # m behind the nearest point of a pixel, that is seen still


def visible(
    points: np.ndarray,
    target: np.ndarray,
    azimuth_degrees: float,
    elevation_degrees: float,
    distance: float,
) -> np.ndarray:
    """Returns bool [N], True for the points that the camera sees.

    Every point covers 3 x 3 pixels of a coarse depth image; a point well behind the nearest depth
    of its pixel is hidden.

    Args:
        points: float [N, 3], metres, z up.
        target: float [3], metres, where the camera looks.
        azimuth_degrees: where the camera stands, seen from the target, counted from the x axis
            towards y.
        elevation_degrees: of the camera above the target.
        distance: of the camera from the target, metres.
    """
    azimuth, elevation = np.radians(azimuth_degrees), np.radians(elevation_degrees)
    back = np.array(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
        ]
    )
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    axes = np.stack([right, np.cross(back, right), -back], axis=1)
    seen = (points - (target + distance * back)) @ axes
    depth = seen[:, 2]
    in_front = depth > 0.05
    columns = seen[:, :2] / np.maximum(depth, 0.05)[:, None] * distance / _PIXEL
    columns = np.floor(columns).astype(np.int64)
    columns -= columns[in_front].min(axis=0, initial=0) - 1
    width, height = columns[in_front].max(axis=0, initial=0) + 2
    nearest = np.full((width, height), np.inf)
    for right_by in (-1, 0, 1):
        for up_by in (-1, 0, 1):
            cell = (columns[in_front, 0] + right_by, columns[in_front, 1] + up_by)
            np.minimum.at(nearest, cell, depth[in_front])
    result = in_front.copy()
    result[in_front] &= (
        depth[in_front] <= nearest[columns[in_front, 0], columns[in_front, 1]] + _TOLERANCE
    )
    return result
