"""Benchmark files: round trips, and every way in which a file may be wrong."""

import re

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from mtml_tf import files
from mtml_tf.scene import Instance
from mtml_tf.scoring import benchmark_format as form


def instance(*rows, class_id=3, score=0.5):
    return Instance(class_id, score, np.array(rows, np.int32))


@pytest.fixture
def folder(tmp_path):
    """A folder of predictions with one instance of four vertices, to be spoilt."""
    form.write_predictions(tmp_path / "pred", "desk", [instance(1, 2)], 4)
    return tmp_path / "pred"


def describe(folder, text):
    (folder / "desk.txt").write_text(text)


def test_the_files_are_those_of_the_benchmark(folder):
    form.write_predictions(folder, "lab", [instance(0), instance(2, class_id=7, score=1.0)], 3)
    assert (folder / "lab.txt").read_text() == (
        "predicted_masks/lab_000.txt 3 0.5\npredicted_masks/lab_001.txt 7 1.0\n"
    )
    assert (folder / "predicted_masks/lab_001.txt").read_bytes() == b"0\n0\n1\n"


def test_what_is_written_is_read_back_in_order(tmp_path):
    rng = np.random.default_rng(0)
    written = [
        Instance(int(c), float(s), np.flatnonzero(rng.random(50) < 0.3).astype(np.int32))
        for c, s in zip(rng.integers(1, 40, 1005), rng.random(1005).astype(np.float32), strict=True)
    ]
    form.write_predictions(tmp_path, "desk", written, 50)
    read = form.read_predictions(tmp_path, "desk", 50)
    assert [i.class_id for i in read] == [i.class_id for i in written]
    assert [i.score for i in read] == [i.score for i in written]
    for one, other in zip(read, written, strict=True):
        np.testing.assert_array_equal(one.indices, other.indices)
        assert one.indices.dtype == np.int32


def test_a_scene_without_instances_is_an_empty_file(tmp_path):
    form.write_predictions(tmp_path, "desk", [], 4)
    assert (tmp_path / "desk.txt").read_text() == ""
    assert form.read_predictions(tmp_path, "desk", 4) == []


@pytest.mark.parametrize("name", ["", "my desk", "my\tdesk", "a/desk", "../desk", "."])
def test_names_that_cannot_stand_in_the_format_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="expected a scene name without spaces and slashes"):
        form.write_predictions(tmp_path, name, [], 4)
    assert list(tmp_path.iterdir()) == []


def test_a_scene_is_not_written_twice(folder):
    with pytest.raises(ValueError, match=r"desk\.txt: expected each scene once"):
        form.write_predictions(folder, "desk", [], 4)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (instance(2, 4), "expected vertex rows from 0 to 3, found 2 to 4"),
        (instance(-1, 2), "expected vertex rows from 0 to 3, found -1 to 2"),
        (instance(1, score=float("inf")), "expected finite scores, found inf"),
    ],
)
def test_instances_that_do_not_fit_are_not_written(tmp_path, wrong, sentence):
    with pytest.raises(ValueError, match=f"^scene desk: {sentence}$"):
        form.write_predictions(tmp_path, "desk", [wrong], 4)


@pytest.mark.parametrize(
    ("label", "class_id"), [("3", 3), ("3.0", 3), ("3.9", 3), ("3e1", 30), ("-2", -2)]
)
def test_a_label_is_the_whole_part_of_a_number(folder, label, class_id):
    describe(folder, f"predicted_masks/desk_000.txt {label} 1e-3\n")
    (found,) = form.read_predictions(folder, "desk", 4)
    assert (found.class_id, found.score) == (class_id, 0.001)


@pytest.mark.parametrize("text", ["0\n2\n1\n0\n", "0\n-1\n7\n0\n", "0\r\n1\r\n9\r\n0\r\n"])
def test_any_number_but_0_is_a_member(folder, text):
    (folder / "predicted_masks/desk_000.txt").write_bytes(text.encode())
    (found,) = form.read_predictions(folder, "desk", 4)
    np.testing.assert_array_equal(found.indices, [1, 2])


def test_a_mask_of_as_many_bytes_as_usual_may_have_other_lines(folder):
    path = folder / "predicted_masks/desk_000.txt"
    path.write_text("12\n0\n0\n0")
    (found,) = form.read_predictions(folder, "desk", 4)
    np.testing.assert_array_equal(found.indices, [0])
    path.write_text("0\nx\n0\n0\n")
    with pytest.raises(ValueError, match=r"expected one integer a line, found 'x' in line 2"):
        form.read_predictions(folder, "desk", 4)


def test_the_last_line_of_a_mask_holds(folder):
    (folder / "predicted_masks/other.txt").write_text("1\n0\n0\n0\n")
    describe(
        folder,
        "predicted_masks/desk_000.txt 3 0.5\n"
        "predicted_masks/other.txt 4 0.6\n"
        "predicted_masks/../predicted_masks/desk_000.txt 5 0.7\n",
    )
    read = form.read_predictions(folder, "desk", 4)
    assert [(i.class_id, i.score) for i in read] == [(5, 0.7), (4, 0.6)]


@pytest.mark.parametrize(
    "line",
    [
        "predicted_masks/desk_000.txt 3",
        "predicted_masks/desk_000.txt 3 0.5 ",
        "predicted_masks/desk_000.txt  3 0.5",
        "predicted_masks/desk_000.txt\t3\t0.5",
        "predicted masks/desk_000.txt 3 0.5",
        "",
    ],
)
def test_a_line_is_three_fields_split_by_one_space(folder, line):
    describe(folder, f"predicted_masks/desk_000.txt 3 0.5\n{line}\n")
    wanted = re.escape(
        f"{folder}/desk.txt: expected 'mask class_id confidence', split by one space, in line 2, "
        f"found '{files.shown(line)}'"
    )
    with pytest.raises(ValueError, match=f"^{wanted}$"):
        form.read_predictions(folder, "desk", 4)


@pytest.mark.parametrize(
    "fields", ["x 0.5", "3 x", "nan 0.5", "inf 0.5", "3 nan", "3 inf", "3 -inf", "3 "]
)
def test_a_label_or_confidence_that_is_no_finite_number_is_refused(folder, fields):
    describe(folder, f"predicted_masks/desk_000.txt {fields}\n")
    with pytest.raises(ValueError, match="expected a class id and a finite confidence in line 1"):
        form.read_predictions(folder, "desk", 4)


def outside(folder):
    evil = folder.with_name("pred_evil")
    evil.mkdir()
    (evil / "mask.txt").write_text("0\n1\n1\n0\n")
    return evil


@pytest.mark.parametrize("mask", ["../pred_evil/mask.txt", "a/../../pred_evil/mask.txt", ".."])
def test_a_mask_outside_the_folder_is_refused_though_the_names_begin_alike(folder, mask):
    outside(folder)
    describe(folder, f"{mask} 3 0.5\n")
    with pytest.raises(ValueError, match="expected a mask inside the folder") as raised:
        form.read_predictions(folder, "desk", 4)
    assert f"in line 1, found '{mask}'" in str(raised.value)


def test_a_link_that_leads_outside_is_refused(folder):
    (folder / "predicted_masks/link.txt").symlink_to(outside(folder) / "mask.txt")
    describe(folder, "predicted_masks/link.txt 3 0.5\n")
    with pytest.raises(ValueError, match="expected a mask inside the folder"):
        form.read_predictions(folder, "desk", 4)


def test_an_absolute_path_is_refused(folder):
    describe(folder, f"{folder}/predicted_masks/desk_000.txt 3 0.5\n")
    with pytest.raises(ValueError, match="by a relative path"):
        form.read_predictions(folder, "desk", 4)


def test_a_folder_may_itself_be_a_link(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    assert len(form.read_predictions(tmp_path / "link", "desk", 4)) == 1


def test_relative_folders_are_read(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert len(form.read_predictions("pred", "desk", 4)) == 1
    monkeypatch.chdir(folder)
    assert len(form.read_predictions(".", "desk", 4)) == 1


@pytest.mark.parametrize("num_vertices", [3, 5])
def test_a_mask_has_a_line_for_each_vertex(folder, num_vertices):
    sentence = rf"desk_000\.txt: expected {num_vertices} lines, one for each vertex, found 4$"
    with pytest.raises(ValueError, match=sentence):
        form.read_predictions(folder, "desk", num_vertices)


def test_missing_files_are_named(folder):
    with pytest.raises(ValueError, match=r"lab\.txt: expected a text file in UTF-8, found no su"):
        form.read_predictions(folder, "lab", 4)
    describe(folder, "predicted_masks/none.txt 3 0.5\n")
    with pytest.raises(ValueError, match=r"none\.txt: expected a readable file, found: No such"):
        form.read_predictions(folder, "desk", 4)
    describe(folder, "predicted_masks 3 0.5\n")
    with pytest.raises(ValueError, match="predicted_masks: expected a readable file, found: Is a"):
        form.read_predictions(folder, "desk", 4)


def test_a_description_that_is_no_text_is_refused(folder):
    (folder / "desk.txt").write_bytes(b"\xff\xfe\n")
    with pytest.raises(ValueError, match="expected a text file in UTF-8, found 'utf-8' codec"):
        form.read_predictions(folder, "desk", 4)


def test_ground_truth_comes_back(tmp_path):
    ids = np.array([0, 3001, 39999, 5, 1_000_000_999, 3001])
    form.write_ground_truth(tmp_path / "new" / "desk.txt", ids)
    assert (tmp_path / "new/desk.txt").read_text() == "0\n3001\n39999\n5\n1000000999\n3001\n"
    read = form.read_ground_truth(tmp_path / "new" / "desk.txt")
    np.testing.assert_array_equal(read, ids)
    assert read.dtype == np.int64


@hypothesis.given(
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 50_000) | st.integers(0, 9)),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.sampled_from(["", " ", "+", "0"]),
)
def test_any_integers_in_any_dress_are_read(tmp_path_factory, numbers, ending, ends, dress):
    path = tmp_path_factory.mktemp("any") / "desk.txt"
    numbers.append(7)
    lines = [f"{dress}{n}" if n >= 0 else f"{n}" for n in numbers]
    path.write_bytes((ending.join(lines) + ending * ends).encode())
    read = form.read_ground_truth(path)
    np.testing.assert_array_equal(read, np.array(numbers, np.int64))
    assert read.dtype == np.int64


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("1\n2 3\n", 2, "2 3"),
        ("1\n\n3\n", 2, ""),
        ("\n", 1, ""),
        ("12\n3.0\n", 2, "3.0"),
        ("1\nx\n", 2, "x"),
        ("1\n2\n\n", 3, ""),
        ("1\n9223372036854775808\n", 2, "9223372036854775808"),
        ("1\n/\n:\n", 2, "/"),
        ("1\r2\n", 1, "1\\r2"),
    ],
)
def test_anything_but_an_integer_a_line_is_refused(tmp_path, text, line, found):
    path = tmp_path / "desk.txt"
    path.write_bytes(text.encode())
    wanted = re.escape(f"{path}: expected one integer a line, found '{found}' in line {line}")
    with pytest.raises(ValueError, match=f"^{wanted}$"):
        form.read_ground_truth(path)


def test_an_empty_ground_truth_is_refused(tmp_path):
    (tmp_path / "desk.txt").write_text("")
    with pytest.raises(ValueError, match="expected an integer for each vertex, found an empty"):
        form.read_ground_truth(tmp_path / "desk.txt")


@pytest.mark.parametrize("ids", [np.zeros(3), np.zeros((3, 1), int)])
def test_ground_truth_is_one_integer_for_each_vertex(tmp_path, ids):
    with pytest.raises(ValueError, match=r"desk\.txt: expected one integer for each vertex, found"):
        form.write_ground_truth(tmp_path / "desk.txt", ids)
