"""Tests of mtml_tf.segmentation.learned_score."""

import dataclasses

import numpy as np
import pytest

from mtml_tf.scene import VoxelScene
from mtml_tf.segmentation import learned_score
from mtml_tf.segmentation.learned_score import COLUMNS, Trees, describe_proposals, fit_trees

TABLE, CHAIR = 7, 5
# In a row along x: four voxels of a chair, one of a table, a gap, and two of a chair.
PLACES = [0, 1, 2, 3, 4, 6, 7]
ROW = VoxelScene(
    "row",
    np.array([[x, 0, 0] for x in PLACES], np.int32),
    (8, 2, 2),
    0.1,
    np.zeros(3),
    np.array([CHAIR] * 4 + [TABLE] + [CHAIR] * 2, np.int32),
)


def described(*proposals, scene=ROW, statistics=None, direction=None, label=None):
    found = describe_proposals(
        [np.array(rows, np.int32) for rows in proposals],
        np.full(len(proposals), CHAIR, np.int32),
        scene,
        direction,
        np.full(len(proposals), 0.5),
        label,
        statistics or {},
    )
    return dict(zip(COLUMNS, found.T, strict=True))


def test_the_label_score_is_seen_and_is_1_where_there_is_none():
    assert described([0, 1], [2])["label"].tolist() == [1, 1]
    assert described([0, 1], [2], label=np.array([0.5, 0.2]))["label"].tolist() == [0.5, 0.2]


def test_contact_is_the_share_of_faces_within_the_label_that_lead_out():
    # Chair voxels 0 to 3 have 3 faces between them, two of a pair that is cut at its end: its two
    # voxels have 1 + 2 ends of faces, of which 2 are their own. The table's faces do not count.
    found = described([0, 1, 2, 3], [0, 1], [5, 6], [4], [1, 2])
    np.testing.assert_allclose(found["contact"], [0, 1 / 3, 0, 0, 1 / 2])


def test_the_largest_piece_and_the_label_have_their_shares():
    found = described([0, 1, 2, 3], [2, 3, 4, 5, 6], [0, 2, 6])
    np.testing.assert_allclose(found["largest_piece"], [1, 3 / 5, 1 / 3])
    np.testing.assert_allclose(found["label_share"], [1, 4 / 5, 1])


def test_sizes_are_compared_with_those_of_the_class():
    found = described([0, 1, 2, 3], statistics={CHAIR: (np.log(2), 0.5)})
    np.testing.assert_allclose(found["log_size"], [np.log(4)])
    np.testing.assert_allclose(found["deviation"], [np.log(2) / 0.5])
    np.testing.assert_allclose(found["class_size"], [np.log(2)])
    unknown = described([0, 1, 2, 3])
    assert unknown["deviation"] == [0]
    np.testing.assert_allclose(unknown["class_size"], [np.log(4)])


def test_extents_do_not_depend_on_how_a_proposal_lies():
    line = [[x, 0, 0] for x in range(3)]
    diagonal = [[10 + x, x, 0] for x in range(3)]
    pole = [[20, 0, z] for z in range(3)]
    scene = dataclasses.replace(
        ROW,
        coordinates=np.array(line + diagonal + pole, np.int32),
        grid_shape=(22, 4, 4),
        semantic_ids=np.full(9, CHAIR, np.int32),
    )
    found = described([0, 1, 2], [3, 4, 5], [6, 7, 8], scene=scene)
    spread = np.sqrt(2 / 3)
    np.testing.assert_allclose(found["height"], [0, 0, spread], atol=1e-9)
    np.testing.assert_allclose(found["length"], [spread, spread * np.sqrt(2), 0], atol=1e-9)
    np.testing.assert_allclose(found["width"], [0, 0, 0], atol=1e-7)


def test_a_proposal_knows_the_largest_one_within_it_and_around_it():
    found = described([0, 1, 2, 3], [2, 3], [2, 3, 4], [4, 5])
    np.testing.assert_allclose(found["holds"], [2 / 4, 0, 2 / 3, 0])
    np.testing.assert_allclose(found["held"], [0, np.log(4 / 2), 0, 0])


def test_coherencies_are_taken_as_they_are():
    assert described([0])["direction"] == [0]
    found = described([0], [1], direction=np.array([0.25, -1]))
    np.testing.assert_array_equal(found["direction"], [0.25, -1])
    np.testing.assert_array_equal(found["feature"], [0.5, 0.5])


def test_no_proposals_have_no_rows():
    none = describe_proposals([], np.zeros(0, np.int32), ROW, None, np.zeros(0), None, {})
    assert none.shape == (0, len(COLUMNS))
    assert small_trees()(none).shape == (0,)


def small_trees(**changed):
    """0.5, and 0.25 for a direction above 0, else -0.1 or -0.7 by log_size at most 2 or above."""
    fields = {
        "base": 0.5,
        "roots": [0],
        "column": [0, 2, 0, 0, 0],
        "threshold": [0.0, 2.0, 0, 0, 0],
        "right": [4, 3, -1, -1, -1],
        "value": [0, 0, -0.1, -0.7, 0.25],
    }
    return Trees.from_dict({**fields, **changed})


def test_a_proposal_goes_down_to_its_leaf_and_scores_stay_between_0_and_1():
    rows = np.zeros((4, len(COLUMNS)))
    rows[:, 0] = [1, 0, 0, -1]
    rows[:, 2] = [0, 2, 3, 1]
    np.testing.assert_allclose(small_trees()(rows), [0.75, 0.4, 0, 0.4])


def test_trees_go_through_a_dictionary():
    trees = small_trees()
    again = Trees.from_dict(trees.to_dict())
    for field in dataclasses.fields(Trees):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(trees, field.name))


@pytest.mark.parametrize(
    "changed",
    [
        {"right": [0, 3, -1, -1, -1]},  # a circle
        {"right": [9, 3, -1, -1, -1]},
        {"column": [99, 2, 0, 0, 0]},
        {"value": [0, 0, np.nan, 0, 0]},
        {"threshold": [0.0]},
        {"roots": [5]},
        {"base": None},
    ],
)
def test_what_are_no_trees_is_refused(changed):
    with pytest.raises(ValueError, match="expected regression trees"):
        small_trees(**changed)


def examples(count=600):
    rng = np.random.default_rng(0)
    rows = rng.uniform(0, 1, (count, len(COLUMNS)))
    return rows, 0.2 + 0.6 * rows[:, 0] * (rows[:, 2] > 0.5)


def test_fitted_trees_say_what_those_of_scikit_learn_say(monkeypatch):
    from sklearn import ensemble

    fitted = []

    class Kept(ensemble.HistGradientBoostingRegressor):
        def fit(self, *arguments):
            fitted.append(super().fit(*arguments))
            return self

    monkeypatch.setattr(ensemble, "HistGradientBoostingRegressor", Kept)
    rows, ious = examples()
    trees = fit_trees(rows, ious)
    np.testing.assert_allclose(trees(rows), fitted[0].predict(rows), atol=1e-5)
    assert np.abs(trees(rows) - ious).mean() < 0.03


def test_better_directions_never_lower_a_fitted_score():
    rows, ious = examples()
    trees = fit_trees(rows, 1 - ious)  # where the examples say the opposite
    worse, better = rows.copy(), rows.copy()
    worse[:, 0], better[:, 0] = 0, 1
    assert np.all(trees(better) >= trees(worse))


def test_fitted_trees_are_few():
    trees = fit_trees(*examples())
    assert len(trees.roots) == learned_score._NUM_TREES
    assert len(trees.column) <= learned_score._NUM_TREES * (2 ** (learned_score._MAX_DEPTH + 1) - 1)
