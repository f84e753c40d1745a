"""Tests of mtml_tf.segmentation.suppression."""

import numpy as np

from mtml_tf.segmentation.suppression import coherent_labelling, suppress


def span(start, stop):
    return np.arange(start, stop, dtype=np.int32)


def stays(proposals, max_iou, class_ids=None):
    classes = np.zeros(len(proposals), np.int32) if class_ids is None else np.array(class_ids)
    return suppress(proposals, classes, max_iou).tolist()


# Intersection 5, union 15: an IoU of one third.
THIRD = [span(0, 10), span(5, 15)]


def test_a_worse_proposal_that_overlaps_too_much_is_dropped():
    assert stays(THIRD, 0.3) == [0]
    assert stays(THIRD, 0.35) == [0, 1]


def test_an_overlap_of_exactly_the_threshold_stays():
    # Intersection 5, union 10.
    assert stays([span(0, 10), span(0, 5)], 0.5) == [0, 1]


def test_proposals_of_other_classes_stay():
    assert stays([*THIRD, span(5, 15)], 0.3, [4, 5, 5]) == [0, 1]


def test_what_was_dropped_drops_nothing():
    # The first drops the second, which alone overlaps with the third.
    assert stays([span(0, 10), span(4, 14), span(8, 18)], 0.3) == [0, 2]


def test_a_threshold_of_zero_leaves_no_overlap():
    assert stays([span(0, 10), span(9, 20), span(20, 30)], 0.0) == [0, 2]


def test_a_threshold_of_one_drops_nothing():
    assert stays([span(0, 10), span(0, 10)], 1.0) == [0, 1]


def test_nothing_comes_from_nothing():
    assert stays([], 0.3) == []
    assert coherent_labelling([], 1) == []


def test_suppression_equals_a_plain_loop():
    random = np.random.default_rng(0)
    for _ in range(20):
        proposals = [
            np.flatnonzero(random.random(40) < share).astype(np.int32)
            for share in random.uniform(0.2, 0.8, 15)
        ]
        classes = random.integers(0, 3, len(proposals))
        kept: list[int] = []
        for row, indices in enumerate(proposals):
            rivals = [proposals[k] for k in kept if classes[k] == classes[row]]
            ious = [
                len(np.intersect1d(indices, rival)) / len(np.union1d(indices, rival))
                for rival in rivals
            ]
            if max(ious, default=0.0) <= 0.4:
                kept.append(row)
        assert stays(proposals, 0.4, classes) == kept


def labelled(proposals, min_voxels=1):
    return [(row, left.tolist()) for row, left in coherent_labelling(proposals, min_voxels)]


def test_a_voxel_stays_with_the_best_instance():
    assert labelled([span(0, 4), span(3, 7)]) == [(0, [0, 1, 2, 3]), (1, [4, 5, 6])]


def test_a_remainder_that_is_too_small_is_dropped():
    assert labelled([span(0, 4), span(3, 7)], min_voxels=4) == [(0, [0, 1, 2, 3])]


def test_less_than_half_of_a_proposal_is_dropped():
    assert labelled([span(0, 4), span(1, 7)]) == [(0, [0, 1, 2, 3]), (1, [4, 5, 6])]
    assert labelled([span(0, 5), span(1, 8)]) == [(0, [0, 1, 2, 3, 4])]


def test_voxels_of_what_was_dropped_are_free_for_the_next():
    assert labelled([span(0, 5), span(1, 8), span(5, 8)]) == [(0, [0, 1, 2, 3, 4]), (2, [5, 6, 7])]
