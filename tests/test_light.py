"""The light of a room: what each part of it does to colours, and that seeds settle it."""

import dataclasses

import numpy as np
import pytest

from mtml_tf.rooms.light import (
    Light,
    LightSettings,
    develop,
    directional_shade,
    draw_light,
    spots_of_light,
)

SIZE = (4.0, 3.0, 2.5)
UP = np.array([0.0, 0.0, 1.0])


def lights(count=200, **settings):
    return [
        draw_light(SIZE, LightSettings(**settings), np.random.default_rng(i)) for i in range(count)
    ]


def as_arrays(light):
    return [np.asarray(value) for value in dataclasses.astuple(light)]


def test_plain_light_changes_no_bit_of_a_color():
    colors = np.random.default_rng(0).uniform(-20, 300, (1000, 3))
    normals = np.random.default_rng(1).uniform(-1, 1, (1000, 3))
    for light in (Light(), *lights(5, strength=0.0)):
        np.testing.assert_array_equal(develop(colors, light), colors)
        np.testing.assert_array_equal(spots_of_light(colors, light), np.ones_like(colors))
        shade = 0.8 + 0.2 * normals @ UP
        np.testing.assert_array_equal(directional_shade(normals, UP, light), shade)


def test_exposure_and_cast_are_factors():
    light = Light(exposure=0.5, cast=np.array([1.1, 1.0, 0.9]))
    np.testing.assert_allclose(develop(np.array([[100.0, 200, 0]]), light), [[55, 100, 0]])


def test_more_exposure_is_brighter_throughout():
    colors = np.random.default_rng(0).uniform(0, 255, (100, 3))
    for gamma in (0.8, 1.0, 1.25):
        seen = [develop(colors, Light(e, gamma)) for e in (0.55, 0.8, 1.0, 1.35)]
        assert (np.diff(seen, axis=0) > 0).all()


def test_gamma_bends_between_black_and_white():
    ramp = np.repeat([[0.0], [63.75], [255.0]], 3, axis=1)
    # A quarter of white to the power of two is a sixteenth, of a half is a half.
    np.testing.assert_allclose(develop(ramp, Light(gamma=2.0))[:, 0], [0, 255 / 16, 255])
    np.testing.assert_allclose(develop(ramp, Light(gamma=0.5))[:, 0], [0, 255 / 2, 255])


def test_a_side_that_faces_away_from_the_light_is_darker():
    normals = np.stack([UP, [1.0, 0, 0], -UP])
    shade = directional_shade(normals, UP, Light(directional=0.3))
    np.testing.assert_allclose(shade, [1.0, 0.7, 0.4])


def test_a_lamp_lights_what_is_near_and_darkens_the_rest():
    lamp = Light(places=np.array([[1.0, 1, 2]]), reaches=np.ones(1), gains=np.full((1, 3), 0.5))
    near_and_far = np.array([[1.0, 1, 2], [1.0, 1, 12]])
    # 1.5 and 1, on the mean 1.25.
    expected = np.repeat([[1.2], [0.8]], 3, axis=1)
    np.testing.assert_allclose(spots_of_light(near_and_far, lamp), expected)
    assert spots_of_light(np.zeros((0, 3)), lamp).shape == (0, 3)


def test_rooms_differ_within_the_bounds():
    drawn = lights()
    for name, low, high in (("exposure", 0.55, 1.35), ("gamma", 0.8, 1.25)):
        values = np.array([getattr(light, name) for light in drawn])
        assert low <= values.min() < 1.05 * low
        assert 0.95 * high < values.max() <= high
    casts = np.array([light.cast for light in drawn])
    # Along warm and cold by 12 %, along green and magenta by 0.3 of it.
    assert np.abs(casts[:, 1] - 1).max() <= 0.036
    assert np.abs(casts - 1).max() <= 0.156
    assert np.corrcoef(casts[:, 0], casts[:, 2])[0, 1] < -0.8
    assert {len(light.places) for light in drawn} == {0, 1, 2, 3, 4}
    places = np.concatenate([light.places for light in drawn])
    assert ((places >= 0) & (places <= SIZE)).all()


def test_less_strength_is_less_variety():
    spreads = [
        np.std([light.exposure for light in lights(50, strength=s)]) for s in (0.0, 0.5, 1.0)
    ]
    assert spreads[0] == 0 < spreads[1] < spreads[2]


def test_a_seed_settles_the_light():
    first, again, other = (
        as_arrays(draw_light(SIZE, LightSettings(), np.random.default_rng(s))) for s in (1, 1, 2)
    )
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert first[0] != other[0]


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="expected a strength of at least 0, found -1"):
        LightSettings(strength=-1.0)
    with pytest.raises(ValueError, match="expected a strength of at least 0, found nan"):
        LightSettings(strength=float("nan"))
    with pytest.raises(
        ValueError, match=r"expected gamma above 0, from low to high, found 2\.0, 1"
    ):
        LightSettings(gamma=(2.0, 1.0))
    with pytest.raises(ValueError, match=r"expected cast of at least 0, found -0\.1"):
        LightSettings(cast=-0.1)
