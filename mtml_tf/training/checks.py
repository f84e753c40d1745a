"""Whether the scenes of a run can be trained and validated on: told now, and not hours later."""

import dataclasses
import math

from mtml_tf.data.pipeline import largest_grid, most_voxels
from mtml_tf.data.records import DataFolder
from mtml_tf.network.memory import bytes_per_voxel, check_grid, computes_on_gpu, in_words
from mtml_tf.network.voxel_network import VoxelNetwork
from mtml_tf.training.experiment import Experiment
from mtml_tf.training.validation import one_by_one

LESS_MEMORY = (
    "take a smaller --batch_size or --width, give --recompute or --crop, prepare the scenes with a "
    "larger voxel size, or remove points that lie far from the rest"
)


_SMALLER_TENSORS = (
    "take a smaller --batch_size or --width, give --crop, prepare the scenes with a larger voxel "
    "size, or remove points that lie far from the rest"
)


def check_scenes(
    folder: DataFolder, experiment: Experiment, network: VoxelNetwork, num_replicas: int
) -> None:
    """Checks the scenes to train on, and those to validate on where there are some.

    Args:
        folder: data folder.
        experiment: what is trained, and how.
        network: the network.
        num_replicas: devices that share a batch's scenes; GPUs have a memory each.

    Raises:
        ValueError: scenes that can't be read, are too large for memory or make tensors that
            TensorFlow can't compute, or a validation split that does not fit to what is trained on.
    """
    _check_largest_batch(folder, experiment.train_split, experiment, network, num_replicas)
    split = experiment.train.validation_split
    if split:
        alone = dataclasses.replace(experiment, data=one_by_one(experiment.data))
        _check_largest_batch(folder, split, alone, network, is_training=False)
        _check_validation(folder, split, experiment.train_split)


def _check_largest_batch(
    folder: DataFolder,
    split: str,
    experiment: Experiment,
    network: VoxelNetwork,
    num_replicas: int = 1,
    is_training: bool = True,
) -> None:
    """Raises ValueError where the largest batch that may come could not be computed."""
    entries, count = folder.entries(split), experiment.data.batch_size
    voxel_size = folder.scene(entries[0]).voxel_size
    grid = largest_grid(entries, experiment.data, voxel_size, is_training)
    owner = f"{grid}" + f" in a batch of {count}" * (count > 1)
    num_voxels = most_voxels(entries, experiment.data, is_training)
    occupancy = min(1.0, num_voxels / math.prod(grid.shape))
    recompute = experiment.train.recompute and network.execution == "occupied"
    for_a_voxel = bytes_per_voxel(
        network.config, occupancy, network.execution, is_training, recompute
    )
    share = count // num_replicas
    together = share if computes_on_gpu() else count
    check_grid(owner, grid.shape, voxel_size, together * for_a_voxel, LESS_MEMORY)
    most = network.most_voxels // share
    if math.prod(grid.shape) > most:
        raise ValueError(
            f"{owner}: expected a grid of at most {most} voxels, beyond which a tensor of the "
            f"{network.execution} execution has 2^31 elements, found {in_words(grid.shape)} voxels "
            f"of {voxel_size:g} m; {_SMALLER_TENSORS}"
        )


def _check_validation(folder: DataFolder, split: str, train_split: str) -> None:
    """Raises ValueError where the validation split does not fit."""
    entries = folder.entries(split)
    scene = folder.scene(entries[0])
    trained_on = folder.scene(folder.entries(train_split)[0])
    if (scene.num_features, scene.voxel_size) != (trained_on.num_features, trained_on.voxel_size):
        raise ValueError(
            f"{folder.path}: expected split '{split}' with {trained_on.num_features} features and "
            f"voxels of {trained_on.voxel_size:g} m like the training scenes, found "
            f"{scene.num_features} and {scene.voxel_size:g} m; prepare both splits alike"
        )
    missing = [entry.name for entry in entries if not folder.has_ground_truth(split, entry)]
    if missing:
        raise ValueError(
            f"{folder.ground_truth_dir(split)}: expected the ground truth of every scene to "
            f"validate on, found none for {missing[0]}; give another --validation_split or none"
        )
