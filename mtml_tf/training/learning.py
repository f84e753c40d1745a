"""What is trained: a model with its loss, and the optimizer that counts its steps."""

import abc
import dataclasses
import functools
from typing import Any

from mtml_tf.backend import keras, tf


@dataclasses.dataclass(frozen=True)
class Learning(abc.ABC):
    """A model while it is trained: all that changes, and what a checkpoint holds of it.

    Attributes:
        training_model: the network with its loss, as Keras trains it.
        optimizer: it counts the steps.
    """

    training_model: keras.Model
    optimizer: keras.optimizers.Optimizer

    @property
    def step(self) -> int:
        """Number of steps done."""
        return int(self.optimizer.iterations.numpy())

    @property
    def strategy(self) -> tf.distribute.Strategy:
        """On which devices it is trained."""
        return self.training_model.distribute_strategy

    @property
    @abc.abstractmethod
    def kept(self) -> dict[str, Any]:
        """What a checkpoint holds beside the optimizer, by name."""

    @functools.cached_property
    def checkpoint(self) -> tf.train.Checkpoint:
        """What a checkpoint holds."""
        checkpoint = tf.train.Checkpoint(optimizer=self.optimizer, **self.kept)
        # Makes the variable now: where the chief alone made it, it would wait for other workers.
        checkpoint.save_counter.assign(0)
        return checkpoint
