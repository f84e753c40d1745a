"""Horizontal slices of voxels, seen from above."""

import numpy as np

Array = np.ndarray

_BACKGROUND = 255


def draw_slices(
    coordinates: Array,
    colors: Array,
    grid_shape: tuple[int, int, int],
    count: int = 3,
    width: int = 400,
) -> Array:
    """Cuts a grid into slices of equal height and draws each from above, x right and y up.

    Of several voxels of a slice in one column the highest is seen.

    Args:
        coordinates: int [M, 3], voxel indices x, y, z (up).
        colors: uint8 [M, 3], red green blue.
        grid_shape: (X, Y, Z), voxels.
        count: number of slices.
        width: a voxel is drawn as a square of as many pixels as keep the longer side of the grid
            within this width; at least one.

    Returns:
        uint8 [count, H, W, 3] on white, the lowest slice first.

    Raises:
        ValueError: not one color for each voxel, or no slices.
    """
    if np.shape(colors) != (len(coordinates), 3):
        raise ValueError(
            f"expected a color [{len(coordinates)}, 3] for each voxel, found "
            f"{list(np.shape(colors))}"
        )
    if count < 1:
        raise ValueError(f"expected at least 1 slice, found {count}")
    size_x, size_y, size_z = grid_shape
    order = np.argsort(coordinates[:, 2], kind="stable")
    x, y, z = np.asarray(coordinates, np.int64)[order].T
    images = np.full((count, size_y, size_x, 3), _BACKGROUND, np.uint8)
    # Of several voxels on one pixel the last assigned stays: the highest.
    images[z * count // size_z, size_y - 1 - y, x] = colors[order]
    pixels = max(1, width // max(size_x, size_y))
    return images.repeat(pixels, axis=1).repeat(pixels, axis=2)
