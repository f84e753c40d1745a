"""Segments scenes: `python -m mtml_tf.predict --run_dir=R --data_dir=D --split=val --output_dir=P`.

Writes instances in the ScanNet benchmark's format, on the vertices of the scans.
"""

import dataclasses
from collections.abc import Iterator

from absl import flags

from mtml_tf import config_flags, program
from mtml_tf.config import SegmentConfig
from mtml_tf.scene import Instance, VoxelScene

FLAGS = flags.FLAGS

flags.DEFINE_string("run_dir", None, "Run folder of a trained model.")
flags.DEFINE_enum(
    "weights", "", ["", "best", "last"], "Which weights; the best ones there by default."
)
flags.DEFINE_string("data_dir", None, "Data folder of the scenes; with --split.")
flags.DEFINE_string("split", "val", "Split of the data folder.")
flags.DEFINE_string("scan", None, "A labelled scan (PLY) instead of a data folder.")
flags.DEFINE_string(
    "label_map", "", "their_id:our_id,... for a scan with other class ids than the model's."
)
flags.DEFINE_string("output_dir", None, "Folder for the predictions.")
flags.DEFINE_bool("overwrite", False, "Replace an output folder that exists.")
# Unless given, the settings are those that the model was trained with.
config_flags.define(SegmentConfig, config_flags.FROM_DATA, as_default=False)
flags.adopt_module_key_flags(config_flags)


def main() -> None:
    """Reads the flags and segments."""
    if (FLAGS.scan is None) == (FLAGS.data_dir is None):
        raise flags.Error("expected either --data_dir or --scan")
    changed = config_flags.read_given(SegmentConfig, config_flags.FROM_DATA)

    from mtml_tf.learning import models, prediction, records
    from mtml_tf.scans import scan, voxels

    model = models.load_model(FLAGS.run_dir, FLAGS.weights)
    segment = dataclasses.replace(model.config.segment, **changed)
    model = dataclasses.replace(model, config=dataclasses.replace(model.config, segment=segment))

    def scenes() -> Iterator[VoxelScene]:
        if FLAGS.scan is None:
            yield from records.DataFolder(FLAGS.data_dir).scenes(FLAGS.split)
        else:
            labelled = scan.read_scan(FLAGS.scan, scan.parse_label_map(FLAGS.label_map))
            yield voxels.voxelize(labelled, model.config.voxel_size, model.config.classes)

    def segmented() -> Iterator[tuple[VoxelScene, list[Instance]]]:
        for scene in scenes():
            yield scene, model.segment(scene)

    prediction.write_instances(segmented(), FLAGS.output_dir, FLAGS.overwrite)


if __name__ == "__main__":
    program.run(main, required=["run_dir", "output_dir"])
