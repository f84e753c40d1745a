"""Tests of mtml_tf.network.memory: what the network takes, and what there is."""

import pytest

from mtml_tf.config import NetworkConfig
from mtml_tf.network import memory

# What a call was measured to add at half width, bytes for each voxel of the grid; rooms 160 or 200
# voxels wide and 16 to 64 high, one scene: occupied, channels, forward, training, recomputed.
MEASURED = [
    (0.03, 20, 280, 881, 475),
    (0.06, 20, 264, 1360, 872),
    (0.12, 20, 258, 2055, 1471),
    (0.08, 20, 299, 1530, 1025),
    (0.15, 20, 282, 2563, 1800),
    (0.06, 512, 871, 3760, 3475),
    (0.06, 128, 363, 1899, 1467),
]


@pytest.mark.parametrize(("occupancy", "channels", "forward", "training", "recomputed"), MEASURED)
def test_the_estimate_is_no_less_and_little_more_than_what_was_measured(
    occupancy, channels, forward, training, recomputed
):
    network = NetworkConfig(channels)
    for measured, how, most in (
        (forward, {}, 2),
        (training, {"is_training": True}, 1.2),
        (recomputed, {"is_training": True, "recompute": True}, 1.3),
    ):
        estimate = memory.bytes_per_voxel(network, occupancy, **how)
        assert measured <= estimate <= most * measured


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


def test_the_available_memory_is_that_of_a_computer():
    assert 1 << 27 < memory.available_memory() < 1 << 50


@pytest.mark.parametrize(
    ("limit", "expected"), [("max", 8 << 30), (str(4 << 30), 3 << 30), (str(1 << 30), 0)]
)
def test_what_a_container_may_still_take_counts(limit, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable:  {8 << 20} kB\n")
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text(f"{3 << 29}\n")
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {1 << 29}\n")
    assert memory.available_memory() == expected


def test_where_a_system_does_not_tell_nothing_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_CGROUP", tmp_path / "none")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "none")
    memory.check_grid("scene a", (1 << 16, 1 << 16, 1 << 16), 0.01, 1024, "cut it")
