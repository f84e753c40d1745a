"""The network as everything else uses it: lists of occupied voxels in, values at them out."""

import functools
from collections.abc import Callable
from typing import TypeAlias, TypeVar

from absl import logging

from mtml_tf.backend import keras, tf
from mtml_tf.config import EXECUTIONS, NetworkConfig
from mtml_tf.network import architecture, occupied
from mtml_tf.network.graph import Graph, NotUnderstoodError, Plan

# Measured on two CPU cores at 64 x 64 x 16 and 12 % occupancy: with 6 channels the plain first
# layer takes about half the time of the scattered one, with 20 channels (96 x 104 x 40, 6 %) five
# times as long.
_MAX_CHANNELS_OF_PLAIN_STEM = 8
# A tensor of a convolution must have fewer elements.
_TOO_MANY_ELEMENTS = 1 << 31
# In a flat grid the scattered first layer has so many times the elements of its output.
_SCATTERED = 4

# How much more likely than any other one the label that a voxel has is the right one, logarithm.
_TRUST = 4.0

# Values on a grid, beside them what they are in empty space where that is known.
_Values: TypeAlias = tf.Tensor | architecture.Space
_Result = TypeVar("_Result")


class VoxelNetwork(keras.Model):
    """`build_network`, evaluated at occupied voxels.

    `occupied` execution: 3 to 15 % of a grid is occupied, the input is zero elsewhere, and
    outputs are used at occupied voxels only. So the first layer scatters rows of its kernel, the
    layers from the transposed convolution on run at occupied voxels, and only what lies between
    them runs on the whole grid. `dense` execution runs the plain Keras model. Both hold the same
    variables and give the same values up to rounding. Which layers these are is read from the
    model that `build_network` returns; where its form is another, it runs dense, which is logged.

    Attributes:
        config: the network's configuration.
        dense: the Keras functional model that holds the variables.
        graph: its layers.
        execution: how it runs, `occupied` or `dense`.
    """

    def __init__(
        self,
        config: NetworkConfig,
        execution: str = "occupied",
        precision: str = "float32",
        recompute: bool = False,
    ):
        """Makes the network with random weights.

        Args:
            config: the network's configuration.
            execution: `occupied` or `dense`.
            precision: see `build_network`.
            recompute: of occupied execution: gradients compute the activations within each stage
                (full resolution, half resolution, voxels) again instead of keeping them, which
                takes less memory and more time.
        """
        super().__init__(name="mtml")
        self.config = config
        if execution not in EXECUTIONS:
            raise ValueError(f"expected execution {' or '.join(EXECUTIONS)}, found {execution}")
        self.dense = architecture.build_network(config, execution == "occupied", precision)
        self.graph = Graph(self.dense)
        self._plan = self._planned() if execution == "occupied" else None
        self.execution = "occupied" if self._plan else "dense"
        self._recompute = recompute

    def _planned(self) -> Plan | None:
        """How occupied execution runs the graph; None, and why in the log, where it can't."""
        try:
            return self.graph.plan()
        except NotUnderstoodError as error:
            logging.warning("the network runs dense, all of it on the whole grid: %s", error)
            return None

    @property
    def halo(self) -> int:
        """How far, voxels, a block must reach beyond the voxels that it is made for; even."""
        return self.graph.halo

    @property
    def most_voxels(self) -> int:
        """The voxels of a batch's grids of which no tensor has too many elements."""
        names = list(self.graph.layers)
        if self._plan is None:
            return int((_TOO_MANY_ELEMENTS - 1) / self.graph.elements_per_voxel(names))
        on_grid = names[1 : names.index(self._plan.up.name)]
        scattered = _SCATTERED * self._plan.stem.filters
        most = max(scattered, self.graph.elements_per_voxel(on_grid))
        return int((_TOO_MANY_ELEMENTS - 1) / most)

    def call(
        self, inputs: dict[str, tf.Tensor], training: bool | None = None
    ) -> dict[str, tf.Tensor]:
        """Returns {"embedding": [B, M, E], "direction": [B, M, 3]}; 0 in padding rows.

        Where the network tells labels, "labels" [B, M, L] too: logarithms of how likely each is, up
        to a constant. The last one is none of the classes.

        Args:
            inputs: `coordinates` int32 [B, M, 3], -1 in padding rows; `channels` int32 [B, M],
                the input channel of a voxel's class, below C (-1 unlabelled), or `features` float32
                [B, M, C]; `grid_shape` int32 [B, 3], even.
            training: the scenes of the batch share its largest grid, whose computation is one, and
                replicas the largest of all of theirs: so they compute what one would, and end
                together. Otherwise each scene is computed alone on its own grid, whatever lies
                beside it.
        """
        if training:
            return self._on_one_grid(
                {**inputs, "grid_shape": _of_all_replicas(inputs["grid_shape"])}
            )
        sizes = {"embedding": self.config.embedding_size, "direction": architecture.DIRECTION_SIZE}
        if self.config.num_labels:
            sizes["labels"] = self.config.num_labels
        dtype = keras.backend.floatx()
        return tf.map_fn(
            lambda scene: {
                name: values[0]
                for name, values in self._on_one_grid(
                    {name: value[None] for name, value in scene.items()}
                ).items()
            },
            {name: tf.convert_to_tensor(value) for name, value in inputs.items()},
            fn_output_signature={
                n: tf.TensorSpec([None, size], dtype) for n, size in sizes.items()
            },
        )

    @functools.cached_property
    def traced(self) -> Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]:
        """The network as a graph, traced once for scenes of any size, and once for features.

        It is the network's, so that all models that predict by this network share it.
        """
        of_channels, of_features = (
            tf.function(lambda inputs: self(inputs), input_signature=[network_inputs(**values)])
            for values in (
                {"channels": tf.TensorSpec([None, None], tf.int32)},
                {"features": tf.TensorSpec([None, None, self.config.input_channels])},
            )
        )
        return lambda inputs: (of_features if "features" in inputs else of_channels)(inputs)

    def _on_one_grid(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns what `call` does, computed on the largest grid of the batch."""
        coordinates = inputs["coordinates"]
        rows = tf.where(coordinates[..., 0] >= 0)  # [m, 2]
        voxels = tf.concat(
            [tf.cast(rows[:, :1], tf.int32), tf.gather_nd(coordinates, rows)], axis=1
        )  # [m, 4]
        grid = tf.concat(
            [tf.shape(coordinates)[:1], tf.reduce_max(inputs["grid_shape"], axis=0)], axis=0
        )
        # [m, C], or [m] channels
        features = tf.gather_nd(inputs["features" if "features" in inputs else "channels"], rows)

        outputs = (
            self._occupied_values(self._plan, voxels, features, grid)
            if self._plan
            else self._dense_values(voxels, features, grid)
        )
        if "labels" in outputs:
            outputs["labels"] += _TRUST * _given_labels(features, self.config.num_labels)
        return {name: _pad(values, rows, coordinates) for name, values in outputs.items()}

    def _scatter(self, voxels: tf.Tensor, features: tf.Tensor, grid: tf.Tensor) -> tf.Tensor:
        """The input grid: [B, X, Y, Z, C]."""
        channels = self.config.input_channels
        if features.dtype.is_integer:
            features = tf.one_hot(features, channels)  # channel -1 becomes a row of zeros
        dense = tf.scatter_nd(voxels, features, tf.concat([grid, [channels]], axis=0))
        return tf.ensure_shape(dense, [None, None, None, None, channels])

    def _dense_values(
        self, voxels: tf.Tensor, features: tf.Tensor, grid: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        outputs = self.dense(self._scatter(voxels, features, grid))
        return {name: tf.gather_nd(values, voxels) for name, values in outputs.items()}

    def _occupied_values(
        self, plan: Plan, voxels: tf.Tensor, features: tf.Tensor, grid: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        # Of a layer that knows empty space, which the input is there.
        knows_space = isinstance(plan.stem.output, list | tuple)
        nothing = (
            tf.zeros([self.config.input_channels], keras.backend.floatx()) if knows_space else None
        )
        if self.config.input_channels <= _MAX_CHANNELS_OF_PLAIN_STEM:
            x = plan.stem(self._scatter(voxels, features, grid), nothing)
        else:
            x = occupied.scattered_convolution(voxels, features, grid, plan.stem.kernel)
            x = plan.stem.answer(x, nothing)  # [B, X, Y, Z, 16]
        for stage in plan.stages:
            x = self._run(stage, x)
        return self._run(lambda half: _values_at(plan, voxels, half), x)

    def _run(self, stage: Callable[[_Values], _Result], x: _Values) -> _Result:
        """Returns `stage(x)`, whose gradient keeps no more than `x` where that is asked for."""
        if not self._recompute:
            return stage(x)
        recomputed = tf.recompute_grad(lambda *parts: stage(tf.nest.pack_sequence_as(x, parts)))
        return recomputed(*tf.nest.flatten(x))


def _given_labels(features: tf.Tensor, num_labels: int) -> tf.Tensor:
    """Returns float [m, L], how likely the input makes each label; the last is none of them.

    Args:
        features: channels [m], or class probabilities [m, L - 1].
        num_labels: L.
    """
    if features.dtype.is_integer:
        return tf.one_hot(tf.where(features < 0, num_labels - 1, features), num_labels)
    named = tf.reduce_sum(features, axis=1, keepdims=True)
    return tf.concat([features, tf.maximum(1 - named, 0)], axis=1)


def _values_at(plan: Plan, voxels: tf.Tensor, x: _Values) -> dict[str, tf.Tensor]:
    """The layers behind `x` [B, X/2, Y/2, Z/2, 256] at voxels [m, 4]: outputs [m, size]."""
    half, *empty = tf.nest.flatten(x)
    last, kernel, pattern = plan.up, plan.up.kernel, plan.up.empty_pattern(*empty or [None])
    if plan.folded is not None:
        # No activation stands between the transposed convolution and the 1^3 layer behind it, so
        # their kernels fold into one, which halves the arithmetic: [4, 4, 4, in, out].
        last = plan.folded
        matrix = tf.reshape(last.kernel, last.kernel.shape[3:])
        pattern = tf.einsum("xyzo,oh->xyzh", pattern, tf.cast(matrix, pattern.dtype)) + last.bias
        kernel = tf.einsum("xyzoi,oh->xyzih", kernel, matrix)
    else:
        kernel = tf.einsum("xyzoi->xyzio", kernel)
    x = occupied.transposed_convolution(voxels, half, tf.cast(kernel, half.dtype))
    # Gathered in float32: in bfloat16 the gradient would be a sum that stops growing.
    x = last.activation(x + tf.cast(tf.gather_nd(pattern, voxels[:, 1:] % 2), x.dtype))
    # One more, of zeros: a oneDNN convolution of no voxels at all has the shape of its input.
    x = tf.pad(x, [[0, 1], [0, 0]])
    outputs = plan.head(x[None, None, None])  # pointwise: the voxels may stand in a row
    return {name: values[0, 0, 0, :-1] for name, values in outputs.items()}


def _pad(values: tf.Tensor, rows: tf.Tensor, coordinates: tf.Tensor) -> tf.Tensor:
    """Values [m, size] as [B, M, size] at rows [m, 2] of the batch's coordinates; 0 elsewhere."""
    size = values.shape[-1]
    shape = tf.concat([tf.shape(coordinates)[:2], [size]], axis=0)
    return tf.ensure_shape(
        tf.scatter_nd(tf.cast(rows, tf.int32), values, shape), [None, None, size]
    )


def _of_all_replicas(grid_shapes: tf.Tensor) -> tf.Tensor:
    """Returns the grid shapes, [B, 3], where there is one replica; else the largest of each."""
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return grid_shapes
    # Replicas add numbers and know no maximum: each adds a row that the others leave at 0.
    own = tf.one_hot(replica.replica_id_in_sync_group, replica.num_replicas_in_sync)
    largest = tf.cast(tf.reduce_max(grid_shapes, axis=0), own.dtype)
    rows = replica.all_reduce(tf.distribute.ReduceOp.SUM, own[:, None] * largest)
    return tf.cast(rows, grid_shapes.dtype)


def network_inputs(**values: tf.TensorSpec) -> dict[str, tf.TensorSpec]:
    """Returns what `VoxelNetwork` takes, for scenes of any size; `values`: channels or features."""
    return {
        "coordinates": tf.TensorSpec([None, None, 3], tf.int32),
        "grid_shape": tf.TensorSpec([None, 3], tf.int32),
        **values,
    }
