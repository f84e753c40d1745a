"""What the benchmark measures on: made-up rooms, their scans and embeddings; all from seeds."""

import dataclasses
import math

import numpy as np

from mtml_tf.classes import ClassSet
from mtml_tf.scene import Scene, VoxelScene

Array = np.ndarray

_ROOM_YAW = math.radians(20)  # of the walls against the grid: scans come at any angle
_WALL_CHANNEL, _FLOOR_CHANNEL = 0, 1
_SPREAD, _LEAST_GAP = 4.0, 2.5  # of the modes of embeddings, in their units
_NEIGHBOURS = 3


@dataclasses.dataclass(frozen=True)
class RoomSize:
    """A room by its numbers.

    Attributes:
        grid_shape: (X, Y, Z), voxels.
        channels: C, number of classes.
        occupancy: share of the grid's voxels that are occupied.
        num_objects: pieces of furniture at least.
    """

    grid_shape: tuple[int, int, int]
    channels: int = 20
    occupancy: float = 0.06
    num_objects: int = 12

    @property
    def num_voxels(self) -> int:
        """M, the number of occupied voxels."""
        return round(math.prod(self.grid_shape) * self.occupancy)

    def __str__(self) -> str:
        grid = " x ".join(str(size) for size in self.grid_shape)
        share = f"{100 * self.occupancy:g} % = {self.num_voxels} voxels"
        return f"{grid}, {self.channels} classes, {share}"


@dataclasses.dataclass(frozen=True, eq=False)
class Room:
    """The occupied voxels of a room, in row-major order.

    Attributes:
        size: what was asked for.
        coordinates: int32 [M, 3].
        channels: int32 [M], input channel of each voxel's class.
        instance_ids: int32 [M], 0 for floor and walls.
    """

    size: RoomSize
    coordinates: Array
    channels: Array
    instance_ids: Array


def make_room(size: RoomSize, seed: int = 0) -> Room:
    """Makes the surfaces that a scan of a room has: floor, furniture, and walls up to a height.

    The room stands askew in its grid. Furniture is hollow boxes of any orientation; the walls
    reach as high as the asked number of voxels allows.

    Raises:
        ValueError: more voxels than the surfaces have, or fewer than the floor.
    """
    rng = np.random.default_rng(seed)
    x_size, y_size, z_size = size.grid_shape
    cos, sin = math.cos(_ROOM_YAW), math.sin(_ROOM_YAW)
    # The largest rectangle at this angle that touches all sides of the grid.
    length = (x_size * cos - y_size * sin) / (cos * cos - sin * sin)
    width = (y_size * cos - x_size * sin) / (cos * cos - sin * sin)
    middle = np.array([x_size / 2, y_size / 2])
    inside, border = _rectangle(size.grid_shape, middle, (length / 2, width / 2), _ROOM_YAW)
    channel = np.full(size.grid_shape, -1, np.int32)
    instance = np.zeros(size.grid_shape, np.int32)
    channel[inside, 0] = _FLOOR_CHANNEL

    free = inside & ~border
    wall_voxels = int(border.sum()) * (z_size - 1)
    number = 0
    while number < size.num_objects or (channel >= 0).sum() + wall_voxels < size.num_voxels:
        number += 1
        if number > 1000:
            raise ValueError(f"{size}: expected fewer voxels, found more than surfaces hold")
        place = rng.permutation(np.argwhere(free))[0] + 0.5
        halves = rng.uniform(0.03, 0.08, 2) * math.sqrt(length * width)
        height = int(rng.integers(max(2, z_size // 8), max(3, z_size // 2) + 1))
        body, sides = _rectangle(size.grid_shape, place, halves, rng.uniform(0, math.pi))
        kind = rng.integers(2, size.channels) if size.channels > 2 else _FLOOR_CHANNEL
        for cells, levels in ((sides & free, slice(1, height)), (body & free, height)):
            channel[cells, levels], instance[cells, levels] = kind, number
    is_wall = border[:, :, None] & (channel < 0)
    is_wall[:, :, 0] = False
    walls = np.argwhere(is_wall)
    walls = walls[np.argsort(walls[:, 2], kind="stable")]
    missing = size.num_voxels - int((channel >= 0).sum())
    if missing < 0:
        raise ValueError(f"{size}: expected at least {size.num_voxels - missing} voxels")
    channel[tuple(walls[:missing].T)] = _WALL_CHANNEL
    coordinates = np.argwhere(channel >= 0).astype(np.int32)
    index = tuple(coordinates.T)
    return Room(size, coordinates, channel[index], instance[index])


def _rectangle(
    grid_shape: tuple[int, int, int], middle: Array, halves: Array | tuple[float, float], yaw: float
) -> tuple[Array, Array]:
    """Returns bool [X, Y]: cells in a turned rectangle, and those of them along its border."""
    x, y = (
        np.arange(size)[:, None] + 0.5 - m for size, m in zip(grid_shape[:2], middle, strict=True)
    )
    y = y.T
    along = np.abs(x * math.cos(yaw) + y * math.sin(yaw))
    across = np.abs(y * math.cos(yaw) - x * math.sin(yaw))
    inside = (along <= halves[0]) & (across <= halves[1])
    return inside, inside & ((along > halves[0] - 1) | (across > halves[1] - 1))


def voxel_scene_of(room: Room, classes: ClassSet, voxel_size: float) -> VoxelScene:
    """Returns a room as a scene without vertices; channels are those of `classes`."""
    return VoxelScene(
        name="room",
        coordinates=room.coordinates,
        grid_shape=room.size.grid_shape,
        voxel_size=voxel_size,
        origin=np.zeros(3),
        semantic_ids=np.asarray(classes.ids, np.int32)[room.channels],
        instance_ids=room.instance_ids,
    )


def make_scan(scene: VoxelScene, num_vertices: int, seed: int = 0) -> Scene:
    """Spreads vertices over the voxels of a scene: one in each voxel, the others anywhere.

    Args:
        scene: M voxels.
        num_vertices: N; at least M are made.
        seed: of the places.
    """
    rng = np.random.default_rng(seed)
    count = len(scene.coordinates)
    voxels = np.concatenate(
        [np.arange(count), rng.integers(0, count, max(0, num_vertices - count))]
    )
    places = scene.coordinates[voxels] + rng.uniform(0.01, 0.99, (len(voxels), 3))
    return Scene(
        name=scene.name,
        # As scans come: single precision.
        vertices=(places * scene.voxel_size).astype(np.float32).astype(np.float64),
        semantic_ids=scene.semantic_ids[voxels],
        instance_ids=None if scene.instance_ids is None else scene.instance_ids[voxels],
    )


def make_embedding(clusters: Array, embedding_size: int = 4, seed: int = 0) -> Array:
    """Makes features as a trained network gives them: clusters, and points between them.

    Args:
        clusters: int [M], 0 to K - 1, the cluster of each feature.
        embedding_size: E.
        seed: of the places.

    Returns:
        float32 [M, E]. The clusters' middles keep a distance; a tenth of the features lies on the
        way to one of the nearest other clusters, and two in a thousand lie anywhere. By that,
        mean shift finds somewhat more clusters than there are instances, as on real embeddings.
    """
    rng = np.random.default_rng(seed)
    count, num_clusters = len(clusters), int(clusters.max()) + 1
    middles = np.zeros((0, embedding_size))
    spread = _SPREAD * max(1.0, (num_clusters / 40) ** (1 / embedding_size))
    while len(middles) < num_clusters:
        middle = rng.uniform(-spread, spread, embedding_size)
        if all(np.linalg.norm(middles - middle, axis=1) > _LEAST_GAP):
            middles = np.vstack([middles, middle])
    gaps = np.linalg.norm(middles[:, None] - middles, axis=2)
    near = np.argsort(gaps, axis=1)[:, : 1 + _NEIGHBOURS]  # a cluster is its own nearest
    targets = near[clusters, rng.integers(0, near.shape[1], count)]
    others = np.where(rng.random(count) < 0.1, targets, clusters)
    share = rng.random((count, 1)) / 2
    features = middles[clusters] * (1 - share) + middles[others] * share
    features += rng.normal(0, 0.2, features.shape)
    anywhere = rng.random(count) < 0.002
    features[anywhere] = rng.uniform(-spread, spread, (int(anywhere.sum()), embedding_size))
    return features.astype(np.float32)


def make_directions(coordinates: Array, instance_ids: Array, seed: int = 0) -> Array:
    """Makes directions as a trained network gives them: float32 [M, 3], to the middles, inexact."""
    rng = np.random.default_rng(seed)
    counts = np.maximum(np.bincount(instance_ids), 1)
    sums = [np.bincount(instance_ids, column) for column in coordinates.T]
    middles = np.stack(sums, axis=1) / counts[:, None]
    ways = middles[instance_ids] - coordinates
    lengths = np.maximum(np.linalg.norm(ways, axis=1, keepdims=True), 1)
    return (ways / lengths + rng.normal(0, 0.2, ways.shape)).astype(np.float32)
