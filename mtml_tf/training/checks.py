"""Whether the scenes of a run can be trained and validated on: told now, and not hours later."""

import dataclasses
import math

from mtml_tf.data.pipeline import largest_grid
from mtml_tf.data.records import DataFolder, RecordEntry
from mtml_tf.inference.models import ModelConfig
from mtml_tf.network.memory import bytes_per_voxel, check_grid
from mtml_tf.training.experiment import Experiment
from mtml_tf.training.validation import one_by_one

LESS_MEMORY = (
    "take a smaller --batch_size or --width, give --recompute, prepare the scenes with a larger "
    "voxel size, or remove points that lie far from the rest"
)


def check_scenes(folder: DataFolder, model: ModelConfig, experiment: Experiment) -> None:
    """Checks the scenes to train on, and those to validate on where there are some.

    Raises:
        ValueError: scenes that can't be read or are too large for memory, or a validation split
            that does not fit to what is trained on.
    """
    _check_memory(folder.entries(experiment.train_split), model, experiment, is_training=True)
    split = experiment.train.validation_split
    if split:
        alone = dataclasses.replace(experiment, data=one_by_one(experiment.data))
        _check_memory(folder.entries(split), model, alone, is_training=False)
        _check_validation(folder, split, experiment.train_split)


def _check_memory(
    entries: list[RecordEntry],
    model: ModelConfig,
    experiment: Experiment,
    is_training: bool,
) -> None:
    """Raises ValueError where the largest batch that may come would not fit into memory."""
    config, count = experiment.train, experiment.data.batch_size
    grid_shape = largest_grid(entries, experiment.data, is_training)
    occupancy = max(entry.num_voxels for entry in entries) / math.prod(grid_shape)
    for_a_voxel = count * bytes_per_voxel(
        model.network, occupancy, config.execution, is_training, config.recompute
    )
    largest = max(entries, key=lambda entry: math.prod(entry.grid_shape))
    owner = f"scene {largest.name}" + f" in a batch of {count}" * (count > 1)
    check_grid(owner, grid_shape, model.voxel_size, for_a_voxel, LESS_MEMORY)


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
