"""Trains the `rooms` models on simulated rooms. `python -m experiments.rooms --rooms_dir=R`

R is what `tools/make_rooms.py` makes. Each of its training rooms is learned from with its true
labels, and in copies with labels that err by a strength of their own. With `--tables_dir`, real
scans of tables are learned from beside them, as if their objects were furniture: simulated surfaces
are never quite like those of a sensor. The validation rooms become the split `val`, with labels
that err by 1, and `val_true`. Makes what is missing; started again, it goes on where it was.
`experiments.table2` and `experiments.real_rooms` score the models.
"""

import dataclasses
import pathlib
import zlib
from collections.abc import Iterable

import numpy as np
from absl import flags, logging

from experiments import tabletop
from experiments.running import Workplace
from mtml_tf import parallel, program
from mtml_tf.classes import SCANNET20, read_classes
from mtml_tf.data.writing import LabelledScene, write_data_folder
from mtml_tf.rooms.labeller import predict_scene
from mtml_tf.scannet import layout, reader
from mtml_tf.scannet.preparing import find_scenes
from mtml_tf.scans import scan, voxels
from mtml_tf.scans.prepared import Source
from mtml_tf.scans.preparing import find_scans
from mtml_tf.scene import Scene, VoxelScene
from mtml_tf.scoring.ground_truth import INSTANCES_PER_CLASS, ground_truth_ids

FLAGS = flags.FLAGS

TRAINED = {
    "multi_task": "experiments/rooms.cfg",
    "fe_only": "experiments/rooms_fe_only.cfg",
}
VOXEL_SIZE = 0.1  # metres
# Of label errors in training: from labels nearly as good as an annotator's to poor ones.
STRENGTHS = (0.2, 1.6)
# In the name of a scene's erring copies in a split; the first has the name of its raw files.
PREDICTED = "_predicted"
# Of a scan of a table: classes of `experiments/tabletop_classes.csv`, and what they become.
TABLE, OBJECT = 1, 2
FLOOR = 2
# A table with its objects, so much larger, has the size of a room with furniture.
ENLARGED = 10
# Share of the tables whose objects all have one label, so that their shapes alone tell them apart.
OF_ONE_CLASS = 0.6

Strengths = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Prepares a room, its input the true labels or labels that err.

    Attributes:
        rooms_dir: folder of the rooms.
        strength: (low, high), of the errors; drawn for each room. None for true labels.
        copy: 1, 2, ... of several that err otherwise, named after it; 0 keeps the room's name.
    """

    rooms_dir: str
    strength: Strengths | None
    copy: int = 0

    def __call__(self, source: Source) -> LabelledScene:
        """Returns the voxelized room, with its points, and its ground truth."""
        table = reader.read_label_table(pathlib.Path(self.rooms_dir, layout.LABEL_TABLE))
        room, _ = reader.read_scene(source.path, table)
        labelled = reader.with_benchmark_classes(room)
        return _voxelized(labelled, self.strength, self.copy), reader.benchmark_ids(room)


@dataclasses.dataclass(frozen=True)
class Table:
    """Prepares a labelled scan of a table as a room: the table is floor, objects are furniture.

    Each object gets a class by chance, often the same for all of a scan. Attributes are those of
    `Labelled`.
    """

    strength: Strengths | None
    copy: int = 0

    def __call__(self, path: pathlib.Path) -> LabelledScene:
        """Returns the voxelized scan, with its points, and its ground truth."""
        table = scan.read_scan(path)
        found = ground_truth_ids(table, read_classes(tabletop.CLASSES))
        rng = np.random.default_rng(zlib.crc32(path.stem.encode()))
        objects = np.where(found // INSTANCES_PER_CLASS == OBJECT, found, 0)
        ids, numbers = np.unique(np.append(0, objects), return_inverse=True)
        numbers = numbers.reshape(-1)[1:]
        kinds = rng.choice(SCANNET20.thing_ids, len(ids))
        if rng.random() < OF_ONE_CLASS:
            kinds[:] = kinds[0]
        semantic_ids = np.where(ids > 0, kinds, 0)[numbers]
        semantic_ids[found // INSTANCES_PER_CLASS == TABLE] = FLOOR
        room = Scene(
            path.stem,
            table.vertices * ENLARGED,
            semantic_ids=semantic_ids.astype(np.int32),
            instance_ids=numbers.astype(np.int32),
        )
        return _voxelized(room, self.strength, self.copy), ground_truth_ids(room, SCANNET20)


def _voxelized(labelled: Scene, strength: Strengths | None, copy: int) -> VoxelScene:
    scene = voxels.voxelize(labelled, VOXEL_SIZE, SCANNET20, with_points=True)
    if copy:
        number = str(copy) if copy > 1 else ""
        scene = dataclasses.replace(scene, name=scene.name + PREDICTED + number)
    if strength is not None:
        seed = zlib.crc32((scene.name if copy > 1 else labelled.name).encode())
        drawn = np.random.default_rng([seed, 1]).uniform(*strength)
        scene = voxels.with_input(scene, predict_scene(labelled, drawn, seed))
    return scene


def prepare(
    rooms_dir: pathlib.Path,
    data_dir: pathlib.Path,
    num_copies: int = 1,
    tables_dir: str = "",
) -> None:
    """Writes the data folder of a set of rooms.

    Args:
        rooms_dir: what `tools/make_rooms.py` makes.
        data_dir: the folder to write.
        num_copies: erring ones of each training room and table.
        tables_dir: labelled scans of tables to learn from too, but for those that
            `experiments.tabletop` validates on; empty for none.
    """
    train, val = (find_scenes(rooms_dir, [split]) for split in ("train", "val"))
    tables = find_scans(tables_dir) if tables_dir else []
    tables = [path for path in tables if path.stem not in tabletop.VALIDATION]
    folder = str(rooms_dir)
    copies = [(None, 0), *((STRENGTHS, copy + 1) for copy in range(num_copies))]

    def training() -> Iterable[LabelledScene]:
        for strength, copy in copies:
            yield from parallel.map_processes(Labelled(folder, strength, copy), train, "rooms")
            yield from parallel.map_processes(Table(strength, copy), tables, "tables")

    splits = {
        "train": training(),
        "val": parallel.map_processes(Labelled(folder, (1.0, 1.0)), val, "rooms"),
        "val_true": parallel.map_processes(Labelled(folder, None), val, "rooms"),
    }
    write_data_folder(data_dir, SCANNET20, splits)


def define_flags() -> None:
    """Defines the flags; here, so that other code can import this module beside its like."""
    flags.DEFINE_string("rooms_dir", "data/rooms_raw", "Folder of the rooms (tools/make_rooms.py).")
    flags.DEFINE_string(
        "tables_dir", "", "Folder of labelled scans of tables (experiments.tabletop); empty: none."
    )
    flags.DEFINE_integer(
        "num_copies", 1, "Of each room with labels that err, beside the one with true labels.", 1
    )
    flags.DEFINE_string("data_dir", "data/rooms", "Data folder; made where there is none.")
    flags.DEFINE_string("work_dir", "runs/rooms", "For the models.")


def main() -> None:
    """Reads the flags and makes what is missing."""
    here = Workplace(pathlib.Path(FLAGS.data_dir), pathlib.Path(FLAGS.work_dir))
    if not here.data_dir.exists():
        rooms_dir = pathlib.Path(FLAGS.rooms_dir)
        prepare(rooms_dir, here.data_dir, FLAGS.num_copies, FLAGS.tables_dir)
    elif FLAGS["tables_dir"].present or FLAGS["num_copies"].present:
        logging.warning(
            "%s: is there already; --tables_dir and --num_copies make no other", here.data_dir
        )
    for name, flagfile in TRAINED.items():
        here.train(name, flagfile)


if __name__ == "__main__":
    define_flags()
    program.run(main)
