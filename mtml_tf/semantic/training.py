"""Training of the semantic network: steps by Keras `fit`, resumable to the bit.

The loss is that of SparseConvNet's ScanNet example: cross entropy, averaged over the points of a
batch that have a label. Runs are kept, stopped and gone on with as those of the instance network.
"""

import contextlib
import dataclasses
import functools
import json
import math
import pathlib
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

from absl import logging

from mtml_tf.backend import keras, tf
from mtml_tf.config import require
from mtml_tf.inference import models
from mtml_tf.semantic.batches import CHANNELS, SITES, make_batches, point_inputs, scenes_of_step
from mtml_tf.semantic.config import (
    GEOMETRY,
    SemanticDataConfig,
    SemanticNetworkConfig,
    SemanticTrainConfig,
)
from mtml_tf.semantic.models import (
    DESCRIPTION,
    SemanticDescription,
    SemanticModel,
    find_run_folders,
    fold_dir,
    load_semantic_model,
    read_description,
    write_description,
)
from mtml_tf.semantic.network import build_semantic_network
from mtml_tf.semantic.point_folder import PointFolder
from mtml_tf.training import callbacks, run_folder
from mtml_tf.training.building import check_same_start, learning_rate, restore_newest, saving
from mtml_tf.training.fitting import Schedule, fit, told_what_failed
from mtml_tf.training.learning import Learning
from mtml_tf.training.replicas import (
    choose_strategy,
    devices_in_words,
    is_chief,
    summing,
    told_who_is_gone,
)
from mtml_tf.training.run import make_repeatable
from mtml_tf.training.stopping import Signals, Stopping

_ADAM_EPSILON = 1e-8  # of the library that the example is written for
_SCAN_OF_ROOM = re.compile(r"(.*\d)_\d\d")


@dataclasses.dataclass(frozen=True)
class SemanticExperiment:
    """Everything that a training is made of.

    Attributes:
        train_split: name of the split to train on.
        network: `num_classes` is set from the data.
        data, train: their settings.

    Raises:
        ValueError: colours that get lost where nothing else is told.
    """

    train_split: str
    network: SemanticNetworkConfig
    data: SemanticDataConfig
    train: SemanticTrainConfig

    def __post_init__(self) -> None:
        require(
            not self.data.color_loss or GEOMETRY in self.network.inputs,
            f"inputs with {GEOMETRY} for color_loss",
            ",".join(self.network.inputs),
        )


@dataclasses.dataclass(frozen=True)
class SemanticLearner(Learning):
    """The semantic network while it is trained.

    Attributes:
        network: the bare network.
    """

    network: keras.Model

    @property
    def kept(self) -> dict[str, Any]:
        """The network."""
        return {"network": self.network}


class PointLoss(keras.layers.Layer):
    """Adds the cross entropy of labelled points, their mean over all replicas, as a loss.

    With `balance` b above 0 a point counts the more, the rarer its class is in the batch: by the
    class's share of the points to the power of -b.
    """

    def __init__(self, balance: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.balance = balance

    def call(self, logits: tf.Tensor, sites: tf.Tensor, channels: tf.Tensor) -> tf.Tensor:
        """Adds the loss.

        Args:
            logits: float32 [S, classes], of the sites.
            sites: int32 [P], of each point the row of its site.
            channels: int32 [P], of each point the true class; -1 unlabelled.

        Returns:
            The logits.
        """
        labelled = channels >= 0
        channels = tf.boolean_mask(channels, labelled)
        entropies = tf.nn.sparse_softmax_cross_entropy_with_logits(
            channels, tf.gather(logits, tf.boolean_mask(sites, labelled))
        )
        num_classes = logits.shape[1]
        counts = tf.math.bincount(
            channels, minlength=num_classes, maxlength=num_classes, dtype=tf.float32
        )
        num_replicas = 1
        replicas = tf.distribute.get_replica_context()
        if replicas is not None and replicas.num_replicas_in_sync > 1:
            # Keras takes the mean of what the replicas add.
            num_replicas = replicas.num_replicas_in_sync
            counts = replicas.all_reduce(tf.distribute.ReduceOp.SUM, counts)
        weights = tf.where(counts > 0, tf.pow(tf.maximum(counts, 1), -self.balance), 0)
        total = tf.reduce_sum(counts * weights)
        weighted = tf.reduce_sum(entropies * tf.gather(weights, channels))
        self.add_loss(weighted * num_replicas / tf.maximum(total, 1e-6))
        return logits


def train_semantic(
    data_dir: str,
    run_dir: str,
    experiment: SemanticExperiment,
    before_start: Callable[[str], None] = lambda run_dir: None,
    report: Callable[[str], None] = logging.info,
) -> list[SemanticModel]:
    """Trains, or goes on with, the run in `run_dir`; with folds, one network after the other.

    Args:
        data_dir: points folder.
        run_dir: run folder; with folds, of their run folders.
        experiment: what to train, and how.
        before_start: called with the run folder of each network, when all checks have passed and
            before anything is written; not where no step is left.
        report: gets one sentence at the end of each network.

    Returns:
        The trained models; fewer than there are folds where the minutes were over before.

    Raises:
        KeyboardInterrupt: SIGTERM or Ctrl-C; once a step is done there is a checkpoint of the last.
        ValueError: data that can't be read, another method, network or data in `run_dir`, somebody
            else who trains there, a full disk, or a loss that is no longer a number.
    """
    config, folder = experiment.train, PointFolder(data_dir)
    names = folder.names(experiment.train_split)
    if config.folds > len(names):
        raise ValueError(
            f"{data_dir}: expected at least {config.folds} scenes in split "
            f"'{experiment.train_split}' for --folds={config.folds}, found {len(names)}"
        )
    strategy = choose_strategy(config.strategy, experiment.data.batch_size)
    start, trained = time.monotonic(), []
    for fold in range(1, config.folds + 1) if config.folds else [0]:
        own_dir = str(fold_dir(run_dir, fold, config.folds)) if fold else run_dir
        used = (time.monotonic() - start) / 60
        if config.max_minutes and fold > 1:
            if used >= config.max_minutes:
                break
            left = dataclasses.replace(config, max_minutes=config.max_minutes - used)
            experiment = dataclasses.replace(experiment, train=left)
        tell = functools.partial(before_start, own_dir)
        trained.append(_train_one(folder, own_dir, experiment, fold, strategy, tell, report))
    return trained


def scenes_of_fold(names: Sequence[str], fold: int, count: int) -> tuple[str, ...]:
    """Returns the scenes that the network of a fold never sees.

    Scans of one room, which ScanNet names `scene0191_00`, `scene0191_01`, are in the same fold.

    Args:
        names: of the training scenes.
        fold: number of the fold, from 1.
        count: how many folds there are.
    """
    rooms = [_SCAN_OF_ROOM.sub(r"\1", name) for name in names]
    number = {room: row for row, room in enumerate(dict.fromkeys(rooms))}
    return tuple(
        name for name, room in zip(names, rooms, strict=True) if number[room] % count == fold - 1
    )


def _train_one(
    folder: PointFolder,
    run_dir: str,
    experiment: SemanticExperiment,
    fold: int,
    strategy: tf.distribute.Strategy,
    before_start: Callable[[], None],
    report: Callable[[str], None],
) -> SemanticModel:
    config = experiment.train
    names = folder.names(experiment.train_split)
    unseen = scenes_of_fold(names, fold, config.folds) if fold else ()
    seen = [name for name in names if name not in set(unseen)]
    network = dataclasses.replace(experiment.network, num_classes=len(folder.classes))
    description = SemanticDescription(network, folder.classes, fold, unseen)
    schedule = Schedule(math.ceil(len(seen) / experiment.data.batch_size), config.epochs)
    chief = is_chief(strategy)
    holding = run_folder.held(run_dir) if chief else contextlib.nullcontext()
    with told_who_is_gone(strategy), Signals().heeded() as signals, holding:
        method, split = _method(experiment), experiment.train_split
        before = run_folder.check_method(run_dir, method)
        run_folder.check_scenes(run_dir, before, folder.path, split, seen)
        _check_classes(run_dir, description, folder.path)
        make_repeatable(experiment.data.seed)
        learner = build_learner(network, config, schedule.total_steps, strategy)
        paths = models.find_checkpoints(run_dir)
        restore_newest(learner, paths)
        check_same_start(learner, run_dir)
        if paths and config.decay == "constant":
            learner.optimizer.learning_rate = config.learning_rate
        if not paths and config.init_from:
            _initialise_from(learner.network, config.init_from)
        logging.info(
            "%d scenes, %d steps an epoch, %d of %d steps done, on %s",
            *(len(seen), schedule.steps_per_epoch, learner.step, schedule.total_steps),
            devices_in_words(strategy),
        )
        with told_what_failed(run_dir, str(folder.path), learner):
            if schedule.left(learner.step):
                if chief:
                    before_start()
                    write_description(run_dir, description)
                    data_dir = str(folder.path)
                    settings = {"method": method, "data_dir": data_dir, "scenes": seen}
                    run_folder.write_settings(run_dir, settings)
                scenes = functools.partial(
                    make_batches, folder, split, seen, network, experiment.data
                )
                beside = _beside(run_dir, experiment, seen, schedule, learner, signals)
                fit(learner, scenes, schedule, beside)
            signals.wait = False
        if chief:
            models.write_weights_of(run_dir, models.LAST, learner.network)
            last = pathlib.Path(run_dir) / models.LAST
            report(f"{run_dir}: {learner.step} steps done, weights in {last}")
    return SemanticModel(description, learner.network)


def build_learner(
    config: SemanticNetworkConfig,
    train: SemanticTrainConfig,
    total_steps: int,
    strategy: tf.distribute.Strategy,
) -> SemanticLearner:
    """Builds network, loss and optimizer, with random weights.

    Args:
        config: the network.
        train: how it is trained.
        total_steps: of the whole run, over which the learning rate may fall.
        strategy: on which devices.
    """
    with strategy.scope():
        network = build_semantic_network(config)
        points = point_inputs()
        outputs = PointLoss(train.class_balance, name="point_loss")(
            network.output, sites=points[SITES], channels=points[CHANNELS]
        )
        training_model = keras.Model({**network.input, **points}, outputs)
        optimizer = keras.optimizers.Adam(learning_rate(train, total_steps), epsilon=_ADAM_EPSILON)
        optimizer.build(training_model.trainable_variables)
        training_model.compile(optimizer)
    return SemanticLearner(training_model, optimizer, network)


def _beside(
    run_dir: str,
    experiment: SemanticExperiment,
    names: Sequence[str],
    schedule: Schedule,
    learner: SemanticLearner,
    signals: Signals,
) -> list[keras.callbacks.Callback]:
    """Returns what happens beside the steps, in this order."""
    optimizer, config = learner.optimizer, experiment.train
    stop_on_nan = callbacks.StopOnNan(
        optimizer, lambda step: [name for _, name in scenes_of_step(names, experiment.data, step)]
    )
    stopping = functools.partial(
        Stopping, signals, config.max_minutes, total=summing(learner.strategy)
    )
    if not is_chief(learner.strategy):
        return [stop_on_nan, stopping(save=lambda _: None)]
    checkpoints = callbacks.Checkpoints(
        *(optimizer, saving(learner, run_dir), config.checkpoint_every),
        before_last=False,
        verification=None,
    )
    return [
        stop_on_nan,
        callbacks.Progress(optimizer, schedule.total_steps),
        checkpoints,
        callbacks.TensorBoard(str(pathlib.Path(run_dir) / "logs")),
        stopping(save=checkpoints.save),
    ]


def _method(experiment: SemanticExperiment) -> dict[str, Any]:
    """Returns the settings that a run keeps, by the names of their flags, as JSON has them."""
    method = {
        "train_split": experiment.train_split,
        "decay": experiment.train.decay,
        "class_balance": experiment.train.class_balance,
        **dataclasses.asdict(experiment.network),
        **dataclasses.asdict(experiment.data),
    }
    del method["num_classes"]
    return dict(json.loads(json.dumps(method)))


def _check_classes(run_dir: str, description: SemanticDescription, data_dir: pathlib.Path) -> None:
    """Raises ValueError where a run that has begun is of other classes."""
    if not (run_folder.has_begun(run_dir) and (pathlib.Path(run_dir) / DESCRIPTION).exists()):
        return
    if read_description(run_dir).classes != description.classes:
        raise ValueError(
            f"{data_dir}: expected the classes that {run_dir} was begun with, found others in "
            "classes.csv; give another --data_dir or another --run_dir"
        )


def _initialise_from(network: keras.Model, run_dir: str) -> None:
    """Takes over the weights of equal name and shape from another run; logs the others."""
    (folder,) = find_run_folders(run_dir)[:1]
    theirs = {weight.name: weight for weight in load_semantic_model(folder).network.weights}
    for variable in network.weights:
        match = theirs.get(variable.name)
        if match is not None and match.shape == variable.shape:
            variable.assign(match)
        else:
            logging.info("%s: not in %s with its shape; initialised", variable.name, run_dir)
