"""Raw ScanNet scenes to voxelized ones, in parallel, resumable, whatever befalls single scenes.

Each scene becomes one file in a cache folder, written whole or not at all, by one of several
processes. A scene whose file is there, made from the same files with the same settings, is not
made again.
"""

import collections
import dataclasses
import json
import math
import pathlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from mtml_tf import files, parallel, program
from mtml_tf.classes import SCANNET20
from mtml_tf.scannet import layout, reader
from mtml_tf.scans import semantic_input, voxels
from mtml_tf.scene import VoxelScene

Array = np.ndarray

PREPARED, WARNED, FAILED = "prepared", "warned", "failed"
# Fields of a VoxelScene that are arrays, and may be None.
_ARRAYS = (
    "coordinates",
    "origin",
    "semantic_ids",
    "instance_ids",
    "features",
    "vertex_to_voxel",
)


@dataclasses.dataclass(frozen=True)
class Settings:
    """How scenes are prepared.

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
        if self.scores not in semantic_input.SCORES:
            raise ValueError(
                f"expected scores among {list(semantic_input.SCORES)}, found '{self.scores}'"
            )
        if not 0 < self.voxel_size < math.inf:
            raise ValueError(f"expected a voxel_size above 0 m, found {self.voxel_size}")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a scene.

    Attributes:
        split: `train`, `val` or `test`.
        name: name of the scene.
        path: where it is cached; None where it failed.
        reasons: what is wrong with it, a sentence each that names the file.
        num_features: C of its input, 0 for ids.
    """

    split: str
    name: str
    path: pathlib.Path | None
    reasons: tuple[str, ...]
    num_features: int = 0

    @property
    def status(self) -> str:
        """`prepared`, `warned` (prepared, with reasons) or `failed`."""
        if self.path is None:
            return FAILED
        return WARNED if self.reasons else PREPARED


@dataclasses.dataclass(frozen=True)
class PreparedScenes:
    """Prepared scenes, read one by one as they are iterated over.

    Yields pairs: the voxelized scene, and int64 [N] ground truth ids of its vertices, or None.

    Attributes:
        paths: the cached files.
    """

    paths: Sequence[pathlib.Path]

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[tuple[VoxelScene, Array | None]]:
        for path in self.paths:
            yield _read_prepared(path)


def prepare_scenes(
    scenes: Iterable[tuple[str, str]],
    settings: Settings,
    cache_dir: str | pathlib.Path,
    num_workers: int = 0,
) -> list[Outcome]:
    """Prepares scenes; one that can't be prepared does not stop the others.

    Args:
        scenes: (split, name) of each. Scenes of split `test` have a mesh alone: they need
            predictions, and get neither instances nor ground truth.
        settings: see `Settings`.
        cache_dir: folder of the prepared scenes; made where it is missing.
        num_workers: how many processes; 0 for one a core, 1 for this one.

    Returns:
        What became of each scene, in the given order.

    Raises:
        ValueError: no label table, no predictions where they are asked for or for test scenes, or
            a process that died.
    """
    scenes = list(scenes)
    _check_semantic_dir(scenes, settings)
    label_table: dict[str, int] = {}
    if any(split != layout.TEST_SPLIT for split, _ in scenes):
        label_table = reader.read_label_table(
            pathlib.Path(settings.scannet_dir, layout.LABEL_TABLE)
        )
    worker = _Worker(settings, label_table, pathlib.Path(cache_dir))
    outcomes = parallel.map_processes(worker, scenes, "scenes", num_workers)
    return _without_odd_features(list(program.progress(outcomes, "scenes", len(scenes))))


@dataclasses.dataclass(frozen=True)
class _Worker:
    """Prepares one scene; sent to the other processes, which load no TensorFlow."""

    settings: Settings
    label_table: dict[str, int]
    cache_dir: pathlib.Path

    def __call__(self, scene: tuple[str, str]) -> Outcome:
        split, name = scene
        path = self.cache_dir / split / f"{name}.npz"
        try:
            stamp = self._stamp(split, name)
            cached = _read_header(path)
            if cached is None or cached["stamp"] != stamp:
                voxel_scene, truth, faults = self._prepare(split, name)
                _write_prepared(path, voxel_scene, truth, stamp, faults)
                cached = _read_header(path)
            if cached is None:
                raise ValueError(f"{path}: expected the prepared scene to be readable")
            return Outcome(split, name, path, tuple(cached["faults"]), cached["num_features"])
        # Whatever is wrong with one scene must not cost the other 1,500.
        except Exception as error:
            reason = str(error) or "no reason given"
            if not isinstance(error, ValueError):
                folder = reader.scene_folder(self.settings.scannet_dir, split, name)
                reason = f"{folder}: {type(error).__name__}: {reason}"
            return Outcome(split, name, None, (reason,))

    def _prepare(self, split: str, name: str) -> tuple[VoxelScene, Array | None, list[str]]:
        settings = self.settings
        folder = reader.scene_folder(settings.scannet_dir, split, name)
        if settings.semantic_dir:  # quickly told, where reading a mesh takes a while
            semantic_input.files_to_read(settings.semantic_dir, name, settings.scores)
        faults: list[str] = []
        truth = None
        if split == layout.TEST_SPLIT:
            scene = reader.read_mesh(folder, settings.align_axes)
        else:
            scene, faults = reader.read_scene(folder, self.label_table, settings.align_axes)
            truth = reader.benchmark_ids(scene)
        # Instances come from the true classes; only then is the input exchanged.
        voxel_scene = voxels.voxelize(
            reader.with_benchmark_classes(scene), settings.voxel_size, SCANNET20
        )
        if settings.semantic_dir:
            given = semantic_input.read_semantic_input(
                settings.semantic_dir, name, len(scene.vertices), SCANNET20, settings.scores
            )
            voxel_scene = semantic_input.with_semantic_input(voxel_scene, given, SCANNET20)
        return voxel_scene, truth, faults

    def _stamp(self, split: str, name: str) -> str:
        """Returns a text that changes with the settings and with the scene's files."""
        folder = reader.scene_folder(self.settings.scannet_dir, split, name)
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
        paths.append(pathlib.Path(self.settings.scannet_dir, layout.LABEL_TABLE))
        if self.settings.semantic_dir:
            paths += semantic_input.find_files(self.settings.semantic_dir, name)
        stats = [(str(path), path.stat()) for path in paths if path.is_file()]
        described = [(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats]
        return json.dumps([dataclasses.asdict(self.settings), described])


def _check_semantic_dir(scenes: Sequence[tuple[str, str]], settings: Settings) -> None:
    if settings.semantic_dir:
        if not pathlib.Path(settings.semantic_dir).is_dir():
            raise ValueError(
                f"{settings.semantic_dir}: expected a folder of semantic predictions, found no "
                "such folder"
            )
        if scenes and not any(
            semantic_input.find_files(settings.semantic_dir, name) for _, name in scenes
        ):
            raise ValueError(
                f"{settings.semantic_dir}: expected files such as {scenes[0][1]}.txt or "
                f"{scenes[0][1]}.npy, found none of any of the {len(scenes)} scenes"
            )
    elif any(split == layout.TEST_SPLIT for split, _ in scenes):
        raise ValueError(
            f"split '{layout.TEST_SPLIT}': expected semantic predictions for its scenes, "
            "which have no labels, found none; give --semantic_dir or leave the split out"
        )


def _without_odd_features(outcomes: list[Outcome]) -> list[Outcome]:
    """Turns scenes whose input has another width than most scenes' into failed ones."""
    widths = collections.Counter(outcome.num_features for outcome in outcomes if outcome.path)
    if len(widths) < 2:
        return outcomes
    usual = widths.most_common(1)[0][0]

    def told(width: int) -> str:
        return f"{width} features a vertex" if width else "class ids"

    return [
        outcome
        if outcome.path is None or outcome.num_features == usual
        else dataclasses.replace(
            outcome,
            path=None,
            reasons=(
                f"scene {outcome.name}: expected {told(usual)} as semantic input, like most "
                f"scenes, found {told(outcome.num_features)}",
            ),
        )
        for outcome in outcomes
    ]


def _write_prepared(
    path: pathlib.Path, scene: VoxelScene, truth: Array | None, stamp: str, faults: list[str]
) -> None:
    header = {
        "name": scene.name,
        "grid_shape": list(scene.grid_shape),
        "voxel_size": scene.voxel_size,
        "num_features": scene.num_features,
        "stamp": stamp,
        "faults": faults,
    }
    arrays = {name: getattr(scene, name) for name in _ARRAYS}
    arrays["truth"] = truth
    present = {name: array for name, array in arrays.items() if array is not None}
    with files.writing_file(path, overwrite=True) as temporary, temporary.open("wb") as file:
        np.savez(file, header=np.array(json.dumps(header)), **present)


def _read_header(path: pathlib.Path) -> dict | None:
    """Returns what is known of a cached scene, or None where it is missing or not readable."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return json.loads(str(archive["header"]))
    except Exception:  # a zip file can be damaged in many ways; it is simply made again
        return None


def _read_prepared(path: pathlib.Path) -> tuple[VoxelScene, Array | None]:
    with np.load(path, allow_pickle=False) as archive:
        header = json.loads(str(archive["header"]))
        arrays = {name: archive[name] for name in (*_ARRAYS, "truth") if name in archive}
    truth = arrays.pop("truth", None)
    return (
        VoxelScene(
            name=header["name"],
            grid_shape=tuple(header["grid_shape"]),
            voxel_size=header["voxel_size"],
            **arrays,
        ),
        truth,
    )
