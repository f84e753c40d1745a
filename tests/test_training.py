"""Tests of mtml_tf.training.run and of the program mtml_tf.train, on tiny scenes."""

import dataclasses
import json
import logging
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest
from scenes import CLASSES, FLOOR, box_scene, write_folder

from mtml_tf.backend import keras, tf
from mtml_tf.config import DataConfig, LossConfig, NetworkConfig, TrainConfig
from mtml_tf.data.records import DataFolder, write_data_folder
from mtml_tf.inference import models
from mtml_tf.scene import Instance
from mtml_tf.scoring.ground_truth import ground_truth_ids
from mtml_tf.training import run

# Keras draws its seeds in a way that Python 3.11 warns of.
pytestmark = [
    pytest.mark.filterwarnings("ignore:non-integer arguments to randrange"),
    pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions"),
]

NUM_SCENES, BATCH_SIZE = 30, 2
STEPS_PER_EPOCH = NUM_SCENES // BATCH_SIZE
EXPERIMENT = run.Experiment(
    train_split="train",
    network=NetworkConfig(width=1 / 8, dilations=(1, 2), embedding_size=3),
    loss=LossConfig(),
    data=DataConfig(batch_size=BATCH_SIZE, shifts=True, seed=1),
    train=TrainConfig(
        epochs=2,
        learning_rate=5e-3,
        validation_split="val",
        ap_every=1,
        min_vertices=1,
        checkpoint_every=4,
    ),
    segment={"min_voxels": 4},
)
# The same experiment as flags of the program.
FLAGS = [
    *("--width=0.125", "--dilations=1,2", "--embedding_size=3", "--batch_size=2", "--shifts"),
    *("--seed=1", "--epochs=2", "--learning_rate=5e-3", "--validation_split=val"),
    *("--ap_every=1", "--min_vertices=1", "--checkpoint_every=4", "--min_voxels=4"),
]


def changed(**train):
    return dataclasses.replace(EXPERIMENT, train=dataclasses.replace(EXPERIMENT.train, **train))


def quiet(**train):
    """Without validation."""
    return changed(validation_split="", checkpoint_every=500, **train)


@pytest.fixture
def eager():
    """Saves the time that building a graph takes, where there are only a few steps."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_folder(
        tmp_path_factory.mktemp("training") / "data",
        train=[box_scene(seed, grid_shape=(12, 12, 8)) for seed in range(NUM_SCENES)],
        val=[box_scene(100 + seed, grid_shape=(12, 12, 8)) for seed in range(2)],
        two=[box_scene(seed, grid_shape=(12, 12, 8)) for seed in range(2)],
    )


@pytest.fixture(scope="module")
def run_dir(data, tmp_path_factory):
    """A run of the experiment that nothing interrupted."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    run.train(str(data), str(path), EXPERIMENT)
    return path


def weights_of(run_dir, which=models.LAST):
    return models.load_model(run_dir, which).network.dense.get_weights()


def assert_bit_identical(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def latest_step(run_dir):
    """The step of the last checkpoint; None before the first."""
    path = tf.train.latest_checkpoint(str(run_dir / "checkpoints"))
    return None if path is None else int(path.rpartition("-")[2])


def command(data, run_dir, *flags):
    return [
        *(sys.executable, "-m", "mtml_tf.train", f"--data_dir={data}", f"--run_dir={run_dir}"),
        *flags,
    ]


def run_program(*arguments):
    return subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        check=False,
        cwd=pathlib.Path(__file__).parents[1],
    )


# --- A run -------------------------------------------------------------------------------------


def logged_values(run_dir, tag, part="train"):
    """Values of a TensorBoard tag by epoch."""
    values = {}
    for path in sorted((run_dir / "logs" / part).glob("events*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                if value.tag == tag:
                    values[event.step] = float(tf.make_ndarray(value.tensor))
    return [values[step] for step in sorted(values)]


def test_the_loss_falls_and_every_term_is_logged(run_dir):
    loss = logged_values(run_dir, "epoch_loss")
    assert len(loss) == 2
    assert loss[1] < loss[0] - 0.1
    names = ("variance", "distance", "regularization", "direction")
    terms = {name: logged_values(run_dir, f"epoch_{name}") for name in names}
    for epoch in range(2):
        weighted = (
            0.5 * (terms["variance"][epoch] + terms["distance"][epoch])
            + 0.0005 * terms["regularization"][epoch]
            + terms["direction"][epoch]
        )
        assert loss[epoch] == pytest.approx(weighted, rel=1e-4)
    assert len(logged_values(run_dir, "epoch_loss", "validation")) == 2
    assert len(logged_values(run_dir, "epoch_ap50", "validation")) == 2


def test_a_run_folder_holds_all_that_prediction_needs(run_dir):
    for which in (models.BEST, models.LAST):
        model = models.load_model(run_dir, which)
        assert model.config.classes == CLASSES
        assert model.config.network == dataclasses.replace(EXPERIMENT.network, input_channels=3)
        assert model.config.voxel_size == 0.05
        assert model.config.has_direction
        assert model.config.segment.thing_ids == CLASSES.thing_ids
        assert model.config.segment.min_voxels == 4
        assert set(model.config.segment.size_statistics) == set(CLASSES.thing_ids)
        assert model.segment(box_scene(200)) is not None
    assert_bit_identical(weights_of(run_dir, ""), weights_of(run_dir, models.BEST))


def test_two_checkpoints_are_kept(run_dir):
    assert latest_step(run_dir) == 2 * STEPS_PER_EPOCH
    assert len(list((run_dir / "checkpoints").glob("*.index"))) == 2


def test_a_finished_run_is_left_as_it_is(data, run_dir):
    before, begun, told = weights_of(run_dir), [], []
    run.train(
        str(data), str(run_dir), EXPERIMENT, lambda: begun.append("begun"), report=told.append
    )
    assert_bit_identical(weights_of(run_dir), before)
    assert not begun
    (sentence,) = told
    assert re.fullmatch(
        rf"{run_dir}: 30 steps done, weights in {run_dir}/last and {run_dir}/best "
        r"\(validation AP50 [01]\.\d{3}\)",
        sentence,
    )


def test_a_run_that_is_longer_than_asked_for_is_left_as_it_is(data, run_dir, caplog):
    before, begun = weights_of(run_dir), []
    with caplog.at_level(logging.INFO, logger="absl"):
        run.train(str(data), str(run_dir), changed(epochs=1), lambda: begun.append("begun"))
    assert "trained for 30 steps already where --epochs=1 asks for 15" in caplog.text
    assert "resumed" not in caplog.text
    assert_bit_identical(weights_of(run_dir), before)
    assert not begun


# --- Going on ----------------------------------------------------------------------------------


def test_a_run_that_was_killed_ends_with_the_same_weights(data, run_dir, tmp_path):
    killed = tmp_path / "killed"
    process = subprocess.Popen(
        command(data, killed, *FLAGS),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=pathlib.Path(__file__).parents[1],
    )
    try:
        deadline = time.monotonic() + 120
        while latest_step(killed) is None:
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    step = latest_step(killed)
    assert step is not None
    assert 0 < step < 2 * STEPS_PER_EPOCH
    assert step % STEPS_PER_EPOCH, "it was to be killed in mid-epoch"
    assert not (killed / "last").exists()

    result = run_program(*command(data, killed, *FLAGS))
    assert result.returncode == 0, result.stderr
    assert f"resumed at step {step} of {2 * STEPS_PER_EPOCH}" in result.stderr
    assert_bit_identical(weights_of(killed), weights_of(run_dir))
    assert_bit_identical(weights_of(killed, models.BEST), weights_of(run_dir, models.BEST))
    assert json.loads((killed / "versions.json").read_text())["tensorflow"] == tf.__version__
    assert "--learning_rate=0.005" in (killed / "flags.cfg").read_text()


def test_a_run_goes_on_after_the_end_of_an_epoch(data, run_dir, tmp_path):
    """Also: neither validation nor the number of checkpoints changes what is learned."""
    path = tmp_path / "run"
    run.train(str(data), str(path), quiet(epochs=1))
    assert latest_step(path) == STEPS_PER_EPOCH
    model = run.train(str(data), str(path), quiet())
    assert latest_step(path) == 2 * STEPS_PER_EPOCH
    assert_bit_identical(model.network.dense.get_weights(), weights_of(run_dir))
    assert not (path / "best").exists()


def test_a_run_that_is_out_of_time_stops_in_good_order(data, tmp_path, eager, caplog):
    told = []
    with caplog.at_level(logging.INFO, logger="absl"):
        run.train(str(data), str(tmp_path), quiet(max_minutes=1e-9), report=told.append)
    assert latest_step(tmp_path) == 1
    assert (tmp_path / "last").exists()
    assert "30 scenes, 15 steps an epoch, 30 steps to go, on CPU" in caplog.text
    assert told == [f"{tmp_path}: 1 steps done, weights in {tmp_path}/last"]


@pytest.mark.parametrize(
    ("done", "fits"),
    [
        (0, [(range(0, 3), 0, 4)]),
        (3, [(range(0, 1), 3, 1), (range(1, 3), 4, 4)]),
        (4, [(range(1, 3), 4, 4)]),
        (10, [(range(2, 3), 10, 2)]),
        (12, []),
    ],
)
def test_what_is_left_of_a_run(done, fits):
    assert run._fits(done, steps_per_epoch=4, epochs=3) == fits


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("network", {"network": dataclasses.replace(EXPERIMENT.network, embedding_size=4)}),
        ("has_direction", {"loss": LossConfig(alpha_direction=0.0)}),
    ],
)
def test_another_experiment_in_the_same_folder_is_refused(data, run_dir, field, other):
    before = (run_dir / "model.json").read_bytes()
    with pytest.raises(
        ValueError,
        match=rf"{run_dir}: expected a run with {field} .+, found .+; choose another run folder",
    ):
        run.train(str(data), str(run_dir), dataclasses.replace(EXPERIMENT, **other))
    assert (run_dir / "model.json").read_bytes() == before


def test_a_folder_in_which_nothing_was_learned_is_free_for_another_experiment(
    data, run_dir, tmp_path, eager
):
    shutil.copy(run_dir / "model.json", tmp_path)
    network = dataclasses.replace(EXPERIMENT.network, embedding_size=4)
    other = dataclasses.replace(quiet(max_minutes=1e-9), network=network)
    run.train(str(data), str(tmp_path), other)
    assert models.read_model_config(tmp_path).network.embedding_size == 4


def test_a_start_that_fails_writes_nothing(data, run_dir, tmp_path):
    begun = []
    with pytest.raises(ValueError, match="missing: expected a run folder"):
        run.train(str(data), str(tmp_path / "run"), quiet(init_from="missing"))
    assert not (tmp_path / "run").exists()

    shutil.copytree(run_dir, tmp_path / "cut")
    for path in (tmp_path / "cut" / "checkpoints").glob("*.index"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"cut or another network's; choose another run folder"):
        run.train(
            str(data), str(tmp_path / "cut"), changed(epochs=3), lambda: begun.append("begun")
        )
    assert not begun


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ([], "expected --decay=cosine as this run was begun with, found --decay=constant; repeat"),
        (["--decay=cosine", "--norotations"], "expected --rotations as this run was begun with, f"),
        # Lengths and the learning rate may change: the data folder is looked for.
        (["--decay=cosine", "--epochs=7", "--learning_rate=1"], "expected a data folder"),
    ],
)
def test_a_run_goes_on_by_its_own_method_only(tmp_path, flags, sentence):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "checkpoint").touch()
    before = "--rotations\n--epochs=5\n--learning_rate=0.1\n--decay=cosine\n"
    (tmp_path / "flags.cfg").write_text(before)
    result = run_program(*command(tmp_path / "none", tmp_path, *flags))
    assert result.returncode == 1
    assert sentence in result.stderr.splitlines()[-1]
    warning = "until now --learning_rate=0.1, from now on --learning_rate=1.0"
    assert (warning in result.stderr) == ("--learning_rate=1" in flags)
    assert (tmp_path / "flags.cfg").read_text() == before


INTERRUPTED = """
import sys
from mtml_tf import program, train
from mtml_tf.training import run

def interrupted(*_, **__):
    raise KeyboardInterrupt

run.train = interrupted
program.run(train.main)
"""


def test_an_interruption_tells_how_to_go_on(data, run_dir):
    flags = [f"--data_dir={data}", f"--run_dir={run_dir}"]
    result = run_program(sys.executable, "-c", INTERRUPTED, *flags)
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert last == "interrupted; the same command goes on from the last checkpoint"


# --- Where a run starts ------------------------------------------------------------------------


def test_weights_of_equal_shape_are_taken_over_and_the_others_named(run_dir, caplog):
    config = dataclasses.replace(EXPERIMENT.network, input_channels=5, embedding_size=6)
    network = run.VoxelNetwork(config)
    new = {v.name: v.numpy() for v in network.dense.variables}
    with caplog.at_level(logging.INFO, logger="absl"):
        run.initialise_from(network, str(run_dir))
    source = {v.name: v.numpy() for v in models.load_model(run_dir).network.dense.variables}
    different = {"stem/kernel:0", "head_3/kernel:0", "head_3/bias:0"}
    for variable in network.dense.variables:
        expected = new if variable.name in different else source
        np.testing.assert_array_equal(variable, expected[variable.name])
    named = [record.getMessage().partition(":0: not in")[0] for record in caplog.records]
    assert {f"{name}:0" for name in named} == different


def test_init_from_is_where_a_run_starts(data, run_dir, tmp_path, eager):
    """A rate so small that nothing moves shows the weights that it started from."""
    start = dataclasses.replace(
        quiet(epochs=1, learning_rate=1e-30, init_from=str(run_dir)),
        train_split="two",
    )
    model = run.train(str(data), str(tmp_path / "run"), start)
    assert_bit_identical(model.network.dense.get_weights(), weights_of(run_dir, models.BEST))


def test_a_run_in_bfloat16_that_recomputes_is_near_one_that_does_not(data, tmp_path, eager):
    weights = []
    for name, settings in {
        "plain": {},
        "other": {"precision": "bfloat16", "recompute": True},
    }.items():
        experiment = dataclasses.replace(quiet(epochs=1, **settings), train_split="two")
        model = run.train(str(data), str(tmp_path / name), experiment)
        weights.append(np.concatenate([w.ravel() for w in model.network.dense.get_weights()]))
    assert not np.array_equal(*weights)
    assert np.abs(weights[0] - weights[1]).max() < 0.05


# --- What goes wrong ---------------------------------------------------------------------------


def test_a_loss_that_is_no_number_stops_the_run(data, tmp_path, eager):
    wild = quiet(learning_rate=1e30)
    with pytest.raises(ValueError, match=r"^step \d+: expected a finite loss, found \S+, in") as e:
        run.train(str(data), str(tmp_path / "run"), wild)
    step, names = re.match(r"step (\d+): .* in scenes (.*); lower", str(e.value)).groups()
    folder = run.DataFolder(str(data))
    expected = run.training_scenes(folder.entries("train"), wild.data, int(step))
    assert names.split(", ") == expected
    assert step == "1"  # step 0 itself is still fine
    assert latest_step(tmp_path / "run") is None


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (
            "OOM when allocating tensor",
            "{data}: expected batches that fit into memory, found none left in step 1; take a",
        ),
        (
            "x.tempstate; No space left on device",
            "{run}: expected room for checkpoints and weights, found the disk full;",
        ),
    ],
    ids=["memory", "disk"],
)
def test_memory_and_a_disk_that_do_not_suffice_are_told_apart(
    message, sentence, data, tmp_path, monkeypatch
):
    def fit(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, message)

    monkeypatch.setattr(keras.Model, "fit", fit)
    with pytest.raises(ValueError, match=sentence.format(data=data, run=tmp_path / "run")):
        run.train(str(data), str(tmp_path / "run"), quiet(epochs=1))


def test_a_folder_of_other_files_is_no_run_folder(data, tmp_path):
    for name in ("train.log", "photo.png"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=rf"{tmp_path}: expected .*, found one with photo\.png"):
        run.train(str(data), str(tmp_path), EXPERIMENT)
    assert len(list(tmp_path.iterdir())) == 2
    (tmp_path / "photo.png").unlink()
    run._check_run_folder(str(tmp_path))


def test_scenes_without_instances_are_refused(tmp_path):
    scene = dataclasses.replace(box_scene(0), instance_ids=None)
    path = tmp_path / "data"
    write_data_folder(path, CLASSES, {"train": [(scene, None)]})
    with pytest.raises(
        ValueError,
        match=rf"{path}: expected instance ids in split 'train' to train on, found none",
    ):
        run.train(str(path), str(tmp_path / "run"), EXPERIMENT)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--run_dir=r"], "data_dir"),
        (["--data_dir=d", "--run_dir=r", "--no_such_flag=1"], "no_such_flag"),
        (["--data_dir=d", "--run_dir=r", "--epochs=0"], "expected at least 1 epoch, found 0"),
        (["--data_dir=d", "--run_dir=r", "--epochs=many"], "epochs"),
    ],
)
def test_wrong_flags_are_told_with_exit_2(flags, text, tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "mtml_tf.train", *flags],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parents[1])},
    )
    assert result.returncode == 2
    assert text in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_missing_data_folder_is_told_in_one_sentence_with_exit_1(tmp_path):
    result = run_program(*command(tmp_path / "none", tmp_path / "run"))
    assert result.returncode == 1
    assert result.stdout == ""
    # Newer TensorFlow says a few lines about the machine before it can be told not to.
    *noise, line = result.stderr.splitlines()
    assert not [text for text in noise if text.startswith(("error:", "Traceback"))]
    assert line == (
        f"error: {tmp_path / 'none'}: expected a data folder with manifest.json, found no such "
        "folder; tools/make_toy.py, tools/prepare_scans.py and tools/prepare_scannet.py make one"
    )


# --- Two replicas ------------------------------------------------------------------------------

TWO_REPLICAS = """
import sys
import numpy as np
from mtml_tf.config import DataConfig, LossConfig, NetworkConfig, TrainConfig
from mtml_tf.training import run
from mtml_tf.backend import keras, tf

data, out = sys.argv[1:]
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
# Plain gradient descent: Adam's steps would hide a factor.
keras.optimizers.Adam = lambda rate: keras.optimizers.SGD(rate)
two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert two.num_replicas_in_sync == 2
experiment = run.Experiment(
    "two",
    NetworkConfig(width=1 / 8, dilations=(1, 2)),
    LossConfig(),
    DataConfig(batch_size=2, rotations=False),
    TrainConfig(epochs=1, learning_rate=1.0),
    {},
)
arrays = {}
for name, strategy in {"one": tf.distribute.get_strategy(), "two": two}.items():
    run._strategy = lambda *_: strategy
    model = run.train(data, f"{out}/{name}", experiment)
    for variable in model.network.dense.variables:
        arrays[f"{name}/{variable.name}"] = variable.numpy()
keras.utils.set_random_seed(0)
for variable in run.VoxelNetwork(model.config.network).dense.variables:
    arrays[f"start/{variable.name}"] = variable.numpy()
np.savez(f"{out}/weights.npz", **arrays)
"""


def test_two_replicas_take_the_step_of_one(data, tmp_path):
    """A batch of two scenes on two devices: the gradient is that of the joint batch."""
    result = run_program(sys.executable, "-c", TWO_REPLICAS, str(data), str(tmp_path))
    assert result.returncode == 0, result.stderr[-2000:]
    with np.load(tmp_path / "weights.npz") as arrays:
        names = [name.partition("/")[2] for name in arrays if name.startswith("start/")]
        assert len(names) == 34
        for name in names:
            one, two = (arrays[f"{run}/{name}"] - arrays[f"start/{name}"] for run in ("one", "two"))
            assert one.any(), name
            tolerance = 1e-4 * np.abs(one).max()
            np.testing.assert_allclose(two, one, rtol=0, atol=tolerance, err_msg=name)


def test_strategies_are_chosen_by_name():
    assert not isinstance(run._strategy("default", 2), tf.distribute.MirroredStrategy)
    assert not isinstance(run._strategy("auto", 2), tf.distribute.MirroredStrategy)
    assert isinstance(run._strategy("mirrored", 2), tf.distribute.MirroredStrategy)


def test_the_rate_falls_to_0_by_a_cosine():
    config = TrainConfig(learning_rate=0.2, decay="cosine")
    schedule = run._learning_rate(config, 100)
    assert [float(schedule(step)) for step in (0, 50, 100)] == pytest.approx([0.2, 0.1, 0.0])
    assert run._learning_rate(TrainConfig(learning_rate=0.2), 100) == 0.2
    assert isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule)


def test_validation_compares_with_the_true_classes_whatever_the_input_says(tmp_path):
    scene = box_scene(1)
    truth = ground_truth_ids(scene, CLASSES)
    predicted = np.full_like(scene.semantic_ids, FLOOR)
    wrongly_labelled = dataclasses.replace(scene, semantic_ids=predicted)
    write_data_folder(tmp_path, CLASSES, {"val": [(wrongly_labelled, truth)]})

    class Perfect:
        config = types.SimpleNamespace(classes=CLASSES)

        def segment(self, seen):
            np.testing.assert_array_equal(seen.semantic_ids, predicted)
            return [
                Instance(int(i) // 1000, 1.0, np.flatnonzero(truth == i))
                for i in np.unique(truth[truth % 1000 > 0])
            ]

    config = TrainConfig(validation_split="val", min_vertices=1)
    assert run.validate(Perfect(), DataFolder(tmp_path), config).average.ap50 == 1


def test_a_validation_split_that_does_not_fit_is_refused_before_anything_is_written(tmp_path):
    write_folder(tmp_path / "data", train=[box_scene(0)], val=[box_scene(1)])
    (tmp_path / "data" / "ground_truth" / "val" / "scene_001.txt").unlink()
    experiment = changed(epochs=1)
    with pytest.raises(ValueError, match="expected the ground truth of every scene to validate on"):
        run.train(str(tmp_path / "data"), str(tmp_path / "run"), experiment)
    coarse = dataclasses.replace(box_scene(1), voxel_size=0.1)
    write_folder(tmp_path / "other", train=[box_scene(0)], val=[coarse])
    with pytest.raises(ValueError, match=r"found 0 and 0\.1 m; prepare both splits alike"):
        run.train(str(tmp_path / "other"), str(tmp_path / "run"), experiment)
    assert not (tmp_path / "run").exists()


def test_features_that_are_class_probabilities_are_told_from_others(tmp_path):
    scene = box_scene(0)
    labels = CLASSES.channels_of(scene.semantic_ids)
    probabilities = np.eye(len(CLASSES), dtype=np.float32)[labels] * 0.7 + 0.1
    for features, expected in ((probabilities, CLASSES.ids), (probabilities + 1, ())):
        folder = tmp_path / f"data{len(expected)}"
        write_folder(folder, train=[dataclasses.replace(scene, features=features)])
        config = run.describe(DataFolder(folder), quiet(epochs=1))
        assert config.segment.probability_ids == expected


def test_features_are_probabilities_only_where_those_of_all_scenes_are(tmp_path):
    first, last = box_scene(0), box_scene(1)
    sure = np.eye(len(CLASSES), dtype=np.float32)
    scenes = [
        dataclasses.replace(scene, features=sure[CLASSES.channels_of(scene.semantic_ids)])
        for scene in (first, last)
    ]
    write_folder(tmp_path / "all", train=scenes)
    config = run.describe(DataFolder(tmp_path / "all"), quiet(epochs=1))
    assert config.segment.probability_ids == CLASSES.ids
    scenes[1].features[-1, 0] += 0.5
    write_folder(tmp_path / "most", train=scenes)
    config = run.describe(DataFolder(tmp_path / "most"), quiet(epochs=1))
    assert config.segment.probability_ids == ()


def test_scenes_too_large_for_the_memory_are_refused_before_anything_is_written(
    tmp_path, monkeypatch
):
    large = dataclasses.replace(box_scene(1), grid_shape=(40000, 40000, 20))
    write_folder(tmp_path / "data", train=[box_scene(0)], val=[large], large=[box_scene(0), large])
    before = dataclasses.replace(quiet(epochs=1), train_split="large")
    for experiment in (changed(epochs=1), before):
        with pytest.raises(
            ValueError,
            match=r"scene scene_001 in a batch of 2: .*\d{5} x \d{5} x 2[02] voxels.*--recompute",
        ):
            run.train(str(tmp_path / "data"), str(tmp_path / "run"), experiment)
    assert not (tmp_path / "run").exists()
