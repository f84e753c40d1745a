"""Raw ScanNet to a data folder, with a report of what became of each scene."""

import collections
import json
import pathlib
import shutil
from collections.abc import Sequence

from absl import logging

from mtml_tf import files
from mtml_tf.classes import SCANNET20
from mtml_tf.learning import records
from mtml_tf.scans import scannet, scannet_preparing
from mtml_tf.scans.scannet_preparing import FAILED, WARNED, Outcome, PreparedScenes, Settings

REPORT = "report.json"
_PARTIAL = ".partial"


def write_scannet_folder(
    output_dir: str | pathlib.Path,
    settings: Settings,
    splits: Sequence[str],
    split_dir: str = "",
    num_workers: int = 0,
    overwrite: bool = False,
) -> str:
    """Prepares splits of ScanNet and writes them as a data folder, or adds them to one.

    Prepared scenes are kept in `<output_dir>.partial` until the data folder is complete, so that
    a run that was ended goes on where it was. `<output_dir>/report.json` tells of each scene
    whether it is prepared, warned or failed, and why; the log tells of the latter two.

    Args:
        output_dir: the data folder.
        settings: see `scannet_preparing.Settings`.
        splits: among `train`, `val`, `test`.
        split_dir: folder of the split lists; empty to look for them in the download.
        num_workers: how many processes; 0 for one a core.
        overwrite: replace splits that exist.

    Returns:
        A sentence on what was written.

    Raises:
        ValueError: splits that exist, lists or a label table that can't be read; or, once all
            that can be prepared is written, scenes that could not be.
    """
    output_dir = pathlib.Path(output_dir)
    splits = list(dict.fromkeys(splits))
    if not splits:
        raise ValueError(f"{output_dir}: expected at least one split to prepare, found none")
    _check_output(output_dir, splits, overwrite)
    scenes = [
        (split, name)
        for split in splits
        for name in scannet.read_split(settings.scannet_dir, split, split_dir)
    ]
    partial = output_dir.parent / (output_dir.name + _PARTIAL)
    outcomes = scannet_preparing.prepare_scenes(scenes, settings, partial, num_workers)
    for outcome in outcomes:
        for reason in outcome.reasons:
            log = logging.error if outcome.status == FAILED else logging.warning
            log("%s %s (%s): %s", outcome.name, outcome.status, outcome.split, reason)
    paths: dict[str, list[pathlib.Path]] = {}
    for outcome in outcomes:
        if outcome.path is not None:
            paths.setdefault(outcome.split, []).append(outcome.path)
    if paths:
        prepared = {split: PreparedScenes(found) for split, found in paths.items()}
        records.write_data_folder(output_dir, SCANNET20, prepared, overwrite)
    report_path = (output_dir if paths else partial) / REPORT
    _write_report(report_path, outcomes)
    if paths:
        shutil.rmtree(partial)
    counts = collections.Counter(outcome.status for outcome in outcomes)
    if counts[FAILED]:
        raise ValueError(
            f"{output_dir}: expected {len(outcomes)} scenes to be prepared, found "
            f"{counts[FAILED]} that could not be"
            f"{' (the others are written)' if paths else ''}; {report_path} tells why"
        )
    warned = f", {counts[WARNED]} of them with warnings" if counts[WARNED] else ""
    return f"{output_dir}: wrote {len(outcomes)} scenes{warned}; {report_path} tells of each"


def _check_output(output_dir: pathlib.Path, splits: Sequence[str], overwrite: bool) -> None:
    """Raises ValueError now, rather than after hours, where the folder can't be written."""
    if (output_dir / records.MANIFEST).exists():
        taken = set(splits) & set(records.DataFolder(output_dir).splits)
        if taken and not overwrite:
            raise ValueError(
                f"{output_dir}: split '{min(taken)}' exists already; choose another folder, other "
                "--splits, or give --overwrite"
            )
    elif output_dir.exists() and (not output_dir.is_dir() or any(output_dir.iterdir())):
        raise ValueError(
            f"{output_dir}: expected a data folder or an empty one, found other files; choose "
            "another folder"
        )


def _write_report(path: pathlib.Path, outcomes: Sequence[Outcome]) -> None:
    """Writes what became of the scenes; other splits in a report that is there stay in it."""
    report: dict[str, dict[str, dict]] = {}
    if path.is_file():
        report = json.loads(path.read_text(encoding="utf-8"))
    report.update({outcome.split: {} for outcome in outcomes})
    for outcome in outcomes:
        report[outcome.split][outcome.name] = {
            "status": outcome.status,
            "reasons": list(outcome.reasons),
        }
    files.write_text(path, json.dumps(report, indent=1) + "\n", overwrite=True)
