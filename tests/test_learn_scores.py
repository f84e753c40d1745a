"""Tests of experiments.learn_scores, on boxes."""

import subprocess
import sys

import numpy as np
import pytest
from scenes import CLASSES, box_scene, write_folder

from experiments import learn_scores
from mtml_tf.config import NetworkConfig, SegmentConfig
from mtml_tf.inference import models
from mtml_tf.network.voxel_network import VoxelNetwork


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A data folder of boxes, one twice, and the run folder of a model that was never trained."""
    folder = tmp_path_factory.mktemp("learn")
    again = box_scene(0, "scene_000_predicted")
    write_folder(folder / "data", train=[*(box_scene(seed) for seed in range(6)), again])
    config = models.ModelConfig(
        NetworkConfig(3, width=1 / 16), SegmentConfig(CLASSES.thing_ids), CLASSES, 0.05, True
    )
    models.write_model_config(folder / "run", config)
    models.write_weights(folder / "run", models.LAST, VoxelNetwork(config.network))
    return folder


def run(place, *arguments):
    return subprocess.run(
        [
            *(sys.executable, "-m", "experiments.learn_scores", f"--data_dir={place / 'data'}"),
            *(f"--run_dir={place / 'run'}", *arguments),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_iou_is_that_with_the_best_instance():
    instance_ids = np.array([0, 0, 1, 1, 1, 2])
    proposals = [np.array(rows, np.int32) for rows in ([2, 3, 4], [1, 2, 3], [0, 1], [4, 5])]
    found = learn_scores.best_ious(proposals, instance_ids)
    np.testing.assert_allclose(found, [1, 2 / 4, 0, 1 / 2])


def test_a_new_run_has_the_trees_and_uses_them_where_that_is_asked_for(place):
    before = (place / "run" / "model.json").read_bytes()
    done = run(place, f"--output_dir={place / 'learned'}", "--use")
    assert done.returncode == 0, done.stderr
    assert "proposals of 6 scenes" in done.stdout
    assert "| learned | " in done.stdout
    assert (place / "run" / "model.json").read_bytes() == before
    model = models.load_model(place / "learned")
    assert model.config.segment.learned_score
    scene = box_scene(9)
    learned = [instance.score for instance in model.segment(scene)]
    formula = [i.score for i in model.with_settings(learned_score=False).segment(scene)]
    assert learned
    assert learned == sorted(learned, reverse=True)
    assert learned != formula
    assert formula == [i.score for i in models.load_model(place / "run").segment(scene)]
    again = run(place, f"--output_dir={place / 'learned'}")
    assert again.returncode == 1
    assert "exists already" in again.stderr


def test_a_run_is_changed_only_where_that_is_asked_for(place):
    before = (place / "run" / "model.json").read_bytes()
    done = run(place)
    assert done.returncode == 2
    assert "expected --output_dir, or --overwrite to change the run" in done.stderr
    assert (place / "run" / "model.json").read_bytes() == before
    assert run(place, "--overwrite").returncode == 0
    segment = models.read_model_config(place / "run").segment
    assert segment.score_trees is not None
    assert not segment.learned_score
    (place / "run" / "model.json").write_bytes(before)


def test_scores_without_trees_are_refused():
    with pytest.raises(ValueError, match=r"expected a model with a learned score .* found none"):
        SegmentConfig(thing_ids=(1,), learned_score=True)
