"""Disks that are full, read-only or gone: `python -m experiments.disk_faults`, as root

Preparation, training, prediction and export go on with an earlier output on a small disk (a file
that is mounted) that has too little room, or can't be written, or fails beneath them as if its
cable were pulled out. Each must end with status 1 and one sentence, leave whole what was there, and
come to the same end once the disk is mended.
"""

import contextlib
import fcntl
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from absl import flags, logging

from experiments import four_programs
from experiments.four_programs import Ended, Program
from experiments.running import encode_markdown
from mtml_tf import program

FLAGS = flags.FLAGS

FULL, READ_ONLY, GONE = "disk full", "read-only", "disk gone"
_DISK_BYTES = 64 << 20
_SHUTDOWN, _WITHOUT_LOG = 0x8004587D, 2  # Linux: FS_IOC_SHUTDOWN, as when the power is cut
_ROOM = (0.0, 0.02, 0.05)  # of what an output holds in the end
_HEADS = ["program", "fault", "tried", "told in a sentence", "nothing lost", "ended the same"]


class Disk:
    """A file system in a file, mounted on a folder.

    Attributes:
        path: the folder.
    """

    def __init__(self, image: pathlib.Path, path: pathlib.Path):
        self.path, self._image = path, image
        with image.open("wb") as file:
            file.truncate(_DISK_BYTES)
        _call("mkfs.ext4", "-q", "-m", "0", str(image))
        path.mkdir()
        self.mount()

    def mount(self) -> None:
        """Mounts it."""
        _call("mount", "-o", "loop", str(self._image), str(self.path))

    def unmount(self) -> None:
        """Unmounts it."""
        _call("umount", str(self.path))

    def fill(self, room: int) -> None:
        """Leaves so many bytes of room."""
        size = 0
        with (self.path / "filler").open("wb") as file:
            for step in (1 << 20, 1 << 12):
                with contextlib.suppress(OSError):  # none is left
                    while True:
                        os.posix_fallocate(file.fileno(), size, step)
                        size += step
            file.truncate(size - room)

    def pull_out(self) -> None:
        """Lets every further access fail, and loses what is not on the disk yet."""
        handle = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, _SHUTDOWN, struct.pack("I", _WITHOUT_LOG))
        finally:
            os.close(handle)


@contextlib.contextmanager
def small_disk(place: pathlib.Path) -> Iterator[Disk]:
    """Yields a disk; nothing remains of it. Raises ValueError where none can be mounted."""
    image, path = place / "image", place / "disk"
    try:
        disk = Disk(image, path)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ValueError(
            f"{path}: expected the rights to mount a disk (root, mkfs.ext4, a loop device), found: "
            f"{getattr(error, 'stderr', '') or error}"
        ) from error
    try:
        yield disk
    finally:
        disk.unmount()
        path.rmdir()
        image.unlink()


def _call(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


def is_one_sentence(ended: Ended) -> bool:
    """Whether a start has failed as programs should: status 1, told in its last line alone."""
    lines = ended.told.splitlines()
    told, traced = [line for line in lines if line.startswith("error: ")], "Traceback" in ended.told
    return ended.status == 1 and len(told) == 1 and told == lines[-1:] and not traced


def try_fault(victim: Program, fault: str, value: float, place: pathlib.Path) -> list[str] | None:
    """Tries one fault on one program.

    Args:
        victim: the program.
        fault: which.
        value: how much room there is, a share of the whole output; or after how many changes of
            files the disk goes.
        place: a folder for the disk.

    Returns:
        What was wrong, each with the column that it belongs to before a colon; None where the
        program came to its end before the fault.
    """
    wrong = []
    whole = victim.read(victim.whole)
    with small_disk(place) as disk:
        output = disk.path / "output"
        shutil.copytree(victim.before, output)
        os.sync()
        done = victim.read(output).done
        if fault == FULL:
            disk.fill(int(value * _bytes_in(victim.whole)))
        elif fault == READ_ONLY:
            _call("mount", "-o", "remount,ro", str(disk.path))
        ended = victim.start(
            output,
            lambda seconds, changes: fault == GONE and changes > value,
            lambda process: disk.pull_out(),
        )
        if ended.status == 0 and fault != READ_ONLY and victim.read(output) == whole:
            return None
        if not is_one_sentence(ended):
            wrong.append(f"{_HEADS[3]}: status {ended.status}: {ended.told[-3000:]}")
        told = ended.told.strip().rpartition("\n")[2]
        print(f"{victim.name}, {fault}: {told}", file=sys.stderr, flush=True)
        if fault == READ_ONLY:
            _call("mount", "-o", "remount,rw", str(disk.path))
        elif fault == GONE:
            disk.unmount()
            disk.mount()
        try:
            if (left := victim.read(output).done) < done:
                wrong.append(f"{_HEADS[4]}: {done} were done, {left} are left")
        except (ValueError, OSError) as error:
            wrong.append(f"{_HEADS[4]}: {error}")
        (disk.path / "filler").unlink(missing_ok=True)
        again = victim.start(output)
        try:
            same = again.status == 0 and victim.read(output) == whole
        except (ValueError, OSError):
            same = False
        if not same:
            wrong.append(f"{_HEADS[5]}: status {again.status}: {again.told[-3000:]}")
    return wrong


def _bytes_in(folder: pathlib.Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def define_flags() -> None:
    """Defines the flags; here, so that other code can import this module beside its like."""
    flags.DEFINE_list("only", [], "Programs to try; all by default.")
    flags.DEFINE_integer("seed", 0, "Draws when a disk goes.", lower_bound=0)


def main() -> None:
    """Tries each fault on each program and prints a table."""
    logging.set_verbosity(logging.WARNING)  # not what is read on the way
    rng = random.Random(FLAGS.seed)
    rows, faults = [], []
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        with small_disk(place):
            pass  # told before any work
        for victim in four_programs.make_programs(place):
            if FLAGS.only and victim.name not in FLAGS.only:
                continue
            undisturbed = place / "undisturbed" / victim.name / "output"
            shutil.copytree(victim.before, undisturbed)
            changes = victim.start(undisturbed).changes
            for fault, values in (
                (FULL, list(_ROOM)),
                (READ_ONLY, [0.0]),
                (GONE, [rng.uniform(0, 0.9) * changes for _ in range(3)]),
            ):
                tried = [try_fault(victim, fault, value, place) for value in values]
                wrong = [told for told in tried if told is not None]
                faults += [f"{victim.name}, {fault}: {one}" for told in wrong for one in told]
                good = [
                    str(sum(not any(one.startswith(head) for one in told) for told in wrong))
                    for head in _HEADS[3:]
                ]
                rows.append([victim.name, fault, str(len(wrong)), *good])
    print(encode_markdown([_HEADS, *rows]))
    if faults:
        raise ValueError("expected all to be told and mended, found:\n" + "\n".join(faults))


if __name__ == "__main__":
    define_flags()
    program.run(main)
