"""Tests of class sets and their file."""

import pathlib

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from mtml_tf import classes
from mtml_tf.classes import SCANNET18, SCANNET20, ClassSet

TABLETOP = ClassSet(ids=(7, 2), names=("table", "object"), kinds=("stuff", "thing"))


def test_scannet_has_20_input_and_18_scored_classes():
    assert len(SCANNET20) == 20
    assert SCANNET20.ids[:3] == (1, 2, 3)
    assert SCANNET20.thing_ids == SCANNET18.ids
    assert SCANNET18.ids[-1] == 39
    assert SCANNET18.name_of(28) == "shower curtain"


def test_channels_follow_the_order_of_the_ids():
    np.testing.assert_array_equal(TABLETOP.channels_of(np.array([2, 0, 7, 7])), [1, -1, 0, 0])
    assert TABLETOP.channels_of(np.array([2])).dtype == np.int32
    assert TABLETOP.channels_of(np.zeros(0, np.int32)).shape == (0,)


@pytest.mark.parametrize("wrong", [1, 8, -1])
def test_an_id_that_is_not_listed_is_refused(wrong):
    with pytest.raises(ValueError, match=rf"expected class ids among .* found \[{wrong}\]"):
        TABLETOP.channels_of(np.array([2, wrong]))
    with pytest.raises(ValueError, match=f"found {wrong}"):
        TABLETOP.name_of(wrong)


def test_only_things_are_things():
    np.testing.assert_array_equal(TABLETOP.is_thing(np.array([7, 2, 0])), [False, True, False])


@pytest.mark.parametrize(
    ("ids", "names", "kinds", "sentence"),
    [
        ((), (), (), "at least one class id"),
        ((1, 2), ("a",), ("thing", "thing"), "found 2 ids, 1 names, 2 kinds"),
        ((0,), ("a",), ("thing",), "distinct class ids from 1 to"),
        ((3, 3), ("a", "b"), ("thing", "thing"), r"found \[3, 3\]"),
        ((10**12,), ("a",), ("thing",), "distinct class ids from 1 to 1000000"),
        ((1,), ("a",), ("object",), "'thing' and 'stuff', found 'object'"),
    ],
)
def test_a_wrong_class_set_is_refused(ids, names, kinds, sentence):
    with pytest.raises(ValueError, match=sentence):
        ClassSet(ids=ids, names=names, kinds=kinds)


@hypothesis.given(
    st.dictionaries(
        st.integers(1, 1000),
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=8),
            st.sampled_from(["thing", "stuff"]),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_what_is_encoded_is_read_back(tmp_path_factory, rows):
    written = ClassSet(
        ids=tuple(rows),
        names=tuple(name for name, _ in rows.values()),
        kinds=tuple(kind for _, kind in rows.values()),
    )
    path: pathlib.Path = tmp_path_factory.mktemp("classes") / "classes.csv"
    path.write_text(classes.encode_classes(written), encoding="utf-8")
    assert classes.read_classes(path) == written


def test_built_in_sets_are_found_by_name():
    assert classes.read_classes("scannet20") is SCANNET20
    assert classes.read_classes("scannet18") is SCANNET18


def test_a_file_from_a_spreadsheet_is_read(tmp_path):
    path = tmp_path / "classes.csv"
    path.write_bytes(b"\xef\xbb\xbfid,name,kind\r\n7, table,stuff\r\n\r\n2,object ,thing\r\n")
    assert classes.read_classes(path) == TABLETOP


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "expected the header 'id,name,kind', found ''"),
        (b"id,name\n1,a\n", "expected the header 'id,name,kind', found 'id,name'"),
        (b"id,name,kind\n", "found 0 ids"),
        (b"id,name,kind\n\n1,a\n", "in line 3, found '1,a'"),
        (b"id,name,kind\nx,a,thing\n", "in line 2, found 'x,a,thing'"),
        (b"id,name,kind\n1,a,object\n", "found 'object'"),
        (b"id,name,kind\n1,\xff,thing\n", "expected text in UTF-8"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, content, sentence):
    path = tmp_path / "classes.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=sentence) as caught:
        classes.read_classes(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_missing_is_named():
    with pytest.raises(
        ValueError, match=r"scannet19: expected .* 'scannet20'\], found no such file"
    ):
        classes.read_classes("scannet19")
