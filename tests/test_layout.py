import numpy as np
import pytest

from mtml_tf.rooms import layout
from mtml_tf.rooms.furniture import LABELS

SEEDS = range(12)


def furniture_of(room):
    return [piece for piece in room.pieces if piece.label not in ("wall", "floor")]


def test_furniture_stays_within_the_walls():
    for seed in SEEDS:
        room = layout.furnish("room", seed)
        for piece in furniture_of(room):
            assert piece.mesh.low[:2].min() > -1e-6
            assert np.all(piece.mesh.high < np.array(room.size) + 1e-6)


def test_rooms_hold_15_to_50_objects():
    counts = [len(furniture_of(layout.furnish("room", seed))) for seed in SEEDS]
    assert min(counts) >= 15
    assert max(counts) <= 50


def test_beds_stand_with_their_heads_to_a_wall():
    found = 0
    for seed in SEEDS:
        room = layout.furnish("room", seed)
        for piece in room.pieces:
            if piece.label == "bed":
                found += 1
                gaps = (*piece.mesh.low[:2], *(np.array(room.size[:2]) - piece.mesh.high[:2]))
                assert min(gaps) < 0.06
    assert found


def test_chairs_stand_at_tables():
    near = []
    for seed in SEEDS:
        pieces = layout.furnish("room", seed).pieces
        tables = [p.mesh for p in pieces if LABELS[p.label] in (7, 14)]
        for piece in pieces:
            if piece.label == "chair" and tables:
                middle = (piece.mesh.low + piece.mesh.high)[:2] / 2
                near.append(
                    any(
                        np.all(middle > t.low[:2] - 0.6) and np.all(middle < t.high[:2] + 0.6)
                        for t in tables
                    )
                )
    assert np.mean(near) > 0.5


def test_some_neighbours_of_one_class_touch():
    touching = 0
    for seed in SEEDS:
        pieces = furniture_of(layout.furnish("room", seed))
        for i, a in enumerate(pieces):
            for b in pieces[i + 1 :]:
                apart = np.maximum(a.mesh.low - b.mesh.high, b.mesh.low - a.mesh.high).max()
                touching += a.label == b.label and apart < 0.03
    assert touching >= len(SEEDS)


def test_a_room_is_a_function_of_its_seed():
    first, again, other = (layout.furnish("room", seed) for seed in (1, 1, 2))
    assert first.size == again.size != other.size
    for a, b in zip(first.pieces, again.pieces, strict=True):
        assert a.label == b.label
        np.testing.assert_array_equal(a.mesh.vertices, b.mesh.vertices)


def test_fewer_instances_can_be_asked_for():
    settings = layout.RoomSettings(max_instances=8)
    for seed in SEEDS:
        assert len(furniture_of(layout.furnish("room", seed, settings))) <= 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_size": 1.0}, "expected a min_size of at least 1.5 m .* found 1.0 and 7.5"),
        ({"min_size": 8.0}, "expected a min_size of at least 1.5 m .* found 8.0 and 7.5"),
        ({"height": (3.0, 2.0)}, r"expected the lowest and the highest height, found \(3.0, 2.0\)"),
        ({"closeness": 1.5}, "expected a closeness in 0..1, found 1.5"),
        ({"max_instances": 0}, "expected max_instances of at least 1, found 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        layout.RoomSettings(**settings)
