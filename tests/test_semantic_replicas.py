"""The semantic network on several replicas: two logical CPUs stand for two devices."""

import sys

import numpy as np
import pytest
from semantic_scenes import FLOOR, box_scan, write_split
from training_runs import run_program

from mtml_tf.backend import tf

# A run of one step on one device, and one on two.
TWO_REPLICAS = """
import sys
from mtml_tf.backend import tf
from mtml_tf.semantic.config import *
from mtml_tf.semantic import training

data, out = sys.argv[1:]
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
for strategy in ("default", "mirrored"):
    experiment = training.SemanticExperiment(
        "two",
        SemanticNetworkConfig(inputs=("color", "geometry"), voxel_size=0.1, planes=2, num_levels=2),
        SemanticDataConfig(batch_size=2),
        SemanticTrainConfig(epochs=1, strategy=strategy),
    )
    training.train_semantic(data, f"{out}/{strategy}", experiment)
"""


@pytest.fixture(name="runs", scope="module")
def _runs(tmp_path_factory):
    """Folder of the runs: scenes of different sizes, one with few labels."""
    path = tmp_path_factory.mktemp("replicas")
    scans = [box_scan(0), box_scan(1, length=1)]
    ids = scans[0].semantic_ids
    ids[(ids == FLOOR) & (np.arange(len(ids)) % 3 > 0)] = 0
    data = write_split(path, "two", scans)
    result = run_program(sys.executable, "-c", TWO_REPLICAS, str(data), str(path))
    assert result.returncode == 0, result.stderr[-2000:]
    return path


def variables_of(run_dir, part):
    """What the checkpoint of the first step has of the optimizer, or of the network."""
    reader = tf.train.load_checkpoint(str(run_dir / "checkpoints" / "ckpt-1"))
    names = sorted(name for name in reader.get_variable_to_shape_map() if part in name)
    return {name: reader.get_tensor(name) for name in names}


def test_the_gradient_of_two_replicas_is_that_of_the_joint_batch(runs):
    """By Adam's means of the gradients, 0.1 of the first step's, which have the odd numbers."""
    one, two = (
        variables_of(runs / name, "optimizer/_variables/") for name in ("default", "mirrored")
    )
    means = [name for name in one if int(name.split("/")[2]) % 2]
    assert len(means) == 20
    largest = max(np.abs(one[name]).max() for name in means)
    for name in means:
        # Before another normalisation, the gradient of a scale is 0 up to rounding.
        size = max(np.abs(one[name]).max(), largest / 10)
        np.testing.assert_allclose(two[name], one[name], rtol=0, atol=1e-5 * size, err_msg=name)


@pytest.mark.parametrize("average", ["moving_mean", "moving_variance"])
def test_batch_normalisation_averages_over_the_sites_of_all_replicas(runs, average):
    one, two = (variables_of(runs / name, f"/{average}/") for name in ("default", "mirrored"))
    assert len(one) == 6
    for name, expected in one.items():
        size = np.abs(expected).max()
        np.testing.assert_allclose(two[name], expected, rtol=0, atol=1e-5 * size, err_msg=name)
