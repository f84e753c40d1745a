"""Preparation, training, prediction and export on tiny scans, to be ended by faults.

What `kills` and `disk_faults` share: each program's command, what its output holds, and a start
of it that is watched. It runs as `python` would run it, but in a copy of a process that has
imported TensorFlow already, so that no time goes by in which nothing can be lost.
"""

import contextlib
import dataclasses
import hashlib
import multiprocessing
import os
import pathlib
import runpy
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mtml_tf import arrays, files
from mtml_tf.classes import ClassSet, encode_classes
from mtml_tf.scans.ply import write_ply

ROOT = pathlib.Path(__file__).resolve().parent.parent
CLASSES = ClassSet((1, 2, 7), ("floor", "box", "tower"), ("stuff", "thing", "thing"))
_NUM_SCANS = {"train": 10, "val": 4}
_POLL_S = 0.0005
_SETTINGS = (
    *("--width=0.0625", "--dilations=1,2", "--batch_size=2", "--origins", "--min_voxels=4"),
    *("--validation_split=val", "--ap_every=1", "--min_vertices=1", "--checkpoint_every=2"),
)
_PRELOADED = (
    *("sklearn.neighbors", "scipy.sparse.csgraph", "mtml_tf.data.prepared_folder"),
    *("mtml_tf.training.run", "mtml_tf.inference.exporting", "mtml_tf.inference.many_scenes"),
)


class Found(NamedTuple):
    """What an output holds.

    Attributes:
        done: scenes, steps or models in it; a fault must never make it less.
        parts: digests of what no later start changes, by name.
    """

    done: int
    parts: dict[str, str]


class Ended(NamedTuple):
    """How a start ended.

    Attributes:
        status: exit status; -9 after SIGKILL.
        seconds: from the start, without imports.
        changes: how often files in the place were seen to change.
        told: what it printed.
    """

    status: int
    seconds: float
    changes: int
    told: str


@dataclasses.dataclass(frozen=True)
class Program:
    """One of the programs, its input settled.

    Attributes:
        name: such as `train`.
        command: what follows `python`, without the output.
        output: name of the flag for the output.
        read: reads an output; raises ValueError or OSError where a part is neither whole nor
            absent.
        before: an earlier output that the command goes on with.
        whole: the output of a start that nothing disturbed.
    """

    name: str
    command: tuple[str, ...]
    output: str
    read: Callable[[pathlib.Path], Found]
    before: pathlib.Path
    whole: pathlib.Path

    def start(
        self,
        output: pathlib.Path,
        moment: Callable[[float, int], bool] = lambda seconds, changes: False,
        befall: Callable[[Any], None] = lambda process: None,
    ) -> Ended:
        """Runs the program to its end.

        Args:
            output: where it writes; what lies beside it is watched too.
            moment: whether it has come, told the seconds and the changes so far.
            befall: called then with the process, once.
        """
        return _start((*self.command, f"--{self.output}={output}"), output.parent, moment, befall)


def kill(process: Any) -> None:
    """Kills a process and all that it has started, and waits until they are gone."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # too early for it to have a group of its own
        process.kill()
    process.join()
    end = time.monotonic() + 2  # where nobody reaps its children, their group stays
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < end:
            os.killpg(process.pid, 0)
            time.sleep(_POLL_S)


def make_programs(place: pathlib.Path) -> list[Program]:
    """Makes input, earlier and whole outputs of all four in a folder. Raises ValueError."""
    for split, count in _NUM_SCANS.items():
        for number in range(count):
            _write_scan(place / "scans" / split / f"{split}{number}.ply", number + count)
    files.write_text(place / "classes.csv", encode_classes(CLASSES))
    data, run = place / "whole" / "prepare", place / "whole" / "train"

    def prepare(split: str) -> tuple[str, ...]:
        return (
            *("tools/prepare_scans.py", f"--input_dir={place / 'scans' / split}"),
            *(f"--split={split}", f"--classes={place / 'classes.csv'}", "--voxel_size=0.1"),
            "--num_workers=2",
        )

    train = ("-m", "mtml_tf.train", f"--data_dir={data}", *_SETTINGS)
    predict = ("-m", "mtml_tf.predict", f"--run_dir={run}", f"--data_dir={data}", "--split=train")
    export = ("-m", "mtml_tf.export", f"--run_dir={run}", "--overwrite")
    programs = [
        Program(name, command, output, read, place / "before" / name, place / "whole" / name)
        for name, command, output, read in (
            ("prepare", prepare("train"), "output_dir", _read_data),
            ("train", (*train, "--epochs=3"), "run_dir", _read_run),
            ("predict", predict, "output_dir", _read_predictions),
            ("export", export, "output_dir", lambda path: _read_exported(path, data)),
        )
    ]
    preparing, training, predicting, exporting = programs
    _must(dataclasses.replace(preparing, command=prepare("val")), preparing.before)
    _must(preparing, _copied(preparing.before, data))
    _must(dataclasses.replace(training, command=(*train, "--epochs=1")), training.before)
    _must(training, _copied(training.before, run))
    for program in (predicting, exporting):
        _must(program, program.whole)
        _copied(program.whole, program.before)
    for number in range(_NUM_SCANS["train"] // 2):
        (predicting.before / f"train{number}.txt").unlink()
    (predicting.before / "report.json").unlink()
    return programs


def _must(program: Program, output: pathlib.Path) -> None:
    ended = program.start(output)
    if ended.status:
        raise ValueError(f"{output}: expected {program.name} to succeed, found:\n{ended.told}")


def _copied(source: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
    shutil.copytree(source, target)
    return target


def _write_scan(path: pathlib.Path, seed: int) -> None:
    """Writes a floor of 2.4 m with three boxes or towers on it: points of their surfaces."""
    rng = np.random.default_rng(seed)
    points = [np.column_stack([rng.uniform(0, 2.4, (4000, 2)), np.zeros(4000)])]
    labels, instances = [np.full(4000, 1)], [np.zeros(4000)]
    for number in range(1, 4):
        class_id, size = ((2, (0.4, 0.4, 0.3)), (7, (0.3, 0.3, 0.6)))[rng.integers(2)]
        low = np.array([*rng.uniform(0, 1.9, 2), 0.1])
        points.append(rng.uniform(low, low + size, (1000, 3)))
        labels.append(np.full(1000, class_id))
        instances.append(np.full(1000, number))
    properties = {"label": np.concatenate(labels), "instance": np.concatenate(instances)}
    typed = {name: values.astype(np.int32) for name, values in properties.items()}
    write_ply(path, np.concatenate(points).astype(np.float32), properties=typed)


# --- What an output holds ----------------------------------------------------------------------


def _digest(*contents: bytes) -> str:
    return hashlib.sha256(b"|".join(contents)).hexdigest()


def _read_data(folder: pathlib.Path) -> Found:
    from mtml_tf.data.records import DataFolder

    for path in folder.parent.glob(f"{folder.name}.partial/*/[!.]*.npz"):
        arrays.read_npz(path)
    if not folder.exists():
        return Found(0, {})
    data = DataFolder(folder)
    parts = {
        f"{split}/{entry.name}": _digest(
            data.record(entry), data.ground_truth(split, entry).tobytes()
        )
        for split in data.splits
        for entry in data.entries(split)
    }
    return Found(len(parts), parts)


def _read_run(run_dir: pathlib.Path) -> Found:
    from mtml_tf.inference import models

    def weights(name: str) -> str:
        network = models.load_model(run_dir, name).network
        return _digest(*(array.tobytes() for array in network.dense.get_weights()))

    checkpoints = models.find_checkpoints(run_dir)
    step = int(checkpoints[0].rpartition("-")[2]) if checkpoints else 0
    names = [name for name in (models.BEST, models.LAST) if (run_dir / name).exists()]
    parts = {f"{name} at step {step}": weights(name) for name in names}
    if step:
        weights(models.LAST)  # of the checkpoint, where there are none
    return Found(step, parts if models.LAST in names else {})


def _read_predictions(folder: pathlib.Path) -> Found:
    parts = {}
    for path in folder.glob("[!.]*.txt"):
        masks = [folder / line.split()[0] for line in files.read_text(path).splitlines()]
        parts[path.stem] = _digest(path.read_bytes(), *(mask.read_bytes() for mask in masks))
    for path in folder.glob("[!.]*.json"):
        files.read_json(path)
    return Found(len(parts), parts)


def _read_exported(folder: pathlib.Path, data_dir: pathlib.Path) -> Found:
    from mtml_tf.data.records import DataFolder
    from mtml_tf.inference.exporting import load_saved_model

    if not (folder / "1").exists():
        return Found(0, {})
    scene = next(DataFolder(data_dir).scenes("val"))
    values = load_saved_model(folder).predict(scene)
    return Found(1, {"1": _digest(*(v.tobytes() for v in values if v is not None))})


# --- A start that is watched --------------------------------------------------------------------


def _start(
    arguments: tuple[str, ...],
    place: pathlib.Path,
    moment: Callable[[float, int], bool],
    befall: Callable[[Any], None],
) -> Ended:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    with tempfile.NamedTemporaryFile("r", errors="replace") as log:
        process = context.Process(target=_run, args=(arguments, log.name))
        changes, state, befallen = 0, _state(place), False
        process.start()
        begin = time.monotonic()
        while process.is_alive():
            now = _state(place)
            changes += now != state
            state = now
            if not befallen and moment(time.monotonic() - begin, changes):
                befallen = True
                befall(process)
            time.sleep(_POLL_S)
        process.join()
        changes += _state(place) != state
        return Ended(process.exitcode or 0, time.monotonic() - begin, changes, log.read())


def _state(place: pathlib.Path) -> list[tuple[str, int, int]]:
    """Returns a value that changes with the files in a folder."""
    found = []
    for parent, _, names in os.walk(place):
        for name in names:
            with contextlib.suppress(OSError):
                stat = os.stat(os.path.join(parent, name))
                found.append((f"{parent}/{name}", stat.st_size, stat.st_mtime_ns))
    return found


def _run(arguments: tuple[str, ...], log: str) -> None:
    """Does what `python <arguments>` does in the root; for a process of its own."""
    os.setsid()
    for number in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND), number)
    os.chdir(ROOT)
    sys.argv = list(arguments)
    if arguments[0] == "-m":
        sys.argv = list(arguments[1:])
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(arguments[0], run_name="__main__")
