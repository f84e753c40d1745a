"""What Figures 6 and 7 share: a row of views of each scan, and what a model says of it."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from experiments.figures import chosen_entries
from mtml_tf import files
from mtml_tf.classes import ClassSet
from mtml_tf.drawing.pictures import NO_COLOR, draw_points, side_by_side
from mtml_tf.drawing.png import write_png
from mtml_tf.scannet import reader
from mtml_tf.scene import Scene, VoxelScene

if TYPE_CHECKING:
    from mtml_tf.inference.models import Model, Values

FLAGS = flags.FLAGS

Array = np.ndarray

_CUT = 0.25  # metres

# The flags below are those of the program that asks for them.
flags.disclaim_key_flags()


@dataclasses.dataclass(frozen=True, eq=False)
class PredictedScan:
    """A scan and what a network says of it.

    Attributes:
        mesh: N vertices.
        scene: its M voxels.
        truth: int64 [N], `class_id * 1000 + instance`; walls have instances there, too.
        classes: of the labels.
        values: what the network tells of the voxels.
    """

    mesh: Scene
    scene: VoxelScene
    truth: Array
    classes: ClassSet
    values: "Values"

    @property
    def is_thing(self) -> Array:
        """bool [M], by the semantic input."""
        return self.classes.is_thing(self.scene.semantic_ids)


def towards_viewer(vertices: Array) -> Array:
    """Returns bool [N], True for what stands at the two sides of a room that face the viewer."""
    high_x, low_y = vertices[:, 0].max(), vertices[:, 1].min()
    return (vertices[:, 0] > high_x - _CUT) | (vertices[:, 1] < low_y + _CUT)


def scan_colors(mesh: Scene) -> Array:
    """Returns uint8 [N, 3], the colours of a scan, grey where it has none."""
    if mesh.colors is not None:
        return mesh.colors
    return np.full((len(mesh.vertices), 3), NO_COLOR, np.uint8)


def draw_views(mesh: Scene, views: list[Array], width: int) -> Array:
    """Draws a scan in several colourings side by side.

    Args:
        mesh: N vertices.
        views: uint8 [N, 3] each.
        width: of each picture, pixels.

    Returns:
        uint8 [H, len(views) * width, 3].
    """
    shown = ~towards_viewer(mesh.vertices)
    return side_by_side([draw_points(mesh.vertices[shown], each[shown], width) for each in views])


def define_flags(num_scenes: int) -> None:
    """Defines the flags that `write_rows` reads; `num_scenes` is how many scenes by default."""
    flags.DEFINE_string("data_dir", "data/rooms", "Data folder.")
    flags.DEFINE_string("split", "val", "Split of the data folder.")
    flags.DEFINE_string("scannet_dir", "data/rooms_raw", "The raw scenes.")
    flags.DEFINE_string("run_dir", "runs/rooms/multi_task", "Run folder of a trained model.")
    flags.DEFINE_list("scenes", [], "Scenes to draw; the first ones where empty.")
    flags.DEFINE_integer("num_scenes", num_scenes, "How many, without --scenes.", lower_bound=1)
    flags.DEFINE_string("output_png", None, "Picture to write.")
    flags.DEFINE_integer("width", 420, "Of one view, pixels.", lower_bound=1)
    flags.DEFINE_bool("overwrite", False, "Replace a picture that exists.")


def write_rows(draw_row: Callable[["Model", PredictedScan], Array]) -> None:
    """Reads the flags, has a model predict each scene, and writes the picture of all rows.

    Args:
        draw_row: returns uint8 [H, W, 3], with the same W for every scan.
    """
    files.check_may_write(FLAGS.output_png, FLAGS.overwrite)
    from mtml_tf.data.records import DataFolder
    from mtml_tf.inference.models import load_model

    folder, model = DataFolder(FLAGS.data_dir), load_model(FLAGS.run_dir)
    rows = []
    for entry in chosen_entries(folder, FLAGS.split, FLAGS.scenes, FLAGS.num_scenes):
        scene, truth = folder.scene(entry), folder.ground_truth(FLAGS.split, entry)
        mesh = reader.read_mesh(reader.scene_folder(FLAGS.scannet_dir, FLAGS.split, entry.name))
        values = model.predict(scene)
        rows.append(draw_row(model, PredictedScan(mesh, scene, truth, folder.classes, values)))
    write_png(pathlib.Path(FLAGS.output_png), np.concatenate(rows), FLAGS.overwrite)
    print(FLAGS.output_png)
