"""Masks as run lengths: round trips, exactness, and bytes that are none."""

import struct
import zlib

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from mtml_tf.scene import Instance
from mtml_tf.scoring import compact_masks as compact


def instance(*rows, class_id=3, score=0.5):
    return Instance(class_id, score, np.array(rows, np.int32))


def assert_equal(found, expected):
    assert [(i.class_id, i.score) for i in found] == [(i.class_id, i.score) for i in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.indices, other.indices)
        assert one.indices.dtype == np.int32


@st.composite
def scenes(draw):
    num_vertices = draw(st.integers(1, 40))
    rows = st.lists(st.integers(0, num_vertices - 1), unique=True).map(sorted)
    scores = st.floats(allow_nan=False, allow_infinity=False)
    members = draw(st.lists(st.tuples(st.integers(-9, 99), scores, rows), max_size=6))
    return [instance(*r, class_id=c, score=s) for c, s, r in members], num_vertices


@hypothesis.given(scenes())
def test_what_is_encoded_is_decoded_exactly(scene):
    instances, num_vertices = scene
    found, count = compact.decode_masks(
        compact.encode_masks(instances, num_vertices, "a"), "a", num_vertices
    )
    assert count == num_vertices
    assert_equal(found, instances)


def test_a_file_by_hand():
    data = compact.encode_masks([instance(1, 2, 5, class_id=7, score=0.25), instance()], 6, "a")
    assert data[:8] == b"MTMLRLE1"
    payload = zlib.decompress(data[8:])
    runs = [1, 2, 2, 1]  # one vertex before two members, two before one
    planes = bytes(runs) + bytes(12)
    assert payload == struct.pack("<QQddqqII", 6, 2, 0.25, 0.5, 7, 3, 2, 0) + planes


def test_rows_in_any_order_are_the_mask_that_the_text_would_be():
    data = compact.encode_masks([instance(5, 1, 2, 1)], 6, "a")
    assert_equal(compact.decode_masks(data, "a")[0], [instance(1, 2, 5)])


def test_files_are_written_once_and_read(tmp_path):
    path = tmp_path / "new" / "desk.masks"
    compact.write_masks(path, [instance(0, 3)], 4)
    found, count = compact.read_masks(path)
    assert count == 4
    assert_equal(found, [instance(0, 3)])
    with pytest.raises(ValueError, match=r"desk\.masks: exists already"):
        compact.write_masks(path, [], 4)
    compact.write_masks(path, [], 0, overwrite=True)
    assert compact.read_masks(path) == ([], 0)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (instance(2, 4), "expected vertex rows from 0 to 3, found 2 to 4"),
        (instance(1, score=float("nan")), "expected finite scores, found nan"),
    ],
)
def test_instances_that_do_not_fit_are_not_written(tmp_path, wrong, sentence):
    with pytest.raises(ValueError, match=f"^scene desk: {sentence}$"):
        compact.write_masks(tmp_path / "desk.masks", [wrong], 4)
    assert list(tmp_path.iterdir()) == []


def test_another_number_of_vertices_is_told():
    data = compact.encode_masks([instance(1)], 4, "a")
    with pytest.raises(ValueError, match=r"^a: expected masks of 5 vertices, found 4$"):
        compact.decode_masks(data, "a", 5)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no\.masks: expected a readable file, found: No such"):
        compact.read_masks(tmp_path / "no.masks")


WHOLE = compact.encode_masks([instance(1, 2), instance(0, 3, score=0.1)], 4, "a")


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_a_file_that_is_cut_anywhere_is_told(length):
    with pytest.raises(ValueError, match=r"^a: expected run lengths of masks"):
        compact.decode_masks(WHOLE[:length], "a")


@hypothesis.given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_a_changed_byte_is_told(place, change):
    data = bytearray(WHOLE)
    data[place] ^= change
    if place in (8, 9):  # zlib's own header may be another one of the same meaning
        return
    with pytest.raises(ValueError, match=r"^a: expected run lengths of masks"):
        compact.decode_masks(bytes(data), "a")


@hypothesis.given(st.binary(max_size=80), st.booleans())
def test_any_bytes_are_masks_or_one_sentence(data, packed):
    told = ""
    try:
        compact.decode_masks(b"MTMLRLE1" + (zlib.compress(data) if packed else data), "a")
    except ValueError as error:
        told = str(error)
    assert told == "" or told.startswith("a: expected")


def pack(num_vertices, num_masks, *runs):
    head = struct.pack("<QQ", num_vertices, num_masks) + struct.pack("<dqI", 0.5, 3, len(runs) // 2)
    planes = np.array(runs, "<u4").view(np.uint8).reshape(-1, 4).T.tobytes()
    return b"MTMLRLE1" + zlib.compress(head + planes)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (pack(4, 1 << 60, 1, 2), r"found \d+ masks of 4 vertices in 44 bytes"),
        (pack(1 << 40, 1, 1, 2), r"found 1 masks of \d+ vertices in 44 bytes"),
        (pack(4, 1, 1, 2, 1), r"found 12 bytes for 1 runs"),
        (pack(4, 1, 1, 4), "expected run lengths of masks within 4 vertices and apart"),
        (pack(4, 1, 1, 1, 0, 1), "expected run lengths of masks within 4 vertices and apart"),
        (pack(4, 1, 1, 1, 1, 0), "expected run lengths of masks within 4 vertices and apart"),
        (pack(4, 1, 0, 4_000_000_000), "at most 67108864 vertices in all, found 4000000000"),
        (WHOLE + b"x", "found more behind them"),
        (b"MTMLRLE1" + zlib.compress(b"short"), "found a file that is cut or too large"),
        (
            b"MTMLRLE1" + zlib.compress(bytes(compact._MOST_BYTES + 1)),
            "found a file that is cut or too large",
        ),
        (b"PK\3\4", r"which begin with b'MTMLRLE1', found b'PK"),
    ],
)
def test_numbers_that_do_not_fit_are_told_before_memory_is_taken(data, sentence):
    with pytest.raises(ValueError, match=f"^a: .*{sentence}"):
        compact.decode_masks(data, "a")


def test_more_than_is_read_back_is_not_written(monkeypatch):
    monkeypatch.setattr(compact, "_MOST_MEMBERS", 256)
    with pytest.raises(ValueError, match=r"^a: expected masks of at most 256 .*found 257; leave"):
        compact.encode_masks([instance(0)] * 257, 1, "a")


def test_a_few_bytes_do_not_make_masks_without_end():
    size = 1 << 30
    payload = struct.pack("<QQdqI", size, 1, 0.5, 2, 1)
    runs = np.array([0, size], "<u4").view(np.uint8).reshape(-1, 4).T.tobytes()
    with pytest.raises(ValueError, match=rf"^a: expected masks of at most .* found {size}$"):
        compact.decode_masks(b"MTMLRLE1" + zlib.compress(payload + runs), "a")
