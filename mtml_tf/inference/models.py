"""A trained model: the network with all that is needed to use it, kept in a run folder."""

import dataclasses
import functools
import math
import pathlib
import re
import shutil
from typing import Any, NamedTuple

import numpy as np
from absl import logging
from scipy import special

from mtml_tf import files, timing
from mtml_tf.backend import keras, tf
from mtml_tf.data.pipeline import batch_of_one, num_channels
from mtml_tf.inference import shipped
from mtml_tf.inference.model_config import (
    DESCRIPTION,
    ModelConfig,
    read_model_config,
    write_model_config,
)
from mtml_tf.network.architecture import DIRECTION_SIZE
from mtml_tf.network.blocks import Block, crop, split_grid, trim
from mtml_tf.network.memory import available_memory, bytes_per_voxel, too_large
from mtml_tf.network.voxel_network import VoxelNetwork
from mtml_tf.scene import Instance, VoxelScene
from mtml_tf.segmentation.segment import segment

# A run folder's model: its configuration, and its weights.
__all__ = [
    "BEST",
    "CHECKPOINTS",
    "DESCRIPTION",
    "LAST",
    "READ_ERRORS",
    "Model",
    "ModelConfig",
    "Values",
    "find_checkpoints",
    "find_run_folder",
    "find_weights",
    "has_checkpoints",
    "is_damage",
    "load_model",
    "read_model_config",
    "read_weights_into",
    "write_model_config",
    "write_weights",
    "write_weights_of",
]

BEST, LAST, CHECKPOINTS = "best", "last", "checkpoints"
# In the folder of checkpoints: the file that lists them, and their names.
_LIST, _LISTED = "checkpoint", re.compile(r'^model_checkpoint_path: ".*ckpt-(\d+)"', re.MULTILINE)
_STEP = re.compile(r"ckpt-(\d+)\.index")
# What TensorFlow raises for a checkpoint that is damaged or does not fit.
READ_ERRORS = (tf.errors.OpError, IndexError, AssertionError)
# Those of them that say nothing of the checkpoint.
_NOT_DAMAGED = (tf.errors.ResourceExhaustedError, tf.errors.PermissionDeniedError)


class Values(NamedTuple):
    """What the network tells of the M voxels of a scene.

    Attributes:
        embedding: float32 [M, E].
        direction: float32 [M, 3], not normalised.
        labels: float32 [M, L], probabilities of the labels `SegmentConfig.label_ids`, or None where
            the network tells none.
    """

    embedding: np.ndarray
    direction: np.ndarray
    labels: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Model:
    """A model ready for use.

    Attributes:
        config: what it is.
        network: takes, gives and tells what `VoxelNetwork` does, with the weights.
    """

    config: ModelConfig
    network: VoxelNetwork

    def predict(self, scene: VoxelScene) -> Values:
        """Evaluates the network on one scene, on the smallest grid that holds it.

        A grid that memory does not hold is evaluated in blocks, with the same values.

        Args:
            scene: a voxelized scene with this model's classes or features.

        Raises:
            ValueError: input that the model was not trained for, or a grid too large for memory.
        """
        config = self.config
        if not math.isclose(scene.voxel_size, config.voxel_size, rel_tol=1e-6):
            raise ValueError(
                f"scene {scene.name}: expected voxels of {config.voxel_size:g} m as the model was "
                f"trained with, found {scene.voxel_size:g} m"
            )
        channels = num_channels(scene, config.classes)
        if channels != config.network.input_channels:
            raise ValueError(
                f"scene {scene.name}: expected {config.network.input_channels} input channels as "
                f"the model was trained with, found {channels}"
            )
        with timing.stage("network"):
            return self._predict_as_memory_allows(trim(scene))

    def _predict_as_memory_allows(self, scene: VoxelScene) -> Values:
        """Evaluates the whole grid where memory allows, otherwise the blocks that it allows."""
        network = self.network
        occupancy = len(scene.coordinates) / math.prod(scene.grid_shape)
        for_a_voxel = bytes_per_voxel(self.config.network, occupancy, network.execution)
        most_voxels = min(network.most_voxels, int(available_memory() / for_a_voxel))
        while True:
            blocks = split_grid(scene.grid_shape, network.halo, most_voxels)
            if not blocks:
                raise too_large(
                    f"scene {scene.name}",
                    scene.grid_shape,
                    scene.voxel_size,
                    math.prod(scene.grid_shape) * for_a_voxel,
                    most_voxels * for_a_voxel,
                    "take a larger voxel size or remove points that lie far from the rest",
                )
            if len(blocks) > 1:
                logging.info("scene %s: in %d blocks, to fit into memory", scene.name, len(blocks))
            try:
                return self._predict_blocks(scene, blocks)
            except tf.errors.ResourceExhaustedError:  # a GPU has its own memory
                most_voxels = max(math.prod(block.grid_shape) for block in blocks) // 2

    def _predict_blocks(self, scene: VoxelScene, blocks: list[Block]) -> Values:
        """Values of `predict`, block by block; those of the whole scene up to rounding."""
        config = self.config.network
        sizes = {"embedding": config.embedding_size, "direction": DIRECTION_SIZE}
        if config.num_labels:
            sizes["labels"] = config.num_labels
        count = len(scene.coordinates)
        values = {name: np.zeros((count, size), np.float32) for name, size in sizes.items()}
        for block in blocks:
            part, rows, rows_of_part = crop(scene, block)
            if not len(rows):
                continue
            outputs = self.network.traced(batch_of_one(part, self.config.classes))
            for name, of_scene in values.items():
                of_scene[rows] = outputs[name][0].numpy()[rows_of_part]
        if config.num_labels:
            values["labels"] = special.softmax(values["labels"], axis=1)
        return Values(**values)

    def with_settings(self, **changed: Any) -> "Model":
        """Returns the model with other settings (of `SegmentConfig`) of its post-processing."""
        segment = dataclasses.replace(self.config.segment, **changed)
        return dataclasses.replace(self, config=dataclasses.replace(self.config, segment=segment))

    def segment(self, scene: VoxelScene) -> list[Instance]:
        """Returns the instances of one scene, best first; indices are rows of its voxels."""
        return self.segment_values(scene, self.predict(scene))

    def segment_values(self, scene: VoxelScene, values: Values) -> list[Instance]:
        """Returns the instances of `segment` where the values of `predict` are there already."""
        embedding, direction, labels = values
        if not self.config.has_direction:
            config = dataclasses.replace(self.config.segment, direction_weight=0.0)
            return segment(scene, embedding, None, config, labels)
        return segment(scene, embedding, direction, self.config.segment, labels)


def write_weights(run_dir: str | pathlib.Path, name: str, network: VoxelNetwork) -> None:
    """Writes the network's weights as `<name>` (`best` or `last`) of a run folder."""
    write_weights_of(run_dir, name, network.dense)


def write_weights_of(run_dir: str | pathlib.Path, name: str, network: keras.Model) -> None:
    """Writes the weights of any network as `<name>` of a run folder."""
    with files.writing_folder(pathlib.Path(run_dir) / name, overwrite=True) as folder:
        tf.train.Checkpoint(network=network).write(str(folder / "weights"))


def read_weights_into(network: keras.Model, path: str, description: str, remedy: str) -> None:
    """Reads the weights that `find_weights` found.

    Args:
        network: the network that gets them.
        path: of the weights.
        description: name of the file that tells what the network is.
        remedy: what to do where they can't be read.

    Raises:
        ValueError: a file that is cut, or another network's.
    """
    try:
        restored = tf.train.Checkpoint(network=network).read(path)
        restored.assert_existing_objects_matched().expect_partial()
    except (*READ_ERRORS, ValueError) as error:  # the last where shapes differ
        raise ValueError(
            f"{path}: expected the weights of the network in {description}, found a file "
            f"that is cut or another network's; {remedy}"
        ) from error


def load_model(
    path: str | pathlib.Path,
    weights: str = "",
    precision: str = "float32",
    execution: str = "occupied",
) -> Model:
    """Loads a trained model.

    Args:
        path: a run folder, or the name of a model that comes with the package (`rooms`).
        weights: `best` or `last` (the newest whole checkpoint of a run that has not come to its
            end); empty takes the best where there is one, then the last.
        precision: of activations and products: `float32`, or `bfloat16`, faster where the
            hardware has it and refused where it sums too coarsely.
        execution: `occupied` (compute only where needed) or `dense` (plain Keras), equal values.

    Returns:
        A model ready for `segment_scan`.

    Raises:
        ValueError: no run folder, no weights in it, or bfloat16 where the machine has none.
    """
    run_dir = find_run_folder(path)
    config = read_model_config(run_dir)
    weights_path = find_weights(run_dir, weights)
    network = VoxelNetwork(config.network, execution, precision)
    remedy = "train again or give the other --weights"
    read_weights_into(network.dense, weights_path, DESCRIPTION, remedy)
    return Model(config, network)


def remove_weights(run_dir: str | pathlib.Path, name: str) -> None:
    """Removes the weights `<name>` of a run folder where there are any."""
    shutil.rmtree(pathlib.Path(run_dir) / name, ignore_errors=True)


def find_run_folder(path: str | pathlib.Path) -> pathlib.Path:
    """Returns a run folder by its path, or by the name of a model that comes with the package."""
    run_dir = pathlib.Path(path)
    if not run_dir.exists() and str(path) in shipped.shipped_models():
        return shipped.find_shipped_model(str(path))
    return run_dir


def is_damage(error: BaseException) -> bool:
    """Whether what TensorFlow raised as it read a checkpoint tells that it is damaged or another's.

    Otherwise it is memory, rights or the disk that failed.
    """
    told = isinstance(error, READ_ERRORS) and not isinstance(error, _NOT_DAMAGED)
    return told and not files.disk_fault(error)


def has_checkpoints(run_dir: str | pathlib.Path) -> bool:
    """Whether a run has come to a checkpoint, or at least has begun to write one."""
    folder = pathlib.Path(run_dir, CHECKPOINTS)
    return (folder / _LIST).exists() or bool(_steps_in(folder))


def find_checkpoints(run_dir: str | pathlib.Path) -> list[str]:
    """Returns the paths of a run's checkpoints, newest first, without the ends of their names.

    Those beyond the last one on TensorFlow's list are left out: a process was killed as it wrote
    them. Where the list is damaged, all count; where it is missing, all that are whole, for a first
    one that was not written to its end has no list yet.

    Raises:
        ValueError: a list, and no checkpoint.
    """
    folder = pathlib.Path(run_dir, CHECKPOINTS)
    steps, path = _steps_in(folder), folder / _LIST
    if not path.exists():
        found = [str(folder / f"ckpt-{step}") for step in steps]
        whole = [checkpoint for checkpoint in found if _is_whole(checkpoint)]
        if found:
            taken = f"the newest that is whole is {whole[0]}" if whole else "none of them is whole"
            _warn_once(f"{path}: expected a list of the checkpoints beside it, found none; {taken}")
        return whole
    if not steps:
        raise ValueError(
            f"{path}: expected the checkpoints that it lists beside it, found none; put them back "
            "or choose another run folder"
        )
    listed = _LISTED.search(files.read_text(path, errors="replace"))
    if listed and int(listed[1]) not in steps:
        _warn_once(
            f"{path}: expected the checkpoint of step {listed[1]} that it lists, found none; the "
            f"newest is that of step {steps[0]}"
        )
    ended = [step for step in steps if listed and step <= int(listed[1])]
    return [str(folder / f"ckpt-{step}") for step in ended or steps]


def _steps_in(folder: pathlib.Path) -> list[int]:
    """Returns the steps of the checkpoints in a folder, newest first."""
    found = (_STEP.fullmatch(path.name) for path in folder.glob("*.index"))
    return sorted((int(match[1]) for match in found if match), reverse=True)


def _is_whole(checkpoint: str) -> bool:
    """Whether a checkpoint can be read, each value of it, as it was written."""
    try:
        reader = tf.train.load_checkpoint(checkpoint)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except READ_ERRORS as error:
        if not is_damage(error):
            raise
        return False
    return True


@functools.cache
def _warn_once(text: str) -> None:
    """Logs a warning: once, though a program looks for its checkpoints several times."""
    logging.warning("%s", text)


def find_weights(run_dir: pathlib.Path, weights: str) -> str:
    """Returns the path of what `load_model` reads, without what follows `weights` in the names.

    Raises:
        ValueError: no such weights.
    """
    names = [weights] if weights else [BEST, LAST]
    for name in names:
        if (run_dir / name / "weights.index").is_file():
            return str(run_dir / name / "weights")
    checkpoints = find_checkpoints(run_dir)
    if checkpoints and weights == LAST:
        newest = next(filter(_is_whole, checkpoints), checkpoints[0])
        if newest != checkpoints[0]:
            _warn_once(
                f"{checkpoints[0]}: expected a checkpoint of this run, found one that is cut or "
                f"damaged; takes the one before, {newest}"
            )
        logging.info("%s: the run has not come to its end; takes its newest checkpoint", newest)
        return newest
    advice = "start the training, which has not reached its first checkpoint"
    if (run_dir / LAST).is_dir():
        advice = "give --weights=last"
    elif checkpoints:
        advice = "give --weights=last, which takes the newest checkpoint of an unfinished run"
    raise ValueError(
        f"{run_dir}: expected trained weights in {' or '.join(names)}, found none; {advice}"
    )
