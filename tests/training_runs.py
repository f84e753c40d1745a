"""A small experiment on tiny scenes, and what tests of its runs look at."""

import contextlib
import dataclasses
import pathlib
import subprocess
import sys

import numpy as np
from scenes import box_scene, write_folder

from mtml_tf.backend import tf
from mtml_tf.config import DataConfig, LossConfig, NetworkConfig, TrainConfig
from mtml_tf.inference import models
from mtml_tf.training.experiment import Experiment

ROOT = pathlib.Path(__file__).resolve().parent.parent
NUM_SCENES, BATCH_SIZE = 30, 2
STEPS_PER_EPOCH = NUM_SCENES // BATCH_SIZE
EXPERIMENT = Experiment(
    train_split="train",
    network=NetworkConfig(width=1 / 8, dilations=(1, 2), embedding_size=3),
    loss=LossConfig(alpha_label=0.5),
    data=DataConfig(batch_size=BATCH_SIZE, origins=True, seed=1),
    train=TrainConfig(
        epochs=2,
        learning_rate=5e-3,
        validation_split="val",
        ap_every=1,
        min_vertices=1,
        checkpoint_every=4,
    ),
    segment={"min_voxels": 4},
)
# The same experiment as flags of the program.
FLAGS = [
    *("--width=0.125", "--dilations=1,2", "--embedding_size=3", "--batch_size=2", "--origins"),
    *("--seed=1", "--epochs=2", "--learning_rate=5e-3", "--validation_split=val"),
    *("--ap_every=1", "--min_vertices=1", "--checkpoint_every=4", "--min_voxels=4"),
    "--alpha_label=0.5",
]


def changed(**train):
    """The experiment with other settings of the training."""
    return dataclasses.replace(EXPERIMENT, train=dataclasses.replace(EXPERIMENT.train, **train))


def quiet(**train):
    """Without validation."""
    return changed(validation_split="", checkpoint_every=500, **train)


def one_step(**train):
    """A run of one step without validation."""
    return dataclasses.replace(quiet(epochs=1, **train), train_split="two")


def write_data(path):
    """Writes the data folder of the experiment."""

    def scenes(first, count):
        return [box_scene(first + i, grid_shape=(12, 12, 8)) for i in range(count)]

    return write_folder(path, train=scenes(0, NUM_SCENES), val=scenes(100, 2), two=scenes(0, 2))


@contextlib.contextmanager
def eagerly():
    """Saves the time that building a graph takes, where there are only a few steps."""
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


def weights_of(run_dir, which=models.LAST):
    return models.load_model(run_dir, which).network.dense.get_weights()


def assert_bit_identical(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def latest_step(run_dir):
    """The step of the last checkpoint; None before the first."""
    path = tf.train.latest_checkpoint(str(run_dir / "checkpoints"))
    return None if path is None else int(path.rpartition("-")[2])


def logged_values(run_dir, tag, part="train"):
    """Values of a TensorBoard tag by epoch."""
    values = {}
    for path in sorted((run_dir / "logs" / part).glob("events*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                if value.tag == tag:
                    values[event.step] = float(tf.make_ndarray(value.tensor))
    return [values[step] for step in sorted(values)]


def command(data, run_dir, *flags):
    return [
        *(sys.executable, "-m", "mtml_tf.train", f"--data_dir={data}", f"--run_dir={run_dir}"),
        *flags,
    ]


def run_program(*arguments):
    return subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=ROOT)
