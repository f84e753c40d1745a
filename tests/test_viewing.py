import dataclasses
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from scenes import BOX, CLASSES, FLOOR, box_scene, sparse_scene, write_folder

from mtml_tf.config import DataConfig, NetworkConfig, SegmentConfig
from mtml_tf.data.writing import write_data_folder
from mtml_tf.inference import models, viewing
from mtml_tf.network.voxel_network import VoxelNetwork
from mtml_tf.scans import ply, scan
from mtml_tf.scans.scan_file import ScanFile
from mtml_tf.scene import Instance, Scene
from mtml_tf.scoring.benchmark_format import write_predictions

ROOT = pathlib.Path(__file__).resolve().parent.parent
STILL = DataConfig(flips=False, rotations=False)


def scanned(record):
    """A record of a scan with two vertices a voxel, and the scan."""
    centres = record.origin + (record.coordinates + 0.5) * record.voxel_size
    voxel_of = np.repeat(np.arange(len(centres), dtype=np.int32), 2)
    record = dataclasses.replace(record, vertex_to_voxel=voxel_of)
    colors = np.full((len(voxel_of), 3), 77, np.uint8)
    vertices = centres[voxel_of] + np.tile([[0.01, 0, 0], [-0.01, 0, 0]], (len(centres), 1))
    return record, Scene(record.name, vertices, colors, semantic_ids=record.semantic_ids[voxel_of])


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A run folder of a model that was never trained."""
    path = tmp_path_factory.mktemp("run")
    config = models.ModelConfig(
        NetworkConfig(input_channels=len(CLASSES), width=0.0625, dilations=(1, 1)),
        SegmentConfig(thing_ids=CLASSES.thing_ids, min_voxels=1),
        CLASSES,
        voxel_size=0.05,
        has_direction=True,
    )
    network = VoxelNetwork(config.network)
    models.Model(config, network).predict(box_scene(0))
    models.write_model_config(path, config)
    models.write_weights(path, "last", network)
    return path


def test_a_scan_without_labels_is_shown(tmp_path):
    scan.write_scan(tmp_path / "bare.ply", Scene("bare", np.eye(3)))
    view = viewing.view_scan(ScanFile(tmp_path / "bare.ply"))
    assert (view.title, list(view.modes), view.instances) == ("bare", ["height"], [])


def test_labels_that_nobody_named_get_names_of_their_own(tmp_path):
    labelled = Scene(
        "mine", np.eye(3), semantic_ids=np.array([0, 9, 4]), instance_ids=np.array([0, 1, 2])
    )
    scan.write_scan(tmp_path / "mine.ply", labelled)
    view = viewing.view_scan(ScanFile(tmp_path / "mine.ply", label_map={4: 5}))
    assert dict(view.class_names) == {5: "class 5", 9: "class 9"}
    assert [instance.class_id for instance in view.instances] == [5, 9]
    with pytest.raises(ValueError, match=r"expected class ids among .* found \[4, 9\]"):
        viewing.view_scan(ScanFile(tmp_path / "mine.ply"), CLASSES)


def test_a_record_is_shown_as_voxels(tmp_path):
    folder = write_folder(tmp_path / "data", val=[box_scene(0)])
    view = viewing.view_record(folder, "val")
    assert view.voxel_size == 0.05
    assert len(view.points) == len(box_scene(0).coordinates)
    assert view.of_points == 0
    assert list(view.modes) == ["semantic input", "ground truth"]
    with pytest.raises(ValueError, match="expected a scene of split 'val', such as 'scene_000', "):
        viewing.view_record(folder, "val", "scene_007")


def folder_of(path, record):
    """A data folder of one record with vertices."""
    is_object = record.instance_ids > 0
    truth = np.where(is_object, record.semantic_ids * 1000 + record.instance_ids, 0)
    on_vertices = truth[record.vertex_to_voxel].astype(np.int64)
    write_data_folder(path, CLASSES, {"val": [(record, on_vertices)]})
    return path


@pytest.mark.parametrize("compact", [False, True])
def test_predictions_on_vertices_are_shown_on_the_scan_or_on_voxels(tmp_path, compact):
    record, mesh = scanned(box_scene(1))
    folder = folder_of(tmp_path / "data", record)
    scan.write_scan(tmp_path / "scan.ply", mesh)
    members = np.flatnonzero(record.instance_ids[record.vertex_to_voxel] == 1).astype(np.int32)
    found = Instance(int(record.semantic_ids[members[0] // 2]), 0.8, members)
    write_predictions(tmp_path / "found", record.name, [found], record.num_vertices, compact)
    settings = {"prediction_dir": tmp_path / "found", "min_vertices": 1}
    voxels = viewing.view_record(folder, "val", **settings)
    points = viewing.view_record(folder, "val", scan_path=tmp_path / "scan.ply", **settings)
    assert (len(points.points), points.voxel_size) == (2 * len(voxels.points), 0)
    np.testing.assert_array_equal(points.instances[0].indices, members)
    np.testing.assert_array_equal(voxels.instances[0].indices, members[::2] // 2)
    np.testing.assert_array_equal(
        points.modes["mistakes"], voxels.modes["mistakes"][record.vertex_to_voxel]
    )
    assert (points.modes["colour"] == 77).all()
    assert "colour" not in voxels.modes
    scan.write_scan(tmp_path / "other.ply", Scene("other", np.eye(3)))
    with pytest.raises(ValueError, match=r"other\.ply: expected the \d+ vertices of scene scene_"):
        viewing.view_record(folder, "val", scan_path=tmp_path / "other.ply")


def test_a_model_gives_embedding_direction_and_instances(tmp_path, run_dir):
    folder = write_folder(tmp_path / "data", val=[box_scene(0)])
    view = viewing.view_record(folder, "val", run_dir=run_dir, min_vertices=1)
    assert {"instances", "embedding", "direction", "mistakes"} <= set(view.modes)
    assert all(0 <= instance.score <= 1 for instance in view.instances)
    _, mesh = scanned(box_scene(0))
    scan.write_scan(tmp_path / "scan.ply", mesh)
    on_scan = viewing.view_scan(ScanFile(tmp_path / "scan.ply"), run_dir=run_dir)
    assert {"colour", "instances", "embedding", "direction"} <= set(on_scan.modes)
    assert dict(on_scan.class_names)[BOX] == "box"


def test_draws_of_a_scene_are_shown_as_training_would_see_them(tmp_path):
    scene = box_scene(3, num_objects=2)
    folder = write_folder(tmp_path / "data", train=[box_scene(0), scene])
    still = viewing.view_augmented(folder, "train", STILL, scene.name, num_draws=2)
    count = len(scene.coordinates)
    assert len(still.points) == 2 * count
    # The second stands beside the first, four voxels from its grid.
    step = (scene.grid_shape[0] + 4) * scene.voxel_size
    np.testing.assert_allclose(still.points[count:], still.points[:count] + np.array([step, 0, 0]))
    assert len(still.instances) == 2 * len(np.unique(scene.instance_ids[scene.instance_ids > 0]))
    assert still.hover[count].startswith(f"draw 2: {scene.name}\ninput: ")
    turned = viewing.view_augmented(folder, "train", DataConfig(), scene.name, num_draws=2)
    again = viewing.view_augmented(folder, "train", DataConfig(), scene.name, num_draws=2)
    np.testing.assert_array_equal(turned.points, again.points)
    assert not np.array_equal(turned.points, still.points)


def test_without_a_scene_the_first_examples_of_a_training_are_shown(tmp_path):
    folder = write_folder(tmp_path / "data", train=[box_scene(seed) for seed in range(3)])
    view = viewing.view_augmented(folder, "train", STILL, num_draws=3)
    # One epoch has each scene once.
    assert sorted(view.title.removesuffix(" as training sees it").split(", ")) == [
        *("scene_000", "scene_001", "scene_002")
    ]
    assert len(view.points) == sum(len(box_scene(seed).coordinates) for seed in range(3))
    with pytest.raises(ValueError, match="expected at least 1 draw to show, found 0"):
        viewing.view_augmented(folder, "train", STILL, num_draws=0)


def test_features_of_any_kind_are_shown_without_classes(tmp_path):
    scene = sparse_scene(0, (8, 8, 8), 30, (FLOOR,), num_features=5)
    folder = write_folder(tmp_path / "data", train=[scene])
    view = viewing.view_augmented(folder, "train", STILL, num_draws=1)
    assert view.hover[0].split("\n")[1] == "input: unlabelled"


def run_tool(*flags):
    command = [sys.executable, "tools/view.py", *map(str, flags)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_tool_writes_a_page_and_a_picture(tmp_path):
    folder = write_folder(tmp_path / "data", val=[box_scene(0)])
    page, picture = tmp_path / "view.html", tmp_path / "view.png"
    flags = (f"--data_dir={folder}", f"--output_html={page}", f"--output_png={picture}")
    done = run_tool(*flags, "--width=60")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{page}\n{picture}: semantic input, ground truth\n"
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("flag", "sentence"),
    [
        ("--output_html=a.ply", "a.ply: expected the name of a .html file to write"),
        ("--output_png=a.jpg", "a.jpg: expected the name of a .png file to write"),
        ("--output_html=folder.html", "found a folder; choose another path"),
        ("--output_html=scan.html", "that is read, found scan.html there"),
    ],
)
def test_the_tool_replaces_nothing_else_than_a_view(tmp_path, flag, sentence):
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "scan.html").write_text("a scan of an odd name")
    done = subprocess.run(
        [sys.executable, ROOT / "tools/view.py", "--scan=scan.html", flag, "--overwrite"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert sentence in done.stderr.splitlines()[-1]
    assert (tmp_path / "scan.html").read_text() == "a scan of an odd name"


def test_the_tool_says_what_it_needs():
    done = run_tool("--output_html=x.html")
    assert done.returncode == 2
    assert "expected --scan or --data_dir" in done.stderr


@pytest.mark.parametrize("ids", [lambda n: np.full(n, -1), lambda n: np.arange(n)])
def test_instances_that_are_no_truth_are_left_out(tmp_path, ids):
    vertices = np.random.default_rng(0).uniform(0, 1, (1200, 3))
    properties = {"label": np.full(1200, 5, np.uint16), "instance": ids(1200).astype(np.int32)}
    ply.write_ply(tmp_path / "scan.ply", vertices, properties=properties)
    view = viewing.view_scan(ScanFile(tmp_path / "scan.ply"))
    assert list(view.modes) == ["semantic input"]


def test_labels_of_other_classes_name_the_file_and_the_remedy(tmp_path):
    ply.write_ply(tmp_path / "scan.ply", np.eye(3), properties={"label": np.full(3, 13, np.uint8)})
    sentence = r"scan\.ply: vertex property 'label': .*found \[13\].* --label_map="
    with pytest.raises(ValueError, match=sentence):
        viewing.view_scan(ScanFile(tmp_path / "scan.ply"), CLASSES)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--scan=a.ply", "--modes=instances", "--output_html=a.html"], "--modes together with"),
        (["--scan=a.ply", "--num_draws=2", "--output_html=a.html"], "--num_draws together with"),
        (["--data_dir=d", "--label_map=1:2", "--output_html=a.html"], "--label_map without"),
        (["--scan=a.ply", "--scale=0", "--output_html=a.html"], "scale"),
    ],
)
def test_flags_that_say_nothing_are_wrong_usage(tmp_path, arguments, sentence):
    program = pathlib.Path(__file__).parent.parent / "tools" / "view.py"
    done = subprocess.run(
        [sys.executable, str(program), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert sentence in done.stderr
