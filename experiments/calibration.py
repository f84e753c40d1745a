"""How much simulated rooms resemble real scans: `python -m experiments.calibration`

Prints what was measured of real scans (`experiments/real_figures.py`) and the same of rooms, or of
labelled scans (`--scans_dir`): the scenes, the objects of each class, the errors of the predicted
labels, and how far the two baselines come. Scans without predicted labels (`--semantic_dir`) get
those of the simulated network.
"""

import dataclasses
import pathlib
from collections.abc import Collection, Iterable, Iterator, Sequence

import numpy as np
from absl import flags
from scipy.spatial import cKDTree

from experiments import real_figures
from experiments.running import encode_markdown
from mtml_tf import program
from mtml_tf.classes import SCANNET18, SCANNET20
from mtml_tf.rooms import labeller, making
from mtml_tf.scannet import layout, reader
from mtml_tf.scans import preparing, scan, semantic_input, voxels
from mtml_tf.scene import Instance, Scene, VoxelScene
from mtml_tf.scoring.average_precision import average_precision
from mtml_tf.scoring.ground_truth import ground_truth_ids
from mtml_tf.segmentation import baselines
from mtml_tf.segmentation.components import spatial_components

FLAGS = flags.FLAGS

Array = np.ndarray
Rows = list[list[str]]

VOXEL_SIZE = 0.1
_LEAST_VOXELS = 5  # of an instance, and of a piece of one
_PATCH_CELL = 0.05  # metres; wrong vertices of one class in cells that touch are a patch
_BORDER = 0.1  # metres
# Of vertices, in a whole scan; there an instance has 100 or more.
_SMALL_PATCH, _LARGE_PATCH, _WHOLE_SCAN_LEAST = 50, 2000, 100


@dataclasses.dataclass(frozen=True)
class Thing:
    """An instance: class id, number of voxels, height in metres, whether a connected component
    of its class holds another instance too, and how many connected pieces it falls into."""

    class_id: int
    voxels: int
    height: float
    touching: bool
    pieces: int


@dataclasses.dataclass(frozen=True, eq=False)
class LabelErrors:
    """How the predicted labels of a scan err.

    Attributes:
        confusions: int64 [21, 20], vertices by true (row 0: unlabelled) and predicted class.
        right: float [K], of each instance the share of its vertices that are right.
        patches: int [P], vertices of each patch of wrong ones; unlabelled ones are not wrong.
        num_near_border: wrong vertices near one of another true class.
    """

    confusions: Array
    right: Array
    patches: Array
    num_near_border: int


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """What a set of scans is measured by: of each scan, of each of its instances, of its labels."""

    scenes: list[list[float]]
    things: list[Thing]
    errors: list[LabelErrors]
    baselines: list[str]


def measure_scene(scene: VoxelScene, num_instances: int) -> list[float]:
    """Returns the rows of `real_figures.SCENES` of one scan."""
    shares = [np.mean(scene.semantic_ids == class_id) for class_id in (0, 1, 2)]
    sides = sorted(np.ptp(scene.coordinates[:, :2], axis=0) + 1)
    short, long = (float(side) * scene.voxel_size for side in sides)
    count = len(scene.coordinates)
    occupancy = count / float(np.prod(scene.grid_shape))
    return [count, occupancy, num_instances, *map(float, shares), short, long, short * long]


def measure_things(voxel_scene: VoxelScene, scene: Scene) -> list[Thing]:
    """Returns the instances of 5 voxels or more of a scan that was voxelized."""
    points, truth, instance_ids = _labelled(scene)
    ids, labels = np.asarray(voxel_scene.instance_ids), voxel_scene.semantic_ids
    components = spatial_components(voxel_scene.coordinates, labels)
    numbers, sizes = np.unique(ids[ids > 0], return_counts=True)
    numbers = numbers[sizes >= _LEAST_VOXELS]
    large = np.isin(ids, numbers)
    pairs = np.unique(np.stack([components[large], ids[large]]), axis=1)
    shared, counts = np.unique(pairs[0], return_counts=True)
    shared = shared[counts > 1]
    things = []
    for number in numbers:
        rows = ids == number
        pieces = np.bincount(spatial_components(voxel_scene.coordinates[rows]))
        class_id = int(np.bincount(labels[rows]).argmax())
        members = (instance_ids == number) & (truth == class_id)
        things.append(
            Thing(
                class_id=class_id,
                voxels=int(rows.sum()),
                height=float(np.ptp(points[members, 2])),
                touching=bool(np.isin(components[rows], shared).any()),
                pieces=max(1, int(np.sum(pieces >= _LEAST_VOXELS))),
            )
        )
    return things


def measure_labels(scene: Scene, predicted: Array, min_vertices: int) -> LabelErrors:
    """Compares the predicted class ids [N] of a scan with the true ones.

    Args:
        scene: of the 20 classes, with instances.
        predicted: int [N], class ids of the 20.
        min_vertices: smaller instances are not looked at.

    Raises:
        ValueError: an id that is not of the 20, or no predicted class.
    """
    points, truth, instance_ids = _labelled(scene)
    wrong = (truth > 0) & (predicted != truth)
    clutter = np.bincount(SCANNET20.channels_of(predicted[truth == 0]), minlength=len(SCANNET20))
    known = np.where(np.isin(truth, SCANNET18.ids), instance_ids, 0)
    sizes, hits = np.bincount(known), np.bincount(known, truth == predicted)
    enough = np.flatnonzero(sizes >= min_vertices)
    enough = enough[enough > 0]
    return LabelErrors(
        confusions=np.vstack([clutter, labeller.confusion(truth, predicted)]),
        right=hits[enough] / sizes[enough],
        patches=patch_sizes(points[wrong], predicted[wrong]),
        num_near_border=_num_near_border(points, truth, wrong),
    )


def _labelled(scene: Scene) -> tuple[Array, Array, Array]:
    if scene.semantic_ids is None or scene.instance_ids is None:
        raise ValueError(f"scene {scene.name}: expected labels and instances, found none")
    return scene.vertices, scene.semantic_ids, scene.instance_ids


def patch_sizes(points: Array, class_ids: Array) -> Array:
    """Returns int [P], how many points [N, 3] of one class each hang together."""
    if not len(points):
        return np.zeros(0, int)
    cells = np.floor(points / _PATCH_CELL).astype(np.int64)
    cells -= cells.min(axis=0)
    # Classes side by side, with a gap between them.
    cells[:, 0] += class_ids * (cells[:, 0].max() + 2)
    distinct, rows = np.unique(cells, axis=0, return_inverse=True)
    return np.bincount(spatial_components(distinct, connectivity=26)[rows.reshape(-1)])


def _num_near_border(points: Array, truth: Array, wrong: Array) -> int:
    count = 0
    for class_id in np.unique(truth[wrong]):
        others = points[truth != class_id]
        if len(others):
            members = points[wrong & (truth == class_id)]
            distances, _ = cKDTree(others).query(members, distance_upper_bound=_BORDER)
            count += int(np.isfinite(distances).sum())
    return count


def measure(scans: Iterable[tuple[Scene, Array]], min_vertices: int) -> Measured:
    """Measures scans of the 20 classes, each with its predicted class ids [N].

    Raises:
        ValueError: a scan that can't be read, without instances, or without a predicted class.
    """
    measured = Measured([], [], [], [])
    truths: list[Array] = []
    found: dict[str, list[list[Instance]]] = {name: [] for name in real_figures.BASELINES}
    thing_ids = SCANNET18.ids
    for scene, predicted in scans:
        truths.append(ground_truth_ids(scene, SCANNET20))
        true = voxels.voxelize(scene, VOXEL_SIZE, SCANNET20)
        given = voxels.with_input(true, predicted)
        things = measure_things(true, scene)
        measured.things.extend(things)
        measured.scenes.append(measure_scene(true, len(things)))
        measured.errors.append(measure_labels(scene, predicted, min_vertices))
        for name, instances in zip(
            real_figures.BASELINES,
            (
                baselines.connected_components(true, thing_ids),
                baselines.connected_components(given, thing_ids),
                baselines.segmentation_as_instance(given, thing_ids),
            ),
            strict=True,
        ):
            on_scan = [voxels.on_vertices(instance, true) for instance in instances]
            found[name].append([i for i in on_scan if len(i.indices) >= min_vertices])
    for kept in found.values():
        scored = average_precision(zip(truths, kept, strict=True), SCANNET18, min_vertices)
        average = scored.average
        measured.baselines.append(f"{average.ap:.3f} / {average.ap50:.3f} / {average.ap25:.3f}")
    return measured


def spread(values: Sequence[float], digits: int) -> str:
    """Returns the median of values, and their 10 % and 90 %."""
    low, middle, high = np.percentile(values, (10, 50, 90))
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def scene_rows(scenes: Sequence[Sequence[float]]) -> Rows:
    """Returns name, real and measured figure of each row of `real_figures.SCENES`."""
    digits = (0, 3, 0, 3, 2, 2, 1, 1, 0)
    columns = zip(real_figures.SCENES.items(), zip(*scenes, strict=True), digits, strict=True)
    return [[name, real, spread(values, places)] for (name, real), values, places in columns]


def class_rows(things: Sequence[Thing], num_scans: int) -> Rows:
    """Returns the figures of each class, real / measured; - where there is none."""
    rows = []
    for class_id, name in zip(SCANNET18.ids, SCANNET18.names, strict=True):
        members = [thing for thing in things if thing.class_id == class_id]
        ours = ["-"] * 5
        if members:
            ours = [
                f"{len(members) / num_scans:.1f}",
                spread([thing.voxels for thing in members], 0),
                f"{np.median([thing.height for thing in members]):.2f}",
                f"{np.mean([thing.touching for thing in members]):.2f}",
                f"{np.mean([thing.pieces for thing in members]):.2f}",
            ]
        real = real_figures.CLASSES.get(name, ("-",) * 5)
        rows.append([name, *(f"{a} / {b}" for a, b in zip(real, ours, strict=True))])
    return rows


def label_rows(errors: Sequence[LabelErrors], min_vertices: int) -> Rows:
    """Returns name, real and measured figure of each row of `real_figures.LABELS`.

    Sizes of patches are those of whole scans, whose instances have 100 vertices or more: where
    the least is 33 a patch of 2000 is one of 660, and 33,000 vertices stand for 100,000.
    """
    scale = min_vertices / _WHOLE_SCAN_LEAST
    table = np.sum([error.confusions for error in errors], axis=0)
    right = np.concatenate([error.right for error in errors])
    patches = np.concatenate([error.patches for error in errors])
    num_wrong = max(int(patches.sum()), 1)
    per_100_000 = 100_000 * scale / table.sum()
    small, large = (patches >= size * scale for size in (_SMALL_PATCH, _LARGE_PATCH))
    known = table[1:]
    figures = [
        np.nanmean(labeller.iou(known)),
        np.trace(known) / max(known.sum(), 1),
        *(
            _mean((right >= low) & (right < high))
            for low, high in ((0.9, 2.0), (0.5, 0.9), (0.1, 0.5), (0.0, 0.1))
        ),
        small.sum() * per_100_000,
        large.sum() * per_100_000,
        patches[large].sum() / num_wrong,
        patches[~small].sum() / num_wrong,
        sum(error.num_near_border for error in errors) / num_wrong,
    ]
    items = zip(real_figures.LABELS.items(), figures, strict=True)
    return [[name, real, f"{figure:.2f}"] for (name, real), figure in items]


def confusion_rows(table: Array) -> Rows:
    """Returns the confusions of note, of [21, 20] vertices; nan where a class is missing."""
    names = ("unlabelled", *SCANNET20.names)
    rows = []
    for (true, called), real in real_figures.CONFUSIONS.items():
        counts = table[names.index(true)]
        share = counts[SCANNET20.names.index(called)] / counts.sum() if counts.any() else np.nan
        rows.append([f"{true} called {called}", real, f"{share:.2f}"])
    return rows


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else float("nan")


def encode_tables(measured: Measured, what: str, min_vertices: int) -> str:
    """Returns all tables in Markdown; `what` heads the measured column."""
    table = np.sum([error.confusions for error in measured.errors], axis=0)
    ours = zip(real_figures.BASELINES.items(), measured.baselines, strict=True)
    parts: dict[str, Rows] = {
        "scene by scene": scene_rows(measured.scenes),
        "labels": label_rows(measured.errors, min_vertices),
        "confusions": confusion_rows(table),
        "AP / AP50 / AP25": [[name, real, figure] for (name, real), figure in ours],
    }
    texts = [encode_markdown([[name, "real", what], *rows]) for name, rows in parts.items()]
    header = ["real / " + what, "n a scan", "voxels", "height, m", "touching", "pieces"]
    classes = encode_markdown([header, *class_rows(measured.things, len(measured.scenes))])
    return "\n\n".join([texts[0], classes, *texts[1:]])


def read_rooms(
    rooms_dir: pathlib.Path, semantic_dir: pathlib.Path, split: str, names: Collection[str]
) -> Iterator[tuple[Scene, Array]]:
    """Yields scenes in the raw layout of ScanNet, and their predicted class ids [N]."""
    table = reader.read_label_table(rooms_dir / layout.LABEL_TABLE)
    for name in program.progress(names, "scenes"):
        scene, _ = reader.read_scene(reader.scene_folder(rooms_dir, split, name), table)
        yield reader.with_benchmark_classes(scene), _read_labels(semantic_dir, scene)


def read_scans(
    paths: Sequence[pathlib.Path], semantic_dir: str, strength: float
) -> Iterator[tuple[Scene, Array]]:
    """Yields labelled scans (PLY); without `semantic_dir` the simulated network labels them."""
    for number, path in enumerate(program.progress(paths, "scans")):
        scene = scan.read_scan(path)
        if semantic_dir:
            yield scene, _read_labels(semantic_dir, scene)
        else:
            yield scene, labeller.predict_scene(scene, strength, number)


def _read_labels(semantic_dir: str | pathlib.Path, scene: Scene) -> Array:
    count = len(scene.vertices)
    return semantic_input.read_semantic_input(
        semantic_dir, scene.name, count, SCANNET20
    ).semantic_ids


def define_flags() -> None:
    """Defines the flags; here, so that other code can import this module beside its like."""
    flags.DEFINE_string("rooms_dir", "data/rooms_raw", "Rooms of tools/make_rooms.py.")
    flags.DEFINE_string("scans_dir", "", "Labelled scans (PLY) to measure instead of rooms.")
    flags.DEFINE_string("semantic_dir", "", "Predicted labels; by default those of the rooms.")
    flags.DEFINE_string("split", "train", "Split of the rooms to measure.")
    flags.DEFINE_integer("num_scenes", 16, "Scenes, the first; 0 for all.", lower_bound=0)
    flags.DEFINE_float("label_noise", 1.0, "Strength of label errors of scans without labels.")
    flags.DEFINE_integer(
        "min_vertices", 100, "Of an instance; less for subsets of points.", lower_bound=1
    )


def main() -> None:
    """Reads the flags, measures and prints."""
    if FLAGS.scans_dir:
        paths = preparing.find_scans(FLAGS.scans_dir)[: FLAGS.num_scenes or None]
        scans, what = read_scans(paths, FLAGS.semantic_dir, FLAGS.label_noise), "scans"
        count = len(paths)
    else:
        rooms_dir = pathlib.Path(FLAGS.rooms_dir)
        names = reader.read_split(rooms_dir, FLAGS.split)[: FLAGS.num_scenes or None]
        semantic_dir = pathlib.Path(FLAGS.semantic_dir or rooms_dir / making.SEMANTIC)
        scans, what = read_rooms(rooms_dir, semantic_dir, FLAGS.split, names), "rooms"
        count = len(names)
    measured = measure(scans, FLAGS.min_vertices)
    print(encode_tables(measured, f"{count} {what}", FLAGS.min_vertices))


if __name__ == "__main__":
    define_flags()
    program.run(main)
