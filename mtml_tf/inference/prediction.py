"""From a trained model to files: scenes of a data folder, or one scan of one's own."""

import dataclasses
import importlib
import json
import math
import pathlib
from collections.abc import Mapping

import numpy as np
from absl import logging
from scipy import spatial

from mtml_tf import files, program, timing
from mtml_tf.classes import ClassSet
from mtml_tf.data.records import DataFolder
from mtml_tf.drawing.pictures import instance_colors
from mtml_tf.drawing.view import scan_view, write_view
from mtml_tf.inference.models import Model
from mtml_tf.scans import scan, semantic_input
from mtml_tf.scans.voxels import on_vertices, voxelize
from mtml_tf.scene import Instance, Scene, VoxelScene
from mtml_tf.scoring.benchmark_format import write_predictions
from mtml_tf.scoring.folders import PREDICTIONS
from mtml_tf.scoring.ground_truth import INSTANCES_PER_CLASS
from mtml_tf.scoring.summary import best_instances, summarize

# The vertex property of the coloured scan.
PREDICTED_INSTANCE = "predicted_instance"
# Voxels of a grid, occupied or not: eight times a large building at 10 cm.
_MAX_VOXELS = 1 << 33
# A grid above this (60 x 40 x 7 m at 10 cm) takes a minute on a CPU and is looked at twice: where
# occupied voxels lie far apart, the scan's units are others and nothing will be found.
_MANY_VOXELS = 1 << 24
_MAX_SPACING = 4  # voxels
_SPACING_SAMPLE = 1000


@dataclasses.dataclass(frozen=True)
class ScanFile:
    """A scan of one's own, and how to read it.

    Attributes:
        path: a PLY file, mesh or point cloud.
        labels: file with the class of every vertex (see `scans.semantic_input`); empty where the
            scan has them as a vertex property.
        scores: what a table of numbers in `labels` holds: `probabilities`, `logits`, or `features`
            (then the class ids are in a `.txt` of the same name beside it).
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
        ValueError: no scan, no labels, labels that the model does not know, or a scan that is too
            large, such as one in millimetres.
    """
    if not isinstance(scene, Scene):
        raise ValueError(
            f"expected a Scene, such as read_scan('scan.ply') gives, found a {type(scene).__name__}"
        )
    voxel_scene = voxelize_for(scene, model)
    segment = model.config.segment
    logging.info(
        "scan %s: %s m, %s voxels of %g m, %.0f %% of them of things",
        scene.name,
        _times(np.round(np.ptp(scene.vertices, axis=0), 3)),
        f"{len(voxel_scene.coordinates):,}",
        voxel_scene.voxel_size,
        100 * np.isin(voxel_scene.semantic_ids, segment.thing_ids).mean(),
    )
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
    with files.writing_folder(output_dir, overwrite, PREDICTIONS) as output:
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
    html: bool = True,
) -> tuple[int, timing.Seconds]:
    """Segments one scan and writes what was found.

    The output folder gets `<scene>.txt` and `predicted_masks/` (benchmark format) and, as extras,
    `<scene>.ply` (the scan coloured by instance, with `label` and `instance` as vertex
    properties), `<scene>.json` (see `scoring.summary`) and `<scene>.html` (see `drawing.view`).
    Scores and submissions read the benchmark format only; extras do not disturb them.

    Args:
        model: a trained model.
        scan_file: the scan.
        output_dir: appears whole or not at all.
        overwrite: replace a folder that exists.
        extras: write the extras too.
        html: with the page, which needs plotly.

    Returns:
        How many instances there are, and the seconds of each stage.

    Raises:
        ValueError: see `segment_scan` and `scans.scan.read_scan`.
        ImportError: no plotly for the page; found before anything is computed.
    """
    with (
        timing.recording() as seconds,
        files.writing_folder(output_dir, overwrite, PREDICTIONS) as output,
    ):
        if extras and html:
            with timing.stage("import plotly"):
                _require_plotly()
        with timing.stage("read the scan"):
            given = read_labelled_scan(scan_file, model.config.classes)
        metric = scan.in_metres(given, scan_file.up_axis, scan_file.scale)
        instances = segment_scan(metric, model)
        if not instances:
            logging.info("scan %s: 0 instances: %s", given.name, _why_nothing(metric, model))
        with timing.stage("write the masks"):
            write_predictions(output, given.name, instances, len(given.vertices))
        if extras:
            with timing.stage("write the extras"):
                _write_extras(output, given, instances, model.config.classes)
        if extras and html:
            with timing.stage("write the page"):
                view = scan_view(metric, instances, model.config.classes)
                write_view(output / f"{given.name}.html", view)
    return len(instances), seconds


def read_labelled_scan(scan_file: ScanFile, classes: ClassSet) -> Scene:
    """Reads a scan with a class for every vertex, in its own units and axes.

    Args:
        scan_file: the scan.
        classes: those that it may have.

    Returns:
        The scene; it keeps its instances only where they can be the truth of these classes.

    Raises:
        ValueError: no labels, labels of other classes, or a file that can't be read.
    """
    if scan_file.labels:
        return _read_with_label_file(scan_file, classes)
    name = scan_file.label_property
    scene = scan.read_scan(scan_file.path, scan_file.label_map, name, need_instances=False)
    if scene.semantic_ids is None:
        raise ValueError(
            f"{scan_file.path}: expected a class for every vertex, found none; give it as a vertex "
            f"property '{scan.LABEL}' (or name yours by --label_property), by --labels=FILE.txt "
            "with an id in each line, or by --labels=FILE.npy with ids or class probabilities"
        )
    _check_ids(f"{scan_file.path}: vertex property '{name}'", scene, classes)
    if name != scan.LABEL:  # the instances are the truth of the classes beside them
        return dataclasses.replace(scene, instance_ids=None)
    return without_too_many_instances(scene)


def read_any_scan(scan_file: ScanFile, classes: ClassSet | None) -> Scene:
    """Reads a scan, labelled or not, in its own units and axes.

    Args:
        scan_file: the scan.
        classes: those that it may have; None for any.

    Raises:
        ValueError: see `read_labelled_scan`; labels in a file of their own, of any classes.
    """
    if scan_file.labels:
        if classes is None:
            raise ValueError(
                f"{scan_file.labels}: expected the classes of the labels, found none; give "
                "--classes or --run_dir"
            )
        return _read_with_label_file(scan_file, classes)
    name = scan_file.label_property
    scene = scan.read_scan(scan_file.path, scan_file.label_map, name, need_instances=False)
    if classes is not None and scene.semantic_ids is not None:
        _check_ids(f"{scan_file.path}: vertex property '{name}'", scene, classes)
    return without_too_many_instances(scene)


def without_too_many_instances(scene: Scene) -> Scene:
    """Returns the scene without its instances where a ground truth could not hold them all."""
    if scene.instance_ids is None:
        return scene
    count = len(np.unique(scene.instance_ids))
    if count < INSTANCES_PER_CLASS:
        return scene
    logging.info(
        "scene %s: expected fewer than %d instances, found %d; taken as a scan without",
        scene.name,
        INSTANCES_PER_CLASS,
        count,
    )
    return dataclasses.replace(scene, instance_ids=None)


def _read_with_label_file(scan_file: ScanFile, classes: ClassSet) -> Scene:
    scene = scan.read_scan(scan_file.path, label_property="", need_instances=False)
    path, count = pathlib.Path(scan_file.labels), len(scene.vertices)
    if scan_file.scores == semantic_input.FEATURES:
        semantic = semantic_input.read_semantic_input(
            path.parent, path.stem, count, classes, scan_file.scores
        )
    else:
        semantic = semantic_input.read_semantic_file(
            path, count, classes, scan_file.scores, scan_file.label_map
        )
    if semantic.features is not None and scan_file.label_map:
        raise ValueError(
            f"{path}: expected class ids together with a label map, found a table of "
            f"{scan_file.scores}, whose columns it does not change; leave --label_map out"
        )
    return dataclasses.replace(
        scene,
        semantic_ids=semantic.semantic_ids,
        features=semantic.features,
        instance_ids=None,  # the truth of other classes than these
    )


def _check_ids(owner: str, scene: Scene, classes: ClassSet) -> None:
    """Raises ValueError, naming `owner`, for class ids that the model does not know."""
    try:
        classes.channels_of(np.asarray(scene.semantic_ids))
    except ValueError as error:
        remedy = semantic_input.remedy_of_other_ids(classes)
        raise ValueError(f"{owner}: {error}; {remedy}") from error


def voxelize_for(scene: Scene, model: Model) -> VoxelScene:
    """Voxelizes a scan, metres and z up, as a model takes it.

    Raises:
        ValueError: no vertices, labels that the model does not know, or a scan that cannot be in
            metres.
    """
    config = model.config
    if not len(scene.vertices):
        raise ValueError(f"scene {scene.name}: expected vertices, found none")
    size = np.ptp(scene.vertices, axis=0)
    found = f"scene {scene.name}: expected metres, found a scan of {_times(size)}"
    voxels = math.prod((size / config.voxel_size + 1).tolist())
    if voxels > _MAX_VOXELS:
        raise ValueError(
            f"{found} which makes {voxels:.2g} voxels of {config.voxel_size:g} m; if its "
            "units are not metres, give --scale (0.001 for millimetres, 0.01 for centimetres), "
            "otherwise remove points that lie far from the rest"
        )
    scan.check_step(scene, config.voxel_size)
    with timing.stage("voxelize"):
        voxel_scene = voxelize(scene, config.voxel_size, config.classes)
        if voxels > _MANY_VOXELS and (spacing := _spacing(voxel_scene)) > _MAX_SPACING:
            raise ValueError(
                f"{found} whose points lie {spacing:.3g} voxels of {config.voxel_size:g} m apart; "
                "if its units are not metres, give --scale (0.001 for millimetres, 0.01 for "
                "centimetres), otherwise a denser scan"
            )
        if config.segment.probability_ids and voxel_scene.features is not None:
            best = semantic_input.best_classes(voxel_scene.features, config.classes)
            voxel_scene = dataclasses.replace(voxel_scene, semantic_ids=best)
        return voxel_scene


def _times(size: np.ndarray) -> str:
    return " x ".join(f"{length:.6g}" for length in size)


def _spacing(scene: VoxelScene) -> float:
    """Returns how far, in voxels, the next occupied voxel is from the typical one."""
    sample = scene.coordinates[:: math.ceil(len(scene.coordinates) / _SPACING_SAMPLE)]
    distances, _ = spatial.cKDTree(scene.coordinates).query(sample, 2)
    return float(np.median(distances[:, 1]))


def _why_nothing(scene: Scene, model: Model) -> str:
    """Returns why a scan, metres, may have no instances, for a person who expected some."""
    config = model.config
    things = config.segment.thing_ids
    if not np.isin(np.asarray(scene.semantic_ids), things).any():
        names = ", ".join(f"{i} {config.classes.name_of(i)}" for i in things)
        return f"no vertex has a class with instances ({names})"
    count = np.count_nonzero(np.isin(voxelize_for(scene, model).semantic_ids, things))
    return (
        f"the scan measures {_times(np.ptp(scene.vertices, axis=0))} m (see --scale), {count} of "
        f"its voxels of {config.voxel_size:g} m have a class with instances, and an instance needs "
        f"{config.segment.min_voxels} (--min_voxels)"
    )


def _require_plotly() -> None:
    try:
        importlib.import_module("plotly.offline")
    except ImportError as error:
        raise ImportError(
            f"the page needs plotly, which comes with open3d ({error}); install the requirements "
            "again or give --nohtml"
        ) from error


def _write_extras(
    folder: pathlib.Path, given: Scene, instances: list[Instance], classes: ClassSet
) -> None:
    """Writes the coloured scan and the summary, in the scan's own units and axes."""
    numbers = best_instances(instances, len(given.vertices))
    # Called neither label nor instance alone: nobody should take it for the truth.
    colored = dataclasses.replace(
        given, colors=instance_colors(numbers), instance_ids=None, features=None
    )
    predicted = {PREDICTED_INSTANCE: numbers}
    scan.write_scan(folder / f"{given.name}.ply", colored, properties=predicted)
    summary = summarize(given, instances, classes)
    files.write_text(folder / f"{given.name}.json", json.dumps(summary, indent=1) + "\n")
