"""IoU of classes by hand, by a naive loop, and where classes or labels are missing."""

import math

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from mtml_tf.classes import SCANNET20, ClassSet
from mtml_tf.scoring.semantic_iou import confusion_matrix, semantic_iou

CLASSES = ClassSet((2, 5, 9), ("floor", "cup", "box"), ("stuff", "thing", "thing"))


def table_of(true_ids, predicted_ids, classes=CLASSES):
    return semantic_iou([(np.array(true_ids), np.array(predicted_ids))], classes)


def test_iou_and_accuracy_by_hand():
    table = table_of([2, 2, 2, 2, 5, 5, 9, 9], [2, 2, 2, 5, 5, 9, 9, 9])
    np.testing.assert_array_equal(table.confusion, [[3, 1, 0, 0], [0, 1, 1, 0], [0, 0, 2, 0]])
    np.testing.assert_allclose(table.iou, [3 / 4, 1 / 3, 2 / 3])
    np.testing.assert_allclose(table.accuracy, [3 / 4, 1 / 2, 1])
    assert table.mean_iou == pytest.approx((3 / 4 + 1 / 3 + 2 / 3) / 3)
    assert table.mean_accuracy == pytest.approx(3 / 4)
    assert table.overall_accuracy == 6 / 8


def test_vertices_whose_label_is_no_class_are_left_out():
    expected = table_of([2, 5, 9], [2, 5, 5])
    # Neither are they hits nor, where they are predicted, false positives.
    table = table_of([2, 5, 9, 0, 3, 40, 10**9, -1], [2, 5, 5, 5, 9, 2, 2, 2])
    np.testing.assert_array_equal(table.confusion, expected.confusion)


def test_what_is_predicted_and_no_class_is_a_miss():
    table = table_of([2] * 6, [2, 0, 3, 40, 10**9, -1])
    np.testing.assert_array_equal(table.confusion[0], [1, 0, 0, 5])
    np.testing.assert_array_equal(table.iou, [1 / 6, np.nan, np.nan])
    assert table.overall_accuracy == 1 / 6


def test_a_class_that_is_neither_true_nor_predicted_is_no_part_of_the_mean():
    table = table_of([2, 2, 9, 9, 0], [2, 2, 9, 2, 5])  # predicted where nothing is labelled
    np.testing.assert_array_equal(table.iou, [2 / 3, np.nan, 0.5])
    np.testing.assert_array_equal(table.accuracy, [1, np.nan, 0.5])
    assert table.mean_iou == table.mean_iou_of_occurring == pytest.approx(7 / 12)
    assert (table.mean_accuracy, table.overall_accuracy) == (0.75, 0.75)


def test_a_class_that_is_predicted_and_never_true_has_an_iou_of_0():
    table = table_of([2, 2, 9, 9], [2, 2, 9, 5])
    np.testing.assert_array_equal(table.iou, [1, 0, 0.5])
    np.testing.assert_array_equal(table.accuracy, [1, np.nan, 0.5])
    assert (table.mean_iou, table.mean_iou_of_occurring) == (0.5, 0.75)
    assert (table.mean_accuracy, table.overall_accuracy) == (0.75, 0.75)
    assert table.encode_text() == (
        "class                  IoU  accuracy\n"
        "floor                1.000     1.000\n"
        "cup                  0.000       nan\n"
        "box                  0.500     0.500\n"
        "average              0.500     0.750\n"
        "all vertices                   0.750\n"
        "classes that occur   0.750     0.750\n"
    )


@pytest.mark.parametrize("true_ids", [[], [0, 0, 7]])
def test_without_labels_nothing_is_scored(true_ids):
    table = table_of(true_ids, [2] * len(true_ids))
    values = [*table.iou, *table.accuracy, table.mean_iou, table.mean_accuracy]
    assert all(math.isnan(value) for value in [*values, table.overall_accuracy])
    assert "average          nan       nan\n" in table.encode_text()


def test_scenes_are_scored_together():
    scenes = [([2, 2, 5], [2, 5, 5]), ([9], [9]), ([5, 5], [2, 0])]
    true_ids, predicted_ids = (np.concatenate(parts) for parts in zip(*scenes, strict=True))
    apart = semantic_iou([(np.array(a), np.array(b)) for a, b in scenes], CLASSES)
    np.testing.assert_array_equal(apart.confusion, table_of(true_ids, predicted_ids).confusion)


def test_ids_of_8_bits_are_taken_for_what_they_are():
    ids = np.array([2, 5, 9, 255], np.uint8)
    np.testing.assert_array_equal(confusion_matrix(ids, ids, CLASSES)[:, :3], np.eye(3))


def test_another_number_of_predictions_is_refused():
    with pytest.raises(ValueError, match="scene 2 of those scored: expected 2 predicted class ids"):
        semantic_iou([(np.array([2]), np.array([2])), (np.array([2, 5]), np.array([2]))], CLASSES)


def by_loop(true_ids, predicted_ids, class_ids):
    """IoU of each class as the official program counts it, vertex by vertex."""
    confusion = {(a, b): 0 for a in class_ids for b in (*class_ids, None)}
    for true_id, predicted_id in zip(true_ids, predicted_ids, strict=True):
        if true_id in class_ids:
            confusion[true_id, predicted_id if predicted_id in class_ids else None] += 1
    for class_id in class_ids:
        hits = confusion[class_id, class_id]
        misses = sum(n for (a, b), n in confusion.items() if a == class_id and b != class_id)
        false = sum(n for (a, b), n in confusion.items() if a != class_id and b == class_id)
        union = hits + misses + false
        yield hits / union if union else math.nan


@hypothesis.given(
    pairs=st.lists(st.tuples(st.integers(0, 41), st.integers(0, 41)), max_size=200),
    classes=st.sampled_from([CLASSES, SCANNET20]),
)
def test_iou_is_that_of_a_loop_over_the_vertices(pairs, classes):
    true_ids, predicted_ids = np.array(pairs, int).reshape(-1, 2).T
    expected = list(by_loop(true_ids.tolist(), predicted_ids.tolist(), classes.ids))
    np.testing.assert_array_equal(table_of(true_ids, predicted_ids, classes).iou, expected)


def test_the_table_as_text_and_as_csv():
    table = table_of([2, 2, 2, 2, 9, 9], [2, 2, 2, 9, 9, 9])
    assert table.encode_text() == (
        "class            IoU  accuracy\n"
        "floor          0.750     0.750\n"
        "cup              nan       nan\n"
        "box            0.667     1.000\n"
        "average        0.708     0.875\n"
        "all vertices             0.833\n"
    )
    assert table.encode_csv() == (
        "class,class id,iou,accuracy\n"
        "floor,2,0.75,0.75\ncup,5,nan,nan\nbox,9,0.6666666666666666,1.0\n"
    )
