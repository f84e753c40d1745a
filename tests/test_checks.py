"""Tests of mtml_tf.training.checks."""

import dataclasses

import pytest
from scenes import box_scene, write_folder
from training_runs import changed, quiet

from mtml_tf.training import run


def test_a_validation_split_that_does_not_fit_is_refused_before_anything_is_written(tmp_path):
    write_folder(tmp_path / "data", train=[box_scene(0)], val=[box_scene(1)])
    (tmp_path / "data" / "ground_truth" / "val" / "scene_001.txt").unlink()
    experiment = changed(epochs=1)
    with pytest.raises(ValueError, match="expected the ground truth of every scene to validate on"):
        run.train(str(tmp_path / "data"), str(tmp_path / "run"), experiment)
    coarse = dataclasses.replace(box_scene(1), voxel_size=0.1)
    write_folder(tmp_path / "other", train=[box_scene(0)], val=[coarse])
    with pytest.raises(ValueError, match=r"found 0 and 0\.1 m; prepare both splits alike"):
        run.train(str(tmp_path / "other"), str(tmp_path / "run"), experiment)
    assert not (tmp_path / "run").exists()


def test_scenes_too_large_for_the_memory_are_refused_before_anything_is_written(tmp_path):
    large = dataclasses.replace(box_scene(1), grid_shape=(40000, 40000, 20))
    write_folder(tmp_path / "data", train=[box_scene(0)], val=[large], large=[box_scene(0), large])
    before = dataclasses.replace(quiet(epochs=1), train_split="large")
    for experiment, batch in ((changed(epochs=1), ""), (before, " in a batch of 2")):
        with pytest.raises(
            ValueError,
            match=rf"scene scene_001{batch}: .*\d{{5}} x \d{{5}} x 2[02] voxels.*--recompute",
        ):
            run.train(str(tmp_path / "data"), str(tmp_path / "run"), experiment)
    assert not (tmp_path / "run").exists()
