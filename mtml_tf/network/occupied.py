"""Two convolutions that compute only where a scan has voxels.

They take the variables of the Keras layers that they stand for, and give the same values up to
rounding (`Conv3D` on a grid that is zero elsewhere, `Conv3DTranspose` read at a few voxels).
"""

import itertools
from collections.abc import Callable

from mtml_tf.backend import tf

_CORNERS = tuple(itertools.product((0, 1), repeat=3))
# For each parity of an output voxel, the taps (of 4^3) through which it takes its 8 inputs.
_TAPS_BY_PARITY = [
    sum((3 - 3 * odd[a] if far[a] else 1 + odd[a]) * 4 ** (2 - a) for a in range(3))
    for odd in _CORNERS
    for far in _CORNERS
]


def scattered_convolution(
    voxels: tf.Tensor, features: tf.Tensor, grid: tf.Tensor, kernel: tf.Tensor
) -> tf.Tensor:
    """'Same' convolution of a grid that is zero outside `voxels`.

    A convolution takes input o + k - r for tap k of output o (r the radius), so the input at v
    reaches the outputs v + r - k: with the kernel turned around, v - r + k.

    Along y the taps are summed first: one matrix product gives, for every place that has a voxel
    within reach along y, what it adds to the outputs around it in x and z. For each step along x
    these are the values of all taps along z, which are added as one piece of memory. Pieces must
    not overlap by halves, so voxels of equal z modulo the kernel size share a layer, in which the
    pieces lie end to end; the layers, each shifted by its remainder, are added up. One layer is
    made after the other, to save memory.

    Args:
        voxels: int32 [m, 4], batch, x, y, z.
        features: float32 [m, C], or int32 [m], the one channel that is 1 (-1 none).
        grid: int32 [4], B, X, Y, Z.
        kernel: float32 [size, size, size, C, filters], size odd and at least 3.

    Returns:
        float32 [B, X, Y, Z, filters].
    """
    size, channels, filters = kernel.shape[0], kernel.shape[3], kernel.shape[4]
    radius, reach = size // 2, size - 1
    batch, x_size, y_size, z_size = tf.unstack(grid)
    x_padded, y_padded = x_size + reach, y_size + reach  # taps beyond the grid
    filled = (z_size + reach) // size
    pieces = filled + 3  # along z in a layer: those with voxels, an empty one before, two behind
    image, x, y, z = tf.unstack(voxels, axis=1)
    taps = tf.transpose(kernel[::-1, :, ::-1], [1, 3, 0, 2, 4])  # y, channel, x, z, filter
    taps = tf.reshape(taps, [size * channels, size * size * filters])
    steps = tf.range(size)

    # Row of the voxel + 1 (0 none) at each place: the lines along y, with room at both ends.
    places = tf.stack([z % size, image, x, z // size, y + reach], axis=1)
    lines = tf.scatter_nd(
        places,
        tf.range(1, tf.shape(voxels)[0] + 1),
        tf.stack([size, batch, x_size, filled, y_padded + reach]),
    )
    if features.dtype.is_integer:
        features = tf.concat([[-1], features], axis=0)
    else:
        features = tf.pad(features, [[1, 0], [0, 0]])

    summed: list[tf.Tensor] = []
    for remainder in range(size):
        with tf.control_dependencies(summed[-1:]):
            line = tf.reshape(lines[remainder], [-1, y_padded + reach, 1])
        in_reach = tf.nn.max_pool1d(tf.cast(line > 0, tf.float32), size, 1, "VALID")
        rows = tf.cast(tf.where(in_reach[..., 0] > 0), tf.int32)  # [n, 2], line, y
        first = rows[:, 0] * (y_padded + reach) + rows[:, 1]
        around = tf.gather(tf.reshape(line, [-1]), first[:, None] + steps)  # [n, size]
        values = tf.gather(features, around)
        if features.dtype.is_integer:
            values = _one_hot_product(values, taps)
        else:
            values = tf.reshape(values, [-1, size * channels]) @ taps
        column, piece = rows[:, 0] // filled, rows[:, 0] % filled
        column = column // x_size * x_padded + column % x_size
        target = (column[:, None] + steps) * y_padded + rows[:, 1:]  # [n, size]
        layer = _sum_rows(
            tf.reshape(values, [-1, size * filters]),
            tf.reshape(target * pieces + piece[:, None] + 1, [-1]),
            batch * x_padded * y_padded * pieces,
        )
        layer = tf.reshape(layer, [batch, x_padded, y_padded, pieces * size, filters])
        start = tf.stack([0, radius, radius, size + radius - remainder, 0])
        shifted = _crop(layer, start, tf.concat([grid, [filters]], axis=0))
        summed.append(shifted + summed[-1] if summed else shifted)
    return summed[-1]


def _one_hot_product(channels: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
    """The product of the one-hot of `channels` [n, k] (-1 none) and `matrix` [k * C, F]: [n, F].

    The product adds rows of the matrix; its gradient is faster as a product.
    """
    steps, depth = channels.shape[1], matrix.shape[0] // channels.shape[1]

    @tf.custom_gradient
    def product(matrix: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            one_hot = tf.one_hot(channels, depth, dtype=upstream.dtype)
            return tf.matmul(tf.reshape(one_hot, [-1, steps * depth]), upstream, transpose_a=True)

        found = tf.where(channels >= 0)  # [., 2], in the order of the rows
        row = found[:, 1] * depth + tf.cast(tf.gather_nd(channels, found), tf.int64)
        total = tf.sparse.segment_sum(matrix, row, found[:, 0], tf.shape(channels)[0])
        return total, gradient

    return product(matrix)


def _sum_rows(rows: tf.Tensor, segments: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """`unsorted_segment_sum` for segments that are never negative: its gradient is one gather."""

    @tf.custom_gradient
    def summed(rows: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        return tf.math.unsorted_segment_sum(rows, segments, count), lambda upstream: tf.gather(
            upstream, segments
        )

    return summed(rows)


def _crop(values: tf.Tensor, start: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """`tf.slice`, whose own gradient takes ten times as long as this one."""

    @tf.custom_gradient
    def cropped(values: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        behind = tf.shape(values) - start - shape
        return tf.slice(values, start, shape), lambda upstream: tf.pad(
            upstream, tf.stack([start, behind], axis=1)
        )

    return cropped(values)


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
    channels, filters = kernel.shape[3:]
    half = tf.pad(half, [[0, 0], [1, 1], [1, 1], [1, 1], [0, 0]])
    grid = tf.shape(half)
    flat_half = tf.reshape(half, [-1, channels])
    parity = voxels[:, 1:] % 2
    parity_code = parity[:, 0] * 4 + parity[:, 1] * 2 + parity[:, 2]
    outwards = tf.constant(_CORNERS) * (2 * parity - 1)[:, None]  # [m, 8, 3]
    x, y, z = tf.unstack((voxels[:, 1:] // 2 + 1)[:, None] + outwards, axis=2)
    neighbours = ((voxels[:, :1] * grid[1] + x) * grid[2] + y) * grid[3] + z  # [m, 8]
    taps = tf.gather(tf.reshape(kernel, [-1, channels, filters]), _TAPS_BY_PARITY)
    taps = tf.reshape(taps, [8, 8 * channels, filters])
    rows: list[tf.Tensor] = []
    values: list[tf.Tensor] = []
    for code in range(8):
        members = tf.where(parity_code == code)[:, 0]
        with tf.control_dependencies(values[-1:]):  # one after the other, to save memory
            gathered = tf.gather(flat_half, tf.gather(neighbours, members))  # [p, 8, in]
        values.append(tf.reshape(gathered, [-1, 8 * channels]) @ taps[code])
        rows.append(tf.cast(members, tf.int32))
    return tf.dynamic_stitch(rows, values)
