"""The folder of a run: whose it is, what the run was begun with, and who trains in it now."""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from absl import logging

from mtml_tf import config_flags, files, program
from mtml_tf.config import SegmentConfig
from mtml_tf.data.records import DataFolder
from mtml_tf.inference import models
from mtml_tf.training.experiment import Experiment

SETTINGS = "settings.json"
# What a shell may have put into a new run folder.
_LOG_SUFFIXES = (".log", ".txt", ".out", ".err")


def has_begun(run_dir: str) -> bool:
    """Whether a run folder holds something learned: a checkpoint or weights."""
    has_weights = any(
        (pathlib.Path(run_dir) / name).exists() for name in (models.BEST, models.LAST)
    )
    return has_weights or models.has_checkpoints(run_dir)


@contextlib.contextmanager
def held(run_dir: str) -> Iterator[None]:
    """Keeps a run folder for the one who trains in it; one that stays empty is removed again.

    Raises:
        ValueError: at once, where somebody else trains in it, where it can't be made, or where it
            holds files and none of a run.
    """
    path = pathlib.Path(run_dir)
    _check_is_run_folder(path)
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"{run_dir}: expected a place for a run folder, found that it can't be made "
            f"({error.strerror}); give another --run_dir"
        ) from error
    try:
        with files.locked(path, wait=False):
            yield
    except files.LockedError as error:
        raise ValueError(
            f"{run_dir}: expected a run folder in which nobody trains, found one in which another "
            "process does; wait for its end or give another --run_dir"
        ) from error
    finally:
        for folder in missing:
            with contextlib.suppress(OSError):  # it is not empty: the run has begun
                folder.rmdir()


def check_goes_on(run_dir: str, folder: DataFolder, experiment: Experiment) -> None:
    """Checks that a run that has begun goes on by its own method, with its own scenes.

    The method is network, loss, order and augmentation of the scenes, post-processing, split and
    decay. The rest may change: lengths and limits, validation, where and how it is computed; and
    the learning rate, which has to be lowered where the loss is no longer a number. The scenes may
    lie elsewhere.

    Raises:
        ValueError: another method, where it names the first setting that differs; or other scenes.
    """
    before, split = check_method(run_dir, _method(experiment)), experiment.train_split
    check_scenes(run_dir, before, folder.path, split, folder.digests(split))
    rate = experiment.train.learning_rate
    was = before.get("learning_rate", rate)
    if was != rate:
        logging.warning(
            "%s: until now --learning_rate=%s, from now on --learning_rate=%s", run_dir, was, rate
        )


def check_method(run_dir: str, method: Mapping[str, Any]) -> dict[str, Any]:
    """Checks that a run that has begun goes on by its own method.

    Args:
        run_dir: run folder.
        method: the settings that a run keeps, by the names of their flags.

    Returns:
        What `write_settings` wrote of the run; nothing where it has not begun.

    Raises:
        ValueError: another method, where it names the first setting that differs; or settings that
            can't be read.
    """
    before = _read(run_dir)
    for name, value in method.items():
        was = before.get("method", {}).get(name, value)  # of an older version: counts as unchanged
        if was != value:
            raise ValueError(
                f"{run_dir}: expected {_as_flag(name, was)} as this run was begun with, found "
                f"{_as_flag(name, value)}; repeat {_as_flag(name, was)} or give another --run_dir"
            )
    return before


def check_scenes(
    run_dir: str, before: Mapping[str, Any], data_dir: pathlib.Path, split: str, scenes: Any
) -> None:
    """Checks that a run that has begun goes on with its own scenes, which may lie elsewhere.

    Args:
        run_dir: run folder.
        before: what `check_method` returned.
        data_dir: where the scenes are.
        split: their split.
        scenes: what tells them from others, as JSON has it.

    Raises:
        ValueError: other scenes.
    """
    if before.get("scenes", scenes) != scenes:
        raise ValueError(
            f"{data_dir}: expected the scenes that {run_dir} was begun with, of split '{split}' "
            f"in {before.get('data_dir')}, found others; give that --data_dir or another --run_dir"
        )


def write_settings(run_dir: str, settings: Mapping[str, Any]) -> None:
    """Writes what a run was begun with: its `method`, and what else it must go on with."""
    text = json.dumps(settings, indent=1) + "\n"
    files.write_text(pathlib.Path(run_dir) / SETTINGS, text, overwrite=True)


def check_model(run_dir: str, description: models.ModelConfig) -> None:
    """Raises ValueError where a run that has begun is of another network or other classes."""
    if not (has_begun(run_dir) and (pathlib.Path(run_dir) / models.DESCRIPTION).exists()):
        return
    found = models.read_model_config(run_dir)
    for field in ("network", "classes", "voxel_size", "has_direction"):
        if getattr(found, field) != getattr(description, field):
            raise ValueError(
                f"{run_dir}: expected a run with {field} {getattr(description, field)}, found "
                f"{getattr(found, field)}; choose another run folder"
            )


def write(
    run_dir: str, folder: DataFolder, experiment: Experiment, description: models.ModelConfig
) -> None:
    """Writes what a run is: the model, and what it must go on with."""
    models.write_model_config(run_dir, description)
    settings = {
        "method": _method(experiment),
        "learning_rate": experiment.train.learning_rate,
        "data_dir": str(folder.path),
        "scenes": folder.digests(experiment.train_split),
    }
    write_settings(run_dir, settings)


def _check_is_run_folder(path: pathlib.Path) -> None:
    """Raises ValueError where `path` is a file, or holds files and none of a run."""
    if not path.exists():
        return
    if not path.is_dir():
        raise ValueError(f"{path}: expected a run folder, found a file; give another --run_dir")
    names = {
        entry.name
        for entry in path.iterdir()
        if not entry.name.startswith(".") and (entry.is_dir() or entry.suffix not in _LOG_SUFFIXES)
    }
    if names and not names & {models.DESCRIPTION, program.RUN_FLAGS, models.CHECKPOINTS}:
        raise ValueError(
            f"{path}: expected a run folder, an empty one or none, found one with "
            f"{min(names)}; give another --run_dir"
        )


def _read(run_dir: str) -> dict[str, Any]:
    """Returns what `write_settings` wrote of a run that has begun; nothing where it did not."""
    path = pathlib.Path(run_dir) / SETTINGS
    if not (has_begun(run_dir) and path.exists()):
        return {}
    try:
        settings = files.read_json(path)
        return {**settings, "method": dict(settings["method"])}
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path}: expected the settings of the run, found a file that is cut, changed or of "
            "an older version; give another --run_dir"
        ) from error


def _method(experiment: Experiment) -> dict[str, Any]:
    """Returns the settings that a run keeps, by the names of their flags, as JSON has them."""
    segment = SegmentConfig(thing_ids=(1,), **experiment.segment)
    settings = {
        "train_split": experiment.train_split,
        "decay": experiment.train.decay,
        **dataclasses.asdict(experiment.network),
        **dataclasses.asdict(experiment.loss),
        **dataclasses.asdict(experiment.data),
        **dataclasses.asdict(segment),
    }
    for name in ("input_channels", "num_labels", *config_flags.FROM_DATA):
        del settings[name]
    return dict(json.loads(json.dumps(settings)))


def _as_flag(name: str, value: Any) -> str:
    """Returns a setting as one types it: `--seed=1`, `--noorigins`, `--dilations=7,7`."""
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no{name}"
    if isinstance(value, list):
        value = ",".join(map(str, value))
    return f"--{name}={value}"
