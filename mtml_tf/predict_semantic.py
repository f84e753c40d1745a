"""Predicts the class of every vertex.

    python -m mtml_tf.predict_semantic --run_dir=R --data_dir=D --split=val --output_dir=P

Writes what `tools/prepare_scannet.py --semantic_dir` and `mtml_tf.predict --labels` read. Of a run
with folds, a training scene is predicted by the network that never saw it. Started again with the
same settings, it makes only what is missing.
"""

from absl import flags

from mtml_tf import config_flags, program
from mtml_tf.engines import Engine

FLAGS = flags.FLAGS

flags.DEFINE_string("run_dir", None, "Run folder of mtml_tf.train_semantic.")
flags.DEFINE_string("model", None, "A semantic model of the package instead of --run_dir.")
flags.DEFINE_string("data_dir", None, "Points folder, of tools/prepare_semantic.py.")
flags.DEFINE_string("split", "val", "Split of the points folder.")
flags.DEFINE_string("output_dir", None, "Folder for the predictions.")
flags.DEFINE_enum(
    "write",
    "ids",
    ["ids", "probabilities"],
    "A class id in each line (the benchmark's format), or all probabilities (.npy).",
)
flags.DEFINE_integer(
    "views", 3, "Turned and moved views, whose logits are summed; as many times as long.", 1
)
flags.DEFINE_bool("ignore_colors", False, "Take scans as if they had no colours.")
flags.DEFINE_float(
    "adapt",
    0.0,
    "Share, 0 to 1, of each scan's own statistics in those that the network normalises by; 0.5 for "
    "scans unlike those that it learned from. Takes up to twice as long.",
    lower_bound=0,
    upper_bound=1,
)
flags.DEFINE_integer("num_workers", 1, "Processes; 0 for one a core.", lower_bound=0)
config_flags.define(Engine, leave_out=["num_workers"])
flags.DEFINE_bool("overwrite", False, "Replace what is in the output folder, all of it.")
flags.adopt_module_key_flags(config_flags)


def main() -> None:
    """Reads the flags and predicts."""
    if (FLAGS.run_dir is None) == (FLAGS.model is None):
        raise flags.Error("expected either --run_dir or --model")
    from mtml_tf.semantic import predicting

    source = predicting.SemanticSource(
        FLAGS.run_dir or FLAGS.model, FLAGS.views, FLAGS.ignore_colors, FLAGS.adapt
    )
    print(
        predicting.predict_split(
            *(source, FLAGS.data_dir, FLAGS.split, FLAGS.output_dir, FLAGS.write),
            *(config_flags.read(Engine), FLAGS.overwrite),
        )
    )


if __name__ == "__main__":
    program.run(main, required=["data_dir", "output_dir"])
