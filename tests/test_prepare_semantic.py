"""From raw ScanNet, or from PLY files, to a points folder."""

import dataclasses
import pathlib
import subprocess
import sys

import numpy as np
import own_scans
import pytest
from raw_scannet import NUM_VERTICES, NYU40, file_of, raw_scene, spoil, write_download

from mtml_tf.classes import SCANNET20, encode_classes
from mtml_tf.engines import Engine
from mtml_tf.scannet import layout, reader
from mtml_tf.scannet.preparing import find_scenes
from mtml_tf.scans import scan
from mtml_tf.scans.preparing import as_split
from mtml_tf.scene import Scene
from mtml_tf.semantic.point_folder import PointFolder, write_point_folder
from mtml_tf.semantic.points import point_scene
from mtml_tf.semantic.preparing import ScannetPoints, ScanPoints

ROOT = pathlib.Path(__file__).resolve().parent.parent
CLASS_IDS = np.where(NYU40 == 18, 0, NYU40)  # a pillow is not among the 20 classes
TURN = [[0, -1, 0, 2], [1, 0, 0, 3], [0, 0, 1, 0.5], [0, 0, 0, 1]]


def run(*flags):
    command = [sys.executable, "tools/prepare_semantic.py", "--num_workers=1", *map(str, flags)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def download(tmp_path):
    return write_download(
        tmp_path / "raw",
        train=[raw_scene("scene0000_00", alignment=TURN), raw_scene("scene0001_00")],
        val=[raw_scene("scene0002_00")],
        test=[raw_scene("scene0707_00")],
    )


@pytest.fixture
def scans(tmp_path):
    """Two scans of one's own, a room and the same without labels, y up and in millimetres."""
    vertices, labels = own_scans.room()
    vertices = vertices[:, [0, 2, 1]] * [1000, 1000, -1000]
    colors = np.full(vertices.shape, 7, np.uint8)
    whole = Scene("room10", vertices, colors, semantic_ids=labels.astype(np.int32))
    scan.write_scan(tmp_path / "scans" / "room10.ply", whole)
    bare = dataclasses.replace(whole, colors=None, semantic_ids=None)
    scan.write_scan(tmp_path / "scans" / "room2.ply", bare)
    (tmp_path / "classes.csv").write_text(encode_classes(own_scans.CLASSES))
    return tmp_path / "scans"


def of_scans(scans, *flags):
    given = [f"--input_dir={scans}", f"--output_dir={scans.parent}/points"]
    return run(*given, f"--classes={scans.parent}/classes.csv", "--up_axis=y", *flags)


def test_scannet_becomes_points_of_the_benchmarks_classes(download):
    output = download.parent / "points"
    flags = [f"--scannet_dir={download}", f"--output_dir={output}", "--splits=train,val,test"]
    done = run(*flags, "--num_workers=2")
    assert (done.returncode, done.stdout) == (0, f"{output}: wrote 4 scenes\n"), done.stderr
    folder = PointFolder(output)
    assert folder.classes == SCANNET20
    assert folder.splits == ("test", "train", "val")
    assert folder.names("train") == ["scene0000_00", "scene0001_00"]
    for split in ("train", "val"):
        for name in folder.names(split):
            points = folder.read(split, name)
            np.testing.assert_array_equal(points.semantic_ids, CLASS_IDS)
            np.testing.assert_array_equal(points.colors, np.full((NUM_VERTICES, 3), 128))
    points = folder.read("test", "scene0707_00")
    assert points.semantic_ids is None
    assert len(points.vertices) == NUM_VERTICES
    assert run(*flags).stdout == f"{output}: wrote 0 scenes; 4 were there already\n"


def test_scannet_is_turned_as_for_the_instance_network(download):
    (source, _) = find_scenes(download, ["train"])
    scene, faults = ScannetPoints(str(download))(source)
    assert faults == []
    expected = reader.read_mesh(source.path)
    np.testing.assert_array_equal(scene.vertices, expected.vertices)
    unaligned = reader.read_mesh(source.path, align_axes=False).vertices
    np.testing.assert_allclose(scene.vertices[:, 0], 2 - unaligned[:, 1])


def test_a_bad_scene_is_left_out_told_and_made_once_it_is_mended(download):
    output = download.parent / "points"
    flags = [f"--scannet_dir={download}", f"--output_dir={output}"]
    mend = spoil(download, "scene0001_00")
    done = run(*flags)
    assert done.returncode == 1
    assert "scene0001_00 failed (train): " in done.stderr
    assert "expected 3 scenes to be prepared, found 1 that could not be" in done.stderr
    assert "Traceback" not in done.stderr
    assert PointFolder(output).names("train") == ["scene0000_00"]
    mend()
    assert run(*flags).stdout == f"{output}: wrote 1 scenes; 2 were there already\n"
    assert PointFolder(output).names("train") == ["scene0000_00", "scene0001_00"]


def test_a_fault_of_a_scene_is_a_warning(download):
    file_of(download / "scans" / "scene0002_00", layout.LABELS_MESH).unlink()
    flags = [f"--scannet_dir={download}", f"--output_dir={download.parent}/points"]
    done = run(*flags, "--splits=val")
    assert "scene0002_00 warned (val): " in done.stderr
    assert done.stdout.endswith("points: wrote 1 scenes, 1 of them with warnings\n")


def test_a_label_table_that_is_missing_is_told_before_any_work(download):
    (download / layout.LABEL_TABLE).unlink()
    output = download.parent / "points"
    done = run(f"--scannet_dir={download}", f"--output_dir={output}")
    assert done.returncode == 1
    assert f"{layout.LABEL_TABLE}: expected a text file" in done.stderr
    assert not output.exists()
    assert run(f"--scannet_dir={download}", f"--output_dir={output}", "--splits=test").stdout


def test_where_the_download_lies_changes_nothing(download):
    output = download.parent / "points"
    for place in (download, download.parent / "elsewhere"):
        if not place.exists():
            download.rename(place)
        sources = find_scenes(place, ["val"])
        told = write_point_folder(output, sources, ScannetPoints(str(place)), Engine("pool", 1))
    assert told.endswith("wrote 0 scenes; 1 were there already")


def test_scans_of_ones_own_become_points_in_metres_and_z_up(scans):
    done = of_scans(scans, "--scale=0.001", "--split=val")
    assert done.returncode == 0, done.stderr
    folder = PointFolder(scans.parent / "points")
    assert folder.classes == own_scans.CLASSES
    assert folder.names("val") == ["room2", "room10"]
    vertices, labels = own_scans.room()
    points = folder.read("val", "room10")
    np.testing.assert_allclose(points.vertices, vertices, atol=1e-6)
    np.testing.assert_array_equal(points.semantic_ids, labels)
    expected = point_scene(Scene("room", vertices))
    inside = slice(None, None, 7)
    near = np.abs(points.roughness[inside].astype(int) - expected.roughness[inside]) <= 2
    assert near.mean() > 0.9  # vertices at equal distances may change places
    assert set(points.colors.reshape(-1).tolist()) == {7}
    bare = folder.read("val", "room2")
    assert bare.colors is bare.semantic_ids is None


def test_a_label_that_is_no_class_is_told_and_can_be_mapped(scans):
    (scans.parent / "classes.csv").write_text("id,name,kind\n1,floor,stuff\n2,box,thing\n")
    done = of_scans(scans, "--scenes=room10", "--scale=0.001")
    assert done.returncode == 1
    told = "room10.ply: expected class ids among [1, 2] (or 0), found [7]; known are 1 floor, 2 box"
    assert told in done.stderr
    done = of_scans(scans, "--scenes=room10", "--scale=0.001", "--label_map=7:2")
    assert done.returncode == 0, done.stderr
    points = PointFolder(scans.parent / "points").read("train", "room10")
    assert set(points.semantic_ids.tolist()) == {1, 2}
    done = of_scans(scans, "--scenes=room10", "--scale=0.001", "--label_map=7:1")
    assert "made of the files and by the settings of today" in done.stderr


def test_two_scans_of_one_name_are_refused(scans):
    for name in ("my room", "my_room"):
        scan.write_scan(scans / f"{name}.ply", Scene("a", np.zeros((1, 3))))
    done = of_scans(scans)
    assert done.returncode == 1
    assert "expected a new scene name, found that of" in done.stderr
    assert not (scans.parent / "points").exists()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ([], "expected either --scannet_dir or --input_dir, found neither"),
        (["--scannet_dir=a", "--input_dir=b"], "found both"),
        (["--input_dir=b"], "--classes is required together with --input_dir"),
        (["--input_dir=b", "--splits=val"], "expected no --splits together with --input_dir"),
        (["--scannet_dir=a", "--scale=2"], "expected no --scale together with --scannet_dir"),
    ],
)
def test_flags_that_do_not_go_together_are_wrong_usage(flags, sentence):
    done = run("--output_dir=out", *flags)
    assert done.returncode == 2
    assert sentence in done.stderr


def test_an_axis_that_is_none_is_refused_with_the_file(scans):
    (source,) = as_split("train", [scans / "room10.ply"])
    with pytest.raises(ValueError, match=r"room10\.ply: expected an up axis .*, found 'up'$"):
        ScanPoints(own_scans.CLASSES, up_axis="up")(source)


def test_the_workers_load_no_tensorflow():
    # A process that is spawned runs the program's module under another name first.
    code = (
        "import runpy, sys; runpy.run_path('tools/prepare_semantic.py', run_name='x'); "
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "False\n"
