"""Tests of mtml_tf.network.memory: what the network takes, and what there is."""

import os
import subprocess
import sys

import pytest

from mtml_tf import backend
from mtml_tf.config import NetworkConfig
from mtml_tf.network import memory

# Adds a call's peak of resident memory; what TensorFlow takes once is taken before.
MEASURED = """
import sys
import numpy as np
from experiments.speed.measuring import _resident_peak
from mtml_tf.backend import tf
from mtml_tf.config import NetworkConfig
from mtml_tf.network.voxel_network import VoxelNetwork

execution, is_training = sys.argv[1], sys.argv[2] == "True"
network = VoxelNetwork(NetworkConfig(20), execution)

@tf.function(input_signature=[{
    "coordinates": tf.TensorSpec([1, None, 3], tf.int32),
    "channels": tf.TensorSpec([1, None], tf.int32),
    "grid_shape": tf.TensorSpec([1, 3], tf.int32),
}])
def call(inputs):
    with tf.GradientTape() as tape:
        loss = tf.add_n([tf.reduce_sum(x * x) for x in network(inputs).values()])
    return tape.gradient(loss, network.dense.trainable_variables) if is_training else loss

def room(*shape):  # floor and walls
    grid = np.zeros(shape, bool)
    grid[:, :, 0] = grid[0] = grid[:, 0] = True
    voxels = np.argwhere(grid).astype(np.int32)
    channels = np.arange(len(voxels), dtype=np.int32) % 20
    inputs = {"coordinates": voxels[None], "channels": channels[None], "grid_shape": [shape]}
    return {name: tf.constant(values, tf.int32) for name, values in inputs.items()}

call(room(16, 16, 16))
inputs = room(96, 96, 32)
with _resident_peak() as peak:
    call(inputs)
print(inputs["coordinates"].shape[1] / (96 * 96 * 32), peak.added / (96 * 96 * 32))
"""


@pytest.mark.parametrize("execution", ["occupied", "dense"])
@pytest.mark.parametrize("is_training", [False, True])
def test_the_estimate_is_about_what_a_call_takes(execution, is_training):
    """With oneDNN: without it TensorFlow's convolutions take up to four times as much."""
    found = subprocess.run(
        [sys.executable, "-c", MEASURED, execution, str(is_training)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": "1"},
    )
    assert found.returncode == 0, found.stderr
    occupancy, measured = map(float, found.stdout.split())
    estimate = memory.bytes_per_voxel(NetworkConfig(20), occupancy, execution, is_training)
    assert estimate / 4 < measured < 2 * estimate


def test_memory_grows_with_the_width_and_with_dense_execution():
    half, whole = NetworkConfig(20), NetworkConfig(20, width=1.0)
    for training in (False, True):
        of_half, of_whole = (
            memory.bytes_per_voxel(each, 0.06, is_training=training) for each in (half, whole)
        )
        assert 1.5 * of_half < of_whole < 2 * of_half
        assert memory.bytes_per_voxel(half, 0.06, "dense", training) > of_half


def test_the_needed_and_the_available_memory_are_told(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 1 << 31)
    memory.check_grid("scene a", (1024, 1024, 2), 0.01, 1024, "cut it")
    with pytest.raises(ValueError, match="scene a: ") as told:
        memory.check_grid("scene a", (1024, 1024, 4), 0.01, 1024, "cut it")
    assert str(told.value) == (
        "scene a: expected a grid that fits into memory, found 1024 x 1024 x 4 voxels of 0.01 m, "
        "which need about 4 GiB where 2 GiB are available; cut it"
    )


GIB = 1 << 30


@pytest.fixture(name="machine")
def fixture_machine(tmp_path, monkeypatch):
    """Files of a machine with 8 GiB available, and no limit yet."""
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "_OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable:  {8 << 20} kB\n")
    return tmp_path


def write_group(folder, limit, used, cached=0, version=2):
    """Writes the files of a control group, sizes in GiB; the limit may be a text."""
    names = [("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")]
    names.append(("memory.max", "memory.current", "inactive_file"))
    limit_name, use, cache = names[version - 1]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / limit_name).write_text(f"{limit if isinstance(limit, str) else int(limit * GIB)}\n")
    (folder / use).write_text(f"{int(used * GIB)}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{cache} {int(cached * GIB)}\nlast 1\n")


@pytest.mark.parametrize(("limit", "expected"), [("max", 8), (4, 3), (1, 0)])
def test_what_a_container_may_still_take_counts(limit, expected, machine):
    """In a container its own group looks like the root."""
    write_group(machine / "cgroup", limit, 1.5, 0.5)
    (machine / "own").write_text("0::/\n")
    assert memory.available_memory() == expected * GIB
    (machine / "own").unlink()  # a system that does not tell
    assert memory.available_memory() == expected * GIB


def test_the_limit_of_the_group_that_the_process_is_in_counts(machine):
    """As `systemd-run --scope -p MemoryMax=2G` or a cluster's scheduler sets it."""
    write_group(machine / "cgroup" / "user.slice" / "run.scope", 2, 0.5)
    write_group(machine / "cgroup" / "user.slice", "max", 3)
    (machine / "own").write_text("0::/user.slice/run.scope\n")
    assert memory.available_memory() == 1.5 * GIB


def test_the_limit_of_a_group_around_it_counts_where_less_is_left_of_it(machine):
    write_group(machine / "cgroup" / "job" / "step" / "task", "max", 0.25)
    write_group(machine / "cgroup" / "job" / "step", 4, 1)
    write_group(machine / "cgroup" / "job", 5, 4)
    (machine / "own").write_text("0::/job/step/task\n")
    assert memory.available_memory() == GIB


@pytest.mark.parametrize("path", ["docker/1", ""])
def test_groups_of_version_1_count_too(path, machine):
    """Seen from the machine, or from within a container, whose folders begin with its own."""
    write_group(machine / "cgroup" / "memory", "9223372036854771712", 6, version=1)
    write_group(machine / "cgroup" / "memory" / path, 4, 2, 0.5, version=1)
    (machine / "own").write_text("9:cpu,cpuacct:/other\n4:hugetlb,memory:/docker/1\n0::/\n")
    assert memory.available_memory() == 2.5 * GIB


def test_where_the_network_runs_on_gpus_the_smallest_memory_counts(machine, monkeypatch):
    write_group(machine / "cgroup", 1, 0)
    limits, used = {"GPU:0": 16 * GIB, "GPU:1": 12 * GIB}, {"GPU:0": 5 * GIB, "GPU:1": 0}
    monkeypatch.setattr(memory, "computes_on_gpu", lambda: True)
    monkeypatch.setattr(memory, "gpu_memory_limits", lambda: limits)
    experimental = memory.tf.config.experimental
    monkeypatch.setattr(experimental, "get_memory_info", lambda name: {"current": used[name]})
    assert memory.available_memory() == 11 * GIB
    with pytest.raises(ValueError, match="which need about 16 GiB where 11 GiB of a GPU are avail"):
        memory.check_grid("scene a", (1024, 1024, 16), 0.01, 1024, "cut it")


def test_a_gpu_that_does_not_tell_its_memory_refuses_nothing(monkeypatch):
    def untold():
        raise RuntimeError("no such device")

    monkeypatch.setattr(memory, "computes_on_gpu", lambda: True)
    monkeypatch.setattr(memory, "gpu_memory_limits", untold)
    memory.check_grid("scene a", (1 << 16, 1 << 16, 1 << 16), 0.01, 1024, "cut it")


def test_without_a_gpu_there_is_no_memory_of_one():
    assert memory.computes_on_gpu() == bool(backend.gpu_memory_limits())


def test_where_a_system_does_not_tell_nothing_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path / "none")
    monkeypatch.setattr(memory, "_OWN_CGROUPS", tmp_path / "none")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "none")
    memory.check_grid("scene a", (1 << 16, 1 << 16, 1 << 16), 0.01, 1024, "cut it")
