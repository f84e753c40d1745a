"""Tests of the program mtml_tf.train."""

import os
import pathlib
import subprocess
import sys

import pytest
from scenes import box_scene, write_folder
from training_runs import command, latest_step, run_program

INTERRUPTED = """
import sys
from mtml_tf import program, train
from mtml_tf.backend import tf
from mtml_tf.training import callbacks

def interrupt(self, batch, logs):
    if int(self._optimizer.iterations.numpy()) == int(steps):
        raise KeyboardInterrupt

steps = sys.argv.pop(1)
callbacks.Progress.on_train_batch_end = interrupt
tf.config.run_functions_eagerly(True)  # a few steps: it saves the time of building a graph
program.run(train.main)
"""


@pytest.mark.parametrize(
    ("steps", "goes_on"), [(1, "begins anew"), (3, "goes on from the last checkpoint")]
)
def test_an_interruption_tells_how_to_go_on(tmp_path, steps, goes_on):
    data = write_folder(tmp_path / "data", train=[box_scene(seed) for seed in range(4)])
    flags = ["--width=0.125", "--dilations=1,2", "--epochs=3", "--checkpoint_every=2"]
    arguments = [str(steps), f"--data_dir={data}", f"--run_dir={tmp_path / 'run'}", *flags]
    result = run_program(sys.executable, "-c", INTERRUPTED, *arguments)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == f"interrupted; the same command {goes_on}"
    assert latest_step(tmp_path / "run") == (2 if steps == 3 else None)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--run_dir=r"], "data_dir"),
        (["--data_dir=d", "--run_dir=r", "--no_such_flag=1"], "no_such_flag"),
        (["--data_dir=d", "--run_dir=r", "--epochs=0"], "expected at least 1 epoch, found 0"),
        (["--data_dir=d", "--run_dir=r", "--epochs=many"], "epochs"),
    ],
)
def test_wrong_flags_are_told_with_exit_2(flags, text, tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "mtml_tf.train", *flags],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parents[1])},
    )
    assert result.returncode == 2
    assert text in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_missing_data_folder_is_told_in_one_sentence_with_exit_1(tmp_path):
    result = run_program(*command(tmp_path / "none", tmp_path / "run"))
    assert result.returncode == 1
    assert result.stdout == ""
    # Newer TensorFlow says a few lines about the machine before it can be told not to.
    *noise, line = result.stderr.splitlines()
    assert not [text for text in noise if text.startswith(("error:", "Traceback"))]
    assert line == (
        f"error: {tmp_path / 'none'}: expected a data folder with manifest.json, found no such "
        "folder; tools/make_toy.py, tools/prepare_scans.py and tools/prepare_scannet.py make one"
    )
