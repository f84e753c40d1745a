"""Pictures as the paper's Figures 4 and 5.

    python -m experiments.figures --data_dir=data/toy \
        --prediction_dir=runs/table1/predictions/multi_task --output_dir=docs

    figure4.png   the classes' shapes (toy scenes only), a scene by class and by true instance
    figure5.png   a row for each scene: input labels, true instances, predicted instances
    <scene>.png   one row of it

Stuff and voxels without an instance are light grey. A predicted instance has the color of the
true one that it overlaps most, if it overlaps that one most too, so that mistakes catch the eye.
"""

import dataclasses
import itertools
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from mtml_tf import files, program
from mtml_tf.classes import ClassSet
from mtml_tf.drawing.pictures import class_colors, draw_voxels, instance_colors, side_by_side
from mtml_tf.drawing.png import write_png
from mtml_tf.scans import toy
from mtml_tf.scene import Instance, VoxelScene
from mtml_tf.scoring.benchmark_format import read_predictions
from mtml_tf.scoring.summary import best_instances

if TYPE_CHECKING:
    from mtml_tf.data.records import DataFolder, RecordEntry

FLAGS = flags.FLAGS

Array = np.ndarray

_ROWS_OF_SHAPES = ((2, 3, 4), (5, 6))  # class ids
_APART = 14  # voxels


def chosen_entries(
    folder: "DataFolder", split: str, names: Sequence[str], count: int
) -> list["RecordEntry"]:
    """Returns the entries of the named scenes of a split; of its first ones where none is named.

    Args:
        folder: a data folder.
        split: one of its splits.
        names: of the scenes.
        count: how many of the first.

    Raises:
        ValueError: a scene that is not in the split.
    """
    entries = {entry.name: entry for entry in folder.entries(split)}
    missing = sorted(set(names) - set(entries))
    if missing:
        raise ValueError(
            f"{folder.path}: expected scenes of split '{split}', found no {missing[0]}"
        )
    return [entries[name] for name in names or list(entries)[:count]]


def draw_shapes(width: int) -> Array:
    """Draws one box of each toy class: uint8 [H, width, 3]."""
    boxes, labels = [], []
    for row, class_ids in enumerate(_ROWS_OF_SHAPES):
        for column, class_id in enumerate(class_ids):
            edges = toy.EDGES[class_id]
            # The viewer's right is (1, 1); downwards is (1, -1). The second row fills the gaps.
            right, down = _APART * (2 * column + row) / 2, _APART * row
            middle = np.array([right + down, right - down, 0]) - (edges[0] / 2, edges[1] / 2, 0)
            boxes.append(np.argwhere(np.ones(edges, bool)) + np.round(middle).astype(int))
            labels.append(np.full(len(boxes[-1]), class_id))
    colors = class_colors(np.concatenate(labels), toy.TOY_CLASSES)
    return draw_voxels(np.concatenate(boxes), colors, width)


def predicted_ids(scene: VoxelScene, instances: Sequence[Instance]) -> Array:
    """Returns int32 [M], for each voxel the number (from 1) of the best instance that holds it.

    Args:
        scene: M voxels.
        instances: with vertex rows as indices (voxel rows where there are no vertices).
    """
    best_first = sorted(instances, key=lambda instance: -instance.score)
    if scene.vertex_to_voxel is not None:
        best_first = [
            dataclasses.replace(instance, indices=scene.vertex_to_voxel[instance.indices])
            for instance in best_first
        ]
    return best_instances(best_first, len(scene.coordinates))


def match_ids(predicted: Array, true: Array) -> Array:
    """Renumbers predicted instances so that those that match a true one have its id.

    Args:
        predicted: int [M], 0 for none.
        true: int [M], 0 for none.

    Returns:
        int64 [M]; a pair matches if each is the one that the other shares most voxels with. The
        rest are numbered on from the largest true id.
    """
    shared = np.zeros((predicted.max(initial=0) + 1, true.max(initial=0) + 1), np.int64)
    np.add.at(shared, (predicted, true), 1)
    shared[0], shared[:, 0] = 0, 0
    best_true, best_predicted = shared.argmax(axis=1), shared.argmax(axis=0)
    numbers = np.zeros(len(shared), np.int64)
    following = itertools.count(shared.shape[1])
    for number in np.unique(predicted[predicted > 0]):
        match = best_true[number]
        is_mutual = match > 0 and best_predicted[match] == number
        numbers[number] = match if is_mutual else next(following)
    return numbers[predicted]


def draw_scene(
    scene: VoxelScene, classes: ClassSet, instances: Sequence[Instance], width: int, turns: int
) -> list[Array]:
    """Draws input labels, true instances (if there are any) and predicted instances."""
    predicted = predicted_ids(scene, instances)
    colors = [class_colors(scene.semantic_ids, classes)]
    if scene.instance_ids is not None:
        colors.append(instance_colors(scene.instance_ids))
        predicted = match_ids(predicted, scene.instance_ids)
    colors.append(instance_colors(predicted))
    return [draw_voxels(scene.coordinates, each, width, turns) for each in colors]


def define_flags() -> None:
    """Defines the flags; here, so that other code can import this module beside its like."""
    flags.DEFINE_string("data_dir", None, "Data folder.")
    flags.DEFINE_string("prediction_dir", None, "Folder of predictions in benchmark format.")
    flags.DEFINE_string("split", "test", "Split that was predicted.")
    flags.DEFINE_string("output_dir", None, "Folder for the pictures.")
    flags.DEFINE_integer("num_scenes", 2, "Scenes to draw, the first of the split.", lower_bound=1)
    flags.DEFINE_integer("width", 700, "Of one view, pixels.", lower_bound=1)
    flags.DEFINE_integer(
        "quarter_turns", 0, "How often the viewer goes 90 degrees around the scene."
    )
    flags.DEFINE_bool("overwrite", False, "Replace pictures that exist.")


def main() -> None:
    """Reads the flags and draws."""
    from mtml_tf.data.records import DataFolder

    folder, output_dir = DataFolder(FLAGS.data_dir), pathlib.Path(FLAGS.output_dir)
    pictures, rows = {}, []
    for scene in itertools.islice(folder.scenes(FLAGS.split), FLAGS.num_scenes):
        instances = read_predictions(FLAGS.prediction_dir, scene.name, scene.num_vertices)
        views = draw_scene(scene, folder.classes, instances, FLAGS.width, FLAGS.quarter_turns)
        rows.append(side_by_side(views))
        pictures[scene.name] = rows[-1]
        if len(rows) == 1:
            is_toy = folder.classes == toy.TOY_CLASSES
            shapes = [draw_shapes(FLAGS.width)] if is_toy else []
            pictures["figure4"] = side_by_side([*shapes, *views[:-1]])
    pictures["figure5"] = np.concatenate(rows)
    paths = [output_dir / f"{name}.png" for name in pictures]
    for path in paths:
        files.check_may_write(path, FLAGS.overwrite)
    for path, picture in zip(paths, pictures.values(), strict=True):
        write_png(path, picture, FLAGS.overwrite)
        print(path)


if __name__ == "__main__":
    define_flags()
    program.run(main, required=["data_dir", "prediction_dir", "output_dir"])
