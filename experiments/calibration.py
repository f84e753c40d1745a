"""How much simulated rooms resemble real scans: `python -m experiments.calibration`

Prints what was measured of two real ScanNet scenes, and the same of rooms: how full their grids
are, how many objects they hold, how good the predicted labels are, and how far the two baselines
come. Generator and labeller were set by these figures before any network was trained.
"""

import pathlib
from collections.abc import Sequence

import numpy as np
from absl import flags

from experiments.robustness import num_instances
from experiments.running import MIN_VERTICES, encode_markdown
from mtml_tf import program
from mtml_tf.classes import SCANNET18, SCANNET20
from mtml_tf.rooms import labeller, making
from mtml_tf.scannet import layout, reader
from mtml_tf.scans import semantic_input, voxels
from mtml_tf.scene import Instance
from mtml_tf.scoring.average_precision import average_precision
from mtml_tf.scoring.ground_truth import INSTANCES_PER_CLASS
from mtml_tf.segmentation import baselines

FLAGS = flags.FLAGS

Array = np.ndarray

VOXEL_SIZE = 0.1
# Of two validation scenes with the labels of a sparse convolutional network.
REAL = {
    "occupied voxels at 10 cm, not aligned": "6 %",
    "scored instances of a scene": "31, 33",
    "connected components, true labels (AP / AP50 / AP25)": "0.64 / 0.81 / 0.85",
    "connected components, predicted labels": "0.19 / 0.34 / 0.68",
    "segmentation as instance, predicted labels": "0.08 / 0.27 / 0.58",
    "mIoU of the predicted labels": "about 0.70",
}


def measure(
    rooms_dir: str | pathlib.Path,
    semantic_dir: str | pathlib.Path,
    split: str,
    names: Sequence[str],
) -> list[str]:
    """Returns what `REAL` holds, in its order, of scenes in the raw layout of ScanNet.

    Args:
        rooms_dir: the raw scenes.
        semantic_dir: their predicted labels, NYU40 ids.
        split: of the scenes.
        names: of the scenes.

    Raises:
        ValueError: a scene that can't be read, or a labelled vertex without a predicted class.
    """
    table = reader.read_label_table(pathlib.Path(rooms_dir, layout.LABEL_TABLE))
    things = SCANNET18.ids
    confusions = np.zeros((len(SCANNET20), len(SCANNET20)), np.int64)
    occupied, counts, truths = [], [], []
    found: tuple[list[list[Instance]], ...] = ([], [], [])
    for name in program.progress(names, "scenes"):
        folder = reader.scene_folder(rooms_dir, split, name)
        scene, _ = reader.read_scene(folder, table, align_axes=False)
        truths.append(reader.benchmark_ids(scene))
        true = voxels.voxelize(reader.with_benchmark_classes(scene), VOXEL_SIZE, SCANNET20)
        given = semantic_input.read_semantic_input(
            semantic_dir, name, len(scene.vertices), SCANNET20
        )
        class_ids = truths[-1] // INSTANCES_PER_CLASS
        class_ids[~np.isin(class_ids, SCANNET20.ids)] = 0
        confusions += labeller.confusion(class_ids, given.semantic_ids)
        predicted = voxels.with_input(true, given.semantic_ids, None)
        occupied.append(len(true.coordinates) / np.prod(true.grid_shape))
        counts.append(num_instances(truths[-1]))
        for instances, kept in zip(
            (
                baselines.connected_components(true, things),
                baselines.connected_components(predicted, things),
                baselines.segmentation_as_instance(predicted, things),
            ),
            found,
            strict=True,
        ):
            kept.append([voxels.on_vertices(instance, true) for instance in instances])
    averages = [
        average_precision(zip(truths, kept, strict=True), SCANNET18, MIN_VERTICES).average
        for kept in found
    ]
    return [
        f"{100 * np.mean(occupied):.1f} %",
        f"{np.mean(counts):.1f}",
        *(f"{a.ap:.3f} / {a.ap50:.3f} / {a.ap25:.3f}" for a in averages),
        f"{np.nanmean(labeller.iou(confusions)):.3f}",
    ]


def define_flags() -> None:
    """Defines the flags; here, so that other code can import this module beside its like."""
    flags.DEFINE_string("rooms_dir", "data/rooms_raw", "Rooms of tools/make_rooms.py.")
    flags.DEFINE_string("semantic_dir", "", "Predicted labels; by default the tool's.")
    flags.DEFINE_string("split", "train", "Split to measure.")
    flags.DEFINE_integer("num_scenes", 16, "Scenes, its first; 0 for all.", lower_bound=0)


def main() -> None:
    """Reads the flags, measures and prints."""
    rooms_dir = pathlib.Path(FLAGS.rooms_dir)
    names = reader.read_split(rooms_dir, FLAGS.split)
    chosen = names[: FLAGS.num_scenes or None]
    semantic_dir = FLAGS.semantic_dir or rooms_dir / making.SEMANTIC
    measured = measure(rooms_dir, semantic_dir, FLAGS.split, chosen)
    rows = [[*pair, ours] for pair, ours in zip(REAL.items(), measured, strict=True)]
    print(encode_markdown([["", "two real scenes", f"{len(chosen)} rooms"], *rows]))


if __name__ == "__main__":
    define_flags()
    program.run(main)
