"""Scores predictions: `python -m mtml_tf.evaluate --prediction_dir=P --ground_truth_dir=G ...`."""

from absl import flags

from mtml_tf import files, program
from mtml_tf.classes import read_classes
from mtml_tf.scoring.folders import evaluate_folder

FLAGS = flags.FLAGS

flags.DEFINE_string("prediction_dir", None, "Folder of predictions in benchmark format.")
flags.DEFINE_string("ground_truth_dir", None, "Folder of ground truth, <scene>.txt each.")
flags.DEFINE_string("classes", "scannet18", "classes.csv, or the name of a built-in class set.")
flags.DEFINE_integer("min_vertices", 100, "Smaller instances are not scored.", lower_bound=0)
flags.DEFINE_string("output_csv", "", "File for the table, as the official program writes it.")
flags.DEFINE_bool("overwrite", False, "Replace an output file that exists.")


def main() -> None:
    """Reads the flags, scores, prints and writes the table."""
    table = evaluate_folder(
        FLAGS.prediction_dir,
        FLAGS.ground_truth_dir,
        read_classes(FLAGS.classes),
        FLAGS.min_vertices,
    )
    print(table.encode_text(), end="")
    if FLAGS.output_csv:
        files.write_text(FLAGS.output_csv, table.encode_csv(), FLAGS.overwrite)


if __name__ == "__main__":
    program.run(main, required=["prediction_dir", "ground_truth_dir"])
