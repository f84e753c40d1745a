"""Scores predictions: `python -m mtml_tf.evaluate --prediction_dir=P --ground_truth_dir=G ...`.

Prints AP, AP50 and AP25 of each class and their averages, by the rules of the ScanNet benchmark.
With --explain, also how many objects of each class were found, taken for another class, merged,
split or missed, and how many predictions were matches, duplicates, ignored, of the wrong class or
false; `mtml_tf/scoring/explain.py` says exactly when.
"""

import contextlib

from absl import flags

from mtml_tf import files, program
from mtml_tf.classes import read_classes
from mtml_tf.scoring.folders import evaluate_folder, explain_folder

FLAGS = flags.FLAGS

flags.DEFINE_string("prediction_dir", None, "Folder of predictions in benchmark format.")
flags.DEFINE_string("ground_truth_dir", None, "Folder of ground truth, <scene>.txt each.")
flags.DEFINE_string("classes", None, "scannet18, or the classes.csv of the data folder.")
flags.DEFINE_integer(
    "min_vertices",
    100,
    "Smaller predictions are left out, smaller ground truths need not be found.",
    lower_bound=0,
)
flags.DEFINE_string("output_csv", None, "File for the table, laid out as the official program's.")
flags.DEFINE_bool(
    "explain", False, "Also counts, for each class, what became of objects and predictions."
)
flags.DEFINE_bool("overwrite", False, "Replace an output file that exists.")


def main() -> None:
    """Reads the flags, scores, prints and writes the table."""
    classes = read_classes(FLAGS.classes)
    folders = FLAGS.prediction_dir, FLAGS.ground_truth_dir
    if FLAGS.output_csv:
        files.check_suffix(FLAGS.output_csv, ".csv")
        files.check_apart(FLAGS.output_csv, [FLAGS.classes])
    with contextlib.ExitStack() as stack:
        temporary = None
        if FLAGS.output_csv:  # opened first: a file that may not be replaced is told before scoring
            temporary = stack.enter_context(files.writing_file(FLAGS.output_csv, FLAGS.overwrite))
        explanation = None
        if FLAGS.explain:
            table, explanation = explain_folder(*folders, classes, FLAGS.min_vertices)
        else:
            table = evaluate_folder(*folders, classes, FLAGS.min_vertices)
        if temporary:
            temporary.write_text(table.encode_csv(), encoding="utf-8")
    print(table.encode_text(), end="")
    if explanation:
        print(f"\n{explanation.encode_text()}", end="")


if __name__ == "__main__":
    program.run(main, required=["prediction_dir", "ground_truth_dir", "classes"])
