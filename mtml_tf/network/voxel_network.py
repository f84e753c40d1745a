"""The network as everything else uses it: lists of occupied voxels in, values at them out."""

from collections.abc import Callable

from mtml_tf.backend import keras, tf
from mtml_tf.config import EXECUTIONS, NetworkConfig
from mtml_tf.network import architecture, occupied

# Measured on two CPU cores at 64 x 64 x 16 and 12 % occupancy: with 6 channels the plain first
# layer takes about half the time of the scattered one, with 20 channels (96 x 104 x 40, 6 %) five
# times as long.
_MAX_CHANNELS_OF_PLAIN_STEM = 8


class VoxelNetwork(keras.Model):
    """`build_network`, evaluated at occupied voxels.

    `occupied` execution: 3 to 15 % of a grid is occupied, the input is zero elsewhere, and
    outputs are used at occupied voxels only. So the first layer scatters rows of its kernel, the
    layers from the transposed convolution on run at occupied voxels, and only what lies between
    them runs on the whole grid. `dense` execution runs the plain Keras model. Both hold the same
    variables and give the same values up to rounding.

    Attributes:
        config: the network's configuration.
        dense: the Keras functional model that holds the variables.
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
            recompute: of occupied execution: gradients compute the activations within each of
                three stages (full resolution, half resolution, voxels) again instead of keeping
                them, which takes less memory and more time.
        """
        super().__init__(name="mtml")
        self.config = config
        if execution not in EXECUTIONS:
            raise ValueError(f"expected execution {' or '.join(EXECUTIONS)}, found {execution}")
        self._is_dense = execution == "dense"
        self.dense = architecture.build_network(config, not self._is_dense, precision)
        stem, pool, join = (
            self.dense.get_layer(name).output
            for name in (architecture.STEM, architecture.POOL, architecture.JOIN)
        )
        self._stages = (keras.Model(stem, pool), keras.Model(pool, join))
        self._recompute = recompute

    def call(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns {"embedding": [B, M, E], "direction": [B, M, 3]}; 0 in padding rows.

        Args:
            inputs: `coordinates` int32 [B, M, 3], -1 in padding rows; `channels` int32 [B, M],
                the input channel of a voxel's class, below C (-1 unlabelled), or `features` float32
                [B, M, C]; `grid_shape` int32 [B, 3], even. The batch's grid is the largest.
        """
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

        values = self._dense_values if self._is_dense else self._occupied_values
        padded_shape = tf.concat(
            [tf.shape(coordinates)[:2], [architecture.DIRECTION_SIZE + self.config.embedding_size]],
            axis=0,
        )
        padded = tf.scatter_nd(
            tf.cast(rows, tf.int32), values(voxels, features, grid), padded_shape
        )
        padded.set_shape([None, None, architecture.DIRECTION_SIZE + self.config.embedding_size])
        return architecture.split_outputs(padded)

    def _scatter(self, voxels: tf.Tensor, features: tf.Tensor, grid: tf.Tensor) -> tf.Tensor:
        """The input grid: [B, X, Y, Z, C]."""
        channels = self.config.input_channels
        if features.dtype.is_integer:
            features = tf.one_hot(features, channels)  # channel -1 becomes a row of zeros
        dense = tf.scatter_nd(voxels, features, tf.concat([grid, [channels]], axis=0))
        return tf.ensure_shape(dense, [None, None, None, None, channels])

    def _dense_values(self, voxels: tf.Tensor, features: tf.Tensor, grid: tf.Tensor) -> tf.Tensor:
        outputs = self.dense(self._scatter(voxels, features, grid))
        both = tf.concat([outputs["direction"], outputs["embedding"]], axis=-1)
        return tf.gather_nd(both, voxels)  # [m, 3 + E]

    def _occupied_values(
        self, voxels: tf.Tensor, features: tf.Tensor, grid: tf.Tensor
    ) -> tf.Tensor:
        stem = self.dense.get_layer(architecture.STEM)
        if self.config.input_channels <= _MAX_CHANNELS_OF_PLAIN_STEM:
            x = stem(self._scatter(voxels, features, grid))
        else:
            x = tf.nn.relu(
                occupied.scattered_convolution(voxels, features, grid, stem.kernel) + stem.bias
            )  # [B, X, Y, Z, 16]
        for stage in (*self._stages, lambda half: self._values_at(voxels, half)):
            x = self._run(stage, x)
        return x

    def _run(self, stage: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor) -> tf.Tensor:
        """Returns `stage(x)`, whose gradient keeps no more than `x` where that is asked for."""
        return tf.recompute_grad(stage)(x) if self._recompute else stage(x)

    def _values_at(self, voxels: tf.Tensor, half: tf.Tensor) -> tf.Tensor:
        """The layers behind `half` [B, X/2, Y/2, Z/2, 256] at voxels [m, 4]: [m, 3 + E]."""
        up, first, second, last = (
            self.dense.get_layer(name) for name in (architecture.UP, *architecture.HEAD)
        )
        # No activation stands between the transposed convolution and the first 1^3 layer, so
        # their kernels fold into one, which halves the arithmetic: [4, 4, 4, in, out].
        kernel = tf.einsum("xyzoi,oh->xyzih", up.kernel, _matrix(first))
        bias = tf.linalg.matvec(_matrix(first), up.bias, transpose_a=True) + first.bias
        kernel, bias, matrix, second_bias = (
            tf.cast(weights, half.dtype) for weights in (kernel, bias, _matrix(second), second.bias)
        )
        x = tf.nn.relu(occupied.transposed_convolution(voxels, half, kernel) + bias)  # [m, 128]
        x = tf.nn.relu(x @ matrix + second_bias)
        return tf.cast(x, last.compute_dtype) @ _matrix(last) + last.bias  # [m, 3 + E]


def network_inputs(**values: tf.TensorSpec) -> dict[str, tf.TensorSpec]:
    """Returns what `VoxelNetwork` takes, for scenes of any size; `values`: channels or features."""
    return {
        "coordinates": tf.TensorSpec([None, None, 3], tf.int32),
        "grid_shape": tf.TensorSpec([None, 3], tf.int32),
        **values,
    }


def _matrix(layer: keras.layers.Layer) -> tf.Tensor:
    """Kernel of a 1^3 convolution as [in, out]."""
    return tf.reshape(layer.kernel, layer.kernel.shape[3:])
