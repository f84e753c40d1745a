"""Fits a model's learned score: `python -m experiments.learn_scores --data_dir=D --run_dir=R`

A model proposes objects in scenes whose objects are known, and regression trees learn how well each
proposal covers one (`mtml_tf/segmentation/learned_score.py`). They go into the run's `model.json`
(`--overwrite`), or with `--output_dir` into a copy of it and of the weights, which stay as they
are. From then on `--learned_score` of `mtml_tf.predict` scores by them; with `--use` it is the
default.

Printed is how well a score ranks the proposals of scenes that it was not fitted to (Spearman's
rank correlation with their intersection over union), that of the formula beside it.
"""

import dataclasses
import pathlib
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from experiments.running import encode_markdown
from mtml_tf import files, program
from mtml_tf.config import SegmentConfig
from mtml_tf.scene import VoxelScene
from mtml_tf.segmentation import segment
from mtml_tf.segmentation.learned_score import Trees, describe_proposals, fit_trees
from mtml_tf.segmentation.proposals import members

if TYPE_CHECKING:
    from mtml_tf.inference.models import Model

FLAGS = flags.FLAGS

Array = np.ndarray

_NUM_FOLDS = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """The P proposals of a scene: what is known of them, what the formula and the truth say.

    Attributes:
        described: float64 [P, columns], see `describe_proposals`.
        formula: float64 [P], the final score without the learned one.
        ious: float64 [P], with the best object.
    """

    described: Array
    formula: Array
    ious: Array


def best_ious(proposals: Sequence[Array], instance_ids: Array) -> Array:
    """Returns float64 [P], the largest intersection over union of each with an instance.

    Args:
        proposals: P index sets.
        instance_ids: int [M], 0 for none.
    """
    owners, rows = members(proposals)
    sizes = np.array([len(indices) for indices in proposals])
    ids, columns = np.unique(instance_ids, return_inverse=True)
    columns = columns.reshape(-1)
    shape = (len(proposals), len(ids))
    shared = np.bincount(owners * len(ids) + columns[rows], minlength=shape[0] * shape[1])
    shared = shared.reshape(shape)
    ious = shared / (sizes[:, None] + np.bincount(columns) - shared)
    return np.where(ids > 0, ious, 0).max(axis=1, initial=0)


def make_examples(scene: VoxelScene, model: "Model") -> Examples:
    """Returns the proposals of a model in a scene. Raises ValueError without instance ids."""
    if scene.instance_ids is None:
        raise ValueError(
            f"scene {scene.name}: expected instance ids to learn scores from, found none"
        )
    embedding, direction, labels = model.predict(scene)
    config = dataclasses.replace(model.config.segment, learned_score=False)
    if not model.config.has_direction:
        config = dataclasses.replace(config, direction_weight=0.0)
    found = segment.propose(
        scene, embedding, direction if model.config.has_direction else None, config, labels
    )
    described = describe_proposals(
        *(found.indices, found.class_ids, scene, found.direction, found.feature, found.label),
        config.size_statistics,
    )
    return Examples(
        described, found.final_score(config), best_ious(found.indices, scene.instance_ids)
    )


def together(examples: Sequence[Examples]) -> Examples:
    """Returns the proposals of several scenes as those of one."""
    fields = dataclasses.fields(Examples)
    return Examples(*(np.concatenate([getattr(e, f.name) for e in examples]) for f in fields))


def check_ranking(scenes: Sequence[Sequence[Examples]]) -> list[list[str]]:
    """Returns a table: how each score ranks proposals of scenes that are left out of the fit.

    Args:
        scenes: of each scene its examples, several where it comes with several labels.
    """
    from scipy import stats

    learned, left_out = [], []
    for fold in range(min(_NUM_FOLDS, len(scenes))):
        kept = [e for n, each in enumerate(scenes) if n % _NUM_FOLDS != fold for e in each]
        rest = together([e for each in scenes[fold::_NUM_FOLDS] for e in each])
        if not any(len(each.ious) for each in kept):
            return []
        together_kept = together(kept)
        learned.append(fit_trees(together_kept.described, together_kept.ious)(rest.described))
        left_out.append(rest)
    rest = together(left_out)
    rows = [["score", "rank correlation with the IoU"]]
    for name, score in (("formula", rest.formula), ("learned", np.concatenate(learned))):
        rows.append([name, f"{stats.spearmanr(score, rest.ious).statistic:.3f}"])
    return rows


def with_trees(config: SegmentConfig, trees: Trees, use: bool) -> SegmentConfig:
    """Returns the settings with a learned score, which is in use or not."""
    return dataclasses.replace(config, score_trees=trees.to_dict(), learned_score=use)


def define_flags() -> None:
    """Defines the flags; here, so that other code can import this module beside its like."""
    flags.DEFINE_list("data_dir", None, "Data folders of the scenes, such as with other labels.")
    flags.DEFINE_string("split", "train", "Split of the data folders.")
    flags.DEFINE_integer(
        "num_scenes", 0, "At most so many of each folder, evenly spaced; 0: all.", lower_bound=0
    )
    flags.DEFINE_string("run_dir", None, "Run folder of the trained model.")
    flags.DEFINE_string("output_dir", "", "Run folder to make; empty changes that of --run_dir.")
    flags.DEFINE_bool("use", False, "The model scores by it, unless --nolearned_score is given.")
    flags.DEFINE_bool("overwrite", False, "Change the run folder that is there.")


def main() -> None:
    """Reads the flags, collects proposals, fits and writes."""
    if not FLAGS.output_dir and not FLAGS.overwrite:
        raise flags.Error("expected --output_dir, or --overwrite to change the run of --run_dir")
    if FLAGS.output_dir:
        files.check_may_replace(FLAGS.output_dir, overwrite=False)
    from experiments.rooms import PREDICTED
    from mtml_tf.data.records import DataFolder
    from mtml_tf.inference import models

    if not pathlib.Path(FLAGS.run_dir).is_dir():
        raise ValueError(f"{FLAGS.run_dir}: expected the folder of a run, found no such folder")
    model = models.load_model(FLAGS.run_dir)
    scenes: dict[str, list[Examples]] = {}
    for data_dir in FLAGS.data_dir:
        folder = DataFolder(data_dir)
        entries = folder.spaced_entries(FLAGS.split, FLAGS.num_scenes)
        for entry in program.progress(entries, "scenes"):
            room = entry.name.partition(PREDICTED)[0]
            scenes.setdefault(room, []).append(make_examples(folder.scene(entry), model))
    examples = together([each for of_scene in scenes.values() for each in of_scene])
    if not len(examples.ious):
        raise ValueError(f"{FLAGS.data_dir[0]}: expected proposals to learn from, found none")
    trees = fit_trees(examples.described, examples.ious)
    print(f"{len(examples.ious)} proposals of {len(scenes)} scenes\n")
    if rows := check_ranking(list(scenes.values())):
        print(encode_markdown(rows))
    segment_config = with_trees(model.config.segment, trees, FLAGS.use)
    config = dataclasses.replace(model.config, segment=segment_config)
    if not FLAGS.output_dir:
        models.write_model_config(FLAGS.run_dir, config)
        return
    with files.writing_folder(FLAGS.output_dir) as output:
        for name in (models.BEST, models.LAST):
            if (weights := pathlib.Path(FLAGS.run_dir) / name).is_dir():
                shutil.copytree(weights, output / name)
        models.write_model_config(output, config)


if __name__ == "__main__":
    define_flags()
    program.run(main, required=["data_dir", "run_dir"])
