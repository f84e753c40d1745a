"""Two convolutions that compute only where a scan has voxels.

They take the variables of the Keras layers that they stand for, and give the same values up to
rounding (`Conv3D` on a grid that is zero elsewhere, `Conv3DTranspose` read at a few voxels).
"""

import itertools
from collections.abc import Callable

from mtml_tf.learning.backend import tf

_CORNERS = tuple(itertools.product((0, 1), repeat=3))


def scattered_convolution(
    voxels: tf.Tensor, features: tf.Tensor, grid: tf.Tensor, kernel: tf.Tensor
) -> tf.Tensor:
    """'Same' convolution of a grid that is zero outside `voxels`.

    Every voxel adds its own row of kernel taps to its neighbourhood. A convolution takes input
    o + k - r for tap k of output o (r the radius), so the input at v reaches the outputs
    v + r - k: with the kernel turned around, v - r + k.

    All taps along z are added as one piece of memory, which is what makes this fast. Pieces must
    not overlap by halves, so voxels of equal z modulo the kernel size share a layer, in which
    the pieces lie end to end; the layers, each shifted by its remainder, are then added up.

    Args:
        voxels: int32 [m, 4], batch, x, y, z.
        features: float32 [m, C].
        grid: int32 [4], B, X, Y, Z.
        kernel: float32 [size, size, size, C, filters], size odd and at least 3.

    Returns:
        float32 [B, X, Y, Z, filters].
    """
    size, filters = kernel.shape[0], kernel.shape[-1]
    radius = size // 2
    by_channel = tf.transpose(kernel[::-1, ::-1, ::-1], [3, 0, 1, 2, 4])
    kernel_rows = features @ tf.reshape(by_channel, [kernel.shape[3], -1])  # [m, taps * filters]
    batch, x_size, y_size, z_size = tf.unstack(grid)
    x_padded, y_padded = x_size + 2 * radius, y_size + 2 * radius  # taps beyond the grid
    pieces = (z_size + 2 * size) // size + 1  # along z in a layer; the first is left empty
    image, x, y, z = tf.unstack(voxels, axis=1)
    row = (z % size) * batch + image
    row = row[:, None] * x_padded + x[:, None] + tf.range(size)  # [m, 7]
    row = row[:, :, None] * y_padded + y[:, None, None] + tf.range(size)  # [m, 7, 7]
    row = row * pieces + (z // size + 1)[:, None, None]
    layers = _sum_rows(
        tf.reshape(kernel_rows, [-1, size * filters]),
        tf.reshape(row, [-1]),
        size * batch * x_padded * y_padded * pieces,
    )
    layers = tf.reshape(layers, [size, batch, x_padded, y_padded, pieces * size, filters])
    shifted = []
    for remainder, layer in enumerate(tf.unstack(layers)):
        start = size + radius - remainder
        inner = layer[:, radius:-radius, radius:-radius, start : start + z_size]
        shifted.append(inner)
    return tf.add_n(shifted)


def _sum_rows(rows: tf.Tensor, segments: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """`unsorted_segment_sum` for segments that are never negative: its gradient is one gather."""

    @tf.custom_gradient
    def summed(rows: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        return tf.math.unsorted_segment_sum(rows, segments, count), lambda upstream: tf.gather(
            upstream, segments
        )

    return summed(rows)


def transposed_convolution(voxels: tf.Tensor, half: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """4^3 'same' transposed convolution of stride 2, at `voxels` only.

    Output o takes input i through tap o + 1 - 2 i: on each axis two inputs, the one that covers
    it (tap 1 + parity) and the one beyond its nearer face (tap 3 - 3 parity).

    Args:
        voxels: int32 [m, 4], batch, x, y, z.
        half: float32 [B, X/2, Y/2, Z/2, in].
        kernel: float32 [4, 4, 4, in, out].

    Returns:
        float32 [m, out].
    """
    channels = half.shape[-1]
    half = tf.pad(half, [[0, 0], [1, 1], [1, 1], [1, 1], [0, 0]])
    grid = tf.shape(half)
    parity = voxels[:, 1:] % 2
    parity_code = parity[:, 0] * 4 + parity[:, 1] * 2 + parity[:, 2]
    base = voxels[:, 1:] // 2 + 1
    flat_half = tf.reshape(half, [-1, channels])
    rows, values = [], []
    for code, odd in enumerate(_CORNERS):
        members = tf.where(parity_code == code)[:, 0]
        origin = tf.gather(base, members)  # [p, 3]
        image = tf.gather(voxels[:, 0], members)
        neighbours, taps = [], []
        for far in _CORNERS:
            x, y, z = (origin[:, a] + far[a] * (2 * odd[a] - 1) for a in range(3))
            neighbours.append(((image * grid[1] + x) * grid[2] + y) * grid[3] + z)
            tap = tuple(3 - 3 * odd[a] if far[a] else 1 + odd[a] for a in range(3))
            taps.append(kernel[tap])
        gathered = tf.gather(flat_half, tf.stack(neighbours, axis=1))  # [p, 8, in]
        values.append(tf.reshape(gathered, [-1, 8 * channels]) @ tf.concat(taps, axis=0))
        rows.append(tf.cast(members, tf.int32))
    return tf.dynamic_stitch(rows, values)
