"""What the benchmark measures of the training's input: scenes a second, and how much is padded."""

import dataclasses
import functools
import math
import pathlib
import statistics

import numpy as np

from experiments.speed.measuring import Call, Row, interleaved_seconds
from experiments.speed.scenes import RoomSize, make_room, voxel_scene_of
from mtml_tf.classes import SCANNET20
from mtml_tf.config import DataConfig
from mtml_tf.data.pipeline import make_dataset
from mtml_tf.data.records import DataFolder
from mtml_tf.data.writing import write_data_folder

_BUCKET_SCENES = 16  # as the flagfiles have it
_TURNED = {"flips and rotations": True, "flips": False}


@dataclasses.dataclass(frozen=True)
class Scenes:
    """The scenes of a training.

    Attributes:
        data_dir, split: where they are.
        num_steps: how many batches are timed.
        batch_size: scenes a batch.
    """

    data_dir: str
    split: str
    num_steps: int
    batch_size: int = DataConfig.batch_size

    @functools.cached_property
    def folder(self) -> DataFolder:
        """The data folder."""
        return DataFolder(self.data_dir)

    def __str__(self) -> str:
        count = len(self.folder.entries(self.split))
        return f"{count} scenes of split {self.split}, {self.batch_size} a batch"


def write_made_rooms(data_dir: pathlib.Path, count: int, side: int, occupancy: float) -> None:
    """Writes rooms of varied shapes as split `train` of a data folder.

    Args:
        data_dir: the folder, new.
        count: rooms.
        side: of the smallest, voxels; the largest is twice as long and wide, all are half as high.
        occupancy: of each.
    """
    rng = np.random.default_rng(0)
    scenes = []
    for number in range(count):
        x_size, y_size = (int(size) for size in rng.integers(side, 2 * side + 1, 2))
        size = RoomSize((x_size, y_size, side // 2), len(SCANNET20), occupancy, num_objects=3)
        scene = voxel_scene_of(make_room(size, number), SCANNET20, 0.1)
        scenes.append((dataclasses.replace(scene, name=f"room_{number:03d}"), None))
    write_data_folder(data_dir, SCANNET20, {"train": scenes})


def build_feeding(scenes: Scenes, rotations: bool) -> Call:
    """Returns a call that takes the batches of a training and does nothing with them."""
    config = DataConfig(batch_size=scenes.batch_size, rotations=rotations)
    dataset = make_dataset(scenes.folder, scenes.split, config, num_steps=scenes.num_steps)

    def call() -> None:
        for _ in dataset:
            pass

    return call


def padded_percent(scenes: Scenes, config: DataConfig) -> float:
    """Returns how many voxels batches have beyond those of their scenes' grids, in percent.

    A batch's grid is the largest of its scenes' along each axis. One epoch is looked at.
    """
    num_steps = math.ceil(len(scenes.folder.entries(scenes.split)) / config.batch_size)
    real = padded = 0
    for batch in make_dataset(scenes.folder, scenes.split, config, num_steps=num_steps):
        grids = batch["grid_shape"].numpy().astype(np.int64)
        real += int(grids.prod(axis=1).sum())
        padded += len(grids) * int(grids.max(axis=0).prod())
    return 100 * (padded / real - 1)


def feeding_rows(scenes: Scenes, repeats: int, max_seconds: float) -> list[Row]:
    """Scenes a second, and padding with and without sorting by shape; turned scenes and not."""
    calls = {name: build_feeding(scenes, turned) for name, turned in _TURNED.items()}
    seconds = interleaved_seconds(calls, repeats, max_seconds)
    count = scenes.num_steps * scenes.batch_size
    rows = [
        Row(
            f"training pipeline, {name}",
            str(scenes),
            count / statistics.median(seconds[name]),
            unit="scenes/s",
            beside=f"{count} scenes, start of the pipeline included; nothing is trained",
            repeats=len(seconds[name]),
        )
        for name in calls
    ]
    for name, turned in _TURNED.items():
        alone, sorted_by_shape = (
            padded_percent(
                scenes,
                DataConfig(scenes.batch_size, rotations=turned, bucket_scenes=bucket_scenes),
            )
            for bucket_scenes in (1, _BUCKET_SCENES)
        )
        rows.append(
            Row(
                f"voxels padded, {name}, bucket_scenes {_BUCKET_SCENES}",
                str(scenes),
                sorted_by_shape,
                alone,
                unit="%",
                beside="of the scenes' own grids; plain is bucket_scenes 1, the random order",
            )
        )
    return rows
