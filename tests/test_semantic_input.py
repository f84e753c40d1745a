"""Predicted labels, probabilities, logits and features become a scene's input."""

import pickle

import numpy as np
import pytest

from mtml_tf.classes import SCANNET20, ClassSet
from mtml_tf.scans import semantic_input, voxels
from mtml_tf.scene import Scene, VoxelScene

CLASSES = ClassSet((2, 5, 7), ("floor", "chair", "table"), ("stuff", "thing", "thing"))


def read(folder, num_vertices=3, scores="probabilities", classes=CLASSES):
    return semantic_input.read_semantic_input(folder, "a", num_vertices, classes, scores)


def test_text_files_hold_an_id_in_each_line(tmp_path):
    (tmp_path / "a.txt").write_text("5\n0\n7\n")
    given = read(tmp_path)
    np.testing.assert_array_equal(given.semantic_ids, [5, 0, 7])
    assert given.semantic_ids.dtype == np.int32
    assert given.features is None


def test_text_files_may_be_those_of_savetxt(tmp_path):
    np.savetxt(tmp_path / "a.txt", [5, 0, 7])
    assert (tmp_path / "a.txt").read_text().startswith("5.000000000000000000e+00\n")
    given = read(tmp_path)
    np.testing.assert_array_equal(given.semantic_ids, [5, 0, 7])
    assert given.semantic_ids.dtype == np.int32


def test_text_files_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "a.txt").write_text("5\n0\n7\n", encoding="utf-8-sig")
    np.testing.assert_array_equal(read(tmp_path).semantic_ids, [5, 0, 7])


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.float64])
def test_arrays_may_hold_ids(dtype, shape, tmp_path):
    np.save(tmp_path / "a.npy", np.array([5, 0, 7], dtype).reshape(shape))
    given = read(tmp_path)
    np.testing.assert_array_equal(given.semantic_ids, [5, 0, 7])
    assert given.semantic_ids.dtype == np.int32
    assert given.features is None


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_arrays_may_hold_probabilities(dtype, tmp_path):
    rows = np.array([[0.5, 0.25, 0.25], [0, 0.25, 0.75], [0.25, 0.5, 0.25]], dtype)
    np.save(tmp_path / "a.npy", rows)
    given = read(tmp_path)
    np.testing.assert_array_equal(given.features, rows)
    assert given.features.dtype == np.float32
    np.testing.assert_array_equal(given.semantic_ids, [2, 7, 5])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_probabilities_may_be_rounded(dtype, tmp_path):
    rows = np.random.default_rng(0).dirichlet(np.ones(20), 500).astype(dtype)
    assert np.abs(rows.sum(axis=1, dtype=np.float64) - 1).max() > 1e-8
    np.save(tmp_path / "a.npy", rows)
    given = read(tmp_path, 500, classes=SCANNET20)
    np.testing.assert_array_equal(given.features, rows)


def test_a_column_of_a_single_class_is_its_probability(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((3, 1)))
    given = read(tmp_path, classes=ClassSet((5,), ("chair",), ("thing",)))
    np.testing.assert_array_equal(given.features, [[1], [1], [1]])
    np.testing.assert_array_equal(given.semantic_ids, [5, 5, 5])


def test_logits_may_mask_a_class(tmp_path):
    rows = np.log([[1, 3, 1], [5, 2, 1], [1, 1, 2]])
    rows[:, 2] = -np.inf
    np.save(tmp_path / "a.npy", rows)
    given = read(tmp_path, scores="logits")
    np.testing.assert_allclose(
        given.features, [[1 / 4, 3 / 4, 0], [5 / 7, 2 / 7, 0], [0.5, 0.5, 0]]
    )
    rows[1] = -np.inf
    rows[2, 0] = np.inf
    np.save(tmp_path / "a.npy", rows)
    with pytest.raises(ValueError, match=r"a\.npy: .* found NaN or infinity in 2 of 3 rows"):
        read(tmp_path, scores="logits")


def test_logits_become_probabilities(tmp_path):
    # log(1, 2, 5) and the same shifted far beyond what exp can hold.
    rows = np.log([[1, 2, 5], [5, 2, 1], [1, 1, 2]])
    np.save(tmp_path / "a.npy", rows + np.array([[0], [1000], [-1000]]))
    given = read(tmp_path, scores="logits")
    expected = [[1 / 8, 2 / 8, 5 / 8], [5 / 8, 2 / 8, 1 / 8], [1 / 4, 1 / 4, 1 / 2]]
    np.testing.assert_allclose(given.features, expected, rtol=1e-4)
    np.testing.assert_array_equal(given.semantic_ids, [7, 2, 7])


def test_features_are_any_vectors_with_labels_beside(tmp_path):
    rows = np.arange(15, dtype=np.float32).reshape(3, 5) - 7
    np.save(tmp_path / "a.npy", rows)
    (tmp_path / "a.txt").write_text("5\n0\n7\n")
    given = read(tmp_path, scores="features")
    np.testing.assert_array_equal(given.features, rows)
    np.testing.assert_array_equal(given.semantic_ids, [5, 0, 7])


def test_features_do_not_replace_labels(tmp_path):
    with pytest.raises(ValueError, match=r"a\.npy: expected feature vectors, found no such file"):
        read(tmp_path, scores="features")
    np.save(tmp_path / "a.npy", np.zeros((3, 5)))
    with pytest.raises(
        ValueError, match=r"a\.txt: expected class ids beside them, found no such.*models of"
    ):
        read(tmp_path, scores="features")
    (tmp_path / "a.txt").write_text("5\n0\n7\n")
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(ValueError, match=r"expected feature vectors \[3, C\], found shape \[3\]"):
        read(tmp_path, scores="features")
    np.save(tmp_path / "a.npy", np.zeros((3, 0)))
    with pytest.raises(ValueError, match=r"found shape \[3, 0\]"):
        read(tmp_path, scores="features")


def test_one_file_speaks_for_a_scene(tmp_path):
    with pytest.raises(ValueError, match=r"a: expected either a\.txt or a\.npy, found neither"):
        read(tmp_path)
    (tmp_path / "a.txt").write_text("5\n0\n7\n")
    np.save(tmp_path / "a.npy", np.array([5, 0, 7]))
    with pytest.raises(
        ValueError, match=r"either a\.txt or a\.npy, found both \(--scores=features"
    ):
        read(tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("5\n0\n", "expected 3 class ids, one for each vertex, found 2"),
        ("", "expected 3 class ids, one for each vertex, found 0"),
        ("5\n\n0\nchair\n", "expected a class id in each line, found 'chair' in line 4"),
        ("5\n0\n7.5\n", r"expected a class id in each line, found '7\.5' in line 3"),
        ("5\n0_0\n7\n", "expected a class id in each line, found '0_0' in line 2"),
        ("5\nnan\n7\n", "found 'nan' in line 2"),
        ("5\n1e999\n7\n", "found '1e999' in line 2"),
        ("5\n0\n13\n", r"expected class ids among \[2, 5, 7\] \(or 0\), found \[13\]"),
        ("5\n0\n-1\n", r"found \[-1\]"),
        ("5\n0\n99999999999999999999\n", r"found \[99999999999999999999\]"),
    ],
)
def test_a_text_file_that_does_not_fit_is_told(text, sentence, tmp_path):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(ValueError, match=rf"a\.txt: .*{sentence}"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.array([5, 0]), "expected 3 rows, one for each vertex, found 2"),
        (np.array([5, 0, 13]), r"expected class ids among \[2, 5, 7\] \(or 0\), found \[13\]"),
        (np.array([5.0, 0.5, 7.0]), r"expected whole numbers as class ids, found 0\.5"),
        (np.array([[5.0], [np.nan], [7.0]]), "expected whole numbers as class ids, found nan"),
        (np.array([5.0, np.inf, 7.0]), "expected whole numbers as class ids, found inf"),
        (np.array(["5", "0", "7"]), "expected one array of numbers"),
        (np.array(5), "expected one array of numbers"),
        (np.full((4, 3), 1 / 3), "expected 3 rows, one for each vertex, found 4"),
        (np.full((3, 2), 0.5), r"each of the 3 classes \[3, 3\], found shape \[3, 2\]; --scores"),
        (np.zeros((3, 3, 3)), r"found shape \[3, 3, 3\]"),
        (np.full((3, 3), np.nan), "expected finite numbers, found NaN or infinity in 3 of 3 rows"),
        (np.full((3, 3), 1e300), "expected finite numbers, found NaN or infinity in 3 of 3 rows"),
        (np.full((3, 3), 0.5), r"add up to 1 in each row, found 1\.5; if these are logits"),
        (np.array([[2, -1, 0]] * 3), r"expected probabilities, found -1; if these are logits"),
    ],
)
def test_an_array_that_does_not_fit_is_told(array, sentence, tmp_path):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError, match=rf"a\.npy: .*{sentence}"):
        read(tmp_path)


def test_columns_taken_for_ids_are_told(tmp_path):
    (tmp_path / "a.txt").write_text("1\n0\n19\n")
    with pytest.raises(ValueError, match=r"found \[19\] \(NYU40 ids, not 0 to 19\)$"):
        read(tmp_path, classes=SCANNET20)
    with pytest.raises(ValueError, match=r"found \[1, 19\]$"):
        read(tmp_path)


def read_file(path, **reading):
    return semantic_input.read_semantic_file(path, 3, CLASSES, **reading)


def test_foreign_ids_of_a_file_may_be_mapped(tmp_path):
    (tmp_path / "a.txt").write_text("5\n0\n13\n")
    known = r"found \[13\]; known are 2 floor, 5 chair, 7 table: map .* by --label_map=their_id:our"
    with pytest.raises(ValueError, match=rf"a\.txt: .*{known}"):
        read_file(tmp_path / "a.txt", label_map={})
    given = read_file(tmp_path / "a.txt", label_map={13: 7})
    np.testing.assert_array_equal(given.semantic_ids, [5, 0, 7])


@pytest.mark.parametrize("name", ["labels", "labels.npy"])
def test_a_folder_holds_no_labels_of_one_scan(name, tmp_path):
    (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match="the labels of one scan, found a folder; name"):
        read_file(tmp_path / name)


def test_class_ids_are_no_logits(tmp_path):
    (tmp_path / "a.txt").write_text("5\n0\n7\n")
    np.save(tmp_path / "a.npy", np.array([[5], [0], [7]]))
    for name in ("a.txt", "a.npy"):
        with pytest.raises(ValueError, match=r"table of logits .* class ids; leave --scores out"):
            read_file(tmp_path / name, scores="logits")


def test_pickles_are_never_opened(tmp_path):
    opened = tmp_path / "opened"

    class Trap:
        def __reduce__(self):
            return (open, (str(opened), "w"))

    np.save(tmp_path / "a.npy", np.array([Trap()] * 3, object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"a\.npy: expected an array of numbers as numpy\.save"):
        read(tmp_path)
    (tmp_path / "a.npy").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match=r"a\.npy: expected an array of numbers as numpy\.save"):
        read(tmp_path)
    assert not opened.exists()


def test_files_that_are_no_arrays_are_told(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.array([5, 0, 7]))
    content = path.read_bytes()
    for length in (0, 5, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"a\.npy: expected an array of numbers"):
            read(tmp_path)
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(3))
    with pytest.raises(ValueError, match="found an archive of arrays"):
        read(tmp_path)


def test_scores_of_no_known_kind_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected scores among .*found 'odds'"):
        read(tmp_path, scores="odds")


def voxel_scene(vertices, labels, instances, classes=CLASSES):
    scene = Scene(
        "a",
        np.array(vertices, np.float64),
        semantic_ids=np.array(labels, np.int32),
        instance_ids=np.array(instances, np.int32),
    )
    return voxels.voxelize(scene, 1.0, classes)


# Two voxels of three vertices: a chair with one vertex of floor, then floor alone.
VERTICES = [[0.5, 0, 0]] * 3 + [[1.6, 0, 0]] * 3 + [[0, 0, 0]]
LABELS, INSTANCES = [5, 5, 2, 2, 2, 2, 5], [3, 3, 1, 1, 1, 1, 3]


def test_instances_come_from_the_true_classes_whatever_the_prediction_says():
    scene = voxel_scene(VERTICES, LABELS, INSTANCES)
    predicted = np.array([2, 2, 2, 5, 5, 5, 0], np.int32)
    changed = semantic_input.with_semantic_input(
        scene, semantic_input.SemanticInput(predicted), CLASSES
    )
    np.testing.assert_array_equal(changed.semantic_ids, [2, 5])
    np.testing.assert_array_equal(changed.instance_ids, [3, 0])
    np.testing.assert_array_equal(changed.coordinates, scene.coordinates)
    np.testing.assert_array_equal(changed.vertex_to_voxel, scene.vertex_to_voxel)
    assert changed.features is None


def test_ids_are_decided_by_the_majority_and_the_smaller_of_equals():
    scene = voxel_scene(VERTICES, LABELS, INSTANCES)
    predicted = np.array([7, 5, 7, 7, 0, 2, 5], np.int32)
    changed = semantic_input.with_semantic_input(
        scene, semantic_input.SemanticInput(predicted), CLASSES
    )
    np.testing.assert_array_equal(changed.semantic_ids, [5, 0])


def test_probabilities_are_averaged_and_the_most_probable_class_wins():
    scene = voxel_scene(VERTICES, LABELS, INSTANCES)
    # Three of four vertices of the first voxel lean to the floor a little, one to the table much.
    lean, sure = [0.5, 0.25, 0.25], [0, 0, 1]
    rows = np.array([lean, lean, lean, sure, [0, 0.5, 0.5], [0, 0.5, 0.5], sure], np.float32)
    given = semantic_input.SemanticInput(np.zeros(7, np.int32), rows, probabilities=True)
    changed = semantic_input.with_semantic_input(scene, given, CLASSES)
    first = [3 * 0.5 / 4, 3 * 0.25 / 4, (3 * 0.25 + 1) / 4]
    np.testing.assert_allclose(changed.features, [first, [0, 1 / 3, 2 / 3]], rtol=1e-6)
    np.testing.assert_array_equal(changed.semantic_ids, [7, 7])
    np.testing.assert_array_equal(changed.instance_ids, [3, 0])


def test_equal_probabilities_go_to_the_first_class():
    scene = voxel_scene([[0, 0, 0]], [5], [1])
    given = semantic_input.SemanticInput(
        np.zeros(1, np.int32), np.array([[0.25, 0.375, 0.375]], np.float32), probabilities=True
    )
    np.testing.assert_array_equal(
        semantic_input.with_semantic_input(scene, given, CLASSES).semantic_ids, [5]
    )


def test_features_are_averaged_and_their_labels_stay_apart():
    scene = voxel_scene(VERTICES, LABELS, INSTANCES)
    rows = np.array([[4, 0]] * 3 + [[1, 1]] * 3 + [[0, 8]], np.float32)
    given = semantic_input.SemanticInput(np.array([7] * 7, np.int32), rows)
    changed = semantic_input.with_semantic_input(scene, given, CLASSES)
    np.testing.assert_array_equal(changed.features, [[3, 2], [1, 1]])
    np.testing.assert_array_equal(changed.semantic_ids, [7, 7])


def test_the_true_labels_as_input_change_nothing():
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 2, 5, 7], 200)
    scene = voxel_scene(rng.uniform(0, 4, (200, 3)), labels, rng.integers(0, 4, 200))
    changed = semantic_input.with_semantic_input(
        scene, semantic_input.SemanticInput(labels.astype(np.int32)), CLASSES
    )
    np.testing.assert_array_equal(changed.semantic_ids, scene.semantic_ids)
    np.testing.assert_array_equal(changed.instance_ids, scene.instance_ids)


def test_input_of_another_number_of_vertices_is_refused():
    scene = voxel_scene(VERTICES, LABELS, INSTANCES)
    with pytest.raises(ValueError, match=r"scene a: expected 7 rows of input.*found 6"):
        voxels.with_input(scene, np.zeros(6, np.int32))
    with pytest.raises(ValueError, match=r"scene a: expected 7 rows of input.*found 5"):
        voxels.with_input(scene, np.zeros(7, np.int32), np.zeros((5, 2), np.float32))
    bare = VoxelScene("b", scene.coordinates, scene.grid_shape, 1.0, np.zeros(3), np.zeros(2, int))
    with pytest.raises(ValueError, match="scene b: expected a vertex_to_voxel index"):
        voxels.with_input(bare, np.zeros(2, np.int32))


def test_columns_stand_in_the_order_of_the_class_set(tmp_path):
    np.save(tmp_path / "a.npy", np.eye(20))
    given = read(tmp_path, 20, classes=SCANNET20)
    np.testing.assert_array_equal(given.semantic_ids, SCANNET20.ids)


def test_ids_of_64_bits_can_be_mapped(tmp_path):
    unlabelled = 2**64 - 1
    (tmp_path / "a.txt").write_text(f"5\n{unlabelled}\n")
    np.save(tmp_path / "a.npy", np.array([5, unlabelled], np.uint64))
    for name in ("a.txt", "a.npy"):
        found = semantic_input.read_semantic_file(
            tmp_path / name, 2, CLASSES, label_map={unlabelled: 0}
        )
        np.testing.assert_array_equal(found.semantic_ids, [5, 0])
