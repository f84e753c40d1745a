import numpy as np
import pytest

from mtml_tf.rooms.oversegment import over_segment


def sheet(points):
    """Vertices and faces of a surface through a grid of points [R, S, 3]."""
    rows, columns = points.shape[:2]
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = [np.stack([p.ravel() for p in corners], axis=1) for corners in ((a, b, c), (a, c, d))]
    return points.reshape(-1, 3), np.concatenate(faces).astype(np.int32)


def folded(size=20, angle=np.pi / 2):
    """A sheet that is folded along its middle."""
    along, across = np.meshgrid(np.arange(size) * 0.05, np.arange(size) * 0.05, indexing="ij")
    beyond = np.maximum(along - size * 0.025, 0)
    x = np.minimum(along, size * 0.025) + beyond * np.cos(angle)
    return sheet(np.stack([x, across, beyond * np.sin(angle)], axis=2))


def test_a_plane_is_one_segment():
    vertices, faces = folded(angle=0.0)
    assert len(np.unique(over_segment(vertices, faces))) == 1


def test_two_planes_that_meet_at_a_right_angle_are_two_segments():
    vertices, faces = folded()
    segments = over_segment(vertices, faces, min_vertices=60)
    assert len(np.unique(segments)) == 2
    assert segments[0] != segments[-1]
    assert np.mean(segments[vertices[:, 2] > 0.1] == segments[-1]) == 1


def test_parts_that_do_not_touch_never_share_a_segment():
    vertices, faces = folded(angle=0.0)
    apart = np.concatenate([vertices, vertices + np.array([0.0, 0.0, 3.0])])
    segments = over_segment(apart, np.concatenate([faces, faces + len(vertices)]))
    assert len(np.unique(segments)) == 2


def test_no_segment_is_smaller_than_asked_for():
    rng = np.random.default_rng(0)
    vertices, faces = folded()
    rough = vertices + rng.normal(0, 0.02, vertices.shape)
    sizes = np.unique(over_segment(rough, faces, min_vertices=30), return_counts=True)[1]
    assert len(sizes) > 1
    assert sizes.min() >= 30


def test_a_segment_is_named_after_one_of_its_vertices():
    vertices, faces = folded()
    segments = over_segment(vertices, faces)
    np.testing.assert_array_equal(segments[np.unique(segments)], np.unique(segments))
    assert segments.dtype == np.int32


def test_a_gentle_convex_fold_stays_whole_and_a_concave_one_is_cut():
    # Edges to the fold weigh 1 - cos(0.1) = 5e-3, more than 0.01 over the 200 vertices of a side;
    # where the surface is convex that is squared, 2.5e-5, and less than 5e-5.
    convex, concave = (over_segment(*folded(angle=angle), min_vertices=1) for angle in (-0.2, 0.2))
    assert len(np.unique(convex)) == 1
    assert len(np.unique(concave)) > 1
    assert concave[0] != concave[-1]


def test_the_side_that_faces_out_decides_what_is_convex():
    vertices, faces = folded(angle=0.2)
    assert len(np.unique(over_segment(vertices, faces[:, ::-1], min_vertices=1))) == 1


@pytest.mark.parametrize(("threshold", "count"), [(0.001, 5), (2.0, 1)])
def test_the_threshold_is_shared_among_the_vertices_of_a_segment(threshold, count):
    # Five flat parts: two sides, the 18 inner vertices of the fold, and its two ends, where two
    # triangles are of one side and one of the other. An end's edge to the inner ones weighs
    # 1 - cos(0.1 / 3) = 5.6e-4: less than 0.001, but more than 0.001 over 18.
    segments = over_segment(*folded(angle=0.2), threshold=threshold, min_vertices=1)
    assert len(np.unique(segments)) == count


def test_the_lightest_edges_join_first():
    # A strip of which the first half bends more and more: its flat half is one segment, whichever
    # end the vertices are numbered from.
    bends = np.concatenate([np.zeros(20), np.linspace(0.05, 1.0, 20)])
    steps = np.stack([np.cos(bends.cumsum()), 0 * bends, np.sin(bends.cumsum())], axis=1) * 0.05
    rows = np.cumsum(steps, axis=0)
    points = rows[:, None] + np.arange(10)[None, :, None] * np.array([0.0, 0.05, 0.0])
    vertices, faces = sheet(points)
    segments = over_segment(vertices, faces, min_vertices=1).reshape(40, 10)
    again = over_segment(vertices[::-1], len(vertices) - 1 - faces, min_vertices=1)[::-1]
    again = again.reshape(40, 10)
    for found in (segments, again):
        assert len(np.unique(found[:19])) == 1
        assert found[0, 0] != found[-1, 0]
    np.testing.assert_array_equal(
        segments[:, :1] == segments[:, :1].T, again[:, :1] == again[:, :1].T
    )


def test_a_vertex_without_faces_is_a_segment_of_its_own():
    vertices, faces = folded(angle=0.0)
    segments = over_segment(np.concatenate([vertices, [[9.0, 9.0, 9.0]]]), faces)
    assert segments[-1] == len(vertices)
    assert len(np.unique(segments)) == 2


def test_points_without_faces_are_all_apart():
    segments = over_segment(np.zeros((3, 3)), np.zeros((0, 3), np.int32))
    np.testing.assert_array_equal(segments, [0, 1, 2])
