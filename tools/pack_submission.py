"""Checks and packs predictions for the ScanNet server: a zip, or a list of all problems."""

from absl import flags

from mtml_tf import files, program
from mtml_tf.scannet import reader, submission

FLAGS = flags.FLAGS

flags.DEFINE_string("prediction_dir", None, "Folder of predictions in benchmark format.")
flags.DEFINE_string("output_zip", None, "Zip to write; it appears whole or not at all.")
flags.DEFINE_string("scannet_dir", None, "Folder of scans_test/, whose meshes tell vertex counts.")
flags.DEFINE_string("vertex_counts", None, "Text file of 'scene count' lines, in place of meshes.")
flags.DEFINE_string(
    "scenes",
    None,
    "Text file that names the scenes to pack, one in each line; by default the 100 test scenes.",
)
flags.DEFINE_bool("overwrite", False, "Replaces a zip that exists.")
flags.mark_flags_as_mutual_exclusive(["scannet_dir", "vertex_counts"])


def main() -> None:
    """Reads the flags, checks and packs."""
    names = files.read_scene_list(FLAGS.scenes) if FLAGS.scenes else submission.TEST_SCENES
    counts = None
    if FLAGS.scannet_dir:
        counts = reader.read_vertex_counts(FLAGS.scannet_dir, names)
    elif FLAGS.vertex_counts:
        counts = submission.read_vertex_count_table(FLAGS.vertex_counts)
    packed = submission.pack_submission(
        FLAGS.prediction_dir, FLAGS.output_zip, names, counts, FLAGS.overwrite
    )
    print(
        f"{FLAGS.output_zip}: packed {packed.num_scenes} scenes, {len(packed.paths)} files, "
        f"{packed.unpacked_bytes / 1e9:.2f} GB unpacked"
    )


if __name__ == "__main__":
    program.run(main, required=["prediction_dir", "output_zip"])
