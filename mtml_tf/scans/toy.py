"""The paper's synthetic data set (section 4): solid boxes of five shapes on a plane.

Every scene is a pure function of the seed, the split and its number.
"""

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from mtml_tf import parallel
from mtml_tf.classes import STUFF, THING, ClassSet
from mtml_tf.scans import contact
from mtml_tf.scene import VoxelScene

Array = np.ndarray

GROUND_ID = 1
# Edge lengths in voxels along the box's own x, y and z (up), by class id.
EDGES = {2: (6, 6, 6), 3: (10, 5, 5), 4: (10, 10, 5), 5: (5, 5, 12), 6: (14, 7, 8)}
TOY_CLASSES = ClassSet(
    ids=(GROUND_ID, *EDGES),
    names=("ground", *("x".join(str(edge) for edge in edges) for edges in EDGES.values())),
    kinds=(STUFF,) + (THING,) * len(EDGES),
)

_TRIES = 50
_SLIDE_STEP = 0.25  # voxels; a box slides towards another one until they touch


@dataclasses.dataclass(frozen=True)
class ToyConfig:
    """What a toy scene is like.

    Attributes:
        grid_shape: voxels; the ground is the lowest layer.
        min_objects, max_objects: number of boxes to place, drawn evenly; a box that finds no
            place is left out.
        contact_probability: that a box is put in contact with one already there. The others keep
            at least one voxel away from all that is there when they come.
        voxel_size: metres.

    Raises:
        ValueError: a grid too small for the boxes, or a range or probability that makes no sense.
    """

    grid_shape: tuple[int, int, int] = (64, 64, 16)
    min_objects: int = 6
    max_objects: int = 14
    contact_probability: float = 0.35
    voxel_size: float = 0.1

    def __post_init__(self) -> None:
        if (
            min(self.grid_shape[:2]) < 32
            or self.grid_shape[2] < 13
            or any(size % 2 for size in self.grid_shape)
        ):
            raise ValueError(
                f"expected an even grid of at least 32 x 32 x 14, found {self.grid_shape}"
            )
        if not 1 <= self.min_objects <= self.max_objects:
            raise ValueError(
                f"expected 1 <= min_objects <= max_objects, found {self.min_objects} and "
                f"{self.max_objects}"
            )
        if not 0 <= self.contact_probability <= 1:
            raise ValueError(
                f"expected a contact_probability in 0..1, found {self.contact_probability}"
            )


def make_toy_scene(name: str, seed: tuple[int, ...], config: ToyConfig) -> VoxelScene:
    """Makes one scene.

    Args:
        name: name of the scene.
        seed: numbers that the scene is a function of.
        config: what it is like.

    Returns:
        Ground (class 1, no instance) and boxes (classes 2 to 6, instances 1 to K), solid: their
        inner voxels are occupied too. There are no vertices but the voxels.
    """
    rng = np.random.default_rng(seed)
    plane = np.zeros(config.grid_shape[:2], np.int32)  # which box stands where
    class_ids: list[int] = []
    for _ in range(rng.integers(config.min_objects, config.max_objects + 1)):
        class_id = int(rng.choice(list(EDGES)))
        in_contact = bool(class_ids) and rng.random() < config.contact_probability
        footprint = _place(rng, plane, EDGES[class_id], in_contact)
        if footprint is not None:
            class_ids.append(class_id)
            plane[footprint] = len(class_ids)

    heights = np.array([0, *(EDGES[class_id][2] for class_id in class_ids)])
    levels = np.arange(config.grid_shape[2])
    instances = np.where(levels <= heights[plane][..., None], plane[..., None], 0)
    instances[:, :, 0] = 0
    labels = np.array([0, *class_ids], np.int32)[instances]
    labels[:, :, 0] = GROUND_ID
    occupied = np.nonzero(labels)
    return VoxelScene(
        name=name,
        coordinates=np.stack(occupied, axis=1).astype(np.int32),
        grid_shape=config.grid_shape,
        voxel_size=config.voxel_size,
        origin=np.zeros(3),
        semantic_ids=labels[occupied],
        instance_ids=instances[occupied].astype(np.int32),
    )


def make_toy_scenes(
    split: str, count: int, seed: int, config: ToyConfig, num_workers: int = 1
) -> Iterator[VoxelScene]:
    """Makes the scenes of a split, in order; the same for any number of processes.

    Args:
        split: name of the split, such as "train"; scenes of different splits differ.
        count: how many.
        seed: of the data set.
        config: what they are like.
        num_workers: processes; 0 for one a core, 1 for this one.
    """
    make = functools.partial(_make_numbered, split, seed, config)
    return parallel.map_processes(make, range(count), "scenes", num_workers)


def _make_numbered(split: str, seed: int, config: ToyConfig, number: int) -> VoxelScene:
    split_number = int.from_bytes(split.encode(), "little")
    return make_toy_scene(f"toy_{split}_{number:04d}", (seed, split_number, number), config)


def _place(
    rng: np.random.Generator, plane: Array, edges: tuple[int, int, int], in_contact: bool
) -> Array | None:
    """Finds a place for a box; returns its footprint, bool [X, Y], or None."""
    reach = np.hypot(edges[0], edges[1]) / 2
    limits = np.array(plane.shape) - reach
    for _ in range(_TRIES):
        yaw = rng.uniform(0, 2 * np.pi)
        if in_contact:
            neighbour = rng.integers(1, plane.max() + 1)
            footprint = _slide(rng, plane, plane == neighbour, edges, yaw)
            if footprint is not None:
                return footprint
            continue
        footprint = contact.box_footprint(plane.shape, rng.uniform(reach, limits), edges, yaw)
        if not plane[_grown(footprint)].any():
            return footprint
    return None


def _slide(
    rng: np.random.Generator,
    plane: Array,
    neighbour: Array,
    edges: tuple[int, int, int],
    yaw: float,
) -> Array | None:
    """Moves a box out of its neighbour in a random direction until they touch and overlap nothing.

    Returns None where that ends outside the plane, against another box, or without contact.
    """
    reach = np.hypot(edges[0], edges[1]) / 2
    angle = rng.uniform(0, 2 * np.pi)
    heading = np.array([np.cos(angle), np.sin(angle)])
    start = np.argwhere(neighbour).mean(axis=0) + 0.5
    distances = np.arange(min(edges[:2]) / 2, sum(plane.shape), _SLIDE_STEP)
    path = start + distances[:, None] * heading
    is_inside = np.all((path >= reach) & (path <= np.array(plane.shape) - reach), axis=1)
    path = path[: np.argmin(is_inside)]  # the last place is outside

    def footprint_at(centre: Array) -> Array:
        return contact.box_footprint(plane.shape, centre, edges, yaw)

    centre = contact.first_free(path, footprint_at, neighbour)
    if centre is None:
        return None
    footprint = footprint_at(centre)
    is_free = not plane[footprint].any()
    return footprint if is_free and (_grown(footprint) & neighbour).any() else None


def _grown(footprint: Array) -> Array:
    """Returns the cells of a footprint and those that share an edge with one."""
    grown = footprint.copy()
    grown[1:] |= footprint[:-1]
    grown[:-1] |= footprint[1:]
    grown[:, 1:] |= footprint[:, :-1]
    grown[:, :-1] |= footprint[:, 1:]
    return grown
