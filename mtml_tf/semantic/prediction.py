"""From a scan to the class probabilities of its vertices."""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from mtml_tf import timing
from mtml_tf.backend import keras, tf
from mtml_tf.network.memory import available_memory
from mtml_tf.scans.semantic_input import softmax
from mtml_tf.semantic.batches import network_input
from mtml_tf.semantic.config import SemanticNetworkConfig
from mtml_tf.semantic.models import SemanticModel
from mtml_tf.semantic.network import MOMENTUM
from mtml_tf.semantic.points import PointScene
from mtml_tf.semantic.views import view_for_prediction

Array = np.ndarray

# Below it, a vertex's class is as good as guessed.
CONFIDENT = 0.5
# That a site may take for each plane of the finest level; a forward pass took 83 of either network,
# a quarter more where it adapts.
_BYTES = 128


def predict_probabilities(
    models: Sequence[SemanticModel], points: PointScene, num_views: int = 1, adapt: float = 0.0
) -> Array:
    """Tells the class of every vertex of a scan.

    As in SparseConvNet's example, logits are summed over views of the scan, turned and moved at
    random (the first as it lies); of several networks, such as those of all folds, as well. The
    sum is divided by their number before it becomes probabilities.

    Args:
        models: one or more, of the same classes.
        points: the scan.
        num_views: how many views each network sees.
        adapt: share, 0 to 1, of the view's own means and variances in those that the network
            normalises by; the rest are the averages of its training. For scans unlike those that
            it learned from; a view then takes up to twice as long. The mixture is that of Schneider
            et al. ("Improving robustness against common corruptions by covariate shift
            adaptation", NeurIPS 2020), whose share grows with the number of examples; here it is
            given.

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
                    with _adapted(model.network, inputs, adapt):
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


# Of networks while they are adapted: threads may share one, but must all adapt.
_ADAPTING = threading.Lock()


@contextlib.contextmanager
def _adapted(network: keras.Model, inputs: Mapping[str, Array], share: float) -> Iterator[None]:
    """While it lasts, a share of the statistics that a network normalises by is of these inputs.

    They are taken where every layer normalises by the inputs' own, as in training: mixed layer by
    layer, what one layer puts right the next would put right again.
    """
    if not share:
        yield
        return
    norms = [layer for layer in network.layers if hasattr(layer, "moving_mean")]
    averages = [average for norm in norms for average in (norm.moving_mean, norm.moving_variance)]
    with _ADAPTING:
        before = [average.numpy() for average in averages]
        try:
            for average, value in zip(averages, before, strict=True):
                average.assign(np.zeros_like(value))
            _compiled(network, training=True)(inputs)  # adds 1 - MOMENTUM of the inputs' own
            for average, value in zip(averages, before, strict=True):
                own = average.numpy() / (1 - MOMENTUM)
                average.assign((1 - share) * value + share * own)
            yield
        finally:
            for average, value in zip(averages, before, strict=True):
                average.assign(value)


@functools.lru_cache(maxsize=32)
def _compiled(network: keras.Model, training: bool = False) -> Callable[..., tf.Tensor]:
    """Returns the network as a graph, traced once for scans of all sizes."""
    signature = {
        name: tf.TensorSpec(tensor.shape, tensor.dtype) for name, tensor in network.input.items()
    }
    return tf.function(
        lambda inputs: network(inputs, training=training), input_signature=[signature]
    )
