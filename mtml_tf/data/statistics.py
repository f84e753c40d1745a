"""What training must know of a split before its first step: measured when it is written.

    {"version": 1, "num_scenes": 900, "voxel_size": 0.1, "num_features": 0,
     "are_probabilities": false, "without_instances": "", "instance_sizes": {"2": [180, 216], ...}}

The manifest lists this file, `<split>-statistics.json`, beside the shards that it was measured on,
with its SHA-256; sizes of the scenes and of their grids are in the index. So a training starts
without reading a record. Of folders that were written before there were statistics, the scenes are
measured when they are asked for.
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Iterable
from typing import Any

from absl import logging

from mtml_tf import files
from mtml_tf.classes import ClassSet
from mtml_tf.data.records import DataFolder, read_object
from mtml_tf.scans.semantic_input import fault_of_probabilities
from mtml_tf.scene import VoxelScene
from mtml_tf.segmentation.scores import instance_sizes

_VERSION = 1  # a reader takes no other, and measures the scenes


@dataclasses.dataclass(frozen=True)
class Statistics:
    """What is known of scenes.

    Attributes:
        num_scenes: how many they are, at least 1.
        voxel_size: metres; of the first one.
        num_features: C of the first one; 0 where class ids are the input.
        are_probabilities: whether the features of every scene are class probabilities, one a
            class.
        without_instances: name of the first scene that has no instance ids; empty where all have.
        instance_sizes: for each class id the numbers of voxels of its instances, in the order of
            the scenes; of scenes with instance ids.
    """

    num_scenes: int
    voxel_size: float
    num_features: int
    are_probabilities: bool
    without_instances: str
    instance_sizes: dict[int, list[int]]


def measure(scene: VoxelScene, classes: ClassSet) -> Statistics:
    """Returns the statistics of one scene."""
    has_instances = scene.instance_ids is not None
    return Statistics(
        num_scenes=1,
        voxel_size=float(scene.voxel_size),
        num_features=scene.num_features,
        are_probabilities=scene.features is not None
        and scene.num_features == len(classes)
        and not fault_of_probabilities(scene.features),
        without_instances="" if has_instances else scene.name,
        instance_sizes=instance_sizes(scene) if has_instances else {},
    )


def join(parts: Iterable[Statistics]) -> Statistics:
    """Returns the statistics of all scenes from those of each, at least one, in their order."""
    parts = list(parts)
    sizes: dict[int, list[int]] = {}
    for part in parts:
        for class_id, counts in part.instance_sizes.items():
            sizes.setdefault(class_id, []).extend(counts)
    return Statistics(
        num_scenes=sum(part.num_scenes for part in parts),
        voxel_size=parts[0].voxel_size,
        num_features=parts[0].num_features,
        are_probabilities=all(part.are_probabilities for part in parts),
        without_instances=next((p.without_instances for p in parts if p.without_instances), ""),
        instance_sizes=dict(sorted(sizes.items())),
    )


def write_statistics(folder: pathlib.Path, split: str, statistics: Statistics) -> pathlib.Path:
    """Writes the statistics of a split; returns the new file in `folder`."""
    path = folder / f"{split}-statistics.json"
    content = {"version": _VERSION, **dataclasses.asdict(statistics)}
    files.write_text(path, json.dumps(content) + "\n")
    return path


def read_statistics(folder: DataFolder, split: str) -> Statistics:
    """Returns the statistics of a split; measures all its scenes where none are written.

    Raises:
        ValueError: no such split, or files that can't be read, are damaged or do not fit.
    """
    entries, path = folder.entries(split), folder.statistics_path(split)
    written = read_object(path) if path else {}
    if path is None or written.get("version") != _VERSION:
        logging.info(
            "%s: reads all %d scenes of split '%s' for their statistics; prepared anew, the folder "
            "holds them, and a training starts sooner",
            *(folder.path, len(entries), split),
        )
        return join(measure(scene, folder.classes) for scene in folder.scenes(split))
    try:
        statistics = _decode(written)
        if statistics.num_scenes != len(entries):
            raise ValueError(f"{statistics.num_scenes} scenes")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{path}: expected the statistics of {len(entries)} scenes, found others "
            f"({files.shown(str(error))}); make the data folder again"
        ) from error
    return statistics


def _decode(content: dict[str, Any]) -> Statistics:
    """Returns what `write_statistics` wrote. Raises an error of Python where it is something else.

    Beyond types, what is written is the manifest's to vouch for.
    """
    fields = dataclasses.fields(Statistics)
    given = {field.name: content[field.name] for field in fields}
    for field in fields:
        if field.type in (int, float, bool, str) and type(given[field.name]) is not field.type:
            raise TypeError(f"{field.name} {given[field.name]}")
    sizes = given.pop("instance_sizes")
    statistics = Statistics(
        **given, instance_sizes={int(class_id): list(sizes[class_id]) for class_id in sizes}
    )
    if not (0 < statistics.voxel_size < math.inf and statistics.num_features >= 0):
        raise ValueError(f"voxels of {statistics.voxel_size} m, {statistics.num_features} features")
    for class_id, counts in statistics.instance_sizes.items():
        if not counts or not all(type(count) is int and count > 0 for count in counts):
            raise ValueError(f"instances of class {class_id} without voxels")
    return statistics
