"""Tests of mtml_tf.segmentation.mean_shift."""

import numpy as np
import pytest
from scipy import spatial
from sklearn import cluster, metrics

from mtml_tf.segmentation import mean_shift as module
from mtml_tf.segmentation.mean_shift import mean_shift


def blobs(count, modes=10, size=4, std=0.2, bridges=0.0, seed=0):
    """Returns float32 [count, size] features and the blob of each; some lie between blobs."""
    random = np.random.default_rng(seed)
    centres = np.zeros((0, size))
    while len(centres) < modes:
        centre = random.uniform(-4, 4, size)
        if all(np.linalg.norm(centres - centre, axis=1) > 2.0):
            centres = np.vstack([centres, centre])
    labels = random.integers(0, modes, count)
    targets = np.where(random.random(count) < bridges, random.integers(0, modes, count), labels)
    share = random.random((count, 1)) / 2
    means = centres[labels] * (1 - share) + centres[targets] * share
    return (means + random.normal(0, std, (count, size))).astype(np.float32), labels


@pytest.mark.parametrize("bandwidth", [0.6, 1.0, 1.5])
@pytest.mark.parametrize(("std", "bridges"), [(0.05, 0.0), (0.2, 0.0), (0.25, 0.1)])
def test_clusters_are_those_of_scikit_learn(bandwidth, std, bridges):
    features, _ = blobs(2000, std=std, bridges=bridges)
    labels, centres = mean_shift(features, bandwidth)
    reference = cluster.MeanShift(bandwidth=bandwidth, bin_seeding=True).fit(features)
    assert metrics.adjusted_rand_score(reference.labels_, labels) >= 0.99
    # The well populated modes are at the same places.
    large = reference.cluster_centers_[np.bincount(reference.labels_) >= 50]
    distances = np.linalg.norm(large[:, None] - centres, axis=2).min(axis=1)
    assert distances.max() < 0.1 * bandwidth


def test_well_separated_blobs_are_found_exactly():
    features, truth = blobs(3000, std=0.1)
    labels, centres = mean_shift(features, 1.0)
    assert metrics.adjusted_rand_score(truth, labels) == 1.0
    assert centres.shape == (10, 4)
    for label, centre in enumerate(centres):
        np.testing.assert_allclose(centre, features[labels == label].mean(axis=0), atol=1e-3)


def test_many_equal_features_count_as_many():
    # Two windows reach both places; the mode is the weighted mean: (3 * 0 + 1 * 0.8) / 4.
    _, centres = mean_shift(np.array([[0.0], [0.0], [0.0], [0.8]], np.float32), 1.0)
    np.testing.assert_allclose(centres, [[0.2]], atol=1e-6)


def test_features_at_exactly_one_bandwidth_are_in_the_window():
    # The window at 0 has all three; without the outer ones there would be three modes.
    _, centres = mean_shift(np.array([[-1.0], [0.0], [1.0]], np.float32), 1.0)
    np.testing.assert_allclose(centres, [[0.0]], atol=1e-6)


def test_modes_are_sorted_by_count_then_by_coordinates():
    features = np.array([[9.0, 1], [5, 0], [5, 0], [9, -1]], np.float32)
    labels, centres = mean_shift(features, 0.5)
    np.testing.assert_array_equal(centres, [[5, 0], [9, -1], [9, 1]])
    np.testing.assert_array_equal(labels, [2, 0, 0, 1])


def test_of_equal_modes_within_a_bandwidth_the_one_whose_coordinates_come_first_stays():
    # Windows start at 0, 0.64 and 1.28; two come to rest at 0.5, one at 0.9, with three features
    # in each.
    labels, centres = mean_shift(np.array([[0.1], [0.5], [0.9], [1.3]], np.float32), 0.64)
    np.testing.assert_allclose(centres, [[0.5]], atol=1e-6)
    np.testing.assert_array_equal(labels, [0, 0, 0, 0])


def test_the_order_of_the_features_has_no_influence():
    features, _ = blobs(2000, bridges=0.1)
    order = np.random.default_rng(1).permutation(len(features))
    labels, centres = mean_shift(features, 0.6)
    shuffled_labels, shuffled_centres = mean_shift(features[order], 0.6)
    np.testing.assert_allclose(shuffled_centres, centres, atol=1e-6)
    np.testing.assert_array_equal(shuffled_labels, labels[order])


def test_a_translation_moves_the_centres_only():
    features, _ = blobs(2000, std=0.1)
    shift = np.array([10.3, -7.7, 0.21, 100.0], np.float32)
    labels, centres = mean_shift(features, 1.0)
    moved_labels, moved_centres = mean_shift(features + shift, 1.0)
    assert metrics.adjusted_rand_score(labels, moved_labels) == 1.0
    distances = np.linalg.norm(moved_centres[:, None] - (centres + shift), axis=2)
    assert distances.min(axis=0).max() < 1e-3


def test_scaling_features_and_bandwidth_by_a_power_of_two_changes_no_label():
    features, _ = blobs(2000, bridges=0.1)
    labels, centres = mean_shift(features, 0.6)
    scaled_labels, scaled_centres = mean_shift(features * 4, 2.4)
    np.testing.assert_array_equal(scaled_labels, labels)
    np.testing.assert_allclose(scaled_centres, centres * 4, rtol=1e-6)


def test_features_far_apart_keep_their_precision():
    # One group of windows spans 2e6; differences of 0.1 within it must still count.
    features = np.array([[-1e6], [1e6], [1e6 + 1]], np.float32)
    labels, centres = mean_shift(features, 0.5)
    assert len(centres) == 3
    assert len(set(labels.tolist())) == 3


def test_every_centre_is_the_mean_of_all_features_in_its_window():
    features = np.random.default_rng(0).uniform(-3, 3, (3000, 2)).astype(np.float32)
    _, centres = mean_shift(features, 1.0)
    near = np.linalg.norm(features[:, None] - centres, axis=2) <= 1.0
    means = near.T.astype(np.float64) @ features / near.sum(axis=0)[:, None]
    # A step of the tolerance, 0.001, may let in or leave out a feature at the rim.
    np.testing.assert_allclose(means, centres, atol=0.01)


def test_features_near_the_rim_of_a_window_count():
    # Three quarters of a circle, all within 0.98 and most beyond 0.6 of their mean.
    angles = np.linspace(0, 1.5 * np.pi, 1000)
    features = (0.75 * np.stack([np.cos(angles), np.sin(angles)], axis=1)).astype(np.float32)
    _, centres = mean_shift(features, 1.0)
    np.testing.assert_allclose(centres, [features.mean(axis=0)], atol=1e-5)


def test_every_feature_goes_to_the_nearest_centre():
    features, _ = blobs(1000, bridges=0.3)
    labels, centres = mean_shift(features, 1.0)
    distances = np.linalg.norm(features[:, None] - centres, axis=2)
    np.testing.assert_array_equal(labels, distances.argmin(axis=1))
    assert labels.dtype == np.int32
    assert centres.dtype == np.float32


def test_no_features_have_no_clusters():
    labels, centres = mean_shift(np.zeros((0, 4), np.float32), 1.0)
    assert labels.shape == (0,)
    assert centres.shape == (0, 4)


def test_one_feature_is_its_own_cluster():
    labels, centres = mean_shift(np.array([[0.3, -0.7]], np.float32), 1.0)
    np.testing.assert_array_equal(labels, [0])
    np.testing.assert_allclose(centres, [[0.3, -0.7]], atol=1e-6)


def test_equal_features_are_one_cluster():
    labels, centres = mean_shift(np.full((500, 3), 1.7, np.float32), 0.6)
    assert not labels.any()
    np.testing.assert_allclose(centres, [[1.7, 1.7, 1.7]], rtol=1e-6)


def test_not_a_number_is_refused():
    features = np.array([[0.0, 1.0], [np.nan, 2.0]], np.float32)
    with pytest.raises(ValueError, match=r"expected finite features, found \[nan, 2.0\]"):
        mean_shift(features, 1.0)


def test_a_bandwidth_of_zero_is_refused():
    with pytest.raises(ValueError, match="expected a finite bandwidth above 0, found 0"):
        mean_shift(np.zeros((3, 2), np.float32), 0)


def test_features_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"expected features of shape \[M, E\], found \[3\]"):
        mean_shift(np.zeros(3, np.float32), 1.0)


@pytest.mark.parametrize("size", [5, 8, 16])
def test_long_features_are_found_wherever_they_lie_in_their_cell(size):
    labels, centres = mean_shift(np.full((3, size), 0.49, np.float32), 1.0)
    np.testing.assert_array_equal(labels, [0, 0, 0])
    np.testing.assert_allclose(centres, np.full((1, size), 0.49), atol=1e-6)


def test_no_cluster_of_long_features_is_lost():
    random = np.random.default_rng(0)
    places = random.uniform(-20, 20, (200, 8))
    features = np.repeat(places, 5, axis=0) + random.normal(0, 0.02, (1000, 8))
    labels, centres = mean_shift(features.astype(np.float32), 1.0)
    assert len(centres) == 200
    assert metrics.adjusted_rand_score(np.repeat(np.arange(200), 5), labels) == 1


def test_thousands_of_modes_lie_a_bandwidth_apart():
    features = np.random.default_rng(0).uniform(-10, 10, (20_000, 4))
    _, centres = mean_shift(features, 0.6)
    distances, _ = spatial.KDTree(centres).query(centres, k=2)
    assert len(centres) > 10_000
    assert distances[:, 1].min() > 0.6 * (1 - 1e-6)


def test_work_grows_far_slower_than_the_square_of_the_modes(monkeypatch):
    met, rows_near = [], module._rows_near

    def counted(*arguments):
        rows = rows_near(*arguments)
        met.append(len(rows))
        return rows

    monkeypatch.setattr(module, "_rows_near", counted)
    totals = []
    for count in (2_000, 8_000):  # nearly each one its own mode
        met.clear()
        mean_shift(np.random.default_rng(0).uniform(-10, 10, (count, 4)), 0.6)
        totals.append(sum(met))
    assert totals[1] < 9 * totals[0]  # groups that met all blocks: 16
