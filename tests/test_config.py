"""Tests of the settings: the paper's defaults, and what is refused."""

import dataclasses
import math

import pytest

from mtml_tf.config import DataConfig, LossConfig, NetworkConfig, SegmentConfig, TrainConfig

NAN, INFINITY = math.nan, math.inf


def test_the_default_network_is_the_papers_at_half_width():
    config = NetworkConfig()
    assert config.input_channels == 20
    assert 30 + 8 * sum(config.dilations) == 142
    assert [config.filters(full) for full in (16, 32, 64, 128, 256)] == [8, 16, 32, 64, 128]


def test_the_default_loss_has_the_papers_weights():
    config = LossConfig()
    assert (config.gamma_var, config.gamma_dist, config.gamma_reg) == (1.0, 1.0, 0.001)
    assert (config.delta_var, config.delta_dist) == (0.5, 1.5)


def test_a_layer_keeps_at_least_one_filter():
    assert NetworkConfig(width=1 / 16).filters(4) == 1


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        NetworkConfig().width = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"input_channels": 0}, "expected input_channels of at least 1, found 0"),
        ({"width": 0.01}, "expected a width of at least 1/16, found 0.01"),
        ({"width": INFINITY}, "expected a width of at least 1/16, found inf"),
        ({"dilations": (7,)}, r"expected two dilations of at least 1, found \(7,\)"),
        ({"dilations": (7, 0)}, "expected two dilations of at least 1"),
        ({"embedding_size": 0}, "expected an embedding_size of at least 1, found 0"),
    ],
)
def test_an_impossible_network_is_refused(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        NetworkConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"delta_var": -0.1}, "expected delta_var of at least 0, found -0.1"),
        ({"gamma_reg": NAN}, "expected gamma_reg of at least 0, found nan"),
        ({"alpha_direction": INFINITY}, "expected alpha_direction of at least 0, found inf"),
        (
            {"alpha_feature": 0.0, "alpha_direction": 0.0},
            "above 0 and a term with a weight, found none",
        ),
    ],
)
def test_an_impossible_loss_is_refused(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        LossConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"thing_ids": ()}, "expected at least one thing class, found none"),
        (
            {"probability_ids": (2, 3)},
            r"expected a column of probabilities for each of the things \(1,\), found \(2, 3\)",
        ),
        ({"bandwidths": (1.0, 0.0)}, "expected bandwidths above 0"),
        ({"bandwidths": (1.0, INFINITY)}, "expected bandwidths above 0"),
        ({"connectivity": 8}, "expected connectivity 6, 18 or 26, found 8"),
        ({"feature_threshold": 0.0}, "expected a feature_threshold above 0"),
        ({"suppression_iou": 1.1}, "expected suppression_iou in 0..1, found 1.1"),
        ({"min_voxels": 0}, "expected min_voxels of at least 1, found 0"),
        ({"min_score": -0.1}, "expected min_score in 0..1, found -0.1"),
        ({"min_score": 50}, "expected min_score in 0..1, found 50"),
        ({"min_score": float("nan")}, "expected min_score in 0..1, found nan"),
        ({"direction_weight": -1.0}, "expected direction_weight of at least 0, found -1.0"),
        ({"size_weight": -1.0}, "expected size_weight of at least 0, found -1.0"),
    ],
)
def test_an_impossible_segmentation_is_refused(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        SegmentConfig(**{"thing_ids": (1,), **settings})


def test_two_configs_do_not_share_their_size_statistics():
    first, second = SegmentConfig(thing_ids=(1,)), SegmentConfig(thing_ids=(1,))
    assert first.size_statistics is not second.size_statistics


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"epochs": 0}, "expected at least 1 epoch, found 0"),
        ({"learning_rate": 0.0}, "expected a learning_rate above 0, found 0.0"),
        ({"learning_rate": NAN}, "expected a learning_rate above 0, found nan"),
        ({"learning_rate": INFINITY}, "expected a learning_rate above 0, found inf"),
        ({"ap_every": -1}, "expected ap_every of at least 0, found -1"),
        ({"validation_scenes": -1}, "expected validation_scenes of at least 0, found -1"),
        ({"min_vertices": -5}, "expected min_vertices of at least 0, found -5"),
        ({"checkpoint_every": 0}, "expected checkpoint_every of at least 1, found 0"),
        ({"max_minutes": -0.5}, "expected max_minutes of at least 0, found -0.5"),
        ({"max_minutes": NAN}, "expected max_minutes of at least 0, found nan"),
        ({"decay": "linear"}, "expected decay constant or cosine, found linear"),
        ({"precision": "float16"}, "expected precision float32 or bfloat16, found float16"),
        (
            {"recompute": True, "execution": "dense"},
            "expected execution occupied with recompute, found dense",
        ),
    ],
)
def test_an_impossible_training_is_refused(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        TrainConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"batch_size": 0}, "expected a batch_size of at least 1, found 0"),
        ({"bucket_scenes": 0}, "expected bucket_scenes of at least 1, found 0"),
        ({"stretch": 1.0}, "expected a stretch of 0 to below 1, found 1.0"),
        ({"unannotated": 1.1}, "expected unannotated in 0..1, found 1.1"),
        ({"warp": -0.1}, "warp"),
        ({"holes": -0.1}, "holes"),
        ({"crop": -1}, "crop"),
        ({"seed": -1}, "expected a seed of 0 to 4294967295, found -1"),
        ({"seed": 1 << 32}, "expected a seed of 0 to 4294967295, found 4294967296"),
    ],
)
def test_impossible_data_settings_are_refused(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        DataConfig(**settings)
