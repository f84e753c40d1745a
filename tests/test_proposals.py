"""Tests of mtml_tf.segmentation.proposals."""

import numpy as np
import pytest

from mtml_tf.config import SegmentConfig
from mtml_tf.scene import VoxelScene
from mtml_tf.segmentation import proposals
from mtml_tf.segmentation.proposals import find_proposals, index_sets, majority_labels, members

STUFF, CHAIR, TABLE = 1, 2, 3
# A row of voxels along x: chair, chair | gap | chair, chair, table, table | stuff below.
X = [0, 1, 3, 4, 5, 6]
LABELS = [CHAIR, CHAIR, CHAIR, CHAIR, TABLE, TABLE]


def row_scene(order=None):
    coordinates = np.array([[x, 0, 1] for x in X] + [[x, 0, 0] for x in range(7)], np.int32)
    semantic_ids = np.array(LABELS + [STUFF] * 7, np.int32)
    order = np.arange(len(coordinates)) if order is None else order
    return VoxelScene("row", coordinates[order], (8, 2, 2), 0.1, np.zeros(3), semantic_ids[order])


def config(**changes):
    off = dict.fromkeys(
        ("propose_clusters", "propose_cluster_components", "propose_label_components"), False
    )
    return SegmentConfig(
        **{"thing_ids": (CHAIR, TABLE), "bandwidths": (1.0,), "min_voxels": 1, **off, **changes}
    )


# The embedding joins the first four voxels (across the gap), and the last two.
EMBEDDING = np.array([[0.0]] * 4 + [[5.0]] * 2 + [[0.0]] * 7, np.float32)


def found(**changes):
    return sorted(p.tolist() for p in find_proposals(row_scene(), EMBEDDING, config(**changes)))


def test_clusters_ignore_space_and_stuff():
    assert found(propose_clusters=True) == [[0, 1, 2, 3], [4, 5]]


def test_cluster_components_are_the_connected_parts_of_clusters():
    assert found(propose_cluster_components=True) == [[0, 1], [2, 3], [4, 5]]


def test_label_components_are_connected_voxels_of_one_label():
    assert found(propose_label_components=True) == [[0, 1], [2, 3], [4, 5]]


def test_kinds_are_joined_without_duplicates():
    kinds = ("propose_clusters", "propose_cluster_components", "propose_label_components")
    assert found(**dict.fromkeys(kinds, True)) == [[0, 1], [0, 1, 2, 3], [2, 3], [4, 5]]


def test_each_bandwidth_adds_its_clusters():
    assert found(propose_clusters=True, bandwidths=(1.0, 10.0)) == [
        [0, 1, 2, 3],
        [0, 1, 2, 3, 4, 5],
        [4, 5],
    ]


def test_small_proposals_are_dropped():
    assert found(propose_clusters=True, min_voxels=3) == [[0, 1, 2, 3]]


def test_no_kind_gives_no_proposals():
    assert found() == []


def test_a_scene_without_things_has_no_proposals():
    assert found(propose_clusters=True, thing_ids=(9,)) == []


def test_the_order_of_the_voxels_has_no_influence():
    order = np.random.default_rng(0).permutation(len(EMBEDDING))
    proposals = find_proposals(row_scene(order), EMBEDDING[order], config(propose_clusters=True))
    assert sorted(sorted(order[p].tolist()) for p in proposals) == [[0, 1, 2, 3], [4, 5]]


def test_proposals_are_ascending_int32():
    for proposal in find_proposals(row_scene(), EMBEDDING, config(propose_clusters=True)):
        assert proposal.dtype == np.int32
        assert np.all(np.diff(proposal) > 0)


def test_index_sets_come_by_ascending_label():
    sets = index_sets(np.array([7, 2, 7, 2, 5]))
    assert [s.tolist() for s in sets] == [[1, 3], [4], [0, 2]]
    assert index_sets(np.zeros(0, np.int32)) == []


def test_members_lists_the_voxels_of_each_proposal():
    owners, rows = members([np.array([1, 4], np.int32), np.array([4], np.int32)])
    assert owners.tolist() == [0, 0, 1]
    assert rows.tolist() == [1, 4, 4]


@pytest.mark.parametrize(
    ("labels", "majority"), [([3, 2, 3], 3), ([3, 2], 2), ([2, 3], 2), ([5, 3, 3, 5, 4], 3)]
)
def test_majority_wins_and_the_smallest_of_equals(labels, majority):
    proposal = np.arange(len(labels), dtype=np.int32)
    assert majority_labels([proposal], np.array(labels, np.int32)).tolist() == [majority]


def test_majority_is_taken_within_each_proposal():
    proposals = [np.array([0, 1], np.int32), np.array([1, 2, 3], np.int32)]
    assert majority_labels(proposals, np.array([2, 2, 9, 9], np.int32)).tolist() == [2, 9]


def test_no_proposals_have_no_labels():
    assert majority_labels([], np.array([1, 2], np.int32)).tolist() == []


def test_the_most_probable_class_may_differ_from_that_of_most_voxels():
    probabilities = np.array([[0.6, 0.4], [0.6, 0.4], [0.0, 1.0], [0.9, 0.1]], np.float32)
    sets = [np.array([0, 1, 2]), np.array([3])]
    found = proposals.probable_labels(sets, probabilities, (3, 7), (3, 7))
    np.testing.assert_array_equal(found, [7, 3])
    assert len(proposals.probable_labels([], probabilities, (3, 7), (3, 7))) == 0


def test_stuff_that_is_nowhere_the_most_probable_is_no_label():
    of_chair, of_table = [0.40, 0.35, 0.25], [0.25, 0.35, 0.40]  # chair, stuff, table
    probabilities = np.array([of_chair, of_chair, of_table, of_table, of_table], np.float32)
    # Sums: chair 1.55, stuff 1.75, table 1.70; of the first four voxels 1.3, 1.4, 1.3.
    sets = [np.arange(5), np.arange(4)]
    found = proposals.probable_labels(sets, probabilities, (CHAIR, STUFF, TABLE), (CHAIR, TABLE))
    np.testing.assert_array_equal(found, [TABLE, CHAIR])
