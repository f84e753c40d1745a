"""Furnishes rooms as people do: things that belong together, most of them against walls.

A group is a list of pieces that are placed as one: a desk with its chair and screen, a table with
chairs around it, a row of shelves. Groups that go to a wall have it at y = 0 and themselves at
y < 0; the others are centred on the origin.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from mtml_tf.rooms import furniture
from mtml_tf.rooms.mesh import Mesh, Piece, Room, box

Rng = np.random.Generator
Group = list[Piece]

_WALL_COLORS = ((215, 210, 200), (200, 205, 210), (225, 220, 205), (190, 195, 180))
_FLOOR_COLORS = ((150, 115, 80), (120, 120, 118), (170, 150, 125), (100, 85, 70))
_THICKNESS = 0.1
_SMALLEST_ROOM = 1.5  # metres; what stands free keeps 0.5 m from the walls
_SHELL = 5  # pieces of every room: the floor and four walls
_TRIES = 60
# Turns the back (+y) of a group to the wall at high y, low x, low y, high x.
_WALL_ANGLES = (0.0, np.pi / 2, np.pi, -np.pi / 2)


@dataclasses.dataclass(frozen=True)
class RoomSettings:
    """How rooms are furnished.

    Attributes:
        min_size: shortest side of a room, metres.
        max_size: longest side, metres.
        height: lowest and highest room height, metres.
        closeness: share of groups that are pushed against what stands beside them.
        max_instances: no more pieces than this; the floor and the four walls don't count.

    Raises:
        ValueError: a value out of range.
    """

    min_size: float = 4.5
    max_size: float = 7.5
    height: tuple[float, float] = (2.4, 2.8)
    closeness: float = 0.35
    max_instances: int = 50

    def __post_init__(self) -> None:
        if not _SMALLEST_ROOM <= self.min_size <= self.max_size < np.inf:
            raise ValueError(
                f"expected a min_size of at least {_SMALLEST_ROOM:g} m and a max_size of at least "
                f"that, found {self.min_size} and {self.max_size}"
            )
        low, high = self.height
        if not 0 < low <= high < np.inf:
            raise ValueError(f"expected the lowest and the highest height, found {self.height}")
        if not 0 <= self.closeness <= 1:
            raise ValueError(f"expected a closeness in 0..1, found {self.closeness}")
        if self.max_instances < 1:
            raise ValueError(f"expected max_instances of at least 1, found {self.max_instances}")


def _stand(mesh: Mesh, x: float, back: float, z: float = 0.0) -> Mesh:
    """Returns the mesh centred at x with its back at y = `back`, z metres up."""
    centre = (mesh.low[0] + mesh.high[0]) / 2
    return mesh.moved((x - centre, back - mesh.high[1], z - min(mesh.low[2], 0.0)))


def _on_top(label: str, support: Mesh, rng: Rng) -> Piece:
    """Returns a small piece somewhere on a support."""
    mesh = furniture.build(label, rng)
    low, high = support.low[:2] - mesh.low[:2], support.high[:2] - mesh.high[:2]
    middle = (low + high) / 2
    place = rng.uniform(np.minimum(low, middle), np.maximum(high, middle))
    return Piece(label, mesh.moved((place[0], place[1], support.high[2] - mesh.low[2])))


def _chair_at(rng: Rng, x: float, y: float, facing: float, label: str = "chair") -> Piece:
    """Returns a chair whose front looks along `facing` (radians; 0 is -y), a little askew."""
    mesh = furniture.build(label, rng).turned(facing + rng.normal(0, 0.12))
    return Piece(label, mesh.moved((x + rng.normal(0, 0.03), y + rng.normal(0, 0.03), 0)))


def _desks(rng: Rng) -> Group:
    """One to three desks side by side, with chairs, screens and a file cabinet."""
    group: Group = []
    x = 0.0
    for _ in range(int(rng.choice((1, 2, 2, 3)))):
        desk = furniture.build("desk", rng)
        width = desk.high[0] - desk.low[0]
        desk = _stand(desk, x + width / 2, 0)
        group.append(Piece("desk", desk))
        group.append(
            _chair_at(
                rng, x + width / 2, desk.low[1] - rng.uniform(-0.1, 0.3), np.pi, "office chair"
            )
        )
        if rng.random() < 0.7:
            screen = furniture.build("monitor", rng)
            group.append(Piece("monitor", _stand(screen, x + width / 2, -0.2, desk.high[2])))
        x += width + rng.choice((0.0, 0.02))
    if rng.random() < 0.5:
        cabinet = furniture.build("file cabinet", rng)
        group.append(Piece("file cabinet", _stand(cabinet, x - cabinet.low[0], 0)))
        x += cabinet.high[0] - cabinet.low[0]
    if rng.random() < 0.5:
        group.append(Piece("trash can", _stand(furniture.build("trash can", rng), x + 0.25, -0.05)))
    return group


def _dining(rng: Rng) -> Group:
    """A table with chairs around it."""
    if rng.random() < 0.3:
        table = furniture.build("round table", rng)
        radius, count = table.high[0], int(rng.integers(3, 6))
        group = [Piece("round table", table)]
        for angle in np.arange(count) * 2 * np.pi / count + rng.uniform(0, 1):
            reach = radius + rng.uniform(-0.15, 0.2)
            x, y = reach * np.sin(angle), -reach * np.cos(angle)
            group.append(_chair_at(rng, x, y, angle + np.pi))
        return group
    table = furniture.build("table", rng)
    half_width, half_depth = table.high[0], table.high[1]
    group = [Piece("table", table)]
    along = max(1, int(2 * half_width / 0.52))
    for side in (-1, 1):
        for i in range(along):
            if rng.random() < 0.85:
                x = (i - (along - 1) / 2) * 2 * half_width / along
                y = side * (half_depth + rng.uniform(-0.12, 0.25))
                group.append(_chair_at(rng, x, y, 0.0 if side > 0 else np.pi))
        if rng.random() < 0.4:
            x = side * (half_width + rng.uniform(-0.1, 0.2))
            group.append(_chair_at(rng, x, 0.0, -side * np.pi / 2))
    return group


def _chair_row(rng: Rng) -> Group:
    """Chairs in a row along a wall."""
    label = "chair" if rng.random() < 0.7 else "armchair"
    group: Group = []
    x = 0.0
    for _ in range(int(rng.integers(2, 6 if label == "chair" else 4))):
        mesh = furniture.build(label, rng)
        group.append(Piece(label, _stand(mesh, x - mesh.low[0], 0)))
        x += mesh.high[0] - mesh.low[0] + rng.uniform(0.0, 0.08)
    return group


def _seating(rng: Rng) -> Group:
    """A couch with pillows, a coffee table before it, armchairs, a lamp."""
    couch = _stand(furniture.build("couch", rng), 0, 0)
    group = [Piece("couch", couch)]
    if rng.random() < 0.85:
        table = furniture.build("coffee table", rng)
        back = couch.low[1] - rng.uniform(0.25, 0.45)
        group.append(Piece("coffee table", _stand(table, rng.normal(0, 0.1), back)))
        if rng.random() < 0.3:
            group.append(_on_top("box", group[-1].mesh, rng))
    for side in (-1, 1):
        if rng.random() < 0.45:
            chair = furniture.build("armchair", rng).turned(side * np.pi / 2 * rng.uniform(0.7, 1))
            x = side * (couch.high[0] + rng.uniform(0.2, 0.4))
            chair = chair.moved((x - (chair.low[0] + chair.high[0]) / 2, couch.low[1] - 0.5, 0))
            group.append(Piece("armchair", chair))
        if rng.random() < 0.4:
            pillow = furniture.build("pillow", rng)
            x = side * (couch.high[0] - 0.5)
            group.append(Piece("pillow", _stand(pillow, x, -0.28, 0.48)))
        elif rng.random() < 0.3:
            lamp = furniture.build("lamp", rng)
            group.append(Piece("lamp", _stand(lamp, side * (couch.high[0] + 0.25), -0.05)))
    return group


def _sleeping(rng: Rng) -> Group:
    """A bed with its head to the wall, small cabinets beside it; now and then two beds."""
    group: Group = []
    x = 0.0
    for _ in range(1 if rng.random() < 0.75 else 2):
        if rng.random() < 0.75:
            width, depth = rng.uniform(0.4, 0.55), rng.uniform(0.38, 0.45)
            small = furniture.kitchen_cabinet(width, depth, rng.uniform(0.45, 0.62), rng)
            group.append(Piece("cabinet", _stand(small, x + width / 2, 0)))
            x += width + rng.uniform(0.0, 0.1)
        bed = furniture.build("bed", rng)
        group.append(Piece("bed", _stand(bed, x - bed.low[0], 0)))
        x += bed.high[0] - bed.low[0] + rng.uniform(0.0, 0.3)
    if rng.random() < 0.4:
        group.append(Piece("lamp", _stand(furniture.build("lamp", rng), x + 0.25, -0.05)))
    return group


def _kitchen(rng: Rng) -> Group:
    """A row of cupboards under a counter with a sink, more on the wall, a refrigerator."""
    depth, height = rng.uniform(0.56, 0.62), rng.uniform(0.82, 0.88)
    group: Group = []
    x = 0.0
    if rng.random() < 0.85:
        fridge = furniture.build("refrigerator", rng)
        group.append(Piece("refrigerator", _stand(fridge, x - fridge.low[0], 0)))
        x += fridge.high[0] - fridge.low[0] + rng.uniform(0.0, 0.08)
    start = x
    for _ in range(int(rng.integers(1, 4))):
        width = rng.uniform(0.6, 1.2)
        low = furniture.kitchen_cabinet(width, depth - 0.04, height, rng)
        group.append(Piece("kitchen cabinet", _stand(low, x + width / 2, 0)))
        x += width
    top = _stand(furniture.counter(x - start, depth, rng), (start + x) / 2, 0, height)
    group.append(Piece("counter", top))
    if rng.random() < 0.8:
        middle = rng.uniform(start + 0.35, max(x - 0.35, start + 0.36))
        basin = _stand(furniture.build("sink", rng), middle, -0.06, height + 0.05)
        group.append(Piece("sink", basin))
    while start < x - 0.5 and rng.random() < 0.85:
        width = min(rng.uniform(0.6, 1.2), x - start)
        upper = furniture.kitchen_cabinet(width, 0.34, rng.uniform(0.5, 0.7), rng)
        group.append(Piece("kitchen cabinet", _stand(upper, start + width / 2, 0, 1.45)))
        start += width + rng.choice((0.0, 0.3))
    return group


def _washing(rng: Rng) -> Group:
    """A toilet, and a wash basin on a vanity or a column, with what stands beside."""
    group = [Piece("toilet", _stand(furniture.build("toilet", rng), 0, 0))]
    x = group[0].mesh.high[0] + rng.uniform(0.15, 0.35)
    if rng.random() < 0.6:
        width, depth, height = rng.uniform(0.6, 1.1), 0.5, rng.uniform(0.75, 0.82)
        vanity = furniture.kitchen_cabinet(width, depth, height, rng)
        group.append(Piece("bathroom vanity", _stand(vanity, x + width / 2, 0)))
        if width > 0.8:
            top = furniture.counter(width, depth + 0.04, rng)
            group.append(Piece("counter", _stand(top, x + width / 2, 0, height)))
            height += 0.05
        basin = furniture.build("sink", rng)
        group.append(Piece("sink", _stand(basin, x + width / 2, -0.05, height)))
    else:
        basin = furniture.pedestal_sink(rng)
        width = basin.high[0] - basin.low[0]
        group.append(Piece("sink", _stand(basin, x + width / 2, 0)))
    x += width + 0.3
    if rng.random() < 0.6:
        label = rng.choice(("trash can", "laundry hamper"))
        group.append(Piece(label, _stand(furniture.build(label, rng), x, -0.05)))
    return group


def _bathing(rng: Rng) -> Group:
    """A bathtub along the wall, its curtain drawn open or not."""
    tub = _stand(furniture.build("bathtub", rng), 0, 0)
    group = [Piece("bathtub", tub)]
    if rng.random() < 0.85:
        width = rng.uniform(0.5, 1.5)
        cloth = furniture.shower_curtain(width, rng)
        side = rng.choice((-1, 1))
        x = side * (tub.high[0] - width / 2 - 0.03)
        group.append(Piece("shower curtain", cloth.moved((x, tub.low[1] - 0.06, 0))))
    return group


def _shelves(rng: Rng) -> Group:
    """One to three bookshelves in a row."""
    return _row("bookshelf", int(rng.integers(1, 4)), rng)


def _cabinets(rng: Rng) -> Group:
    """One to three cabinets in a row, and now and then something on the first."""
    group = _row("cabinet", int(rng.integers(1, 4)), rng)
    if group[0].mesh.high[2] < 1.3 and rng.random() < 0.5:
        group.append(_on_top("box", group[0].mesh, rng))
    return group


def _row(label: str, count: int, rng: Rng) -> Group:
    group: Group = []
    x = 0.0
    for _ in range(count):
        mesh = furniture.build(label, rng)
        group.append(Piece(label, _stand(mesh, x - mesh.low[0], 0)))
        x += mesh.high[0] - mesh.low[0] + rng.choice((0.0, 0.0, 0.05, 0.3))
    return group


def _window(rng: Rng) -> Group:
    """A window, with curtains at its sides and a radiator under it."""
    window = furniture.build("window", rng)
    group = [Piece("window", _stand(window, 0, 0))]
    if rng.random() < 0.65:
        for side in (-1, 1):
            width = rng.uniform(0.35, 0.6)
            cloth = furniture.curtain(width, window.high[2] + 0.15, rng)
            x = side * (window.high[0] + rng.uniform(-0.15, 0.1))
            group.append(Piece("curtain", _stand(cloth, x, -0.16)))
    elif rng.random() < 0.5:
        group.append(Piece("radiator", _stand(furniture.build("radiator", rng), 0, -0.02)))
    return group


def _single(label: str) -> Callable[[Rng], Group]:
    """Returns the group of one piece against a wall."""
    return lambda rng: [Piece(label, _stand(furniture.build(label, rng), 0, 0))]


def _free(label: str) -> Callable[[Rng], Group]:
    """Returns the group of one piece anywhere."""
    return lambda rng: [Piece(label, furniture.build(label, rng))]


_AT_WALL: dict[str, Callable[[Rng], Group]] = {
    "desks": _desks,
    "chair row": _chair_row,
    "seating": _seating,
    "sleeping": _sleeping,
    "kitchen": _kitchen,
    "washing": _washing,
    "bathing": _bathing,
    "shelves": _shelves,
    "cabinets": _cabinets,
    "window": _window,
    "door": _single("door"),
    "picture": _single("picture"),
    "trash can": _single("trash can"),
}
_ANYWHERE: dict[str, Callable[[Rng], Group]] = {
    "dining": _dining,
    "armchair": _free("armchair"),
    "ottoman": _free("ottoman"),
    "box": _free("box"),
    "backpack": _free("backpack"),
    "office chair": _free("office chair"),
}
# What a part of a room is for, and the groups that make it; a room has two of them.
_USES: dict[str, tuple[str, ...]] = {
    "living": ("seating", "shelves", "cabinets", "armchair", "seating", "ottoman"),
    "sleeping": ("sleeping", "cabinets", "desks", "ottoman", "backpack"),
    "working": ("desks", "desks", "shelves", "office chair", "box"),
    "eating": ("kitchen", "dining", "cabinets", "trash can"),
    "bathing": ("bathing", "washing", "cabinets", "trash can"),
    "meeting": ("dining", "dining", "chair row", "shelves"),
}
# Drawn at random; what stands here twice comes twice as often.
_PAIRS = (
    *(("living", "eating"), ("living", "working"), ("sleeping", "working")),
    *(("sleeping", "bathing"), ("eating", "bathing"), ("meeting", "working")),
    *(("sleeping", "eating"), ("sleeping", "living"), ("meeting", "eating")),
    *(("bathing", "working"), ("eating", "bathing")),
)
# What needs the most room is placed first; doors and windows go where a wall is left free.
_LARGE = ("kitchen", "sleeping", "bathing", "washing", "seating", "desks", "dining")
_OPENINGS = ("door", "window", "window", "door")
_LAST = ("picture", "picture", "picture", "box")


class _Planner:
    """A room while it is being furnished."""

    def __init__(self, size: tuple[float, float, float], settings: RoomSettings, rng: Rng):
        self.size, self.settings, self.rng = size, settings, rng
        self.pieces: list[Piece] = []
        self.taken: list[tuple[np.ndarray, np.ndarray]] = []

    def add_shell(self) -> None:
        """Adds the floor, four walls and, in some rooms, a wall that juts out."""
        x, y, z = self.size
        t = _THICKNESS
        wall = _WALL_COLORS[self.rng.integers(len(_WALL_COLORS))]
        floor = _FLOOR_COLORS[self.rng.integers(len(_FLOOR_COLORS))]
        self.pieces.append(Piece("floor", box((x + 2 * t, y + 2 * t, t), (-t, -t, -t), floor)))
        for low, extent in (
            *(((-t, -t, 0), (x + 2 * t, t, z)), ((-t, y, 0), (x + 2 * t, t, z))),
            *(((-t, 0, 0), (t, y, z)), ((x, 0, 0), (t, y, z))),
        ):
            self.pieces.append(Piece("wall", box(extent, low, wall)))
        if self.rng.random() < 0.4:
            length, place = self.rng.uniform(0.8, 1.6), self.rng.uniform(0.35, 0.65) * x
            stub = box((0.12, length, z), (place, y - length, 0), wall)
            self._take([Piece("wall", stub)])

    def place(self, name: str) -> None:
        """Places a group where it fits; leaves it out where it does not."""
        at_wall = name in _AT_WALL
        group = (_AT_WALL if at_wall else _ANYWHERE)[name](self.rng)
        if len(self.pieces) - _SHELL + len(group) > self.settings.max_instances:
            return
        for _ in range(_TRIES):
            placed = self._against_wall(group) if at_wall else self._anywhere(group)
            if placed is not None and self._fits(placed):
                self._take(placed)
                return

    def _against_wall(self, group: Group) -> Group | None:
        wall = int(self.rng.integers(4))
        length = self.size[wall % 2]
        low = min(piece.mesh.low[0] for piece in group)
        high = max(piece.mesh.high[0] for piece in group)
        room = length - (high - low)
        if room < 0:
            return None
        along = self.rng.uniform(0, room)
        if self.rng.random() < self.settings.closeness:
            along = self.rng.choice((0.0, room))  # into a corner
        gap = self.rng.choice((0.0, 0.01, 0.04)) if group[0].mesh.low[2] < 0.5 else 0.0
        # The wall's own frame: x along it from its start, y = 0 at the wall, the room at y < 0.
        shift = (along - low - length / 2, -gap, 0.0)
        centre = np.array(self.size) / 2
        reach = self.size[1 - wall % 2] / 2
        moved = []
        for piece in group:
            mesh = piece.mesh.moved(shift).moved((0, reach, 0)).turned(_WALL_ANGLES[wall])
            moved.append(Piece(piece.label, mesh.moved((centre[0], centre[1], 0))))
        return moved

    def _anywhere(self, group: Group) -> Group:
        angle = self.rng.choice(_WALL_ANGLES) + self.rng.normal(0, 0.15)
        x, y = self.rng.uniform((0.5, 0.5), (self.size[0] - 0.5, self.size[1] - 0.5))
        return [Piece(piece.label, piece.mesh.turned(angle).moved((x, y, 0))) for piece in group]

    def _fits(self, group: Group) -> bool:
        """Whether no piece sticks out of the room or stands in another group's way."""
        for piece in group:
            low, high = piece.mesh.low, piece.mesh.high
            if low[:2].min() < -1e-6 or np.any(high > np.array(self.size) + 1e-6):
                return False
            # Hanging cloth and open doors need no room of their own.
            slack = 0.08 if piece.label in ("curtain", "door") else 0.0
            for other_low, other_high in self.taken:
                if np.all(low + slack < other_high) and np.all(other_low < high - slack):
                    return False
        return True

    def _take(self, group: Sequence[Piece]) -> None:
        self.pieces.extend(group)
        self.taken.extend((piece.mesh.low, piece.mesh.high) for piece in group)


def furnish(name: str, seed: int, settings: RoomSettings | None = None) -> Room:
    """Returns a furnished room.

    Args:
        name: name of the scene.
        seed: every choice comes from it.
        settings: how rooms are furnished.
    """
    settings = settings or RoomSettings()
    rng = np.random.default_rng((seed, 0))
    sides = rng.uniform(settings.min_size, settings.max_size, 2)
    size = (float(sides[0]), float(sides[1]), float(rng.uniform(*settings.height)))
    planner = _Planner(size, settings, rng)
    planner.add_shell()
    first, second = _PAIRS[rng.integers(len(_PAIRS))]
    wanted = [*_USES[first], *_USES[second]]
    large = sorted((name for name in wanted if name in _LARGE), key=_LARGE.index)
    small = [name for name in wanted if name not in _LARGE]
    for group in (*large, *_OPENINGS, *small, *_LAST):
        planner.place(group)
    return Room(name, size, tuple(planner.pieces))
