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
do continue, and each layer knows that constant from the weights. Inside the grid the values are
those of the paper's layers. What a margin still changes is that features spread into it: a scene's
own grid is the smallest one that holds it (`blocks.trim`).
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from absl import logging

from mtml_tf.backend import ONEDNN, ONEDNN_CAME_LATE, keras, tf
from mtml_tf.config import NetworkConfig

STEM = "stem"
DIRECTION_SIZE = 3


# Keras has its layers' Python rewritten for loops over tensors; here are none, but many closures.
_plain_python = tf.autograph.experimental.do_not_convert
# Values of tensors in empty space that are known already, by the name of what gives them.
Known = dict[str, tf.Tensor]
# What a tensor is in empty space: [channels].
Constant = Callable[[Known], tf.Tensor]


class Conv3D(keras.layers.Conv3D):
    """Keras' Conv3D, in empty space where it is told what its input is there.

    With `outside`, which takes a bias, input and output are differences from what they are in empty
    space. Without it, the layer is Keras' own, but for the gradient of its bias, which is right in
    bfloat16 too: Keras' own is summed in bfloat16 on a CPU, where adding 1 to 256 changes nothing.
    """

    def __init__(self, *args: object, outside: Constant | None = None, **settings: object):
        """Takes what Keras' Conv3D takes.

        Args:
            *args: of Keras' Conv3D.
            outside: what the input is in empty space.
            **settings: of Keras' Conv3D.
        """
        super().__init__(*args, **settings)
        self.outside = outside

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns [B, X, Y, Z, filters] for inputs [B, X, Y, Z, channels]."""
        return self.answer(self.convolution_op(inputs, self.kernel))

    @_plain_python
    def answer(self, products: tf.Tensor) -> tf.Tensor:
        """Returns the output where the convolution itself is done, [..., filters]."""
        if self.outside is None:
            return self.activation(_add_bias(products, self.bias) if self.use_bias else products)
        return _relative(self.activation, products, lambda: self._before_activation({}))

    def empty(self, known: Known) -> tf.Tensor:
        """Returns what the output is in empty space."""
        return self.activation(self._before_activation(known))

    def _before_activation(self, known: Known) -> tf.Tensor:
        bias = _for_sums(self.bias)
        if self.outside is None:
            return bias
        products = _for_sums(self.kernel) * self.outside(known)[:, None]
        return tf.reduce_sum(products, axis=[0, 1, 2, 3]) + bias


class Conv3DTranspose(keras.layers.Conv3DTranspose):
    """Keras' Conv3DTranspose with equal stride along each axis, for the reasons of `Conv3D`.

    With `outside`, only the input is a difference: behind this layer nothing is padded.
    """

    def __init__(self, *args: object, outside: Constant | None = None, **settings: object):
        """Takes what `Conv3D` takes."""
        super().__init__(*args, **settings)
        self.outside = outside

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns [B, stride X, stride Y, stride Z, filters] for inputs [B, X, Y, Z, channels]."""
        x = self._convolve(inputs)
        if self.outside is None:
            return self.activation(_add_bias(x, self.bias))
        # The same for each step along x; broadcasting over every axis at once would be refused.
        size = tf.shape(x)
        repeats = tf.concat([[1], size[2:4] // self.strides[1:], [1]], axis=0)
        step = tf.reshape(tf.tile(self.empty_pattern(), repeats), [-1])
        x = tf.reshape(_add_bias(tf.reshape(x, [-1, tf.size(step)]), step), size)
        return self.activation(tf.ensure_shape(x, [*[None] * 4, self.filters]))

    @_plain_python
    def empty_pattern(self) -> tf.Tensor:
        """Returns what the output is in empty space before the activation, with the bias.

        An output of another place between two inputs takes other taps: [stride, stride, stride,
        filters].
        """
        if self.outside is None:
            return tf.broadcast_to(_for_sums(self.bias), [*self.strides, self.filters])
        reach = -(-max(self.kernel_size) // self.strides[0])  # as far as it sees the grid's end
        outside = self.outside({})
        grid = tf.broadcast_to(outside, [1, *[2 * reach + 1] * 3, outside.shape[-1]])
        middle = slice(reach * self.strides[0], (reach + 1) * self.strides[0])
        return self._convolve(grid)[0, middle, middle, middle] + _for_sums(self.bias)

    def _convolve(self, inputs: tf.Tensor) -> tf.Tensor:
        shape = tf.shape(inputs)
        size = tf.concat([shape[:1], self.strides * shape[1:4], [self.filters]], axis=0)
        kernel = tf.cast(self.kernel, inputs.dtype)
        x = tf.nn.conv3d_transpose(inputs, kernel, size, self.strides, "SAME")
        return tf.ensure_shape(x, [*[None] * 4, self.filters])


class ReLU(keras.layers.Layer):
    """ReLU of what differs from empty space by its input; so does its output."""

    def __init__(self, outside: Constant, **settings: object):
        """Takes what the input is in empty space, and settings of Keras' layers."""
        super().__init__(**settings)
        self.outside = outside

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns [..., channels] for inputs of the same shape."""
        return _relative(tf.nn.relu, inputs, lambda: self.outside({}))

    def empty(self, known: Known) -> tf.Tensor:
        """Returns what the output is in empty space."""
        return tf.nn.relu(self.outside(known))


def _for_sums(values: tf.Tensor) -> tf.Tensor:
    """Returns values in a type in which many can be added."""
    values = tf.convert_to_tensor(values)
    return tf.cast(values, tf.float32) if values.dtype == tf.bfloat16 else values


@_plain_python
def _relative(
    activation: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor, constant: Callable[[], tf.Tensor]
) -> tf.Tensor:
    """Returns `activation(x + constant) - activation(constant)`."""
    if activation is keras.activations.linear:
        return x
    shift = constant()
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


class _Space(NamedTuple):
    """A tensor of the graph, as the difference from what it is in empty space."""

    values: tf.Tensor
    empty: Constant


def _once(name: str, constant: Constant) -> Constant:
    """Returns the same constant, which is computed once for each `Known`."""

    def computed(known: Known) -> tf.Tensor:
        if name not in known:
            known[name] = constant(known)
        return known[name]

    return computed


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
        x: _Space,
        name: str,
        filters: int,
        size: int = 3,
        dilation: int = 1,
        activation: str | None = None,
    ) -> _Space:
        layer = (Conv3D if dilation == 1 else dilated_layer)(
            config.filters(filters),
            size,
            dilation_rate=dilation,
            padding="same",
            activation=activation,
            outside=x.empty,
            name=name,
            dtype=policy,
        )
        return _Space(layer(x.values), _once(name, layer.empty))

    def add(*spaces: _Space, name: str) -> _Space:
        total = keras.layers.Add(name=name, dtype=policy)([space.values for space in spaces])
        empties = [space.empty for space in spaces]
        return _Space(total, lambda known: tf.add_n([empty(known) for empty in empties]))

    def relu(x: _Space, name: str) -> _Space:
        layer = ReLU(x.empty, name=name, dtype=policy)
        return _Space(layer(x.values), _once(name, layer.empty))

    def concatenate(spaces: Sequence[_Space], name: str) -> _Space:
        joined = keras.layers.Concatenate(name=name, dtype=policy)([x.values for x in spaces])
        return _Space(joined, lambda known: tf.concat([x.empty(known) for x in spaces], axis=-1))

    grid = keras.Input((None, None, None, config.input_channels), name="grid")

    nothing = _Space(grid, lambda _: tf.zeros([config.input_channels], keras.backend.floatx()))
    a = conv(nothing, STEM, 16, size=7, activation="relu")
    # [B, X, Y, Z, 16]
    x = conv(a, "stem_conv_1", 32, activation="relu")
    x = conv(x, "stem_conv_2", 32)
    x = add(x, conv(a, "stem_skip", 32, size=1), name="stem_sum")  # [B, X, Y, Z, 32]
    pooled = _Space(keras.layers.MaxPool3D(2, name="pool", dtype=policy)(x.values), x.empty)

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

    x = concatenate([dilated_2, dilated_1, block_3, block_2], name="concat")
    x = relu(x, name="join")  # [B, X/2, Y/2, Z/2, 256]
    # From here on values are not differences any more, and each voxel stands alone.
    up = Conv3DTranspose(
        config.filters(256), 4, strides=2, padding="same", outside=x.empty, name="up", dtype=policy
    )
    y = up(x.values)  # [B, X, Y, Z, 256]
    for name in ("head_1", "head_2"):
        y = Conv3D(config.filters(128), 1, activation="relu", name=name, dtype=policy)(y)
    last = Conv3D(DIRECTION_SIZE + config.embedding_size, 1, name="head_3")
    both = last(y)  # [B, X, Y, Z, 3 + E]
    outputs = {"embedding": both[..., DIRECTION_SIZE:], "direction": both[..., :DIRECTION_SIZE]}
    return keras.Model(grid, outputs, name="mtml")
