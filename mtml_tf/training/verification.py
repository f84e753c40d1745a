"""Whether the shards that are trained on are those of the manifest: found out beside the steps.

To hash a large split takes minutes, in which steps are taken already; it is done once a start.
What is learned meanwhile is not kept before the hashes are known to be right.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence

from absl import logging

from mtml_tf import files
from mtml_tf.backend import tf
from mtml_tf.data.records import DataFolder
from mtml_tf.training.replicas import GONE


class Verification:
    """Compares the SHA-256 of the shards of splits with the manifest, in a thread."""

    def __init__(self, folder: DataFolder, splits: Sequence[str]):
        """Makes it; it begins when it is asked for the first time.

        Args:
            folder: data folder; splits that it has verified already are not read again.
            splits: names of the splits.
        """
        self._folder, self._splits = folder, splits
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None

    def check(self) -> None:
        """Raises ValueError, which names the shard, where one was found to have changed so far."""
        self._begun()
        if self._error is not None:
            raise self._error

    def wait(self, most_seconds: float | None = None) -> bool:
        """Returns whether all shards are known to be as they should be, once that is known.

        Args:
            most_seconds: returns False after so many; None waits for the end.

        Raises:
            ValueError: one is not.
        """
        thread = self._begun()
        if thread.is_alive():
            logging.info("%s: compares SHA-256 before anything is saved", self._folder.path)
        thread.join(most_seconds)
        self.check()
        return not thread.is_alive()

    @property
    def has_begun(self) -> bool:
        """Whether it was asked for."""
        return self._thread is not None

    def _begun(self) -> threading.Thread:
        if self._thread is None:
            self._thread = threading.Thread(target=self._verify, name="hashes", daemon=True)
            self._thread.start()
        return self._thread

    def _verify(self) -> None:
        try:
            for split in self._splits:
                self._folder.verify(split)
        except Exception as error:  # nothing counts as verified that was not
            self._error = error


@contextlib.contextmanager
def verifying(folder: DataFolder, splits: Sequence[str]) -> Iterator[Verification]:
    """Verifies beside what is done within, from the first `check` on.

    Raises:
        ValueError: a shard that has changed; also in place of whatever fails within, such as a
            loss that is no number, for it is the likely cause.
    """
    verification = Verification(folder, splits)
    try:
        yield verification
    except (tf.errors.ResourceExhaustedError, files.DiskError, *GONE):  # whatever the data are
        raise
    except Exception as error:
        # Before the first step, only what TensorFlow raises may come from the data.
        if verification.has_begun or isinstance(error, tf.errors.OpError):
            verification.wait()
        raise
    verification.wait()
