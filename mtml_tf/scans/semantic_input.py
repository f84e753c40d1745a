"""What a semantic network says of a scene's vertices: the input of the instance network.

    <scene>.txt   a class id in each line (0 unlabelled), one line a vertex: the format of the
                  ScanNet semantic benchmark, or the floating point of numpy.savetxt
    <scene>.npy   class ids [N], class probabilities or logits [N, number of classes], or any
                  feature vectors [N, C]; ids may be floating point, or a column [N, 1]

One of the two says it all, but for feature vectors: what class a voxel has, which the
post-processing needs, they do not tell, so `<scene>.txt` has to stand beside them.
"""

import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence

import numpy as np

from mtml_tf import arrays, files
from mtml_tf.classes import SCANNET20, ClassSet
from mtml_tf.scans import voxels
from mtml_tf.scene import VoxelScene

Array = np.ndarray

PROBABILITIES, LOGITS, FEATURES = "probabilities", "logits", "features"
SCORES = (PROBABILITIES, LOGITS, FEATURES)
# Probabilities that were rounded to half precision still add up to 1 within this.
_SUM_TOLERANCE = 0.01


@dataclasses.dataclass(frozen=True, eq=False)
class SemanticInput:
    """The input for a scene of N vertices.

    Attributes:
        semantic_ids: int32 [N] class ids (0 unlabelled); the most probable class where there are
            probabilities, the first of equals.
        features: float32 [N, C], or None where the ids are the input.
        probabilities: `features` are probabilities of the classes, in the order of the class set.
    """

    semantic_ids: Array
    features: Array | None = None
    probabilities: bool = False


def check_scores(scores: str) -> None:
    """Raises ValueError at scores of no known kind."""
    if scores not in SCORES:
        raise ValueError(f"expected scores among {list(SCORES)}, found '{scores}'")


def check_folder(semantic_dir: str | pathlib.Path, scene_names: Sequence[str]) -> None:
    """Raises ValueError where there is no such folder, or nothing of any of these scenes in it."""
    if not pathlib.Path(semantic_dir).is_dir():
        raise ValueError(
            f"{semantic_dir}: expected a folder of semantic predictions, found no such folder"
        )
    if scene_names and not any(find_files(semantic_dir, name) for name in scene_names):
        raise ValueError(
            f"{semantic_dir}: expected files such as {scene_names[0]}.txt or "
            f"{scene_names[0]}.npy, found none of any of the {len(scene_names)} scenes"
        )


def find_files(semantic_dir: str | pathlib.Path, scene_name: str) -> list[pathlib.Path]:
    """Returns the files that there are for a scene, none, one or two."""
    paths = [pathlib.Path(semantic_dir, scene_name + suffix) for suffix in (".txt", ".npy")]
    return [path for path in paths if path.is_file()]


def files_to_read(
    semantic_dir: str | pathlib.Path, scene_name: str, scores: str = PROBABILITIES
) -> dict[str, pathlib.Path]:
    """Returns the files that say it all of a scene, by their suffix.

    Args:
        semantic_dir: the folder of the files.
        scene_name: name of the scene.
        scores: see `read_semantic_input`.

    Raises:
        ValueError: no file, or two where one is expected or the other way round.
    """
    check_scores(scores)
    found = {path.suffix: path for path in find_files(semantic_dir, scene_name)}
    stem = pathlib.Path(semantic_dir, scene_name)
    if scores == FEATURES:
        for suffix, what in ((".npy", "feature vectors"), (".txt", "class ids beside them")):
            if suffix not in found:
                raise ValueError(
                    f"{stem}{suffix}: expected {what}, found no such file; --scores=features is "
                    "for models of feature vectors only"
                )
    elif len(found) != 1:
        what = "both (--scores=features takes the two together)" if found else "neither"
        raise ValueError(
            f"{stem}: expected either {stem.name}.txt or {stem.name}.npy, found {what}"
        )
    return found


def read_semantic_input(
    semantic_dir: str | pathlib.Path,
    scene_name: str,
    num_vertices: int,
    classes: ClassSet,
    scores: str = PROBABILITIES,
) -> SemanticInput:
    """Reads what there is for a scene.

    Args:
        semantic_dir: the folder of the files.
        scene_name: name of the scene.
        num_vertices: N.
        classes: whose ids and order of columns the files have.
        scores: what a table in `<scene>.npy` holds: `probabilities`, `logits` (a softmax over
            each vertex's row makes them probabilities; -inf is 0) or `features`.

    Raises:
        ValueError: no file or two that contradict each other, another number of vertices or
            columns, ids that are not of the classes, or numbers that are not what `scores` says.
    """
    found = files_to_read(semantic_dir, scene_name, scores)
    if scores == FEATURES:
        ids = _read_ids(found[".txt"], num_vertices, classes)
        features = _read_array(found[".npy"], num_vertices)
        if features.ndim != 2 or not features.shape[1]:
            raise ValueError(
                f"{found['.npy']}: expected feature vectors [{num_vertices}, C], found shape "
                f"{list(features.shape)}"
            )
        return SemanticInput(ids, _finite_floats(found[".npy"], features))
    (path,) = found.values()
    return read_semantic_file(path, num_vertices, classes, scores)


def read_semantic_file(
    path: str | pathlib.Path,
    num_vertices: int,
    classes: ClassSet,
    scores: str = PROBABILITIES,
    label_map: Mapping[int, int] | None = None,
) -> SemanticInput:
    """Reads class ids, probabilities or logits from one file.

    Args:
        path: a `.npy` file, or a text file with an id in each line.
        num_vertices: N.
        classes: whose ids and order of columns the file has.
        scores: what a table in a `.npy` file holds: `probabilities` or `logits`.
        label_map: class ids of the file to read as other ids; ids that it lacks stay as they are.
            None where there is no such choice.

    Raises:
        ValueError: no such file, ids where logits are expected, another number of vertices or
            columns, ids that are not of the classes, or numbers that are not what `scores` says.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        raise ValueError(
            f"{path}: expected a file with the labels of one scan, found a folder; name the .txt "
            "or .npy file"
        )
    array = None if path.suffix != ".npy" else _read_array(path, num_vertices)
    if array is not None and array.ndim == 2 and array.shape[1] == 1 < len(classes):
        array = array[:, 0]
    if array is None or array.ndim == 1:
        if scores == LOGITS:
            raise ValueError(
                f"{path}: expected a table of logits in a .npy file, found class ids; leave "
                "--scores out"
            )
        if array is None:
            return SemanticInput(_read_ids(path, num_vertices, classes, label_map))
        return SemanticInput(_checked_ids(path, array, num_vertices, classes, label_map))
    if array.ndim != 2 or array.shape[1] != len(classes):
        raise ValueError(
            f"{path}: expected class ids [{num_vertices}] or a column for each of the "
            f"{len(classes)} classes [{num_vertices}, {len(classes)}], found shape "
            f"{list(array.shape)}; --scores=features takes other vectors"
        )
    if scores == LOGITS:
        values = softmax(_floats(array), f"{path}: expected finite numbers")
    else:
        values = _finite_floats(path, array)
        if fault := fault_of_probabilities(values):
            raise ValueError(f"{path}: {fault}; if these are logits, give --scores=logits")
    return SemanticInput(best_classes(values, classes), values, probabilities=True)


def with_semantic_input(
    voxel_scene: VoxelScene, given: SemanticInput, classes: ClassSet
) -> VoxelScene:
    """Returns the scene with this input; its instances stay as they are.

    A voxel gets the majority of its vertices' ids and the mean of their features; where these are
    probabilities, its id is the class whose mean is largest, the first of equals.

    Raises:
        ValueError: not one row a vertex.
    """
    changed = voxels.with_input(voxel_scene, given.semantic_ids, given.features)
    if given.probabilities and changed.features is not None:
        semantic_ids = best_classes(changed.features, classes)
        changed = dataclasses.replace(changed, semantic_ids=semantic_ids)
    return changed


def best_classes(probabilities: Array, classes: ClassSet) -> Array:
    """Returns int32 [N], the id of the class whose column is largest, the first of equals."""
    return np.array(classes.ids, np.int32)[probabilities.argmax(axis=1)]


def remedy_of_other_ids(classes: ClassSet) -> str:
    """Returns the end of a sentence on class ids that are none of these: what to do."""
    known = ", ".join(f"{i} {name}" for i, name in zip(classes.ids, classes.names, strict=True))
    return (
        f"known are {known}: map other ids to these, or to 0 for unlabelled, by "
        "--label_map=their_id:our_id,..."
    )


def fault_of_probabilities(values: Array) -> str:
    """Returns why rows are not class probabilities, empty where they are.

    Args:
        values: floating point [N, C]; NaN is none.

    Returns:
        What was expected and what was found, as the end of a sentence.
    """
    if (values < 0).any():
        return f"expected probabilities, found {values.min():.3g}"
    sums = values.sum(axis=1, dtype=np.float64)
    wrong = ~(np.abs(sums - 1) <= _SUM_TOLERANCE)  # NaN is wrong as well
    if wrong.any():
        return f"expected probabilities that add up to 1 in each row, found {sums[wrong][0]:.3g}"
    return ""


def softmax(logits: Array, expected: str) -> Array:
    """Returns the probabilities [N, C] that logits stand for, in the same precision.

    Args:
        logits: floating point [N, C]; -inf is the logarithm of 0.
        expected: how the sentence on wrong ones begins: the file, and what it should hold.

    Raises:
        ValueError: a row with NaN or infinity, or without any finite number.
    """
    largest = logits.max(axis=1, keepdims=True)
    wrong = np.count_nonzero(~np.isfinite(largest))
    if wrong:
        raise ValueError(f"{expected}, found NaN or infinity in {wrong} of {len(logits)} rows")
    with np.errstate(over="ignore"):  # a difference of more than all numbers is as good as -inf
        powers = np.exp(logits - largest)
    return powers / powers.sum(axis=1, keepdims=True)


def _read_ids(
    path: pathlib.Path,
    num_vertices: int,
    classes: ClassSet,
    label_map: Mapping[int, int] | None = None,
) -> Array:
    text = files.read_text(path, errors="replace")
    words = text.split()
    # Few ids, many lines: each is turned into a number once.
    number_of = {word: _whole_number(word) for word in set(words)}
    if None in number_of.values():
        number, word = next(
            (number, word)
            for number, line in enumerate(text.splitlines(), start=1)
            for word in line.split()
            if number_of[word] is None
        )
        raise ValueError(
            f"{path}: expected a class id in each line, found {word[:40]!a} in line {number}"
        )
    ids = np.array([number_of[word] for word in words], object)
    return _checked_ids(path, ids, num_vertices, classes, label_map)


def _whole_number(word: str) -> int | None:
    """Returns what `5`, `5.0` or `5.000e+00` says, None for anything but a whole number."""
    if re.fullmatch(r"[+-]?[0-9]{1,40}", word):
        return int(word)  # all digits, where a float would round
    try:
        number = float(word)
    except ValueError:
        return None
    # Python takes 1_0 for 10.
    return int(number) if number.is_integer() and "_" not in word else None


def _checked_ids(
    path: pathlib.Path,
    ids: Array,
    num_vertices: int,
    classes: ClassSet,
    label_map: Mapping[int, int] | None = None,
) -> Array:
    """Returns int32 [N]; raises ValueError where these are not N ids of the classes."""
    if len(ids) != num_vertices:
        raise ValueError(
            f"{path}: expected {num_vertices} class ids, one for each vertex, found {len(ids)}"
        )
    if ids.dtype.kind == "f" and not (whole := arrays.are_whole(ids)).all():
        raise ValueError(f"{path}: expected whole numbers as class ids, found {ids[~whole][0]}")
    if label_map:
        found, rows = np.unique(ids, return_inverse=True)
        # As objects: an id of 64 bits without a sign fits no other integer.
        mapped = [label_map.get(int(i), int(i)) for i in found.tolist()]
        ids = np.array(mapped, object)[rows.reshape(-1)]
    wrong = sorted(set(ids.tolist()) - {0, *classes.ids})
    if wrong:
        hint = " (NYU40 ids, not 0 to 19)" if classes == SCANNET20 else ""
        if label_map is not None:
            hint += f"; {remedy_of_other_ids(classes)}"
        raise ValueError(
            f"{path}: expected class ids among {list(classes.ids)} (or 0), found "
            f"{files.shown(wrong[:5])}{hint}"
        )
    return ids.astype(np.int32)


def _read_array(path: pathlib.Path, num_vertices: int) -> Array:
    array = arrays.read_npy(path)
    if array.dtype.kind not in "iuf" or not array.ndim:
        raise ValueError(
            f"{path}: expected one array of numbers, a row a vertex, found {array.dtype}"
        )
    if len(array) != num_vertices:
        raise ValueError(
            f"{path}: expected {num_vertices} rows, one for each vertex, found {len(array)}"
        )
    return array


def _floats(array: Array) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):  # readers refuse infinity and NaN
        return array.astype(np.float32)


def _finite_floats(path: pathlib.Path, array: Array) -> Array:
    values = _floats(array)
    wrong = np.count_nonzero(~np.isfinite(values).all(axis=1))
    if wrong:
        raise ValueError(
            f"{path}: expected finite numbers, found NaN or infinity in {wrong} of {len(values)} "
            "rows"
        )
    return values
