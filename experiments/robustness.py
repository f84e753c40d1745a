"""How the four methods stand harder scenes: `python -m experiments.robustness`

AP50 on simulated rooms against the strength of the label noise, against the number of instances of
a room, and for rooms in a row, which are longer than the network's receptive field. Takes trained
models; makes what else is missing, prints tables and draws curves (SVG). Started again, it goes on
where it was: scores that are there in `<work_dir>/scores` are read, so delete those of a model that
has changed. Predictions, gigabytes for each place on a curve, are removed when they are scored.
"""

import dataclasses
import json
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from absl import flags

from experiments.paper_numbers import TABLE_2
from experiments.running import (
    MIN_VERTICES,
    TITLES,
    Workplace,
    encode_markdown,
    run_program,
)
from mtml_tf import files, program
from mtml_tf.classes import SCANNET18, SCANNET20
from mtml_tf.drawing.curves import encode_curves
from mtml_tf.rooms.labeller import encode_labels, predict_scene
from mtml_tf.scannet import layout, reader
from mtml_tf.scene import VoxelScene
from mtml_tf.scoring.average_precision import ApTable, average_precision
from mtml_tf.scoring.benchmark_format import read_ground_truth, read_predictions
from mtml_tf.scoring.ground_truth import INSTANCES_PER_CLASS

FLAGS = flags.FLAGS

Array = np.ndarray
LabelledScene = tuple[VoxelScene, Array]
# For each place on the horizontal axis the AP50 by method.
Curves = list[tuple[float, dict[str, float]]]

METHODS = tuple(TABLE_2)
# What the methods' predictions are called, after the name of the data.
SUFFIXES = {
    "segmentation_as_instance": "seg",
    "connected_components": "components",
    "fe_only": "fe_only",
    "multi_task": "multi_task",
}
STRENGTHS = (0.0, 0.5, 1.0, 1.5, 2.0)
ROW_LENGTHS = (1, 2, 3)
SPLIT = "val"
_GAP = 4  # empty voxels between rooms in a row
# Rooms in a row keep their instance ids apart by it; a ground truth holds those below 1000.
_INSTANCES_PER_SCENE = 200


def score_all(
    here: Workplace, name: str, runs: Mapping[str, pathlib.Path], keep: bool = False
) -> dict[str, float]:
    """Returns the AP50 of the four methods on the validation split of a data folder.

    Args:
        here: where the data are.
        name: what to call them.
        runs: run folders of the two networks, by method.
        keep: keep the predictions too.
    """
    path = here.work_dir / "scores" / f"{name}.json"
    predictions = {
        method: here.work_dir / "predictions" / f"{name}_{suffix}"
        for method, suffix in SUFFIXES.items()
    }
    is_complete = not keep or all(folder.exists() for folder in predictions.values())
    if path.exists() and is_complete:
        scores: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
        return scores
    score_baseline = {
        "segmentation_as_instance": here.score_segmentation_as_instance,
        "connected_components": here.score_connected_components,
    }
    tables: dict[str, ApTable] = {
        **{
            method: score(predictions[method].name, SPLIT)
            for method, score in score_baseline.items()
        },
        **{
            method: here.score_model(predictions[method].name, run, SPLIT)
            for method, run in runs.items()
        },
    }
    scores = {method: table.average.ap50 for method, table in tables.items()}
    files.write_text(path, json.dumps(scores, indent=1) + "\n", overwrite=True)
    if not keep:
        for folder in predictions.values():
            shutil.rmtree(folder)
    return scores


def write_noisy_labels(
    rooms_dir: pathlib.Path, names: Sequence[str], strength: float, output_dir: pathlib.Path
) -> None:
    """Writes what the simulated semantic network says of rooms at a strength of its errors."""
    table = reader.read_label_table(rooms_dir / layout.LABEL_TABLE)
    with files.writing_folder(output_dir) as folder:
        for number, name in enumerate(program.progress(names, "rooms")):
            scene, _ = reader.read_scene(reader.scene_folder(rooms_dir, SPLIT, name), table)
            predicted = predict_scene(reader.with_benchmark_classes(scene), strength, number)
            files.write_text(folder / f"{name}.txt", encode_labels(predicted))


def against_noise(
    work_dir: pathlib.Path,
    rooms_dir: pathlib.Path,
    names: Sequence[str],
    runs: Mapping[str, pathlib.Path],
) -> Curves:
    """Scores the methods at each strength of the label noise."""
    curves: Curves = []
    for strength in STRENGTHS:
        here = Workplace(work_dir / f"noise_{strength:g}", work_dir)
        semantic_dir = work_dir / f"semantic_{strength:g}"
        if not semantic_dir.exists():
            write_noisy_labels(rooms_dir, names, strength, semantic_dir)
        # In any case: it leaves a whole folder as it is, and refuses one that lacks scenes.
        run_program(
            *("tools/prepare_scannet.py", f"--scannet_dir={rooms_dir}", f"--splits={SPLIT}"),
            *(f"--semantic_dir={semantic_dir}", f"--output_dir={here.data_dir}"),
        )
        curves.append((strength, score_all(here, here.data_dir.name, runs)))
    return curves


def against_instances(here: Workplace, name: str, num_groups: int = 4) -> Curves:
    """Scores predictions that are there on groups of rooms with ever more instances.

    Args:
        here: where they are.
        name: of the data, as `score_all` was given it.
        num_groups: how many groups, where there are so many rooms.

    Returns:
        For the mean number of instances of each group, the scores by method.
    """
    truth_dir = here.data_dir / "ground_truth" / SPLIT
    truths = {path.stem: read_ground_truth(path) for path in sorted(truth_dir.glob("*.txt"))}
    counts = {scene: num_instances(ids) for scene, ids in truths.items()}
    ordered = sorted(counts, key=lambda scene: (counts[scene], scene))
    curves: Curves = []
    for group in np.array_split(np.array(ordered), min(num_groups, len(ordered))):
        members = group.tolist()
        mean = round(float(np.mean([counts[scene] for scene in members])), 1)
        scores = {}
        for method, suffix in SUFFIXES.items():
            folder = here.work_dir / "predictions" / f"{name}_{suffix}"
            pairs = (
                (truths[scene], read_predictions(folder, scene, len(truths[scene])))
                for scene in members
            )
            table = average_precision(pairs, SCANNET18, MIN_VERTICES)
            scores[method] = table.average.ap50
        curves.append((mean, scores))
    return curves


def num_instances(ids: Array, min_vertices: int = MIN_VERTICES) -> int:
    """Returns how many scored instances a ground truth has."""
    found, sizes = np.unique(ids, return_counts=True)
    class_ids, numbers = np.divmod(found, INSTANCES_PER_CLASS)
    is_scored = np.isin(class_ids, SCANNET18.ids) & (numbers > 0)
    return int((is_scored & (sizes >= min_vertices)).sum())


def in_a_row(scenes: Sequence[LabelledScene], name: str) -> LabelledScene:
    """Returns scenes side by side along x, as one scene with one ground truth.

    Args:
        scenes: with instance ids and vertices.
        name: of the new scene.

    Raises:
        ValueError: a scene without instances or vertices, or more instances than the ground
            truth of all can tell apart.
    """
    first = scenes[0][0]
    shift, voxels_before = 0, 0
    parts: dict[str, list[Array]] = {
        key: [] for key in ("coordinates", "semantic_ids", "instance_ids", "vertex_to_voxel")
    }
    truths = []
    for number, (scene, truth) in enumerate(scenes):
        if scene.instance_ids is None or scene.vertex_to_voxel is None:
            raise ValueError(f"scene {scene.name}: expected instances on vertices, found none")
        numbers = truth % INSTANCES_PER_CLASS
        most = max(int(scene.instance_ids.max(initial=0)), int(numbers.max(initial=0)))
        more = number * _INSTANCES_PER_SCENE
        if most >= _INSTANCES_PER_SCENE or more + most >= INSTANCES_PER_CLASS:
            raise ValueError(
                f"scene {scene.name}: expected instance ids below {_INSTANCES_PER_SCENE}, and in a "
                f"row below {INSTANCES_PER_CLASS}, found {most} in scene {number + 1} of "
                f"{len(scenes)}"
            )
        parts["coordinates"].append(scene.coordinates + np.array([shift, 0, 0], np.int32))
        parts["semantic_ids"].append(scene.semantic_ids)
        parts["instance_ids"].append(
            np.where(scene.instance_ids > 0, scene.instance_ids + more, 0).astype(np.int32)
        )
        parts["vertex_to_voxel"].append(scene.vertex_to_voxel + np.int32(voxels_before))
        truths.append(np.where(numbers > 0, truth + more, truth))
        shift += scene.grid_shape[0] + _GAP
        voxels_before += len(scene.coordinates)
    shapes = np.array([scene.grid_shape for scene, _ in scenes])
    joined = dataclasses.replace(
        first,
        name=name,
        grid_shape=(shift, int(shapes[:, 1].max()), int(shapes[:, 2].max())),
        features=None,
        points=None,
        **{key: np.concatenate(arrays) for key, arrays in parts.items()},
    )
    return joined, np.concatenate(truths)


def against_extent(
    work_dir: pathlib.Path, data_dir: pathlib.Path, runs: Mapping[str, pathlib.Path]
) -> Curves:
    """Scores the methods on one, two and three rooms in a row.

    They are the same rooms each time, but for those at the end that fill no row.

    Raises:
        ValueError: too few rooms for the longest row.
    """
    from mtml_tf.data import records, writing

    folder = records.DataFolder(data_dir)
    entries = folder.entries(SPLIT)
    if len(entries) < max(ROW_LENGTHS):
        raise ValueError(
            f"{data_dir}: expected at least {max(ROW_LENGTHS)} rooms in split '{SPLIT}', found "
            f"{len(entries)}"
        )
    whole = len(entries) // max(ROW_LENGTHS) * max(ROW_LENGTHS)
    curves: Curves = []
    for length in ROW_LENGTHS:
        here = Workplace(work_dir / f"row_{length}", work_dir)

        def rows(length: int = length) -> Iterator[LabelledScene]:
            for start in range(0, whole // length * length, length):
                members = [
                    (folder.scene(entry), folder.ground_truth(SPLIT, entry))
                    for entry in entries[start : start + length]
                ]
                yield in_a_row(members, f"row{start:04d}")

        if not here.data_dir.exists():
            writing.write_data_folder(here.data_dir, SCANNET20, {SPLIT: rows()})
        curves.append((float(length), score_all(here, here.data_dir.name, runs)))
    return curves


def encode_rows(what: str, curves: Curves) -> list[list[str]]:
    """Returns the header and a row for each place: AP50 of every method."""
    rows = [[what, *(TITLES[method] for method in METHODS)]]
    for place, scores in curves:
        rows.append([f"{place:g}", *(f"{scores[method]:.3f}" for method in METHODS)])
    return rows


def define_flags() -> None:
    """Defines the flags; here, so that other code can import this module beside its like."""
    flags.DEFINE_string("rooms_dir", "data/rooms_raw", "Rooms of tools/make_rooms.py.")
    flags.DEFINE_string("data_dir", "data/rooms", "Their data folder, of experiments.rooms.")
    flags.DEFINE_string("work_dir", "runs/robustness", "For data, predictions, tables and curves.")
    flags.DEFINE_string("fe_only_run", "runs/rooms/fe_only", "Run folder of the 'FE only' model.")
    flags.DEFINE_string(
        "multi_task_run", "runs/rooms/multi_task", "Run folder of the multi-task model."
    )


def main() -> None:
    """Reads the flags, makes what is missing, prints tables and writes curves."""
    work_dir, data_dir = pathlib.Path(FLAGS.work_dir), pathlib.Path(FLAGS.data_dir)
    rooms_dir = pathlib.Path(FLAGS.rooms_dir)
    runs = {
        "fe_only": pathlib.Path(FLAGS.fe_only_run),
        "multi_task": pathlib.Path(FLAGS.multi_task_run),
    }
    names = reader.read_split(rooms_dir, SPLIT)
    here = Workplace(data_dir, work_dir)
    here.claim("made_of", rooms_dir=rooms_dir, data_dir=data_dir, **runs)
    score_all(here, "rooms", runs, keep=True)
    experiments = {
        "noise": ("strength of the label noise", against_noise(work_dir, rooms_dir, names, runs)),
        "instances": ("instances of a room", against_instances(here, "rooms")),
        "extent": ("rooms in a row", against_extent(work_dir, data_dir, runs)),
    }
    for name, (what, curves) in experiments.items():
        rows = encode_rows(what, curves)
        text = f"AP50 against {what}\n\n{encode_markdown(rows)}\n"
        print(text)
        here.write_table(name, text, rows)
        places = [place for place, _ in curves]
        series = {TITLES[method]: [scores[method] for _, scores in curves] for method in METHODS}
        chart = encode_curves(f"AP50 against {what}", what, "AP50", places, series)
        files.write_text(work_dir / f"{name}.svg", chart, overwrite=True)


if __name__ == "__main__":
    define_flags()
    program.run(main)
