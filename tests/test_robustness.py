import dataclasses

import numpy as np
import pytest
import raw_scannet

from experiments import robustness, running
from mtml_tf.classes import SCANNET20
from mtml_tf.data.records import DataFolder
from mtml_tf.data.writing import write_data_folder
from mtml_tf.scene import Points, VoxelScene

CHAIR = 5


def room(size=4, num_vertices=6):
    """Two voxels of a chair and one of a floor; two vertices in each voxel."""
    coordinates = np.array([[0, 0, 0], [1, 0, 0], [size - 1, 1, 1]], np.int32)
    semantic_ids, instance_ids = np.array([[CHAIR, CHAIR, 2], [3, 3, 0]], np.int32)
    scene = VoxelScene(
        name="room",
        coordinates=coordinates,
        grid_shape=(size, 2, 2),
        voxel_size=0.1,
        origin=np.zeros(3),
        semantic_ids=semantic_ids,
        instance_ids=instance_ids,
        vertex_to_voxel=np.repeat(np.arange(3, dtype=np.int32), num_vertices // 3),
        points=Points(np.ones(3, np.uint8), np.zeros(3, np.uint8), semantic_ids, instance_ids),
    )
    return scene, np.repeat([5003, 5003, 2000], num_vertices // 3)


def test_rooms_in_a_row_stand_apart_and_keep_their_objects_apart():
    row, truth = robustness.in_a_row([room(), room(6)], "row")
    assert row.grid_shape == (18, 2, 2)
    np.testing.assert_array_equal(row.coordinates[:, 0], [0, 1, 3, 8, 9, 13])
    np.testing.assert_array_equal(row.instance_ids, [3, 3, 0, 203, 203, 0])
    np.testing.assert_array_equal(row.vertex_to_voxel, np.repeat(np.arange(6), 2))
    np.testing.assert_array_equal(truth[[0, 5, 6, 11]], [5003, 2000, 5203, 2000])


def test_one_room_in_a_row_is_that_room():
    scene, truth = room()
    row, same_truth = robustness.in_a_row([(scene, truth)], "room")
    np.testing.assert_array_equal(row.coordinates, scene.coordinates)
    np.testing.assert_array_equal(same_truth, truth)


def test_a_scene_without_vertices_is_refused():
    scene, truth = room()
    with pytest.raises(ValueError, match="scene room: expected instances on vertices, found none"):
        robustness.in_a_row([(dataclasses.replace(scene, vertex_to_voxel=None), truth)], "row")


def test_ids_that_a_row_could_not_tell_apart_are_refused():
    scene, truth = room()
    with pytest.raises(ValueError, match=r"scene room: expected instance ids below 200, .* 200 in"):
        robustness.in_a_row([(scene, truth + 197)], "row")
    with pytest.raises(ValueError, match="below 1000, found 3 in scene 6 of 6"):
        robustness.in_a_row([(scene, truth)] * 6, "row")


def test_only_scored_instances_count():
    ids = np.repeat([5001, 5002, 2003, 4000, 0], [100, 99, 500, 500, 500])
    assert robustness.num_instances(ids) == 1
    assert robustness.num_instances(ids, min_vertices=99) == 2


def raw_rooms(path, count=3):
    """Rooms with 2 chairs of 120 vertices each, in the raw layout of ScanNet."""
    segments = np.repeat([10, 11, 12, 13, 14, 77], 120)
    names = [f"room{number:04d}_00" for number in range(count)]
    scenes = [raw_scannet.raw_scene(name, segments=segments) for name in names]
    return raw_scannet.write_download(path, val=scenes), names


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two run folders whose networks are known: each finds what one of the baselines finds.

    So whatever takes one method's run, predictions or scores for another's changes a number.
    """
    score = {
        tmp_path / "run_a": running.Workplace.score_segmentation_as_instance,
        tmp_path / "run_b": running.Workplace.score_connected_components,
    }
    monkeypatch.setattr(
        running.Workplace,
        "score_model",
        lambda here, name, run_dir, split: score[run_dir](here, name, split),
    )
    return dict(zip(("fe_only", "multi_task"), score, strict=True))


def scores_of(one_a_class, components):
    """The AP50 of all methods, of which two find one instance a class, two connected parts."""
    return dict(zip(robustness.METHODS, 2 * (one_a_class, components), strict=True))


def test_noise_is_added_to_the_rooms_labels(tmp_path):
    rooms_dir, names = raw_rooms(tmp_path / "raw", 1)
    for strength in (0.0, 2.0):
        robustness.write_noisy_labels(rooms_dir, names, strength, tmp_path / f"{strength:g}")
    clean, noisy = (
        np.loadtxt(tmp_path / name / f"{names[0]}.txt", dtype=int) for name in ("0", "2")
    )
    np.testing.assert_array_equal(clean[:480], np.repeat([1, 2, 5, 5], 120))
    assert len(noisy) == len(clean)
    assert np.any(noisy != clean)


def test_a_data_folder_that_lacks_rooms_does_not_pass_for_a_whole_one(tmp_path, monkeypatch, runs):
    rooms_dir, names = raw_rooms(tmp_path / "raw", 1)
    monkeypatch.setattr(robustness, "STRENGTHS", (0.0,))
    ((strength, scores),) = robustness.against_noise(tmp_path / "work", rooms_dir, names, runs)
    assert strength == 0
    assert list(scores) == list(robustness.METHODS)
    report = tmp_path / "work" / "noise_0" / "report.json"
    report.write_text(report.read_text().replace('"prepared"', '"failed"'))
    with pytest.raises(ValueError, match=r"tools/prepare_scannet\.py .*: failed, as told above"):
        robustness.against_noise(tmp_path / "work", rooms_dir, names, runs)


def chairs(number, num_chairs):
    """A scene with chairs of 120 voxels in a row, one voxel apart."""
    size = 120
    bar = np.stack([np.zeros(size), np.arange(size), np.ones(size)], axis=1)
    coordinates = [bar + np.array([2 * chair, 0, 0]) for chair in range(num_chairs)]
    ids = np.repeat(np.arange(1, num_chairs + 1), size)
    count = len(ids)
    scene = VoxelScene(
        name=f"room{number:04d}_00",
        coordinates=np.concatenate(coordinates).astype(np.int32),
        grid_shape=(2 * num_chairs, size, 2),
        voxel_size=0.1,
        origin=np.zeros(3),
        semantic_ids=np.full(count, CHAIR, np.int32),
        instance_ids=ids.astype(np.int32),
        vertex_to_voxel=np.arange(count, dtype=np.int32),
    )
    return scene, CHAIR * 1000 + ids


@pytest.fixture
def here(tmp_path, runs):
    """Four rooms with 1, 2, 2 and 3 chairs, scored."""
    scenes = [chairs(number, count) for number, count in enumerate((2, 1, 3, 2))]
    write_data_folder(tmp_path / "data", SCANNET20, {"val": scenes})
    here = running.Workplace(tmp_path / "data", tmp_path / "work")
    robustness.score_all(here, "rooms", runs, keep=True)
    return here


def test_groups_have_ever_more_instances(here):
    curves = robustness.against_instances(here, "rooms", num_groups=2)
    assert [place for place, _ in curves] == [1.5, 2.5]
    # A chair alone is found; an instance of two overlaps each by half, no more. So of the three
    # chairs of the first group one is found at precision 1/2, and the curve from there to (0, 1)
    # has the area 1/3 * (1/2 + 1) / 2.
    for (_, scores), found in zip(curves, (0.25, 0.0), strict=True):
        assert scores == pytest.approx(scores_of(found, 1.0))


def test_groups_with_equally_many_instances_all_count(here):
    curves = robustness.against_instances(here, "rooms", num_groups=9)
    assert [place for place, _ in curves] == [1, 2, 2, 3]


def test_rows_are_scored_for_each_length(here, runs, monkeypatch):
    monkeypatch.setattr(robustness, "ROW_LENGTHS", (1, 2))
    curves = robustness.against_extent(here.work_dir, here.data_dir, runs)
    assert [place for place, _ in curves] == [1, 2]
    assert len(DataFolder(here.work_dir / "row_1").entries("val")) == 4
    assert len(DataFolder(here.work_dir / "row_2").entries("val")) == 2
    # Of 8 chairs one stands alone in its room: 1 of 4 instances finds one. In rows none does.
    for (_, scores), found in zip(curves, (1 / 8 * (1 / 4 + 1) / 2, 0.0), strict=True):
        assert scores == pytest.approx(scores_of(found, 1.0))
    monkeypatch.setattr(robustness, "ROW_LENGTHS", (1, 5))
    with pytest.raises(ValueError, match="expected at least 5 rooms in split 'val', found 4"):
        robustness.against_extent(here.work_dir, here.data_dir, runs)


def test_scores_stay_and_predictions_go(here, runs):
    kept = sorted((here.work_dir / "predictions").iterdir())
    scores = robustness.score_all(here, "again", runs)
    assert scores == pytest.approx(scores_of(1 / 8 * (1 / 4 + 1) / 2, 1.0))
    assert sorted(path for path in kept if path.is_dir()) == sorted(
        path for path in (here.work_dir / "predictions").iterdir() if path.is_dir()
    )
    path = here.work_dir / "scores" / "again.json"
    path.write_text(path.read_text().replace("1.0", "0.5"))
    assert 0.5 in robustness.score_all(here, "again", runs).values()


def test_tables_have_a_row_for_each_place(here):
    rows = robustness.encode_rows("chairs", robustness.against_instances(here, "rooms", 2))
    assert rows[0] == ["chairs", "Seg. as instance", "Connected comp.", "FE only", "Multi-task"]
    assert [row[0] for row in rows[1:]] == ["1.5", "2.5"]
    assert rows[2][1:] == ["0.000", "1.000", "0.000", "1.000"]
