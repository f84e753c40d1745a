"""Triangle meshes that furniture is built of, and the room that holds it.

Metres, z up. A piece of furniture is modelled standing on z = 0, centred on x and y, with its
front towards -y and its back (the side that goes to the wall) towards +y.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

Array = np.ndarray
Color = tuple[int, int, int]
Point = Sequence[float] | np.ndarray

# Corners of the unit cube from -0.5 to 0.5, and its faces, seen counterclockwise from outside.
_CUBE = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
_CUBE_FACES = np.array(
    [
        *((0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5)),
        *((0, 4, 5), (0, 5, 1), (2, 3, 7), (2, 7, 6)),
        *((0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3)),
    ],
    np.int32,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Mesh:
    """Coloured triangles.

    Attributes:
        vertices: float64 [V, 3], metres.
        faces: int32 [F, 3] vertex indices.
        colors: uint8 [F, 3], red green blue of each face.
    """

    vertices: Array
    faces: Array
    colors: Array

    @property
    def low(self) -> Array:
        """float64 [3], the lowest corner of the bounding box."""
        return self.vertices.min(axis=0)

    @property
    def high(self) -> Array:
        """float64 [3], the highest corner of the bounding box."""
        return self.vertices.max(axis=0)

    def moved(self, offset: Point) -> "Mesh":
        """Returns the mesh moved by `offset` [3], metres."""
        return dataclasses.replace(self, vertices=self.vertices + np.asarray(offset))

    def turned(self, angle: float, axis: int = 2) -> "Mesh":
        """Returns the mesh turned about a coordinate axis by `angle`, radians."""
        first, second = [a for a in (0, 1, 2) if a != axis]
        vertices = self.vertices.copy()
        cosine, sine = np.cos(angle), np.sin(angle)
        vertices[:, first] = cosine * self.vertices[:, first] - sine * self.vertices[:, second]
        vertices[:, second] = sine * self.vertices[:, first] + cosine * self.vertices[:, second]
        return dataclasses.replace(self, vertices=vertices)


def merge(meshes: Sequence[Mesh]) -> Mesh:
    """Returns one mesh of several; faces keep their order."""
    starts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([m.faces + s for m, s in zip(meshes, starts, strict=True)]).astype(np.int32),
        np.concatenate([mesh.colors for mesh in meshes]),
    )


def box(size: Point, low: Point, color: Color) -> Mesh:
    """Returns an upright box.

    Args:
        size: (x, y, z) extent, metres.
        low: its lowest corner.
        color: red green blue.
    """
    vertices = (_CUBE + 0.5) * np.asarray(size) + np.asarray(low)
    return Mesh(vertices, _CUBE_FACES, np.tile(np.array(color, np.uint8), (len(_CUBE_FACES), 1)))


def lathe(profile: Sequence[tuple[float, float]], color: Color, sides: int = 12) -> Mesh:
    """Returns the solid that a profile sweeps around the z axis.

    Args:
        profile: (radius, z) pairs, metres, upwards; ends are closed by a disc.
        color: red green blue.
        sides: how many sides the circle has.
    """
    angles = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    rings = [np.column_stack([radius * circle, np.full(sides, z)]) for radius, z in profile]
    ends = [(0, 0, profile[0][1]), (0, 0, profile[-1][1])]
    vertices = np.concatenate([*rings, ends])
    here = np.arange(sides)
    after = (here + 1) % sides
    faces = []
    for ring in range(len(profile) - 1):
        a, b = ring * sides, (ring + 1) * sides
        faces += [np.stack([a + here, a + after, b + after], axis=1)]
        faces += [np.stack([a + here, b + after, b + here], axis=1)]
    bottom, top = len(vertices) - 2, len(vertices) - 1
    last = (len(profile) - 1) * sides
    faces += [np.stack([np.full(sides, bottom), after, here], axis=1)]
    faces += [np.stack([np.full(sides, top), last + here, last + after], axis=1)]
    joined = np.concatenate(faces).astype(np.int32)
    return Mesh(vertices, joined, np.tile(np.array(color, np.uint8), (len(joined), 1)))


def grid_sheet(points: Array, color: Color) -> Mesh:
    """Returns a surface through a grid of points.

    Args:
        points: float64 [R, S, 3], metres.
        color: red green blue.
    """
    rows, columns = points.shape[:2]
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = np.concatenate(
        [np.stack([p.ravel() for p in corners], axis=1) for corners in ((a, b, c), (a, c, d))]
    ).astype(np.int32)
    return Mesh(points.reshape(-1, 3), faces, np.tile(np.array(color, np.uint8), (len(faces), 1)))


@dataclasses.dataclass(frozen=True, eq=False)
class Piece:
    """One object of a room, in room coordinates.

    Attributes:
        label: its name, a key of `furniture.LABELS`, such as "office chair".
        mesh: its surface.
    """

    label: str
    mesh: Mesh


@dataclasses.dataclass(frozen=True, eq=False)
class Room:
    """A furnished room: from (0, 0, 0) to `size`.

    Attributes:
        name: name of the scene.
        size: (x, y, z) inner extent, metres.
        pieces: its objects; walls and floor are pieces too.
    """

    name: str
    size: tuple[float, float, float]
    pieces: tuple[Piece, ...]
