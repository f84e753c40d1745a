"""From a points folder to what the semantic network takes (`tf.data`).

Which scene comes when, and how it is varied, is a pure function of (seed, number of the example): a
run that starts again at step s sees what it would have seen.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mtml_tf.backend import keras, tf
from mtml_tf.classes import ClassSet
from mtml_tf.data.pipeline import Share
from mtml_tf.semantic.config import SemanticDataConfig, SemanticNetworkConfig
from mtml_tf.semantic.network import network_inputs, table_inputs
from mtml_tf.semantic.point_folder import PointFolder
from mtml_tf.semantic.tables import build_levels, unique_sites
from mtml_tf.semantic.views import View, view_for_training

Array = np.ndarray

ALONE = Share()
# Beside the network's inputs: of each point the row of its site, and the channel of its class
# (-1 unlabelled).
SITES, CHANNELS = "sites", "channels"


def network_input(views: Sequence[View], num_levels: int) -> tuple[dict[str, Array], Array]:
    """Joins scenes to one batch.

    Args:
        views: the scenes.
        num_levels: resolutions of the network.

    Returns:
        The network's inputs by name, a site's features the mean of its points'; and int32 [P], of
        each point, scene by scene, the row of its site.
    """
    numbers = np.repeat(np.arange(len(views)), [len(view.voxels) for view in views])
    voxels = np.concatenate([view.voxels for view in views])
    sites, rows = unique_sites(np.concatenate([numbers[:, None], voxels], axis=1))
    features = np.concatenate([view.features for view in views])
    counts = np.bincount(rows, minlength=len(sites))
    sums = [np.bincount(rows, column, len(sites)) for column in features.T]
    means = np.stack(sums, axis=1) / counts[:, None]
    inputs = table_inputs(build_levels(sites, num_levels))
    return {"features": means.astype(np.float32), **inputs}, rows


def scenes_of_step(
    names: Sequence[str], data: SemanticDataConfig, step: int, share: Share = ALONE
) -> list[tuple[int, str]]:
    """Returns number and name of each scene of a step: a fresh order in every epoch.

    Args:
        names: of the training scenes.
        data: batch size and seed.
        step: number of the step.
        share: of the replicas; one of them then gets the scenes that it has to.
    """
    of_replica = data.batch_size // share.num_replicas
    first = step * data.batch_size + share.first * of_replica
    drawn = []
    for example in range(first, first + of_replica):
        epoch, position = divmod(example, len(names))
        order = np.random.default_rng((data.seed, epoch)).permutation(len(names))
        drawn.append((example, names[order[position]]))
    return drawn


def training_batch(
    folder: PointFolder,
    split: str,
    scenes: Sequence[tuple[int, str]],
    network: SemanticNetworkConfig,
    data: SemanticDataConfig,
) -> dict[str, Array]:
    """Returns a batch: the network's inputs, and of each point its site and class.

    Args:
        folder: the points folder.
        split: one of its splits.
        scenes: of `scenes_of_step`.
        network: what is trained.
        data: how scenes are varied.

    Raises:
        ValueError: scenes that can't be read, or have no labels.
    """
    views, channels = [], []
    for example, name in scenes:
        points = folder.read(split, name)
        if points.semantic_ids is None:
            raise ValueError(
                f"{folder.path}: expected labels in split '{split}' to train on, found none in "
                f"scene {name}; prepare scans that have them"
            )
        # Apart from the seed of the order: the two must not be the same numbers.
        rng = np.random.default_rng((data.seed + 1, 1, example))
        view = view_for_training(points, network, data, rng)
        views.append(view)
        channels.append(_channels(folder.classes, points.semantic_ids[view.vertices]))
    inputs, sites = network_input(views, network.num_levels)
    return {**inputs, SITES: sites, CHANNELS: np.concatenate(channels)}


def make_batches(
    folder: PointFolder,
    split: str,
    names: Sequence[str],
    network: SemanticNetworkConfig,
    data: SemanticDataConfig,
    first_step: int,
    num_steps: int,
    share: Share = ALONE,
) -> tf.data.Dataset:
    """Returns the batches of so many steps, one for each replica of this process.

    Args:
        folder: the points folder.
        split: one of its splits.
        names: of its scenes that are trained on.
        network: what is trained.
        data: how scenes are varied and put together.
        first_step: number of the first step.
        num_steps: how many.
        share: of the replicas; batches of a step follow one another.
    """
    specs = {
        name: tf.TensorSpec((None, *value.shape[1:]), value.dtype)
        for name, value in {**network_inputs(network), **point_inputs()}.items()
    }

    def read(number: Array) -> list[Array]:
        step, replica = divmod(int(number), share.count)
        own = Share(share.num_replicas, share.first + replica, 1)
        scenes = scenes_of_step(names, data, step, own)
        batch = training_batch(folder, split, scenes, network, data)
        return [batch[name] for name in specs]

    def batch_of(number: tf.Tensor) -> dict[str, tf.Tensor]:
        dtypes = [spec.dtype for spec in specs.values()]
        found = tf.numpy_function(read, [number], dtypes, stateful=False)
        return {
            name: tf.ensure_shape(value, spec.shape)
            for (name, spec), value in zip(specs.items(), found, strict=True)
        }

    numbers = tf.data.Dataset.range(
        first_step * share.count, (first_step + num_steps) * share.count
    )
    return numbers.map(batch_of, num_parallel_calls=2, deterministic=True).prefetch(2)


def point_inputs() -> dict[str, Any]:
    """Returns what training needs beside the network's inputs, as Keras inputs by name."""
    return {name: keras.Input((), dtype=tf.int32, name=name) for name in (SITES, CHANNELS)}


def _channels(classes: ClassSet, semantic_ids: Array) -> Array:
    return classes.channels_of(semantic_ids).astype(np.int32)
