"""Trains the network: `python -m mtml_tf.train --flagfile=experiments/toy.cfg`.

Started again with the same run folder, it goes on where it was.
"""

import dataclasses
import pathlib
import sys

from absl import flags, logging

from mtml_tf import config_flags, program
from mtml_tf.config import DataConfig, LossConfig, NetworkConfig, SegmentConfig, TrainConfig

FLAGS = flags.FLAGS

_FROM_DATA = {NetworkConfig: ["input_channels"], SegmentConfig: config_flags.FROM_DATA}
_CONFIGS = (NetworkConfig, LossConfig, DataConfig, TrainConfig, SegmentConfig)
# A run that goes on keeps its method: these, and of TrainConfig the decay. The rest of TrainConfig
# may change: lengths and limits, validation, where and how it is computed; and the learning rate,
# which has to be lowered where the loss is no longer a number.
_KEPT = (NetworkConfig, LossConfig, DataConfig, SegmentConfig)

flags.DEFINE_string("data_dir", None, "Data folder.")
flags.DEFINE_string("run_dir", None, "Run folder: weights, checkpoints, logs.")
flags.DEFINE_string("train_split", "train", "Split to train on.")
for _config in _CONFIGS:
    config_flags.define(_config, _FROM_DATA.get(_config, ()))
flags.adopt_module_key_flags(config_flags)


def main() -> None:
    """Reads the flags and trains."""
    from mtml_tf.training import run

    experiment = run.Experiment(
        FLAGS.train_split,
        config_flags.read(NetworkConfig, _FROM_DATA[NetworkConfig]),
        config_flags.read(LossConfig),
        config_flags.read(DataConfig),
        config_flags.read(TrainConfig),
        config_flags.read_given(SegmentConfig, _FROM_DATA[SegmentConfig]),
    )
    if run.has_begun(FLAGS.run_dir):
        _check_same_settings(pathlib.Path(FLAGS.run_dir))
    try:
        run.train(
            FLAGS.data_dir,
            FLAGS.run_dir,
            experiment,
            before_start=lambda: program.write_run_description(FLAGS.run_dir),
            report=print,
        )
    except KeyboardInterrupt:
        begun = run.has_begun(FLAGS.run_dir)
        goes_on = "goes on from the last checkpoint" if begun else "begins anew"
        print(f"interrupted; the same command {goes_on}", file=sys.stderr)
        sys.exit(program.FAILED)


def _check_same_settings(run_dir: pathlib.Path) -> None:
    """Raises ValueError where a run was begun by another method than the flags name."""
    path = run_dir / program.RUN_FLAGS
    if not path.exists():
        return
    names = ["train_split", "decay"]
    names += [f.name for config in _KEPT for f in dataclasses.fields(config) if f.name in FLAGS]
    change = config_flags.first_change(path, names)
    if change:
        before, now = change
        raise ValueError(
            f"{run_dir}: expected {before} as this run was begun with, found {now}; repeat "
            f"{before} or give another --run_dir"
        )
    change = config_flags.first_change(path, ["learning_rate"])
    if change:
        logging.warning("%s: until now %s, from now on %s", run_dir, *change)


if __name__ == "__main__":
    program.run(main, required=["data_dir", "run_dir"])
