"""Over-segmentation of a mesh by its normals (Felzenszwalb and Huttenlocher, as in ScanNet)."""

import numpy as np

Array = np.ndarray


def over_segment(
    vertices: Array, faces: Array, threshold: float = 0.01, min_vertices: int = 20
) -> Array:
    """Cuts a mesh into segments of alike normals.

    An edge weighs one minus the cosine between its ends' normals, squared where the surface is
    convex. Edges are taken by weight; one joins two segments where it weighs at most their own
    largest edge plus `threshold` over their size. O(F log F).

    Args:
        vertices: float [N, 3].
        faces: integers [F, 3].
        threshold: larger values make larger segments.
        min_vertices: smaller segments join the neighbour along their lightest edge.

    Returns:
        int32 [N], for each vertex the number of a vertex that stands for its segment.
    """
    edges = np.unique(np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0)
    weights = _edge_weights(np.asarray(vertices, np.float64), faces, edges)
    order = np.argsort(weights, kind="stable")
    first, second = edges[order].T.tolist()
    parent = list(range(len(vertices)))
    size = [1] * len(parent)
    limit = [threshold] * len(parent)

    def root(vertex: int) -> int:
        while parent[vertex] != vertex:
            parent[vertex] = parent[parent[vertex]]
            vertex = parent[vertex]
        return vertex

    def join(a: int, b: int) -> int:
        if size[a] < size[b]:
            a, b = b, a
        parent[b] = a
        size[a] += size[b]
        return a

    for a, b, weight in zip(first, second, weights[order].tolist(), strict=True):
        a, b = root(a), root(b)
        if a != b and weight <= limit[a] and weight <= limit[b]:
            a = join(a, b)
            limit[a] = weight + threshold / size[a]
    for a, b in zip(first, second, strict=True):
        a, b = root(a), root(b)
        if a != b and (size[a] < min_vertices or size[b] < min_vertices):
            join(a, b)
    return np.array([root(vertex) for vertex in range(len(parent))], np.int32)


def _edge_weights(vertices: Array, faces: Array, edges: Array) -> Array:
    """Returns float64 [edges]: how much the normals of the ends differ."""
    corners = vertices[faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(vertices)
    for corner in range(3):
        for axis in range(3):
            normals[:, axis] += np.bincount(faces[:, corner], across[:, axis], len(vertices))
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    a, b = edges.T
    weights = 1 - (normals[a] * normals[b]).sum(axis=1)
    convex = (normals[b] * (vertices[b] - vertices[a])).sum(axis=1) > 0
    return np.where(convex, weights**2, weights)
