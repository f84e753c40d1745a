"""A small room, coarsely scanned."""

import dataclasses

import numpy as np
import pytest

from mtml_tf.rooms.camera import ScanSettings
from mtml_tf.rooms.light import LightSettings
from mtml_tf.rooms.mesh import Piece, Room, box
from mtml_tf.rooms.paint import PaintSettings
from mtml_tf.rooms.scanner import scan_room

pytest.importorskip("open3d", exc_type=ImportError)

SIZE = (3.5, 3.5, 2.4)
SETTINGS = ScanSettings(num_frames=100, image_width=80, image_height=60, voxel_size=0.06)
PLAIN = (LightSettings(strength=0.0), PaintSettings(strength=0.0))
GREY = (128, 128, 128)


def small_room():
    x, y, z = SIZE
    return Room(
        "small",
        SIZE,
        (
            Piece("floor", box((x, y, 0.1), (0, 0, -0.1), GREY)),
            Piece("wall", box((x, 0.1, z), (0, -0.1, 0), GREY)),
            Piece("wall", box((x, 0.1, z), (0, y, 0), GREY)),
            Piece("wall", box((0.1, y, z), (-0.1, 0, 0), GREY)),
            Piece("wall", box((0.1, y, z), (x, 0, 0), GREY)),
            Piece("box", box((0.6, 0.6, 0.6), (0.0, 0.0, 0.0), (255, 0, 0))),
        ),
    )


@pytest.fixture(scope="module")
def scan():
    return scan_room(small_room(), 1, SETTINGS)


def test_the_scan_lies_on_the_surfaces_that_it_names(scan):
    pieces = small_room().pieces
    for number, piece in enumerate(pieces):
        places = scan.vertices[scan.piece_ids == number]
        outside = np.maximum(piece.mesh.low - places, places - piece.mesh.high).max(axis=1)
        assert len(places) > 50
        assert np.median(np.abs(outside)) < 0.02
        assert np.quantile(outside, 0.99) < 0.1


def test_most_of_the_floor_is_seen_and_what_stands_on_it_hides_the_rest(scan):
    floor = scan.vertices[scan.piece_ids == 0]
    cells = np.unique(np.floor(floor[:, :2] / 0.25).astype(int), axis=0)
    assert 0.5 < len(cells) / (SIZE[0] * SIZE[1] / 0.25**2) < 1.0
    under_the_box = np.all(floor[:, :2] < 0.4, axis=1)
    assert under_the_box.mean() < 0.01


def test_it_is_a_mesh_without_strays(scan):
    assert scan.vertices.dtype == np.float32
    assert scan.faces.dtype == np.int32
    assert scan.colors.dtype == np.uint8
    assert len(scan.vertices) == len(scan.colors) == len(scan.piece_ids)
    np.testing.assert_array_equal(np.unique(scan.faces), np.arange(len(scan.vertices)))
    assert np.all(scan.faces[:, 0] != scan.faces[:, 1])


@pytest.fixture(scope="module")
def plain():
    return scan_room(small_room(), 1, SETTINGS, *PLAIN)


def test_plain_colors_are_those_of_the_pieces(plain):
    red, green, _ = plain.colors[plain.piece_ids == 5].mean(axis=0)
    assert red > 120 > 60 > green
    # Lit from above, with an unevenness of 5 % and grain of 4 to 6 of 255.
    floor, *walls = (plain.colors[plain.piece_ids == number] for number in range(5))
    assert floor.mean() == pytest.approx(0.96 * 128, abs=5)
    assert np.mean([wall.mean() for wall in walls]) == pytest.approx(0.8 * 128, abs=5)
    for colors in (floor, *walls):
        assert colors.mean(axis=0) == pytest.approx(colors.mean(), abs=1)
        assert 5 < colors.std() < 15


def test_light_and_paint_change_nothing_but_colors(scan, plain):
    for field in ("vertices", "faces", "piece_ids"):
        np.testing.assert_array_equal(getattr(scan, field), getattr(plain, field))
    assert np.abs(scan.colors.astype(int) - plain.colors).mean() > 5


def test_light_differs_from_scan_to_scan():
    light = LightSettings(spot_gain=0.0)
    means = [
        scan_room(small_room(), seed, SETTINGS, light, PLAIN[1]).colors.mean() for seed in (1, 2, 3)
    ]
    assert np.ptp(means) > 10


def test_a_scan_is_a_function_of_room_and_seed(scan):
    again, other = (scan_room(small_room(), seed, SETTINGS) for seed in (1, 2))
    for field in ("vertices", "faces", "colors", "piece_ids"):
        np.testing.assert_array_equal(getattr(again, field), getattr(scan, field))
    assert len(other.vertices) != len(scan.vertices) or np.any(other.vertices != scan.vertices)


def test_noise_makes_surfaces_rough(scan):
    settings = dataclasses.replace(
        SETTINGS,
        **{"disparity_noise": 0.0, "lateral_noise": 0.0, "pose_noise": 0.0, "warp": 0.0},
        disparity_steps=1e6,
    )
    smooth = scan_room(small_room(), 1, settings)

    def roughness(result):
        heights = result.vertices[result.piece_ids == 0, 2]
        return np.ptp(np.quantile(heights, (0.1, 0.9)))

    assert roughness(smooth) < 0.8 * roughness(scan)


def test_a_room_without_space_or_without_frames_that_see_it_is_refused():
    full = Room("full", (1.0, 1.0, 2.0), (Piece("box", box((1, 1, 2), (0, 0, 0), GREY)),))
    with pytest.raises(ValueError, match="room full: expected"):
        scan_room(full, 0, dataclasses.replace(SETTINGS, clearance=0.9))
    with pytest.raises(ValueError, match="room small: expected some surface in the scan"):
        scan_room(small_room(), 0, dataclasses.replace(SETTINGS, min_weight=1e6))
    with pytest.raises(ValueError, match="expected voxel_size above 0, found 0"):
        ScanSettings(voxel_size=0)
