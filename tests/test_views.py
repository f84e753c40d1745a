"""Tests of mtml_tf.semantic.views."""

import dataclasses

import numpy as np
import pytest
from semantic_scenes import NETWORK, box_scan

from mtml_tf.semantic.config import SemanticDataConfig
from mtml_tf.semantic.points import point_scene
from mtml_tf.semantic.views import point_features, view_for_prediction, view_for_training

STILL = SemanticDataConfig(
    batch_size=1, distortion=0, mirror=False, rotation=False, color_shift=0, color_gain=0
)


@pytest.fixture(name="points", scope="module")
def _points():
    return point_scene(box_scan(0))


def rng(seed=0):
    return np.random.default_rng(seed)


def test_colours_and_geometry_become_channels_from_minus_1_to_1(points):
    features = point_features(points, NETWORK)
    np.testing.assert_allclose(features[:, :3], points.colors / 127.5 - 1, atol=1e-6)
    np.testing.assert_allclose(features[:, 3] - points.vertices[:, 2], -1, atol=0.02)
    assert features[0, 4] > 0.9  # a floor lies upright
    only = dataclasses.replace(NETWORK, inputs=("geometry",))
    np.testing.assert_array_equal(point_features(points, only), features[:, 3:])


def test_debris_under_the_floor_does_not_move_it(points):
    few = np.arange(0, len(points.vertices), 25)  # 4 %
    vertices = points.vertices.copy()
    vertices[few, 2] = -1
    heights = point_features(points, NETWORK)[:, 3]
    found = point_features(dataclasses.replace(points, vertices=vertices), NETWORK)[:, 3]
    others = np.setdiff1d(np.arange(len(vertices)), few)
    np.testing.assert_allclose(found[others], heights[others], atol=0.02)


def test_a_scan_without_colours_has_none_or_is_refused(points):
    grey = dataclasses.replace(points, colors=None)
    assert not point_features(grey, NETWORK)[:, :3].any()
    with pytest.raises(ValueError, match="scan_0: expected a colour for each vertex"):
        point_features(grey, dataclasses.replace(NETWORK, inputs=("color",)))


def test_what_is_not_varied_stays_as_it_is_but_for_the_origin(points):
    view = view_for_training(points, NETWORK, STILL, rng())
    np.testing.assert_array_equal(view.features, point_features(points, NETWORK))
    np.testing.assert_array_equal(view.vertices, np.arange(len(points.vertices)))
    moves = view.voxels - points.vertices / NETWORK.voxel_size
    assert np.ptp(moves, axis=0).max() <= 1 + 1e-4
    assert (view.voxels >= 0).all()


def test_a_turn_keeps_heights_and_distances(points):
    config = dataclasses.replace(NETWORK, voxel_size=0.001)
    data = dataclasses.replace(STILL, rotation=True, mirror=True)
    first = view_for_training(points, config, data, rng(3)).voxels * 0.001
    other = points.vertices
    for a, b in ((0, 50), (7, 400), (20, -1)):
        np.testing.assert_allclose(
            np.linalg.norm(first[a] - first[b]), np.linalg.norm(other[a] - other[b]), atol=0.003
        )
    np.testing.assert_allclose(np.ptp(first[:, 2] - other[:, 2]), 0, atol=0.0015)


@pytest.mark.parametrize(
    "data",
    [
        {"distortion": 0.1},
        {"mirror": True, "rotation": True},
        {"elastic": True},
        {"least_density": 0.4},
        {"color_shift": 0.1},
        {"color_gain": 0.3},
        {"color_loss": 1.0},
    ],
)
def test_a_variation_is_a_function_of_the_seed(points, data):
    varied = dataclasses.replace(STILL, **data)
    views = [view_for_training(points, NETWORK, varied, rng(seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(views[0].voxels, views[1].voxels)
    np.testing.assert_array_equal(views[0].features, views[1].features)
    still = view_for_training(points, NETWORK, STILL, rng(2))
    assert len(still.voxels) != len(views[2].voxels) or (
        (still.voxels != views[2].voxels).any() or (still.features != views[2].features).any()
    )


def test_lost_colours_are_0_and_geometry_stays(points):
    data = dataclasses.replace(STILL, color_loss=1.0, color_shift=0.1)
    features = view_for_training(points, NETWORK, data, rng()).features
    assert not features[:, :3].any()
    np.testing.assert_array_equal(features[:, 3:], point_features(points, NETWORK)[:, 3:])


def test_a_scene_beyond_the_budget_is_cut_to_a_window(points):
    data = dataclasses.replace(STILL, max_sites=100)
    view = view_for_training(points, NETWORK, data, rng())
    whole = view_for_training(points, NETWORK, STILL, rng())
    assert len(np.unique(view.voxels, axis=0)) == 100
    assert len(np.unique(whole.voxels, axis=0)) > 300
    # What is kept is all that there is near its middle.
    middle = np.median(view.voxels[:, :2], axis=0)
    near = np.linalg.norm(whole.voxels[:, :2] - middle, axis=1) < 2
    assert set(np.flatnonzero(near)) <= set(view.vertices)


def test_the_first_view_of_a_prediction_is_the_scan_as_it_lies(points):
    views = [view_for_prediction(points, NETWORK, number) for number in (0, 1, 1)]
    heights = points.vertices[:, 2]
    steps = [np.ptp(view.voxels[:, 2] - heights / 0.1) for view in views]
    assert max(steps) <= 1 + 1e-4
    assert np.ptp(views[0].voxels[:, 0] - points.vertices[:, 0] / 0.1) <= 1 + 1e-4
    assert np.ptp(views[1].voxels[:, 0] - points.vertices[:, 0] / 0.1) > 2
    np.testing.assert_array_equal(views[1].voxels, views[2].voxels)
