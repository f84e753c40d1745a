"""What happens beside the training: progress, validation, checkpoints."""

# ruff: noqa: D102  The methods are Keras hooks, called as their names say.

import contextlib
import math
import sys
import time
from collections.abc import Callable
from typing import TypeAlias

import tqdm
from absl import logging

from mtml_tf.backend import keras, tf
from mtml_tf.config import TrainConfig
from mtml_tf.scoring.average_precision import ApTable
from mtml_tf.training.verification import Verification

Logs: TypeAlias = dict[str, float]
Optimizer: TypeAlias = keras.optimizers.Optimizer

_LOG_INTERVAL_S = 30.0


class StopOnNan(keras.callbacks.Callback):
    """Stops the run, naming step and scenes, when the loss is no longer a finite number."""

    def __init__(self, optimizer: Optimizer, names_of_step: Callable[[int], list[str]]):
        super().__init__()
        self._names_of_step = names_of_step
        self._optimizer = optimizer

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        if not math.isfinite(logs["loss"]):
            step = int(self._optimizer.iterations.numpy()) - 1
            raise ValueError(
                f"step {step}: expected a finite loss, found {logs['loss']}, in scenes "
                f"{', '.join(self._names_of_step(step))}; lower the learning rate and start again: "
                "the run goes on from its last checkpoint"
            )


class Verified(keras.callbacks.Callback):
    """Stops the run where a shard has changed; no epoch ends before all are known not to have.

    They are compared from the first step's end on, which they do not delay.
    """

    def __init__(self, verification: Verification):
        super().__init__()
        self._verification = verification

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        self._verification.check()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self._verification.wait()


class Progress(keras.callbacks.Callback):
    """A bar with rate and time left on a terminal, lines at intervals elsewhere."""

    def __init__(self, optimizer: Optimizer, total_steps: int):
        super().__init__()
        self._optimizer = optimizer
        self._total = total_steps
        self._bar: tqdm.tqdm | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._first = int(self._optimizer.iterations.numpy())
        self._start = self._shown = time.monotonic()
        if sys.stderr.isatty():
            self._bar = tqdm.tqdm(total=self._total, initial=self._first, desc="steps")

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        if self._bar is not None:
            self._bar.set_postfix(loss=f"{logs['loss']:.3f}", refresh=False)
            self._bar.update()
            return
        now = time.monotonic()
        if now - self._shown >= _LOG_INTERVAL_S:
            self._shown = now
            step = int(self._optimizer.iterations.numpy())
            rate = (step - self._first) / (now - self._start)
            logging.info(
                "step %d of %d, %.2f/s, %.0f min left, %s",
                step,
                self._total,
                rate,
                (self._total - step) / rate / 60,
                ", ".join(f"{name} {value:.3f}" for name, value in logs.items()),
            )

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        values = ", ".join(f"{name} {value:.4f}" for name, value in logs.items())
        if self._bar is None:
            logging.info("epoch %d: %s", epoch + 1, values)
        else:
            self._bar.write(f"epoch {epoch + 1}: {values}", file=sys.stderr)

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self._bar is not None:
            self._bar.close()


class Validation(keras.callbacks.Callback):
    """Validation loss of every epoch, AP every so many; keeps the weights of the best AP50."""

    def __init__(
        self,
        config: TrainConfig,
        losses: Callable[[], Logs],
        score: Callable[[], ApTable],
        best_ap: tf.Variable,
        keep_best: Callable[[], None],
        at_once: Callable[[], contextlib.AbstractContextManager[None]],
    ):
        super().__init__()
        self._config, self._losses, self._score = config, losses, score
        self._best_ap, self._keep_best, self._at_once = best_ap, keep_best, at_once

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        with self._at_once():  # what is stopped here is done again
            self._validate(epoch, logs)

    def _validate(self, epoch: int, logs: Logs) -> None:
        logs.update({f"val_{name}": value for name, value in self._losses().items()})
        every = self._config.ap_every
        is_due = every and ((epoch + 1) % every == 0 or epoch + 1 == self._config.epochs)
        if not is_due:
            return
        average = self._score().average
        logs.update(val_ap=average.ap, val_ap50=average.ap50, val_ap25=average.ap25)
        if average.ap50 > float(self._best_ap.numpy()):
            self._best_ap.assign(average.ap50)
            self._keep_best()


class TensorBoard(keras.callbacks.TensorBoard):
    """Logs every number, and the learning rate: Keras itself logs that of a schedule only."""

    def __init__(self, log_dir: str):
        super().__init__(log_dir, write_graph=False)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        learning_rate = float(self.model.optimizer.learning_rate.numpy())
        super().on_epoch_end(epoch, {**logs, "learning_rate": learning_rate})


class ShowScene(keras.callbacks.Callback):
    """Shows a scene after each epoch that `Validation` has scored, and after the last one."""

    def __init__(self, epochs: int, show: Callable[[int], None]):
        super().__init__()
        self._epochs, self._show = epochs, show

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if "val_ap" in logs or epoch + 1 == self._epochs:
            self._show(epoch)


class Checkpoints(keras.callbacks.Callback):
    """Saves all that a run needs to go on."""

    def __init__(
        self,
        optimizer: Optimizer,
        manager: tf.train.CheckpointManager,
        every: int,
        before_last: bool,
        verification: Verification | None,
    ):
        """Makes the callback.

        Args:
            optimizer: it counts the steps.
            manager: saves.
            every: steps between checkpoints.
            before_last: whether one comes before the last step of an epoch too: who is stopped in
                a validation, which is long, then goes on with that step and the validation.
            verification: of the data; nothing is saved before it is done. None where data are
                not verified.
        """
        super().__init__()
        self._manager, self._optimizer, self._every = manager, optimizer, every
        self._before_last, self._verification = before_last, verification

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        left = self.params["steps"] - batch - 1
        # The epoch's last step is saved at its end, with what the validation found.
        is_due = int(self._optimizer.iterations.numpy()) % self._every == 0
        if left and (is_due or (left == 1 and self._before_last)):
            self.save()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self.save()

    def save(self, most_seconds: float | None = None) -> None:
        """Saves the step that was done last, where it is not saved yet.

        Args:
            most_seconds: that it may wait until the data are known to be right; if they are not
                known by then, nothing is saved. None: as long as it takes.

        Raises:
            ValueError: the data have changed.
        """
        step = int(self._optimizer.iterations.numpy())
        if self._verification and not self._verification.wait(most_seconds):
            logging.warning(
                "saves no checkpoint of step %d: %g s were too short to compare the hashes of the "
                "data; goes on from the one before",
                *(step, most_seconds),
            )
            return
        if not (self._manager.latest_checkpoint or "").endswith(f"-{step}"):
            self._manager.save(checkpoint_number=step)
