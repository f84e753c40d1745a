import numpy as np
import pytest

from mtml_tf.rooms import mesh as meshes

RED = (255, 0, 0)


def volume(mesh):
    """Signed volume of a closed mesh; positive where faces turn outwards."""
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def test_a_box_has_its_extent_and_faces_outwards():
    box = meshes.box((1.0, 2.0, 3.0), (0.5, 0.0, -1.0), RED)
    np.testing.assert_allclose(box.low, (0.5, 0.0, -1.0))
    np.testing.assert_allclose(box.high, (1.5, 2.0, 2.0))
    assert volume(box) == pytest.approx(6.0)


def test_a_lathe_makes_a_closed_cylinder():
    cylinder = meshes.lathe([(0.5, 0.0), (0.5, 2.0)], RED, sides=64)
    assert volume(cylinder) == pytest.approx(np.pi * 0.25 * 2, rel=0.01)


def test_merged_meshes_keep_their_own_faces_and_colors():
    first, second = (
        meshes.box((1, 1, 1), (0, 0, 0), RED),
        meshes.box((1, 1, 1), (5, 0, 0), (0, 9, 0)),
    )
    both = meshes.merge([first, second])
    assert volume(both) == pytest.approx(2.0)
    assert both.faces.max() == 15
    np.testing.assert_array_equal(both.colors[[0, -1]], [RED, (0, 9, 0)])


def test_a_quarter_turn_takes_x_to_y():
    box = meshes.box((2.0, 1.0, 1.0), (0.0, 0.0, 0.0), RED).turned(np.pi / 2)
    np.testing.assert_allclose(box.low, (-1.0, 0.0, 0.0), atol=1e-12)
    np.testing.assert_allclose(box.high, (0.0, 2.0, 1.0), atol=1e-12)


def test_moving_leaves_the_original_where_it_was():
    box = meshes.box((1, 1, 1), (0, 0, 0), RED)
    moved = box.moved((1.0, 2.0, 3.0))
    np.testing.assert_allclose(moved.low, (1, 2, 3))
    np.testing.assert_allclose(box.low, (0, 0, 0))


def test_a_sheet_passes_through_its_points():
    points = np.stack(np.meshgrid(np.arange(3.0), np.arange(2.0), [0.0], indexing="ij"), axis=3)
    sheet = meshes.grid_sheet(points[:, :, 0], RED)
    corners = sheet.vertices[sheet.faces]
    areas = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), 2, 1
    )
    assert areas.sum() / 2 == pytest.approx(2.0)
