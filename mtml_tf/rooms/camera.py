"""How a room is scanned, and the path of the camera through a room, and what it looks at.

A person walks through the free space, past furniture rather than over it, and turns to what has not
been looked at for longest.
"""

import dataclasses
from typing import Any

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse import csgraph

from mtml_tf.rooms.mesh import Room

Array = np.ndarray
Rng = np.random.Generator

# Cells of the map that the path is planned on, metres.
_CELL = 0.1
# What a person steps over rather than around, metres.
_STEP = 0.12
# A detour of so many metres is taken rather than a metre held out over furniture.
_DETOUR = 4.0
# Points that looks may go to, and the height up to which they do in one scan or another, metres.
_LOOKS = 2000
_LOOK = (1.0, 2.2)


@dataclasses.dataclass(frozen=True)
class ScanSettings:
    """How a room is scanned.

    Attributes:
        num_frames: depth frames along the whole path.
        image_width: pixels.
        image_height: pixels.
        field_of_view: horizontal, degrees; 58 is the Structure sensor's and the Kinect's.
        min_depth: nearer surfaces are not measured, metres.
        max_depth: nor are farther ones, metres.
        low_height: lowest height of the camera, metres.
        high_height: highest height of the camera, metres.
        clearance: distance that the camera keeps from any surface, metres.
        stop_spacing: least distance between the places that the path leads through, metres;
            smaller values visit more of the room.
        disparity_steps: a surface at 1 metre is measured with so many steps of disparity; at z
            metres a step is z**2 / disparity_steps metres. 75 mm baseline x 285 pixels focal
            length x 16 steps a pixel.
        disparity_noise: standard deviation of the disparity, steps.
        lateral_noise: standard deviation of a pixel's place, pixels.
        grazing_angle: surfaces seen at less than this angle give no depth, degrees.
        edge_step: pixels next to a jump of the depth by more than this fraction may be lost.
        edge_loss: how likely they are; a real sensor's image has four times as many.
        dropout: fraction of pixels lost at random.
        pose_noise: standard deviation of the error of each frame's position, metres.
        warp: standard deviation of the slow bending of the whole scan that an imperfect camera
            track leaves, metres.
        voxel_size: of the signed distance field, metres.
        truncation: distance behind and before a surface that a frame takes part in, voxels.
        min_weight: surface that fewer frames saw is left out.
        min_fragment: connected pieces of fewer vertices are left out.

    Raises:
        ValueError: a value out of range.
    """

    num_frames: int = 200
    image_width: int = 160
    image_height: int = 120
    field_of_view: float = 58.0
    min_depth: float = 0.4
    max_depth: float = 4.0
    low_height: float = 1.1
    high_height: float = 1.7
    clearance: float = 0.25
    stop_spacing: float = 1.0
    disparity_steps: float = 342.0
    disparity_noise: float = 0.5
    lateral_noise: float = 0.25
    grazing_angle: float = 12.0
    edge_step: float = 0.04
    edge_loss: float = 0.25
    dropout: float = 0.02
    pose_noise: float = 0.002
    warp: float = 0.004
    voxel_size: float = 0.03
    truncation: float = 2.5
    min_weight: float = 2.0
    min_fragment: int = 50

    def __post_init__(self) -> None:
        for name in (
            *("num_frames", "image_width", "image_height", "voxel_size", "truncation"),
            *("disparity_steps", "stop_spacing"),
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"expected {name} above 0, found {getattr(self, name)}")
        if not 0 < self.field_of_view < 180:
            raise ValueError(f"expected field_of_view in 0..180, found {self.field_of_view}")
        for low, high in (("min_depth", "max_depth"), ("low_height", "high_height")):
            if not 0 <= getattr(self, low) <= getattr(self, high):
                raise ValueError(
                    f"expected {low} from 0 to {high}, found {getattr(self, low)} and "
                    f"{getattr(self, high)}"
                )

    @property
    def intrinsic(self) -> Array:
        """float64 [3, 3], the pinhole camera: x to the right, y down (pixels), z forwards."""
        focal = self.image_width / 2 / np.tan(np.radians(self.field_of_view) / 2)
        centre = ((self.image_width - 1) / 2, (self.image_height - 1) / 2)
        return np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1]])


def camera_path(open3d: Any, caster: Any, room: Room, settings: ScanSettings, rng: Rng) -> Array:
    """Returns float64 [frames, 4, 4], from camera to room coordinates."""
    count = settings.num_frames
    route = _route(open3d, caster, room, settings, rng)
    height = rng.normal(size=count)
    height = ndimage.gaussian_filter1d(height, max(1, count / 12), mode="wrap")
    height = (height - height.min()) / max(np.ptp(height), 1e-9)
    height = settings.low_height + height * (settings.high_height - settings.low_height)
    places = np.column_stack([_resampled(route, count), height])
    targets = _targets(room, places, rng)
    forward = targets - places
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    forward = ndimage.gaussian_filter1d(forward, 3.0, axis=0, mode="nearest")
    forward /= np.maximum(np.linalg.norm(forward, axis=1, keepdims=True), 1e-9)
    down = np.array([0.0, 0.0, -1.0])
    right = np.cross(down, forward)
    right /= np.maximum(np.linalg.norm(right, axis=1, keepdims=True), 1e-9)
    roll = ndimage.gaussian_filter1d(rng.normal(0, 0.3, count), 5.0)[:, None]
    below = np.cross(forward, right)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, 0] = np.cos(roll) * right + np.sin(roll) * below
    poses[:, :3, 1] = np.cos(roll) * below - np.sin(roll) * right
    poses[:, :3, 2] = forward
    poses[:, :3, 3] = places
    return poses


def _route(open3d: Any, caster: Any, room: Room, settings: ScanSettings, rng: Rng) -> Array:
    """Returns float64 [P, 2], a path over the floor that keeps the camera clear of all surfaces."""
    cells = np.maximum(np.floor(np.asarray(room.size[:2]) / _CELL).astype(int), 1)
    centres = [(np.arange(n) + 0.5) * _CELL for n in cells]
    ground = np.stack(np.meshgrid(*centres, indexing="ij"), axis=2).reshape(-1, 2)
    heights = np.linspace(settings.low_height, settings.high_height, 4)
    points = np.array([(*place, z) for z in heights for place in ground], np.float32)
    distance = caster.compute_distance(open3d.core.Tensor(points), nthreads=1).numpy()
    clear = (distance.reshape(len(heights), -1) >= settings.clearance + _CELL / 2).all(axis=0)
    # The inside of a closed piece is clear as well; nothing of the floor is below it, or a part
    # of the map that no path leads to.
    parts, _ = ndimage.label(clear.reshape(cells))
    rays = np.zeros((len(ground), 6), np.float32)
    rays[:, :2], rays[:, 2], rays[:, 5] = ground, settings.low_height, -1
    drop = caster.cast_rays(open3d.core.Tensor(rays), nthreads=1)["t_hit"].numpy()
    over_floor = np.abs(settings.low_height - drop) < _STEP
    # The part with the most floor; outside of the walls there is none.
    sizes = np.bincount(parts.ravel()) + 1000 * np.bincount(parts.ravel(), over_floor)
    sizes[0] = 0
    if not sizes.any():
        raise ValueError(
            f"room {room.name}: expected room for the camera, {settings.clearance} m from any "
            "surface, found none"
        )
    inside = np.flatnonzero(parts.ravel() == sizes.argmax())
    walkable = over_floor[inside]
    if not walkable.any():
        walkable[:] = True
    stops = _spread(ground[inside], np.flatnonzero(walkable), settings.stop_spacing, rng)
    links = _links(inside, tuple(cells), np.where(walkable, 1.0, _DETOUR))
    lengths, before = csgraph.dijkstra(links, indices=stops, return_predecessors=True)
    left = list(range(1, len(stops)))
    path, here = [stops[0]], 0
    while left:
        after = min(left, key=lambda stop: lengths[here, stops[stop]])
        left.remove(after)
        leg = [stops[after]]
        while leg[-1] != stops[here]:
            leg.append(before[here, leg[-1]])
        path += leg[::-1][1:]
        here = after
    line = ground[inside][path]
    smooth = ndimage.gaussian_filter1d(line, 3.0, axis=0, mode="nearest")
    # Where smoothing cuts a corner that must not be cut, the path stays as planned.
    index = np.clip(np.floor(smooth / _CELL).astype(int), 0, cells - 1)
    cut = parts[index[:, 0], index[:, 1]] != sizes.argmax()
    return np.where(cut[:, None], line, smooth)


def _spread(places: Array, candidates: Array, spacing: float, rng: Rng) -> Array:
    """Returns rows of `places` among `candidates` at least `spacing` apart, in random order."""
    chosen: list[int] = []
    for row in rng.permutation(candidates):
        if not chosen or np.linalg.norm(places[chosen] - places[row], axis=1).min() >= spacing:
            chosen.append(int(row))
    return np.array(chosen)


def _links(inside: Array, shape: tuple[int, ...], costs: Array) -> sparse.csr_matrix:
    """Returns the graph of neighbouring cells; `inside` are flat indices on a map of `shape`."""
    row_of = np.full(int(np.prod(shape)), -1)
    row_of[inside] = np.arange(len(inside))
    row_of = row_of.reshape(shape)
    pairs: list[Array] = []
    for a, b in (
        (row_of[:-1], row_of[1:]),
        (row_of[:, :-1], row_of[:, 1:]),
        (row_of[:-1, :-1], row_of[1:, 1:]),
        (row_of[1:, :-1], row_of[:-1, 1:]),
    ):
        both = (a >= 0) & (b >= 0)
        pairs.append(np.column_stack([a[both], b[both], np.full(both.sum(), len(pairs) > 1)]))
    first, second, diagonal = np.concatenate(pairs).T
    cost = np.where(diagonal, np.sqrt(2.0), 1.0) * (costs[first] + costs[second]) / 2
    graph = sparse.coo_matrix((cost, (first, second)), (len(inside), len(inside))).tocsr()
    return graph + graph.T


def _resampled(line: Array, count: int) -> Array:
    """Returns `count` points at equal steps along a polyline [P, 2]."""
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    steps = np.linspace(0, along[-1], count)
    return np.column_stack([np.interp(steps, along, line[:, axis]) for axis in (0, 1)])


def _targets(room: Room, places: Array, rng: Rng) -> Array:
    """Returns float64 [frames, 3], what the camera looks at: a point of a surface for a while.

    Each look goes to a surface within reach, by preference on the side that has not been looked
    at for longest. Furniture draws more looks than walls of the same area do.
    """
    corners = np.concatenate([piece.mesh.vertices[piece.mesh.faces] for piece in room.pieces])
    owners = np.repeat(np.arange(len(room.pieces)), [len(p.mesh.faces) for p in room.pieces])
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(across, axis=1)
    weight = area / np.sqrt(np.maximum(np.bincount(owners, area), 1e-9))[owners]
    rows = rng.choice(len(area), _LOOKS, p=weight / weight.sum())
    mix = rng.dirichlet((1, 1, 1), len(rows))
    points = (corners[rows] * mix[:, :, None]).sum(axis=1)
    # Who scans a room stays in it, and some look higher than others.
    within = np.all((points > -0.3) & (points < np.array(room.size) + 0.3), axis=1)
    low_enough = points[:, 2] < rng.uniform(*_LOOK)
    points = points[within & low_enough] if np.any(within & low_enough) else points
    seen = np.zeros(len(points))
    targets = np.empty_like(places)
    frame = 0
    while frame < len(places):
        stay = int(rng.integers(5, 10))
        offset = points - places[min(frame + stay // 2, len(places) - 1)]
        reach = np.linalg.norm(offset, axis=1)
        score = (
            seen
            + 0.5 * np.abs(reach - 1.8)
            + 3.0 * (reach < 0.8)
            + rng.uniform(0, 0.5, len(points))
        )
        best = int(score.argmin())
        targets[frame : frame + stay] = points[best]
        near = np.linalg.norm(points - points[best], axis=1)
        seen += np.exp(-((near / 0.7) ** 2))
        frame += stay
    return targets
