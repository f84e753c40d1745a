"""Prepared scenes to a data folder, with a report of what became of each."""

import collections
import contextlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from absl import logging

from mtml_tf import files
from mtml_tf.data import writing
from mtml_tf.data.records import REPORT, DataFolder
from mtml_tf.engines import Engine
from mtml_tf.scans import prepared
from mtml_tf.scans.prepared import FAILED, WARNED, Outcome, Preparation, PreparedScenes, Source

_PARTIAL = ".partial"


def write_prepared_folder(
    output_dir: str | pathlib.Path,
    sources: Sequence[Source],
    preparation: Preparation,
    engine: Engine = Engine(),
    overwrite: bool = False,
) -> str:
    """Prepares scenes and writes them as a data folder, or adds their splits to one.

    `<output_dir>/report.json` tells of each scene whether it is prepared, warned or failed, and
    why; the log tells of the latter two. A new split is written without its failed scenes. An
    existing one is replaced only by a whole one: where a scene of it failed, the data folder stays
    as it is, and the report is written into `<output_dir>.partial`.

    Prepared scenes are kept in that folder until none fails, so that a run that was ended, or
    that is started again after bad scenes were mended, makes only those that it lacks.

    Args:
        output_dir: the data folder; all its splits have the same kind of settings.
        sources: the scenes.
        preparation: how each is prepared.
        engine: where the work is done.
        overwrite: replace splits that exist. Without it, those that an earlier run of the same
            settings wrote whole are left as they are.

    Returns:
        A sentence on what was written.

    Raises:
        ValueError: before any work, splits that exist, other settings or classes in the folder, a
            report that can't be read, or what the `Preparation` checks; or, once all that can be
            prepared is written, scenes that could not be.
    """
    output_dir = pathlib.Path(output_dir)
    partial = output_dir.parent / (output_dir.name + _PARTIAL)
    names: dict[str, list[str]] = collections.defaultdict(list)
    for source in sources:
        names[source.split].append(source.name)
    _read_report(partial / REPORT)
    folder = writing.open_for_writing(output_dir, preparation.classes)
    existing = folder.splits if folder else ()
    settings = prepared.settings_of(preparation)
    whole = _check_output(output_dir, folder, names, settings, overwrite)
    there = f"there already: {', '.join(whole)} (--overwrite takes changed scans)" if whole else ""
    sources = [source for source in sources if source.split not in whole]
    if not sources:
        return f"{output_dir}: {there}"

    outcomes = prepared.prepare_scenes(sources, preparation, partial, engine)
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
    report = _report_of(outcomes, settings)
    if written:
        splits = {split: PreparedScenes(found) for split, found in paths.items()}
        writing.write_data_folder(output_dir, preparation.classes, splits, overwrite, report)
    else:
        files.make_folder(partial)
        with files.locked(partial.parent):  # another process may be at other splits
            _write_report(partial / REPORT, {**_read_report(partial / REPORT), **report})
    report_path = (output_dir if written else partial) / REPORT
    if failed:
        kept = " (the others are written)" if written else ""
        kept = " (the splits that exist stay as they are)" if spoilt else kept
        again = "again with --overwrite" if written or overwrite else "again"
        raise ValueError(
            f"{output_dir}: mend the scenes that {report_path} calls failed and start {again}, "
            f"which makes only them anew ({partial} keeps the others): expected {len(outcomes)} "
            f"scenes to be prepared, found {len(failed)} that could not be{kept}"
        )
    _remove_cache(partial, report)
    warned = sum(outcome.status == WARNED for outcome in outcomes)
    parts = [
        f"wrote {len(outcomes)} scenes{f', {warned} of them with warnings' if warned else ''}",
        f"{report_path} tells of each",
        there,
    ]
    return f"{output_dir}: {'; '.join(part for part in parts if part)}"


def _check_output(
    output_dir: pathlib.Path,
    folder: DataFolder | None,
    names: Mapping[str, list[str]],
    settings: Mapping[str, Any],
    overwrite: bool,
) -> list[str]:
    """Returns which of the splits are there, whole, by these settings, and are to stay.

    Raises:
        ValueError: a split that may not be replaced, or one of other settings that stays.
    """
    if folder is None:
        return []
    report = _read_report(folder.locate(REPORT))
    whole = []
    for split in folder.splits:
        known = report.get(split, {"settings": {}, "scenes": {}})
        failed = [scene for scene in known["scenes"].values() if scene["status"] == FAILED]
        if split in names and not overwrite:
            same = known["settings"] == settings and list(known["scenes"]) == names[split]
            if failed or not same:
                without = f" without {len(failed)} scenes that failed" if failed else ""
                raise ValueError(
                    f"{output_dir}: split '{split}' exists already{without}; choose another "
                    "folder or split, or give --overwrite"
                )
            whole.append(split)
        elif split not in names and known["settings"]:
            theirs, ours = _kind(known["settings"]), _kind(settings)
            for name in ours:
                if theirs[name] != ours[name]:
                    raise ValueError(
                        f"{output_dir}: choose another folder, or prepare its split '{split}' "
                        f"anew as well (--overwrite): expected one {name} in all its splits, "
                        f"found {theirs[name]} in '{split}' and {ours[name]} for the new ones"
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


def _report_of(
    outcomes: Sequence[Outcome], settings: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    report: dict[str, dict[str, Any]] = collections.defaultdict(
        lambda: {"settings": settings, "scenes": {}}
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
        report = files.read_json(path)
        for part in report.values():
            _kind(part["settings"])
            for scene in part["scenes"].values():
                _ = scene["status"]
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: expected the report of an earlier run, as this version writes it, found "
            "something else; remove it (the scenes stay) or choose another folder"
        ) from error
    return report


def _write_report(path: pathlib.Path, report: Mapping[str, dict[str, Any]]) -> None:
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
            _write_report(partial / REPORT, others)
        else:
            (partial / REPORT).unlink(missing_ok=True)
        _remove_if_empty(partial)


def _remove_if_empty(folder: pathlib.Path) -> None:
    with contextlib.suppress(OSError):  # it holds files of someone else
        folder.rmdir()
