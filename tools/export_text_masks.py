"""Writes compact masks as the benchmark's text files, a line for each vertex and mask."""

from absl import flags

from mtml_tf import program
from mtml_tf.scoring import folders

FLAGS = flags.FLAGS

flags.DEFINE_string("prediction_dir", None, "Folder of predictions with compact masks.")
flags.DEFINE_string("output_dir", None, "Folder in benchmark format; it appears whole.")
flags.DEFINE_bool("overwrite", False, "Replaces a folder of predictions that exists.")


def main() -> None:
    """Reads the flags and exports."""
    count = folders.export_text(FLAGS.prediction_dir, FLAGS.output_dir, FLAGS.overwrite)
    print(f"{FLAGS.prediction_dir}: {count} scenes as text, in {FLAGS.output_dir}")


if __name__ == "__main__":
    program.run(main, required=["prediction_dir", "output_dir"])
