"""What is trained: network, loss and optimizer joined, and where they start."""

import dataclasses
import itertools
import pathlib
from collections.abc import Sequence
from typing import Any

from absl import logging

from mtml_tf.backend import keras, tf
from mtml_tf.classes import ClassSet
from mtml_tf.config import LossConfig, RunConfig, TrainConfig
from mtml_tf.inference import models
from mtml_tf.network.architecture import STEM
from mtml_tf.network.losses import TRUTH, MultiTaskLoss
from mtml_tf.network.voxel_network import VoxelNetwork
from mtml_tf.training import replicas
from mtml_tf.training.experiment import Experiment
from mtml_tf.training.learning import Learning

_MOST_CHECKPOINTS = 2


@dataclasses.dataclass(frozen=True)
class Learner(Learning):
    """The network for instances while it is trained.

    Attributes:
        model: the network ready for use.
        best_ap: validation AP50 of the weights in `best/`; -1 before there are any.
    """

    model: models.Model
    best_ap: tf.Variable

    @property
    def kept(self) -> dict[str, Any]:
        """Network and score."""
        return {"network": self.model.network.dense, "best_ap": self.best_ap}


def build(
    description: models.ModelConfig,
    experiment: Experiment,
    total_steps: int,
    num_features: int,
    strategy: tf.distribute.Strategy,
) -> Learner:
    """Builds network, loss and optimizer, with random weights.

    Args:
        description: what the model is.
        experiment: how it is trained.
        total_steps: of the whole run, over which the learning rate may fall.
        num_features: see `build_training_model`.
        strategy: on which devices.
    """
    config = experiment.train
    with strategy.scope():
        network = VoxelNetwork(
            description.network, config.execution, config.precision, config.recompute
        )
        training_model = build_training_model(network, experiment.loss, num_features)
        optimizer = keras.optimizers.Adam(learning_rate(config, total_steps))
        optimizer.build(training_model.trainable_variables)
        training_model.compile(optimizer)
        best_ap = tf.Variable(-1.0, trainable=False)
    model = models.Model(description, network)
    return Learner(training_model, optimizer, model, best_ap)


def build_training_model(network: VoxelNetwork, loss: LossConfig, num_features: int) -> keras.Model:
    """Joins network and loss: the only place where they meet.

    Args:
        network: the network.
        loss: settings of the loss.
        num_features: length of the input's feature vectors; 0 where it is labels.

    Returns:
        A model of the batches of `make_dataset` that is trained by its own loss.
    """
    inputs = {
        "coordinates": keras.Input((None, 3), dtype=tf.int32, name="coordinates"),
        "instance_ids": keras.Input((None,), dtype=tf.int32, name="instance_ids"),
        "true_channels": keras.Input((None,), dtype=tf.int32, name="true_channels"),
        "grid_shape": keras.Input((3,), dtype=tf.int32, name="grid_shape"),
    }
    if num_features:
        inputs["features"] = keras.Input((None, num_features), name="features")
    else:
        inputs["channels"] = keras.Input((None,), dtype=tf.int32, name="channels")
    outputs = network(inputs, training=True)  # which takes of them what it knows
    truth = {name: inputs[name] for name in TRUTH}
    outputs = MultiTaskLoss(loss, name="multi_task_loss")(outputs, **truth)
    return keras.Model(inputs, outputs)


def learning_rate(config: RunConfig, total_steps: int) -> Any:
    """Returns the learning rate as Adam takes it: a number, or a schedule."""
    if config.decay == "cosine":
        return keras.optimizers.schedules.CosineDecay(config.learning_rate, total_steps)
    return config.learning_rate


def restore(learner: Learner, run_dir: str, config: TrainConfig) -> bool:
    """Puts the learner where it starts: the run's last checkpoint, another run, or as it is.

    Returns:
        Whether that is the newest of its checkpoints, if it has any: not one before a damaged one.

    Raises:
        ValueError: a damaged checkpoint, or no run where `config.init_from` says; or workers that
            found different checkpoints.
    """
    paths = models.find_checkpoints(run_dir)
    restored = restore_newest(learner, paths)
    if paths:
        if config.decay == "constant":  # the rate is in the checkpoint; the flag goes before it
            learner.optimizer.learning_rate = config.learning_rate
    elif config.init_from:
        initialise_from(learner.model.network, config.init_from, learner.model.config.classes)
    check_same_start(learner, run_dir)
    return restored == next(iter(paths), "")


def check_same_start(learner: Learning, run_dir: str) -> None:
    """Raises ValueError where workers have restored different steps."""
    count, steps = replicas.summing(learner.strategy)([1, learner.step])
    if steps != count * learner.step:
        raise ValueError(
            f"{run_dir}: expected a run folder that all workers share, found {learner.step} steps "
            f"done here and {steps / count:g} on average; give all the same --run_dir on a file "
            "system that they share"
        )


def restore_newest(learner: Learning, paths: Sequence[str]) -> str:
    """Restores the first checkpoint that is whole; returns its path, empty where there is none."""
    for path, before in zip(paths, [*paths, ""][1:], strict=True):
        try:
            learner.checkpoint.restore(path).assert_existing_objects_matched()
        except models.READ_ERRORS as error:
            if not models.is_damage(error):
                raise
            if not before:
                raise ValueError(
                    f"{paths[0]}: expected a checkpoint of this run, found one that is cut or "
                    "another network's; choose another run folder"
                ) from error
            logging.warning(
                "%s: expected a checkpoint of this run, found one that is cut or damaged; goes on "
                "from the one before, %s",
                *(path, before),
            )
        else:
            return path
    return ""


def saving(learner: Learning, run_dir: str) -> tf.train.CheckpointManager:
    """Returns what saves the checkpoints of a run; what is damaged is taken from their list."""
    folder = _checkpoints_of(run_dir)
    restored = f"-{learner.step}"
    paths = models.find_checkpoints(run_dir)
    known = list(itertools.dropwhile(lambda path: not path.endswith(restored), paths))
    if known:
        times = [pathlib.Path(f"{path}.index").stat().st_mtime for path in known]
        tf.compat.v1.train.update_checkpoint_state(
            *(folder, known[0], known[::-1]), all_model_checkpoint_timestamps=times[::-1]
        )
    return tf.train.CheckpointManager(learner.checkpoint, folder, _MOST_CHECKPOINTS)


def _checkpoints_of(run_dir: str) -> str:
    return str(pathlib.Path(run_dir) / models.CHECKPOINTS)


def initialise_from(network: VoxelNetwork, run_dir: str, classes: ClassSet) -> None:
    """Takes over the weights of equal name and shape from another run; logs the others.

    Those of the first layer, whose input channels mean classes, are taken over only where both
    runs have classes of the same names in the same order.

    Args:
        network: the network to initialise.
        run_dir: the other run.
        classes: the input classes of the network.
    """
    model = models.load_model(run_dir)
    theirs = {layer.name: layer.weights for layer in model.network.dense.layers}
    for layer in network.dense.layers:
        if not layer.weights:
            continue
        if layer.name == STEM and model.config.classes.names != classes.names:
            logging.info(
                "%s: initialised, for its input are the classes %s, and those of %s are %s",
                layer.name,
                ", ".join(classes.names),
                run_dir,
                ", ".join(model.config.classes.names),
            )
            continue
        old = {w.name: w for w in theirs.get(layer.name, [])}
        for variable in layer.weights:
            match = old.get(variable.name)
            if match is not None and match.shape == variable.shape:
                variable.assign(match)
            else:
                logging.info(
                    "%s: not in %s with shape %s; initialised",
                    variable.name,
                    run_dir,
                    variable.shape,
                )
