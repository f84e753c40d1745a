"""Arrays are read as NumPy writes them; damaged ones are refused before anything is allocated."""

import tracemalloc

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies

from mtml_tf import arrays

DTYPES = ("?", "<i1", ">i2", "<u4", ">f2", "<f4", ">f8", "<U3")


@hypothesis.given(
    array=st.sampled_from(DTYPES).flatmap(
        lambda dtype: numpy_strategies.arrays(
            dtype, numpy_strategies.array_shapes(min_dims=0, min_side=0)
        )
    ),
    fortran=st.booleans(),
)
def test_what_numpy_saves_is_read_back(tmp_path_factory, array, fortran):
    path = tmp_path_factory.mktemp("arrays") / "a.npy"
    np.save(path, np.asfortranarray(array) if fortran else array)
    found = arrays.read_npy(path)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_format_is_read(tmp_path, version):
    with open(tmp_path / "a.npy", "wb") as file:
        np.lib.format.write_array(file, np.arange(5), version)
    np.testing.assert_array_equal(arrays.read_npy(tmp_path / "a.npy"), np.arange(5))


def write_header(path, header, version=b"\x01\x00", body=b""):
    path.write_bytes(b"\x93NUMPY" + version + len(header).to_bytes(2, "little") + header + body)
    return path


@pytest.mark.parametrize(
    "header",
    [
        b"{'shape': (2,), 'descr': '<i2', 'fortran_order': False}",
        b'{"descr": "<i2", "fortran_order": False, "shape": (2,)}\n',
        b"{ 'descr':'<i2','fortran_order':True,'shape':( 2, ), }   \n",
        b"{'descr': '<i2', 'fortran_order': False, 'shape': (2L,), }\n",  # of Python 2
    ],
)
def test_headers_of_other_programs_are_read(tmp_path, header):
    path = write_header(tmp_path / "a.npy", header, body=b"\1\0\2\0")
    np.testing.assert_array_equal(arrays.read_npy(path), [1, 2])


FORM = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (FORM % ("<i2", "(3,)"), "4 bytes after a header that promises 6"),
        (
            FORM % ("<i2", "(1000000000000, 1000000000000)"),
            "4 bytes .* promises 2000000000000000000000000",
        ),
        (FORM % ("<i3", "(1,)"), "the header"),
        (FORM % ("|O", "(1,)"), "the header"),
        (FORM % ("<i2", "(-1,)"), "the header"),
        (FORM % ("<i2", "(2,)") + "(", "the header"),
        ("{}", "the header {}"),
        ("{'descr': [('a', '<i2')], 'fortran_order': False, 'shape': (2,), }", "the header"),
        ("(" * 500, "the header"),
        (" " * 20_000, "a header of 20000 bytes"),
    ],
)
def test_headers_of_nothing_are_told(tmp_path, header, found):
    path = write_header(tmp_path / "a.npy", header.encode(), body=b"\1\0\2\0")
    with pytest.raises(ValueError, match=rf"a\.npy: expected an array of .*, found {found}"):
        arrays.read_npy(path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "another kind of file, or one that is cut short"),
        (b"\x93NUMPY\x09\x00", "another kind of file"),
        (b"PK\x03\x04aaaaaa", "an archive of arrays"),
        (None, "No such file"),
    ],
)
def test_other_files_are_told(tmp_path, content, found):
    path = tmp_path / "a.npy"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.npy: expected an array of .*, found {found}"):
        arrays.read_npy(path)


def test_archives_are_read_back(tmp_path):
    np.savez(tmp_path / "a.npz", ids=np.arange(3), text=np.array("a text"))
    found = arrays.read_npz(tmp_path / "a.npz")
    assert set(found) == {"ids", "text"}
    assert str(found["text"]) == "a text"
    np.testing.assert_array_equal(found["ids"], np.arange(3))


def test_arrays_that_are_asked_for_are_read_alone(tmp_path):
    np.savez(tmp_path / "a.npz", ids=np.arange(3), text=np.array("a text"))
    assert set(arrays.read_npz(tmp_path / "a.npz", ["text"])) == {"text"}
    with pytest.raises(ValueError, match=r"a\.npz: expected a file other\.npy in the zip"):
        arrays.read_npz(tmp_path / "a.npz", ["other"])


def test_archives_that_unpack_to_more_than_they_are_are_refused(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(10_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"a\.npz: expected arrays that are not packed, found"):
            arrays.read_npz(tmp_path / "a.npz")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_pickles_in_archives_are_never_opened(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.array([{}], object))
    with pytest.raises(ValueError, match=r"a\.npz: expected an array of numbers in a\.npy, found"):
        arrays.read_npz(tmp_path / "a.npz")


def test_whole_numbers_are_told_from_others():
    found = arrays.are_whole(np.array([0, -2, 0.5, np.nan, np.inf, 1e300]))
    assert found.tolist() == [True, True, False, False, False, True]
    signalling = np.frombuffer(b"\x01\x00\xa0\x7f", "<f4")
    assert not arrays.are_whole(signalling).any()
    assert arrays.are_whole(np.arange(3)).all()
