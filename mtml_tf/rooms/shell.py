"""What a room is made of before it is furnished: floor, walls with holes, ceiling, what is beyond.

Things at a wall are in the wall's frame: the wall is at y = 0, the room at y < 0, z = 0 the floor.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from mtml_tf.rooms import furniture
from mtml_tf.rooms.mesh import Color, Mesh, Piece, box, merge

Array = np.ndarray
Rng = np.random.Generator

_WALL_COLORS: tuple[Color, ...] = (
    *((215, 210, 200), (200, 205, 210), (225, 220, 205), (190, 195, 180)),
)
_FLOOR_COLORS: tuple[Color, ...] = (
    *((150, 115, 80), (120, 120, 118), (170, 150, 125), (100, 85, 70)),
)
_WHITE: Color = (235, 235, 232)
_GLASS: Color = (170, 195, 215)
_THICKNESS = 0.1  # metres, of walls and floors


@dataclasses.dataclass(frozen=True)
class Hole:
    """A hole in a wall, in its frame, metres: from and to along x and z."""

    left: float
    right: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """Pieces that are placed as one, and the holes that they need in their wall.

    Attributes:
        pieces: in the wall's frame, or around the origin.
        holes: in the wall's frame.
        beyond: pieces outside the room, of which a glimpse may be had; they need no room in it.
    """

    pieces: Sequence[Piece]
    holes: Sequence[Hole] = ()
    beyond: Sequence[Piece] = ()

    def moved(self, along: float, gap: float = 0.0) -> "Group":
        """Returns the group moved along its wall, and away from it."""
        return Group(
            [Piece(p.label, p.mesh.moved((along, -gap, 0))) for p in self.pieces],
            [
                dataclasses.replace(h, left=h.left + along, right=h.right + along)
                for h in self.holes
            ],
            [Piece(p.label, p.mesh.moved((along, 0, 0))) for p in self.beyond],
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Wall:
    """One side of a room.

    Attributes:
        origin: float64 [2], the place in the room of the origin of the wall's frame.
        angle: of the frame's x axis in the room, radians.
        length: along x, metres.
        outer: nothing of the room lies behind it.
    """

    origin: Array
    angle: float
    length: float
    outer: bool

    def placed(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Returns pieces in the wall's frame as they stand in the room."""
        offset = (*self.origin, 0.0)
        return [Piece(p.label, p.mesh.turned(self.angle).moved(offset)) for p in pieces]


@dataclasses.dataclass(frozen=True)
class Plan:
    """The ground that a room covers: a rectangle without some of its corners.

    Attributes:
        size: x, y and z extent, metres.
        cuts: width (x) and depth (y) of what is cut off at each corner, from (0, 0) on
            counterclockwise; zeros where a corner is whole.
    """

    size: tuple[float, float, float]
    cuts: tuple[tuple[float, float], ...] = ((0.0, 0.0),) * 4

    @property
    def outside(self) -> list[tuple[Array, Array]]:
        """Lowest and highest corners, float64 [2] each, of what is cut off."""
        result = []
        for number, cut in enumerate(self.cuts):
            at = np.array(((0, 0), (1, 0), (1, 1), (0, 1))[number])
            low = at * (np.array(self.size[:2]) - cut)
            if min(cut) > 0:
                result.append((low, low + cut))
        return result

    def walls(self) -> list[Wall]:
        """Returns the sides, counterclockwise."""
        x, y, _ = self.size
        (w0, h0), (w1, h1), (w2, h2), (w3, h3) = self.cuts
        outline = [
            *((0, h0), (w0, h0), (w0, 0), (x - w1, 0), (x - w1, h1), (x, h1)),
            *((x, y - h2), (x - w2, y - h2), (x - w2, y), (w3, y), (w3, y - h3), (0, y - h3)),
        ]
        walls = []
        for number, (start, end) in enumerate(zip(outline, outline[1:] + outline[:1], strict=True)):
            step = np.subtract(end, start)
            length = float(np.abs(step).sum())
            if length > 0:
                back = -step / length
                angle = float(np.arctan2(back[1], back[0]))
                walls.append(Wall(np.array(end, float), angle, length, number % 3 == 2))
        return walls

    def slab(self, low: float, high: float, color: Color) -> Mesh:
        """Returns the ground as a solid between two heights."""
        edges = [
            np.unique([0, self.size[a], *(corner[a] for cut in self.outside for corner in cut)])
            for a in (0, 1)
        ]
        parts = []
        for x0, x1 in itertools.pairwise(edges[0]):
            for y0, y1 in itertools.pairwise(edges[1]):
                middle = np.array((x0 + x1, y0 + y1)) / 2
                if not any(np.all((a < middle) & (middle < b)) for a, b in self.outside):
                    parts.append(box((x1 - x0, y1 - y0, high - low), (x0, y0, low), color))
        return merge(parts)


def draw_plan(area: tuple[float, float], height: tuple[float, float], rng: Rng) -> Plan:
    """Returns a plan of a random area (square metres), height (metres) and shape."""
    low, high = np.log(area)
    ground = float(np.exp(low + (high - low) * rng.beta(1.1, 2.2)))
    ratio = rng.uniform(1.0, 1.9)
    cuts = [(0.0, 0.0)] * 4
    kind = rng.random()
    share = 0.0
    if kind > 0.45:  # an L, or two corners less: a T, a Z or a U
        for corner in rng.permutation(4)[: 1 if kind < 0.8 else 2]:
            width, depth = rng.uniform(0.15, 0.45, 2)
            cuts[corner] = (width, depth)
            share += width * depth
    sides = np.sqrt(ground / (1 - share) * np.array((ratio, 1 / ratio)))
    if rng.random() < 0.5:
        sides = sides[::-1]
    size = (float(sides[0]), float(sides[1]), float(rng.uniform(*height)))
    return Plan(size, tuple((float(w * sides[0]), float(d * sides[1])) for w, d in cuts))


def build_shell(plan: Plan, holes: Sequence[Sequence[Hole]], rng: Rng) -> list[Piece]:
    """Returns the floor, the walls with their holes, and most times a ceiling with its beams.

    Args:
        plan: of the room.
        holes: those of each of `plan.walls()`.
        rng: of colours and the ceiling.
    """
    wall_color = _WALL_COLORS[rng.integers(len(_WALL_COLORS))]
    floor_color = _FLOOR_COLORS[rng.integers(len(_FLOOR_COLORS))]
    top = plan.size[2]
    pieces = [Piece("floor", plan.slab(-_THICKNESS, 0.0, floor_color))]
    for wall, gaps in zip(plan.walls(), holes, strict=True):
        mesh = _wall_with_holes(wall.length, top, gaps, wall_color)
        pieces += wall.placed([Piece("wall", mesh)])
    if rng.random() < 0.7:
        pieces.append(Piece("ceiling", plan.slab(top, top + _THICKNESS, _WHITE)))
        for _ in range(int(rng.choice((0, 0, 1, 2)))):
            place, depth = rng.uniform(0.1, 0.8) * plan.size[0], rng.uniform(0.15, 0.35)
            size = (rng.uniform(0.15, 0.5), plan.size[1], depth)
            pieces.append(Piece("ceiling", box(size, (place, 0, top - depth), _WHITE)))
    return pieces


def _wall_with_holes(length: float, top: float, holes: Sequence[Hole], color: Color) -> Mesh:
    edges = np.unique(
        np.clip([0, length, *(e for h in holes for e in (h.left, h.right))], 0, length)
    )
    parts = []
    for left, right in itertools.pairwise(edges):
        low = 0.0
        inside = [h for h in holes if h.left < (left + right) / 2 < h.right]
        for hole in sorted(inside, key=lambda hole: hole.low):
            if hole.low > low:
                parts.append((left, right, low, hole.low))
            low = max(low, hole.high)
        if low < top:
            parts.append((left, right, low, top))
    return merge([box((b - a, _THICKNESS, d - c), (a, 0, c), color) for a, b, c, d in parts])


# Doors and windows.


def doors(rng: Rng) -> Group:
    """Returns a door or two beside each other: closed, ajar, or a frame with a view through."""
    count = 1 if rng.random() < 0.6 else 2
    width, height = rng.uniform(0.7, 0.95), rng.uniform(1.95, 2.15)
    # Two leaves in one frame, or two frames side by side.
    gap = 0.0 if rng.random() < 0.5 else rng.uniform(0.12, 0.25)
    kind = rng.choice(("closed", "ajar", "open", "frame"), p=(0.2, 0.25, 0.1, 0.45))
    color = furniture._pick(rng)
    pieces, holes = [], []
    for number in range(count):
        left = number * (width + gap)
        hole = Hole(left, left + width, 0.0, height)
        holes.append(hole)
        bars = [
            box((0.07, 0.1, height + 0.06), (left - 0.07, -0.04, 0), color),
            box((0.07, 0.1, height + 0.06), (left + width, -0.04, 0), color),
            box((width, 0.1, 0.07), (left, -0.04, height), color),
        ]
        if gap == 0.0 and count == 2:
            del bars[1 - number]
        leaf = box((width, 0.04, height), (0, -0.04, 0), color)
        if kind == "frame" or (kind == "open" and number == 1):
            parts = bars
        else:
            angle = {"closed": 0.0, "ajar": -rng.uniform(0.2, 1.9), "open": rng.uniform(0.8, 1.6)}
            leaf = leaf.turned(angle[kind])
            if number == 1:  # hinges on the other side
                leaf = Mesh(leaf.vertices * (-1, 1, 1), leaf.faces[:, ::-1], leaf.colors)
            hinge = left if number == 0 else left + width
            parts = [*bars, leaf.moved((hinge, 0.06 if kind == "closed" else 0.0, 0))]
        pieces.append(Piece("door", merge(parts)))
    if kind == "closed":
        return Group(pieces, holes)
    return Group(pieces, holes, _next_room(holes[0].left, holes[-1].right, rng))


def _next_room(left: float, right: float, rng: Rng) -> list[Piece]:
    """Returns what is seen through a door: some floor, a wall, things that stand there."""
    depth = rng.uniform(0.6, 2.2)
    low, high = left - rng.uniform(0.0, 1.0), right + rng.uniform(0.0, 1.0)
    # Annotators left most of this without a name.
    named = rng.random() < 0.25
    floor = box((high - low, depth, _THICKNESS), (low, _THICKNESS, -_THICKNESS), _FLOOR_COLORS[1])
    walls = [
        box((high - low, 0.1, 2.3), (low, depth + 0.1, 0), _WALL_COLORS[0]),
        box((0.1, depth, 2.3), (low - 0.1, 0.1, 0), _WALL_COLORS[0]),
        box((0.1, depth, 2.3), (high, 0.1, 0), _WALL_COLORS[0]),
    ]
    pieces = [
        Piece("floor" if named else "structure", floor),
        Piece("wall" if named else "structure", merge(walls)),
    ]
    for _ in range(int(rng.integers(0, 3))):
        size = rng.uniform((0.3, 0.3, 0.3), (0.9, 0.6, 1.8))
        place = (rng.uniform(low, high - 0.3), rng.uniform(0.4, depth), 0)
        pieces.append(Piece("structure", box(size, place, furniture._pick(rng))))
    return pieces


def window(rng: Rng) -> Group:
    """Returns a window, now and then down to the floor, bare or with curtains before it."""
    width, low = rng.uniform(0.7, 2.1), rng.uniform(0.6, 1.1)
    high = min(low + rng.uniform(0.8, 1.5), 2.2)
    if rng.random() < 0.15:
        low, high = 0.1, 2.1
    half, panes = width / 2, int(rng.integers(1, 4))
    parts = [
        box((width + 0.1, 0.1, 0.06), (-half - 0.05, -0.03, z), _WHITE) for z in (low - 0.06, high)
    ]
    for x in np.linspace(-half, half, panes + 1):
        parts.append(box((0.07, 0.09, high - low), (x - 0.035, -0.02, low), _WHITE))
    if rng.random() < 0.5:
        parts.append(box((width, 0.1, 0.05), (-half, -0.02, (low + high) / 2), _WHITE))
    # A depth sensor measures some panes, by their dirt or by what is behind them.
    for number in np.flatnonzero(rng.random(panes) < 0.75):
        left = -half + number * width / panes
        parts.append(box((width / panes, 0.02, high - low), (left, 0.03, low), _GLASS))
    pieces = [Piece("window", merge(parts))]
    if rng.random() < 0.5:
        sill = box((width + 0.2, rng.uniform(0.1, 0.3), 0.04), (-half - 0.1, 0, low - 0.1), _WHITE)
        depth = np.ptp(sill.vertices[:, 1])
        pieces[0] = Piece("window", merge([pieces[0].mesh, sill.moved((0, -depth, 0))]))
    pieces += _curtains(width, low, high, rng)
    beyond = []
    if rng.random() < 0.5:
        away = rng.uniform(0.2, 1.5)
        size = (width + 0.8, 0.1, rng.uniform(0.5, 2.0))
        beyond.append(Piece("structure", box(size, (-half - 0.4, away, low - 0.4), _GLASS)))
    return Group(pieces, [Hole(-half, half, low, high)], beyond)


def _curtains(width: float, low: float, high: float, rng: Rng) -> list[Piece]:
    kind = rng.random()
    bottom = 0.03 if rng.random() < 0.85 else low - rng.uniform(0.05, 0.3)
    top = high + rng.uniform(0.08, 0.25)
    reach = width + rng.uniform(0.3, 1.4)
    if kind < 0.6:
        return []
    if kind < 0.7:  # a blind
        drop = rng.uniform(0.2, 0.9) * (high - low)
        mesh = box((width + 0.1, 0.05, drop), (-width / 2 - 0.05, -0.1, high - drop), _WHITE)
        return [Piece("structure", mesh)]
    # Drawn together they touch; half open they do not.
    share = 0.5 if kind < 0.9 else rng.uniform(0.2, 0.4)
    result = []
    for side in (-1, 1):
        mesh = furniture.cloth(reach * share, max(bottom, 0.03), top, rng)
        result.append(Piece("curtain", mesh.moved((side * reach * (1 - share) / 2, -0.16, 0))))
    return result
