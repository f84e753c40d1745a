"""Explanations: each category by hand, sums, and agreement with a plain implementation."""

import random

import hypothesis
import numpy as np
import pytest
import reference_scoring
from hypothesis import strategies as st

from mtml_tf.classes import ClassSet
from mtml_tf.scene import Instance
from mtml_tf.scoring import explain
from mtml_tf.scoring.explain import OBJECT_KINDS, PREDICTION_KINDS, explain_scene

CLASSES = ClassSet((1, 3, 5), ("floor", "cup", "box"), ("stuff", "thing", "thing"))
# Rows 0 to 19: cup 1; 20 to 39: cup 2; 40 to 59: box 1; 60 to 64: cup 3, too small; 65 to 99 floor.
IDS = np.repeat([3001, 3002, 5001, 3003, 1000], [20, 20, 20, 5, 35])


def instance(start, stop, class_id=3, score=0.5):
    return Instance(class_id, score, np.arange(start, stop, dtype=np.int32))


def counts(*instances, ids=IDS, min_vertices=10):
    """Returns {class: ({kind: objects}, {kind: predictions})}, kinds that occur only."""
    found = explain_scene(ids, instances, CLASSES, min_vertices)
    return {
        name: (
            {kind: n for kind, n in zip(OBJECT_KINDS, objects, strict=True) if n},
            {kind: n for kind, n in zip(PREDICTION_KINDS, predictions, strict=True) if n},
        )
        for name, objects, predictions in zip(
            found.names, found.objects.tolist(), found.predictions.tolist(), strict=True
        )
    }


def test_without_predictions_all_is_missed():
    assert counts() == {"cup": ({"missed": 2}, {}), "box": ({"missed": 1}, {})}


def test_a_prediction_above_a_half_finds_its_object():
    found = counts(instance(0, 11), instance(20, 40), instance(40, 60, 5))
    assert found == {"cup": ({"found": 2}, {"match": 2}), "box": ({"found": 1}, {"match": 1})}


def test_a_half_is_not_enough():
    assert counts(instance(0, 10))["cup"] == ({"missed": 2}, {"false": 1})


def test_the_better_score_is_the_match_and_the_others_are_duplicates():
    found = counts(instance(0, 15), instance(0, 20, score=0.9), instance(0, 20, score=0.9))
    assert found["cup"] == ({"found": 1, "missed": 1}, {"match": 1, "duplicate": 2})


def test_one_prediction_on_two_objects_merges_them():
    assert counts(instance(0, 40))["cup"] == ({"merged": 2}, {"false": 1})
    # More than half of each is enough.
    assert counts(instance(9, 31))["cup"] == ({"merged": 2}, {"false": 1})
    assert counts(instance(10, 31))["cup"] == ({"missed": 2}, {"false": 1})


def test_an_object_that_a_merging_prediction_only_touches_is_missed():
    ids = np.repeat([3001, 3002, 3003], [20, 20, 20])
    assert counts(instance(0, 44), ids=ids)["cup"] == ({"merged": 2, "missed": 1}, {"false": 1})


def test_objects_of_two_classes_are_not_merged():
    assert counts(instance(20, 60)) == {
        "cup": ({"missed": 2}, {"false": 1}),
        "box": ({"missed": 1}, {}),
    }


def test_an_object_that_is_found_in_spite_of_merging_is_found():
    ids = np.repeat([3001, 3002, 1000], [40, 12, 40])
    assert counts(instance(0, 52), ids=ids)["cup"] == ({"found": 1, "merged": 1}, {"match": 1})


def test_a_merging_prediction_that_is_not_the_best_does_not_count():
    found = counts(instance(0, 40), instance(0, 10), instance(10, 20))
    # 40 rows have an IoU of 1/2 with each cup, its halves as well: the first of them is the best.
    assert found["cup"][0] == {"merged": 2}
    found = counts(instance(0, 40), instance(0, 10), instance(10, 20), instance(20, 31))
    assert found["cup"][0] == {"merged": 1, "found": 1}
    found = counts(instance(0, 45), instance(0, 10), instance(10, 20))
    assert found["cup"][0] == {"split": 1, "merged": 1}


def test_pieces_that_together_cover_an_object_split_it():
    assert counts(instance(0, 10), instance(10, 20))["cup"] == (
        {"split": 1, "missed": 1},
        {"false": 2},
    )
    # Pieces that do not cover half of it, though the sum of their sizes does.
    assert counts(instance(0, 10), instance(0, 10))["cup"] == ({"missed": 2}, {"false": 2})
    # Of the second no more than half lies on the cup: it is no piece of it.
    assert counts(instance(10, 20), instance(0, 10), min_vertices=9)["cup"][0]["split"] == 1
    floor_too = Instance(3, 0.5, np.array([*range(10), *range(80, 90)], np.int32))
    assert counts(instance(10, 20), floor_too)["cup"][0] == {"missed": 2}


def test_an_object_that_another_class_finds_is_of_the_wrong_class():
    assert counts(instance(40, 60)) == {
        "cup": ({"missed": 2}, {"wrong class": 1}),
        "box": ({"wrong class": 1}, {}),
    }


def test_an_object_that_is_found_by_two_classes_is_found():
    found = counts(instance(40, 60), instance(40, 60, 5))
    assert found["box"] == ({"found": 1}, {"match": 1})
    assert found["cup"] == ({"missed": 2}, {"wrong class": 1})


def test_the_wrong_class_weighs_more_than_pieces():
    found = counts(instance(40, 60), instance(40, 50, 5), instance(50, 60, 5))
    assert found["box"] == ({"wrong class": 1}, {"false": 2})


def test_classes_that_are_not_scored_are_neither_predictions_nor_wrong_classes():
    found = counts(instance(40, 60, 1), instance(40, 60, 99))
    assert found == {"cup": ({"missed": 2}, {}), "box": ({"missed": 1}, {})}


@pytest.mark.parametrize(
    ("ignored", "kind"),
    [
        (instance(80, 100), "ignored"),  # on the floor
        (instance(60, 70), "ignored"),  # on the small cup and the floor
        (instance(60, 69), "ignored"),  # itself too small
        (instance(45, 65), "wrong class"),
        (instance(50, 70), "false"),  # half on the box, half ignored
        (instance(49, 71), "false"),  # 11 of 22
        (instance(49, 72), "ignored"),  # 12 of 23
    ],
)
def test_what_ap50_does_not_count_is_ignored(ignored, kind):
    assert counts(ignored)["cup"][1] == {kind: 1}


def test_a_too_small_object_of_another_class_is_no_reason_to_ignore():
    ids = np.repeat([3001, 5001], [9, 30])
    assert counts(instance(0, 13, 5), ids=ids)["box"] == ({"missed": 1}, {"wrong class": 1})


def test_a_match_with_a_too_small_object_is_ignored():
    ids = np.repeat([3001, 3002, 5001], [9, 20, 20])
    assert counts(instance(0, 13), ids=ids)["cup"] == ({"missed": 1}, {"ignored": 1})


def test_empty_predictions_are_ignored_and_counted():
    empty = Instance(3, 0.5, np.zeros(0, np.int32))
    with np.errstate(all="raise"):
        assert counts(empty, min_vertices=0)["cup"][1] == {"ignored": 1}


@hypothesis.given(st.integers(0, 2**32))
@hypothesis.settings(max_examples=150)
def test_sums_are_all_objects_and_predictions_and_agree_with_ap50(seed):
    scenes, min_vertices = reference_scoring.random_case(random.Random(seed))
    classes = reference_scoring.CLASSES
    total = explain.explain_nothing(classes)
    for ids, instances in scenes:
        total += explain_scene(ids, instances, classes, min_vertices)
    expected = reference_scoring.reference_counts(scenes, classes.thing_ids, min_vertices, 0.5)
    for row, class_id in enumerate(classes.thing_ids):
        objects = dict(zip(OBJECT_KINDS, total.objects[row].tolist(), strict=True))
        kinds = dict(zip(PREDICTION_KINDS, total.predictions[row].tolist(), strict=True))
        right, wrong, unfound = expected[class_id]
        assert objects["found"] == kinds["match"] == right
        assert sum(objects.values()) == right + unfound
        assert kinds["duplicate"] + kinds["wrong class"] + kinds["false"] == wrong
        given = sum(i.class_id == class_id for _, instances in scenes for i in instances)
        assert sum(kinds.values()) == given


def test_predictions_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="expected vertex rows from 0 to 99, found 90 to 100"):
        counts(instance(90, 101))


@pytest.fixture
def table():
    return explain.Explanation(
        ("cup", "lid, round"),
        np.array([[1, 0, 2, 0, 100], [0, 0, 0, 0, 0]]),
        np.array([[1, 0, 0, 0, 7], [0, 1, 2, 3, 4]]),
    )


def test_text_is_aligned_and_adds_up(table):
    lines = table.encode_text().splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[0].split("  ")[0] == "class"
    assert [line.split()[-12:] for line in lines[1:]] == [
        ["103", "1", "0", "2", "0", "100", "8", "1", "0", "0", "0", "7"],
        ["0", "0", "0", "0", "0", "0", "10", "0", "1", "2", "3", "4"],
        ["103", "1", "0", "2", "0", "100", "18", "1", "1", "2", "3", "11"],
    ]


def test_markdown_is_a_table(table):
    lines = table.encode_markdown().splitlines()
    assert lines[0] == (
        "| class | objects | found | wrong class | merged | split | missed | predictions | match | "
        "duplicate | ignored | wrong class | false |"
    )
    assert lines[2] == "| cup | 103 | 1 | 0 | 2 | 0 | 100 | 8 | 1 | 0 | 0 | 0 | 7 |"
    assert {line.count("|") for line in lines} == {14}
    assert len(lines) == 5


def test_a_class_set_without_things_has_a_row_of_sums():
    floor = ClassSet((1,), ("floor",), ("stuff",))
    empty = explain_scene(IDS, [instance(0, 20)], floor)
    assert empty.rows() == [("all", [0] * 12)]
