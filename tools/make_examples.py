"""Makes the example scans: `python tools/make_examples.py --output_dir=examples`

The room is that of the repository where the catalogues of furniture are at hand (docs/rooms.md);
without them it is furnished with plain boxes.
"""

from absl import flags

from mtml_tf import files, program
from mtml_tf.rooms import catalogue, examples, making

FLAGS = flags.FLAGS

NAMES = ("toy.ply", "tabletop.ply", "room.ply")
EXAMPLES = files.FolderKind("example scans", NAMES[0], lambda path: path.name in NAMES)

flags.DEFINE_string("output_dir", None, "Folder for toy.ply, tabletop.ply and room.ply.")
flags.DEFINE_integer("seed", 0, "Of the scenes.", lower_bound=0)
flags.DEFINE_string(
    "furniture_dir", "", "Folder of furniture catalogues (*.sh3f); by default the installed ones."
)
flags.DEFINE_bool("overwrite", False, "Replace a folder that exists.")


def main() -> None:
    """Reads the flags and makes the scans."""
    files.check_may_replace(FLAGS.output_dir, FLAGS.overwrite, EXAMPLES)
    settings = making.MakingSettings(
        FLAGS.seed, catalogue=catalogue.find_catalogue(FLAGS.furniture_dir)
    )
    examples.make_examples(FLAGS.output_dir, settings, FLAGS.overwrite)


if __name__ == "__main__":
    program.run(main, required=["output_dir"])
