"""Scenes beyond memory: the network evaluated block by block, with the values of the whole.

An output depends on inputs within half the receptive field (paper section 3.1: 142 voxels in all).
So a block of the grid that reaches so far beyond the voxels that it is made for, or ends where the
grid ends, gives them the values that the whole grid would.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterator

import numpy as np

from mtml_tf.scene import VoxelScene

Array = np.ndarray
Shape = tuple[int, int, int]

# Blocks are made for no fewer voxels along an axis: the rest of a block is computed in vain.
_SMALLEST_CORE = 16
_MOST_PARTS = 100  # along an axis


@dataclasses.dataclass(frozen=True)
class Block:
    """A box of the grid; all bounds are even, as the network's pooling needs them.

    Attributes:
        core: (low, high), voxels: where its values are used; low inclusive, high exclusive.
        box: (low, high), voxels: the core and what it depends on, as far as the grid goes.
    """

    core: tuple[Shape, Shape]
    box: tuple[Shape, Shape]

    @property
    def grid_shape(self) -> Shape:
        """Size of the box, voxels."""
        low, high = self.box
        return (high[0] - low[0], high[1] - low[1], high[2] - low[2])


def split_grid(grid_shape: Shape, reach: int, most_voxels: int) -> list[Block]:
    """Returns blocks whose cores fill the grid, each of at most `most_voxels` voxels.

    Of all ways to cut the axes into equal parts, the one that computes the fewest voxels.

    Args:
        grid_shape: (X, Y, Z), even.
        reach: how far, voxels, a block must reach beyond its core; even (`VoxelNetwork.halo`).
        most_voxels: of a block with its halo.

    Returns:
        At least one block; none at all where even the smallest blocks are too large.
    """
    lengths = [  # of the boxes, for each number of parts along each axis
        [
            [high - low for _, (low, high) in _intervals(size, count, reach)]
            for count in range(1, min(max(1, size // _SMALLEST_CORE), _MOST_PARTS) + 1)
        ]
        for size in grid_shape
    ]
    totals, largest = (
        functools.reduce(
            np.multiply.outer,
            (np.array([measure(boxes) for boxes in axis], np.float64) for axis in lengths),
        )
        for measure in (sum, max)
    )
    totals[largest > most_voxels] = np.inf
    best = np.unravel_index(np.argmin(totals), totals.shape)
    if np.isinf(totals[best]):
        return []
    return _blocks(grid_shape, [int(index) + 1 for index in best], reach)


def trim(scene: VoxelScene) -> VoxelScene:
    """Returns a scene on the smallest even grid that holds it; the rows stay as they are.

    So a scene has one answer, whatever grid it comes in. A scene without voxels stays as it is.
    """
    if not len(scene.coordinates):
        return scene
    first, last = scene.coordinates.min(axis=0), scene.coordinates.max(axis=0)
    x, y, z = ((last - first) // 2 * 2 + 2).tolist()
    if not first.any() and scene.grid_shape == (x, y, z):
        return scene
    return dataclasses.replace(
        scene,
        coordinates=scene.coordinates - first,
        grid_shape=(x, y, z),
        origin=scene.origin + first * scene.voxel_size,
    )


def crop(scene: VoxelScene, block: Block) -> tuple[VoxelScene, Array, Array]:
    """Cuts a block out of a scene.

    Returns:
        The scene within the box, on the box's own grid; the rows (int64) of the whole scene that
        lie in the core; and the rows of the cut scene that are the same voxels.
    """
    inside = np.flatnonzero(_within(scene.coordinates, block.box))
    in_core = _within(scene.coordinates[inside], block.core)
    low = np.array(block.box[0], np.int32)
    part = VoxelScene(
        name=scene.name,
        coordinates=scene.coordinates[inside] - low,
        grid_shape=block.grid_shape,
        voxel_size=scene.voxel_size,
        origin=scene.origin + low * scene.voxel_size,
        semantic_ids=scene.semantic_ids[inside],
        features=None if scene.features is None else scene.features[inside],
    )
    return part, inside[in_core], np.flatnonzero(in_core)


def _within(coordinates: Array, box: tuple[Shape, Shape]) -> Array:
    low, high = box
    return np.all((coordinates >= low) & (coordinates < high), axis=1)


def _blocks(grid_shape: Shape, parts: list[int], reach: int) -> list[Block]:
    axes = [
        list(_intervals(size, count, reach)) for size, count in zip(grid_shape, parts, strict=True)
    ]
    blocks = []
    for x, y, z in itertools.product(*axes):
        core, box = ([(x[i][j], y[i][j], z[i][j]) for j in (0, 1)] for i in (0, 1))
        blocks.append(Block((core[0], core[1]), (box[0], box[1])))
    return blocks


def _intervals(
    size: int, count: int, reach: int
) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Core and box of each part along one axis."""
    bounds = [size * part // count // 2 * 2 for part in range(count)] + [size]
    for low, high in itertools.pairwise(bounds):
        yield (low, high), (max(0, low - reach), min(size, high + reach))
