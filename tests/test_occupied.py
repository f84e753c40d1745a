"""Tests of mtml_tf.network.occupied: against TensorFlow's own convolutions, in float64."""

import numpy as np
import pytest

from mtml_tf.backend import tf
from mtml_tf.network.occupied import scattered_convolution, transposed_convolution


def random_voxels(rng, batch, grid_shape, count):
    """int32 [count, 4]; the outermost corners of the first and last grid are among them."""
    total = batch * int(np.prod(grid_shape))
    cells = np.concatenate([[0, total - 1], 1 + rng.permutation(total - 2)])[:count]
    return np.stack(np.unravel_index(cells, (batch, *grid_shape)), axis=1).astype(np.int32)


def values_and_gradients(function, *inputs):
    """The value of `function`, and the gradients of a smooth scalar of it."""
    inputs = [tf.constant(x, tf.float64) for x in inputs]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = function(*inputs)
        scalar = tf.reduce_sum(value * tf.sin(value))
    return [value, *map(tf.convert_to_tensor, tape.gradient(scalar, inputs))]


def assert_all_close(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * max(1, np.abs(b).max()))


GRIDS = [(2, 2, 2), (8, 6, 4), (4, 12, 10), (6, 2, 16)]


@pytest.mark.parametrize("size", [3, 5, 7])
@pytest.mark.parametrize("grid_shape", GRIDS)
@pytest.mark.parametrize("count", [1, 7, 60])
def test_scattered_convolution_equals_conv3d(size, grid_shape, count):
    rng = np.random.default_rng(size + count)
    batch, channels, filters = 2, 3, 4
    voxels = random_voxels(rng, batch, grid_shape, min(count, batch * int(np.prod(grid_shape))))
    features = rng.normal(size=(len(voxels), channels))
    kernel = rng.normal(size=(size, size, size, channels, filters))

    def dense(features, kernel):
        grid = tf.scatter_nd(voxels, features, (batch, *grid_shape, channels))
        return tf.nn.conv3d(grid, kernel, [1] * 5, "SAME")

    def scattered(features, kernel):
        grid = tf.constant([batch, *grid_shape])
        return scattered_convolution(tf.constant(voxels), features, grid, kernel)

    assert_all_close(
        values_and_gradients(scattered, features, kernel),
        values_and_gradients(dense, features, kernel),
    )


@pytest.mark.parametrize("grid_shape", GRIDS)
@pytest.mark.parametrize("count", [1, 7, 60])
def test_transposed_convolution_equals_conv3d_transpose(grid_shape, count):
    rng = np.random.default_rng(count)
    batch, channels, filters = 2, 3, 5
    voxels = random_voxels(rng, batch, grid_shape, min(count, batch * int(np.prod(grid_shape))))
    half = rng.normal(size=(batch, *(n // 2 for n in grid_shape), channels))
    kernel = rng.normal(size=(4, 4, 4, channels, filters))

    def dense(half, kernel):
        by_output = tf.transpose(kernel, [0, 1, 2, 4, 3])  # TensorFlow's order: [..., out, in]
        shape = (batch, *grid_shape, filters)
        values = tf.nn.conv3d_transpose(half, by_output, shape, [1, 2, 2, 2, 1], "SAME")
        return tf.gather_nd(values, voxels)

    def sparse(half, kernel):
        return transposed_convolution(tf.constant(voxels), half, kernel)

    assert_all_close(
        values_and_gradients(sparse, half, kernel), values_and_gradients(dense, half, kernel)
    )


def test_transposed_convolution_at_every_voxel_keeps_their_order():
    rng = np.random.default_rng(0)
    half, kernel = rng.normal(size=(1, 2, 3, 2, 2)), rng.normal(size=(4, 4, 4, 2, 1))
    voxels = np.stack(np.unravel_index(rng.permutation(4 * 6 * 4), (1, 4, 6, 4)), axis=1)
    found = transposed_convolution(tf.constant(voxels, tf.int32), half, kernel)
    values = tf.nn.conv3d_transpose(
        half, kernel.transpose(0, 1, 2, 4, 3), (1, 4, 6, 4, 1), [1, 2, 2, 2, 1], "SAME"
    )
    np.testing.assert_allclose(found, values.numpy()[tuple(voxels.T)], rtol=1e-12, atol=1e-12)


def test_both_run_in_a_graph_of_unknown_shape():
    def both(voxels, features, grid):
        stem = scattered_convolution(voxels, features, grid, tf.constant(first))
        return transposed_convolution(voxels, stem[:, ::2, ::2, ::2], tf.constant(second))

    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(3, 3, 3, 2, 3)), rng.normal(size=(4, 4, 4, 3, 2))
    in_graph = tf.function(
        both,
        input_signature=[
            tf.TensorSpec([None, 4], tf.int32),
            tf.TensorSpec([None, 2], tf.float64),
            tf.TensorSpec([4], tf.int32),
        ],
    )
    for grid_shape in ((4, 4, 4), (8, 2, 6)):
        voxels, features = random_voxels(rng, 2, grid_shape, 9), rng.normal(size=(9, 2))
        grid = tf.constant([2, *grid_shape])
        found, expected = (
            call(tf.constant(voxels), tf.constant(features), grid) for call in (in_graph, both)
        )
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_channels_give_what_their_one_hot_gives():
    rng = np.random.default_rng(0)
    voxels = random_voxels(rng, 2, (8, 6, 4), 60)
    channels = rng.integers(-1, 3, 60).astype(np.int32)  # -1: no channel
    kernel = rng.normal(size=(7, 7, 7, 3, 4))

    def of(features):
        def scattered(kernel):
            grid = tf.constant([2, 8, 6, 4])
            return scattered_convolution(tf.constant(voxels), features, grid, kernel)

        return values_and_gradients(scattered, kernel)

    assert_all_close(of(tf.constant(channels)), of(tf.one_hot(channels, 3, dtype=tf.float64)))
