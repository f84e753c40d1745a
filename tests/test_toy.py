import numpy as np
import pytest

from mtml_tf.scans import toy
from mtml_tf.segmentation.components import spatial_components

CONFIG = toy.ToyConfig()


def scenes(count=6, **changes):
    return list(toy.make_toy_scenes("test", count, seed=0, config=toy.ToyConfig(**changes)))


def test_the_shapes_are_the_papers():
    assert list(toy.EDGES.values()) == [(6, 6, 6), (10, 5, 5), (10, 10, 5), (5, 5, 12), (14, 7, 8)]
    assert toy.TOY_CLASSES.ids == (1, 2, 3, 4, 5, 6)
    assert toy.TOY_CLASSES.thing_ids == (2, 3, 4, 5, 6)


def test_turned_boxes_keep_their_volume():
    for scene in scenes():
        for instance_id in range(1, scene.instance_ids.max() + 1):
            members = scene.instance_ids == instance_id
            (class_id,) = np.unique(scene.semantic_ids[members])
            assert members.sum() == pytest.approx(np.prod(toy.EDGES[class_id]), rel=0.15)
            heights = scene.coordinates[members, 2]
            assert (heights.min(), heights.max()) == (1, toy.EDGES[class_id][2])


def test_boxes_are_turned_by_all_angles():
    fills = []  # share of the box around it, parallel to the axes, that a box fills
    for scene in scenes(10):
        for instance_id in range(1, scene.instance_ids.max() + 1):
            members = scene.coordinates[scene.instance_ids == instance_id]
            fills.append(len(members) / np.prod(np.ptp(members, axis=0) + 1))
    assert np.mean(np.array(fills) < 0.9) > 0.5
    assert max(fills) > 0.95


def test_boxes_are_solid_and_stand_on_a_whole_plane():
    (scene,) = scenes(1)
    ground = scene.coordinates[scene.semantic_ids == toy.GROUND_ID]
    assert len(ground) == 64 * 64
    assert not ground[:, 2].any()
    assert not scene.instance_ids[scene.semantic_ids == toy.GROUND_ID].any()
    filled = np.zeros(scene.grid_shape, bool)
    filled[tuple(scene.coordinates.T)] = True
    for x, y, z in scene.coordinates:
        assert filled[x, y, :z].all()


def test_no_voxel_occurs_twice_and_rows_are_in_order():
    for scene in scenes():
        keys = np.ravel_multi_index(tuple(scene.coordinates.T), scene.grid_shape)
        assert (np.diff(keys) > 0).all()


def test_without_contact_every_box_is_a_component_of_its_own():
    for scene in scenes(contact_probability=0.0):
        things = scene.instance_ids > 0
        components = spatial_components(scene.coordinates[things])
        pairs = np.unique(np.stack([components, scene.instance_ids[things]]), axis=1)
        assert pairs.shape[1] == components.max() + 1 == scene.instance_ids.max()


def test_with_certain_contact_all_boxes_that_found_a_place_hang_together():
    # In 1 scene of 25 a box that slides comes to rest at a corner only, and must be refused.
    for scene in scenes(60, contact_probability=1.0):
        things = scene.instance_ids > 0
        assert spatial_components(scene.coordinates[things]).max() == 0
        assert scene.instance_ids.max() > 1


def test_a_scene_depends_on_seed_split_and_number_alone():
    one = list(toy.make_toy_scenes("train", 3, 5, CONFIG))
    two = list(toy.make_toy_scenes("train", 5, 5, CONFIG, num_workers=2))
    for a, b in zip(one, two[:3], strict=True):
        assert a.name == b.name
        np.testing.assert_array_equal(a.coordinates, b.coordinates)
        np.testing.assert_array_equal(a.instance_ids, b.instance_ids)
    (other_split,) = toy.make_toy_scenes("test", 1, 5, CONFIG)
    (other_seed,) = toy.make_toy_scenes("train", 1, 6, CONFIG)
    for other in (other_split, other_seed, one[1]):
        assert other.instance_ids.tobytes() != one[0].instance_ids.tobytes()


def test_number_of_objects_is_in_range():
    counts = [scene.instance_ids.max() for scene in scenes(20)]
    assert max(counts) <= 14
    assert len(set(counts)) > 3


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"grid_shape": (16, 64, 16)}, "even grid"),
        ({"grid_shape": (64, 63, 16)}, "even grid"),
        ({"min_objects": 5, "max_objects": 4}, "min_objects <= max_objects"),
        ({"contact_probability": 1.5}, "contact_probability in 0..1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, text):
    with pytest.raises(ValueError, match=text):
        toy.ToyConfig(**changes)
