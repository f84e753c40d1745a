"""Time and memory of the semantic network: `python -m experiments.speed.semantic`

A furnished room of flat and curved surfaces, of so many vertices, goes through the pipeline's work
(voxels and tables), a forward pass and a training step, in a process of its own for each row, whose
peak memory is the row's. Numbers are medians of `--repeats`, after a first call that traces.
"""

import dataclasses
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import flags

from experiments.running import encode_markdown
from mtml_tf import program
from mtml_tf.semantic.config import SemanticNetworkConfig, SemanticTrainConfig

FLAGS = flags.FLAGS

Array = np.ndarray

NETWORKS = {
    "small": SemanticNetworkConfig(),
    "large": SemanticNetworkConfig(voxel_size=0.02, planes=32, block_reps=2, residual=True),
}
_ROOM = (6.0, 7.0, 2.6)  # metres
_SHAPES = 24  # pieces of furniture


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a row tells: sites, seconds and MiB."""

    sites: int
    tables: float
    forward: float
    step: float
    peak: int


def room_vertices(count: int, seed: int = 0) -> Array:
    """Returns float64 [count, 3], vertices on floor, walls and boxes, noisy by 3 mm."""
    rng = np.random.default_rng(seed)
    size = np.array(_ROOM)
    places = rng.random((count, 3)) * size
    surface = rng.integers(0, 5 + _SHAPES, count)
    for side, (axis, value) in enumerate([(2, 0), (0, 0), (1, 0), (0, size[0]), (1, size[1])]):
        places[surface == side, axis] = value
    for number in range(_SHAPES):
        edges = rng.uniform(0.3, 1.4, 3)
        corner = rng.random(3) * (size - edges) * (1, 1, 0)
        own = np.flatnonzero(surface == 5 + number)
        on_box = corner + rng.random((len(own), 3)) * edges
        face = rng.integers(0, 5, len(own))  # all but the bottom
        for axis in range(3):
            on_box[face == axis, axis] = corner[axis] + edges[axis]
        for axis in range(2):
            on_box[face == 3 + axis, axis] = corner[axis]
        places[own] = on_box
    return places + rng.normal(0, 0.003, places.shape)


def measure(config: SemanticNetworkConfig, num_vertices: int, repeats: int) -> Cost:
    """Measures one network on one room; peak memory is that of the whole process."""
    from mtml_tf.backend import tf
    from mtml_tf.semantic.batches import CHANNELS, SITES, network_input
    from mtml_tf.semantic.training import build_learner
    from mtml_tf.semantic.views import View

    vertices = room_vertices(num_vertices)
    rng = np.random.default_rng(1)
    features = rng.uniform(-1, 1, (num_vertices, len(config.channels))).astype(np.float32)
    voxels = np.floor(vertices / config.voxel_size).astype(np.int32)
    view = View(voxels, features, np.arange(num_vertices))
    inputs, sites = network_input([view], config.num_levels)
    channels = rng.integers(0, config.num_classes, num_vertices).astype(np.int32)
    learner = build_learner(config, SemanticTrainConfig(), 1, tf.distribute.get_strategy())
    forward = tf.function(lambda batch: learner.network(batch, training=False))
    tensors = {name: tf.constant(value) for name, value in inputs.items()}
    batch = {**tensors, SITES: tf.constant(sites), CHANNELS: tf.constant(channels)}
    step = learner.training_model.make_train_function()
    batches = iter(tf.data.Dataset.from_tensors(batch).repeat())
    return Cost(
        len(inputs["features"]),
        _median_seconds(lambda: network_input([view], config.num_levels), repeats),
        _median_seconds(lambda: forward(tensors).numpy(), repeats),
        _median_seconds(lambda: step(batches)["loss"].numpy(), repeats),
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    )


def _median_seconds(call: Callable[[], Any], repeats: int) -> float:
    call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def define_flags() -> None:
    """Defines the flags; here, so that other code can import this module beside its like."""
    flags.DEFINE_list("networks", list(NETWORKS), "Networks to measure.")
    flags.DEFINE_list("vertices", ["37500", "75000", "150000"], "Sizes of the room.")
    flags.DEFINE_integer("repeats", 3, "Calls of each kind.", lower_bound=1)


def main() -> None:
    """Reads the flags, measures and prints."""
    if unknown := sorted(set(FLAGS.networks) - set(NETWORKS)):
        raise flags.Error(f"expected --networks among {','.join(NETWORKS)}, found {unknown[0]}")
    if len(FLAGS.networks) == len(FLAGS.vertices) == 1:
        cost = measure(NETWORKS[FLAGS.networks[0]], int(FLAGS.vertices[0]), FLAGS.repeats)
        row = [FLAGS.networks[0], f"{int(FLAGS.vertices[0]):,}", f"{cost.sites:,}"]
        row += [f"{value:.2f}" for value in (cost.tables, cost.forward, cost.step)]
        print("\t".join([*row, f"{cost.peak:,}"]))
        return
    heads = ["network", "vertices", "sites", "tables, s", "forward, s", "training step, s"]
    rows = [[*heads, "peak, MiB"]]
    for network in FLAGS.networks:
        for count in FLAGS.vertices:
            settings = (f"--networks={network}", f"--vertices={count}")
            command = [sys.executable, "-m", "experiments.speed.semantic", *settings]
            command.append(f"--repeats={FLAGS.repeats}")
            done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
            if done.returncode:
                raise ValueError(f"{' '.join(command[1:])}: failed, as told above")
            rows.append(done.stdout.strip().split("\t"))
    print(encode_markdown(rows))


if __name__ == "__main__":
    define_flags()
    program.run(main)
