"""Packs predictions for the ScanNet server, after every check that it is known to make.

A zip that the server takes has no folder around its content, exactly the scenes of the test split,
masks in a subfolder with a line for each vertex of their scene, the 18 scored classes only, and
unpacks to less than 12 GB.
"""

import dataclasses
import os
import pathlib
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence

from absl import logging

from mtml_tf import files, program
from mtml_tf.classes import SCANNET18
from mtml_tf.scoring import compact_masks
from mtml_tf.scoring.benchmark_format import (
    encode_predictions,
    parse_line,
    prediction_path,
    read_integers,
)

# The 100 scenes of the ScanNet v2 test split.
TEST_SCENES = tuple(f"scene{number:04d}_00" for number in range(707, 807))
MAX_UNPACKED_BYTES = 12 * 10**9
_MOST_LISTED = 100


@dataclasses.dataclass(frozen=True)
class Submission:
    """What goes into the zip.

    Attributes:
        num_scenes: number of scenes.
        paths: of all files, relative to the folder of predictions, with `/`; no path twice. Those
            that compact masks stand for are not in the folder.
        unpacked_bytes: sum of their sizes.
    """

    num_scenes: int
    paths: tuple[str, ...]
    unpacked_bytes: int


def pack_submission(
    prediction_dir: str | pathlib.Path,
    output_zip: str | pathlib.Path,
    scene_names: Sequence[str] = TEST_SCENES,
    vertex_counts: Mapping[str, int] | None = None,
    overwrite: bool = False,
) -> Submission:
    """Checks a folder of predictions and writes the zip; the same folder gives the same bytes.

    Only the scenes' files and the masks that they name go into the zip. Problems are logged, one
    line each, at most 100 of them.

    Args:
        prediction_dir: folder of predictions; compact masks are packed as the text that they
            stand for.
        output_zip: the file; it appears whole or, with any problem, not at all.
        scene_names: the scenes that the server expects.
        vertex_counts: number of vertices of each scene. None where they are not known; then the
            masks of a scene must have as many lines as each other.
        overwrite: replaces a file that exists.

    Returns:
        What was packed.

    Raises:
        ValueError: the file exists, or the folder has problems.
    """
    folder = pathlib.Path(prediction_dir)
    if vertex_counts is None:
        logging.warning("number of vertices not given: masks are compared with each other only")
    with files.writing_file(output_zip, overwrite) as temporary:
        submission, problems = check_submission(folder, scene_names, vertex_counts)
        for problem in problems[:_MOST_LISTED]:
            logging.error("%s", problem)
        if len(problems) > _MOST_LISTED:
            logging.error("... and %d more", len(problems) - _MOST_LISTED)
        if problems:
            raise ValueError(
                f"{folder}: expected predictions that the server takes, found {len(problems)} "
                f"problem{'s' * (len(problems) > 1)}, listed above; {output_zip} is not written"
            )
        _write_zip(temporary, folder, submission.paths)
    return submission


def check_submission(
    prediction_dir: str | pathlib.Path,
    scene_names: Sequence[str] = TEST_SCENES,
    vertex_counts: Mapping[str, int] | None = None,
) -> tuple[Submission, list[str]]:
    """Returns what would go into the zip, and every problem that is found, a sentence each.

    Arguments are those of `pack_submission`.
    """
    folder = pathlib.Path(prediction_dir)
    if not folder.is_dir():
        return Submission(0, (), 0), [f"{folder}: expected a folder, found no such folder"]
    problems = _check_names(folder, scene_names)
    sizes: dict[str, int] = {}
    for name in program.progress(scene_names, "scenes checked"):
        path = prediction_path(folder, name)
        if path.is_file():  # those that are not are problems already
            wanted = None if vertex_counts is None else vertex_counts.get(name)
            if vertex_counts is not None and wanted is None:
                problems.append(f"{folder}/{name}.txt: expected a vertex count of it, found none")
            compact = path.suffix == compact_masks.SUFFIX
            check = _check_compact_scene if compact else _check_scene
            problems += check(folder, name, wanted, sizes)
    unpacked = sum(sizes.values())
    if unpacked >= MAX_UNPACKED_BYTES:
        problems.append(
            f"{folder}: expected less than {MAX_UNPACKED_BYTES / 1e9:g} GB unpacked, found "
            f"{unpacked / 1e9:.2f} GB; leave out the instances of the lowest confidence"
        )
    return Submission(len(scene_names), tuple(sizes), unpacked), problems


def read_vertex_count_table(path: str | pathlib.Path) -> dict[str, int]:
    """Reads numbers of vertices from a text file of `scene count` lines.

    Raises:
        ValueError: no such file, or a line that is something else.
    """
    path = pathlib.Path(path)
    counts = {}
    for number, line in enumerate(files.read_text(path).splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 2 or not re.fullmatch("[0-9]{1,18}", fields[1]):
            raise ValueError(
                f"{path}: expected 'scene count' in line {number}, found '{files.shown(line)}'"
            )
        counts[fields[0]] = int(fields[1])
    return counts


def _check_names(folder: pathlib.Path, scene_names: Sequence[str]) -> list[str]:
    """Returns problems of which files there are."""
    paths = [*folder.glob("*.txt"), *folder.glob(f"*{compact_masks.SUFFIX}")]
    found = {path.stem for path in paths if not path.name.startswith(".")}
    problems = [
        f"{folder}/{name}.txt: expected a file for each of the {len(scene_names)} scenes, found "
        "no such file"
        for name in scene_names
        if name not in found
    ]
    problems += [
        f"{folder}/{name}.txt: expected the {len(scene_names)} listed scenes only, found one more"
        for name in sorted(found.difference(scene_names))
    ]
    return problems


def _check_scene(
    folder: pathlib.Path, name: str, num_vertices: int | None, sizes: dict[str, int]
) -> list[str]:
    """Returns problems of a scene; adds its files and their sizes, bytes, to `sizes`."""
    path = folder / f"{name}.txt"
    try:
        lines = files.read_text(path, encoding="utf-8").splitlines()
    except ValueError as error:
        return [str(error)]
    sizes[path.name] = path.stat().st_size
    problems = []
    line_of_mask: dict[str, int] = {}
    wanted_by = "one for each vertex"
    for number, line in enumerate(lines, start=1):
        try:
            real_path, _, _ = parse_line(path, number, line)
        except ValueError as error:
            problems.append(str(error))
            continue
        written, class_text, _ = line.split(" ")
        problems += [
            f"{path}: expected {expected} in line {number}, found {found}"
            for expected, found in _line_faults(written, class_text)
        ]
        if real_path in line_of_mask:
            problems.append(
                f"{path}: expected each mask once, found '{files.shown(written)}' in line "
                f"{number}, which line {line_of_mask[real_path]} names already"
            )
            continue
        line_of_mask[real_path] = number
        try:
            num_lines = len(read_integers(pathlib.Path(real_path)))
        except ValueError as error:
            problems.append(f"{error} (line {number} of {path})")
            continue
        sizes[pathlib.PurePosixPath(written).as_posix()] = os.path.getsize(real_path)
        if num_vertices is None:
            num_vertices, wanted_by = num_lines, f"as many as in '{files.shown(written)}'"
        elif num_lines != num_vertices:
            problems.append(
                f"{folder}/{files.shown(written)}: expected {num_vertices} lines, {wanted_by}, "
                f"found {num_lines}"
            )
    return problems


def _check_compact_scene(
    folder: pathlib.Path, name: str, num_vertices: int | None, sizes: dict[str, int]
) -> list[str]:
    """Does what `_check_scene` does, for the text files that compact masks stand for."""
    path = prediction_path(folder, name)
    try:
        instances, num_vertices = compact_masks.read_masks(path, num_vertices)
    except ValueError as error:
        return [str(error)]
    for text_path, content in encode_predictions(name, instances, num_vertices):
        sizes[text_path] = len(content)
    return [
        f"{path}: expected one of the class ids {list(SCANNET18.ids)} of mask {number}, found "
        f"{instance.class_id}"
        for number, instance in enumerate(instances)
        if instance.class_id not in SCANNET18.ids
    ]


def _line_faults(mask: str, class_text: str) -> list[tuple[str, str]]:
    """Returns what was expected and what was found instead, of a mask's path and its class."""
    faults = []
    parts = pathlib.PurePosixPath(mask).parts
    if ".." in parts:
        faults.append(("a mask path without '..'", f"'{files.shown(mask)}'"))
    elif len(parts) < 2:
        faults.append(("a mask in a subfolder", f"'{files.shown(mask)}'"))
    if len(mask.split()) != 1:
        faults.append(("a mask path without spaces", f"'{files.shown(mask)}'"))
    # Stricter than the official program, which cuts 5.7 to 5.
    if float(class_text) not in SCANNET18.ids:
        faults.append((f"one of the class ids {list(SCANNET18.ids)}", files.shown(class_text)))
    return faults


def _write_zip(path: pathlib.Path, folder: pathlib.Path, paths: Sequence[str]) -> None:
    """Writes files of a folder into a zip: sorted, without times, owners and root folder."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        contents = _read_files(folder, sorted(paths))
        for name, content in program.progress(contents, "files packed", len(paths)):
            entry = zipfile.ZipInfo(name)  # dated 1980
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, wherever it is written
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)


def _read_files(folder: pathlib.Path, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yields paths and contents of text files, those of compact masks from one scene held."""
    held, contents = "", dict[str, bytes]()
    for name in paths:
        scene = pathlib.PurePosixPath(name).stem
        scene = scene.rpartition("_")[0] if "/" in name else scene
        compact = folder / f"{scene}{compact_masks.SUFFIX}"
        if not compact.exists():
            yield name, (folder / name).read_bytes()
            continue
        if scene != held:
            held, contents = (
                scene,
                dict(encode_predictions(scene, *compact_masks.read_masks(compact))),
            )
        yield name, contents[name]
