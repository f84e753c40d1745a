"""Looks at a scan, a record, predictions or augmented training data.

One HTML file for any browser, offline, or a PNG:

    python tools/view.py --scan=scan.ply --output_html=scan.html
    python tools/view.py --data_dir=data/rooms --split=val --scene=room0210_00 \
        --scannet_dir=data/rooms_raw --run_dir=runs/rooms/multi_task --output_html=room.html
    python tools/view.py --data_dir=data/rooms --split=train --augmented --output_html=draws.html
"""

import pathlib

from absl import flags

from mtml_tf import config_flags, files, program
from mtml_tf.classes import read_classes
from mtml_tf.config import DataConfig
from mtml_tf.scans import scan
from mtml_tf.scans.scan_file import ScanFile

FLAGS = flags.FLAGS

# Flags that say nothing without another one.
NEEDS = {
    "scene": "data_dir",
    "scannet_dir": "data_dir",
    "augmented": "data_dir",
    "num_draws": "augmented",
    "flips": "augmented",
    "rotations": "augmented",
    "origins": "augmented",
    "stretch": "augmented",
    "warp": "augmented",
    "holes": "augmented",
    "unannotated": "augmented",
    "crop": "augmented",
    "modes": "output_png",
    "width": "output_png",
    "quarter_turns": "output_png",
}
OF_A_SCAN = ("classes", "label_map", "labels", "label_property", "up_axis", "scale")

flags.DEFINE_string("scan", "", "A scan (PLY), alone or as the vertices of a record.")
flags.DEFINE_string(
    "classes", "", "classes.csv or the name of a built-in class set, for the labels of --scan."
)
flags.DEFINE_string("label_map", "", "Class ids of --scan to read as others: their_id:our_id,...")
flags.DEFINE_string("labels", "", "File with the class of each vertex of --scan, as for predict.")
flags.DEFINE_string("label_property", scan.LABEL, "Vertex property of --scan with class ids.")
flags.DEFINE_enum("up_axis", "z", list(scan.UP_AXES), "The axis of --scan that points up.")
flags.DEFINE_float("scale", 1.0, "Metres that one of the units of --scan is.", lower_bound=1e-9)
flags.DEFINE_string("data_dir", "", "Data folder of the scene.")
flags.DEFINE_string("split", "val", "Split of the data folder.")
flags.DEFINE_string("scene", "", "Name of the scene; the first of the split by default.")
flags.DEFINE_string("scannet_dir", "", "Raw ScanNet scenes, to show vertices and not voxels.")
flags.DEFINE_string("prediction_dir", "", "Predictions in benchmark format.")
flags.DEFINE_string(
    "run_dir",
    "",
    "Trained model whose embedding and direction to show; its instances, too, without "
    "--prediction_dir.",
)
flags.DEFINE_integer(
    "min_vertices", 100, "Smaller objects and predictions are no mistakes.", lower_bound=0
)
flags.DEFINE_bool("augmented", False, "Show examples of --data_dir as training sees them.")
flags.DEFINE_integer("num_draws", 4, "How many examples, with --augmented.", lower_bound=1)
config_flags.define(DataConfig, leave_out=("batch_size",))
flags.adopt_module_key_flags(config_flags)
flags.DEFINE_string("output_html", "", "Page to write.")
flags.DEFINE_string("output_png", "", "Picture to write, the modes side by side.")
flags.DEFINE_list("modes", [], "Modes for the picture; all by default.")
flags.DEFINE_integer("width", 700, "Of each mode in the picture, pixels.", lower_bound=1)
flags.DEFINE_integer("quarter_turns", 0, "How often the viewer goes 90 degrees around the scene.")
flags.DEFINE_bool("overwrite", False, "Replace files that exist.")


def main() -> None:
    """Reads the flags and writes the view."""
    if not (FLAGS.scan or FLAGS.data_dir):
        raise flags.Error("expected --scan or --data_dir")
    if not (FLAGS.output_html or FLAGS.output_png):
        raise flags.Error("expected --output_html or --output_png")
    for name, needed in NEEDS.items():
        if FLAGS[name].present and not FLAGS[needed].value:
            raise flags.Error(f"expected --{name} together with --{needed} only")
    for name in OF_A_SCAN:
        if FLAGS[name].present and FLAGS.data_dir:
            raise flags.Error(f"expected --{name} without --data_dir only, whose records have it")
    for path, suffix in ((FLAGS.output_html, ".html"), (FLAGS.output_png, ".png")):
        if path:
            files.check_suffix(path, suffix)
            files.check_apart(path, (FLAGS.scan, FLAGS.labels, FLAGS.classes))
            files.check_may_write(path, FLAGS.overwrite)
    classes = read_classes(FLAGS.classes) if FLAGS.classes else None

    from mtml_tf.drawing.png import write_png
    from mtml_tf.drawing.view import draw_view
    from mtml_tf.drawing.view_html import write_view
    from mtml_tf.inference import viewing

    if FLAGS.augmented:
        config = config_flags.read(DataConfig, leave_out=("batch_size",))
        view = viewing.view_augmented(
            FLAGS.data_dir, FLAGS.split, config, FLAGS.scene, FLAGS.num_draws
        )
    elif FLAGS.data_dir:
        view = viewing.view_record(
            *(FLAGS.data_dir, FLAGS.split, FLAGS.scene, FLAGS.scan, FLAGS.scannet_dir),
            *(FLAGS.prediction_dir, FLAGS.run_dir, FLAGS.min_vertices),
        )
    else:
        names = ("labels", "label_property", "up_axis", "scale")
        scan_file = ScanFile(
            FLAGS.scan,
            label_map=scan.parse_label_map(FLAGS.label_map),
            **{name: FLAGS[name].value for name in names},
        )
        view = viewing.view_scan(
            scan_file, classes, FLAGS.prediction_dir, FLAGS.run_dir, FLAGS.min_vertices
        )
    if FLAGS.output_html:
        write_view(FLAGS.output_html, view, FLAGS.overwrite)
        print(FLAGS.output_html)
    if FLAGS.output_png:
        picture = draw_view(view, FLAGS.width, FLAGS.modes, FLAGS.quarter_turns)
        write_png(pathlib.Path(FLAGS.output_png), picture, FLAGS.overwrite)
        print(f"{FLAGS.output_png}: {', '.join(FLAGS.modes or view.modes)}")


if __name__ == "__main__":
    program.run(main)
