"""Imports the HDF5 voxel grids of the paper's authors: a folder of them to a data folder."""

from absl import flags

from mtml_tf import program
from mtml_tf.classes import SCANNET20
from mtml_tf.scannet import mtml_hdf5

FLAGS = flags.FLAGS

flags.DEFINE_string("input_dir", None, "Folder of <scene>_seg.hdf5 and the others.")
flags.DEFINE_string("output_dir", None, "Data folder; gets a new split if it exists.")
flags.DEFINE_string("split", "train", "Name of the split.")
flags.DEFINE_enum(
    "semantic", mtml_hdf5.GROUND_TRUTH, mtml_hdf5.SEMANTIC, "True labels, or <scene>_h_pred.hdf5."
)
flags.DEFINE_float("voxel_size", 0.1, "Edge length of a voxel, metres (paper section 3.1).")
flags.DEFINE_list("scenes", [], "Names of the scenes to take; all by default.")
flags.DEFINE_bool("overwrite", False, "Replaces what exists.")


def main() -> None:
    """Reads the flags, reads the grids and writes them as one split."""
    from mtml_tf.data import writing

    names = mtml_hdf5.find_scenes(FLAGS.input_dir, FLAGS.semantic, FLAGS.scenes)
    scenes = mtml_hdf5.ImportedScenes(FLAGS.input_dir, names, FLAGS.semantic, FLAGS.voxel_size)
    writing.write_data_folder(FLAGS.output_dir, SCANNET20, {FLAGS.split: scenes}, FLAGS.overwrite)
    print(f"{FLAGS.output_dir}: wrote {len(names)} scenes as split '{FLAGS.split}'")


if __name__ == "__main__":
    program.run(main, required=["input_dir", "output_dir"])
