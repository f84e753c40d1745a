"""Composes new labelled tabletop scenes from the objects of labelled scans."""

from absl import flags

from mtml_tf import program
from mtml_tf.classes import STUFF, THING, ClassSet, read_classes
from mtml_tf.scans import compose

_INPUT_DIR = flags.DEFINE_string("input_dir", None, "Folder of labelled PLY files.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Folder to write composed_NNNN.ply into.")
_CLASSES = flags.DEFINE_string(
    "classes", None, "classes.csv; by default 1 is the table (stuff) and 2 an object (thing)."
)
_NUM_SCENES = flags.DEFINE_integer("num_scenes", 40, "How many scenes.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of all chance.", lower_bound=0)
_SCENES = flags.DEFINE_list("scenes", [], "Stems of the files to take; all by default.")
_MIN_OBJECTS = flags.DEFINE_integer("min_objects", 3, "Smallest number of objects.", lower_bound=1)
_MAX_OBJECTS = flags.DEFINE_integer("max_objects", 12, "Largest number of objects.", lower_bound=1)
_SCANS_PER_SCENE = flags.DEFINE_integer(
    "scans_per_scene", 3, "From how many scans the objects of one scene come.", lower_bound=1
)
_MAX_YAW = flags.DEFINE_float(
    "max_yaw", compose.ComposeConfig.max_yaw_degrees, "Objects are turned by up to this, degrees."
)
_CAMERA_AZIMUTH = flags.DEFINE_float(
    "camera_azimuth",
    compose.ComposeConfig.camera_azimuth_degrees,
    "Where the camera stood, seen from the objects: degrees from the x axis towards y.",
)
_HIDE = flags.DEFINE_bool("hide", True, "Takes away what the camera could not see.")
_NUM_WORKERS = flags.DEFINE_integer("num_workers", None, "Processes; one a processor by default.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replaces the folder if it exists.")


def main() -> None:
    """Reads the flags and composes the scenes."""
    classes = ClassSet((1, 2), ("table", "object"), (STUFF, THING))
    compose.compose_folder(
        _INPUT_DIR.value,
        _OUTPUT_DIR.value,
        read_classes(_CLASSES.value) if _CLASSES.value else classes,
        _NUM_SCENES.value,
        _SEED.value,
        _SCENES.value,
        (_MIN_OBJECTS.value, _MAX_OBJECTS.value),
        _SCANS_PER_SCENE.value,
        compose.ComposeConfig(
            max_yaw_degrees=_MAX_YAW.value,
            camera_azimuth_degrees=_CAMERA_AZIMUTH.value,
            hide=_HIDE.value,
        ),
        _NUM_WORKERS.value,
        _OVERWRITE.value,
    )
    print(f"{_OUTPUT_DIR.value}: wrote {_NUM_SCENES.value} scenes")


if __name__ == "__main__":
    program.run(main, required=["input_dir", "output_dir"])
