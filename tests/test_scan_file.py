"""Tests of mtml_tf.scans.scan_file: scans and labels in files of all kinds, one and several."""

import dataclasses

import numpy as np
import pytest
from own_scans import (
    assert_finds_box_and_ball,
    predict,
    room,
    tiny_model,
    write_binary_ply,
    write_text_ply,
)

from mtml_tf.inference import prediction
from mtml_tf.inference.models import Model
from mtml_tf.network.voxel_network import VoxelNetwork
from mtml_tf.scans import ply, scan
from mtml_tf.scans.scan_file import ScanFile, named_paths, output_folders
from mtml_tf.scoring.benchmark_format import read_predictions


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.mark.parametrize("place_type", ["f4", "f8"])
@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("label_type", ["u1", "u2", "i4"])
def test_binary_files_of_all_kinds_without_colours_and_faces(
    model, tmp_path, place_type, byte_order, label_type
):
    vertices, labels = room()
    path = tmp_path / "room.ply"
    write_binary_ply(path, vertices, labels, byte_order, place_type, label_type)
    assert_finds_box_and_ball(predict(model, path, tmp_path / "out"))


def test_an_ascii_file_with_a_property_of_another_name(model, tmp_path):
    vertices, labels = room()
    path = tmp_path / "room.ply"
    write_text_ply(path, vertices, [("objectClass", "ushort", labels)])
    found = predict(model, path, tmp_path / "out", label_property="objectClass")
    assert_finds_box_and_ball(found)
    with pytest.raises(ValueError, match=r"room\.ply: expected the vertex property 'kind', found"):
        predict(model, path, tmp_path / "none", label_property="kind")


def test_a_scan_without_labels_is_told_the_three_ways_there_are(model, tmp_path):
    vertices, _ = room()
    write_text_ply(tmp_path / "bare.ply", vertices, [])
    with pytest.raises(ValueError, match="expected a class for every vertex, found none") as told:
        predict(model, tmp_path / "bare.ply", tmp_path / "out")
    for way in ("'label'", "--label_property", "--labels=FILE.txt", "--labels=FILE.npy"):
        assert way in str(told.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["text", "ids", "probabilities", "logits", "foreign ids"])
def test_labels_from_a_file(model, tmp_path, kind):
    vertices, labels = room()
    write_text_ply(tmp_path / "bare.ply", vertices, [])
    column = np.searchsorted([1, 2, 7], labels)
    reading = {"labels": str(tmp_path / "given.npy")}
    if kind == "text":
        reading["labels"] = str(tmp_path / "given.txt")
        np.savetxt(reading["labels"], labels, fmt="%d")
    elif kind == "ids":
        np.save(reading["labels"], labels)
    elif kind == "foreign ids":
        np.save(reading["labels"], labels + 100)
        reading["label_map"] = {101: 1, 102: 2, 107: 7}
    else:
        scores = np.eye(3, dtype=np.float32)[column]
        np.save(reading["labels"], scores * 9 if kind == "logits" else scores)
        reading["scores"] = kind
    found = predict(model, tmp_path / "bare.ply", tmp_path / "out", **reading)
    assert_finds_box_and_ball(found)


def test_vectors_of_features_have_their_class_ids_beside_them(model, tmp_path):
    vertices, labels = room()
    write_text_ply(tmp_path / "bare.ply", vertices, [])
    np.save(tmp_path / "given.npy", np.zeros((len(labels), 5)))
    reading = {"labels": str(tmp_path / "given.npy"), "scores": "features"}
    with pytest.raises(ValueError, match=r"given\.txt: expected class ids beside them"):
        predict(model, tmp_path / "bare.ply", tmp_path / "out", **reading)
    np.savetxt(tmp_path / "given.txt", labels, fmt="%d")
    with pytest.raises(ValueError, match=r"expected 3 input channels .* found 5"):
        predict(model, tmp_path / "bare.ply", tmp_path / "out", **reading)
    network = dataclasses.replace(model.config.network, input_channels=5, num_labels=0)
    segment = dataclasses.replace(model.config.segment, label_ids=())
    config = dataclasses.replace(model.config, network=network, segment=segment)
    of_five = Model(config, VoxelNetwork(network))
    found = predict(of_five, tmp_path / "bare.ply", tmp_path / "out", **reading)
    assert_finds_box_and_ball(found)


def test_a_label_map_is_refused_where_it_changes_nothing(model, tmp_path):
    vertices, labels = room()
    write_text_ply(tmp_path / "bare.ply", vertices, [])
    np.save(tmp_path / "given.npy", np.eye(3)[np.searchsorted([1, 2, 7], labels)])
    reading = {"labels": str(tmp_path / "given.npy"), "label_map": {8: 7}}
    with pytest.raises(ValueError, match=r"given\.npy: .* table of probabilities.*--label_map"):
        predict(model, tmp_path / "bare.ply", tmp_path / "out", **reading)


def test_pickles_are_not_loaded(model, tmp_path):
    vertices, labels = room()
    write_text_ply(tmp_path / "bare.ply", vertices, [])
    np.save(tmp_path / "given.npy", labels.astype(object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"given\.npy: .* Object arrays cannot be loaded"):
        predict(model, tmp_path / "bare.ply", tmp_path / "out", labels=tmp_path / "given.npy")


@pytest.mark.parametrize("ids", [-1, 0.5, 99])
def test_the_scans_own_labels_are_left_out_beside_a_file(model, tmp_path, ids):
    vertices, labels = room()
    others = np.full(len(labels), ids, np.float32)
    ply.write_ply(tmp_path / "a.ply", vertices, properties={"label": others, "instance": others})
    np.save(tmp_path / "given.npy", labels)
    reading = ScanFile(str(tmp_path / "a.ply"), labels=str(tmp_path / "given.npy"))
    prediction.predict_scan(model, reading, tmp_path / "out")
    written = scan.read_scan(tmp_path / "out" / "a.ply")
    np.testing.assert_array_equal(written.semantic_ids, labels)
    assert "ground truth" not in modes_of(tmp_path / "out" / "a.html")


@pytest.mark.parametrize(
    ("instance_of", "is_truth"),
    [
        (lambda labels: np.where(labels == 1, 0, labels), True),
        (lambda labels: np.where(labels == 1, -1, labels), False),
        (lambda labels: labels / 2, False),
        (lambda labels: np.arange(len(labels)), False),
    ],
    ids=["instances", "-1 for none", "fractions", "more than ground truth can hold"],
)
def test_instances_of_the_scan_are_the_truth_where_they_can_be(
    model, tmp_path, instance_of, is_truth
):
    vertices, labels = room()
    properties = {"label": labels.astype("u2"), "instance": instance_of(labels).astype("f8")}
    ply.write_ply(tmp_path / "a.ply", vertices, properties=properties)
    prediction.predict_scan(model, ScanFile(str(tmp_path / "a.ply")), tmp_path / "out")
    assert_finds_box_and_ball(read_predictions(tmp_path / "out", "a", len(labels)))
    assert ("ground truth" in modes_of(tmp_path / "out" / "a.html")) == is_truth


def modes_of(page):
    text = page.read_text(encoding="utf-8")
    return [name for name in ("semantic input", "ground truth") if f'{{"name": "{name}"' in text]


def test_labels_of_another_scan_are_refused(model, tmp_path):
    vertices, labels = room()
    write_text_ply(tmp_path / "bare.ply", vertices, [])
    np.savetxt(tmp_path / "given.txt", labels[1:], fmt="%d")
    with pytest.raises(ValueError, match=r"given\.txt: expected 2900 class ids.* found 2899"):
        predict(model, tmp_path / "bare.ply", tmp_path / "out", labels=tmp_path / "given.txt")


def test_labels_that_the_model_does_not_know_are_refused(model, tmp_path):
    vertices, labels = room()
    write_binary_ply(tmp_path / "a.ply", vertices, labels + 1, "<")
    with pytest.raises(ValueError, match=r"a\.ply: .*'label': expected class ids .*found") as told:
        predict(model, tmp_path / "a.ply", tmp_path / "out")
    assert "1 floor, 2 box, 7 ball" in str(told.value)
    assert "--label_map" in str(told.value)
    found = predict(model, tmp_path / "a.ply", tmp_path / "out", label_map={2: 1, 3: 2, 8: 7})
    assert_finds_box_and_ball(found)


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def found(text, **reading):
    """The paths of the scans by the names of their folders in `out`, as strings."""
    scans = output_folders(named_paths(str(text)), "out", ScanFile("", **reading))
    return {str(folder): file.path for folder, file in scans.items()}


def test_a_single_file_has_the_output_folder_for_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(touch(tmp_path, "a,b.ply"))
    assert found("room.ply") == {"out": "room.ply"}  # whether it is there is seen when it is read
    assert found("room.ply,") == {"out": "room.ply"}
    assert found("a,b.ply") == {"out": "a,b.ply"}


def test_several_files_and_folders_get_a_folder_each_in_natural_order(tmp_path, monkeypatch):
    monkeypatch.chdir(touch(tmp_path, "d/s10.ply", "d/s2.ply", "d/notes.txt", "one/s1.PLY"))
    assert list(found("d").items()) == [("out/s2", "d/s2.ply"), ("out/s10", "d/s10.ply")]
    assert found("one") == {"out/s1": "one/s1.PLY"}
    assert list(found("b c.ply, one,d")) == ["out/b_c", "out/s1", "out/s2", "out/s10"]
    with pytest.raises(ValueError, match="out: expected PLY files, found none"):
        touch(tmp_path, "out/a.txt")
        found("d,out")
    with pytest.raises(ValueError, match="expected paths of scans with commas between, found ' ,'"):
        found(" ,")


@pytest.mark.parametrize("text", ["a/x.ply,b/x.ply", "a/x.ply,a/x.ply", "x y.ply,x_y.ply"])
def test_scans_of_one_name_are_refused(text):
    first, second = text.split(",")
    sentence = f"{second}: expected scans of different names, found that of {first}; rename one"
    with pytest.raises(ValueError, match=sentence):
        found(text)


def test_each_of_several_scans_has_its_labels_in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(touch(tmp_path, "given/a.txt", "given/b_c.npy", "given/d.npy", "given/d.txt"))
    like = ScanFile("", labels="given", up_axis="y")
    scans = output_folders(named_paths("a.ply,b c.ply"), "out", like)
    assert [file.labels for file in scans.values()] == ["given/a.txt", "given/b_c.npy"]
    assert {file.up_axis for file in scans.values()} == {"y"}
    like = dataclasses.replace(like, scores="features")
    touch(tmp_path, "given/a.npy")
    scans = output_folders(named_paths("a.ply,d.ply"), "out", like)
    assert [file.labels for file in scans.values()] == ["given/a.npy", "given/d.npy"]


@pytest.mark.parametrize(
    ("labels", "scores", "sentence"),
    [
        ("a.txt", "probabilities", r"a\.txt: expected a folder with a file of labels .* a file"),
        (
            "none",
            "probabilities",
            "none: expected a folder with a file of .*, found no such folder",
        ),
        ("given", "probabilities", r"given/b: expected either b\.txt or b\.npy, found neither"),
        ("given", "features", r"given/a\.npy: expected feature vectors, found no such file"),
    ],
)
def test_labels_that_are_missing_are_told_before_the_work(
    tmp_path, monkeypatch, labels, scores, sentence
):
    monkeypatch.chdir(touch(tmp_path, "a.txt", "given/a.txt"))
    with pytest.raises(ValueError, match=sentence):
        found("a.ply,b.ply", labels=labels, scores=scores)
