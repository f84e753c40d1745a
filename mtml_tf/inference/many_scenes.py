"""Predicting many scenes: on any engine, whatever befalls single scenes, to be gone on with.

Each scene is one function of the scene and the settings, whose output appears whole: where it is,
it is not made again. The settings lie beside it, `predictions.json`, so that what two models, or
two ways to use one, have found is never mixed.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from absl import logging

from mtml_tf import files, program, timing
from mtml_tf.classes import ClassSet
from mtml_tf.data.records import DataFolder, RecordEntry, read_object, read_scene
from mtml_tf.engines import BEAM, Engine
from mtml_tf.inference import prediction
from mtml_tf.inference.claiming import claimed, take_report, write_report
from mtml_tf.inference.model_source import ModelSource
from mtml_tf.scans.scan_file import ScanFile
from mtml_tf.scoring.benchmark_format import has_predictions, write_predictions
from mtml_tf.scoring.folders import FAILED, PREDICTIONS, REPORT, SCAN_SETTINGS

THIS_PROCESS = Engine(num_workers=1)


class PredictedSplit(NamedTuple):
    """What became of a split.

    Attributes:
        num_scenes: how many it has.
        num_there: how many of them were predicted before, and not again.
        times: of the others, the seconds of each stage.
    """

    num_scenes: int
    num_there: int
    times: list[timing.Seconds]


def predict_split(
    source: ModelSource,
    data_dir: str | pathlib.Path,
    split: str,
    output_dir: str | pathlib.Path,
    overwrite: bool = False,
    compact: bool = False,
    engine: Engine = THIS_PROCESS,
) -> PredictedSplit:
    """Segments every scene of a split and writes the instances, scene by scene.

    A scene that can't be predicted does not stop the others. `<output_dir>/report.json` tells of
    each scene whether it is predicted or failed, and why; the log tells of the latter.

    Args:
        source: a trained model.
        data_dir: a data folder.
        split: one of its splits.
        output_dir: folder of the predictions. One that these settings began is gone on with.
        overwrite: replace what is there, all of it.
        compact: write compact masks in place of the benchmark's text.
        engine: where the work is done.

    Raises:
        ValueError: before any work, a model or data folder that can't be read, or a folder that
            holds something else or that another process writes; at the end, scenes that could not
            be predicted.
    """
    engine.check()
    folder = DataFolder(data_dir)
    entries = folder.entries(split)
    settings = {
        **source.settings(),
        "data": folder.digests(split),
        "split": split,
        "masks": "compact" if compact else "text",
    }
    source.load()  # what is wrong with it is told once, not of each scene
    report_path = pathlib.Path(output_dir, REPORT)
    reasons: dict[str, str] = {}
    times = []
    with (
        files.told_of_disk(output_dir),
        claimed(pathlib.Path(output_dir), settings, overwrite),
    ):
        missing = [entry for entry in entries if not has_predictions(output_dir, entry.name)]
        take_report(pathlib.Path(output_dir), split)
        worker = _SceneWorker(
            *(_sent(source, engine), os.path.abspath(data_dir), os.path.abspath(output_dir)),
            *(folder.classes, compact),
        )
        results = engine.map(worker, missing, "scenes", pathlib.Path(output_dir).parent)
        for entry, (reason, seconds) in zip(
            missing, program.progress(results, "scenes", len(missing)), strict=True
        ):
            if reason:
                logging.error("%s %s (%s): %s", entry.name, FAILED, split, reason)
                reasons[entry.name] = reason
            elif seconds:
                times.append(seconds)
        names = [entry.name for entry in entries]
        write_report(pathlib.Path(output_dir), split, settings, names, reasons)
    if reasons:
        raise ValueError(
            f"{output_dir}: mend the scenes that {report_path} calls failed and start "
            f"{_again(overwrite)}, which makes only them: expected {len(entries)} scenes to be "
            f"predicted, found {len(reasons)} that could not be (the others are written)"
        )
    return PredictedSplit(len(entries), len(entries) - len(missing), times)


def predict_scans(
    source: ModelSource,
    scans: Mapping[pathlib.Path, ScanFile],
    overwrite: bool = False,
    written: prediction.ScanOutput = prediction.ScanOutput(),
    num_views: int = 1,
    engine: Engine = THIS_PROCESS,
    labelling: prediction.Labelling | None = None,
) -> Iterator[tuple[pathlib.Path, int | None, timing.Seconds]]:
    """Segments scans, each as `predict_scan` does; goes on after a bad one.

    Args:
        source: a trained model.
        scans: by the folders for what is found (see `scan_file.output_folders`), each of which
            appears whole or not at all. Of several scans, those that were segmented before, with
            these settings and the same files, are not segmented again.
        overwrite: replace folders that exist.
        written: what is written of each.
        num_views: see `segment_scan`.
        engine: where the work is done.
        labelling: tells the classes of scans that have none.

    Yields:
        For each scan its folder, how many instances there are, and the seconds of each stage; None
        and nothing for one that was there already.

    Raises:
        ValueError: before any work, a folder that may not be replaced, or Beam for a single scan;
            at the end, which scans could not be segmented; why, is logged.
        ImportError: see `predict_scan`.
    """
    if len(scans) == 1:
        if engine.engine == BEAM:
            raise ValueError(
                "leave --engine out for a single scan: expected several, or a split, for "
                f"--engine={BEAM}, found {next(iter(scans.values())).path}"
            )
        for folder, scan_file in scans.items():
            model = source.load()
            yield (
                folder,
                *prediction.predict_scan(
                    *(model, scan_file, folder, overwrite, written, num_views),
                    labelling=labelling,
                ),
            )
        return
    engine.check()
    absolute = {pathlib.Path(os.path.abspath(folder)): scans[folder] for folder in scans}
    worker = _ScanWorker(_sent(source, engine), overwrite, written, num_views, labelling)
    for folder, scan_file in scans.items():
        if overwrite or not worker.is_there(folder, scan_file):
            files.check_may_replace(folder, overwrite, PREDICTIONS)
    source.load()
    shared_dir = os.path.commonpath([folder.parent for folder in scans]) if scans else "."
    results = engine.map(worker, list(absolute.items()), "scans", shared_dir)
    failed = []
    for (folder, scan_file), (reason, count, seconds) in zip(
        scans.items(), program.progress(results, "scans", len(scans)), strict=True
    ):
        if reason:
            logging.error("%s", reason)
            failed.append(scan_file.path)
        else:
            yield folder, count, seconds
    if failed:
        raise ValueError(
            f"mend {', '.join(failed)} and start {_again(overwrite)}, which makes only them: "
            f"expected {len(scans)} scans to be segmented, found {len(failed)} that could not be "
            "(the log tells why, the others are written)"
        )


def _sent(source: ModelSource, engine: Engine) -> ModelSource:
    """Returns the model as workers find it, whose working directory may be another."""
    return source.absolute() if engine.engine == BEAM else source


@dataclasses.dataclass(frozen=True)
class _SceneWorker:
    """Predicts one scene of a split, unless it is there; returns why not, and the seconds."""

    source: ModelSource
    data_dir: str
    output_dir: str
    classes: ClassSet
    compact: bool

    def __call__(self, entry: RecordEntry) -> tuple[str, timing.Seconds]:
        try:
            if has_predictions(self.output_dir, entry.name):
                return "", {}
            model = self.source.load()
            with timing.recording() as seconds:
                with timing.stage("read the record"):
                    scene = read_scene(self.data_dir, entry, self.classes)
                instances = prediction.on_scan(model.segment(scene), scene)
                with timing.stage("write the masks"):
                    write_predictions(
                        *(self.output_dir, scene.name, instances, scene.num_vertices),
                        *(self.compact, True),
                    )
        except files.DiskError:  # the same for every scene
            raise
        # Whatever is wrong with one scene must not cost the others.
        except Exception as error:
            reason = str(error) or "no reason given"
            if not isinstance(error, ValueError):
                reason = f"scene {entry.name}: {type(error).__name__}: {reason}"
            return reason, {}
        return "", seconds


@dataclasses.dataclass(frozen=True)
class _ScanWorker:
    """Segments one scan; returns why not, how many instances there are, and the seconds."""

    source: ModelSource
    overwrite: bool
    written: prediction.ScanOutput
    num_views: int
    labelling: prediction.Labelling | None

    def __call__(
        self, item: tuple[pathlib.Path, ScanFile]
    ) -> tuple[str, int | None, timing.Seconds]:
        folder, scan_file = item
        try:
            if not self.overwrite and self.is_there(folder, scan_file):
                return "", None, {}
            count, seconds = prediction.predict_scan(
                *(self.source.load(), scan_file, folder, self.overwrite),
                *(self.written, self.num_views, self._settings(scan_file), self.labelling),
            )
        # The extras are missing, or the disk is full: the same for every scan.
        except (ImportError, files.DiskError):
            raise
        except Exception as error:
            reason = str(error) or "no reason given"
            if not isinstance(error, ValueError | OSError):
                reason = f"{scan_file.path}: {type(error).__name__}: {reason}"
            return reason, None, {}
        return "", count, seconds

    def is_there(self, folder: pathlib.Path, scan_file: ScanFile) -> bool:
        """Whether the scan, as it is now, was segmented with these settings before."""
        path = folder / SCAN_SETTINGS
        return path.is_file() and read_object(path) == self._settings(scan_file)

    def _settings(self, scan_file: ScanFile) -> dict[str, Any]:
        paths = [pathlib.Path(path) for path in (scan_file.path, scan_file.labels) if path]
        if scan_file.labels:  # beside a table may be class ids
            paths.append(pathlib.Path(scan_file.labels).with_suffix(".txt"))
        stats = [path.stat() for path in paths if path.is_file()]
        told = {
            **self.source.settings(),
            "scan": dataclasses.asdict(scan_file),
            "bytes and times": [(stat.st_size, stat.st_mtime_ns) for stat in stats],
            "views": self.num_views,
            "semantic": self.labelling.settings() if self.labelling else None,
            **dataclasses.asdict(self.written),
        }
        return json.loads(json.dumps(told))


def _again(overwrite: bool) -> str:
    return "again without --overwrite" if overwrite else "again"
