"""Table 1 of the paper: AP50 of the five toy objects. `python -m experiments.table1`

Makes what is missing (scenes, trained models, predictions) and prints our numbers beside the
paper's. Started again, it goes on where it was.
"""

import pathlib

import numpy as np
from absl import flags

from experiments.paper_numbers import TABLE_1
from experiments.running import TITLES, Workplace, encode_markdown, run_program
from mtml_tf import program
from mtml_tf.classes import read_classes
from mtml_tf.scoring.average_precision import ApTable
from mtml_tf.scoring.direction_error import direction_errors

FLAGS = flags.FLAGS

TRAINED = {
    "multi_task": "experiments/toy.cfg",
    "fe_only": "experiments/toy_fe_only.cfg",
    "direction_only": "experiments/toy_direction_only.cfg",
}
# A name of its own, so that it never passes for the fully trained one.
QUICK = {"multi_task_quick": "experiments/quickstart.cfg"}
SPLIT = "test"


def mean_direction_error(data_dir: pathlib.Path, run_dir: pathlib.Path) -> float:
    """Mean angle in degrees over all voxels of the test scenes' objects."""
    from mtml_tf.data import records
    from mtml_tf.inference import models

    model = models.load_model(run_dir)
    errors = [
        direction_errors(model.predict(scene).direction, scene.coordinates, scene.instance_ids)
        for scene in records.DataFolder(data_dir).scenes(SPLIT)
        if scene.instance_ids is not None
    ]
    return float(np.concatenate(errors).mean())


def table_rows(names: list[str], tables: dict[str, ApTable]) -> list[list[str]]:
    """Returns the header and a row for each object and the average: our AP50 and the paper's."""
    rows = [["object"]] + [[name] for name in [*names, "average"]]
    for method, table in tables.items():
        rows[0] += [TITLES[method], "paper"]
        printed_row = TABLE_1[method.removesuffix("_quick")]
        paper = [*printed_row, np.mean(printed_row)]
        for row, ours, printed in zip(
            rows[1:], [*table.ap50, table.average.ap50], paper, strict=True
        ):
            row += [f"{100 * ours:.1f}", f"{printed:.1f}"]
    return rows


def define_flags() -> None:
    """Defines the flags; here, so that other code can import this module beside its like."""
    flags.DEFINE_string("data_dir", "data/toy", "Toy scenes; made where there are none.")
    flags.DEFINE_string("work_dir", "runs/table1", "For models, predictions and the table.")
    flags.DEFINE_bool(
        "quick", False, "Connected components and a briefly trained multi-task model."
    )


def main() -> None:
    """Reads the flags, makes what is missing, prints and writes the table."""
    here = Workplace(pathlib.Path(FLAGS.data_dir), pathlib.Path(FLAGS.work_dir))
    if not here.data_dir.exists():
        run_program("tools/make_toy.py", f"--output_dir={here.data_dir}")
    trained = QUICK if FLAGS.quick else TRAINED
    run_dirs = {name: here.train(name, flagfile) for name, flagfile in trained.items()}

    tables = {
        "connected_components": here.score_connected_components("connected_components", SPLIT)
    }
    for name in ("fe_only", "multi_task", "multi_task_quick"):
        if name in run_dirs:
            tables[name] = here.score_model(name, run_dirs[name], SPLIT)
    here.draw(list(tables)[-1], SPLIT)
    classes = read_classes(here.data_dir / "classes.csv")
    rows = table_rows([classes.name_of(class_id) for class_id in classes.thing_ids], tables)
    text = f"AP50 in percent on the toy test scenes\n\n{encode_markdown(rows)}\n"
    if not FLAGS.quick:
        name = "multi_task_without_direction"
        blind = here.score_model(name, run_dirs["multi_task"], SPLIT, "--direction_weight=0")
        joint, alone = (
            mean_direction_error(here.data_dir, run_dirs[name])
            for name in ("multi_task", "direction_only")
        )
        text += (
            f"\nAverage AP50 of the multi-task model, scored without direction: "
            f"{100 * blind.average.ap50:.1f} "
            f"(with it: {100 * tables['multi_task'].average.ap50:.1f})\n"
            f"\nMean direction error in degrees: multi-task {joint:.2f}, "
            f"direction only {alone:.2f}\n"
        )
    print(text)
    here.write_table("table1", text, rows)


if __name__ == "__main__":
    define_flags()
    program.run(main)
