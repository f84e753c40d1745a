"""The light of a room and the camera that sees it: exposure, tone curve, cast, lamps and windows.

No two rooms are seen in the same light, so that nothing learns a colour from where it hangs. A
strength of 0 is the same plain light everywhere.
"""

import dataclasses
import math

import numpy as np

Array = np.ndarray
Rng = np.random.Generator

# How much of the light has a direction, before a room's own factor.
_DIRECTIONAL = 0.2
# How far the light of a lamp or a window reaches, metres.
_REACH = (0.8, 2.2)
# Green against magenta, beside warm against cold: light bulbs differ less along it.
_TINT = 0.3
# Below this fraction of white the tone curve goes on as a line.
_DARKEST = 1e-3


def check_strength(strength: float) -> None:
    """Raises ValueError for a strength of variety that is negative or not finite."""
    if not 0 <= strength < math.inf:
        raise ValueError(f"expected a strength of at least 0, found {strength}")


@dataclasses.dataclass(frozen=True)
class LightSettings:
    """How much the light differs from room to room.

    Attributes:
        strength: of all of it; 0 for the same light in every room.
        exposure: least and greatest factor that a room's colours are taken with.
        gamma: least and greatest exponent of the tone curve; above 1 middle tones are darker.
        cast: greatest part by which red and blue are raised and lowered, or the other way round.
        directional: least and greatest factor of the shade that the light's direction gives.
        most_spots: of lamps and windows; none to so many.
        spot_gain: the brightest of them adds so many times the light that is everywhere.

    Raises:
        ValueError: a value out of range.
    """

    strength: float = 1.0
    exposure: tuple[float, float] = (0.55, 1.35)
    gamma: tuple[float, float] = (0.8, 1.25)
    cast: float = 0.12
    directional: tuple[float, float] = (0.4, 2.0)
    most_spots: int = 4
    spot_gain: float = 0.9

    def __post_init__(self) -> None:
        check_strength(self.strength)
        for name in ("exposure", "gamma", "directional"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"expected {name} above 0, from low to high, found {low}, {high}")
        for name in ("cast", "most_spots", "spot_gain"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"expected {name} of at least 0, found {getattr(self, name)}")


@dataclasses.dataclass(frozen=True, eq=False)
class Light:
    """The light of one room.

    Attributes:
        exposure: factor of all colours.
        gamma: exponent of the tone curve.
        cast: float64 [3], factors of red, green and blue.
        directional: how much of the light has a direction, 0 to 1.
        places: float64 [K, 3], of the lamps and windows, metres.
        reaches: float64 [K], how far their light reaches, metres.
        gains: float64 [K, 3], what they add to the light, in red, green and blue.
    """

    exposure: float = 1.0
    gamma: float = 1.0
    cast: Array = dataclasses.field(default_factory=lambda: np.ones(3))
    directional: float = _DIRECTIONAL
    places: Array = dataclasses.field(default_factory=lambda: np.zeros((0, 3)))
    reaches: Array = dataclasses.field(default_factory=lambda: np.zeros(0))
    gains: Array = dataclasses.field(default_factory=lambda: np.zeros((0, 3)))


def draw_light(size: tuple[float, float, float], settings: LightSettings, rng: Rng) -> Light:
    """Returns the light of a room.

    Args:
        size: of the room, metres.
        settings: how much it may differ.
        rng: where it comes from.
    """
    strength = settings.strength
    exposure, gamma, directional = (
        float(np.exp(strength * rng.uniform(*np.log(bounds))))
        for bounds in (settings.exposure, settings.gamma, settings.directional)
    )
    cast = _cast(strength * settings.cast, rng)
    count = int(rng.integers(settings.most_spots + 1))
    gains = strength * settings.spot_gain * rng.uniform(0.2, 1.0, (count, 1))
    return Light(
        exposure,
        gamma,
        cast,
        min(_DIRECTIONAL * directional, 1.0),
        rng.uniform((0.0, 0.0, 0.4), (1.0, 1.0, 1.0), (count, 3)) * size,
        rng.uniform(*_REACH, count),
        gains * np.reshape([_cast(strength * settings.cast, rng) for _ in range(count)], (-1, 3)),
    )


def _cast(most: float, rng: Rng) -> Array:
    """Returns float64 [3], the factors of the channels in a warm or a cold light."""
    warm, green = rng.uniform(-most, most), _TINT * rng.uniform(-most, most)
    return np.maximum(1 + np.array([warm - green, green, -warm - green]), 0.0)


def directional_shade(normals: Array, direction: Array, light: Light) -> Array:
    """Returns float64 [N], the light that surfaces get by the way they face.

    Args:
        normals: float64 [N, 3] unit normals.
        direction: float64 [3], towards the light.
        light: of the room.
    """
    return 1 - light.directional + light.directional * normals @ direction


def spots_of_light(points: Array, light: Light) -> Array:
    """Returns float64 [N, 3], what lamps and windows make of an even light; 1 on the mean.

    So where they don't reach it is darker than without them.

    Args:
        points: float64 [N, 3], metres.
        light: of the room.
    """
    field = np.ones((len(points), 3))
    for place, reach, gain in zip(light.places, light.reaches, light.gains, strict=True):
        distance = np.linalg.norm(points - place, axis=1)
        field += np.exp(-0.5 * (distance / reach) ** 2)[:, None] * gain
    return field / field.mean() if len(field) else field


def develop(colors: Array, light: Light) -> Array:
    """Returns float64 [N, 3], lit colours as the camera takes them; what is above 255 clips later.

    Args:
        colors: float64 [N, 3] red green blue, 255 for white.
        light: of the room.
    """
    exposed = colors * light.exposure * light.cast
    return exposed * np.maximum(exposed / 255, _DARKEST) ** (light.gamma - 1)
