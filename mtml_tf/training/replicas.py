"""On how many devices a step is computed: each takes an equal share of the batch's scenes."""

from absl import logging

from mtml_tf.backend import tf


def choose_strategy(name: str, batch_size: int) -> tf.distribute.Strategy:
    """Returns the strategy of a training.

    Args:
        name: `default` (one device), `mirrored` (all GPUs; all logical CPU devices where there is
            no GPU) or `auto` (as many GPUs as can share a batch).
        batch_size: scenes a step, over all replicas.

    Raises:
        ValueError: `mirrored`, and a batch that the devices can't share evenly.
    """
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


def devices_in_words(strategy: tf.distribute.Strategy) -> str:
    """Returns what computes the steps, such as `CPU` or `2 GPUs`."""
    count = strategy.num_replicas_in_sync
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    return f"{count} {kind}s" if count > 1 else kind
