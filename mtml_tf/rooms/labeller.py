"""A simulated semantic network: true labels with errors like those of a trained one.

Four kinds of errors, all coherent in space as a network's are: whole objects or parts of them
taken for a similar class, labels that bleed over the borders of objects, and specks of classes
that are not there. Their rates follow what a sparse convolutional network leaves on ScanNet.
"""

import dataclasses
import math

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from mtml_tf.classes import SCANNET18, SCANNET20
from mtml_tf.scene import Scene

Array = np.ndarray
Rng = np.random.Generator

# For each NYU40 id: how hard the class is (1: usual), and what it is taken for, with weights.
_CONFUSIONS: dict[int, tuple[float, dict[int, float]]] = {
    1: (0.15, {8: 2, 39: 2, 3: 2, 9: 1, 11: 1, 16: 1}),  # wall
    2: (0.05, {1: 1, 39: 1}),  # floor
    3: (1.3, {39: 3, 1: 2, 12: 2, 24: 1, 10: 1, 14: 1}),  # cabinet
    4: (0.6, {6: 3, 39: 1}),  # bed
    5: (0.6, {6: 2, 7: 2, 39: 2, 14: 1}),  # chair
    6: (0.8, {5: 3, 4: 1, 39: 1}),  # sofa
    7: (1.0, {14: 3, 39: 2, 12: 1, 5: 1}),  # table
    8: (1.4, {1: 4, 3: 2, 39: 1}),  # door
    9: (1.5, {1: 4, 16: 2, 11: 1, 8: 1}),  # window
    10: (1.0, {3: 3, 39: 1, 1: 1}),  # bookshelf
    11: (2.0, {1: 6, 9: 1}),  # picture
    12: (1.4, {3: 4, 14: 1, 7: 1}),  # counter
    14: (1.4, {7: 4, 3: 2, 39: 1}),  # desk
    16: (1.2, {9: 3, 1: 2, 28: 1}),  # curtain
    24: (1.6, {3: 4, 8: 1, 39: 1}),  # refrigerator
    28: (1.3, {16: 3, 1: 2}),  # shower curtain
    33: (0.4, {39: 1, 5: 1}),  # toilet
    34: (1.2, {12: 3, 3: 2, 36: 1}),  # sink
    36: (0.7, {34: 1, 39: 1, 3: 1}),  # bathtub
    39: (1.7, {3: 3, 5: 1, 7: 1, 1: 2}),  # otherfurniture
}
# Predicted only in rooms that have them.
_TELLING = {4, 24, 28, 33, 34, 36}
_MOST_PARTS = 3
_SPECKS = np.array([3, 5, 6, 7, 8, 9, 10, 11, 14, 16, 39])


@dataclasses.dataclass(frozen=True)
class LabellerSettings:
    """How much the simulated network errs.

    Attributes:
        whole: chance that an object of usual difficulty is taken for another class as a whole.
        part: chance that a part of such an object is, three times over.
        largest_part: the largest part, as a share of the object's vertices.
        bleeding: standard deviation of the displacement of labels, metres.
        bleeding_length: distance over which that displacement changes, metres.
        specks: false patches for every 100,000 vertices.
        specks_on_things: how many times more likely a patch is on an object than elsewhere.
        speck_radius: smallest and largest radius of such a patch, metres.
        strength: scales all errors; 0 gives the truth where it is labelled.

    Raises:
        ValueError: a value that is negative, infinite or not a number, a length of 0, or radii in
            the wrong order.
    """

    whole: float = 0.03
    part: float = 0.45
    largest_part: float = 0.35
    bleeding: float = 0.08
    bleeding_length: float = 0.3
    specks: float = 20.0
    specks_on_things: float = 4.0
    speck_radius: tuple[float, float] = (0.1, 0.2)
    strength: float = 1.0

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not all(0 <= number < math.inf for number in np.ravel(value)):
                raise ValueError(f"expected a {name} of at least 0, found {value}")
        if self.bleeding_length == 0:
            raise ValueError("expected a bleeding_length above 0 m, found 0")
        if len(self.speck_radius) != 2 or self.speck_radius[0] > self.speck_radius[1]:
            raise ValueError(
                f"expected the smallest and the largest speck_radius, found {self.speck_radius}"
            )


def predict_labels(scene: Scene, segments: Array, settings: LabellerSettings, seed: int) -> Array:
    """Returns int32 [N], the class id of SCANNET20 that the simulated network gives each vertex.

    Args:
        scene: with semantic_ids (NYU40 ids of the 20 classes, 0 unlabelled) and instance_ids.
        segments: integers [N], the over-segmentation; parts of objects are made of segments.
        settings: how much it errs.
        seed: of the errors.

    Raises:
        ValueError: a scene without labels and instances, with no labelled vertex at all or with
            other classes than the 20, or not one segment id a vertex.
    """
    if scene.semantic_ids is None or scene.instance_ids is None:
        raise ValueError(f"scene {scene.name}: expected labels and instances, found none")
    if not scene.semantic_ids.any():
        raise ValueError(f"scene {scene.name}: expected labelled vertices, found none")
    if len(segments) != len(scene.vertices):
        raise ValueError(
            f"scene {scene.name}: expected a segment id for each of {len(scene.vertices)} "
            f"vertices, found {len(segments)}"
        )
    try:
        SCANNET20.channels_of(scene.semantic_ids)
    except ValueError as error:
        raise ValueError(f"scene {scene.name}: {error}") from error
    rng = np.random.default_rng(seed)
    labels = _filled(scene.semantic_ids, scene.vertices)
    if settings.strength == 0:
        # Without the search for neighbours, which can't tell vertices at one place apart.
        return labels.astype(np.int32)
    labels = _confused(labels, scene.instance_ids, scene.vertices, segments, settings, rng)
    labels = _with_specks(labels, scene.vertices, settings, rng)
    return _bled(labels, scene.vertices, settings, rng).astype(np.int32)


def _filled(semantic_ids: Array, vertices: Array) -> Array:
    """Returns the true labels, with those of the nearest labelled vertex where there is none."""
    labels = semantic_ids.copy()
    known = labels > 0
    _, nearest = cKDTree(vertices[known]).query(vertices[~known])
    labels[~known] = labels[known][nearest]
    return labels


def _confused(
    labels: Array,
    instance_ids: Array,
    vertices: Array,
    segments: Array,
    settings: LabellerSettings,
    rng: Rng,
) -> Array:
    """Takes objects, or parts of them, for a similar class."""
    result = labels.copy()
    _, segment_rows = np.unique(segments, return_inverse=True)
    segment_rows = segment_rows.reshape(-1)
    present = set(np.unique(labels).tolist())
    order = np.argsort(instance_ids, kind="stable")
    starts = np.flatnonzero(np.diff(instance_ids[order], prepend=-1))
    for rows in np.split(order, starts[1:]):
        difficulty, confusions = _CONFUSIONS[int(np.bincount(labels[rows]).argmax())]
        # A toilet is not seen in an office, where nothing else speaks for a bathroom.
        weights = {c: w for c, w in confusions.items() if c in present or c not in _TELLING}
        # Drawn in any case, so that a greater strength adds to the errors of a smaller one.
        chances = rng.random(1 + _MOST_PARTS)
        shares, centres = rng.random((2, _MOST_PARTS))
        directions = rng.normal(size=(_MOST_PARTS, 3))
        others = rng.choice(list(weights), 1 + _MOST_PARTS, p=_normalised(weights))
        if chances[0] < settings.whole * difficulty * settings.strength:
            result[rows] = others[0]
        _, local = np.unique(segment_rows[rows], return_inverse=True)
        local = local.reshape(-1)
        sizes = np.bincount(local)
        for part in range(_MOST_PARTS):
            if chances[1 + part] < settings.part * difficulty * settings.strength:
                # Whole segments of a band across the object; what is left may fall apart.
                places = np.bincount(local, vertices[rows] @ directions[part]) / sizes
                ranked = np.argsort(np.abs(places - np.quantile(places, centres[part])))
                budget = shares[part] * settings.largest_part * len(rows)
                taken = ranked[np.cumsum(sizes[ranked]) <= budget]
                result[rows[np.isin(local, taken)]] = others[1 + part]
    return result


def _with_specks(labels: Array, vertices: Array, settings: LabellerSettings, rng: Rng) -> Array:
    """Adds false patches."""
    result = labels.copy()
    count = rng.poisson(settings.specks * settings.strength * len(labels) / 100_000)
    # Most of them lie on objects, where a network has more to choose from than on walls.
    weights = np.where(np.isin(labels, SCANNET18.ids), settings.specks_on_things, 1.0)
    chosen = rng.choice(len(vertices), count, p=weights / weights.sum())
    centres = vertices[chosen]
    radii = rng.uniform(*settings.speck_radius, count)
    classes = rng.choice(_SPECKS, count)
    members = cKDTree(vertices).query_ball_point(centres, radii)
    for rows, class_id in zip(members, classes, strict=True):
        result[rows] = class_id
    return result


def _bled(labels: Array, vertices: Array, settings: LabellerSettings, rng: Rng) -> Array:
    """Gives each vertex the label of the surface beside it, a smoothly varying step away."""
    low = vertices.min(axis=0)
    shape = np.ceil((vertices.max(axis=0) - low) / settings.bleeding_length).astype(int) + 2
    field = rng.normal(size=(3, *shape)) * settings.bleeding * settings.strength
    places = ((vertices - low) / settings.bleeding_length).T
    step = [ndimage.map_coordinates(part, places, order=1) for part in field]
    _, nearest = cKDTree(vertices).query(vertices + np.stack(step, axis=1))
    return labels[nearest]


def _normalised(weights: dict[int, float]) -> Array:
    values = np.array(list(weights.values()), float)
    return values / values.sum()


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
