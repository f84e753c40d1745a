import dataclasses
import pathlib
import struct
import subprocess
import sys

import numpy as np
import pytest
from scenes import BOX, CLASSES, FLOOR, box_scene

from experiments import method_pictures
from mtml_tf.config import SegmentConfig
from mtml_tf.drawing.feature_colors import direction_colors
from mtml_tf.drawing.pictures import STUFF_COLOR, instance_colors
from mtml_tf.inference.models import Values
from mtml_tf.scene import Instance, Scene

ROOT = pathlib.Path(__file__).resolve().parent.parent
NAMES = ("input", "network", "clusters", "components", "proposals", "instances")


def perfect_room(scene, **config):
    """A scene segmented with an embedding and directions that are as they should be."""
    centres = scene.origin + (scene.coordinates + 0.5) * scene.voxel_size
    count = len(scene.coordinates)
    scanned = dataclasses.replace(scene, vertex_to_voxel=np.arange(count, dtype=np.int32))
    embedding = (scene.instance_ids[:, None] * (5.0, 1.0, 0.0, 0.0)).astype(np.float32)
    direction = np.zeros((count, 3), np.float32)
    for number in np.unique(scene.instance_ids):
        rows = scene.instance_ids == number
        direction[rows] = centres[rows].mean(axis=0) - centres[rows]
    return method_pictures.segment_in_steps(
        Scene("room", centres),
        scanned,
        CLASSES,
        SegmentConfig(thing_ids=CLASSES.thing_ids, **config),
        Values(embedding, direction),
    )


SCENE = box_scene(0)
ROOM = perfect_room(SCENE)


def test_voxels_have_the_number_of_their_best_instance():
    several = [Instance(BOX, 0.5, np.array([0, 1, 2])), Instance(BOX, 0.9, np.array([2, 3]))]
    # A scene's vertices, even where there are some, have no say in it.
    ids = method_pictures.instance_numbers(ROOM.scene, several)
    assert ids[:5].tolist() == [2, 2, 1, 1, 0]
    assert len(ROOM.instances) == 3
    for number, instance in enumerate(ROOM.instances, start=1):
        np.testing.assert_array_equal(np.flatnonzero(ROOM.ids == number), instance.indices)
    assert len(ROOM.score) == len(ROOM.proposals.indices)
    assert ROOM.score.max() == pytest.approx(ROOM.instances[0].score)


def test_only_what_is_no_thing_is_cut_away_towards_the_viewer():
    hidden = ~ROOM.shown
    assert hidden.any()
    assert set(SCENE.semantic_ids[hidden]) == {FLOOR}
    # 0.25 m are five voxels, at high x and at low y.
    x, y, _ = SCENE.coordinates[SCENE.semantic_ids == FLOOR].T
    np.testing.assert_array_equal(hidden[SCENE.semantic_ids == FLOOR], (x > 10) | (y < 5))


def test_the_disc_shows_the_color_of_each_direction_beside_the_scene():
    places, colors = method_pictures.direction_disc(SCENE.coordinates)
    middle = places.mean(axis=0)
    np.testing.assert_array_equal(middle, [15 + 14, 7, 0])
    np.testing.assert_array_equal(colors, direction_colors(places - middle))
    assert places[:, 0].min() > SCENE.coordinates[:, 0].max()
    assert set(places[:, 2]) == {0}
    assert not (places == middle).all(axis=1).any()


def shows(picture, color):
    return (picture == np.array(color, np.uint8)).all(axis=-1).any()


@pytest.mark.parametrize(
    ("draw", "count"),
    [
        (method_pictures.draw_input, 3),
        (method_pictures.draw_network, 3),
        (method_pictures.draw_clusters, 2),
        (method_pictures.draw_components, 2),
        (method_pictures.draw_instances, 3),
    ],
)
def test_a_picture_has_its_views_side_by_side(draw, count):
    room = perfect_room(SCENE, bandwidths=(0.6, 1.0))
    assert draw(room, 60).shape[1:] == (count * 60, 3)


def test_clusters_and_components_have_the_colors_of_the_instances():
    pictures = [
        method_pictures.draw_clusters(ROOM, 300),
        method_pictures.draw_components(ROOM, 300),
        method_pictures.draw_instances(ROOM, 300)[:, 300:600],
    ]
    views = [np.split(each, each.shape[1] // 300, axis=1) for each in pictures]
    colors = instance_colors(np.array([1, 2, 3]))
    for view in (*views[0], views[1][0], *views[2]):
        assert shows(view, STUFF_COLOR)
        assert all(shows(view, color) for color in colors)
        assert not shows(view, instance_colors(np.array([4]))[0])
    # Two boxes of the scene touch each other: to the labels they are one.
    assert sum(shows(views[1][1], color) for color in colors) == 2


def test_the_summary_counts_what_the_method_makes():
    best, second, third = ROOM.instances
    likely = [dataclasses.replace(each, score=0.9) for each in (best, second)]
    instances = [*likely, dataclasses.replace(third, score=0.5)]
    text = method_pictures.summary(dataclasses.replace(ROOM, instances=instances))
    things = sum(np.isin(SCENE.semantic_ids, CLASSES.thing_ids))
    assert text.startswith(f"{len(SCENE.coordinates)} vertices, grid of 16 x 16 x ")
    assert f"{len(SCENE.coordinates)} voxels, {things} of things; " in text
    assert "; clusters: 3 at 0.6, 3 at 1, 3 at 1.5; " in text
    assert text.endswith(" proposals, 3 instances, 2 with a score above 0.5")


def test_a_good_score_is_light_and_a_bad_one_dark():
    best, *others = ROOM.instances
    worst = dataclasses.replace(others[-1], score=0.0)
    best = dataclasses.replace(best, score=1.0)
    room = dataclasses.replace(ROOM, instances=[best, *others[:-1], worst])
    by_score = method_pictures.draw_instances(room, 300)[:, :300]
    assert shows(by_score, (250, 200, 60))
    assert shows(by_score, (60, 60, 140))


def test_proposals_around_an_object_are_shown_best_first():
    object_rows = np.flatnonzero(SCENE.instance_ids == 2).astype(np.int32)
    others = np.flatnonzero(SCENE.semantic_ids == FLOOR).astype(np.int32)
    half, fourth = np.array_split(object_rows, 2)[0], np.array_split(object_rows, 4)[0]
    nearly = np.append(object_rows, others[0])
    merged = np.concatenate([object_rows, others[: len(object_rows)]])
    sets = [fourth, others, object_rows, merged, nearly, half, object_rows[:1]]
    score = np.array([0.1, 0.95, 0.9, 0.6, 0.8, 0.3, 0.7])
    count = len(sets)
    proposals = dataclasses.replace(
        ROOM.proposals,
        indices=sets,
        class_ids=np.full(count, BOX),
        direction=np.linspace(0, 1, count),
        feature=np.ones(count),
        size=np.full(count, 0.25),
    )
    box = Instance(BOX, 0.9, object_rows)
    room = dataclasses.replace(ROOM, proposals=proposals, score=score, instances=[box])
    # Not: the floor, one voxel of many, what is nearly the object but worse.
    rows = method_pictures.proposals_to_show(room, "box")
    assert rows.tolist() == [2, 3, 5, 0]
    lines = list(method_pictures.table_of_proposals(room, rows))
    assert lines[2] == "| box | 48 | 0.33 | 1.00 | 0.25 | 0.90 |"
    assert len(lines) == 2 + 4
    picture = method_pictures.draw_proposals(room, rows, 80)
    assert picture.shape[1] == 80 * 4
    assert shows(picture[:, :80], instance_colors(np.array([1]))[0])


def test_an_object_of_a_class_that_was_not_found_is_refused():
    only_boxes = [each for each in ROOM.instances if each.class_id == BOX]
    room = dataclasses.replace(ROOM, instances=only_boxes)
    with pytest.raises(ValueError, match=r"class 'tower' to draw .*, found box; choose another"):
        method_pictures.proposals_to_show(room, "tower")
    with pytest.raises(ValueError, match="found none; choose another --around"):
        method_pictures.proposals_to_show(dataclasses.replace(ROOM, instances=[]), "box")


def test_rounded_colors_stay_near_and_white_stays_white():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    rounded = method_pictures.with_fewer_colors(image)
    assert np.abs(rounded.astype(int) - image).max() <= 4
    assert rounded[-1, -1].tolist() == [255, 255, 255]
    assert len(np.unique(rounded)) == 33


def test_the_program_draws_the_toy_example(tmp_path):
    command = [sys.executable, "-m", "experiments.method_pictures", f"--output_dir={tmp_path}"]
    command += ["--model=toy", "--scan=examples/toy.ply", "--around=5x5x12", "--width=60"]
    command += ["--bandwidths=0.7,1.2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written = [tmp_path / f"method_{name}.png" for name in NAMES]
    assert done.stdout.splitlines()[:6] == [str(path) for path in written]
    widths = {
        path.stem.removeprefix("method_"): struct.unpack(">I", path.read_bytes()[16:20])[0]
        for path in written
    }
    assert [widths.pop(name) for name in ("clusters", "components")] == [120, 120]
    assert widths.pop("proposals") <= 180
    assert set(widths.values()) == {180}
    assert " at 0.7, 9 at 1.2; " in done.stdout  # the scene has 9 objects
    assert ", 9 with a score above 0.5" in done.stdout
