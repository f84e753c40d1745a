"""Vertices to voxels and back: majorities, order, limits."""

import collections
import dataclasses
import math

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from mtml_tf.classes import ClassSet
from mtml_tf.scans import voxels
from mtml_tf.scene import Scene, VoxelScene

CLASSES = ClassSet((1, 2, 3), ("table", "cup", "box"), ("stuff", "thing", "thing"))


def scene(vertices, labels=None, instances=None, features=None):
    count = len(vertices)
    return Scene(
        "desk",
        np.array(vertices, np.float64),
        semantic_ids=np.array([1] * count if labels is None else labels, np.int32),
        instance_ids=None if instances is None else np.array(instances, np.int32),
        features=None if features is None else np.array(features, np.float32),
    )


def one_voxel(labels, instances=None, classes=None):
    return voxels.voxelize(scene([[0.5, 0.5, 0.5]] * len(labels), labels, instances), 1.0, classes)


def test_a_vertex_lies_in_the_voxel_that_holds_it():
    found = voxels.voxelize(scene([[2.5, -1, 0.2], [0.5, 1, 0.2], [0.6, 1.9, 0.3]]), 1.0)
    np.testing.assert_array_equal(found.origin, [0.5, -1, 0.2])
    np.testing.assert_array_equal(found.coordinates, [[0, 2, 0], [2, 0, 0]])
    np.testing.assert_array_equal(found.vertex_to_voxel, [1, 0, 0])
    assert found.grid_shape == (4, 4, 2)
    assert found.coordinates.dtype == found.vertex_to_voxel.dtype == np.int32
    assert found.instance_ids is None
    assert found.features is None


def test_every_vertex_is_within_half_a_voxel_of_its_voxels_centre():
    vertices = np.random.default_rng(0).normal(size=(500, 3))
    found = voxels.voxelize(scene(vertices), 0.3, origin=np.full(3, -10.0))
    centres = found.origin + (found.coordinates + 0.5) * found.voxel_size
    offset = np.abs(voxels.devoxelize(centres, found) - vertices)
    assert offset.max() <= 0.15 + 1e-9


@pytest.mark.parametrize(
    ("labels", "expected"), [([2, 3, 3], 3), ([3, 2], 2), ([0, 0, 2], 0), ([2, 0], 0), ([5], 5)]
)
def test_the_most_frequent_label_wins_and_the_smaller_of_equals(labels, expected):
    np.testing.assert_array_equal(one_voxel(labels).semantic_ids, [expected])


def test_the_instance_is_that_of_the_winning_label():
    # Instance 9 has most vertices, but they are split over two labels.
    found = one_voxel([2, 2, 2, 3, 3], [4, 4, 9, 9, 9])
    np.testing.assert_array_equal(found.semantic_ids, [2])
    np.testing.assert_array_equal(found.instance_ids, [4])


def test_stuff_has_no_instance_where_the_classes_are_known():
    np.testing.assert_array_equal(one_voxel([1, 1], [4, 4]).instance_ids, [4])
    np.testing.assert_array_equal(one_voxel([1, 1], [4, 4], CLASSES).instance_ids, [0])
    np.testing.assert_array_equal(one_voxel([2, 2], [4, 4], CLASSES).instance_ids, [4])


def test_features_are_averaged():
    vertices = [[0, 0, 0], [0.1, 0, 0], [1.5, 0, 0]]
    found = voxels.voxelize(scene(vertices, features=[[1, 0], [3, 1], [7, 7]]), 1.0)
    np.testing.assert_array_equal(found.features, [[2, 0.5], [7, 7]])
    assert found.features.dtype == np.float32


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(seed=strategies.integers(0, 2**32 - 1), count=strategies.integers(1, 60))
def test_voxels_equal_those_of_a_loop_over_vertices(seed, count):
    rng = np.random.default_rng(seed)
    given = scene(
        rng.uniform(0, 2, (count, 3)), rng.integers(0, 4, count), rng.integers(0, 3, count)
    )
    found = voxels.voxelize(given, 0.7)
    members = collections.defaultdict(list)
    for vertex in range(count):
        cell = tuple(
            math.floor((given.vertices[vertex, axis] - given.vertices[:, axis].min()) / 0.7)
            for axis in range(3)
        )
        members[cell].append(vertex)
    assert [tuple(row) for row in found.coordinates.tolist()] == sorted(members)
    for row, cell in enumerate(sorted(members)):
        labels = given.semantic_ids[members[cell]].tolist()
        label = min(set(labels), key=lambda value: (-labels.count(value), value))
        instances = [given.instance_ids[v] for v in members[cell] if given.semantic_ids[v] == label]
        instance = min(set(instances), key=lambda value: (-instances.count(value), value))
        assert (found.semantic_ids[row], found.instance_ids[row]) == (label, instance)
        assert all(found.vertex_to_voxel[vertex] == row for vertex in members[cell])


def test_the_order_of_the_vertices_does_not_matter():
    rng = np.random.default_rng(1)
    vertices, labels = rng.random((300, 3)), rng.integers(0, 4, 300)
    order = rng.permutation(300)
    first = voxels.voxelize(scene(vertices, labels, labels), 0.2)
    second = voxels.voxelize(scene(vertices[order], labels[order], labels[order]), 0.2)
    np.testing.assert_array_equal(first.coordinates, second.coordinates)
    np.testing.assert_array_equal(first.semantic_ids, second.semantic_ids)
    np.testing.assert_array_equal(first.vertex_to_voxel[order], second.vertex_to_voxel)


@pytest.mark.parametrize("voxel_size", [0, -0.01, np.nan, np.inf])
def test_a_voxel_size_that_is_none_is_refused(voxel_size):
    with pytest.raises(ValueError, match="scene desk: expected a voxel size above 0 m"):
        voxels.voxelize(scene([[0, 0, 0]]), voxel_size)


def test_a_scan_without_labels_is_refused():
    with pytest.raises(ValueError, match=r"scene desk: .*vertex property 'label'.*found no labels"):
        voxels.voxelize(Scene("desk", np.zeros((1, 3))), 0.1)


def test_a_label_that_is_no_class_is_refused():
    with pytest.raises(ValueError, match=r"scene desk: expected class ids .* found \[4, 9\]"):
        one_voxel([1, 9, 4, 0], classes=CLASSES)


def test_a_scan_without_vertices_is_refused():
    with pytest.raises(ValueError, match="scene desk: expected vertices, found none"):
        voxels.voxelize(scene(np.zeros((0, 3))), 0.1)


def test_vertices_below_the_origin_are_refused():
    with pytest.raises(ValueError, match="scene desk: expected no vertex below the origin"):
        voxels.voxelize(scene([[0, 0, 0]]), 0.1, origin=np.array([0, 0.01, 0]))


def test_a_grid_that_no_memory_holds_can_be_prepared():
    corner = [400, 400, 40]
    found = voxels.voxelize(scene([corner, [0, 0, 0]]), 0.02)
    assert found.grid_shape == (20002, 20002, 2002)
    np.testing.assert_array_equal(found.coordinates, [[0, 0, 0], [20000, 20000, 2000]])
    np.testing.assert_array_equal(found.vertex_to_voxel, [1, 0])


def test_an_axis_may_have_as_many_voxels_as_a_record_holds():
    assert voxels.voxelize(scene([[0, 0, 0], [65535, 0, 0]]), 1.0).grid_shape == (65536, 2, 2)
    with pytest.raises(ValueError, match=r"at most 65536 .*, found 65537 x 1 x 1 voxels of 1 m"):
        voxels.voxelize(scene([[0, 0, 0], [65536, 0, 0]]), 1.0)


@pytest.mark.parametrize("outlier", [1e4, 1e8, 1e12, 1e308])
def test_an_absurd_extent_is_refused(outlier):
    with pytest.raises(ValueError, match=r"scene desk: expected at most .* along each axis"):
        voxels.voxelize(scene([[-outlier, 0, 0], [outlier, 0, 0]]), 0.01)


def test_a_room_in_millimetres_is_told_in_one_sentence():
    with pytest.raises(ValueError, match="scene desk: ") as told:
        voxels.voxelize(scene([[0, 0, 0], [5000, 4000, 2500]]), 0.1)
    assert str(told.value) == (
        "scene desk: expected at most 65536 voxels along each axis and 1.1e+12 in all, found "
        "50001 x 40001 x 25001 voxels of 0.1 m; give vertices in metres (--scale), take a larger "
        "voxel size or remove points that lie far from the rest"
    )


def test_a_voxel_gets_the_mean_of_what_its_vertices_have():
    found = voxels.voxelize(scene([[0, 0, 0], [1, 1, 1], [0.1, 0, 0]]), 0.5)
    means = voxels.mean_on_voxels(np.array([[1.0, 8], [5, 6], [2, 4]]), found)
    np.testing.assert_array_equal(means, [[1.5, 6], [5, 6]])
    assert means.dtype == np.float32
    with pytest.raises(ValueError, match="scene desk: expected 3 values, one a vertex, found 2"):
        voxels.mean_on_voxels(np.zeros((2, 1)), found)


def test_devoxelize_refuses_voxels_without_vertices_and_wrong_counts():
    found = voxels.voxelize(scene([[0, 0, 0], [1, 1, 1]]), 0.5)
    with pytest.raises(ValueError, match="expected 2 values, one a voxel, found 3"):
        voxels.devoxelize(np.zeros(3), found)
    toy = VoxelScene(
        "toy", found.coordinates, found.grid_shape, 1.0, np.zeros(3), found.semantic_ids
    )
    with pytest.raises(ValueError, match="scene toy: expected a vertex_to_voxel index"):
        voxels.devoxelize(np.zeros(2), toy)


# --- Points ------------------------------------------------------------------------------------

# Two voxels of 1 m: three cells of the first (two vertices in one of them), one of the second.
THINNED = scene(
    [[0, 0, 0], [0.1, 0.2, 0.1], [0, 0.3, 0.8], [0.99, 0, 0.5], [1.5, 0.25, 0]],
    labels=[3, 2, 2, 1, 3],
    instances=[5, 4, 4, 9, 6],
)


def test_there_is_a_point_for_each_occupied_cell():
    found = voxels.voxelize(THINNED, 1.0, CLASSES, with_points=True)
    points = found.points
    np.testing.assert_array_equal(points.per_voxel, [3, 1])
    # 16 x + 4 y + z, in quarters of a voxel.
    np.testing.assert_array_equal(points.cells, [0, 4 + 3, 3 * 16 + 2, 2 * 16 + 4])
    np.testing.assert_array_equal(points.vertex_to_point, [0, 0, 1, 2, 3])
    # Of 3 and 2 in the first cell the smaller; the table has no instances.
    np.testing.assert_array_equal(points.semantic_ids, [2, 2, 1, 3])
    np.testing.assert_array_equal(points.instance_ids, [4, 4, 0, 6])
    assert points.true_ids is None
    assert points.per_voxel.dtype == points.cells.dtype == np.uint8


def test_points_are_kept_only_where_they_are_asked_for_and_change_nothing_else():
    plain = voxels.voxelize(THINNED, 1.0, CLASSES)
    assert plain.points is None
    found = voxels.voxelize(THINNED, 1.0, CLASSES, with_points=True)
    for name in ("coordinates", "semantic_ids", "instance_ids", "vertex_to_voxel"):
        np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))


def test_points_without_instances_have_none():
    bare = scene([[0, 0, 0]])
    assert voxels.voxelize(bare, 1.0, with_points=True).points.instance_ids is None


def test_another_input_is_that_of_the_points_too_and_the_true_ids_stay():
    found = voxels.voxelize(THINNED, 1.0, CLASSES, with_points=True)
    for given in ([1, 1, 3, 3, 2], [2, 2, 2, 2, 1]):  # an input may be replaced again
        found = voxels.with_input(found, np.array(given, np.int32))
        np.testing.assert_array_equal(found.points.semantic_ids, given[1:])
        np.testing.assert_array_equal(found.points.true_ids, [2, 2, 1, 3])
        np.testing.assert_array_equal(found.points.instance_ids, [4, 4, 0, 6])


def test_the_input_of_points_read_from_disk_is_not_replaced():
    found = voxels.voxelize(THINNED, 1.0, with_points=True)
    points = dataclasses.replace(found.points, vertex_to_point=None)
    read = dataclasses.replace(found, points=points)
    with pytest.raises(ValueError, match="scene desk: expected points with a vertex_to_point"):
        voxels.with_input(read, np.ones(5, np.int32))
