"""Tests of the two lanes' one module."""

import os
import subprocess
import sys

import pytest

from mtml_tf import backend
from mtml_tf.backend import keras


def test_keras_is_version_2():
    assert hasattr(keras.optimizers.legacy, "Adam")
    assert not hasattr(keras, "ops")


def onednn_after(code, **environment):
    """What the variable is after the code, and what was said."""
    kept = {name: value for name, value in os.environ.items() if name != backend.ONEDNN}
    run = subprocess.run(
        [sys.executable, "-c", f"{code}; import os; print(os.environ.get({backend.ONEDNN!r}))"],
        capture_output=True,
        text=True,
        check=False,
        env={**kept, **environment},
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split(), run.stderr


def test_onednn_is_on_when_tensorflow_is_imported():
    """TensorFlow reads the variable at that moment, so it is read where the import starts."""
    code = """
import os, sys
class Finder:
    def find_spec(self, name, *_):
        if name == "tensorflow":
            print(os.environ.get("TF_ENABLE_ONEDNN_OPTS"))
            sys.meta_path.remove(self)
sys.meta_path.insert(0, Finder())
from mtml_tf import backend; print(backend.ONEDNN_CAME_LATE)"""
    assert onednn_after(code)[0] == ["1", "False", "1"]


def test_what_the_user_says_of_onednn_holds():
    code = "from mtml_tf import backend; print(backend.ONEDNN_CAME_LATE)"
    assert onednn_after(code, TF_ENABLE_ONEDNN_OPTS="0")[0] == ["False", "0"]


@pytest.mark.parametrize("early", [True, False])
def test_onednn_that_came_too_late_is_told_once(early):
    """TensorFlow's own default may be on here, so a function refuses in its place."""
    code = f"""
{"import tensorflow" if early else ""}
from mtml_tf.network import architecture
def refuse(*_, **__):
    raise architecture.tf.errors.InvalidArgumentError(None, None, "dilated rates of 1")
architecture.tf.nn.conv3d = refuse
for _ in range(2):
    architecture._dilates_natively(architecture.tf.float32)"""
    said = onednn_after(code)[1]
    sentence = "import mtml_tf before TensorFlow, or set TF_ENABLE_ONEDNN_OPTS=1: TensorFlow was"
    assert said.count(sentence) == early


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("tf.__version__ = '2.13.0'", "expected TensorFlow 2.15 or newer, found 2.13.0; install"),
        (
            "import types; sys.modules['new'] = types.SimpleNamespace(__version__='3.1.0'); "
            "tf.keras.Model.__module__ = 'new.models'",
            "expected Keras 2, found 3.1.0 in TensorFlow",
        ),
    ],
)
def test_an_unsupported_pair_is_refused_in_a_sentence(change, sentence):
    code = f"import sys; from mtml_tf import backend; tf = backend.tf; {change}; "
    code += "backend._check_versions()"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert sentence in run.stderr
