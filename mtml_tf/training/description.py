"""What a model is, as told by the scenes that it is trained on."""

import dataclasses

from mtml_tf.config import SegmentConfig
from mtml_tf.data.records import DataFolder
from mtml_tf.data.statistics import read_statistics
from mtml_tf.inference.models import ModelConfig
from mtml_tf.segmentation.scores import size_statistics
from mtml_tf.training.experiment import Experiment


def describe(folder: DataFolder, experiment: Experiment) -> ModelConfig:
    """Returns the model's configuration, with what comes from the training scenes.

    Raises:
        ValueError: scenes that can't be read, or have no instances.
    """
    split, classes = experiment.train_split, folder.classes
    scenes = read_statistics(folder, split)
    if scenes.without_instances:
        raise ValueError(
            f"{folder.path}: expected instance ids in split '{split}' to train on, found none in "
            f"scene {scenes.without_instances}; prepare scans that have them"
        )
    label_ids = (*classes.ids, 0) if experiment.loss.alpha_label > 0 else ()
    if label_ids and scenes.num_features:
        raise ValueError(
            f"{folder.path}: leave --alpha_label at 0: expected labels as the input to correct, "
            "found features"
        )
    return ModelConfig(
        network=dataclasses.replace(
            experiment.network,
            input_channels=scenes.num_features or len(classes),
            num_labels=len(label_ids),
        ),
        segment=SegmentConfig(
            thing_ids=classes.thing_ids,
            size_statistics=size_statistics(scenes.instance_sizes),
            probability_ids=classes.ids if scenes.are_probabilities else (),
            label_ids=label_ids,
            **experiment.segment,
        ),
        classes=classes,
        voxel_size=scenes.voxel_size,
        has_direction=experiment.loss.alpha_direction > 0,
    )
