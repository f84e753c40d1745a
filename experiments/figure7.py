"""Figure 7 of the paper: what goes in, what comes out. `python -m experiments.figure7`

A row for each scene: the scan in its colours, the semantic input, connected components, the true
instances, our instances, and the embedding as colours (its three principal components). Walls
towards the viewer are cut away.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from experiments import scan_rows
from experiments.figures import match_ids, predicted_ids
from mtml_tf import program
from mtml_tf.classes import ClassSet
from mtml_tf.drawing.feature_colors import embedding_colors
from mtml_tf.drawing.pictures import STUFF_COLOR, class_colors, instance_colors
from mtml_tf.scans.voxels import devoxelize, on_vertices
from mtml_tf.scene import Instance, VoxelScene
from mtml_tf.segmentation.baselines import connected_components

if TYPE_CHECKING:
    from mtml_tf.inference.models import Model

FLAGS = flags.FLAGS

Array = np.ndarray


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


def draw_row(model: "Model", room: scan_rows.PredictedScan, width: int) -> Array:
    """Draws the six views of a scan, uint8 [H, 6 * width, 3]."""
    scene, classes = room.scene, room.classes
    features = np.full((len(room.values.embedding), 3), STUFF_COLOR, np.uint8)
    features[room.is_thing] = embedding_colors(room.values.embedding[room.is_thing])
    components = connected_components(scene, classes.thing_ids, min_voxels=10)
    found = model.segment_values(scene, room.values)
    true, baseline, ours = instance_views(scene, room.truth, classes, (components, found))
    labels = devoxelize(class_colors(scene.semantic_ids, classes), scene)
    scanned = scan_rows.scan_colors(room.mesh)
    views = [scanned, labels, baseline, true, ours, devoxelize(features, scene)]
    return scan_rows.draw_views(room.mesh, views, width)


def define_flags() -> None:
    """Defines the flags; here, so that other code can import this module beside its like."""
    scan_rows.define_flags(num_scenes=2)


def main() -> None:
    """Reads the flags and draws."""
    scan_rows.write_rows(lambda model, room: draw_row(model, room, FLAGS.width))


if __name__ == "__main__":
    define_flags()
    program.run(main, required=["output_png"])
