"""What the documentation takes for granted: the repository's programs and the reader's own data."""

import contextlib
import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pytest
from documented_commands import Book
from program_server import serving
from test_mtml_hdf5 import write_truth

from experiments import table2, table3, tabletop
from experiments.paper_numbers import TABLE_3_CLASSES
from mtml_tf.rooms import examples, making
from mtml_tf.scannet import layout
from mtml_tf.scans.scan import write_scan
from mtml_tf.scene import Scene

ROOT = pathlib.Path(__file__).resolve().parent.parent
CLASSES = "id,name,kind\n1,table,stuff\n2,object,thing\n"
# Run folders that are there already, as if trained before: programs that train several networks
# for a table train one of them then. By folder, the shipped model that stands for it.
TRAINED = {
    "runs/table1/fe_only": "toy",
    "runs/table1/direction_only": "toy",
    "runs/tabletop/fe_only": "tabletop",
    "runs/table2/fe_only": "rooms",
    "runs/rooms/fe_only": "rooms",
}
# Results that are there already, as if programs had been interrupted: they do one of each kind.
SCORED = [f"runs/robustness/scores/{name}.json" for name in ("noise_0.5", "noise_1", "noise_2")]
SCORED += [f"runs/robustness/scores/{name}.json" for name in ("noise_1.5", "row_1", "row_2")]


def lay_out(folder, commands, server):
    """Makes what the commands take for granted: the programs, the reader's data, trained models.

    Args:
        folder: stands for the repository's root.
        commands: all that will be run there.
        server: a `program_server`.
    """
    for name in ("experiments", "mtml_tf", "tests", "tools"):
        (folder / name).symlink_to(ROOT / name)
    for name in ("docs", "examples"):  # which some commands make anew
        shutil.copytree(ROOT / name, folder / name)
    text = " ".join(command.text for command in commands)
    for name, model in TRAINED.items():
        shutil.copytree(ROOT / "mtml_tf" / "shipped" / model, folder / name)
    if "experiments.table1" not in text:
        shutil.copytree(ROOT / "mtml_tf" / "shipped" / "toy", folder / "runs/table1/multi_task")
    for name in SCORED:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dict.fromkeys(table2.METHODS, 0.5)))
    if "scan.ply" in text or "scans/train" in text:
        write_own_scans(folder)
    if "raw.ply" in text:
        unlabelled = dataclasses.replace(table_scene("raw"), semantic_ids=None, instance_ids=None)
        write_scan(folder / "raw.ply", unlabelled)
    if "experiments.tabletop" in text:
        write_frames(folder / "kinect")
    if "experiments.real_rooms" in text:
        scene = table_scene("a")  # here of a wall and two chairs
        ids = np.where(scene.semantic_ids == 1, 1, 5).astype(np.int32)
        write_scan(folder / "real" / "a.ply", dataclasses.replace(scene, semantic_ids=ids))
    if "--scannet_dir=S" in text:
        write_scannet(folder, server)
    if "import_mtml_hdf5" in text:
        write_truth(folder / "I")
    if "--result_csv=" in text:
        rows = [",".join(table3.HEADER), *(f"{name},1,0,0.5,1" for name in TABLE_3_CLASSES)]
        (folder / "scores.csv").write_text("\n".join(rows))


def write_own_scans(folder):
    """Writes labelled scans, `scans/train` and `scans/val`, their classes, and `scan.ply`."""
    (folder / "classes.csv").write_text(CLASSES)
    for split, numbers in {"train": (0, 1, 2), "val": (3,)}.items():
        for number in numbers:
            path = folder / "scans" / split / f"scan{number}.ply"
            write_scan(path, examples.make_tabletop_example(number))
    shutil.copy(path, folder / "scan.ply")


def write_frames(folder):
    """Writes labelled frames of a table with the names that the experiment knows."""
    for name in [*tabletop.VALIDATION, "learn0", "learn1", "learn2"]:
        write_scan(folder / f"{name}.ply", table_scene(name))


def table_scene(name):
    """A table of 20 cm with two objects on it, a point in each cell of 4 mm."""
    table = np.argwhere(np.ones((50, 50, 1))) * 0.004
    box = np.argwhere(np.ones((12, 12, 15))) * 0.004 + np.array([0.0, 0.0, 0.01])
    return Scene(
        name=name,
        vertices=np.concatenate([table, box + 0.02, box + np.array([0.12, 0.12, 0.0])]),
        semantic_ids=np.repeat([1, 2], [len(table), 2 * len(box)]).astype(np.int32),
        instance_ids=np.repeat([0, 1, 2], [len(table), len(box), len(box)]).astype(np.int32),
    )


def write_scannet(folder, server):
    """Writes three small rooms as a download of ScanNet, `S`.

    The last one is for validation, and stands for a test scene, too.
    """
    scannet_dir = folder / "S"
    rooms = ["tools/make_rooms.py", "--output_dir=S", "--seed=7"]
    done = server.run([*rooms, "--num_scenes=3", "--num_val=1"], folder)
    assert done.status == 0, done.stderr
    last, name = making.scene_name(2), "scene0707_00"
    path = scannet_dir / layout.SCANS / last / layout.MESH.format(scene=last)
    test_dir = scannet_dir / layout.TEST_SCANS / name
    test_dir.mkdir(parents=True)
    shutil.copy(path, test_dir / layout.MESH.format(scene=name))
    (scannet_dir / layout.SPLIT_LIST.format(split="test")).write_text(f"{name}\n")


@contextlib.contextmanager
def opened(commands, tmp_path_factory):
    """A book of commands with all they take for granted; skips where Open3D lacks a library."""
    folder, log_dir = (tmp_path_factory.mktemp(name) for name in ("root", "log"))
    with serving(log_dir, "documented_commands") as server:
        if server.run(["-c", "import open3d"], folder).status:
            pytest.skip("Open3D can't be imported")
        lay_out(folder, commands, server)
        yield Book(commands, folder, server)
