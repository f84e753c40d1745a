"""How good the network is on the validation split: its loss, and its average precision.

Scenes are taken one by one on one device, whatever the batches and replicas of the training: so
every scene counts the same, and none is padded to another's size.
"""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from mtml_tf.backend import tf
from mtml_tf.config import DataConfig, LossConfig, TrainConfig
from mtml_tf.data.pipeline import make_dataset
from mtml_tf.data.records import DataFolder
from mtml_tf.inference.models import Model
from mtml_tf.network.losses import TRUTH, MultiTaskLoss
from mtml_tf.network.voxel_network import VoxelNetwork
from mtml_tf.scans.voxels import on_vertices
from mtml_tf.scene import Instance
from mtml_tf.scoring.average_precision import ApTable, average_precision


def one_by_one(config: DataConfig) -> DataConfig:
    """Returns how the scenes to validate on are read."""
    return dataclasses.replace(config, batch_size=1)


def losses_of(
    network: VoxelNetwork, loss: LossConfig, folder: DataFolder, split: str, data: DataConfig
) -> Callable[[], dict[str, float]]:
    """Returns a function that computes `loss` and its terms, means over the scenes of a split.

    Args:
        network: the network, as it is when the function is called.
        loss: settings of the loss.
        folder: data folder.
        split: one of its splits.
        data: settings of the data.
    """
    scenes = make_dataset(folder, split, one_by_one(data), training=False)
    layer = MultiTaskLoss(loss)

    @tf.function(input_signature=[scenes.element_spec])
    def terms_of(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return layer.terms(network(batch), **{name: batch[name] for name in TRUTH})

    def losses() -> dict[str, float]:
        rows = [terms_of(batch) for batch in scenes]
        means = {
            name: float(np.mean([row[name].numpy() for row in rows], dtype=np.float64))
            for name in rows[0]
        }
        weights = layer.weights_of_terms
        return {"loss": sum(weights[name] * mean for name, mean in means.items()), **means}

    return losses


def validate(model: Model, folder: DataFolder, config: TrainConfig) -> ApTable:
    """Scores the model on (some of) the validation split, on the vertices of its scenes."""
    split = config.validation_split
    chosen = folder.spaced_entries(split, config.validation_scenes)

    def scored() -> Iterator[tuple[np.ndarray, list[Instance]]]:
        for entry in chosen:
            scene = folder.scene(entry)
            found = [on_vertices(instance, scene) for instance in model.segment(scene)]
            yield folder.ground_truth(split, entry), found

    return average_precision(scored(), model.config.classes, config.min_vertices)
