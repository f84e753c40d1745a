import numpy as np
import pytest

from mtml_tf.drawing.feature_colors import (
    DIRECTION_LEGEND,
    direction_colors,
    embedding_colors,
    principal_components,
)


def test_components_are_ordered_by_variance_and_have_one_sign():
    # (3, 4) / 5 is the axis of the largest variance.
    along = np.array([-2.0, 0.0, 0.0, 2.0])[:, None] * (0.6, 0.8)
    across = np.array([0.0, 0.5, -0.5, 0.0])[:, None] * (-0.8, 0.6)
    parts = principal_components(7 + along + across)
    np.testing.assert_allclose(parts[:, 0], [-2, 0, 0, 2], atol=1e-9)
    np.testing.assert_allclose(np.abs(parts[:, 1]), [0, 0.5, 0.5, 0], atol=1e-9)
    np.testing.assert_array_equal(parts[:, 2], 0)


def test_features_of_two_objects_get_two_colors():
    embedding = np.repeat([[0.0, 0.0], [4.0, 1.0]], 50, axis=0).astype(np.float32)
    embedding += np.random.default_rng(0).normal(0, 0.01, embedding.shape)
    colors = embedding_colors(embedding).astype(int)
    assert colors.shape == (100, 3)
    assert np.abs(colors[0] - colors[-1]).max() > 200


@pytest.mark.parametrize("count", [0, 1])
def test_no_feature_and_one_have_a_color_each(count):
    assert embedding_colors(np.ones((count, 4), np.float32)).shape == (count, 3)


def test_directions_have_the_colors_of_the_legend():
    legend = dict(DIRECTION_LEGEND)
    assert legend["towards +x"] == (255, 0, 0)
    assert legend["towards -x"] == (0, 255, 255)
    assert legend["up"] == (255, 255, 255)
    assert legend["down"] == (0, 0, 0)
    directions = np.array([[9.0, 0, 0], [0, 0, 0.1], [0, 0, 0]])
    np.testing.assert_array_equal(
        direction_colors(directions), [(255, 0, 0), (255, 255, 255), (128, 128, 128)]
    )


def test_opposite_directions_have_opposite_colors():
    directions = np.random.default_rng(0).normal(size=(50, 3))
    both = direction_colors(directions).astype(int) + direction_colors(-directions)
    assert np.abs(both - 255).max() <= 1
