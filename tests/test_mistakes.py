import numpy as np
import pytest

from mtml_tf.classes import ClassSet
from mtml_tf.drawing.mistakes import MISTAKE_COLORS, find_mistakes
from mtml_tf.scene import Instance
from mtml_tf.scoring.explain import OBJECT_KINDS, PREDICTION_KINDS, explain_scene

CLASSES = ClassSet((1, 2, 3), ("wall", "chair", "table"), ("stuff", "thing", "thing"))
# Objects of ten vertices, in this order; the wall comes last.
TRUTH = np.repeat([2001, 2002, 2003, 2004, 2005, 2006, 2007, 1000], 10)


def prediction(class_id, *rows):
    return Instance(class_id, 0.5, np.concatenate(rows).astype(np.int32))


PREDICTIONS = [
    prediction(2, np.arange(0, 9)),  # finds 2001
    prediction(3, np.arange(10, 20)),  # 2002 as a table
    prediction(2, np.arange(20, 40)),  # 2003 and 2004 in one
    prediction(2, np.arange(40, 45)),  # half of 2005
    prediction(2, np.arange(45, 50)),  # and the other half
    prediction(3, np.arange(57, 63)),  # a table on a bit of 2006 and of 2007
    prediction(2, np.arange(57, 60), np.arange(67, 71)),  # a chair on bits, and on the wall
]


def test_each_object_is_of_the_kind_that_the_explanation_counts():
    mistakes = find_mistakes(TRUTH, PREDICTIONS, CLASSES, min_vertices=1)
    assert mistakes.object_kinds == {
        2001: "found",
        2002: "wrong class",
        2003: "merged",
        2004: "merged",
        2005: "split",
        2006: "missed",
        2007: "missed",
    }
    explanation = explain_scene(TRUTH, PREDICTIONS, CLASSES, min_vertices=1)
    counts = mistakes.counts()
    assert [counts[kind] for kind in OBJECT_KINDS] == explanation.objects.sum(axis=0).tolist()
    false = explanation.predictions[:, PREDICTION_KINDS.index("false")].sum()
    assert counts["false"] == mistakes.num_false == false > 0


def test_false_predictions_are_painted_only_beside_the_objects():
    mistakes = find_mistakes(TRUTH, PREDICTIONS, CLASSES, min_vertices=1)
    assert np.flatnonzero(mistakes.on_false).tolist() == [70]
    colors = mistakes.colors(TRUTH, (1, 2, 3))
    assert tuple(colors[5]) == MISTAKE_COLORS["found"]
    assert tuple(colors[69]) == MISTAKE_COLORS["missed"]
    assert tuple(colors[70]) == MISTAKE_COLORS["false"]
    assert tuple(colors[75]) == (1, 2, 3)


def test_too_small_objects_are_not_looked_for():
    mistakes = find_mistakes(TRUTH, PREDICTIONS, CLASSES, min_vertices=11)
    assert mistakes.object_kinds == {}
    assert find_mistakes(TRUTH, [], CLASSES, 1).counts()["missed"] == 7


def test_a_row_beyond_the_vertices_is_refused():
    with pytest.raises(ValueError, match="expected vertex rows from 0 to 79, found 80 to 80"):
        find_mistakes(TRUTH, [prediction(2, [80])], CLASSES)
