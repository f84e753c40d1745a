"""Prepares raw ScanNet v2: the download to a data folder."""

from absl import flags

from mtml_tf import config_flags, program
from mtml_tf.engines import Engine
from mtml_tf.scannet import preparing
from mtml_tf.scans import semantic_input

FLAGS = flags.FLAGS

flags.DEFINE_string(
    "scannet_dir", None, "The download: scans/, scans_test/, the label table and the split lists."
)
flags.DEFINE_string("output_dir", None, "Data folder; gets new splits if it exists.")
flags.DEFINE_list("splits", ["train", "val"], "Among train, val, test (takes --semantic_dir).")
flags.DEFINE_string(
    "split_dir", "", "Folder of the split lists; else in scannet_dir or its Tasks/Benchmark."
)
flags.DEFINE_string(
    "semantic_dir", "", "Predictions, <scene>.txt or <scene>.npy; the true labels where empty."
)
flags.DEFINE_enum(
    "scores",
    semantic_input.PROBABILITIES,
    semantic_input.SCORES,
    "What the numbers of a table <scene>.npy mean. Features are no classes: beside them goes a "
    "<scene>.txt with a class id in each line.",
)
flags.DEFINE_float("voxel_size", 0.1, "Edge length of a voxel, metres (paper section 3.1).")
flags.DEFINE_bool("align_axes", True, "Turn scenes as axisAlignment in <scene>.txt says.")
config_flags.define(Engine)
flags.adopt_module_key_flags(config_flags)
flags.DEFINE_bool("overwrite", False, "Replaces splits that exist.")


def main() -> None:
    """Reads the flags, prepares the scenes and writes them."""
    from mtml_tf.data import prepared_folder

    settings = preparing.Settings(
        FLAGS.scannet_dir, FLAGS.semantic_dir, FLAGS.scores, FLAGS.voxel_size, FLAGS.align_axes
    )
    scenes = preparing.find_scenes(FLAGS.scannet_dir, FLAGS.splits, FLAGS.split_dir)
    written = prepared_folder.write_prepared_folder(
        FLAGS.output_dir, scenes, settings, config_flags.read(Engine), FLAGS.overwrite
    )
    print(written)


if __name__ == "__main__":
    program.run(main, required=["scannet_dir", "output_dir"])
