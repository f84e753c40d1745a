"""Scores semantic labels: `python -m mtml_tf.evaluate_semantic --prediction_dir=P ...`.

Prints the intersection over union and the accuracy of each class and their averages, by the rules
of the ScanNet semantic benchmark.
"""

import contextlib

from absl import flags

from mtml_tf import files, program
from mtml_tf.semantic.evaluating import evaluate_split

FLAGS = flags.FLAGS

flags.DEFINE_string("prediction_dir", None, "Folder of predictions, <scene>.txt or <scene>.npy.")
flags.DEFINE_string("data_dir", None, "Points folder, of which the true labels are taken.")
flags.DEFINE_string("split", "val", "Which of its splits; each scene needs a prediction.")
flags.DEFINE_string("output_csv", None, "File for the table, a row a class.")
flags.DEFINE_bool("overwrite", False, "Replace an output file that exists.")


def main() -> None:
    """Reads the flags, scores, prints and writes the table."""
    with contextlib.ExitStack() as stack:
        temporary = None
        if FLAGS.output_csv:  # opened first: a file that may not be replaced is told before scoring
            files.check_suffix(FLAGS.output_csv, ".csv")
            files.check_apart(FLAGS.output_csv, [f"{FLAGS.data_dir}/classes.csv"])
            temporary = stack.enter_context(files.writing_file(FLAGS.output_csv, FLAGS.overwrite))
        table = evaluate_split(FLAGS.prediction_dir, FLAGS.data_dir, FLAGS.split)
        if temporary:
            temporary.write_text(table.encode_csv(), encoding="utf-8")
    print(table.encode_text(), end="")


if __name__ == "__main__":
    program.run(main, required=["prediction_dir", "data_dir"])
