"""The four methods on labelled real scans: `python -m experiments.real_rooms --scans_dir=D`

Simulated rooms tell how methods compare where everything is known; this tells what a model does on
scans that nobody simulated. `D` holds PLY files with `label` and `instance` vertex properties, in
metres and z up. Each scan is segmented at eight turns about the vertical axis, with its true labels
and with labels as a semantic network gives them, errors included (simulated, or with `--semantic`
those of a network); what a turn changes is chance, and is printed as the spread. Objects and
predictions under `--min_vertices` do not count.

Other data become such files in a few lines, here arrays of vertices [N, 3], class ids of the
model and instance ids (0 none):

    from mtml_tf.scans.scan import write_scan
    from mtml_tf.scene import Scene

    class_ids[~numpy.isin(class_ids, model_classes)] = 0
    scene = Scene("a", vertices, semantic_ids=class_ids, instance_ids=instance_ids)
    write_scan("D/a.ply", scene)
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags

from experiments.running import TITLES, Baseline, encode_markdown
from mtml_tf import config_flags, files, program
from mtml_tf.classes import SCANNET20, ClassSet
from mtml_tf.config import SegmentConfig
from mtml_tf.rooms.labeller import predict_scene
from mtml_tf.scans import scan
from mtml_tf.scans.preparing import find_scans
from mtml_tf.scans.turning import turned
from mtml_tf.scans.voxels import on_vertices, voxelize
from mtml_tf.scene import Instance, Scene, VoxelScene
from mtml_tf.scoring.average_precision import ApTable, average_precision
from mtml_tf.scoring.ground_truth import ground_truth_ids
from mtml_tf.segmentation import baselines

FLAGS = flags.FLAGS

Array = np.ndarray
# From a scan and its voxels to instances of vertices.
Method = Callable[[Scene, VoxelScene], list[Instance]]

SEMANTIC_VIEWS = 3  # of a semantic model
NUM_TURNS = 8
# Each turn is another angle within the quarter circle, and they lie all round the circle.
TURN = 2 * np.pi * 5 / 32  # radians


def read_labelled_scans(scans_dir: str | pathlib.Path, classes: ClassSet) -> list[Scene]:
    """Returns the scans of a folder, each with its class and instance ids.

    Raises:
        ValueError: no such folder or no scan in it, a scan that can't be read, or one without
            labels and instances of these classes.
    """
    scenes = [scan.read_scan(path) for path in find_scans(scans_dir)]
    for scene in scenes:
        ground_truth_ids(scene, classes)
    return scenes


def disturbed_labels(scenes: Sequence[Scene], strength: float) -> list[Array]:
    """Returns for each scan int32 [N], class ids with errors like those of a semantic network."""
    return [predict_scene(scene, strength, number) for number, scene in enumerate(scenes)]


def predicted_labels(
    scenes: Sequence[Scene], semantic: str, adapt: float, classes: ClassSet
) -> list[Array]:
    """Returns for each scan int32 [N], the class ids that a semantic model tells of it.

    Args:
        scenes: the scans.
        semantic: name or run folder of the model.
        adapt: as of `mtml_tf.predict`.
        classes: those that the labels must be of.
    """
    from mtml_tf.semantic.labelling import SemanticLabels
    from mtml_tf.semantic.predicting import SemanticSource

    label = SemanticLabels(SemanticSource(semantic, SEMANTIC_VIEWS, adapt=adapt))
    return [np.asarray(label(scene, classes).semantic_ids) for scene in scenes]


def score(
    scenes: Sequence[Scene],
    labels: Sequence[Array],
    methods: Mapping[str, Method],
    config: Any,
    min_vertices: int,
) -> dict[str, ApTable]:
    """Scores methods on scans.

    Args:
        scenes: with their true labels and instances.
        labels: for each scene int [N], the class ids that the methods get.
        methods: by name.
        config: a `ModelConfig`: classes and voxel size.
        min_vertices: objects and predictions of fewer vertices do not count.
    """
    found: dict[str, list[list[Instance]]] = {name: [] for name in methods}
    for scene, class_ids in zip(scenes, labels, strict=True):
        given = dataclasses.replace(scene, semantic_ids=class_ids, instance_ids=None)
        voxel_scene = voxelize(given, config.voxel_size, config.classes)
        for name, method in methods.items():
            found[name].append(method(given, voxel_scene))
    truths = [ground_truth_ids(scene, config.classes) for scene in scenes]
    return {
        name: average_precision(zip(truths, kept, strict=True), config.classes, min_vertices)
        for name, kept in found.items()
    }


def encode_rows(labels: str, tables: Sequence[Mapping[str, ApTable]]) -> list[list[str]]:
    """Returns a row for each method: means over the turns, and the least and largest AP50.

    Args:
        labels: which labels the methods got.
        tables: for each turn the table of each method.
    """
    rows = []
    for method in tables[0]:
        values = np.array([dataclasses.astuple(turn[method].average) for turn in tables])  # [T, 3]
        means = [f"{value:.3f}" for value in values.mean(axis=0)]
        least, most = values[:, 1].min(), values[:, 1].max()
        rows.append([labels, TITLES[method], *means, f"{least:.3f} to {most:.3f}"])
    return rows


def methods_of(model: Any, fe_only: Any = None, *, num_views: int = 1) -> dict[str, Method]:
    """Returns the methods to compare, by name.

    Args:
        model: a multi-task `Model`.
        fe_only: one that was trained without direction; None leaves that row out.
        num_views: at how many turns the networks see a scan.
    """
    from mtml_tf.inference.prediction import segment_voxels

    things = model.config.classes.thing_ids

    def of_voxels(baseline: Baseline) -> Method:
        return lambda _, seen: [on_vertices(each, seen) for each in baseline(seen, things)]

    def of_model(model: Any) -> Method:
        return lambda scene, seen: segment_voxels(scene, seen, model, num_views)

    methods: dict[str, Method] = {
        "segmentation_as_instance": of_voxels(baselines.segmentation_as_instance),
        "connected_components": of_voxels(baselines.connected_components),
    }
    if fe_only is not None:
        methods["fe_only"] = of_model(fe_only)
    return {**methods, "multi_task": of_model(model)}


def define_flags() -> None:
    """Defines the flags; here, so that other code can import this module beside its like."""
    flags.DEFINE_string("scans_dir", None, "Folder of labelled PLY files.")
    flags.DEFINE_string("model", "rooms", "A shipped model, or a run folder.")
    flags.DEFINE_string("fe_only", "", "Run folder of a model trained without direction, or none.")
    flags.DEFINE_string(
        "semantic", "", "A semantic model, whose labels the methods get as well; empty for none."
    )
    flags.DEFINE_float("adapt", 0.0, "With --semantic: as of mtml_tf.predict.", 0.0, 1.0)
    flags.DEFINE_float("label_noise", 1.0, "Strength of the errors of labels.", lower_bound=0.0)
    flags.DEFINE_integer("views", 1, "As of mtml_tf.predict, within each turn.", lower_bound=1)
    flags.DEFINE_integer("num_turns", NUM_TURNS, "Turns of each scan.", lower_bound=1)
    flags.DEFINE_integer(
        "min_vertices", 100, "Smallest object and prediction that count, vertices.", lower_bound=1
    )
    flags.DEFINE_string("output_md", "", "Markdown file for the table; empty for none.")
    flags.DEFINE_bool("overwrite", False, "Replace a table that exists.")
    # Unless given, the settings are those that the model was trained with.
    config_flags.define(SegmentConfig, config_flags.FROM_DATA, as_default=False)
    flags.adopt_module_key_flags(config_flags)


def main() -> None:
    """Reads the flags, measures and prints."""
    if FLAGS["adapt"].present and not FLAGS.semantic:
        raise flags.Error("expected --adapt together with --semantic only")
    if FLAGS.output_md:
        files.check_may_write(FLAGS.output_md, FLAGS.overwrite)
    changed = config_flags.read_given(SegmentConfig, config_flags.FROM_DATA)
    from mtml_tf.inference import models

    model, *others = (
        models.load_model(path).with_settings(**changed)
        for path in (FLAGS.model, FLAGS.fe_only)
        if path
    )
    methods = methods_of(model, *others, num_views=FLAGS.views)
    scenes = read_labelled_scans(FLAGS.scans_dir, model.config.classes)
    labels = {"true": [np.asarray(scene.semantic_ids) for scene in scenes]}
    if FLAGS.label_noise:
        if model.config.classes != SCANNET20:
            raise ValueError(
                f"give --label_noise=0: expected a model of ScanNet's 20 classes, whose errors are "
                f"known, found {FLAGS.model} with {', '.join(model.config.classes.names)}"
            )
        labels["with errors"] = disturbed_labels(scenes, FLAGS.label_noise)
    if FLAGS.semantic:
        labels[f"semantic network{f', adapted by {FLAGS.adapt:g}' if FLAGS.adapt else ''}"] = (
            predicted_labels(scenes, FLAGS.semantic, FLAGS.adapt, model.config.classes)
        )
    rows = [["labels", "method", "AP", "AP50", "AP25", "AP50, least to most"]]
    for name, class_ids in labels.items():
        tables = [
            score(
                [turned(scene, turn * TURN) for scene in scenes],
                *(class_ids, methods, model.config, FLAGS.min_vertices),
            )
            for turn in program.progress(range(FLAGS.num_turns), f"turns, {name} labels")
        ]
        rows += encode_rows(name, tables)
    text = encode_markdown(rows)
    print(f"{len(scenes)} scans, {FLAGS.num_turns} turns each\n\n{text}")
    if FLAGS.output_md:
        files.write_text(pathlib.Path(FLAGS.output_md), text + "\n", FLAGS.overwrite)


if __name__ == "__main__":
    define_flags()
    program.run(main, required=["scans_dir"])
