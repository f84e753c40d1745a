"""Makes the paper's synthetic scenes: `python tools/make_toy.py --output_dir=data/toy`."""

from absl import flags

from mtml_tf import program
from mtml_tf.scans import toy

FLAGS = flags.FLAGS

flags.DEFINE_string("output_dir", None, "Data folder to write.")
flags.DEFINE_integer("num_train", 900, "Training scenes (paper section 4: 900).", lower_bound=0)
flags.DEFINE_integer("num_test", 100, "Test scenes (paper section 4: 100).", lower_bound=0)
flags.DEFINE_integer("seed", 0, "Of the data set.", lower_bound=0)
flags.DEFINE_float("contact_probability", 0.35, "That a box touches one already there.")
flags.DEFINE_integer("num_workers", 0, "Processes; 0 for one a core.", lower_bound=0)
flags.DEFINE_bool("overwrite", False, "Replace splits that exist.")


def main() -> None:
    """Reads the flags and writes the scenes."""
    from mtml_tf.data.writing import write_data_folder
    from mtml_tf.scoring.ground_truth import ground_truth_ids

    config = toy.ToyConfig(contact_probability=FLAGS.contact_probability)
    counts = {"train": FLAGS.num_train, "test": FLAGS.num_test}
    splits = {
        split: (
            (scene, ground_truth_ids(scene, toy.TOY_CLASSES))
            for scene in toy.make_toy_scenes(split, count, FLAGS.seed, config, FLAGS.num_workers)
        )
        for split, count in counts.items()
        if count
    }
    write_data_folder(FLAGS.output_dir, toy.TOY_CLASSES, splits, FLAGS.overwrite)


if __name__ == "__main__":
    program.run(main, required=["output_dir"])
