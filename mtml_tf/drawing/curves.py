"""Line charts as SVG text: they scale and stay small.

By hand: no library that is installed writes them (Plotly, which comes with Open3D, needs a browser
to make a picture).
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 460, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 34, 86
_COLORS = ("#7f7f7f", "#d9822b", "#2b7bba", "#2ca05a", "#9467bd", "#b5423c")
_MARK = 3.5


def encode_curves(
    title: str,
    x_title: str,
    y_title: str,
    x: Sequence[float],
    series: Mapping[str, Sequence[float]],
) -> str:
    """Returns a chart with a line for each series, y from 0 up.

    Args:
        title: above the chart.
        x_title: below the horizontal axis.
        y_title: beside the vertical axis.
        x: places on the horizontal axis, ascending.
        series: for each name its values at `x`, at least 0; NaN leaves a gap.

    Returns:
        SVG text.

    Raises:
        ValueError: no places, or a series with another number of values.
    """
    if not x:
        raise ValueError(f"chart '{title}': expected at least one place on the axis, found none")
    for name, values in series.items():
        if len(values) != len(x):
            raise ValueError(
                f"chart '{title}': expected {len(x)} values in '{name}', found {len(values)}"
            )
    finite = [v for values in series.values() for v in values if math.isfinite(v)]
    top = _round_up(max(finite, default=1.0))
    low, high = min(x), max(x)

    def place(x_value: float, y_value: float) -> tuple[float, float]:
        share = 0.5 if high == low else (x_value - low) / (high - low)
        return (
            _LEFT + share * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - y_value / top * (_HEIGHT - _TOP - _BOTTOM),
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        _text(_WIDTH / 2, 20, title, "middle", "bold"),
        _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - _BOTTOM + 36, x_title, "middle"),
        f'<g transform="translate(16 {(_TOP + _HEIGHT - _BOTTOM) / 2}) rotate(-90)">'
        f"{_text(0, 0, y_title, 'middle')}</g>",
    ]
    for step in range(5):
        value = top * step / 4
        (left, y), (right, _) = place(low, value), place(high, value)
        left, right = min(left, _LEFT), max(right, _WIDTH - _RIGHT)
        parts.append(f'<path d="M{left:.1f} {y:.1f}H{right:.1f}" stroke="#dddddd"/>')
        parts.append(_text(_LEFT - 6, y + 4, f"{value:g}", "end"))
    for value in x:
        centre, bottom = place(value, 0)
        parts.append(_text(centre, bottom + 17, f"{value:g}", "middle"))
    for number, (name, values) in enumerate(series.items()):
        color = _COLORS[number % len(_COLORS)]
        for run in _finite_runs(x, values):
            points = [place(*pair) for pair in run]
            line = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
            parts.append(
                f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>'
            )
            for px, py in points:
                parts.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="{_MARK}" fill="{color}"/>')
        column, row = number % 2, number // 2
        left, bottom = _LEFT + column * 190, _HEIGHT - 30 + row * 18
        parts.append(f'<rect x="{left}" y="{bottom - 9}" width="12" height="9" fill="{color}"/>')
        parts.append(_text(left + 18, bottom, name, "start"))
    return "\n".join([*parts, "</svg>\n"])


def _finite_runs(x: Sequence[float], values: Sequence[float]) -> list[list[tuple[float, float]]]:
    """Returns the points of a series, in runs that nothing is missing in."""
    groups = itertools.groupby(
        zip(x, values, strict=True), key=lambda point: math.isfinite(point[1])
    )
    return [list(points) for is_finite, points in groups if is_finite]


def _text(x: float, y: float, text: str, anchor: str, weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{escape(text)}</text>"
    )


def _round_up(value: float) -> float:
    """Returns the next of 1, 2, 4, 5, 8 or 10 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if value <= step * power * (1 + 1e-9))
