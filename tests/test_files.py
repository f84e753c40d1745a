"""Tests of text that is read, and of files that appear whole or not at all."""

import stat
import threading

import pytest

from mtml_tf import files


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_text_is_read_and_a_byte_order_mark_is_none(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffgröße\r\n".encode())
    assert files.read_text(path) == "größe\n"
    assert files.read_text(str(path), encoding="utf-8") == "\ufeffgröße\n"
    path.write_bytes(b"a\xff")
    assert files.read_text(path, errors="replace") == "a\ufffd"


def test_what_is_no_text_is_told_in_one_sentence(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(
        ValueError, match=r"a\.txt: expected a text file in UTF-8, found no such fi"
    ):
        files.read_text(path)
    with pytest.raises(ValueError, match="expected a text file in UTF-8, found Is a directory"):
        files.read_text(tmp_path)
    path.write_bytes(b"a\xff")
    with pytest.raises(
        ValueError, match="expected a text file in UTF-8, found 'utf-8' codec can't"
    ):
        files.read_text(path)


def test_lists_of_scenes_are_read(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("desk\r\n\n lab\n")
    assert files.read_scene_list(path) == ("desk", "lab")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "expected the name of a scene in each line, found none"),
        ("my desk\n", "without spaces and slashes, found 'my desk'"),
        ("a/desk\n", "without spaces and slashes, found 'a/desk'"),
        ("desk\nlab\ndesk\n", "expected each scene once, found 'desk' twice"),
    ],
)
def test_a_list_of_scenes_that_is_none_is_told(text, sentence, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"list\.txt: .*{sentence}"):
        files.read_scene_list(path)


def test_a_locked_folder_is_waited_for(tmp_path):
    done = threading.Event()

    def wait():
        with files.locked(tmp_path):
            done.set()

    other = threading.Thread(target=wait)
    with files.locked(tmp_path):
        other.start()
        assert not done.wait(0.2)
    other.join(10)
    assert done.is_set()
    assert names_in(tmp_path) == []


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
