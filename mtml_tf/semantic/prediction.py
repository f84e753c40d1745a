"""From a scan to the class probabilities of its vertices."""

import functools
from collections.abc import Callable, Sequence

import numpy as np

from mtml_tf import timing
from mtml_tf.backend import keras, tf
from mtml_tf.network.memory import available_memory
from mtml_tf.scans.semantic_input import softmax
from mtml_tf.semantic.batches import network_input
from mtml_tf.semantic.config import SemanticNetworkConfig
from mtml_tf.semantic.models import SemanticModel
from mtml_tf.semantic.points import PointScene
from mtml_tf.semantic.views import view_for_prediction

Array = np.ndarray

# Below it, a vertex's class is as good as guessed.
CONFIDENT = 0.5
# That a site may take for each plane of the finest level; a forward pass took 83 of either network.
_BYTES = 128


def predict_probabilities(
    models: Sequence[SemanticModel], points: PointScene, num_views: int = 1
) -> Array:
    """Tells the class of every vertex of a scan.

    As in SparseConvNet's example, logits are summed over views of the scan, turned and moved at
    random (the first as it lies); of several networks, such as those of all folds, as well. The
    sum is divided by their number before it becomes probabilities.

    Args:
        models: one or more, of the same classes.
        points: the scan.
        num_views: how many views each network sees.

    Returns:
        float32 [N, number of classes], in the order of the classes; rows add up to 1.

    Raises:
        ValueError: a scan that lacks what the networks were trained on, or that is too large for
            memory.
    """
    count = len(models) * num_views
    total = np.zeros((len(points.vertices), len(models[0].description.classes)), np.float32)
    for model in models:
        config = model.description.network
        for number in range(num_views):
            with timing.stage("semantic voxels"):
                view = view_for_prediction(points, config, number)
                inputs, sites = network_input([view], config.num_levels)
            _check_memory(points.name, len(inputs["features"]), config)
            with timing.stage("semantic network"):
                try:
                    logits = _compiled(model.network)(inputs)
                except tf.errors.ResourceExhaustedError as error:  # a GPU has its own memory
                    raise _too_large(points.name, len(inputs["features"]), config) from error
            total += logits.numpy()[sites]
    return softmax(total / count, f"scene {points.name}: expected finite logits")


def share_of_doubt(probabilities: Array) -> float:
    """Returns the share of the vertices whose best class has less than half of the probability.

    Args:
        probabilities: float32 [N, classes].
    """
    return float(np.mean(probabilities.max(axis=1) < CONFIDENT))


def _check_memory(name: str, num_sites: int, config: SemanticNetworkConfig) -> None:
    """Raises ValueError for a scan that memory would not hold, before it is tried."""
    if num_sites * config.planes * _BYTES > available_memory():
        raise _too_large(name, num_sites, config)


def _too_large(name: str, num_sites: int, config: SemanticNetworkConfig) -> ValueError:
    return ValueError(
        f"scene {name}: expected a scan that fits into memory, found {num_sites:,} voxels of "
        f"{config.voxel_size:g} m that do not; cut it into parts"
    )


@functools.lru_cache(maxsize=16)
def _compiled(network: keras.Model) -> Callable[..., tf.Tensor]:
    """Returns the network as a graph, traced once for scans of all sizes."""
    signature = {
        name: tf.TensorSpec(tensor.shape, tensor.dtype) for name, tensor in network.input.items()
    }
    return tf.function(lambda inputs: network(inputs, training=False), input_signature=[signature])
