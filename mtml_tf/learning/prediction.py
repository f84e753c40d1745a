"""From a trained model to benchmark files: one scene at a time, each on its own grid."""

import pathlib
from collections.abc import Iterable

from mtml_tf import files, program
from mtml_tf.learning.models import Model
from mtml_tf.scans.voxels import on_vertices, voxelize
from mtml_tf.scene import Instance, Scene, VoxelScene
from mtml_tf.scoring.benchmark_format import write_predictions


def segment_scan(scene: Scene, model: Model) -> list[Instance]:
    """Segments a scan.

    Args:
        scene: a scan with a class id for each vertex (or the features that the model takes).
        model: a trained model.

    Returns:
        Instances, best first; indices are rows of the scan's vertices.

    Raises:
        ValueError: no labels, labels that the model does not know, or a scan too large for memory.
    """
    voxel_scene = voxelize(scene, model.config.voxel_size, model.config.classes)
    return [on_vertices(instance, voxel_scene) for instance in model.segment(voxel_scene)]


def write_instances(
    segmented: Iterable[tuple[VoxelScene, list[Instance]]],
    output_dir: str | pathlib.Path,
    overwrite: bool = False,
) -> None:
    """Writes the instances of scenes in benchmark format; the folder appears whole or not at all.

    Args:
        segmented: scenes with their instances on voxels. Taken one by one.
        output_dir: folder of the predictions.
        overwrite: replace a folder that exists.
    """
    with files.writing_folder(output_dir, overwrite) as folder:
        for scene, instances in program.progress(segmented, "scenes"):
            on_scan = [on_vertices(instance, scene) for instance in instances]
            write_predictions(folder, scene.name, on_scan, scene.num_vertices)
