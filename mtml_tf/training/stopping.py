"""An end before the last step, in good order: at SIGTERM, at Ctrl-C, or when the time is over.

Slurm, Kubernetes and those who lend spot machines send SIGTERM some seconds before they kill.
"""

# ruff: noqa: D102  The methods of the callback are Keras hooks, called as their names say.

import contextlib
import os
import signal
import threading
import time
import types
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from absl import logging

from mtml_tf.backend import keras
from mtml_tf.training.callbacks import Logs

# A machine that is taken away gives half a minute or more.
_GRACE_S = 20.0
_TOLD = b"ends after this step, with a checkpoint; Ctrl-C once more ends at once\n"


class OutOfTimeError(Exception):
    """The minutes of a run are over."""


class Signals:
    """SIGTERM and Ctrl-C, as KeyboardInterrupt: at once, or where the run looks for them.

    Attributes:
        wait: whether the run looks for them; it does so once there is something to save.
        came: whether one has come that waits.
    """

    def __init__(self) -> None:
        self.wait = self.came = False

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Nothing waits within: for what is long and is done again, such as a validation."""
        waited, self.wait = self.wait, False  # first: what comes from here on does not wait
        try:
            if self.came:
                raise KeyboardInterrupt
            yield
        finally:
            self.wait = waited

    @contextlib.contextmanager
    def heeded(self) -> Iterator["Signals"]:
        """Takes the signals, and gives them back at the end; in the main thread, that gets them."""
        before = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):  # as under nohup
                    before[number] = signal.signal(number, self._take)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _take(self, number: int, frame: types.FrameType | None) -> None:
        if not self.wait or (self.came and number == signal.SIGINT):
            raise KeyboardInterrupt
        self.came = True
        os.write(2, _TOLD)  # print and logging may be in the middle of a line


class Stopping(keras.callbacks.Callback):
    """Ends the run with a checkpoint after a step: where a signal has come or the time is over.

    The last step of an epoch ends with what comes at the epoch's end.
    """

    def __init__(
        self,
        signals: Signals,
        minutes: float,
        save: Callable[[float | None], None],
        total: Callable[[Sequence[float]], np.ndarray] = np.array,
    ):
        """Makes the callback.

        Args:
            signals: what may have come.
            minutes: of the run; 0 for no limit.
            save: saves a checkpoint; waits at most so many seconds before, None for any time.
            total: sums over all workers, which end after the same step.
        """
        super().__init__()
        self._signals, self._minutes, self._save, self._total = signals, minutes, save, total
        self._start = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        self._signals.wait = True
        if batch + 1 < self.params["steps"]:
            self._stop_where_asked()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self._stop_where_asked()

    def _stop_where_asked(self) -> None:
        is_over = 0 < self._minutes * 60 < time.monotonic() - self._start
        came, is_over = self._total([self._signals.came, is_over]) > 0
        if came or is_over:
            self._save(_GRACE_S if came else None)
        if came:
            raise KeyboardInterrupt
        if is_over:
            logging.info("stopped after %g minutes; the same command goes on", self._minutes)
            raise OutOfTimeError
