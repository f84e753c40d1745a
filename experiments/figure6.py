"""Figure 6 of the paper: the feature space of a scene. `python -m experiments.figure6`

A row for each scene: the scan in its colours, its true instances, the mean-shift clusters of the
embedding, and the embedding itself (its three principal components as places), in the colours of
the true instances and in those of the clusters. Walls, floors and whatever else is no thing are
left out of the clustering, as in the paper; walls towards the viewer are cut away.

A cluster has the colour of the true instance that it shares most voxels with, where that one
shares most with it, too. Clusters are not yet instances: what follows (connected components,
scores, suppression) is left out here.
"""

import pathlib

import numpy as np
from absl import flags

from experiments.figure7 import scan_colors, towards_viewer
from experiments.figures import chosen_entries, match_ids
from mtml_tf import files, program
from mtml_tf.drawing.feature_colors import principal_components
from mtml_tf.drawing.pictures import draw_points, instance_colors, side_by_side
from mtml_tf.drawing.png import write_png
from mtml_tf.scannet import reader
from mtml_tf.scans.voxels import devoxelize
from mtml_tf.scene import Scene, VoxelScene
from mtml_tf.segmentation.mean_shift import mean_shift

FLAGS = flags.FLAGS

Array = np.ndarray


def cluster_ids(scene: VoxelScene, embedding: Array, is_thing: Array, bandwidth: float) -> Array:
    """Returns int64 [M], the mean-shift cluster (from 1) of each voxel of a thing, 0 elsewhere.

    Args:
        scene: M voxels; where it has instances, clusters that match one get its id.
        embedding: float32 [M, E].
        is_thing: bool [M].
        bandwidth: of the mean shift, in units of the embedding.
    """
    ids = np.zeros(len(embedding), np.int64)
    if is_thing.any():
        ids[is_thing] = mean_shift(embedding[is_thing], bandwidth)[0] + 1
    return ids if scene.instance_ids is None else match_ids(ids, scene.instance_ids)


def draw_feature_space(embedding: Array, colors: Array, width: int) -> Array:
    """Draws features [n, E] as points [first, second, third principal component].

    Returns:
        uint8 [H, width, 3].
    """
    parts = principal_components(embedding) if len(embedding) else np.zeros((0, 3))
    return draw_points(parts, colors, width)


def draw_row(
    scene: VoxelScene, mesh: Scene, embedding: Array, is_thing: Array, bandwidth: float, width: int
) -> tuple[Array, int]:
    """Draws the five pictures of a scene; returns them and the number of clusters.

    Args:
        scene: M voxels with true instances.
        mesh: its scan, N vertices.
        embedding: float32 [M, E].
        is_thing: bool [M], by the semantic input.
        bandwidth: of the mean shift.
        width: of each picture, pixels.
    """
    if scene.instance_ids is None:
        raise ValueError(f"scene {scene.name}: expected true instances, found none")
    shown = ~towards_viewer(mesh.vertices)
    clusters = cluster_ids(scene, embedding, is_thing, bandwidth)
    true, found = instance_colors(scene.instance_ids), instance_colors(clusters)
    on_scan = [
        scan_colors(mesh),
        devoxelize(true, scene),
        devoxelize(found, scene),
    ]
    pictures = [draw_points(mesh.vertices[shown], colors[shown], width) for colors in on_scan]
    pictures += [
        draw_feature_space(embedding[is_thing], colors[is_thing], width) for colors in (true, found)
    ]
    return side_by_side(pictures), len(np.unique(clusters[clusters > 0]))


def define_flags() -> None:
    """Defines the flags; here, so that other code can import this module beside its like."""
    flags.DEFINE_string("data_dir", "data/rooms", "Data folder.")
    flags.DEFINE_string("split", "val", "Split of the data folder.")
    flags.DEFINE_string("scannet_dir", "data/rooms_raw", "The raw scenes.")
    flags.DEFINE_string("run_dir", "runs/rooms", "Run folder of a trained model.")
    flags.DEFINE_list("scenes", [], "Scenes to draw; the first one where empty.")
    flags.DEFINE_float("bandwidth", 1.0, "Of the mean shift (paper section 3.2).", lower_bound=1e-6)
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
    for entry in chosen_entries(folder, FLAGS.split, FLAGS.scenes, 1):
        scene = folder.scene(entry)
        mesh = reader.read_mesh(reader.scene_folder(FLAGS.scannet_dir, FLAGS.split, entry.name))
        embedding, _ = model.predict(scene)
        is_thing = folder.classes.is_thing(scene.semantic_ids)
        row, count = draw_row(scene, mesh, embedding, is_thing, FLAGS.bandwidth, FLAGS.width)
        rows.append(row)
        print(f"{entry.name}: {count} clusters of {int(is_thing.sum())} voxels")
    write_png(pathlib.Path(FLAGS.output_png), np.concatenate(rows), FLAGS.overwrite)
    print(FLAGS.output_png)


if __name__ == "__main__":
    define_flags()
    program.run(main, required=["output_png"])
