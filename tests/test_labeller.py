import dataclasses

import numpy as np
import pytest

from mtml_tf.classes import SCANNET20
from mtml_tf.rooms.labeller import (
    LabellerSettings,
    confusion,
    encode_labels,
    iou,
    predict_labels,
)
from mtml_tf.scene import Scene

WALL, FLOOR, CABINET, CHAIR, TABLE, FRIDGE, TOILET = 1, 2, 3, 5, 7, 24, 33
SILENT = LabellerSettings(whole=0, part=0, bleeding=0, specks=0)


def floor_with_objects(num_objects=30, spacing=0.03):
    """A floor, and patches of chairs and tables in turn above it; returns the scene, segments."""
    square = np.stack(np.meshgrid(np.arange(16), np.arange(16)), axis=2).reshape(-1, 2) * spacing
    vertices, labels, instances = [], [], []
    for number in range(num_objects):
        place = (number % 6 * 1.0, number // 6 * 1.0)
        for height, label, instance in (
            (0.0, FLOOR, 1),
            (0.5, (CHAIR, TABLE)[number % 2], number + 2),
        ):
            vertices.append(np.column_stack([square + place, np.full(len(square), height)]))
            labels.append(np.full(len(square), label))
            instances.append(np.full(len(square), instance))
    vertices = np.concatenate(vertices)
    strips = np.floor(vertices[:, 0] / 0.1).astype(int)
    scene = Scene(
        "room",
        vertices,
        semantic_ids=np.concatenate(labels).astype(np.int32),
        instance_ids=np.concatenate(instances).astype(np.int32),
    )
    return scene, strips + 1000 * scene.instance_ids


def share_wrong(scene, predicted):
    return float(np.mean(predicted != scene.semantic_ids))


def test_no_strength_gives_the_truth():
    scene, segments = floor_with_objects()
    predicted = predict_labels(scene, segments, LabellerSettings(strength=0), 0)
    np.testing.assert_array_equal(predicted, scene.semantic_ids)


def test_more_strength_means_more_errors():
    scene, segments = floor_with_objects()
    wrong = [
        share_wrong(scene, predict_labels(scene, segments, LabellerSettings(strength=s), 3))
        for s in (0.5, 1.0, 2.0)
    ]
    assert 0 < wrong[0] < wrong[1] < wrong[2]


def test_whole_objects_are_taken_for_a_similar_class():
    scene, segments = floor_with_objects()
    predicted = predict_labels(scene, segments, dataclasses.replace(SILENT, whole=9.0), 0)
    for instance in range(2, 32):
        members = scene.instance_ids == instance
        assert len(np.unique(predicted[members])) == 1
        assert predicted[members][0] != scene.semantic_ids[members][0]


def test_parts_are_made_of_whole_segments_and_no_larger_than_allowed():
    scene, segments = floor_with_objects()
    settings = dataclasses.replace(SILENT, part=9.0, largest_part=0.3)
    predicted = predict_labels(scene, segments, settings, 0)
    for segment in np.unique(segments):
        assert len(np.unique(predicted[segments == segment])) == 1
    for instance in range(2, 32):
        members = scene.instance_ids == instance
        assert np.mean(predicted[members] != scene.semantic_ids[members]) <= 3 * 0.3
    assert share_wrong(scene, predicted) > 0.05


def test_bleeding_takes_labels_from_nearby_only():
    scene, segments = floor_with_objects()
    scene = dataclasses.replace(
        scene,
        vertices=scene.vertices * (1, 1, 0) + (0, 0, 0.06) * (scene.semantic_ids != FLOOR)[:, None],
    )
    predicted = predict_labels(scene, segments, dataclasses.replace(SILENT, bleeding=0.1), 0)
    wrong = predicted != scene.semantic_ids
    assert wrong.any()
    assert set(np.unique(predicted[scene.semantic_ids != FLOOR])) <= {FLOOR, CHAIR, TABLE}


def test_bleeding_reaches_no_further_than_its_displacement():
    # Chairs and tables stand 0.55 m apart: 5 standard deviations to the middle between them.
    scene, segments = floor_with_objects()
    things = scene.semantic_ids != FLOOR
    flat = scene.vertices * (1, 1, 0) + (0, 0, 0.06) * things[:, None]
    scene = dataclasses.replace(scene, vertices=flat)
    predicted = predict_labels(scene, segments, dataclasses.replace(SILENT, bleeding=0.05), 0)
    wrong = predicted != scene.semantic_ids
    assert set(predicted[wrong & things]) == {FLOOR}
    assert set(predicted[wrong & ~things]) == {CHAIR, TABLE}


@pytest.mark.parametrize(
    "errors", [{"part": 0.3}, {"whole": 0.3}, {"bleeding": 0.1}, {"specks": 300.0}]
)
def test_each_kind_of_error_grows_with_the_strength(errors):
    scene, segments = floor_with_objects()
    flat = scene.vertices * (1, 1, 0.12)
    scene = dataclasses.replace(scene, vertices=flat)
    settings = dataclasses.replace(SILENT, **errors)
    little, much = (
        share_wrong(
            scene,
            predict_labels(scene, segments, dataclasses.replace(settings, strength=strength), 0),
        )
        for strength in (0.25, 2.0)
    )
    assert 1.5 * little < much


def test_specks_are_false_patches_of_the_given_size_mostly_on_objects():
    scene, segments = floor_with_objects()
    # Vertices 3 cm apart: a disc of 0.1 m radius in the middle of a patch holds 37 of them.
    settings = dataclasses.replace(
        SILENT, specks=7.0 * 100_000 / len(scene.vertices), speck_radius=(0.1, 0.1)
    )
    on_objects, on_floor = 0, 0
    for seed in range(10):
        predicted = predict_labels(scene, segments, settings, seed)
        wrong = predicted != scene.semantic_ids
        on_objects += np.count_nonzero(wrong & (scene.semantic_ids != FLOOR))
        on_floor += np.count_nonzero(wrong & (scene.semantic_ids == FLOOR))
        assert WALL not in predicted
        assert 0 < np.count_nonzero(wrong) < 37 * 25
    # There is as much of the floor as of objects, and objects are four times as likely.
    assert 2 * on_floor < on_objects


def test_vertices_at_one_place_keep_their_labels_without_strength():
    scene, segments = floor_with_objects()
    scene = dataclasses.replace(scene, vertices=scene.vertices * (1, 1, 0))
    predicted = predict_labels(scene, segments, LabellerSettings(strength=0), 0)
    np.testing.assert_array_equal(predicted, scene.semantic_ids)


def test_a_cabinet_is_taken_for_a_refrigerator_only_where_there_is_one():
    scene, segments = floor_with_objects()
    labels = np.where(scene.semantic_ids == FLOOR, FLOOR, CABINET).astype(np.int32)
    settings = dataclasses.replace(SILENT, whole=9.0, part=9.0)
    without = predict_labels(dataclasses.replace(scene, semantic_ids=labels), segments, settings, 0)
    assert FRIDGE not in without
    labels[scene.instance_ids == 2] = FRIDGE
    with_one = predict_labels(
        dataclasses.replace(scene, semantic_ids=labels), segments, settings, 0
    )
    assert FRIDGE in with_one[labels == CABINET]


def test_bathrooms_are_not_seen_in_offices():
    scene, segments = floor_with_objects()
    settings = LabellerSettings(whole=1.0, part=1.0, strength=2)
    assert TOILET not in predict_labels(scene, segments, settings, 0)


def test_unlabelled_vertices_get_the_label_of_what_is_nearest():
    scene, segments = floor_with_objects()
    labels = scene.semantic_ids.copy()
    labels[np.flatnonzero(scene.instance_ids == 4)[:20]] = 0
    predicted = predict_labels(dataclasses.replace(scene, semantic_ids=labels), segments, SILENT, 0)
    np.testing.assert_array_equal(predicted, scene.semantic_ids)


def test_predictions_are_a_function_of_the_seed():
    scene, segments = floor_with_objects()
    first, again, other = (
        predict_labels(scene, segments, LabellerSettings(), s) for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)
    assert first.dtype == np.int32


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
    scene, segments = floor_with_objects(1)
    with pytest.raises(ValueError, match="scene room: expected labels and instances, found none"):
        predict_labels(dataclasses.replace(scene, instance_ids=None), segments, SILENT, 0)
    blank = dataclasses.replace(scene, semantic_ids=np.zeros_like(scene.semantic_ids))
    with pytest.raises(ValueError, match="expected labelled vertices, found none"):
        predict_labels(blank, segments, SILENT, 0)
    with pytest.raises(
        ValueError, match="scene room: expected a segment id for each of 512 vertices, found 511"
    ):
        predict_labels(scene, segments[1:], SILENT, 0)
    other = dataclasses.replace(scene, semantic_ids=np.full_like(scene.semantic_ids, 40))
    with pytest.raises(ValueError, match=r"scene room: expected class ids among .*, found \[40\]"):
        predict_labels(other, segments, SILENT, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strength": -1}, "expected a strength of at least 0, found -1"),
        ({"strength": float("nan")}, "expected a strength of at least 0, found nan"),
        ({"strength": float("inf")}, "expected a strength of at least 0, found inf"),
        ({"whole": -0.1}, "expected a whole of at least 0, found -0.1"),
        ({"speck_radius": (0.1, -1.0)}, r"expected a speck_radius of at least 0, found \(0.1, -1"),
        ({"speck_radius": (0.2, 0.1)}, "expected the smallest and the largest speck_radius"),
        ({"bleeding_length": 0}, "expected a bleeding_length above 0 m, found 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        LabellerSettings(**settings)


def test_a_vertex_without_prediction_is_not_counted_for_another_class():
    message = "expected a predicted class for every vertex, found id 0 for 1 of 2"
    with pytest.raises(ValueError, match=message):
        confusion(np.array([2, 5, 0]), np.array([0, 5, 0]))


def test_unlabelled_vertices_need_no_prediction():
    assert confusion(np.array([5, 0]), np.array([5, 0])).sum() == 1
