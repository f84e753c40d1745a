"""Tests of a training by several workers: two processes on this machine, a CPU each."""

import json
import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
from scenes import box_scene, write_folder
from training_runs import ROOT, latest_step, weights_of

# For workers that would wait for one another for ever; a slow machine takes as long as it takes.
HANGS_S = 1800

FLAGS = [
    *("--width=0.125", "--dilations=1,2", "--batch_size=4", "--epochs=2", "--origins"),
    *("--validation_split=val", "--ap_every=1", "--min_vertices=1"),
]
PROGRAM = """
import os, signal, sys
from mtml_tf import program, train
from mtml_tf.training import callbacks

number, at = int(sys.argv.pop(1)), int(sys.argv.pop(1))
original = callbacks.StopOnNan.on_train_batch_end

def sent(self, batch, logs):
    original(self, batch, logs)
    if int(self._optimizer.iterations.numpy()) == at:
        os.kill(os.getpid(), number)

if number:
    callbacks.StopOnNan.on_train_batch_end = sent
program.run(train.main)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Eleven scenes of different grids: three steps an epoch."""
    scenes = [box_scene(seed, grid_shape=(10 + 2 * (seed % 3), 12, 8)) for seed in range(11)]
    path = tmp_path_factory.mktemp("workers") / "data"
    return write_folder(path, train=scenes, val=[box_scene(50)])


def started(data, run_dir, strategy, environment=None, number=0, at=0):
    arguments = [str(number), str(at), f"--data_dir={data}", f"--run_dir={run_dir}", *FLAGS]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments, f"--strategy={strategy}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
    )


def free_addresses(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return addresses


def workers(data, run_dir, number=0, at=0):
    """Runs two workers to their end; returns (status, output) of each.

    After step `at` the second one sends itself the signal of that number.
    """
    cluster = {"worker": free_addresses(2)}
    processes = []
    for index in range(2):
        config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        sent = (number, at) if index else ()
        processes.append(started(data, run_dir, "multiworker", {"TF_CONFIG": config}, *sent))
    try:
        outputs = [process.communicate(timeout=HANGS_S)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [
        (process.returncode, output) for process, output in zip(processes, outputs, strict=True)
    ]


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    """Folder of the run of one process."""
    path = tmp_path_factory.mktemp("runs") / "alone"
    process = started(data, path, "default")
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return path


@pytest.fixture(scope="module")
def together(data, tmp_path_factory):
    """Folder of a run of two workers that goes on twice, and what they said at the end.

    First one is told to end: both end after that step. Then one is killed: the other tells.
    """
    path = tmp_path_factory.mktemp("runs") / "together"
    ends = workers(data, path, signal.SIGTERM, at=4)
    assert [status for status, _ in ends] == [1, 1], ends
    assert all("interrupted; the same command goes on" in output for _, output in ends)
    assert latest_step(path) == 4

    ends = workers(data, path, signal.SIGKILL, at=5)
    assert [status for status, _ in ends] == [1, -9], ends
    told = "\nerror: expected all workers to stay until the end, found one that is gone"
    assert told in ends[0][1]
    saved = latest_step(path)
    assert saved in (4, 5)  # the other one may have done the step, or not

    ends = workers(data, path)
    assert [status for status, _ in ends] == [0, 0], ends
    assert f"resumed at step {saved} of 6" in ends[1][1]
    return path, [output for _, output in ends]


@pytest.mark.parametrize("which", ["last", "best"])
def test_two_workers_that_end_before_their_time_learn_what_one_process_does(alone, together, which):
    found, expected = weights_of(together[0], which), weights_of(alone, which)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


def test_the_chief_alone_writes_and_reports(together):
    path, (of_chief, of_other) = together
    assert "6 steps done, weights in" in of_chief
    assert "steps done, weights" not in of_other
    assert "on 2 CPUs" in of_other
    assert (path / "last").is_dir()
