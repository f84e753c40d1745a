"""Prepares scans for the semantic network: raw ScanNet v2, or PLY files, to a points folder."""

from absl import flags

from mtml_tf import config_flags, program
from mtml_tf.classes import read_classes
from mtml_tf.engines import Engine
from mtml_tf.scannet import preparing as scannet_preparing
from mtml_tf.scans import preparing as scans_preparing
from mtml_tf.scans import scan
from mtml_tf.semantic import point_folder
from mtml_tf.semantic.preparing import ScannetPoints, ScanPoints

FLAGS = flags.FLAGS

flags.DEFINE_string("output_dir", None, "Points folder; gets new splits if it exists.")
flags.DEFINE_string(
    "scannet_dir", "", "The download: scans/, scans_test/, the label table and the split lists."
)
flags.DEFINE_list("splits", ["train", "val"], "With --scannet_dir: among train, val, test.")
flags.DEFINE_string(
    "split_dir", "", "Folder of the split lists; else in scannet_dir or its Tasks/Benchmark."
)
flags.DEFINE_string("input_dir", "", "Folder of PLY files, labelled or not.")
flags.DEFINE_string("split", "train", "With --input_dir: name of the split.")
flags.DEFINE_string(
    "classes", "", "With --input_dir: classes.csv, or the name of a built-in class set."
)
flags.DEFINE_string(
    "label_map", "", "Class ids of the PLY files to read as other ids: their_id:our_id,..."
)
flags.DEFINE_enum("up_axis", "z", list(scan.UP_AXES), "The axis of the PLY files that points up.")
flags.DEFINE_float(
    "scale",
    1.0,
    "Metres that one of the PLY files' units is: 0.001 for millimetres.",
    lower_bound=1e-9,
)
flags.DEFINE_list("scenes", [], "Stems of the PLY files to take; all by default.")
flags.DEFINE_list("exclude_scenes", [], "Stems of the PLY files to leave out.")
config_flags.define(Engine)
flags.adopt_module_key_flags(config_flags)
flags.DEFINE_bool(
    "overwrite", False, "Makes scenes anew whose files or settings changed, and replaces lists."
)

_OF_SCANNET = ("splits", "split_dir")
_OF_SCANS = ("split", "classes", "label_map", "up_axis", "scale", "scenes", "exclude_scenes")


def main() -> None:
    """Reads the flags, makes the points of the scans and writes them."""
    if bool(FLAGS.scannet_dir) == bool(FLAGS.input_dir):
        found = "both" if FLAGS.scannet_dir else "neither"
        raise flags.Error(f"expected either --scannet_dir or --input_dir, found {found}")
    given, others = ("scannet_dir", _OF_SCANS) if FLAGS.scannet_dir else ("input_dir", _OF_SCANNET)
    if wrong := [name for name in others if not FLAGS[name].using_default_value]:
        raise flags.Error(f"expected no --{wrong[0]} together with --{given}")
    preparation: point_folder.PointPreparation
    if FLAGS.scannet_dir:
        preparation = ScannetPoints(FLAGS.scannet_dir)
        sources = scannet_preparing.find_scenes(FLAGS.scannet_dir, FLAGS.splits, FLAGS.split_dir)
    elif not FLAGS.classes:
        raise flags.Error("--classes is required together with --input_dir")
    else:
        label_map = scan.parse_label_map(FLAGS.label_map)
        classes = read_classes(FLAGS.classes)
        preparation = ScanPoints(classes, label_map, FLAGS.up_axis, FLAGS.scale)
        paths = scans_preparing.find_scans(FLAGS.input_dir, FLAGS.scenes, FLAGS.exclude_scenes)
        sources = scans_preparing.as_split(FLAGS.split, paths)
    written = point_folder.write_point_folder(
        FLAGS.output_dir, sources, preparation, config_flags.read(Engine), FLAGS.overwrite
    )
    print(written)


if __name__ == "__main__":
    program.run(main, required=["output_dir"])
