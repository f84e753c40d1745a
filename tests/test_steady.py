"""Tests of experiments.steady."""

import numpy as np
import pytest
from scenes import box_scene, write_folder

from experiments import steady
from mtml_tf.data.records import DataFolder


def test_memory_is_read_on_the_way_and_networks_are_traced_once(tmp_path):
    scenes = [box_scene(seed, grid_shape=(10 + 2 * seed, 12, 8)) for seed in range(4)]
    folder = DataFolder(write_folder(tmp_path / "data", train=scenes))
    model, training, steps_traced = steady.train(folder, "train", 4)
    prediction, traced = steady.predict(model, folder, "train", 4)
    scoring = steady.score(model, folder, "train", 4)
    assert (steps_traced, traced) == (1, 1)
    for marks in (training, prediction, scoring):
        assert len(marks.values) == 3
        assert 50 < min(marks.values) <= max(marks.values) <= marks.peak + 1


def test_a_network_that_is_traced_again_is_counted(tmp_path, monkeypatch):
    scenes = [box_scene(seed, grid_shape=(10 + 2 * seed, 12, 8)) for seed in range(3)]
    folder = DataFolder(write_folder(tmp_path / "data", train=scenes))
    model, _, _ = steady.train(folder, "train", 4)
    network = model.network
    monkeypatch.setattr(type(network), "traced", property(lambda self: self))
    assert steady.predict(model, folder, "train", 4)[1] == 4


def test_memory_that_is_kept_is_growth():
    marks, kept = steady.Marks(8), []
    for _ in range(8):
        kept.append(np.ones(4 << 20))  # 32 MiB
        marks.done()
    title, *memory, growth, peak, traces = marks.row("kept", "1")
    assert (title, traces) == ("kept", "1")
    assert int(growth) == pytest.approx(6 * 32, abs=16)  # of calls 3 to 8
    assert growth.startswith("+")
    assert [int(value) for value in memory] == pytest.approx(marks.values, abs=0.5)
    assert int(peak) >= int(memory[-1]) - 1


def test_marks_come_after_a_quarter_a_half_and_all():
    marks = steady.Marks(20)
    counts = []
    for _ in range(20):
        marks.done()
        counts.append(len(marks.values))
    assert [counts.index(number) + 1 for number in (1, 2, 3)] == steady.marks_of(20) == [5, 10, 20]
