"""Tries settings of the post-processing on training scenes.

    python -m experiments.sweep --run_dir=runs/table1/multi_task --data_dir=data/toy

Prints AP and AP50 of the best combinations and of the model's own. The defaults of `SegmentConfig`
were chosen so; test scenes are never looked at.
"""

import dataclasses
import itertools

from absl import flags

from experiments.running import encode_markdown
from mtml_tf import files, program
from mtml_tf.config import SegmentConfig
from mtml_tf.scans.voxels import on_vertices
from mtml_tf.scoring.average_precision import average_precision
from mtml_tf.segmentation.segment import propose, select

FLAGS = flags.FLAGS

# Settings that change the proposals (costly), and those that only choose among them (cheap).
PROPOSING = {
    "bandwidths": [(0.6,), (1.0,), (0.6, 1.0, 1.5)],
    "feature_threshold": [1.0],
}
CHOOSING = {
    "direction_weight": [0.0, 0.5, 1.0, 2.0],
    "feature_weight": [0.0, 0.5, 1.0],
    "size_weight": [0.0, 0.5, 1.0],
    "suppression_iou": [0.2, 0.3, 0.5],
    "min_voxels": [10],
}


def combinations(settings: dict) -> list[dict]:
    """Returns every combination of the listed values."""
    return [dict(zip(settings, v, strict=True)) for v in itertools.product(*settings.values())]


def define_flags() -> None:
    """Defines the flags; here, so that other code can import this module beside its like."""
    flags.DEFINE_string("run_dir", None, "Run folder of a trained model.")
    flags.DEFINE_string("data_dir", None, "Data folder.")
    flags.DEFINE_string("split", "train", "Split to try on.")
    flags.DEFINE_integer("num_scenes", 60, "Scenes, evenly spaced in the split.", lower_bound=1)
    flags.DEFINE_integer("min_vertices", 100, "Smallest ground truth that counts, vertices.")
    flags.DEFINE_integer("show", 20, "Best combinations to print.")
    flags.DEFINE_string("output_md", "", "Markdown file for the table; empty for none.")
    flags.DEFINE_bool("overwrite", False, "Replace a table that exists.")


def main() -> None:
    """Reads the flags, tries all combinations and prints the best."""
    if FLAGS.output_md:
        files.check_may_write(FLAGS.output_md, FLAGS.overwrite)
    from mtml_tf.data.records import DataFolder
    from mtml_tf.inference.models import load_model

    model, folder = load_model(FLAGS.run_dir), DataFolder(FLAGS.data_dir)
    entries = folder.spaced_entries(FLAGS.split, FLAGS.num_scenes)
    scenes = [folder.scene(entry) for entry in entries]
    predicted = [model.predict(scene) for scene in program.progress(scenes, "scenes")]
    truths = [folder.ground_truth(FLAGS.split, entry) for entry in entries]

    results = []
    for proposing in program.progress(combinations(PROPOSING), "proposal settings"):
        config = dataclasses.replace(model.config.segment, learned_score=False, **proposing)
        proposals = [
            propose(scene, values.embedding, values.direction, config, values.labels)
            for scene, values in zip(scenes, predicted, strict=True)
        ]
        for choosing in combinations(CHOOSING):
            chosen: SegmentConfig = dataclasses.replace(config, **choosing)
            instances = [
                [on_vertices(instance, scene) for instance in select(found, chosen)]
                for scene, found in zip(scenes, proposals, strict=True)
            ]
            pairs = zip(truths, instances, strict=True)
            average = average_precision(pairs, folder.classes, FLAGS.min_vertices).average
            results.append((average.ap50, average.ap, {**proposing, **choosing}))
    results.sort(key=lambda result: result[:2], reverse=True)
    header = ["rank", *results[0][2], "AP50", "AP"]
    own = {name: getattr(model.config.segment, name) for name in results[0][2]}
    rows = [
        [str(rank), *(str(v) for v in settings.values()), f"{ap50:.4f}", f"{ap:.4f}"]
        for rank, (ap50, ap, settings) in enumerate(results, start=1)
        if rank <= FLAGS.show or settings == own
    ]
    text = encode_markdown([header, *rows]) + "\n"
    print(text)
    if FLAGS.output_md:
        files.write_text(FLAGS.output_md, text, FLAGS.overwrite)


if __name__ == "__main__":
    define_flags()
    program.run(main, required=["run_dir", "data_dir"])
