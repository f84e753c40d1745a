"""Views of scans, of records, of predictions and of what training sees."""

import dataclasses
import math
import pathlib

import numpy as np

from mtml_tf.backend import tf
from mtml_tf.classes import THING, ClassSet
from mtml_tf.config import DataConfig
from mtml_tf.data import pipeline
from mtml_tf.data.records import DataFolder, RecordEntry
from mtml_tf.drawing.pictures import class_colors, instance_colors
from mtml_tf.drawing.view import SEMANTIC, TRUTH, View, class_legend, scan_view
from mtml_tf.inference import prediction
from mtml_tf.inference.models import Model, load_model
from mtml_tf.scannet import reader
from mtml_tf.scans import scan
from mtml_tf.scans.scan_file import ScanFile, read_any_scan, read_labelled_scan
from mtml_tf.scans.voxels import devoxelize, on_vertices
from mtml_tf.scene import Instance, Scene, VoxelScene
from mtml_tf.scoring.benchmark_format import read_predictions

Array = np.ndarray
Path = str | pathlib.Path

_APART = 4  # voxels between draws that stand side by side


def view_scan(
    scan_file: ScanFile,
    classes: ClassSet | None = None,
    prediction_dir: Path = "",
    run_dir: Path = "",
    min_vertices: int = 100,
) -> View:
    """Makes a view of a scan in a file of its own.

    Args:
        scan_file: a scan, labelled or not.
        classes: of its labels; None takes those of the run, or else one class for each id there.
        prediction_dir: predictions in benchmark format, under the file's name; empty for none.
        run_dir: run folder of a model that gives embedding and direction, and the instances
            where there is no `prediction_dir`; the scan needs labels then. Empty for none.
        min_vertices: see `scan_view`.

    Raises:
        ValueError: a file that can't be read, or labels that the classes or the model don't know.
    """
    model = load_model(run_dir) if run_dir else None
    if model is not None:
        classes = classes or model.config.classes
        given = read_labelled_scan(scan_file, model.config.classes)
    else:
        given = read_any_scan(scan_file, classes)
        classes = classes or _classes_of(given)
    scene = scan.in_metres(given, scan_file.up_axis, scan_file.scale)
    voxel_scene = None if model is None else prediction.voxelize_for(scene, model)
    instances, embedding, direction = _predicted(scene, voxel_scene, model, prediction_dir)
    return scan_view(
        scene,
        instances,
        classes,
        embedding=embedding,
        direction=direction,
        min_vertices=min_vertices,
    )


def view_record(
    data_dir: Path,
    split: str,
    scene_name: str = "",
    scan_path: Path = "",
    scannet_dir: Path = "",
    prediction_dir: Path = "",
    run_dir: Path = "",
    min_vertices: int = 100,
) -> View:
    """Makes a view of a record of a data folder.

    Args:
        data_dir: a data folder.
        split: one of its splits.
        scene_name: the scene; empty for the first of the split.
        scan_path: PLY file of the scan that the record was made of; without it, and without
            `scannet_dir`, the view shows voxels.
        scannet_dir: folder of the raw ScanNet scenes that the data folder was made of.
        prediction_dir: predictions in benchmark format; empty for none.
        run_dir: run folder of a model that gives embedding and direction, and the instances
            where there is no `prediction_dir`. Empty for none.
        min_vertices: see `scan_view`.

    Raises:
        ValueError: a scene that is not there, a scan with another number of vertices than the
            record, or a file that can't be read.
    """
    folder = DataFolder(data_dir)
    entry = _entry(folder, split, scene_name)
    record = folder.scene(entry)
    mesh = None
    if scannet_dir:
        mesh = reader.read_mesh(reader.scene_folder(scannet_dir, split, entry.name))
    elif scan_path:
        mesh = scan.read_scan(scan_path)
    if mesh is not None and len(mesh.vertices) != record.num_vertices:
        raise ValueError(
            f"{scan_path or scannet_dir}: expected the {record.num_vertices} vertices of scene "
            f"{entry.name} in {data_dir}, found {len(mesh.vertices)}"
        )
    centres = record.origin + (record.coordinates + 0.5) * record.voxel_size
    scene = Scene(
        name=entry.name,
        vertices=_on_rows(centres, record) if mesh is None else mesh.vertices,
        colors=None if mesh is None else mesh.colors,
        semantic_ids=_on_rows(record.semantic_ids, record),
    )
    truth = None
    if folder.has_ground_truth(split, entry):
        truth = folder.ground_truth(split, entry)
    model = load_model(run_dir) if run_dir else None
    instances, embedding, direction = _predicted(scene, record, model, prediction_dir)
    view = scan_view(
        scene,
        instances,
        folder.classes,
        truth=truth,
        embedding=embedding,
        direction=direction,
        min_vertices=min_vertices,
    )
    if mesh is not None:
        return view
    if record.vertex_to_voxel is not None:
        # A voxel is as the first of its vertices is.
        view = view.select(np.sort(np.unique(record.vertex_to_voxel, return_index=True)[1]))
    return dataclasses.replace(view, voxel_size=record.voxel_size, of_points=0)


def view_augmented(
    data_dir: Path, split: str, config: DataConfig, scene_name: str = "", num_draws: int = 4
) -> View:
    """Makes a view of training examples as the network sees them, in rows along x.

    Args:
        data_dir: a data folder.
        split: one of its splits.
        config: which augmentations, and the seed.
        scene_name: shows draws of this scene; empty shows the first examples of a training.
        num_draws: how many.

    Raises:
        ValueError: a scene that is not there, or less than one draw.
    """
    if num_draws < 1:
        raise ValueError(f"expected at least 1 draw to show, found {num_draws}")
    folder = DataFolder(data_dir)
    entry = _entry(folder, split, scene_name)
    record = folder.scene(entry)
    config = dataclasses.replace(config, batch_size=1)
    if scene_name:
        names = [scene_name] * num_draws
        given = tf.constant(folder.record(entry))
        kind = (folder.classes, record.num_features, record.voxel_size)
        drawn = [
            pipeline.draw(given, tf.constant(number, tf.int64), config, *kind)
            for number in range(num_draws)
        ]
        examples = [{name: value.numpy() for name, value in each.items()} for each in drawn]
    else:
        entries = folder.entries(split)
        names = [pipeline.training_scenes(entries, config, step)[0] for step in range(num_draws)]
        dataset = pipeline.make_dataset(folder, split, config, num_steps=num_draws)
        examples = [{name: value.numpy()[0] for name, value in batch.items()} for batch in dataset]
    return _side_by_side(names, examples, folder.classes, record.voxel_size)


def _side_by_side(
    names: list[str], examples: list[dict[str, Array]], classes: ClassSet, voxel_size: float
) -> View:
    """Makes the view of examples (dictionaries as the network takes them, without batch axis)."""
    ids_of_channels = np.array([*classes.ids, 0], np.int32)
    points, semantic_ids, numbers, hover = [], [], [], []
    instances: list[Instance] = []
    num_points, columns = 0, math.ceil(math.sqrt(len(examples)))
    cell = np.max([example["grid_shape"] for example in examples], axis=0) + _APART
    for draw, (name, example) in enumerate(zip(names, examples, strict=True), start=1):
        row, column = divmod(draw - 1, columns)
        # The first stands at the back, seen from where a page or a picture looks.
        points.append(example["coordinates"] + cell * np.array([column, -row, 0]))
        if "channels" in example:
            labels = ids_of_channels[example["channels"]]
        elif example["features"].shape[1] == len(classes):
            labels = ids_of_channels[example["features"].argmax(axis=1)]
        else:  # features of any kind: nothing to colour classes by
            labels = np.zeros(len(points[-1]), np.int32)
        semantic_ids.append(labels)
        number_of_point = np.zeros(len(labels), np.int64)
        for instance_id in np.unique(example["instance_ids"]):
            if instance_id == 0:
                continue
            rows = np.flatnonzero(example["instance_ids"] == instance_id)
            class_id = int(np.bincount(labels[rows]).argmax())
            instances.append(Instance(class_id, math.nan, (rows + num_points).astype(np.int32)))
            number_of_point[rows] = len(instances)
        numbers.append(number_of_point)
        num_points += len(labels)
        class_names = {0: "unlabelled", **dict(zip(classes.ids, classes.names, strict=True))}
        for label, number in zip(labels.tolist(), number_of_point.tolist(), strict=True):
            target = f"\ninstance {number}" if number else ""
            hover.append(f"draw {draw}: {name}\ninput: {class_names[label]}{target}")
    ids = np.concatenate(semantic_ids)
    return View(
        title=f"{', '.join(dict.fromkeys(names))} as training sees it",
        points=(np.concatenate(points) + 0.5) * voxel_size,
        modes={
            SEMANTIC: class_colors(ids, classes),
            TRUTH: instance_colors(np.concatenate(numbers)),
        },
        hover=hover,
        instances=instances,
        class_names=class_names,
        legends={SEMANTIC: class_legend(ids, classes)},
        voxel_size=voxel_size,
    )


def _entry(folder: DataFolder, split: str, scene_name: str) -> RecordEntry:
    """Returns a scene of a split, the first where the name is empty."""
    entries = folder.entries(split)
    found = [entry for entry in entries if scene_name in ("", entry.name)]
    if not found:
        raise ValueError(
            f"{folder.path}: expected a scene of split '{split}', such as '{entries[0].name}', "
            f"found '{scene_name}'"
        )
    return found[0]


def _predicted(
    scene: Scene, voxel_scene: VoxelScene | None, model: Model | None, prediction_dir: Path
) -> tuple[list[Instance], Array | None, Array | None]:
    """Returns instances, embedding and direction on the vertices, as far as there are any."""
    instances: list[Instance] = []
    embedding = direction = None
    if prediction_dir:
        instances = read_predictions(prediction_dir, scene.name, len(scene.vertices))
    if model is not None and voxel_scene is not None:
        on_voxels = model.predict(voxel_scene)
        embedding = _on_rows(on_voxels.embedding, voxel_scene)
        if model.config.has_direction:
            direction = _on_rows(on_voxels.direction, voxel_scene)
        if not prediction_dir:
            found = model.segment_values(voxel_scene, on_voxels)
            instances = [on_vertices(instance, voxel_scene) for instance in found]
    return instances, embedding, direction


def _on_rows(values: Array, voxel_scene: VoxelScene) -> Array:
    """Returns values of voxels on the vertices; where there are none the voxels are them."""
    return values if voxel_scene.vertex_to_voxel is None else devoxelize(values, voxel_scene)


def _classes_of(scene: Scene) -> ClassSet:
    """Returns a class for each label of a scan whose classes nobody named, all of them things."""
    ids = [] if scene.semantic_ids is None else np.unique(scene.semantic_ids).tolist()
    ids = [class_id for class_id in ids if class_id > 0] or [1]
    return ClassSet(tuple(ids), tuple(f"class {i}" for i in ids), (THING,) * len(ids))
