"""From a trained model to files: scenes of a data folder, or one scan of one's own."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Iterable, Mapping

import numpy as np
from absl import logging

from mtml_tf import files, program, timing
from mtml_tf.drawing.pictures import instance_colors
from mtml_tf.drawing.view import scan_view, write_view
from mtml_tf.learning.models import Model
from mtml_tf.learning.records import DataFolder
from mtml_tf.scans import scan, semantic_input
from mtml_tf.scans.voxels import on_vertices, voxelize
from mtml_tf.scene import Instance, Scene, VoxelScene
from mtml_tf.scoring.benchmark_format import write_predictions
from mtml_tf.scoring.summary import best_instances, summarize

# Voxels of a grid, occupied or not: eight times a large building at 10 cm.
_MAX_VOXELS = 1 << 33


@dataclasses.dataclass(frozen=True)
class ScanFile:
    """A scan of one's own, and how to read it.

    Attributes:
        path: a PLY file, mesh or point cloud.
        labels: file with the class of every vertex (see `scans.semantic_input`); empty where the
            scan has them as a vertex property.
        scores: what a table of numbers in `labels` holds: `probabilities` or `logits`.
        label_property: name of the vertex property.
        label_map: class ids to read as other ids.
        up_axis: the axis that points up, such as `y` or `-z`.
        scale: metres that one of the scan's units is.
    """

    path: str
    labels: str = ""
    scores: str = semantic_input.PROBABILITIES
    label_property: str = scan.LABEL
    label_map: Mapping[int, int] = dataclasses.field(default_factory=dict)
    up_axis: str = "z"
    scale: float = 1.0


def segment_scan(scene: Scene, model: Model) -> list[Instance]:
    """Segments a scan.

    Args:
        scene: a scan, in metres and z up, with a class id for each vertex, and the features that
            the model takes where it takes features.
        model: a trained model.

    Returns:
        Instances, best first; indices are rows of the scan's vertices.

    Raises:
        ValueError: no labels, labels that the model does not know, or a scan that is too large,
            such as one in millimetres.
    """
    voxel_scene = _voxelize(scene, model)
    instances = model.segment(voxel_scene)
    with timing.stage("onto the vertices"):
        return [on_vertices(instance, voxel_scene) for instance in instances]


def predict_split(
    model: Model,
    data_dir: str | pathlib.Path,
    split: str,
    output_dir: str | pathlib.Path,
    overwrite: bool = False,
) -> list[timing.Seconds]:
    """Segments every scene of a split and writes the instances in benchmark format.

    Args:
        model: a trained model.
        data_dir: a data folder.
        split: one of its splits.
        output_dir: folder of the predictions; appears whole or not at all.
        overwrite: replace a folder that exists.

    Returns:
        The seconds of each stage, scene by scene.
    """
    folder = DataFolder(data_dir)
    entries = folder.entries(split)
    times = []
    with files.writing_folder(output_dir, overwrite) as output:
        for entry in program.progress(entries, "scenes"):
            with timing.recording() as seconds:
                with timing.stage("read the record"):
                    scene = folder.scene(entry)
                instances = model.segment(scene)
                with timing.stage("write the masks"):
                    on_scan = [on_vertices(instance, scene) for instance in instances]
                    write_predictions(output, scene.name, on_scan, scene.num_vertices)
            times.append(seconds)
    return times


def predict_scan(
    model: Model,
    scan_file: ScanFile,
    output_dir: str | pathlib.Path,
    overwrite: bool = False,
    extras: bool = True,
) -> timing.Seconds:
    """Segments one scan and writes what was found.

    The output folder gets `<scene>.txt` and `predicted_masks/` (benchmark format) and, as extras,
    `<scene>.ply` (the scan coloured by instance, with `label` and `instance` as vertex
    properties), `<scene>.json` (see `scoring.summary`) and `<scene>.html` (see `drawing.view`).

    Args:
        model: a trained model.
        scan_file: the scan.
        output_dir: appears whole or not at all.
        overwrite: replace a folder that exists.
        extras: write the extras too.

    Returns:
        The seconds of each stage.

    Raises:
        ValueError: see `segment_scan` and `scans.scan.read_scan`.
    """
    with timing.recording() as seconds:
        with timing.stage("read the scan"):
            given = _read(scan_file, model)
        metric = scan.in_metres(given, scan_file.up_axis, scan_file.scale)
        instances = segment_scan(metric, model)
        logging.info("scan %s: %d instances", given.name, len(instances))
        with files.writing_folder(output_dir, overwrite) as output:
            with timing.stage("write the masks"):
                write_predictions(output, given.name, instances, len(given.vertices))
            if extras:
                with timing.stage("write the extras"):
                    _write_extras(output, given, metric, instances, model)
    return seconds


def _read(scan_file: ScanFile, model: Model) -> Scene:
    """Reads a scan with its labels, in its own units and axes."""
    label_map = {} if scan_file.labels else scan_file.label_map
    scene = scan.read_scan(scan_file.path, label_map, scan_file.label_property)
    classes = model.config.classes
    if scan_file.labels:
        semantic = semantic_input.read_semantic_file(
            scan_file.labels,
            len(scene.vertices),
            classes,
            scan_file.scores,
            scan_file.label_map,
        )
        return dataclasses.replace(
            scene, semantic_ids=semantic.semantic_ids, features=semantic.features
        )
    if scene.semantic_ids is None:
        raise ValueError(
            f"{scan_file.path}: expected a class for every vertex, found none; give it as a vertex "
            f"property '{scan.LABEL}' (or name yours by --label_property), by --labels=FILE.txt "
            "with an id in each line, or by --labels=FILE.npy with ids or class probabilities"
        )
    return scene


def _voxelize(scene: Scene, model: Model) -> VoxelScene:
    config = model.config
    size = np.ptp(scene.vertices, axis=0) if len(scene.vertices) else np.zeros(3)
    voxels = math.prod((size / config.voxel_size + 1).tolist())
    if voxels > _MAX_VOXELS:
        raise ValueError(
            f"scene {scene.name}: expected metres, found a scan of "
            f"{' x '.join(f'{s:.6g}' for s in size)} which makes {voxels:.2g} voxels of "
            f"{config.voxel_size:g} m; if these are millimetres, give --scale=0.001, otherwise "
            "remove points that lie far from the rest"
        )
    with timing.stage("voxelize"):
        voxel_scene = voxelize(scene, config.voxel_size, config.classes)
        if config.segment.probability_ids and voxel_scene.features is not None:
            best = semantic_input.best_classes(voxel_scene.features, config.classes)
            voxel_scene = dataclasses.replace(voxel_scene, semantic_ids=best)
        return voxel_scene


def _write_extras(
    folder: pathlib.Path, given: Scene, metric: Scene, instances: list[Instance], model: Model
) -> None:
    classes = model.config.classes
    numbers = best_instances(instances, len(given.vertices))
    colored = dataclasses.replace(
        given, colors=instance_colors(numbers), instance_ids=numbers, features=None
    )
    scan.write_scan(folder / f"{given.name}.ply", colored)
    summary = summarize(given, instances, classes)
    files.write_text(folder / f"{given.name}.json", json.dumps(summary, indent=1) + "\n")
    write_view(folder / f"{given.name}.html", scan_view(metric, instances, classes))


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
