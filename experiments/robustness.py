"""How the four methods stand harder scenes: `python -m experiments.robustness`

AP50 on simulated rooms against the strength of the label noise, against the number of instances of
a room, and for rooms in a row, which are longer than the network's receptive field. Takes trained
models; makes what else is missing, prints tables and draws curves (SVG). Started again, it goes on
where it was.
"""

import dataclasses
import pathlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from absl import flags

from experiments.paper_numbers import TABLE_2
from experiments.running import TITLES, Workplace, encode_markdown, run_program
from mtml_tf import files, program
from mtml_tf.classes import SCANNET18, SCANNET20
from mtml_tf.drawing.curves import encode_curves
from mtml_tf.rooms.labeller import LabellerSettings, predict_labels
from mtml_tf.scans import scannet, scannet_files
from mtml_tf.scene import VoxelScene
from mtml_tf.scoring.average_precision import ApTable, average_precision
from mtml_tf.scoring.benchmark_format import read_ground_truth, read_predictions

FLAGS = flags.FLAGS

Array = np.ndarray
LabelledScene = tuple[VoxelScene, Array]

METHODS = tuple(TABLE_2)
STRENGTHS = (0.0, 0.5, 1.0, 1.5, 2.0)
ROW_LENGTHS = (1, 2, 3)
SPLIT = "val"
_GAP = 4  # empty voxels between rooms in a row
_INSTANCES_PER_SCENE = 200  # rooms in a row keep their instance ids apart by it


def score_all(here: Workplace, name: str, runs: dict[str, pathlib.Path]) -> dict[str, ApTable]:
    """Scores the four methods on the validation split of a data folder."""
    return {
        "segmentation_as_instance": here.score_segmentation_as_instance(f"{name}_seg", SPLIT),
        "connected_components": here.score_connected_components(f"{name}_components", SPLIT),
        **{
            method: here.score_model(f"{name}_{method}", run_dir, SPLIT)
            for method, run_dir in runs.items()
        },
    }


def write_noisy_labels(
    rooms_dir: pathlib.Path, names: Sequence[str], strength: float, output_dir: pathlib.Path
) -> None:
    """Writes what the simulated semantic network says of rooms at a strength of its errors."""
    table = scannet.read_label_table(rooms_dir / scannet_files.LABEL_TABLE)
    with files.writing_folder(output_dir) as folder:
        for number, name in enumerate(program.progress(names, "rooms")):
            scene_dir = scannet.scene_folder(rooms_dir, SPLIT, name)
            scene, _ = scannet.read_scene(scene_dir, table)
            segments = scannet.read_segments(scene_dir, len(scene.vertices))
            labelled = scannet.with_benchmark_classes(scene)
            settings = LabellerSettings(strength=strength)
            predicted = predict_labels(labelled, segments, settings, number)
            text = "\n".join(map(str, predicted.tolist())) + "\n"
            files.write_text(folder / f"{name}.txt", text)


def against_noise(
    work_dir: pathlib.Path,
    rooms_dir: pathlib.Path,
    names: Sequence[str],
    runs: dict[str, pathlib.Path],
) -> dict[float, dict[str, ApTable]]:
    """Scores the methods at each strength of the label noise."""
    tables = {}
    for strength in STRENGTHS:
        here = Workplace(work_dir / f"noise_{strength:g}", work_dir)
        semantic_dir = work_dir / f"semantic_{strength:g}"
        if not semantic_dir.exists():
            write_noisy_labels(rooms_dir, names, strength, semantic_dir)
        if not here.data_dir.exists():
            run_program(
                *("tools/prepare_scannet.py", f"--scannet_dir={rooms_dir}", f"--splits={SPLIT}"),
                *(f"--semantic_dir={semantic_dir}", f"--output_dir={here.data_dir}"),
            )
        tables[strength] = score_all(here, here.data_dir.name, runs)
    return tables


def against_instances(
    here: Workplace, name: str, tables: Iterable[str], num_groups: int = 4
) -> dict[float, dict[str, ApTable]]:
    """Scores predictions that are there on groups of rooms with ever more instances.

    Returns:
        For the mean number of instances of each group, the scores by method.
    """
    truth_dir = here.data_dir / "ground_truth" / SPLIT
    truths = {path.stem: read_ground_truth(path) for path in sorted(truth_dir.glob("*.txt"))}
    counts = {scene: num_instances(ids) for scene, ids in truths.items()}
    ordered = sorted(counts, key=lambda scene: (counts[scene], scene))
    folders = {
        method: here.work_dir / "predictions" / f"{name}_{suffix}"
        for method, suffix in zip(
            tables, ("seg", "components", "fe_only", "multi_task"), strict=True
        )
    }
    results = {}
    for group in np.array_split(np.array(ordered), num_groups):
        members = group.tolist()
        mean = round(float(np.mean([counts[scene] for scene in members])), 1)
        results[mean] = {
            method: average_precision(
                (
                    (truths[scene], read_predictions(folder, scene, len(truths[scene])))
                    for scene in members
                ),
                SCANNET18,
            )
            for method, folder in folders.items()
        }
    return results


def num_instances(ids: Array, min_vertices: int = 100) -> int:
    """Returns how many scored instances a ground truth has."""
    found, sizes = np.unique(ids, return_counts=True)
    is_scored = np.isin(found // 1000, SCANNET18.ids) & (found % 1000 > 0)
    return int((is_scored & (sizes >= min_vertices)).sum())


def in_a_row(scenes: Sequence[LabelledScene], name: str) -> LabelledScene:
    """Returns scenes side by side along x, as one scene with one ground truth.

    Args:
        scenes: with instance ids and vertices.
        name: of the new scene.

    Raises:
        ValueError: a scene without instances or vertices.
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
        more = number * _INSTANCES_PER_SCENE
        parts["coordinates"].append(scene.coordinates + np.array([shift, 0, 0], np.int32))
        parts["semantic_ids"].append(scene.semantic_ids)
        parts["instance_ids"].append(
            np.where(scene.instance_ids > 0, scene.instance_ids + more, 0).astype(np.int32)
        )
        parts["vertex_to_voxel"].append(scene.vertex_to_voxel + np.int32(voxels_before))
        truths.append(np.where(truth % 1000 > 0, truth + more, truth))
        shift += scene.grid_shape[0] + _GAP
        voxels_before += len(scene.coordinates)
    shapes = np.array([scene.grid_shape for scene, _ in scenes])
    joined = dataclasses.replace(
        first,
        name=name,
        grid_shape=(shift, int(shapes[:, 1].max()), int(shapes[:, 2].max())),
        features=None,
        **{key: np.concatenate(arrays) for key, arrays in parts.items()},
    )
    return joined, np.concatenate(truths)


def against_extent(
    work_dir: pathlib.Path, data_dir: pathlib.Path, runs: dict[str, pathlib.Path]
) -> dict[float, dict[str, ApTable]]:
    """Scores the methods on one, two and three rooms in a row: the same rooms each time."""
    from mtml_tf.learning import records

    folder = records.DataFolder(data_dir)
    entries = folder.entries(SPLIT)
    tables = {}
    for length in ROW_LENGTHS:
        here = Workplace(work_dir / f"row_{length}", work_dir)

        def rows(length: int = length) -> Iterator[tuple[VoxelScene, Array | None]]:
            whole = len(entries) // max(ROW_LENGTHS) * max(ROW_LENGTHS)
            for start in range(0, whole // length * length, length):
                members = [
                    (folder.scene(entry), folder.ground_truth(SPLIT, entry))
                    for entry in entries[start : start + length]
                ]
                yield in_a_row(members, f"row{start:04d}")

        if not here.data_dir.exists():
            records.write_data_folder(here.data_dir, SCANNET20, {SPLIT: rows()})
        tables[float(length)] = score_all(here, here.data_dir.name, runs)
    return tables


def encode_rows(what: str, tables: dict[float, dict[str, ApTable]]) -> list[list[str]]:
    """Returns the header and a row for each place: AP50 of every method."""
    rows = [[what, *(TITLES[method] for method in METHODS)]]
    for place, by_method in tables.items():
        rows.append(
            [f"{place:g}", *(f"{by_method[method].average.ap50:.3f}" for method in METHODS)]
        )
    return rows


def define_flags() -> None:
    """Defines the flags; here, so that other code can import this module beside its like."""
    flags.DEFINE_string("rooms_dir", "data/rooms_raw", "Rooms of tools/make_rooms.py.")
    flags.DEFINE_string("data_dir", "data/rooms", "The same, prepared with their predicted labels.")
    flags.DEFINE_string("work_dir", "runs/robustness", "For data, predictions, tables and curves.")
    flags.DEFINE_string("fe_only_run", "runs/rooms_fe_only", "Run folder of a trained model.")
    flags.DEFINE_string("multi_task_run", "runs/rooms", "Likewise.")


def main() -> None:
    """Reads the flags, makes what is missing, prints tables and writes curves."""
    work_dir, data_dir = pathlib.Path(FLAGS.work_dir), pathlib.Path(FLAGS.data_dir)
    rooms_dir = pathlib.Path(FLAGS.rooms_dir)
    runs = {
        "fe_only": pathlib.Path(FLAGS.fe_only_run),
        "multi_task": pathlib.Path(FLAGS.multi_task_run),
    }
    names = scannet.read_split(rooms_dir, SPLIT)
    here = Workplace(data_dir, work_dir)
    score_all(here, "rooms", runs)
    experiments = {
        "noise": ("strength of the label noise", against_noise(work_dir, rooms_dir, names, runs)),
        "instances": ("instances of a room", against_instances(here, "rooms", METHODS)),
        "extent": ("rooms in a row", against_extent(work_dir, data_dir, runs)),
    }
    for name, (what, tables) in experiments.items():
        rows = encode_rows(what, tables)
        text = f"AP50 against {what}\n\n{encode_markdown(rows)}\n"
        print(text)
        here.write_table(name, text, rows)
        curves = {
            TITLES[method]: [by_method[method].average.ap50 for by_method in tables.values()]
            for method in METHODS
        }
        chart = encode_curves(f"AP50 against {what}", what, "AP50", list(tables), curves)
        files.write_text(work_dir / f"{name}.svg", chart, overwrite=True)


if __name__ == "__main__":
    define_flags()
    program.run(main)
