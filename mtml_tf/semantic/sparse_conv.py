"""Convolutions over the sites of a sparse grid, of TensorFlow's own operations.

After Graham, Engelcke, van der Maaten, "3D Semantic Segmentation with Submanifold Sparse
Convolutional Networks" (CVPR 2018), whose library is compiled for another framework. Here a
convolution gathers, for each site, the rows of its neighbours by a table (see `tables`) and takes
one matrix product with the kernel: what a dense convolution gives at these sites where all others
are empty, at a cost that grows with the number of sites. It goes through the sites in blocks, so
that what is gathered stays small. The gradient of the input is the same thing backwards: the table
of a submanifold convolution is symmetric, so the gradient gathers by it too and scatters nothing.
"""

import functools
from collections.abc import Callable
from typing import Any

from mtml_tf.backend import tf

Product = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

# Bytes that are gathered at a time: small enough for a CPU's caches to help.
_BLOCK_BYTES = 1 << 22
_GPU_BLOCK_BYTES = 1 << 28


@tf.autograph.experimental.do_not_convert
def submanifold_conv(rows: tf.Tensor, kernel: tf.Tensor, neighbours: tf.Tensor) -> tf.Tensor:
    """A convolution of size 3 at the sites, whose outputs are at the same sites.

    Args:
        rows: float32 [S, C], values at the sites; 0 everywhere else.
        kernel: float32 [27, C, F], in the order of `tables.OFFSETS`.
        neighbours: int32 [S, 27], of `tables.Level`.

    Returns:
        float32 [S, F].
    """
    return _with_gradients(
        rows,
        kernel,
        lambda rows, kernel: gathered_product(rows, neighbours, kernel),
        lambda upstream, turned: gathered_product(upstream, neighbours, turned[::-1]),
        lambda rows, upstream: _kernel_gradient(rows, neighbours, upstream),
    )


@tf.autograph.experimental.do_not_convert
def strided_conv(
    rows: tf.Tensor, kernel: tf.Tensor, children: tf.Tensor, places: tf.Tensor
) -> tf.Tensor:
    """A convolution of size 2 and stride 2: a coarser site has an output where it has a site in it.

    Args:
        rows: float32 [S, C], values at the finer sites.
        kernel: float32 [8, C, F], in the order of `tables.CORNERS`.
        children: int32 [S', 8], of `tables.Level`.
        places: int32 [S], of `tables.Level`.

    Returns:
        float32 [S', F], values at the coarser sites.
    """
    return _with_gradients(
        rows,
        kernel,
        lambda rows, kernel: gathered_product(rows, children, kernel),
        lambda upstream, turned: _spread(upstream, turned, places),
        lambda rows, upstream: _kernel_gradient(rows, children, upstream),
    )


@tf.autograph.experimental.do_not_convert
def inverse_conv(
    rows: tf.Tensor, kernel: tf.Tensor, children: tf.Tensor, places: tf.Tensor
) -> tf.Tensor:
    """The way back of `strided_conv`, to the very sites that it came from.

    Args:
        rows: float32 [S', C], values at the coarser sites.
        kernel: float32 [8, C, F], in the order of `tables.CORNERS`.
        children: int32 [S', 8], of `tables.Level`.
        places: int32 [S], of `tables.Level`.

    Returns:
        float32 [S, F], values at the finer sites.
    """
    return _with_gradients(
        rows,
        kernel,
        lambda rows, kernel: _spread(rows, kernel, places),
        lambda upstream, turned: gathered_product(upstream, children, turned),
        # That of the strided convolution which leads from `upstream` to `rows`.
        lambda rows, upstream: _turned(_kernel_gradient(upstream, children, rows)),
    )


def _with_gradients(
    rows: tf.Tensor, kernel: tf.Tensor, forward: Product, backward: Product, of_kernel: Product
) -> tf.Tensor:
    """Returns `forward(rows, kernel)`, whose gradients are not TensorFlow's own.

    Args:
        rows: float32, what is convolved.
        kernel: float32 [K, C, F].
        forward: gives the output, from the rows and the kernel.
        backward: gives the gradient of the rows, from that of the output and the kernel as
            [K, F, C].
        of_kernel: gives the gradient of the kernel, from the rows and that of the output.
    """

    @tf.custom_gradient
    def apply(rows: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Any]:
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return backward(upstream, _turned(kernel)), of_kernel(rows, upstream)

        return forward(rows, kernel), gradient

    return apply(rows, kernel)


def _turned(kernel: tf.Tensor) -> tf.Tensor:
    """Returns a kernel [K, C, F] as [K, F, C]."""
    return tf.transpose(kernel, (0, 2, 1))


@tf.autograph.experimental.do_not_convert
def gathered_product(rows: tf.Tensor, table: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Sums, for each row of a table, the products of the rows it names with their matrices.

    Args:
        rows: float32 [S, C].
        table: int32 [T, K], rows of `rows`; S for a row of zeros.
        kernel: float32 [K, C, F].

    Returns:
        float32 [T, F].
    """
    size, channels, filters = kernel.shape
    flat = tf.reshape(kernel, (size * channels, filters))
    product = _flat_product(rows, table, flat, _block_size(rows, table))
    return tf.ensure_shape(product, (None, filters))


@tf.autograph.experimental.do_not_convert
def _kernel_gradient(rows: tf.Tensor, table: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """Returns float32 [K, C, F], the gradient of the kernel of a `gathered_product`.

    Args:
        rows: float32 [S, C], what was gathered.
        table: int32 [T, K].
        upstream: float32 [T, F], the gradient of the product.
    """
    sizes = table.shape[1], rows.shape[1], upstream.shape[1]
    return tf.reshape(_flat_gradient(rows, table, upstream, _block_size(rows, table)), sizes)


def _shared(work: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """Makes all convolutions of a graph call one function, which is traced and optimized once.

    A network's first call takes twice as long where each of some hundred convolutions has a loop of
    its own. On a GPU each has one all the same: TensorFlow keeps whole numbers that a function is
    given, here the table, in the memory of the host, so that each call would copy it.

    Args:
        work: of float32 [S, C], int32 [T, K], a float32 matrix and an int32, of any sizes.
    """
    matrix, table = (tf.TensorSpec((None, None), dtype) for dtype in (tf.float32, tf.int32))
    function = tf.function(
        work,
        input_signature=(matrix, table, matrix, tf.TensorSpec((), tf.int32)),
        autograph=False,
        experimental_attributes={"_noinline": True},
    )
    return functools.wraps(work)(lambda *given: (work if _has_gpu() else function)(*given))


@_shared
def _flat_product(
    rows: tf.Tensor, table: tf.Tensor, kernel: tf.Tensor, block_size: tf.Tensor
) -> tf.Tensor:
    """Returns float32 [T, F], the `gathered_product` by a kernel [K C, F]."""
    blocks = _Blocks(rows, table, block_size)
    products = tf.TensorArray(
        rows.dtype, blocks.count, infer_shape=False, element_shape=(None, kernel.shape[1])
    )

    def step(number: tf.Tensor, products: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        product = tf.matmul(blocks.gathered(number), kernel)
        return number + 1, products.write(number, product)

    return blocks.each(step, products).concat()


@_shared
def _flat_gradient(
    rows: tf.Tensor, table: tf.Tensor, upstream: tf.Tensor, block_size: tf.Tensor
) -> tf.Tensor:
    """Returns float32 [K C, F], the `_kernel_gradient`."""
    blocks = _Blocks(rows, table, block_size)

    def step(number: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        part = blocks.part(upstream, number)
        return number + 1, total + tf.matmul(blocks.gathered(number), part, transpose_a=True)

    return blocks.each(step, tf.zeros((blocks.width, tf.shape(upstream)[1]), rows.dtype))


@tf.autograph.experimental.do_not_convert
def _spread(rows: tf.Tensor, kernel: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """Returns float32 [S, F]: each finer site has the product of its coarser one and its corner.

    Args:
        rows: float32 [S', C], values at the coarser sites.
        kernel: float32 [8, C, F].
        places: int32 [S], of `tables.Level`.
    """
    size, channels, filters = kernel.shape
    flat = tf.reshape(tf.transpose(kernel, (1, 0, 2)), (channels, size * filters))
    return tf.gather(tf.reshape(tf.matmul(rows, flat), (-1, filters)), places)


def _has_gpu() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))


def _block_size(rows: tf.Tensor, table: tf.Tensor) -> int:
    """Returns how many rows of a table are taken at a time."""
    most_bytes = _GPU_BLOCK_BYTES if _has_gpu() else _BLOCK_BYTES
    return max(1, most_bytes // (table.shape[1] * rows.shape[1] * rows.dtype.size))


class _Blocks:
    """The rows of a table in blocks.

    Attributes:
        width: K C, values that are gathered for a row of the table.
        count: of blocks; at least one, so that a table without rows has products [0, F].
    """

    def __init__(self, rows: tf.Tensor, table: tf.Tensor, size: tf.Tensor):
        self._table, self._size = tf.convert_to_tensor(table), size
        self._padded = tf.pad(rows, ((0, 1), (0, 0)))
        self.width = tf.shape(table)[1] * tf.shape(rows)[1]
        self.count = tf.maximum(1, (tf.shape(table)[0] + size - 1) // size)

    def part(self, values: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        """Returns the rows of `values` that belong to a block of the table."""
        return values[number * self._size : (number + 1) * self._size]

    def gathered(self, number: tf.Tensor) -> tf.Tensor:
        """Returns [rows of the block, K C], what they name."""
        found = tf.gather(self._padded, self.part(self._table, number))
        return tf.reshape(found, (-1, self.width))

    def each(self, step: Callable[..., Any], start: Any) -> Any:
        """Returns what is left of `start` when a step was taken for each block, one by one."""
        _, result = tf.while_loop(
            lambda number, _: number < self.count, step, (0, start), parallel_iterations=1
        )
        return result
