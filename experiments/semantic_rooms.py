"""Trains the semantic network on simulated rooms, and scores it there and on real scans.

    python -m experiments.semantic_rooms --rooms_dir=R --scans_dir=S

R is what `tools/make_rooms.py` makes, S a folder of labelled real scans with colours (PLY, metres,
z up). Scores are for scans as they are, as if they had no colours (on geometry alone), and with a
normalisation that adapts to each. Makes what is missing; started again, it goes on where it was.
"""

import pathlib

from absl import flags

from experiments.running import encode_markdown, run_program
from mtml_tf import program
from mtml_tf.scoring.semantic_iou import IouTable
from mtml_tf.semantic.evaluating import evaluate_split

FLAGS = flags.FLAGS

FLAGFILE = "experiments/semantic_rooms.cfg"
SEEN = {
    "colours and geometry": (),
    "geometry alone": ("--ignore_colors",),
    "adapted": ("--adapt=0.5",),
}


def prepare(rooms_dir: str, scans_dir: str, data_dir: pathlib.Path) -> None:
    """Makes the points folders `rooms` (train, val) and, of real scans, `real`."""
    run_program(
        *("tools/prepare_semantic.py", f"--scannet_dir={rooms_dir}", "--splits=train,val"),
        f"--output_dir={data_dir / 'rooms'}",
    )
    if scans_dir:
        run_program(
            *("tools/prepare_semantic.py", f"--input_dir={scans_dir}", "--split=real"),
            *("--classes=scannet20", f"--output_dir={data_dir / 'real'}"),
        )


def score(run_dir: pathlib.Path, data_dir: pathlib.Path, split: str) -> dict[str, IouTable]:
    """Predicts a split in every way of `SEEN`, and scores it."""
    tables = {}
    for seen, settings in SEEN.items():
        output_dir = run_dir / "labels" / split / seen.replace(" ", "_")
        run_program(
            *("-m", "mtml_tf.predict_semantic", f"--run_dir={run_dir}", f"--data_dir={data_dir}"),
            *(f"--split={split}", f"--output_dir={output_dir}", *settings),
        )
        tables[seen] = evaluate_split(output_dir, data_dir, split)
    return tables


def encode_table(tables: dict[str, IouTable]) -> str:
    """Returns a Markdown table: a row a class, a column a table, means last.

    Classes that a table's scenes lack are left out of its mean; those that all lack, altogether.

    Args:
        tables: by the name of their column.
    """
    there = {column: table.confusion.sum(axis=1) > 0 for column, table in tables.items()}
    rows = [["class", *tables]]
    for row, name in enumerate(next(iter(tables.values())).names):
        if any(of_table[row] for of_table in there.values()):
            ious = [
                f"{table.iou[row]:.3f}" if there[column][row] else "-"
                for column, table in tables.items()
            ]
            rows.append([name, *ious])
    means = [f"{table.mean_iou_of_occurring:.3f}" for table in tables.values()]
    right = [f"{table.overall_accuracy:.3f}" for table in tables.values()]
    return encode_markdown([*rows, ["mean", *means], ["vertices that are right", *right]])


def define_flags() -> None:
    """Defines the flags; here, so that other code can import this module beside its like."""
    flags.DEFINE_string("rooms_dir", "data/rooms_raw", "Folder of the rooms (tools/make_rooms.py).")
    flags.DEFINE_string("scans_dir", "", "Folder of labelled real scans; empty for none.")
    flags.DEFINE_string("data_dir", "data/semantic_rooms", "For the points folders.")
    flags.DEFINE_string("run_dir", "runs/semantic_rooms", "For the model and its predictions.")


def main() -> None:
    """Reads the flags, makes what is missing and prints."""
    data_dir, run_dir = pathlib.Path(FLAGS.data_dir), pathlib.Path(FLAGS.run_dir)
    prepare(FLAGS.rooms_dir, FLAGS.scans_dir, data_dir)
    run_program(
        *("-m", "mtml_tf.train_semantic", f"--flagfile={FLAGFILE}"),
        *(f"--data_dir={data_dir / 'rooms'}", f"--run_dir={run_dir}"),
    )
    columns = {}
    for split, title, folder in (("val", "rooms", "rooms"), ("real", "real", "real")):
        if folder == "rooms" or FLAGS.scans_dir:
            for seen, table in score(run_dir, data_dir / folder, split).items():
                columns[f"{title}, {seen}"] = table
    print(encode_table(columns))


if __name__ == "__main__":
    define_flags()
    program.run(main)
