"""What the network's own graph tells: which layers run where, and how far a value reaches.

`build_network` is the one place where the layers are written down. Occupied execution, prediction
in blocks and the check of tensor sizes read them from the Keras model that it returns, so a layer
that is added there is a layer that runs. How many bytes a call takes is measured, not derived.
"""

import dataclasses
import functools
import itertools
from collections.abc import Collection, Sequence

from mtml_tf.backend import keras, tf
from mtml_tf.network.architecture import (
    Add,
    Concatenate,
    Conv3D,
    Conv3DTranspose,
    DilatedConv3D,
    MaxPool3D,
    ReLU,
)

# Of a graph in which a value may depend on every voxel: no block is smaller than the whole grid.
WHOLE_GRID = 1 << 31

_OWN_CONVOLUTIONS = (Conv3D, DilatedConv3D)
_CONVOLUTIONS = (*_OWN_CONVOLUTIONS, keras.layers.Conv3D)
_TRANSPOSED = (Conv3DTranspose, keras.layers.Conv3DTranspose)
_POOLINGS = (MaxPool3D, keras.layers.MaxPool3D, keras.layers.AveragePooling3D)
# Layers that give each voxel what its own values tell, in training too.
_POINTWISE = (
    *(ReLU, Add, Concatenate),
    *(keras.layers.Activation, keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.ELU),
    *(keras.layers.Add, keras.layers.Multiply, keras.layers.Dense, keras.layers.Dropout),
)


class NotUnderstoodError(ValueError):
    """A graph that occupied execution does not know how to run."""


@dataclasses.dataclass(frozen=True)
class Window:
    """What one place of a layer's grid depends on, along an axis of the input grid.

    Place i takes voxels from `spacing * i - before` to `spacing * i + behind`.
    """

    spacing: float
    before: float = 0
    behind: float = 0


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a graph runs where only the values at some voxels are asked for.

    Attributes:
        stem: the first layer, whose input is empty in most places.
        stages: models that follow each other from there on the whole grid, parted where one tensor
            of another resolution is all that goes on.
        up: the transposed convolution of stride 2, which takes what they give.
        folded: the 1^3 convolution behind `up`, with nothing between them, or None.
        head: the pointwise layers behind `folded`, or else `up`; outputs as the whole graph's.
    """

    stem: keras.layers.Layer
    stages: tuple[keras.Model, ...]
    up: keras.layers.Layer
    folded: keras.layers.Layer | None
    head: keras.Model


class Graph:
    """The layers of a functional model in the order in which they run.

    Attributes:
        layers: by name; the first is the input.
        sources: for each layer, the names of those whose outputs it takes.
    """

    def __init__(self, model: keras.Model):
        """Reads a model of one input, right after it was built: before others share its layers."""
        self._model = model
        self.layers = {layer.name: layer for layer in model.layers}
        self._order = list(self.layers)
        self._shared = {name for name, x in self.layers.items() if len(x.inbound_nodes) != 1}
        self.sources = {
            name: list(
                dict.fromkeys(  # once, though it take two outputs of one layer
                    source.name
                    for node in layer.inbound_nodes
                    for source in tf.nest.flatten(node.inbound_layers)
                )
            )
            for name, layer in self.layers.items()
        }

    @functools.cached_property
    def windows(self) -> dict[str, Window | None]:
        """For each layer its window; None where it is not known."""
        windows: dict[str, Window | None] = {self._order[0]: Window(1)}
        for name in self._order[1:]:
            sources = [windows[source] for source in self.sources[name]]
            known = [window for window in sources if window is not None]
            is_known = len(known) == len(sources) and name not in self._shared
            windows[name] = _window(self.layers[name], known) if is_known else None
        return windows

    @functools.cached_property
    def halo(self) -> int:
        """How far, voxels, a block must reach beyond what it is made for; even."""
        reach = 0.0
        for window in self.windows.values():
            if window is None:
                return WHOLE_GRID
            reach = max(reach, window.before, window.behind)
        return 2 * -int(-reach // 2)

    def elements_per_voxel(self, names: Collection[str]) -> float:
        """Returns how many elements the largest of these layers' outputs has for each voxel."""
        return max(
            _values(self.layers[name].output).shape[-1] * self.places(name) for name in names
        )

    def places(self, name: str) -> float:
        """Returns how many places a layer's output has for each voxel; 1 where it is not known."""
        window = self.windows[name]
        return window.spacing**-3 if window else 1

    def plan(self) -> Plan:
        """Returns how the graph runs at occupied voxels.

        Raises:
            NotUnderstoodError: a graph of another form; names the layer that does not fit.
        """
        if self._shared:
            raise _refusal("every layer to be used once", self.layers[min(self._shared)])
        stem = self.layers[self._order[1]]
        if not (self._is_bottleneck(1) and _is_scattering(stem)):
            raise _refusal("one 'same' convolution of odd size alone to take the grid", stem)
        ups = [i for i, layer in enumerate(self.layers.values()) if type(layer) in _TRANSPOSED]
        place = ups[0] if ups else len(self._order) - 1
        up = self.layers[self._order[place]]
        if not (len(ups) == 1 and self._is_bottleneck(place) and self._is_doubling(up)):
            raise _refusal("one 4^3 transposed convolution from half resolution on all paths", up)
        behind = [self.layers[name] for name in self._order[place + 1 :]]
        for layer in behind:
            if not _is_pointwise(layer):
                raise _refusal(f"layers behind {up.name} that look at one voxel each", layer)
        is_folded = self._is_bottleneck(place + 1) and _is_folding(up, behind[0])
        folded = behind[0] if is_folded else None
        head = keras.Model((folded or up).output, self._model.output)
        return Plan(stem, self._stages(place), up, folded, head)

    def _stages(self, up: int) -> tuple[keras.Model, ...]:
        """The models between the stem and the layer in place `up`."""
        (last,) = self.sources[self._order[up]]
        parting = [
            name
            for place, name in enumerate(self._order[2:up], 2)
            if max(getattr(self.layers[name], "strides", (1,))) > 1 and self._is_bottleneck(place)
        ]
        bounds = dict.fromkeys([self._order[1], *parting, last])  # `last` may be one of them
        outputs = [self.layers[name].output for name in bounds]
        (node,) = self.layers[self._order[up]].inbound_nodes
        outputs[-1] = node.keras_inputs  # all of `last`, or the values only
        return tuple(itertools.starmap(keras.Model, itertools.pairwise(outputs)))

    def _is_bottleneck(self, place: int) -> bool:
        """Whether what runs behind a layer takes its output and nothing from before it."""
        before = set(self._order[:place])
        behind = (self.sources[name] for name in self._order[place + 1 :])
        return before.isdisjoint([*itertools.chain(*behind), *self._model.output_names])

    def _is_doubling(self, layer: keras.layers.Layer) -> bool:
        """Whether it is the one that `occupied.transposed_convolution` evaluates."""
        if type(layer) is not Conv3DTranspose:
            return False
        if (layer.kernel_size, layer.strides, layer.padding) != ((4,) * 3, (2,) * 3, "same"):
            return False
        if not layer.use_bias or layer.groups > 1 or layer.output_padding is not None:
            return False
        half = keras.Model(self._model.input, _values(layer.input))
        grid = keras.Input((8, 8, 8, self._model.input_shape[-1]))
        return tuple(half(grid).shape[1:4]) == (4, 4, 4)


def _values(tensors: tf.Tensor | Sequence[tf.Tensor]) -> tf.Tensor:
    """The values of a layer's input or output; beside them may be what they are in empty space."""
    return tf.nest.flatten(tensors)[0]


def _refusal(expected: str, found: keras.layers.Layer) -> NotUnderstoodError:
    return NotUnderstoodError(f"expected {expected}, found {found.name} ({type(found).__name__})")


def _is_plain(layer: keras.layers.Layer) -> bool:
    """Whether it is a convolution of stride 1 with a bias over all channels."""
    return (
        type(layer) in _CONVOLUTIONS
        and layer.use_bias
        and layer.groups == 1
        and {*layer.strides, *layer.dilation_rate} == {1}
    )


def _is_scattering(layer: keras.layers.Layer) -> bool:
    """Whether it is one that `occupied.scattered_convolution` evaluates."""
    if (
        type(layer) not in _OWN_CONVOLUTIONS
        or not _is_plain(layer)
        or layer.padding != "same"
        or len(set(layer.kernel_size)) > 1
    ):
        return False
    return layer.kernel_size[0] >= 3 and layer.kernel_size[0] % 2 == 1


def _is_folding(up: keras.layers.Layer, behind: keras.layers.Layer) -> bool:
    """Whether a transposed convolution and the layer behind it are one linear map."""
    return (
        _is_plain(behind)
        and up.activation is keras.activations.linear
        and up.compute_dtype == behind.compute_dtype
    )


def _is_pointwise(layer: keras.layers.Layer) -> bool:
    kind = type(layer)
    if kind in _CONVOLUTIONS:
        return {*layer.kernel_size, *layer.strides} == {1}
    if kind is keras.layers.Concatenate:
        return layer.axis in (-1, 4)
    if kind.__name__ == "SlicingOpLambda":  # has no public name
        _, places = layer.inbound_nodes[0].call_args
        return len(places) == 2 and places[0] is Ellipsis  # `x[..., first:last]`
    return kind in _POINTWISE


def _window(layer: keras.layers.Layer, sources: list[Window]) -> Window | None:
    """Returns the window of a layer from those of its sources; None where it is not known."""
    if len({window.spacing for window in sources}) != 1:
        return None
    spacing = sources[0].spacing
    before, behind = max(w.before for w in sources), max(w.behind for w in sources)
    if _is_pointwise(layer):
        return Window(spacing, before, behind)
    kind = type(layer)
    if kind not in (*_CONVOLUTIONS, *_TRANSPOSED, *_POOLINGS) or len(set(layer.strides)) > 1:
        return None
    stride = layer.strides[0]
    if kind in _TRANSPOSED:
        # Place o takes place (o + left - tap) / stride for each tap that makes it a whole number.
        size, spacing = max(layer.kernel_size), spacing / stride
        left = (size - stride) // 2
        if layer.padding != "same" or {*layer.dilation_rate} != {1} or left < 0:
            return None
        return Window(spacing, before + spacing * (size - 1 - left), behind + spacing * left)
    if kind in _POOLINGS:
        reach = max(layer.pool_size) - 1
    else:
        reach = (max(layer.kernel_size) - 1) * max(layer.dilation_rate)
    # Grids are even and no more: only one halving keeps its places in any block.
    if spacing * stride > 2 or (layer.padding != "same" and reach >= stride):
        return None
    left = max(reach + 1 - stride, 0) // 2
    return Window(spacing * stride, before + spacing * left, behind + spacing * (reach - left))
