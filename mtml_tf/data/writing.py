"""Writes data folders (`records` tells what is in one), adds splits to them and replaces splits."""

import contextlib
import glob
import json
import pathlib
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from mtml_tf import files, program, replacing
from mtml_tf.backend import tf
from mtml_tf.classes import ClassSet, encode_classes
from mtml_tf.data import statistics
from mtml_tf.data.records import (
    CLASSES,
    GROUND_TRUTH,
    INDEX,
    MANIFEST,
    REPORT,
    SCHEMA_VERSION,
    DataFolder,
    describe_file,
    encode_record,
    read_object,
)
from mtml_tf.scene import VoxelScene
from mtml_tf.scoring import benchmark_format

_SCENES_PER_SHARD = 128
# A TFRecord frames its data: length (8 bytes) and its checksum (4), data, checksum (4).
_HEADER_BYTES, _FOOTER_BYTES = 12, 4

LabelledScene = tuple[VoxelScene, np.ndarray | None]


class _Written(NamedTuple):
    """A split: what the manifest and the index tell of it."""

    manifest: dict[str, Any]
    entries: list[dict[str, Any]]


def write_data_folder(
    output_dir: str | pathlib.Path,
    classes: ClassSet,
    splits: Mapping[str, Iterable[LabelledScene]],
    overwrite: bool = False,
    report: Mapping[str, Any] | None = None,
) -> None:
    """Writes scenes as a data folder, or adds splits to one; whole or not at all.

    Several processes may add different splits to one folder at the same time. Whenever a process
    is killed, the folder is read as before or as after; what it leaves, the next one that writes
    the folder takes away.

    Args:
        output_dir: the folder.
        classes: the class set; the same as the folder's, where it exists.
        splits: for each split its scenes, each with its ground truth (int64 [N],
            `class_id * 1000 + instance` a vertex) or None. Taken one by one.
        overwrite: replace splits that exist.
        report: what to tell of splits in `report.json`; what it tells of others stays.

    Raises:
        ValueError: a split that exists, other classes, a scene whose features are not as many as
            those of the folder's other scenes, a scene name twice, or no scenes.
    """
    output_dir = pathlib.Path(output_dir)
    width = _width_beside(open_for_writing(output_dir, classes, splits, overwrite), splits)
    with files.told_of_disk(output_dir), _staging(output_dir) as staging:
        written: dict[str, _Written] = {}
        for split, scenes in splits.items():
            written[split], width = _write_split(staging, split, scenes, classes, width)
        files.write_text(staging / CLASSES, encode_classes(classes))
        files.sync_files(staging)
        with files.locked(output_dir.parent):
            # Other processes may have changed the folder in the meantime: all is looked at anew.
            replacing.finish(output_dir)
            existing = open_for_writing(output_dir, classes, splits, overwrite)
            if width is not None:
                _check_width(_width_beside(existing, splits), *width)
            replaced = _describe(staging, existing, written, report or {})
            if existing is None:
                staging.chmod(0o755)
                staging.replace(output_dir)
            else:
                new = {split: of_split.manifest for split, of_split in written.items()}
                replacing.replace_parts(output_dir, staging, *_parts(staging, replaced, new))


def open_for_writing(
    output_dir: pathlib.Path,
    classes: ClassSet,
    splits: Collection[str] = (),
    overwrite: bool = False,
) -> DataFolder | None:
    """Returns the data folder that gets the splits, None where there is none yet.

    Raises:
        ValueError: a folder of something else or of other classes, or splits that it has and that
            may not be replaced.
    """
    if not (output_dir / MANIFEST).exists():
        if output_dir.exists() and (not output_dir.is_dir() or any(output_dir.iterdir())):
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


@contextlib.contextmanager
def _staging(output_dir: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a new folder beside the data folder; those of processes that are gone are deleted."""
    output_dir.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{output_dir.name}.new-"
    with contextlib.ExitStack() as stack:
        with files.locked(output_dir.parent):
            for left in output_dir.parent.glob(f"{glob.escape(prefix)}*"):
                if left.is_dir() and not files.is_locked(left):
                    shutil.rmtree(left)
            staging = pathlib.Path(tempfile.mkdtemp(prefix=prefix, dir=output_dir.parent))
            stack.callback(shutil.rmtree, staging, ignore_errors=True)
            stack.enter_context(files.locked(staging))
        yield staging


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
    folder: pathlib.Path,
    split: str,
    scenes: Iterable[LabelledScene],
    classes: ClassSet,
    width: _Width | None,
) -> tuple[_Written, _Width | None]:
    """Writes shards, statistics and ground truth of a split; returns what is told of it."""
    entries: list[dict[str, Any]] = []
    measured: list[statistics.Statistics] = []
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
        measured.append(statistics.measure(scene, classes))
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
                **describe_file(folder / final),
                "records": len(members),
                "names": [entry["name"] for entry in members],
            }
        )
    path = statistics.write_statistics(folder, split, statistics.join(measured))
    return _Written({"shards": shards, "statistics": describe_file(path)}, entries), width


def _describe(
    staging: pathlib.Path,
    existing: DataFolder | None,
    written: Mapping[str, _Written],
    report: Mapping[str, Any],
) -> dict[str, dict[str, Any]]:
    """Writes manifest, index and report of the folder as it will be.

    Returns:
        What the manifest told of the splits that are replaced.
    """
    manifest, index, told = {}, {}, {}
    if existing is not None:
        manifest = read_object(existing.path / MANIFEST)["splits"]
        index = read_object(existing.path / INDEX)
        told = read_object(existing.path / REPORT) if (existing.path / REPORT).exists() else {}
    replaced = {split: manifest[split] for split in written if split in manifest}
    manifest.update({split: of_split.manifest for split, of_split in written.items()})
    index.update({split: of_split.entries for split, of_split in written.items()})
    described = {"schema_version": SCHEMA_VERSION, "splits": manifest}
    files.write_text(staging / MANIFEST, json.dumps(described, indent=1))
    files.write_text(staging / INDEX, json.dumps(index))
    if report:
        files.write_text(staging / REPORT, json.dumps({**told, **report}, indent=1) + "\n")
    return replaced


def _parts(
    staging: pathlib.Path,
    replaced: Mapping[str, dict[str, Any]],
    new: Mapping[str, dict[str, Any]],
) -> tuple[list[str], list[str]]:
    """Returns what is moved to the data folder, and what is taken away from it.

    Args:
        staging: the folder of the new parts.
        replaced: what the manifest told of splits that are replaced.
        new: what it tells of those that are written.
    """

    def names(manifest: Mapping[str, dict[str, Any]]) -> set[str]:
        told = [part for m in manifest.values() for part in (*m["shards"], m.get("statistics"))]
        files_of = {part["file"] for part in told if part}
        return files_of | {f"{GROUND_TRUTH}/{split}" for split in manifest}

    offered = [*sorted(names(new)), REPORT, INDEX, MANIFEST]
    moved = [name for name in offered if (staging / name).exists()]
    return moved, sorted(names(replaced) - set(moved))
