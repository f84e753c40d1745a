"""Tests of mtml_tf.training.run_folder: what a run goes on with, and who trains in its folder."""

import dataclasses
import json
import shutil

import pytest
from scenes import CLASSES, box_scene, write_folder
from training_runs import EXPERIMENT, command, eagerly, one_step, run_program

from mtml_tf.data.records import DataFolder
from mtml_tf.data.writing import write_data_folder
from mtml_tf.inference import models
from mtml_tf.scoring.ground_truth import ground_truth_ids
from mtml_tf.training import run, run_folder

EXPERIMENT_OF_ONE_STEP = one_step()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    scenes = [box_scene(seed, grid_shape=(12, 12, 8)) for seed in range(2)]
    return write_folder(tmp_path_factory.mktemp("run_folder") / "data", two=scenes)


@pytest.fixture(scope="module")
def run_dir(data, tmp_path_factory):
    """A run of one step."""
    path = tmp_path_factory.mktemp("runs") / "run"
    with eagerly():
        run.train(str(data), str(path), EXPERIMENT_OF_ONE_STEP)
    return path


def content_of(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def changed(config, **values):
    """The experiment with another setting of one of its configurations."""
    experiment = EXPERIMENT_OF_ONE_STEP
    new = dataclasses.replace(getattr(experiment, config), **values)
    return dataclasses.replace(experiment, **{config: new})


# --- Its method --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "before", "now"),
    [
        (changed("data", batch_size=1), "--batch_size=2", "--batch_size=1"),
        (changed("data", seed=2), "--seed=1", "--seed=2"),
        (changed("data", rotations=False), "--rotations", "--norotations"),
        (changed("loss", alpha_direction=0.0), "--alpha_direction=1.0", "--alpha_direction=0.0"),
        (changed("loss", delta_var=0.1), "--delta_var=0.5", "--delta_var=0.1"),
        (changed("network", dilations=(1, 3)), "--dilations=1,2", "--dilations=1,3"),
        (changed("train", decay="cosine"), "--decay=constant", "--decay=cosine"),
        (
            dataclasses.replace(EXPERIMENT_OF_ONE_STEP, segment={}),
            "--min_voxels=4",
            "--min_voxels=10",
        ),
        (
            dataclasses.replace(EXPERIMENT_OF_ONE_STEP, train_split="train"),
            "--train_split=two",
            "--train_split=train",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_run_goes_on_by_its_own_method_only(data, run_dir, other, before, now):
    content = content_of(run_dir)
    with pytest.raises(ValueError) as error:  # noqa: PT011  The whole sentence is compared.
        run.train(str(data), str(run_dir), other)
    assert str(error.value) == (
        f"{run_dir}: expected {before} as this run was begun with, found {now}; repeat {before} "
        "or give another --run_dir"
    )
    assert content_of(run_dir) == content


def test_lengths_limits_and_the_learning_rate_may_change(data, run_dir, caplog):
    experiment = changed(
        "train", epochs=7, learning_rate=1.0, ap_every=3, max_minutes=5.0, precision="bfloat16"
    )
    run_folder.check_goes_on(str(run_dir), DataFolder(data), experiment)
    assert "until now --learning_rate=0.005, from now on --learning_rate=1.0" in caplog.text


def test_a_setting_that_an_older_version_did_not_know_counts_as_unchanged(data, run_dir, tmp_path):
    shutil.copytree(run_dir, tmp_path / "run")
    path = tmp_path / "run" / "settings.json"
    settings = json.loads(path.read_text())
    del settings["method"]["origins"]
    path.write_text(json.dumps(settings))
    run_folder.check_goes_on(
        str(tmp_path / "run"), DataFolder(data), changed("data", origins=False)
    )
    path.unlink()
    run_folder.check_goes_on(str(tmp_path / "run"), DataFolder(data), changed("data", seed=9))


def test_settings_that_are_damaged_are_told(data, run_dir, tmp_path):
    shutil.copytree(run_dir, tmp_path / "run")
    path = tmp_path / "run" / "settings.json"
    for damaged in (path.read_text()[:100], "[1, 2]", '{"method": 1}'):
        path.write_text(damaged)
        with pytest.raises(ValueError, match=rf"{path}: expected the settings of the run, found"):
            run_folder.check_goes_on(
                str(tmp_path / "run"), DataFolder(data), EXPERIMENT_OF_ONE_STEP
            )


def test_the_program_refuses_another_method(data, run_dir):
    flags = ["--train_split=two", "--width=0.125", "--dilations=1,2", "--embedding_size=3"]
    flags.append("--alpha_label=0.5")
    result = run_program(*command(data, run_dir, *flags, "--origins"))
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        f"error: {run_dir}: expected --seed=1 as this run was begun with, found --seed=0; repeat "
        "--seed=1 or give another --run_dir"
    )


def test_a_folder_in_which_nothing_was_learned_is_free_for_another_experiment(
    data, run_dir, tmp_path
):
    for name in ("model.json", "settings.json"):
        shutil.copy(run_dir / name, tmp_path)
    with eagerly():
        run.train(str(data), str(tmp_path), changed("network", embedding_size=4))
    assert models.read_model_config(tmp_path).network.embedding_size == 4


# --- Its data ----------------------------------------------------------------------------------


def test_a_run_goes_on_with_its_own_scenes_only(data, run_dir, tmp_path):
    others = [box_scene(seed, grid_shape=(12, 12, 8)) for seed in (0, 2)]
    other = write_folder(tmp_path / "other", two=others)
    content = content_of(run_dir)
    with pytest.raises(ValueError) as error:  # noqa: PT011  The whole sentence is compared.
        run.train(str(other), str(run_dir), EXPERIMENT_OF_ONE_STEP)
    assert str(error.value) == (
        f"{other}: expected the scenes that {run_dir} was begun with, of split 'two' in {data}, "
        "found others; give that --data_dir or another --run_dir"
    )
    assert content_of(run_dir) == content


def test_a_folder_that_was_moved_and_got_another_split_has_the_same_data(data, run_dir, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(data, moved)
    write_folder(moved, val=[box_scene(5)])
    run_folder.check_goes_on(str(run_dir), DataFolder(moved), EXPERIMENT_OF_ONE_STEP)


def test_other_names_of_the_classes_are_refused(run_dir, tmp_path):
    classes = dataclasses.replace(CLASSES, names=("ground", "box", "tower"))
    scenes = [box_scene(seed, grid_shape=(12, 12, 8)) for seed in range(2)]
    labelled = [(scene, ground_truth_ids(scene, classes)) for scene in scenes]
    write_data_folder(tmp_path / "data", classes, {"two": labelled})
    with pytest.raises(
        ValueError,
        match=rf"{run_dir}: expected a run with classes .*ground.*, found .*floor.*; choose anoth",
    ):
        run.train(str(tmp_path / "data"), str(run_dir), EXPERIMENT_OF_ONE_STEP)


# --- Who trains in it --------------------------------------------------------------------------


def test_a_second_training_in_the_same_folder_is_refused_at_once(data, tmp_path):
    path = tmp_path / "new" / "run"
    sentence = (
        f"{path}: expected a run folder in which nobody trains, found one in which another process "
        "does; wait for its end or give another --run_dir"
    )
    with run_folder.held(str(path)):
        result = run_program(*command("no_such_folder", path))
        assert result.returncode == 1
        assert result.stderr.splitlines()[-1] == f"error: {sentence}"
        with pytest.raises(ValueError, match="in which nobody trains") as error:
            run.train(str(data), str(path), EXPERIMENT)
        assert str(error.value) == sentence
        assert list(path.iterdir()) == []
    assert not path.parent.exists()
    with run_folder.held(str(path)):
        pass


def test_a_folder_is_held_while_it_is_trained_in(data, tmp_path):
    """And free again when the training has failed."""
    path = str(tmp_path / "run")

    def fail():
        with pytest.raises(ValueError, match="in which nobody trains"), run_folder.held(path):
            pass
        raise RuntimeError("it was held")

    for _ in range(2):
        with eagerly(), pytest.raises(RuntimeError, match="it was held"):
            run.train(str(data), path, EXPERIMENT_OF_ONE_STEP, before_start=fail)
    assert not (tmp_path / "run").exists()


def test_a_folder_of_other_files_is_no_run_folder(data, tmp_path):
    for name in ("train.log", "photo.png"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=rf"{tmp_path}: expected .*, found one with photo\.png"):
        run.train(str(data), str(tmp_path), EXPERIMENT)
    assert len(list(tmp_path.iterdir())) == 2
    (tmp_path / "photo.png").unlink()
    with run_folder.held(str(tmp_path)):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["train.log"]


def test_a_file_is_no_run_folder_and_no_place_for_one(data, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file: expected a run folder, found a file; give another"):
        run.train(str(data), str(tmp_path / "file"), EXPERIMENT)
    with pytest.raises(ValueError, match=r"expected a place for a run folder, found that it can't"):
        run.train(str(data), str(tmp_path / "file" / "run"), EXPERIMENT)
