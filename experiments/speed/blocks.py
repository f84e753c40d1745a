"""What the benchmark measures of prediction in blocks, for scenes beyond memory."""

import functools
import math

import numpy as np

from experiments.speed.measuring import Call, Contest, Row, Target, check_side
from experiments.speed.processing import untrained_model
from experiments.speed.scenes import RoomSize, make_room, voxel_scene_of
from mtml_tf.classes import SCANNET20
from mtml_tf.config import NetworkConfig
from mtml_tf.inference.models import Values
from mtml_tf.network.blocks import Block, split_grid
from mtml_tf.network.voxel_network import VoxelNetwork

_CLOSE = 1e-5  # of the largest value


def fewest_blocks(size: RoomSize) -> list[Block]:
    """Returns the blocks of a room where memory holds all of its grid but a voxel."""
    halo = VoxelNetwork(NetworkConfig()).halo
    return split_grid(size.grid_shape, halo, math.prod(size.grid_shape) - 1)


def build_prediction(side: str, size: RoomSize) -> Call:
    """Returns a call of the network on a room: `ours` in blocks, `plain` as a whole."""
    check_side(side)
    scene = voxel_scene_of(make_room(size), SCANNET20, 0.1)
    model = untrained_model(scene)
    whole = split_grid(size.grid_shape, model.network.halo, math.prod(size.grid_shape))
    blocks = fewest_blocks(size) if side == "ours" else whole

    def call() -> Values:
        return model._predict_blocks(scene, blocks)

    return call


def blocks_contest(size: RoomSize) -> Contest:
    """Prediction of a room: as a whole against in blocks.

    Raises:
        ValueError: a room too small for blocks that are smaller than itself.
    """
    blocks = fewest_blocks(size)
    if not blocks:
        raise ValueError(f"{size}: expected a room larger than the halo of a block")
    largest = " x ".join(str(n) for n in max((b.grid_shape for b in blocks), key=math.prod))
    return Contest(
        f"prediction in {len(blocks)} blocks",
        f"{size}; blocks of {largest} and less",
        functools.partial(build_prediction, "ours", size),
        functools.partial(build_prediction, "plain", size),
        "prediction of the whole grid",
        on_device=True,
    )


def difference_of_blocks(contest: Contest, whole: Values, in_blocks: Values) -> Row:
    """Compares the values: largest difference to largest value, of all that there are."""
    if [a is None for a in whole] != [b is None for b in in_blocks]:
        raise ValueError(f"{contest.case}: expected the same kinds of values, found others")
    differences = [
        float(np.abs(a - b).max() / np.abs(a).max())
        for a, b in zip(whole, in_blocks, strict=True)
        if a is not None and b is not None
    ]
    return Row(
        f"{contest.what}, difference",
        contest.case,
        max(differences),
        unit="",
        target=Target(_CLOSE, "at most"),
    )
