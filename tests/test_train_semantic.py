"""The program that trains the semantic network."""

import subprocess
import sys

import pytest
from semantic_scenes import CLASSES, write_points
from training_runs import latest_step, logged_values

from mtml_tf.semantic.models import load_semantic_model


def train(*flags):
    command = [sys.executable, "-m", "mtml_tf.train_semantic", *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_flags_decide_what_is_trained_and_a_box_is_learned(tmp_path):
    data_dir, run_dir = write_points(tmp_path, 4, 0), tmp_path / "run"
    done = train(
        *(f"--data_dir={data_dir}", f"--run_dir={run_dir}", "--inputs=geometry,color"),
        *("--planes=3", "--num_levels=2", "--voxel_size=0.1", "--batch_size=2", "--epochs=20"),
        "--learning_rate=0.01",
    )
    told = f"{run_dir}: 40 steps done, weights in {run_dir}/last\n"
    assert (done.returncode, done.stdout) == (0, told), done.stderr
    assert "4 scenes, 2 steps an epoch, 0 of 40 steps done, on CPU" in done.stderr
    assert latest_step(run_dir) == 40
    losses = logged_values(run_dir, "epoch_loss")
    assert len(losses) == 20
    assert losses[-1] < 0.2 < losses[0]
    model = load_semantic_model(run_dir)
    assert model.description.classes == CLASSES
    network = model.description.network
    assert (network.inputs, network.planes, network.num_levels) == (("color", "geometry"), 3, 2)
    assert (network.voxel_size, network.num_classes) == (0.1, 2)
    assert "--inputs=geometry,color\n" in (run_dir / "flags.cfg").read_text()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--run_dir=r"], "--data_dir is required"),
        (["--data_dir=d", "--run_dir=r", "--inputs=smell"], "expected inputs among color,geometry"),
    ],
)
def test_wrong_flags_are_wrong_usage(flags, sentence):
    done = train(*flags)
    assert done.returncode == 2
    assert sentence in done.stderr
