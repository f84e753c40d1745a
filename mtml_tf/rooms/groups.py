"""Things that belong together: a desk with its chair, a table with chairs around it, a kitchen.

A group at a wall has it at y = 0 and itself at y < 0; the others are centred on the origin. Clutter
lies on, under and beside the furniture, more of it in some rooms than in others.
"""

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np

from mtml_tf.rooms import furniture, shell
from mtml_tf.rooms.catalogue import Catalogue
from mtml_tf.rooms.mesh import Mesh, Piece
from mtml_tf.rooms.shell import Group

Rng = np.random.Generator


@dataclasses.dataclass(frozen=True, eq=False)
class Kit:
    """What a room is furnished from.

    Attributes:
        rng: where every choice comes from.
        catalogue: models of furniture.
        mess: how much lies about; 1 is usual.
    """

    rng: Rng
    catalogue: Catalogue
    mess: float

    def build(self, label: str) -> Mesh:
        """Returns a piece of the given kind."""
        return furniture.build(label, self.rng, self.catalogue)

    def maybe(self, chance: float) -> bool:
        """Returns True with the given chance."""
        return bool(self.rng.random() < chance)

    def clutter_on(self, support: Mesh, often: float = 5.0) -> list[Piece]:
        """Returns small things on top of a piece, `often` for each square metre."""
        low, high = support.low, support.high
        area = float(np.prod((high - low)[:2]))
        result: list[Piece] = []
        for _ in range(min(self.rng.poisson(often * area * self.mess), 9)):
            piece = furniture.clutter("top", self.rng, self.catalogue)
            mesh = piece.mesh.turned(self.rng.uniform(0, 2 * np.pi))
            size = mesh.high - mesh.low
            if np.all(size[:2] < (high - low)[:2] + 0.05) and high[2] + size[2] < 2.3:
                room = np.maximum(high[:2] - low[:2] - size[:2], 0)
                place = low[:2] + self.rng.random(2) * room
                result.append(Piece(piece.label, _at(mesh, place, high[2] - 0.005)))
        return result

    def clutter_under(self, support: Mesh) -> list[Piece]:
        """Returns things on the floor below a table or a desk."""
        low, high = support.low, support.high
        result: list[Piece] = []
        for _ in range(min(self.rng.poisson(0.5 * self.mess), 3)):
            piece = furniture.clutter("floor", self.rng, self.catalogue)
            mesh = piece.mesh.turned(self.rng.uniform(0, 2 * np.pi))
            size = mesh.high - mesh.low
            if np.all(size < (*(high - low)[:2], 0.9 * high[2])):
                place = low[:2] + self.rng.random(2) * (high - low - size)[:2]
                result.append(Piece(piece.label, _at(mesh, place, 0.0)))
        return result


def _at(mesh: Mesh, low: np.ndarray, z: float) -> Mesh:
    """Returns the mesh moved so that its box begins at `low` [2] and stands at z."""
    return mesh.moved((*(low - mesh.low[:2]), z - mesh.low[2]))


def _stand(mesh: Mesh, x: float, back: float = 0.0, z: float = 0.0) -> Mesh:
    """Returns the mesh centred at x with its back at y = `back`, z metres up."""
    centre = (mesh.low[0] + mesh.high[0]) / 2
    return mesh.moved((x - centre, back - mesh.high[1], z - mesh.low[2]))


def _beside(mesh: Mesh, left: float) -> Mesh:
    """Returns the mesh at the wall, from x = `left` on."""
    return _stand(mesh, left + (mesh.high[0] - mesh.low[0]) / 2)


def _row(kit: Kit, labels: list[str], gaps: tuple[float, ...] = (0.0, 0.0, 0.05, 0.3)) -> Group:
    """Returns pieces side by side at a wall, with what lies on the low ones."""
    pieces: list[Piece] = []
    x = 0.0
    for label in labels:
        mesh = _beside(kit.build(label), x)
        pieces.append(Piece(label, mesh))
        if mesh.high[2] < 1.4:
            pieces += kit.clutter_on(mesh)
        x = mesh.high[0] + kit.rng.choice(gaps)
    return Group(pieces)


def _chair(kit: Kit, chair: Piece, x: float, y: float, facing: float) -> Piece:
    """Returns a chair whose front looks along `facing` (radians; 0 is -y), a little askew."""
    askew = kit.rng.normal(0, 0.15) if kit.maybe(0.85) else kit.rng.uniform(-2, 2)
    x, y = x + kit.rng.normal(0, 0.04), y + kit.rng.normal(0, 0.04)
    return Piece(chair.label, chair.mesh.turned(facing + askew).moved((x, y, 0)))


def _draw_chair(kit: Kit, often: float) -> Piece:
    """Returns a chair for a table; `often` is how often it is an office chair."""
    label = "office chair" if kit.maybe(often) else "armchair" if kit.maybe(0.25) else "chair"
    return Piece(label, kit.build(label))


def _desks(kit: Kit) -> Group:
    """One or two desks side by side with chairs and screens."""
    pieces: list[Piece] = []
    x = 0.0
    for _ in range(1 if kit.maybe(0.5) else 2):
        desk = _beside(kit.build("desk"), x)
        middle = (desk.low[0] + desk.high[0]) / 2
        pieces.append(Piece("desk", desk))
        if kit.maybe(0.85):
            reach = desk.low[1] + kit.rng.uniform(-0.5, 0.0)
            pieces.append(_chair(kit, _draw_chair(kit, 0.7), middle, reach, np.pi))
        if desk.high[2] < 1.0:
            for label, chance in (("monitor", 0.5), ("laptop", 0.25)):
                if kit.maybe(chance):
                    screen = _stand(kit.build(label), middle + kit.rng.normal(0, 0.2))
                    back = desk.high[1] - 0.1 - kit.rng.uniform(0, 0.2)
                    pieces.append(Piece(label, _stand(screen, middle, back, desk.high[2])))
        pieces += [*kit.clutter_on(desk, 1.5), *kit.clutter_under(desk)]
        x = desk.high[0] + kit.rng.choice((0.0, 0.0, 0.02))
    if kit.maybe(0.2):
        pieces.append(Piece("file cabinet", _beside(kit.build("file cabinet"), x + 0.02)))
    return Group(pieces)


def _dining(kit: Kit) -> Group:
    """A table with chairs close around it; now and then two tables pushed together."""
    rng, chair = kit.rng, _draw_chair(kit, 0.25)
    if kit.maybe(0.3):
        table = kit.build("round table")
        radius, count = table.high[0], int(rng.integers(2, 6))
        pieces = [Piece("round table", table), *kit.clutter_on(table, 2.0)]
        for angle in np.arange(count) * 2 * np.pi / count + rng.uniform(0, 1):
            reach = radius + rng.uniform(0.0, 0.35)
            x, y = reach * np.sin(angle), -reach * np.cos(angle)
            pieces.append(_chair(kit, chair, x, y, angle + np.pi))
        return Group(pieces)
    table = kit.build("table")
    if table.high[1] - table.low[1] > table.high[0] - table.low[0]:
        table = table.turned(np.pi / 2)
    pieces = [Piece("table", table)]
    low, high = table.low, table.high
    if kit.maybe(0.6):
        second = table.moved((high[0] - low[0], rng.choice((0.0, 0.02)), 0))
        pieces.append(Piece("table", second))
        high = np.maximum(high, second.high)
    for piece in list(pieces):
        pieces += [*kit.clutter_on(piece.mesh, 1.5), *kit.clutter_under(piece.mesh)]
    along = max(1, int((high[0] - low[0]) / rng.uniform(0.62, 0.85)))
    fill = rng.uniform(0.5, 1.0)
    for side, y in ((-1, low[1]), (1, high[1])):
        for i in range(along):
            if kit.maybe(fill):
                x = low[0] + (i + 0.5) * (high[0] - low[0]) / along
                pieces.append(
                    _chair(kit, chair, x, y + side * rng.uniform(0.0, 0.4), np.pi * (side < 0))
                )
    for side, x in ((-1, low[0]), (1, high[0])):
        if kit.maybe(0.3 * fill):
            reach = x + side * rng.uniform(-0.1, 0.25)
            pieces.append(_chair(kit, chair, reach, (low[1] + high[1]) / 2, side * np.pi / 2))
    return Group(pieces)


def _chair_row(kit: Kit) -> Group:
    """Chairs in a row along a wall."""
    label = "chair" if kit.maybe(0.7) else "armchair"
    labels = [label] * int(kit.rng.integers(2, 6 if label == "chair" else 4))
    return _row(kit, labels, (0.0, 0.05, 0.2))


def _seating(kit: Kit) -> Group:
    """A couch with pillows, a table before it, armchairs, a lamp."""
    rng = kit.rng
    label = "couch" if kit.maybe(0.75) else "corner couch"
    couch = _stand(kit.build(label), 0)
    pieces = [Piece(label, couch)]
    if kit.maybe(0.75):
        front = couch.low[1] - rng.uniform(0.25, 0.5)
        name = "coffee table" if kit.maybe(0.7) else "side table"
        table = kit.build(name).turned(rng.normal(0, 0.2))
        pieces.append(Piece(name, _stand(table, rng.normal(0, 0.2), front)))
        pieces += kit.clutter_on(pieces[-1].mesh)
    for side in (-1, 1):
        edge = side * couch.high[0]
        if kit.maybe(0.3):
            chair = kit.build("armchair").turned(side * np.pi / 2 * rng.uniform(0.5, 1.1))
            size = (chair.high - chair.low)[0] / 2
            place = (edge + side * (size + rng.uniform(-0.3, 0.3)), couch.low[1] - 0.5)
            middle = (chair.low + chair.high)[:2] / 2
            pieces.append(Piece("armchair", chair.moved((*(place - middle), 0))))
        elif kit.maybe(0.2):
            small = _stand(kit.build("side table"), edge + side * 0.35)
            pieces += [Piece("side table", small), *kit.clutter_on(small)]
        elif kit.maybe(0.2):
            pieces.append(Piece("lamp", _stand(kit.build("lamp"), edge + side * 0.3)))
    for _ in range(rng.poisson(1.2 * kit.mess)):
        pillow = kit.build("pillow").turned(rng.uniform(-0.5, 0.5)).turned(-0.3, axis=0)
        x = rng.uniform(0.75 * couch.low[0], 0.75 * couch.high[0])
        pieces.append(Piece("pillow", _stand(pillow, x, couch.high[1] - 0.22, 0.42)))
    return Group(pieces)


def _sleeping(kit: Kit) -> Group:
    """A bed under a blanket with its head to the wall, small cabinets beside it."""
    pieces: list[Piece] = []
    x = 0.0
    for _ in range(1 if kit.maybe(0.75) else 2):
        if kit.maybe(0.6):
            small = _beside(kit.build("nightstand"), x)
            pieces += [Piece("nightstand", small), *kit.clutter_on(small, 6.0)]
            x = small.high[0] + kit.rng.uniform(0.02, 0.15)
        bed = _beside(kit.build("bed"), x)
        pieces.append(Piece("bed", bed))
        if bed.high[2] < 1.4:
            if kit.maybe(0.7):
                pieces.append(Piece("blanket", furniture.blanket(bed, kit.rng)))
            for _ in range(int(kit.rng.integers(0, 3))):
                pillow = kit.build("pillow").turned(-1.3, axis=0)
                where = kit.rng.uniform(bed.low[0] + 0.25, bed.high[0] - 0.25)
                pieces.append(Piece("pillow", _stand(pillow, where, bed.high[1] - 0.1, 0.5)))
        x = bed.high[0] + kit.rng.uniform(0.05, 0.6)
    return Group(pieces)


def _kitchen(kit: Kit) -> Group:
    """Cupboards under a long counter with a sink, more on the wall, a refrigerator, a stove."""
    rng = kit.rng
    depth, height = rng.uniform(0.56, 0.66), rng.uniform(0.82, 0.9)
    pieces: list[Piece] = []
    x = 0.0
    if kit.maybe(0.7):
        fridge = _beside(kit.build("refrigerator"), 0.0)
        pieces.append(Piece("refrigerator", fridge))
        x = fridge.high[0] + rng.uniform(0.0, 0.06)
    start, end = x, x + rng.uniform(2.0, 5.2)
    spans = [(start, end)]
    stove = kit.build("stove" if kit.maybe(0.7) else "washing machine")
    width = stove.high[0] - stove.low[0]
    if kit.maybe(0.8) and end - start > width + 1.0:  # it cuts the run in two
        at = rng.uniform(start + 0.5, end - 0.5 - width)
        pieces.append(Piece("stove", _beside(stove, at)))
        spans = [(start, at), (at + width, end)]
    for left, right in spans:
        # One annotation for a whole run, or one a cupboard.
        for a, b in _cut(left, right, kit):
            low = furniture.cabinet_run(b - a, depth - 0.03, height, rng)
            pieces.append(Piece("kitchen cabinet", _beside(low, a)))
    top = furniture.counter(spans, depth + 0.04, rng).moved((0, 0, height))
    pieces.append(Piece("counter", top))
    left, right = max(spans, key=lambda span: span[1] - span[0])
    basin = kit.build("sink")
    if right - left > basin.high[0] - basin.low[0] + 0.1:
        half = (basin.high[0] - basin.low[0]) / 2
        at = rng.uniform(left + half, right - half)
        # Let into the counter: its rim lies on it.
        pieces.append(Piece("sink", _stand(basin, at, -0.04, height - 0.06)))
    pieces += kit.clutter_on(top, 1.0)
    if kit.maybe(0.75):
        upper = (start, end if kit.maybe(0.5) else start + (end - start) * rng.uniform(0.4, 0.9))
        tall, shallow = rng.uniform(0.5, 0.9), rng.uniform(0.3, 0.4)
        for a, b in _cut(*upper, kit):
            mesh = furniture.cabinet_run(b - a, shallow, tall, rng)
            pieces.append(Piece("kitchen cabinet", _beside(mesh, a).moved((0, 0, 1.4))))
    return Group(pieces)


def _cut(left: float, right: float, kit: Kit) -> list[tuple[float, float]]:
    """Returns a run of cupboards as one piece, or in pieces side by side."""
    count = 1 if kit.maybe(0.7) else max(1, round((right - left) / kit.rng.uniform(1.1, 1.8)))
    edges = np.linspace(left, right, count + 1)
    return [(float(a), float(b)) for a, b in itertools.pairwise(edges)]


def _built_in(kit: Kit) -> Group:
    """A wall of built-in cupboards, low or high, in one piece or several."""
    rng = kit.rng
    width, depth = rng.uniform(1.6, 3.8), rng.uniform(0.4, 0.65)
    height = rng.uniform(1.9, 2.3) if kit.maybe(0.5) else rng.uniform(0.7, 1.1)
    pieces = []
    for a, b in _cut(0.0, width, kit):
        mesh = _beside(furniture.cabinet_run(b - a, depth, height, rng), a)
        pieces.append(Piece("cabinet", mesh))
        if height < 1.2:
            pieces += kit.clutter_on(mesh)
    return Group(pieces)


def _washing(kit: Kit) -> Group:
    """A toilet, and a wash basin on a vanity, a column or the wall."""
    rng = kit.rng
    toilet = _stand(kit.build("toilet"), 0)
    x = toilet.high[0] + rng.uniform(0.15, 0.4)
    return Group([Piece("toilet", toilet), *_basin(kit, x)])


def _basin(kit: Kit, x: float = 0.0) -> list[Piece]:
    """Returns a wash basin on its vanity, its column or the wall, from x on."""
    rng, kind = kit.rng, kit.rng.random()
    if kind < 0.5:
        width, depth, height = rng.uniform(0.6, 1.4), 0.5, rng.uniform(0.72, 0.82)
        vanity = _beside(furniture.cabinet_run(width, depth, height, rng), x)
        basin = _stand(kit.build("sink"), x + width / 2, -0.02, height - 0.06)
        pieces = [Piece("bathroom vanity", vanity), Piece("sink", basin)]
        return [*pieces, *kit.clutter_on(vanity)]
    if kind < 0.75:
        return [Piece("pedestal sink", _beside(kit.build("pedestal sink"), x))]
    basin = kit.build("wall sink")
    return [Piece("wall sink", basin.moved((x - basin.low[0], 0, 0)))]


def _bathing(kit: Kit) -> Group:
    """A bathtub along the wall, its curtain drawn or not."""
    tub = _stand(kit.build("bathtub"), 0)
    pieces = [Piece("bathtub", tub)]
    if kit.maybe(0.7):
        width = kit.rng.uniform(0.5, 1.5)
        cloth = furniture.cloth(width, 0.3, 1.95, kit.rng)
        x = kit.rng.choice((-1, 1)) * (tub.high[0] - width / 2 - 0.03)
        pieces.append(Piece("shower curtain", cloth.moved((x, tub.low[1] - 0.06, 0))))
    return Group(pieces)


def _television(kit: Kit) -> Group:
    """A television on its stand or on the wall."""
    if kit.maybe(0.3):
        return Group([Piece("hanging television", kit.build("hanging television"))])
    stand = _stand(kit.build("tv stand"), 0)
    screen = _stand(kit.build("television"), 0, -0.08, stand.high[2])
    pieces = [Piece("tv stand", stand), *kit.clutter_on(stand, 2.0)]
    return Group([*pieces, Piece("television", screen)] if stand.high[2] < 1 else pieces)


def _pictures(kit: Kit) -> Group:
    """Small pictures, close to each other."""
    pieces: list[Piece] = []
    x, z = 0.0, kit.rng.uniform(1.3, 1.7)
    for _ in range(int(kit.rng.choice((1, 1, 2, 3, 4)))):
        mesh = furniture.build("picture", kit.rng)
        low = z - (mesh.high[2] - mesh.low[2]) / 2 + kit.rng.normal(0, 0.04)
        pieces.append(Piece("picture", _beside(mesh, x).moved((0, 0, low))))
        x = pieces[-1].mesh.high[0] + kit.rng.uniform(0.02, 0.12)
    return Group(pieces)


def _clutter_at_wall(kit: Kit) -> Group:
    """Things that stand against a wall, one beside the other."""
    pieces: list[Piece] = []
    x = 0.0
    for _ in range(int(kit.rng.integers(1, 4))):
        piece = furniture.clutter("floor", kit.rng, kit.catalogue)
        mesh = _beside(piece.mesh.turned(kit.rng.choice((0, np.pi / 2))), x)
        pieces.append(Piece(piece.label, mesh))
        x = mesh.high[0] + kit.rng.uniform(0.0, 0.1)
        if mesh.high[2] < 0.6 and piece.label == "box":
            pieces += kit.clutter_on(mesh, 4.0)
    return Group(pieces)


def _on_wall(kit: Kit) -> Group:
    """Something of no class that hangs on a wall."""
    if kit.maybe(0.3):
        return Group([Piece("whiteboard", furniture.build("whiteboard", kit.rng))])
    return Group([furniture.clutter("wall", kit.rng, kit.catalogue)])


def _single(label: str, free: bool = False) -> Callable[[Kit], Group]:
    """Returns the group of one piece, against a wall or anywhere, and what lies on it."""

    def make(kit: Kit) -> Group:
        mesh = kit.build(label)
        if not free and mesh.low[2] < 0.05:
            mesh = _stand(mesh, 0)
        is_low = 0.3 < mesh.high[2] < 1.2 and mesh.low[2] < 0.05
        return Group([Piece(label, mesh), *(kit.clutter_on(mesh, 2.0) if is_low else ())])

    return make


def _rows(label: str, most: int) -> Callable[[Kit], Group]:
    """Returns the group of one to `most` pieces side by side."""
    return lambda kit: _row(kit, [label] * int(kit.rng.integers(1, most + 1)))


AT_WALL: dict[str, Callable[[Kit], Group]] = {
    "desks": _desks,
    "chair row": _chair_row,
    "seating": _seating,
    "sleeping": _sleeping,
    "kitchen": _kitchen,
    "built-in": _built_in,
    "washing": _washing,
    "basin": lambda kit: Group(_basin(kit)),
    "bathing": _bathing,
    "television": _television,
    "bookshelves": _rows("bookshelf", 3),
    "cabinets": _rows("cabinet", 2),
    "wardrobes": _rows("wardrobe cabinet", 2),
    "shelf": _rows("shelf", 2),
    "trash can": _rows("trash can", 3),
    "pictures": _pictures,
    "clutter": _clutter_at_wall,
    "on wall": _on_wall,
    "doors": lambda kit: shell.doors(kit.rng),
    "window": lambda kit: shell.window(kit.rng),
    **{
        label: _single(label)
        for label in (
            *("dresser", "radiator", "laundry hamper", "piano", "washing machine"),
            *("bench", "crib", "side table", "refrigerator", "file cabinet", "ottoman"),
        )
    },
}
ANYWHERE: dict[str, Callable[[Kit], Group]] = {
    "dining": _dining,
    "thing": lambda kit: Group([furniture.clutter("floor", kit.rng, kit.catalogue)]),
    **{
        f"free {label}": _single(label, free=True)
        for label in (
            *("armchair", "ottoman", "office chair", "chair", "stool", "floor mat"),
            *("desk", "couch", "trash can"),
        )
    },
    **{
        f"free {label}": _rows(label, 2)
        for label in ("side table", "coffee table", "round table", "table")
    },
}
