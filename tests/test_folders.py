"""Scoring a folder of predictions against a folder of ground truth."""

import numpy as np
import pytest

from mtml_tf.classes import ClassSet
from mtml_tf.scene import Instance
from mtml_tf.scoring import folders
from mtml_tf.scoring.average_precision import average_precision
from mtml_tf.scoring.benchmark_format import write_ground_truth, write_predictions
from mtml_tf.scoring.folders import evaluate_folder, explain_folder

CLASSES = ClassSet((1, 3, 5), ("floor", "cup", "box"), ("stuff", "thing", "thing"))
IDS = np.repeat([3001, 5001, 1000], [20, 20, 60])


def instance(start, stop, class_id, score=0.5):
    return Instance(class_id, score, np.arange(start, stop, dtype=np.int32))


CUP, BOX, FLOOR, STRANGER = (
    instance(0, 20, 3),
    instance(20, 35, 5),
    instance(40, 100, 1),
    instance(40, 100, 99),
)


@pytest.fixture
def write(tmp_path):
    """Writes a scene's ground truth and predictions, each unless None; returns both folders."""

    def write_scene(name, ids=IDS, instances=(CUP, BOX)):
        if ids is not None:
            write_ground_truth(tmp_path / "truth" / f"{name}.txt", ids)
        if instances is not None:
            write_predictions(tmp_path / "found", name, instances, len(IDS))
        return tmp_path / "found", tmp_path / "truth"

    return write_scene


@pytest.fixture
def warnings(monkeypatch):
    told = []
    monkeypatch.setattr(
        folders.logging, "warning", lambda text, *values: told.append(text % values)
    )
    return told


def test_a_folder_scores_as_its_scenes_do(write, warnings):
    rng = np.random.default_rng(0)
    scenes = []
    for number in range(4):
        ids = rng.choice([0, 1000, 3001, 3002, 5001], 10).repeat(10)
        starts = rng.integers(0, 80, 6)
        # Scores of many digits survive the files: none become equal by writing them.
        instances = [
            instance(s, s + 20, rng.choice([3, 5]), 0.5 + 1e-12 * rng.random()) for s in starts
        ]
        scenes.append((ids, instances))
        where = write(f"room_{number}", ids, instances)
    expected, found = average_precision(scenes, CLASSES, 10), evaluate_folder(*where, CLASSES, 10)
    for name in ("ap", "ap50", "ap25"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert 0 < expected.average.ap25 < 1
    assert warnings == []


def test_an_explanation_sums_the_scenes_and_comes_with_the_same_scores(write, warnings):
    write("hall", instances=[instance(20, 40, 3)])
    write("attic", instances=None)
    where = write("room")
    table, explanation = explain_folder(*where, CLASSES, 10)
    np.testing.assert_array_equal(table.ap, evaluate_folder(*where, CLASSES, 10).ap)
    np.testing.assert_array_equal(explanation.objects, [[1, 0, 0, 0, 2], [1, 1, 0, 0, 1]])
    np.testing.assert_array_equal(explanation.predictions, [[1, 0, 0, 1, 0], [1, 0, 0, 0, 0]])
    assert len(warnings) == 2  # of each call: a scene has no prediction file


def test_compact_masks_score_as_their_text_does(write, tmp_path, warnings):
    rng = np.random.default_rng(1)
    compact, exported = tmp_path / "compact", tmp_path / "exported"
    for number in range(5):
        starts = rng.integers(0, 80, 7)
        instances = [instance(s, s + 20, rng.choice([3, 5]), rng.random()) for s in starts]
        ids = rng.choice([0, 3001, 3002, 5001], 10).repeat(10)
        found, truth = write(f"room_{number}", ids, instances)
        write_predictions(compact, f"room_{number}", instances, 100, compact=True)
    tables = [evaluate_folder(folder, truth, CLASSES, 10) for folder in (found, compact)]
    assert tables[0].encode_csv() == tables[1].encode_csv()
    assert 0 < tables[0].average.ap25 < 1
    assert folders.export_text(compact, exported) == 5
    paths = sorted(path for path in found.rglob("*") if path.is_file())
    assert len(paths) == 5 * 8
    for path in paths:
        assert (exported / path.relative_to(found)).read_bytes() == path.read_bytes()
    for folder in (compact, exported):
        folders.PREDICTIONS.check(folder)
    with pytest.raises(ValueError, match="exported: exists already"):
        folders.export_text(compact, exported)
    assert folders.export_text(compact, exported, overwrite=True) == 5
    with pytest.raises(ValueError, match=r"exported: expected <scene>\.masks files, found none"):
        folders.export_text(exported, tmp_path / "new")
    assert warnings == []


def test_predictions_in_both_forms_are_refused(write, tmp_path):
    found, truth = write("room")
    with pytest.raises(ValueError, match=r"room\.txt: expected each scene once, found the file"):
        write_predictions(found, "room", [CUP], 100, compact=True)
    write_predictions(tmp_path / "other", "room", [CUP], 100, compact=True)
    (tmp_path / "other" / "room.masks").rename(found / "room.masks")
    with pytest.raises(ValueError, match=r"in one form, found room\.txt and room\.masks; remove"):
        evaluate_folder(found, truth, CLASSES)


def test_predictions_that_were_ended_or_failed_are_told(write, warnings):
    found, truth = write("room")
    assert folders.is_complete(found)
    assert not folders.is_complete(found / "none")
    (found / folders.SETTINGS).write_text("{}")
    report = found / folders.REPORT
    for text in (None, '{"val": {"scenes": {"hall": {"status": "failed", "reasons": ["x"]}}}}'):
        if text:
            report.write_text(text)
        assert not folders.is_complete(found)
        evaluate_folder(found, truth, CLASSES, 10)
        assert warnings.pop().startswith(f"{found}: predicting was ended, or failed for some sc")
    report.write_text('{"val": {"scenes": {"failed": {"status": "predicted", "reasons": []}}}}')
    assert folders.is_complete(found)
    evaluate_folder(found, truth, CLASSES, 10)
    assert warnings == []


def test_what_a_killed_process_leaves_belongs_to_predictions(write):
    found, _ = write("room")
    (found / "predicted_masks" / ".hall_000.txt.x9_yab12").touch()
    (found / ".hall.masks.0ab1cd_e").touch()
    for name in (folders.SETTINGS, folders.REPORT):
        (found / name).touch()
    folders.PREDICTIONS.check(found)


def test_a_scene_without_a_prediction_file_counts_as_empty_and_is_told(write, warnings):
    for name in ("room", "hall", "attic"):
        where = write(name, instances=(CUP, BOX) if name == "room" else None)
    table = evaluate_folder(*where, CLASSES, 10)
    np.testing.assert_allclose(table.ap50, [1 / 3, 1 / 3], rtol=0, atol=1e-12)
    assert warnings == ["2 of 3 scenes have no prediction file and count as empty: attic, hall"]


def test_a_scene_in_which_nothing_was_found_is_no_reason_to_warn(write, warnings):
    write("hall", instances=())
    table = evaluate_folder(*write("room"), CLASSES, 10)
    np.testing.assert_allclose(table.ap50, [0.5, 0.5], rtol=0, atol=1e-12)
    assert warnings == []


def test_predictions_without_ground_truth_are_left_out_and_told(write, warnings):
    write("hall", ids=None, instances=[BOX, CUP, instance(30, 60, 3, 0.9)])
    table = evaluate_folder(*write("room"), CLASSES, 10)
    assert table.average.ap50 == 1
    assert warnings == ["1 prediction files have no ground truth: hall"]


def test_classes_that_are_not_scored_are_left_out_and_told_once(write, warnings):
    write("hall", instances=[CUP, BOX, STRANGER])
    table = evaluate_folder(*write("room", instances=[CUP, BOX, FLOOR, STRANGER]), CLASSES, 10)
    assert table.average.ap50 == 1
    assert warnings == ["2 class ids of predictions are not scored: 1, 99"]


def test_a_long_list_of_names_is_cut(write, warnings):
    for number in range(12):
        write(f"hall_{number:02d}", instances=None)
    evaluate_folder(*write("room"), CLASSES, 10)
    (told,) = warnings
    assert told.startswith("12 of 13 scenes have no prediction file and count as empty: hall_00, ")
    assert told.endswith(", hall_09, ...")


def test_ground_truth_without_anything_to_score_is_told(write, warnings):
    where = write("room")
    table = evaluate_folder(*where, CLASSES)
    assert np.isnan(table.average.ap)
    assert warnings == [
        f"{where[1]}: none of the 2 scored classes has ground truth of 100 or more vertices"
    ]


def test_other_files_and_folders_are_no_scenes(write, warnings):
    for folder in write("room"):
        (folder / "notes.md").write_text("3001")
        (folder / ".room.txt.tmp.txt").write_text("half written")
        (folder / "older").mkdir()
        (folder / "older" / "hall.txt").write_text("1\n")
    assert evaluate_folder(*write("attic"), CLASSES, 10).average.ap50 == 1
    assert warnings == []


def test_names_with_dots_stay_whole(write, warnings):
    write("desk.v1", instances=())
    assert evaluate_folder(*write("desk.v2"), CLASSES, 10).average.ap50 == 0.5
    assert warnings == []


def test_one_scene_is_held_at_a_time(write, monkeypatch):
    for name in ("attic", "hall", "room"):
        where = write(name)
    events = []

    def read_ground_truth(path):
        events.append(f"truth of {path.stem}")
        return IDS

    def read_predictions(folder, name, num_vertices):
        events.append(f"{num_vertices} vertices of {name}")
        return [CUP]

    def take(scenes, classes, min_vertices):
        for ids, instances in scenes:
            events.append(f"scored {len(ids)}, {len(instances)}")
        return average_precision([], classes, min_vertices)

    monkeypatch.setattr(folders, "read_ground_truth", read_ground_truth)
    monkeypatch.setattr(folders, "read_predictions", read_predictions)
    monkeypatch.setattr(folders, "average_precision", take)
    evaluate_folder(*where, CLASSES)
    assert events == [
        event
        for name in ("attic", "hall", "room")
        for event in (f"truth of {name}", f"100 vertices of {name}", "scored 100, 1")
    ]


def test_a_missing_or_empty_folder_is_refused(write, tmp_path):
    found, truth = write("room")
    nowhere, empty = tmp_path / "nowhere", tmp_path / "empty"
    empty.mkdir()
    for pair in ((nowhere, truth), (found, nowhere)):
        with pytest.raises(
            ValueError, match=r"nowhere: expected a folder of <scene>.txt files, found no such"
        ):
            evaluate_folder(*pair, CLASSES)
    for pair in ((empty, truth), (found, empty)):
        with pytest.raises(ValueError, match=r"empty: expected <scene>.txt files, found none"):
            evaluate_folder(*pair, CLASSES)


def test_folders_without_a_common_scene_are_refused(write):
    write("hall", instances=None)
    found, truth = write("room", ids=None)
    sentence = rf"{found}: expected .* {truth}, such as hall\.txt, found .* such as room\.txt; give"
    for score in (evaluate_folder, explain_folder):
        with pytest.raises(ValueError, match=sentence):
            score(found, truth, CLASSES)


def test_a_folder_one_level_too_high_names_those_in_it(write, tmp_path):
    found, _ = write("room")
    (tmp_path / "empty").mkdir()
    sentence = rf"{tmp_path}: expected .*, found none, but some in its folders found, truth; give"
    with pytest.raises(ValueError, match=sentence):
        evaluate_folder(found, tmp_path, CLASSES)


@pytest.mark.parametrize(
    "mine",
    ["thesis.tex", "notes.txt", "other.ply", "table.csv", "predicted_masks/a.png", "sub/room.json"],
)
def test_predictions_are_told_from_the_files_of_others(mine, write):
    found, _ = write("room.v1")
    write("hall", instances=())
    for extra in ("ply", "json", "html"):
        (found / f"room.v1.{extra}").touch()
    folders.PREDICTIONS.check(found)
    (found / mine).parent.mkdir(exist_ok=True)
    (found / mine).write_text("mine\n")
    with pytest.raises(ValueError, match=f"a folder of predictions to replace, found {mine} in it"):
        folders.PREDICTIONS.check(found)


def test_a_folder_of_empty_texts_is_none_of_predictions(tmp_path):
    (tmp_path / "a.txt").touch()
    with pytest.raises(ValueError, match="found no predicted_masks in it"):
        folders.PREDICTIONS.check(tmp_path)


def test_a_file_that_does_not_fit_stops_the_scoring_and_is_named(write):
    found, truth = write("room")
    write_ground_truth(truth / "room.txt", IDS[:-1])
    with pytest.raises(ValueError, match=r"room_000.txt: expected 99 lines, one for each vertex"):
        evaluate_folder(found, truth, CLASSES)
