import numpy as np
import pytest

from mtml_tf.classes import SCANNET20
from mtml_tf.rooms import furniture, layout

BUILT = sorted(furniture._SHAPES)


@pytest.mark.parametrize("label", BUILT)
def test_a_piece_is_centred_and_of_human_size(label):
    for seed in range(5):
        mesh = furniture.build(label, np.random.default_rng(seed))
        assert abs(mesh.low[0] + mesh.high[0]) < 0.02
        assert -0.05 < mesh.low[2] < 1.7
        assert 0.1 < np.ptp(mesh.vertices, axis=0).max() < 3.0
        assert mesh.faces.max() < len(mesh.vertices)
        assert len(mesh.colors) == len(mesh.faces)


def test_every_scannet_class_is_built_somewhere():
    labels = {piece.label for seed in range(60) for piece in layout.furnish("room", seed).pieces}
    assert {furniture.LABELS[label] for label in labels} >= set(SCANNET20.ids)
    assert labels <= set(furniture.LABELS)


def test_measures_come_from_the_generator_alone():
    first, again = (furniture.build("bookshelf", np.random.default_rng(3)) for _ in range(2))
    other = furniture.build("bookshelf", np.random.default_rng(4))
    np.testing.assert_array_equal(first.vertices, again.vertices)
    assert first.vertices.shape != other.vertices.shape or np.any(first.vertices != other.vertices)


def test_clutter_is_of_no_class_and_stands_where_it_belongs():
    for place in ("top", "floor", "wall", "ceiling"):
        for seed in range(5):
            piece = furniture.clutter(place, np.random.default_rng(seed))
            assert furniture.LABELS[piece.label] not in SCANNET20.ids
            assert (piece.mesh.low[2] > 0.3) == (place == "wall")


def test_a_counter_in_two_spans_is_one_piece_with_a_gap():
    mesh = furniture.counter([(0.0, 1.0), (1.6, 3.0)], 0.6, np.random.default_rng(0))
    assert not np.any((mesh.vertices[:, 0] > 1.0) & (mesh.vertices[:, 0] < 1.6))
    np.testing.assert_allclose(mesh.high[:2] - mesh.low[:2], (3.0, 0.6))


def test_a_blanket_covers_the_middle_of_a_bed_and_leaves_both_ends():
    for seed in range(10):
        rng = np.random.default_rng(seed)
        bed = furniture.build("bed", rng)
        blanket = furniture.blanket(bed, rng)
        assert blanket.low[0] < bed.low[0] < bed.high[0] < blanket.high[0]
        assert bed.low[1] < blanket.low[1] < blanket.high[1] < bed.high[1]
        assert 0.3 < blanket.high[2] < 0.9


def test_an_unknown_label_is_refused():
    with pytest.raises(ValueError, match=r"expected one of .*'chair'.* found 'spaceship'"):
        furniture.build("spaceship", np.random.default_rng(0))
