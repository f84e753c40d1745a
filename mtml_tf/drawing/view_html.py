"""A view as one page for a browser, which needs no network and no server.

The page holds the points and plotly.js (which comes with Open3D). Its buttons switch between
colourings of the same points (modes), its list switches instances on and off. It opens on the
instances where there are any. What comes after `#` in its address leads elsewhere:

    view.html#mode=embedding&hide=2,5&top=1.5

shows the mode `embedding` without the second and the fifth of the list and without what lies more
than 1.5 m above the lowest point.
"""

import base64
import functools
import html
import json
import math
import pathlib
from collections.abc import Sequence

import numpy as np
from scipy import spatial

from mtml_tf import files
from mtml_tf.drawing import view_page
from mtml_tf.drawing.view import COLOR, INSTANCES, TRUTH, View

Array = np.ndarray

MAX_POINTS = 200_000
MAX_BYTES = 20_000_000
_KEPT_OF_INSTANCE = 20  # points that thinning leaves of each instance
_PLAIN = (150, 150, 150)
_NEIGHBOURS = 12  # of a point, that tell the slope of the surface
_AT_ONCE = 50_000
_TOWARDS_LIGHT = np.array([0.32, -0.45, 0.834])
_DARKEST = 0.62


def thin(view: View, max_points: int) -> View:
    """Leaves out points, the same ones every time, evenly over the whole view.

    Of each instance at least 20 points stay (all where it has fewer), even where that makes more
    than `max_points`.
    """
    count = len(view.points)
    if count <= max_points:
        return view
    kept = np.zeros(count, bool)
    for instance in view.instances:
        places = np.linspace(0, len(instance.indices) - 1, _KEPT_OF_INSTANCE)
        kept[instance.indices[np.unique(places.astype(int)) if len(instance.indices) else []]] = (
            True
        )
    others = np.random.default_rng(0).permutation(np.flatnonzero(~kept))
    kept[others[: max(max_points - int(kept.sum()), 0)]] = True
    return view.select(np.flatnonzero(kept))


def encode_html(view: View, max_points: int = MAX_POINTS, max_bytes: int = MAX_BYTES) -> str:
    """Returns the page as text.

    Args:
        view: what to show.
        max_points: a larger view is thinned; the page says so.
        max_bytes: it is thinned further until the page, in UTF-8, is no larger.

    Raises:
        ValueError: a page that is too large with hardly any points (too many instances).
        ImportError: no plotly.
    """
    script, target = plotly_script(), max_points
    while True:
        shown = thin(view, target)
        page = view_page.encode_page(html.escape(view.title), _encode_data(shown), script)
        size = len(page.encode("utf-8"))
        if size <= max_bytes:
            return page
        if target < len(view.instances) * _KEPT_OF_INSTANCE or target < 2:
            raise ValueError(
                f"{view.title}: expected a page of at most {max_bytes} bytes, found {size} bytes "
                f"with {len(shown.points)} points and {len(view.instances)} instances"
            )
        share = (max_bytes - len(script)) / (size - len(script))
        fewer = min(target, len(shown.points)) * max(0.1, min(0.9, 0.95 * share))
        target = max(int(fewer), 1)


def write_view(path: str | pathlib.Path, view: View, overwrite: bool = False) -> None:
    """Writes the page.

    Raises:
        ValueError: `path` exists and `overwrite` is False.
        ImportError: no plotly.
    """
    files.write_text(path, encode_html(view), overwrite)


@functools.cache
def plotly_script() -> str:
    """Returns the text of plotly.js. Raises ImportError, with what to do, where there is none."""
    try:
        from plotly import offline  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportError(
            f"the page needs plotly, which comes with open3d ({error}); install the requirements "
            "again, or do without the page (--nohtml of predict, --output_png of view.py)"
        ) from error
    return offline.get_plotlyjs()


def _encode_data(view: View) -> str:
    """Returns the JSON that the page's script reads; safe inside a script element."""
    low = view.points.min(axis=0)
    # 16 bits an axis: below half a millimetre in a room of 30 metres.
    step = np.maximum(np.ptp(view.points, axis=0), 1e-6) / np.iinfo(np.uint16).max
    places = np.round((view.points - low) / step)
    light, spacing = _surroundings(view)
    swatches = view.modes.get(INSTANCES, view.modes.get(TRUTH))
    data = {
        "total": view.of_points or len(view.points),
        "voxels": view.voxel_size,
        "spacing": spacing,
        "step": step.tolist(),
        "points": _base64(places, "<u2"),
        # Photographed colours have light and shadow of their own.
        "light": _base64(np.round(light * 255), "u1"),
        "unlit": COLOR,
        "opening": view.opening,
        "modes": [
            {"name": name, **_encode_colors(colors), "legend": view.legends.get(name, ())}
            for name, colors in view.modes.items()
        ],
        "hover": None if view.hover is None else _encode_texts(view.hover),
        "instances": [
            {
                "name": view.class_names.get(instance.class_id, f"class {instance.class_id}"),
                "score": instance.score if math.isfinite(instance.score) else None,
                "color": _most_frequent(swatches, instance.indices),
                "members": _base64(instance.indices, "<u4"),
            }
            for instance in view.instances
        ],
    }
    # `</script>` and `<!--` must not occur there; in JSON, `<` occurs in strings alone.
    return json.dumps(data, allow_nan=False).replace("<", "\\u003c")


def _surroundings(view: View) -> tuple[Array, float]:
    """Looks at the neighbours of each point, in O(n log n) time.

    Returns:
        float [n] in (0, 1], how bright points are by the slope of the surface around them; and
        about how far points are apart, metres.
    """
    points = view.points
    count = min(_NEIGHBOURS, len(points))
    tree = spatial.cKDTree(points)
    light, apart = np.ones(len(points)), np.empty(len(points))
    for first in range(0, len(points), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        distances, rows = tree.query(points[part], range(1, count + 1), workers=-1)
        # On a grid the point itself and the four beside it come first.
        apart[part] = distances[:, min(4, count - 1)]
        near = points[rows] - points[rows].mean(axis=1, keepdims=True)
        # The normal is the direction in which the neighbours vary least; which side is the
        # outer one stays open, so both are lit.
        _, vectors = np.linalg.eigh(near.transpose(0, 2, 1) @ near)
        light[part] = np.abs(vectors[:, :, 0] @ _TOWARDS_LIGHT)
    light = _DARKEST + (1 - _DARKEST) * np.clip(light, 0, 1)
    return light, view.voxel_size or float(np.median(apart))


def _base64(values: Array | Sequence[int], dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype).tobytes()).decode("ascii")


def _encode_colors(colors: Array) -> dict[str, str]:
    """Returns a byte a point where there are few colours, three elsewhere."""
    red, green, blue = np.asarray(colors, np.int64).T
    palette, index = np.unique((red << 16) + (green << 8) + blue, return_inverse=True)
    if len(palette) > 256:
        return {"rgb": _base64(colors, "u1")}
    rgb = np.stack([palette >> 16, (palette >> 8) & 255, palette & 255], axis=1)
    return {"palette": _base64(rgb, "u1"), "index": _base64(index, "u1")}


def _encode_texts(texts: Sequence[str]) -> dict[str, object]:
    """Returns each text once, and for each point which it is."""
    place = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    return {"texts": list(place), "index": _base64([place[text] for text in texts], "<u4")}


def _most_frequent(colors: Array | None, rows: Array) -> tuple[int, ...]:
    """Returns the colour that most of the rows have."""
    if colors is None or not len(rows):
        return _PLAIN
    distinct, counts = np.unique(colors[rows], axis=0, return_counts=True)
    return tuple(distinct[counts.argmax()].tolist())
