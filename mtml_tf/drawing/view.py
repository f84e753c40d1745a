"""What there is to see of a scan: colourings of its points (modes), and its instances.

`view_html` makes a page for a browser of it, `draw_view` a picture.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from mtml_tf.classes import THING, ClassSet
from mtml_tf.drawing.feature_colors import DIRECTION_LEGEND, direction_colors, embedding_colors
from mtml_tf.drawing.mistakes import MISTAKE_COLORS, find_mistakes
from mtml_tf.drawing.pictures import (
    STUFF_COLOR,
    class_colors,
    draw_points,
    draw_voxels,
    instance_colors,
    side_by_side,
)
from mtml_tf.scene import Instance, Scene
from mtml_tf.scoring.ground_truth import INSTANCES_PER_CLASS, ground_truth_ids
from mtml_tf.scoring.summary import best_instances

Array = np.ndarray
Legend = Sequence[tuple[str, tuple[int, int, int]]]

COLOR, SEMANTIC, TRUTH, INSTANCES = "colour", "semantic input", "ground truth", "instances"
EMBEDDING, DIRECTION, MISTAKES = "embedding", "direction", "mistakes"
HEIGHT = "height"

_IOU = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """What a page shows.

    Attributes:
        title: heading.
        points: float [N, 3], metres, z up.
        modes: for each name of a mode uint8 [N, 3], red green blue.
        hover: a text for each point, lines separated by newlines, or None.
        instances: those of the list; indices are rows of the points. One whose score is not a
            number (the true ones) is listed without.
        class_names: a name for each class id of the instances.
        legends: for some modes what the colours mean.
        voxel_size: metres, where the points are the centres of voxels; 0 for a scan.
        of_points: how many points the scan has of which these are a selection; 0 for all.
    """

    title: str
    points: Array
    modes: Mapping[str, Array]
    hover: Sequence[str] | None
    instances: Sequence[Instance]
    class_names: Mapping[int, str]
    legends: Mapping[str, Legend] = dataclasses.field(default_factory=dict)
    voxel_size: float = 0.0
    of_points: int = 0

    def __post_init__(self) -> None:
        count = len(self.points)
        if not count or not self.modes:
            raise ValueError(
                f"{self.title}: expected at least one point and one mode to show, found {count} "
                f"points and {len(self.modes)} modes"
            )
        rows = {f"mode '{name}'": len(colors) for name, colors in self.modes.items()}
        rows.update({} if self.hover is None else {"hover": len(self.hover)})
        for name, found in rows.items():
            if found != count:
                raise ValueError(f"{self.title}: expected {count} rows in {name}, found {found}")
        for instance in self.instances:
            if len(instance.indices) and not (
                0 <= instance.indices.min() <= instance.indices.max() < count
            ):
                raise ValueError(
                    f"{self.title}: expected rows of instances from 0 to {count - 1}, found "
                    f"{instance.indices.min()} to {instance.indices.max()}"
                )

    @property
    def opening(self) -> str:
        """The mode to show first: the predicted instances or else the true ones, where there are.

        Where there are none, it is the first mode.
        """
        found = [name for name in (INSTANCES, TRUTH) if self.instances and name in self.modes]
        return [*found, *self.modes][0]

    def select(self, rows: Array) -> "View":
        """Returns the view of some of its points.

        Args:
            rows: int [n], ascending, none twice.
        """
        place = np.full(len(self.points), -1, np.int32)
        place[rows] = np.arange(len(rows), dtype=np.int32)
        instances = []
        for instance in self.instances:
            kept = place[instance.indices]
            instances.append(dataclasses.replace(instance, indices=kept[kept >= 0]))
        return dataclasses.replace(
            self,
            points=self.points[rows],
            modes={name: colors[rows] for name, colors in self.modes.items()},
            hover=None if self.hover is None else [self.hover[row] for row in rows.tolist()],
            instances=instances,
            of_points=self.of_points or len(self.points),
        )


def scan_view(
    scene: Scene,
    instances: Sequence[Instance],
    classes: ClassSet,
    *,
    truth: Array | None = None,
    embedding: Array | None = None,
    direction: Array | None = None,
    min_vertices: int = 100,
) -> View:
    """Makes a view of a scan with all the modes that there is something for.

    Args:
        scene: N vertices; its labels are the semantic input.
        instances: predicted ones, indices are vertex rows; the list shows them, or the true ones
            where there are none.
        classes: of the labels and of the instances.
        truth: int64 [N], `class_id * 1000 + instance`; where it is None, the scene's own labels
            and instances are the ground truth, if it has them.
        embedding: float32 [N, E] that the network gives, or None.
        direction: float32 [N, 3] likewise.
        min_vertices: the mistakes leave out smaller objects and predictions, as the scores do.

    Returns:
        The view; modes in the order of this module's constants.

    Raises:
        ValueError: labels that are not in `classes`, or arrays that do not fit the vertices.
    """
    if truth is None and scene.semantic_ids is not None and scene.instance_ids is not None:
        truth = ground_truth_ids(_renumbered(scene), classes)
    if truth is not None and len(truth) != len(scene.vertices):
        raise ValueError(
            f"scene {scene.name}: expected ground truth for {len(scene.vertices)} vertices, found "
            f"{len(truth)}"
        )
    best_first = sorted(instances, key=lambda instance: -instance.score)
    modes: dict[str, Array] = {}
    legends: dict[str, Legend] = {}
    is_thing = np.ones(len(scene.vertices), bool)
    if scene.colors is not None:
        modes[COLOR] = scene.colors
    if scene.semantic_ids is not None:
        modes[SEMANTIC] = class_colors(scene.semantic_ids, classes)
        legends[SEMANTIC] = class_legend(scene.semantic_ids, classes)
        is_thing = classes.is_thing(scene.semantic_ids)
    objects = None if truth is None else _true_objects(truth, classes)
    if objects is not None:
        modes[TRUTH] = instance_colors(objects)
    if instances:
        modes[INSTANCES] = instance_colors(_numbers_on_points(best_first, objects, len(is_thing)))
    for name, values, colors_of in (
        (EMBEDDING, embedding, embedding_colors),
        (DIRECTION, direction, direction_colors),
    ):
        if values is not None:
            modes[name] = np.full((len(is_thing), 3), STUFF_COLOR, np.uint8)
            modes[name][is_thing] = colors_of(values[is_thing])
    if direction is not None:
        legends[DIRECTION] = DIRECTION_LEGEND
    object_kinds: Mapping[int, str] = {}
    if truth is not None and instances:
        mistakes = find_mistakes(truth, best_first, classes, min_vertices)
        object_kinds = mistakes.object_kinds
        modes[MISTAKES] = mistakes.colors(truth, STUFF_COLOR)
        legends[MISTAKES] = [
            (f"{kind}: {count}", MISTAKE_COLORS[kind]) for kind, count in mistakes.counts().items()
        ]
    if not modes:
        modes[HEIGHT] = _height_colors(scene.vertices)
    names = dict(zip(classes.ids, classes.names, strict=True))
    listed = best_first
    if not instances and truth is not None and objects is not None:
        listed = _as_instances(truth, objects)
    return View(
        title=scene.name,
        points=scene.vertices,
        modes=modes,
        hover=_hover(scene.semantic_ids, truth, object_kinds, best_first, names, len(is_thing)),
        instances=listed,
        class_names=names,
        legends=legends,
    )


def _renumbered(scene: Scene) -> Scene:
    """Returns the scene with the instances 1, 2, ...: scans may number them as they like."""
    return dataclasses.replace(scene, instance_ids=_numbered(np.asarray(scene.instance_ids)))


def _true_objects(truth: Array, classes: ClassSet) -> Array:
    """Returns int64 [N]: 1, 2, ... for the true instances of things, 0 elsewhere."""
    is_object = classes.is_thing(truth // INSTANCES_PER_CLASS)
    return _numbered(np.where(is_object, truth, 0))


def _numbered(ids: Array) -> Array:
    """Returns int64 [N], the distinct ids (0 or more) as 1, 2, ... in their order; 0 stays 0."""
    _, numbers = np.unique(np.append(0, ids), return_inverse=True)
    return numbers.reshape(-1)[1:]


def _as_instances(truth: Array, objects: Array) -> list[Instance]:
    """Returns the true instances; their score is not a number."""
    members = [np.flatnonzero(objects == number) for number in range(1, objects.max() + 1)]
    return [
        Instance(int(truth[rows[0]]) // INSTANCES_PER_CLASS, math.nan, rows.astype(np.int32))
        for rows in members
    ]


def _numbers_on_points(best_first: Sequence[Instance], objects: Array | None, count: int) -> Array:
    """Returns int64 [N], numbers for `instance_colors`: a found object has that of the true one."""
    numbers, following = [0], 1
    if objects is not None:
        sizes = np.bincount(objects)
        following = len(sizes)
        free = np.ones(len(sizes), bool)
        free[0] = False
    for instance in best_first:
        number = following
        if objects is not None and len(instance.indices):
            shared = np.bincount(objects[instance.indices], minlength=len(sizes))
            iou = free * shared / (sizes + len(instance.indices) - shared)
            if iou.max() > _IOU:
                number = int(iou.argmax())
                free[number] = False
        following += number == following
        numbers.append(number)
    return np.array(numbers)[best_instances(best_first, count)]


def class_legend(semantic_ids: Array, classes: ClassSet) -> Legend:
    """Returns the colours that `class_colors` gives to the ids [n] that there are."""
    present = [i for i in classes.ids if np.any(semantic_ids == i)]
    things = [i for i in present if classes.kinds[classes.ids.index(i)] == THING]
    colors = class_colors(np.array(things, np.int32), classes).tolist()
    legend = [(classes.name_of(i), (r, g, b)) for i, (r, g, b) in zip(things, colors, strict=True)]
    plain = [classes.name_of(i) for i in present if i not in things]
    if np.any(semantic_ids == 0):
        plain.append("unlabelled")
    return [*legend, (", ".join(plain), STUFF_COLOR)] if plain else legend


def _height_colors(vertices: Array) -> Array:
    """Returns uint8 [N, 3], dark blue below to light yellow above."""
    z = vertices[:, 2]
    share = ((z - z.min()) / max(np.ptp(z), 1e-9))[:, None]
    low, high = np.array([45.0, 60.0, 120.0]), np.array([240.0, 220.0, 130.0])
    return np.round(low + share * (high - low)).astype(np.uint8)


def _hover(
    semantic_ids: Array | None,
    truth: Array | None,
    object_kinds: Mapping[int, str],
    best_first: Sequence[Instance],
    names: Mapping[int, str],
    count: int,
) -> list[str]:
    """Returns a text for each point: what it is as input, in truth and as predicted."""
    nothing = np.full(count, -1, np.int64)
    columns = [
        nothing if semantic_ids is None else semantic_ids,
        nothing if truth is None else truth,
        best_instances(best_first, count) if best_first else nothing,
    ]
    keys = np.zeros(count, np.int64)  # a number for each row; sorting numbers is much faster
    for column in columns:
        values, index = np.unique(column, return_inverse=True)
        keys = keys * len(values) + index
    _, first, text_of_point = np.unique(keys, return_index=True, return_inverse=True)
    rows = np.stack(columns, axis=1)[first]

    def name_of(class_id: int) -> str:
        return names.get(class_id, f"class {class_id}") if class_id else "unlabelled"

    texts = []
    for semantic_id, truth_id, number in rows.tolist():
        lines = []
        if semantic_id >= 0:
            lines.append(f"input: {name_of(semantic_id)}")
        if truth_id >= 0:
            class_id, instance = divmod(truth_id, INSTANCES_PER_CLASS)
            became = f", {object_kinds[truth_id]}" if truth_id in object_kinds else ""
            lines.append(f"truth: {name_of(class_id)}{f' {instance}' if instance else ''}{became}")
        if number > 0:
            best = best_first[number - 1]
            lines.append(f"instance {number}: {name_of(best.class_id)}, score {best.score:.2f}")
        texts.append("\n".join(lines))
    return [texts[i] for i in text_of_point.tolist()]


def draw_view(
    view: View, width: int = 700, modes: Sequence[str] = (), quarter_turns: int = 0
) -> Array:
    """Draws modes side by side, without a browser or a display.

    Args:
        view: what to draw.
        width: of each mode, pixels.
        modes: names; all of the view's, in their order, where it is empty.
        quarter_turns: how often the viewer goes 90 degrees around the scene.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ValueError: a mode that the view does not have.
    """
    images = []
    for name in modes or view.modes:
        if name not in view.modes:
            raise ValueError(f"{view.title}: expected modes of {list(view.modes)}, found '{name}'")
        colors = view.modes[name]
        if view.voxel_size:
            lowest = view.points.min(axis=0)
            cells = np.round((view.points - lowest) / view.voxel_size).astype(np.int64)
            images.append(draw_voxels(cells, colors, width, quarter_turns))
        else:
            images.append(draw_points(view.points, colors, width, quarter_turns))
    return side_by_side(images)
