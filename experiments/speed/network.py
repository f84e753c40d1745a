"""What the benchmark measures of TensorFlow: forward pass, training step, loss, share of the peak.

The plain network is the Keras functional model on a dense grid that is ready before time counts;
ours takes the list of occupied voxels. Both have the same weights, run as graphs for any size of
scene, and are waited for.
"""

import dataclasses
import functools
import math
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.speed.measuring import Call, Contest, Row, Target, check_side, interleaved_seconds
from experiments.speed.plain import looped_loss
from experiments.speed.scenes import Room, RoomSize, make_directions, make_embedding, make_room
from mtml_tf.backend import keras, tf
from mtml_tf.config import LossConfig, NetworkConfig
from mtml_tf.network import architecture
from mtml_tf.network.graph import Graph
from mtml_tf.network.losses import MultiTaskLoss
from mtml_tf.network.voxel_network import VoxelNetwork

Array = np.ndarray
Inputs = dict[str, tf.Tensor]

_TINY = RoomSize((16, 16, 8), occupancy=0.2, num_objects=3)  # to warm up on
_CLOSE = 1e-5  # of the largest value

# Settings of `VoxelNetwork` by what a side is called; the other side is the plain Keras model.
_OURS: dict[str, dict[str, Any]] = {
    "ours": {},
    "bfloat16": {"precision": "bfloat16"},
    "recomputed": {"recompute": True},
    "bfloat16, recomputed": {"precision": "bfloat16", "recompute": True},
}

# What each side's network is called with.
_VOXELS = {
    "coordinates": tf.TensorSpec([1, None, 3], tf.int32),
    "channels": tf.TensorSpec([1, None], tf.int32),
    "grid_shape": tf.TensorSpec([1, 3], tf.int32),
}


def wait_for(values: Any) -> None:
    """Returns when the tensors are there: a GPU works on after a call has returned."""
    for value in tf.nest.flatten(values):
        tf.reshape(value, [-1])[:1].numpy()


def network_config(size: RoomSize) -> NetworkConfig:
    """The paper's network, half width, for the classes of a room."""
    return NetworkConfig(input_channels=size.channels)


def voxel_inputs(room: Room) -> Inputs:
    """Returns a room as `VoxelNetwork` takes it."""
    return {
        "coordinates": tf.constant(room.coordinates)[None],
        "channels": tf.constant(room.channels)[None],
        "grid_shape": tf.constant(room.size.grid_shape, tf.int32)[None],
    }


def dense_inputs(room: Room) -> Inputs:
    """Returns a room as the plain Keras model takes it: the one-hot grid [1, X, Y, Z, C]."""
    grid = np.zeros((*room.size.grid_shape, room.size.channels), np.float32)
    grid[(*room.coordinates.T, room.channels)] = 1
    return {"grid": tf.constant(grid)[None]}


def set_weights(model: keras.Model, seed: int = 0) -> None:
    """Fills a network with weights that keep values near 1, biases too; the same for each seed."""
    rng = np.random.default_rng(seed)
    for layer in sorted(model.layers, key=lambda layer: layer.name):
        for variable in layer.weights:
            shape = tuple(variable.shape)
            scale = math.sqrt(2 / math.prod(shape[:-1])) if len(shape) > 1 else 0.05
            variable.assign(rng.normal(0, scale, shape).astype(np.float32))


@dataclasses.dataclass(frozen=True)
class _Side:
    """One way to evaluate the network.

    Attributes:
        variables: its weights.
        inputs: makes its inputs of a room.
        signature: of the inputs.
        call: from the inputs to the outputs, as that side gives them.
        at_voxels: from outputs and coordinates [M, 3] to the outputs' rows [M, ...].
    """

    variables: list[tf.Variable]
    inputs: Callable[[Room], Inputs]
    signature: dict[str, tf.TensorSpec]
    call: Callable[[Inputs], Inputs]
    at_voxels: Callable[[Inputs, tf.Tensor], Inputs]


def _side(name: str, config: NetworkConfig) -> _Side:
    check_side(name, ("plain", *_OURS))
    if name in _OURS:
        ours = VoxelNetwork(config, **_OURS[name])
        set_weights(ours.dense)
        return _Side(
            _sorted_variables(ours.dense),
            voxel_inputs,
            _VOXELS,
            lambda inputs: ours(inputs, training=True),  # the one way that has gradients in a graph
            lambda outputs, _: {key: value[0] for key, value in outputs.items()},
        )
    plain = architecture.build_network(config)
    set_weights(plain)
    grid = tf.TensorSpec([1, None, None, None, config.input_channels], tf.float32)
    return _Side(
        _sorted_variables(plain),
        dense_inputs,
        {"grid": grid},
        lambda inputs: plain(inputs["grid"]),
        lambda outputs, coordinates: {
            key: tf.gather_nd(value[0], coordinates) for key, value in outputs.items()
        },
    )


def _sorted_variables(model: keras.Model) -> list[tf.Variable]:
    layers = sorted(model.layers, key=lambda layer: layer.name)
    return [variable for layer in layers for variable in layer.trainable_weights]


def build_forward(side: str, size: RoomSize) -> Call:
    """Returns a call of the forward pass; it gives float32 arrays' tensors at the voxels' rows."""
    parts = _side(side, network_config(size))
    forward = tf.function(parts.call, input_signature=[parts.signature])
    tiny = dataclasses.replace(_TINY, channels=size.channels)
    wait_for(forward(parts.inputs(make_room(tiny))))
    inputs = parts.inputs(make_room(size))

    def call() -> Inputs:
        outputs = forward(inputs)
        wait_for(outputs)
        return outputs

    return call


def build_training_step(side: str, size: RoomSize) -> Call:
    """Returns a call of forward pass, loss, gradients and one step of Adam."""
    parts = _side(side, network_config(size))
    optimizer = keras.optimizers.Adam(5e-4)
    optimizer.build(parts.variables)
    gradients = _gradients(parts)

    @tf.function(input_signature=[parts.signature, *_TARGETS])
    def step(inputs: Inputs, coordinates: tf.Tensor, instance_ids: tf.Tensor) -> tf.Tensor:
        loss, of_variables = gradients(inputs, coordinates, instance_ids)
        optimizer.apply_gradients(zip(of_variables, parts.variables, strict=True))
        return loss

    def arguments(size: RoomSize) -> tuple[Inputs, tf.Tensor, tf.Tensor]:
        room = make_room(size)
        return parts.inputs(room), tf.constant(room.coordinates), tf.constant(room.instance_ids)

    wait_for(step(*arguments(dataclasses.replace(_TINY, channels=size.channels))))
    given = arguments(size)

    def call() -> tf.Tensor:
        loss = step(*given)
        wait_for([loss, parts.variables[0]])
        return loss

    return call


_TARGETS = (tf.TensorSpec([None, 3], tf.int32), tf.TensorSpec([None], tf.int32))


def _gradients(parts: _Side) -> Callable[..., tuple[tf.Tensor, list[tf.Tensor]]]:
    loss_layer = MultiTaskLoss(LossConfig())

    def gradients(
        inputs: Inputs, coordinates: tf.Tensor, instance_ids: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            outputs = parts.at_voxels(parts.call(inputs), coordinates)
            targets = {"coordinates": coordinates, "instance_ids": instance_ids}
            loss = joint_loss(loss_layer, {**outputs, **targets})
        return loss, tape.gradient(loss, parts.variables)

    return gradients


def joint_loss(layer: MultiTaskLoss, scene: Inputs) -> tf.Tensor:
    """The package's loss of one scene: the weighted sum of its terms."""
    terms = layer.scene_terms(scene)
    return tf.add_n([layer.weights_of_terms[name] * value for name, value in terms.items()])


def forward_contest(
    size: RoomSize, target: Target | None = None, memory_target: Target | None = None
) -> Contest:
    """Forward pass of a room: the plain Keras model against ours."""
    return Contest(
        "forward",
        str(size),
        functools.partial(build_forward, "ours", size),
        functools.partial(build_forward, "plain", size),
        "the plain Keras model",
        target,
        memory_target,
        on_device=True,
    )


def training_contest(size: RoomSize, target: Target | None = None) -> Contest:
    """Training step of a room: the plain Keras model against ours."""
    return Contest(
        "forward, backward and Adam",
        str(size),
        functools.partial(build_training_step, "ours", size),
        functools.partial(build_training_step, "plain", size),
        "the plain Keras model",
        target,
        on_device=True,
    )


def variant_contests(size: RoomSize) -> list[Contest]:
    """Our own network with other settings against itself with the defaults.

    Those in bfloat16 are left out where the machine does not have it.
    """
    names = [
        name for name in _OURS if "precision" not in _OURS[name] or architecture.has_bfloat16()
    ]
    builds = {"forward": build_forward, "forward, backward and Adam": build_training_step}
    return [
        Contest(
            f"{what}, {name}",
            str(size),
            functools.partial(build, name, size),
            functools.partial(build, "ours", size),
            "our own network in float32 that keeps its activations",
            on_device=True,
        )
        for what, build in builds.items()
        for name in names[1:]
        if build is build_training_step or "recompute" not in _OURS[name]
    ]


def difference_of_values(size: RoomSize, plain: Inputs, ours: Inputs) -> Row:
    """Compares both sides' outputs at the occupied voxels: largest difference to largest value."""
    index = tuple(make_room(size).coordinates.T)
    difference = max(
        _relative_difference(plain[key].numpy()[0][index], ours[key].numpy()[0]) for key in plain
    )
    return Row(
        "forward, difference", str(size), difference, unit="", target=Target(_CLOSE, "at most")
    )


def difference_of_variant(contest: Contest, float32: Inputs, ours: Inputs) -> Row:
    """Compares the outputs of one of our variants with ours in float32."""
    difference = max(
        _relative_difference(float32[key].numpy(), ours[key].numpy()) for key in float32
    )
    return Row(
        f"{contest.what}, difference",
        contest.case,
        difference,
        unit="",
        beside=f"to {contest.opponent}",
    )


def differences_of_gradients(size: RoomSize) -> list[Row]:
    """Compares both sides' gradients, all together and variable by variable.

    The second is the stricter one: a gradient whose terms nearly cancel, such as that of the last
    layer's bias, keeps the rounding of its large terms, on both sides.
    """
    room = make_room(size)
    coordinates, instance_ids = tf.constant(room.coordinates), tf.constant(room.instance_ids)
    found, names = [], []
    for side in ("plain", "ours"):
        parts = _side(side, network_config(size))
        function = tf.function(_gradients(parts), input_signature=[parts.signature, *_TARGETS])
        _, gradients = function(parts.inputs(room), coordinates, instance_ids)
        found.append([gradient.numpy() for gradient in gradients])
        names = [variable.name.removesuffix(":0") for variable in parts.variables]
    together = _relative_difference(*(np.concatenate([g.ravel() for g in side]) for side in found))
    apart = [_relative_difference(*pair) for pair in zip(*found, strict=True)]
    worst = int(np.argmax(apart))
    target = Target(_CLOSE, "at most")
    return [
        Row("gradients, difference", str(size), together, unit="", target=target),
        Row(
            "gradients, difference of the worst variable",
            str(size),
            apart[worst],
            unit="",
            target=target,
            beside=names[worst],
        ),
    ]


def _relative_difference(plain: Array, ours: Array) -> float:
    return float(np.abs(plain - ours).max() / np.abs(plain).max())


def build_loss(side: str, num_voxels: int, num_instances: int) -> Call:
    """Returns a call of the loss and its gradients, of a room's voxels all in instances."""
    check_side(side)
    config, layer = LossConfig(), MultiTaskLoss(LossConfig())

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 4], tf.float32),
            tf.TensorSpec([None, 3], tf.float32),
            *_TARGETS,
        ]
    )
    def loss_and_gradients(
        embedding: tf.Tensor, direction: tf.Tensor, coordinates: tf.Tensor, ids: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            tape.watch([embedding, direction])
            if side == "ours":
                scene = {"embedding": embedding, "direction": direction}
                scene |= {"coordinates": coordinates, "instance_ids": ids}
                loss = joint_loss(layer, scene)
            else:
                loss = looped_loss(embedding, direction, coordinates, ids, config)
        gradients = tape.gradient(loss, [embedding, direction])
        return loss, [tf.convert_to_tensor(gradient) for gradient in gradients]

    def arguments(num_voxels: int, num_instances: int) -> tuple[tf.Tensor, ...]:
        rng = np.random.default_rng(0)
        ids = np.sort(np.arange(num_voxels) % num_instances).astype(np.int32)
        coordinates = rng.integers(0, 96, (num_voxels, 3)).astype(np.int32)
        embedding, direction = make_embedding(ids), make_directions(coordinates, ids)
        return tuple(tf.constant(x) for x in (embedding, direction, coordinates, ids + 1))

    wait_for(loss_and_gradients(*arguments(100, 3)))
    given = arguments(num_voxels, num_instances)

    def call() -> tf.Tensor:
        loss, gradients = loss_and_gradients(*given)
        wait_for([loss, gradients])
        return loss

    return call


def loss_contest(num_voxels: int, num_instances: int) -> Contest:
    """Loss and its gradients: a loop over the instances against ours."""
    return Contest(
        "loss and its gradients",
        f"{num_voxels} voxels, {num_instances} instances",
        functools.partial(build_loss, "ours", num_voxels, num_instances),
        functools.partial(build_loss, "plain", num_voxels, num_instances),
        "a loop over the instances",
        on_device=True,
    )


def difference_of_losses(contest: Contest, plain: tf.Tensor, ours: tf.Tensor) -> Row:
    """Compares both sides' loss, relative to its size."""
    difference = abs(float(plain) - float(ours)) / abs(float(plain))
    return Row(
        "loss, difference", contest.case, difference, unit="", target=Target(_CLOSE, "at most")
    )


def middle_flop(size: RoomSize) -> float:
    """Counts the arithmetic between stem and transposed convolution, on the whole grid."""
    graph = Graph(architecture.build_network(network_config(size)))
    flop = sum(
        2 * math.prod(layer.kernel.shape) * graph.places(layer.name)
        for stage in graph.plan().stages
        for layer in stage.layers
        if isinstance(layer, keras.layers.Conv3D)
    )
    return float(flop * math.prod(size.grid_shape))


def occupied_flop(size: RoomSize) -> float:
    """Counts what the layers around the middle need at least, at the occupied voxels only.

    A voxel adds the taps of its class in the stem, takes 8 of the 64 taps of the transposed
    convolution, whose kernel holds the first layer of the head, and passes the rest of the head.
    """
    plan = Graph(architecture.build_network(network_config(size))).plan()
    stem, up = plan.stem.kernel.shape, plan.up.kernel.shape  # of `up`: [4, 4, 4, out, in]
    in_stem = math.prod(stem[:3]) * stem[4]
    in_up = 2 * 8 * up[4] * (plan.folded or plan.up).filters
    in_head = 2 * sum(
        math.prod(layer.kernel.shape)
        for layer in plan.head.layers
        if isinstance(layer, keras.layers.Conv3D)
    )
    return float(size.num_voxels * (in_stem + in_up + in_head))


def peak_rows(sizes: list[RoomSize], repeats: int, max_seconds: float, gemm: int) -> list[Row]:
    """Relates the forward pass to the machine's matrix-multiply rate, both by turns."""
    matrix = tf.random.stateless_normal([gemm, gemm], [0, 0])
    multiply = tf.function(lambda a: a @ a)
    rows = []
    for size in sizes:
        calls = {"ours": build_forward("ours", size), "matmul": lambda: wait_for(multiply(matrix))}
        timed = interleaved_seconds(calls, repeats, max_seconds)
        seconds = statistics.median(timed["ours"])
        rate = 2 * gemm**3 / statistics.median(timed["matmul"])
        middle, around = middle_flop(size), occupied_flop(size)
        rows.append(
            Row(
                "forward, share of the matrix-multiply rate",
                str(size),
                100 * (middle + around) / seconds / rate,
                unit="%",
                beside=f"{middle / 1e9:.3g} GFLOP in the dense middle and {around / 1e9:.3g} at "
                f"occupied voxels in {seconds:.3g} s; float32 {gemm} x {gemm} at "
                f"{rate / 1e9:.3g} GFLOP/s, which would take {(middle + around) / rate:.3g} s",
                repeats=len(timed["ours"]),
            )
        )
    return rows
