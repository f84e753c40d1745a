"""A simulated semantic network: true labels with errors like those of trained ones.

Networks get most objects right as a whole. They take a few for something else altogether, err in
large coherent pieces (a cupboard's side is wall, half a refrigerator a door), move the borders
between things and what they stand at, and know nothing of clutter, which they call wall, table or
cabinet. All of it works on points alone. Rates and confusions are set by what six published
networks leave on real scans of rooms; `experiments/calibration.py` lays both side by side.
"""

import dataclasses
import math

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from mtml_tf.classes import SCANNET20, ClassSet
from mtml_tf.scene import Scene

Array = np.ndarray
Rng = np.random.Generator

_CLUTTER = "unlabelled"
# How hard a class is (1: usual), and what it is taken for where that is in the scene, with weights.
_CONFUSIONS: dict[str, tuple[float, dict[str, float]]] = {
    "wall": (1.0, {"door": 2, "cabinet": 2, "window": 2, "curtain": 1, "otherfurniture": 1}),
    "floor": (0.5, {"wall": 2, "table": 1, "chair": 1, "otherfurniture": 1}),
    "cabinet": (1.2, {"wall": 4, "counter": 2, "otherfurniture": 2, "refrigerator": 1, "desk": 1}),
    "bed": (0.6, {"sofa": 3, "otherfurniture": 1}),
    "chair": (0.6, {"table": 4, "sofa": 2, "otherfurniture": 1}),
    "sofa": (0.7, {"chair": 3, "bed": 1, "otherfurniture": 1}),
    "table": (1.0, {"wall": 3, "desk": 3, "otherfurniture": 2, "cabinet": 1, "chair": 1}),
    "door": (1.2, {"wall": 5, "cabinet": 2, "otherfurniture": 1}),
    "window": (1.2, {"wall": 5, "curtain": 1, "picture": 1, "door": 1}),
    "bookshelf": (1.0, {"cabinet": 3, "wall": 2, "otherfurniture": 1}),
    "picture": (2.0, {"wall": 6, "window": 1}),
    "counter": (1.8, {"cabinet": 4, "sink": 2, "desk": 1, "table": 1}),
    "desk": (1.2, {"table": 4, "cabinet": 2, "otherfurniture": 1}),
    "curtain": (1.0, {"wall": 3, "window": 2, "shower curtain": 1}),
    "refrigerator": (2.2, {"door": 3, "cabinet": 3, "wall": 1}),
    "shower curtain": (1.2, {"curtain": 3, "wall": 2}),
    "toilet": (0.4, {"otherfurniture": 1, "chair": 1}),
    "sink": (3.0, {"cabinet": 6, "counter": 2}),
    "bathtub": (0.7, {"sink": 1, "otherfurniture": 1, "cabinet": 1}),
    "otherfurniture": (2.6, {"wall": 4, "table": 4, "cabinet": 2, "chair": 1}),
    _CLUTTER: (1.0, {"wall": 4, "table": 2.2, "cabinet": 2.6, "window": 0.5, "chair": 0.5}),
}

# Rates are chances of a piece of usual difficulty at strength 1; sizes are in metres.
_WHOLE = 0.065  # an object is taken for something else
_PART = 0.24  # a part of it is, cut off by a plane
_PART_SHARE = (0.1, 0.55)  # smallest and largest part of an object's points
_PATCH = 0.05  # a patch of wall or floor beside an object is
_PATCH_SIZE = 0.5
_BESIDE = 0.25
_FAR_LUMP = 0.7  # a lump of clutter is not called what lies nearest to it
_LUMP_SIZE = 0.5
# Labels move by a smooth field of steps.
_STEP = 0.1  # standard deviation along each axis
_STEP_LENGTH = 0.6  # over which the field changes
_THING_STEP = 0.45  # share of it at objects: they hold their own better than walls and floors
_LEAST_STEP = 0.01  # shorter ones change nothing


@dataclasses.dataclass(frozen=True, eq=False)
class _Habit:
    """How a class is confused: its difficulty, other classes [K] and their summed-up shares [K]."""

    difficulty: float
    others: Array
    shares: Array

    def draw(self, numbers: Array) -> Array:
        """Returns class ids [n] for numbers [n] in [0, 1)."""
        return self.others[np.searchsorted(self.shares[:-1], numbers, side="right")]


def check_strength(strength: float) -> None:
    """Raises ValueError for a strength of errors that is negative or not finite."""
    if not 0 <= strength < math.inf:
        raise ValueError(f"expected a strength of label errors of at least 0, found {strength}")


def predict_labels(
    points: Array,
    semantic_ids: Array,
    instance_ids: Array,
    strength: float,
    rng: Rng,
    classes: ClassSet = SCANNET20,
) -> Array:
    """Returns int32 [N], the class id that the simulated network gives each point.

    Greater strengths add to the errors of smaller ones drawn alike. O(N log N): a third of a
    second for 150,000 points.

    Args:
        points: float [N, 3], metres, z up: a scan's vertices, or those left of a thinned scan.
        semantic_ids: integers [N], true class ids (0 unlabelled).
        instance_ids: integers [N] (0 none); those of classes without instances are not looked at.
        strength: of the errors. 1: as networks on real scans; 0: the truth, and where nothing is
            labelled the label of what lies nearest.
        rng: of the errors.
        classes: of the ids. Classes are confused by their names; one of a name that is not
            ScanNet's is taken for any other of the scene.

    Raises:
        ValueError: ids that are not in `classes`, a strength below 0, or not one id a point.
    """
    check_strength(strength)
    if not len(points) == len(semantic_ids) == len(instance_ids):
        raise ValueError(
            f"expected a class and an instance id for each of {len(points)} points, found "
            f"{len(semantic_ids)} and {len(instance_ids)}"
        )
    classes.channels_of(semantic_ids)
    present = np.unique(semantic_ids[semantic_ids > 0])
    labels = semantic_ids.astype(np.int32)
    if not len(present):
        return labels
    habits = {int(id_): _habit(int(id_), present, classes) for id_ in (0, *present)}
    is_thing = classes.is_thing(semantic_ids)
    is_stuff = ~is_thing & (semantic_ids > 0)
    _call_clutter(labels, points, habits[0], strength, rng)
    _confuse_objects(labels, points, np.where(is_thing, instance_ids, -1), habits, strength, rng)
    _confuse_surroundings(labels, points, is_thing, is_stuff, habits, strength, rng)
    return _moved(labels, points, np.where(is_thing, _THING_STEP, 1.0) * strength, rng)


def predict_scene(scene: Scene, strength: float, seed: int) -> Array:
    """Returns int32 [N], what `predict_labels` says of a scan's vertices; ScanNet's 20 classes.

    Raises:
        ValueError: a scan without labels and instances, with other classes, or a strength below 0.
    """
    if scene.semantic_ids is None or scene.instance_ids is None:
        raise ValueError(f"scene {scene.name}: expected labels and instances, found none")
    rng = np.random.default_rng(seed)
    try:
        return predict_labels(scene.vertices, scene.semantic_ids, scene.instance_ids, strength, rng)
    except ValueError as error:
        raise ValueError(f"scene {scene.name}: {error}") from error


def _habit(class_id: int, present: Array, classes: ClassSet) -> _Habit:
    """Returns what a class (0: clutter) is taken for among the classes that are present."""
    name = classes.name_of(class_id) if class_id else _CLUTTER
    difficulty, named = _CONFUSIONS.get(name, (1.0, {}))
    weights = np.array([named.get(classes.name_of(int(other)), 0.0) for other in present])
    if not weights.any():
        weights = (present != class_id).astype(float)
    if not weights.any():  # nothing else is there
        weights = np.ones(len(present))
    shares = weights[weights > 0] / weights.sum()
    return _Habit(difficulty, present[weights > 0].astype(np.int32), np.cumsum(shares))


def _call_clutter(labels: Array, points: Array, habit: _Habit, strength: float, rng: Rng) -> None:
    """Gives unlabelled points the label of what lies nearest, or lump by lump another one."""
    known, rows = labels > 0, np.flatnonzero(labels == 0)
    if not len(rows):
        return
    _, nearest = cKDTree(points[known]).query(points[rows])
    lumps, seeds = _patches(points[rows], _LUMP_SIZE, rng)
    chances, numbers = rng.random((2, len(seeds)))
    is_far = chances < _FAR_LUMP * strength
    labels[rows] = np.where(is_far[lumps], habit.draw(numbers)[lumps], labels[known][nearest])


def _confuse_objects(
    labels: Array,
    points: Array,
    objects: Array,
    habits: dict[int, _Habit],
    strength: float,
    rng: Rng,
) -> None:
    """Takes objects, or parts of them, for something else; `objects` [N] is -1 elsewhere."""
    keys = labels * (objects.max() + 2) + objects
    order = np.argsort(keys, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(keys[order])) + 1):
        if objects[rows[0]] < 0:
            continue
        habit = habits[int(labels[rows[0]])]
        # Drawn in any case, so that a greater strength adds to the errors of a smaller one.
        whole, part, share = rng.random(3)
        others = habit.draw(rng.random(2))
        # Flattened: things are cut from side to side rather than from top to bottom.
        heights = points[rows] @ (rng.normal(size=3) * (1, 1, 0.5))
        if whole < _WHOLE * habit.difficulty * strength:
            labels[rows] = others[0]
        if part < _PART * habit.difficulty * strength:
            end = np.quantile(heights, np.interp(share, (0, 1), _PART_SHARE))
            labels[rows[heights < end]] = others[1]


def _confuse_surroundings(
    labels: Array,
    points: Array,
    is_thing: Array,
    is_stuff: Array,
    habits: dict[int, _Habit],
    strength: float,
    rng: Rng,
) -> None:
    """Takes patches of walls and floors beside objects for something else."""
    if not is_thing.any() or not is_stuff.any():
        return
    rows = np.flatnonzero(is_stuff)
    patches, seeds = _patches(points[rows], _PATCH_SIZE, rng)
    distances, _ = cKDTree(points[is_thing]).query(points[rows[seeds]])
    chances, numbers = rng.random((2, len(seeds)))
    class_ids = labels[rows]
    for class_id in np.unique(class_ids).tolist():
        habit = habits[class_id]
        is_wrong = (chances < _PATCH * habit.difficulty * strength) & (distances < _BESIDE)
        wrong = is_wrong[patches] & (class_ids == class_id)
        labels[rows[wrong]] = habit.draw(numbers)[patches[wrong]]


def _patches(points: Array, size: float, rng: Rng) -> tuple[Array, Array]:
    """Parts points into patches of about a size; returns the patch of each, and their seeds."""
    cells = np.floor((points - points.min(axis=0)) / size + rng.random(3)).astype(np.int64)
    keys = np.ravel_multi_index(tuple(cells.T), tuple(cells.max(axis=0) + 1))
    order = rng.permutation(len(points))
    _, firsts = np.unique(keys[order], return_index=True)
    seeds = order[firsts]
    return cKDTree(points[seeds]).query(points)[1], seeds


def _moved(labels: Array, points: Array, reach: Array, rng: Rng) -> Array:
    """Gives each point the label of the surface a smoothly varying step away, times `reach` [N]."""
    low = points.min(axis=0)
    shape = np.ceil(np.ptp(points, axis=0) / _STEP_LENGTH).astype(int) + 2
    field = rng.normal(size=(3, *shape)) * _STEP
    places = ((points - low) / _STEP_LENGTH).T
    steps = np.stack([ndimage.map_coordinates(part, places, order=1) for part in field], axis=1)
    steps *= reach[:, None]
    rows = np.flatnonzero(np.linalg.norm(steps, axis=1) > _LEAST_STEP)
    _, nearest = cKDTree(points).query(points[rows] + steps[rows])
    result = labels.copy()
    result[rows] = labels[nearest]
    return result


def encode_labels(predicted: Array) -> str:
    """Returns class ids [N] in the format of the semantic benchmark: one in each line."""
    return "".join(f"{class_id}\n" for class_id in predicted.tolist())


def confusion(truth: Array, predicted: Array) -> Array:
    """Returns int64 [20, 20], vertices by true and predicted class; unlabelled ones left out.

    Those of several scenes add up.

    Raises:
        ValueError: a labelled vertex without a predicted class, or a class that is not of the 20.
    """
    known = truth > 0
    rows, columns = SCANNET20.channels_of(truth[known]), SCANNET20.channels_of(predicted[known])
    # -1 would count for another class, silently.
    missing = np.count_nonzero(columns < 0)
    if missing:
        raise ValueError(
            f"expected a predicted class for every vertex, found id 0 for {missing} of "
            f"{len(columns)}"
        )
    count = len(SCANNET20)
    return np.bincount(rows.astype(np.int64) * count + columns, minlength=count**2).reshape(
        count, count
    )


def iou(confusions: Array) -> Array:
    """Returns float64 [20], intersection over union of each class; NaN for absent ones."""
    true, predicted, both = confusions.sum(axis=1), confusions.sum(axis=0), np.diag(confusions)
    with np.errstate(invalid="ignore"):
        return np.where(true > 0, both / np.maximum(true + predicted - both, 1), np.nan)
