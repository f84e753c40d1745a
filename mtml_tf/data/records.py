"""Data folders: voxelized scenes on disk.

    manifest.json                     schema version; each split's shards: records, SHA-256, names;
                                      where its statistics are, and their SHA-256
    index.json                        each split's records: shard, offset, length, grid, voxels
    classes.csv
    <split>-00000-of-000NN.tfrecord   one record a scene, occupied voxels only
    <split>-statistics.json           what training must know of it (`mtml_tf/data/statistics.py`)
    ground_truth/<split>/<scene>.txt  class_id * 1000 + instance, one line a vertex
    report.json                       where scans were prepared: what became of each

The manifest finds damage that a TFRecord reader does not (a shard cut at a record's end), the
index lets scene i be read by its number alone. Where a process was killed while it replaced a
split, the folder is read as it was before or as it is after (`mtml_tf/replacing.py`).
"""

import contextlib
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from mtml_tf import files, replacing
from mtml_tf.backend import tf
from mtml_tf.classes import ClassSet, read_classes
from mtml_tf.scene import Points, VoxelScene
from mtml_tf.scoring import benchmark_format

SCHEMA_VERSION = 1
MANIFEST, INDEX, CLASSES, REPORT = "manifest.json", "index.json", "classes.csv", "report.json"
GROUND_TRUTH = "ground_truth"
# Arrays are stored as raw little-endian bytes: (type, columns); 0 columns is a vector.
_ARRAYS: dict[str, tuple[str, int | None]] = {
    "coordinates": ("<u2", 3),
    "semantic_ids": ("<i4", 0),
    "instance_ids": ("<i4", 0),
    "features": ("<f4", None),
    "vertex_to_voxel": ("<i4", 0),
}
# Fields of points, and their names in a record. Ids take as many bytes as the largest one needs.
_POINT_BYTES = {"per_voxel": "points_per_voxel", "cells": "point_cells"}
_POINT_IDS = {
    "semantic_ids": "point_semantic_ids",
    "instance_ids": "point_instance_ids",
    "true_ids": "point_true_ids",
}
# Values that every record has, beside those that describe it.
_NEEDED = ("coordinates", "semantic_ids")
_SHOWN = 600  # characters of what is wrong with a record, whose name may be anything
# Hashed at once. Between two blocks a thread waits for Python, milliseconds where others are busy.
_HASHED_BYTES = 1 << 22
_MOST_SIZE = 1 << 16  # voxels along an axis
_ID_TYPES = ("<u1", "<u2", "<i4")


def encode_record(scene: VoxelScene) -> bytes:
    """Returns a scene as a serialized `tf.train.Example`.

    Raises:
        ValueError: a grid of more than 65,536 voxels along an axis.
    """
    if max(scene.grid_shape) > _MOST_SIZE:
        raise ValueError(
            f"scene {scene.name}: expected at most 65536 voxels along an axis, found "
            f"{scene.grid_shape}; choose a larger voxel size"
        )

    def raw(value: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    def integers(values: Iterable[int]) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[int(v) for v in values]))

    feature = {
        "name": raw(scene.name.encode()),
        "grid_shape": integers(scene.grid_shape),
        "voxel_size": raw(np.float64(scene.voxel_size).astype("<f8").tobytes()),
        "origin": raw(np.asarray(scene.origin, "<f8").tobytes()),
        "num_features": integers([0 if scene.features is None else scene.features.shape[1]]),
    }
    for name, (dtype, _) in _ARRAYS.items():
        array = getattr(scene, name)
        if array is not None:
            feature[name] = raw(np.ascontiguousarray(array, dtype).tobytes())
    if scene.points is not None:
        for field, name in _POINT_BYTES.items():
            feature[name] = raw(getattr(scene.points, field).astype(np.uint8).tobytes())
        for field, name in _POINT_IDS.items():
            ids = getattr(scene.points, field)
            if ids is not None:
                feature[name] = raw(_compact(ids).tobytes())
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def decode_record(record: bytes) -> VoxelScene:
    """Returns the scene of `encode_record`.

    Raises:
        ValueError: bytes that it did not make.
    """
    try:
        feature = tf.train.Example.FromString(record).features.feature
    except DecodeError as error:
        raise ValueError("expected a record of a voxelized scene, found other bytes") from error
    values = {name: _only_value(name, feature[name]) for name in feature}
    missing = {"name", "grid_shape", "voxel_size", "origin", "num_features", *_NEEDED} - set(values)
    grid_shape, width = values.get("grid_shape"), values.get("num_features")
    if missing or not (isinstance(grid_shape, tuple) and isinstance(width, tuple)):
        raise ValueError(f"expected a record of a voxelized scene, found none of {sorted(missing)}")
    raw = {name: value for name, value in values.items() if isinstance(value, bytes)}
    sizes = len(raw.get("voxel_size", b"")), len(raw.get("origin", b""))
    shape = (*map(int, grid_shape), *map(int, width))
    if len(shape) != 4 or sizes != (8, 24) or not all(0 < n <= _MOST_SIZE for n in shape[:3]):
        raise ValueError(
            f"expected a grid of 3 sizes from 1 to {_MOST_SIZE}, a voxel size and an origin, found "
            f"{files.shown(grid_shape)} and {sizes} bytes"
        )
    arrays: dict[str, Any] = {}
    for name, (dtype, columns) in _ARRAYS.items():
        if name in raw:
            array = _from_bytes(name, raw[name], dtype, shape[3] if columns is None else columns)
            arrays[name] = array.astype(np.float32 if dtype == "<f4" else np.int32)
    links = arrays.get("vertex_to_voxel", np.empty(0, np.int32))
    last = max(len(arrays["coordinates"]) - 1, 0) if "coordinates" in arrays else 0
    if links.size and not 0 <= links.min() <= links.max() <= last:
        raise ValueError(
            f"expected vertices in the voxels 0 to {last}, found {links.min()} to {links.max()}"
        )
    try:
        return VoxelScene(
            name=raw["name"].decode(),
            grid_shape=shape[:3],
            voxel_size=float(np.frombuffer(raw["voxel_size"], "<f8")[0]),
            origin=np.frombuffer(raw["origin"], "<f8"),
            points=_decode_points({n: v for n, v in raw.items() if n.startswith("point")}),
            **arrays,
        )
    except (KeyError, TypeError) as error:  # a value of another kind
        raise ValueError(f"expected a record of a voxelized scene, found no {error}") from error


def _only_value(name: str, feature: Any) -> bytes | tuple[int, ...]:
    """Returns the bytes or the integers of a value in a record."""
    texts = feature.bytes_list.value
    if len(texts) > 1 or feature.HasField("float_list"):
        raise ValueError(f"expected one value '{files.shown(name)}' in a record, found others")
    return texts[0] if texts else tuple(feature.int64_list.value)


def _from_bytes(name: str, value: bytes, dtype: str, columns: int) -> np.ndarray:
    """Returns [N, columns], or [N] for 0 columns."""
    row = np.dtype(dtype).itemsize * max(columns, 1)
    if columns < 0 or len(value) % row:
        raise ValueError(f"expected rows of {row} bytes in '{name}', found {len(value)} bytes")
    array = np.frombuffer(value, dtype)
    return array.reshape(-1, columns) if columns else array


def _compact(ids: np.ndarray) -> np.ndarray:
    """Returns ids in the smallest of the types that holds them all."""
    low, high = ids.min(initial=0), ids.max(initial=0)
    fits = (t for t in _ID_TYPES if np.iinfo(t).min <= low and high <= np.iinfo(t).max)
    return ids.astype(next(fits))


def _decode_points(raw: Mapping[str, bytes]) -> Points | None:
    """Returns the points of a record, None where it has none (toy scenes, older records)."""
    if not raw:
        return None
    fields = {field: np.frombuffer(raw[name], np.uint8) for field, name in _POINT_BYTES.items()}
    for field, name in _POINT_IDS.items():
        if name in raw:
            width = len(raw[name]) // max(len(fields["cells"]), 1)
            dtype = next((t for t in _ID_TYPES if np.dtype(t).itemsize >= width), _ID_TYPES[-1])
            fields[field] = _from_bytes(name, raw[name], dtype, 0).astype(np.int32)
    return Points(**fields)


@dataclasses.dataclass(frozen=True)
class RecordEntry:
    """Where a record lies, and what a reader plans by.

    Attributes:
        name: name of the scene.
        shard: file name within the data folder.
        offset, length: bytes; of the record's data in the shard.
        grid_shape: (X, Y, Z).
        num_voxels: M.
    """

    name: str
    shard: str
    offset: int
    length: int
    grid_shape: tuple[int, int, int]
    num_voxels: int


class DataFolder:
    """A data folder, checked when it is opened.

    Attributes:
        path: the folder.
        classes: its class set.
    """

    def __init__(self, path: str | pathlib.Path, hashes_later: bool = False):
        """Opens a folder.

        Args:
            path: the folder.
            hashes_later: `entries` compares the sizes of shards only, which takes no time; their
                hashes are for `verify`, which somebody else calls.

        Raises:
            ValueError: no such folder, or files that the manifest does not vouch for.
        """
        self.path = pathlib.Path(path)
        if not (self.path / MANIFEST).is_file():
            raise ValueError(
                f"{self.path}: expected a data folder with {MANIFEST}, found "
                f"{'none in it' if self.path.is_dir() else 'no such folder'}; tools/make_toy.py, "
                "tools/prepare_scans.py and tools/prepare_scannet.py make one"
            )
        manifest, index = read_object(self.locate(MANIFEST)), read_object(self.locate(INDEX))
        if manifest.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(
                f"{self.path / MANIFEST}: expected schema_version {SCHEMA_VERSION}, found "
                f"{files.shown(manifest.get('schema_version'))}; make the folder again"
            )
        self.classes = read_classes(self.path / CLASSES)
        try:
            # The manifest counts: a split that only the index knows was never finished.
            self._shards = {split: m["shards"] for split, m in manifest["splits"].items()}
            self._statistics = {
                split: _checked_file(m["statistics"]) if m.get("statistics") else None
                for split, m in manifest["splits"].items()
            }
            self._entries = {
                split: [_checked_entry(entry) for entry in index[split]] for split in self._shards
            }
            if outside := [split for split in self._shards if not files.is_inside(split)]:
                raise KeyError(f"split {outside[0]}: no name of a folder")
            names = {
                split: [name for shard in shards for name in _checked_names(shard)]
                for split, shards in self._shards.items()
            }
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{self.path}: {MANIFEST} and {INDEX} do not fit each other "
                f"({files.shown(str(error))}); make the folder again"
            ) from error
        for split, entries in self._entries.items():
            if [entry.name for entry in entries] != names[split]:
                raise ValueError(
                    f"{self.path / INDEX}: expected the scenes that {MANIFEST} lists for split "
                    f"'{split}', found others; make the folder again"
                )
        self._hashes_later = hashes_later
        self._measured: set[str] = set()
        self._verified: set[str] = set()

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""
        return tuple(self._entries)

    def entries(self, split: str) -> list[RecordEntry]:
        """Returns the records of a split, after checking its shards against the manifest.

        Raises:
            ValueError: no such split, or a shard that is missing, cut or (but for
                `hashes_later`) changed.
        """
        if not self._entries.get(split):
            raise ValueError(
                f"{self.path}: expected a split '{split}' with scenes, found the splits "
                f"{sorted(name for name, entries in self._entries.items() if entries)}"
            )
        if split not in self._measured:
            for shard in self._shards[split]:
                _check_size(self.locate(shard["file"]), shard["bytes"])
            self._measured.add(split)
        if not self._hashes_later:
            self.verify(split)
        return self._entries[split]

    def verify(self, split: str) -> None:
        """Compares the SHA-256 of a split's shards with the manifest, unless that is done.

        Reads all of them. Raises ValueError for a shard that can't be read or has changed.
        """
        if split not in self._verified:
            for shard in self._shards[split]:
                _check_digest(self.locate(shard["file"]), shard["sha256"])
            self._verified.add(split)

    def statistics_path(self, split: str) -> pathlib.Path | None:
        """Returns where the statistics of a split lie; None in a folder that has none yet.

        Raises:
            ValueError: a file that is missing, cut or changed.
        """
        told = self._statistics[split]
        if told is None:
            return None
        path = self.locate(told["file"])
        _check_size(path, told["bytes"])
        _check_digest(path, told["sha256"])
        return path

    def digests(self, split: str) -> list[str]:
        """Returns the SHA-256 of each shard of a split, after the checks of `entries`."""
        self.entries(split)
        return [shard["sha256"] for shard in self._shards[split]]

    def num_features(self, split: str) -> int:
        """Returns how many features a voxel of a split has, 0 where class ids are the input."""
        return self.scene(self._entries[split][0]).num_features

    def spaced_entries(self, split: str, count: int) -> list[RecordEntry]:
        """Returns at most `count` records of a split, evenly spaced; all where `count` is 0."""
        entries = self.entries(split)
        count = min(count or len(entries), len(entries))
        return [entries[i] for i in np.linspace(0, len(entries) - 1, count).astype(int)]

    def record(self, entry: RecordEntry) -> bytes:
        """Returns the bytes of one record.

        Raises:
            ValueError: the file ends before, or the record's grid is another than the index tells:
                a reader of the bytes might ask for any memory.
        """
        data = _read_record(self.path, entry)
        _check_grid(data, self.path, entry)
        return data

    def scene(self, entry: RecordEntry) -> VoxelScene:
        """Returns one scene. Raises ValueError for bytes that are none, or not of its classes."""
        return read_scene(self.path, entry, self.classes)

    def scenes(self, split: str) -> Iterator[VoxelScene]:
        """Yields the scenes of a split in order."""
        for entry in self.entries(split):
            yield self.scene(entry)

    def ground_truth(self, split: str, entry: RecordEntry) -> np.ndarray:
        """Returns int64 [N], `class_id * 1000 + instance` of every vertex of a scene.

        Raises:
            ValueError: a file of ground truth that is missing or damaged.
        """
        return benchmark_format.read_ground_truth(self._ground_truth_path(split, entry))

    def has_ground_truth(self, split: str, entry: RecordEntry) -> bool:
        """Returns whether a scene has ground truth."""
        return self._ground_truth_path(split, entry).is_file()

    def _ground_truth_path(self, split: str, entry: RecordEntry) -> pathlib.Path:
        return self.ground_truth_dir(split) / f"{entry.name}.txt"

    def ground_truth_dir(self, split: str) -> pathlib.Path:
        """Returns the folder of the split's ground truth files."""
        return self.locate(f"{GROUND_TRUTH}/{split}")

    def locate(self, name: str) -> pathlib.Path:
        """Returns where a file or folder of the data folder lies."""
        return replacing.locate(self.path, name)


def read_scene(
    data_dir: str | pathlib.Path, entry: RecordEntry, classes: ClassSet | None = None
) -> VoxelScene:
    """Reads one scene of a data folder that was opened before, perhaps by another process.

    Raises:
        ValueError: the file ends before, or holds no record there, or class ids that are not in
            `classes`, where they are given.
    """
    return _decode(_read_record(data_dir, entry), data_dir, entry, classes)


def _decode(
    data: bytes, data_dir: str | pathlib.Path, entry: RecordEntry, classes: ClassSet | None
) -> VoxelScene:
    try:
        scene = decode_record(data)
        if classes is not None:
            classes.channels_of(scene.semantic_ids)
    except ValueError as error:
        raise ValueError(
            f"{replacing.locate(data_dir, entry.shard)}: record at {entry.offset}: "
            f"{files.shown(str(error), _SHOWN)}; make the data folder again"
        ) from error
    return scene


def _check_grid(data: bytes, data_dir: str | pathlib.Path, entry: RecordEntry) -> None:
    """Raises ValueError where a record has another grid than the index tells, or voxels beyond."""
    grid_shape: Any = "other bytes"
    with contextlib.suppress(DecodeError, ValueError, TypeError):
        feature = tf.train.Example.FromString(data).features.feature
        grid_shape = _only_value("grid_shape", feature["grid_shape"])
        value: Any = _only_value("coordinates", feature["coordinates"])
        last = _from_bytes("coordinates", value, "<u2", 3).max(axis=0, initial=0)
        if grid_shape == entry.grid_shape and (last < grid_shape).all():
            return
        grid_shape = f"{grid_shape} and voxels to {tuple(map(int, last))}"
    raise ValueError(
        f"{replacing.locate(data_dir, entry.shard)}: record at {entry.offset}: expected voxels in "
        f"the grid {entry.grid_shape} that {INDEX} tells, found {files.shown(grid_shape)}; make "
        "the data folder again"
    )


def _read_record(data_dir: str | pathlib.Path, entry: RecordEntry) -> bytes:
    path = replacing.locate(data_dir, entry.shard)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(min(entry.offset, size))
            data = file.read(min(entry.length, size))
    except OSError as error:
        raise _unreadable(path, "a file of records", error) from error
    if len(data) != entry.length:
        raise ValueError(
            f"{path}: expected {entry.length} bytes at {entry.offset}, found {len(data)}; the "
            "file is cut, make the data folder again"
        )
    return data


def _unreadable(path: pathlib.Path, expected: str, error: OSError) -> ValueError:
    """Returns what to raise for a file that can't be read; no DiskError, others may be read."""
    if number := files.disk_fault(error):
        return ValueError(str(files.disk_error(path, number, "read it again")))
    return ValueError(
        f"{path}: expected {expected}, found: {error.strerror}; make the data folder again"
    )


def _checked_names(shard: dict[str, Any]) -> list[str]:
    """Returns a shard's scene names. Raises KeyError where its description does not fit."""
    missing = {"records", "names"} - set(_checked_file(shard))
    if missing or shard["records"] != len(shard["names"]):
        raise KeyError(f"shard {shard['file']}: {sorted(missing) or 'another record count'}")
    return shard["names"]


def _checked_file(told: dict[str, Any]) -> dict[str, Any]:
    """Returns what the manifest tells of a file. Raises KeyError where that does not fit."""
    missing = {"file", "bytes", "sha256"} - set(told)
    if missing:
        raise KeyError(f"file {told.get('file')}: {sorted(missing)}")
    if not files.is_inside(told["file"]):
        raise KeyError(f"file {told['file']}: no name of a file in the folder")
    return told


def _checked_entry(fields: dict[str, Any]) -> RecordEntry:
    """Returns an entry of the index. Raises KeyError or TypeError where it is none."""
    entry = RecordEntry(**{**fields, "grid_shape": tuple(fields["grid_shape"])})
    for name in ("name", "shard"):
        if not files.is_inside(getattr(entry, name)) or "/" in getattr(entry, name):
            raise KeyError(f"{name} {getattr(entry, name)}: no name of a file in the folder")
    numbers = (entry.offset, entry.length, entry.num_voxels, *entry.grid_shape)
    if len(numbers) != 6 or not all(type(n) is int and 0 <= n < 1 << 62 for n in numbers):
        raise KeyError(f"{entry.name}: offset, length, grid_shape or num_voxels")
    return entry


def read_object(path: pathlib.Path) -> dict[str, Any]:
    """Reads a JSON object. Raises ValueError where there is none."""
    content = files.read_json(path, "a readable JSON file")
    if not isinstance(content, dict):
        raise ValueError(
            f"{path}: expected a readable JSON file, found: a {type(content).__name__} instead of "
            "an object"
        )
    return content


def describe_file(path: pathlib.Path) -> dict[str, Any]:
    """Returns what the manifest tells of a file: its name, bytes and SHA-256."""
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": digest(path)}


def digest(path: pathlib.Path) -> str:
    """Returns the SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        found = hashlib.sha256()
        while block := file.read(_HASHED_BYTES):
            found.update(block)
    return found.hexdigest()


def _check_size(path: pathlib.Path, size: int) -> None:
    if not path.is_file():
        raise ValueError(f"{path}: listed in {MANIFEST}, but there is no such file")
    if path.stat().st_size != size:
        raise ValueError(
            f"{path}: expected {size} bytes as {MANIFEST} says, found {path.stat().st_size}; the "
            "file is cut or changed, make the data folder again"
        )


def _check_digest(path: pathlib.Path, sha256: str) -> None:
    try:
        found = digest(path)
    except OSError as error:
        raise _unreadable(path, "a file that can be read", error) from error
    if found != sha256:
        raise ValueError(
            f"{path}: expected the SHA-256 that {MANIFEST} lists, found another; the file has "
            "changed, make the data folder again"
        )
