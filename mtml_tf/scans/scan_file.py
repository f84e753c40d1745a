"""Scans of one's own: which files they are, and where the classes of their vertices come from."""

import dataclasses
import itertools
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from absl import logging

from mtml_tf.classes import ClassSet
from mtml_tf.scans import preparing, scan, semantic_input
from mtml_tf.scene import Scene
from mtml_tf.scoring.ground_truth import INSTANCES_PER_CLASS


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


def named_paths(text: str) -> list[pathlib.Path]:
    """Returns the paths that a text names: one, or several with commas between.

    Raises:
        ValueError: none.
    """
    names = [text] if text and pathlib.Path(text).exists() else text.split(",")
    paths = [pathlib.Path(name.strip()) for name in names if name.strip()]
    if not paths:
        raise ValueError(f"expected paths of scans with commas between, found '{text}'")
    return paths


def output_folders(
    paths: Sequence[pathlib.Path], output_dir: str | pathlib.Path, like: ScanFile
) -> dict[pathlib.Path, ScanFile]:
    """Returns the scans that paths stand for, by the folders for what is found in them.

    Args:
        paths: of PLY files, or of folders, which stand for all PLY files in them.
        output_dir: the folder for a single file; several, and folders, get one each in it, of the
            scene's name.
        like: how to read the scans, of which one differs by its path alone; its `labels` are then
            a folder with `room2.txt` or `room2.npy` (for features both) for `room2.ply`.

    Raises:
        ValueError: a folder without PLY files, two scans of one name, or several scans and labels
            that are no folder or not there for one of them.
    """
    output_dir = pathlib.Path(output_dir)
    if len(paths) == 1 and not paths[0].is_dir():
        return {output_dir: dataclasses.replace(like, path=str(paths[0]))}
    labels_dir = pathlib.Path(like.labels)
    if like.labels and not labels_dir.is_dir():
        raise ValueError(
            f"{labels_dir}: expected a folder with a file of labels for each of several scans, "
            f"found {'a file' if labels_dir.exists() else 'no such folder'}"
        )
    scans: dict[pathlib.Path, ScanFile] = {}
    found = [preparing.find_scans(path) if path.is_dir() else [path] for path in paths]
    for path in itertools.chain(*found):
        folder, labels = output_dir / scan.scene_name(path), ""
        if folder in scans:
            raise ValueError(
                f"{path}: expected scans of different names, found that of {scans[folder].path}; "
                "rename one, or give them apart"
            )
        if like.labels:
            files_of_labels = semantic_input.files_to_read(
                labels_dir, scan.scene_name(path), like.scores
            )
            labels = str(files_of_labels.get(".npy") or files_of_labels[".txt"])
        scans[folder] = dataclasses.replace(like, path=str(path), labels=labels)
    return scans


def read_labelled_scan(
    scan_file: ScanFile, classes: ClassSet, may_lack_labels: bool = False
) -> Scene:
    """Reads a scan with a class for every vertex, in its own units and axes.

    Args:
        scan_file: the scan.
        classes: those that it may have.
        may_lack_labels: take a scan without labels too.

    Returns:
        The scene; it keeps its instances only where they can be the truth of these classes.

    Raises:
        ValueError: no labels, labels of other classes, or a file that can't be read.
    """
    if scan_file.labels:
        return _read_with_label_file(scan_file, classes)
    name = scan_file.label_property
    scene = scan.read_scan(scan_file.path, scan_file.label_map, name, need_instances=False)
    if scene.semantic_ids is None and may_lack_labels:
        return scene
    if scene.semantic_ids is None:
        raise ValueError(
            f"{scan_file.path}: expected a class for every vertex, found none; give it as a vertex "
            f"property '{scan.LABEL}' (or name yours by --label_property), by --labels=FILE.txt "
            "with an id in each line, or by --labels=FILE.npy with ids or class probabilities, or "
            "let a semantic network tell it by --semantic=NAME"
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
