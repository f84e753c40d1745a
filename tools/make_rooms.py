"""Makes simulated scanned rooms: `python tools/make_rooms.py --output_dir=data/rooms_raw`

The raw layout of ScanNet, with simulated semantic predictions in `semantic/`; what
`tools/prepare_scannet.py` reads.
"""

from absl import flags

from mtml_tf import program
from mtml_tf.rooms import catalogue, making
from mtml_tf.rooms.light import LightSettings
from mtml_tf.rooms.paint import PaintSettings

FLAGS = flags.FLAGS

flags.DEFINE_string("output_dir", None, "Folder of the set; goes on with one that is there.")
flags.DEFINE_integer("num_scenes", 240, "Rooms.", lower_bound=1)
flags.DEFINE_integer("num_val", 40, "How many of them, the last, are for validation.")
flags.DEFINE_integer("seed", 0, "Of the set.", lower_bound=0)
flags.DEFINE_string(
    "furniture_dir", "", "Folder of furniture catalogues (*.sh3f); by default the installed ones."
)
flags.DEFINE_integer("num_workers", 0, "Processes; 0 for one a core.", lower_bound=0)
flags.DEFINE_float("label_noise", 1.0, "Strength of the errors of the predicted labels; 0: none.")
flags.DEFINE_float("variety", 1.0, "How much light and paint differ from room to room; 0: not.")


def main() -> None:
    """Reads the flags and makes the rooms."""
    settings = making.MakingSettings(
        FLAGS.seed,
        light=LightSettings(FLAGS.variety),
        paint=PaintSettings(FLAGS.variety),
        label_noise=FLAGS.label_noise,
        catalogue=catalogue.find_catalogue(FLAGS.furniture_dir),
    )
    making.make_rooms(
        FLAGS.output_dir, FLAGS.num_scenes, FLAGS.num_val, settings, FLAGS.num_workers
    )


if __name__ == "__main__":
    program.run(main, required=["output_dir"])
