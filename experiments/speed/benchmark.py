"""Speed and memory side by side with what a user would pick instead, in one run.

`tools/benchmark.py` is the command. A section compares two ways to one result: both are warmed up
and timed by turns, medians are told with their ratio, and that the results agree is measured too.
"""

import dataclasses
import functools
import gc
import importlib.metadata
import pathlib
import platform
import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from absl import logging

from experiments.speed import blocks, feeding, growth, network, onednn, processing
from experiments.speed.measuring import (
    Contest,
    Row,
    Target,
    encode_csv,
    encode_rows,
    format_number,
    memory_of_contest,
    prepare_devices,
    time_contest,
)
from experiments.speed.processing import Features, WholePath
from experiments.speed.sizes import FULL, Sizes
from mtml_tf import files, parallel
from mtml_tf.backend import keras, tf
from mtml_tf.data.records import DataFolder

SIX_TIMES, TEN_TIMES, TWENTY_TIMES = Target(6), Target(10), Target(20)
A_QUARTER = Target(4)  # of the memory: the other adds four times ours


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is measured, and how often.

    Attributes:
        only: names of sections; empty for all.
        repeats: timed calls of each side.
        max_seconds: a comparison makes no new round after so long.
        sizes: of the cases.
        run_dir, data_dir, split: a trained model and scenes like those that it was trained on, for
            mean shift on real embeddings and for the whole path; empty for made-up ones. The data
            folder alone will do for the training pipeline, which takes its split `train` if any.
        tensor_float_32: whether a GPU may round products to TensorFloat-32.
    """

    only: tuple[str, ...] = ()
    repeats: int = 5
    max_seconds: float = 90.0
    sizes: Sizes = FULL
    run_dir: str = ""
    data_dir: str = ""
    split: str = "val"
    tensor_float_32: bool = False

    def __post_init__(self) -> None:
        unknown = [name for name in self.only if name not in SECTIONS]
        if unknown:
            raise ValueError(f"expected sections among {', '.join(SECTIONS)}, found {unknown[0]}")
        if self.run_dir and not self.data_dir:
            raise ValueError(
                f"{self.run_dir}: expected a data folder together with this run folder, found "
                "none; give --data_dir too"
            )


@dataclasses.dataclass(frozen=True)
class Bench:
    """A run of the benchmark.

    Attributes:
        settings: what is measured.
        folder: for files that are measured on.
    """

    settings: Settings
    folder: pathlib.Path

    @property
    def sizes(self) -> Sizes:
        """Sizes of the cases."""
        return self.settings.sizes

    def time(self, contest: Contest) -> tuple[Row, Any, Any]:
        """Times a contest; see `time_contest`."""
        logging.info("%s: %s", contest.what, contest.case)
        keras.backend.clear_session()
        gc.collect()
        return time_contest(contest, self.settings.repeats, self.settings.max_seconds)

    def forward_contests(self) -> list[Contest]:
        """Forward passes, with what they must show at full size."""
        targets = [(None, None), (SIX_TIMES, None), (Target(0.8, "at most"), A_QUARTER)]
        return [
            network.forward_contest(size, time, memory)
            for size, (time, memory) in zip(self.sizes.rooms, targets, strict=False)
        ]

    def training_contests(self) -> list[Contest]:
        """Training steps, likewise."""
        targets = [None, SIX_TIMES, None]
        return [
            network.training_contest(size, target)
            for size, target in zip(self.sizes.rooms, targets, strict=False)
        ]

    @functools.cached_property
    def features(self) -> list[Features]:
        """What mean shift is measured on."""
        given, settings = [self.sizes.features], self.settings
        if settings.run_dir:
            path = self.folder / "features.npy"
            given.append(
                processing.write_real_features(
                    settings.run_dir, settings.data_dir, settings.split, path
                )
            )
        return given

    def mean_shift_contests(self) -> list[Contest]:
        """Mean shift on made-up and, where there are any, real features."""
        return [processing.mean_shift_contest(given, TEN_TIMES) for given in self.features]

    @functools.cached_property
    def fed_scenes(self) -> feeding.Scenes:
        """What the training pipeline is measured on: the given scenes, or made-up rooms."""
        sizes, settings = self.sizes, self.settings
        if settings.data_dir:
            has_train = "train" in DataFolder(settings.data_dir).splits
            split = "train" if has_train else settings.split
            return feeding.Scenes(settings.data_dir, split, sizes.feeding_steps)
        folder = self.folder / "rooms"
        feeding.write_made_rooms(
            folder, sizes.feeding_rooms, sizes.growth.side, sizes.growth.occupancy
        )
        return feeding.Scenes(str(folder), "train", sizes.feeding_steps)

    def voxelization_contest(self) -> Contest:
        """Voxelization of a made-up room."""
        return processing.voxelization_contest(self.sizes.scan_room, self.sizes.num_vertices)

    @functools.cached_property
    def scoring_contest(self) -> Contest:
        """Scoring of made-up predictions, whose files are written first."""
        sizes, folder = self.sizes, self.folder / "scoring"
        logging.info("writing %d scenes to score", sizes.scenes)
        processing.plain_scoring().write_rooms(
            folder, sizes.scenes, sizes.scene_vertices, sizes.masks
        )
        return processing.scoring_contest(
            str(folder), sizes.scenes, sizes.scene_vertices, sizes.masks, TWENTY_TIMES
        )

    @functools.cached_property
    def paths(self) -> dict[str, WholePath]:
        """Scans and models of the whole path, by what they are."""
        settings, count, found = self.settings, self.sizes.num_vertices, {}
        for number, (size, voxel_size) in enumerate(self.sizes.paths):
            file = self.folder / f"made_{number}.ply"
            processing.write_made_scan(size, voxel_size, count, file)
            case = f"{count} vertices, {size.num_voxels} voxels of {voxel_size:g} m"
            found[case] = WholePath(str(file), voxel_size)
        if settings.run_dir:
            file = self.folder / "real.ply"
            scene = processing.write_real_scan(settings.data_dir, settings.split, count, file)
            voxels = len(scene.coordinates)
            case = f"{max(count, voxels)} vertices, {voxels} voxels of {scene.voxel_size:g} m"
            case += f", scene {scene.name}"
            found[case] = WholePath(str(file), scene.voxel_size, settings.run_dir)
        return found


def forward_rows(bench: Bench) -> list[Row]:
    """Forward pass, and that the values agree."""
    rows = []
    for size, contest in zip(bench.sizes.rooms, bench.forward_contests(), strict=True):
        row, plain, ours = bench.time(contest)
        rows += [row, network.difference_of_values(size, plain, ours)]
    return rows


def training_rows(bench: Bench) -> list[Row]:
    """Training step, and that the gradients agree."""
    rows = []
    for size, contest in zip(bench.sizes.rooms, bench.training_contests(), strict=True):
        row, *_ = bench.time(contest)
        rows += [row, *network.differences_of_gradients(size)]
    return rows


def variant_rows(bench: Bench) -> list[Row]:
    """Our network in bfloat16, and with activations computed again: time and memory."""
    rows = []
    for size in bench.sizes.rooms[1:]:
        for contest in network.variant_contests(size):
            row, float32, ours = bench.time(contest)
            rows.append(row)
            if isinstance(ours, dict):  # the outputs; of a training step there is the loss
                rows.append(network.difference_of_variant(contest, float32, ours))
            rows.append(memory_of_contest(contest, bench.settings.tensor_float_32))
    return rows


def onednn_rows(bench: Bench) -> list[Row]:
    """Our network on this CPU as it is, and with less: without oneDNN, without AVX-512."""
    contests = [c for size in bench.sizes.rooms[1:] for c in onednn.onednn_contests(size)]
    return [bench.time(contest)[0] for contest in contests]


def block_rows(bench: Bench) -> list[Row]:
    """Prediction in blocks and as a whole, and that the values agree."""
    contest = blocks.blocks_contest(bench.sizes.blocks_room)
    row, whole, in_blocks = bench.time(contest)
    return [row, blocks.difference_of_blocks(contest, whole, in_blocks)]


def feeding_rows(bench: Bench) -> list[Row]:
    """The training pipeline alone."""
    settings = bench.settings
    logging.info("training pipeline")
    return feeding.feeding_rows(bench.fed_scenes, settings.repeats, settings.max_seconds)


def loss_rows(bench: Bench) -> list[Row]:
    """Loss and its gradients."""
    contest = network.loss_contest(bench.sizes.loss_voxels, bench.sizes.loss_instances)
    row, plain, ours = bench.time(contest)
    return [row, network.difference_of_losses(contest, plain, ours)]


def mean_shift_rows(bench: Bench) -> list[Row]:
    """Mean shift, and that the clusters agree."""
    rows = []
    for given, contest in zip(bench.features, bench.mean_shift_contests(), strict=True):
        row, plain, ours = bench.time(contest)
        rows += [row, *processing.agreement_rows(given, plain, ours)]
        if given.path and bench.sizes.every_seed:
            logging.info("mean shift from every point: %s", given)
            rows += processing.spread_rows(given, plain, ours)
    return rows


def voxelization_rows(bench: Bench) -> list[Row]:
    """Voxelization."""
    row, plain, ours = bench.time(bench.voxelization_contest())
    if plain is None:
        return [dataclasses.replace(row, beside="Open3D can't be imported here")]
    found = f"{row.beside}; {plain} voxels by Open3D, {ours} by us"
    return [dataclasses.replace(row, beside=found)]


def scoring_rows(bench: Bench) -> list[Row]:
    """Scoring, and that the scores agree."""
    row, plain, ours = bench.time(bench.scoring_contest)
    return [row, processing.difference_of_scores(bench.scoring_contest, plain, ours)]


def path_rows(bench: Bench) -> list[Row]:
    """The whole path and its stages."""
    rows = []
    for case, path in bench.paths.items():
        logging.info("scan file to masks on disk: %s", case)
        target = Target(2, "at most")
        rows += processing.path_rows(path, case, bench.settings.repeats, target)
    return rows


def memory_rows(bench: Bench) -> list[Row]:
    """Memory that each call adds, each in a process of its own."""
    sizes = bench.sizes
    contests = [
        *bench.forward_contests(),
        *bench.training_contests(),
        network.loss_contest(sizes.loss_voxels, sizes.loss_instances),
        *bench.mean_shift_contests(),
        bench.voxelization_contest(),
        bench.scoring_contest,
        *(processing.path_contest(path, case) for case, path in bench.paths.items()),
    ]
    rows = []
    for contest in contests:
        logging.info("memory of %s: %s", contest.what, contest.case)
        rows.append(memory_of_contest(contest, bench.settings.tensor_float_32))
    return rows


def peak_rows(bench: Bench) -> list[Row]:
    """Share of the machine's matrix-multiply rate that the forward pass reaches."""
    return network.peak_rows(
        list(bench.sizes.rooms),
        bench.settings.repeats,
        bench.settings.max_seconds,
        bench.sizes.gemm,
    )


def growth_rows(bench: Bench) -> list[Row]:
    """How our time grows with the scene."""
    settings = bench.settings
    return growth.growth_rows(
        bench.sizes.growth, bench.folder, settings.repeats, settings.max_seconds
    )


SECTIONS: dict[str, Callable[[Bench], list[Row]]] = {
    "forward": forward_rows,
    "train": training_rows,
    "variants": variant_rows,
    "onednn": onednn_rows,
    "blocks": block_rows,
    "pipeline": feeding_rows,
    "loss": loss_rows,
    "mean_shift": mean_shift_rows,
    "voxelize": voxelization_rows,
    "score": scoring_rows,
    "path": path_rows,
    "peak": peak_rows,
    "growth": growth_rows,
    "memory": memory_rows,
}

_NOTES = """\
Plain and ours are called by turns in one process, after a warm-up (of mean shift and scoring there
is none); each number is the median of its calls. A ratio is plain by ours. Networks have half the
paper's original width, as it was trained, and the same weights on both sides; the plain one takes
a one-hot grid that is made before time counts, ours the list of occupied voxels. Rooms are made
up: floor, furniture, and walls up to the height that the occupancy allows. A difference is the
largest one divided by the largest value. The training pipeline reads, decodes, augments and pads;
the network takes no part. Memory added is the peak during one call less what was in use before it,
in a fresh process that was warmed up on something small.
"""


def run(settings: Settings) -> list[Row]:
    """Measures the sections that are asked for, in order."""
    prepare_devices(settings.tensor_float_32)
    rows = []
    with tempfile.TemporaryDirectory(prefix="benchmark_") as name:
        bench = Bench(settings, pathlib.Path(name))
        for section, measure in SECTIONS.items():
            if not settings.only or section in settings.only:
                found = measure(bench)
                for row in found:
                    ratio = "" if row.ratio is None else f", {format_number(row.ratio)} x"
                    value = f"{format_number(row.ours)} {row.unit}".strip()
                    logging.info("%s, %s: %s%s", row.what, row.case, value, ratio)
                rows += found
    return rows


def benchmark(settings: Settings, output_dir: str = "", overwrite: bool = False) -> str:
    """Measures, and writes `benchmark.md` and `benchmark.csv`.

    Args:
        settings: what to measure.
        output_dir: folder; `results/<machine>` where it is empty.
        overwrite: replace tables that exist.

    Returns:
        The Markdown text.

    Raises:
        ValueError: tables that exist, which is found before anything is measured.
    """
    folder = pathlib.Path(output_dir or pathlib.Path("results") / slug(machine()))
    paths = [folder / "benchmark.md", folder / "benchmark.csv"]
    for path in paths:
        files.check_may_write(path, overwrite)
    rows = run(settings)
    text = f"# Benchmark\n\n{_describe(settings)}\n{_NOTES}\n{encode_rows(rows)}\n"
    for path, content in zip(paths, (text, encode_csv(rows)), strict=True):
        files.write_text(path, content, overwrite)
    return text


def machine() -> str:
    """Returns what the benchmark runs on: the GPU's name, or the CPU's model and cores."""
    for gpu in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(gpu)
        return str(details.get("device_name", "GPU"))
    model = platform.processor() or platform.machine()
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
        model = found.group(1) if found else model
    return f"{model.strip()} {parallel.num_cores()} cores"


def slug(text: str) -> str:
    """Returns a text as a file name: lower case, words joined by dashes."""
    return "-".join(re.findall(r"[a-z0-9]+", text.lower()))


def _describe(settings: Settings) -> str:
    names: Sequence[str] = ("numpy", "scipy", "scikit-learn", *_optional(("open3d",)))
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    precision = "float32"
    if tf.config.list_physical_devices("GPU") and settings.tensor_float_32:
        precision += ", products of the GPU rounded to TensorFloat-32"
    small = " Small cases, to try the program out: not for comparison." * (settings.sizes != FULL)
    return (
        f"{machine()}; Python {platform.python_version()}, TensorFlow {tf.__version__}, "
        f"{versions}; {precision}; at most {settings.repeats} timed calls of each side.{small}\n"
    )


def _optional(names: Iterable[str]) -> list[str]:
    found = []
    for name in names:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found.append(name)
    return found
