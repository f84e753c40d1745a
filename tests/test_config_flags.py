import dataclasses
import subprocess
import sys

import pytest

from mtml_tf import config, config_flags

PROGRAM = """
import sys
from absl import flags
from mtml_tf import config_flags
from mtml_tf.config import LossConfig, NetworkConfig, SegmentConfig
config_flags.define(NetworkConfig, ["input_channels"])
config_flags.define(LossConfig, as_default=False)
flags.FLAGS(sys.argv)
print(config_flags.read(NetworkConfig, ["input_channels"], input_channels=6))
print(dict(config_flags.read_given(LossConfig)))
"""


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=False
    )


def test_flags_take_the_defaults_of_the_settings():
    network, given = run().stdout.splitlines()
    assert network == str(config.NetworkConfig(input_channels=6))
    assert given == "{}"


def test_values_come_with_their_types():
    network, given = run("--dilations=2,3", "--width=1", "--delta_var=0.25").stdout.splitlines()
    assert network == str(config.NetworkConfig(6, 1.0, (2, 3)))
    assert given == "{'delta_var': 0.25}"


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("--dilations=2", "two dilations"),
        ("--dilations=a,b", "--dilations"),
        ("--width=0", "width"),
    ],
)
def test_a_refused_value_is_a_flag_error(argument, text):
    result = run(argument)
    assert "absl.flags._exceptions.Error" in result.stderr
    assert text in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "config_class",
    [
        config.NetworkConfig,
        config.LossConfig,
        config.DataConfig,
        config.TrainConfig,
        config.SegmentConfig,
    ],
)
def test_every_setting_has_a_help_text_in_its_docstring(config_class):
    helps = config_flags._field_helps(config_class)
    for field in dataclasses.fields(config_class):
        assert len(helps[field.name]) > 5, field.name
