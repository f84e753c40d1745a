"""The network of paper section 3.1: SSCNet with input and output of equal size.

Input: one voxelized scene (or a batch of equal grids), float32 [B, X, Y, Z, C] with X, Y, Z even
and z up. A voxel holds the one-hot of its semantic label, or a feature vector; empty voxels are 0.

Output: for every voxel a feature embedding [B, X, Y, Z, E] (voxels of one instance lie close
together) and a direction [B, X, Y, Z, 3], in voxel axes, not normalised, towards the centre of the
voxel's object.

    stem -> half resolution -> two residual blocks -> two dilated blocks -> joined -> up -> head

The layers are written down here and nowhere else: `graph` reads where each of them runs.
Every convolution has a bias, stride 1 and 'same' padding. Sizes in comments are for width 1.
"""

import functools
from collections.abc import Callable

from absl import logging

from mtml_tf.backend import ONEDNN, ONEDNN_CAME_LATE, keras, tf
from mtml_tf.config import NetworkConfig

STEM = "stem"
DIRECTION_SIZE = 3


class Conv3D(keras.layers.Conv3D):
    """Keras' Conv3D, whose bias has the right gradient in bfloat16 too.

    Keras' own is summed in bfloat16 on a CPU, where adding 1 to 256 changes nothing.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns [B, X, Y, Z, filters] for inputs [B, X, Y, Z, channels]."""
        if self.compute_dtype != "bfloat16":
            return super().call(inputs)
        return self.activation(_add_bias(self.convolution_op(inputs, self.kernel), self.bias))


class Conv3DTranspose(keras.layers.Conv3DTranspose):
    """Keras' Conv3DTranspose with equal stride along each axis, for the reason of `Conv3D`."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns [B, stride X, stride Y, stride Z, filters] for inputs [B, X, Y, Z, channels]."""
        if self.compute_dtype != "bfloat16":
            return super().call(inputs)
        shape = tf.shape(inputs)
        size = tf.concat([shape[:1], self.strides * shape[1:4], [self.filters]], axis=0)
        x = tf.nn.conv3d_transpose(inputs, self.kernel, size, self.strides, "SAME")
        x = tf.ensure_shape(x, [*[None] * 4, self.filters])
        return self.activation(_add_bias(x, self.bias))


def _add_bias(x: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Returns `x + bias` [B, X, Y, Z, filters]; the gradient of the bias is summed in float32."""

    @tf.custom_gradient
    def add(
        x: tf.Tensor, bias: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            total = tf.reduce_sum(tf.cast(upstream, tf.float32), axis=[0, 1, 2, 3])
            return upstream, tf.cast(total, bias.dtype)

        return tf.nn.bias_add(x, bias), gradient

    return add(x, tf.convert_to_tensor(bias))  # as a variable it would be watched


class DilatedConv3D(Conv3D):
    """Conv3D whose dilation runs natively instead of through space-to-batch.

    The same variables and values as `Conv3D`; up to 1.8 times faster on a CPU. Where this machine
    has no native dilation it is `Conv3D`.
    """

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Returns [B, X, Y, Z, filters] for inputs [B, X, Y, Z, channels]."""
        if not _dilates_natively(inputs.dtype):
            return super().convolution_op(inputs, kernel)
        return _dilated_convolution(inputs, kernel, self.dilation_rate)


def _dilated_convolution(
    inputs: tf.Tensor, kernel: tf.Tensor, rates: tuple[int, int, int]
) -> tf.Tensor:
    """'Same' convolution with native dilation, whose kernel's gradient needs none.

    On a CPU that gradient is twice as slow as an undilated one. A dilated convolution is one
    undilated convolution of each grid that every rate-th voxel makes; summed over these grids,
    the products that make the kernel's gradient are the same.
    """

    @tf.custom_gradient
    def convolve(
        inputs: tf.Tensor, kernel: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
        settings = {"strides": [1] * 5, "padding": "SAME"}

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            of_inputs = tf.raw_ops.Conv3DBackpropInputV2(
                input_sizes=tf.shape(inputs),
                filter=kernel,
                out_backprop=upstream,
                dilations=[1, *rates, 1],
                **settings,
            )
            beyond = -tf.shape(inputs)[1:4] % rates  # zeros that fill the last grids
            paddings = tf.stack([tf.zeros_like(beyond), beyond], axis=1)
            of_kernel = tf.raw_ops.Conv3DBackpropFilterV2(
                input=tf.space_to_batch(inputs, rates, paddings),
                filter_sizes=kernel.shape,
                out_backprop=tf.space_to_batch(upstream, rates, paddings),
                **settings,
            )
            return of_inputs, of_kernel

        return tf.nn.conv3d(inputs, kernel, dilations=[1, *rates, 1], **settings), gradient

    return convolve(inputs, tf.convert_to_tensor(kernel))  # as a variable it would be watched


@functools.cache
def _dilates_natively(dtype: tf.DType) -> bool:
    """Whether convolutions of this type dilate on this machine: on a CPU only oneDNN's do.

    TensorFlow may have been imported without oneDNN, so it is tried out.
    """
    with tf.init_scope():
        grid, kernel = tf.zeros([1, 3, 3, 3, 1], dtype), tf.zeros([3, 3, 3, 1, 1], dtype)
        try:
            tf.nn.conv3d(grid, kernel, [1] * 5, "SAME", dilations=[1, 2, 2, 2, 1])
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
            if ONEDNN_CAME_LATE:
                logging.warning(
                    "import mtml_tf before TensorFlow, or set %s=1: TensorFlow was imported "
                    "without oneDNN, with which convolutions are up to three times as fast",
                    ONEDNN,
                )
            return False
    return True


_ONES = 32**3


@functools.cache
def _sum_in_bfloat16() -> float:
    """Returns what 32,768 ones sum to in a kernel's bfloat16 gradient; 0 where there is none.

    GPUs, and oneDNN on CPUs with AVX-512 or AMX, sum in float32 and are right. TensorFlow's own
    convolutions sum in bfloat16, where adding 1 to 256 changes nothing.
    """
    with tf.init_scope():
        grid = tf.ones([1, 32, 32, 32, 1], tf.bfloat16)
        try:
            gradient = tf.raw_ops.Conv3DBackpropFilterV2(
                input=grid,
                filter_sizes=[1] * 5,
                out_backprop=grid,
                strides=[1] * 5,
                padding="SAME",
            )
            return float(tf.cast(tf.reshape(gradient, []), tf.float32))
        except tf.errors.OpError:
            return 0.0


def has_bfloat16() -> bool:
    """Whether this machine's convolutions in bfloat16 have the right gradients."""
    return _sum_in_bfloat16() == _ONES


def _check_precision(precision: str) -> None:
    """Raises ValueError for bfloat16 on a machine that does not have it."""
    if precision == "bfloat16" and not has_bfloat16():
        raise ValueError(
            f"leave --precision at float32: for bfloat16, expected convolutions that sum {_ONES} "
            f"ones to {_ONES} (a newer GPU, or a CPU with AVX-512 or AMX where {ONEDNN} is not "
            f"0), found a sum of {_sum_in_bfloat16():.0f}"
        )


def build_network(
    config: NetworkConfig, native_dilation: bool = False, precision: str = "float32"
) -> keras.Model:
    """Builds the paper's network.

    Args:
        config: channels, width, dilations, embedding size.
        native_dilation: dilated convolutions by `DilatedConv3D` instead of Keras' own; the same
            variables and the same values.
        precision: of activations and products, `float32` or `bfloat16`; variables and the last
            layer are float32 in any case.

    Returns:
        A functional model: float32 [B, X, Y, Z, C] to {"embedding": [B, X, Y, Z, E],
        "direction": [B, X, Y, Z, 3]}, for any even X, Y, Z.

    Raises:
        ValueError: bfloat16 on a machine that does not have it.
    """
    _check_precision(precision)
    dilated_layer = DilatedConv3D if native_dilation else Conv3D
    policy = None  # Keras' own, float32
    if precision != "float32":
        policy = keras.mixed_precision.Policy(f"mixed_{precision}")

    def conv(
        x: tf.Tensor,
        name: str,
        filters: int,
        size: int = 3,
        dilation: int = 1,
        activation: str | None = None,
    ) -> tf.Tensor:
        layer = Conv3D if dilation == 1 else dilated_layer
        return layer(
            config.filters(filters),
            size,
            dilation_rate=dilation,
            padding="same",
            activation=activation,
            name=name,
            dtype=policy,
        )(x)

    def add(*tensors: tf.Tensor, name: str) -> tf.Tensor:
        return keras.layers.Add(name=name, dtype=policy)(tensors)

    def relu(x: tf.Tensor, name: str) -> tf.Tensor:
        return keras.layers.ReLU(name=name, dtype=policy)(x)

    grid = keras.Input((None, None, None, config.input_channels), name="grid")

    a = conv(grid, STEM, 16, size=7, activation="relu")  # [B, X, Y, Z, 16]
    x = conv(a, "stem_conv_1", 32, activation="relu")
    x = conv(x, "stem_conv_2", 32)
    x = add(x, conv(a, "stem_skip", 32, size=1), name="stem_sum")  # [B, X, Y, Z, 32]
    pooled = keras.layers.MaxPool3D(2, name="pool", dtype=policy)(x)  # [B, X/2, Y/2, Z/2, 32]

    x = conv(pooled, "block_2_conv_1", 64, activation="relu")  # [B, X/2, Y/2, Z/2, 64]
    x = conv(x, "block_2_conv_2", 64)
    x = add(x, conv(pooled, "block_2_skip", 64, size=1), name="block_2_sum")
    block_2 = relu(x, name="block_2")

    x = conv(block_2, "block_3_conv_1", 64, activation="relu")
    x = conv(x, "block_3_conv_2", 64)
    x = add(x, block_2, name="block_3_sum")
    block_3 = relu(x, name="block_3")

    first, second = config.dilations
    x = conv(block_3, "dilated_1_conv_1", 64, dilation=first, activation="relu")
    dilated_1 = conv(x, "dilated_1_conv_2", 64, dilation=first, activation="relu")
    x = conv(dilated_1, "dilated_2_conv_1", 64, dilation=second, activation="relu")
    x = conv(x, "dilated_2_conv_2", 64, dilation=second)
    dilated_2 = add(x, dilated_1, name="dilated_2")

    x = keras.layers.Concatenate(name="concat", dtype=policy)(
        [dilated_2, dilated_1, block_3, block_2]
    )
    x = relu(x, name="join")  # [B, X/2, Y/2, Z/2, 256]
    up = Conv3DTranspose(config.filters(256), 4, strides=2, padding="same", name="up", dtype=policy)
    x = up(x)  # [B, X, Y, Z, 256]
    x = conv(x, "head_1", 128, size=1, activation="relu")  # [B, X, Y, Z, 128]
    x = conv(x, "head_2", 128, size=1, activation="relu")
    last = Conv3D(DIRECTION_SIZE + config.embedding_size, 1, name="head_3")
    both = last(x)  # [B, X, Y, Z, 3 + E]
    outputs = {"embedding": both[..., DIRECTION_SIZE:], "direction": both[..., :DIRECTION_SIZE]}
    return keras.Model(grid, outputs, name="mtml")
