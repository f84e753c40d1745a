"""Trains the network: `python -m mtml_tf.train --flagfile=experiments/toy.cfg`.

Started again with the same run folder, it goes on where it was.
"""

import json
import pathlib
import platform
import sys

from absl import flags

from mtml_tf import files, program
from mtml_tf.config import DataConfig, LossConfig, NetworkConfig, TrainConfig

FLAGS = flags.FLAGS

flags.DEFINE_string("data_dir", None, "Data folder.")
flags.DEFINE_string("run_dir", None, "Run folder: weights, checkpoints, logs.")
flags.DEFINE_string("train_split", "train", "Split to train on.")
flags.DEFINE_string("validation_split", "", "Split to validate on; empty for none.")
flags.DEFINE_integer("validation_scenes", 0, "At most so many scenes for the AP; 0: all.")
flags.DEFINE_integer("ap_every", 5, "Validation AP every so many epochs; 0: never.")
flags.DEFINE_integer("min_vertices", 100, "Smallest ground truth in the validation AP, voxels.")

flags.DEFINE_float("width", 0.5, "Multiplies the network's widths; 0.5 as the authors trained.")
flags.DEFINE_list("dilations", ["7", "7"], "Dilations; 7,7: receptive field 142 voxels.")
flags.DEFINE_integer("embedding_size", 4, "Length of the feature embedding.")

flags.DEFINE_float("delta_var", 0.5, "Radius within which features are not pulled (Eq. 2).")
flags.DEFINE_float("delta_dist", 1.5, "Centres 2 delta_dist apart are not pushed (Eq. 3).")
flags.DEFINE_float("gamma_var", 1.0, "Weight of the variance term (Eq. 1).")
flags.DEFINE_float("gamma_dist", 1.0, "Weight of the distance term (Eq. 1).")
flags.DEFINE_float("gamma_reg", 0.001, "Weight of the regularization term (Eq. 1).")
flags.DEFINE_float("alpha_feature", 0.5, "Weight of the feature loss (Eq. 6); 0: direction only.")
flags.DEFINE_float("alpha_direction", 1.0, "Weight of the direction loss (Eq. 6); 0: FE only.")

flags.DEFINE_integer("batch_size", 2, "Scenes a step, over all replicas.")
flags.DEFINE_bool("flips", True, "Mirror along both horizontal axes at random.")
flags.DEFINE_bool("rotations", True, "Turn about the vertical axis by any angle at random.")
flags.DEFINE_bool("shifts", False, "Move by 0 or 1 voxel along each axis at random.")
flags.DEFINE_integer("seed", 0, "Of initialisation, order and augmentation.")

flags.DEFINE_integer("epochs", 100, "Passes over the training scenes.")
flags.DEFINE_float("learning_rate", 5e-4, "Of Adam.")
flags.DEFINE_enum("decay", "constant", ["constant", "cosine"], "Course of the learning rate.")
flags.DEFINE_integer("checkpoint_every", 500, "A checkpoint every so many steps.")
flags.DEFINE_float("max_minutes", 0.0, "Stop after so many minutes, to be resumed; 0: no limit.")
flags.DEFINE_string("init_from", "", "Run folder whose weights of equal shape are taken.")
flags.DEFINE_enum("execution", "occupied", ["occupied", "dense"], "How the network is computed.")
flags.DEFINE_enum(
    "strategy", "auto", ["auto", "default", "mirrored"], "tf.distribute strategy."
)


def _from_flags(config_class, **given):
    """Makes a configuration of the flags that have its fields' names."""
    names = [name for name in config_class.__dataclass_fields__ if name in FLAGS]
    return config_class(**{**{name: FLAGS[name].value for name in names}, **given})


def _write_run_description(run_dir: str) -> None:
    """Writes the resolved flags and the versions into the run folder."""
    import tensorflow as tf

    import mtml_tf

    path = pathlib.Path(run_dir)
    own = FLAGS.get_key_flags_for_module(sys.argv[0])
    lines = [flag.serialize() for flag in own if flag.value is not None]
    files.write_text(path / "flags.cfg", "\n".join(lines) + "\n", overwrite=True)
    versions = {
        "mtml_tf": mtml_tf.__version__,
        "tensorflow": tf.__version__,
        "python": platform.python_version(),
    }
    files.write_text(path / "versions.json", json.dumps(versions, indent=1), overwrite=True)


def main() -> None:
    """Reads the flags and trains."""
    from mtml_tf.learning import training

    experiment = training.Experiment(
        train_split=FLAGS.train_split,
        network=_from_flags(NetworkConfig, dilations=tuple(int(d) for d in FLAGS.dilations)),
        loss=_from_flags(LossConfig),
        data=_from_flags(DataConfig),
        train=_from_flags(TrainConfig),
        segment={},
    )
    _write_run_description(FLAGS.run_dir)
    training.train(FLAGS.data_dir, FLAGS.run_dir, experiment)


if __name__ == "__main__":
    program.run(main, required=["data_dir", "run_dir"])
