"""Prepares anyone's labelled scans: a folder of PLY files to a data folder."""

from absl import flags

from mtml_tf import program
from mtml_tf.classes import read_classes
from mtml_tf.scans import preparing, scan

_INPUT_DIR = flags.DEFINE_string("input_dir", None, "Folder of labelled PLY files.")
_CLASSES = flags.DEFINE_string("classes", None, "classes.csv, or the name of a built-in class set.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Data folder; gets a new split if it exists.")
_SPLIT = flags.DEFINE_string("split", "train", "Name of the split.")
_VOXEL_SIZE = flags.DEFINE_float("voxel_size", 0.01, "Edge length of a voxel, metres.")
_LABEL_MAP = flags.DEFINE_string(
    "label_map", "", "Class ids of the files to read as other ids: their_id:our_id,..."
)
_SCENES = flags.DEFINE_list("scenes", [], "Stems of the files to take; all by default.")
_EXCLUDE_SCENES = flags.DEFINE_list("exclude_scenes", [], "Stems of the files to leave out.")
_ORIGIN_JITTER_SEED = flags.DEFINE_integer(
    "origin_jitter_seed", None, "Starts each grid at a random place within a voxel.", lower_bound=0
)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replaces what exists.")


def main() -> None:
    """Reads the flags, voxelizes the scans and writes them as one split."""
    from mtml_tf.learning import records

    classes = read_classes(_CLASSES.value)
    paths = preparing.find_scans(_INPUT_DIR.value, _SCENES.value, _EXCLUDE_SCENES.value)
    scenes = preparing.PreparedScans(
        paths,
        classes,
        _VOXEL_SIZE.value,
        scan.parse_label_map(_LABEL_MAP.value),
        _ORIGIN_JITTER_SEED.value,
    )
    records.write_data_folder(_OUTPUT_DIR.value, classes, {_SPLIT.value: scenes}, _OVERWRITE.value)
    print(f"{_OUTPUT_DIR.value}: wrote {len(paths)} scans as split '{_SPLIT.value}'")


if __name__ == "__main__":
    program.run(main, required=["input_dir", "classes", "output_dir"])
