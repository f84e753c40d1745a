import numpy as np
import pytest

from mtml_tf.classes import ClassSet
from mtml_tf.drawing import pictures
from mtml_tf.drawing.pictures import (
    class_colors,
    draw_points,
    draw_voxels,
    instance_colors,
    side_by_side,
)

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def draw(*voxels, width=120, **settings):
    """Draws voxels given as (x, y, z, color)."""
    coordinates = np.array([voxel[:3] for voxel in voxels]).reshape(-1, 3)
    colors = np.array([voxel[3] for voxel in voxels], np.uint8).reshape(-1, 3)
    return draw_voxels(coordinates, colors, width, **settings)


def area(image, color):
    """Counts the pixels of a pure color, in any light."""
    present, absent = np.array(color) > 0, np.array(color) == 0
    return int(((image[..., present] > 40).all(-1) & (image[..., absent] == 0).all(-1)).sum())


def place(image, color):
    """Returns the mean (row, column) of the pixels of a color, from 0 to 1."""
    rows, columns = np.nonzero(image[..., np.array(color) == 0].max(axis=-1) == 0)
    return rows.mean() / len(image), columns.mean() / image.shape[1]


def test_a_voxel_is_a_regular_hexagon_of_three_faces_in_three_shades():
    image = draw((4, 5, 6, RED), width=400)
    shown = (image != 255).any(axis=-1)
    rows, columns = (np.flatnonzero(shown.any(axis=axis)) for axis in (1, 0))
    assert np.ptp(rows) / np.ptp(columns) == pytest.approx(2 / np.sqrt(3), rel=0.02)
    middle_row, middle_column = len(image) // 2, image.shape[1] // 2
    top = image[middle_row // 2, middle_column, 0]
    left = image[int(middle_row * 1.2), middle_column // 2, 0]
    right = image[int(middle_row * 1.2), middle_column * 3 // 2, 0]
    assert top == 255
    assert top > left > right > 100


def test_axes_run_to_the_lower_right_to_the_upper_right_and_up():
    for axis, down, right in ((0, 1, 1), (1, -1, 1), (2, -1, 0)):
        end = 9 * np.eye(3, dtype=int)[axis]
        image = draw((0, 0, 0, RED), (*end, GREEN))
        step = np.subtract(place(image, GREEN), place(image, RED))
        assert np.sign(np.round(step, 1)).tolist() == [down, right]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("step", [(1, 0, 0), (0, -1, 0), (0, 0, 1)])
def test_the_nearer_voxel_hides_the_face_that_it_touches(step, order):
    near = np.array((2, 2, 2)) + step
    image = draw(*[(2, 2, 2, RED), (*near, GREEN)][::order], width=300)
    # Three faces against the two that are left.
    assert area(image, RED) / area(image, GREEN) == pytest.approx(2 / 3, rel=0.05)


@pytest.mark.parametrize("order", [1, -1])
def test_a_voxel_far_behind_on_the_line_of_sight_is_not_seen(order):
    image = draw(*[(0, 9, 0, RED), (5, 4, 5, GREEN)][::order])
    assert area(image, RED) == 0
    assert area(image, GREEN) > 1000


def test_the_inside_of_a_solid_is_not_seen():
    block = np.argwhere(np.ones((5, 5, 5)))
    inner = (block > 0).all(axis=1) & (block < 4).all(axis=1)
    colors = np.where(inner[:, None], RED, GREEN).astype(np.uint8)
    image = draw_voxels(block, colors, 200)
    assert area(image, RED) == 0
    hollow = draw_voxels(block[~inner], colors[~inner], 200)
    np.testing.assert_array_equal(hollow, image)


def test_a_picture_does_not_depend_on_the_order_of_the_voxels_nor_on_where_they_lie():
    rng = np.random.default_rng(0)
    voxels = np.unique(rng.integers(0, 12, (300, 3)), axis=0)
    colors = rng.integers(0, 256, voxels.shape, np.uint8)
    image = draw_voxels(voxels, colors, 150)
    order = rng.permutation(len(voxels))
    np.testing.assert_array_equal(draw_voxels(voxels[order], colors[order], 150), image)
    np.testing.assert_array_equal(draw_voxels(voxels + np.array((7, -30, 900)), colors, 150), image)
    np.testing.assert_array_equal(draw_voxels(voxels.astype(np.uint16), colors, 150), image)


def test_a_wall_darkens_the_floor_beside_it():
    floor = [(x, y, 0, RED) for x in range(8) for y in range(8)]
    far_up = [(0, 7, 20, GREEN)]  # so that both pictures have the same outline
    wall = [(x, 7, z, GREEN) for x in range(8) for z in (1, 2)]
    bare = draw(*floor, *far_up, width=300).astype(int)
    walled = draw(*floor, *far_up, *wall, width=300).astype(int)
    floor_in_both = (bare[..., 1:] == 0).all(-1) & (walled[..., 1:] == 0).all(-1)
    darker = (bare - walled)[floor_in_both, 0]
    assert darker.min() == 0
    assert darker.max() > 50
    assert 0.02 < np.mean(darker > 0) < 0.3


def test_four_quarter_turns_lead_back_and_one_turns_the_scene():
    voxels = [(0, 0, 0, RED), (9, 0, 0, GREEN), (0, 9, 3, BLUE)]
    np.testing.assert_array_equal(draw(*voxels, quarter_turns=4), draw(*voxels))
    # The viewer goes around counterclockwise, so the scene seems to turn the other way.
    turned = [(y, -x, z, color) for x, y, z, color in voxels]
    for turns in (1, 2, 3):
        np.testing.assert_array_equal(
            draw(*voxels, quarter_turns=turns), draw(*turned, quarter_turns=turns - 1)
        )


def test_a_scene_without_voxels_or_points_is_white():
    for image in (draw(width=50), draw_points(np.zeros((0, 3)), np.zeros((0, 3), np.uint8), 50)):
        assert image.dtype == np.uint8
        assert image.shape == (25, 50, 3)
        assert (image == 255).all()


@pytest.mark.parametrize("width", [1, 7, 233])
def test_a_picture_has_the_width_that_was_asked_for(width):
    floor = [(x, y, 0, RED) for x in range(6) for y in range(3)]
    for image in (draw(*floor, width=width), draw(*[(0, 0, z, RED) for z in range(99)], width=9)):
        assert image.dtype == np.uint8
        assert image.shape[1] in (width, 9)
        assert image.shape[0] <= 4.2 * image.shape[1] + 1
    assert draw(*floor, width=width).shape[1] == width
    points = np.array([voxel[:3] for voxel in floor], float)
    assert draw_points(points, np.zeros((18, 3), np.uint8), width).shape[1] == width


def test_the_nearest_point_hides_the_others_in_any_order():
    line_of_sight = np.array([1.0, -1.0, 1.0])
    corners = [(0, 0, 0), (0.1, 0, 0), (0, 0.1, 0)]
    vertices = np.array([*corners, 0.02 * line_of_sight, 0.04 * line_of_sight])
    colors = np.array([*[(0, 0, 0)] * 3, RED, GREEN], np.uint8)
    for order in (np.arange(5), np.arange(5)[::-1]):
        image = draw_points(vertices[order], colors[order], 150)
        assert area(image, GREEN) > 0
        assert area(image, RED) == 0


def test_the_points_of_a_plane_cover_it_evenly():
    x, y = np.meshgrid(np.linspace(0, 0.5, 80), np.linspace(0, 0.5, 80))
    vertices = np.stack([x.ravel(), y.ravel(), np.zeros(6400)], axis=1)
    image = draw_points(vertices, np.full((6400, 3), 200, np.uint8), 300)
    height, width, _ = image.shape
    middle = image[height // 2 - 20 : height // 2 + 20, width // 2 - 40 : width // 2 + 40]
    assert np.ptp(middle) < 30
    assert middle.mean() == pytest.approx(200, abs=8)


def test_a_point_between_nearer_ones_is_darker():
    x, y = np.meshgrid(np.linspace(0, 1, 150), np.linspace(0, 1, 150))
    for depth, darker in ((0.1, True), (0.0, False)):
        groove = np.where(np.abs(x + y - 1) < 0.02, -depth, 0)
        vertices = np.stack([x.ravel(), y.ravel(), groove.ravel()], axis=1)
        image = draw_points(vertices, np.full((len(vertices), 3), 200, np.uint8), 300)
        assert (image[60:-60, 130:170].min() < 150) == darker


def test_one_point_and_equal_points_are_drawn():
    for count in (1, 3):
        image = draw_points(np.ones((count, 3)), np.full((count, 3), RED, np.uint8), 60)
        assert area(image, RED) > 0


def test_instance_colors_differ_from_each_other_and_from_stuff():
    colors = instance_colors(np.arange(257))
    assert colors.dtype == np.uint8
    assert tuple(colors[0]) == pictures.STUFF_COLOR
    assert len(np.unique(colors, axis=0)) == 257
    first = colors[:21].astype(int)
    apart = np.abs(first[:, None] - first).sum(axis=-1) + 999 * np.eye(21, dtype=int)
    assert apart.min() > 60
    assert np.ptp(first[1:], axis=1).min() > 50  # none is nearly grey


def test_an_instance_keeps_its_color_whatever_else_is_there():
    assert instance_colors(np.array([7]))[0].tolist() == instance_colors(np.arange(9))[7].tolist()
    assert (
        instance_colors(np.array([257]))[0].tolist() == instance_colors(np.array([1]))[0].tolist()
    )
    assert instance_colors(np.array([], int)).shape == (0, 3)


def test_stuff_and_unlabelled_are_light_grey_and_things_are_colored():
    classes = ClassSet((9, 4, 30), ("cup", "table", "box"), ("thing", "stuff", "thing"))
    colors = class_colors(np.array([0, 4, 9, 30, 9]), classes).tolist()
    assert colors[0] == colors[1] == list(pictures.STUFF_COLOR)
    assert colors[2] == colors[4] == instance_colors(np.array([1]))[0].tolist()
    assert colors[3] == instance_colors(np.array([2]))[0].tolist()


def test_a_class_that_is_not_listed_is_refused():
    with pytest.raises(ValueError, match=r"expected class ids among \[2\] \(or 0\), found \[3\]"):
        class_colors(np.array([2, 3]), ClassSet((2,), ("cup",), ("thing",)))


def test_images_of_different_heights_are_centred_side_by_side():
    black, grey = np.zeros((2, 3, 3), np.uint8), np.full((5, 1, 3), 99, np.uint8)
    image = side_by_side([black, grey])
    assert image.shape == (5, 4, 3)
    assert image[:, 0, 0].tolist() == [255, 0, 0, 255, 255]
    assert image[:, 3, 0].tolist() == [99] * 5
    with pytest.raises(ValueError, match="expected at least one image"):
        side_by_side([])


@pytest.mark.parametrize("function", [draw_voxels, draw_points])
def test_colors_that_do_not_match_and_no_width_are_refused(function):
    with pytest.raises(ValueError, match=r"expected a color \[2, 3\] .* found \[3, 3\]"):
        function(np.zeros((2, 3), int), np.zeros((3, 3), np.uint8))
    with pytest.raises(ValueError, match="expected a width of at least 1 pixel, found 0"):
        function(np.zeros((1, 3), int), np.zeros((1, 3), np.uint8), 0)
