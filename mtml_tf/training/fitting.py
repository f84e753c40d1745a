"""The steps of a run by Keras `fit`, whatever of them is left."""

import contextlib
import dataclasses
import functools
import math
import re
from collections.abc import Callable, Iterator, Sequence

from mtml_tf import files
from mtml_tf.backend import keras, tf
from mtml_tf.data.pipeline import Share
from mtml_tf.data.records import DataFolder
from mtml_tf.training.checks import LESS_MEMORY
from mtml_tf.training.experiment import Experiment
from mtml_tf.training.learning import Learning
from mtml_tf.training.stopping import OutOfTimeError


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How many steps a run has.

    Attributes:
        steps_per_epoch: steps in which every training scene comes once.
        epochs: passes over the training scenes.
    """

    steps_per_epoch: int
    epochs: int

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.steps_per_epoch * self.epochs

    def left(self, done: int) -> list[tuple[range, int, int]]:
        """Splits what is left into calls of `fit`: (epochs, first step, steps an epoch).

        An epoch that was interrupted is finished first, then the others follow whole.

        Args:
            done: steps done.
        """
        epoch, begun = divmod(done, self.steps_per_epoch)
        fits = []
        if begun and epoch < self.epochs:
            fits.append((range(epoch, epoch + 1), done, self.steps_per_epoch - begun))
            epoch += 1
        if epoch < self.epochs:
            first_step = epoch * self.steps_per_epoch
            fits.append((range(epoch, self.epochs), first_step, self.steps_per_epoch))
        return fits


def schedule_of(folder: DataFolder, experiment: Experiment) -> Schedule:
    """Returns the schedule of an experiment on the scenes of a folder."""
    num_scenes = len(folder.entries(experiment.train_split))
    return Schedule(math.ceil(num_scenes / experiment.data.batch_size), experiment.train.epochs)


def fit(
    learner: Learning,
    scenes: Callable[..., tf.data.Dataset],
    schedule: Schedule,
    beside: Sequence[keras.callbacks.Callback],
) -> None:
    """Takes the steps that are left, until the end or until the time is over.

    Args:
        learner: what is trained.
        scenes: returns the batches of `num_steps` steps from `first_step` on, those of the `share`
            of the replicas; functions of the seed and the step.
        schedule: how many steps there are.
        beside: what happens beside them.
    """
    with contextlib.suppress(OutOfTimeError):
        for epochs, first_step, steps in schedule.left(learner.step):
            these = functools.partial(scenes, first_step=first_step, num_steps=len(epochs) * steps)
            learner.training_model.fit(
                _distributed(these, learner.strategy),
                initial_epoch=epochs.start,
                epochs=epochs.stop,
                steps_per_epoch=steps,
                callbacks=list(beside),
                verbose=0,
            )


def _distributed(
    scenes: Callable[..., tf.data.Dataset], strategy: tf.distribute.Strategy
) -> tf.data.Dataset:
    """Returns the batches of all replicas of this process, which reads no scenes of others."""

    def of_process(context: tf.distribute.InputContext) -> tf.data.Dataset:
        num_replicas = context.num_replicas_in_sync
        count = num_replicas // context.num_input_pipelines
        return scenes(share=Share(num_replicas, context.input_pipeline_id * count, count))

    return strategy.distribute_datasets_from_function(of_process)


@contextlib.contextmanager
def told_what_failed(run_dir: str, data_dir: str, learner: Learning) -> Iterator[None]:
    """Tells in a sentence, as ValueError, that memory, disk or data do not last to the end."""
    goes_on = "start again, which goes on from the last checkpoint"
    try:
        with files.told_of_disk(run_dir, goes_on), _told_of_scenes(goes_on):
            yield
    except tf.errors.ResourceExhaustedError as error:
        raise ValueError(  # a GPU's memory is known only then
            f"{data_dir}: {LESS_MEMORY}: expected batches that fit into memory, found that step "
            f"{learner.step + 1} needs more than there is"
        ) from error


@contextlib.contextmanager
def _told_of_scenes(goes_on: str) -> Iterator[None]:
    """Raises anew what a reader of scenes raised within TensorFlow, which is in its message."""
    try:
        yield
    except tf.errors.OpError as error:
        told = re.search(r"^ValueError: (.+)$", str(error), re.MULTILINE)
        if not told:
            raise
        raise ValueError(f"{told[1]}; {goes_on}") from error
