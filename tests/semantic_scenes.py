"""Tiny points folders and semantic networks, made at run time."""

import functools

import numpy as np

from mtml_tf import files
from mtml_tf.classes import ClassSet
from mtml_tf.engines import Engine
from mtml_tf.inference.models import LAST, write_weights_of
from mtml_tf.scans.prepared import Source
from mtml_tf.scans.scan import write_scan
from mtml_tf.scene import Scene
from mtml_tf.semantic.config import SemanticDataConfig, SemanticNetworkConfig, SemanticTrainConfig
from mtml_tf.semantic.models import SemanticDescription, SemanticModel, write_description
from mtml_tf.semantic.network import build_semantic_network
from mtml_tf.semantic.point_folder import write_point_folder
from mtml_tf.semantic.preparing import ScanPoints
from mtml_tf.semantic.training import SemanticExperiment

FLOOR, BOX = 2, 5
CLASSES = ClassSet((FLOOR, BOX), ("floor", "box"), ("stuff", "thing"))
NETWORK = SemanticNetworkConfig(
    num_classes=2, inputs=("color", "geometry"), voxel_size=0.1, planes=3, num_levels=2
)


def box_scan(seed, name=None, labelled=True, length=2):
    """A grey floor, 2 m wide, with one red box of 0.6 m on it, a vertex every 8 cm."""
    rng = np.random.default_rng(seed)
    flat = np.stack(np.meshgrid(np.arange(0, length, 0.08), np.arange(0, 2, 0.08)), axis=2)
    floor = np.concatenate([flat.reshape(-1, 2), np.zeros((flat[..., 0].size, 1))], axis=1)
    side = np.stack(np.meshgrid(*[np.arange(0, 0.6, 0.08)] * 3), axis=3).reshape(-1, 3)
    box = side[(side == 0).any(axis=1) | (side[:, 2] > 0.5)] + (*rng.uniform(0.2, 1.2, 2), 0.04)
    vertices = np.concatenate([floor, box])
    is_box = np.arange(len(vertices)) >= len(floor)
    colors = np.where(is_box[:, None], (200, 40, 40), (120, 120, 120))
    return Scene(
        name or f"scan_{seed}",
        vertices + rng.normal(0, 0.003, vertices.shape),
        colors=(colors + rng.integers(-20, 20, colors.shape)).astype(np.uint8),
        semantic_ids=np.where(is_box, BOX, FLOOR).astype(np.int32) if labelled else None,
        instance_ids=is_box.astype(np.int32) if labelled else None,
    )


def write_points(tmp_path, num_train=4, num_val=2):
    """Writes a points folder with the splits `train` and `val`; returns its path."""
    write_split(tmp_path, "train", [box_scan(seed) for seed in range(num_train)])
    return write_split(tmp_path, "val", [box_scan(seed) for seed in range(100, 100 + num_val)])


def write_split(tmp_path, split, scans):
    """Adds a split to the points folder, which is made where there is none; returns its path."""
    sources = []
    for scan in scans:
        path = tmp_path / "scans" / split / f"{scan.name}.ply"
        files.make_folder(path.parent)
        write_scan(path, scan)
        sources.append(Source(split, scan.name, path))
    write_point_folder(tmp_path / "points", sources, ScanPoints(CLASSES), Engine(num_workers=1))
    return tmp_path / "points"


def red_model(scale=10, bias=(6, 0), **description):
    """A model that calls box what is red: logits 0 and `scale` (red - green), plus the biases."""
    network = build_semantic_network(NETWORK)
    _make_red(network, scale, bias)
    return SemanticModel(SemanticDescription(NETWORK, CLASSES, **description), network)


def write_red_run(run_dir, scale=10, bias=(6, 0), **description):
    """Writes the run folder of a `red_model`; returns it."""
    network = _network()
    _make_red(network, scale, bias)
    write_weights_of(run_dir, LAST, network)
    write_description(run_dir, SemanticDescription(NETWORK, CLASSES, **description))
    return run_dir


@functools.cache
def _network():
    return build_semantic_network(NETWORK)


def _make_red(network, scale, bias):
    """Leads one plane straight through the finest level, and has 0 everywhere else."""
    middle = 13
    for name in ("stem", "level_1_down_1", "level_1_up_1", "level_1_out", "level_1_back"):
        kernel = network.get_layer(name).kernel
        values = np.zeros(kernel.shape, np.float32)
        if name == "stem":
            values[middle, :2, 0] = 1, -1
        elif len(values) == 27:
            values[middle, 0, 0] = 1
        kernel.assign(values)
    kernel, offset = network.get_layer("head").weights
    kernel.assign([[0, scale]] + [[0, 0]] * (kernel.shape[0] - 1))
    offset.assign(bias)


def experiment(epochs=2, network=NETWORK, data=None, **train):
    """A training of a tiny network in batches of two scenes."""
    return SemanticExperiment(
        "train",
        network,
        SemanticDataConfig(**{"batch_size": 2, **(data or {})}),
        SemanticTrainConfig(epochs=epochs, **train),
    )
