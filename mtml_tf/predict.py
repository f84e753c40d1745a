"""Segments scenes, or scans of one's own.

    python -m mtml_tf.predict --run_dir=R --data_dir=D --split=val --output_dir=P
    python -m mtml_tf.predict --model=rooms --scan=scan.ply --output_dir=P
    python -m mtml_tf.predict --model=rooms --scan=scan1.ply,scan2.ply --output_dir=P
    python -m mtml_tf.predict --model=rooms --scan=raw.ply --semantic=rooms_semantic --output_dir=P

Writes instances in the ScanNet benchmark's format, on the vertices of the scans. Started again
with the same settings, it makes only what is missing of a split or of several scans.
"""

import pathlib
import time
from typing import TYPE_CHECKING

from absl import flags

from mtml_tf import config_flags, files, program, timing
from mtml_tf.config import EXECUTIONS, PRECISIONS, SegmentConfig
from mtml_tf.engines import Engine
from mtml_tf.scans import scan, scan_file, semantic_input
from mtml_tf.scoring.folders import PREDICTIONS, SETTINGS, check_may_predict

if TYPE_CHECKING:
    from mtml_tf.inference.prediction import Labelling

FLAGS = flags.FLAGS

MASKS = ("text", "compact")

flags.DEFINE_string("run_dir", None, "Run folder of a trained model.")
flags.DEFINE_string("saved_model", None, "A SavedModel of mtml_tf.export instead of --run_dir.")
flags.DEFINE_string("model", None, "A model of the package (toy, ...) instead of --run_dir.")
flags.DEFINE_enum(
    "weights",
    "",
    ["", "best", "last"],
    "Of the run: those of the best validation score, or the last ones (of a training that has not "
    "ended: its newest checkpoint). By default the best where there are any, else the last.",
)
flags.DEFINE_enum(
    "precision",
    PRECISIONS[0],
    PRECISIONS,
    "Of activations and products; bfloat16 is faster where the hardware has it, else refused.",
)
flags.DEFINE_enum(
    "execution",
    EXECUTIONS[0],
    EXECUTIONS,
    "Of the network: compute only where occupied, or the plain Keras model; equal values.",
)
flags.DEFINE_string("data_dir", None, "Data folder of the scenes; with --split.")
flags.DEFINE_string("split", "val", "Split of the data folder.")
flags.DEFINE_string(
    "scan",
    None,
    "A scan (PLY, mesh or cloud) instead of a data folder. Several with commas between, or a "
    "folder of them: each gets a folder of its name in --output_dir.",
)
flags.DEFINE_string(
    "labels",
    "",
    "File with the class of each vertex of the scan: text with an id in each line, or .npy with "
    "ids [N] or class scores [N, classes]. For several scans a folder with S.txt or S.npy for "
    "S.ply. By default the scan has them as a vertex property.",
)
flags.DEFINE_enum(
    "scores",
    semantic_input.PROBABILITIES,
    list(semantic_input.SCORES),
    "What the numbers of a table in --labels mean. Features are no classes: with F.npy give F.txt, "
    "a class id in each line.",
)
flags.DEFINE_string(
    "label_property", scan.LABEL, "Name of the scan's vertex property with class ids."
)
flags.DEFINE_string(
    "semantic",
    "",
    "A semantic model of the package or a run folder of mtml_tf.train_semantic: it labels scans "
    "that have no labels.",
)
flags.DEFINE_float(
    "adapt",
    0.0,
    "With --semantic: share, 0 to 1, of each scan's own statistics in those that the semantic "
    "network normalises by; 0.5 for scans unlike those that it learned from.",
    lower_bound=0,
    upper_bound=1,
)
flags.DEFINE_string(
    "label_map", "", "their_id:our_id,... for a scan with other class ids than the model's."
)
flags.DEFINE_enum("up_axis", "z", list(scan.UP_AXES), "The axis of the scan that points up.")
flags.DEFINE_float(
    "scale", 1.0, "Metres that one of the scan's units is: 0.001 for millimetres.", lower_bound=1e-9
)
flags.DEFINE_integer(
    "views",
    1,
    "At how many turns about the vertical axis the networks see a scan; their part takes as many "
    "times as long.",
    lower_bound=1,
)
flags.DEFINE_bool("extras", True, "For a scan: a coloured PLY, a summary (JSON), a page (HTML).")
flags.DEFINE_bool("html", True, "The page among the extras; it needs plotly.")
flags.DEFINE_bool(
    "timing", False, "Print how long each stage takes; a single scan is segmented twice for that."
)
flags.DEFINE_string("output_dir", None, "Folder for the predictions.")
flags.DEFINE_enum(
    "masks",
    MASKS[0],
    MASKS,
    "As the benchmark has them, two bytes for each vertex and instance, or compact: run lengths in "
    "one small file a scene, which evaluate, view and pack_submission read too.",
)
flags.DEFINE_integer(
    "num_workers",
    1,
    "Processes that predict scenes of a split, or several scans, each with the model and a share "
    "of the cores; 0 for one a core.",
    lower_bound=0,
)
config_flags.define(Engine, leave_out=["num_workers"])
flags.DEFINE_bool(
    "overwrite",
    False,
    "Replace what is in output folders, all of it; what the same settings began is gone on with "
    "otherwise.",
)
# Unless given, the settings are those that the model was trained with.
config_flags.define(SegmentConfig, config_flags.FROM_DATA, as_default=False)
flags.adopt_module_key_flags(config_flags)


def main() -> None:
    """Reads the flags and segments."""
    if (FLAGS.scan is None) == (FLAGS.data_dir is None):
        raise flags.Error("expected either --data_dir or --scan")
    if [FLAGS.run_dir, FLAGS.saved_model, FLAGS.model].count(None) != 2:
        raise flags.Error("expected one of --run_dir, --saved_model and --model")
    if FLAGS.weights and not FLAGS.run_dir:
        raise flags.Error("expected --weights together with --run_dir only")
    for name in ("precision", "execution"):
        if FLAGS[name].present and FLAGS.saved_model:
            raise flags.Error(f"expected --{name} together with --run_dir or --model only")
    if FLAGS["adapt"].present and not FLAGS.semantic:
        raise flags.Error("expected --adapt together with --semantic only")
    if FLAGS.views > 1 and FLAGS.scan is None:
        raise flags.Error(
            "expected --views together with --scan only: the scenes of a data folder have voxels "
            "but no vertices to turn"
        )
    changed = config_flags.read_given(SegmentConfig, config_flags.FROM_DATA)
    reading = _how_to_read_scans()
    paths = [] if FLAGS.scan is None else scan_file.named_paths(FLAGS.scan)
    scans: dict[pathlib.Path, scan_file.ScanFile] = {}
    if paths:
        scans = scan_file.output_folders(paths, FLAGS.output_dir, reading)
        files.check_folder(FLAGS.output_dir)
    engine = config_flags.read(Engine)
    models = (FLAGS.run_dir, FLAGS.saved_model, FLAGS.semantic)
    inputs = (*models, FLAGS.data_dir, FLAGS.labels, *paths)
    for folder in scans or [pathlib.Path(FLAGS.output_dir)]:
        files.check_apart(folder, inputs)
        if scans and not (len(scans) > 1 and (folder / SETTINGS).is_file()):
            files.check_may_replace(folder, FLAGS.overwrite, PREDICTIONS)
    if not scans:
        check_may_predict(FLAGS.output_dir, FLAGS.overwrite)

    start = time.perf_counter()
    from mtml_tf.inference import many_scenes, prediction
    from mtml_tf.inference.model_source import ModelSource

    imported = time.perf_counter()
    names = ("run_dir", "saved_model", "model", "weights", "precision", "execution")
    given = {name: FLAGS[name].value for name in names if FLAGS[name].value is not None}
    source = ModelSource(**given, changed=tuple(sorted(changed.items())))
    source.load()
    labelling = _labelling()
    once = {"imports": imported - start, "load the model": time.perf_counter() - imported}

    times = []
    try:
        if not scans:
            done = many_scenes.predict_split(
                *(source, FLAGS.data_dir, FLAGS.split, FLAGS.output_dir, FLAGS.overwrite),
                *(FLAGS.masks == "compact", engine),
            )
            times = done.times
            there = f" ({done.num_there} of them there already)" if done.num_there else ""
            print(
                f"{FLAGS.data_dir}: {done.num_scenes} scenes of split '{FLAGS.split}', in "
                f"{FLAGS.output_dir}{there}"
            )
        written = prediction.ScanOutput(FLAGS.extras, FLAGS.html, FLAGS.masks == "compact")
        # A single scan is timed twice: the first pays for tracing the graph.
        for call in range(2 if FLAGS.timing and len(scans) == 1 else 1):
            overwrite = FLAGS.overwrite or call > 0
            for folder, count, seconds in many_scenes.predict_scans(
                source, scans, overwrite, written, FLAGS.views, engine, labelling
            ):
                if seconds:
                    times.append(seconds)
                if call == 0:
                    found = "there already" if count is None else f"{count} instances"
                    print(f"{scans[folder].path}: {found}, in {folder}")
    finally:
        if FLAGS.timing and times:
            print(timing.encode_table(once, times), end="")


def _how_to_read_scans() -> scan_file.ScanFile:
    """Returns how scans are to be read; refuses flags that say nothing without one."""
    names = ("labels", "scores", "label_property", "label_map", "up_axis", "scale")
    given = [name for name in (*names, "semantic", "extras", "html") if FLAGS[name].present]
    if FLAGS.scan is None and given:
        raise flags.Error(f"expected --{given[0]} together with --scan only")
    if "scores" in given and not FLAGS.labels:
        raise flags.Error("expected --scores together with --labels only")
    if FLAGS.labels and (other := {"label_property", "semantic"} & set(given)):
        raise flags.Error(f"expected either --{min(other)} or --labels")
    values = {name: FLAGS[name].value for name in names}
    label_map = scan.parse_label_map(FLAGS.label_map)
    return scan_file.ScanFile(FLAGS.scan or "", **{**values, "label_map": label_map})


def _labelling() -> "Labelling | None":
    """Returns what labels scans without labels, loaded; None where nothing does."""
    if not FLAGS.semantic:
        return None
    from mtml_tf.semantic.labelling import SemanticLabels
    from mtml_tf.semantic.predicting import SemanticSource

    labelling = SemanticLabels(SemanticSource(FLAGS.semantic, FLAGS.views, adapt=FLAGS.adapt))
    labelling.source.load()  # what is wrong with it is told once, not of each scan
    return labelling


if __name__ == "__main__":
    program.run(main, required=["output_dir"])
