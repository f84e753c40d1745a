"""Pieces of furniture: models of a catalogue where there are any, parametric ones otherwise.

A piece stands on z = 0 (or hangs at its height), centred on x, with its front towards -y. What
stands is centred on y as well; what hangs has its back at y = 0. Every choice comes from the random
generator that a function is given.
"""

from collections.abc import Sequence

import numpy as np

from mtml_tf.rooms.catalogue import Catalogue
from mtml_tf.rooms.mesh import Color, Mesh, Piece, Point, box, grid_sheet, merge

Rng = np.random.Generator
# A box in fractions of a piece's size: x from and to, y from and to, z from and to.
Part = tuple[float, float, float, float, float, float]

# What each piece is called in the annotation (ScanNet's raw names), and its NYU40 id.
LABELS = {
    "wall": 1,
    "floor": 2,
    **dict.fromkeys(("cabinet", "kitchen cabinet", "file cabinet", "bathroom vanity"), 3),
    "wardrobe cabinet": 3,
    "bed": 4,
    **dict.fromkeys(("chair", "office chair", "armchair"), 5),
    **dict.fromkeys(("couch", "corner couch"), 6),
    **dict.fromkeys(("table", "coffee table", "round table", "side table"), 7),
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
    **dict.fromkeys(("sink", "pedestal sink", "wall sink"), 34),
    "bathtub": 36,
    **dict.fromkeys(("trash can", "radiator", "ottoman", "laundry hamper", "bench"), 39),
    **dict.fromkeys(("tv stand", "piano", "washing machine", "crib"), 39),
    # None of the 20 classes: scanned, and unlabelled in the benchmark.
    "shelf": 15,
    "dresser": 17,
    "pillow": 18,
    "floor mat": 20,
    "clothes": 21,
    "ceiling": 22,
    "books": 23,
    **dict.fromkeys(("television", "hanging television"), 25),
    "blanket": 27,
    "box": 29,
    "whiteboard": 30,
    "nightstand": 32,
    **dict.fromkeys(("lamp", "table lamp"), 35),
    "bag": 37,
    **dict.fromkeys(("stove", "structure"), 38),
    **dict.fromkeys(("stool", "monitor", "laptop", "otherprop"), 40),
}
# What lies about, as far as models are drawn by their place.
CLUTTER = ("otherprop", "books", "clothes", "box", "bag", "table lamp", "laptop", "lamp")

_COLORS: tuple[Color, ...] = (
    *((120, 82, 50), (160, 120, 80), (190, 160, 120), (90, 60, 40), (225, 220, 210), (70, 70, 72)),
    *((70, 90, 130), (130, 60, 60), (90, 110, 80), (110, 110, 115), (170, 150, 120), (60, 60, 70)),
    *((180, 170, 160), (60, 120, 130), (235, 235, 232), (120, 122, 126), (40, 40, 42)),
)


def _legs(thick: float, top: float) -> tuple[Part, ...]:
    ends = ((0.0, thick), (1 - thick, 1.0))
    return tuple((*x, *y, 0.0, top) for x in ends for y in ends)


_SOFA: tuple[Part, ...] = (
    *((0, 1, 0, 1, 0.06, 0.42), (0, 0.12, 0, 1, 0.06, 0.68), (0.88, 1, 0, 1, 0.06, 0.68)),
    *((0, 1, 0.8, 1, 0.06, 1.0), (0.12, 0.88, 0.02, 0.8, 0.42, 0.52)),
)
_TABLE: tuple[Part, ...] = ((0, 1, 0, 1, 0.94, 1), *_legs(0.07, 0.94))
_CHEST: tuple[Part, ...] = (
    *((0, 1, 0.05, 1, 0, 1), (0.02, 0.49, 0, 0.05, 0.02, 0.48), (0.51, 0.98, 0, 0.05, 0.02, 0.48)),
    *((0.02, 0.49, 0, 0.05, 0.52, 0.98), (0.51, 0.98, 0, 0.05, 0.52, 0.98)),
)
_BOX: tuple[Part, ...] = ((0, 1, 0, 1, 0, 1),)
_BASIN: tuple[Part, ...] = (
    *((0, 1, 0, 1, 0, 0.1), (0, 1, 0, 0.1, 0, 0.5), (0, 1, 0.88, 1, 0, 0.5)),
    *((0, 0.1, 0, 1, 0, 0.5), (0.9, 1, 0, 1, 0, 0.5), (0.45, 0.55, 0.6, 0.95, 0.5, 1)),
)
_TUB: tuple[Part, ...] = (
    *((0, 1, 0, 1, 0, 0.25), (0, 1, 0, 0.1, 0, 1), (0, 1, 0.9, 1, 0, 1)),
    *((0, 0.05, 0, 1, 0, 1), (0.95, 1, 0, 1, 0, 1)),
)
_LAMP: tuple[Part, ...] = (
    *((0.2, 0.8, 0.2, 0.8, 0, 0.03), (0.46, 0.54, 0.46, 0.54, 0.03, 0.8), (0, 1, 0, 1, 0.8, 1)),
)
_SCREEN: tuple[Part, ...] = (
    *((0.3, 0.7, 0, 1, 0, 0.05), (0.45, 0.55, 0.4, 0.6, 0.05, 0.3), (0, 1, 0.35, 0.6, 0.2, 1)),
)
# Smallest and largest width, depth and height, metres, and the boxes that a piece is made of.
_SHAPES: dict[str, tuple[tuple[float, ...], tuple[float, ...], tuple[Part, ...]]] = {
    "chair": (
        *((0.42, 0.42, 0.8), (0.5, 0.55, 1.0)),
        (*_legs(0.1, 0.45), (0, 1, 0, 1, 0.45, 0.52), (0, 1, 0.9, 1, 0.52, 1)),
    ),
    "office chair": (
        *((0.52, 0.52, 0.85), (0.65, 0.65, 1.1)),
        (
            *((0, 1, 0.42, 0.58, 0.03, 0.1), (0.42, 0.58, 0, 1, 0.03, 0.1)),
            *((0.44, 0.56, 0.44, 0.56, 0.1, 0.45), (0.06, 0.94, 0.05, 0.95, 0.44, 0.53)),
            *((0.1, 0.9, 0.84, 0.96, 0.55, 1), (0, 0.08, 0.3, 0.8, 0.6, 0.66)),
            (0.92, 1, 0.3, 0.8, 0.6, 0.66),
        ),
    ),
    "armchair": ((0.75, 0.75, 0.75), (0.95, 0.95, 0.95), _SOFA),
    "stool": ((0.35, 0.35, 0.45), (0.45, 0.45, 0.8), _TABLE),
    "couch": ((1.5, 0.78, 0.75), (2.2, 0.95, 0.9), _SOFA),
    "corner couch": (
        *((2.2, 1.4, 0.75), (2.9, 1.8, 0.9)),
        (
            *((0, 1, 0.45, 1, 0.06, 0.5), (0, 1, 0.88, 1, 0.06, 1), (0, 0.35, 0, 0.5, 0.06, 0.5)),
            *((0, 0.06, 0, 1, 0.06, 0.9), (0.93, 1, 0.45, 1, 0.06, 0.7)),
        ),
    ),
    "table": ((1.2, 0.75, 0.7), (2.2, 1.0, 0.78), _TABLE),
    "coffee table": ((0.8, 0.5, 0.38), (1.2, 0.7, 0.5), _TABLE),
    "side table": ((0.4, 0.4, 0.4), (0.7, 0.6, 0.65), _TABLE),
    "round table": (
        *((0.7, 0.7, 0.7), (1.2, 1.2, 0.78)),
        (
            *((0.1, 0.9, 0, 1, 0.94, 1), (0, 1, 0.1, 0.9, 0.94, 1)),
            *((0.3, 0.7, 0.3, 0.7, 0, 0.06), (0.44, 0.56, 0.44, 0.56, 0.06, 0.94)),
        ),
    ),
    "desk": (
        *((1.1, 0.6, 0.7), (1.8, 0.8, 0.78)),
        (
            *((0, 1, 0, 1, 0.95, 1), (0, 0.3, 0.07, 1, 0, 0.95), (0.97, 1, 0.03, 1, 0, 0.95)),
            (0, 1, 0.92, 0.95, 0.4, 0.95),
        ),
    ),
    "bed": (
        *((0.95, 1.95, 0.85), (1.9, 2.2, 1.3)),
        (
            *((0, 1, 0, 1, 0.1, 0.35), (0.02, 0.98, 0.02, 0.97, 0.35, 0.52), (0, 1, 0.97, 1, 0, 1)),
            (0.12, 0.88, 0.78, 0.95, 0.52, 0.62),
        ),
    ),
    "cabinet": ((0.6, 0.38, 0.7), (1.5, 0.55, 1.4), _CHEST),
    "wardrobe cabinet": ((0.9, 0.5, 1.8), (2.0, 0.65, 2.2), _CHEST),
    "file cabinet": ((0.4, 0.5, 0.6), (0.5, 0.62, 1.35), _CHEST),
    "dresser": ((0.8, 0.42, 0.75), (1.6, 0.55, 1.0), _CHEST),
    "nightstand": ((0.4, 0.38, 0.45), (0.55, 0.45, 0.65), _CHEST),
    "tv stand": ((1.0, 0.4, 0.4), (1.6, 0.5, 0.6), _CHEST),
    "washing machine": ((0.58, 0.58, 0.82), (0.65, 0.65, 0.9), _CHEST),
    "stove": ((0.58, 0.58, 0.86), (0.65, 0.64, 0.9), _CHEST),
    "refrigerator": (
        *((0.6, 0.62, 1.4), (0.92, 0.78, 1.9)),
        (
            *((0, 1, 0.1, 1, 0, 1), (0, 1, 0.02, 0.1, 0.02, 0.6), (0, 1, 0.02, 0.1, 0.63, 1)),
            (0.9, 0.95, 0, 0.02, 0.3, 0.58),
        ),
    ),
    "bookshelf": (
        *((0.7, 0.28, 1.2), (1.6, 0.38, 2.1)),
        (
            *((0, 0.03, 0, 1, 0, 1), (0.97, 1, 0, 1, 0, 1), (0, 1, 0.95, 1, 0, 1)),
            *((0, 1, 0, 1, z, z + 0.02) for z in (0.0, 0.2, 0.4, 0.6, 0.8, 0.98)),
            *((0.05, 0.5, 0.25, 0.9, 0.02, 0.15), (0.05, 0.8, 0.25, 0.9, 0.22, 0.34)),
            *((0.4, 0.95, 0.3, 0.9, 0.42, 0.55), (0.2, 0.95, 0.3, 0.9, 0.82, 0.95)),
        ),
    ),
    "shelf": (
        *((0.6, 0.3, 0.7), (1.1, 0.4, 1.2)),
        (*_legs(0.05, 1), *((0, 1, 0, 1, z, z + 0.03) for z in (0.1, 0.5, 0.95))),
    ),
    "toilet": (
        *((0.36, 0.58, 0.72), (0.42, 0.72, 0.82)),
        (
            *((0.2, 0.8, 0.2, 0.8, 0, 0.35), (0, 1, 0, 0.7, 0.35, 0.55), (0, 1, 0.7, 1, 0.3, 1)),
            (0.05, 0.95, 0.62, 0.7, 0.55, 0.95),
        ),
    ),
    "sink": ((0.55, 0.42, 0.4), (1.0, 0.55, 0.6), _BASIN),
    "wall sink": ((0.45, 0.38, 0.3), (0.7, 0.48, 0.45), _BASIN),
    "pedestal sink": (
        *((0.5, 0.42, 0.85), (0.62, 0.5, 1.05)),
        (
            (0.38, 0.62, 0.4, 0.8, 0, 0.8),
            *((*part[:4], 0.75 + part[4] / 4, 0.75 + part[5] / 4) for part in _BASIN),
        ),
    ),
    "bathtub": ((1.5, 0.7, 0.48), (1.8, 0.85, 0.62), _TUB),
    "crib": ((0.6, 1.1, 0.9), (0.75, 1.3, 1.1), _TUB),
    "trash can": ((0.24, 0.24, 0.3), (0.38, 0.36, 0.7), _BOX),
    "radiator": (
        *((0.6, 0.12, 0.5), (1.4, 0.16, 0.7)),
        ((0, 1, 0.5, 0.9, 0.15, 1), *((x / 10, x / 10 + 0.05, 0, 1, 0.12, 1) for x in range(10))),
    ),
    "ottoman": ((0.45, 0.45, 0.35), (0.8, 0.7, 0.48), _BOX),
    "bench": ((0.9, 0.35, 0.42), (1.5, 0.45, 0.5), _TABLE),
    "laundry hamper": ((0.38, 0.36, 0.5), (0.5, 0.5, 0.68), _BOX),
    "piano": (
        *((1.35, 0.5, 1.05), (1.5, 0.6, 1.25)),
        ((0, 1, 0.4, 1, 0, 1), (0, 1, 0, 0.4, 0.5, 0.6)),
    ),
    "lamp": ((0.3, 0.3, 1.3), (0.45, 0.45, 1.75), _LAMP),
    "table lamp": ((0.22, 0.22, 0.35), (0.35, 0.35, 0.6), _LAMP),
    "pillow": ((0.36, 0.14, 0.3), (0.5, 0.2, 0.42), _BOX),
    "television": ((0.7, 0.2, 0.5), (1.2, 0.3, 0.75), _SCREEN),
    "monitor": ((0.45, 0.18, 0.4), (0.65, 0.25, 0.52), _SCREEN),
    "laptop": (
        *((0.3, 0.22, 0.2), (0.36, 0.28, 0.26)),
        ((0, 1, 0, 1, 0, 0.1), (0, 1, 0.9, 1, 0.1, 1)),
    ),
    "hanging television": ((0.8, 0.08, 0.5), (1.3, 0.12, 0.75), _BOX),
    "whiteboard": ((1.0, 0.03, 0.8), (2.4, 0.05, 1.2), _BOX),
    "picture": ((0.16, 0.03, 0.16), (0.6, 0.05, 0.5), _BOX),
    "floor mat": ((0.5, 0.4, 0.015), (2.2, 1.6, 0.025), _BOX),
    "box": ((0.25, 0.25, 0.15), (0.55, 0.5, 0.45), _BOX),
    "bag": ((0.28, 0.18, 0.3), (0.5, 0.3, 0.5), _BOX),
    "books": ((0.15, 0.2, 0.04), (0.3, 0.28, 0.25), _BOX),
    "clothes": ((0.25, 0.3, 0.06), (0.6, 0.6, 0.2), _BOX),
    "otherprop": ((0.08, 0.08, 0.1), (0.4, 0.35, 0.45), _BOX),
}  # fmt: skip
# How much wider, deeper and higher than a catalogue's models people have them.
_LARGER = {
    **{"chair": (1.22, 1.2, 1.0), "office chair": (1.12, 1.12, 1.0), "desk": (1.1, 1.1, 1.05)},
    **{"bed": (1.15, 1.0, 1.2), "refrigerator": (1.0, 1.0, 1.1), "cabinet": (1.2, 1.0, 1.15)},
}
# Where the lower edge of a parametric piece is that hangs, metres.
_HANGING = {"wall sink": 0.55, "hanging television": 1.1, "whiteboard": 0.9, "radiator": 0.1}


def build(label: str, rng: Rng, catalogue: Catalogue = Catalogue()) -> Mesh:
    """Returns a piece of the given kind, of random model or measures.

    Args:
        label: what it is called; a key of `LABELS` that has a shape of its own.
        rng: where the choice comes from.
        catalogue: its models are taken where it has such a piece.

    Raises:
        ValueError: another label.
    """
    if label not in _SHAPES:
        raise ValueError(f"expected one of {sorted(_SHAPES)}, found '{label}'")
    drawn = catalogue.draw(rng, (label,), ("floor", "top", "wall"))
    if not drawn:
        return _of_boxes(label, rng)
    return _varied(drawn[1], rng, _LARGER.get(label, (1.0, 1.0, 1.0)))


def clutter(place: str, rng: Rng, catalogue: Catalogue = Catalogue()) -> Piece:
    """Returns something of no class, as it lies about.

    Args:
        place: "top" of furniture, "floor", "wall" or "ceiling".
        rng: where the choice comes from.
        catalogue: what it is chosen from.
    """
    drawn = catalogue.draw(rng, CLUTTER, (place,))
    if drawn:
        return Piece(drawn[0], _varied(drawn[1], rng))
    label = "lamp" if place == "ceiling" else str(rng.choice(("otherprop", "books", "box", "bag")))
    if place == "wall":
        return Piece("otherprop", _of_boxes("picture", rng).moved((0, 0, rng.uniform(0.6, 1.7))))
    return Piece(label, _of_boxes("table lamp" if label == "lamp" else label, rng))


def _varied(mesh: Mesh, rng: Rng, larger: Point = (1.0, 1.0, 1.0)) -> Mesh:
    """Returns the mesh at another size: people own other ones of its kind."""
    scale = np.clip(rng.uniform(0.85, 1.2) * rng.normal(1, 0.04, 3), 0.8, 1.25) * larger
    mirror = rng.choice((-1.0, 1.0))
    faces = mesh.faces if mirror > 0 else mesh.faces[:, ::-1]
    return Mesh(mesh.vertices * scale * (mirror, 1, 1), faces, mesh.colors)


def _pick(rng: Rng) -> Color:
    return _COLORS[rng.integers(len(_COLORS))]


def _of_boxes(label: str, rng: Rng) -> Mesh:
    smallest, largest, parts = _SHAPES[label]
    size = rng.uniform(smallest, largest)
    mesh = _boxes(parts, size, rng)
    back = 0.0 if label in (*_HANGING, "picture") else size[1] / 2
    return mesh.moved((-size[0] / 2, back - size[1], _HANGING.get(label, 0.0)))


def _boxes(parts: Sequence[Part], size: Point, rng: Rng) -> Mesh:
    """Returns boxes of one colour in different lights, from (0, 0, 0) to `size`."""
    color, meshes = _pick(rng), []
    for part in parts:
        low, high = np.array(part[::2]) * size, np.array(part[1::2]) * size
        red, green, blue = (int(channel * rng.uniform(0.85, 1.0)) for channel in color)
        meshes.append(box(high - low, low, (red, green, blue)))
    return merge(meshes)


# What no catalogue has, of measures that are given: metres, centred on x, the back at y = 0.


def cabinet_run(width: float, depth: float, height: float, rng: Rng) -> Mesh:
    """Returns a row of built-in cupboards."""
    doors = max(1, round(width / rng.uniform(0.4, 0.7)))
    rows = 1 if rng.random() < 0.6 else 2
    parts: list[Part] = [(0, 1, 0.04, 1, 0, 1)]
    for x in range(doors):
        for z in range(rows):
            left, low = (x + 0.03) / doors, (z + 0.03) / rows
            parts.append((left, (x + 0.97) / doors, 0, 0.04, low, (z + 0.97) / rows))
    return _boxes(parts, (width, depth, height), rng).moved((-width / 2, -depth, 0))


def counter(spans: Sequence[tuple[float, float]], depth: float, rng: Rng) -> Mesh:
    """Returns a worktop of several spans (from and to along x) with its splashback."""
    color, splash = _pick(rng), rng.uniform(0.05, 0.25)
    parts = []
    for left, right in spans:
        parts.append(box((right - left, depth, 0.05), (left, -depth, 0), color))
        parts.append(box((right - left, 0.02, splash), (left, -0.02, 0.05), color))
    return merge(parts)


def cloth(width: float, low: float, high: float, rng: Rng) -> Mesh:
    """Returns a waving cloth that hangs from `high` to `low`."""
    color, depth = _pick(rng), rng.uniform(0.03, 0.07)
    x = np.linspace(-width / 2, width / 2, max(8, int(width / 0.03)))
    z = np.linspace(low, high, 8)
    phase = 2 * np.pi * x / rng.uniform(0.12, 0.2) + rng.uniform(0, 2 * np.pi)
    y = depth * np.sin(phase[None] + 0.5 * (z / high)[:, None])
    front = np.stack([np.tile(x, (len(z), 1)), y, np.tile(z[:, None], (1, len(x)))], axis=2)
    back = front[:, ::-1] + (0, 0.015, 0)
    return merge([grid_sheet(front, color), grid_sheet(back, color)])


def blanket(bed: Mesh, rng: Rng) -> Mesh:
    """Returns a blanket that lies over the middle of a bed and hangs down at its sides."""
    width, length = np.ptp(bed.vertices[:, :2], axis=0)
    middle = (bed.low + bed.high) / 2
    thick, over = rng.uniform(0.05, 0.14), rng.uniform(0.02, 0.06)
    first = rng.uniform(0.05, 0.4)
    last = first + rng.uniform(0.1, 0.3)
    inside = np.abs(bed.vertices[:, :2] - middle[:2]).max(axis=1) < 0.3 * width
    top = float(np.quantile(bed.vertices[inside, 2], 0.8)) if inside.any() else 0.5
    top = min(max(top, 0.3), 0.7)
    size = (width + 2 * over, (last - first) * length, top + thick - rng.uniform(0.15, 0.3))
    low = (middle[0] - size[0] / 2, bed.low[1] + first * length, top + thick - size[2])
    return box(size, low, _pick(rng))
