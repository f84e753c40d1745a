"""What the programs that print tables share: make what is missing, score it, lay out a table.

Everything is made by the program that a user would call, so that each step can be repeated by hand.
"""

import csv
import dataclasses
import io
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence

import numpy as np

from mtml_tf import files, program
from mtml_tf.classes import ClassSet, read_classes
from mtml_tf.scannet import reader
from mtml_tf.scans import semantic_input
from mtml_tf.scans.voxels import on_vertices
from mtml_tf.scene import Instance, VoxelScene
from mtml_tf.scoring.average_precision import ApTable
from mtml_tf.scoring.benchmark_format import write_predictions
from mtml_tf.scoring.folders import evaluate_folder, is_complete
from mtml_tf.segmentation import baselines

Array = np.ndarray

MIN_VERTICES = 100  # the benchmark's; smaller predictions are not scored

# From the scene and the classes that have instances.
Baseline = Callable[[VoxelScene, Collection[int]], list[Instance]]
# From class ids [N] and faces [F, 3] and the classes that have instances.
MeshBaseline = Callable[[Array, Array, Collection[int]], list[Instance]]

TITLES = {
    "segmentation_as_instance": "Seg. as instance",
    "segmentation_as_instance_on_mesh": "Seg. as instance, mesh",
    "connected_components": "Connected comp.",
    "connected_components_on_mesh": "Connected comp., mesh",
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
class RawScenes:
    """Scenes in the raw layout of ScanNet, with the labels of a semantic network.

    Attributes:
        scannet_dir: the download, as `tools/prepare_scannet.py` takes it.
        semantic_dir: predictions, likewise.
        scores: see `semantic_input.read_semantic_input`.
    """

    scannet_dir: str
    semantic_dir: str
    scores: str = semantic_input.PROBABILITIES

    def read(self, split: str, name: str, classes: ClassSet) -> tuple[Array, Array]:
        """Returns int32 [N] class ids of a scene's vertices and int32 [F, 3] faces of its mesh."""
        folder = reader.scene_folder(self.scannet_dir, split, name)
        scene = reader.read_mesh(folder)
        if scene.faces is None:
            raise ValueError(f"{folder}: expected a mesh, found vertices without faces")
        given = semantic_input.read_semantic_input(
            self.semantic_dir, name, len(scene.vertices), classes, self.scores
        )
        return given.semantic_ids, scene.faces


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
        output_dir = self._claim_predictions(
            name, split, run_dir=run_dir, settings=" ".join(settings)
        )
        if not is_complete(output_dir):
            run_program(
                *("-m", "mtml_tf.predict", f"--run_dir={run_dir}", f"--data_dir={self.data_dir}"),
                *(f"--split={split}", f"--output_dir={output_dir}", *settings),
            )
        return self.score(output_dir, split)

    def score_segmentation_as_instance(self, name: str, split: str) -> ApTable:
        """Writes the baseline's instances of a split as predictions, and scores them."""
        return self.score_baseline(name, baselines.segmentation_as_instance, split)

    def score_connected_components(self, name: str, split: str) -> ApTable:
        """Writes the baseline's instances of a split as predictions, and scores them."""
        return self.score_baseline(name, baselines.connected_components, split)

    def score_baseline(self, name: str, baseline: Baseline, split: str) -> ApTable:
        """Writes a baseline's instances of a split, unless that is done, and scores them."""
        from mtml_tf.data.records import DataFolder

        output_dir = self._claim_predictions(name, split)
        if not output_dir.exists():
            folder = DataFolder(self.data_dir)
            with files.writing_folder(output_dir) as temporary:
                for entry in program.progress(folder.entries(split), "scenes"):
                    scene = folder.scene(entry)
                    instances = scored_only(scene, baseline(scene, folder.classes.thing_ids))
                    on_scan = [on_vertices(instance, scene) for instance in instances]
                    write_predictions(temporary, scene.name, on_scan, scene.num_vertices)
        return self.score(output_dir, split)

    def score_mesh_baseline(
        self, name: str, baseline: MeshBaseline, split: str, raw: RawScenes
    ) -> ApTable:
        """Does on the scans' meshes what `score_baseline` does on voxels."""
        from mtml_tf.data.records import DataFolder

        output_dir = self._claim_predictions(
            name,
            split,
            scannet_dir=pathlib.Path(raw.scannet_dir),
            semantic_dir=pathlib.Path(raw.semantic_dir),
        )
        if not output_dir.exists():
            folder = DataFolder(self.data_dir)
            with files.writing_folder(output_dir) as temporary:
                for entry in program.progress(folder.entries(split), "scenes"):
                    semantic_ids, faces = raw.read(split, entry.name, folder.classes)
                    instances = baseline(semantic_ids, faces, folder.classes.thing_ids)
                    write_predictions(temporary, entry.name, instances, len(semantic_ids))
        return self.score(output_dir, split)

    def claim(self, name: str, **made_of: pathlib.Path | str) -> None:
        """Notes in `<name>.json` what results are made of, or compares with what stands there.

        Args:
            name: of the note, relative to the workplace.
            made_of: folders and settings. Folders are noted as seen from the workplace, so that
                everything may be moved together.

        Raises:
            ValueError: the results that are there are made of something else, or a note that
                can't be read.
        """
        path = self.work_dir / f"{name}.json"
        asked = {
            key: os.path.relpath(value, self.work_dir) if isinstance(value, pathlib.Path) else value
            for key, value in made_of.items()
        }
        if not path.exists():
            files.write_text(path, json.dumps(asked, indent=1) + "\n")
            return
        found = _read_note(path)
        for key in asked | found:
            if asked.get(key) != found.get(key):
                raise ValueError(
                    f"{path}: expected results of {key} '{asked.get(key)}' (as seen from "
                    f"{self.work_dir}), found those of '{found.get(key)}'; choose another "
                    "--work_dir, or remove what they belong to"
                )

    def _claim_predictions(
        self, name: str, split: str, **made_of: pathlib.Path | str
    ) -> pathlib.Path:
        """Returns the folder of predictions, which is there or is to be made of this.

        Predictions without a note (of an earlier version) are taken for what they are called.
        """
        note = f"predictions/{name}"
        if not (self.work_dir / note).exists():
            (self.work_dir / f"{note}.json").unlink(missing_ok=True)
        self.claim(note, data_dir=self.data_dir, split=split, **made_of)
        return self.work_dir / note

    def score(self, prediction_dir: pathlib.Path, split: str) -> ApTable:
        """Scores predictions of a split."""
        classes = read_classes(self.data_dir / "classes.csv")
        truth_dir = self.data_dir / "ground_truth" / split
        return evaluate_folder(prediction_dir, truth_dir, classes, MIN_VERTICES)

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
        write_table(self.work_dir, name, text, rows)


def _read_note(path: pathlib.Path) -> dict[str, str]:
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: expected a note in JSON, found {error}; remove it") from error
    if not isinstance(note, dict):
        raise ValueError(f"{path}: expected a JSON object, found {note}; remove it")
    return note


def scored_only(scene: VoxelScene, instances: Sequence[Instance]) -> list[Instance]:
    """Returns those that have enough vertices to be scored; the others would only fill the disk."""
    if scene.vertex_to_voxel is None:
        vertices_of = np.ones(len(scene.coordinates), np.int64)
    else:
        vertices_of = np.bincount(scene.vertex_to_voxel, minlength=len(scene.coordinates))
    return [i for i in instances if vertices_of[i.indices].sum() >= MIN_VERTICES]


def write_table(folder: pathlib.Path, name: str, text: str, rows: Sequence[Sequence[str]]) -> None:
    """Writes `<name>.md` with the text and `<name>.csv` with the rows, in place of older ones."""
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(rows)
    files.write_text(folder / f"{name}.md", text, overwrite=True)
    files.write_text(folder / f"{name}.csv", table.getvalue(), overwrite=True)


def encode_markdown(rows: Sequence[Sequence[str]]) -> str:
    """Returns rows as a Markdown table; the first one is the header."""
    rule = ["---", *["---:"] * (len(rows[0]) - 1)]
    return "\n".join(map(encode_row, [rows[0], rule, *rows[1:]]))


def encode_row(row: Sequence[str]) -> str:
    """Returns a row of `encode_markdown`, for tables that grow as they are measured."""
    return f"| {' | '.join(row)} |"
