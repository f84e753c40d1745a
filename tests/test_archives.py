"""Files in a zip are read whole, or refused with what is wrong."""

import zipfile

import pytest

from mtml_tf import archives


def write_zip(path, **contents):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def read(path, name, most_bytes=1000):
    with archives.open_zip(path, "a zip") as archive:
        return archives.read_entry(path, archive, name, most_bytes)


def test_what_is_written_is_read(tmp_path):
    path = write_zip(tmp_path / "a.zip", a=b"one" * 100, b=b"")
    assert read(path, "a") == b"one" * 100
    assert read(path, "b") == b""


@pytest.mark.parametrize(
    ("name", "most_bytes", "sentence"),
    [
        ("c", 1000, "expected a file c in the zip, found none"),
        ("a\x1b", 1000, r"expected a file a\\x1b in the zip, found none"),
        ("a", 299, "a: expected 299 bytes at most, found 300"),
    ],
)
def test_files_that_are_not_there_or_too_large_are_told(name, most_bytes, sentence, tmp_path):
    path = write_zip(tmp_path / "a.zip", a=b"one" * 100)
    with pytest.raises(ValueError, match=rf"a\.zip: {sentence}"):
        read(path, name, most_bytes)


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06", b"no zip at all"])
def test_other_files_are_told(content, tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.zip: expected a zip, found 'File is not a zip file'"):
        read(path, "a")


def test_an_error_in_the_work_with_a_zip_stays_what_it_is(tmp_path):
    path = write_zip(tmp_path / "a.zip", a=b"one")
    with pytest.raises(KeyError, match="mine"), archives.open_zip(path, "a zip"):
        raise KeyError("mine")


def test_methods_that_are_not_deflate_are_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a", bytes(900))
    with pytest.raises(ValueError, match=r"a\.zip: a: expected a whole file, found sizes"):
        read(path, "a")
