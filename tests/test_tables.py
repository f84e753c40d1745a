"""Tests of mtml_tf.semantic.tables."""

import numpy as np
import pytest

from mtml_tf.semantic.tables import CORNERS, OFFSETS, build_levels, unique_sites


def random_sites(seed=0, share=0.2, shape=(2, 7, 9, 6)):
    return unique_sites(np.argwhere(np.random.default_rng(seed).random(shape) < share))[0]


def test_sites_are_sorted_and_points_know_theirs():
    voxels = np.array([[1, 0, 0, 0], [0, 5, -2, 3], [0, 5, -3, 9], [1, 0, 0, 0]])
    sites, rows = unique_sites(voxels)
    assert sites.tolist() == [[0, 5, -3, 9], [0, 5, -2, 3], [1, 0, 0, 0]]
    np.testing.assert_array_equal(sites[rows], voxels)


def test_neighbours_are_those_that_a_naive_search_finds():
    sites = random_sites()
    (level,) = build_levels(sites, 1)
    row_of = {tuple(site): row for row, site in enumerate(sites)}
    for row, (scene, *voxel) in enumerate(sites):
        for column, offset in enumerate(OFFSETS):
            wanted = (scene, *np.add(voxel, offset))
            assert level.neighbours[row, column] == row_of.get(wanted, len(sites))


def test_opposite_columns_name_one_another():
    (level,) = build_levels(random_sites(1), 1)
    for column in range(len(OFFSETS)):
        rows = np.flatnonzero(level.neighbours[:, column] < level.num_sites)
        there = level.neighbours[rows, column]
        np.testing.assert_array_equal(level.neighbours[there, -1 - column], rows)


@pytest.mark.parametrize("shift", [0, -5])
def test_children_lie_within_their_coarser_site(shift):
    sites = random_sites(2) + np.array([0, shift, shift, shift])
    fine, coarse = build_levels(sites, 2)
    halves, _ = unique_sites(sites // (1, 2, 2, 2))
    assert coarse.num_sites == len(halves) == len(fine.children)
    assert coarse.children is None
    assert coarse.places is None
    for row, site in enumerate(sites):
        parent, corner = divmod(fine.places[row], len(CORNERS))
        assert fine.children[parent, corner] == row
        np.testing.assert_array_equal(site[1:], halves[parent, 1:] * 2 + CORNERS[corner])
        assert site[0] == halves[parent, 0]
    assert np.count_nonzero(fine.children < len(sites)) == len(sites)


def test_levels_are_the_same_wherever_the_scene_lies():
    sites = random_sites(3)
    for level, moved in zip(
        build_levels(sites, 3), build_levels(sites + np.array([0, 8, -16, 24]), 3), strict=True
    ):
        np.testing.assert_array_equal(level.neighbours, moved.neighbours)


def test_scenes_too_wide_to_number_are_refused():
    far = np.array([[0, 0, 0, 0], [0, 1 << 30, 1 << 30, 1 << 30]])
    with pytest.raises(ValueError, match="larger voxels or remove points that lie far"):
        unique_sites(far)
