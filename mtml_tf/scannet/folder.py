"""Raw ScanNet to a data folder, with a report of what became of each scene."""

import collections
import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from absl import logging

from mtml_tf import files
from mtml_tf.classes import SCANNET20
from mtml_tf.data import records, writing
from mtml_tf.scannet import preparing, reader
from mtml_tf.scannet.preparing import FAILED, WARNED, Outcome, PreparedScenes, Settings

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

    `<output_dir>/report.json` tells of each scene whether it is prepared, warned or failed, and
    why; the log tells of the latter two. A new split is written without its failed scenes. An
    existing one is replaced only by a whole one: where a scene of it failed, the data folder stays
    as it is, and the report is written into `<output_dir>.partial`.

    Prepared scenes are kept in that folder until none fails, so that a run that was ended, or
    that is started again after bad scenes were mended, makes only those that it lacks.

    Args:
        output_dir: the data folder; all its splits have the same settings.
        settings: see `preparing.Settings`.
        splits: among `train`, `val`, `test`.
        split_dir: folder of the split lists; empty to look for them in the download.
        num_workers: how many processes; 0 for one a core.
        overwrite: replace splits that exist. Without it, those that an earlier run of the same
            settings wrote whole are left as they are.

    Returns:
        A sentence on what was written.

    Raises:
        ValueError: before any work, splits that exist, other settings or classes in the folder,
            lists, a report or a label table that can't be read; or, once all that can be prepared
            is written, scenes that could not be.
    """
    output_dir = pathlib.Path(output_dir)
    partial = output_dir.parent / (output_dir.name + _PARTIAL)
    if not splits:
        raise ValueError(f"{output_dir}: expected at least one split to prepare, found none")
    names = {split: reader.read_split(settings.scannet_dir, split, split_dir) for split in splits}
    _read_report(partial / REPORT)
    existing = _existing_splits(output_dir)
    whole = _check_output(output_dir, existing, names, settings, overwrite)
    there = f"there already: {', '.join(whole)} (--overwrite makes anew)" if whole else ""
    scenes = [(split, name) for split in names if split not in whole for name in names[split]]
    if not scenes:
        return f"{output_dir}: {there}"

    outcomes = preparing.prepare_scenes(scenes, settings, partial, num_workers)
    paths: dict[str, list[pathlib.Path]] = {}
    for outcome in outcomes:
        for reason in outcome.reasons:
            log = logging.error if outcome.status == FAILED else logging.warning
            log("%s %s (%s): %s", outcome.name, outcome.status, outcome.split, reason)
        if outcome.path is not None:
            paths.setdefault(outcome.split, []).append(outcome.path)
    failed = [outcome for outcome in outcomes if outcome.status == FAILED]
    spoilt = any(outcome.split in existing for outcome in failed)
    written = bool(paths) and not spoilt
    if written:
        prepared = {split: PreparedScenes(found) for split, found in paths.items()}
        writing.write_data_folder(output_dir, SCANNET20, prepared, overwrite)
    report = _report_of(outcomes, settings)
    report_path = (output_dir if written else partial) / REPORT
    _change_report(report_path, report)
    if failed:
        kept = " (the others are written)" if written else ""
        kept = " (the splits that exist stay as they are)" if spoilt else kept
        again = "again with --overwrite" if written or overwrite else "again"
        raise ValueError(
            f"{output_dir}: expected {len(outcomes)} scenes to be prepared, found {len(failed)} "
            f"that could not be{kept}; {report_path} tells why; started {again}, once they are "
            f"mended, only they are made anew, since {partial} keeps the others"
        )
    _remove_cache(partial, report)
    warned = sum(outcome.status == WARNED for outcome in outcomes)
    parts = [
        f"wrote {len(outcomes)} scenes{f', {warned} of them with warnings' if warned else ''}",
        f"{report_path} tells of each",
        there,
    ]
    return f"{output_dir}: {'; '.join(part for part in parts if part)}"


def _existing_splits(output_dir: pathlib.Path) -> tuple[str, ...]:
    """Returns the splits of a data folder that is to be written, none where there is none yet.

    Raises:
        ValueError: a folder of something else, or a data folder of other classes.
    """
    if (output_dir / records.MANIFEST).exists():
        folder = records.DataFolder(output_dir)
        if folder.classes != SCANNET20:
            raise ValueError(
                f"{output_dir / records.CLASSES}: expected the 20 classes of ScanNet, found "
                "others; choose another folder"
            )
        return folder.splits
    if output_dir.exists() and (not output_dir.is_dir() or any(output_dir.iterdir())):
        raise ValueError(
            f"{output_dir}: expected a data folder or an empty one, found other files; choose "
            "another folder"
        )
    return ()


def _check_output(
    output_dir: pathlib.Path,
    existing: Sequence[str],
    names: Mapping[str, Sequence[str]],
    settings: Settings,
    overwrite: bool,
) -> list[str]:
    """Returns which of the splits are there, whole, by these settings, and are to stay.

    Raises:
        ValueError: a split that may not be replaced, or one of other settings that stays.
    """
    report = _read_report(output_dir / REPORT)
    whole = []
    for split in existing:
        known = report.get(split, {"settings": {}, "scenes": {}})
        failed = [scene for scene in known["scenes"].values() if scene["status"] == FAILED]
        if split in names and not overwrite:
            same = known["settings"] == dataclasses.asdict(settings)
            if failed or not same or list(known["scenes"]) != list(names[split]):
                without = f" without {len(failed)} scenes that failed" if failed else ""
                raise ValueError(
                    f"{output_dir}: split '{split}' exists already{without}; choose another "
                    "folder, other --splits, or give --overwrite"
                )
            whole.append(split)
        elif split not in names and known["settings"]:
            theirs, ours = _kind(known["settings"]), _kind(dataclasses.asdict(settings))
            for name in ours:
                if theirs[name] != ours[name]:
                    raise ValueError(
                        f"{output_dir}: expected the {name} of its split '{split}', "
                        f"{theirs[name]}, found {ours[name]}; choose another folder, or prepare "
                        f"'{split}' anew with the others (--splits, --overwrite)"
                    )
    return whole


def _kind(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what has to be the same in all splits of a data folder."""
    scores = settings.get("scores") if settings.get("semantic_dir") else "true labels"
    return {
        "voxel_size": settings.get("voxel_size"),
        "align_axes": settings.get("align_axes"),
        "semantic input": scores,
    }


def _report_of(outcomes: Sequence[Outcome], settings: Settings) -> dict[str, dict[str, Any]]:
    report: dict[str, dict[str, Any]] = collections.defaultdict(
        lambda: {"settings": dataclasses.asdict(settings), "scenes": {}}
    )
    for outcome in outcomes:
        told = {"status": outcome.status, "reasons": list(outcome.reasons)}
        report[outcome.split]["scenes"][outcome.name] = told
    return report


def _read_report(path: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Returns of each split its settings and its scenes; empty where there is no report.

    Raises:
        ValueError: a file that is no such report.
    """
    if not path.exists():
        return {}
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        for part in report.values():
            _kind(part["settings"])
            for scene in part["scenes"].values():
                _ = scene["status"]
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: expected the report of an earlier run, as this version writes it, found "
            "something else; remove it (the scenes stay) or choose another folder"
        ) from error
    return report


def _change_report(path: pathlib.Path, splits: Mapping[str, dict[str, Any]]) -> None:
    """Writes what became of these splits; others in a report that is there stay in it."""
    with files.locked(path.parent.parent):  # another process may be at other splits
        report = {**_read_report(path), **splits}
        files.write_text(path, json.dumps(report, indent=1) + "\n", overwrite=True)


def _remove_cache(partial: pathlib.Path, report: Mapping[str, dict[str, Any]]) -> None:
    """Removes what is cached of these scenes and said of these splits, and nothing else."""
    for split, part in report.items():
        own = {f"{name}.npz" for name in part["scenes"]}
        for path in list((partial / split).iterdir()):
            # A process that was killed leaves a temporary file `.<scene>.npz.<random>`.
            temporary = path.name.startswith(".") and path.name[1:].rpartition(".")[0] in own
            if path.name in own or temporary:
                path.unlink(missing_ok=True)
        _remove_if_empty(partial / split)
    with files.locked(partial.parent):
        told = _read_report(partial / REPORT)
        others = {split: part for split, part in told.items() if split not in report}
        if others:
            files.write_text(partial / REPORT, json.dumps(others, indent=1) + "\n", overwrite=True)
        else:
            (partial / REPORT).unlink(missing_ok=True)
        _remove_if_empty(partial)


def _remove_if_empty(folder: pathlib.Path) -> None:
    with contextlib.suppress(OSError):  # it holds files of someone else
        folder.rmdir()
