"""Instances from the input labels alone."""

import numpy as np
import pytest

from mtml_tf.scene import VoxelScene
from mtml_tf.segmentation.baselines import (
    connected_components,
    connected_components_of_mesh,
    segmentation_as_instance,
    segmentation_as_instance_of_vertices,
)

TABLE, CUP, BOX = 1, 2, 7
THINGS = (CUP, BOX)


def scene(*voxels):
    """A scene of (x, y, z, class id)."""
    table = np.array(voxels, np.int32).reshape(-1, 4)
    return VoxelScene(
        "toy", table[:, :3], (16, 16, 16), 1.0, np.zeros(3), semantic_ids=table[:, 3].copy()
    )


def found(instances):
    return [(i.class_id, i.indices.tolist()) for i in instances]


# A cup of three voxels in two parts, a box that touches it, the table under all, and noise.
DESK = scene(
    (0, 0, 0, TABLE),
    (5, 0, 1, CUP),
    (0, 0, 1, CUP),
    (1, 0, 1, CUP),
    (2, 0, 1, BOX),
    (3, 0, 1, BOX),
    (4, 4, 1, BOX),
    (2, 0, 2, BOX),
    (9, 9, 9, 0),
)


def test_a_class_becomes_one_instance():
    assert found(segmentation_as_instance(DESK, THINGS)) == [(BOX, [4, 5, 6, 7]), (CUP, [1, 2, 3])]


def test_each_connected_part_of_a_class_becomes_an_instance():
    assert found(connected_components(DESK, THINGS)) == [
        (BOX, [4, 5, 7]),
        (CUP, [2, 3]),
        (CUP, [1]),
        (BOX, [6]),
    ]


def test_two_touching_objects_of_a_class_are_taken_for_one():
    touching = scene(*[(x, 0, 0, CUP) for x in range(4)], *[(x, 1, 0, CUP) for x in (4, 5)])
    assert len(connected_components(touching, THINGS)) == 2
    joined = scene(*[(x, 0, 0, CUP) for x in range(4)], *[(x, 1, 0, CUP) for x in (3, 4)])
    assert found(connected_components(joined, THINGS)) == [(CUP, [0, 1, 2, 3, 4, 5])]


@pytest.mark.parametrize(("connectivity", "count"), [(6, 3), (18, 2), (26, 1)])
def test_connectivity_says_what_touches(connectivity, count):
    # The second voxel shares an edge with the first, the third a corner with the second.
    steps = scene((0, 0, 0, CUP), (1, 1, 0, CUP), (2, 2, 1, CUP))
    assert len(connected_components(steps, THINGS, connectivity)) == count


def test_another_connectivity_is_refused():
    with pytest.raises(ValueError, match="expected connectivity 6, 18 or 26, found 4"):
        connected_components(DESK, THINGS, connectivity=4)


def test_components_below_the_smallest_size_are_dropped():
    assert found(connected_components(DESK, THINGS, min_voxels=2)) == [
        (BOX, [4, 5, 7]),
        (CUP, [2, 3]),
    ]
    assert connected_components(DESK, THINGS, min_voxels=4) == []


@pytest.mark.parametrize("method", [segmentation_as_instance, connected_components])
def test_stuff_and_unlabelled_voxels_take_no_part(method):
    assert {i.class_id for i in method(DESK, {CUP})} == {CUP}
    assert method(DESK, ()) == []
    assert method(scene((0, 0, 0, TABLE), (0, 0, 1, 0)), THINGS) == []
    assert method(scene(), THINGS) == []


@pytest.mark.parametrize("method", [segmentation_as_instance, connected_components])
def test_instances_are_disjoint_and_ascending_with_score_one_and_the_largest_first(method):
    rng = np.random.default_rng(0)
    occupied = np.argwhere(rng.random((16, 16, 16)) < 0.3)
    rng.shuffle(occupied)
    labels = rng.choice([0, TABLE, CUP, BOX], len(occupied))
    voxel_scene = scene(*np.column_stack([occupied, labels]))
    instances = method(voxel_scene, THINGS)
    sizes = [len(i.indices) for i in instances]
    assert sizes == sorted(sizes, reverse=True)
    assert {i.score for i in instances} == {1.0}
    for instance in instances:
        assert instance.indices.dtype == np.int32
        assert (np.diff(instance.indices) > 0).all()
        assert set(voxel_scene.semantic_ids[instance.indices]) == {instance.class_id}
    members = np.concatenate([i.indices for i in instances])
    np.testing.assert_array_equal(np.sort(members), np.flatnonzero(np.isin(labels, THINGS)))


def test_the_order_of_voxels_changes_rows_only():
    rng = np.random.default_rng(1)
    occupied = np.argwhere(rng.random((8, 8, 8)) < 0.3)
    voxels = np.column_stack([occupied, rng.choice(THINGS, len(occupied))])
    order = rng.permutation(len(voxels))

    def places(table):
        instances = connected_components(scene(*table), THINGS)
        return {frozenset(map(tuple, table[i.indices])) for i in instances}

    assert places(voxels[order]) == places(voxels)


# Two cups of four and three vertices; the triangle (3, 4, 5) joins them past a vertex of the
# table, and vertex 8 is in no triangle.
MESH_IDS = np.array([CUP, CUP, CUP, CUP, TABLE, CUP, CUP, CUP, CUP], np.int32)
MESH_FACES = np.array([[0, 1, 2], [1, 2, 3], [3, 4, 5], [5, 6, 7]], np.int32)


def test_all_vertices_of_a_class_become_one_instance():
    assert found(segmentation_as_instance_of_vertices(MESH_IDS, THINGS)) == [
        (CUP, [0, 1, 2, 3, 5, 6, 7, 8])
    ]
    assert segmentation_as_instance_of_vertices(MESH_IDS, THINGS, min_vertices=9) == []


def test_vertices_of_a_class_connect_along_the_edges_of_the_mesh():
    # The third triangle has an edge between its vertices 3 and 5, so it joins the two cups.
    assert found(connected_components_of_mesh(MESH_IDS, MESH_FACES, THINGS)) == [
        (CUP, [0, 1, 2, 3, 5, 6, 7]),
        (CUP, [8]),
    ]
    apart = np.array([[0, 1, 2], [1, 2, 3], [3, 4, 4], [5, 6, 7]], np.int32)
    assert found(connected_components_of_mesh(MESH_IDS, apart, THINGS)) == [
        (CUP, [0, 1, 2, 3]),
        (CUP, [5, 6, 7]),
        (CUP, [8]),
    ]


def test_touching_vertices_of_different_classes_stay_apart():
    ids = np.array([CUP, BOX, CUP, BOX], np.int32)
    faces = np.array([[0, 1, 2], [1, 2, 3]])
    assert found(connected_components_of_mesh(ids, faces, THINGS)) == [
        (CUP, [0, 2]),
        (BOX, [1, 3]),
    ]
    assert found(connected_components_of_mesh(ids, faces, {BOX})) == [(BOX, [1, 3])]


def test_components_of_the_mesh_below_the_smallest_size_are_dropped():
    instances = connected_components_of_mesh(MESH_IDS, MESH_FACES, THINGS, min_vertices=2)
    assert found(instances) == [(CUP, [0, 1, 2, 3, 5, 6, 7])]
    assert connected_components_of_mesh(MESH_IDS, MESH_FACES, THINGS, min_vertices=8) == []


def test_a_mesh_without_faces_or_vertices_is_no_failure():
    no_faces = np.zeros((0, 3), np.int32)
    assert len(connected_components_of_mesh(MESH_IDS, no_faces, THINGS)) == 8
    assert connected_components_of_mesh(np.zeros(0, np.int32), no_faces, THINGS) == []
    assert segmentation_as_instance_of_vertices(np.zeros(0, np.int32), THINGS) == []


def test_faces_that_do_not_fit_the_vertices_are_refused():
    with pytest.raises(ValueError, match="expected faces of vertices 0 to 8, found 0 to 9"):
        connected_components_of_mesh(MESH_IDS, np.array([[0, 1, 9]]), THINGS)
    with pytest.raises(ValueError, match=r"expected faces \[F, 3\], found shape \[1, 4\]"):
        connected_components_of_mesh(MESH_IDS, np.array([[0, 1, 2, 3]]), THINGS)


def test_mesh_and_voxels_agree_where_the_mesh_joins_neighbouring_voxels():
    # A triangle with a corner twice is an edge: one for each pair of voxels with a common face.
    rng = np.random.default_rng(2)
    occupied = np.argwhere(rng.random((10, 10, 10)) < 0.3)
    voxels = np.column_stack([occupied, rng.choice([0, *THINGS], len(occupied))])
    apart = np.abs(occupied[:, None] - occupied[None]).sum(axis=2)
    first, second = np.nonzero(apart == 1)
    voxel_scene = scene(*voxels)
    on_mesh = connected_components_of_mesh(
        voxel_scene.semantic_ids, np.stack([first, second, second], axis=1), THINGS
    )
    assert found(on_mesh) == found(connected_components(voxel_scene, THINGS))
