"""What `experiments.fuzz` feeds damaged files to: the readers, and valid files to begin with.

All files are made here, with the package's own writers where it has one.
"""

import dataclasses
import io
import json
import pathlib
import zipfile
from collections.abc import Callable

import h5py
import numpy as np
from absl import flags

from mtml_tf import config_flags, program
from mtml_tf.classes import SCANNET18, ClassSet, encode_classes, read_classes
from mtml_tf.config import (
    DataConfig,
    LossConfig,
    NetworkConfig,
    SegmentConfig,
    TrainConfig,
)
from mtml_tf.data import records, statistics, writing
from mtml_tf.engines import Engine
from mtml_tf.files import read_scene_list
from mtml_tf.inference.model_config import (
    DESCRIPTION,
    ModelConfig,
    read_model_config,
    write_model_config,
)
from mtml_tf.rooms import catalogue
from mtml_tf.scannet import layout, mtml_hdf5, reader, submission, writer
from mtml_tf.scans import ply, prepared, preparing, scan, semantic_input, voxels
from mtml_tf.scene import Instance, Scene
from mtml_tf.scoring import benchmark_format, compact_masks
from mtml_tf.scoring.ground_truth import ground_truth_ids
from mtml_tf.semantic import point_folder
from mtml_tf.semantic.preparing import ScanPoints

Path = pathlib.Path

CLASSES = ClassSet((1, 2, 7), ("floor", "box", "ball"), ("stuff", "thing", "thing"))
_TABLE = {"wall": 1, "floor": 2, "chair": 5, "pillow": 18}
_NUM_VERTICES = 12
_NAME = "scene0000_00"


@dataclasses.dataclass(frozen=True)
class Target:
    """A reader, and the file that is damaged.

    Attributes:
        file: name of the file, in the folder of all that the reader wants.
        prepare: writes what else there has to be into an empty folder; returns valid contents of
            the file.
        read: reads the folder.
        refusals: what may be raised, naming the folder.
    """

    file: str
    prepare: Callable[[Path], list[bytes]]
    read: Callable[[Path], object]
    refusals: tuple[type[Exception], ...] = (ValueError,)


def _scene() -> Scene:
    rows = np.arange(_NUM_VERTICES)
    return Scene(
        name=_NAME,
        vertices=np.stack([rows * 0.25, rows % 2 * 0.5, rows % 3 * 0.25], axis=1),
        colors=np.stack([rows, 2 * rows, 255 - rows], axis=1).astype(np.uint8),
        faces=np.array([[0, 1, 2], [1, 2, 3], [9, 10, 11]], np.int32),
        semantic_ids=np.array(CLASSES.ids, np.int32)[rows % 3],
        instance_ids=np.where(rows % 3 > 0, 1 + rows // 6, 0).astype(np.int32),
    )


def _scans(folder: Path) -> list[bytes]:
    """A binary mesh; the same as text and with the other byte order; polygons and odd lists."""
    path = folder / "a.ply"
    scan.write_scan(path, _scene())
    little = path.read_bytes()
    elements = ply.read_ply(path)
    path.unlink()
    head, _, _ = little.partition(b"end_header\n")
    faces = np.zeros(3, [("n", "u1"), ("corners", ">i4", 3)])
    faces["n"], faces["corners"] = 3, elements["faces"]
    vertex = elements["vertex"]
    big = vertex.astype(vertex.dtype.newbyteorder(">")).tobytes() + faces.tobytes()
    text = "".join(" ".join(map(str, row)) + "\n" for row in vertex.tolist())
    polygons = "3 0 1 2\n5 1 2 3 4 5\n4 6 7 8 9\n"
    odd = (
        "ply\nformat ascii 1.0\ncomment odd\nelement vertex 3\nproperty list uchar float weights\n"
        "property double x\nproperty float y\nproperty float z\nproperty float red\n"
        "property float green\nproperty float blue\nproperty short label\nelement edge 1\n"
        "property int a\nend_header\n2 .5 1 0 0 0 1 0 .5 1\n0 1 0 0 0 0 0 2\n1 3 0 1 0 1 1 1 7\n4\n"
    )
    return [
        little,
        head.replace(b"little", b"big") + b"end_header\n" + big,
        head.replace(b"binary_little_endian", b"ascii") + f"end_header\n{text}{polygons}".encode(),
        odd.encode(),
    ]


def _read_scan(folder: Path) -> object:
    path = folder / "a.ply"
    ply.read_vertex_count(path)
    return preparing.Settings(CLASSES, 0.1).voxelize(path)


def _raw_scene(pattern: str) -> Callable[[Path], list[bytes]]:
    def prepare(folder: Path) -> list[bytes]:
        scene = dataclasses.replace(_scene(), semantic_ids=None, instance_ids=None)
        raw = writer.RawScene(
            name=_NAME,
            vertices=scene.vertices,
            colors=np.asarray(scene.colors),
            faces=np.asarray(scene.faces),
            segments=np.repeat([10, 11, 12, 13], 3),
            groups=tuple(layout.RawGroup(i, name, (10 + i,)) for i, name in enumerate(_TABLE)),
            axis_alignment=np.eye(4),
        )
        writer.write_raw_scene(folder, raw, _TABLE)
        return [(folder / _NAME / pattern.format(scene=_NAME)).read_bytes()]

    return prepare


def _read_raw_scene(folder: Path) -> object:
    scene, faults = reader.read_scene(folder / _NAME, _TABLE)
    return reader.benchmark_ids(scene), reader.with_benchmark_classes(scene), faults


def _label_table(folder: Path) -> list[bytes]:
    path = folder / layout.LABEL_TABLE
    writer.write_label_table(path, _TABLE, {1: "wall", 2: "floor", 5: "chair", 18: "pillow"})
    return [path.read_bytes()]


def _predictions(file: str) -> Callable[[Path], list[bytes]]:
    def prepare(folder: Path) -> list[bytes]:
        rows = (np.array([1, 3]), np.array([], np.int32), np.arange(4, 9))
        instances = [
            Instance(5, 0.25 * (i + 1), row.astype(np.int32)) for i, row in enumerate(rows)
        ]
        compact = file == _COMPACT
        benchmark_format.write_predictions(folder, _NAME, instances, _NUM_VERTICES, compact)
        content = (folder / file).read_bytes()
        return [content, content.replace(b"\n", b"\r\n"), content.replace(b"\n", b" \n")][
            : 3 if file == _MASK else 1
        ]

    return prepare


def _ground_truth(folder: Path) -> list[bytes]:
    path = folder / f"{_NAME}.txt"
    benchmark_format.write_ground_truth(path, np.arange(_NUM_VERTICES) * 1001)
    return [path.read_bytes(), b"-1\n+5\n 12 \n", b"1\r\n0\r\n"]


def _check_submission(folder: Path) -> object:
    return submission.check_submission(folder, [_NAME], {_NAME: _NUM_VERTICES})


def _data_folder(file: str) -> Callable[[Path], list[bytes]]:
    def prepare(folder: Path) -> list[bytes]:
        scene = voxels.voxelize(_scene(), 0.1, CLASSES, with_points=True)
        splits = {
            split: [(dataclasses.replace(scene, name=split), ground_truth_ids(_scene(), CLASSES))]
            for split in ("train", "val")
        }
        writing.write_data_folder(folder / "data", CLASSES, splits)
        if file == "record":
            toy = voxels.with_input(scene, scene.semantic_ids[scene.vertex_to_voxel])
            widened = dataclasses.replace(
                toy, features=np.ones((len(toy.coordinates), 3), np.float32), points=None
            )
            return [records.encode_record(one) for one in (scene, toy, widened)]
        if file == f"{writing.replacing.UPDATE}/journal.json":
            (folder / "data" / file).parent.mkdir()
            return [json.dumps({"moved": ["index.json"], "removed": ["report.json"]}).encode()]
        return [(folder / "data" / file).read_bytes()]

    return prepare


def _read_data_folder(folder: Path) -> object:
    data = records.DataFolder(folder / "data")
    entries = [(split, entry) for split in data.splits for entry in data.entries(split)]
    return [
        (data.scene(e), data.has_ground_truth(s, e) and data.ground_truth(s, e)) for s, e in entries
    ]


def _read_record(folder: Path) -> object:
    """Reads a record that the manifest vouches for."""
    path = folder / "data"
    (shard,) = path.glob("train-*.tfrecord")
    record = (folder / "record").read_bytes()
    shard.write_bytes(bytes(12) + record + bytes(4))
    for name in (records.MANIFEST, records.INDEX):
        content = json.loads((path / name).read_text())
        if name == records.INDEX:
            content["train"][0]["length"] = len(record)
        else:
            told = content["splits"]["train"]["shards"][0]
            told.update(bytes=len(record) + 16, sha256=records.digest(shard))
        (path / name).write_text(json.dumps(content))
    return _read_data_folder(folder)


def _read_statistics(folder: Path) -> object:
    """Reads statistics that the manifest vouches for."""
    path = folder / "data"
    content = json.loads((path / records.MANIFEST).read_text())
    told = records.describe_file(path / _STATISTICS)
    content["splits"]["train"]["statistics"] = told
    (path / records.MANIFEST).write_text(json.dumps(content))
    return statistics.read_statistics(records.DataFolder(path), "train")


def _encode_npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def _arrays(folder: Path) -> list[bytes]:
    ids = np.array(CLASSES.ids)[np.arange(_NUM_VERTICES) % 3]
    scores = np.full((_NUM_VERTICES, 3), 1 / 3)
    arrays = (ids, ids[:, None].astype("f2"), scores, np.asfortranarray(scores, ">f4"))
    return [_encode_npy(array) for array in arrays]


def _features(folder: Path) -> list[bytes]:
    (folder / "a.txt").write_text("1\n" * _NUM_VERTICES)
    return [_encode_npy(np.ones((_NUM_VERTICES, 5), dtype)) for dtype in ("f2", "f8", "i1")]


def _prepared_scene(folder: Path) -> list[bytes]:
    scan.write_scan(folder / "room.ply", _scene())
    source = prepared.Source("train", "room", folder / "room.ply")
    prepared.prepare_scenes(
        [source], preparing.Settings(CLASSES, 0.1), folder, Engine(num_workers=1)
    )
    return [(folder / "train" / "room.npz").read_bytes()]


def _points(folder: Path) -> list[bytes]:
    scan.write_scan(folder / "room.ply", _scene())
    source = prepared.Source("train", "room", folder / "room.ply")
    point_folder.write_point_folder(
        folder / "points", [source], ScanPoints(CLASSES), Engine(num_workers=1)
    )
    return [(folder / "points" / "train" / "room.npz").read_bytes()]


def _grids(file: str) -> Callable[[Path], list[bytes]]:
    def prepare(folder: Path) -> list[bytes]:
        labels, instances = np.zeros((2, 4, 3, 2), np.int64)
        labels[1], instances[1] = 5, 1
        places, scores = np.argwhere(labels), np.zeros((6, 20), np.float32)
        contents = []
        for options in ({"chunks": (2, 3, 2), "compression": "gzip"}, {}):
            for name, grid in (("seg", labels), ("inst", instances)):
                with h5py.File(folder / f"a_{name}.hdf5", "w") as opened:
                    opened.create_dataset("voxel_grid", data=grid, **options)
            with h5py.File(folder / "a_h_pred.hdf5", "w") as opened:
                opened["h_pred_idx"], opened["h_pred_compact"] = places, scores
            contents.append((folder / file).read_bytes())
        return contents

    return prepare


def _write_flags(folder: Path) -> list[bytes]:
    run = "--seed=3\n--width=0.5\n--noflips\n--dilations=7,7\n# a comment\n--strategy=default\n"
    return [run.encode(), b"--alpha_label=1\n--epochs=3\n--decay=cosine\n"]


_FLAGS = flags.FlagValues()
_CONFIGS = (NetworkConfig, LossConfig, DataConfig, TrainConfig)
for _config in _CONFIGS:
    config_flags.define(_config, flag_values=_FLAGS)


def _read_flags(folder: Path) -> object:
    _FLAGS.unparse_flags()
    program.parse_flags(_FLAGS, ["program", f"--flagfile={folder / 'a.cfg'}"])
    return [config_flags.read(config, flag_values=_FLAGS) for config in _CONFIGS]


def _model_json(folder: Path) -> list[bytes]:
    trees = {"base": 0.5, "roots": [0], "column": [0, 0, 0], "right": [2, -1, -1]}
    trees |= {"threshold": [0.5, 0.0, 0.0], "value": [0.0, 0.1, 0.2]}
    segment = SegmentConfig((2, 7), {2: (3.0, 0.5)}, CLASSES.ids, (*CLASSES.ids, 0), trees)
    write_model_config(folder, ModelConfig(NetworkConfig(3), segment, CLASSES, 0.1, True))
    return [(folder / DESCRIPTION).read_bytes()]


_ENTRY = "id#1=Scopia#chair3\nmodel#1=/a.obj\nwidth#1=50\ndepth#1=60\nheight#1=90\n"
_OBJ = (
    "mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 1 2 0\nv 0 2 3\nusemtl red\nf 1/1 2/2 3/3 4/4\nf -4 -3 -1\n"
)


def _furniture(file: str) -> Callable[[Path], list[bytes]]:
    contents = {
        "PluginFurnitureCatalog.properties": _ENTRY + "modelRotation#1=1 0 0 0 1 0 0 0 1\n",
        "a.obj": _OBJ,
        "a.mtl": "newmtl red\nKd 1.0 0.5 0\n",
    }

    def prepare(folder: Path) -> list[bytes]:
        (folder / "table.csv").write_text("model,label,place\nScopia#chair3,chair,floor\n")
        for name, text in contents.items():
            (folder / name).write_text(text)
        if file in contents:
            return [contents[file].encode()]
        _zip_furniture(folder)
        return [(folder / file).read_bytes()]

    return prepare


def _zip_furniture(folder: Path) -> None:
    with zipfile.ZipFile(folder / "a.sh3f", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("PluginFurnitureCatalog.properties", "a.obj", "a.mtl"):
            archive.write(folder / name, name)


def _read_furniture(folder: Path) -> object:
    found = catalogue.read_catalogue(folder, folder / "table.csv")
    return [catalogue.read_mesh(model) for model in found.models]


def _read_zipped_furniture(folder: Path) -> object:
    _zip_furniture(folder)
    return _read_furniture(folder)


def _no_more(*contents: str) -> Callable[[Path], list[bytes]]:
    return lambda folder: [content.encode() for content in contents]


def _in_raw_scene(pattern: str) -> Target:
    return Target(f"{_NAME}/{pattern.format(scene=_NAME)}", _raw_scene(pattern), _read_raw_scene)


def _in_predictions(file: str) -> Target:
    return Target(
        file,
        _predictions(file),
        lambda folder: benchmark_format.read_predictions(folder, _NAME, _NUM_VERTICES),
    )


def _in_data_folder(file: str) -> Target:
    return Target(f"data/{file}", _data_folder(file), _read_data_folder)


def _in_grids(kind: str, semantic: str) -> Target:
    file = f"a_{kind}.hdf5"
    return Target(file, _grids(file), lambda folder: mtml_hdf5.read_scene(folder, "a", semantic))


_LIST, _MASK = f"{_NAME}.txt", f"{benchmark_format.MASK_FOLDER}/{_NAME}_000.txt"
_COMPACT = f"{_NAME}{compact_masks.SUFFIX}"
_STATISTICS = "train-statistics.json"
_JOURNAL = f"{writing.replacing.UPDATE}/journal.json"

TARGETS: dict[str, Target] = {
    "ply": Target("a.ply", _scans, _read_scan),
    "segments": _in_raw_scene(layout.SEGMENTS),
    "aggregation": _in_raw_scene(layout.AGGREGATION),
    "alignment": _in_raw_scene(layout.DESCRIPTION),
    "label_table": Target(
        layout.LABEL_TABLE, _label_table, lambda d: reader.read_label_table(d / layout.LABEL_TABLE)
    ),
    "classes": Target(
        "classes.csv",
        _no_more(encode_classes(CLASSES), encode_classes(SCANNET18)),
        lambda folder: read_classes(folder / "classes.csv").channel_table,
    ),
    "scene_list": Target(
        "a.txt", _no_more("scene0000_00\nscene0001_00\n"), lambda d: read_scene_list(d / "a.txt")
    ),
    "predictions": _in_predictions(_LIST),
    "mask": _in_predictions(_MASK),
    "compact_masks": _in_predictions(_COMPACT),
    "submission": Target(_LIST, _predictions(_LIST), _check_submission),
    "vertex_counts": Target(
        "a.txt",
        _no_more("scene0000_00 12\nscene0001_00 5\n"),
        lambda folder: submission.read_vertex_count_table(folder / "a.txt"),
    ),
    "ground_truth": Target(
        _LIST, _ground_truth, lambda d: benchmark_format.read_ground_truth(d / _LIST)
    ),
    "manifest": _in_data_folder(records.MANIFEST),
    "index": _in_data_folder(records.INDEX),
    "journal": _in_data_folder(_JOURNAL),
    "statistics": Target(f"data/{_STATISTICS}", _data_folder(_STATISTICS), _read_statistics),
    "record": Target("record", _data_folder("record"), _read_record),
    "npy": Target(
        "a.npy",
        _arrays,
        lambda d: semantic_input.read_semantic_file(d / "a.npy", _NUM_VERTICES, CLASSES),
    ),
    "npy_features": Target(
        "a.npy",
        _features,
        lambda d: semantic_input.read_semantic_input(d, "a", _NUM_VERTICES, CLASSES, "features"),
    ),
    "semantic_text": Target(
        "a.txt",
        _no_more("1\n0\n7\n" * 4, "1.000e+00\n2.0\n0\n7\n" * 3),
        lambda d: semantic_input.read_semantic_file(d / "a.txt", _NUM_VERTICES, CLASSES),
    ),
    "prepared": Target(
        "train/room.npz",
        _prepared_scene,
        lambda d: list(prepared.PreparedScenes([d / "train" / "room.npz"])),
    ),
    "points": Target(
        "points/train/room.npz",
        _points,
        lambda d: point_folder.PointFolder(d / "points").read("train", "room"),
    ),
    "hdf5_labels": _in_grids("seg", mtml_hdf5.GROUND_TRUTH),
    "hdf5_scores": _in_grids("h_pred", mtml_hdf5.PREDICTED),
    "flagfile": Target("a.cfg", _write_flags, _read_flags, (ValueError, flags.Error)),
    "model": Target(DESCRIPTION, _model_json, read_model_config),
    "furniture_zip": Target("a.sh3f", _furniture("a.sh3f"), _read_furniture),
    "furniture_table": Target(
        "PluginFurnitureCatalog.properties",
        _furniture("PluginFurnitureCatalog.properties"),
        _read_zipped_furniture,
    ),
    "furniture_obj": Target("a.obj", _furniture("a.obj"), _read_zipped_furniture),
    "furniture_mtl": Target("a.mtl", _furniture("a.mtl"), _read_zipped_furniture),
}
