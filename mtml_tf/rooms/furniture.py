"""Parametric furniture of all ScanNet classes.

Every builder takes a random generator and returns a piece that stands on z = 0 (or hangs at its
height), centred on x and y, with its front towards -y and its back towards +y.
"""

from collections.abc import Callable

import numpy as np

from mtml_tf.rooms.mesh import Color, Mesh, box, grid_sheet, lathe, merge

Rng = np.random.Generator
Builder = Callable[[Rng], Mesh]

# What each piece is called in the annotation (ScanNet's raw names), and its NYU40 id. Lamps,
# boxes, pillows and screens are none of the 20 classes: they are scanned, and unlabelled.
LABELS = {
    "wall": 1,
    "floor": 2,
    "cabinet": 3,
    "kitchen cabinet": 3,
    "file cabinet": 3,
    "bathroom vanity": 3,
    "bed": 4,
    "chair": 5,
    "office chair": 5,
    "armchair": 5,
    "couch": 6,
    "table": 7,
    "coffee table": 7,
    "round table": 7,
    "door": 8,
    "window": 9,
    "bookshelf": 10,
    "picture": 11,
    "counter": 12,
    "desk": 14,
    "curtain": 16,
    "refrigerator": 24,
    "shower curtain": 28,
    "toilet": 33,
    "sink": 34,
    "bathtub": 36,
    "trash can": 39,
    "radiator": 39,
    "ottoman": 39,
    "laundry hamper": 39,
    "lamp": 35,
    "pillow": 18,
    "box": 29,
    "monitor": 40,
    "backpack": 40,
}

_WOODS: tuple[Color, ...] = (
    *((120, 82, 50), (160, 120, 80), (190, 160, 120), (90, 60, 40)),
    *((225, 220, 210), (70, 70, 72)),
)
_FABRICS: tuple[Color, ...] = (
    *((70, 90, 130), (130, 60, 60), (90, 110, 80), (110, 110, 115), (170, 150, 120)),
    *((60, 60, 70), (180, 170, 160), (60, 120, 130)),
)
_WHITE: Color = (235, 235, 232)
_METAL: Color = (120, 122, 126)
_BLACK: Color = (40, 40, 42)


def _pick(rng: Rng, colors: tuple[Color, ...]) -> Color:
    return colors[rng.integers(len(colors))]


def _centred(size: tuple[float, float, float], y: float, z: float, color: Color) -> Mesh:
    """Returns a box centred on x, from y and z on."""
    return box(size, (-size[0] / 2, y, z), color)


def _legs(width: float, depth: float, height: float, leg: float, color: Color) -> Mesh:
    """Returns four legs at the corners of a rectangle that is centred on the origin."""
    return merge(
        [
            box((leg, leg, height), (x, y, 0), color)
            for x in (-width / 2, width / 2 - leg)
            for y in (-depth / 2, depth / 2 - leg)
        ]
    )


def _chair(rng: Rng) -> Mesh:
    width, depth = rng.uniform(0.42, 0.5), rng.uniform(0.42, 0.5)
    seat, back = rng.uniform(0.43, 0.48), rng.uniform(0.38, 0.55)
    color = _pick(rng, (*_WOODS, *_FABRICS))
    rest = _centred((width, 0.04, back), 0, 0, color).turned(-rng.uniform(0.05, 0.2), axis=0)
    return merge(
        [
            _legs(width, depth, seat - 0.04, 0.045, _pick(rng, (*_WOODS, _METAL))),
            _centred((width, depth, 0.05), -depth / 2, seat - 0.04, color),
            rest.moved((0, depth / 2 - 0.05, seat)),
        ]
    )


def _office_chair(rng: Rng) -> Mesh:
    seat, color = rng.uniform(0.44, 0.52), _pick(rng, _FABRICS)
    arms = rng.random() < 0.7
    foot = box((0.3, 0.05, 0.05), (0, -0.025, 0.04), _BLACK)
    star = [foot.turned(angle) for angle in np.arange(5) * 2 * np.pi / 5]
    rest = _centred((0.44, 0.07, rng.uniform(0.45, 0.6)), 0, 0, color).turned(-0.15, axis=0)
    parts = [
        *star,
        lathe([(0.03, 0.05), (0.03, seat - 0.06)], _BLACK, 8),
        _centred((0.5, 0.48, 0.08), -0.24, seat - 0.08, color),
        rest.moved((0, 0.19, seat + 0.04)),
    ]
    for side in (-1, 1) if arms else ():
        parts += [
            box((0.05, 0.3, 0.03), (side * 0.27 - 0.025, -0.15, seat + 0.2), _BLACK),
            box((0.03, 0.04, 0.22), (side * 0.27 - 0.015, 0.0, seat - 0.02), _BLACK),
        ]
    return merge(parts)


def _upholstered(width: float, rng: Rng, seats: int) -> Mesh:
    """Returns an armchair or a sofa: arms, back, base and cushions."""
    depth, seat, back = rng.uniform(0.78, 0.95), rng.uniform(0.4, 0.46), rng.uniform(0.75, 0.9)
    arm, color = rng.uniform(0.14, 0.22), _pick(rng, _FABRICS)
    inner = width - 2 * arm
    parts = [
        _centred((width, depth, seat - 0.16), -depth / 2, 0.05, color),
        _centred((inner, 0.2, back - seat), depth / 2 - 0.3, seat - 0.1, color).turned(
            -0.08, axis=0
        ),
        _centred((width, 0.14, back - 0.08), depth / 2 - 0.14, 0.05, color),
    ]
    for side in (-1, 1):
        parts.append(
            box(
                (arm, depth, rng.uniform(0.5, 0.62)),
                (side * (width - arm) / 2 - arm / 2, -depth / 2, 0.05),
                color,
            )
        )
    for i in range(seats):
        left = -inner / 2 + i * inner / seats
        parts.append(
            box(
                (inner / seats - 0.02, depth - 0.3, 0.16),
                (left + 0.01, -depth / 2, seat - 0.12),
                color,
            )
        )
    return merge(parts)


def _armchair(rng: Rng) -> Mesh:
    return _upholstered(rng.uniform(0.75, 0.95), rng, 1)


def _couch(rng: Rng) -> Mesh:
    seats = int(rng.integers(2, 4))
    return _upholstered(0.4 + seats * rng.uniform(0.55, 0.65), rng, seats)


def _tabletop(width: float, depth: float, height: float, rng: Rng) -> Mesh:
    color = _pick(rng, _WOODS)
    return merge(
        [
            _centred((width, depth, 0.04), -depth / 2, height - 0.04, color),
            _legs(width - 0.08, depth - 0.08, height - 0.04, 0.06, _pick(rng, (*_WOODS, _METAL))),
        ]
    )


def _table(rng: Rng) -> Mesh:
    return _tabletop(rng.uniform(1.2, 2.2), rng.uniform(0.75, 1.0), rng.uniform(0.71, 0.77), rng)


def _coffee_table(rng: Rng) -> Mesh:
    return _tabletop(rng.uniform(0.8, 1.2), rng.uniform(0.5, 0.65), rng.uniform(0.38, 0.48), rng)


def _round_table(rng: Rng) -> Mesh:
    radius, height, color = rng.uniform(0.4, 0.65), rng.uniform(0.7, 0.76), _pick(rng, _WOODS)
    return merge(
        [
            lathe([(0.28, 0.0), (0.25, 0.03), (0.05, 0.06), (0.05, height - 0.04)], _METAL, 16),
            lathe([(radius, height - 0.04), (radius, height)], color, 24),
        ]
    )


def _desk(rng: Rng) -> Mesh:
    width, depth, height = rng.uniform(1.1, 1.7), rng.uniform(0.6, 0.8), rng.uniform(0.71, 0.76)
    color, side = _pick(rng, _WOODS), rng.choice((-1, 1))
    drawers = rng.uniform(0.38, 0.45)
    left = -width / 2 if side < 0 else width / 2 - drawers
    panel = width / 2 - 0.03 if side < 0 else -width / 2
    return merge(
        [
            _centred((width, depth, 0.035), -depth / 2, height - 0.035, color),
            box((drawers, depth - 0.06, height - 0.035), (left, -depth / 2 + 0.05, 0), color),
            box((0.03, depth - 0.04, height - 0.035), (panel, -depth / 2 + 0.02, 0), color),
            _centred((width, 0.02, 0.4), depth / 2 - 0.06, height - 0.435, color),
        ]
    )


def _bed(rng: Rng) -> Mesh:
    width, length = rng.choice((0.95, 1.4, 1.6, 1.8)), rng.uniform(1.95, 2.1)
    mattress, frame = rng.uniform(0.45, 0.6), _pick(rng, _WOODS)
    sheet = _pick(rng, (*_FABRICS, _WHITE))
    parts = [
        _centred((width, length, 0.22), -length / 2, 0.1, frame),
        _centred((width - 0.04, length - 0.06, mattress - 0.3), -length / 2 + 0.02, 0.3, sheet),
        _centred((width + 0.04, 0.06, rng.uniform(0.85, 1.2)), length / 2 - 0.05, 0, frame),
    ]
    count = 1 if width < 1.2 else 2
    for i in range(count):
        x = (i - (count - 1) / 2) * 0.7
        parts.append(box((0.55, 0.35, 0.12), (x - 0.275, length / 2 - 0.5, mattress), _WHITE))
    return merge(parts)


def _fronted(
    width: float, depth: float, height: float, columns: int, rows: int, color: Color
) -> Mesh:
    """Returns a closed cabinet with doors or drawers that stand a little proud of it."""
    parts = [_centred((width, depth, height), -depth / 2, 0, color)]
    cell = (width / columns, height / rows)
    front: Color = (min(color[0] + 12, 255), min(color[1] + 12, 255), min(color[2] + 12, 255))
    for i in range(columns):
        for j in range(rows):
            low = (-width / 2 + i * cell[0] + 0.015, -depth / 2 - 0.02, j * cell[1] + 0.015)
            parts.append(box((cell[0] - 0.03, 0.02, cell[1] - 0.03), low, front))
    return merge(parts)


def _cabinet(rng: Rng) -> Mesh:
    if rng.random() < 0.4:  # a wardrobe
        return _fronted(
            rng.uniform(0.9, 1.6), rng.uniform(0.5, 0.6), rng.uniform(1.8, 2.1), 2, 1,
            _pick(rng, _WOODS),
        )  # fmt: skip
    return _fronted(
        rng.uniform(0.6, 1.4), rng.uniform(0.38, 0.5), rng.uniform(0.7, 1.2), 2,
        int(rng.integers(1, 4)), _pick(rng, _WOODS),
    )  # fmt: skip


def _file_cabinet(rng: Rng) -> Mesh:
    rows = int(rng.integers(2, 5))
    return _fronted(rng.uniform(0.4, 0.5), rng.uniform(0.5, 0.62), 0.34 * rows, 1, rows, _METAL)


def kitchen_cabinet(width: float, depth: float, height: float, rng: Rng) -> Mesh:
    """Returns a row of kitchen cupboards of the given size, metres."""
    return _fronted(width, depth, height, max(1, round(width / 0.6)), 1, _pick(rng, _WOODS))


def counter(width: float, depth: float, rng: Rng) -> Mesh:
    """Returns a worktop with its splashback, 4 cm thick, metres; it lies on cupboards."""
    color = _pick(rng, ((90, 90, 92), (200, 195, 185), (60, 55, 52), (150, 120, 90)))
    return merge(
        [
            _centred((width, depth, 0.05), -depth / 2, 0, color),
            _centred((width, 0.02, rng.uniform(0.08, 0.2)), depth / 2 - 0.02, 0.05, color),
        ]
    )


def _sink(rng: Rng) -> Mesh:
    """A basin that is set on a counter: a rim, a hollow, a tap."""
    width, depth, rim = rng.uniform(0.45, 0.65), rng.uniform(0.38, 0.45), 0.1
    color = _pick(rng, (_WHITE, _METAL))
    wall = 0.045
    return merge(
        [
            _centred((width, depth, 0.02), -depth / 2, 0, color),
            _centred((width, wall, rim), -depth / 2, 0, color),
            _centred((width, wall, rim), depth / 2 - wall, 0, color),
            box((wall, depth, rim), (-width / 2, -depth / 2, 0), color),
            box((wall, depth, rim), (width / 2 - wall, -depth / 2, 0), color),
            _centred((0.04, 0.04, 0.28), depth / 2 - 0.05, 0.06, _METAL),
            _centred((0.04, 0.18, 0.04), depth / 2 - 0.2, 0.3, _METAL),
        ]
    )


def pedestal_sink(rng: Rng) -> Mesh:
    """Returns a wash basin on its column."""
    height = rng.uniform(0.78, 0.86)
    column = _centred((0.18, 0.16, height), -0.04, 0, _WHITE)
    bowl = lathe([(0.08, 0.0), (0.22, 0.06), (0.26, 0.15), (0.22, 0.155), (0.1, 0.05)], _WHITE, 16)
    return merge([column, bowl.moved((0, -0.05, height - 0.12)), _sink(rng).moved((0, 0, height))])


def _refrigerator(rng: Rng) -> Mesh:
    width, depth, height = rng.uniform(0.6, 0.9), rng.uniform(0.62, 0.75), rng.uniform(1.6, 1.85)
    color, lower = _pick(rng, (_WHITE, _METAL, (60, 60, 64))), height * rng.uniform(0.55, 0.7)
    upper = height - lower - 0.06
    return merge(
        [
            _centred((width, depth - 0.06, height), -depth / 2 + 0.06, 0, color),
            _centred((width, 0.05, lower), -depth / 2, 0.04, color),
            _centred((width, 0.05, upper), -depth / 2, lower + 0.06, color),
            box((0.03, 0.05, 0.5), (width / 2 - 0.1, -depth / 2 - 0.05, height * 0.35), _BLACK),
        ]
    )


def _bookshelf(rng: Rng) -> Mesh:
    width, depth, height = rng.uniform(0.7, 1.3), rng.uniform(0.26, 0.36), rng.uniform(1.2, 2.1)
    color, shelves = _pick(rng, _WOODS), max(3, round(height / 0.36))
    step = height / shelves
    parts = [
        box((0.03, depth, height), (-width / 2, -depth / 2, 0), color),
        box((0.03, depth, height), (width / 2 - 0.03, -depth / 2, 0), color),
        _centred((width, 0.02, height), depth / 2 - 0.02, 0, color),
    ]
    for i in range(shelves + 1):
        parts.append(
            _centred((width, depth, 0.03), -depth / 2, min(i * step, height - 0.03), color)
        )
    for i in range(shelves):
        left = -width / 2 + 0.05
        while left < width / 2 - 0.15:
            row = rng.uniform(0.1, 0.3)
            row = min(row, width / 2 - 0.04 - left)
            if rng.random() < 0.75:
                size = (row, rng.uniform(0.14, depth - 0.05), rng.uniform(0.5, 0.85) * step)
                low = (left, depth / 2 - 0.03 - size[1], i * step + 0.03)
                parts.append(box(size, low, _pick(rng, _FABRICS)))
            left += row + 0.01
    return merge(parts)


def _door(rng: Rng) -> Mesh:
    width, height, color = rng.uniform(0.8, 0.95), rng.uniform(2.0, 2.1), _pick(rng, _WOODS)
    leaf = box((width, 0.04, height), (0, -0.04, 0), color)
    ajar = rng.random() < 0.3
    leaf = leaf.turned(-rng.uniform(0.3, 1.3) if ajar else 0.0).moved((-width / 2, -0.01, 0))
    frame = [
        box((0.08, 0.07, height + 0.06), (x, -0.05, 0), color)
        for x in (-width / 2 - 0.08, width / 2)
    ]
    lintel = _centred((width + 0.16, 0.07, 0.08), -0.05, height, color)
    knob = lathe([(0.03, 0.0), (0.035, 0.05)], _METAL, 8).turned(np.pi / 2, axis=0)
    if not ajar:
        leaf = merge([leaf, knob.moved((width / 2 - 0.08, -0.05, 1.0))])
    return merge([leaf, *frame, lintel])


def _window(rng: Rng) -> Mesh:
    width, height, low = rng.uniform(0.9, 1.9), rng.uniform(0.9, 1.4), rng.uniform(0.8, 1.0)
    glass: Color = (170, 195, 215)
    parts = [_centred((width, 0.02, height), 0, low, glass)]
    for z in (low - 0.04, low + height - 0.04):
        parts.append(_centred((width + 0.08, 0.08, 0.08), -0.06, z, _WHITE))
    for x in (-width / 2 - 0.04, -0.03, width / 2 - 0.04):
        parts.append(box((0.07, 0.07, height), (x, -0.05, low), _WHITE))
    parts.append(_centred((width + 0.2, 0.16, 0.04), -0.14, low - 0.08, _WHITE))
    return merge(parts)


def _picture(rng: Rng) -> Mesh:
    width, height = rng.uniform(0.35, 1.1), rng.uniform(0.35, 0.8)
    low = rng.uniform(1.3, 1.6)
    art: Color = (
        int(rng.integers(60, 220)),
        int(rng.integers(60, 220)),
        int(rng.integers(60, 220)),
    )
    return merge(
        [
            _centred((width, 0.05, height), -0.04, low, _pick(rng, _WOODS)),
            _centred((width - 0.1, 0.01, height - 0.1), -0.05, low + 0.05, art),
        ]
    )


def _hanging(width: float, low: float, high: float, rng: Rng, color: Color) -> Mesh:
    """Returns a waving cloth."""
    waves, depth = width / rng.uniform(0.12, 0.2), rng.uniform(0.03, 0.06)
    x = np.linspace(-width / 2, width / 2, max(8, int(width / 0.03)))
    z = np.linspace(low, high, 12)
    phase = rng.uniform(0, 2 * np.pi)
    y = depth * np.sin(2 * np.pi * waves * (x / width)[None] + phase + 0.5 * (z / high)[:, None])
    front = np.stack([np.tile(x, (len(z), 1)), y, np.tile(z[:, None], (1, len(x)))], axis=2)
    back = front[:, ::-1] + (0, 0.015, 0)
    return merge([grid_sheet(front, color), grid_sheet(back, color)])


def curtain(width: float, high: float, rng: Rng) -> Mesh:
    """Returns a curtain of the given width that hangs from the given height, metres."""
    low = 0.05 if rng.random() < 0.6 else 0.75
    return _hanging(width, low, high, rng, _pick(rng, (*_FABRICS, _WHITE)))


def shower_curtain(width: float, rng: Rng) -> Mesh:
    """Returns a shower curtain of the given width, metres."""
    return _hanging(width, 0.3, 1.95, rng, _pick(rng, (_WHITE, (190, 210, 220), (200, 180, 190))))


def _toilet(rng: Rng) -> Mesh:
    seat = rng.uniform(0.38, 0.44)
    bowl = lathe([(0.12, 0.0), (0.11, 0.12), (0.19, seat - 0.06), (0.2, seat)], _WHITE, 16)
    stretched = Mesh(bowl.vertices * (1.0, 1.25, 1.0), bowl.faces, bowl.colors)
    return merge(
        [
            stretched.moved((0, -0.1, 0)),
            _centred((0.22, 0.3, seat - 0.1), 0.0, 0, _WHITE),
            _centred((0.44, 0.18, 0.4), 0.16, seat - 0.05, _WHITE),
            _centred((0.36, 0.03, 0.4), 0.12, seat, _WHITE),
        ]
    )


def _bathtub(rng: Rng) -> Mesh:
    width, depth, height = rng.uniform(1.5, 1.75), rng.uniform(0.7, 0.8), rng.uniform(0.48, 0.58)
    wall = 0.07
    return merge(
        [
            _centred((width, depth, 0.15), -depth / 2, 0, _WHITE),
            _centred((width, wall, height), -depth / 2, 0, _WHITE),
            _centred((width, wall, height), depth / 2 - wall, 0, _WHITE),
            box((wall, depth, height), (-width / 2, -depth / 2, 0), _WHITE),
            box((wall, depth, height), (width / 2 - wall, -depth / 2, 0), _WHITE),
        ]
    )


def _trash_can(rng: Rng) -> Mesh:
    height, radius = rng.uniform(0.3, 0.65), rng.uniform(0.14, 0.2)
    return lathe([(radius * 0.8, 0.0), (radius, height), (radius * 0.9, height)], _METAL, 14)


def _radiator(rng: Rng) -> Mesh:
    width, height, fins = rng.uniform(0.7, 1.4), rng.uniform(0.5, 0.65), 0.09
    parts = [_centred((width, 0.05, height - 0.1), -0.05, 0.12, _WHITE)]
    for x in np.arange(-width / 2, width / 2 - 0.03, fins):
        parts.append(box((0.04, 0.12, height), (x, -0.1, 0.1), _WHITE))
    return merge(parts)


def _ottoman(rng: Rng) -> Mesh:
    side, height = rng.uniform(0.45, 0.7), rng.uniform(0.35, 0.45)
    return _centred((side, side, height), -side / 2, 0, _pick(rng, _FABRICS))


def _laundry_hamper(rng: Rng) -> Mesh:
    height = rng.uniform(0.5, 0.65)
    return lathe([(0.18, 0.0), (0.23, height)], _pick(rng, _FABRICS), 10)


def _lamp(rng: Rng) -> Mesh:
    height = rng.uniform(1.3, 1.7)
    return merge(
        [
            lathe([(0.14, 0.0), (0.14, 0.03), (0.015, 0.04), (0.015, height)], _METAL, 12),
            lathe([(0.22, height - 0.05), (0.14, height + 0.25)], _WHITE, 14),
        ]
    )


def _pillow(rng: Rng) -> Mesh:
    return _centred((0.42, 0.14, 0.36), -0.07, 0, _pick(rng, _FABRICS)).turned(-0.3, axis=0)


def _carton(rng: Rng) -> Mesh:
    size = rng.uniform((0.25, 0.25, 0.15), (0.5, 0.45, 0.4))
    return _centred((size[0], size[1], size[2]), -size[1] / 2, 0, (170, 130, 90))


def _monitor(rng: Rng) -> Mesh:
    width = rng.uniform(0.5, 0.65)
    return merge(
        [
            _centred((width, 0.04, width * 0.58), 0, 0.12, _BLACK),
            _centred((0.22, 0.18, 0.02), -0.08, 0, _BLACK),
            _centred((0.06, 0.04, 0.2), 0.02, 0, _BLACK),
        ]
    )


def _backpack(rng: Rng) -> Mesh:
    return _centred((0.32, 0.2, 0.42), -0.1, 0, _pick(rng, _FABRICS)).turned(-0.2, axis=0)


_BUILDERS: dict[str, Builder] = {
    "cabinet": _cabinet,
    "file cabinet": _file_cabinet,
    "bed": _bed,
    "chair": _chair,
    "office chair": _office_chair,
    "armchair": _armchair,
    "couch": _couch,
    "table": _table,
    "coffee table": _coffee_table,
    "round table": _round_table,
    "door": _door,
    "window": _window,
    "bookshelf": _bookshelf,
    "picture": _picture,
    "desk": _desk,
    "refrigerator": _refrigerator,
    "toilet": _toilet,
    "sink": _sink,
    "bathtub": _bathtub,
    "trash can": _trash_can,
    "radiator": _radiator,
    "ottoman": _ottoman,
    "laundry hamper": _laundry_hamper,
    "lamp": _lamp,
    "pillow": _pillow,
    "box": _carton,
    "monitor": _monitor,
    "backpack": _backpack,
}


def build(label: str, rng: Rng) -> Mesh:
    """Returns a piece of the given kind, with random measures and colours.

    Args:
        label: one of `LABELS` that has no measures of its own to be given (a counter has).
        rng: where the measures come from.

    Raises:
        ValueError: another label.
    """
    if label not in _BUILDERS:
        raise ValueError(f"expected one of {sorted(_BUILDERS)}, found '{label}'")
    return _BUILDERS[label](rng)
