"""Trains the `rooms` models on simulated rooms. `python -m experiments.rooms --rooms_dir=R`

R is what `tools/make_rooms.py` makes. Each of its training rooms is learned from twice: with its
true labels, and with labels that err by a strength of its own. The validation rooms become the
split `val`, with labels that err by 1, and `val_true`. Makes what is missing; started again, it
goes on where it was. `experiments.table2` and `experiments.real_rooms` score the models.
"""

import dataclasses
import pathlib
import zlib
from collections.abc import Iterable

import numpy as np
from absl import flags

from experiments.running import Workplace
from mtml_tf import parallel, program
from mtml_tf.classes import SCANNET20
from mtml_tf.data.writing import LabelledScene, write_data_folder
from mtml_tf.rooms.labeller import predict_scene
from mtml_tf.scannet import layout, reader
from mtml_tf.scannet.preparing import find_scenes
from mtml_tf.scans import voxels
from mtml_tf.scans.prepared import Source

FLAGS = flags.FLAGS

TRAINED = {
    "multi_task": "experiments/rooms.cfg",
    "fe_only": "experiments/rooms_fe_only.cfg",
}
VOXEL_SIZE = 0.1  # metres
# Of label errors in training: from labels nearly as good as an annotator's to poor ones.
STRENGTHS = (0.2, 1.6)
# Ends the name of a room's second copy in a split; the first has the name of its raw files.
PREDICTED = "_predicted"

Strengths = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Prepares a room, its input the true labels or labels that err.

    Attributes:
        rooms_dir: folder of the rooms.
        strength: (low, high), of the errors; drawn for each room. None for true labels.
    """

    rooms_dir: str
    strength: Strengths | None

    def __call__(self, source: Source) -> LabelledScene:
        """Returns the voxelized room, with its points, and its ground truth."""
        table = reader.read_label_table(pathlib.Path(self.rooms_dir, layout.LABEL_TABLE))
        room, _ = reader.read_scene(source.path, table)
        labelled = reader.with_benchmark_classes(room)
        scene = voxels.voxelize(labelled, VOXEL_SIZE, SCANNET20, with_points=True)
        if self.strength is not None:
            seed = zlib.crc32(source.name.encode())
            strength = np.random.default_rng([seed, 1]).uniform(*self.strength)
            scene = voxels.with_input(scene, predict_scene(labelled, strength, seed))
        return scene, reader.benchmark_ids(room)


def prepare(rooms_dir: pathlib.Path, data_dir: pathlib.Path) -> None:
    """Writes the data folder of a set of rooms."""
    train, val = (find_scenes(rooms_dir, [split]) for split in ("train", "val"))
    folder = str(rooms_dir)

    def prepared(sources: list[Source], *strengths: Strengths | None) -> Iterable[LabelledScene]:
        for copy, strength in enumerate(strengths):
            for scene, truth in parallel.map_processes(
                Labelled(folder, strength), sources, "rooms"
            ):
                name = scene.name + PREDICTED if copy else scene.name
                yield dataclasses.replace(scene, name=name), truth

    splits = {
        "train": prepared(train, None, STRENGTHS),
        "val": prepared(val, (1.0, 1.0)),
        "val_true": prepared(val, None),
    }
    write_data_folder(data_dir, SCANNET20, splits)


def define_flags() -> None:
    """Defines the flags; here, so that other code can import this module beside its like."""
    flags.DEFINE_string("rooms_dir", "data/rooms_raw", "Folder of the rooms (tools/make_rooms.py).")
    flags.DEFINE_string("data_dir", "data/rooms", "Data folder; made where there is none.")
    flags.DEFINE_string("work_dir", "runs/rooms", "For the models.")


def main() -> None:
    """Reads the flags and makes what is missing."""
    here = Workplace(pathlib.Path(FLAGS.data_dir), pathlib.Path(FLAGS.work_dir))
    if not here.data_dir.exists():
        prepare(pathlib.Path(FLAGS.rooms_dir), here.data_dir)
    for name, flagfile in TRAINED.items():
        here.train(name, flagfile)


if __name__ == "__main__":
    define_flags()
    program.run(main)
