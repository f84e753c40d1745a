"""A trained model as a SavedModel, which plain TensorFlow and TensorFlow Serving run.

Signatures, each with the outputs `embedding` and `direction` (not normalised, in voxel axes), and
where the model tells labels `labels` [..., L], logits of the classes in their order and of none:

- `occupied`, the default: `coordinates` int32 [M, 3] and `class_ids` int32 [M] (0 unlabelled) to
  [M, E] and [M, 3]. A model whose input are features has `features` in place of `class_ids`.
- `occupied_features`: `coordinates` int32 [M, 3] and `features` float32 [M, C], such as class
  probabilities in the order of the classes, to the same.
- `dense`: `grid` float32 [B, X, Y, Z, C], X, Y, Z even, to [B, X, Y, Z, E] and [B, X, Y, Z, 3]; its
  labels leave out the 4 that the others add for the label that a voxel has.
- `description`: no inputs, to the classes (`class_ids`, `class_names`, `class_kinds`),
  `voxel_size` (metres), `has_direction` (False where the direction was not trained), `version` (of
  this package), `model` (the whole configuration as JSON) and what a program needs that evaluates a
  grid in blocks: `halo` (voxels that a block must reach beyond those that it is made for, and even
  bounds), `most_voxels` (of a block) and `execution` (`occupied` or `dense`).

The grid of the `occupied` signatures ends with the largest coordinates, filled up to even sizes,
as `voxelize` makes it. An unlabelled voxel (id 0, features 0) in the far corner makes it larger;
values near the old border may change a little with it, since features spread beyond it. Where the
smallest coordinates are not 0, `Model.predict`, which moves a scene there first, has other values.
Wrong input (ids that are not listed, coordinates below 0) is refused by
the graph itself. Nothing splits a grid that is too large for the memory: `Model.predict` does.
From Python, `tf.saved_model.load(path).network` takes what `VoxelNetwork` takes.

Whoever serves it on a CPU without AVX512-VNNI, AVX-VNNI or AMX sets TF_ENABLE_ONEDNN_OPTS=1 before
TensorFlow starts, as this package does for itself: it is 1.6 to 3.5 times as fast.

Beside the graph lie `assets/classes.csv`, `assets/model.json`, and where asked for `model.onnx`,
the `dense` signature for ONNX runtimes.
"""

import contextlib
import importlib
import pathlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from absl import logging

from mtml_tf import __version__, files
from mtml_tf.backend import keras, tf
from mtml_tf.classes import ClassSet, encode_classes
from mtml_tf.config import NetworkConfig
from mtml_tf.inference.model_config import decode_model_config, encode_model_config
from mtml_tf.inference.models import Model
from mtml_tf.network.architecture import DilatedConv3D
from mtml_tf.network.voxel_network import VoxelNetwork, network_inputs

OCCUPIED, OCCUPIED_FEATURES, DENSE = "occupied", "occupied_features", "dense"
DESCRIPTION = "description"
# A folder of versions, of which a server takes the highest.
VERSION_FOLDER = "1"
_GRAPH_FILE = "saved_model.pb"
_CLASSES_FILE, _CONFIG_FILE, _ONNX_FILE = "classes.csv", "model.json", "model.onnx"
# Checked with tf2onnx 1.17, onnx 1.17 and onnxruntime 1.32.
_ONNX_OPSET = 17


def _is_exported(path: pathlib.Path) -> bool:
    names = (_GRAPH_FILE, "fingerprint.pb", _ONNX_FILE)
    return path.name in names or path.parent.name in ("assets", "variables")


EXPORTED = files.FolderKind("an exported model", _GRAPH_FILE, _is_exported)

Outputs = dict[str, tf.Tensor]
Network = Callable[[dict[str, tf.Tensor]], Outputs]


def write_saved_model(
    model: Model,
    output_dir: str | pathlib.Path,
    overwrite: bool = False,
    with_onnx: bool = False,
) -> pathlib.Path:
    """Writes a model as SavedModel, in the folder `1` of `output_dir`.

    Args:
        model: a trained model of `load_model`; it stays as it is.
        output_dir: a folder of versions; other versions in it stay as they are.
        overwrite: replace the version there is.
        with_onnx: write `model.onnx` too, which needs the package tf2onnx.

    Returns:
        The folder of the SavedModel.

    Raises:
        ValueError: it exists and `overwrite` is False, or can't be written.
        ImportError: `with_onnx` without tf2onnx.
    """
    path = pathlib.Path(output_dir) / VERSION_FOLDER
    tf2onnx = _import_tf2onnx() if with_onnx else None
    with (
        files.writing_folder(path, overwrite, EXPORTED) as folder,
        tempfile.TemporaryDirectory() as assets,
        quiet(),
    ):
        module, signatures = _exported(model, pathlib.Path(assets))
        tf.saved_model.save(module, str(folder), signatures)
        if tf2onnx:
            graph, _ = tf2onnx.convert.from_function(
                signatures[DENSE],
                input_signature=signatures[DENSE].input_signature,
                opset=_ONNX_OPSET,
            )
            graph.metadata_props.add(key="model", value=encode_model_config(model.config))
            (folder / _ONNX_FILE).write_bytes(graph.SerializeToString())
    return path


def load_saved_model(path: str | pathlib.Path) -> Model:
    """Loads what `write_saved_model` has written.

    Args:
        path: the folder of the SavedModel, or the folder of versions: the highest of them.

    Returns:
        A model for prediction; its `network` is the graph of the file.

    Raises:
        ValueError: no SavedModel there, one that can't be read, or another program's.
    """
    folder = version_folder(pathlib.Path(path))
    try:
        loaded = tf.saved_model.load(str(folder))
    except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
        raise ValueError(
            f"{folder}: expected a SavedModel, found one that is damaged or cut "
            f"({type(error).__name__}); write it again with python -m mtml_tf.export"
        ) from error
    if DESCRIPTION not in loaded.signatures or not hasattr(loaded, "network"):
        raise ValueError(
            f"{folder}: expected a SavedModel of python -m mtml_tf.export, found another "
            f"program's with the signatures {sorted(loaded.signatures)}"
        )
    text = loaded.signatures[DESCRIPTION]()["model"].numpy().decode()
    try:
        config = decode_model_config(text)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{folder}: expected the configuration of a model, found: {error!r}; was it exported "
            "by another version?"
        ) from error

    network: Any = _LoadedNetwork(loaded, config.network)
    return Model(config, network)


class _LoadedNetwork:
    """Stands for a `VoxelNetwork`, with what prediction needs of it."""

    def __init__(self, loaded: Any, config: NetworkConfig):
        self._loaded = loaded  # the variables live as long as this, not as long as its functions
        told = loaded.signatures[DESCRIPTION]()
        if "halo" in told:
            self.halo, self.most_voxels = int(told["halo"]), int(told["most_voxels"])
            self.execution = told["execution"].numpy().decode()
        else:  # exported before it was told
            network = VoxelNetwork(config)
            self.halo, self.most_voxels = network.halo, network.most_voxels
            self.execution = network.execution

    def __call__(self, inputs: dict[str, tf.Tensor]) -> Outputs:
        return self._loaded.network(inputs)

    traced = __call__  # it came as a graph


def version_folder(path: pathlib.Path) -> pathlib.Path:
    """The folder with the graph: `path` itself or the highest version in it."""
    if (path / _GRAPH_FILE).is_file():
        return path
    found = [p.parent for p in path.glob(f"*/{_GRAPH_FILE}") if p.parent.name.isdecimal()]
    if not found:
        raise ValueError(
            f"{path}: expected a SavedModel ({_GRAPH_FILE} in it or in a folder 1 of it), found "
            f"{'none' if path.is_dir() else 'no such folder'}; python -m mtml_tf.export writes one"
        )
    return max(found, key=lambda folder: int(folder.name))


def _exported(model: Model, assets: pathlib.Path) -> tuple[tf.Module, dict[str, Any]]:
    """What is saved: a module with the variables and functions, and the signatures.

    The module holds variables and files only. Keras layers in it would ask for Keras, in the
    version of this machine, where it is loaded.

    Args:
        model: what is exported.
        assets: an empty folder for the files that go along, which must stay until all is saved.
    """
    network = _portable(model)
    module = tf.Module()
    module.weights = network.dense.variables
    for name, text in (
        (_CLASSES_FILE, encode_classes(model.config.classes)),
        (_CONFIG_FILE, encode_model_config(model.config)),
    ):
        (assets / name).write_text(text, encoding="utf-8")
        setattr(module, pathlib.Path(name).stem + "_file", tf.saved_model.Asset(assets / name))
    module.network = tf.function(lambda inputs: network(inputs), autograph=False)

    channels = model.config.network.input_channels
    of_features = module.network.get_concrete_function(
        network_inputs(features=tf.TensorSpec([None, None, channels], tf.float32))
    )
    by_features = _by_features(of_features, channels)
    signatures = {
        OCCUPIED: by_features,
        OCCUPIED_FEATURES: by_features,
        DENSE: _dense(network.dense, channels),
        DESCRIPTION: _description(model, network),
    }
    # Otherwise the input are features that are no classes.
    if channels == len(model.config.classes):
        of_channels = module.network.get_concrete_function(
            network_inputs(channels=tf.TensorSpec([None, None], tf.int32))
        )
        signatures[OCCUPIED] = _by_class_ids(of_channels, model.config.classes)
    default = tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
    return module, {default: signatures[OCCUPIED], **signatures}


def _portable(model: Model) -> VoxelNetwork:
    """A copy of the network without native dilation.

    Native dilation runs on GPUs and with oneDNN, but not on other CPUs, and a graph must name one
    or the other. Keras' own, which goes through space-to-batch, runs everywhere; with it a room
    (60 x 48 x 28, half width) takes 1.3 times as long on two CPU cores.
    """
    network = VoxelNetwork(model.config.network)
    network.dense.set_weights(model.network.dense.get_weights())
    for layer in network.dense.layers:
        if isinstance(layer, DilatedConv3D):
            plain = super(DilatedConv3D, layer).convolution_op
            layer.convolution_op = plain  # type: ignore[method-assign]
    return network


def _by_class_ids(network: Network, classes: ClassSet) -> Callable[..., Outputs]:
    table = tf.constant(classes.channel_table)
    expected = f"expected class ids among {list(classes.ids)} (or 0), found"

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 3], tf.int32, name="coordinates"),
            tf.TensorSpec([None], tf.int32, name="class_ids"),
        ],
        autograph=False,
    )
    def occupied(coordinates: tf.Tensor, class_ids: tf.Tensor) -> Outputs:
        row = tf.clip_by_value(class_ids, 0, len(table) - 1)
        channels = tf.gather(table, row)
        is_known = (row == class_ids) & ((channels >= 0) | (class_ids == 0))
        with tf.control_dependencies([_require(is_known, expected, class_ids)]):
            return _at_voxels(network, coordinates, "channels", channels)

    return occupied


def _by_features(network: Network, channels: int) -> Callable[..., Outputs]:
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 3], tf.int32, name="coordinates"),
            tf.TensorSpec([None, channels], tf.float32, name="features"),
        ],
        autograph=False,
    )
    def occupied_features(coordinates: tf.Tensor, features: tf.Tensor) -> Outputs:
        return _at_voxels(network, coordinates, "features", features)

    return occupied_features


def _at_voxels(network: Network, coordinates: tf.Tensor, name: str, values: tf.Tensor) -> Outputs:
    """Outputs [M, ...] of one scene of M voxels."""
    rows = tf.stack([tf.shape(coordinates)[0], tf.shape(values)[0]])
    checks = [
        _require(rows[0] == rows[1], "expected one input for each row of coordinates, found", rows),
        # Rows below 0 would be taken for padding.
        _require(coordinates >= 0, "expected coordinates of at least 0, found", coordinates),
        _require_each_once(coordinates),
    ]
    with tf.control_dependencies(checks):
        # The largest of no coordinates at all would be the smallest integer.
        sizes = tf.maximum(tf.reduce_max(coordinates, axis=0), 0) + 1
        inputs = {"coordinates": coordinates, "grid_shape": sizes + sizes % 2, name: values}
        outputs = network({key: value[None] for key, value in inputs.items()})
    return {key: value[0] for key, value in outputs.items()}


def _require_each_once(coordinates: tf.Tensor) -> tf.Operation:
    """Refuses a voxel that is given twice."""
    sizes = tf.cast(tf.reduce_max(coordinates, axis=0), tf.int64) + 1
    x, y, z = tf.unstack(tf.cast(coordinates, tf.int64), axis=1)
    _, first, count = tf.unique_with_counts((x * sizes[1] + y) * sizes[2] + z)
    is_alone = tf.gather(count, first) == 1
    twice = tf.boolean_mask(coordinates, ~is_alone)
    return tf.debugging.Assert(
        tf.reduce_all(is_alone), ["expected every voxel once, found", twice[:1]]
    )


def _require(condition: tf.Tensor, expected: str, found: tf.Tensor) -> tf.Operation:
    """Refuses, when the graph runs, what does not meet the condition; tells the worst of it."""
    values = tf.reshape(found, [-1])
    if condition.shape.rank:
        values = tf.boolean_mask(values, tf.reshape(~condition, [-1]))
    return tf.debugging.Assert(tf.reduce_all(condition), [expected, values], summarize=5)


def _dense(dense: keras.Model, channels: int) -> Callable[..., Outputs]:
    spec = tf.TensorSpec([None, None, None, None, channels], tf.float32, name="grid")

    @tf.function(input_signature=[spec], autograph=False)
    def evaluate(grid: tf.Tensor) -> Outputs:
        sizes = tf.shape(grid)[1:4]
        with tf.control_dependencies(
            [_require(sizes % 2 == 0, "expected a grid of even sizes, found", sizes)]
        ):
            return dense(tf.identity(grid))

    return evaluate


def _description(model: Model, network: VoxelNetwork) -> Callable[..., Outputs]:
    config = model.config

    @tf.function(input_signature=[], autograph=False)
    def description() -> Outputs:
        return {
            "class_ids": tf.constant(config.classes.ids, tf.int32),
            "class_names": tf.constant(config.classes.names),
            "class_kinds": tf.constant(config.classes.kinds),
            "voxel_size": tf.constant(config.voxel_size, tf.float64),
            "has_direction": tf.constant(config.has_direction),
            "version": tf.constant(__version__),
            "model": tf.constant(encode_model_config(config)),
            "halo": tf.constant(network.halo, tf.int64),
            "most_voxels": tf.constant(network.most_voxels, tf.int64),
            "execution": tf.constant(network.execution),
        }

    return description


def _import_tf2onnx() -> Any:
    try:
        return importlib.import_module("tf2onnx")
    except ImportError as error:
        raise ImportError(
            f"ONNX needs the package tf2onnx, found '{error}'; install it with pip install "
            "'mtml_tf[onnx]' or leave --onnx out"
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps back what TensorFlow logs about every step of saving."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
