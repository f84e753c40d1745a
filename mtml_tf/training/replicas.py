"""On how many devices a step is computed: each takes an equal share of the batch's scenes."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from absl import logging

from mtml_tf.backend import tf

# Types of tasks that train; others, such as parameter servers, would wait for ever.
_WORKS = ("chief", "worker")
# What a step of several workers fails with where one of them is gone.
GONE = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
)


def choose_strategy(name: str, batch_size: int) -> tf.distribute.Strategy:
    """Returns the strategy of a training.

    Args:
        name: `default` (one device), `mirrored` (all GPUs; all logical CPU devices where there is
            no GPU), `auto` (as many GPUs as can share a batch) or `multiworker` (all GPUs of all
            workers, or a CPU of each; it waits for all of them, and TensorFlow must have done
            nothing before).
        batch_size: scenes a step, over all replicas.

    Raises:
        ValueError: `mirrored` or `multiworker`, and a batch that the devices can't share evenly; or
            no workers in TF_CONFIG.
    """
    if name == "multiworker":
        _check_workers()
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        count = strategy.num_replicas_in_sync
        if batch_size % count:
            raise ValueError(
                f"expected a batch_size that {count} replicas can share evenly, found "
                f"{batch_size}; change --batch_size"
            )
        return strategy
    gpus = [device.name for device in tf.config.list_logical_devices("GPU")]
    if name == "mirrored":
        devices = gpus or [device.name for device in tf.config.list_logical_devices("CPU")]
        if batch_size % len(devices):
            raise ValueError(
                f"expected a batch_size that {len(devices)} replicas can share evenly, found "
                f"{batch_size}; change --batch_size or give --strategy=auto, which takes fewer"
            )
        return tf.distribute.MirroredStrategy(devices)
    count = most_that_share(batch_size, len(gpus)) if name == "auto" and gpus else 1
    if name == "auto" and count < len(gpus):
        logging.warning(
            "trains on %d of %d GPUs: no more of them can share --batch_size=%d evenly",
            count,
            len(gpus),
            batch_size,
        )
    return (
        tf.distribute.MirroredStrategy(gpus[:count]) if count > 1 else tf.distribute.get_strategy()
    )


def most_that_share(batch_size: int, devices: int) -> int:
    """Returns how many of the devices, at least 1, can have equal shares of a batch's scenes."""
    return max(count for count in range(1, devices + 1) if batch_size % count == 0)


def _check_workers() -> None:
    """Raises ValueError where TF_CONFIG does not tell who the workers are."""
    told = os.environ.get("TF_CONFIG", "")
    try:
        config = json.loads(told)
        task = config["task"]
        if task["type"] not in _WORKS:
            raise KeyError(task["type"])
        config["cluster"][task["type"]][int(task["index"])]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(
            "--strategy=multiworker: expected the addresses of all workers, and which of them this "
            f"one is, in TF_CONFIG, found '{told}'; docs/distributed.md shows how to set it"
        ) from error


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes the run: the first worker, or the only one."""
    return bool(strategy.extended.should_checkpoint)


def summing(strategy: tf.distribute.Strategy) -> Callable[[Sequence[float]], np.ndarray]:
    """Returns what adds numbers of all replicas, where each worker comes with numbers of its own.

    All workers must call it the same number of times.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return np.array

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float64)])
    def total(values: tf.Tensor) -> tf.Tensor:
        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(lambda: values), axis=None)

    return lambda values: total(tf.constant(values, tf.float64)).numpy()


@contextlib.contextmanager
def told_who_is_gone(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Tells in a sentence, as ValueError, that another worker has ended before its time."""
    try:
        yield
    except GONE as error:
        if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            raise
        raise ValueError(
            "expected all workers to stay until the end, found one that is gone (its own log may "
            "tell why); start the same command on all of them: the run goes on from its last "
            "checkpoint"
        ) from error


def devices_in_words(strategy: tf.distribute.Strategy) -> str:
    """Returns what computes the steps, such as `CPU` or `2 GPUs`."""
    count = strategy.num_replicas_in_sync
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    return f"{count} {kind}s" if count > 1 else kind
