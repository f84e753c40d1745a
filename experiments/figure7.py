"""Figure 7 of the paper: what goes in, what comes out. `python -m experiments.figure7`

A row for each scene: the scan in its colours, the semantic input, connected components, the true
instances, our instances, and the embedding as colours (its three principal components). Walls
towards the viewer are cut away.
"""

import pathlib
from collections.abc import Sequence

import numpy as np
from absl import flags

from experiments.figures import chosen_entries, match_ids, predicted_ids
from mtml_tf import files, program
from mtml_tf.classes import ClassSet
from mtml_tf.drawing.feature_colors import embedding_colors
from mtml_tf.drawing.pictures import (
    NO_COLOR,
    STUFF_COLOR,
    class_colors,
    draw_points,
    instance_colors,
    side_by_side,
)
from mtml_tf.drawing.png import write_png
from mtml_tf.scannet import reader
from mtml_tf.scans.voxels import devoxelize, on_vertices
from mtml_tf.scene import Instance, Scene, VoxelScene
from mtml_tf.segmentation.baselines import connected_components

FLAGS = flags.FLAGS

Array = np.ndarray

_CUT = 0.25  # metres


def towards_viewer(vertices: Array) -> Array:
    """Returns bool [N], True for what stands at the two sides of a room that face the viewer."""
    high_x, low_y = vertices[:, 0].max(), vertices[:, 1].min()
    return (vertices[:, 0] > high_x - _CUT) | (vertices[:, 1] < low_y + _CUT)


def scan_colors(mesh: Scene) -> Array:
    """Returns uint8 [N, 3], the colours of a scan, grey where it has none."""
    if mesh.colors is not None:
        return mesh.colors
    return np.full((len(mesh.vertices), 3), NO_COLOR, np.uint8)


def instance_views(
    scene: VoxelScene, truth: Array, classes: ClassSet, several: Sequence[Sequence[Instance]]
) -> list[Array]:
    """Returns uint8 [N, 3] colours of the true instances and of predicted ones, on the vertices.

    Args:
        scene: N vertices.
        truth: int64 [N], `class_id * 1000 + instance`; walls have instances there, too.
        classes: instances of its things are coloured.
        several: lists of instances of voxel rows; matched ones get the colour of the true one.
    """
    true_ids = np.where(classes.is_thing(truth // 1000), truth % 1000, 0)
    colors = [instance_colors(true_ids)]
    for instances in several:
        on_scan = [on_vertices(instance, scene) for instance in instances]
        predicted = devoxelize(predicted_ids(scene, on_scan), scene)
        colors.append(instance_colors(match_ids(predicted, true_ids)))
    return colors


def define_flags() -> None:
    """Defines the flags; here, so that other code can import this module beside its like."""
    flags.DEFINE_string("data_dir", "data/rooms", "Data folder.")
    flags.DEFINE_string("split", "val", "Split of the data folder.")
    flags.DEFINE_string("scannet_dir", "data/rooms_raw", "The raw scenes.")
    flags.DEFINE_string("run_dir", "runs/rooms", "Run folder of a trained model.")
    flags.DEFINE_list("scenes", [], "Scenes to draw; the first ones where empty.")
    flags.DEFINE_integer("num_scenes", 2, "How many, without --scenes.", lower_bound=1)
    flags.DEFINE_string("output_png", None, "Picture to write.")
    flags.DEFINE_integer("width", 420, "Of one view, pixels.", lower_bound=1)
    flags.DEFINE_bool("overwrite", False, "Replace a picture that exists.")


def main() -> None:
    """Reads the flags and draws."""
    files.check_may_write(FLAGS.output_png, FLAGS.overwrite)
    from mtml_tf.data.records import DataFolder
    from mtml_tf.inference.models import load_model

    folder, model = DataFolder(FLAGS.data_dir), load_model(FLAGS.run_dir)
    rows = []
    for entry in chosen_entries(folder, FLAGS.split, FLAGS.scenes, FLAGS.num_scenes):
        scene, truth = folder.scene(entry), folder.ground_truth(FLAGS.split, entry)
        mesh = reader.read_mesh(reader.scene_folder(FLAGS.scannet_dir, FLAGS.split, entry.name))
        things = folder.classes.is_thing(scene.semantic_ids)
        embedding, direction = model.predict(scene)
        features = np.full((len(embedding), 3), STUFF_COLOR, np.uint8)
        features[things] = embedding_colors(embedding[things])
        components = connected_components(scene, folder.classes.thing_ids, min_voxels=10)
        found = model.segment_values(scene, embedding, direction)
        true, baseline, ours = instance_views(scene, truth, folder.classes, (components, found))
        input_colors = devoxelize(class_colors(scene.semantic_ids, folder.classes), scene)
        shown = ~towards_viewer(mesh.vertices)
        views = [scan_colors(mesh), input_colors, baseline, true, ours, devoxelize(features, scene)]
        rows.append(
            side_by_side(
                [draw_points(mesh.vertices[shown], each[shown], FLAGS.width) for each in views]
            )
        )
    width = max(row.shape[1] for row in rows)
    padded = [
        np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255)
        for row in rows
    ]
    write_png(pathlib.Path(FLAGS.output_png), np.concatenate(padded), FLAGS.overwrite)
    print(FLAGS.output_png)


if __name__ == "__main__":
    define_flags()
    program.run(main, required=["output_png"])
