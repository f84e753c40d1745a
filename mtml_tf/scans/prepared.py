"""Many scenes to voxelized ones, in parallel, resumable, whatever befalls single scenes.

Each scene becomes one file in a cache folder, written whole or not at all, by one of several
processes. A scene whose file is there, made from the same files with the same settings, is not
made again. How one scene is prepared, the `Preparation` knows: of ScanNet's, or of anyone's scans.
"""

import collections
import dataclasses
import io
import json
import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from mtml_tf import arrays, files, program
from mtml_tf.classes import ClassSet
from mtml_tf.engines import Engine
from mtml_tf.scans import semantic_input
from mtml_tf.scene import Points, VoxelScene

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
_POINT_ARRAYS = ("per_voxel", "cells", "semantic_ids", "instance_ids", "true_ids")
_CACHE_VERSION = 2  # 1 held no points


@dataclasses.dataclass(frozen=True)
class Source:
    """A scene that is to be prepared.

    Attributes:
        split: such as `train`.
        name: name of the scene.
        path: its file, or the folder of its files.
    """

    split: str
    name: str
    path: pathlib.Path


class Preparation(Protocol):
    """How one scene is prepared: a frozen data class, whose fields are the settings.

    It is sent to the other processes, which load no TensorFlow.

    Attributes:
        classes: that labels and semantic input have.
        voxel_size: edge length of a voxel, metres.
        semantic_dir: folder of predictions (see `semantic_input`) that become the input; empty
            for the true labels.
        scores: see `semantic_input.read_semantic_input`.
    """

    @property
    def classes(self) -> ClassSet: ...  # noqa: D102

    @property
    def voxel_size(self) -> float: ...  # noqa: D102

    @property
    def semantic_dir(self) -> str: ...  # noqa: D102

    @property
    def scores(self) -> str: ...  # noqa: D102

    def check(self, sources: Sequence[Source]) -> None:
        """Raises ValueError where, whatever the scenes are like, they can't be prepared."""

    def inputs(self, source: Source) -> list[pathlib.Path]:
        """Returns the files that a scene is made of, but for its semantic input."""

    def __call__(self, source: Source) -> tuple[VoxelScene, Array | None, list[str]]:
        """Prepares one scene, its true labels as input.

        Returns:
            The scene; int64 [N] ground truth ids of its vertices, or None; and what is wrong with
            it, a sentence each that names the file.

        Raises:
            ValueError: a scene that can't be prepared.
        """


def check_settings(preparation: Preparation) -> None:
    """Raises ValueError at scores of no known kind, or a voxel size not above 0 and finite."""
    semantic_input.check_scores(preparation.scores)
    if not 0 < preparation.voxel_size < math.inf:
        raise ValueError(f"expected a voxel_size above 0 m, found {preparation.voxel_size}")


def settings_of(preparation: Preparation) -> dict[str, Any]:
    """Returns the settings as they come back from a JSON file."""
    return json.loads(json.dumps(dataclasses.asdict(preparation)))  # type: ignore[call-overload]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a scene.

    Attributes:
        split: such as `train`.
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
    sources: Sequence[Source],
    preparation: Preparation,
    cache_dir: str | pathlib.Path,
    engine: Engine = Engine(),
) -> list[Outcome]:
    """Prepares scenes; one that can't be prepared does not stop the others.

    Args:
        sources: the scenes.
        preparation: how each is prepared.
        cache_dir: folder of the prepared scenes; made where it is missing.
        engine: where the work is done.

    Returns:
        What became of each scene, in the given order.

    Raises:
        ValueError: what the `Preparation` checks, predictions that are asked for and of which
            there are none, or an engine that failed.
    """
    if preparation.semantic_dir:
        names = [source.name for source in sources]
        semantic_input.check_folder(preparation.semantic_dir, names)
    preparation.check(sources)
    worker = _Worker(preparation, pathlib.Path(cache_dir))
    results = engine.map(worker, sources, "scenes", cache_dir)
    outcomes = [
        Outcome(source.split, source.name, path and pathlib.Path(path), tuple(reasons), width)
        for source, (path, reasons, width) in zip(
            sources, program.progress(results, "scenes", len(sources)), strict=True
        )
    ]
    return _without_odd_features(outcomes)


@dataclasses.dataclass(frozen=True)
class _Worker:
    """Prepares one scene, unless it is cached.

    Returns path (None where it failed), reasons and num_features of its `Outcome`.
    """

    preparation: Preparation
    cache_dir: pathlib.Path

    def __call__(self, source: Source) -> tuple[str | None, list[str], int]:
        path = self.cache_dir / source.split / f"{source.name}.npz"
        try:
            stamp = self._stamp(source)
            cached = _read_header(path)
            if cached is None or cached["stamp"] != stamp:
                _write_prepared(path, *self._prepare(source), stamp)
                cached = _read_header(path)
            if cached is None:
                raise ValueError(f"{path}: expected the prepared scene to be readable")
            return str(path), cached["faults"], cached["num_features"]
        except files.DiskError:  # the same for every scene
            raise
        # Whatever is wrong with one scene must not cost the other 1,500.
        except Exception as error:
            reason = str(error) or "no reason given"
            if not isinstance(error, ValueError):
                reason = f"{source.path}: {type(error).__name__}: {reason}"
            return None, [reason], 0

    def _prepare(self, source: Source) -> tuple[VoxelScene, Array | None, list[str]]:
        by = self.preparation
        if by.semantic_dir:  # quickly told, where reading a mesh takes a while
            semantic_input.files_to_read(by.semantic_dir, source.name, by.scores)
        scene, truth, faults = by(source)
        # Instances come from the true classes; only then is the input exchanged.
        if by.semantic_dir and scene.vertex_to_voxel is not None:
            given = semantic_input.read_semantic_input(
                *(by.semantic_dir, source.name, len(scene.vertex_to_voxel)), by.classes, by.scores
            )
            scene = semantic_input.with_semantic_input(scene, given, by.classes)
        return scene, truth, faults

    def _stamp(self, source: Source) -> str:
        """Returns a text that changes with the settings and with the scene's files."""
        paths = self.preparation.inputs(source)
        if self.preparation.semantic_dir:
            paths = [*paths, *semantic_input.find_files(self.preparation.semantic_dir, source.name)]
        stats = [(str(path), path.stat()) for path in paths if path.is_file()]
        described = [(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats]
        return json.dumps([_CACHE_VERSION, settings_of(self.preparation), described])


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
    path: pathlib.Path, scene: VoxelScene, truth: Array | None, faults: list[str], stamp: str
) -> None:
    header = {
        "name": scene.name,
        "grid_shape": list(scene.grid_shape),
        "voxel_size": scene.voxel_size,
        "num_features": scene.num_features,
        "stamp": stamp,
        "faults": faults,
    }
    given = {name: getattr(scene, name) for name in _ARRAYS}
    given["truth"] = truth
    if scene.points is not None:
        given |= {f"points.{name}": getattr(scene.points, name) for name in _POINT_ARRAYS}
    present = {name: array for name, array in given.items() if array is not None}
    content = io.BytesIO()  # a zip file on a disk that fails would print a traceback as it goes
    np.savez(content, header=np.array(json.dumps(header)), **present)
    with files.writing_file(path, overwrite=True) as temporary:
        temporary.write_bytes(content.getbuffer())


def _read_header(path: pathlib.Path) -> dict | None:
    """Returns what is known of a cached scene, or None where it is missing or not readable."""
    try:
        return _checked_header(path, arrays.read_npz(path))
    except ValueError:  # it is simply made again
        return None


def _checked_header(path: pathlib.Path, found: dict[str, Array]) -> dict:
    """Takes the header out of the arrays of a cached scene. Raises ValueError where it is none."""
    header = files.parse_json(str(found.pop("header", "")))
    wanted = {"name": str, "grid_shape": list, "voxel_size": float, "num_features": int}
    wanted |= {"stamp": str, "faults": list}
    if not isinstance(header, dict) or any(
        not isinstance(header.get(field), kind) for field, kind in wanted.items()
    ):
        raise ValueError(f"{path}: expected the header of a prepared scene, found another")
    return header


def _read_prepared(path: pathlib.Path) -> tuple[VoxelScene, Array | None]:
    found = arrays.read_npz(path)
    try:
        header = _checked_header(path, found)
        of_points = {
            name: found[f"points.{name}"] for name in _POINT_ARRAYS if f"points.{name}" in found
        }
        scene = VoxelScene(
            name=header["name"],
            grid_shape=tuple(header["grid_shape"]),
            voxel_size=header["voxel_size"],
            points=Points(**of_points) if of_points else None,
            **{name: found[name] for name in _ARRAYS if name in found},
        )
    except (TypeError, IndexError, ValueError) as error:
        raise ValueError(
            f"{path}: expected a prepared scene, found {files.shown(str(error))}; remove the file "
            "and start again"
        ) from error
    return scene, found.get("truth")
