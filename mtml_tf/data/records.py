"""Data folders: voxelized scenes on disk.

    manifest.json                     schema version; each split's shards: records, SHA-256, names
    index.json                        each split's records: shard, offset, length, grid, voxels
    classes.csv
    <split>-00000-of-000NN.tfrecord   one record a scene, occupied voxels only
    ground_truth/<split>/<scene>.txt  class_id * 1000 + instance, one line a vertex

The manifest finds damage that a TFRecord reader does not (a shard cut at a record's end), the
index lets scene i be read by its number alone.
"""

import dataclasses
import hashlib
import json
import pathlib
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from mtml_tf import files, program
from mtml_tf.backend import tf
from mtml_tf.classes import ClassSet, encode_classes, read_classes
from mtml_tf.scene import VoxelScene
from mtml_tf.scoring import benchmark_format

SCHEMA_VERSION = 1
MANIFEST, INDEX, CLASSES, GROUND_TRUTH = (
    "manifest.json",
    "index.json",
    "classes.csv",
    "ground_truth",
)
_SCENES_PER_SHARD = 128
# A TFRecord frames its data: length (8 bytes) and its checksum (4), data, checksum (4).
_HEADER_BYTES, _FOOTER_BYTES = 12, 4
# Arrays are stored as raw little-endian bytes: (type, columns); 0 columns is a vector.
_ARRAYS: dict[str, tuple[str, int | None]] = {
    "coordinates": ("<u2", 3),
    "semantic_ids": ("<i4", 0),
    "instance_ids": ("<i4", 0),
    "features": ("<f4", None),
    "vertex_to_voxel": ("<i4", 0),
}


def encode_record(scene: VoxelScene) -> bytes:
    """Returns a scene as a serialized `tf.train.Example`.

    Raises:
        ValueError: a grid of more than 65,536 voxels along an axis.
    """
    if max(scene.grid_shape) > 1 << 16:
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
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def decode_record(record: bytes) -> VoxelScene:
    """Returns the scene of `encode_record`."""
    feature = tf.train.Example.FromString(record).features.feature

    def raw(name: str) -> bytes:
        return feature[name].bytes_list.value[0]

    columns_of_features = feature["num_features"].int64_list.value[0]
    arrays: dict[str, Any] = {}
    for name, (dtype, columns) in _ARRAYS.items():
        if name in feature:
            array = np.frombuffer(raw(name), dtype)
            columns = columns_of_features if columns is None else columns
            array = array.reshape(-1, columns) if columns else array
            arrays[name] = array.astype(np.float32 if dtype == "<f4" else np.int32)
    return VoxelScene(
        name=raw("name").decode(),
        grid_shape=tuple(feature["grid_shape"].int64_list.value),
        voxel_size=float(np.frombuffer(raw("voxel_size"), "<f8")[0]),
        origin=np.frombuffer(raw("origin"), "<f8"),
        **arrays,
    )


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

    def __init__(self, path: str | pathlib.Path):
        """Opens a folder.

        Args:
            path: the folder.

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
        manifest, index = _read_json(self.path / MANIFEST), _read_json(self.path / INDEX)
        if manifest.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(
                f"{self.path / MANIFEST}: expected schema_version {SCHEMA_VERSION}, found "
                f"{manifest.get('schema_version')}; make the folder again"
            )
        self.classes = read_classes(self.path / CLASSES)
        try:
            # The manifest counts: a split that only the index knows was never finished.
            self._shards = {split: m["shards"] for split, m in manifest["splits"].items()}
            self._entries = {
                split: [
                    RecordEntry(**{**e, "grid_shape": tuple(e["grid_shape"])}) for e in index[split]
                ]
                for split in self._shards
            }
            names = {
                split: [name for shard in shards for name in _checked_names(shard)]
                for split, shards in self._shards.items()
            }
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{self.path}: {MANIFEST} and {INDEX} do not fit each other ({error}); make the "
                "folder again"
            ) from error
        for split, entries in self._entries.items():
            if [entry.name for entry in entries] != names[split]:
                raise ValueError(
                    f"{self.path / INDEX}: expected the scenes that {MANIFEST} lists for split "
                    f"'{split}', found others; make the folder again"
                )
        self._verified: set[str] = set()

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""
        return tuple(self._entries)

    def entries(self, split: str) -> list[RecordEntry]:
        """Returns the records of a split, after checking its shards against the manifest.

        Raises:
            ValueError: no such split, or a shard that is missing, cut or changed.
        """
        if not self._entries.get(split):
            raise ValueError(
                f"{self.path}: expected a split '{split}' with scenes, found the splits "
                f"{sorted(name for name, entries in self._entries.items() if entries)}"
            )
        if split not in self._verified:
            for shard in self._shards[split]:
                _verify_shard(self.path / shard["file"], shard["sha256"], shard["bytes"])
            self._verified.add(split)
        return self._entries[split]

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
        """Returns the bytes of one record."""
        return read_bytes(self.path / entry.shard, entry.offset, entry.length)

    def scene(self, entry: RecordEntry) -> VoxelScene:
        """Returns one scene."""
        return decode_record(self.record(entry))

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
        return self.path / GROUND_TRUTH / split


def read_bytes(path: str | pathlib.Path, offset: int, length: int) -> bytes:
    """Returns `length` bytes of a file from `offset` on.

    Raises:
        ValueError: the file ends before.
    """
    with open(path, "rb") as file:
        file.seek(offset)
        data = file.read(length)
    if len(data) != length:
        raise ValueError(
            f"{path}: expected {length} bytes at {offset}, found {len(data)}; the file is cut, "
            "make the data folder again"
        )
    return data


def _checked_names(shard: dict[str, Any]) -> list[str]:
    """Returns a shard's scene names. Raises KeyError where its description does not fit."""
    missing = {"file", "bytes", "sha256", "records", "names"} - set(shard)
    if missing or shard["records"] != len(shard["names"]):
        raise KeyError(f"shard {shard.get('file')}: {sorted(missing) or 'another record count'}")
    return shard["names"]


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"a {type(content).__name__} instead of an object")
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: expected a readable JSON file, found: {error}") from error
    return content


def _sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _verify_shard(path: pathlib.Path, sha256: str, size: int) -> None:
    if not path.is_file():
        raise ValueError(f"{path}: listed in {MANIFEST}, but there is no such file")
    if path.stat().st_size != size:
        raise ValueError(
            f"{path}: expected {size} bytes as {MANIFEST} says, found {path.stat().st_size}; the "
            "file is cut or changed, make the data folder again"
        )
    if _sha256(path) != sha256:
        raise ValueError(
            f"{path}: expected the SHA-256 that {MANIFEST} lists, found another; the file has "
            "changed, make the data folder again"
        )


LabelledScene = tuple[VoxelScene, np.ndarray | None]


def write_data_folder(
    output_dir: str | pathlib.Path,
    classes: ClassSet,
    splits: Mapping[str, Iterable[LabelledScene]],
    overwrite: bool = False,
) -> None:
    """Writes scenes as a data folder, or adds new splits to one; whole or not at all.

    Several processes may add different splits to one folder at the same time.

    Args:
        output_dir: the folder.
        classes: the class set; the same as the folder's, where it exists.
        splits: for each split its scenes, each with its ground truth (int64 [N],
            `class_id * 1000 + instance` a vertex) or None. Taken one by one.
        overwrite: replace splits that exist.

    Raises:
        ValueError: a split that exists, other classes, a scene whose features are not as many as
            those of the folder's other scenes, a scene name twice, or no scenes.
    """
    output_dir = pathlib.Path(output_dir)
    existing = _open_for_writing(output_dir, classes, splits, overwrite)
    width = _width_beside(existing, splits)
    output_dir.parent.mkdir(parents=True, exist_ok=True)
    temporary = pathlib.Path(tempfile.mkdtemp(prefix=f".{output_dir.name}.", dir=output_dir.parent))
    try:
        written: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {}
        for split, scenes in splits.items():
            shards, entries, width = _write_split(temporary, split, scenes, width)
            written[split] = shards, entries
        files.write_text(temporary / CLASSES, encode_classes(classes))
        files.sync_files(temporary)
        with files.locked(output_dir.parent):
            # Other processes may have changed the folder in the meantime: all is looked at anew.
            existing = _open_for_writing(output_dir, classes, splits, overwrite)
            if width is not None:
                _check_width(_width_beside(existing, splits), *width)
            manifest: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "splits": {}}
            index: dict[str, Any] = {}
            if existing is not None:
                manifest, index = _read_json(output_dir / MANIFEST), _read_json(output_dir / INDEX)
            for split, (shards, entries) in written.items():
                manifest["splits"][split], index[split] = {"shards": shards}, entries
            files.write_text(temporary / INDEX, json.dumps(index))
            files.write_text(temporary / MANIFEST, json.dumps(manifest, indent=1))
            _install(temporary, output_dir, {name: shards for name, (shards, _) in written.items()})
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _open_for_writing(
    output_dir: pathlib.Path, classes: ClassSet, splits: Collection[str], overwrite: bool
) -> DataFolder | None:
    """Returns the data folder that gets the splits, None where there is none yet.

    Raises:
        ValueError: a folder of something else or of other classes, or splits that it has and that
            may not be replaced.
    """
    if not (output_dir / MANIFEST).exists():
        if output_dir.is_dir() and any(output_dir.iterdir()):
            raise ValueError(
                f"{output_dir}: expected a data folder or an empty one, found other files; choose "
                "another folder"
            )
        return None
    existing = DataFolder(output_dir)
    taken = set(splits) & set(existing.splits)
    if taken and not overwrite:
        raise ValueError(
            f"{output_dir}: split '{min(taken)}' exists already; choose another folder or "
            "split, or give --overwrite"
        )
    if existing.classes != classes:
        raise ValueError(
            f"{output_dir / CLASSES}: expected the classes that are to be written, found "
            "others; choose another folder"
        )
    return existing


# Who has so many features a voxel, 0 where class ids are the input.
_Width = tuple[str, int]


def _width_beside(existing: DataFolder | None, replaced: Collection[str]) -> _Width | None:
    """Returns the width of a split that stays, None where none does."""
    if existing is None:
        return None
    staying = [split for split in existing.splits if split not in replaced]
    if not staying:
        return None
    return f"split '{staying[0]}' of {existing.path}", existing.num_features(staying[0])


def _check_width(known: _Width | None, owner: str, num_features: int) -> _Width:
    """Returns the width that is known, or else the new one. Raises ValueError where they differ."""
    if known is not None and num_features != known[1]:
        raise ValueError(
            f"{owner}: expected {_told(known[1])} like {known[0]}, found {_told(num_features)}; "
            "prepare all splits of a data folder with the same semantic input"
        )
    return known or (owner, num_features)


def _told(num_features: int) -> str:
    return f"{num_features} features a voxel" if num_features else "class ids as input"


def _write_split(
    folder: pathlib.Path, split: str, scenes: Iterable[LabelledScene], width: _Width | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], _Width | None]:
    """Writes the shards and the ground truth of a split; returns its manifest, index and width."""
    entries: list[dict[str, Any]] = []
    open_name, offset = "", 0
    writer: Any = None
    for scene, ground_truth in program.progress(scenes, f"{split} scenes"):
        if len(entries) % _SCENES_PER_SHARD == 0:
            if writer is not None:
                writer.close()
            open_name, offset = f"shard-{len(entries) // _SCENES_PER_SHARD}", 0
            writer = tf.io.TFRecordWriter(str(folder / open_name))
        width = _check_width(width, f"scene {scene.name}", scene.num_features)
        record = encode_record(scene)
        writer.write(record)
        entries.append(
            {
                "name": scene.name,
                "shard": open_name,
                "offset": offset + _HEADER_BYTES,
                "length": len(record),
                "grid_shape": [int(size) for size in scene.grid_shape],
                "num_voxels": len(scene.coordinates),
            }
        )
        offset += _HEADER_BYTES + len(record) + _FOOTER_BYTES
        if ground_truth is not None:
            benchmark_format.write_ground_truth(
                folder / GROUND_TRUTH / split / f"{scene.name}.txt", ground_truth
            )
    if writer is None:
        raise ValueError(f"split '{split}': expected at least one scene, found none")
    writer.close()
    names = [entry["name"] for entry in entries]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"split '{split}': expected distinct scene names, found '{twice}' twice")

    shards: list[dict[str, Any]] = []
    temporary_names = list(dict.fromkeys(entry["shard"] for entry in entries))
    for number, temporary_name in enumerate(temporary_names):
        final = f"{split}-{number:05d}-of-{len(temporary_names):05d}.tfrecord"
        (folder / temporary_name).rename(folder / final)
        members = [entry for entry in entries if entry["shard"] == temporary_name]
        for entry in members:
            entry["shard"] = final
        shards.append(
            {
                "file": final,
                "records": len(members),
                "bytes": (folder / final).stat().st_size,
                "sha256": _sha256(folder / final),
                "names": [entry["name"] for entry in members],
            }
        )
    return shards, entries, width


def _install(
    temporary: pathlib.Path, output_dir: pathlib.Path, splits: Mapping[str, list[dict[str, Any]]]
) -> None:
    """Moves a complete folder to its place; into an existing one the manifest comes last.

    Args:
        temporary: the folder.
        output_dir: its place.
        splits: for each new split its shards, as in the manifest.
    """
    if not (output_dir / MANIFEST).exists():
        temporary.chmod(0o755)
        temporary.replace(output_dir)
        return
    replaced = _read_json(output_dir / MANIFEST)["splits"]
    for split, shards in splits.items():
        new_truth = temporary / GROUND_TRUTH / split
        shutil.rmtree(output_dir / GROUND_TRUTH / split, ignore_errors=True)
        if new_truth.exists():
            (output_dir / GROUND_TRUTH).mkdir(exist_ok=True)
            new_truth.replace(output_dir / GROUND_TRUTH / split)
        new_names = {shard["file"] for shard in shards}
        old_names = {shard["file"] for shard in replaced.get(split, {"shards": []})["shards"]}
        for name in new_names:
            (temporary / name).replace(output_dir / name)
        for name in old_names - new_names:
            (output_dir / name).unlink(missing_ok=True)
    for name in (INDEX, MANIFEST):
        (temporary / name).replace(output_dir / name)
