"""What the pieces of a room are painted with: colours and patterns that tell nothing of the class.

Each piece keeps the colours that it was built with, or has a coat: all of it in a colour of one
palette for all classes, or in its own colours shifted, its faces as much lighter or darker than
each other as before. On some there is a pattern, a function of the place on the surface.
"""

import colorsys
import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from mtml_tf.rooms.light import check_strength
from mtml_tf.rooms.mesh import Piece

Array = np.ndarray
Rng = np.random.Generator

# Of all pieces with one of these names in a room the coat is one.
_SHELL = ("wall", "floor", "ceiling", "door", "window", "curtain")
# But some walls are painted otherwise than the rest.
_OTHER_WALL = 0.12
# How often, and from and to in hue (turns), in saturation and in value.
_PALETTE = np.array(
    [
        (0.25, *(0.05, 0.10), *(0.30, 0.65), *(0.25, 0.80)),  # woods
        (0.20, *(0.00, 1.00), *(0.00, 0.06), *(0.12, 0.80)),  # greys
        (0.20, *(0.00, 1.00), *(0.00, 0.05), *(0.82, 0.97)),  # whites
        (0.15, *(0.08, 0.14), *(0.08, 0.30), *(0.60, 0.92)),  # beiges
        (0.20, *(0.00, 1.00), *(0.20, 0.70), *(0.20, 0.80)),  # what cloth is dyed in
    ]
)
# The others keep their colours, shifted by hue (turns), and factors of saturation and lightness.
_REPLACED = 0.65
_SHIFT = ((-0.08, 0.3, 0.6), (0.08, 1.4, 1.5))
_LUMA = (0.299, 0.587, 0.114)
# Faces that are darker or lighter than so many times the mean are taken for as dark or light.
_RELATIVE = (0.25, 2.0)
# How often which pattern is drawn.
_PATTERNS = {
    **{"stripes": 0.1, "checks": 0.1, "planks": 0.25, "grain": 0.2, "patches": 0.1, "noise": 0.25}
}
# Of those, what is a second colour rather than a lighter and darker one.
_TWO_COLORS = 0.2
_CONTRAST = (0.04, 0.25)
# Edges of stripes, checks and planks, metres; the scan shows nothing smaller.
_PITCH = (0.08, 0.4)
_NUM_KNOTS = 12


@dataclasses.dataclass(frozen=True)
class PaintSettings:
    """How often pieces are painted otherwise than they were built.

    Attributes:
        strength: factor of the chances; 0 for everything in its own plain colours.
        shell_chance: that walls, floor, ceiling, doors, windows or curtains have a coat.
        furniture_chance: that a piece of furniture has one.
        pattern_chance: that there is a pattern on it, whether it has a coat or not.

    Raises:
        ValueError: a value out of range.
    """

    strength: float = 1.0
    shell_chance: float = 0.6
    furniture_chance: float = 0.4
    pattern_chance: float = 0.35

    def __post_init__(self) -> None:
        check_strength(self.strength)
        for name in ("shell_chance", "furniture_chance", "pattern_chance"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"expected {name} in 0..1, found {getattr(self, name)}")


@dataclasses.dataclass(frozen=True, eq=False)
class Pattern:
    """A pattern on surfaces.

    Attributes:
        kind: one of `stripes`, `checks`, `planks`, `grain`, `patches` and `noise`.
        pitch: width of a stripe or of what there is of the like, metres.
        length: of planks and of the waves of the grain, metres.
        offset: float64 [3], where it begins, metres.
        upright: whether stripes, planks and grain go up on a wall.
        knots: float64 [S, S, S] in 0..1, where it is random.
        contrast: of light and dark, or the share of the second colour.
        color: float64 [3], the second colour; None for the first, lighter and darker.
    """

    kind: str
    pitch: float
    length: float
    offset: Array
    upright: bool
    knots: Array
    contrast: float
    color: Array | None


def paint_points(
    colors: Array,
    points: Array,
    normals: Array,
    owners: Array,
    pieces: Sequence[Piece],
    settings: PaintSettings,
    rng: Rng,
) -> Array:
    """Returns float64 [N, 3], the colours of points on painted pieces.

    Pieces of one set, such as chairs of one model in one colour, are painted alike.

    Args:
        colors: uint8 [N, 3] red green blue, of the pieces as they were built.
        points: float64 [N, 3] on their surfaces, metres.
        normals: float64 [N, 3] of the surfaces.
        owners: int [N], rows in `pieces`.
        pieces: of the room.
        settings: how often there is paint and a pattern.
        rng: where it comes from.
    """
    sets: dict[tuple[str, bytes], list[int]] = {}
    for row, piece in enumerate(pieces):
        sets.setdefault((piece.label, _set_of(row, piece, rng)), []).append(row)
    painted = colors.astype(float)
    places = surface_places(points, normals)
    for (label, _), rows in sets.items():
        inside = np.flatnonzero(np.isin(owners, rows))
        chance = settings.shell_chance if label in _SHELL else settings.furniture_chance
        coat, pattern = draw_color(rng), draw_pattern(rng)
        shift = rng.uniform(*_SHIFT)
        has_coat, replaced, has_pattern = rng.random(3) < (
            chance * settings.strength,
            _REPLACED,
            settings.pattern_chance * settings.strength,
        )
        if not len(inside):
            continue
        if has_coat:
            own = painted[inside]
            painted[inside] = recolored(own, coat) if replaced else shifted(own, *shift)
        if has_pattern:
            value = pattern_values(points[inside], places[inside], pattern)
            painted[inside] = patterned(painted[inside], value, pattern)
    return painted


def _set_of(row: int, piece: Piece, rng: Rng) -> bytes:
    """Returns what is the same for the pieces of its label that belong together."""
    other = rng.random() < _OTHER_WALL and piece.label == "wall"
    if piece.label in _SHELL:
        return str(row).encode() if other else b""
    return np.unique(piece.mesh.colors, axis=0).tobytes()


# Colours.


def draw_color(rng: Rng) -> Array:
    """Returns float64 [3], a colour of the palette, 255 for white."""
    row = _PALETTE[rng.choice(len(_PALETTE), p=_PALETTE[:, 0])]
    return 255 * np.array(colorsys.hsv_to_rgb(*rng.uniform(row[1::2], row[2::2])))


def recolored(colors: Array, coat: Array) -> Array:
    """Returns float64 [N, 3]: one colour, as much lighter or darker than it as the old ones were.

    Args:
        colors: float64 [N, 3], the old ones.
        coat: float64 [3], the new one.
    """
    luma = colors @ _LUMA
    mean = luma.mean()
    relative = luma / mean if mean > 0 else np.ones(len(colors))
    return np.clip(np.clip(relative, *_RELATIVE)[:, None] * coat, 0, 255)


def shifted(colors: Array, hue: float, saturation: float, lightness: float) -> Array:
    """Returns float64 [N, 3], colours turned about the grey axis, fainter or stronger, and lit.

    Args:
        colors: float64 [N, 3] red green blue.
        hue: turns; a third makes red of blue, green of red and blue of green.
        saturation: factor of the distance from grey.
        lightness: factor of everything.
    """
    grey = colors.mean(axis=1, keepdims=True)
    chroma = colors - grey
    angle = 2 * np.pi * hue
    # Rodrigues' rotation about (1, 1, 1); the chroma has no part along it.
    across = np.cross(np.ones(3) / np.sqrt(3), chroma)
    turned = np.cos(angle) * chroma + np.sin(angle) * across
    return np.clip(lightness * (grey + saturation * turned), 0, 255)


# Patterns.


def draw_pattern(rng: Rng) -> Pattern:
    """Returns a random pattern."""
    pitch = float(np.exp(rng.uniform(*np.log(_PITCH))))
    second = draw_color(rng)
    two = rng.random() < _TWO_COLORS
    return Pattern(
        kind=str(rng.choice(list(_PATTERNS), p=list(_PATTERNS.values()))),
        pitch=pitch,
        length=float(rng.uniform(0.5, 1.6)),
        offset=rng.uniform(0, 10, 3),
        upright=bool(rng.random() < 0.5),
        knots=rng.random((_NUM_KNOTS,) * 3),
        contrast=float(rng.uniform(0.2, 0.8) if two else rng.uniform(*_CONTRAST)),
        color=second if two else None,
    )


def surface_places(points: Array, normals: Array) -> Array:
    """Returns float64 [N, 2], where points lie on the coordinate plane that faces them most.

    On what is level these are x and y, on a wall the one along it and the height.

    Args:
        points: float64 [N, 3], metres.
        normals: float64 [N, 3].
    """
    seen = np.array(((1, 2), (0, 2), (0, 1)))[np.abs(normals).argmax(axis=1)]
    return np.take_along_axis(points, seen, axis=1)


def pattern_values(points: Array, places: Array, pattern: Pattern) -> Array:
    """Returns float64 [N] in 0..1, the pattern at points.

    Args:
        points: float64 [N, 3], metres.
        places: float64 [N, 2], the same on the surface (`surface_places`), metres.
        pattern: which.
    """
    if pattern.kind in ("patches", "noise"):
        # Softer than the others, so it may be wider.
        where = ((points + pattern.offset) / (1.5 * pattern.pitch)).T
        value = ndimage.map_coordinates(pattern.knots, where, order=1, mode="grid-wrap")
        return (value > 0.55).astype(float) if pattern.kind == "patches" else value
    along, across = (places[:, ::-1] if pattern.upright else places).T + pattern.offset[:2, None]
    row = np.floor(across / pattern.pitch).astype(int)
    if pattern.kind == "stripes":
        return (row % 2).astype(float)
    if pattern.kind == "checks":
        return ((row + np.floor(along / pattern.pitch).astype(int)) % 2).astype(float)
    if pattern.kind == "planks":
        row %= _NUM_KNOTS
        end = np.floor(along / pattern.length + pattern.knots[row, 0, 0]).astype(int) % _NUM_KNOTS
        return pattern.knots[row, end, 1]
    wave = np.sin(2 * np.pi * along / pattern.length)
    return 0.5 + 0.5 * np.sin(2 * np.pi * (across / pattern.pitch + 0.4 * wave))


def patterned(colors: Array, values: Array, pattern: Pattern) -> Array:
    """Returns float64 [N, 3], colours with a pattern.

    Args:
        colors: float64 [N, 3] red green blue.
        values: float64 [N] in 0..1, of the pattern.
        pattern: its contrast and second colour.
    """
    if pattern.color is None:
        return colors * (1 + pattern.contrast * (2 * values - 1))[:, None]
    return colors + (pattern.contrast * values)[:, None] * (pattern.color - colors)
