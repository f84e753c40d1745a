"""Speed and memory, side by side with what a user would pick instead: one run, one table."""

from absl import flags

from mtml_tf import program

FLAGS = flags.FLAGS

flags.DEFINE_list(
    "only",
    [],
    "Sections to measure, all by default: forward, train, variants, onednn, blocks, pipeline, "
    "loss, mean_shift, voxelize, score, path, peak, growth, memory.",
)
flags.DEFINE_integer("repeats", 5, "Timed calls of each side.", lower_bound=1)
flags.DEFINE_float("max_seconds", 90.0, "No new round of a comparison begins after so long.")
flags.DEFINE_bool("quick", False, "Small cases, to try the program out.")
flags.DEFINE_string("run_dir", "", "Run folder: real embeddings too; with --data_dir.")
flags.DEFINE_string(
    "data_dir", "", "Data folder of scenes: for the trained model, and of the section pipeline."
)
flags.DEFINE_string("split", "val", "Split of the data folder.")
flags.DEFINE_bool("tensor_float_32", False, "Lets a GPU round products to TensorFloat-32.")
flags.DEFINE_string("output_dir", "", "Folder for the table; results/<machine> by default.")
flags.DEFINE_bool("overwrite", False, "Replaces a table that exists.")


def main() -> None:
    """Reads the flags, measures, prints and writes the table."""
    from experiments.speed import benchmark
    from experiments.speed.sizes import FULL, QUICK

    settings = benchmark.Settings(
        only=tuple(FLAGS.only),
        repeats=FLAGS.repeats,
        max_seconds=FLAGS.max_seconds,
        sizes=QUICK if FLAGS.quick else FULL,
        run_dir=FLAGS.run_dir,
        data_dir=FLAGS.data_dir,
        split=FLAGS.split,
        tensor_float_32=FLAGS.tensor_float_32,
    )
    print(benchmark.benchmark(settings, FLAGS.output_dir, FLAGS.overwrite))


if __name__ == "__main__":
    program.run(main)
