"""How scans are read for a points folder: raw ScanNet's, or anyone's."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from mtml_tf.classes import SCANNET20, ClassSet
from mtml_tf.scannet import layout, reader
from mtml_tf.scannet import preparing as scannet_preparing
from mtml_tf.scans import preparing as scans_preparing
from mtml_tf.scans import scan, semantic_input
from mtml_tf.scans.prepared import Source
from mtml_tf.scene import Scene


@dataclasses.dataclass(frozen=True)
class ScannetPoints:
    """Reads scenes of raw ScanNet v2; see `point_folder.PointPreparation`.

    Scenes are turned as their `axisAlignment` says, as `tools/prepare_scannet.py` does. Those of
    split `test` have no labels.

    Attributes:
        scannet_dir: the download.
    """

    scannet_dir: str

    @property
    def classes(self) -> ClassSet:
        """The 20 classes of the benchmark."""
        return SCANNET20

    @property
    def settings(self) -> Mapping[str, Any]:
        """There are none: where the download lies changes nothing."""
        return {}

    def check(self, sources: Sequence[Source]) -> None:
        """Raises ValueError where there is no label table, or one that can't be read."""
        if any(source.split != layout.TEST_SPLIT for source in sources):
            reader.read_label_table(scannet_preparing.label_table_path(self.scannet_dir))

    def inputs(self, source: Source) -> list[pathlib.Path]:
        """Returns the files of a scene's folder, and the label table."""
        return scannet_preparing.files_of(source, self.scannet_dir)

    def __call__(self, source: Source) -> tuple[Scene, list[str]]:
        """Reads one scene; see `point_folder.PointPreparation`."""
        scene, faults = scannet_preparing.read_source(source, self.scannet_dir)
        if scene.semantic_ids is not None:
            scene = reader.with_benchmark_classes(scene)
        return scene, faults


@dataclasses.dataclass(frozen=True)
class ScanPoints:
    """Reads scans from PLY files, labelled or not; see `point_folder.PointPreparation`.

    Attributes:
        classes: the classes that they may carry.
        label_map: see `scan.read_scan`.
        up_axis, scale: of the files, see `scan.in_metres`.
    """

    classes: ClassSet
    label_map: Mapping[int, int] = dataclasses.field(default_factory=dict)
    up_axis: str = "z"
    scale: float = 1.0

    @property
    def settings(self) -> Mapping[str, Any]:
        """All but the classes, which are those of the folder."""
        label_map = sorted(self.label_map.items())
        return {"label_map": label_map, "up_axis": self.up_axis, "scale": self.scale}

    def check(self, sources: Sequence[Source]) -> None:
        """Raises ValueError where two scans have one name."""
        scans_preparing.check_names(sources)

    def inputs(self, source: Source) -> list[pathlib.Path]:
        """Returns the scan's file."""
        return [source.path]

    def __call__(self, source: Source) -> tuple[Scene, list[str]]:
        """Reads one scan; see `point_folder.PointPreparation`."""
        scene = scan.read_scan(source.path, self.label_map, need_instances=False)
        try:
            scene = scan.in_metres(scene, self.up_axis, self.scale)
        except ValueError as error:
            raise ValueError(f"{source.path}: {error}") from error
        try:
            if scene.semantic_ids is not None:
                self.classes.channels_of(scene.semantic_ids)
        except ValueError as error:
            remedy = semantic_input.remedy_of_other_ids(self.classes)
            raise ValueError(f"{source.path}: {error}; {remedy}") from error
        return scene, []
