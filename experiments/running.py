"""What the programs that print tables share: make what is missing, score it, lay out a table.

Everything is made by the program that a user would call, so that each step can be repeated by hand.
"""

import dataclasses
import pathlib
import subprocess
import sys
from collections.abc import Sequence

from mtml_tf import files
from mtml_tf.classes import read_classes
from mtml_tf.scoring.average_precision import ApTable
from mtml_tf.scoring.folders import evaluate_folder

TITLES = {
    "connected_components": "Connected comp.",
    "fe_only": "FE only",
    "multi_task": "Multi-task",
    "multi_task_quick": "Multi-task, briefly trained",
}


def run_program(*command: str) -> None:
    """Runs one of our programs; its log goes to stderr. Raises ValueError where it fails."""
    print(f"$ python {' '.join(command)}", file=sys.stderr, flush=True)
    if subprocess.run([sys.executable, *command], check=False).returncode:
        raise ValueError(f"python {' '.join(command)}: failed, as told above")


@dataclasses.dataclass(frozen=True)
class Workplace:
    """Where an experiment finds its scenes and keeps what it makes.

    Attributes:
        data_dir: data folder.
        work_dir: for models (`<name>/`), predictions (`predictions/<name>/`) and tables.
    """

    data_dir: pathlib.Path
    work_dir: pathlib.Path

    def train(self, name: str, flagfile: str, *settings: str) -> pathlib.Path:
        """Trains a model, or goes on with it, unless that is done; returns its run folder."""
        run_dir = self.work_dir / name
        if not (run_dir / "last" / "weights.index").exists():
            run_program(
                *("-m", "mtml_tf.train", f"--flagfile={flagfile}", *settings),
                *(f"--data_dir={self.data_dir}", f"--run_dir={run_dir}"),
            )
        return run_dir

    def score_model(self, name: str, run_dir: pathlib.Path, split: str, *settings: str) -> ApTable:
        """Predicts a split unless that is done, and scores it."""
        output_dir = self.work_dir / "predictions" / name
        if not output_dir.exists():
            run_program(
                *("-m", "mtml_tf.predict", f"--run_dir={run_dir}", f"--data_dir={self.data_dir}"),
                *(f"--split={split}", f"--output_dir={output_dir}", *settings),
            )
        return self.score(output_dir, split)

    def score_connected_components(self, name: str, split: str) -> ApTable:
        """Writes the baseline's instances of a split as predictions, and scores them."""
        from mtml_tf.learning import prediction, records
        from mtml_tf.segmentation.baselines import connected_components

        output_dir = self.work_dir / "predictions" / name
        if not output_dir.exists():
            folder = records.DataFolder(self.data_dir)
            things = folder.classes.thing_ids
            prediction.write_instances(
                ((scene, connected_components(scene, things)) for scene in folder.scenes(split)),
                output_dir,
            )
        return self.score(output_dir, split)

    def score(self, prediction_dir: pathlib.Path, split: str) -> ApTable:
        """Scores predictions of a split."""
        classes = read_classes(self.data_dir / "classes.csv")
        return evaluate_folder(prediction_dir, self.data_dir / "ground_truth" / split, classes)

    def draw(self, name: str, split: str) -> None:
        """Draws scenes of a split with the predictions `name` into `pictures/`, unless done."""
        output_dir = self.work_dir / "pictures"
        if not output_dir.exists():
            run_program(
                *("-m", "experiments.figures", f"--data_dir={self.data_dir}", f"--split={split}"),
                f"--prediction_dir={self.work_dir / 'predictions' / name}",
                f"--output_dir={output_dir}",
            )

    def write_table(self, name: str, text: str, rows: Sequence[Sequence[str]]) -> None:
        """Writes `<name>.md` and `<name>.csv`; they are made of files that stay, so replaced."""
        csv = "\n".join(",".join(row) for row in rows) + "\n"
        files.write_text(self.work_dir / f"{name}.md", text, overwrite=True)
        files.write_text(self.work_dir / f"{name}.csv", csv, overwrite=True)


def encode_markdown(rows: Sequence[Sequence[str]]) -> str:
    """Returns rows as a Markdown table; the first one is the header."""
    rule = ["---", *["---:"] * (len(rows[0]) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], rule, *rows[1:]])
