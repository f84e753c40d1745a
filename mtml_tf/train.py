"""Trains the network: `python -m mtml_tf.train --flagfile=experiments/toy.cfg`.

Started again with the same run folder, it goes on where it was.
"""

import sys

from absl import flags

from mtml_tf import config_flags, program
from mtml_tf.config import DataConfig, LossConfig, NetworkConfig, SegmentConfig, TrainConfig

FLAGS = flags.FLAGS

_FROM_DATA = {
    NetworkConfig: ["input_channels", "num_labels"],
    SegmentConfig: config_flags.FROM_DATA,
}
_CONFIGS = (NetworkConfig, LossConfig, DataConfig, TrainConfig, SegmentConfig)

flags.DEFINE_string("data_dir", None, "Data folder.")
flags.DEFINE_string("run_dir", None, "Run folder: weights, checkpoints, logs.")
flags.DEFINE_string("train_split", "train", "Split to train on.")
for _config in _CONFIGS:
    config_flags.define(_config, _FROM_DATA.get(_config, ()))
flags.adopt_module_key_flags(config_flags)


def main() -> None:
    """Reads the flags and trains."""
    from mtml_tf.training import run, run_folder

    experiment = run.Experiment(
        FLAGS.train_split,
        config_flags.read(NetworkConfig, _FROM_DATA[NetworkConfig]),
        config_flags.read(LossConfig),
        config_flags.read(DataConfig),
        config_flags.read(TrainConfig),
        config_flags.read_given(SegmentConfig, _FROM_DATA[SegmentConfig]),
    )
    try:
        run.train(
            FLAGS.data_dir,
            FLAGS.run_dir,
            experiment,
            before_start=lambda: program.write_run_description(FLAGS.run_dir),
            report=print,
        )
    except KeyboardInterrupt:
        begun = run_folder.has_begun(FLAGS.run_dir)
        goes_on = "goes on from the last checkpoint" if begun else "begins anew"
        print(f"interrupted; the same command {goes_on}", file=sys.stderr)
        sys.exit(program.FAILED)


if __name__ == "__main__":
    program.run(main, required=["data_dir", "run_dir"])
