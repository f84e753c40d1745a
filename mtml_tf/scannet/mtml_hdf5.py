"""The voxel grids of the paper's authors: HDF5 files, three for each scene.

    <scene>_seg.hdf5      voxel_grid [X, Y, Z], the NYU40 label of each voxel, 0 none
    <scene>_inst.hdf5     voxel_grid [X, Y, Z], its instance, 0 none
    <scene>_h_pred.hdf5   h_pred_idx [M, 3], the voxels that a semantic network has labelled, and
                          h_pred_compact [M, 20], their log scores of ScanNet's 20 classes

Axes are x, y, z (up). What the files leave open is decided so:

- A label that is not among ScanNet's 20 classes (all from 40 on, too) becomes 0: the voxel is
  occupied and unlabelled.
- A voxel has an instance only where its true class has instances. Instances are numbered anew, from
  1 in the order of their ids, since some ids may be larger than the benchmark's 999.
- Occupied are, with the true labels, the voxels whose label is not 0, and with the predictions
  those that the network has labelled. Only these are scored then, so that scores with the true
  labels and with the predictions do not compare.
- The grid is as large as in the files, filled up to even sizes.
"""

import contextlib
import dataclasses
import math
import pathlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
from absl import logging

from mtml_tf import arrays, files
from mtml_tf.classes import SCANNET20
from mtml_tf.scans.semantic_input import best_classes, softmax
from mtml_tf.scene import VoxelScene
from mtml_tf.scoring.ground_truth import ground_truth_ids

Array = np.ndarray

GROUND_TRUTH, PREDICTED = "ground_truth", "predicted"
SEMANTIC = (GROUND_TRUTH, PREDICTED)

_LABELS, _INSTANCES, _SCORES = "{}_seg.hdf5", "{}_inst.hdf5", "{}_h_pred.hdf5"
_MOST_NAMED = 5  # of many scenes, so many are named
_MOST_RATIO = 1100  # deflate makes a thousandth of zeros, and no less
_MOST_SIZE = 1 << 16  # voxels along an axis; what a record of a data folder holds
_GRID, _SCORE_ROWS, _SCORE_PLACES = "voxel_grid", "h_pred_compact", "h_pred_idx"


def find_scenes(
    input_dir: str | pathlib.Path, semantic: str = GROUND_TRUTH, scenes: Collection[str] = ()
) -> list[str]:
    """Returns the names of a folder's scenes in alphabetical order.

    Where all that have predictions are taken, the log tells of those that have labels alone.

    Args:
        input_dir: the folder.
        semantic: `ground_truth` for scenes with labels, `predicted` for those with predictions.
        scenes: names to take; all where empty.

    Raises:
        ValueError: no such folder, no scene in it, or a name that it does not have.
    """
    folder = pathlib.Path(input_dir)
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder of HDF5 files, found no such folder")
    pattern = _pattern_of(semantic)
    found = _names_with(folder, pattern)
    if not found:
        raise ValueError(f"{folder}: expected files {pattern.format('<scene>')}, found none")
    missing = sorted(set(scenes) - found)
    if missing:
        raise ValueError(
            f"{folder / pattern.format(missing[0])}: expected the file of a scene to take, found "
            "no such file"
        )
    left_out = sorted(_names_with(folder, _LABELS) - found)
    if semantic == PREDICTED and left_out and not scenes:
        more = len(left_out) - _MOST_NAMED
        logging.warning(
            "%s: left out, since they have labels but no predictions, are %d scenes: %s%s",
            folder,
            len(left_out),
            ", ".join(left_out[:_MOST_NAMED]),
            f" and {more} more" if more > 0 else "",
        )
    return sorted(set(scenes) or found)


@dataclasses.dataclass(frozen=True)
class ImportedScenes:
    """Scenes that are read one by one, as they are iterated over.

    Yields what `read_scene` returns, and raises what it raises.

    Attributes:
        input_dir: folder of the files.
        names: the scenes.
        semantic: see `read_scene`.
        voxel_size: see `read_scene`.
    """

    input_dir: str | pathlib.Path
    names: Sequence[str]
    semantic: str = GROUND_TRUTH
    voxel_size: float = 0.1

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[tuple[VoxelScene, Array | None]]:
        for name in self.names:
            yield read_scene(self.input_dir, name, self.semantic, self.voxel_size)


def read_scene(
    input_dir: str | pathlib.Path,
    name: str,
    semantic: str = GROUND_TRUTH,
    voxel_size: float = 0.1,
) -> tuple[VoxelScene, Array | None]:
    """Reads one scene.

    Args:
        input_dir: folder of its files.
        name: its name.
        semantic: `ground_truth` takes the true labels as input, `predicted` the network's scores.
        voxel_size: edge length of a voxel, metres, which the files do not tell; 10 cm in the
            paper.

    Returns:
        The scene, with the classes of `SCANNET20`; its voxels, in row-major order, are its
        vertices. Its features are, for predictions, float32 [M, 20] probabilities. And int64 [M],
        `class_id * 1000 + instance` by the true labels; None, like the scene's instances, where
        there are predictions alone.

    Raises:
        ValueError: a file that is missing, that is not as described above, or that does not fit
            the others; or a voxel size that is not above 0.
    """
    if not 0 < voxel_size < math.inf:
        raise ValueError(f"scene {name}: expected a voxel size above 0 m, found {voxel_size}")
    folder = pathlib.Path(input_dir)
    labels_path = folder / _LABELS.format(name)
    instances_path = folder / _INSTANCES.format(name)
    features = None
    if _pattern_of(semantic) == _SCORES:
        scores_path = folder / _SCORES.format(name)
        coordinates, features = _read_scores(scores_path)
        if not labels_path.exists() and not instances_path.exists():
            shape = coordinates.max(axis=0) + 1
            ids = best_classes(features, SCANNET20)
            return _scene(name, coordinates, shape, voxel_size, ids, features), None
        labels, instances = _read_truth(labels_path, instances_path)
        if np.any(coordinates.max(axis=0) >= labels.shape):
            raise ValueError(
                f"{scores_path}: expected voxels within the grid {list(labels.shape)} of "
                f"{labels_path.name}, found {coordinates.max(axis=0).tolist()} among "
                f"{_SCORE_PLACES}"
            )
    else:
        labels, instances = _read_truth(labels_path, instances_path)
        coordinates = np.argwhere(labels > 0).astype(np.int32)
        if not len(coordinates):
            raise ValueError(f"{labels_path}: expected labelled voxels, found none")
    place = tuple(coordinates.T)
    true_ids = np.where(np.isin(labels[place], SCANNET20.ids), labels[place], 0).astype(np.int32)
    instance_ids = np.where(SCANNET20.is_thing(true_ids), instances[place], 0)
    scene = _scene(
        name,
        coordinates,
        labels.shape,
        voxel_size,
        true_ids if features is None else best_classes(features, SCANNET20),
        features,
        _numbered(instance_ids),
    )
    try:
        return scene, ground_truth_ids(dataclasses.replace(scene, semantic_ids=true_ids), SCANNET20)
    except ValueError as error:
        raise ValueError(f"{instances_path}: {error}") from error


def _pattern_of(semantic: str) -> str:
    """Returns the file that a scene has for this input."""
    if semantic not in SEMANTIC:
        raise ValueError(f"expected semantic input among {list(SEMANTIC)}, found '{semantic}'")
    return _LABELS if semantic == GROUND_TRUTH else _SCORES


def _names_with(folder: pathlib.Path, pattern: str) -> set[str]:
    """Returns the scenes that have this file."""
    suffix = pattern.format("")
    return {path.name.removesuffix(suffix) for path in folder.glob(pattern.format("?*"))}


def _scene(
    name: str,
    coordinates: Array,
    shape: Sequence[int],
    voxel_size: float,
    semantic_ids: Array,
    features: Array | None = None,
    instance_ids: Array | None = None,
) -> VoxelScene:
    x, y, z = (int(size) + int(size) % 2 for size in shape)
    return VoxelScene(
        name=name,
        coordinates=coordinates,
        grid_shape=(x, y, z),
        voxel_size=voxel_size,
        origin=np.zeros(3),
        semantic_ids=semantic_ids,
        instance_ids=instance_ids,
        features=features,
    )


def _numbered(ids: Array) -> Array:
    """Returns int32 [M]: ids above 0 become 1 to K in their order, 0 stays 0."""
    distinct = np.unique(ids[ids > 0])
    return np.where(ids > 0, np.searchsorted(distinct, ids) + 1, 0).astype(np.int32)


def _read_truth(labels_path: pathlib.Path, instances_path: pathlib.Path) -> tuple[Array, Array]:
    """Returns int64 [X, Y, Z] labels and instances."""
    labels = _read_grid(labels_path)
    instances = _read_grid(instances_path)
    if labels.shape != instances.shape:
        raise ValueError(
            f"{instances_path}: expected the grid {list(labels.shape)} of {labels_path.name}, "
            f"found {list(instances.shape)}"
        )
    return labels, instances


def _read_grid(path: pathlib.Path) -> Array:
    (grid,) = _read_datasets(path, (_GRID,))
    if grid.ndim != 3 or not grid.size:
        raise ValueError(f"{path}: expected {_GRID} [X, Y, Z], found shape {list(grid.shape)}")
    return _whole_numbers(path, _GRID, grid)


def _read_scores(path: pathlib.Path) -> tuple[Array, Array]:
    """Returns int32 [M, 3] voxels in row-major order and float32 [M, 20] probabilities."""
    places, scores = _read_datasets(path, (_SCORE_PLACES, _SCORE_ROWS))
    if places.ndim != 2 or places.shape[1] != 3 or not len(places):
        raise ValueError(
            f"{path}: expected {_SCORE_PLACES} [M, 3], found shape {list(places.shape)}"
        )
    expected = (len(places), len(SCANNET20))
    if scores.shape != expected:
        raise ValueError(
            f"{path}: expected {_SCORE_ROWS} {list(expected)}, a row for each of {_SCORE_PLACES} "
            f"and a column for each of ScanNet's classes, found shape {list(scores.shape)}"
        )
    coordinates = _whole_numbers(path, _SCORE_PLACES, places)
    if coordinates.max() >= _MOST_SIZE:
        raise ValueError(
            f"{path}: expected at most {_MOST_SIZE} voxels along each axis, found voxel "
            f"{coordinates.max()} in {_SCORE_PLACES}"
        )
    order = np.lexsort(coordinates.T[::-1])
    coordinates = coordinates[order]
    twice = np.flatnonzero((coordinates[1:] == coordinates[:-1]).all(axis=1))
    if len(twice):
        raise ValueError(
            f"{path}: expected each voxel once in {_SCORE_PLACES}, found "
            f"{coordinates[twice[0]].tolist()} twice"
        )
    logs = scores[order].astype(np.float64)
    probabilities = softmax(logs, f"{path}: expected log scores in {_SCORE_ROWS}")
    return coordinates.astype(np.int32), probabilities.astype(np.float32)


def _read_datasets(path: pathlib.Path, names: Sequence[str]) -> list[Array]:
    """Returns arrays of numbers from an HDF5 file."""
    import h5py  # here, since only this import of other people's files needs it

    if not path.is_file():
        raise ValueError(f"{path}: expected an HDF5 file, found no such file")
    with _damage_told(path):
        file = h5py.File(path, "r")
    with file:
        return [_read_dataset(path, file, name) for name in names]


@contextlib.contextmanager
def _damage_told(path: pathlib.Path) -> Iterator[None]:
    """Names the file where h5py finds it damaged, which it tells by errors of many kinds."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, OverflowError) as error:
        found = files.shown(str(error))
        raise ValueError(f"{path}: expected a readable HDF5 file, found: {found}") from error


def _read_dataset(path: pathlib.Path, file: Any, name: str) -> Array:
    """Returns an array of numbers of an open HDF5 file.

    Raises:
        ValueError: none of this name, something else, one that lies in another file, or more
            values than there are bytes for.
    """
    import h5py

    with _damage_told(path):
        dataset, link, present = file.get(name), file.get(name, getlink=True), sorted(file)
    if not isinstance(dataset, h5py.Dataset):
        found = files.shown(present)
        raise ValueError(f"{path}: expected the dataset '{name}', found {found}")
    with _damage_told(path):
        dtype, shape, chunks = dataset.dtype, dataset.shape, dataset.chunks
        elsewhere = bool(dataset.external) or dataset.is_virtual
        most = min(dataset.id.get_storage_size(), path.stat().st_size)
    if dtype.kind not in "iufb":
        raise ValueError(f"{path}: expected numbers in '{name}', found {files.shown(str(dtype))}")
    if elsewhere or not isinstance(link, h5py.HardLink):
        raise ValueError(
            f"{path}: expected the numbers of '{name}' in this file, found that they lie in another"
        )
    most *= _MOST_RATIO if chunks else 1
    wanted = max(math.prod(part) * dtype.itemsize for part in (shape or (), chunks or ()))
    if shape is None or wanted > most:
        raise ValueError(
            f"{path}: expected {wanted} bytes of '{name}' {files.shown(shape)}, found a file that "
            f"holds {most} at most; it is cut short or damaged"
        )
    with _damage_told(path):
        return np.asarray(dataset[()])


def _whole_numbers(path: pathlib.Path, name: str, values: Array) -> Array:
    """Returns int64; raises ValueError for anything but whole numbers from 0 to 2**31 - 1."""
    wrong = ~((values >= 0) & (values < 1 << 31) & arrays.are_whole(values))
    if wrong.any():
        raise ValueError(
            f"{path}: expected whole numbers from 0 up in {name}, found {values[wrong][0]}"
        )
    return values.astype(np.int64)
