import numpy as np
import pytest

from mtml_tf.classes import SCANNET18
from mtml_tf.rooms import layout
from mtml_tf.rooms.furniture import LABELS

SEEDS = range(16)
SHELL = ("wall", "floor", "ceiling", "structure")  # and what is seen beyond them


@pytest.fixture(scope="module")
def rooms():
    return [layout.furnish("room", seed) for seed in SEEDS]


def furniture_of(room):
    return [piece for piece in room.pieces if piece.label not in SHELL]


def things_of(room):
    return [piece for piece in room.pieces if LABELS[piece.label] in SCANNET18.ids]


def test_furniture_stays_within_the_walls(rooms):
    for room in rooms:
        for piece in furniture_of(room):
            # Frames of doors and windows reach into the wall, leaves may open outwards.
            slack = 1.0 if piece.label in ("door", "window") else 1e-6
            assert piece.mesh.low[:2].min() > -slack
            assert np.all(piece.mesh.high < np.array(room.size) + slack)


def test_rooms_are_bare_and_crowded(rooms):
    counts = [len(things_of(room)) for room in rooms]
    assert min(counts) < 13
    assert max(counts) > 22
    assert 10 < np.median(counts) < 25


def test_clutter_lies_about(rooms):
    shares = [1 - len(things_of(room)) / len(furniture_of(room)) for room in rooms]
    assert min(shares) < 0.4 < max(shares)
    assert 0.3 < np.mean(shares) < 0.75


def test_beds_stand_with_their_heads_to_a_wall(rooms):
    gaps = []
    for room in rooms:
        walls = np.concatenate([p.mesh.vertices[:, :2] for p in room.pieces if p.label == "wall"])
        for piece in room.pieces:
            if piece.label == "bed":
                sides = [
                    np.abs(walls[:, axis] - end[axis]).min()
                    for end in (piece.mesh.low, piece.mesh.high)
                    for axis in (0, 1)
                ]
                gaps.append(min(sides))
    assert gaps
    assert max(gaps) < 0.12


def test_chairs_stand_at_tables(rooms):
    near = []
    for room in rooms:
        tables = [p.mesh for p in room.pieces if LABELS[p.label] in (7, 14)]
        for piece in room.pieces:
            if piece.label in ("chair", "office chair") and tables:
                middle = (piece.mesh.low + piece.mesh.high)[:2] / 2
                near.append(
                    any(
                        np.all(middle > t.low[:2] - 0.6) and np.all(middle < t.high[:2] + 0.6)
                        for t in tables
                    )
                )
    assert np.mean(near) > 0.5


def test_no_more_pieces_than_allowed():
    settings = layout.RoomSettings(max_pieces=8)
    for seed in SEEDS:
        pieces = furniture_of(layout.furnish("room", seed, settings))
        assert sum(piece.label != "lamp" for piece in pieces) <= 8


def test_some_neighbours_of_one_class_touch(rooms):
    touching = 0
    for room in rooms:
        pieces = things_of(room)
        for i, a in enumerate(pieces):
            for b in pieces[i + 1 :]:
                apart = np.maximum(a.mesh.low - b.mesh.high, b.mesh.low - a.mesh.high).max()
                touching += LABELS[a.label] == LABELS[b.label] and apart < 0.03
    assert touching >= len(SEEDS)


def test_a_room_is_a_function_of_its_seed(rooms):
    first, again, other = rooms[1], layout.furnish("room", 1), rooms[2]
    assert first.size == again.size != other.size
    for a, b in zip(first.pieces, again.pieces, strict=True):
        assert a.label == b.label
        np.testing.assert_array_equal(a.mesh.vertices, b.mesh.vertices)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"area": (3.0, 9.0)}, r"smallest area, 4 at least, and the largest, found \(3.0, 9.0\)"),
        ({"area": (9.0, 8.0)}, r"smallest area, 4 at least, and the largest, found \(9.0, 8.0\)"),
        ({"height": (2.0, 3.0)}, r"smallest height, 2.3 at least, .* found \(2.0, 3.0\)"),
        ({"mess": (0.0, np.inf)}, r"smallest mess, 0 at least, .* found \(0.0, inf\)"),
        ({"fullness": (-1.0, 1.0)}, r"smallest fullness, 0 at least, .* found \(-1.0, 1.0\)"),
        ({"closeness": 1.5}, "expected a closeness in 0..1, found 1.5"),
        ({"max_pieces": 0}, "expected max_pieces of at least 1, found 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        layout.RoomSettings(**settings)
