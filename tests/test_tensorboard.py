"""Tests of what TensorBoard gets: mtml_tf.training.tensorboard and the callbacks that log."""

import dataclasses
import json
import types

import numpy as np
import pytest
from scenes import BOX, CLASSES, FLOOR, box_scene, write_folder
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.mesh import metadata as mesh_metadata

from mtml_tf.backend import keras, tf
from mtml_tf.config import DataConfig, LossConfig, NetworkConfig, TrainConfig
from mtml_tf.drawing.pictures import STUFF_COLOR, instance_colors
from mtml_tf.drawing.slices import draw_slices
from mtml_tf.inference.models import Values
from mtml_tf.scene import Instance, VoxelScene
from mtml_tf.training import callbacks, run, tensorboard
from mtml_tf.training.tensorboard import write_hyperparameters, write_scene

MESH = "validation_scene/instances"
# Two voxels of floor, two boxes of one voxel.
SCENE = VoxelScene(
    name="room",
    coordinates=np.array([[0, 0, 0], [1, 0, 0], [0, 0, 1], [1, 1, 3]], np.int32),
    grid_shape=(2, 2, 4),
    voxel_size=0.5,
    origin=np.array([7.0, 8.0, 9.0]),
    semantic_ids=np.array([FLOOR, FLOOR, BOX, BOX], np.int32),
    instance_ids=np.array([0, 0, 1, 2], np.int32),
)
FOUND = [Instance(BOX, 0.9, np.array([3], np.int32)), Instance(BOX, 0.8, np.array([2], np.int32))]


def model_that_finds(instances, has_direction=True):
    embedding = np.array([[0, 0], [0, 0], [0, 1], [5, 0]], np.float32)
    return types.SimpleNamespace(
        predict=lambda scene: Values(
            embedding[: len(scene.coordinates)], np.ones((4, 3), np.float32)
        ),
        segment_values=lambda scene, values: instances,
        config=types.SimpleNamespace(classes=CLASSES, has_direction=has_direction),
    )


def read_events(log_dir):
    """Returns {tag: {step: summary value}} of the event files in a folder."""
    values = {}
    for path in sorted(log_dir.glob("events*")):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                values.setdefault(value.tag, {})[event.step] = value
    return values


def images_of(value):
    assert value.metadata.plugin_data.plugin_name == "images"
    _, _, *images = tf.make_ndarray(value.tensor)  # width and height come first
    return [tf.io.decode_png(image).numpy() for image in images]


# --- A scene -----------------------------------------------------------------------------------


def test_every_colouring_of_a_scene_is_shown_in_slices(tmp_path):
    write_scene(tmp_path, model_that_finds(FOUND), SCENE, 5)
    events = read_events(tmp_path)
    names = ("semantic_input", "ground_truth", "instances", "embedding", "direction", "mistakes")
    for name in names:
        (step,) = events[f"validation_scene/{name}"]
        assert step == 5
        assert len(images_of(events[f"validation_scene/{name}"][5])) == 3
    lowest, _, highest = images_of(events["validation_scene/instances"][5])
    assert lowest.shape == (400, 400, 3)
    # Found objects have the colours of the true ones; z of 0 and 1 are the lowest third.
    first, second = instance_colors(np.array([1, 2])).tolist()
    assert lowest[-1, 0].tolist() == first
    assert lowest[-1, -1].tolist() == list(STUFF_COLOR)
    assert highest[0, -1].tolist() == second


def test_the_instances_are_a_mesh_that_stands_upright_about_the_origin(tmp_path):
    write_scene(tmp_path, model_that_finds(FOUND), SCENE, 5)
    events = read_events(tmp_path)
    vertices, colors = events[f"{MESH}_VERTEX"][5], events[f"{MESH}_COLOR"][5]
    # x, height and -y, in metres from the middle (0.5, 0.5, 2 voxels).
    expected = [
        [-0.25, -0.75, 0.25],
        [0.25, -0.75, 0.25],
        [-0.25, -0.25, 0.25],
        [0.25, 0.75, -0.25],
    ]
    np.testing.assert_allclose(tf.make_ndarray(vertices.tensor), [expected], atol=1e-6)
    assert tf.make_ndarray(vertices.tensor).dtype == np.float32
    np.testing.assert_array_equal(
        tf.make_ndarray(colors.tensor), instance_colors(np.array([0, 0, 1, 2]))[None]
    )
    plugin = vertices.metadata.plugin_data
    assert plugin.plugin_name == "mesh"
    data = mesh_metadata.parse_plugin_metadata(plugin.content)
    assert (data.name, list(data.shape)) == (MESH, [1, 4, 3])
    config = json.loads(data.json_config)
    assert config["material"] == {"cls": "PointsMaterial", "size": 0.5}
    assert min(config["camera"]["position"]) > 0


def test_a_mesh_of_many_points_is_thinned(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorboard, "MAX_POINTS", 3)
    write_scene(tmp_path, model_that_finds(FOUND), SCENE, 0)
    events = read_events(tmp_path)
    assert tf.make_ndarray(events[f"{MESH}_VERTEX"][0].tensor).shape == (1, 2, 3)
    colors = tf.make_ndarray(events[f"{MESH}_COLOR"][0].tensor)
    np.testing.assert_array_equal(colors, instance_colors(np.array([0, 1]))[None])


def test_a_model_that_finds_nothing_is_shown_all_the_same(tmp_path):
    unknown = dataclasses.replace(SCENE, instance_ids=None)
    write_scene(tmp_path, model_that_finds([], has_direction=False), unknown, 0)
    events = read_events(tmp_path)
    colors = tf.make_ndarray(events[f"{MESH}_COLOR"][0].tensor)
    np.testing.assert_array_equal(colors, np.full((1, 4, 3), STUFF_COLOR))
    shown = {tag.partition("/")[2] for tag in events if tag.startswith("validation_scene/")}
    assert {"semantic_input", "instances", "embedding"} < shown
    assert not {"ground_truth", "mistakes", "direction"} & shown


def test_a_scene_of_one_voxel_is_shown(tmp_path):
    one = VoxelScene(
        "one", SCENE.coordinates[:1], (2, 2, 2), 0.5, np.zeros(3), np.array([BOX], np.int32)
    )
    write_scene(tmp_path, model_that_finds([], has_direction=False), one, 0)
    vertices = read_events(tmp_path)[f"{MESH}_VERTEX"][0]
    assert tf.make_ndarray(vertices.tensor).tolist() == [[[0, 0, 0]]]
    data = mesh_metadata.parse_plugin_metadata(vertices.metadata.plugin_data.content)
    assert min(json.loads(data.json_config)["camera"]["position"]) > 0


# --- Slices --------------------------------------------------------------------------------------

WHITE, RED, GREEN, BLUE = (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255)
COLORS = np.array([RED, GREEN, BLUE], np.uint8)


def test_slices_are_seen_from_above_with_x_right_and_y_up():
    coordinates = np.array([[0, 0, 0], [1, 0, 2], [2, 1, 3]])
    images = draw_slices(coordinates, COLORS, (3, 2, 4), count=2, width=3)
    assert images.dtype == np.uint8
    lower, upper = images.tolist()
    assert lower == [[[*WHITE]] * 3, [[*RED], [*WHITE], [*WHITE]]]
    assert upper == [[[*WHITE], [*WHITE], [*BLUE]], [[*WHITE], [*GREEN], [*WHITE]]]


def test_the_highest_voxel_of_a_column_hides_the_others_of_its_slice():
    coordinates = np.array([[0, 0, 3], [0, 0, 1], [0, 0, 4]])
    images = draw_slices(coordinates, COLORS, (1, 1, 8), count=2, width=1)
    assert images.tolist() == [[[[*RED]]], [[[*BLUE]]]]


@pytest.mark.parametrize(("width", "pixels"), [(10, 2), (9, 2), (4, 1), (2, 1)])
def test_a_voxel_is_a_square_of_whole_pixels(width, pixels):
    images = draw_slices(np.array([[3, 0, 0]]), COLORS[:1], (4, 2, 2), count=1, width=width)
    assert images.shape == (1, 2 * pixels, 4 * pixels, 3)
    assert (images == RED).all(axis=-1).sum() == pixels**2
    assert images[0, -1, -1].tolist() == [*RED]


def test_slices_above_the_grid_or_without_voxels_are_white():
    one = draw_slices(np.zeros((1, 3), np.int32), COLORS[:1], (2, 2, 2), count=3, width=2)
    assert [bool((image == 255).all()) for image in one] == [False, True, True]
    none = draw_slices(np.zeros((0, 3), np.int32), np.zeros((0, 3), np.uint8), (2, 2, 2))
    assert none.shape == (3, 400, 400, 3)
    assert (none == 255).all()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"a color \[2, 3\] for each voxel, found \[3, 3\]"):
        draw_slices(np.zeros((2, 3), np.int32), COLORS, (2, 2, 2))
    with pytest.raises(ValueError, match="expected at least 1 slice, found 0"):
        draw_slices(np.zeros((3, 3), np.int32), COLORS, (2, 2, 2), count=0)


# --- Hyperparameters ---------------------------------------------------------------------------


def test_hyperparameters_are_a_table_and_values_for_the_plugin(tmp_path):
    settings = {"network": {"width": 0.5, "dilations": (1, 2)}, "split": "train", "origins": True}
    write_hyperparameters(tmp_path, settings)
    events = read_events(tmp_path)
    (table,) = tf.make_ndarray(events["hyperparameters"][0].tensor).reshape(-1)
    assert table.decode().splitlines()[2:] == [
        "| dilations | 1,2 |",
        "| origins | True |",
        "| split | train |",
        "| width | 0.5 |",
    ]
    content = events[hparams_metadata.SESSION_START_INFO_TAG][0].metadata.plugin_data.content
    values = hparams_metadata.parse_session_start_info_plugin_data(content).hparams
    assert set(values) == {"width", "dilations", "split", "origins"}
    assert values["width"].number_value == 0.5
    assert values["dilations"].string_value == "1,2"
    assert values["origins"].bool_value is True


# --- When ----------------------------------------------------------------------------------------


def test_a_scene_is_shown_after_a_scored_epoch_and_after_the_last():
    shown = []
    callback = callbacks.ShowScene(4, shown.append)
    for epoch, logs in enumerate([{"loss": 1.0}, {"val_ap": 0.1}, {"val_loss": 1.0}, {}]):
        callback.on_epoch_end(epoch, logs)
    assert shown == [1, 3]


@pytest.fixture
def eager():
    """Saves the time that building a graph takes, where there are only a few steps."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(1e-3, [1e-3, 1e-3]), (keras.optimizers.schedules.CosineDecay(1e-3, 2), [5e-4, 0])],
    ids=["constant", "cosine"],
)
def test_the_learning_rate_is_logged(tmp_path, eager, rate, expected):
    model = keras.Sequential([keras.layers.Dense(1, input_shape=(1,))])
    model.compile(keras.optimizers.Adam(rate), loss="mse")
    logger = callbacks.TensorBoard(str(tmp_path))
    model.fit(np.ones((1, 1)), np.ones((1, 1)), epochs=2, callbacks=[logger], verbose=0)
    logged = read_events(tmp_path / "train")["epoch_learning_rate"]
    rates = [float(tf.make_ndarray(logged[epoch].tensor)) for epoch in range(2)]
    np.testing.assert_allclose(rates, expected, rtol=1e-5, atol=1e-9)


def test_a_training_logs_everything(tmp_path, eager):
    scenes = [box_scene(seed, grid_shape=(8, 8, 8), num_objects=2) for seed in range(2)]
    data = write_folder(tmp_path / "data", train=scenes, val=scenes[:1])
    experiment = run.Experiment(
        train_split="train",
        network=NetworkConfig(width=1 / 8, dilations=(1, 2), embedding_size=3),
        loss=LossConfig(),
        data=DataConfig(batch_size=2, seed=1),
        train=TrainConfig(epochs=2, learning_rate=1e-3, validation_split="val", ap_every=2),
        segment={"min_voxels": 4},
    )
    run.train(str(data), str(tmp_path / "run"), experiment)
    logs = tmp_path / "run" / "logs"
    own, train, validation = (
        read_events(path) for path in (logs, logs / "train", logs / "validation")
    )

    for term in ("loss", "variance", "distance", "regularization", "direction"):
        assert sorted(train[f"epoch_{term}"]) == [0, 1]
        assert sorted(validation[f"epoch_{term}"]) == [0, 1]
    assert sorted(train["epoch_learning_rate"]) == [0, 1]
    for score in ("ap", "ap50", "ap25"):
        assert list(validation[f"epoch_{score}"]) == [1]
    for name in ("semantic_input", "embedding", "instances", "instances_VERTEX", "instances_COLOR"):
        assert list(own[f"validation_scene/{name}"]) == [1]
    content = own[hparams_metadata.SESSION_START_INFO_TAG][0].metadata.plugin_data.content
    values = hparams_metadata.parse_session_start_info_plugin_data(content).hparams
    assert values["decay"].string_value == "constant"
    assert values["input_channels"].number_value == 3  # of the data
    assert values["min_voxels"].number_value == 4

    # A run that is finished gets no more of it.
    before = sorted(logs.rglob("events*"))
    run.train(str(data), str(tmp_path / "run"), experiment)
    assert sorted(logs.rglob("events*")) == before
