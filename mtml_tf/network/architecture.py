"""The network of paper section 3.1: SSCNet with input and output of equal size.

Input: one voxelized scene (or a batch of equal grids), float32 [B, X, Y, Z, C] with X, Y, Z even
and z up. A voxel holds the one-hot of its semantic label, or a feature vector; empty voxels are 0.

Output: for every voxel a feature embedding [B, X, Y, Z, E] (voxels of one instance lie close
together) and a direction [B, X, Y, Z, 3], in voxel axes, not normalised, towards the centre of the
voxel's object.

    stem -> half resolution -> two residual blocks -> two dilated blocks -> joined -> up -> head

The layers are written down here and nowhere else: `graph` reads where each of them runs.
Every convolution has a bias, stride 1 and 'same' padding. Sizes in comments are for width 1.

Beyond the grid lies empty space. With its bias a layer answers empty space with a constant, which
padding with zeros would not continue: values would depend on where the grid ends. So up to the
transposed convolution each tensor holds the difference from what it is in empty space, which zeros
do continue, and beside it goes that constant, which the weights tell. Inside the grid the values
are those of the paper's layers. What a margin still changes is that features spread into it: a
scene's own grid is the smallest one that holds it (`blocks.trim`).
"""

import functools
from collections.abc import Callable, Sequence

from absl import logging

from mtml_tf.backend import ONEDNN, ONEDNN_CAME_LATE, keras, tf
from mtml_tf.config import NetworkConfig

STEM = "stem"
DIRECTION_SIZE = 3


# Keras has its layers' Python rewritten for loops over tensors; here are none.
_plain_python = tf.autograph.experimental.do_not_convert
# The values of a tensor as differences from empty space, and what they differ from: [channels].
Space = tuple[tf.Tensor, tf.Tensor]


class Conv3D(keras.layers.Conv3D):
    """Keras' Conv3D, in empty space where it is told what its input is there.

    Then input and output are differences from what they are in empty space. Else the layer is
    Keras' own, but for the gradient of its bias, which is right in bfloat16 too: Keras' own is
    summed in bfloat16 on a CPU, where adding 1 to 256 changes nothing.
    """

    def call(self, inputs: tf.Tensor, empty: tf.Tensor | None = None) -> tf.Tensor | Space:
        """Returns [B, X, Y, Z, filters] for inputs [B, X, Y, Z, channels].

        Args:
            inputs: the values, or what they differ by from empty space.
            empty: what they are there, [channels]; with it the output is a `Space`. The layer has
                a bias.
        """
        return self.answer(self.convolution_op(inputs, self.kernel), empty)

    @_plain_python
    def answer(self, products: tf.Tensor, empty: tf.Tensor | None = None) -> tf.Tensor | Space:
        """Returns the output where the convolution itself is done, [..., filters]."""
        if empty is None:
            return self.activation(_add_bias(products, self.bias) if self.use_bias else products)
        summed = tf.reduce_sum(_for_sums(self.kernel) * empty[:, None], axis=[0, 1, 2, 3])
        shift = summed + _for_sums(self.bias)
        return _relative(self.activation, products, shift), self.activation(shift)


class Conv3DTranspose(keras.layers.Conv3DTranspose):
    """Keras' Conv3DTranspose with equal stride along each axis, for the reasons of `Conv3D`.

    Only its input is a difference: behind this layer nothing is padded.
    """

    def call(self, inputs: tf.Tensor, empty: tf.Tensor | None = None) -> tf.Tensor:
        """Returns [B, stride X, stride Y, stride Z, filters]; takes what `Conv3D.call` takes."""
        x = self._convolve(inputs)
        if empty is None:
            return self.activation(_add_bias(x, self.bias))
        # The same for each step along x; broadcasting over every axis at once would be refused.
        size = tf.shape(x)
        repeats = tf.concat([[1], size[2:4] // self.strides[1:], [1]], axis=0)
        step = tf.reshape(tf.tile(self.empty_pattern(empty), repeats), [-1])
        x = tf.reshape(_add_bias(tf.reshape(x, [-1, tf.size(step)]), step), size)
        return self.activation(tf.ensure_shape(x, [*[None] * 4, self.filters]))

    @_plain_python
    def empty_pattern(self, empty: tf.Tensor | None) -> tf.Tensor:
        """Returns what the output is in empty space before the activation, with the bias.

        An output of another place between two inputs takes other taps: [stride, stride, stride,
        filters].
        """
        if empty is None:
            return tf.broadcast_to(_for_sums(self.bias), [*self.strides, self.filters])
        reach = -(-max(self.kernel_size) // self.strides[0])  # as far as it sees the grid's end
        grid = tf.broadcast_to(empty, [1, *[2 * reach + 1] * 3, empty.shape[-1]])
        middle = slice(reach * self.strides[0], (reach + 1) * self.strides[0])
        return self._convolve(grid)[0, middle, middle, middle] + _for_sums(self.bias)

    def _convolve(self, inputs: tf.Tensor) -> tf.Tensor:
        shape = tf.shape(inputs)
        size = tf.concat([shape[:1], self.strides * shape[1:4], [self.filters]], axis=0)
        kernel = tf.cast(self.kernel, inputs.dtype)
        x = tf.nn.conv3d_transpose(inputs, kernel, size, self.strides, "SAME")
        return tf.ensure_shape(x, [*[None] * 4, self.filters])


class ReLU(keras.layers.Layer):
    """ReLU of a space."""

    def call(self, inputs: tf.Tensor, empty: tf.Tensor) -> Space:
        """Returns the output of the same shape; takes what `Conv3D.call` takes."""
        return _relative(tf.nn.relu, inputs, empty), tf.nn.relu(empty)


class MaxPool3D(keras.layers.MaxPool3D):
    """Keras' MaxPool3D, of a space."""

    def call(self, inputs: tf.Tensor, empty: tf.Tensor) -> Space:
        """Returns [B, X / size, Y / size, Z / size, channels]; takes what `Conv3D.call` takes."""
        return super().call(inputs), empty


class Add(keras.layers.Layer):
    """Adds spaces."""

    def call(self, inputs: Sequence[Space]) -> Space:
        """Returns the sum, of the shape of each."""
        values, empties = zip(*inputs, strict=True)
        return tf.add_n(values), tf.add_n(empties)


class Concatenate(keras.layers.Layer):
    """Joins the channels of spaces."""

    def call(self, inputs: Sequence[Space]) -> Space:
        """Returns [..., all channels]."""
        values, empties = zip(*inputs, strict=True)
        return tf.concat(values, axis=-1), tf.concat(empties, axis=-1)


def _for_sums(values: tf.Tensor) -> tf.Tensor:
    """Returns values in a type in which many can be added."""
    values = tf.convert_to_tensor(values)
    return tf.cast(values, tf.float32) if values.dtype == tf.bfloat16 else values


def _relative(
    activation: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor, shift: tf.Tensor
) -> tf.Tensor:
    """Returns `activation(x + shift) - activation(shift)`."""
    if activation is keras.activations.linear:
        return x
    if activation in (keras.activations.relu, tf.nn.relu):
        return _relative_relu(x, shift)
    return _add_bias(activation(_add_bias(x, shift)), -activation(shift))


@tf.custom_gradient
def _relative_relu(
    x: tf.Tensor, shift: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
    """`relu(x + shift) - relu(shift)`, whose gradient keeps nothing but the output."""
    floor = -tf.nn.relu(tf.cast(shift, x.dtype))
    output = tf.nn.bias_add(tf.nn.relu(tf.nn.bias_add(x, tf.cast(shift, x.dtype))), floor)

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        passed = tf.where(output > floor, upstream, tf.zeros_like(upstream))
        axes = list(range(len(upstream.shape) - 1))
        total, of_passed = (tf.reduce_sum(_for_sums(g), axis=axes) for g in (upstream, passed))
        of_shift = of_passed - tf.where(shift > 0, total, tf.zeros_like(total))
        return passed, tf.cast(of_shift, shift.dtype)

    return output, gradient


def _add_bias(x: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Returns `x + bias` [B, X, Y, Z, filters]; the gradient of the bias is summed in float32."""

    @tf.custom_gradient
    def add(
        x: tf.Tensor, bias: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            axes = list(range(len(upstream.shape) - 1))
            total = tf.reduce_sum(_for_sums(upstream), axis=axes)
            return upstream, tf.cast(total, bias.dtype)

        return tf.nn.bias_add(x, tf.cast(bias, x.dtype)), gradient

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
        "direction": [B, X, Y, Z, 3]}, for any even X, Y, Z; where the configuration has labels,
        "labels" [B, X, Y, Z, L] too, what geometry says for each of them.

    Raises:
        ValueError: bfloat16 on a machine that does not have it.
    """
    _check_precision(precision)
    dilated_layer = DilatedConv3D if native_dilation else Conv3D
    policy = None  # Keras' own, float32
    if precision != "float32":
        policy = keras.mixed_precision.Policy(f"mixed_{precision}")

    def conv(
        x: Space,
        name: str,
        filters: int,
        size: int = 3,
        dilation: int = 1,
        activation: str | None = None,
    ) -> Space:
        layer = (Conv3D if dilation == 1 else dilated_layer)(
            config.filters(filters),
            size,
            dilation_rate=dilation,
            padding="same",
            activation=activation,
            name=name,
            dtype=policy,
        )
        return layer(*x)

    def add(*spaces: Space, name: str) -> Space:
        # Not cast: what they are in empty space stays float32.
        return Add(name=name, dtype=policy, autocast=False)(spaces)

    def relu(x: Space, name: str) -> Space:
        return ReLU(name=name, dtype=policy)(*x)

    grid = keras.Input((None, None, None, config.input_channels), name="grid")

    nothing = tf.zeros([config.input_channels], keras.backend.floatx())
    a = conv((grid, nothing), STEM, 16, size=7, activation="relu")
    # [B, X, Y, Z, 16]
    x = conv(a, "stem_conv_1", 32, activation="relu")
    x = conv(x, "stem_conv_2", 32)
    x = add(x, conv(a, "stem_skip", 32, size=1), name="stem_sum")  # [B, X, Y, Z, 32]
    pooled = MaxPool3D(2, name="pool", dtype=policy)(*x)

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

    joined = Concatenate(name="concat", dtype=policy, autocast=False)
    x = joined((dilated_2, dilated_1, block_3, block_2))
    x = relu(x, name="join")  # [B, X/2, Y/2, Z/2, 256]
    # From here on values are not differences any more, and each voxel stands alone.
    up = Conv3DTranspose(config.filters(256), 4, strides=2, padding="same", name="up", dtype=policy)
    y = up(*x)  # [B, X, Y, Z, 256]
    for name in ("head_1", "head_2"):
        y = Conv3D(config.filters(128), 1, activation="relu", name=name, dtype=policy)(y)
    last = Conv3D(DIRECTION_SIZE + config.embedding_size, 1, name="head_3")
    both = last(y)  # [B, X, Y, Z, 3 + E]
    outputs = {"embedding": both[..., DIRECTION_SIZE:], "direction": both[..., :DIRECTION_SIZE]}
    if config.num_labels:
        outputs["labels"] = Conv3D(config.num_labels, 1, name="labels")(y)  # [B, X, Y, Z, L]
    return keras.Model(grid, outputs, name="mtml")
