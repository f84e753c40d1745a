"""Tests of files that appear whole or not at all."""

import stat

import pytest

from mtml_tf import files


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with files.writing_file(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert path.read_text() == "half"
    assert names_in(path.parent) == ["a.txt"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_file_that_fails_leaves_nothing(tmp_path):
    with (
        pytest.raises(RuntimeError, match="broken"),
        files.writing_file(tmp_path / "a.txt") as temporary,
    ):
        temporary.write_text("half")
        raise RuntimeError("broken")
    assert names_in(tmp_path) == []


def test_a_file_is_not_overwritten_unasked(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "first\n")
    with pytest.raises(ValueError, match="exists already; choose another path or give --overwrite"):
        files.write_text(path, "second\n")
    assert path.read_text() == "first\n"
    files.write_text(path, "zweite, größer\n", overwrite=True)
    assert path.read_bytes().decode("utf-8") == "zweite, größer\n"
    assert names_in(tmp_path) == ["a.txt"]


def test_a_failed_replacement_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with (
        pytest.raises(RuntimeError, match="broken"),
        files.writing_file(path, overwrite=True) as temporary,
    ):
        temporary.write_text("half")
        raise RuntimeError("broken")
    assert path.read_text() == "old"


def test_a_folder_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "folder"
    with files.writing_folder(path) as temporary:
        (temporary / "sub").mkdir()
        (temporary / "sub" / "a.txt").write_text("a")
        assert not path.exists()
    assert (path / "sub" / "a.txt").read_text() == "a"
    assert names_in(path.parent) == ["folder"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o755


def test_an_empty_folder_counts_as_absent(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    with files.writing_folder(path) as temporary:
        (temporary / "a.txt").write_text("a")
    assert names_in(path) == ["a.txt"]
    assert names_in(tmp_path) == ["folder"]


def test_a_folder_is_not_overwritten_unasked(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "mine.txt").write_text("mine")
    refused = pytest.raises(ValueError, match="exists already; choose another folder")
    with refused, files.writing_folder(path):
        pass
    assert names_in(path) == ["mine.txt"]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old.txt").write_text("old")
    with files.writing_folder(path, overwrite=True) as temporary:
        (temporary / "new.txt").write_text("new")
        assert names_in(path) == ["old.txt"]
    assert names_in(path) == ["new.txt"]
    assert names_in(tmp_path) == ["folder"]


def test_a_failed_replacement_keeps_the_old_folder(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old.txt").write_text("old")
    with (
        pytest.raises(RuntimeError, match="broken"),
        files.writing_folder(path, overwrite=True) as temporary,
    ):
        (temporary / "new.txt").write_text("new")
        raise RuntimeError("broken")
    assert names_in(path) == ["old.txt"]
    assert names_in(tmp_path) == ["folder"]


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    path = tmp_path / "folder"
    path.write_text("a file")
    refused = pytest.raises(ValueError, match="expected a folder to write, found a file")
    with refused, files.writing_folder(path, overwrite=True):
        pass
    assert path.read_text() == "a file"
