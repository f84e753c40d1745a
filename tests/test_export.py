"""Tests of mtml_tf.inference.exporting and mtml_tf.export: what others load, and its values."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from scenes import (
    CLASSES,
    NUM_FEATURES,
    batch_of,
    box_scene,
    give_random_weights,
    sparse_scene,
)
from scipy import special
from tensorflow.core.protobuf import saved_model_pb2

from mtml_tf import __version__
from mtml_tf.backend import tf
from mtml_tf.classes import ClassSet, read_classes
from mtml_tf.config import NetworkConfig, SegmentConfig
from mtml_tf.inference import exporting, models
from mtml_tf.inference.model_config import decode_model_config
from mtml_tf.inference.models import Model, ModelConfig
from mtml_tf.network.voxel_network import VoxelNetwork

# Class names are UTF-8 on their way through the graph.
NAMED = ClassSet(CLASSES.ids, ("floor", "box", "Türm"), CLASSES.kinds)
# Dilations that differ from each other, on a grid smaller than their reach.
DILATIONS = (2, 3)
SCENE = box_scene(0)


def random_model(input_channels=3, has_direction=True):
    """A small network with random weights."""
    num_labels = 4 if input_channels == 3 else 0  # features have no labels
    config = NetworkConfig(
        *(input_channels, 1 / 16, DILATIONS), embedding_size=3, num_labels=num_labels
    )
    network = VoxelNetwork(config)
    give_random_weights(network)
    label_ids = (*CLASSES.ids, 0) if num_labels else ()
    segment = SegmentConfig(CLASSES.thing_ids, label_ids=label_ids, min_voxels=1)
    return Model(ModelConfig(config, segment, NAMED, SCENE.voxel_size, has_direction), network)


def write_run(path, model):
    """A run folder with the weights of `model`."""
    path.mkdir()
    models.write_model_config(path, model.config)
    models.write_weights(path, models.LAST, model.network)
    return path


def run(*arguments):
    return subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def assert_equal(found, expected):
    """To 1e-5 of the largest value."""
    scale = np.abs(expected).max()
    assert scale > 0.1, "the test tells nothing where all values are 0"
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * scale)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model's run folder and its export, and the model."""
    folder = tmp_path_factory.mktemp("export")
    model = random_model()
    write_run(folder / "run", model)
    result = run(
        *("-m", "mtml_tf.export", f"--run_dir={folder / 'run'}"),
        f"--output_dir={folder / 'exported'}",
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{folder / 'exported' / '1'}: written\n"
    return folder, model


@pytest.fixture(scope="module")
def signatures(place):
    folder, _ = place
    loaded = tf.saved_model.load(str(folder / "exported" / "1"))
    yield loaded.signatures
    del loaded


@pytest.fixture(scope="module")
def features_place(tmp_path_factory):
    """An export of a model of features over an existing one, the model, and the first refusal."""
    folder, model = tmp_path_factory.mktemp("features"), random_model(NUM_FEATURES, False)
    for version in ("1", "7"):
        (folder / version).mkdir()
        (folder / version / "saved_model.pb").write_text("old")
        (folder / version / "model.onnx").write_text("old")
    with pytest.raises(ValueError, match="exists already") as caught:
        exporting.write_saved_model(model, folder)
    assert (folder / "1" / "model.onnx").read_text() == "old"
    exporting.write_saved_model(model, folder, overwrite=True)
    return folder, model, str(caught.value)


def occupied(signatures, coordinates, class_ids, name="occupied"):
    outputs = signatures[name](
        coordinates=tf.constant(coordinates, tf.int32), class_ids=tf.constant(class_ids, tf.int32)
    )
    return outputs["embedding"].numpy(), outputs["direction"].numpy()


def test_the_loaded_model_predicts_and_segments_what_the_live_one_does(place):
    folder, model = place
    loaded = exporting.load_saved_model(folder / "exported")
    assert loaded.config == model.config
    for scene in (SCENE, box_scene(1, grid_shape=(10, 24, 12))):
        for found, expected in zip(loaded.predict(scene), model.predict(scene), strict=True):
            assert_equal(found, expected)
    found, expected = loaded.segment(SCENE), model.segment(SCENE)
    assert len(found) > 0
    assert [i.class_id for i in found] == [i.class_id for i in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.indices, other.indices)


def test_the_loaded_network_takes_batches_as_the_live_one(place):
    folder, model = place
    loaded = exporting.load_saved_model(folder / "exported" / "1")
    batch = {
        name: tf.constant(values)
        for name, values in batch_of([SCENE, sparse_scene(1, (8, 12, 10), 20)]).items()
    }
    found, expected = loaded.network(batch), model.network(batch)
    assert set(found) == set(expected) == {"embedding", "direction", "labels"}
    for name in expected:
        assert_equal(found[name].numpy(), expected[name].numpy())


# A clients' program: nothing of this package may be imported.
CLIENT = """
import sys
sys.modules["mtml_tf"] = None
import numpy as np
import tensorflow as tf

loaded = tf.saved_model.load(sys.argv[1])
scene = np.load(sys.argv[2])
description = loaded.signatures["description"]()
print([name.decode() for name in description["class_names"].numpy()])
print(float(description["voxel_size"]))
print(open(loaded.classes_file.asset_path.numpy().decode(), encoding="utf-8").read())
values = loaded.signatures["serving_default"](
    coordinates=tf.constant(scene["coordinates"]), class_ids=tf.constant(scene["class_ids"])
)
np.savez(sys.argv[3], **{name: value.numpy() for name, value in values.items()})
"""


def test_a_fresh_process_without_this_package_gets_classes_voxel_size_and_values(place, tmp_path):
    folder, model = place
    np.savez(tmp_path / "scene.npz", coordinates=SCENE.coordinates, class_ids=SCENE.semantic_ids)
    (tmp_path / "client.py").write_text(CLIENT)
    # -I leaves out the current folder and PYTHONPATH.
    result = run(
        *("-I", tmp_path / "client.py", folder / "exported" / "1"),
        *(tmp_path / "scene.npz", tmp_path / "values.npz"),
    )
    assert result.returncode == 0, result.stderr
    names, voxel_size, *table = result.stdout.splitlines()
    assert names == "['floor', 'box', 'Türm']"
    assert voxel_size == "0.05"
    assert table[:2] == ["id,name,kind", "2,floor,stuff"]
    values = np.load(tmp_path / "values.npz")
    values = {**values, "labels": special.softmax(values["labels"], axis=1)}
    for name, expected in model.predict(SCENE)._asdict().items():
        assert_equal(values[name], expected)


def test_the_description_and_the_assets_tell_the_whole_model(place, signatures):
    folder, model = place
    values = {name: value.numpy() for name, value in signatures["description"]().items()}
    assert values["class_ids"].tolist() == [2, 3, 7]
    assert values["class_kinds"].tolist() == [b"stuff", b"thing", b"thing"]
    assert values["has_direction"]
    assert values["version"] == __version__.encode()
    assert decode_model_config(values["model"].decode()) == model.config
    assets = folder / "exported" / "1" / "assets"
    assert read_classes(assets / "classes.csv") == NAMED
    assert json.loads((assets / "model.json").read_text()) == json.loads(values["model"])


def test_the_signatures_have_documented_inputs(signatures):
    inputs = {
        name: {key: (spec.shape.as_list(), spec.dtype) for key, spec in inputs.items()}
        for name, inputs in (
            (name, signatures[name].structured_input_signature[1]) for name in signatures
        )
    }
    by_ids = {"coordinates": ([None, 3], tf.int32), "class_ids": ([None], tf.int32)}
    assert inputs == {
        "serving_default": by_ids,
        "occupied": by_ids,
        "occupied_features": {
            "coordinates": ([None, 3], tf.int32),
            "features": ([None, 3], tf.float32),
        },
        "dense": {"grid": ([None, None, None, None, 3], tf.float32)},
        "description": {},
    }


def test_dense_equals_the_plain_keras_model(place, signatures):
    _, model = place
    grid = np.random.default_rng(0).normal(size=(2, 12, 8, 6, 3)).astype(np.float32)
    found, expected = signatures["dense"](grid=tf.constant(grid)), model.network.dense(grid)
    for name in ("embedding", "direction"):
        assert_equal(found[name].numpy(), expected[name].numpy())


def test_features_that_are_one_hot_equal_class_ids(signatures):
    features = np.eye(3, dtype=np.float32)[NAMED.channels_of(SCENE.semantic_ids)]
    found = signatures["occupied_features"](
        coordinates=tf.constant(SCENE.coordinates), features=tf.constant(features)
    )
    embedding, direction = occupied(signatures, SCENE.coordinates, SCENE.semantic_ids)
    assert_equal(found["embedding"].numpy(), embedding)
    assert_equal(found["direction"].numpy(), direction)


def test_an_unlabelled_corner_voxel_makes_the_grid_larger(place, signatures):
    _, model = place
    part = SCENE.coordinates[:, 2] < 2
    coordinates, ids = SCENE.coordinates[part], SCENE.semantic_ids[part]
    batch = {
        "coordinates": coordinates[None],
        "channels": NAMED.channels_of(ids)[None],
        "grid_shape": np.array([[16, 16, 8]], np.int32),
    }
    expected = model.network({name: tf.constant(value) for name, value in batch.items()})
    corner = np.concatenate([coordinates, [[15, 15, 7]]])
    embedding, direction = occupied(signatures, corner, np.append(ids, 0))
    assert_equal(embedding[:-1], expected["embedding"][0].numpy())
    assert_equal(direction[:-1], expected["direction"][0].numpy())


def test_one_voxel_and_none_at_all_have_values(signatures):
    embedding, direction = occupied(signatures, [[4, 0, 2]], [3])
    assert embedding.shape == (1, 3)
    assert np.isfinite(direction).all()
    embedding, direction = occupied(signatures, np.zeros((0, 3)), np.zeros(0))
    assert (embedding.shape, direction.shape) == ((0, 3), (0, 3))


@pytest.mark.parametrize("wrong", [1, 8, -2, 2**31 - 1])
def test_class_ids_that_are_not_listed_are_refused_by_the_graph(signatures, wrong):
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        occupied(signatures, [[0, 0, 0], [1, 0, 0], [0, 1, 0]], [0, wrong, 7])
    assert "expected class ids among [2, 3, 7] (or 0), found" in str(caught.value)
    assert f"[{wrong}]" in str(caught.value)


def test_coordinates_below_0_are_refused_by_the_graph(signatures):
    with pytest.raises(tf.errors.InvalidArgumentError, match="at least 0, found"):
        occupied(signatures, [[0, -1, 0]], [2])


def test_a_voxel_that_comes_twice_is_refused_by_the_graph(signatures):
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        occupied(signatures, [[0, 1, 2], [3, 1, 0], [1, 1, 1], [3, 1, 0]], [2, 2, 3, 7])
    assert "expected every voxel once, found" in str(caught.value)
    assert "[[3 1 0]]" in str(caught.value)


def test_rows_that_do_not_match_are_refused_by_the_graph(signatures):
    with pytest.raises(tf.errors.InvalidArgumentError, match="each row of coordinates, found"):
        occupied(signatures, [[0, 1, 0], [0, 2, 0]], [2])


def test_dense_grids_of_odd_size_are_refused_by_the_graph(signatures):
    with pytest.raises(tf.errors.InvalidArgumentError, match="a grid of even sizes, found"):
        signatures["dense"](grid=tf.zeros([1, 4, 5, 4, 3]))


def test_no_convolution_of_the_graph_needs_native_dilation(place):
    """Native dilation runs with oneDNN only, where there is no GPU."""
    folder, _ = place
    graph = saved_model_pb2.SavedModel()
    graph.ParseFromString((folder / "exported" / "1" / "saved_model.pb").read_bytes())
    nodes = [
        node
        for function in graph.meta_graphs[0].graph_def.library.function
        for node in function.node_def
        if node.op == "Conv3D"
    ]
    assert len(nodes) > 10
    assert {tuple(node.attr["dilations"].list.i) for node in nodes} <= {(), (1,) * 5}


def test_an_existing_version_is_refused_and_replaced_only_when_asked(features_place):
    """The fixture has replaced version 1, in which was model.onnx, and left version 7 alone."""
    folder, _, refusal = features_place
    assert refusal == (f"{folder / '1'}: exists already; choose another folder or give --overwrite")
    assert sorted(path.name for path in folder.iterdir()) == ["1", "7"]
    assert not (folder / "1" / "model.onnx").exists()


def test_files_of_others_are_not_replaced(tmp_path):
    (tmp_path / "1" / "variables").mkdir(parents=True)
    for name in ("saved_model.pb", "fingerprint.pb", "variables/variables.index", "thesis.tex"):
        (tmp_path / "1" / name).touch()
    with pytest.raises(ValueError, match=r"exported model to replace, found thesis\.tex in it"):
        exporting.write_saved_model(random_model(), tmp_path, overwrite=True)
    assert (tmp_path / "1" / "thesis.tex").exists()


def test_a_full_disk_is_told_in_one_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    def save(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "variables.tmp; No space left on device")

    monkeypatch.setattr(exporting.tf.saved_model, "save", save)
    with pytest.raises(ValueError, match=f"{tmp_path}/new/1: expected room to write it, found the"):
        exporting.write_saved_model(random_model(), tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_features_has_no_class_ids(features_place):
    folder, model, _ = features_place
    signatures = tf.saved_model.load(str(folder / "1")).signatures
    assert not signatures["description"]()["has_direction"]
    for name in ("serving_default", "occupied", "occupied_features"):
        inputs = signatures[name].structured_input_signature[1]
        assert set(inputs) == {"coordinates", "features"}
    scene = box_scene(2, with_features=True)
    assert tuple(scene.coordinates.max(axis=0) // 2 * 2 + 2) == scene.grid_shape
    found = signatures["serving_default"](
        coordinates=tf.constant(scene.coordinates), features=tf.constant(scene.features)
    )
    embedding, direction, _ = model.predict(scene)
    assert_equal(found["embedding"].numpy(), embedding)
    assert_equal(found["direction"].numpy(), direction)


def test_exporting_leaves_the_live_model_as_it_is(place):
    _, model = place
    layer = model.network.dense.get_layer("dilated_1_conv_1")
    assert "convolution_op" not in vars(layer)
    assert layer.dilation_rate == (2, 2, 2)


def test_no_run_folder_is_told_in_one_sentence(tmp_path):
    result = run(
        "-m", "mtml_tf.export", f"--run_dir={tmp_path / 'none'}", f"--output_dir={tmp_path / 'x'}"
    )
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        f"error: {tmp_path / 'none'}: expected a run folder with model.json, found no such "
        "folder; python -m mtml_tf.train makes one"
    )
    assert not (tmp_path / "x").exists()


def test_onnx_without_its_package_names_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ImportError, match=r"needs the package tf2onnx, .*'mtml_tf\[onnx\]'"):
        exporting.write_saved_model(random_model(), tmp_path / "exported", with_onnx=True)
    assert list(tmp_path.iterdir()) == []


def test_onnx_has_the_values_of_the_live_model(tmp_path):
    pytest.importorskip("tf2onnx", reason="needs the extra: pip install 'mtml_tf[onnx]'")
    onnxruntime = pytest.importorskip("onnxruntime")
    model = random_model()
    path = exporting.write_saved_model(model, tmp_path, with_onnx=True)
    session = onnxruntime.InferenceSession(str(path / "model.onnx"))
    text = session.get_modelmeta().custom_metadata_map["model"]
    assert decode_model_config(text) == model.config
    for shape in ((2, 12, 8, 6, 3), (1, 2, 2, 2, 3), (1, 18, 10, 14, 3)):
        grid = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        names = ["embedding", "direction"]
        expected = model.network.dense(grid)
        for name, found in zip(names, session.run(names, {"grid": grid}), strict=True):
            assert_equal(found, expected[name].numpy())


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda path: None, "found no such folder"),
        (lambda path: path.mkdir(), "found none"),
        (
            lambda path: ((path / "3").mkdir(parents=True), (path / "3" / "x.pb").touch()),
            "found none",
        ),
    ],
)
def test_a_folder_without_a_saved_model_is_refused(tmp_path, make, found):
    make(tmp_path / "model")
    with pytest.raises(ValueError, match=rf"expected a SavedModel \(saved_model.pb .*{found};"):
        exporting.load_saved_model(tmp_path / "model")


def test_a_damaged_saved_model_is_refused(place, tmp_path):
    folder, _ = place
    data = (folder / "exported" / "1" / "saved_model.pb").read_bytes()
    (tmp_path / "saved_model.pb").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="found one that is damaged or cut"):
        exporting.load_saved_model(tmp_path)


def test_the_saved_model_of_another_program_is_refused(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path))
    with pytest.raises(ValueError, match=r"another program's with the signatures \[\]"):
        exporting.load_saved_model(tmp_path)


def test_the_highest_version_is_loaded(place, tmp_path):
    folder, model = place
    shutil.copytree(folder / "exported" / "1", tmp_path / "10")
    for older in ("2", "9"):
        (tmp_path / older).mkdir()
        (tmp_path / older / "saved_model.pb").write_bytes(b"damaged")
    assert exporting.load_saved_model(tmp_path).config == model.config
