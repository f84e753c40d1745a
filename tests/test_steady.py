"""Tests of experiments.steady."""

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
        assert all(int(value) > 50 for value in marks.values)
