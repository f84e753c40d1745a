"""Trains the semantic network.

    python -m mtml_tf.train_semantic --flagfile=experiments/semantic_scannet.cfg

Started again with the same run folder, it goes on where it was.
"""

import sys

from absl import flags

from mtml_tf import config_flags, program
from mtml_tf.semantic.config import SemanticDataConfig, SemanticNetworkConfig, SemanticTrainConfig

FLAGS = flags.FLAGS

_FROM_DATA = ["num_classes"]

flags.DEFINE_string("data_dir", None, "Points folder, of tools/prepare_semantic.py.")
flags.DEFINE_string("run_dir", None, "Run folder: weights, checkpoints, logs.")
flags.DEFINE_string("train_split", "train", "Split to train on.")
config_flags.define(SemanticNetworkConfig, _FROM_DATA)
config_flags.define(SemanticDataConfig)
config_flags.define(SemanticTrainConfig)
flags.adopt_module_key_flags(config_flags)


def main() -> None:
    """Reads the flags and trains."""
    network = config_flags.read(SemanticNetworkConfig, _FROM_DATA)
    data = config_flags.read(SemanticDataConfig)
    train = config_flags.read(SemanticTrainConfig)
    from mtml_tf.semantic import training

    experiment = training.SemanticExperiment(FLAGS.train_split, network, data, train)
    try:
        training.train_semantic(
            FLAGS.data_dir,
            FLAGS.run_dir,
            experiment,
            before_start=program.write_run_description,
            report=print,
        )
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        sys.exit(program.FAILED)


if __name__ == "__main__":
    program.run(main, required=["data_dir", "run_dir"])
