"""Furnishes rooms as people do: a plan, what the room is for, and where things find a place."""

import dataclasses

import numpy as np

from mtml_tf.rooms import furniture, shell
from mtml_tf.rooms.catalogue import Catalogue
from mtml_tf.rooms.groups import ANYWHERE, AT_WALL, Kit
from mtml_tf.rooms.mesh import Piece, Room, box
from mtml_tf.rooms.shell import Group, Hole, Wall

Rng = np.random.Generator

_TRIES = 60
_DOOR_ROOM = 0.6  # metres that stay free before a door


@dataclasses.dataclass(frozen=True)
class RoomSettings:
    """How rooms are furnished.

    Attributes:
        area: smallest and largest ground of a room, square metres.
        height: lowest and highest room height, metres.
        fullness: smallest and largest share of what a room is used for that it has.
        mess: smallest and largest amount of what lies about; 1 is usual.
        closeness: share of groups that are pushed against what stands beside them.
        max_pieces: no more than this; floor, walls and ceiling don't count.

    Raises:
        ValueError: a value out of range.
    """

    area: tuple[float, float] = (12.0, 60.0)
    height: tuple[float, float] = (2.4, 3.0)
    fullness: tuple[float, float] = (0.3, 1.4)
    mess: tuple[float, float] = (0.1, 2.7)
    closeness: float = 0.35
    max_pieces: int = 150

    def __post_init__(self) -> None:
        for name, least in (("area", 4.0), ("height", 2.3), ("fullness", 0.0), ("mess", 0.0)):
            low, high = getattr(self, name)
            if not least <= low <= high < np.inf:
                raise ValueError(
                    f"expected the smallest {name}, {least:g} at least, and the largest, found "
                    f"{(low, high)}"
                )
        if not 0 <= self.closeness <= 1:
            raise ValueError(f"expected a closeness in 0..1, found {self.closeness}")
        if self.max_pieces < 1:
            raise ValueError(f"expected max_pieces of at least 1, found {self.max_pieces}")


# What a part of a room is for, and how likely each of its groups is in a full room.
_USES: dict[str, dict[str, float]] = {
    "living": {
        **{"seating": 1.0, "television": 0.5, "bookshelves": 0.25, "free armchair": 0.5},
        **{"shelf": 0.3, "free side table": 0.5, "free ottoman": 0.3, "piano": 0.1},
        **{"free coffee table": 0.3, "cabinets": 0.5, "free couch": 0.25},
    },
    "sleeping": {
        **{"sleeping": 1.0, "wardrobes": 0.6, "desks": 0.3, "dresser": 0.4, "crib": 0.1},
        **{"laundry hamper": 0.4, "built-in": 0.4, "free chair": 0.4, "cabinets": 0.3},
    },
    "working": {
        **{"desks": 1.0, "bookshelves": 0.3, "file cabinet": 0.25, "free office chair": 0.5},
        **{"cabinets": 0.6, "free desk": 0.1, "wardrobes": 0.3, "on wall": 0.4, "free chair": 0.4},
    },
    "eating": {
        **{"kitchen": 0.7, "dining": 0.9, "free stool": 0.3, "built-in": 0.5},
        **{"free trash can": 0.5, "refrigerator": 0.3, "free chair": 0.4, "washing machine": 0.2},
    },
    "bathing": {
        **{"washing": 1.0, "bathing": 0.5, "washing machine": 0.4, "laundry hamper": 0.3},
        **{"on wall": 0.6, "cabinets": 0.4},
    },
    "meeting": {
        **{"dining": 1.0, "chair row": 0.6, "on wall": 0.6, "bookshelves": 0.15},
        **{"free round table": 0.4, "free chair": 0.6, "cabinets": 0.4},
    },
    "storing": {
        **{"bookshelves": 0.4, "cabinets": 0.9, "built-in": 0.9, "bench": 0.4, "clutter": 1.0},
        **{"refrigerator": 0.3, "free table": 0.5},
    },
}
_SHARES = {
    **{"living": 0.27, "sleeping": 0.16, "working": 0.11, "eating": 0.25, "bathing": 0.12},
    **{"meeting": 0.06, "storing": 0.03},
}
# What needs the most room is placed first; doors and windows go where a wall is left free.
_LARGE = ("kitchen", "sleeping", "bathing", "seating", "washing", "desks", "dining", "built-in")
# What any room may have, by a mean number; that of clutter is times the mess.
_ANY = {
    **{"pictures": 0.8, "radiator": 0.5, "trash can": 0.9, "free floor mat": 0.3},
    **{
        "basin": 0.2,
        "bench": 0.2,
        "chair row": 0.12,
        "built-in": 0.25,
        "free chair": 0.3,
        "ottoman": 0.4,
    },
}
_CLUTTER = {"clutter": 1.8, "thing": 1.6, "on wall": 0.6}


class _Planner:
    """A room while it is being furnished."""

    def __init__(self, plan: shell.Plan, kit: Kit, settings: RoomSettings):
        self.plan, self.kit, self.settings = plan, kit, settings
        self.rng = kit.rng
        self.walls = plan.walls()
        self.holes: list[list[Hole]] = [[] for _ in self.walls]
        self.pieces: list[Piece] = []
        self.taken: list[tuple[np.ndarray, np.ndarray]] = [
            (np.array([*low, -1.0]), np.array([*high, 9.0])) for low, high in plan.outside
        ]

    def place(self, name: str) -> None:
        """Places a group where it fits; leaves it out where it does not."""
        at_wall = name in AT_WALL
        group = (AT_WALL if at_wall else ANYWHERE)[name](self.kit)
        if len(self.pieces) + len(group.pieces) > self.settings.max_pieces:
            return
        for _ in range(_TRIES):
            if at_wall:
                number = int(self.rng.integers(len(self.walls)))
                done = self._against(number, group)
            else:
                done = self._anywhere(group)
            if done:
                return

    def _against(self, number: int, group: Group) -> bool:
        """Places a group at a wall; says whether it fits."""
        wall = self.walls[number]
        low = min(piece.mesh.low[0] for piece in group.pieces)
        high = max(piece.mesh.high[0] for piece in group.pieces)
        room = wall.length - (high - low)
        # Behind a wall inside the room's rectangle there is nothing to have a glimpse of.
        if room < 0 or (group.holes and not wall.outer):
            return False
        along = self.rng.uniform(0, room)
        if self.rng.random() < self.settings.closeness and not group.holes:
            along = self.rng.choice((0.0, room))  # into a corner
        stands = group.pieces[0].mesh.low[2] < 0.3 and not group.holes
        gap = self.rng.choice((0.0, 0.01, 0.04, 0.1)) if stands else 0.0
        moved = group.moved(along - low, gap)
        if stands and self.rng.random() < 0.12:  # not quite along the wall
            moved = _askew(moved, self.rng.uniform(-0.25, 0.25))
        placed = wall.placed(moved.pieces)
        free = [Piece("door", before) for before in _before_doors(moved, wall)]
        if not self._fits([*placed, *free], slack=0.06 if group.holes else 0.0):
            return False
        self._take(placed)
        self.taken.extend((piece.mesh.low, piece.mesh.high) for piece in free)
        self.holes[number] += moved.holes
        self.pieces += wall.placed(moved.beyond)
        return True

    def _anywhere(self, group: Group) -> bool:
        angle = self.rng.choice((0, np.pi / 2, np.pi, -np.pi / 2)) + self.rng.normal(0, 0.15)
        if self.rng.random() < 0.4:
            angle = self.rng.uniform(0, 2 * np.pi)
        offset = (*self.rng.uniform((0, 0), self.plan.size[:2]), 0)
        placed = [Piece(p.label, p.mesh.turned(angle).moved(offset)) for p in group.pieces]
        if not self._fits(placed):
            return False
        self._take(placed)
        return True

    def hang_lamps(self) -> None:
        """Hangs lamps from the ceiling, or from where it would be."""
        for _ in range(int(self.rng.choice((0, 0, 1, 1, 2)))):
            piece = furniture.clutter("ceiling", self.rng, self.kit.catalogue)
            x, y = self.rng.uniform(0.2, 0.8, 2) * self.plan.size[:2]
            lamp = piece.mesh.moved((x, y, self.plan.size[2] - piece.mesh.high[2]))
            if lamp.low[2] > 1.4:
                self.pieces.append(Piece(piece.label, lamp))

    def _fits(self, group: list[Piece], slack: float = 0.0) -> bool:
        """Whether no piece sticks out of the room or stands in another group's way."""
        for piece in group:
            low, high = piece.mesh.low, piece.mesh.high
            if low[:2].min() < -0.2 * bool(slack) - 1e-6:
                return False
            if np.any(high - 0.2 * bool(slack) > np.array(self.plan.size) + 1e-6):
                return False
            for other_low, other_high in self.taken:
                if np.all(low + slack < other_high) and np.all(other_low < high - slack):
                    return False
        return True

    def _take(self, group: list[Piece]) -> None:
        self.pieces.extend(group)
        self.taken.extend((piece.mesh.low, piece.mesh.high) for piece in group)


def _askew(group: Group, angle: float) -> Group:
    """Returns a group turned a little, and moved so that it is clear of the wall."""
    pieces = [Piece(p.label, p.mesh.turned(angle)) for p in group.pieces]
    away = max(0.0, max(piece.mesh.high[1] for piece in pieces))
    return Group([Piece(p.label, p.mesh.moved((0, -away, 0))) for p in pieces])


def _before_doors(group: Group, wall: Wall) -> list:
    """Returns boxes, in the room, of what has to stay free before doors."""
    boxes = [
        box((hole.right - hole.left, _DOOR_ROOM, 1.9), (hole.left, -_DOOR_ROOM, 0.1), (0, 0, 0))
        for hole in group.holes
        if hole.low < 0.05
    ]
    return [piece.mesh for piece in wall.placed([Piece("door", mesh) for mesh in boxes])]


def furnish(
    name: str,
    seed: int,
    settings: RoomSettings = RoomSettings(),
    catalogue: Catalogue = Catalogue(),
) -> Room:
    """Returns a furnished room.

    Args:
        name: name of the scene.
        seed: every choice comes from it, and from what the catalogue has.
        settings: how rooms are furnished.
        catalogue: models of furniture; what it lacks, or none, is parametric.
    """
    rng = np.random.default_rng((seed, 0))
    plan = shell.draw_plan(settings.area, settings.height, rng)
    area = plan.size[0] * plan.size[1]
    fullness, mess = rng.uniform(*settings.fullness), rng.uniform(*settings.mess)
    planner = _Planner(plan, Kit(rng, catalogue, mess), settings)
    count = 1 + sum(area > least and rng.random() < 0.75 for least in (14, 22, 36))
    uses = rng.choice(list(_USES), count, replace=False, p=[_SHARES[use] for use in _USES])
    wanted = [
        group
        for use in uses
        for group, chance in _USES[use].items()
        # What a use is named for is there in bare rooms, too.
        if rng.random() < (chance if chance > 0.65 else chance * fullness)
    ]
    for means, times in ((_ANY, np.sqrt(area / 30)), (_CLUTTER, mess * np.sqrt(area / 30))):
        for group, mean in means.items():
            wanted += [group] * int(rng.poisson(mean * times))
    large = sorted((group for group in wanted if group in _LARGE), key=_LARGE.index)
    small = [group for group in wanted if group not in _LARGE]
    doors = ["doors"] * (1 + rng.binomial(2, 0.35 if area < 30 else 0.6))
    windows = ["window"] * rng.binomial(3, 0.48)
    for group in (*large[:2], *doors, *windows, *large[2:], *small):
        planner.place(group)
    planner.hang_lamps()
    pieces = (*shell.build_shell(plan, planner.holes, rng), *planner.pieces)
    return Room(name, plan.size, pieces)
