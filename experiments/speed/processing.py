"""What the benchmark measures around the network: clusters, voxels, scores, and the whole path."""

import dataclasses
import functools
import importlib.util
import itertools
import pathlib
import statistics
import tempfile
import time
import types
from collections.abc import Callable, Sequence

import numpy as np

from experiments.speed.measuring import Call, Contest, Row, Target, check_side
from experiments.speed.scenes import (
    RoomSize,
    make_directions,
    make_embedding,
    make_room,
    make_scan,
    voxel_scene_of,
)
from mtml_tf import timing
from mtml_tf.classes import SCANNET18, SCANNET20
from mtml_tf.config import SegmentConfig
from mtml_tf.data.records import DataFolder
from mtml_tf.inference import models, prediction
from mtml_tf.network.voxel_network import VoxelNetwork
from mtml_tf.scans.scan import read_scan, write_scan
from mtml_tf.scans.scan_file import ScanFile
from mtml_tf.scans.voxels import voxelize
from mtml_tf.scene import VoxelScene
from mtml_tf.scoring.average_precision import ApTable
from mtml_tf.scoring.folders import evaluate_folder
from mtml_tf.segmentation.mean_shift import mean_shift
from mtml_tf.segmentation.scores import instance_sizes, size_statistics

Array = np.ndarray

BANDWIDTHS = SegmentConfig.bandwidths
MIN_VERTICES = 100
REFERENCE = pathlib.Path(__file__).resolve().parents[2] / "tests" / "reference_scoring.py"


@dataclasses.dataclass(frozen=True)
class Features:
    """Which features mean shift is measured on.

    Attributes:
        count: M, of made-up features.
        modes: about how many clusters they have.
        path: file of real features (`.npy`, float32 [M, E]) in their place.
    """

    count: int = 0
    modes: int = 0
    path: str = ""

    def load(self) -> Array:
        """Returns float32 [M, E]."""
        if self.path:
            return np.load(self.path)
        clusters = np.random.default_rng(0).integers(0, self.modes, self.count)
        return make_embedding(clusters)

    def __str__(self) -> str:
        if self.path:
            return "{} x {} of a trained network".format(*self.load().shape)
        return f"{self.count} x 4, {self.modes} modes"


def build_mean_shift(side: str, given: Features) -> Call:
    """Returns a call that clusters features with every bandwidth; it gives their labels."""
    check_side(side)
    features = given.load()
    if side == "ours":
        return lambda: [mean_shift(features, bandwidth)[0] for bandwidth in BANDWIDTHS]
    from sklearn import cluster

    return lambda: [
        cluster.MeanShift(bandwidth=bandwidth, bin_seeding=True).fit(features).labels_
        for bandwidth in BANDWIDTHS
    ]


def mean_shift_contest(given: Features, target: Target | None = None) -> Contest:
    """Mean shift with all bandwidths: scikit-learn's against ours."""
    return Contest(
        f"mean shift, bandwidths {', '.join(str(bandwidth) for bandwidth in BANDWIDTHS)}",
        str(given),
        functools.partial(build_mean_shift, "ours", given),
        functools.partial(build_mean_shift, "plain", given),
        "sklearn.cluster.MeanShift(bin_seeding=True)",
        target,
        warm_up=False,
    )


def agreement_rows(given: Features, plain: Sequence[Array], ours: Sequence[Array]) -> list[Row]:
    """Compares both sides' clusters, bandwidth by bandwidth."""
    from sklearn import metrics

    return [
        Row(
            f"mean shift, adjusted Rand index, bandwidth {bandwidth}",
            str(given),
            float(metrics.adjusted_rand_score(theirs, labels)),
            unit="",
            target=Target(0.99, "at least"),
            beside=f"{theirs.max() + 1} clusters by scikit-learn, {labels.max() + 1} by us",
        )
        for bandwidth, theirs, labels in zip(BANDWIDTHS, plain, ours, strict=True)
    ]


def spread_rows(given: Features, plain: Sequence[Array], ours: Sequence[Array]) -> list[Row]:
    """Compares both sides' clusters with those that scikit-learn finds from every point.

    How far scikit-learn with binned seeds is from itself is what agreement with it can mean.
    """
    from sklearn import cluster, metrics

    features, rows = given.load(), []
    for bandwidth, binned, labels in zip(BANDWIDTHS, plain, ours, strict=True):
        every = cluster.MeanShift(bandwidth=bandwidth, bin_seeding=False).fit(features).labels_
        rows.append(
            Row(
                f"mean shift, adjusted Rand index to a seed at every point, bandwidth {bandwidth}",
                str(given),
                ours=float(metrics.adjusted_rand_score(every, labels)),
                plain=float(metrics.adjusted_rand_score(every, binned)),
                unit="",
                beside="sklearn.cluster.MeanShift(bin_seeding=False) against ours and, as plain, "
                f"against its own binned seeds; {every.max() + 1} clusters from every point",
            )
        )
    return rows


def write_real_features(run_dir: str, data_dir: str, split: str, path: pathlib.Path) -> Features:
    """Writes the embedding of the things of a split's largest scene, by a trained network."""
    model = models.load_model(run_dir)
    scene = largest_scene(data_dir, split)
    embedding = model.predict(scene).embedding
    things = np.isin(scene.semantic_ids, model.config.segment.thing_ids)
    np.save(path, embedding[things])
    return Features(path=str(path))


def largest_scene(data_dir: str, split: str) -> VoxelScene:
    """Returns the scene of a split with the largest grid."""
    folder = DataFolder(data_dir)
    return folder.scene(max(folder.entries(split), key=lambda entry: np.prod(entry.grid_shape)))


def build_voxelization(side: str, size: RoomSize, num_vertices: int) -> Call:
    """Returns a call that voxelizes a room's scan; it gives the number of voxels."""
    check_side(side)
    voxel_size = 0.05
    scan = make_scan(voxel_scene_of(make_room(size), SCANNET20, voxel_size), num_vertices)
    if side == "ours":
        return lambda: len(voxelize(scan, voxel_size).coordinates)
    import open3d

    points = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(scan.vertices))
    low, high = scan.vertices.min(axis=0), scan.vertices.max(axis=0)
    make_grid = open3d.geometry.VoxelGrid.create_from_point_cloud_within_bounds
    return lambda: len(make_grid(points, voxel_size, low, high).get_voxels())


def voxelization_contest(size: RoomSize, num_vertices: int) -> Contest:
    """Voxelization: Open3D's against ours, or ours alone where Open3D can't be imported."""
    there = has_open3d()
    return Contest(
        "voxelization",
        f"{num_vertices} vertices, {size.num_voxels} voxels",
        functools.partial(build_voxelization, "ours", size, num_vertices),
        functools.partial(build_voxelization, "plain", size, num_vertices) if there else None,
        "Open3D's VoxelGrid, which finds neither labels nor each vertex's voxel" if there else "",
    )


def has_open3d() -> bool:
    """Whether Open3D can be imported here; it also needs libraries of the system."""
    try:
        import open3d  # noqa: F401
    except (ImportError, OSError):
        return False
    return True


def plain_scoring() -> types.ModuleType:
    """Returns the plain implementation of the scoring rules that the tests keep.

    Raises:
        ValueError: this is not a checkout with tests.
    """
    spec = importlib.util.spec_from_file_location("reference_scoring", REFERENCE)
    if spec is None or spec.loader is None or not REFERENCE.is_file():
        raise ValueError(f"{REFERENCE}: expected the plain scoring of the tests, found no file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build_scoring(side: str, folder: str) -> Call:
    """Returns a call that scores the folders `pred` and `truth`; it gives a table."""
    check_side(side)
    predicted, truth = pathlib.Path(folder) / "pred", pathlib.Path(folder) / "truth"
    if side == "ours":
        return lambda: evaluate_folder(predicted, truth, SCANNET18, MIN_VERTICES)
    score = plain_scoring().score_folders
    return lambda: score(predicted, truth, SCANNET18.thing_ids, MIN_VERTICES)


def scoring_contest(
    folder: str, num_scenes: int, num_vertices: int, num_masks: int, target: Target | None = None
) -> Contest:
    """Scoring of files: the tests' plain implementation against ours."""
    return Contest(
        "scoring, from files",
        f"{num_scenes} scenes, {num_vertices} vertices, {num_masks} masks",
        functools.partial(build_scoring, "ours", folder),
        functools.partial(build_scoring, "plain", folder),
        "a plain implementation in Python",
        target,
        warm_up=False,
    )


def difference_of_scores(
    contest: Contest, plain: dict[int, tuple[float, float, float]], ours: ApTable
) -> Row:
    """Compares AP, AP50 and AP25 of every class."""
    theirs = np.array([plain[class_id] for class_id in ours.class_ids])
    found = np.stack([ours.ap, ours.ap50, ours.ap25], axis=1)
    if (np.isnan(theirs) != np.isnan(found)).any():
        difference = np.inf
    else:
        difference = float(np.nanmax(np.abs(theirs - found), initial=0.0))
    return Row(
        "scores, difference",
        contest.case,
        difference,
        unit="",
        target=Target(1e-9, "at most"),
        beside=f"average AP {ours.average.ap:.3f}",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class UntrainedModel(models.Model):
    """A network of random weights that runs all the same; what comes of it is made up.

    Attributes:
        values: what it tells of the one scene that it takes.
    """

    values: models.Values

    def predict(self, scene: VoxelScene) -> models.Values:
        """Evaluates the network, and returns what a trained one would have said of the scene."""
        super().predict(scene)
        return self.values


def untrained_model(scene: VoxelScene) -> UntrainedModel:
    """Returns a model for a scene with the classes of ScanNet."""
    from experiments.speed.network import network_config, set_weights

    config = models.ModelConfig(
        network=network_config(RoomSize(scene.grid_shape, len(SCANNET20))),
        segment=SegmentConfig(
            thing_ids=SCANNET20.thing_ids,
            size_statistics=size_statistics(instance_sizes(scene)),
        ),
        classes=SCANNET20,
        voxel_size=scene.voxel_size,
        has_direction=True,
    )
    network = VoxelNetwork(config.network)
    set_weights(network.dense)
    ids = scene.instance_ids
    if ids is None:
        ids = np.zeros(len(scene.coordinates), np.int32)
    values = models.Values(make_embedding(ids), make_directions(scene.coordinates, ids))
    return UntrainedModel(config, network, values=values)


@dataclasses.dataclass(frozen=True)
class WholePath:
    """A scan and a model for the whole path.

    Attributes:
        scan: PLY file with labels.
        voxel_size: metres.
        run_dir: trained model. Where it is empty the network has random weights and runs all the
            same, and what a trained one would have said of the scan takes the place of its outputs.
    """

    scan: str
    voxel_size: float
    run_dir: str = ""

    @property
    def network(self) -> str:
        """Which network it is, in words."""
        return "trained network" if self.run_dir else "untrained network, made-up embedding"

    def load_model(self) -> models.Model:
        """Returns the model, trained or not."""
        if self.run_dir:
            return models.load_model(self.run_dir)
        return untrained_model(voxelize(read_scan(self.scan), self.voxel_size, SCANNET20))


def build_path(path: WholePath) -> Callable[[], timing.Seconds]:
    """Returns a call from the scan's file to masks on disk; it gives the seconds of its stages."""
    model, file = path.load_model(), ScanFile(path.scan)
    holder = tempfile.TemporaryDirectory(prefix="benchmark_")
    numbers = itertools.count()

    def call() -> timing.Seconds:
        folder = pathlib.Path(holder.name) / f"masks_{next(numbers)}"
        return prediction.predict_scan(model, file, folder, written=prediction.ScanOutput(False))[1]

    return call


def path_rows(path: WholePath, case: str, repeats: int, target: Target | None) -> list[Row]:
    """Times the whole path: the first call, the median of the others, and the stages' medians."""
    start = time.perf_counter()
    call = build_path(path)
    loaded = time.perf_counter()
    call()
    first = time.perf_counter()
    seconds, stages = [], []
    for _ in range(repeats):
        begin = time.perf_counter()
        stages.append(call())
        seconds.append(time.perf_counter() - begin)
    total = Row(
        "scan file to masks on disk",
        case,
        statistics.median(seconds),
        target=target,
        beside=f"from the second call on; the first took {first - loaded:.3g} s, and loading the "
        f"model {loaded - start:.3g} s before it; {path.network}",
        repeats=repeats,
    )
    return [
        total,
        *(
            Row(
                f"of which {name}",
                case,
                statistics.median(s[name] for s in stages),
                repeats=repeats,
            )
            for name in stages[0]
        ),
    ]


def path_contest(path: WholePath, case: str) -> Contest:
    """The whole path, ours alone, for its memory."""
    return Contest("scan file to masks on disk", case, functools.partial(build_path, path))


def write_made_scan(
    size: RoomSize, voxel_size: float, num_vertices: int, file: pathlib.Path
) -> None:
    """Writes a made-up room's scan, labelled, as PLY."""
    scene = voxel_scene_of(make_room(size), SCANNET20, voxel_size)
    write_scan(file, make_scan(scene, num_vertices))


def write_real_scan(data_dir: str, split: str, num_vertices: int, file: pathlib.Path) -> VoxelScene:
    """Writes a scan with the voxels of a split's largest scene; returns that scene.

    A scene with more voxels than `num_vertices` gets a vertex in each.
    """
    scene = largest_scene(data_dir, split)
    write_scan(file, make_scan(scene, num_vertices))
    return scene
