"""Tests of mtml_tf.learning.memory: what the network takes, and what there is."""

import pytest

from mtml_tf.config import NetworkConfig
from mtml_tf.learning import memory


def test_memory_grows_with_the_width_and_what_is_kept():
    half, whole = NetworkConfig(), NetworkConfig(width=1.0)
    assert memory.bytes_per_voxel(whole) == 2 * memory.bytes_per_voxel(half)
    assert memory.bytes_per_voxel(half) < memory.bytes_per_voxel(half, "dense")
    training = memory.bytes_per_voxel(half, is_training=True)
    assert training > memory.bytes_per_voxel(half, is_training=True, recompute=True)
    assert training > memory.bytes_per_voxel(half)


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
