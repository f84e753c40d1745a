"""Tests of mtml_tf.semantic.sparse_conv, against dense convolutions of TensorFlow."""

import numpy as np
import pytest

from mtml_tf.backend import tf
from mtml_tf.semantic import sparse_conv
from mtml_tf.semantic.tables import build_levels, unique_sites

SHAPE = (6, 9, 7)
CHANNELS, FILTERS = 3, 5


@pytest.fixture(name="grid")
def _grid():
    """Sites of two scenes in a dense grid, with their tables; and random values there."""
    rng = np.random.default_rng(0)
    occupied = rng.random((2, *SHAPE)) < 0.3
    sites, _ = unique_sites(np.argwhere(occupied))
    fine, coarse = build_levels(sites, 2)
    rows = rng.normal(size=(len(sites), CHANNELS)).astype(np.float32)
    return sites, fine, coarse, rows


def dense_of(rows, sites, shape=SHAPE):
    """Puts rows into a dense grid, zeros elsewhere, by operations that have a gradient."""
    return tf.scatter_nd(sites, rows, (2, *shape, rows.shape[1]))


def same_with_gradients(sparse, dense, rows, kernel):
    """Checks values and gradients of two functions of (rows, kernel)."""
    found = []
    for function in (sparse, dense):
        inputs = [tf.constant(rows), tf.constant(kernel)]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            values = function(*inputs)
            weights = tf.random.stateless_normal(tf.shape(values), (1, 2))
            loss = tf.reduce_sum(values * weights)
        found.append([values, *tape.gradient(loss, inputs)])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("has_gpu", [False, True])
@pytest.mark.parametrize("block_bytes", [1, 400, 1 << 22])
def test_submanifold_convolution_is_a_dense_one_masked_to_the_sites(
    grid, monkeypatch, block_bytes, has_gpu
):
    for name in ("_BLOCK_BYTES", "_GPU_BLOCK_BYTES"):
        monkeypatch.setattr(sparse_conv, name, block_bytes)
    monkeypatch.setattr(sparse_conv, "_has_gpu", lambda: has_gpu)
    sites, fine, _, rows = grid
    kernel = np.random.default_rng(1).normal(size=(27, CHANNELS, FILTERS)).astype(np.float32)

    def dense(rows, kernel):
        cube = tf.reshape(kernel, (3, 3, 3, CHANNELS, FILTERS))
        values = tf.nn.conv3d(dense_of(rows, sites), cube, (1,) * 5, "SAME")
        return tf.gather_nd(values, sites)

    def sparse(rows, kernel):
        return sparse_conv.submanifold_conv(rows, kernel, fine.neighbours)

    same_with_gradients(sparse, dense, rows, kernel)
    same_with_gradients(tf.function(sparse), dense, rows, kernel)


@pytest.mark.parametrize(("has_gpu", "num_functions", "num_loops"), [(False, 2, 0), (True, 0, 6)])
def test_convolutions_of_all_sizes_share_a_function_but_on_a_gpu(
    grid, monkeypatch, has_gpu, num_functions, num_loops
):
    monkeypatch.setattr(sparse_conv, "_has_gpu", lambda: has_gpu)
    _, fine, _, rows = grid

    @tf.function
    def gradients(rows, first, second):
        with tf.GradientTape() as tape:
            tape.watch([rows, first, second])
            middle = sparse_conv.submanifold_conv(rows, first, fine.neighbours)
            last = sparse_conv.submanifold_conv(middle, second, fine.neighbours)
        return tape.gradient(last, [rows, first, second])

    kernels = tf.zeros((27, CHANNELS, FILTERS)), tf.zeros((27, FILTERS, CHANNELS))
    graph = gradients.get_concrete_function(tf.constant(rows), *kernels).graph
    shared = [f for f in graph.as_graph_def().library.function if f.attr["_noinline"].b]
    assert len(shared) == num_functions
    loops = [operation for operation in graph.get_operations() if "While" in operation.type]
    assert len(loops) == num_loops


def test_strided_convolution_is_a_dense_one_masked_to_the_coarser_sites(grid):
    sites, fine, coarse, rows = grid
    kernel = np.random.default_rng(1).normal(size=(8, CHANNELS, FILTERS)).astype(np.float32)
    halves, _ = unique_sites(sites // (1, 2, 2, 2))
    assert len(halves) == coarse.num_sites

    def dense(rows, kernel):
        cube = tf.reshape(kernel, (2, 2, 2, CHANNELS, FILTERS))
        even = tuple(n + n % 2 for n in SHAPE)
        values = tf.nn.conv3d(dense_of(rows, sites, even), cube, (1, 2, 2, 2, 1), "VALID")
        return tf.gather_nd(values, halves)

    def sparse(rows, kernel):
        return sparse_conv.strided_conv(rows, kernel, fine.children, fine.places)

    same_with_gradients(sparse, dense, rows, kernel)


def test_inverse_convolution_is_a_dense_transposed_one_masked_to_the_finer_sites(grid):
    sites, fine, coarse, _ = grid
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(coarse.num_sites, CHANNELS)).astype(np.float32)
    kernel = rng.normal(size=(8, CHANNELS, FILTERS)).astype(np.float32)
    halves, _ = unique_sites(sites // (1, 2, 2, 2))
    half_shape = tuple((n + 1) // 2 for n in SHAPE)

    def dense(rows, kernel):
        cube = tf.transpose(tf.reshape(kernel, (2, 2, 2, CHANNELS, FILTERS)), (0, 1, 2, 4, 3))
        shape = (2, *(2 * n for n in half_shape), FILTERS)
        grid = dense_of(rows, halves, half_shape)
        values = tf.nn.conv3d_transpose(grid, cube, shape, (1, 2, 2, 2, 1), "VALID")
        return tf.gather_nd(values, sites)

    def sparse(rows, kernel):
        return sparse_conv.inverse_conv(rows, kernel, fine.children, fine.places)

    same_with_gradients(sparse, dense, rows, kernel)


def test_a_scene_alone_has_the_values_that_it_has_in_a_batch(grid):
    sites, fine, _, rows = grid
    kernel = tf.random.stateless_normal((27, CHANNELS, FILTERS), (1, 2))
    together = sparse_conv.submanifold_conv(tf.constant(rows), kernel, fine.neighbours)
    for scene in (0, 1):
        own = sites[:, 0] == scene
        (level,) = build_levels(sites[own], 1)
        alone = sparse_conv.submanifold_conv(tf.constant(rows[own]), kernel, level.neighbours)
        np.testing.assert_allclose(alone, together.numpy()[own], atol=1e-6)


def test_no_site_has_no_values():
    (level,) = build_levels(np.zeros((0, 4), np.int64), 1)
    rows, kernel = tf.zeros((0, CHANNELS)), tf.ones((27, CHANNELS, FILTERS))
    assert sparse_conv.submanifold_conv(rows, kernel, level.neighbours).shape == (0, FILTERS)
