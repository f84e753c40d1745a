"""Table 1 of the paper: AP50 of the five toy objects. `python -m experiments.table1`

Makes what is missing (scenes, trained models, predictions), each by the program that a user would
call, and prints our numbers beside the paper's. Started again, it goes on where it was.
"""

import pathlib
import subprocess
import sys

import numpy as np
from absl import flags

from experiments.paper_numbers import TABLE_1
from mtml_tf import files, program
from mtml_tf.classes import ClassSet
from mtml_tf.scoring.average_precision import ApTable
from mtml_tf.scoring.direction_error import direction_errors
from mtml_tf.scoring.folders import evaluate_folder

FLAGS = flags.FLAGS

flags.DEFINE_string("data_dir", "data/toy", "Toy scenes; made where there are none.")
flags.DEFINE_string("work_dir", "runs/table1", "For models, predictions and the table.")
flags.DEFINE_bool("overwrite", False, "Replace a table that exists.")
flags.DEFINE_bool("quick", False, "Connected components and a briefly trained multi-task model only.")

TITLES = {
    "connected_components": "Connected comp.",
    "fe_only": "FE only",
    "multi_task": "Multi-task",
}
# Trained by these flagfiles.
TRAINED = {
    "multi_task": "experiments/toy.cfg",
    "fe_only": "experiments/toy_fe_only.cfg",
    "direction_only": "experiments/toy_direction_only.cfg",
}
QUICK = {"multi_task": "experiments/quickstart.cfg"}
SPLIT = "test"


def run_program(*command: str) -> None:
    """Runs one of our programs; its log goes to stderr. Raises ValueError where it fails."""
    print(f"$ python {' '.join(command)}", file=sys.stderr, flush=True)
    if subprocess.run([sys.executable, *command], check=False).returncode:
        raise ValueError(f"python {' '.join(command)}: failed, as told above")


def train_model(name: str, flagfile: str) -> pathlib.Path:
    """Trains a model unless that is done; returns its run folder."""
    run_dir = pathlib.Path(FLAGS.work_dir) / name
    if not (run_dir / "last" / "weights.index").exists():
        run_program(
            *("-m", "mtml_tf.train", f"--flagfile={flagfile}"),
            *(f"--data_dir={FLAGS.data_dir}", f"--run_dir={run_dir}"),
        )
    return run_dir


def score_model(name: str, run_dir: pathlib.Path, *settings: str) -> ApTable:
    """Predicts the test scenes unless that is done, and scores them."""
    output_dir = pathlib.Path(FLAGS.work_dir) / "predictions" / name
    if not output_dir.exists():
        run_program(
            *("-m", "mtml_tf.predict", f"--run_dir={run_dir}", f"--data_dir={FLAGS.data_dir}"),
            *(f"--split={SPLIT}", f"--output_dir={output_dir}", *settings),
        )
    return score_folder(output_dir)


def score_connected_components() -> ApTable:
    """Writes the baseline's instances as predictions, and scores them."""
    from mtml_tf.learning import prediction, records
    from mtml_tf.segmentation.baselines import connected_components

    output_dir = pathlib.Path(FLAGS.work_dir) / "predictions" / "connected_components"
    if not output_dir.exists():
        folder = records.DataFolder(FLAGS.data_dir)
        things = folder.classes.thing_ids
        prediction.write_instances(
            ((scene, connected_components(scene, things)) for scene in folder.scenes(SPLIT)),
            output_dir,
        )
    return score_folder(output_dir)


def score_folder(prediction_dir: pathlib.Path) -> ApTable:
    """Scores predictions of the test scenes."""
    truth_dir = pathlib.Path(FLAGS.data_dir) / "ground_truth" / SPLIT
    return evaluate_folder(prediction_dir, truth_dir, _classes())


def mean_direction_error(run_dir: pathlib.Path) -> float:
    """Mean angle in degrees over all voxels of the test scenes' objects."""
    from mtml_tf.learning import models, records

    model = models.load_model(run_dir)
    errors = [
        direction_errors(model.predict(scene)[1], scene.coordinates, scene.instance_ids)
        for scene in records.DataFolder(FLAGS.data_dir).scenes(SPLIT)
    ]
    return float(np.concatenate(errors).mean())


def _classes() -> ClassSet:
    from mtml_tf.classes import read_classes

    return read_classes(pathlib.Path(FLAGS.data_dir) / "classes.csv")


def table_rows(tables: dict[str, ApTable]) -> list[list[str]]:
    """Returns the header and a row for each object and the average: ours and the paper's AP50."""
    header = ["object"]
    for name in tables:
        header += [TITLES[name], "paper"]
    rows = [header]
    names = [_classes().name_of(class_id) for class_id in _classes().thing_ids]
    for position, name in enumerate(names):
        row = [name]
        for method, table in tables.items():
            row += [f"{100 * table.ap50[position]:.1f}", f"{TABLE_1[method][position]:.1f}"]
        rows.append(row)
    average = ["average"]
    for method, table in tables.items():
        average += [f"{100 * table.average.ap50:.1f}", f"{np.mean(TABLE_1[method]):.1f}"]
    return [*rows, average]


def encode_markdown(rows: list[list[str]]) -> str:
    """Returns rows as a Markdown table."""
    lines = [" | ".join(row) for row in rows]
    rule = " | ".join(["---", *["---:"] * (len(rows[0]) - 1)])
    return "\n".join(f"| {line} |" for line in [lines[0], rule, *lines[1:]])


def main() -> None:
    """Reads the flags, makes what is missing, prints and writes the table."""
    if not pathlib.Path(FLAGS.data_dir).exists():
        run_program("tools/make_toy.py", f"--output_dir={FLAGS.data_dir}")
    run_dirs = {
        name: train_model(name, flagfile)
        for name, flagfile in (QUICK if FLAGS.quick else TRAINED).items()
    }
    tables = {"connected_components": score_connected_components()}
    if "fe_only" in run_dirs:
        tables["fe_only"] = score_model("fe_only", run_dirs["fe_only"])
    tables["multi_task"] = score_model("multi_task", run_dirs["multi_task"])
    rows = table_rows(tables)
    text = "AP50 in percent on the toy test scenes\n\n" + encode_markdown(rows) + "\n"
    if not FLAGS.quick:
        undirected = score_model(
            "multi_task_without_direction", run_dirs["multi_task"], "--direction_weight=0"
        )
        joint, alone = (mean_direction_error(run_dirs[n]) for n in ("multi_task", "direction_only"))
        text += (
            f"\nMulti-task model, scored without direction: average AP50 "
            f"{100 * undirected.average.ap50:.1f} (with: {100 * tables['multi_task'].average.ap50:.1f})\n"
            f"Mean direction error: multi-task {joint:.2f} degrees, direction only {alone:.2f}\n"
        )
    print(text)
    work_dir = pathlib.Path(FLAGS.work_dir)
    csv = "\n".join(",".join(row) for row in rows) + "\n"
    files.write_text(work_dir / "table1.md", text, overwrite=True)
    files.write_text(work_dir / "table1.csv", csv, overwrite=True)


if __name__ == "__main__":
    program.run(main)
