"""A scan as the semantic network sees it: its points in voxels, turned and varied.

As in SparseConvNet's ScanNet example, a scan is multiplied by a random matrix, mirrored, turned,
perhaps bent, and moved within the grid, and its colours are shifted; in evaluation it is mirrored,
turned and moved only. What the example does not do is off unless asked for.
"""

import dataclasses

import numpy as np
from scipy import ndimage

from mtml_tf.semantic.config import COLOR, GEOMETRY, SemanticDataConfig, SemanticNetworkConfig
from mtml_tf.semantic.points import PointScene
from mtml_tf.semantic.tables import unique_sites

Array = np.ndarray
Rng = np.random.Generator

# Of the two bends: (grain, strength), metres.
_ELASTIC = ((0.12, 0.8), (0.4, 3.2))
# Share of the vertices that may lie below the floor: debris of the scan.
_BELOW_FLOOR = 0.05


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """The points of a scan, P of its N vertices, in voxels.

    Attributes:
        voxels: int32 [P, 3], the voxel of each point; may be negative.
        features: float32 [P, C], of each point the input channels.
        vertices: int64 [P], the rows of the points in the scan.
    """

    voxels: Array
    features: Array
    vertices: Array


def view_for_training(
    points: PointScene, network: SemanticNetworkConfig, data: SemanticDataConfig, rng: Rng
) -> View:
    """Returns a scan, varied at random.

    Args:
        points: the scan.
        network: what its voxels and features are.
        data: how much is varied.
        rng: draws.

    Raises:
        ValueError: a scan without colours, where they are an input.
    """
    features = point_features(points, network)
    rows = np.arange(len(points.vertices))
    if data.least_density < 1:
        share = rng.uniform(data.least_density, 1)
        rows = np.flatnonzero(rng.random(len(rows)) < share)
        rows = rows if len(rows) else np.arange(1)
        features = features[rows]
    if COLOR in network.inputs:
        colors = features[:, :3]
        if data.color_gain:
            gain = np.exp(rng.normal(0, data.color_gain, 3)).astype(np.float32)
            colors = (colors + 1) * gain - 1
        colors = colors + rng.normal(0, data.color_shift, 3).astype(np.float32)
        if rng.random() < data.color_loss:
            colors = np.zeros_like(colors)
        features[:, :3] = colors
    if GEOMETRY in network.inputs:  # a floor is not found to the centimetre
        features[:, -3] += np.float32(rng.normal(0, data.distortion))
    matrix = np.eye(3) + rng.normal(0, data.distortion, (3, 3))
    places = _moved(points.vertices[rows] @ matrix, data.mirror, data.rotation, rng)
    if data.elastic:
        for grain, strength in _ELASTIC:
            places += _bend(places, grain, strength, rng)
    voxels = _in_voxels(places, network.voxel_size, rng)
    view = View(voxels, features, rows)
    return _within(view, data.max_sites // data.batch_size, rng) if data.max_sites else view


def view_for_prediction(points: PointScene, network: SemanticNetworkConfig, number: int) -> View:
    """Returns a scan as it is predicted, in one of many views; number 0 is the scan as it lies.

    Raises:
        ValueError: a scan without colours, where they are an input.
    """
    rng = np.random.default_rng(number)
    turned = number > 0
    places = _moved(points.vertices.astype(np.float64), turned, turned, rng)
    voxels = _in_voxels(places, network.voxel_size, rng)
    return View(voxels, point_features(points, network), np.arange(len(voxels)))


def point_features(points: PointScene, network: SemanticNetworkConfig) -> Array:
    """Returns float32 [N, C], the input channels of each vertex, most of them from -1 to 1.

    Raises:
        ValueError: a scan without colours, where they are an input and there is no other; where
            there is, its colours are all 0.
    """
    parts: list[Array] = []
    if COLOR in network.inputs:
        if points.colors is not None:
            parts.append(points.colors / np.float32(127.5) - 1)
        elif GEOMETRY in network.inputs:
            parts.append(np.zeros((len(points.vertices), 3)))
        else:
            raise ValueError(
                f"scene {points.name}: expected a colour for each vertex, which is all that the "
                "network is told, found none; take a network that knows geometry too"
            )
    if GEOMETRY in network.inputs:
        heights = points.vertices[:, 2]
        parts.append((heights - np.quantile(heights, _BELOW_FLOOR) - 1)[:, None])
        for values in (points.upright, points.roughness):
            parts.append((values / np.float32(127.5) - 1)[:, None])
    return np.concatenate(parts, axis=1).astype(np.float32)


def _moved(places: Array, mirror: bool, rotation: bool, rng: Rng) -> Array:
    if mirror and rng.random() < 0.5:
        places = places * (-1, 1, 1)
    angle = rng.uniform(0, 2 * np.pi) if rotation else 0.0
    cos, sin = np.cos(angle), np.sin(angle)
    return places @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])


def _bend(places: Array, grain: float, strength: float, rng: Rng) -> Array:
    """Returns float64 [P, 3], how far points move: noise at knots two grains apart, smoothed."""
    low, pitch = places.min(axis=0), 2 * grain
    shape = (np.ptp(places, axis=0) / pitch).astype(int) + 3
    where = (places - low).T / pitch + 0.5
    moves = []
    for _ in range(3):
        noise = rng.standard_normal(shape)
        for _ in range(2):
            noise = ndimage.uniform_filter(noise, 3, mode="constant")
        moves.append(ndimage.map_coordinates(noise, where, order=1, mode="nearest"))
    return strength * np.stack(moves, axis=1)


def _in_voxels(places: Array, voxel_size: float, rng: Rng) -> Array:
    scaled = places / voxel_size
    return np.floor(scaled - scaled.min(axis=0) + rng.random(3) * 64).astype(np.int32)


def _within(view: View, most_sites: int, rng: Rng) -> View:
    """Returns the points of the sites that lie nearest to one of them, seen from above."""
    scene = np.zeros((len(view.voxels), 1), np.int64)
    sites, rows = unique_sites(np.concatenate([scene, view.voxels], axis=1))
    if len(sites) <= most_sites:
        return view
    middle = sites[rng.integers(len(sites))]
    distances = ((sites - middle)[:, 1:3] ** 2).sum(axis=1)
    kept = np.zeros(len(sites), bool)
    kept[np.argsort(distances, kind="stable")[:most_sites]] = True
    kept = kept[rows]
    return View(view.voxels[kept], view.features[kept], view.vertices[kept])
