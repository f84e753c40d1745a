"""Overlaps of predictions with ground truth, counted by hand."""

import numpy as np

from mtml_tf.scene import Instance
from mtml_tf.scoring.overlaps import find_overlaps

# Rows 0 to 3: floor; 4 to 9: cup 1; 10 to 11: cup 2; 12 to 17: box 1.
IDS = np.repeat([1000, 3001, 3002, 5001], [4, 6, 2, 6])


def instance(*rows, class_id=3, score=0.5):
    return Instance(class_id, score, np.array(rows, np.int32))


def test_overlaps_by_hand():
    found = instance(2, 3, 4, 5, 10), instance(12, 13, 14, class_id=5, score=0.25)
    overlaps = find_overlaps(IDS, found, (3, 5), 3)
    np.testing.assert_array_equal(overlaps.shared, [[2, 2, 1, 0], [0, 0, 0, 3]])
    np.testing.assert_array_equal(overlaps.sizes, [5, 3])
    np.testing.assert_array_equal(overlaps.truth_classes, [1, 3, 3, 5])
    np.testing.assert_array_equal(overlaps.truth_sizes, [4, 6, 2, 6])
    np.testing.assert_array_equal(overlaps.is_void, [True, False, False, False])
    np.testing.assert_array_equal(overlaps.is_target, [False, True, False, True])
    np.testing.assert_array_equal(overlaps.iou, [[2 / 7, 2 / 9, 1 / 6, 0], [0, 0, 0, 3 / 6]])
    cup, box = overlaps.of_class(3), overlaps.of_class(5)
    np.testing.assert_array_equal(cup.iou, [[2 / 9, 1 / 6]])
    np.testing.assert_array_equal(cup.is_target, [True, False])
    # Two rows on the floor, one on the cup that is too small.
    np.testing.assert_array_equal(cup.ignored_share, [3 / 5])
    np.testing.assert_array_equal(box.scores, [0.25])
    np.testing.assert_array_equal(box.ignored_share, [0])


def test_small_strange_and_empty_predictions_are_left_out():
    found = instance(4, 5), instance(4, 5, 6, class_id=7), instance(), instance(4, 4, 5, 5)
    assert find_overlaps(IDS, found, (3, 5), 3).shared.shape == (0, 4)
    assert find_overlaps(IDS, found, (3, 5), 2).shared.shape == (2, 4)
    assert find_overlaps(IDS, found, (3, 5), 0).shared.shape == (2, 4)


def test_rows_in_any_order_and_twice_count_once():
    overlaps = find_overlaps(IDS, [instance(9, 4, 4, 12)], (3, 5), 3)
    np.testing.assert_array_equal(overlaps.shared, [[0, 2, 0, 1]])
    np.testing.assert_array_equal(overlaps.members[0], [4, 9, 12])


def test_ids_of_any_size_are_counted_alike():
    small = find_overlaps(IDS, [instance(4, 5, 12)], (3, 5), 1)
    huge = np.where(IDS == 1000, -(10**12), IDS)
    other = find_overlaps(huge, [instance(4, 5, 12)], (3, 5), 1)
    np.testing.assert_array_equal(other.shared, small.shared)
    np.testing.assert_array_equal(other.is_void, small.is_void)


def test_a_class_that_is_absent_has_no_rows_and_columns():
    overlaps = find_overlaps(IDS, [instance(4, 5, 12)], (3, 5, 6), 1).of_class(6)
    assert overlaps.iou.shape == (0, 0)
