import pathlib
import subprocess
import sys

import numpy as np
import pytest

from experiments.scan_rows import towards_viewer

ROOT = pathlib.Path(__file__).resolve().parent.parent


def test_walls_towards_the_viewer_are_those_at_high_x_and_low_y():
    vertices = np.array([[0, 0, 0], [5, 5, 0], [0, 5, 0], [5, 0, 0], [2, 2, 0]], float)
    np.testing.assert_array_equal(towards_viewer(vertices), [True, True, False, True, False])


@pytest.mark.parametrize("module", ["experiments.figure6", "experiments.figure7"])
def test_a_picture_that_exists_is_refused_before_the_model_is_read(module, tmp_path):
    picture = tmp_path / "figure.png"
    picture.write_text("mine")
    command = [sys.executable, "-m", module, f"--output_png={picture}", "--run_dir=missing"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{picture}: exists already" in done.stderr
    assert picture.read_text() == "mine"
