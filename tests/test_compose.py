"""Composed scenes: objects in contact, stacked or free, on one table, seen from one side."""

import dataclasses

import numpy as np
import pytest
import scipy.spatial

from mtml_tf.classes import ClassSet
from mtml_tf.scans import compose, scan
from mtml_tf.scene import Scene

CLASSES = ClassSet((1, 2), ("table", "object"), ("stuff", "thing"))
PLAIN = compose.ComposeConfig(
    touch_probability=1.0,
    stack_probability=0.0,
    max_yaw_degrees=0.0,
    scale=(1.0, 1.0),
    mirror=False,
    hide=False,
)


def box(x, y, width, depth, height, spacing=0.004):
    """Points on the top, the front (+y) and the sides of a box that stands at z = 0."""
    across = np.arange(0, width + 1e-9, spacing)
    along = np.arange(0, depth + 1e-9, spacing)
    up = np.arange(0, height + 1e-9, spacing)
    top = np.stack(np.meshgrid(across, along, [height]), axis=-1).reshape(-1, 3)
    front = np.stack(np.meshgrid(across, [depth], up), axis=-1).reshape(-1, 3)
    sides = np.stack(np.meshgrid([0, width], along, up), axis=-1).reshape(-1, 3)
    return np.concatenate([top, front, sides]) + np.array([x, y, 0.0])


def tabletop(name="desk", boxes=((0.0, 0.0, 0.12, 0.1, 0.08), (0.2, 0.1, 0.1, 0.12, 0.05))):
    grid = np.arange(-0.2, 0.44, 0.004)
    table = np.stack(np.meshgrid(grid, grid, [0.0]), axis=-1).reshape(-1, 3)
    parts = [table, *(box(*given) for given in boxes)]
    sizes = [len(part) for part in parts]
    instance_ids = np.repeat(np.arange(len(parts)), sizes).astype(np.int32)
    return Scene(
        name,
        np.concatenate(parts),
        semantic_ids=np.where(instance_ids > 0, 2, 1).astype(np.int32),
        instance_ids=instance_ids,
    )


def objects_of(scene):
    return [scene.vertices[scene.instance_ids == i] for i in range(1, scene.instance_ids.max() + 1)]


def footprint_distance(first, second):
    tree = scipy.spatial.cKDTree(first[:, :2])
    return tree.query(second[:, :2])[0].min()


@pytest.mark.parametrize("seed", range(6))
def test_two_objects_are_brought_into_contact_and_stay_apart(seed):
    scene = compose.compose_scene([tabletop()], 2, np.random.default_rng(seed), CLASSES, PLAIN)
    first, second = objects_of(scene)
    # Footprints are compared by one point in 2 mm.
    assert footprint_distance(first, second) <= 0.0055 + 2e-4
    apart = np.maximum(
        first[:, :2].min(axis=0) - second[:, :2].max(axis=0),
        second[:, :2].min(axis=0) - first[:, :2].max(axis=0),
    )
    assert apart.max() > -1e-3


def test_a_free_object_keeps_its_distance():
    config = dataclasses.replace(PLAIN, touch_probability=0.0, free_gap=(0.03, 0.03))
    scene = compose.compose_scene([tabletop()], 2, np.random.default_rng(0), CLASSES, config)
    assert footprint_distance(*objects_of(scene)) == pytest.approx(0.03, abs=0.0015)


def test_a_stacked_object_rests_on_the_top_of_the_lower():
    config = dataclasses.replace(PLAIN, touch_probability=0.0, stack_probability=1.0)
    scene = compose.compose_scene([tabletop()], 2, np.random.default_rng(3), CLASSES, config)
    lower, upper = sorted(objects_of(scene), key=lambda points: points[:, 2].min())
    top = lower[:, 2].max()
    assert upper[:, 2].min() == pytest.approx(top, abs=0.004)
    middle = upper[:, :2].mean(axis=0)
    assert np.all((lower[:, :2].min(axis=0) < middle) & (middle < lower[:, :2].max(axis=0)))


def test_nothing_is_stacked_on_a_narrow_top():
    poles = ((0.0, 0.0, 0.02, 0.02, 0.2), (0.2, 0.2, 0.02, 0.02, 0.2))
    config = dataclasses.replace(
        PLAIN, touch_probability=0.0, stack_probability=1.0, min_vertices=1
    )
    scene = compose.compose_scene(
        [tabletop(boxes=poles)], 2, np.random.default_rng(0), CLASSES, config
    )
    assert all(points[:, 2].min() < 0.01 for points in objects_of(scene))


def test_all_objects_stand_on_the_table_which_reaches_under_and_around_them():
    sources = [tabletop("a"), tabletop("b")]
    scene = compose.compose_scene(sources, 7, np.random.default_rng(0), CLASSES, PLAIN)
    assert scene.instance_ids.max() == 7
    objects = scene.vertices[scene.instance_ids > 0]
    table = scene.vertices[scene.semantic_ids == 1]
    assert np.all(table[:, :2].min(axis=0) < objects[:, :2].min(axis=0) - 0.1)
    assert np.all(table[:, :2].max(axis=0) > objects[:, :2].max(axis=0) + 0.1)
    # No hole, but under the objects: every square of 5 mm has a point within 8 mm.
    low, high = scene.vertices[:, :2].min(axis=0), scene.vertices[:, :2].max(axis=0)
    grid = np.stack(
        np.meshgrid(*(np.arange(low[i], high[i], 0.005) for i in (0, 1))), axis=-1
    ).reshape(-1, 2)
    assert scipy.spatial.cKDTree(scene.vertices[:, :2]).query(grid)[0].max() < 0.008
    assert scipy.spatial.cKDTree(table[:, :2]).query(objects[:, :2])[0].max() > 0.02


def test_labels_colors_and_instances_agree():
    scene = compose.compose_scene([tabletop()], 3, np.random.default_rng(0), CLASSES, PLAIN)
    np.testing.assert_array_equal(scene.semantic_ids == 2, scene.instance_ids > 0)
    assert scene.colors.shape == (len(scene.vertices), 3)
    assert scene.semantic_ids.dtype == scene.instance_ids.dtype == np.int32


def test_the_seed_decides_everything():
    def composed(seed):
        return compose.compose_scene([tabletop()], 5, np.random.default_rng(seed), CLASSES).vertices

    np.testing.assert_array_equal(composed(4), composed(4))
    assert composed(4).shape != composed(5).shape or np.any(composed(4) != composed(5))


def test_hiding_takes_table_away_behind_the_objects():
    config = dataclasses.replace(PLAIN, hide=True)
    scene = compose.compose_scene([tabletop()], 1, np.random.default_rng(0), CLASSES, config)
    (points,) = objects_of(scene)
    table = scene.vertices[scene.semantic_ids == 1]
    middle = (points[:, 0].min() + points[:, 0].max()) / 2

    def spots(y):
        return np.count_nonzero(np.all(np.abs(table[:, :2] - (middle, y)) < 0.015, axis=1))

    assert spots(points[:, 1].min() - 0.03) == 0
    assert spots(points[:, 1].max() + 0.03) > 20


def test_an_object_of_which_too_little_is_left_is_dropped():
    config = dataclasses.replace(PLAIN, min_vertices=2000)
    scene = tabletop(boxes=((0, 0, 0.02, 0.02, 0.02), (0.1, 0.1, 0.16, 0.16, 0.1)))
    composed = compose.compose_scene([scene], 2, np.random.default_rng(0), CLASSES, config)
    assert composed.instance_ids.max() == 1
    assert (composed.instance_ids == 1).sum() > 2000


def test_sources_without_a_table_or_objects_are_refused():
    scene = tabletop()
    bare = dataclasses.replace(scene, instance_ids=np.zeros(len(scene.vertices), np.int32))
    with pytest.raises(ValueError, match=r"found 1 tables and 0 objects in \['desk'\]"):
        compose.compose_scene([bare], 2, np.random.default_rng(0), CLASSES)
    unlabelled = dataclasses.replace(scene, semantic_ids=None)
    with pytest.raises(ValueError, match="scene desk: expected labels and instances"):
        compose.compose_scene([unlabelled], 2, np.random.default_rng(0), CLASSES)
    with pytest.raises(ValueError, match="expected at least 1 object to place, found 0"):
        compose.compose_scene([scene], 0, np.random.default_rng(0), CLASSES)


@pytest.mark.parametrize(
    "changes",
    [{"touch_probability": 0.9}, {"scale": (1.1, 0.9)}, {"max_yaw_degrees": 181.0}],
)
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(ValueError, match=r"expected .*found"):
        compose.ComposeConfig(**changes)


def test_a_folder_is_the_same_for_any_number_of_workers(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        scan.write_scan(tmp_path / "in" / f"{name}.ply", tabletop(name))
    for workers in (1, 2):
        compose.compose_folder(
            tmp_path / "in",
            tmp_path / f"out{workers}",
            CLASSES,
            num_scenes=3,
            seed=0,
            objects=(2, 4),
            num_workers=workers,
        )
    names = sorted(path.name for path in (tmp_path / "out1").iterdir())
    assert names == ["composed_0000.ply", "composed_0001.ply", "composed_0002.ply"]
    for name in names:
        first, second = (tmp_path / f"out{workers}" / name for workers in (1, 2))
        assert first.read_bytes() == second.read_bytes()


def test_scans_that_are_read_and_files_of_others_are_not_replaced(tmp_path):
    for folder in ("in", "mine"):
        scan.write_scan(tmp_path / folder / "composed_0000.ply", tabletop("a"))
    (tmp_path / "mine" / "thesis.tex").touch()
    for output, sentence in (
        ("in", f"that is read, found {tmp_path / 'in'} there"),
        ("mine", "a folder of composed scenes to replace, found thesis.tex in it"),
    ):
        with pytest.raises(ValueError, match=sentence):
            compose.compose_folder(
                *(tmp_path / "in", tmp_path / output, CLASSES, 1, 0),
                num_workers=1,
                overwrite=True,
            )
    assert (tmp_path / "in" / "composed_0000.ply").exists()
    assert (tmp_path / "mine" / "thesis.tex").exists()


def test_a_bad_scan_leaves_no_folder_behind(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.ply").write_bytes(b"ply\n")
    with pytest.raises(ValueError, match=r"bad\.ply: expected a PLY header"):
        compose.compose_folder(tmp_path / "in", tmp_path / "out", CLASSES, 1, 0, num_workers=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
