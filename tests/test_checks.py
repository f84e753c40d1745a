"""Tests of mtml_tf.training.checks."""

import dataclasses

import pytest
from scenes import box_scene, write_folder
from training_runs import changed, quiet

from mtml_tf.config import NetworkConfig
from mtml_tf.data.records import DataFolder
from mtml_tf.network import memory
from mtml_tf.network.voxel_network import VoxelNetwork
from mtml_tf.training import checks, run


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


def test_scenes_too_large_for_the_memory_are_refused_before_anything_is_written(tmp_path):
    large = dataclasses.replace(box_scene(1), grid_shape=(40000, 40000, 20))
    write_folder(tmp_path / "data", train=[box_scene(0)], val=[large], large=[box_scene(0), large])
    before = dataclasses.replace(quiet(epochs=1), train_split="large")
    for experiment, batch in ((changed(epochs=1), ""), (before, " in a batch of 2")):
        with pytest.raises(
            ValueError,
            match=rf"scene scene_001{batch}: .*\d{{5}} x \d{{5}} x 2[02] voxels.*--recompute",
        ):
            run.train(str(tmp_path / "data"), str(tmp_path / "run"), experiment)
    assert not (tmp_path / "run").exists()


def check(folder, execution, width, num_replicas=1):
    """Checks the scenes of a split `train` for a batch of 2, as they are."""
    experiment = quiet(epochs=1)
    plain = dataclasses.replace(experiment.data, rotations=False, origins=False, batch_size=2)
    experiment = dataclasses.replace(experiment, data=plain)
    network = VoxelNetwork(NetworkConfig(3, width=width), execution)
    checks.check_scenes(folder, experiment, network, num_replicas)


def scenes_of(path, *grid_shapes):
    scenes = [
        dataclasses.replace(box_scene(seed), grid_shape=shape)
        for seed, shape in enumerate(grid_shapes)
    ]
    return DataFolder(write_folder(path, train=scenes))


def test_the_scenes_that_make_the_grid_are_named_with_their_axes(tmp_path, monkeypatch):
    folder = scenes_of(tmp_path, (400, 20, 40), (30, 300, 40), (20, 20, 60))
    monkeypatch.setattr(memory, "available_memory", lambda: 1)
    owner = r"scenes scene_000 \(x\), scene_001 \(y\) and scene_002 \(z\) in a batch of 2: "
    with pytest.raises(ValueError, match=owner + ".* found 400 x 300 x 60 voxels"):
        check(folder, "occupied", 0.5)
    folder = scenes_of(tmp_path / "two", (400, 300, 40), (20, 20, 60))
    with pytest.raises(ValueError, match=r"scenes scene_000 \(x, y\) and scene_001 \(z\) in a b"):
        check(folder, "occupied", 0.5)


# Elements for each voxel: what the transposed convolution gives in dense execution, the stem in
# occupied execution.
@pytest.mark.parametrize(
    ("execution", "width", "elements"),
    [("dense", 1.0, 256), ("dense", 0.25, 64), ("occupied", 1.0, 64)],
)
def test_tensors_that_would_be_too_large_are_refused_by_the_batch(
    execution, width, elements, tmp_path, monkeypatch
):
    """Of all scenes of a batch, or of those that a replica computes."""
    monkeypatch.setattr(memory, "available_memory", lambda: 1 << 50)
    most = ((1 << 31) - 1) // elements // 2
    layer = 64 * 64
    check(scenes_of(tmp_path / "fits", (64, 64, most // layer // 2 * 2)), execution, width)
    folder = scenes_of(tmp_path / "large", (64, 64, most // layer // 2 * 2 + 2))
    check(folder, execution, width, num_replicas=2)
    with pytest.raises(ValueError, match="scene scene_000 in a batch of 2: expected a") as told:
        check(folder, execution, width)
    assert f"at most {most} voxels, beyond which a tensor of the {execution} exec" in str(
        told.value
    )


def test_replicas_on_a_cpu_share_its_memory_and_gpus_have_their_own(tmp_path, monkeypatch):
    folder = scenes_of(tmp_path, (64, 64, 64))
    needed = []
    monkeypatch.setattr(checks, "check_grid", lambda *given: needed.append(given[3]))
    for on_gpu in (False, True):
        monkeypatch.setattr(checks, "computes_on_gpu", lambda on_gpu=on_gpu: on_gpu)
        check(folder, "occupied", 0.5, num_replicas=2)
    assert needed[0] == 2 * needed[1]
