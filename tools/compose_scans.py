"""Composes new labelled tabletop scenes from the objects of labelled scans."""

from absl import flags

from mtml_tf import program
from mtml_tf.classes import STUFF, THING, ClassSet, read_classes
from mtml_tf.scans import compose

FLAGS = flags.FLAGS

flags.DEFINE_string("input_dir", None, "Folder of labelled PLY files.")
flags.DEFINE_string("output_dir", None, "Folder to write composed_NNNN.ply into.")
flags.DEFINE_string(
    "classes", None, "classes.csv; by default 1 is the table (stuff) and 2 an object (thing)."
)
flags.DEFINE_integer("num_scenes", 40, "How many scenes.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Of all chance.", lower_bound=0)
flags.DEFINE_list("scenes", [], "Stems of the files to take; all by default.")
flags.DEFINE_integer("min_objects", 3, "Smallest number of objects.", lower_bound=1)
flags.DEFINE_integer("max_objects", 12, "Largest number of objects.", lower_bound=1)
flags.DEFINE_integer(
    "scans_per_scene", 3, "From how many scans the objects of one scene come.", lower_bound=1
)
flags.DEFINE_float(
    "max_yaw", compose.ComposeConfig.max_yaw_degrees, "Objects are turned by up to this, degrees."
)
flags.DEFINE_float(
    "camera_azimuth",
    compose.ComposeConfig.camera_azimuth_degrees,
    "Where the camera stood, seen from the objects: degrees from the x axis towards y.",
)
flags.DEFINE_bool("hide", True, "Takes away what the camera could not see.")
flags.DEFINE_integer("num_workers", 0, "Processes; 0 for one a core.", lower_bound=0)
flags.DEFINE_bool("overwrite", False, "Replaces the folder if it exists.")


def main() -> None:
    """Reads the flags and composes the scenes."""
    classes = ClassSet((1, 2), ("table", "object"), (STUFF, THING))
    compose.compose_folder(
        FLAGS.input_dir,
        FLAGS.output_dir,
        read_classes(FLAGS.classes) if FLAGS.classes else classes,
        FLAGS.num_scenes,
        FLAGS.seed,
        FLAGS.scenes,
        (FLAGS.min_objects, FLAGS.max_objects),
        FLAGS.scans_per_scene,
        compose.ComposeConfig(
            max_yaw_degrees=FLAGS.max_yaw,
            camera_azimuth_degrees=FLAGS.camera_azimuth,
            hide=FLAGS.hide,
        ),
        FLAGS.num_workers,
        FLAGS.overwrite,
    )
    print(f"{FLAGS.output_dir}: wrote {FLAGS.num_scenes} scenes")


if __name__ == "__main__":
    program.run(main, required=["input_dir", "output_dir"])
