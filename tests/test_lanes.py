"""A checkpoint and a SavedModel of one lane load in the other: another Python, another TensorFlow.

Runs where the environment names the other one's interpreter, as `.ci/run` does where it finds one.
"""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from test_export import assert_equal

OTHER_LANE = os.environ.get("OTHER_LANE", "")
pytestmark = pytest.mark.skipif(
    not OTHER_LANE, reason="OTHER_LANE names no interpreter of the other lane"
)

TESTS = pathlib.Path(__file__).resolve().parent
WRITES = """
import pathlib, sys
from test_export import random_model, write_run
from mtml_tf.inference import exporting
folder, model = pathlib.Path(sys.argv[1]), random_model()
write_run(folder / "run", model)
exporting.write_saved_model(model, folder / "exported")
"""
READS = """
import pathlib, sys
import numpy as np
from test_export import SCENE
from mtml_tf.inference import exporting, models
folder = pathlib.Path(sys.argv[1])
for name, load in (("run", models.load_model), ("exported", exporting.load_saved_model)):
    np.savez(folder / f"{name}-{sys.argv[2]}.npz", *load(folder / name).predict(SCENE))
"""


def call(python, *arguments):
    result = subprocess.run(
        [python, "-c", *map(str, arguments)],
        cwd=TESTS,
        env={**os.environ, "PYTHONPATH": str(TESTS.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]


@pytest.mark.parametrize("writer", [sys.executable, OTHER_LANE], ids=["ours", "theirs"])
def test_what_one_lane_writes_both_read_with_equal_outputs(writer, tmp_path):
    call(writer, WRITES, tmp_path)
    for reader, python in (("ours", sys.executable), ("theirs", OTHER_LANE)):
        call(python, READS, tmp_path, reader)
    found = [np.load(path) for path in sorted(tmp_path.glob("*.npz"))]
    assert len(found) == 4
    for other in found[1:]:
        assert other.files == found[0].files
        for name in other.files:
            assert_equal(other[name], found[0][name])
