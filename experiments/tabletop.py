"""Real scans of table scenes: `python -m experiments.tabletop --scans_dir=S`

S holds the labelled Kinect scans `learn0.ply` ... `learn44.ply` (label 1 table, 2 object). Makes
what is missing (composed scenes, data folder, models, predictions) and prints AP, AP50 and AP25 of
connected components, FE only and multi-task on the validation scans and on scenes composed of
their objects. Started again, it goes on where it was.
"""

import itertools
import pathlib
from collections.abc import Iterable

from absl import flags

from experiments.running import TITLES, Workplace, encode_markdown, run_program
from mtml_tf import program
from mtml_tf.classes import read_classes
from mtml_tf.scans.preparing import Settings, find_scans

FLAGS = flags.FLAGS

CLASSES = "experiments/tabletop_classes.csv"
VOXEL_SIZE = 0.01
# Each training scan comes so often, turned a little and on another place of the grid each time.
TURNED_COPIES = 8
VALIDATION = [f"learn{i}" for i in (3, 9, 15, 18, 20, 22, 24, 26, 29, 31, 36, 42)]
TRAINED = {
    "fe_only": "experiments/tabletop_fe_only.cfg",
    "multi_task": "experiments/tabletop.cfg",
}
SPLITS = {"val": "validation list", "composed": "composed validation"}


def compose(scans_dir: pathlib.Path, output_dir: pathlib.Path) -> None:
    """Composes scenes of the training scans' objects, and of the validation scans'."""
    training = [path.stem for path in find_scans(scans_dir, exclude_scenes=VALIDATION)]
    for name, settings in {
        "composed_val": ["--num_scenes=40", "--seed=1", f"--scenes={','.join(VALIDATION)}"],
        "composed_train": [
            *("--num_scenes=300", "--seed=2", f"--scenes={','.join(sorted(training))}"),
            *("--min_objects=2", "--max_objects=8", "--scans_per_scene=4"),
        ],
    }.items():
        if not (output_dir / name).exists():
            run_program(
                *("tools/compose_scans.py", f"--input_dir={scans_dir}"),
                *(f"--output_dir={output_dir / name}", *settings),
            )


def prepare(scans_dir: pathlib.Path, composed_dir: pathlib.Path, data_dir: pathlib.Path) -> None:
    """Voxelizes the scans into the splits train, val and composed."""
    from mtml_tf.data.writing import LabelledScene, write_data_folder

    classes = read_classes(CLASSES)
    scans = find_scans(scans_dir, exclude_scenes=VALIDATION)
    turned = [
        Settings(classes, VOXEL_SIZE, origin_jitter_seed=0, turn=30.0, suffix=f"_turned{copy}")
        for copy in range(TURNED_COPIES)
    ]

    def prepared(paths: list[pathlib.Path]) -> Iterable[LabelledScene]:
        return map(Settings(classes, VOXEL_SIZE).voxelize, paths)

    splits: dict[str, Iterable[LabelledScene]] = {
        "train": itertools.chain(
            prepared(find_scans(composed_dir / "composed_train")),
            *(map(settings.voxelize, scans) for settings in turned),
        ),
        "val": prepared(find_scans(scans_dir, VALIDATION)),
        "composed": prepared(find_scans(composed_dir / "composed_val")),
    }
    write_data_folder(data_dir, classes, splits)


def define_flags() -> None:
    """Defines the flags; here, so that other code can import this module beside its like."""
    flags.DEFINE_string("scans_dir", None, "Folder of the labelled scans.")
    flags.DEFINE_string("data_dir", "data/tabletop", "Data folder; made where there is none.")
    flags.DEFINE_string("composed_dir", "data/tabletop_scans", "For the composed scans.")
    flags.DEFINE_string("work_dir", "runs/tabletop", "For models, predictions and the table.")
    flags.DEFINE_string(
        "init_from", "runs/table1", "Toy models to begin with (experiments.table1); empty for none."
    )


def main() -> None:
    """Reads the flags, makes what is missing, prints and writes the table."""
    here = Workplace(pathlib.Path(FLAGS.data_dir), pathlib.Path(FLAGS.work_dir))
    if not here.data_dir.exists():
        scans_dir, composed_dir = pathlib.Path(FLAGS.scans_dir), pathlib.Path(FLAGS.composed_dir)
        compose(scans_dir, composed_dir)
        prepare(scans_dir, composed_dir, here.data_dir)
    run_dirs = {}
    for name, flagfile in TRAINED.items():
        settings = [f"--init_from={FLAGS.init_from}/{name}"] if FLAGS.init_from else []
        run_dirs[name] = here.train(name, flagfile, *settings)

    rows = [["scenes", "method", "AP", "AP50", "AP25"]]
    for split, title in SPLITS.items():
        tables = {
            "connected_components": here.score_connected_components(f"{split}_components", split)
        }
        for name, run_dir in run_dirs.items():
            tables[name] = here.score_model(f"{split}_{name}", run_dir, split)
        for name, table in tables.items():
            average = table.average
            values = [f"{value:.3f}" for value in (average.ap, average.ap50, average.ap25)]
            rows.append([title, TITLES[name], *values])
    text = f"{encode_markdown(rows)}\n"
    print(text)
    here.write_table("tabletop", text, rows)


if __name__ == "__main__":
    define_flags()
    program.run(main, required=["scans_dir"])
