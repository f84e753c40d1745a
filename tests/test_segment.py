"""Tests of mtml_tf.segmentation.segment."""

import dataclasses

import numpy as np
import pytest

from mtml_tf.config import SegmentConfig
from mtml_tf.scene import VoxelScene
from mtml_tf.segmentation.baselines import connected_components, segmentation_as_instance
from mtml_tf.segmentation.segment import propose, segment, select

FLOOR, BOX, TOWER = 1, 2, 3
CONFIG = SegmentConfig(thing_ids=(BOX, TOWER), feature_threshold=0.5)


def block(low, high):
    axes = [np.arange(a, b) for a, b in zip(low, high, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def make_scene(objects):
    """Returns a scene with a floor below the objects, each (class id, low corner, high corner)."""
    parts = [block((0, 0, 0), (20, 20, 1))] + [block(low, high) for _, low, high in objects]
    sizes = [len(part) for part in parts]
    return VoxelScene(
        "boxes",
        np.concatenate(parts).astype(np.int32),
        (20, 20, 10),
        0.1,
        np.zeros(3),
        np.repeat([FLOOR, *(class_id for class_id, _, _ in objects)], sizes).astype(np.int32),
        np.repeat(np.arange(len(parts)), sizes).astype(np.int32),
    )


def perfect_outputs(scene):
    """Returns the embedding and the direction that an ideal network gives; objects are 3 apart."""
    embedding = np.zeros((len(scene.coordinates), 4), np.float32)
    embedding[:, 0] = 3.0 * scene.instance_ids
    direction = np.zeros((len(scene.coordinates), 3), np.float32)
    for instance in range(1, scene.instance_ids.max() + 1):
        rows = scene.instance_ids == instance
        direction[rows] = scene.coordinates[rows].mean(axis=0) - scene.coordinates[rows]
    return embedding, direction


# Two boxes of one class touch, a tower touches the second, a third box stands apart.
OBJECTS = [
    (BOX, (2, 2, 1), (6, 6, 5)),
    (BOX, (6, 2, 1), (10, 6, 5)),
    (TOWER, (10, 2, 1), (13, 5, 9)),
    (BOX, (2, 12, 1), (6, 16, 5)),
]
SCENE = make_scene(OBJECTS)


def as_sets(instances):
    return {(i.class_id, tuple(i.indices.tolist())) for i in instances}


def truth(scene):
    return {
        (int(scene.semantic_ids[rows[0]]), tuple(rows.tolist()))
        for rows in (
            np.flatnonzero(scene.instance_ids == i) for i in range(1, scene.instance_ids.max() + 1)
        )
    }


def test_what_the_network_does_not_take_for_the_label_scores_less():
    config = dataclasses.replace(CONFIG, label_ids=(FLOOR, BOX, TOWER, 0))
    labels = np.eye(4, dtype=np.float32)[SCENE.semantic_ids - 1]
    before = segment(SCENE, *perfect_outputs(SCENE), CONFIG)
    assert as_sets(segment(SCENE, *perfect_outputs(SCENE), config, labels)[:4]) == truth(SCENE)
    doubted = SCENE.instance_ids == 2  # the network takes a third of it for no object at all
    labels[doubted] = [0, 2 / 3, 0, 1 / 3]
    after = segment(SCENE, *perfect_outputs(SCENE), config, labels)
    scores = {tuple(i.indices): i.score for i in after}
    for instance in before[:4]:
        share = (2 / 3) ** (config.label_weight / 6) if doubted[instance.indices[0]] else 1
        expected = (instance.score**3) ** (1 / 6) * share
        assert scores[tuple(instance.indices)] == pytest.approx(expected)


def test_labels_of_other_classes_are_refused_and_so_are_missing_ones():
    labels = np.zeros((len(SCENE.coordinates), 4), np.float32)
    with pytest.raises(ValueError, match=r"scene boxes: expected 0 columns in labels, .* found 4"):
        segment(SCENE, *perfect_outputs(SCENE), CONFIG, labels)
    config = dataclasses.replace(CONFIG, label_ids=(FLOOR, BOX, TOWER, 0))
    with pytest.raises(ValueError, match=r"scene boxes: expected 4 columns in labels, .* found 0"):
        segment(SCENE, *perfect_outputs(SCENE), config)


@pytest.mark.parametrize("coherent", [False, True])
def test_perfect_outputs_give_the_ground_truth(coherent):
    instances = segment(
        SCENE, *perfect_outputs(SCENE), dataclasses.replace(CONFIG, coherent=coherent)
    )
    best = instances[:4]
    assert as_sets(best) == truth(SCENE)
    # A label component that joins the two touching boxes may remain, but far below.
    assert all(i.score < 0.8 * best[-1].score for i in instances[4:])
    if coherent:
        assert len(instances) == 4


def test_without_direction_the_embedding_alone_gives_the_ground_truth():
    embedding, _ = perfect_outputs(SCENE)
    config = dataclasses.replace(CONFIG, direction_weight=0.0, coherent=True)
    assert as_sets(segment(SCENE, embedding, None, config)) == truth(SCENE)


def test_direction_coherency_splits_what_the_embedding_of_one_bandwidth_merges():
    embedding, direction = perfect_outputs(SCENE)
    # The two touching boxes are 1.2 apart in the embedding: one cluster at the bandwidth 1.5,
    # two at 0.6, and a threshold of 1 finds the features of either coherent.
    embedding[SCENE.instance_ids == 2] = embedding[SCENE.instance_ids == 1][0] + [0, 1.2, 0, 0]
    config = dataclasses.replace(CONFIG, feature_threshold=1.0)
    proposals = propose(SCENE, embedding, direction, config)
    merged = np.flatnonzero(np.isin(SCENE.instance_ids, (1, 2)))
    found = [np.array_equal(indices, merged) for indices in proposals.indices].index(True)
    assert proposals.feature[found] == 1.0
    assert truth(SCENE) <= as_sets(select(proposals, config)[:4])
    # Without directions nothing tells the pair from its parts, and the larger comes first.
    blind = select(proposals, dataclasses.replace(config, direction_weight=0.0))
    assert (BOX, tuple(merged.tolist())) in as_sets(blind)


def test_regular_sizes_are_preferred():
    embedding, direction = perfect_outputs(SCENE)
    embedding[SCENE.instance_ids == 2] = embedding[SCENE.instance_ids == 1][0] + [0, 1.2, 0, 0]
    config = dataclasses.replace(
        CONFIG,
        feature_threshold=1.0,
        direction_weight=0.0,
        size_statistics={BOX: (np.log(64), 0.25)},
    )
    assert truth(SCENE) <= as_sets(segment(SCENE, embedding, direction, config))


def test_a_learned_score_takes_the_place_of_the_formula():
    # One tree: 0.5, and 0.25 more for what has more than 100 voxels (column 2, the logarithm).
    trees = {
        **{"base": 0.5, "roots": [0], "column": [2, 0, 0], "threshold": [np.log(100), 0, 0]},
        **{"right": [2, -1, -1], "value": [0, 0, 0.25]},
    }
    embedding, direction = perfect_outputs(SCENE)
    learned = dataclasses.replace(CONFIG, learned_score=True, score_trees=trees)
    pair, *others = segment(SCENE, embedding, direction, learned)
    assert pair.score == 0.75
    assert len(pair.indices) == 128  # the two boxes that touch
    assert {i.score for i in others} == {0.5}
    unused = dataclasses.replace(CONFIG, score_trees=trees)
    formula = [i.score for i in segment(SCENE, embedding, direction, CONFIG)]
    assert [i.score for i in segment(SCENE, embedding, direction, unused)] == formula
    # Features alone are enough for it.
    assert segment(SCENE, embedding, None, learned)[0].score == 0.75


def test_stuff_takes_no_part():
    instances = segment(SCENE, *perfect_outputs(SCENE), CONFIG)
    rows = np.concatenate([instance.indices for instance in instances])
    assert FLOOR not in SCENE.semantic_ids[rows]


def test_instances_come_best_first_with_scores_from_zero_to_one():
    embedding, direction = perfect_outputs(SCENE)
    noise = np.random.default_rng(0).normal(0, 0.5, direction.shape).astype(np.float32)
    scores = [i.score for i in segment(SCENE, embedding, direction + noise, CONFIG)]
    assert scores == sorted(scores, reverse=True)
    assert 0 <= scores[-1] < scores[0] <= 1


@pytest.mark.parametrize("coherent", [False, True])
def test_weak_instances_are_left_out_and_change_nothing_for_the_others(coherent):
    embedding, direction = perfect_outputs(SCENE)
    noise = np.random.default_rng(0).normal(0, 2, direction.shape).astype(np.float32)
    config = dataclasses.replace(CONFIG, coherent=coherent)
    everything = segment(SCENE, embedding, direction + noise, config)
    third = everything[2].score
    strong = segment(
        SCENE, embedding, direction + noise, dataclasses.replace(config, min_score=third)
    )
    assert 3 == len(strong) < len(everything)
    assert as_sets(strong) == as_sets(everything[:3])
    assert [i.score for i in strong] == [i.score for i in everything[:3]]


def test_one_label_a_voxel_leaves_no_overlap():
    random = np.random.default_rng(0)
    embedding = random.normal(0, 1, (len(SCENE.coordinates), 4)).astype(np.float32)
    direction = random.normal(0, 1, (len(SCENE.coordinates), 3)).astype(np.float32)
    free = dataclasses.replace(CONFIG, suppression_iou=1.0)
    overlapping = np.concatenate([i.indices for i in segment(SCENE, embedding, direction, free)])
    assert len(np.unique(overlapping)) < len(overlapping)
    coherent = dataclasses.replace(free, coherent=True)
    instances = segment(SCENE, embedding, direction, coherent)
    rows = np.concatenate([i.indices for i in instances])
    assert len(np.unique(rows)) == len(rows)
    assert min(len(i.indices) for i in instances) >= CONFIG.min_voxels


def test_scattered_features_at_a_border_become_no_instance():
    embedding, direction = perfect_outputs(SCENE)
    embedding[np.flatnonzero(SCENE.instance_ids == 1)[:6]] = 40.0
    instances = segment(SCENE, embedding, direction, dataclasses.replace(CONFIG, coherent=True))
    assert len(instances) == 4


def test_the_label_is_that_of_most_voxels():
    semantic_ids = SCENE.semantic_ids.copy()
    semantic_ids[np.flatnonzero(SCENE.instance_ids == 3)[:20]] = BOX
    scene = dataclasses.replace(SCENE, semantic_ids=semantic_ids)
    config = dataclasses.replace(CONFIG, coherent=True)
    tower = tuple(np.flatnonzero(SCENE.instance_ids == 3).tolist())
    assert (TOWER, tower) in as_sets(segment(scene, *perfect_outputs(SCENE), config))


def test_the_order_of_the_voxels_has_no_influence():
    order = np.random.default_rng(0).permutation(len(SCENE.coordinates))
    shuffled = dataclasses.replace(
        SCENE,
        coordinates=SCENE.coordinates[order],
        semantic_ids=SCENE.semantic_ids[order],
        instance_ids=SCENE.instance_ids[order],
    )
    embedding, direction = perfect_outputs(SCENE)
    config = dataclasses.replace(CONFIG, coherent=True)
    instances = segment(shuffled, embedding[order], direction[order], config)
    assert as_sets(instances) == truth(shuffled)


def test_a_sweep_may_reuse_proposals():
    proposals = propose(SCENE, *perfect_outputs(SCENE), CONFIG)
    for config in (CONFIG, dataclasses.replace(CONFIG, suppression_iou=0.9, direction_weight=3.0)):
        again = segment(SCENE, *perfect_outputs(SCENE), config)
        chosen = select(proposals, config)
        assert as_sets(chosen) == as_sets(again)
        assert [i.score for i in chosen] == [i.score for i in again]


def test_a_larger_smallest_size_applies_to_proposals_that_were_found_before():
    proposals = propose(SCENE, *perfect_outputs(SCENE), CONFIG)
    instances = select(proposals, dataclasses.replace(CONFIG, min_voxels=70))
    assert {len(i.indices) for i in instances} == {72, 128}  # the tower, and two boxes as one


def test_a_scene_without_things_has_no_instances():
    scene = make_scene([])
    count = len(scene.coordinates)
    assert segment(scene, np.zeros((count, 4)), np.zeros((count, 3)), CONFIG) == []


def test_an_empty_scene_has_no_instances():
    scene = VoxelScene(
        "empty", np.zeros((0, 3), np.int32), (2, 2, 2), 0.1, np.zeros(3), np.zeros(0, np.int32)
    )
    for coherent in (False, True):
        config = dataclasses.replace(CONFIG, coherent=coherent)
        assert segment(scene, np.zeros((0, 4)), np.zeros((0, 3)), config) == []


def test_rows_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="scene boxes: expected 664 rows in embedding"):
        segment(SCENE, np.zeros((5, 4)), None, CONFIG)


def test_values_that_are_not_finite_are_refused():
    embedding, direction = perfect_outputs(SCENE)
    direction[3, 1] = np.nan
    with pytest.raises(ValueError, match="scene boxes: expected finite values in direction"):
        segment(SCENE, embedding, direction, CONFIG)


def test_no_direction_is_refused_where_it_has_a_weight():
    embedding, _ = perfect_outputs(SCENE)
    with pytest.raises(ValueError, match="expected a direction_weight of 0"):
        segment(SCENE, embedding, None, CONFIG)


def test_where_the_input_has_probabilities_the_most_probable_class_counts():
    embedding, direction = perfect_outputs(SCENE)
    unsure = np.where(SCENE.semantic_ids == TOWER, 1.0, 0.0)
    features = np.stack([unsure * 0, 0.6 - 0.5 * unsure, 0.4 + 0.5 * unsure], axis=1)
    scene = dataclasses.replace(SCENE, features=features.astype(np.float32))
    config = dataclasses.replace(CONFIG, probability_ids=(FLOOR, TOWER, BOX))
    found = {instance.class_id for instance in segment(scene, embedding, direction, config)}
    plain = {instance.class_id for instance in segment(scene, embedding, direction, CONFIG)}
    assert plain == {BOX, TOWER} == found
    swapped = segment(scene, embedding, direction, config)[0]
    label = SCENE.semantic_ids[swapped.indices[0]]
    assert swapped.class_id == {BOX: TOWER, TOWER: BOX}[label]


def test_walls_that_are_probable_everywhere_are_no_instance():
    x = np.arange(20, dtype=np.int32)
    halves = np.where(x[:, None] < 10, [0.35, 0.40, 0.25], [0.35, 0.25, 0.40])
    scene = VoxelScene(
        "row",
        np.stack([x, 0 * x, 0 * x], axis=1),
        (20, 2, 2),
        0.1,
        np.zeros(3),
        np.repeat([BOX, TOWER], 10).astype(np.int32),
        features=halves.astype(np.float32),
    )
    config = SegmentConfig(
        thing_ids=(BOX, TOWER), probability_ids=(FLOOR, BOX, TOWER), direction_weight=0.0
    )
    # Of the whole: 7.0 for the floor, 6.5 for either thing, and the first of equals is the box.
    whole, *halves = segment(scene, np.zeros((20, 4), np.float32), None, config)
    assert (whole.class_id, whole.score, len(whole.indices)) == (BOX, 1.0, 20)
    assert [(i.class_id, i.indices.tolist()) for i in halves] == [(TOWER, list(range(10, 20)))]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("is_probable", [False, True], ids=["labels", "probabilities"])
def test_only_things_become_instances_whatever_the_input_says(seed, is_probable):
    rng = np.random.default_rng(seed)
    class_ids = rng.permutation([FLOOR, BOX, TOWER, 9, 40])
    thing_ids = tuple(class_ids[: rng.integers(1, 4)].tolist())
    count = 400
    rows = rng.permutation(8**3)[:count]
    features = rng.dirichlet(np.full(5, 0.7), count).astype(np.float32)
    # Stuff is the second choice everywhere, and the sum of many second choices is large.
    features[:, ~np.isin(class_ids, thing_ids)] += 0.2
    scene = VoxelScene(
        "random",
        np.stack(np.unravel_index(rows, (8, 8, 8)), axis=1).astype(np.int32),
        (8, 8, 8),
        0.1,
        np.zeros(3),
        class_ids[features.argmax(axis=1)].astype(np.int32),
        features=features / features.sum(axis=1, keepdims=True),
    )
    config = SegmentConfig(
        thing_ids=thing_ids,
        probability_ids=tuple(class_ids.tolist()) if is_probable else (),
        suppression_iou=1.0,
        min_voxels=1,
    )
    embedding, direction = rng.normal(size=(count, 4)), rng.normal(size=(count, 3))
    instances = segment(scene, embedding, direction, config)
    assert instances
    assert {instance.class_id for instance in instances} <= set(thing_ids)
    for baseline in (segmentation_as_instance, connected_components):
        assert {i.class_id for i in baseline(scene, thing_ids)} <= set(thing_ids)
