"""One labelled scan to a voxelized scene with its ground truth; `prepared` does so with many."""

import dataclasses
import pathlib
import re
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from mtml_tf.classes import ClassSet
from mtml_tf.scans import prepared, scan, semantic_input, voxels
from mtml_tf.scans.prepared import Source
from mtml_tf.scans.turning import turned
from mtml_tf.scene import Scene, VoxelScene
from mtml_tf.scoring import ground_truth


def find_scans(
    input_dir: str | pathlib.Path,
    scenes: Collection[str] = (),
    exclude_scenes: Collection[str] = (),
) -> list[pathlib.Path]:
    """Returns the PLY files of a folder, `scan2.ply` before `scan10.ply`.

    Args:
        input_dir: the folder.
        scenes: stems of the files to take; all where empty.
        exclude_scenes: stems of the files to leave out.

    Raises:
        ValueError: no such folder, no PLY file in it, a stem that it does not have, or nothing
            left to take.
    """
    folder = pathlib.Path(input_dir)
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder of PLY files, found no such folder")
    by_stem = {path.stem: path for path in folder.iterdir() if path.suffix.lower() == ".ply"}
    if not by_stem:
        raise ValueError(f"{folder}: expected PLY files, found none")
    missing = sorted({*scenes, *exclude_scenes} - set(by_stem), key=_natural)
    if missing:
        raise ValueError(f"{folder}: expected the file {missing[0]}.ply, found no such file")
    stems = (set(scenes) or set(by_stem)) - set(exclude_scenes)
    if not stems:
        raise ValueError(f"{folder}: expected at least one scan to take, found all excluded")
    return [by_stem[stem] for stem in sorted(stems, key=_natural)]


def as_split(name: str, paths: Iterable[pathlib.Path]) -> list[Source]:
    """Returns scans as the scenes of a split.

    Raises:
        ValueError: a name that can't be that of a split, which names files and a folder.
    """
    if name.split() != [name] or "/" in name or name.startswith("."):
        raise ValueError(
            f"expected the name of a split without spaces, slashes and a dot in front, found "
            f"'{name}'"
        )
    return [Source(name, scan.scene_name(path), path) for path in paths]


def check_names(sources: Iterable[Source]) -> None:
    """Raises ValueError where two scans of a split have one name."""
    seen: dict[tuple[str, str], pathlib.Path] = {}
    for source in sources:
        other = seen.setdefault((source.split, source.name), source.path)
        if other != source.path:
            raise ValueError(f"{source.path}: expected a new scene name, found that of {other}")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How scans are read and voxelized; see `prepared.Preparation`.

    Attributes:
        classes: the classes that they may carry.
        voxel_size: edge length of a voxel, metres.
        semantic_dir: folder of predictions (see `semantic_input`); empty for the true labels.
            With it, scans without labels have neither instances nor ground truth.
        scores: see `semantic_input.read_semantic_input`.
        label_map: see `scan.read_scan`.
        up_axis, scale: of the files, see `scan.in_metres`.
        origin_jitter_seed: where given, each grid starts at a random place within a voxel below
            the scan's corner, drawn from this seed and the scene's name.
        turn: degrees; every scan is turned about the vertical axis by a random angle of at most
            so much, drawn like the origin.
        suffix: appended to the scenes' names, to tell such copies of a scan apart.

    Raises:
        ValueError: scores of no known kind, or a voxel size that is not above 0 and finite.
    """

    classes: ClassSet
    voxel_size: float
    semantic_dir: str = ""
    scores: str = semantic_input.PROBABILITIES
    label_map: Mapping[int, int] = dataclasses.field(default_factory=dict)
    up_axis: str = "z"
    scale: float = 1.0
    origin_jitter_seed: int | None = None
    turn: float = 0.0
    suffix: str = ""

    def __post_init__(self) -> None:
        prepared.check_settings(self)

    def check(self, sources: Sequence[Source]) -> None:
        """Raises ValueError where two scans have one name."""
        check_names(sources)

    def inputs(self, source: Source) -> list[pathlib.Path]:
        """Returns the scan's file."""
        return [source.path]

    def __call__(self, source: Source) -> tuple[VoxelScene, np.ndarray | None, list[str]]:
        """Prepares one scan; see `prepared.Preparation`."""
        return (*self.voxelize(source.path), [])

    def voxelize(self, path: pathlib.Path) -> tuple[VoxelScene, np.ndarray | None]:
        """Reads a scan, its labels as input.

        Returns:
            The voxelized scene, and int64 [N] ground truth ids of its vertices, None where the
            scan has no instances.

        Raises:
            ValueError: a scan that can't be read or voxelized.
        """
        given = scan.read_scan(path, self.label_map)
        try:
            scene = self._varied(scan.in_metres(given, self.up_axis, self.scale))
            if scene.semantic_ids is None and self.semantic_dir:
                unlabelled = np.zeros(len(scene.vertices), np.int32)
                scene = dataclasses.replace(scene, semantic_ids=unlabelled, instance_ids=None)
            scan.check_step(scene, self.voxel_size)
            voxel_scene = voxels.voxelize(
                *(scene, self.voxel_size, self.classes, self._origin(scene)), with_points=True
            )
            truth = None
            if scene.instance_ids is not None:
                truth = ground_truth.ground_truth_ids(scene, self.classes)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        return voxel_scene, truth

    def _origin(self, scene: Scene) -> np.ndarray | None:
        if self.origin_jitter_seed is None:
            return None
        return scene.vertices.min(axis=0) - self._rng(scene).random(3) * self.voxel_size

    def _varied(self, scene: Scene) -> Scene:
        scene = dataclasses.replace(scene, name=scene.name + self.suffix)
        if not self.turn:
            return scene
        return turned(scene, np.radians(self.turn) * self._rng(scene).uniform(-1, 1))

    def _rng(self, scene: Scene) -> np.random.Generator:
        return np.random.default_rng(
            (self.origin_jitter_seed or 0, zlib.crc32(scene.name.encode()))
        )


def _natural(stem: str) -> list[tuple[int, str]]:
    """Sorts numbers within a name by their value."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", stem)
    ]
