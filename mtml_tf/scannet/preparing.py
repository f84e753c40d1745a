"""One scene of raw ScanNet to a voxelized one; `scans/prepared` does so with many."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from mtml_tf.classes import SCANNET20, ClassSet
from mtml_tf.scannet import layout, reader
from mtml_tf.scans import prepared, semantic_input, voxels
from mtml_tf.scans.prepared import Source
from mtml_tf.scene import Scene, VoxelScene


@dataclasses.dataclass(frozen=True)
class Settings:
    """How scenes are prepared; see `prepared.Preparation`.

    Scenes of split `test` have a mesh alone: they need predictions, and get neither instances nor
    ground truth.

    Attributes:
        scannet_dir: the download.
        semantic_dir: folder of predictions (see `semantic_input`); empty for the true labels.
        scores: see `semantic_input.read_semantic_input`.
        voxel_size: edge length of a voxel, metres; 10 cm in the paper.
        align_axes: see `reader.read_mesh`. The paper does not say; we: aligned.

    Raises:
        ValueError: scores of no known kind, or a voxel size that is not above 0 and finite.
    """

    scannet_dir: str
    semantic_dir: str = ""
    scores: str = semantic_input.PROBABILITIES
    voxel_size: float = 0.1
    align_axes: bool = True

    def __post_init__(self) -> None:
        prepared.check_settings(self)

    @property
    def classes(self) -> ClassSet:
        """The 20 classes of the benchmark."""
        return SCANNET20

    def check(self, sources: Sequence[Source]) -> None:
        """Raises ValueError where there is no label table, or no predictions for test scenes."""
        if any(source.split != layout.TEST_SPLIT for source in sources):
            reader.read_label_table(label_table_path(self.scannet_dir))
        if not self.semantic_dir and any(s.split == layout.TEST_SPLIT for s in sources):
            raise ValueError(
                f"split '{layout.TEST_SPLIT}': expected semantic predictions for its scenes, "
                "which have no labels, found none; give --semantic_dir or leave the split out"
            )

    def inputs(self, source: Source) -> list[pathlib.Path]:
        """Returns the files of a scene's folder, and the label table."""
        return files_of(source, self.scannet_dir)

    def __call__(self, source: Source) -> tuple[VoxelScene, np.ndarray | None, list[str]]:
        """Prepares one scene; see `prepared.Preparation`."""
        scene, faults = read_source(source, self.scannet_dir, self.align_axes)
        truth = None if source.split == layout.TEST_SPLIT else reader.benchmark_ids(scene)
        labelled = reader.with_benchmark_classes(scene)
        voxel_scene = voxels.voxelize(labelled, self.voxel_size, SCANNET20, with_points=True)
        return voxel_scene, truth, faults


def label_table_path(scannet_dir: str | pathlib.Path) -> pathlib.Path:
    """Returns where the download's label table lies."""
    return pathlib.Path(scannet_dir, layout.LABEL_TABLE)


def files_of(source: Source, scannet_dir: str | pathlib.Path) -> list[pathlib.Path]:
    """Returns the files of a scene's folder, and the label table."""
    paths = sorted(source.path.iterdir()) if source.path.is_dir() else []
    return [*paths, label_table_path(scannet_dir)]


def read_source(
    source: Source, scannet_dir: str | pathlib.Path, align_axes: bool = True
) -> tuple[Scene, list[str]]:
    """Reads a scene and, but for split `test`, its annotation; see `reader.read_scene`."""
    if source.split == layout.TEST_SPLIT:
        return reader.read_mesh(source.path, align_axes), []
    label_table = reader.read_label_table(label_table_path(scannet_dir))
    return reader.read_scene(source.path, label_table, align_axes)


def find_scenes(
    scannet_dir: str | pathlib.Path, splits: Sequence[str], split_dir: str = ""
) -> list[Source]:
    """Returns the scenes of splits, in the order of their lists.

    Args:
        scannet_dir: the download.
        splits: among `train`, `val`, `test`.
        split_dir: folder of the split lists; empty to look for them in the download.

    Raises:
        ValueError: a list that can't be read, or no splits.
    """
    if not splits:
        raise ValueError(f"{scannet_dir}: expected at least one split to prepare, found none")
    return [
        Source(split, name, reader.scene_folder(scannet_dir, split, name))
        for split in dict.fromkeys(splits)
        for name in reader.read_split(scannet_dir, split, split_dir)
    ]
