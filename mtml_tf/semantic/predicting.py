"""Predicts the splits of a points folder, scene by scene, resumable.

<scene>.txt     class id of each vertex, as the ScanNet semantic benchmark has it, or
<scene>.npy     float32 [N, classes], probabilities
settings.json   what they were predicted by
report.json     what became of each scene
"""

import dataclasses
import functools
import io
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import logging

from mtml_tf import __version__, files, program
from mtml_tf.classes import ClassSet
from mtml_tf.config import require
from mtml_tf.data.records import digest
from mtml_tf.engines import Engine
from mtml_tf.inference.claiming import claimed, encode_scene, take_report, write_report
from mtml_tf.scans import semantic_input
from mtml_tf.scoring.folders import FAILED, PREDICTED, REPORT
from mtml_tf.semantic import models
from mtml_tf.semantic.point_folder import PointFolder
from mtml_tf.semantic.points import PointScene
from mtml_tf.semantic.prediction import predict_probabilities, share_of_doubt

Array = np.ndarray

SETTINGS = "settings.json"
IDS, PROBABILITIES = "ids", "probabilities"
WRITTEN = {IDS: ".txt", PROBABILITIES: ".npy"}


def _is_predicted(path: pathlib.Path) -> bool:
    # `.<name>.<random>` is left of a process that was killed.
    named = path.name in (SETTINGS, REPORT) or path.name.startswith(".")
    return named or path.suffix in WRITTEN.values()


_PREDICTIONS = files.FolderKind(
    "semantic predictions", SETTINGS, _is_predicted, settings=SETTINGS, flat=True
)


@dataclasses.dataclass(frozen=True)
class SemanticSource:
    """A semantic model by its place; a process loads it once, with the first scene.

    Attributes:
        path: a run folder, or the name of a model that comes with the package.
        num_views: see `predict_probabilities`.
        ignore_colors: whether scans are taken as if they had none.
        adapt: see `predict_probabilities`.

    Raises:
        ValueError: a value out of range.
    """

    path: str
    num_views: int = 1
    ignore_colors: bool = False
    adapt: float = 0.0

    def __post_init__(self) -> None:
        require(self.num_views >= 1, "num_views of at least 1", self.num_views)
        require(0 <= self.adapt <= 1, "adapt in 0..1", self.adapt)

    def load(self) -> list[models.SemanticModel]:
        """Returns the networks, several where there are folds. Raises ValueError without any."""
        return _load(self, self.fingerprint)

    def absolute(self) -> "SemanticSource":
        """Returns the same model by a path that any working directory understands."""
        if not os.path.exists(self.path):  # the name of one that comes with the package
            return self
        return dataclasses.replace(self, path=os.path.abspath(self.path))

    @functools.cached_property
    def fingerprint(self) -> str:
        """Tells the model's files, as they are when it is asked for first.

        Raises:
            ValueError: no model, or no weights of it yet.
        """
        found = []
        for folder in models.find_run_folders(self.path):
            weights = models.find_weights(folder)
            paths = [folder / models.DESCRIPTION, *sorted(weights.parent.glob(f"{weights.name}.*"))]
            found += [digest(path) for path in paths]
        return "-".join(sha[:16] for sha in found)

    def settings(self) -> dict[str, Any]:
        """Returns all that predictions depend on beside the scan, as JSON has it."""
        return {
            "mtml_tf": __version__,
            "model": self.fingerprint,
            "views": self.num_views,
            "ignore_colors": self.ignore_colors,
            "adapt": self.adapt,
        }

    def predict(self, points: PointScene) -> tuple[Array, ClassSet]:
        """Returns the probabilities of `predict_probabilities`, and the classes of their columns.

        Of a run with folds, a training scene, known by its name, is predicted by the network that
        never saw it.
        """
        if self.ignore_colors:
            points = dataclasses.replace(points, colors=None)
        loaded = for_scene(self.load(), points.name)
        probabilities = predict_probabilities(loaded, points, self.num_views, self.adapt)
        return probabilities, loaded[0].description.classes


@functools.lru_cache(maxsize=2)
def _load(source: SemanticSource, fingerprint: str) -> list[models.SemanticModel]:
    """Loads a model; one whose files have changed since is another one."""
    loaded = [models.load_semantic_model(path) for path in models.find_run_folders(source.path)]
    if dataclasses.replace(source).fingerprint != fingerprint:
        raise ValueError(
            f"{source.path}: expected a model that does not change while it predicts, found other "
            "files than at the start; wait for the end of its training, or predict with a copy"
        )
    return loaded


def for_scene(loaded: Sequence[models.SemanticModel], name: str) -> list[models.SemanticModel]:
    """Returns the networks to predict a scene by: all of them, or of folds that which never saw it.

    Args:
        loaded: of one run.
        name: of the scene.
    """
    unseen = [model for model in loaded if name in model.description.unseen]
    return unseen or list(loaded)


def predict_split(
    source: SemanticSource,
    data_dir: str,
    split: str,
    output_dir: str,
    written: str = IDS,
    engine: Engine = Engine(num_workers=1),
    overwrite: bool = False,
) -> str:
    """Predicts the scenes of a split, those that the folder has not.

    Args:
        source: the networks, and how many views they see.
        data_dir: points folder.
        split: one of its splits.
        output_dir: folder of the predictions. One that these settings began, of this split or
            another, is gone on with.
        written: `ids` or `probabilities`.
        engine: where the work is done.
        overwrite: replace what is there, all of it.

    Returns:
        A sentence on what was done.

    Raises:
        ValueError: before any work, a model or points folder that can't be read, or a folder with
            predictions of other settings or anything else, or that another process writes; at the
            end, scenes that could not be predicted, which do not stop the others.
    """
    engine.check()
    folder, output = PointFolder(data_dir), pathlib.Path(output_dir)
    names = folder.names(split)
    sent = source.absolute()  # with its fingerprint: a worker that finds other files refuses
    loaded = sent.load()
    if loaded[0].description.classes != folder.classes:
        raise ValueError(
            f"{data_dir}: expected the classes that {source.path} tells, found others in "
            "classes.csv; prepare the scans with those, or take another model"
        )
    settings = {
        **sent.settings(),
        "data_dir": os.path.abspath(data_dir),
        "written": written,
    }
    paths = {name: output / f"{name}{WRITTEN[written]}" for name in names}
    worker = _Worker(sent, os.path.abspath(data_dir), split, os.path.abspath(output), written)
    failed = {}
    with claimed(output, settings, overwrite, _PREDICTIONS):
        missing = [n for n in names if not _is_newer(paths[n], folder.scene_path(split, n))]
        told = take_report(output, split)
        predicted = {name: told[name] for name in told if name not in missing}
        results = engine.map(worker, missing, "scenes", output)
        for name, (reason, doubt) in zip(
            missing, program.progress(results, "scenes", len(missing)), strict=True
        ):
            if reason:
                failed[name] = reason
                logging.error("%s %s (%s): %s", name, FAILED, split, reason)
            elif doubt > MUCH_DOUBT:
                told_doubt = told_of_doubt(doubt, source.adapt)
                logging.warning("%s (%s): %s", name, split, told_doubt)
                predicted[name] = encode_scene(PREDICTED, told_doubt)
        write_report(output, split, settings, names, failed, predicted)
    if failed:
        raise ValueError(
            f"{output_dir}: mend the scenes that {output / REPORT} calls failed and start again, "
            f"which makes only them: expected {len(names)} scenes to be predicted, found "
            f"{len(failed)} that could not be (the others are written)"
        )
    there = len(names) - len(missing)
    kept = f" ({there} of them there already)" if there else ""
    return f"{data_dir}: {len(names)} scenes of split '{split}', in {output_dir}{kept}"


def _is_newer(path: pathlib.Path, source: pathlib.Path) -> bool:
    """Whether a file is there, made after the one that it was made of."""
    return path.exists() and path.stat().st_mtime_ns > source.stat().st_mtime_ns


# Share of doubtful vertices beyond which a scan is unlike those that were learned from. Of
# simulated rooms `rooms_semantic` doubts 3 to 13 %, of real scans 12 to 31 %.
MUCH_DOUBT = 0.15


def told_of_doubt(doubt: float, adapt: float) -> str:
    """Returns what a user should know of labels of which so large a share is doubtful.

    Args:
        doubt: the share.
        adapt: how they were predicted.
    """
    return (
        f"{doubt:.0%} of the vertices have a class with less than half of the probability: the "
        "scan looks unlike those that the semantic network learned from"
        f"{'' if adapt else '; --adapt=0.5 may help'}"
    )


@dataclasses.dataclass(frozen=True)
class _Worker:
    """Predicts a scene; returns why it could not, and the share of doubtful vertices."""

    source: SemanticSource
    data_dir: str
    split: str
    output_dir: str
    written: str

    def __call__(self, name: str) -> tuple[str, float]:
        try:
            points = PointFolder(self.data_dir).read(self.split, name)
            probabilities, classes = self.source.predict(points)
            content = encode_labels(probabilities, classes, self.written)
            path = pathlib.Path(self.output_dir, name + WRITTEN[self.written])
            with files.writing_file(path, overwrite=True) as temporary:
                temporary.write_bytes(content)
        except files.DiskError:  # the same for every scene
            raise
        # Whatever is wrong with one scene must not cost the others.
        except Exception as error:
            told = str(error) or "no reason given"
            return told if isinstance(error, ValueError) else f"{type(error).__name__}: {told}", 0
        return "", share_of_doubt(probabilities)


def encode_labels(probabilities: Array, classes: ClassSet, written: str) -> bytes:
    """Returns the content of a scene's file.

    Args:
        probabilities: float32 [N, classes].
        classes: of the columns.
        written: `ids` or `probabilities`.
    """
    if written == PROBABILITIES:
        content = io.BytesIO()
        np.save(content, probabilities)
        return content.getvalue()
    ids = semantic_input.best_classes(probabilities, classes)
    return "".join(f"{i}\n" for i in ids.tolist()).encode()
