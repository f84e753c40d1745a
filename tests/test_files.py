"""Tests of text that is read, and of files that appear whole or not at all."""

import errno
import os
import pathlib
import pickle
import re
import shutil
import stat
import threading

import pytest

from mtml_tf import files
from mtml_tf.backend import tf

NOTES = files.FolderKind("notes", "index.md", lambda path: path.suffix == ".md")
NO_ROOM = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


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
    other.join()
    assert done.is_set()
    assert names_in(tmp_path) == []


def test_a_locked_folder_is_refused_where_one_does_not_wait(tmp_path):
    with (
        files.locked(tmp_path),
        pytest.raises(files.LockedError, match=rf"{tmp_path}: expected a folder that nobody has"),
        files.locked(tmp_path, wait=False),
    ):
        pass
    with files.locked(tmp_path, wait=False), pytest.raises(RuntimeError, match="within"):
        raise RuntimeError("within")


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


def test_what_is_read_is_never_written_to(tmp_path):
    files.check_apart(tmp_path / "in" / "out", [str(tmp_path / "in"), None, ""])
    files.check_apart(tmp_path / "a.html", [tmp_path / "a.ply"])
    (tmp_path / "link").symlink_to(tmp_path)
    for inside in (tmp_path, tmp_path / "runs" / "a", tmp_path / "x" / ".." / "a.ply"):
        for output in (tmp_path, tmp_path / "link"):
            with pytest.raises(ValueError, match=rf"that is read, found {inside} there"):
                files.check_apart(output, [None, str(inside)])
    with pytest.raises(ValueError, match=r"a\.ply: choose another path to write to: .* found "):
        files.check_apart(tmp_path / "link" / "a.ply", [tmp_path / "a.ply"])


@pytest.mark.parametrize(
    ("name", "found"),
    [("index.md", ""), ("thesis.tex", "thesis.tex"), ("b.md", "no index.md")],
)
def test_only_an_earlier_output_is_replaced(name, found, tmp_path):
    path = tmp_path / "folder"
    files.write_text(path / name, "mine")
    files.write_text(path / "part" / "a.md", "part of it")
    if not found:
        with files.writing_folder(path, overwrite=True, kind=NOTES):
            pass
        assert names_in(path) == []
        return
    sentence = f"{path}: expected a folder of notes to replace, found {found} in it; choose another"
    with (
        pytest.raises(ValueError, match=sentence),
        files.writing_folder(path, overwrite=True, kind=NOTES),
    ):
        pytest.fail("refused before any work")
    assert names_in(path) == sorted([name, "part"])


def test_a_strangers_file_in_an_inner_folder_is_found(tmp_path):
    for name in ("index.md", "figures/me.svg"):
        files.write_text(tmp_path / "folder" / name, "mine")
    with pytest.raises(ValueError, match=r"found figures/me\.svg in it"):
        files.check_may_replace(tmp_path / "folder", overwrite=True, kind=NOTES)


@pytest.mark.parametrize("exists", [True, False])
def test_what_a_link_leads_to_is_written(exists, tmp_path):
    (tmp_path / "disk").mkdir()
    if exists:
        (tmp_path / "disk" / "folder").mkdir()
        files.write_text(tmp_path / "disk" / "a.txt", "old")
    for name in ("folder", "a.txt"):
        (tmp_path / name).symlink_to(tmp_path / "disk" / name)
    with files.writing_folder(tmp_path / "folder") as temporary:
        files.write_text(temporary / "b.txt", "new")
    files.write_text(tmp_path / "a.txt", "new", overwrite=True)
    assert (tmp_path / "disk" / "folder" / "b.txt").read_text() == "new"
    assert (tmp_path / "disk" / "a.txt").read_text() == "new"
    assert names_in(tmp_path) == ["a.txt", "disk", "folder"]
    assert names_in(tmp_path / "disk") == ["a.txt", "folder"]
    assert (tmp_path / "folder").is_symlink()
    assert (tmp_path / "a.txt").is_symlink()


@pytest.mark.parametrize("writing", [files.writing_file, files.writing_folder])
@pytest.mark.parametrize("below", ["x", "x/y/z"])
def test_a_path_below_a_file_is_refused_before_any_work(writing, below, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files.write_text("a.md", "a file")
    sentence = rf"^a\.md/{below}: expected a place to write to, found that a\.md is a file; choose"
    with pytest.raises(ValueError, match=sentence), writing(f"a.md/{below}"):
        pytest.fail("refused before any work")


@pytest.mark.parametrize("writing", [files.writing_file, files.writing_folder])
def test_a_folder_that_takes_nothing_is_named(writing):
    sentence = r"^/proc/x: expected a place to write to, found that /proc can't be written to \("
    with pytest.raises(ValueError, match=sentence), writing("/proc/x"):
        pytest.fail("refused before any work")


def test_a_full_disk_is_told_of_the_path_that_was_asked_for(tmp_path):
    path = tmp_path / "new" / "folder"
    sentence = f"^{path}: expected room to write it, found the disk full; make room and start again"
    with (
        pytest.raises(ValueError, match=sentence),
        files.writing_folder(path) as temporary,
        files.writing_file(temporary / "a.txt"),
    ):
        raise NO_ROOM
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOTCONN])
def test_a_disk_that_is_gone_is_told_of_the_path_that_was_asked_for(number, tmp_path):
    path, reason = tmp_path / "a.txt", re.escape(os.strerror(number))
    sentence = (
        rf"^{path}: expected a disk that works, found that it fails \({reason}\); mend it or its "
        "mount and start again$"
    )
    with (
        pytest.raises(files.DiskError, match=sentence),
        files.writing_file(path) as temporary,
    ):
        raise OSError(number, os.strerror(number), str(temporary))
    assert names_in(tmp_path) == []


def test_a_disk_that_is_gone_beneath_the_input_is_told_of_what_is_read(tmp_path):
    gone = OSError(errno.EIO, os.strerror(errno.EIO), str(tmp_path / "out.txt"))
    with (
        pytest.raises(files.DiskError, match=rf"^{tmp_path}/out\.txt: expected a disk that works"),
        files.told_of_disk(tmp_path / "out", "go on"),
        files.told_of_disk(tmp_path / "out" / "a"),
    ):
        raise gone


def test_where_nothing_tells_which_disk_is_gone_none_is_accused(tmp_path):
    sentence = f"^{tmp_path}, or what is read for it: expected a disk that works"
    with pytest.raises(files.DiskError, match=sentence), files.told_of_disk(tmp_path):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_disk_that_is_read_only_is_told_so(tmp_path):
    sentence = f"^{tmp_path}: expected a disk that can be written to, found it read-only; let it be"
    with pytest.raises(files.DiskError, match=sentence), files.told_of_disk(tmp_path):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def test_another_machine_that_is_gone_is_no_disk():
    told = os.strerror(errno.ETIMEDOUT)
    assert files.disk_fault(OSError(errno.ETIMEDOUT, told)) == errno.ETIMEDOUT
    assert files.disk_fault(tf.errors.UnavailableError(None, None, told)) == 0


def test_an_error_of_a_disk_goes_from_process_to_process():
    error = pickle.loads(pickle.dumps(files.disk_error("b/a.txt", errno.EIO)))
    assert files.disk_fault(error) == errno.EIO
    sentence = "^b: expected a disk .* and go on$"
    with pytest.raises(files.DiskError, match=sentence), files.told_of_disk("b", "go on"):
        raise error


def test_errors_of_other_files_stay_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), files.writing_folder(tmp_path / "a"):
        (tmp_path / "none.txt").read_bytes()
    assert names_in(tmp_path) == []


def test_a_folder_that_can_not_be_replaced_is_told_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="replaced as a whole, found the current one; choose"):
        files.check_may_replace(".", overwrite=True)
    monkeypatch.setattr(os.path, "ismount", lambda _: True)
    with pytest.raises(ValueError, match="found a mount point; choose a folder in it"):
        files.check_may_replace(tmp_path, overwrite=False)


@pytest.mark.parametrize("system_can", [True, False])
def test_a_folder_that_is_replaced_is_there_whole_when_the_old_one_is_deleted(
    system_can, tmp_path, monkeypatch
):
    path, remove, seen = tmp_path / "folder", shutil.rmtree, []
    files.write_text(path / "old.txt", "old")
    if not system_can:
        monkeypatch.setattr(files, "_exchange", lambda *_: False)

    def look(folder, **how):
        seen.append((names_in(folder), names_in(path)))
        remove(folder, **how)

    monkeypatch.setattr(shutil, "rmtree", look)
    with files.writing_folder(path, overwrite=True) as temporary:
        files.write_text(temporary / "new.txt", "new")
    assert seen == [(["old.txt"], ["new.txt"])]
    assert names_in(tmp_path) == ["folder"]


def test_two_folders_change_names_at_one_moment(tmp_path):
    for name in "ab":
        files.write_text(tmp_path / name / f"{name}.txt", name)
    if not files._exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("the file system can't")
    assert (names_in(tmp_path / "a"), names_in(tmp_path / "b")) == (["b.txt"], ["a.txt"])
    assert not files._exchange(tmp_path / "a", tmp_path / "none")


def test_a_replacement_that_fails_at_the_end_leaves_the_old_folder_alone(tmp_path, monkeypatch):
    path = tmp_path / "folder"
    files.write_text(path / "old.txt", "old")
    replace = pathlib.Path.replace

    def refuse_the_new(self, target):
        if target == path and ".old." not in self.name:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        return replace(self, target)

    monkeypatch.setattr(pathlib.Path, "replace", refuse_the_new)
    monkeypatch.setattr(files, "_exchange", lambda *_: False)
    with (
        pytest.raises(ValueError, match=rf"{path}: expected a place to write to, found that"),
        files.writing_folder(path, overwrite=True),
    ):
        pass
    assert names_in(tmp_path) == ["folder"]
    assert names_in(path) == ["old.txt"]


def test_a_folder_or_device_is_no_file_to_write(tmp_path):
    with pytest.raises(ValueError, match="expected a file to write, found a folder; choose"):
        files.check_may_write(tmp_path, overwrite=True)
    with pytest.raises(ValueError, match="expected a file to write, found a device; choose"):
        files.check_may_write("/dev/null", overwrite=True)


def test_a_name_tells_what_will_be_in_the_file():
    files.check_suffix("a.PNG", ".png")
    with pytest.raises(ValueError, match=r"a\.jpg: expected the name of a \.png file to write"):
        files.check_suffix("a.jpg", ".png")


# --- What files hold -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ("a b", "a b"),
        ("a\r\n\x1b[2J\u2028", r"a\r\n\x1b[2J\u2028"),
        ("é", "é"),
        ("a" * 200, "a" * 160 + "..."),
        ([1, "a"], "[1, 'a']"),
        (list(range(1000)), str(list(range(40)))[:-1] + ", ...]"),
        (None, "None"),
    ],
)
def test_what_is_found_is_told_printable_and_short(found, text):
    assert files.shown(found) == text


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("a", True),
        ("a/b.txt", True),
        ("..a", True),
        ("é ", True),
        ("", False),
        ("..", False),
        ("a/../b", False),
        ("/a", False),
        ("a/", False),
        (".", False),
        ("a\0", False),
        ("a" * 300, False),
        (7, False),
        (None, False),
    ],
)
def test_names_that_lead_out_of_a_folder_are_known(name, inside):
    assert files.is_inside(name) == inside


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"[" * 100_000, "brackets within brackets, too deep to be read"),
        (b"\xff", "'utf-8' codec can't decode"),
        (b"{", "Expecting property name"),
        (b"9" * 5000, "Exceeds the limit"),
        (None, ".*No such file"),
    ],
)
def test_json_that_is_none_is_told(content, found, tmp_path):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.json: expected a JSON file, found: {found}"):
        files.read_json(path)
