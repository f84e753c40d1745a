"""Raw ScanNet is read as the benchmark reads it, and its faults are told."""

import json

import numpy as np
import pytest
from raw_scannet import (
    GROUPS,
    NAMES,
    NUM_VERTICES,
    NYU40,
    TABLE,
    TRUTH,
    change_json,
    file_of,
    raw_scene,
    write_download,
)

from mtml_tf.scannet import layout, reader
from mtml_tf.scannet.layout import RawGroup
from mtml_tf.scannet.writer import write_label_table, write_raw_scene
from mtml_tf.scans import ply
from mtml_tf.scene import Scene


@pytest.fixture
def folder(tmp_path):
    write_raw_scene(tmp_path, raw_scene(), TABLE)
    return tmp_path / "scene0000_00"


def write(tmp_path, **changes):
    write_raw_scene(tmp_path, raw_scene(**changes), TABLE)
    return tmp_path / "scene0000_00"


def test_a_scene_comes_back_as_it_was_written(folder):
    scene, faults = reader.read_scene(folder, TABLE)
    raw = raw_scene()
    assert faults == []
    assert scene.name == "scene0000_00"
    np.testing.assert_array_equal(scene.vertices, raw.vertices)
    np.testing.assert_array_equal(scene.colors, raw.colors)
    np.testing.assert_array_equal(scene.faces, raw.faces)
    np.testing.assert_array_equal(scene.semantic_ids, NYU40)
    np.testing.assert_array_equal(scene.instance_ids, np.repeat([1, 2, 3, 4, 5, 0], 2))


def test_ground_truth_is_class_times_1000_plus_instance_and_0_where_unannotated(folder):
    scene, _ = reader.read_scene(folder, TABLE)
    np.testing.assert_array_equal(reader.benchmark_ids(scene), TRUTH)


def test_ground_truth_needs_labels(folder):
    with pytest.raises(ValueError, match="scene scene0000_00: expected labels and instances"):
        reader.benchmark_ids(reader.read_mesh(folder))


def test_classes_outside_the_benchmark_are_unlabelled_as_input(folder):
    scene, _ = reader.read_scene(folder, TABLE)
    found = reader.with_benchmark_classes(scene)
    np.testing.assert_array_equal(found.semantic_ids, np.repeat([1, 2, 5, 5, 0, 0], 2))
    bare = reader.with_benchmark_classes(Scene("a", np.zeros((2, 3))))
    np.testing.assert_array_equal(bare.semantic_ids, [0, 0])


def test_the_label_table_is_read_by_the_names_of_its_columns(tmp_path):
    path = tmp_path / "labels.tsv"
    path.write_text('nyu40id\traw_category\n5\toffice chair\n7\t"round" table \n')
    assert reader.read_label_table(path) == {"office chair": 5, '"round" table': 7}
    path.unlink()
    write_label_table(path, TABLE, NAMES)
    assert reader.read_label_table(path) == TABLE


def test_the_label_table_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "labels.tsv"
    path.write_text("raw_category\tnyu40id\nchair\t5\n", encoding="utf-8-sig")
    assert reader.read_label_table(path) == {"chair": 5}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("id,raw_category,nyu40id\n", r"expected a column 'raw_category' \(tab separated\)"),
        ("raw_category\tnyu40class\n", "expected a column 'nyu40id'"),
        ("raw_category\tnyu40id\nchair\tfive\n", "expected a NYU40 id in line 2, found 'five'"),
        ("raw_category\tnyu40id\nchair\n", "expected a NYU40 id in line 2, found ''"),
        ("raw_category\tnyu40id\n" + 200_000 * "a", "a tab separated table, found field larger"),
        (200_000 * "a", "a tab separated table, found field larger"),
        (None, "found no such file"),
    ],
)
def test_a_table_that_is_none_is_told(text, sentence, tmp_path):
    path = tmp_path / "labels.tsv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=rf"labels\.tsv: .*{sentence}"):
        reader.read_label_table(path)


def test_split_lists_are_found_where_people_have_them(tmp_path):
    other = tmp_path / "Tasks" / "Benchmark"
    other.mkdir(parents=True)
    (other / "scannetv2_val.txt").write_text("scene0011_00\nscene0003_01\n\n")
    assert reader.read_split(tmp_path, "val") == ["scene0011_00", "scene0003_01"]
    (tmp_path / "scannetv2_val.txt").write_text("b\n")
    assert reader.read_split(tmp_path, "val") == ["b"]
    assert reader.read_split(tmp_path, "val", other) == ["scene0011_00", "scene0003_01"]


def test_a_split_list_that_can_not_be_used_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"scannetv2_val\.txt: .*no such file; --split_dir names"):
        reader.read_split(tmp_path, "val")
    path = tmp_path / "scannetv2_val.txt"
    path.write_text("\n")
    with pytest.raises(ValueError, match="expected the name of a scene in each line, found none"):
        reader.read_split(tmp_path, "val")
    path.write_text("a\nb\na\n")
    with pytest.raises(ValueError, match="expected each scene once, found 'a' twice"):
        reader.read_split(tmp_path, "val")


def test_vertices_are_aligned_with_the_room_unless_told_otherwise(tmp_path):
    # A quarter turn about z (x to y, y to -x), then 2 m along z.
    turn = [[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 2], [0, 0, 0, 1]]
    folder = write(tmp_path, alignment=turn)
    raw = raw_scene().vertices.astype(np.float64)
    expected = np.stack([-raw[:, 1], raw[:, 0], raw[:, 2] + 2], axis=1)
    aligned, faults = reader.read_scene(folder, TABLE)
    np.testing.assert_allclose(aligned.vertices, expected, atol=1e-12)
    assert faults == []
    plain, _ = reader.read_scene(folder, TABLE, align_axes=False)
    np.testing.assert_array_equal(plain.vertices, raw)
    np.testing.assert_array_equal(plain.semantic_ids, aligned.semantic_ids)


@pytest.mark.parametrize("values", ["1 0 0", "a b", " ".join(["nan"] * 16)])
def test_a_damaged_alignment_is_told(values, folder):
    file_of(folder, layout.DESCRIPTION).write_text(f"axisAlignment = {values}\n")
    with pytest.raises(ValueError, match="expected 16 finite numbers after 'axisAlignment ='"):
        reader.read_scene(folder, TABLE)


@pytest.mark.parametrize(
    "matrix",
    [
        np.diag([2, 2, 2, 1]),  # scaled
        np.diag([1, 1, 1, 2]),
        np.diag([-1, 1, 1, 1]),  # mirrored
        np.diag([1, -1, -1, 1]),  # turned about x
        np.eye(4) + np.eye(4, k=1) * [[0.01]],  # sheared
        np.eye(4)[[3, 1, 2, 0]],
        np.eye(4).T + np.outer([0, 0, 0, 1], [3, 2, 1, 0]),  # the shift in the last row
    ],
)
def test_an_alignment_that_is_no_turn_about_z_and_shift_is_told(matrix, folder):
    text = " ".join(str(value) for value in matrix.ravel())
    path = file_of(folder, layout.DESCRIPTION)
    path.write_text(f"axisAlignment = {text}\n")
    with pytest.raises(
        ValueError, match=r"00\.txt: expected a turn about z and a shift after 'axis"
    ):
        reader.read_mesh(folder)
    reader.read_mesh(folder, align_axes=False)


def test_an_alignment_of_six_digits_is_taken(folder):
    rows = "0.945519 0.325568 0 -5.38439 -0.325568 0.945519 0 -2.87178 0 0 1 -0.06435 0 0 0 1"
    file_of(folder, layout.DESCRIPTION).write_text(f"axisAlignment = {rows}\n")
    scene = reader.read_mesh(folder)
    np.testing.assert_allclose(scene.vertices[0], [-5.38439, -2.87178, -0.06435])


def test_a_description_may_hold_other_lines_in_any_encoding(folder):
    path = file_of(folder, layout.DESCRIPTION)
    path.write_bytes("sceneType = Café\n".encode("latin-1") + path.read_bytes())
    scene, faults = reader.read_scene(folder, TABLE)
    assert faults == []
    np.testing.assert_array_equal(scene.semantic_ids, NYU40)


def test_a_scene_without_alignment_stays_as_it_is_and_says_so(folder):
    file_of(folder, layout.DESCRIPTION).write_text("sceneType = Bathroom\n")
    scene, (fault,) = reader.read_scene(folder, TABLE)
    np.testing.assert_array_equal(scene.vertices, raw_scene().vertices)
    assert "scene0000_00.txt: expected a line 'axisAlignment = ...'" in fault
    assert reader.read_scene(folder, TABLE, align_axes=False)[1] == []


def test_labels_that_the_table_lacks_are_listed_and_unlabelled(tmp_path):
    groups = [*GROUPS[:3], RawGroup(3, "ofice chair", (13,)), RawGroup(4, "ofice chair", (14,))]
    folder = write(tmp_path, groups=groups)
    scene, (fault,) = reader.read_scene(folder, TABLE)
    assert "aggregation.json: labels that the label table lacks" in fault
    assert fault.endswith("'ofice chair' (2)")
    np.testing.assert_array_equal(scene.semantic_ids, np.repeat([1, 2, 5, 0, 0, 0], 2))
    np.testing.assert_array_equal(
        reader.benchmark_ids(scene), np.repeat([1001, 2002, 5003, 0, 0, 0], 2)
    )


def test_labels_that_the_table_lacks_are_not_taken_from_the_labels_mesh(tmp_path):
    groups = [*GROUPS[:3], RawGroup(3, "zebra", (13,)), GROUPS[4]]
    # The labels mesh knows zebras, and calls them chairs.
    write_raw_scene(tmp_path, raw_scene(groups=groups), {**TABLE, "zebra": 5})
    scene, (fault,) = reader.read_scene(tmp_path / "scene0000_00", TABLE)
    assert fault.endswith("the label table lacks are taken as unlabelled: 'zebra' (1)")
    np.testing.assert_array_equal(scene.semantic_ids, np.repeat([1, 2, 5, 0, 18, 0], 2))


def test_spaces_around_a_label_do_not_count(folder):
    path = file_of(folder, layout.AGGREGATION)
    groups = json.loads(path.read_text())["segGroups"]
    change_json(path, segGroups=[{**group, "label": f" {group['label']} "} for group in groups])
    scene, faults = reader.read_scene(folder, TABLE)
    assert faults == []
    np.testing.assert_array_equal(scene.semantic_ids, NYU40)


def test_groups_without_segments_are_no_copies_of_each_other(tmp_path):
    groups = [*GROUPS, RawGroup(5, "chair", ()), RawGroup(6, "wall", ())]
    scene, faults = reader.read_scene(write(tmp_path, groups=groups), TABLE)
    assert faults == []
    np.testing.assert_array_equal(reader.benchmark_ids(scene), TRUTH)


def test_groups_that_are_given_twice_are_taken_once(tmp_path):
    # The later objects have the segments of earlier ones, in any order.
    groups = [*GROUPS, RawGroup(5, "chair", (12,)), RawGroup(6, "chair", (13, 13))]
    folder = write(tmp_path, groups=groups)
    scene, (fault,) = reader.read_scene(folder, TABLE)
    np.testing.assert_array_equal(reader.benchmark_ids(scene), TRUTH)
    assert "objects with the same segments as an earlier one are left out: 5 (as 2), 6 (as 3)" in (
        fault
    )


def test_objects_that_share_segments_or_numbers_are_told(tmp_path):
    groups = [*GROUPS[:3], RawGroup(3, "chair", (12, 13)), RawGroup(3, "pillow", (14,))]
    folder = write(tmp_path, groups=groups)
    scene, faults = reader.read_scene(folder, TABLE)
    assert ["share an objectId are taken for one object: 3" in fault for fault in faults] == [
        True,
        False,
    ]
    assert "1 segments belong to several objects; the last has them" in faults[1]
    np.testing.assert_array_equal(
        reader.benchmark_ids(scene), np.repeat([1001, 2002, 5004, 5004, 18004, 0], 2)
    )


def test_segments_that_no_vertex_has_are_told(tmp_path):
    folder = write(tmp_path, groups=[*GROUPS, RawGroup(5, "chair", (9, 78, 77))])
    scene, (fault,) = reader.read_scene(folder, TABLE)
    assert "2 segments of objects are not in 'segIndices'" in fault
    np.testing.assert_array_equal(reader.benchmark_ids(scene)[-2:], [5006, 5006])


def test_the_table_wins_where_the_labels_mesh_says_otherwise(folder):
    raw = raw_scene()
    labels = np.array(NYU40, np.uint16)
    labels[4:8] = [50, 149, 149, 5]
    path = file_of(folder, layout.LABELS_MESH)
    ply.write_ply(path, raw.vertices, properties={"label": labels}, overwrite=True)
    scene, (fault,) = reader.read_scene(folder, TABLE)
    np.testing.assert_array_equal(scene.semantic_ids, NYU40)
    assert fault.startswith(str(path))
    assert fault.endswith("50 for 5 at 1 vertices, 149 for 5 at 2 vertices")


def test_a_scene_without_labels_mesh_is_read_and_says_so(folder):
    file_of(folder, layout.LABELS_MESH).unlink()
    scene, (fault,) = reader.read_scene(folder, TABLE)
    np.testing.assert_array_equal(scene.semantic_ids, NYU40)
    assert "labels.ply: no such file; labels are not checked" in fault


def test_many_like_faults_are_counted(tmp_path):
    copies = [RawGroup(number, "chair", (12,)) for number in range(10, 18)]
    folder = write(tmp_path, groups=[*GROUPS, *copies])
    _, (fault,) = reader.read_scene(folder, TABLE)
    assert fault.endswith("14 (as 2) and 3 more")


def test_the_aggregation_of_the_full_mesh_is_not_taken(folder):
    path = folder / "scene0000_00_vh_clean.aggregation.json"
    path.write_text(json.dumps({"segGroups": []}))
    scene, _ = reader.read_scene(folder, TABLE)
    np.testing.assert_array_equal(scene.semantic_ids, NYU40)


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        (layout.MESH, r"_vh_clean_2\.ply: expected a PLY file, found no such file"),
        (layout.SEGMENTS, r"segs\.json: expected a text file in UTF-8, found no such file"),
        (layout.AGGREGATION, r"aggregation\.json: expected .* found no such file"),
    ],
)
def test_a_missing_file_is_named(pattern, sentence, folder):
    file_of(folder, pattern).unlink()
    with pytest.raises(ValueError, match=sentence):
        reader.read_scene(folder, TABLE)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match="scene0009_00: expected the folder of a scene"):
        reader.read_scene(tmp_path / "scene0009_00", TABLE)


@pytest.mark.parametrize(
    "pattern",
    [
        layout.MESH,
        layout.LABELS_MESH,
        layout.SEGMENTS,
        layout.AGGREGATION,
    ],
)
def test_a_file_cut_short_is_named(pattern, folder):
    path = file_of(folder, pattern)
    content = path.read_bytes()
    for length in (0, 1, len(content) // 2, len(content) - 2):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=path.name.replace(".", r"\.")):
            reader.read_scene(folder, TABLE)


def test_counts_that_disagree_are_told(folder):
    segments = file_of(folder, layout.SEGMENTS)
    change_json(segments, segIndices=[1] * 11)
    with pytest.raises(ValueError, match=r"segs\.json: expected 12 values in 'segIndices'.*11"):
        reader.read_scene(folder, TABLE)
    change_json(segments, segIndices=raw_scene().segments.tolist())
    labels = file_of(folder, layout.LABELS_MESH)
    ply.write_ply(
        labels, np.zeros((13, 3)), properties={"label": np.zeros(13, np.uint16)}, overwrite=True
    )
    with pytest.raises(ValueError, match=r"labels\.ply: expected 12 vertices as in the mesh.*13"):
        reader.read_scene(folder, TABLE)
    ply.write_ply(labels, np.zeros((12, 3)), overwrite=True)
    with pytest.raises(ValueError, match=r"labels\.ply: expected a vertex property 'label'"):
        reader.read_scene(folder, TABLE)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([1.5] * NUM_VERTICES, r"found float64"),
        (["a"] * NUM_VERTICES, r"found <U1"),
        ([[1]] * NUM_VERTICES, r"found int64 \[12, 1\]"),
        ([[1]] + [2] * (NUM_VERTICES - 1), "found setting an array element"),
        ([None] * NUM_VERTICES, "found object"),
        ([2**63] * NUM_VERTICES, rf"integers below 2\*\*63 in 'segIndices', found {2**63}"),
        ({"a": 1}, "expected a list 'segIndices', found dict"),
        (None, "expected a list 'segIndices', found NoneType"),
    ],
)
def test_segments_that_are_no_integers_are_told(values, found, folder):
    change_json(file_of(folder, layout.SEGMENTS), segIndices=values)
    with pytest.raises(ValueError, match=rf"segs\.json: .*{found}"):
        reader.read_scene(folder, TABLE)


@pytest.mark.parametrize(
    ("group", "sentence"),
    [
        ("chair", r"expected an integer 'objectId', .* in segGroups\[0\], found chair"),
        ({"objectId": "1", "label": "chair", "segments": [1]}, "expected an integer 'objectId'"),
        ({"objectId": 1, "label": None, "segments": [1]}, "a text 'label'"),
        ({"objectId": 1, "label": "chair"}, "a list 'segments'"),
        ({"objectId": 1, "label": "chair", "segments": ["x"]}, r"'segGroups\[0\]\.segments'"),
        ({"objectId": 999, "label": "chair", "segments": [1]}, "from 0 to 998 .*found 999"),
        ({"objectId": -1, "label": "chair", "segments": [1]}, "from 0 to 998 .*found -1"),
    ],
)
def test_groups_that_are_none_are_told(group, sentence, folder):
    change_json(file_of(folder, layout.AGGREGATION), segGroups=[group])
    with pytest.raises(ValueError, match=rf"aggregation\.json: .*{sentence}"):
        reader.read_scene(folder, TABLE)


def test_a_scene_that_nobody_annotated_has_an_empty_ground_truth(tmp_path):
    scene, faults = reader.read_scene(write(tmp_path, groups=()), TABLE)
    assert faults == []
    np.testing.assert_array_equal(reader.benchmark_ids(scene), np.zeros(NUM_VERTICES))
    assert not reader.with_benchmark_classes(scene).semantic_ids.any()


def test_a_test_scene_has_a_mesh_alone(tmp_path):
    write_download(tmp_path, test=[raw_scene("a")])
    folder = reader.scene_folder(tmp_path, "test", "a")
    scene = reader.read_mesh(folder)
    assert len(scene.vertices) == NUM_VERTICES
    assert scene.semantic_ids is None
    assert scene.instance_ids is None
    with pytest.raises(ValueError, match="segs"):
        reader.read_scene(folder, TABLE)


def test_test_scenes_may_lie_among_the_others(tmp_path):
    write_download(tmp_path, val=[raw_scene("a"), raw_scene("b")], test=[raw_scene("a")])
    assert reader.scene_folder(tmp_path, "test", "a") == tmp_path / "scans_test" / "a"
    assert reader.scene_folder(tmp_path, "test", "b") == tmp_path / "scans" / "b"
    assert reader.scene_folder(tmp_path, "val", "a") == tmp_path / "scans" / "a"
    # A scene that is nowhere is missed where test scenes belong.
    assert reader.scene_folder(tmp_path, "test", "c") == tmp_path / "scans_test" / "c"


def test_vertex_counts_are_read_from_the_headers(tmp_path):
    for folder, name, count in (("scans_test", "desk", 4), ("scans", "lab", 6)):
        mesh = tmp_path / folder / name / f"{name}_vh_clean_2.ply"
        mesh.parent.mkdir(parents=True)
        ply.write_ply(mesh, np.zeros((count, 3)), faces=np.array([[0, 1, 2]]))
    assert reader.read_vertex_counts(tmp_path, ["desk", "lab"]) == {"desk": 4, "lab": 6}
    mesh.write_bytes(b"ply\r\nformat ascii 1.0\r\nelement  vertex  9\r\nend_header\r\n")
    assert reader.read_vertex_counts(tmp_path, ["lab"]) == {"lab": 9}
    for content in (b"", b"ply\nformat ascii 1.0\nelement face 9\nend_header\n", b"obj\n"):
        mesh.write_bytes(content)
        with pytest.raises(ValueError, match=r"lab_vh_clean_2\.ply: expected a"):
            reader.read_vertex_counts(tmp_path, ["lab"])
    with pytest.raises(ValueError, match=r"attic_vh_clean_2\.ply: expected a PLY file, found no"):
        reader.read_vertex_counts(tmp_path, ["attic"])
