"""Tests of mtml_tf.segmentation.scores."""

import math

import numpy as np
import pytest

from mtml_tf.scene import VoxelScene
from mtml_tf.segmentation import scores

PAIR = [np.array([0, 1], np.int32)]
# Two voxels along x; their centre is between them.
ALONG_X = np.array([[0, 0, 0], [2, 0, 0]], np.int32)


def direction_score(direction, coordinates=ALONG_X, proposals=PAIR):
    return scores.direction_coherency(
        proposals, np.asarray(coordinates), np.asarray(direction, np.float32)
    )


@pytest.mark.parametrize(
    ("direction", "expected"),
    [
        ([[1, 0, 0], [-1, 0, 0]], 1.0),  # towards the centre
        ([[-1, 0, 0], [1, 0, 0]], -1.0),  # away from it
        ([[0, 1, 0], [0, 0, 1]], 0.0),  # across
        ([[5, 0, 0], [-0.1, 0, 0]], 1.0),  # lengths don't count
        ([[1, 0, 0], [0, 0, 0]], 0.5),  # a zero prediction counts as 0
        ([[1, 1, 0], [-1, 0, 0]], (math.sqrt(0.5) + 1) / 2),
    ],
)
def test_direction_coherency_is_the_mean_cosine_to_the_centre(direction, expected):
    np.testing.assert_allclose(direction_score(direction), [expected], atol=1e-12)


def test_a_voxel_at_the_centre_counts_as_zero():
    coordinates = [[0, 0, 0], [1, 0, 0], [2, 0, 0]]
    found = direction_score(
        [[1, 0, 0], [1, 0, 0], [-1, 0, 0]], coordinates, [np.arange(3, dtype=np.int32)]
    )
    np.testing.assert_allclose(found, [2 / 3])


def test_direction_coherency_is_the_same_after_a_translation():
    random = np.random.default_rng(0)
    coordinates, direction = random.integers(0, 20, (50, 3)), random.normal(size=(50, 3))
    proposals = [np.arange(50, dtype=np.int32), np.arange(7, 30, dtype=np.int32)]
    np.testing.assert_allclose(
        direction_score(direction, coordinates + np.array([1000, -5, 3]), proposals),
        direction_score(direction, coordinates, proposals),
        atol=1e-12,
    )


def test_proposals_are_scored_apart():
    coordinates = [[0, 0, 0], [2, 0, 0], [4, 0, 0]]
    found = direction_score(
        [[1, 0, 0], [-1, 0, 0], [-1, 0, 0]],
        coordinates,
        [np.array([0, 1], np.int32), np.array([1, 2], np.int32), np.array([2], np.int32)],
    )
    np.testing.assert_allclose(found, [1.0, 0.0, 0.0])


def test_feature_coherency_is_the_share_near_the_mean():
    # The mean is 1; distances are 1, 1, 1, 3.
    embedding = np.array([[0.0], [0.0], [0.0], [4.0]], np.float32)
    proposal = [np.arange(4, dtype=np.int32)]
    assert scores.feature_coherency(proposal, embedding, 1.5).tolist() == [0.75]
    assert scores.feature_coherency(proposal, embedding, 0.9).tolist() == [0.0]
    assert scores.feature_coherency(proposal, embedding, 3.0).tolist() == [1.0]


def test_feature_coherency_counts_a_feature_at_exactly_the_threshold():
    embedding = np.array([[0.0, 0.0], [6.0, 8.0]], np.float32)
    assert scores.feature_coherency(PAIR, embedding, 5.0).tolist() == [1.0]


def size_score_of(size, statistics):
    proposal = np.arange(size, dtype=np.int32)
    return scores.size_score([proposal], np.array([4], np.int32), statistics)[0]


def test_size_score_is_a_bell_over_the_logarithm_of_the_size():
    statistics = {4: (math.log(100), 0.5)}
    assert size_score_of(100, statistics) == pytest.approx(1.0)
    assert size_score_of(50, statistics) == pytest.approx(math.exp(-((math.log(2) / 0.5) ** 2) / 2))
    assert size_score_of(50, statistics) == pytest.approx(size_score_of(200, statistics))


def test_size_score_of_an_odd_size_is_bounded():
    statistics = {4: (math.log(100), 0.25)}
    assert size_score_of(1, statistics) == pytest.approx(math.exp(-4.5))
    assert size_score_of(100_000, statistics) == pytest.approx(math.exp(-4.5))


def test_size_score_of_a_class_without_statistics_is_one():
    assert size_score_of(17, {5: (0.0, 1.0)}) == 1.0
    assert size_score_of(17, {}) == 1.0


def test_label_score_is_the_mean_probability_of_the_proposals_class():
    labels = np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.0, 0.1, 0.9]], np.float32)
    proposals = [np.array([0, 1], np.int32), np.array([1, 2], np.int32)]
    found = scores.label_score(proposals, np.array([7, 4]), labels, (4, 7, 0))
    np.testing.assert_allclose(found, [0.55, 0.05], rtol=1e-6)
    assert scores.label_score([], np.zeros(0, np.int32), labels, (4, 7, 0)).shape == (0,)


def final(direction, feature, size, *weights):
    return scores.final_score(
        None if direction is None else np.array([direction]),
        np.array([feature]),
        np.array([size]),
        *weights,
    )[0]


def test_final_score_is_the_geometric_mean():
    assert final(0.5, 0.8, 0.9, 1, 1, 1) == pytest.approx((0.5 * 0.8 * 0.9) ** (1 / 3))
    assert final(0.5, 0.8, 0.9, 2, 1, 0) == pytest.approx((0.5**2 * 0.8) ** (1 / 3))


def test_a_weight_of_zero_takes_a_score_out():
    assert final(-1.0, 0.8, 1.0, 0, 1, 0) == pytest.approx(0.8)
    assert final(None, 0.8, 1.0, 0, 1, 0) == pytest.approx(0.8)
    assert final(-1.0, 0.0, 0.1, 0, 0, 0) == 1.0


def test_a_label_score_is_one_more_factor():
    arguments = [np.array([value]) for value in (0.5, 0.8, 0.9)]
    found = scores.final_score(*arguments, 1, 1, 1, np.array([0.25]), 2)[0]
    assert found == pytest.approx((0.5 * 0.8 * 0.9 * 0.25**2) ** (1 / 5))


def test_directions_that_lead_away_give_zero():
    assert final(-0.2, 1.0, 1.0, 1, 1, 1) == 0.0


def test_no_directions_are_refused_where_they_have_a_weight():
    with pytest.raises(ValueError, match="expected a direction_weight of 0 where no directions"):
        final(None, 1.0, 1.0, 0.5, 1, 1)


def test_no_proposals_have_no_scores():
    none = np.zeros(0)
    assert direction_score(np.zeros((2, 3)), proposals=[]).shape == (0,)
    assert scores.feature_coherency([], np.zeros((2, 4), np.float32), 1.0).shape == (0,)
    assert scores.size_score([], none, {4: (1.0, 1.0)}).shape == (0,)
    assert scores.final_score(none, none, none, 1, 1, 1).shape == (0,)


def line_scene(semantic_ids, instance_ids):
    coordinates = np.array([[x, 0, 0] for x in range(len(semantic_ids))], np.int32)
    return VoxelScene(
        "line",
        coordinates,
        (2 * len(semantic_ids), 2, 2),
        0.1,
        np.zeros(3),
        np.array(semantic_ids, np.int32),
        None if instance_ids is None else np.array(instance_ids, np.int32),
    )


def test_size_statistics_are_of_the_logarithm_for_each_class():
    first = line_scene([3] * 8 + [2] * 5 + [1] * 4, [7] * 8 + [2] * 5 + [0] * 4)
    # A voxel of another label doesn't change the class; the same id is another instance here.
    second = line_scene([3, 3, 9], [7, 7, 7])
    sizes = [scores.instance_sizes(scene) for scene in (first, second)]
    assert sizes == [{2: [5], 3: [8]}, {3: [3]}]
    found = scores.size_statistics({3: [8, 3], 2: [5]})
    assert list(found) == [2, 3]
    mean = (math.log(8) + math.log(3)) / 2
    assert found[3] == pytest.approx((mean, math.log(8) - mean))


def test_the_spread_of_sizes_has_a_floor():
    found = scores.size_statistics({2: [5]})
    assert found == {2: (pytest.approx(math.log(5)), 0.25)}


def test_unlabelled_instances_have_no_statistics():
    assert scores.instance_sizes(line_scene([0, 0], [1, 1])) == {}
    assert scores.size_statistics({}) == {}


def test_scenes_without_ground_truth_are_refused():
    with pytest.raises(ValueError, match="scene line: expected instance ids to measure sizes"):
        scores.instance_sizes(line_scene([1], None))
