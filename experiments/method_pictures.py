"""The pictures of `docs/method.md`: one scan on its way through the method.

    python -m experiments.method_pictures --output_dir=docs \\
        --bandwidths=0.6,1.0,1.5 --connectivity=6 --label_weight=0 --nolearned_score

    method_input.png       the scan, its semantic labels, the voxels that the network takes
    method_network.png     embedding as colours, its space, direction as hue with a disc as legend
    method_clusters.png    mean-shift clusters at each bandwidth
    method_components.png  connected parts of the clusters at the middle bandwidth, of the labels
    method_proposals.png   proposals around one object, best first; their scores are printed
    method_instances.png   scores, what suppression leaves, and the masks on the scan

Clusters and components that match an instance have its colour; stuff is light grey. Walls towards
the viewer are cut away. The settings above are those of a new run, since the page explains the
method; without them they are those of the model.
"""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from experiments.figure6 import cluster_ids, draw_feature_space
from experiments.figures import match_ids, predicted_ids
from experiments.scan_rows import scan_colors, towards_viewer
from mtml_tf import config_flags, files, program
from mtml_tf.classes import ClassSet
from mtml_tf.config import SegmentConfig
from mtml_tf.drawing.feature_colors import direction_colors, embedding_colors
from mtml_tf.drawing.pictures import (
    STUFF_COLOR,
    class_colors,
    draw_points,
    draw_voxels,
    instance_colors,
    side_by_side,
)
from mtml_tf.drawing.png import write_png
from mtml_tf.scans.scan import read_scan
from mtml_tf.scans.voxels import devoxelize, voxelize
from mtml_tf.scene import Instance, Scene, VoxelScene
from mtml_tf.segmentation.baselines import connected_components
from mtml_tf.segmentation.components import spatial_components
from mtml_tf.segmentation.segment import Proposals, propose, select
from mtml_tf.segmentation.suppression import suppress

if TYPE_CHECKING:
    from mtml_tf.inference.models import Values

FLAGS = flags.FLAGS

Array = np.ndarray

PICTURES = ("input", "network", "clusters", "components", "proposals", "instances")
_DISC_RADIUS = 7  # voxels
_SHOWN_PROPOSALS = 4
_LEAST_IOU = 0.05  # of a proposal with an object, to be shown with it
_ALIKE_IOU = 0.75  # of a proposal with a better one, to be left out of the picture
_AROUND = 2  # voxels
_LOW_COLOR, _HIGH_COLOR = np.array([[60, 60, 140], [250, 200, 60]])  # scores 0 and 1
_COLOR_STEP = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Segmented:
    """A scan and all that the method makes of it.

    Attributes:
        scan: N vertices.
        scene: its M voxels.
        classes: of its labels.
        config: of the post-processing.
        values: what the network tells of the voxels.
        proposals: P scored proposals.
        score: float64 [P], their final score.
        instances: what is left of them, best first; indices are rows of voxels.
    """

    scan: Scene
    scene: VoxelScene
    classes: ClassSet
    config: SegmentConfig
    values: "Values"
    proposals: Proposals
    score: Array
    instances: Sequence[Instance]

    @property
    def ids(self) -> Array:
        """int64 [M], the number (from 1) of the best instance of each voxel, 0 for none."""
        return instance_numbers(self.scene, self.instances)

    def clusters(self, bandwidth: float) -> Array:
        """int64 [M], the mean-shift cluster of each voxel, numbered as the instance it matches."""
        ids = cluster_ids(self.scene, self.values.embedding, self.is_thing, bandwidth)
        return match_ids(ids, self.ids)

    @property
    def is_thing(self) -> Array:
        """bool [M]."""
        return self.classes.is_thing(self.scene.semantic_ids)

    @property
    def shown(self) -> Array:
        """bool [M], all but walls and the like at the two sides that face the viewer."""
        centres = self.scene.origin + (self.scene.coordinates + 0.5) * self.scene.voxel_size
        return self.is_thing | ~towards_viewer(centres)

    def draw_voxels(self, colors: Array, width: int) -> Array:
        """Draws the voxels in colours, uint8 [M, 3]."""
        return draw_voxels(self.scene.coordinates[self.shown], colors[self.shown], width)

    def draw_scan(self, colors: Array, width: int) -> Array:
        """Draws the scan in colours, uint8 [N, 3]."""
        shown = devoxelize(self.shown, self.scene)
        return draw_points(self.scan.vertices[shown], colors[shown], width)


def segment_in_steps(
    scan: Scene,
    scene: VoxelScene,
    classes: ClassSet,
    config: SegmentConfig,
    values: "Values",
) -> Segmented:
    """Does what `segment` does and keeps what it makes on the way; see `Segmented`."""
    proposals = propose(scene, values.embedding, values.direction, config, values.labels)
    score = proposals.final_score(config)
    found = (proposals, score, select(proposals, config))
    return Segmented(scan, scene, classes, config, values, *found)


def instance_numbers(scene: VoxelScene, instances: Sequence[Instance]) -> Array:
    """Returns int64 [M], the number (from 1) of the best instance of each voxel.

    Args:
        scene: M voxels.
        instances: indices are rows of voxels.
    """
    return predicted_ids(dataclasses.replace(scene, vertex_to_voxel=None), instances)


def draw_input(room: Segmented, width: int) -> Array:
    """Draws the scan in its colours and by class, and the voxels by class."""
    labels = class_colors(room.scene.semantic_ids, room.classes)
    return side_by_side(
        [
            room.draw_scan(scan_colors(room.scan), width),
            room.draw_scan(devoxelize(labels, room.scene), width),
            room.draw_voxels(labels, width),
        ]
    )


def draw_network(room: Segmented, width: int) -> Array:
    """Draws the embedding as colours and as places, and the direction with its legend."""
    things = room.is_thing
    features, directions = np.full((2, len(things), 3), STUFF_COLOR, np.uint8)
    features[things] = embedding_colors(room.values.embedding[things])
    directions[things] = direction_colors(room.values.direction[things])
    disc, disc_colors = direction_disc(room.scene.coordinates)
    with_disc = draw_voxels(
        np.concatenate([room.scene.coordinates[room.shown], disc]),
        np.concatenate([directions[room.shown], disc_colors]),
        width,
    )
    return side_by_side(
        [
            room.draw_voxels(features, width),
            draw_feature_space(room.values.embedding[things], features[things], width),
            with_disc,
        ]
    )


def direction_disc(coordinates: Array) -> tuple[Array, Array]:
    """Makes the legend of the directions: a disc on the ground beside a scene.

    Args:
        coordinates: int [M, 3], the scene's voxels.

    Returns:
        int [K, 3] voxels at the lower right of the picture, and uint8 [K, 3], for each the color
        of the direction from the middle of the disc to there.
    """
    reach = np.arange(-_DISC_RADIUS, _DISC_RADIUS + 1)
    steps = np.stack(np.meshgrid(reach, reach, [0], indexing="ij"), axis=-1).reshape(-1, 3)
    length = np.linalg.norm(steps, axis=1)
    steps = steps[(length > 0) & (length <= _DISC_RADIUS + 0.5)]
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    middle = np.array([high[0] + 2 * _DISC_RADIUS, (low[1] + high[1]) // 2, low[2]])
    return middle + steps, direction_colors(steps)


def draw_clusters(room: Segmented, width: int) -> Array:
    """Draws the mean-shift clusters at each bandwidth."""
    several = [room.clusters(bandwidth) for bandwidth in room.config.bandwidths]
    return side_by_side([room.draw_voxels(instance_colors(ids), width) for ids in several])


def draw_components(room: Segmented, width: int) -> Array:
    """Draws the connected parts of the clusters at the middle bandwidth, and of the labels."""
    things, connectivity = room.is_thing, room.config.connectivity
    bandwidth = sorted(room.config.bandwidths)[len(room.config.bandwidths) // 2]
    groups, places = room.clusters(bandwidth)[things], room.scene.coordinates[things]
    parts = np.zeros(len(things), np.int64)
    parts[things] = 1 + spatial_components(places, groups, connectivity)
    objects = connected_components(room.scene, room.classes.thing_ids, connectivity)
    found = [parts, instance_numbers(room.scene, objects)]
    colors = [instance_colors(match_ids(ids, room.ids)) for ids in found]
    return side_by_side([room.draw_voxels(each, width) for each in colors])


def proposals_to_show(room: Segmented, class_name: str) -> Array:
    """Chooses proposals that show what the scores are good for.

    They overlap the best instance of a class. Of proposals that are nearly the same the best is
    taken.

    Args:
        room: the scan.
        class_name: of the instance.

    Returns:
        int64 [at most 4], rows of proposals, best first; of more, evenly spaced ones.

    Raises:
        ValueError: no instance of this class.
    """
    names = [room.classes.name_of(instance.class_id) for instance in room.instances]
    if class_name not in names:
        found = ", ".join(sorted(set(names))) or "none"
        raise ValueError(
            f"scan {room.scan.name}: expected an instance of class '{class_name}' to draw what is "
            f"around it, found {found}; choose another --around"
        )
    of_object = room.instances[names.index(class_name)].indices
    sizes = np.array([len(indices) for indices in room.proposals.indices])
    shared = np.array([np.isin(indices, of_object).sum() for indices in room.proposals.indices])
    rows = np.flatnonzero(shared > _LEAST_IOU * (sizes + len(of_object) - shared))
    ranked = rows[np.argsort(-room.score[rows], kind="stable")]
    ranked_sets = [room.proposals.indices[row] for row in ranked]
    ranked = ranked[suppress(ranked_sets, np.zeros(len(ranked), int), _ALIKE_IOU)]
    places = np.linspace(0, len(ranked) - 1, min(_SHOWN_PROPOSALS, len(ranked)))
    return ranked[np.round(places).astype(int)]


def draw_proposals(room: Segmented, rows: Array, width: int) -> Array:
    """Draws proposals in the color of their class, each within what is around all of them."""
    coordinates = room.scene.coordinates
    places = coordinates[np.concatenate([room.proposals.indices[row] for row in rows])]
    low, high = places.min(axis=0) - _AROUND, places.max(axis=0) + _AROUND
    near = room.shown & np.all((coordinates >= low) & (coordinates <= high), axis=1)
    pictures = []
    for row in rows:
        labels = np.zeros(len(coordinates), np.int32)
        labels[room.proposals.indices[row]] = room.proposals.class_ids[row]
        colors = class_colors(labels, room.classes)
        pictures.append(draw_voxels(coordinates[near], colors[near], width))
    return side_by_side(pictures)


def table_of_proposals(room: Segmented, rows: Array) -> Iterator[str]:
    """Yields the lines of a Markdown table of proposals and their scores."""
    yield "| class | voxels | direction | feature | size | score |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    found = room.proposals
    for row in rows:
        parts = [found.direction, found.feature, found.size, room.score]
        numbers = " | ".join(f"{part[row]:.2f}" for part in parts if part is not None)
        name = room.classes.name_of(found.class_ids[row])
        yield f"| {name} | {len(found.indices[row])} | {numbers} |"


def summary(room: Segmented) -> str:
    """Returns the counts of what the method makes of a scan."""
    grid = " x ".join(str(length) for length in room.scene.grid_shape)
    clusters = ", ".join(
        f"{len(np.unique(room.clusters(bandwidth)[room.is_thing]))} at {bandwidth:g}"
        for bandwidth in room.config.bandwidths
    )
    likely = sum(instance.score > 0.5 for instance in room.instances)
    return (
        f"{len(room.scan.vertices)} vertices, grid of {grid}, "
        f"{len(room.scene.coordinates)} voxels, {np.count_nonzero(room.is_thing)} of things; "
        f"clusters: {clusters}; "
        f"{len(room.score)} proposals, {len(room.instances)} instances, {likely} with a score "
        "above 0.5"
    )


def draw_instances(room: Segmented, width: int) -> Array:
    """Draws each instance in the color of its score and in one of its own; and its mask."""
    ids = room.ids
    score = np.array([0.0, *(instance.score for instance in room.instances)])[ids][:, None]
    by_score = (_LOW_COLOR + score * (_HIGH_COLOR - _LOW_COLOR)).astype(np.uint8)
    by_score[ids == 0] = STUFF_COLOR
    colors = instance_colors(ids)
    return side_by_side(
        [
            room.draw_voxels(by_score, width),
            room.draw_voxels(colors, width),
            room.draw_scan(devoxelize(colors, room.scene), width),
        ]
    )


def with_fewer_colors(image: Array) -> Array:
    """Returns a picture whose colors are rounded, uint8 [H, W, 3]: nearly half as large a file."""
    rounded = (image.astype(np.int64) + _COLOR_STEP // 2) // _COLOR_STEP * _COLOR_STEP
    return np.minimum(rounded, 255).astype(np.uint8)


def define_flags() -> None:
    """Defines the flags; here, so that other code can import this module beside its like."""
    flags.DEFINE_string("model", "rooms", "A model that comes with the package, or a run folder.")
    flags.DEFINE_string("scan", "examples/room.ply", "A scan with labels.")
    flags.DEFINE_string("around", "bed", "Class of the object whose proposals are drawn.")
    flags.DEFINE_string("output_dir", None, "Folder for the pictures.")
    flags.DEFINE_integer("width", 360, "Of one view, pixels.", lower_bound=1)
    flags.DEFINE_bool("overwrite", False, "Replace pictures that exist.")
    # Unless given, the settings are those that the model was trained with.
    config_flags.define(SegmentConfig, config_flags.FROM_DATA, as_default=False)
    flags.adopt_module_key_flags(config_flags)


def main() -> None:
    """Reads the flags and draws."""
    paths = [pathlib.Path(FLAGS.output_dir) / f"method_{name}.png" for name in PICTURES]
    for path in paths:
        files.check_may_write(path, FLAGS.overwrite)
    changed = config_flags.read_given(SegmentConfig, config_flags.FROM_DATA)
    from mtml_tf.inference.models import load_model

    scan, model = read_scan(FLAGS.scan), load_model(FLAGS.model).with_settings(**changed)
    config = model.config
    if not config.has_direction:
        raise ValueError(f"{FLAGS.model}: expected a model with directions, found one without")
    scene = voxelize(scan, config.voxel_size, config.classes)
    values = model.predict(scene)
    room = segment_in_steps(scan, scene, config.classes, config.segment, values)
    rows = proposals_to_show(room, FLAGS.around)
    pictures = (
        draw_input(room, FLAGS.width),
        draw_network(room, FLAGS.width),
        draw_clusters(room, FLAGS.width),
        draw_components(room, FLAGS.width),
        draw_proposals(room, rows, min(FLAGS.width, 3 * FLAGS.width // len(rows))),
        draw_instances(room, FLAGS.width),
    )
    for path, picture in zip(paths, pictures, strict=True):
        write_png(path, with_fewer_colors(picture), FLAGS.overwrite)
        print(path)
    print(f"\n{summary(room)}\n")
    print("\n".join(table_of_proposals(room, rows)))


if __name__ == "__main__":
    define_flags()
    program.run(main, required=["output_dir"])
