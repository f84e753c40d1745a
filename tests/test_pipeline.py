"""Tests of mtml_tf.data.pipeline."""

import dataclasses

import numpy as np
import pytest
from scenes import CLASSES, NUM_FEATURES, batch_of, box_scene, write_folder

from mtml_tf.backend import tf
from mtml_tf.config import DataConfig
from mtml_tf.data import pipeline, records
from mtml_tf.data.pipeline import (
    Share,
    batch_of_one,
    largest_grid,
    make_dataset,
    num_channels,
    training_scenes,
)
from mtml_tf.data.records import DataFolder, RecordEntry
from mtml_tf.data.writing import write_data_folder

PLAIN = DataConfig(batch_size=1, flips=False, rotations=False)
FULL = DataConfig(batch_size=2, origins=True, bucket_scenes=3, seed=3)
SIZES = [(12, 16, 8), (16, 12, 8), (14, 14, 10), (12, 12, 8), (16, 16, 8)]
SCENES = [box_scene(seed, grid_shape=size) for seed, size in enumerate(SIZES)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five training scenes that differ in their number of voxels, and three for validation."""
    path = tmp_path_factory.mktemp("pipeline") / "data"
    assert len({len(scene.coordinates) for scene in SCENES}) == 5
    val = [box_scene(seed) for seed in (10, 11, 12)]
    return DataFolder(write_folder(path, train=SCENES, val=val, one=SCENES[:1]))


@pytest.fixture(scope="module")
def featured(tmp_path_factory):
    """Two scenes with feature vectors."""
    scenes = [box_scene(seed, with_features=True) for seed in (20, 21)]
    return DataFolder(write_folder(tmp_path_factory.mktemp("featured") / "data", val=scenes))


def take(dataset, count):
    return [{k: v.numpy() for k, v in batch.items()} for batch in dataset.take(count)]


def assert_same_batches(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert set(a) == set(b)
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def names_in(batch):
    """Which training scenes a batch of unaugmented scenes holds, told by their voxels."""
    names = []
    for coordinates, ids in zip(batch["coordinates"], batch["instance_ids"], strict=True):
        real = coordinates[:, 0] >= 0
        (name,) = (
            scene.name
            for scene in SCENES
            if np.array_equal(scene.coordinates, coordinates[real])
            and np.array_equal(scene.instance_ids, ids[real])
        )
        names.append(name)
    return names


# --- What a batch is ---------------------------------------------------------------------------


def test_batches_are_padded_scenes_in_order(folder):
    config = DataConfig(batch_size=2)
    batches = take(make_dataset(folder, "val", config, training=False), -1)
    scenes = list(folder.scenes("val"))
    assert [len(batch["coordinates"]) for batch in batches] == [2, 1]
    for batch, members in zip(batches, (scenes[:2], scenes[2:]), strict=True):
        expected = batch_of(members)
        longest = expected["coordinates"].shape[1]
        expected["instance_ids"] = np.stack(
            [np.pad(s.instance_ids, (0, longest - len(s.instance_ids))) for s in members]
        )
        padding = expected["coordinates"][..., 0] < 0
        expected["true_channels"] = np.where(padding, -2, expected["channels"])
        assert_same_batches([batch], [expected])


def test_types_are_as_told(folder, featured):
    for split, training in (("train", True), ("val", False)):
        spec = make_dataset(folder, split, FULL, training=training).element_spec
        described = {k: (v.dtype.name, v.shape.as_list()) for k, v in spec.items()}
        assert described == {
            "coordinates": ("int32", [None, None, 3]),
            "instance_ids": ("int32", [None, None]),
            "true_channels": ("int32", [None, None]),
            "grid_shape": ("int32", [None, 3]),
            "channels": ("int32", [None, None]),
        }
    spec = make_dataset(featured, "val", FULL).element_spec
    assert "channels" not in spec
    assert spec["features"].shape.as_list() == [None, None, NUM_FEATURES]
    assert spec["features"].dtype == "float32"


def test_augmented_batches_keep_to_the_rules(folder):
    """Even grids that hold all voxels; padding rows at the end of shorter scenes."""
    for batch in take(make_dataset(folder, "train", FULL), 10):
        assert (batch["grid_shape"] % 2 == 0).all()
        assert (batch["grid_shape"] >= 2).all()
        rows = zip(
            *(batch[name] for name in ("coordinates", "channels", "grid_shape")), strict=True
        )
        lengths = []
        for coordinates, channels, grid_shape in rows:
            count = int((coordinates[:, 0] >= 0).sum())
            lengths.append(count)
            assert (coordinates[:count] >= 0).all()
            assert (coordinates[:count] < grid_shape).all()
            assert (coordinates[count:] == -1).all()
            assert (channels[:count] >= 0).all()
            assert (channels[count:] == -1).all()
        assert max(lengths) == batch["coordinates"].shape[1]
        assert (batch["instance_ids"][batch["coordinates"][..., 0] < 0] == 0).all()


def test_features_are_passed_on(folder, featured):
    config = DataConfig(batch_size=2)
    (batch,) = take(make_dataset(featured, "val", config, training=False), -1)
    expected = batch_of(list(featured.scenes("val")))
    np.testing.assert_array_equal(batch["features"], expected["features"])
    assert "channels" not in batch
    vectors, labels = (next(data.scenes("val")) for data in (featured, folder))
    assert num_channels(vectors, CLASSES) == NUM_FEATURES
    assert num_channels(labels, CLASSES) == len(CLASSES)


def test_unlabelled_voxels_have_channel_minus_1(tmp_path):
    scene = box_scene(0)
    semantic_ids = np.where(np.arange(len(scene.semantic_ids)) % 3 == 0, 0, scene.semantic_ids)
    scene = dataclasses.replace(scene, semantic_ids=semantic_ids.astype(np.int32))
    data = DataFolder(write_folder(tmp_path / "data", val=[scene]))
    (batch,) = take(make_dataset(data, "val", PLAIN, training=False), -1)
    np.testing.assert_array_equal(batch["channels"][0] == -1, semantic_ids == 0)
    np.testing.assert_array_equal(batch["channels"][0], CLASSES.channels_of(semantic_ids))


@pytest.mark.parametrize("training", [True, False])
def test_scenes_without_instances_have_instance_0_everywhere(tmp_path, training):
    """Beside one that has instances, with every augmentation."""
    scenes = [dataclasses.replace(SCENES[0], instance_ids=None), SCENES[1]]
    path = tmp_path / "data"
    write_data_folder(path, CLASSES, {"val": [(scene, None) for scene in scenes]})
    for batch in take(make_dataset(path, "val", FULL, training=training), 3 if training else -1):
        assert batch["instance_ids"].shape == batch["coordinates"].shape[:2]
        assert sorted(batch["instance_ids"].any(axis=1)) == [False, True]


def test_a_folder_is_taken_by_its_path_too(folder):
    by_path = take(make_dataset(str(folder.path), "val", PLAIN, training=False), -1)
    assert_same_batches(by_path, take(make_dataset(folder, "val", PLAIN, training=False), -1))


@pytest.mark.parametrize("kind", ["folder", "featured"])
def test_a_batch_of_one_is_what_the_dataset_gives(kind, request):
    folder = request.getfixturevalue(kind)
    batches = take(make_dataset(folder, "val", PLAIN, training=False), -1)
    for scene, batch in zip(folder.scenes("val"), batches, strict=True):
        for of_truth in ("instance_ids", "true_channels"):
            del batch[of_truth]
        found = {k: v.numpy() for k, v in batch_of_one(scene, CLASSES).items()}
        assert_same_batches([found], [batch])
        assert {k: v.dtype for k, v in found.items()} == {k: v.dtype for k, v in batch.items()}


# --- Order -------------------------------------------------------------------------------------


def test_every_scene_comes_once_an_epoch_in_an_order_of_its_own(folder):
    batches = take(make_dataset(folder, "train", PLAIN), 20)
    epochs = [
        [name for batch in batches[start : start + 5] for name in names_in(batch)]
        for start in (0, 5, 10, 15)
    ]
    for epoch in epochs:
        assert sorted(epoch) == [scene.name for scene in SCENES]
    assert len({tuple(epoch) for epoch in epochs}) > 1


@pytest.mark.parametrize("bucket_scenes", [1, 3])
def test_names_of_a_step_are_those_of_its_batch(folder, bucket_scenes):
    """With batches that reach from one epoch into the next."""
    config = dataclasses.replace(PLAIN, batch_size=2, seed=7, bucket_scenes=bucket_scenes)
    entries = folder.entries("train")
    for step, batch in enumerate(take(make_dataset(folder, "train", config), 8)):
        assert names_in(batch) == training_scenes(entries, config, step)


def test_one_scene_comes_again_and_again(folder):
    batches = take(make_dataset(folder, "one", PLAIN), 3)
    assert [names_in(batch) for batch in batches] == [["scene_000"]] * 3


def test_number_of_steps(folder):
    assert len(take(make_dataset(folder, "train", FULL, num_steps=3), -1)) == 3
    assert len(take(make_dataset(folder, "train", FULL, first_step=4, num_steps=3), -1)) == 3
    assert len(take(make_dataset(folder, "train", FULL), 30)) == 30


def test_scenes_of_like_size_share_a_batch_and_batches_come_in_any_order():
    """In each run of `bucket_scenes` examples; every scene still comes once an epoch.

    12 to 15 voxels along x come before 16 to 23, from the longest along y to the shortest and back.
    With 11 scenes an epoch every other one begins amid a batch.
    """
    sizes = [
        (12, 16),
        (14, 14),
        (12, 12),
        (16, 12),
        (16, 14),
        (16, 16),
        *((n, 9) for n in (24, 32)),
    ]
    sizes += [(n, 9) for n in (40, 48, 56)]
    names = [f"room_{place:02d}" for place in range(11)]
    entries = [
        RecordEntry(names[i], "", 0, 0, (*sizes[i], 8), 0)
        for i in (3, 9, 0, 5, 1, 7, 10, 2, 4, 8, 6)
    ]

    def in_order(bucket_scenes):
        config = dataclasses.replace(PLAIN, batch_size=2, seed=7, bucket_scenes=bucket_scenes)
        return [name for step in range(22) for name in training_scenes(entries, config, step)]

    plain, found = in_order(1), in_order(6)
    assert plain != found
    firsts = []
    for epoch in range(0, 44, 11):
        assert sorted(found[epoch : epoch + 11]) == names
        for start, stop in ((epoch, epoch + 6), (epoch + 6, epoch + 11)):  # the last is shorter
            run = sorted(plain[start:stop])
            assert sorted(found[start:stop]) == run
            batches = [
                run.index(found[i]) for i in range(start, stop) if i % 2 == 0 and i + 1 < stop
            ]
            for place, first in zip(range(start + start % 2, stop, 2), batches, strict=False):
                assert found[place : place + 2] == run[first : first + 2]
            firsts.append(batches)
    assert any(batches != sorted(batches) for batches in firsts)
    assert any(batches == sorted(batches) for batches in firsts)


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rotations": True},
        {"origins": True},
        {"rotations": True, "origins": True},
        {"rotations": True, "origins": True, "stretch": 0.15, "warp": 0.05},
        {"crop": 12},
        {"rotations": True, "crop": 13},
    ],
)
def test_no_batch_has_a_larger_grid_than_what_memory_is_checked_for(tmp_path, batch_size, changes):
    """Nor one of much fewer voxels: training would be refused that memory allows."""
    sizes = [(40, 6, 8), (6, 30, 9), (20, 20, 7)]
    scenes = [box_scene(seed, grid_shape=size) for seed, size in enumerate(sizes)]
    folder = DataFolder(write_folder(tmp_path / "data", train=scenes))
    config = dataclasses.replace(PLAIN, batch_size=batch_size, **changes)
    largest = np.array(largest_grid(folder.entries("train"), config, scenes[0].voxel_size).shape)
    grids = np.array(
        [
            batch["grid_shape"].numpy().max(axis=0)
            for batch in make_dataset(folder, "train", config, num_steps=60)
        ]
    )
    assert grids.prod(axis=1).max() <= largest.prod()
    assert grids.prod(axis=1).max() > 0.35 * largest.prod()
    assert (largest % 2 == 0).all()


def test_little_is_padded_where_shapes_vary():
    """Sorting by the number of voxels, as good as equal here, would leave the random order's share.

    Of five shapes from long to wide, two that are not the same share a grid of at least 1.5 times
    the voxels; 64 scenes of five shapes have at most four such batches in 32.
    """
    shapes = [(24, 96, 16), (32, 72, 16), (48, 48, 16), (72, 32, 16), (96, 24, 16)]
    assert len({np.prod(shape) for shape in shapes}) == 1
    shape_of = {f"room_{i}": shapes[i % 5] for i in range(64)}
    entries = [RecordEntry(name, "", 0, 0, shape, 0) for name, shape in shape_of.items()]

    def padded(bucket_scenes):
        config = dataclasses.replace(PLAIN, batch_size=2, bucket_scenes=bucket_scenes)
        batches = (training_scenes(entries, config, step) for step in range(32))
        grids = np.array([[shape_of[name] for name in batch] for batch in batches])
        return 2 * grids.max(axis=1).prod(axis=1).sum() / grids.prod(axis=2).sum() - 1

    assert padded(1) > 0.5
    assert padded(64) < 0.1


# --- Replicas ----------------------------------------------------------------------------------


def test_shares_of_a_step_are_its_scenes_as_one_process_sees_them(folder, monkeypatch):
    """Two processes of two replicas each, in steps of four scenes; nobody reads another's."""
    config = dataclasses.replace(FULL, batch_size=4)

    def scenes_in(batches):
        found = []
        for batch in batches:
            for coordinates, ids in zip(batch["coordinates"], batch["instance_ids"], strict=True):
                rows = coordinates[:, 0] >= 0
                found.append((coordinates[rows].tobytes(), ids[rows].tobytes()))
        return sorted(found)

    whole = take(make_dataset(folder, "train", config, num_steps=3), -1)
    read, original = [], records._read_record
    monkeypatch.setattr(
        records, "_read_record", lambda path, entry: read.append(entry) or original(path, entry)
    )
    shares = [
        take(make_dataset(folder, "train", config, num_steps=3, share=Share(4, first, 2)), -1)
        for first in (0, 2)
    ]
    assert [len(share) for share in shares] == [6, 6]
    for step, batch in enumerate(whole):
        of_step = [part for share in shares for part in share[2 * step : 2 * step + 2]]
        assert scenes_in(of_step) == scenes_in([batch])
    assert len(read) == 2 + 3 * 4  # each process looks at the first scene once


def test_replicas_get_about_as_many_voxels():
    counts = [100, 200, 300, 400, 500, 600, 700, 800]
    entries = [RecordEntry(f"s{i}", "", 0, 0, (8, 8, 8), n) for i, n in enumerate(counts)]
    config = dataclasses.replace(PLAIN, batch_size=8)
    names = training_scenes(entries, config, 1)
    total = dict(zip(names, (int(name[1:]) * 100 + 100 for name in names), strict=True))
    hands = [pipeline._deal(tf.constant(1, tf.int64), entries, config, Share(2, i)) for i in (0, 1)]
    dealt = [[names[int(example) - 8] for example in hand] for hand in hands]
    assert sorted(dealt[0] + dealt[1]) == sorted(names)
    assert [sum(total[name] for name in hand) for hand in dealt] == [1800, 1800]


# --- The same again ----------------------------------------------------------------------------


def test_equal_seeds_give_equal_batches(folder):
    first, second = (take(make_dataset(folder, "train", FULL), 6) for _ in range(2))
    assert_same_batches(first, second)


def test_another_seed_gives_another_order_and_another_augmentation(folder):
    first = take(make_dataset(folder, "train", FULL), 6)
    other = take(make_dataset(folder, "train", dataclasses.replace(FULL, seed=4)), 6)
    pairs = zip(first, other, strict=True)
    same = [np.array_equal(a["coordinates"], b["coordinates"]) for a, b in pairs]
    assert not any(same)
    entries = folder.entries("train")
    orders = {
        tuple(
            name
            for step in range(5)
            for name in training_scenes(entries, dataclasses.replace(PLAIN, seed=seed), step)
        )
        for seed in range(5)
    }
    assert len(orders) > 1


def test_a_scene_is_augmented_anew_in_every_epoch(folder):
    config = DataConfig(batch_size=1)
    batches = take(make_dataset(folder, "one", config), 4)
    assert len({batch["coordinates"].tobytes() for batch in batches}) == 4


@pytest.mark.parametrize("first_step", [1, 2, 3, 7])
def test_starting_later_is_the_same_as_skipping(folder, first_step):
    whole = take(make_dataset(folder, "train", FULL), first_step + 3)
    later = take(make_dataset(folder, "train", FULL, first_step=first_step), 3)
    assert_same_batches(later, whole[first_step:])


def test_validation_is_never_augmented(folder):
    first, second = (
        take(make_dataset(folder, "val", dataclasses.replace(FULL, seed=seed), training=False), -1)
        for seed in (0, 1)
    )
    assert_same_batches(first, second)
