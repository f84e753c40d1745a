import dataclasses

import numpy as np
import pytest

from mtml_tf.classes import SCANNET20, ClassSet
from mtml_tf.rooms.labeller import (
    confusion,
    encode_labels,
    iou,
    predict_labels,
    predict_scene,
)
from mtml_tf.scene import Scene

WALL, FLOOR, CABINET, CHAIR, TABLE, DESK, FRIDGE = 1, 2, 3, 5, 7, 14, 24


def square(low, size=0.6, spacing=0.03):
    """Points of a square sheet, metres."""
    steps = np.arange(0, size, spacing)
    flat = np.stack(np.meshgrid(steps, steps), axis=2).reshape(-1, 2)
    return np.column_stack([flat, np.zeros(len(flat))]) + low


def floor_with_objects(num_objects=40, classes=(CHAIR, TABLE), spacing=0.03):
    """A floor, and sheets of classes in turn 6 cm above it, 1 m apart; points, ids, instances."""
    parts = []
    for number in range(num_objects):
        x, y = float(number % 8), float(number // 8)
        parts.append((square((x - 0.2, y - 0.2, 0), 1.0, spacing), FLOOR, 0))
        label = classes[number % len(classes)]
        parts.append((square((x, y, 0.06), 0.6, spacing), label, number + 1))
    points, labels, instances = zip(*parts, strict=True)
    sizes = [len(part) for part in points]
    return np.concatenate(points), np.repeat(labels, sizes), np.repeat(instances, sizes)


def labelled(room, strength, seed=0, **options):
    return predict_labels(*room, strength, np.random.default_rng(seed), **options)


def share_wrong(room, strength, seed=0):
    return float(np.mean(labelled(room, strength, seed) != room[1]))


def shares_right(room, predicted):
    """Of each object, the share of its points that are right."""
    _, labels, instances = room
    right = predicted == labels
    return np.array([right[instances == i].mean() for i in range(1, instances.max() + 1)])


def test_no_strength_gives_the_truth_even_where_points_coincide():
    points, labels, instances = floor_with_objects()
    for flat in (points, points * (1, 1, 0)):
        predicted = labelled((flat, labels, instances), 0)
        np.testing.assert_array_equal(predicted, labels)
    assert predicted.dtype == np.int32


def test_errors_are_a_function_of_the_generator():
    room = floor_with_objects()
    np.testing.assert_array_equal(labelled(room, 1, seed=1), labelled(room, 1, seed=1))
    assert np.any(labelled(room, 1, seed=1) != labelled(room, 1, seed=2))


def test_more_strength_means_more_errors():
    room = floor_with_objects()
    wrong = [share_wrong(room, strength) for strength in (0.25, 0.5, 1, 2)]
    assert 0 < wrong[0] < wrong[1] < wrong[2] < wrong[3]


def test_objects_that_are_called_something_else_stay_so_at_greater_strength():
    room = floor_with_objects(120)
    little, more = (shares_right(room, labelled(room, strength)) < 0.1 for strength in (1, 4))
    assert 0 < little.sum() < more.sum()
    assert more[little].all()


def test_most_objects_are_right_and_few_are_wrong_as_a_whole():
    # Sheets of 60 cm without anything but the floor beside them.
    room = floor_with_objects(120)
    right = np.concatenate([shares_right(room, labelled(room, 1, seed)) for seed in range(3)])
    assert np.mean(right >= 0.9) > 0.4
    assert 0.01 < np.mean(right < 0.1) < 0.1
    # What is between them is mostly right: pieces, not specks all over.
    assert np.mean((right >= 0.1) & (right < 0.5)) < 0.15


def test_wrong_pieces_hang_together():
    # A cabinet alone in front of nothing: what is wrong of it is cut off by planes, and large.
    sheet = square((0, 0, 0), 1.5)
    points = np.concatenate([sheet, sheet + np.array([5, 0, 0])])
    labels = np.repeat([CABINET, WALL], len(sheet))
    room = points, labels, np.repeat([1, 0], len(sheet))
    sizes = [np.sum(labelled(room, 1, seed)[: len(sheet)] != CABINET) for seed in range(60)]
    assert 5 < np.count_nonzero(sizes) < 55
    assert np.min([size for size in sizes if size]) > 0.05 * len(sheet)


def test_objects_hold_their_borders_better_than_the_floor_does():
    # Chairs only: nothing but the floor is left to take them for, which is what borders do too.
    points, labels, instances = floor_with_objects(classes=(CHAIR,))
    room = points * (1, 1, 0.1), labels, instances
    predicted = labelled(room, 0.3)
    nearly_right = np.isin(instances, 1 + np.flatnonzero(shares_right(room, predicted) > 0.8))
    wrong_chair = (labels == CHAIR) & (predicted != CHAIR) & nearly_right
    wrong_floor = (labels == FLOOR) & (predicted != FLOOR)
    assert 0 < np.sum(wrong_chair) < np.sum(wrong_floor)


def test_classes_are_taken_for_what_is_like_them_and_in_the_scene():
    room = floor_with_objects(classes=(CABINET, DESK))
    assert set(np.unique(labelled(room, 3))) == {FLOOR, CABINET, DESK}
    room = floor_with_objects(classes=(CABINET, FRIDGE, CHAIR))
    predicted = labelled(room, 3)
    # A refrigerator looks like a cabinet; nobody takes it for a chair.
    inside = np.isin(room[2], np.arange(2, 41, 3))
    high = np.isin(predicted[inside], CABINET).mean()
    assert high > 10 * np.isin(predicted[inside], CHAIR).mean()


def test_unlabelled_points_are_called_what_is_nearest_or_wall_table_and_cabinet():
    points, labels, instances = floor_with_objects(60, classes=(CHAIR, TABLE, CABINET, WALL, 0))
    room = points, labels, np.where(labels == 0, 0, instances)
    clutter = labels == 0
    # 6 cm above the floor there is nothing nearer to most of a sheet.
    assert np.mean(labelled(room, 0)[clutter] == FLOOR) > 0.9
    predicted = np.concatenate([labelled(room, 1, seed)[clutter] for seed in range(3)])
    shares = {id_: np.mean(predicted == id_) for id_ in (WALL, TABLE, CABINET, CHAIR, 0)}
    assert shares[WALL] > shares[TABLE] > shares[CHAIR]
    assert shares[WALL] > shares[CABINET] > shares[CHAIR]
    assert shares[0] == 0
    known = ~clutter
    assert np.mean(labelled(room, 1)[known] == labels[known]) > 0.8


def test_walls_and_floors_err_beside_objects_only():
    floor, cabinet = square((0, 0, 0), 6.0, 0.05), square((0, 0, 0.1), 0.6)
    points = np.concatenate([floor, cabinet])
    labels = np.repeat([WALL, CABINET], [len(floor), len(cabinet)])
    instances = np.repeat([0, 1], [len(floor), len(cabinet)])
    wrong = labelled((points, labels, instances), 20) != labels
    far = np.linalg.norm(points[:, :2], axis=1) > 2.5
    assert wrong[: len(floor)].any()
    assert not wrong[far].any()


def test_what_has_no_instances_may_have_ids_or_none():
    points, labels, instances = floor_with_objects()
    numbered = np.where(labels == FLOOR, 77, instances)
    np.testing.assert_array_equal(
        labelled((points, labels, numbered), 1), labelled((points, labels, instances), 1)
    )


def test_other_classes_are_taken_for_any_other_of_the_scene():
    classes = ClassSet((1, 2, 3, 4), ("ground", "mug", "box", "never"), ("stuff", *["thing"] * 3))
    points, labels, instances = floor_with_objects(60)
    labels = np.select([labels == FLOOR, labels == CHAIR], [1, 2], 3)
    predicted = labelled((points, labels, instances), 2, classes=classes)
    for class_id in (1, 2, 3):
        found = set(np.unique(predicted[labels == class_id]))
        assert found == {1, 2, 3}


def test_scenes_of_one_class_of_one_point_or_of_nothing_are_labelled():
    one = np.zeros((1, 3)), np.array([CHAIR]), np.array([1])
    assert labelled(one, 2).tolist() == [CHAIR]
    nothing = np.zeros((3, 3)), np.zeros(3, int), np.zeros(3, int)
    assert labelled(nothing, 2).tolist() == [0, 0, 0]
    assert len(labelled((np.zeros((0, 3)), np.zeros(0, int), np.zeros(0, int)), 1)) == 0
    sheet = square((0, 0, 0))
    chair = sheet, np.full(len(sheet), CHAIR), np.zeros(len(sheet), int)
    assert set(labelled(chair, 2)) == {CHAIR}


def test_labels_are_written_one_a_line():
    assert encode_labels(np.array([1, 39, 5], np.int32)) == "1\n39\n5\n"
    assert encode_labels(np.zeros(0, np.int32)) == ""


def test_iou_by_hand():
    truth, predicted = np.array([1, 1, 1, 2, 0, 5]), np.array([1, 1, 2, 2, 7, 1])
    values = iou(confusion(truth, predicted))
    assert values[0] == pytest.approx(2 / 4)
    assert values[1] == pytest.approx(1 / 2)
    assert values[SCANNET20.ids.index(5)] == 0
    assert np.isnan(values[SCANNET20.ids.index(7)])


def test_what_cannot_be_labelled_is_refused():
    points, labels, instances = floor_with_objects(1)
    scene = Scene("room", points, semantic_ids=labels, instance_ids=instances)
    np.testing.assert_array_equal(
        predict_scene(scene, 1, 3), labelled((points, labels, instances), 1, seed=3)
    )
    with pytest.raises(ValueError, match="scene room: expected labels and instances, found none"):
        predict_scene(dataclasses.replace(scene, instance_ids=None), 1, 0)
    other = dataclasses.replace(scene, semantic_ids=np.full_like(labels, 40))
    with pytest.raises(ValueError, match=r"scene room: expected class ids among .*, found \[40\]"):
        predict_scene(other, 1, 0)
    count = len(points)
    message = f"for each of {count} points, found {count - 1} and {count}"
    with pytest.raises(ValueError, match=message):
        labelled((points, labels[1:], instances), 1)


@pytest.mark.parametrize("strength", [-1, float("nan"), float("inf")])
def test_a_strength_out_of_range_is_refused(strength):
    message = f"expected a strength of label errors of at least 0, found {strength}"
    with pytest.raises(ValueError, match=message):
        labelled(floor_with_objects(1), strength)


def test_a_vertex_without_prediction_is_not_counted_for_another_class():
    message = "expected a predicted class for every vertex, found id 0 for 1 of 2"
    with pytest.raises(ValueError, match=message):
        confusion(np.array([2, 5, 0]), np.array([0, 5, 0]))


def test_unlabelled_vertices_need_no_prediction():
    assert confusion(np.array([5, 0]), np.array([5, 0])).sum() == 1
