"""Tests of mtml_tf.scans.turning."""

import numpy as np
import pytest

from mtml_tf.scans import turning
from mtml_tf.scene import Scene


def test_a_quarter_turns_x_to_y_and_leaves_heights():
    scene = Scene("a", np.array([[1.0, 0, 5], [0, 2, -1]]), semantic_ids=np.array([3, 4]))
    found = turning.turned(scene, np.pi / 2)
    np.testing.assert_allclose(found.vertices, [[0, 1, 5], [-2, 0, -1]], atol=1e-12)
    assert found.semantic_ids is scene.semantic_ids


def test_the_angle_0_changes_no_bit():
    vectors = np.random.default_rng(0).normal(size=(50, 3))
    np.testing.assert_array_equal(turning.turned_vectors(vectors, 0), vectors)


@pytest.mark.parametrize(
    ("num_views", "degrees"),
    [(1, [0]), (2, [0, 135]), (3, [0, 120, 240]), (4, [0, 112.5, 225, 337.5])],
)
def test_views_lie_round_the_circle_and_differ_within_the_quarter(num_views, degrees):
    angles = np.degrees(turning.view_angles(num_views))
    np.testing.assert_allclose(angles, degrees)
    within = np.sort(np.round(angles, 6) % 90)
    np.testing.assert_allclose(within, np.arange(num_views) * 90 / num_views, atol=1e-5)


def test_no_view_at_all_is_refused():
    with pytest.raises(ValueError, match="expected at least 1 view, found 0"):
        turning.view_angles(0)
