"""A scan of one's own in files of all kinds, and a model for it, made at run time."""

import dataclasses
import subprocess
import sys

import numpy as np

from mtml_tf.classes import ClassSet
from mtml_tf.config import NetworkConfig, SegmentConfig
from mtml_tf.inference import prediction
from mtml_tf.inference.models import Model, ModelConfig
from mtml_tf.network.voxel_network import VoxelNetwork
from mtml_tf.scans import scan
from mtml_tf.scans.scan_file import ScanFile
from mtml_tf.scoring.benchmark_format import read_predictions

BARE = prediction.ScanOutput(extras=False)
CLASSES = ClassSet((1, 2, 7), ("floor", "box", "ball"), ("stuff", "thing", "thing"))


def tiny_model():
    """A tiny one that was never trained: the parts of a label that touch are its proposals."""
    segment = SegmentConfig(
        thing_ids=(2, 7),
        label_ids=(*CLASSES.ids, 0),
        propose_clusters=False,
        propose_cluster_components=False,
        direction_weight=0.0,
        feature_weight=0.0,
        label_weight=0.0,
    )
    network = NetworkConfig(3, width=1 / 16, num_labels=4)
    config = ModelConfig(network, segment, CLASSES, 0.1, True)
    return Model(config, VoxelNetwork(config.network))


@dataclasses.dataclass(frozen=True)
class Held:
    """Stands for a `ModelSource` whose model is in memory."""

    model: Model

    def load(self):
        return self.model

    def settings(self):
        return {}


def room():
    """A floor of 2 x 2 m with a box and a ball on it: vertices, labels."""
    x, y = (v.reshape(-1) for v in np.meshgrid(np.arange(0, 2, 0.05), np.arange(0, 2, 0.05)))
    floor = np.stack([x, y, np.zeros_like(x)], axis=1)
    rng = np.random.default_rng(0)
    box = rng.uniform([0.3, 0.3, 0.1], [0.8, 0.8, 0.6], (800, 3))
    ball = rng.uniform([1.3, 1.3, 0.1], [1.7, 1.7, 0.5], (500, 3))
    labels = np.repeat([1, 2, 7], [len(floor), len(box), len(ball)])
    return np.concatenate([floor, box, ball]), labels


def write_text_ply(path, vertices, columns):
    names = "".join(f"property {kind} {name}\n" for name, kind, _ in columns)
    lines = [
        " ".join(map(str, [*vertex, *(values[row] for _, _, values in columns)]))
        for row, vertex in enumerate(vertices.tolist())
    ]
    path.write_text(
        f"ply\nformat ascii 1.0\nelement vertex {len(vertices)}\n"
        "property double x\nproperty double y\nproperty double z\n"
        f"{names}end_header\n" + "\n".join(lines) + "\n"
    )


def write_binary_ply(path, vertices, labels, byte_order, place_type="f4", label_type="u2"):
    types = {"f4": "float", "f8": "double", "u2": "ushort", "u1": "uchar", "i4": "int"}
    fields = [(axis, byte_order + place_type) for axis in "xyz"]
    table = np.zeros(len(vertices), [*fields, ("label", byte_order + label_type)])
    for axis, name in enumerate("xyz"):
        table[name] = vertices[:, axis]
    table["label"] = labels
    order = {"<": "little", ">": "big"}[byte_order]
    header = f"ply\nformat binary_{order}_endian 1.0\nelement vertex {len(vertices)}\n"
    header += "".join(f"property {types[place_type]} {axis}\n" for axis in "xyz")
    header += f"property {types[label_type]} label\nend_header\n"
    path.write_bytes(header.encode() + table.tobytes())


def predict(model, path, folder, **reading):
    prediction.predict_scan(model, ScanFile(str(path), **reading), folder, written=BARE)
    return read_predictions(folder, scan.read_scan(path).name, len(scan.read_scan(path).vertices))


def run(*arguments, **options):
    """Runs `predict` as a user does; the options are those of `subprocess.run`."""
    return subprocess.run(
        [sys.executable, "-m", "mtml_tf.predict", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def assert_finds_box_and_ball(instances):
    found = {i.class_id: len(i.indices) for i in instances}
    assert found == {2: 800, 7: 500}
