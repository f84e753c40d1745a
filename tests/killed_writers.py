"""Writes a data folder again and again, each time killed one step later; a program of its own.

`python tests/killed_writers.py DIR TRUTH`: copies the data folder `DIR/before` to `DIR/0/data` and
replaces its split `train`, with ground truth where TRUTH is 1, in a process that is killed before
the first step that changes a file system; to `DIR/1/data`, killed before the second; and so on,
until a process comes to its end. What changes file systems Python itself tells (audit events), so
that no step of the code can be forgotten here.
"""

import os
import pathlib
import shutil
import signal
import sys

from scenes import scenes_of, write_folder

from mtml_tf.data import writing

_STEPS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.link", "os.symlink")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
NEW = (1, 11, 12)  # one of the scenes that are there, and fewer shards


def is_step(event, arguments):
    return event in _STEPS or (event == "open" and bool(arguments[2] & _WRITES))


def kill_before(step):
    """Kills this process before its `step`-th step, from 0 on."""
    steps = iter(range(step))

    def hook(event, arguments):
        if is_step(event, arguments) and next(steps, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def main():
    place, with_truth = pathlib.Path(sys.argv[1]), sys.argv[2] == "1"
    writing._SCENES_PER_SHARD = 2
    status, step = None, 0
    while status != 0:
        shutil.copytree(place / "before", place / str(step) / "data")
        # A copy of a process in which TensorFlow is loaded and has started nothing.
        process = os.fork()
        if not process:
            kill_before(step)
            write_folder(*(place / str(step) / "data", True, with_truth), train=scenes_of(*NEW))
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        assert status in (0, -signal.SIGKILL), f"step {step}: exit {status}"
        step += 1


if __name__ == "__main__":
    main()
