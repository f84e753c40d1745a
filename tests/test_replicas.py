"""Tests of mtml_tf.training.replicas: two logical CPUs stand for two devices."""

import json
import re
import sys
import types

import numpy as np
import pytest
from scenes import box_scene, write_folder
from training_runs import logged_values, run_program

from mtml_tf.backend import tf
from mtml_tf.config import TrainConfig
from mtml_tf.training import building, replicas

# A run of one epoch on one device, and one on two that is then gone on with.
TWO_REPLICAS = """
import sys
from mtml_tf.backend import tf
from mtml_tf.config import DataConfig, LossConfig, NetworkConfig, TrainConfig
from mtml_tf.training import run

data, out = sys.argv[1:]
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
for strategy, epochs in (("default", 1), ("mirrored", 1), ("mirrored", 2)):
    experiment = run.Experiment(
        "two",
        NetworkConfig(width=1 / 8, dilations=(1, 2)),
        LossConfig(),
        DataConfig(batch_size=2, rotations=False),
        TrainConfig(
            epochs=epochs,
            strategy=strategy,
            validation_split="three",
            ap_every=1,
            min_vertices=1,
        ),
        {},
    )
    run.train(data, f"{out}/{strategy}", experiment)
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folder of the runs: `default` and `mirrored`."""
    path = tmp_path_factory.mktemp("replicas")
    data = write_folder(
        path / "data",
        two=[box_scene(seed, grid_shape=(12 + 4 * seed, 12 - 2 * seed, 8)) for seed in range(2)],
        three=[box_scene(seed, grid_shape=(10 + 2 * seed, 12, 8)) for seed in range(1, 4)],
    )
    result = run_program(sys.executable, "-c", TWO_REPLICAS, str(data), str(path))
    assert result.returncode == 0, result.stderr[-2000:]
    return path


def of_first_step(run_dir):
    """Adam's means of the gradients, 0.1 of the first step's, and of their squares."""
    reader = tf.train.load_checkpoint(str(run_dir / "checkpoints" / "ckpt-1"))
    names = sorted(
        name for name in reader.get_variable_to_shape_map() if "optimizer/_variables/" in name
    )
    return {name: reader.get_tensor(name) for name in names}


def test_the_gradient_of_two_replicas_is_that_of_the_joint_batch(runs):
    """Of scenes of different grids, which share the largest of both in a batch."""
    one, two = (of_first_step(runs / name) for name in ("default", "mirrored"))
    assert one.keys() == two.keys()
    assert len(one) == 2 * 34
    for name, expected in one.items():
        assert expected.any(), name
        np.testing.assert_allclose(
            two[name], expected, rtol=0, atol=1e-5 * np.abs(expected).max(), err_msg=name
        )


@pytest.mark.parametrize(
    "tag", ["loss", "variance", "distance", "regularization", "direction", "ap50"]
)
def test_two_replicas_validate_three_scenes_as_one_does(runs, tag):
    """One of the two would get no scene of the last batch; and all of it again after a restart."""
    (one,), two = (
        logged_values(runs / name, f"epoch_{tag}", "validation") for name in ("default", "mirrored")
    )
    assert len(two) == 2
    assert two[0] == pytest.approx(one, rel=1e-4)


def test_a_run_on_two_replicas_goes_on(runs):
    assert tf.train.latest_checkpoint(str(runs / "mirrored" / "checkpoints")).endswith("ckpt-2")


# --- The choice --------------------------------------------------------------------------------


@pytest.fixture
def three_gpus(monkeypatch):
    """Three GPUs; what is mirrored is the list of the devices' names."""
    names = ["GPU:0", "GPU:1", "GPU:2"]
    gpus = [tf.config.LogicalDevice(name, "GPU") for name in names]
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: gpus)
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda devices: devices)
    return names


@pytest.mark.parametrize(("batch_size", "count"), [(2, 2), (3, 3), (4, 2), (6, 3)])
def test_auto_takes_as_many_gpus_as_share_the_batch_evenly(three_gpus, batch_size, count, caplog):
    with caplog.at_level("WARNING", logger="absl"):
        assert replicas.choose_strategy("auto", batch_size) == three_gpus[:count]
    said = f"trains on {count} of 3 GPUs: no more of them can share --batch_size={batch_size} even"
    assert (said in caplog.text) == (count < 3)


@pytest.mark.parametrize("batch_size", [1, 5])
def test_auto_takes_one_gpu_where_no_more_share_the_batch(three_gpus, batch_size, caplog):
    with caplog.at_level("WARNING", logger="absl"):
        strategy = replicas.choose_strategy("auto", batch_size)
    assert strategy is tf.distribute.get_strategy()
    assert "trains on 1 of 3 GPUs" in caplog.text


def test_mirrored_takes_all_or_says_what_to_do(three_gpus):
    assert replicas.choose_strategy("mirrored", 6) == three_gpus
    with pytest.raises(
        ValueError,
        match="expected a batch_size that 3 replicas can share evenly, found 2; change "
        "--batch_size or give --strategy=auto, which takes fewer",
    ):
        replicas.choose_strategy("mirrored", 2)


def test_without_gpus_there_is_one_device_unless_mirrored_is_asked_for(caplog):
    plain = tf.distribute.get_strategy()
    assert replicas.choose_strategy("default", 2) is plain
    assert replicas.choose_strategy("auto", 2) is plain
    assert caplog.text == ""
    mirrored = replicas.choose_strategy("mirrored", 2)
    assert isinstance(mirrored, tf.distribute.MirroredStrategy)
    assert mirrored.num_replicas_in_sync == 1


@pytest.mark.parametrize(
    "told",
    [
        "",
        "{",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}',
    ],
)
def test_workers_that_nobody_named_are_asked_for(told, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", told)
    sentence = "expected the addresses of all workers, and which of them this one is, in TF_CONFIG"
    with pytest.raises(ValueError, match=f"{sentence}, found '{re.escape(told)}'; docs/dist"):
        replicas.choose_strategy("multiworker", 2)


def test_workers_that_cannot_share_a_batch_are_told(monkeypatch):
    config = {"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    three = types.SimpleNamespace(num_replicas_in_sync=3)
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", lambda: three)
    assert replicas.choose_strategy("multiworker", 6) is three
    with pytest.raises(ValueError, match="expected a batch_size that 3 replicas can share evenly"):
        replicas.choose_strategy("multiworker", 4)


def test_workers_that_start_from_different_checkpoints_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(replicas, "summing", lambda strategy: lambda own: np.array([2, 7]))
    learner = types.SimpleNamespace(step=0, strategy=None)
    sentence = "expected a run folder that all workers share, found 0 steps done here and 3.5 on av"
    with pytest.raises(ValueError, match=f"{tmp_path}: {sentence}"):
        building.restore(learner, str(tmp_path), TrainConfig())


def test_devices_are_told_in_words():
    assert replicas.devices_in_words(tf.distribute.get_strategy()) == "CPU"
