"""Table 2 of the paper: four methods on ScanNet's validation scenes. `python -m experiments.table2`

Makes what is missing (trained models, predictions) and prints AP, AP50 and AP25 of each class,
ours beside the paper's. Works on any data folder, such as simulated rooms; the paper's numbers are
always those for ScanNet. Started again, it goes on where it was: predictions that are there in
`<work_dir>/predictions` are read, so delete those of a model that has changed.
"""

import math
import pathlib
from collections.abc import Mapping

from absl import flags

from experiments.paper_numbers import AVERAGE, TABLE_2
from experiments.running import (
    MIN_VERTICES,
    TITLES,
    RawScenes,
    Workplace,
    encode_markdown,
)
from mtml_tf import program
from mtml_tf.scans import semantic_input
from mtml_tf.scoring.average_precision import ApTable
from mtml_tf.segmentation import baselines

FLAGS = flags.FLAGS

METHODS = tuple(TABLE_2)
ON_MESH = "_on_mesh"
METRICS = ("AP", "AP50", "AP25")


def _decimals(value: float) -> str:
    """Returns three decimals as the paper has them, and a dash where there is nothing to score."""
    return "-" if math.isnan(value) else f"{value:.3f}"


def table_rows(tables: Mapping[str, ApTable]) -> list[list[str]]:
    """Returns the header and a row for each method and class, its average last: what the CSV has.

    Args:
        tables: scores by method.
    """
    rows = [["method", "class", *METRICS, *(f"paper {metric}" for metric in METRICS)]]
    for method, table in tables.items():
        printed = dict(TABLE_2[method.removesuffix(ON_MESH)])
        if not set(printed) <= {*table.names, AVERAGE}:
            del printed[AVERAGE]  # an average over other classes would not compare
        for name, *ours in table.rows():
            paper = printed.get(name, (math.nan,) * len(METRICS))
            rows.append([method, name, *map(_decimals, ours), *map(_decimals, paper)])
    return rows


def encode_tables(tables: Mapping[str, ApTable]) -> str:
    """Returns a Markdown table for each of AP, AP50 and AP25: a row a class, two columns a method.

    Args:
        tables: scores by method, of the same classes each.
    """
    rows = table_rows(tables)[1:]
    names = list(dict.fromkeys(row[1] for row in rows))
    parts = []
    for column, metric in enumerate(METRICS, start=2):
        header = ["class", *(title for method in tables for title in (TITLES[method], "paper"))]
        by_class: dict[str, list[str]] = {name: [name] for name in names}
        for row in rows:
            by_class[row[1]] += [row[column], row[column + len(METRICS)]]
        parts.append(f"{metric}\n\n{encode_markdown([header, *by_class.values()])}\n")
    return "\n".join(parts)


def define_flags() -> None:
    """Defines the flags; here, so that other code can import this module beside its like."""
    flags.DEFINE_string("data_dir", "data/scannet", "Data folder.")
    flags.DEFINE_string("split", "val", "Split to score.")
    flags.DEFINE_string("work_dir", "runs/table2", "For models, predictions and the table.")
    flags.DEFINE_list("methods", list(METHODS), "Methods to score.")
    flags.DEFINE_string("fe_only_run", "", "Run folder of a trained model; else one is trained.")
    flags.DEFINE_string("multi_task_run", "", "Run folder of a trained model; else one is trained.")
    flags.DEFINE_string(
        "fe_only_flagfile", "experiments/scannet_fe_only.cfg", "For training 'FE only'."
    )
    flags.DEFINE_string(
        "multi_task_flagfile", "experiments/scannet.cfg", "For training multi-task."
    )
    flags.DEFINE_string(
        "scannet_dir", "", "The raw scenes; where given, the baselines are scored on meshes too."
    )
    flags.DEFINE_string("semantic_dir", "", "With --scannet_dir: their semantic predictions.")
    flags.DEFINE_enum(
        "scores",
        semantic_input.PROBABILITIES,
        semantic_input.SCORES,
        "With --semantic_dir: as for tools/prepare_scannet.py.",
    )


def score_baseline(
    here: Workplace, method: str, split: str, raw: RawScenes | None
) -> dict[str, ApTable]:
    """Scores one of the two baselines on voxels and, where there are raw scenes, on meshes."""
    name = f"{split}_{method}"
    if method == "segmentation_as_instance":
        tables = {method: here.score_segmentation_as_instance(name, split)}
    else:
        tables = {method: here.score_connected_components(name, split)}
    if raw is not None:
        on_mesh = {
            "segmentation_as_instance": lambda ids, _, things: (
                baselines.segmentation_as_instance_of_vertices(ids, things, MIN_VERTICES)
            ),
            "connected_components": lambda ids, faces, things: (
                baselines.connected_components_of_mesh(ids, faces, things, MIN_VERTICES)
            ),
        }
        tables[method + ON_MESH] = here.score_mesh_baseline(
            name + ON_MESH, on_mesh[method], split, raw
        )
    return tables


def score_network(here: Workplace, method: str, split: str, run: str, flagfile: str) -> ApTable:
    """Scores a trained model; trains it first where no run folder is given and none is there.

    Predictions are named after the run folder too, so that those of another one don't pass for its.
    """
    if run:
        run_dir = pathlib.Path(run)
        return here.score_model(f"{split}_{method}_{run_dir.name}", run_dir, split)
    return here.score_model(f"{split}_{method}", here.train(method, flagfile), split)


def main() -> None:
    """Reads the flags, makes what is missing, prints and writes the table."""
    unknown = sorted(set(FLAGS.methods) - set(METHODS))
    if unknown or not FLAGS.methods:
        raise flags.Error(f"expected --methods among {','.join(METHODS)}, found {unknown}")
    if bool(FLAGS.scannet_dir) != bool(FLAGS.semantic_dir):
        raise flags.Error("expected both --scannet_dir and --semantic_dir, or neither")
    here = Workplace(pathlib.Path(FLAGS.data_dir), pathlib.Path(FLAGS.work_dir))
    raw = None
    if FLAGS.scannet_dir:
        raw = RawScenes(FLAGS.scannet_dir, FLAGS.semantic_dir, FLAGS.scores)
    networks = {
        "fe_only": (FLAGS.fe_only_run, FLAGS.fe_only_flagfile),
        "multi_task": (FLAGS.multi_task_run, FLAGS.multi_task_flagfile),
    }
    tables: dict[str, ApTable] = {}
    for method in METHODS:
        if method not in FLAGS.methods:
            continue
        if method in networks:
            tables[method] = score_network(here, method, FLAGS.split, *networks[method])
        else:
            tables |= score_baseline(here, method, FLAGS.split, raw)
    text = (
        f"{FLAGS.data_dir}, split {FLAGS.split}, beside what the paper prints for ScanNet's "
        f"validation scenes; a dash: no such class, or no ground truth of it\n\n"
        f"{encode_tables(tables)}"
    )
    print(text)
    here.write_table("table2", text, table_rows(tables))


if __name__ == "__main__":
    define_flags()
    program.run(main)
