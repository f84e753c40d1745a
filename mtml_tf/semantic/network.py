"""The semantic network: a U-Net of submanifold sparse convolutions.

After Graham, Engelcke, van der Maaten (CVPR 2018), as the ScanNet example of their library has it:

    stem        a 3^3 submanifold convolution to m planes
    levels      l = 1 to 7, of l m planes and voxels of 2^(l - 1) times the size: on the way down
                `block_reps` blocks, and a 2^3 convolution of stride 2 to the next; on the way up
                its inverse, to the very sites that it came from, where the level's own values and
                those from below stand side by side, and `block_reps` blocks more
    head        batch normalisation, ReLU, and a product to one logit a class

A block is batch normalisation, ReLU and a 3^3 submanifold convolution; with `residual` these three
twice, and its input is added (through a product where the planes differ). Strided and inverse
convolutions have batch normalisation and ReLU before them too. Only the last product has a bias.

All values are rows [S, planes] of the sites of a batch. There is no axis for the batch: the tables
(`semantic.tables`) know which sites belong together. Inputs, by name, for levels l:

    features        float32 [S_1, C]
    neighbours_l    int32 [S_l, 27]
    children_l      int32 [S_(l+1), 8], but for the coarsest level
    places_l        int32 [S_l], but for the coarsest level

The output is float32 [S_1, number of classes]: logits.
"""

from collections.abc import Sequence
from typing import Any

from mtml_tf.backend import keras, tf
from mtml_tf.semantic import sparse_conv
from mtml_tf.semantic.config import SemanticNetworkConfig
from mtml_tf.semantic.tables import CORNERS, OFFSETS, Level

# As the library has them; of the running averages a step of training keeps so much.
_EPSILON, MOMENTUM = 1e-4, 0.9


def build_semantic_network(config: SemanticNetworkConfig) -> keras.Model:
    """Builds the network, with random weights.

    Args:
        config: what it is.

    Returns:
        A functional model of the inputs and the output above; 2.7 million weights in the small
        configuration, 30 million in the large one.
    """
    inputs = network_inputs(config)
    stem = SubmanifoldConv(config.planes, name="stem")
    x = stem([inputs["features"], inputs["neighbours_1"]])  # [S_1, m]
    x = _levels(x, inputs, config, 1)
    x = _normed(x, "head")
    return keras.Model(inputs, keras.layers.Dense(config.num_classes, name="head")(x))


def network_inputs(config: SemanticNetworkConfig) -> dict[str, Any]:
    """Returns the inputs above as Keras inputs, by name."""
    inputs = {"features": keras.Input((len(config.channels),), name="features")}
    for level in range(1, config.num_levels + 1):
        sizes: dict[str, tuple[int, ...]] = {"neighbours": (len(OFFSETS),)}
        if level < config.num_levels:
            sizes |= {"children": (len(CORNERS),), "places": ()}
        for what, shape in sizes.items():
            name = f"{what}_{level}"
            inputs[name] = keras.Input(shape, dtype=tf.int32, name=name)
    return inputs


def table_inputs(levels: Sequence[Level]) -> dict[str, Any]:
    """Returns the network's inputs but for the features: the tables of its levels, by name."""
    inputs: dict[str, Any] = {}
    for number, level in enumerate(levels, start=1):
        inputs[f"neighbours_{number}"] = level.neighbours
        if level.children is not None:
            inputs[f"children_{number}"] = level.children
            inputs[f"places_{number}"] = level.places
    return inputs


def _levels(
    x: tf.Tensor, inputs: dict[str, tf.Tensor], config: SemanticNetworkConfig, level: int
) -> Any:
    """Applies a level and all coarser ones; takes and gives [S_l, l m]."""
    neighbours, planes = inputs[f"neighbours_{level}"], level * config.planes
    for number in range(config.block_reps):
        x = _block(x, neighbours, planes, config.residual, f"level_{level}_down_{number + 1}")
    if level == config.num_levels:
        return x
    tables = [inputs[f"children_{level}"], inputs[f"places_{level}"]]
    name = f"level_{level}_out"
    below = StridedConv(planes + config.planes, name=name)([_normed(x, name), *tables])
    below = _levels(below, inputs, config, level + 1)  # [S_(l+1), (l+1) m]
    name = f"level_{level}_back"
    back = InverseConv(planes, name=name)([_normed(below, name), *tables])
    x = keras.layers.Concatenate(name=f"level_{level}_join")([x, back])  # [S_l, 2 l m]
    for number in range(config.block_reps):
        x = _block(x, neighbours, planes, config.residual, f"level_{level}_up_{number + 1}")
    return x


def _block(
    x: tf.Tensor, neighbours: tf.Tensor, planes: int, residual: bool, name: str
) -> tf.Tensor:
    if not residual:
        return SubmanifoldConv(planes, name=name)([_normed(x, name), neighbours])
    shortcut = x
    if x.shape[-1] != planes:
        shortcut = keras.layers.Dense(
            planes,
            use_bias=False,
            kernel_initializer=keras.initializers.RandomNormal(stddev=(2 / x.shape[-1]) ** 0.5),
            name=f"{name}_skip",
        )(x)
    for conv in ("a", "b"):
        own = f"{name}{conv}"
        x = SubmanifoldConv(planes, name=own)([_normed(x, own), neighbours])
    return keras.layers.Add(name=f"{name}_sum")([shortcut, x])


def _normed(x: tf.Tensor, name: str) -> tf.Tensor:
    """Returns batch normalisation over the sites of all replicas, and ReLU."""
    norm = keras.layers.BatchNormalization(
        momentum=MOMENTUM, epsilon=_EPSILON, synchronized=True, name=f"{name}_norm"
    )
    return keras.layers.ReLU(name=f"{name}_relu")(norm(x))


class _SparseConv(keras.layers.Layer):
    """What the convolutions have in common: one kernel [K, C, F] and no bias.

    Its first deviation is that of the library: the square root of 2 / (K C).
    """

    offsets: tuple[tuple[int, ...], ...]

    def __init__(self, filters: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, input_shape: Any) -> None:
        size, channels = len(self.offsets), input_shape[0][-1]
        self.kernel = self.add_weight(
            name="kernel",
            shape=(size, channels, self.filters),
            initializer=keras.initializers.RandomNormal(stddev=(2 / (size * channels)) ** 0.5),
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters}


class SubmanifoldConv(_SparseConv):
    """Layer of `sparse_conv.submanifold_conv`; called with [rows, neighbours]."""

    offsets = OFFSETS

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:  # noqa: D102
        rows, neighbours = inputs
        return sparse_conv.submanifold_conv(rows, self.kernel, neighbours)


class StridedConv(_SparseConv):
    """Layer of `sparse_conv.strided_conv`; called with [rows, children, places]."""

    offsets = CORNERS

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:  # noqa: D102
        rows, children, places = inputs
        return sparse_conv.strided_conv(rows, self.kernel, children, places)


class InverseConv(_SparseConv):
    """Layer of `sparse_conv.inverse_conv`; called with [rows, children, places]."""

    offsets = CORNERS

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:  # noqa: D102
        rows, children, places = inputs
        return sparse_conv.inverse_conv(rows, self.kernel, children, places)
