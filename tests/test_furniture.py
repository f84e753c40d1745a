import numpy as np
import pytest

from mtml_tf.classes import SCANNET20
from mtml_tf.rooms import furniture, layout

WITHOUT_MEASURES = sorted(furniture._BUILDERS)


@pytest.mark.parametrize("label", WITHOUT_MEASURES)
def test_a_piece_is_centred_and_of_human_size(label):
    for seed in range(5):
        mesh = furniture.build(label, np.random.default_rng(seed))
        middle = (mesh.low + mesh.high)[:2] / 2
        assert np.abs(middle).max() < 0.5
        assert -0.05 < mesh.low[2] < 1.7
        assert 0.1 < np.ptp(mesh.vertices, axis=0).max() < 2.6
        assert mesh.faces.max() < len(mesh.vertices)
        assert len(mesh.colors) == len(mesh.faces)


def test_every_scannet_class_is_built_somewhere():
    labels = {piece.label for seed in range(40) for piece in layout.furnish("room", seed).pieces}
    assert {furniture.LABELS[label] for label in labels} >= set(SCANNET20.ids)
    assert labels <= set(furniture.LABELS)


def test_measures_come_from_the_generator_alone():
    first, again = (furniture.build("bookshelf", np.random.default_rng(3)) for _ in range(2))
    other = furniture.build("bookshelf", np.random.default_rng(4))
    np.testing.assert_array_equal(first.vertices, again.vertices)
    assert first.vertices.shape != other.vertices.shape or np.any(first.vertices != other.vertices)


def test_an_unknown_label_is_refused():
    with pytest.raises(ValueError, match=r"expected one of .*'chair'.* found 'spaceship'"):
        furniture.build("spaceship", np.random.default_rng(0))
