"""Tiny scenes in the raw layout of ScanNet, made at run time.

A room of 6 segments of 2 vertices each, 1 m apart along x: wall, floor, chair, chair, a pillow
(which is not among the 20 classes), and a segment that nobody annotated.
"""

import dataclasses
import json

import numpy as np

from mtml_tf.data.prepared_folder import write_prepared_folder
from mtml_tf.engines import Engine
from mtml_tf.scannet import layout
from mtml_tf.scannet.layout import RawGroup
from mtml_tf.scannet.preparing import Settings, find_scenes
from mtml_tf.scannet.writer import (
    RawScene,
    write_label_table,
    write_raw_scene,
    write_split_list,
)

TABLE = {"wall": 1, "floor": 2, "chair": 5, "office chair": 5, "pillow": 18, "tv stand": 39}
NAMES = {1: "wall", 2: "floor", 5: "chair", 18: "pillow", 39: "otherfurniture"}
GROUPS = (
    RawGroup(0, "wall", (10,)),
    RawGroup(1, "floor", (11,)),
    RawGroup(2, "chair", (12,)),
    RawGroup(3, "office chair", (13,)),
    RawGroup(4, "pillow", (14,)),
)
SEGMENTS = np.repeat([10, 11, 12, 13, 14, 77], 2)
NYU40 = np.repeat([1, 2, 5, 5, 18, 0], 2)
TRUTH = np.repeat([1001, 2002, 5003, 5004, 18005, 0], 2)
NUM_VERTICES = len(SEGMENTS)


def raw_scene(name="scene0000_00", groups=GROUPS, segments=SEGMENTS, alignment=None):
    steps = np.arange(len(segments))
    # Two vertices share a voxel of 10 cm.
    x, y = steps // 2, 0.01 * (steps % 2)
    return RawScene(
        name=name,
        vertices=np.stack([x, y, np.zeros(len(steps))], axis=1).astype(np.float32),
        colors=np.full((len(steps), 3), 128, np.uint8),
        faces=np.array([[0, 1, 2], [1, 2, 3]], np.int32),
        segments=np.asarray(segments),
        groups=tuple(groups),
        axis_alignment=np.eye(4) if alignment is None else np.asarray(alignment, np.float64),
    )


def write_download(path, train=(), val=(), test=()):
    """Writes a download; each argument is a list of raw scenes. Returns its folder."""
    write_label_table(path / layout.LABEL_TABLE, TABLE, NAMES)
    for split, scenes in (("train", train), ("val", val), ("test", test)):
        if scenes:
            write_split_list(path, split, [scene.name for scene in scenes])
        for scene in scenes:
            scans_dir = path / (layout.TEST_SCANS if split == "test" else layout.SCANS)
            write_raw_scene(scans_dir, scene, TABLE)
            if split == "test":  # which nobody annotated
                mesh = layout.MESH.format(scene=scene.name)
                for file in (scans_dir / scene.name).iterdir():
                    if file.name != mesh:
                        file.unlink()
    return path


def file_of(folder, pattern):
    """Returns a file of a scene's folder."""
    return folder / pattern.format(scene=folder.name)


def change_json(path, **fields):
    """Replaces fields of a JSON object."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def prepare(scannet_dir, output_dir, splits=("train",), **options):
    """Writes a data folder of a download; the options are settings or the writer's."""
    settings = {
        name: options.pop(name)
        for name in [field.name for field in dataclasses.fields(Settings)]
        if name in options
    }
    options.setdefault("engine", Engine(num_workers=1))
    settings = Settings(str(scannet_dir), **settings)
    scenes = find_scenes(scannet_dir, splits)
    return write_prepared_folder(output_dir, scenes, settings, **options)


def report_of(folder):
    report = json.loads((folder / "report.json").read_text())
    return {split: part["scenes"] for split, part in report.items()}


def spoil(source, name):
    """Damages the mesh of a scene; what is returned mends it."""
    mesh = file_of(source / "scans" / name, layout.MESH)
    content = mesh.read_bytes()
    mesh.write_bytes(content[:400])
    return lambda: mesh.write_bytes(content)


def write_ids(folder, ids, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}.txt").write_text("".join(f"{number}\n" for number in ids))
    return str(folder)
