"""Prepares anyone's labelled scans: a folder of PLY files to a data folder."""

from absl import flags

from mtml_tf import config_flags, program
from mtml_tf.classes import read_classes
from mtml_tf.engines import Engine
from mtml_tf.scans import preparing, scan, semantic_input

FLAGS = flags.FLAGS

flags.DEFINE_string("input_dir", None, "Folder of labelled PLY files.")
flags.DEFINE_string("classes", None, "classes.csv, or the name of a built-in class set.")
flags.DEFINE_string("output_dir", None, "Data folder; gets a new split if it exists.")
flags.DEFINE_string("split", "train", "Name of the split.")
flags.DEFINE_float("voxel_size", 0.01, "Edge length of a voxel, metres.")
flags.DEFINE_string(
    "semantic_dir",
    "",
    "Predictions as input, <scene>.txt or <scene>.npy; the scans' own labels where empty.",
)
flags.DEFINE_enum(
    "scores",
    semantic_input.PROBABILITIES,
    semantic_input.SCORES,
    "What the numbers of a table <scene>.npy mean. Features are no classes: beside them goes a "
    "<scene>.txt with a class id in each line.",
)
flags.DEFINE_string(
    "label_map", "", "Class ids of the scans to read as other ids: their_id:our_id,..."
)
flags.DEFINE_enum("up_axis", "z", list(scan.UP_AXES), "The axis of the scans that points up.")
flags.DEFINE_float(
    "scale", 1.0, "Metres that one of the scans' units is: 0.001 for millimetres.", lower_bound=1e-9
)
flags.DEFINE_list("scenes", [], "Stems of the files to take; all by default.")
flags.DEFINE_list("exclude_scenes", [], "Stems of the files to leave out.")
flags.DEFINE_integer(
    "origin_jitter_seed",
    None,
    "Starts each grid at a random place in a voxel, by this seed.",
    lower_bound=0,
)
config_flags.define(Engine)
flags.adopt_module_key_flags(config_flags)
flags.DEFINE_bool("overwrite", False, "Replaces a split that exists.")


def main() -> None:
    """Reads the flags, prepares the scans and writes them as one split."""
    from mtml_tf.data import prepared_folder

    settings = preparing.Settings(
        read_classes(FLAGS.classes),
        FLAGS.voxel_size,
        FLAGS.semantic_dir,
        FLAGS.scores,
        scan.parse_label_map(FLAGS.label_map),
        FLAGS.up_axis,
        FLAGS.scale,
        FLAGS.origin_jitter_seed,
    )
    paths = preparing.find_scans(FLAGS.input_dir, FLAGS.scenes, FLAGS.exclude_scenes)
    written = prepared_folder.write_prepared_folder(
        FLAGS.output_dir,
        preparing.as_split(FLAGS.split, paths),
        settings,
        config_flags.read(Engine),
        FLAGS.overwrite,
    )
    print(written)


if __name__ == "__main__":
    program.run(main, required=["input_dir", "classes", "output_dir"])
