"""What a model is, as told by the scenes that it is trained on."""

import dataclasses

from mtml_tf.config import SegmentConfig
from mtml_tf.data.pipeline import num_channels
from mtml_tf.data.records import DataFolder
from mtml_tf.inference.models import ModelConfig
from mtml_tf.scans.semantic_input import fault_of_probabilities
from mtml_tf.scene import VoxelScene
from mtml_tf.segmentation.scores import size_statistics
from mtml_tf.training.experiment import Experiment


def describe(folder: DataFolder, experiment: Experiment) -> ModelConfig:
    """Returns the model's configuration, with what comes from the training scenes.

    Raises:
        ValueError: scenes that can't be read, or have no instances.
    """
    split, classes = experiment.train_split, folder.classes
    first = folder.scene(folder.entries(split)[0])
    if first.instance_ids is None:
        raise ValueError(
            f"{folder.path}: expected instance ids in split '{split}' to train on, found none"
        )
    label_ids = (*classes.ids, 0) if experiment.loss.alpha_label > 0 else ()
    if label_ids and first.features is not None:
        raise ValueError(
            f"{folder.path}: leave --alpha_label at 0: expected labels as the input to correct, "
            "found features"
        )
    are_probabilities = all(
        _has_probabilities(scene, len(classes)) for scene in folder.scenes(split)
    )
    return ModelConfig(
        network=dataclasses.replace(
            experiment.network,
            input_channels=num_channels(first, classes),
            num_labels=len(label_ids),
        ),
        segment=SegmentConfig(
            thing_ids=classes.thing_ids,
            size_statistics=size_statistics(folder.scenes(split)),
            probability_ids=classes.ids if are_probabilities else (),
            label_ids=label_ids,
            **experiment.segment,
        ),
        classes=classes,
        voxel_size=first.voxel_size,
        has_direction=experiment.loss.alpha_direction > 0,
    )


def _has_probabilities(scene: VoxelScene, num_classes: int) -> bool:
    """Whether a scene's features are class probabilities, one a class."""
    if scene.features is None or scene.num_features != num_classes:
        return False
    return not fault_of_probabilities(scene.features)
