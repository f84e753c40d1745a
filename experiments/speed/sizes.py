"""How large the measured cases of the benchmark are: in full, and to try it out."""

import dataclasses

from experiments.speed.growth import Growth
from experiments.speed.processing import Features
from experiments.speed.scenes import RoomSize

_FEATURES = Features(20_000, 30)
_GROWTH = Growth()
_SCAN_ROOM = RoomSize((160, 160, 64), occupancy=0.03)
_BLOCKS_ROOM = RoomSize((256, 256, 48), occupancy=0.025)


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How large the measured cases are.

    Attributes:
        rooms: of forward pass and training step, at most three. The second has a target for the
            ratio of the times, the third one for the time itself and one for the memory.
        loss_voxels, loss_instances: of the loss.
        features: of mean shift.
        scan_room, num_vertices: of the voxelization.
        scenes, scene_vertices, masks: of the scoring.
        paths: rooms of the whole path and their voxel size, metres.
        gemm: side of the matrices whose product gives the machine's rate.
        growth: the smallest of the cases that grow.
        feeding_rooms: made-up rooms of the training pipeline, of the side and occupancy of the
            smallest room that grows, to twice that side.
        feeding_steps: batches that are timed.
        blocks_room: of the prediction in blocks; must be longer than a block's halo.
        every_seed: whether real features are clustered from every point too, which takes a minute.
    """

    rooms: tuple[RoomSize, ...] = (
        RoomSize((64, 64, 16), channels=6, occupancy=0.12),
        RoomSize((96, 104, 40), channels=20, occupancy=0.06),
        RoomSize((160, 160, 64), channels=20, occupancy=0.03),
    )
    loss_voxels: int = 24_000
    loss_instances: int = 30
    features: Features = _FEATURES
    scan_room: RoomSize = _SCAN_ROOM
    num_vertices: int = 150_000
    scenes: int = 40
    scene_vertices: int = 150_000
    masks: int = 50
    paths: tuple[tuple[RoomSize, float], ...] = (
        (RoomSize((96, 104, 40), occupancy=0.06, num_objects=30), 0.1),
        (RoomSize((160, 160, 64), occupancy=0.03, num_objects=30), 0.05),
    )
    gemm: int = 2048
    growth: Growth = _GROWTH
    feeding_rooms: int = 64
    feeding_steps: int = 64
    blocks_room: RoomSize = _BLOCKS_ROOM
    every_seed: bool = True


FULL = Sizes()
QUICK = Sizes(
    rooms=(
        RoomSize((16, 16, 8), 6, 0.2, 3),
        RoomSize((16, 16, 8), 20, 0.2, 3),
        RoomSize((24, 24, 12), 20, 0.12, 3),
    ),
    loss_voxels=300,
    loss_instances=3,
    features=Features(400, 4),
    scan_room=RoomSize((16, 16, 8), 20, 0.2, 3),
    num_vertices=1_000,
    scenes=2,
    scene_vertices=2_000,
    masks=5,
    paths=((RoomSize((16, 16, 8), 20, 0.2, 3), 0.1),),
    gemm=128,
    growth=Growth(
        side=16,
        occupancy=0.2,
        features=Features(100, 4),
        vertices=1_000,
        scan_room=RoomSize((16, 16, 8), 20, 0.2, 3),
        loss_voxels=300,
        loss_instances=3,
        scenes=2,
        masks=5,
        sparse_room=RoomSize((16, 16, 8), 20, 0.1, 3),
    ),
    feeding_rooms=4,
    feeding_steps=4,
    blocks_room=RoomSize((160, 80, 8), 20, 0.06, 3),
    every_seed=False,
)
