"""Training: the paper's schedule by Keras `fit`, resumable to the bit."""

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Callable

from absl import logging

from mtml_tf.backend import keras, tf
from mtml_tf.data.pipeline import make_dataset, training_scenes
from mtml_tf.data.records import DataFolder
from mtml_tf.inference import models
from mtml_tf.training import callbacks, run_folder, tensorboard
from mtml_tf.training.building import Learner, build, restore, saving
from mtml_tf.training.checks import check_scenes
from mtml_tf.training.description import describe
from mtml_tf.training.experiment import Experiment
from mtml_tf.training.fitting import Schedule, fit, schedule_of, told_what_failed
from mtml_tf.training.replicas import (
    choose_strategy,
    devices_in_words,
    is_chief,
    summing,
    told_who_is_gone,
)
from mtml_tf.training.stopping import Signals, Stopping
from mtml_tf.training.validation import losses_of, validate
from mtml_tf.training.verification import Verification, verifying


def train(
    data_dir: str,
    run_dir: str,
    experiment: Experiment,
    before_start: Callable[[], None] = lambda: None,
    report: Callable[[str], None] = logging.info,
) -> models.Model:
    """Trains, or goes on with, the run in `run_dir`.

    The folder then holds `model.json`, `settings.json`, `last/` and (with a validation split)
    `best/` weights, `checkpoints/` to resume from and `logs/` for TensorBoard. Order and
    augmentation of the scenes are functions of the seed and the step, so that on a CPU a run that
    was killed and started again ends with the weights of one that was not. Of several workers, each
    of which calls this, the chief writes the folder.

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
        KeyboardInterrupt: SIGTERM or Ctrl-C; once a step is done there is a checkpoint of the last.
        ValueError: data that can't be read or have changed, scenes too large for memory, another
            method, network or data in `run_dir`, somebody else who trains there, or no run at all,
            a damaged checkpoint, a full disk, or a loss that is no longer a number; devices that
            can't share a batch, workers that TF_CONFIG does not name, or one that is gone.
    """
    # Before TensorFlow does anything else: several workers could not find one another later.
    strategy = choose_strategy(experiment.train.strategy, experiment.data.batch_size)
    chief = is_chief(strategy)  # the others write nothing
    holding = run_folder.held(run_dir) if chief else contextlib.nullcontext()
    with told_who_is_gone(strategy), Signals().heeded() as signals, holding:
        folder = DataFolder(data_dir, hashes_later=experiment.train.hashes == "beside")
        run_folder.check_goes_on(run_dir, folder, experiment)
        description = describe(folder, experiment)
        run_folder.check_model(run_dir, description)

        make_repeatable(experiment.data.seed)
        schedule = schedule_of(folder, experiment)
        num_features = folder.num_features(experiment.train_split)
        learner = build(description, experiment, schedule.total_steps, num_features, strategy)
        check_scenes(folder, experiment, learner.model.network, strategy.num_replicas_in_sync)
        is_newest = restore(learner, run_dir, experiment.train)
        _tell_what_is_left(run_dir, folder, experiment, schedule, learner)

        with told_what_failed(run_dir, data_dir, learner):
            if schedule.left(learner.step):
                if chief:
                    before_start()
                    if is_newest:
                        models.remove_weights(run_dir, models.LAST)  # they are in the checkpoint
                    run_folder.write(run_dir, folder, experiment, description)
                splits = (experiment.train_split, experiment.train.validation_split)
                with verifying(folder, [split for split in splits if split]) as verification:
                    beside = _beside(
                        run_dir, folder, experiment, schedule, learner, signals, verification
                    )
                    fit(learner, _scenes(folder, experiment), schedule, beside)
                signals.wait = False  # nothing looks for them any more
            if chief:
                models.write_weights(run_dir, models.LAST, learner.model.network)
                _report(run_dir, learner, report)
        return learner.model


def _scenes(folder: DataFolder, experiment: Experiment) -> Callable[..., tf.data.Dataset]:
    return functools.partial(make_dataset, folder, experiment.train_split, experiment.data)


def make_repeatable(seed: int) -> None:
    """Makes the same start and, on a CPU, the same steps of the same seed."""
    keras.utils.set_random_seed(seed)
    if not tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()


def _tell_what_is_left(
    run_dir: str,
    folder: DataFolder,
    experiment: Experiment,
    schedule: Schedule,
    learner: Learner,
) -> None:
    """Logs how much there is to do, or why there is nothing."""
    done, total = learner.step, schedule.total_steps
    if not schedule.left(done):
        logging.info(
            "%s: trained for %d steps already where --epochs=%d asks for %d; a larger --epochs "
            "goes on",
            *(run_dir, done, schedule.epochs, total),
        )
        return
    if done:
        logging.info("resumed at step %d of %d", done, total)
    num_scenes = len(folder.entries(experiment.train_split))
    logging.info(
        "%d scenes, %d steps an epoch, %d steps to go, on %s",
        *(num_scenes, schedule.steps_per_epoch, total - done, devices_in_words(learner.strategy)),
    )


def _beside(
    run_dir: str,
    folder: DataFolder,
    experiment: Experiment,
    schedule: Schedule,
    learner: Learner,
    signals: Signals,
    verification: Verification,
) -> list[keras.callbacks.Callback]:
    """Returns what happens beside the steps, in this order; writes the settings for TensorBoard."""
    config, model = experiment.train, learner.model
    entries = folder.entries(experiment.train_split)
    stop_on_nan = callbacks.StopOnNan(
        learner.optimizer, lambda step: training_scenes(entries, experiment.data, step)
    )
    verified = callbacks.Verified(verification)
    stopping = functools.partial(
        Stopping, signals, config.max_minutes, total=summing(learner.strategy)
    )
    if not is_chief(learner.strategy):
        return [verified, stop_on_nan, stopping(save=lambda _: None)]

    log_dir = str(pathlib.Path(run_dir) / "logs")
    described = dataclasses.replace(experiment, network=model.config.network)
    tensorboard.write_hyperparameters(log_dir, dataclasses.asdict(described))

    split = config.validation_split
    manager, every = saving(learner, run_dir), config.checkpoint_every
    checkpoints = callbacks.Checkpoints(
        learner.optimizer, manager, every, before_last=bool(split), verification=verification
    )
    beside = [
        verified,
        stop_on_nan,
        callbacks.Progress(learner.optimizer, schedule.total_steps),
        checkpoints,
        callbacks.TensorBoard(log_dir),
    ]
    if split:
        validation = callbacks.Validation(
            config,
            losses=losses_of(model.network, experiment.loss, folder, split, experiment.data),
            score=lambda: validate(model, folder, config),
            best_ap=learner.best_ap,
            keep_best=lambda: models.write_weights(run_dir, models.BEST, model.network),
            at_once=signals.at_once,
        )
        beside.insert(2, validation)  # before progress and checkpoints, which take its results
        shown = folder.scene(folder.spaced_entries(split, config.validation_scenes)[0])
        show = functools.partial(tensorboard.write_scene, log_dir, model, shown)
        beside.append(callbacks.ShowScene(config.epochs, show))
    return [*beside, stopping(save=checkpoints.save)]


def _report(run_dir: str, learner: Learner, report: Callable[[str], None]) -> None:
    """Says what was done, and where the weights are."""
    path, best_ap = pathlib.Path(run_dir), float(learner.best_ap.numpy())
    best = f" and {path / models.BEST} (validation AP50 {best_ap:.3f})" if best_ap >= 0 else ""
    report(f"{run_dir}: {learner.step} steps done, weights in {path / models.LAST}{best}")
