"""What a training run is made of."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from mtml_tf.config import DataConfig, LossConfig, NetworkConfig, TrainConfig


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that a training run is made of.

    Attributes:
        train_split: name of the split to train on.
        network: `input_channels` and `num_labels` are set from the data.
        loss, data, train: their settings.
        segment: settings of the post-processing, but for what comes from the data (see
            `config_flags.FROM_DATA`).
    """

    train_split: str
    network: NetworkConfig
    loss: LossConfig
    data: DataConfig
    train: TrainConfig
    segment: Mapping[str, Any]
