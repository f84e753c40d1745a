"""Exports a model as SavedModel: `python -m mtml_tf.export --run_dir=R --output_dir=M`.

Writes `M/1/`, which plain TensorFlow loads and TensorFlow Serving serves.
"""

from absl import flags

from mtml_tf import program

FLAGS = flags.FLAGS

flags.DEFINE_string("run_dir", None, "Run folder of a trained model.")
flags.DEFINE_enum(
    "weights",
    "",
    ["", "best", "last"],
    "By default the best where there are any, else the last.",
)
flags.DEFINE_string("output_dir", None, "Folder of versions; the SavedModel is version 1.")
flags.DEFINE_bool("onnx", False, "Write M/1/model.onnx too; needs the package tf2onnx.")
flags.DEFINE_bool("overwrite", False, "Replace a version 1 that exists.")


def main() -> None:
    """Reads the flags and exports."""
    from mtml_tf.inference import exporting, models

    model = models.load_model(FLAGS.run_dir, FLAGS.weights)
    path = exporting.write_saved_model(model, FLAGS.output_dir, FLAGS.overwrite, FLAGS.onnx)
    print(f"{path}: written")


if __name__ == "__main__":
    program.run(main, required=["run_dir", "output_dir"])
