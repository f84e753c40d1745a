"""Figure 6 of the paper: the feature space of a scene. `python -m experiments.figure6`

A row for each scene: the scan in its colours, its true instances, the mean-shift clusters of the
embedding, and the embedding itself (its three principal components as places), in the colours of
the true instances and in those of the clusters. Walls, floors and whatever else is no thing are
left out of the clustering, as in the paper; walls towards the viewer are cut away.

A cluster has the colour of the true instance that it shares most voxels with, where that one
shares most with it, too. Clusters are not yet instances: what follows (connected components,
scores, suppression) is left out here.
"""

from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from experiments import scan_rows
from experiments.figures import match_ids
from mtml_tf import program
from mtml_tf.drawing.feature_colors import principal_components
from mtml_tf.drawing.pictures import draw_points, instance_colors, side_by_side
from mtml_tf.scans.voxels import devoxelize
from mtml_tf.scene import VoxelScene
from mtml_tf.segmentation.mean_shift import mean_shift

if TYPE_CHECKING:
    from mtml_tf.inference.models import Model

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


def draw_row(room: scan_rows.PredictedScan, bandwidth: float, width: int) -> tuple[Array, int]:
    """Draws the five pictures of a scene; returns them and the number of clusters.

    Args:
        room: a scan with true instances.
        bandwidth: of the mean shift.
        width: of each picture, pixels.
    """
    scene, is_thing = room.scene, room.is_thing
    if scene.instance_ids is None:
        raise ValueError(f"scene {scene.name}: expected true instances, found none")
    clusters = cluster_ids(scene, room.values.embedding, is_thing, bandwidth)
    true, found = instance_colors(scene.instance_ids), instance_colors(clusters)
    views = [scan_rows.scan_colors(room.mesh), devoxelize(true, scene), devoxelize(found, scene)]
    pictures = [scan_rows.draw_views(room.mesh, views, width)]
    for colors in (true, found):
        pictures.append(
            draw_feature_space(room.values.embedding[is_thing], colors[is_thing], width)
        )
    return side_by_side(pictures), len(np.unique(clusters[clusters > 0]))


def define_flags() -> None:
    """Defines the flags; here, so that other code can import this module beside its like."""
    scan_rows.define_flags(num_scenes=1)
    flags.DEFINE_float("bandwidth", 1.0, "Of the mean shift (paper section 3.2).", lower_bound=1e-6)


def main() -> None:
    """Reads the flags and draws."""

    def draw(_: "Model", room: scan_rows.PredictedScan) -> Array:
        row, count = draw_row(room, FLAGS.bandwidth, FLAGS.width)
        print(f"{room.scene.name}: {count} clusters of {room.is_thing.sum()} voxels")
        return row

    scan_rows.write_rows(draw)


if __name__ == "__main__":
    define_flags()
    program.run(main, required=["output_png"])
