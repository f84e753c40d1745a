"""How our time grows with the scene: its voxels, vertices, instances, and what is occupied."""

import dataclasses
import functools
import pathlib
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence

from absl import logging

from experiments.speed import network, processing
from experiments.speed.measuring import Call, Row, format_number, interleaved_seconds
from experiments.speed.processing import Features, WholePath
from experiments.speed.scenes import RoomSize

# What a case is, and its call.
Case = tuple[str, Call]
# What grows, and its cases by factor.
Grown = tuple[str, dict[int, Case]]

BY_SIZE, BY_INSTANCES, BY_OCCUPANCY = (1, 2, 4, 8), (1, 2, 4), (1, 2, 4)
_VOXEL_SIZE = 0.1  # metres
_FEATURES = Features(5_000, 30)
_SCAN_ROOM = RoomSize((160, 160, 64), occupancy=0.03)
_SPARSE_ROOM = RoomSize((96, 104, 40), occupancy=0.03)


@dataclasses.dataclass(frozen=True)
class Growth:
    """The cases at factor 1.

    Attributes:
        side: of the smallest room, voxels; every room is half as high as this.
        occupancy: of these rooms.
        features: of mean shift, growing in number and, from the largest number but one, in modes.
        vertices: of the scans.
        scan_room: of the voxelization, at every number of vertices.
        loss_voxels, loss_instances: of the loss.
        scenes, masks: of the scoring.
        sparse_room: grows in occupancy.
    """

    side: int = 48
    occupancy: float = 0.08
    features: Features = _FEATURES
    vertices: int = 37_500
    scan_room: RoomSize = _SCAN_ROOM
    loss_voxels: int = 24_000
    loss_instances: int = 30
    scenes: int = 10
    masks: int = 50
    sparse_room: RoomSize = _SPARSE_ROOM

    def room(self, factor: int) -> RoomSize:
        """Returns a room of `factor` times the voxels, wider and as high as the smallest."""
        side = 2 * round(self.side * factor**0.5 / 2)
        return RoomSize((side, side, self.side // 2), 20, self.occupancy, num_objects=3)

    def fuller_room(self, factor: int) -> RoomSize:
        """Returns a room of the same grid with `factor` times the voxels occupied."""
        occupancy = factor * self.sparse_room.occupancy
        return dataclasses.replace(self.sparse_room, occupancy=occupancy)


def cases(growth: Growth, folder: pathlib.Path) -> Iterator[Grown]:
    """Yields what grows, one after the other, so that memory is freed.

    Args:
        growth: the cases at factor 1.
        folder: for files that are measured on.
    """

    def of_network(build: Callable[[str, RoomSize], Call], room: RoomSize) -> Case:
        return str(room), build("ours", room)

    def voxelization(count: int) -> Case:
        call = processing.build_voxelization("ours", growth.scan_room, count)
        return f"{count} vertices", call

    def mean_shift(features: Features) -> Case:
        return str(features), processing.build_mean_shift("ours", features)

    def loss(count: int) -> Case:
        call = network.build_loss("ours", growth.loss_voxels, count)
        return f"{growth.loss_voxels} voxels, {count} instances", call

    def scoring(vertices: int, masks: int) -> Case:
        scored = pathlib.Path(tempfile.mkdtemp(dir=folder))
        plain = processing.plain_scoring()
        plain.write_rooms(scored, growth.scenes, vertices, masks)
        call = processing.build_scoring("ours", str(scored))
        return f"{growth.scenes} scenes, {vertices} vertices, {masks} masks", call

    def path(factor: int) -> Case:
        room, count = growth.room(factor), growth.vertices * factor
        file = folder / f"grown_{factor}.ply"
        processing.write_made_scan(room, _VOXEL_SIZE, count, file)
        call = processing.build_path(WholePath(str(file), _VOXEL_SIZE))
        return f"{count} vertices, {room.num_voxels} voxels of {_VOXEL_SIZE:g} m", call

    def grow(what: str, factors: Sequence[int], build: Callable[[int], Case]) -> Iterator[Grown]:
        yield what, {factor: build(factor) for factor in factors}

    features, many = growth.features, growth.features.count * BY_SIZE[-2]
    forward = functools.partial(of_network, network.build_forward)
    train = functools.partial(of_network, network.build_training_step)
    yield from grow("forward, voxels", BY_SIZE, lambda n: forward(growth.room(n)))
    yield from grow("forward, backward and Adam, voxels", BY_SIZE, lambda n: train(growth.room(n)))
    yield from grow(
        "mean shift, voxels",
        BY_SIZE,
        lambda n: mean_shift(Features(n * features.count, features.modes)),
    )
    yield from grow("voxelization, vertices", BY_SIZE, lambda n: voxelization(n * growth.vertices))
    yield from grow(
        "scoring, vertices", BY_SIZE, lambda n: scoring(n * growth.vertices, growth.masks)
    )
    yield from grow("scan file to masks on disk, voxels and vertices", BY_SIZE, path)
    yield from grow("loss, instances", BY_INSTANCES, lambda n: loss(n * growth.loss_instances))
    yield from grow(
        "mean shift, instances",
        BY_INSTANCES,
        lambda n: mean_shift(Features(many, n * features.modes)),
    )
    yield from grow(
        "scoring, masks", BY_INSTANCES, lambda n: scoring(growth.vertices, n * growth.masks)
    )
    yield from grow("forward, occupancy", BY_OCCUPANCY, lambda n: forward(growth.fuller_room(n)))


def growth_rows(
    growth: Growth, folder: pathlib.Path, repeats: int, max_seconds: float
) -> list[Row]:
    """Times all cases.

    Args:
        growth: the cases at factor 1.
        folder: for files that are measured on.
        repeats: timed calls of each case.
        max_seconds: what grows makes no new round after so long.
    """
    rows = []
    for what, grown in cases(growth, folder):
        logging.info("growth: %s", what)
        rows += grown_rows(what, grown, repeats, max_seconds)
    return rows


def grown_rows(what: str, grown: dict[int, Case], repeats: int, max_seconds: float) -> list[Row]:
    """Times cases of 1, 2, 4 ... times the size by turns."""
    calls = {str(factor): call for factor, (_, call) in grown.items()}
    seconds = interleaved_seconds(calls, repeats, max_seconds)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return [
        Row(
            f"{what} x {factor}",
            case,
            medians[str(factor)],
            beside=f"{format_number(medians[str(factor)] / medians['1'])} times the time of x 1",
            repeats=len(seconds[str(factor)]),
        )
        for factor, (case, _) in grown.items()
    ]
