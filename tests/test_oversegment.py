import numpy as np

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
