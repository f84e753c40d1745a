"""Packing for the server: every reason for which it refuses, and a zip that it takes."""

import pathlib
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from mtml_tf.scannet import submission
from mtml_tf.scene import Instance
from mtml_tf.scoring.benchmark_format import read_predictions, write_predictions

ROOT = pathlib.Path(__file__).resolve().parent.parent
SCENES = ("desk", "lab")
COUNTS = {"desk": 4, "lab": 6}


def instance(*rows, class_id=3):
    return Instance(class_id, 0.5, np.array(rows, np.int32))


@pytest.fixture
def folder(tmp_path):
    """Predictions of two scenes that a server would take, to be spoilt."""
    write_predictions(tmp_path / "pred", "desk", [instance(1, 2), instance(0, class_id=39)], 4)
    write_predictions(tmp_path / "pred", "lab", [instance(4, 5)], 6)
    return tmp_path / "pred"


@pytest.fixture
def logged(monkeypatch):
    told = []
    monkeypatch.setattr(
        submission.logging, "error", lambda text, *values: told.append(text % values)
    )
    return told


def problems(folder, counts=COUNTS, scenes=SCENES):
    return submission.check_submission(folder, scenes, counts)[1]


def describe(folder, *lines):
    (folder / "desk.txt").write_text("".join(f"{line}\n" for line in lines))


def test_the_test_scenes_are_a_hundred():
    assert len(set(submission.TEST_SCENES)) == 100
    assert submission.TEST_SCENES[0] == "scene0707_00"
    assert submission.TEST_SCENES[-1] == "scene0806_00"


@pytest.mark.parametrize("counts", [COUNTS, None])
def test_the_zip_has_the_files_of_the_scenes_and_no_root_folder(folder, tmp_path, counts):
    (folder / "notes.md").write_text("mine")
    (folder / ".desk.txt.swp.txt").write_text("half written")
    (folder / "predicted_masks" / "left_over.txt").write_text("1\n")
    path = tmp_path / "out" / "packed.zip"
    packed = submission.pack_submission(folder, path, SCENES, counts)
    names = [
        "desk.txt",
        "lab.txt",
        "predicted_masks/desk_000.txt",
        "predicted_masks/desk_001.txt",
        "predicted_masks/lab_000.txt",
    ]
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == names
        for name in names:
            assert archive.read(name) == (folder / name).read_bytes()
        assert sum(entry.file_size for entry in archive.infolist()) == packed.unpacked_bytes
    assert (packed.num_scenes, sorted(packed.paths)) == (2, names)


def test_an_unpacked_zip_can_be_packed_again(folder, tmp_path):
    submission.pack_submission(folder, tmp_path / "a.zip", SCENES, COUNTS)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        archive.extractall(tmp_path / "again")
    submission.pack_submission(tmp_path / "again", tmp_path / "b.zip", SCENES, COUNTS)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_scenes_without_instances_are_packed(folder, tmp_path):
    describe(folder)
    packed = submission.pack_submission(folder, tmp_path / "a.zip", SCENES, COUNTS)
    assert len(packed.paths) == 3


def test_the_scenes_are_exactly_those_listed(folder):
    (folder / "lab.txt").rename(folder / "attic.txt")
    assert problems(folder) == [
        f"{folder}/lab.txt: expected a file for each of the 2 scenes, found no such file",
        f"{folder}/attic.txt: expected the 2 listed scenes only, found one more",
    ]
    assert len(problems(folder, scenes=submission.TEST_SCENES)) == 102


def test_a_folder_inside_the_folder_is_not_found(folder):
    assert len(problems(folder.parent)) == 2


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("predicted_masks/desk_000.txt 3", "expected 'mask class_id confidence', split by one"),
        ("predicted masks/desk_000.txt 3 0.5", "expected 'mask class_id confidence', split by one"),
        ("", "expected 'mask class_id confidence', split by one"),
        ("predicted_masks/desk_000.txt 3 nan", "expected a class id and a finite confidence"),
        ("predicted_masks/desk_000.txt 3 inf", "expected a class id and a finite confidence"),
        ("predicted_masks/desk_000.txt 13 0.5", "expected one of the class ids [3, 4, 5, 6,"),
        ("predicted_masks/desk_000.txt 1 0.5", "expected one of the class ids [3, 4, 5, 6,"),
        ("predicted_masks/desk_000.txt 5.7 0.5", "expected one of the class ids [3, 4, 5, 6,"),
        ("mask 3 0.5", "expected a mask in a subfolder in line 2, found 'mask'"),
        ("./mask 3 0.5", "expected a mask in a subfolder in line 2, found './mask'"),
        ("predicted_masks/../mask 3 0.5", "expected a mask path without '..' in line 2"),
        ("predicted_masks/a\tb.txt 3 0.5", "expected a mask path without spaces in line 2"),
        ("../pred_evil/mask.txt 3 0.5", "expected a mask inside the folder, by a relative path"),
        ("predicted_masks/link.txt 3 0.5", "expected a mask inside the folder, by a relative path"),
        ("predicted_masks/none.txt 3 0.5", "none.txt: expected a readable file, found: No such"),
        ("predicted_masks/desk_001.txt 3 0.5", "expected each mask once, found"),
    ],
)
def test_a_line_that_the_server_would_not_take_is_told(folder, line, sentence):
    evil = folder.with_name("pred_evil")
    evil.mkdir()
    for path in (evil / "mask.txt", folder / "mask", folder / "predicted_masks" / "a\tb.txt"):
        path.write_text("1\n1\n0\n0\n")
    (folder / "predicted_masks" / "link.txt").symlink_to(evil / "mask.txt")
    describe(folder, "predicted_masks/desk_001.txt 3 0.5", line)
    (told,) = problems(folder)
    assert sentence in told
    assert str(folder) in told


@pytest.mark.parametrize(
    ("text", "found"),
    [("1\n1\n0\n", "3"), ("1\n1\n0\n0\n0\n", "5"), ("", "0")],
)
def test_a_mask_has_a_line_for_each_vertex(folder, text, found):
    mask = folder / "predicted_masks" / "desk_001.txt"
    mask.write_text(text)
    assert problems(folder) == [f"{mask}: expected 4 lines, one for each vertex, found {found}"]
    assert problems(folder, counts=None) == [
        f"{mask}: expected 4 lines, as many as in 'predicted_masks/desk_000.txt', found {found}"
    ]


def test_masks_that_agree_but_not_with_the_scan_are_told_where_it_is_known(folder):
    assert problems(folder, counts=None) == []
    assert len(problems(folder, counts={"desk": 5, "lab": 6})) == 2


def test_a_scene_without_a_vertex_count_is_told(folder):
    assert problems(folder, counts={"desk": 4}) == [
        f"{folder}/lab.txt: expected a vertex count of it, found none"
    ]


def test_a_mask_that_is_no_integers_is_told(folder):
    (folder / "predicted_masks" / "desk_001.txt").write_text("0\n1\nx\n0\n")
    (told,) = problems(folder)
    assert "expected one integer a line, found 'x' in line 3 (line 2 of" in told


def test_the_unpacked_size_is_limited(folder, monkeypatch):
    size = submission.check_submission(folder, SCENES, COUNTS)[0].unpacked_bytes
    assert size == sum(path.stat().st_size for path in folder.rglob("*.txt"))
    monkeypatch.setattr(submission, "MAX_UNPACKED_BYTES", size + 1)
    assert problems(folder) == []
    monkeypatch.setattr(submission, "MAX_UNPACKED_BYTES", size)
    assert "GB unpacked, found" in problems(folder)[0]


def test_all_problems_are_listed_and_nothing_is_written(folder, tmp_path, logged):
    describe(folder, "mask 3 0.5", "predicted_masks/desk_000.txt 2 nan", "predicted_masks")
    (folder / "lab.txt").unlink()
    with pytest.raises(
        ValueError, match=r"pred: expected predictions that the server takes, found 5 problems, lis"
    ):
        submission.pack_submission(folder, tmp_path / "a.zip", SCENES, COUNTS)
    assert len(logged) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["pred"]


def test_a_long_list_is_cut(folder, tmp_path, logged):
    describe(folder, *["wrong"] * 150)
    with pytest.raises(ValueError, match="found 150 problems"):
        submission.pack_submission(folder, tmp_path / "a.zip", SCENES, COUNTS)
    assert len(logged) == 101
    assert logged[-1] == "... and 50 more"


def test_a_folder_that_is_missing_is_told(tmp_path):
    assert problems(tmp_path / "nowhere") == [
        f"{tmp_path}/nowhere: expected a folder, found no such folder"
    ]


def test_a_zip_that_exists_is_refused_before_anything_is_checked(tmp_path):
    (tmp_path / "a.zip").write_text("mine")
    with pytest.raises(ValueError, match=r"a\.zip: exists already"):
        submission.pack_submission(tmp_path / "nowhere", tmp_path / "a.zip", SCENES, COUNTS)
    assert (tmp_path / "a.zip").read_text() == "mine"


def test_counts_are_read(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("desk 4\nlab\t6\n\n")
    assert submission.read_vertex_count_table(path) == COUNTS
    for text in ("desk\n", "desk four\n", "desk 4 5\n", "desk -4\n"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"list\.txt: expected 'scene count' in line 1, found"):
            submission.read_vertex_count_table(path)


def test_the_program_packs_or_lists_and_fails(folder, tmp_path):
    (tmp_path / "list.txt").write_text("desk\nlab\n")
    (tmp_path / "counts.txt").write_text("desk 4\nlab 6\n")

    def pack(*arguments):
        paths = f"--prediction_dir={folder}", f"--output_zip={tmp_path}/a.zip"
        return subprocess.run(
            [sys.executable, "tools/pack_submission.py", *paths, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )

    both = f"--scenes={tmp_path}/list.txt", f"--vertex_counts={tmp_path}/counts.txt"
    done = pack(*both)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path}/a.zip: packed 2 scenes, 5 files, 0.00 GB unpacked\n"
    (folder / "predicted_masks" / "lab_000.txt").write_text("1\n")
    done = pack(*both, "--overwrite")
    assert (done.returncode, done.stdout) == (1, "")
    first, last = done.stderr.splitlines()
    assert first.endswith("lab_000.txt: expected 6 lines, one for each vertex, found 1")
    assert last.endswith(f"found 1 problem, listed above; {tmp_path}/a.zip is not written")
    assert zipfile.is_zipfile(tmp_path / "a.zip")
    assert pack(*both, f"--scannet_dir={tmp_path}").returncode == 2


def test_compact_masks_make_the_zip_that_their_text_makes(folder, tmp_path):
    compact = tmp_path / "compact"
    for name, count in COUNTS.items():
        write_predictions(compact, name, read_predictions(folder, name, count), count, compact=True)
    (compact / "predicted_masks").mkdir()
    (compact / "predicted_masks" / "desk_000.txt").write_text("left of something else")
    zips = [tmp_path / "a.zip", tmp_path / "b.zip"]
    packed = [
        submission.pack_submission(of, to, SCENES, COUNTS)
        for of, to in zip((folder, compact), zips, strict=True)
    ]
    assert packed[0].unpacked_bytes == packed[1].unpacked_bytes
    assert zips[0].read_bytes() == zips[1].read_bytes()


def test_problems_of_compact_masks_are_told(tmp_path):
    for name, class_id in (("desk", 13), ("lab", 3), ("more", 3)):
        write_predictions(tmp_path, name, [instance(1, class_id=class_id)], 4, compact=True)
    assert problems(tmp_path) == [
        f"{tmp_path}/more.txt: expected the 2 listed scenes only, found one more",
        f"{tmp_path}/desk.masks: expected one of the class ids "
        f"{list(submission.SCANNET18.ids)} of mask 0, found 13",
        f"{tmp_path}/lab.masks: expected masks of 6 vertices, found 4",
    ]
