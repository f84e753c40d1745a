"""Whether long runs keep their memory: `python -m experiments.steady`

A tiny network takes training steps, predicts scenes and scores them, thousands of each in one
process, on as many small toy scenes, whose grids and numbers of voxels differ. Resident memory
should be the same after the first quarter and at the end, and the network traced once for training
and once for prediction. A row of the table appears when its part is done.

On a CPU TensorFlow's oneDNN keeps machine code for each shape that it has met, up to a number of
them; with `TF_ENABLE_ONEDNN_OPTS=0` in the environment it makes none, and what else grows shows.
"""

import functools
import itertools
import pathlib
import resource
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from experiments.running import encode_markdown, encode_row
from mtml_tf import program
from mtml_tf.config import DataConfig, LossConfig, NetworkConfig, TrainConfig
from mtml_tf.scans import toy

if TYPE_CHECKING:
    from mtml_tf.data.records import DataFolder
    from mtml_tf.inference.models import Model
    from mtml_tf.scene import Instance

FLAGS = flags.FLAGS

_KIB, _MIB = 1 << 10, 1 << 20
_SIZES = range(32, 44, 2)  # of grids along x and y
_NUM_SCORED = 40


class Marks:
    """Resident memory after a quarter, a half and all of so many calls.

    Attributes:
        values: MiB, of the marks that have come.
        peak: the most of the process so far, MiB.
    """

    def __init__(self, count: int):
        self.values: list[float] = []
        self.peak = 0.0
        self._done, self._marks = 0, marks_of(count)

    def done(self) -> None:
        """Tells that one more call is done."""
        self._done += 1
        if self._done in self._marks:
            pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
            self.values.append(pages * resource.getpagesize() / _MIB)
            self.peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB / _MIB

    def row(self, title: str, traces: str) -> list[str]:
        """Returns a row of the table, with what came after the first mark as growth."""
        memory = [f"{value:.0f}" for value in self.values]
        growth = self.values[-1] - self.values[0]
        return [title, *memory, f"{growth:+.0f}", f"{self.peak:.0f}", traces]


def make_scenes(path: pathlib.Path, count: int) -> "DataFolder":
    """Writes a data folder with a split `train` of so many toy scenes, of all the grids in turn."""
    from mtml_tf.data.records import DataFolder
    from mtml_tf.data.writing import write_data_folder
    from mtml_tf.scoring.ground_truth import ground_truth_ids

    grids = itertools.cycle(itertools.product(_SIZES, _SIZES))
    scenes = (
        toy.make_toy_scene(f"toy_{number}", (number,), toy.ToyConfig((*sizes, 14), 3, 5))
        for number, sizes in zip(range(count), grids, strict=False)
    )
    with_truth = ((scene, ground_truth_ids(scene, toy.TOY_CLASSES)) for scene in scenes)
    write_data_folder(path, toy.TOY_CLASSES, {"train": with_truth})
    return DataFolder(path)


def marks_of(count: int) -> list[int]:
    """Returns after how many of so many calls memory is read."""
    return [count // 4, count // 2, count]


def train(folder: "DataFolder", split: str, count: int) -> tuple["Model", Marks, int]:
    """Takes so many steps; returns the model, the memory and how many times a step was traced."""
    from mtml_tf.backend import keras, tf
    from mtml_tf.data.pipeline import make_dataset
    from mtml_tf.training import building, description, experiment, fitting

    tiny = experiment.Experiment(
        split,
        NetworkConfig(width=1 / 16, dilations=(1, 2)),
        LossConfig(),
        DataConfig(batch_size=1),  # so that each step has a grid of its own
        TrainConfig(),
        {"min_voxels": 4},
    )
    described = description.describe(folder, tiny)
    learner = building.build(
        described, tiny, count, folder.num_features(split), tf.distribute.get_strategy()
    )
    marks = Marks(count)
    mark = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: marks.done())
    scenes = functools.partial(make_dataset, folder, split, tiny.data)
    fitting.fit(learner, scenes, fitting.Schedule(count, 1), [mark])
    traced = learner.training_model.train_tf_function.experimental_get_tracing_count()
    return learner.model, marks, traced


def predict(model: "Model", folder: "DataFolder", split: str, count: int) -> tuple[Marks, int]:
    """Predicts so many scenes, by a model of other settings each time; as `train`."""
    traced, marks, call = [], Marks(count), model.network.call

    def counted(inputs: Any, **how: Any) -> Any:
        traced.append(1)
        return call(inputs, **how)

    model.network.call = counted  # type: ignore[method-assign,assignment]
    for number, scene in enumerate(itertools.islice(_again(folder, split), count)):
        model.with_settings(min_score=number / count).segment(scene)
        marks.done()
    return marks, len(traced)


def score(model: "Model", folder: "DataFolder", split: str, count: int) -> Marks:
    """Scores so many scenes, a few again and again, whose instances are found before."""
    from mtml_tf.scoring.average_precision import average_precision

    found = [
        (folder.ground_truth(split, e), model.segment(folder.scene(e)))
        for e in folder.spaced_entries(split, _NUM_SCORED)
    ]
    marks = Marks(count)

    def scored() -> Iterator[tuple[np.ndarray, list["Instance"]]]:
        for pair in itertools.islice(itertools.cycle(found), count):
            yield pair
            marks.done()

    average_precision(scored(), model.config.classes, 1)
    return marks


def _again(folder: "DataFolder", split: str) -> Iterator[Any]:
    """Yields the scenes of a split again and again, read each time."""
    while True:
        yield from folder.scenes(split)


def define_flags() -> None:
    """Defines the flags; here, so that other code can import this module beside its like."""
    flags.DEFINE_integer("count", 2000, "Steps, predictions and scorings.", lower_bound=4)


def main() -> None:
    """Reads the flags, measures and prints."""
    count = FLAGS.count
    heads = ["resident memory, MiB", *(f"after {n:,}" for n in marks_of(count))]
    print(encode_markdown([[*heads, "growth", "peak", "traces"]]), flush=True)
    with tempfile.TemporaryDirectory() as path:
        folder = make_scenes(pathlib.Path(path) / "data", count)
        model, marks, traced = train(folder, "train", count)
        print(encode_row(marks.row("training steps", str(traced))), flush=True)
        marks, traced = predict(model, folder, "train", count)
        print(encode_row(marks.row("scenes predicted", str(traced))), flush=True)
        marks = score(model, folder, "train", count)
        print(encode_row(marks.row("scenes scored", "-")), flush=True)


if __name__ == "__main__":
    define_flags()
    program.run(main)
