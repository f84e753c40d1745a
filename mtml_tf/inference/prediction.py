"""From a trained model to the files of a scan of one's own."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from absl import logging
from scipy import spatial

from mtml_tf import files, timing
from mtml_tf.classes import ClassSet
from mtml_tf.drawing.pictures import instance_colors
from mtml_tf.drawing.view import scan_view
from mtml_tf.drawing.view_html import plotly_script, write_view
from mtml_tf.inference.models import Model, Values
from mtml_tf.scans import scan, semantic_input, turning
from mtml_tf.scans.scan_file import ScanFile, read_labelled_scan
from mtml_tf.scans.voxels import devoxelize, mean_on_voxels, on_vertices, voxelize
from mtml_tf.scene import Instance, Scene, VoxelScene
from mtml_tf.scoring.benchmark_format import write_predictions
from mtml_tf.scoring.folders import PREDICTIONS, SCAN_SETTINGS
from mtml_tf.scoring.summary import best_instances, summarize
from mtml_tf.segmentation.scores import normalized

# The vertex property of the coloured scan.
PREDICTED_INSTANCE = "predicted_instance"
# Voxels of a grid, occupied or not: eight times a large building at 10 cm.
_MAX_VOXELS = 1 << 33
# A grid above this (60 x 40 x 7 m at 10 cm) takes a minute on a CPU and is looked at twice: where
# occupied voxels lie far apart, the scan's units are others and nothing will be found.
_MANY_VOXELS = 1 << 24
_MAX_SPACING = 4  # voxels
_SPACING_SAMPLE = 1000


class Labelling(Protocol):
    """Labels scans; `semantic.labelling.SemanticLabels` does."""

    def settings(self) -> dict[str, Any]:
        """Returns all that the labels depend on beside the scan, as JSON has it."""

    def __call__(self, scene: Scene, classes: ClassSet) -> Scene:
        """Returns a scan, metres and z up, with class ids and, as features, probabilities."""


def segment_scan(scene: Scene, model: Model, num_views: int = 1) -> list[Instance]:
    """Segments a scan.

    Args:
        scene: a scan, in metres and z up, with a class id for each vertex, and the features that
            the model takes where it takes features.
        model: a trained model.
        num_views: at how many turns the network sees the scan; see `predict_views`.

    Returns:
        Instances, best first; indices are rows of the scan's vertices.

    Raises:
        ValueError: no scan, no labels, labels that the model does not know, a scan that is too
            large, such as one in millimetres, or less than one view.
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
    return segment_voxels(scene, voxel_scene, model, num_views)


def segment_voxels(
    scene: Scene, voxel_scene: VoxelScene, model: Model, num_views: int = 1
) -> list[Instance]:
    """Segments a scan on voxels that are there already; see `segment_scan`."""
    values = predict_views(scene, voxel_scene, model, num_views)
    return on_scan(model.segment_values(voxel_scene, values), voxel_scene)


def predict_views(scene: Scene, voxel_scene: VoxelScene, model: Model, num_views: int) -> Values:
    """Evaluates the network on a scan at several turns about the vertical axis.

    Every view has a grid of its own. What is found on it comes to the voxels of the scan as it
    stands through the vertices, of whose values a voxel gets the mean. A single view is the scan as
    it stands.

    Args:
        scene: the scan, in metres and z up.
        voxel_scene: its M voxels.
        model: a trained model.
        num_views: how many turns; the network takes as many times as long.

    Returns:
        Of one view, what the network gives. Of several, as embedding float32 [M, num_views * E],
        those of the views side by side, scaled so that the square of a distance is the mean over
        the views; as direction the sum of the views' directions, each turned back and of length 1;
        as labels the mean of the views' probabilities.

    Raises:
        ValueError: see `voxelize_for`, and less than one view.
    """
    _, *others = turning.view_angles(num_views)
    embedding, direction, labels = model.predict(voxel_scene)
    if not others:
        return Values(embedding, direction, labels)
    embeddings, directions = [embedding], [normalized(direction)]
    of_labels = [] if labels is None else [labels]
    for angle in others:
        view = voxelize_for(turning.turned(scene, angle), model)

        def seen(values: np.ndarray, view: VoxelScene = view) -> np.ndarray:
            return mean_on_voxels(devoxelize(values, view), voxel_scene)

        embedding, direction, labels = model.predict(view)
        embeddings.append(seen(embedding))
        directions.append(seen(turning.turned_vectors(normalized(direction), -angle)))
        if labels is not None:
            of_labels.append(seen(labels))
    return Values(
        np.concatenate(embeddings, axis=1) * np.float32(1 / math.sqrt(num_views)),
        np.sum(directions, axis=0).astype(np.float32),
        np.mean(of_labels, axis=0, dtype=np.float32) if of_labels else None,
    )


def on_scan(instances: list[Instance], voxel_scene: VoxelScene) -> list[Instance]:
    """Brings instances from the voxels of a scan to its vertices."""
    with timing.stage("onto the vertices"):
        return [on_vertices(instance, voxel_scene) for instance in instances]


@dataclasses.dataclass(frozen=True)
class ScanOutput:
    """What is written of a scan.

    Attributes:
        extras: the extras (see `predict_scan`) too.
        html: among them the page, which needs plotly.
        compact: compact masks in place of the benchmark's text.
    """

    extras: bool = True
    html: bool = True
    compact: bool = False


def predict_scan(
    model: Model,
    scan_file: ScanFile,
    output_dir: str | pathlib.Path,
    overwrite: bool = False,
    written: ScanOutput = ScanOutput(),
    num_views: int = 1,
    settings: Mapping[str, Any] | None = None,
    labelling: Labelling | None = None,
) -> tuple[int, timing.Seconds]:
    """Segments one scan and writes what was found.

    The output folder gets `<scene>.txt` and `predicted_masks/` (benchmark format) and, as extras,
    `<scene>.ply` (the scan coloured by instance, with `predicted_instance` as a vertex
    property), `<scene>.json` (see `scoring.summary`) and `<scene>.html` (see
    `drawing.view_html`). Scores and submissions read the benchmark format only; extras do not
    disturb them.

    Args:
        model: a trained model.
        scan_file: the scan.
        output_dir: appears whole or not at all.
        overwrite: replace a folder that exists.
        written: what of it is written.
        num_views: see `segment_scan`.
        settings: what it is predicted by, to be written beside it.
        labelling: tells the classes of a scan that has none.

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
        if written.extras and written.html:
            with timing.stage("import plotly"):
                plotly_script()
        with timing.stage("read the scan"):
            given = read_labelled_scan(scan_file, model.config.classes, bool(labelling))
        metric = scan.in_metres(given, scan_file.up_axis, scan_file.scale)
        if labelling and metric.semantic_ids is None:
            metric = _labelled(metric, model, labelling)
            given = dataclasses.replace(given, semantic_ids=metric.semantic_ids, instance_ids=None)
        instances = segment_scan(metric, model, num_views)
        if not instances:
            logging.info("scan %s: 0 instances: %s", given.name, _why_nothing(metric, model))
        with timing.stage("write the masks"):
            count = len(given.vertices)
            write_predictions(output, given.name, instances, count, written.compact)
            if settings is not None:
                files.write_text(output / SCAN_SETTINGS, json.dumps(settings, indent=1) + "\n")
        if written.extras:
            with timing.stage("write the extras"):
                _write_extras(output, given, instances, model.config.classes)
        if written.extras and written.html:
            with timing.stage("write the page"):
                view = scan_view(metric, instances, model.config.classes)
                write_view(output / f"{given.name}.html", view)
    return len(instances), seconds


def _labelled(scene: Scene, model: Model, labelling: Labelling) -> Scene:
    """Returns a scan with labels as the model takes them: ids, or class probabilities."""
    config = model.config
    with timing.stage("label the scan"):
        labelled = labelling(scene, config.classes)
    if config.segment.probability_ids:
        return labelled
    if config.network.input_channels != len(config.classes):
        raise ValueError(
            f"scene {scene.name}: expected a model that takes classes of vertices, to take them "
            f"from a semantic network, found one of {config.network.input_channels} features"
        )
    return dataclasses.replace(labelled, features=None)


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
        f"{config.segment.min_voxels} (--min_voxels) and a score of {config.segment.min_score:g} "
        "(--min_score)"
    )


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
