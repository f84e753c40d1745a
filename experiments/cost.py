"""What many scenes cost: `python -m experiments.cost --num_scenes=10,100,1000`

Scans (PLY) go through the programs that a user would call, each in a process of its own: prepare,
the start of a training (to the end of its first step, with a checkpoint), predict, evaluate.
Printed are seconds, CPU seconds, the largest resident memory of one process and the bytes written;
and what each further scene cost, which a machine that others use shows best in CPU seconds. From
there a straight line leads to `--extrapolate_scans`.

The scans are toy scenes, or copies of `--scan`, whose parts of a label that touch are its objects.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import time
from typing import NamedTuple

import numpy as np
from absl import flags

from experiments.running import encode_markdown
from mtml_tf import files, program
from mtml_tf.classes import ClassSet, encode_classes, read_classes
from mtml_tf.scans import scan, toy, voxels
from mtml_tf.scene import Scene
from mtml_tf.segmentation.baselines import connected_components

FLAGS = flags.FLAGS

TITLES = {
    "prepare": "prepare",
    "start": "start of training",
    "predict": "predict",
    "score": "score",
}
IN_THE_NOISE = "0 (noise)"
VOXEL_SIZE = toy.ToyConfig.voxel_size
_TOY = toy.ToyConfig(grid_shape=(32, 32, 14), min_objects=3, max_objects=5)
_KIB, _MB = 1 << 10, 1e6
# In a small process of its own: what a process has taken counts for those that it starts, too.
_WATCH = """
import json, resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([status, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""


class Cost(NamedTuple):
    """What a program took: seconds, CPU seconds, MiB of its largest process, bytes written."""

    seconds: float
    cpu_seconds: float
    memory_mib: float
    num_bytes: int


def measure(command: list[str], output: pathlib.Path | None = None) -> Cost:
    """Runs one of our programs and counts what is in `output` afterwards.

    Raises:
        ValueError: it fails.
    """
    start = time.monotonic()
    watch = [sys.executable, "-S", "-c", _WATCH, sys.executable, *command]
    watched = subprocess.run(watch, stdout=subprocess.PIPE, check=True)
    seconds = time.monotonic() - start
    status, cpu_seconds, memory_kib = json.loads(watched.stdout)
    if status:
        raise ValueError(f"python {' '.join(command)}: failed, as told above")
    written = [path for path in output.rglob("*") if path.is_file()] if output else []
    num_bytes = sum(path.stat().st_size for path in written)
    return Cost(seconds, cpu_seconds, memory_kib / _KIB, num_bytes)


def toy_scan(number: int) -> Scene:
    """Returns a small toy scene as a scan: a vertex in the middle of each occupied voxel."""
    made = toy.make_toy_scene(f"scan_{number:05d}", (0, number), _TOY)
    vertices = (made.coordinates + 0.5) * made.voxel_size
    return Scene(
        made.name, vertices, semantic_ids=made.semantic_ids, instance_ids=made.instance_ids
    )


def labelled_scan(path: str, classes: ClassSet) -> Scene:
    """Reads a labelled scan; parts of a label that touch become its instances."""
    given = scan.read_scan(path)
    grid = voxels.voxelize(given, VOXEL_SIZE, classes)
    ids = np.zeros(len(given.vertices), np.int32)
    for number, instance in enumerate(connected_components(grid, classes.thing_ids), 1):
        ids[voxels.on_vertices(instance, grid).indices] = number
    return Scene(given.name, given.vertices, semantic_ids=given.semantic_ids, instance_ids=ids)


def write_scans(folder: pathlib.Path, count: int, given: Scene | None) -> float:
    """Writes so many scans, toy scenes where none is given; returns vertices a scan."""
    num_vertices = 0
    for number in range(count):
        scene = given or toy_scan(number)
        scan.write_scan(folder / f"scan_{number:05d}.ply", scene)
        num_vertices += len(scene.vertices)
    return num_vertices / count


def measure_all(folder: pathlib.Path, classes: ClassSet, model: str) -> dict[str, Cost]:
    """Measures each program on the scans in `folder/scans`; its outputs come beside them."""
    data, run, found = (folder / name for name in ("data", "run", "predicted"))
    table = folder / "classes.csv"
    files.write_text(table, encode_classes(classes))
    take = [f"--data_dir={data}", "--num_workers=1"]
    prepare = ["tools/prepare_scans.py", f"--input_dir={folder / 'scans'}", f"--classes={table}"]
    prepare += [f"--voxel_size={VOXEL_SIZE}", f"--output_dir={data}", "--num_workers=1"]
    train = ["-m", "mtml_tf.train", f"--data_dir={data}", f"--run_dir={run}"]
    predict = ["-m", "mtml_tf.predict", f"--model={model}", "--split=train", "--masks=compact"]
    score = ["-m", "mtml_tf.evaluate", f"--ground_truth_dir={data / 'ground_truth' / 'train'}"]
    return {
        "prepare": measure(prepare, data),
        "start": measure([*train, "--max_minutes=1e-9"], run),
        "predict": measure([*predict, *take, f"--output_dir={found}"], found),
        "score": measure([*score, f"--prediction_dir={found}", f"--classes={table}"]),
    }


def rows_of(costs: dict[int, dict[str, Cost]]) -> list[list[str]]:
    """Returns a row for each program and number of scenes."""
    heads = ["program", "scenes", "seconds", "CPU seconds", "memory, MiB", "written, MB"]
    rows = [heads]
    for name, title in TITLES.items():
        for count, measured in costs.items():
            cost = measured[name]
            seconds = [f"{cost.seconds:.1f}", f"{cost.cpu_seconds:.1f}", f"{cost.memory_mib:.0f}"]
            rows.append([title, f"{count:,}", *seconds, f"{cost.num_bytes / _MB:.2f}"])
    return rows


def line_of(costs: dict[int, dict[str, Cost]], scale: float, num_scans: int) -> list[list[str]]:
    """Returns, for each program, what a further scan costs, and so many scans of `scale` times it.

    Where more scans took less time, what they take is lost in the noise, and the row says so.

    Args:
        costs: of two numbers of scenes or more; the line goes through the first and the last.
        scale: vertices of one of the many scans, in scans as measured.
        num_scans: how many they are.
    """
    few, many = min(costs), max(costs)
    rows = [["program", "CPU ms a scan", "bytes a scan", "CPU hours", "GB"]]
    for name, title in TITLES.items():
        (first, last), further = (costs[few][name], costs[many][name]), many - few
        cpu = (last.cpu_seconds - first.cpu_seconds) / further
        size = (last.num_bytes - first.num_bytes) / further
        hours, gigabytes = cpu * scale * num_scans / 3600, size * scale * num_scans / 1e9
        times = [f"{cpu * 1e3:.2f}", f"{hours:.1f}"] if cpu > 0 else [IN_THE_NOISE] * 2
        rows.append([title, times[0], f"{size:,.0f}", times[1], f"{gigabytes:.1f}"])
    return rows


def define_flags() -> None:
    """Defines the flags; here, so that other code can import this module beside its like."""
    flags.DEFINE_list("num_scenes", ["10", "100", "1000"], "Numbers of scenes, two or more.")
    flags.DEFINE_string("scan", "", "Labelled scan (PLY) to copy; toy scenes where empty.")
    flags.DEFINE_string("classes", "scannet20", "Of --scan: classes.csv, or a built-in class set.")
    flags.DEFINE_string("model", "toy", "Model of the package that predicts.")
    flags.DEFINE_string("work_dir", "out/cost", "New folder; gone afterwards.")
    flags.DEFINE_integer("extrapolate_scans", 100_000, "How many scans to draw the line to.")
    flags.DEFINE_integer("extrapolate_vertices", 150_000, "Of each of them.")


def main() -> None:
    """Reads the flags, measures and prints."""
    counts = sorted({int(count) for count in FLAGS.num_scenes if count.isdigit()} - {0})
    if len(counts) < 2:
        raise ValueError(f"--num_scenes: expected two numbers or more, found {FLAGS.num_scenes}")
    work_dir = pathlib.Path(FLAGS.work_dir)
    files.check_may_replace(work_dir, overwrite=False)
    classes = read_classes(FLAGS.classes) if FLAGS.scan else toy.TOY_CLASSES
    given = labelled_scan(FLAGS.scan, classes) if FLAGS.scan else None
    costs = {}
    for count in counts:
        num_vertices = write_scans(work_dir / "scans", count, given)
        costs[count] = measure_all(work_dir, classes, FLAGS.model)
        shutil.rmtree(work_dir)
    print(f"{num_vertices:,.0f} vertices a scan\n\n{encode_markdown(rows_of(costs))}\n")
    many, vertices = FLAGS.extrapolate_scans, FLAGS.extrapolate_vertices
    print(f"{many:,} scans of {vertices:,} vertices, by the vertex:\n")
    print(encode_markdown(line_of(costs, vertices / num_vertices, many)))


if __name__ == "__main__":
    define_flags()
    program.run(main)
