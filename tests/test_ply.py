"""PLY files: what is written is read back, from every format; bad files are refused."""

import pathlib
import re
import struct
import tempfile

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies
from hypothesis.extra import numpy as numpy_strategies

from mtml_tf.scans import ply

FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
OLD_NAMES = ("char", "uchar", "short", "ushort", "int", "uint", "float", "double")
NEW_NAMES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")
# For each type the code that `struct` and NumPy share.
CODES = dict(zip(OLD_NAMES + NEW_NAMES, 2 * "bBhHiIfd", strict=True))


def encode(form, elements, newline="\n"):
    """Encodes [(element, [(type or (count type, type), property)], rows)] value by value."""
    header = ["ply", f"format {form} 1.0", "comment written by a test"]
    body = b""
    for element, properties, rows in elements:
        header.append(f"element {element} {len(rows)}")
        for kind, name in properties:
            kinds = f"list {kind[0]} {kind[1]}" if isinstance(kind, tuple) else kind
            header.append(f"property {kinds} {name}")
        for row in rows:
            values = []
            for (kind, _), value in zip(properties, row, strict=True):
                if isinstance(kind, tuple):
                    values += [(kind[0], len(value)), *((kind[1], item) for item in value)]
                else:
                    values.append((kind, value))
            if form == "ascii":
                body += " ".join(repr(value) for _, value in values).encode() + b"\n"
            else:
                for kind, value in values:
                    body += struct.pack(FORMATS[form] + CODES[kind], value)
    header.append("end_header")
    return (newline.join(header) + newline).encode() + body


def write(tmp_path, content):
    path = tmp_path / "scan.ply"
    path.write_bytes(content)
    return path


XYZ = [("float", "x"), ("float", "y"), ("float", "z")]
TRIANGLES = [(("uchar", "int"), "vertex_indices")]


@pytest.mark.parametrize("form", FORMATS)
@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.given(data=strategies.data())
def test_every_scalar_type_is_read_as_it_was_written(form, data):
    kinds = data.draw(
        strategies.lists(strategies.sampled_from(list(CODES)), min_size=1, max_size=6)
    )
    dtype = np.dtype([(f"p{i}", CODES[kind]) for i, kind in enumerate(kinds)])
    count = data.draw(strategies.integers(0, 5))
    columns = [
        data.draw(
            numpy_strategies.arrays(
                dtype[i], count, elements={"allow_nan": False} if dtype[i].kind == "f" else None
            )
        )
        for i in range(len(kinds))
    ]
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    properties = [(kind, f"p{i}") for i, kind in enumerate(kinds)]
    with tempfile.TemporaryDirectory() as folder:
        path = write(pathlib.Path(folder), encode(form, [("vertex", properties, rows)]))
        vertex = ply.read_ply(path)["vertex"]
    assert vertex.dtype == dtype
    for i, column in enumerate(columns):
        np.testing.assert_array_equal(vertex[f"p{i}"], column)


@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.given(
    vertices=numpy_strategies.arrays(
        np.float64, (4, 3), elements=strategies.floats(-1e6, 1e6, width=32)
    ),
    double=strategies.booleans(),
    labels=numpy_strategies.arrays(np.uint16, 4),
)
def test_what_is_written_is_read_back(vertices, double, labels):
    if double:
        vertices = vertices + 0.1
    faces = np.array([[0, 1, 2], [3, 2, 1]], np.int32)
    colors = np.arange(12, dtype=np.uint8).reshape(4, 3)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "a.ply"
        ply.write_ply(path, vertices, colors, faces, {"label": labels})
        found = ply.read_ply(path)
    for axis, name in enumerate("xyz"):
        np.testing.assert_array_equal(found["vertex"][name], vertices[:, axis])
    np.testing.assert_array_equal(found["vertex"]["green"], colors[:, 1])
    np.testing.assert_array_equal(found["vertex"]["label"], labels)
    assert found["vertex"]["label"].dtype == np.uint16
    np.testing.assert_array_equal(found["faces"], faces)
    assert found["faces"].dtype == np.int32


def test_coordinates_are_written_as_float_only_where_nothing_is_lost(tmp_path):
    ply.write_ply(tmp_path / "a.ply", np.array([[0.5, 1, 2]]))
    ply.write_ply(tmp_path / "b.ply", np.array([[0.1, 1, 2]]))
    assert ply.read_ply(tmp_path / "a.ply")["vertex"]["x"].dtype == np.float32
    assert ply.read_ply(tmp_path / "b.ply")["vertex"]["x"][0] == 0.1


@pytest.mark.parametrize("form", FORMATS)
def test_polygons_are_cut_into_fans_in_the_order_of_the_faces(form, tmp_path):
    vertices = [(float(i), 0.0, 0.0) for i in range(6)]
    faces = [([0, 1, 2],), ([1, 2, 3, 4],), ([0, 1],), ([0, 2, 3, 4, 5],)]
    content = encode(form, [("vertex", XYZ, vertices), ("face", TRIANGLES, faces)])
    expected = [[0, 1, 2], [1, 2, 3], [1, 3, 4], [0, 2, 3], [0, 3, 4], [0, 4, 5]]
    np.testing.assert_array_equal(ply.read_ply(write(tmp_path, content))["faces"], expected)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("tags", [([1], [2, 3], []), ([1], [2], [3])])
def test_other_lists_are_skipped_and_scalars_beside_them_kept(form, tags, tmp_path):
    properties = [("short", "a"), (("uint", "double"), "tags"), ("uchar", "b")]
    rows = [(i, [float(v) for v in tag], 10 + i) for i, tag in enumerate(tags)]
    content = encode(form, [("extra", properties, rows), ("vertex", XYZ, [(7.0, 8.0, 9.0)])])
    found = ply.read_ply(write(tmp_path, content))
    np.testing.assert_array_equal(found["extra"]["a"], [0, 1, 2])
    np.testing.assert_array_equal(found["extra"]["b"], [10, 11, 12])
    assert found["extra"].dtype.names == ("a", "b")
    assert found["vertex"][0].tolist() == (7, 8, 9)


@pytest.mark.parametrize("form", FORMATS)
def test_windows_line_ends_are_read(form, tmp_path):
    content = encode(form, [("vertex", XYZ, [(10.0, 13.0, 2.0)])], newline="\r\n")
    assert ply.read_ply(write(tmp_path, content))["vertex"][0].tolist() == (10, 13, 2)


def test_150000_vertices_are_read_without_a_loop(tmp_path):
    vertices = np.random.default_rng(0).random((150_000, 3)).astype(np.float32)
    faces = np.arange(150_000, dtype=np.int32).reshape(-1, 3)
    ply.write_ply(tmp_path / "a.ply", vertices, faces=faces)
    found = ply.read_ply(tmp_path / "a.ply")
    np.testing.assert_array_equal(found["vertex"]["z"], vertices[:, 2])
    np.testing.assert_array_equal(found["faces"], faces)


def header(*lines):
    return "\n".join(["ply", "format binary_little_endian 1.0", *lines, "end_header\n"]).encode()


POINT = ("property float x", "property float y", "property float z")
FACE = "property list uchar int vertex_indices"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", r"expected a PLY file \('ply' in line 1\), found ''; convert it"),
        (b"solid cube\n", "expected a PLY file"),
        (b"ply\nformat ascii 1.0\nelement vertex 1\n", "ends in 'end_header', found none"),
        (header("element vertex 1", "property half x"), "found 'half' in the header"),
        (header("element vertex -1"), "expected a line of a PLY header, found 'element vertex -1'"),
        (b"ply\nformat ascii 2.0\nend_header\n", "found 'format ascii 2.0'"),
        (b"ply\nend_header\n", "expected a line 'format NAME 1.0'.* found none"),
        (
            header("element vertex 1", *POINT, POINT[0]),
            "property of 'vertex' once, found 'x' twice",
        ),
        (header("element a 0", "element a 0"), "expected each element once, found 'a' twice"),
        (
            header("element vertex 1", "property list float int l"),
            "integer type for the length of the list 'l', found 'float'",
        ),
        (
            header("element vertex 3", *POINT) + bytes(30),
            r"expected 3 rows of 'vertex' \(36 bytes\), found 30 bytes, which hold 2 rows",
        ),
        (
            header("element vertex 999999999999999", *POINT) + bytes(24),
            "expected 999999999999999 rows of 'vertex' .* found 24 bytes, which hold 2 rows",
        ),
        (
            b"ply\nformat ascii 1.0\nelement vertex 9\nproperty int x\nend_header\n1 2 3\n",
            r"expected 9 rows of 'vertex' \(18 bytes at least\)",
        ),
        (
            b"ply\nformat ascii 1.0\nelement vertex 3\nproperty int x\nend_header\n11 22333\n",
            "expected 3 rows of 'vertex' .*found 2 whole rows",
        ),
        (
            b"ply\nformat ascii 1.0\nelement vertex 2\nproperty int x\nend_header\n1 abc\n",
            "expected numbers after the header .*abc",
        ),
        (
            b"ply\nformat ascii 1.0\nelement vertex 2\nproperty uchar x\nend_header\n1 256\n",
            "expected integers from 0 to 255 for 'x', found 256",
        ),
        (
            header("element face 2", FACE) + b"\x03" + bytes(12) + b"\x03" + bytes(11),
            "expected 2 rows of 'face' .* found 1 whole rows",
        ),
        (
            header("element face 9", FACE) + b"\x02" + bytes(8) + b"\x00",
            "expected 9 rows of 'face'",
        ),
        (
            header("element v 1", "property list uint double l") + b"\xff\xff\xff\xff",
            "expected 1 rows of 'v' .*34359738360 bytes behind the file",
        ),
        (
            header("element v 1", "property list char int l") + b"\xff" + bytes(4),
            "expected a length of the list 'l' in row 0 of 'v', found -1",
        ),
        (
            header("element vertex 1", *POINT, "element face 1", FACE)
            + bytes(12)
            + struct.pack("<Biii", 3, 0, 0, 1),
            "expected faces of the vertices 0 to 0, found vertex 1",
        ),
        (
            header("element vertex 1", *POINT, "element face 1", FACE)
            + bytes(12)
            + struct.pack("<Biii", 3, 0, 0, -5),
            "found vertex -5",
        ),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence_that_names_it(content, sentence, tmp_path):
    path = write(tmp_path, content)
    with pytest.raises(ValueError, match=re.escape(str(path)) + ": .*" + sentence) as error:
        ply.read_ply(path)
    assert "\n" not in str(error.value)


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(cut=strategies.integers(0, 400), form=strategies.sampled_from(list(FORMATS)))
def test_no_truncation_is_taken_for_a_whole_file(cut, form):
    faces = [([0, 1, 2],), ([1, 2, 0, 1],)]
    content = encode(form, [("vertex", XYZ, [(1.0, 2.0, 3.0)] * 3), ("face", TRIANGLES, faces)])
    # The last line end and the last digit of an ascii file are not missed.
    hypothesis.assume(cut < len(content) - 1)
    with tempfile.TemporaryDirectory() as folder:
        path = write(pathlib.Path(folder), content[:cut])
        with pytest.raises(ValueError, match=r"scan\.ply: "):
            ply.read_ply(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.ply: expected a PLY file, found no such file"):
        ply.read_ply(tmp_path / "none.ply")


def test_an_existing_file_is_not_replaced_unasked(tmp_path):
    path = tmp_path / "a.ply"
    ply.write_ply(path, np.zeros((1, 3)))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="exists already"):
        ply.write_ply(path, np.zeros((2, 3)))
    assert path.read_bytes() == before
    ply.write_ply(path, np.zeros((2, 3)), overwrite=True)
    assert len(ply.read_ply(path)["vertex"]) == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"properties": {"a b": np.zeros(2, np.int32)}}, "without spaces, found 'a b'"),
        ({"properties": {"a": np.zeros(3, np.int32)}}, "expected 2 values of 'a', found shape"),
        ({"properties": {"a": np.zeros(2, np.int64)}}, "expected 'a' as an integer .* found int64"),
        ({"faces": np.array([[0, 1, 2]])}, "vertices 0 to 1, found vertex 2"),
    ],
)
def test_what_a_ply_file_cannot_hold_is_not_written(arguments, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        ply.write_ply(tmp_path / "a.ply", np.zeros((2, 3)), **arguments)
    assert list(tmp_path.iterdir()) == []
