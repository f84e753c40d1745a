"""Paint and patterns of pieces: what they do to colours, and that they tell nothing of a class."""

import dataclasses

import numpy as np
import pytest

from mtml_tf.rooms.furniture import LABELS
from mtml_tf.rooms.layout import RoomSettings, furnish
from mtml_tf.rooms.light import LightSettings, develop, draw_light, spots_of_light
from mtml_tf.rooms.mesh import Piece, box, merge
from mtml_tf.rooms.paint import (
    PaintSettings,
    draw_color,
    draw_pattern,
    paint_points,
    pattern_values,
    patterned,
    recolored,
    shifted,
    surface_places,
)

PLAIN = PaintSettings(strength=0.0)
ALWAYS = PaintSettings(shell_chance=1.0, furniture_chance=1.0, pattern_chance=0.0)
LUMA = (0.299, 0.587, 0.114)
# Classes of which 24 rooms of boxes have many pieces.
CLASS_IDS = (1, 2, 3, 5, 7, 8, 9, 11, 39)


def faces_of(pieces):
    """Returns colours, centres, normals, areas and owners of all faces."""
    mesh = merge([piece.mesh for piece in pieces])
    owners = np.repeat(np.arange(len(pieces)), [len(piece.mesh.faces) for piece in pieces])
    corners = mesh.vertices[mesh.faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return mesh.colors, corners.mean(axis=1), across, np.linalg.norm(across, axis=1), owners


def painted(pieces, settings, seed=0):
    colors, centres, normals, _, owners = faces_of(pieces)
    rng = np.random.default_rng(seed)
    return paint_points(colors, centres, normals, owners, pieces, settings, rng)


def chairs(*colors):
    return [Piece("chair", box((1, 1, 1), (2 * i, 0, 0), c)) for i, c in enumerate(colors)]


@pytest.fixture(scope="module")
def rooms():
    return [furnish(f"room{i}", i, RoomSettings()) for i in range(24)]


def piece_colors(rooms, light, paint):
    """Returns mean colour, NYU40 id and room of every piece."""
    rows = []
    for number, room in enumerate(rooms):
        colors, centres, normals, areas, owners = faces_of(room.pieces)
        rng = np.random.default_rng(number)
        drawn = draw_light(room.size, light, rng)
        base = paint_points(colors, centres, normals, owners, room.pieces, paint, rng)
        seen = np.clip(develop(base * spots_of_light(centres, drawn), drawn), 0, 255)
        for row, piece in enumerate(room.pieces):
            weights = areas[owners == row]
            mean = weights @ seen[owners == row] / weights.sum()
            rows.append((*mean, LABELS[piece.label], number))
    told = np.array(rows)
    return told[:, :3], told[:, 3], told[:, 4]


def nearest_mean_accuracy(colors, ids, rooms):
    """Returns how often classes of every other room are told by the rest's mean colours."""
    known = rooms % 2 == 0
    means = np.array([colors[known & (ids == id_)].mean(axis=0) for id_ in CLASS_IDS])
    shares = []
    for row, id_ in enumerate(CLASS_IDS):
        asked = colors[~known & (ids == id_)]
        nearest = np.linalg.norm(asked[:, None] - means, axis=2).argmin(axis=1)
        shares.append(np.mean(nearest == row))
    return np.mean(shares)


def test_colors_tell_little_of_the_class(rooms):
    plain = nearest_mean_accuracy(*piece_colors(rooms, LightSettings(0.0), PLAIN))
    varied = nearest_mean_accuracy(*piece_colors(rooms, LightSettings(), PaintSettings()))
    everything = nearest_mean_accuracy(*piece_colors(rooms, LightSettings(), ALWAYS))
    chance = 1 / len(CLASS_IDS)
    assert plain > 2.5 * chance
    assert varied < 1.5 * chance
    assert everything < 1.5 * chance


def test_without_strength_everything_keeps_its_colors(rooms):
    for room in rooms[:3]:
        result = painted(room.pieces, PLAIN)
        np.testing.assert_array_equal(result, faces_of(room.pieces)[0])


def test_a_seed_settles_the_paint(rooms):
    pieces = rooms[0].pieces
    first, again, other = (painted(pieces, PaintSettings(), seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)
    assert (first >= 0).all()


def test_as_many_pieces_are_painted_as_the_chances_say():
    # A hundred colours, that each chair is a set of its own.
    pieces = chairs(*((i, 100, 50) for i in range(100, 200)))
    before = faces_of(pieces)[0]
    changed = [
        np.any(painted(pieces, settings) != before, axis=1).reshape(100, -1).all(axis=1).mean()
        for settings in (
            PaintSettings(pattern_chance=0.0),
            PaintSettings(furniture_chance=1.0, pattern_chance=0.0),
            PaintSettings(strength=0.5, pattern_chance=0.0),
        )
    ]
    np.testing.assert_allclose(changed, [0.4, 1.0, 0.2], atol=0.12)


def test_chairs_of_a_set_are_painted_alike_and_others_are_not():
    result = painted(chairs((90, 60, 40), (90, 60, 40), (90, 60, 41)), ALWAYS).reshape(3, -1, 3)
    np.testing.assert_array_equal(result[0], result[1])
    assert np.abs(result[0] - result[2]).max() > 2


def test_a_coat_keeps_how_light_faces_are_beside_each_other():
    old = np.array([[100.0, 100, 100], [50, 50, 50]])
    new = recolored(old, np.array([60.0, 30, 15]))
    # On the mean 75: the first is 4/3 of it, the second 2/3.
    np.testing.assert_allclose(new, [[80, 40, 20], [40, 20, 10]])
    np.testing.assert_allclose(new @ LUMA / (new @ LUMA)[1], [2, 1])
    np.testing.assert_allclose(recolored(np.zeros((2, 3)), np.ones(3)), np.ones((2, 3)))


def test_a_shift_turns_hues_and_keeps_greys():
    red, grey = np.array([[200.0, 20, 20]]), np.full((1, 3), 80.0)
    np.testing.assert_allclose(shifted(red, 1 / 3, 1.0, 1.0), [[20, 200, 20]])
    np.testing.assert_allclose(shifted(red, 0.0, 0.0, 1.0), [[80, 80, 80]])
    np.testing.assert_allclose(shifted(red, 0.0, 1.0, 0.5), [[100, 10, 10]])
    np.testing.assert_allclose(shifted(grey, 0.4, 1.4, 1.5), [[120, 120, 120]])
    assert shifted(np.full((1, 3), 250.0), 0.0, 1.0, 1.5).max() == 255


def test_the_palette_has_light_and_dark_and_grey_and_colorful_ones():
    rng = np.random.default_rng(0)
    drawn = np.array([draw_color(rng) for _ in range(300)])
    assert drawn.min() >= 0
    assert drawn.max() <= 255
    assert np.mean(drawn.mean(axis=1) > 200) > 0.1
    assert np.mean(drawn.mean(axis=1) < 80) > 0.1
    assert np.mean(np.ptp(drawn, axis=1) < 20) > 0.2
    assert np.mean(np.ptp(drawn, axis=1) > 60) > 0.2


def pattern_of(kind, **settings):
    drawn = draw_pattern(np.random.default_rng(0))
    given = {"pitch": 0.1, "length": 1.0, "offset": np.zeros(3), "upright": False, **settings}
    return dataclasses.replace(drawn, kind=kind, **given)


def values_at(places, pattern):
    places = np.array(places, float)
    return pattern_values(np.column_stack([places, np.zeros(len(places))]), places, pattern)


def test_stripes_and_checks_change_from_pitch_to_pitch():
    places = [(0.05, 0.05), (0.15, 0.05), (0.05, 0.15), (0.15, 0.15)]
    assert values_at(places, pattern_of("stripes")).tolist() == [0, 0, 1, 1]
    assert values_at(places, pattern_of("stripes", upright=True)).tolist() == [0, 1, 0, 1]
    assert values_at(places, pattern_of("checks")).tolist() == [0, 1, 1, 0]


def test_a_plank_is_of_one_tone_and_its_neighbours_of_others():
    along = np.linspace(0, 12, 2000)
    rows = [
        values_at(np.column_stack([along, np.full(2000, y)]), pattern_of("planks"))
        for y in (0.02, 0.08, 0.12)
    ]
    np.testing.assert_array_equal(rows[0], rows[1])
    assert np.mean(rows[0] == rows[2]) < 0.2
    assert np.count_nonzero(np.diff(rows[0])) == 12


@pytest.mark.parametrize("kind", ["stripes", "checks", "planks", "grain", "patches", "noise"])
def test_patterns_are_within_bounds_and_not_flat(kind):
    places = np.random.default_rng(1).uniform(-3, 3, (5000, 2))
    values = values_at(places, pattern_of(kind))
    assert values.min() >= 0
    assert values.max() <= 1
    assert values.std() > 0.1


def test_a_pattern_on_a_wall_goes_along_and_up():
    points = np.array([[1.0, 2, 3]] * 3)
    normals = np.array([[0, 0, -1.0], [0, 1, 0], [-1, 0, 0]])
    assert surface_places(points, normals).tolist() == [[1, 2], [1, 3], [2, 3]]


def test_a_pattern_is_a_lighter_and_darker_color_or_a_second_one():
    colors, values = np.full((2, 3), 100.0), np.array([0.0, 1.0])
    tones = pattern_of("noise", contrast=0.2, color=None)
    np.testing.assert_allclose(patterned(colors, values, tones)[:, 0], [80, 120])
    second = pattern_of("noise", contrast=0.5, color=np.array([200.0, 0, 100]))
    np.testing.assert_allclose(patterned(colors, values, second), [[100] * 3, [150, 50, 100]])


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="expected a strength of at least 0, found -1"):
        PaintSettings(strength=-1.0)
    with pytest.raises(ValueError, match=r"expected shell_chance in 0\.\.1, found 1\.5"):
        PaintSettings(shell_chance=1.5)
