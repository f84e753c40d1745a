"""Exports a semantic model: `python -m mtml_tf.export_semantic --run_dir=R --output_dir=E`.

Writes `E/1/`, a SavedModel which plain TensorFlow loads and TensorFlow Serving serves.
"""

from absl import flags

from mtml_tf import program

FLAGS = flags.FLAGS

flags.DEFINE_string("run_dir", None, "Run folder of mtml_tf.train_semantic, of one network.")
flags.DEFINE_string("model", None, "A semantic model of the package instead of --run_dir.")
flags.DEFINE_string("output_dir", None, "Folder of versions; the SavedModel is version 1.")
flags.DEFINE_bool("overwrite", False, "Replace a version 1 that exists.")


def main() -> None:
    """Reads the flags and exports."""
    if (FLAGS.run_dir is None) == (FLAGS.model is None):
        raise flags.Error("expected either --run_dir or --model")
    from mtml_tf.semantic import exporting

    model = exporting.load_for_export(FLAGS.run_dir or FLAGS.model)
    path = exporting.write_semantic_saved_model(model, FLAGS.output_dir, FLAGS.overwrite)
    print(f"{path}: written")


if __name__ == "__main__":
    program.run(main, required=["output_dir"])
