"""Ground truth numbers: class and instance in one."""

import numpy as np
import pytest

from mtml_tf.classes import ClassSet
from mtml_tf.scene import Scene, VoxelScene
from mtml_tf.scoring import ground_truth

CLASSES = ClassSet((1, 2, 7), ("table", "cup", "box"), ("stuff", "thing", "thing"))


def scene(semantic_ids, instance_ids):
    return Scene(
        "desk",
        np.zeros((len(semantic_ids), 3)),
        semantic_ids=np.array(semantic_ids, np.int32),
        instance_ids=None if instance_ids is None else np.array(instance_ids, np.int32),
    )


def test_class_and_instance_become_one_number():
    ids = ground_truth.ground_truth_ids(scene([2, 2, 7, 1, 0], [1, 999, 2, 0, 0]), CLASSES)
    np.testing.assert_array_equal(ids, [2001, 2999, 7002, 1000, 0])
    assert ids.dtype == np.int64


def test_stuff_has_no_instance_even_where_the_scan_gives_one():
    ids = ground_truth.ground_truth_ids(scene([1, 0], [5, 4000]), CLASSES)
    np.testing.assert_array_equal(ids, [1000, 0])


def test_a_thing_without_an_instance_is_unannotated():
    np.testing.assert_array_equal(ground_truth.ground_truth_ids(scene([2], [0]), CLASSES), [0])


def test_voxels_have_ground_truth_too():
    voxel_scene = VoxelScene(
        "toy",
        np.array([[0, 0, 0], [1, 1, 1]], np.int32),
        (2, 2, 2),
        1.0,
        np.zeros(3),
        np.array([2, 1], np.int32),
        np.array([4, 0], np.int32),
    )
    np.testing.assert_array_equal(ground_truth.ground_truth_ids(voxel_scene, CLASSES), [2004, 1000])


@pytest.mark.parametrize(
    ("semantic_ids", "instance_ids", "sentence"),
    [
        ([2], [1000], "expected instance ids from 0 to 999, found 1000"),
        ([2], [-1], "expected instance ids from 0 to 999, found -1"),
        ([3], [1], r"expected class ids among \[1, 2, 7\] \(or 0\), found \[3\]"),
        ([2], None, "expected labels and instances"),
    ],
)
def test_what_the_format_cannot_say_is_refused(semantic_ids, instance_ids, sentence):
    with pytest.raises(ValueError, match="scene desk: " + sentence):
        ground_truth.ground_truth_ids(scene(semantic_ids, instance_ids), CLASSES)
