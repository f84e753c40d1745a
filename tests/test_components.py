"""Spatial components of sparse voxels, against SciPy's of the dense grid."""

import numpy as np
import pytest
from scipy import ndimage

from mtml_tf.segmentation.components import spatial_components

# How many steps along an axis a neighbour may be away, for SciPy.
STEPS = {6: 1, 18: 2, 26: 3}


def same_partition(labels, others):
    pairs = set(zip(labels.tolist(), others.tolist(), strict=True))
    return len(pairs) == len(set(labels.tolist())) == len(set(others.tolist()))


def dense_components(dense, connectivity):
    """Labels of the voxels that are not 0; only equal values connect."""
    labels = np.zeros(dense.shape, int)
    structure = ndimage.generate_binary_structure(3, STEPS[connectivity])
    for value in np.unique(dense[dense > 0]):
        parts, _ = ndimage.label(dense == value, structure)
        labels += np.where(parts > 0, parts + labels.max(), 0)
    return labels


@pytest.mark.parametrize("connectivity", [6, 18, 26])
@pytest.mark.parametrize("num_groups", [1, 2, 5])
@pytest.mark.parametrize("share", [0.03, 0.15, 0.35, 0.8])
def test_random_grids_have_the_components_that_scipy_finds(connectivity, num_groups, share):
    rng = np.random.default_rng(connectivity)
    for shape in [(9, 12, 7), (1, 30, 2), (5, 1, 1)]:
        occupied = rng.random(shape) < share
        dense = np.where(occupied, rng.integers(1, num_groups + 1, shape), 0)
        coordinates = rng.permutation(np.argwhere(dense)).reshape(-1, 3)
        place = tuple(coordinates.T)
        labels = spatial_components(coordinates, dense[place], connectivity)
        assert same_partition(labels, dense_components(dense, connectivity)[place])


def test_labels_count_up_in_the_order_of_first_voxels():
    rng = np.random.default_rng(3)
    coordinates = rng.permutation(np.argwhere(rng.random((10, 10, 10)) < 0.2))
    labels = spatial_components(coordinates)
    assert labels.dtype == np.int32
    distinct, first = np.unique(labels, return_index=True)
    np.testing.assert_array_equal(distinct, np.arange(len(distinct)))
    assert len(distinct) > 20
    assert (np.diff(first) > 0).all()


@pytest.mark.parametrize(
    ("step", "nearest"),
    [((0, 1, 0), 6), ((0, 1, 1), 18), ((-1, 0, 1), 18), ((1, -1, 1), 26), ((0, 0, 2), 99)],
)
def test_what_two_voxels_share_decides(step, nearest):
    coordinates = np.array([[5, 5, 5], np.add([5, 5, 5], step)])
    for connectivity in (6, 18, 26):
        labels = spatial_components(coordinates, connectivity=connectivity)
        assert (labels[0] == labels[1]) == (connectivity >= nearest)


def test_rows_of_the_grid_do_not_wrap_around():
    # The last voxel of a row and the first of the next are neighbours in memory only.
    coordinates = np.array([[0, 0, 0], [0, 0, 7], [0, 1, 0], [0, 7, 7], [1, 0, 0], [7, 7, 7]])
    labels = spatial_components(coordinates, connectivity=26)
    assert labels.tolist() == [0, 1, 0, 2, 0, 3]


def test_neighbours_of_different_groups_stay_apart():
    coordinates = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0]])
    assert spatial_components(coordinates, np.array([4, 4, 9, 4])).tolist() == [0, 0, 1, 2]
    assert spatial_components(coordinates).tolist() == [0, 0, 0, 0]


def test_a_large_grid_costs_no_memory():
    far = 2_000_000
    coordinates = np.array([[0, 0, 0], [far, far, far], [far, far, far - 1], [0, far, 0]], np.int32)
    assert spatial_components(coordinates).tolist() == [0, 1, 1, 2]


def test_moving_the_voxels_changes_nothing():
    rng = np.random.default_rng(4)
    coordinates = np.argwhere(rng.random((8, 8, 8)) < 0.3)
    here = spatial_components(coordinates)
    np.testing.assert_array_equal(spatial_components(coordinates - [100, 3, -50]), here)


@pytest.mark.parametrize("connectivity", [6, 18, 26])
def test_none_and_one_voxel(connectivity):
    none = spatial_components(np.zeros((0, 3), int), np.zeros(0, int), connectivity)
    assert none.shape == (0,)
    one = spatial_components(np.array([[3, 1, 2]]), np.array([5]), connectivity)
    assert one.tolist() == [0]


@pytest.mark.parametrize("connectivity", [0, 8, 27])
def test_another_connectivity_is_refused(connectivity):
    with pytest.raises(
        ValueError, match=f"expected connectivity 6, 18 or 26, found {connectivity}"
    ):
        spatial_components(np.zeros((1, 3), int), connectivity=connectivity)
