"""Training: the paper's schedule by Keras `fit`, resumable to the bit."""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from absl import logging

from mtml_tf import files, program
from mtml_tf.backend import keras, tf
from mtml_tf.config import DataConfig, LossConfig, NetworkConfig, SegmentConfig, TrainConfig
from mtml_tf.data.pipeline import largest_grid, make_dataset, num_channels, training_scenes
from mtml_tf.data.records import DataFolder, RecordEntry
from mtml_tf.inference import models
from mtml_tf.network.losses import MultiTaskLoss
from mtml_tf.network.memory import bytes_per_voxel, check_grid
from mtml_tf.network.voxel_network import VoxelNetwork
from mtml_tf.scans.semantic_input import fault_of_probabilities
from mtml_tf.scans.voxels import on_vertices
from mtml_tf.scene import Instance, VoxelScene
from mtml_tf.scoring.average_precision import ApTable, average_precision
from mtml_tf.segmentation.scores import size_statistics
from mtml_tf.training import callbacks, tensorboard

_CHECKPOINTS = "checkpoints"
# What a shell may have put into a new run folder.
_LOG_SUFFIXES = (".log", ".txt", ".out", ".err")
_LESS_MEMORY = (
    "take a smaller --batch_size or --width, give --recompute, prepare the scenes with a larger "
    "voxel size, or remove points that lie far from the rest"
)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that a training run is made of.

    Attributes:
        train_split: name of the split to train on.
        network: `input_channels` is set from the data.
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


def train(
    data_dir: str,
    run_dir: str,
    experiment: Experiment,
    before_start: Callable[[], None] = lambda: None,
    report: Callable[[str], None] = logging.info,
) -> models.Model:
    """Trains, or goes on with, the run in `run_dir`.

    The folder then holds `model.json`, `last/` and (with a validation split) `best/` weights,
    `checkpoints/` to resume from and `logs/` for TensorBoard. Order and augmentation of the scenes
    are functions of the seed and the step, so that on a CPU a run that was killed and started
    again ends with the weights of one that was not.

    Args:
        data_dir: data folder.
        run_dir: run folder.
        experiment: what to train, and how.
        before_start: called once, when all checks have passed and before anything is written; not
            where no step is left.
        report: gets one sentence at the end: what was done, and where the weights are.

    Returns:
        The trained model, with its last weights.

    Raises:
        ValueError: data that can't be read, scenes too large for memory, another network or data
            in `run_dir` or no run at all, a damaged checkpoint, a full disk, or a loss that is no
            longer a number.
    """
    _check_run_folder(run_dir)
    config = experiment.train
    folder = DataFolder(data_dir)
    entries = folder.entries(experiment.train_split)
    keras.utils.set_random_seed(experiment.data.seed)
    if not tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()

    model_config = describe(folder, experiment)
    _check_memory(entries, model_config, experiment, is_training=True)
    if config.validation_split:
        validated = folder.entries(config.validation_split)
        _check_memory(validated, model_config, experiment, is_training=False)
        _check_validation(folder, folder.scene(entries[0]), config)
    _check_same_model(run_dir, model_config)
    strategy = _strategy(config.strategy, experiment.data.batch_size)

    steps_per_epoch = math.ceil(len(entries) / experiment.data.batch_size)
    total_steps = steps_per_epoch * config.epochs
    with strategy.scope():
        network = VoxelNetwork(
            model_config.network, config.execution, config.precision, config.recompute
        )
        num_features = folder.scene(entries[0]).num_features
        keras_model = build_training_model(network, experiment.loss, num_features)
        optimizer = keras.optimizers.Adam(_learning_rate(config, total_steps))
        optimizer.build(keras_model.trainable_variables)
        keras_model.compile(optimizer)
        best_ap = tf.Variable(-1.0, trainable=False)
        checkpoint = tf.train.Checkpoint(
            network=network.dense, optimizer=optimizer, best_ap=best_ap
        )
    manager = tf.train.CheckpointManager(checkpoint, str(pathlib.Path(run_dir) / _CHECKPOINTS), 2)
    if manager.latest_checkpoint:
        try:
            checkpoint.restore(manager.latest_checkpoint).assert_existing_objects_matched()
        except models.READ_ERRORS as error:
            raise ValueError(
                f"{manager.latest_checkpoint}: expected a checkpoint of this run, found one that "
                "is cut or another network's; choose another run folder"
            ) from error
        if config.decay == "constant":  # the rate is in the checkpoint; the flag goes before it
            optimizer.learning_rate = config.learning_rate
    elif config.init_from:
        initialise_from(network, config.init_from)
    model = models.Model(model_config, network, config.execution)

    log_dir = str(pathlib.Path(run_dir) / "logs")
    beside = [
        callbacks.StopOnNan(
            optimizer, lambda step: training_scenes(entries, experiment.data, step)
        ),
        callbacks.Progress(optimizer, total_steps),
        callbacks.Checkpoints(optimizer, manager, config.checkpoint_every),
        callbacks.TensorBoard(log_dir),
    ]
    if config.validation_split:
        validation = callbacks.Validation(
            config,
            score=lambda: validate(model, folder, config),
            best_ap=best_ap,
            keep_best=lambda: models.write_weights(run_dir, models.BEST, network),
        )
        beside.insert(1, validation)  # before progress and checkpoints, which take its results
        shown = folder.spaced_entries(config.validation_split, config.validation_scenes)[0]
        show = functools.partial(tensorboard.write_scene, log_dir, model, folder.scene(shown))
        beside.append(callbacks.ShowScene(config.epochs, show))
    if config.max_minutes:
        beside.append(callbacks.StopAfter(config.max_minutes))
    validation_data = (
        make_dataset(folder, config.validation_split, experiment.data, training=False)
        if config.validation_split
        else None
    )
    done = int(optimizer.iterations.numpy())
    fits = _fits(done, steps_per_epoch, config.epochs)
    if fits:
        before_start()
        models.write_model_config(run_dir, model_config)
        described = dataclasses.replace(experiment, network=model_config.network)
        tensorboard.write_hyperparameters(log_dir, dataclasses.asdict(described))
        if done:
            logging.info("resumed at step %d of %d", done, total_steps)
        logging.info(
            "%d scenes, %d steps an epoch, %d steps to go, on %s",
            len(entries),
            steps_per_epoch,
            total_steps - done,
            _devices(strategy),
        )
    else:
        logging.info(
            "%s: trained for %d steps already where --epochs=%d asks for %d; a larger --epochs "
            "goes on",
            run_dir,
            done,
            config.epochs,
            total_steps,
        )
    try:
        for epochs, first_step, steps in fits:
            if keras_model.stop_training:
                break
            keras_model.fit(
                make_dataset(
                    folder,
                    experiment.train_split,
                    experiment.data,
                    first_step=first_step,
                    num_steps=len(epochs) * steps,
                ),
                initial_epoch=epochs.start,
                epochs=epochs.stop,
                steps_per_epoch=steps,
                validation_data=validation_data,
                callbacks=beside,
                verbose=0,
            )
        models.write_weights(run_dir, models.LAST, network)
    except tf.errors.ResourceExhaustedError as error:  # of the memory or of the disk
        if files.is_disk_full(error):
            raise ValueError(
                f"{run_dir}: expected room for checkpoints and weights, found the disk full; make "
                "room and start again: the run goes on from its last checkpoint"
            ) from error
        raise ValueError(  # a GPU's memory is known only then
            f"{data_dir}: expected batches that fit into memory, found none left in step "
            f"{int(optimizer.iterations.numpy()) + 1}; {_LESS_MEMORY}"
        ) from error
    best = f" and {pathlib.Path(run_dir, models.BEST)} (validation AP50 {best_ap.numpy():.3f})"
    report(
        f"{run_dir}: {optimizer.iterations.numpy()} steps done, weights in "
        f"{pathlib.Path(run_dir, models.LAST)}{best if best_ap.numpy() >= 0 else ''}"
    )
    return model


def has_begun(run_dir: str) -> bool:
    """Whether a run folder holds something learned: a checkpoint or weights."""
    path = pathlib.Path(run_dir)
    learned = (f"{_CHECKPOINTS}/checkpoint", models.BEST, models.LAST)
    return any((path / name).exists() for name in learned)


def describe(folder: DataFolder, experiment: Experiment) -> models.ModelConfig:
    """Returns the model's configuration, with what comes from the training scenes."""
    entries = folder.entries(experiment.train_split)
    first = folder.scene(entries[0])
    if first.instance_ids is None:
        raise ValueError(
            f"{folder.path}: expected instance ids in split '{experiment.train_split}' to train "
            "on, found none"
        )
    channels = num_channels(first, folder.classes)
    return models.ModelConfig(
        network=dataclasses.replace(experiment.network, input_channels=channels),
        segment=SegmentConfig(
            thing_ids=folder.classes.thing_ids,
            size_statistics=size_statistics(folder.scenes(experiment.train_split)),
            probability_ids=folder.classes.ids
            if all(
                _has_probabilities(scene, len(folder.classes))
                for scene in folder.scenes(experiment.train_split)
            )
            else (),
            **experiment.segment,
        ),
        classes=folder.classes,
        voxel_size=first.voxel_size,
        has_direction=experiment.loss.alpha_direction > 0,
    )


def _has_probabilities(scene: VoxelScene, num_classes: int) -> bool:
    """Whether a scene's features are class probabilities, one a class."""
    if scene.features is None or scene.num_features != num_classes:
        return False
    return not fault_of_probabilities(scene.features)


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
        "grid_shape": keras.Input((3,), dtype=tf.int32, name="grid_shape"),
    }
    if num_features:
        inputs["features"] = keras.Input((None, num_features), name="features")
    else:
        inputs["channels"] = keras.Input((None,), dtype=tf.int32, name="channels")
    outputs = network({name: x for name, x in inputs.items() if name != "instance_ids"})
    outputs = MultiTaskLoss(loss, name="multi_task_loss")(
        outputs, coordinates=inputs["coordinates"], instance_ids=inputs["instance_ids"]
    )
    return keras.Model(inputs, outputs)


def initialise_from(network: VoxelNetwork, run_dir: str) -> None:
    """Takes over the weights of equal name and shape from another run; logs the others."""
    source = models.load_model(run_dir).network.dense
    for layer in network.dense.layers:
        old = {w.name: w for w in source.get_layer(layer.name).weights} if layer.weights else {}
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


def validate(model: models.Model, folder: DataFolder, config: TrainConfig) -> ApTable:
    """Scores the model on (some of) the validation split, on the vertices of its scenes."""
    split = config.validation_split
    chosen = folder.spaced_entries(split, config.validation_scenes)

    def scored() -> Iterator[tuple[np.ndarray, list[Instance]]]:
        for entry in chosen:
            scene = folder.scene(entry)
            found = [on_vertices(instance, scene) for instance in model.segment(scene)]
            yield folder.ground_truth(split, entry), found

    return average_precision(scored(), model.config.classes, config.min_vertices)


def _fits(done: int, steps_per_epoch: int, epochs: int) -> list[tuple[range, int, int]]:
    """Splits what is left into calls of `fit`: (epochs, first step, steps an epoch).

    An epoch that was interrupted is finished first, then the others follow whole.
    """
    epoch, begun = divmod(done, steps_per_epoch)
    fits = []
    if begun and epoch < epochs:
        fits.append((range(epoch, epoch + 1), done, steps_per_epoch - begun))
        epoch += 1
    if epoch < epochs:
        fits.append((range(epoch, epochs), epoch * steps_per_epoch, steps_per_epoch))
    return fits


def _learning_rate(config: TrainConfig, total_steps: int) -> Any:
    if config.decay == "cosine":
        return keras.optimizers.schedules.CosineDecay(config.learning_rate, total_steps)
    return config.learning_rate


def _strategy(name: str, batch_size: int) -> tf.distribute.Strategy:
    """Returns the strategy; raises ValueError where a replica would have no scene in a step."""
    gpus = tf.config.list_logical_devices("GPU")
    if name == "default" or (name == "auto" and len(gpus) < 2):
        return tf.distribute.get_strategy()
    strategy = tf.distribute.MirroredStrategy()
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise ValueError(
            f"expected a batch_size that {replicas} replicas can share evenly, found "
            f"{batch_size}; change --batch_size or give --strategy=default"
        )
    return strategy


def _check_memory(
    entries: list[RecordEntry],
    model: models.ModelConfig,
    experiment: Experiment,
    is_training: bool,
) -> None:
    """Raises ValueError where the largest batch that may come would not fit into memory."""
    config, count = experiment.train, experiment.data.batch_size
    grid_shape = largest_grid(entries, experiment.data, is_training)
    occupancy = max(entry.num_voxels for entry in entries) / math.prod(grid_shape)
    for_a_voxel = count * bytes_per_voxel(
        model.network, occupancy, config.execution, is_training, config.recompute
    )
    largest = max(entries, key=lambda entry: math.prod(entry.grid_shape))
    owner = f"scene {largest.name}" + f" in a batch of {count}" * (count > 1)
    check_grid(owner, grid_shape, model.voxel_size, for_a_voxel, _LESS_MEMORY)


def _devices(strategy: tf.distribute.Strategy) -> str:
    """Returns what computes the steps, in words."""
    count = strategy.num_replicas_in_sync
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    return f"{count} {kind}s" if count > 1 else kind


def _check_run_folder(run_dir: str) -> None:
    """Raises ValueError where `run_dir` holds files, and none of a run."""
    path = pathlib.Path(run_dir)
    if not path.exists():
        return
    names = {
        entry.name
        for entry in path.iterdir()
        if entry.is_dir() or not (entry.name.startswith(".") or entry.suffix in _LOG_SUFFIXES)
    }
    if names and not names & {models.DESCRIPTION, program.RUN_FLAGS, _CHECKPOINTS}:
        raise ValueError(
            f"{run_dir}: expected a run folder, an empty one or none, found one with "
            f"{min(names)}; give another --run_dir"
        )


def _check_validation(folder: DataFolder, trained_on: VoxelScene, config: TrainConfig) -> None:
    """Raises ValueError, now and not hours later, where the validation split does not fit."""
    split = config.validation_split
    entries = folder.entries(split)
    scene = folder.scene(entries[0])
    if (scene.num_features, scene.voxel_size) != (trained_on.num_features, trained_on.voxel_size):
        raise ValueError(
            f"{folder.path}: expected split '{split}' with {trained_on.num_features} features and "
            f"voxels of {trained_on.voxel_size:g} m like the training scenes, found "
            f"{scene.num_features} and {scene.voxel_size:g} m; prepare both splits alike"
        )
    missing = [entry.name for entry in entries if not folder.has_ground_truth(split, entry)]
    if missing:
        raise ValueError(
            f"{folder.ground_truth_dir(split)}: expected the ground truth of every scene to "
            f"validate on, found none for {missing[0]}; give another --validation_split or none"
        )


def _check_same_model(run_dir: str, config: models.ModelConfig) -> None:
    """Raises ValueError where `run_dir` holds a run of another network or other data."""
    if not (has_begun(run_dir) and (pathlib.Path(run_dir) / models.DESCRIPTION).exists()):
        return
    found = models.read_model_config(run_dir)
    for field in ("network", "classes", "voxel_size", "has_direction"):
        if getattr(found, field) != getattr(config, field):
            raise ValueError(
                f"{run_dir}: expected a run with {field} {getattr(config, field)}, found "
                f"{getattr(found, field)}; choose another run folder"
            )
