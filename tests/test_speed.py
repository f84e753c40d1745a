"""Tests of experiments.speed.benchmark and its parts: the benchmark itself, on cases of no size."""

import collections
import csv
import dataclasses
import functools
import math
import pathlib
import re
import time

import numpy as np
import pytest

from experiments.speed import (
    benchmark,
    blocks,
    feeding,
    growth,
    measuring,
    network,
    plain,
    processing,
)
from experiments.speed.measuring import (
    Contest,
    Row,
    Target,
    added_mebibytes,
    encode_csv,
    encode_rows,
    format_number,
    interleaved_seconds,
    memory_of_contest,
    time_contest,
)
from experiments.speed.scenes import (
    RoomSize,
    make_directions,
    make_embedding,
    make_room,
    make_scan,
    voxel_scene_of,
)
from mtml_tf import timing
from mtml_tf.backend import tf
from mtml_tf.classes import SCANNET20
from mtml_tf.config import DataConfig, LossConfig
from mtml_tf.data.records import DataFolder, write_data_folder
from mtml_tf.network.losses import MultiTaskLoss
from mtml_tf.scans.voxels import voxelize

TINY = RoomSize((16, 16, 8), channels=20, occupancy=0.2, num_objects=3)


class Clock:
    """In place of the module `time`: goes on only while somebody sleeps, or at every look."""

    def __init__(self, tick=0.0):
        self.now, self.tick = 0.0, tick

    def perf_counter(self):
        self.now += self.tick
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    """The clock of what times calls."""
    clock = Clock()
    monkeypatch.setattr(measuring, "time", clock)
    return clock


def build_nothing():
    return lambda: None


def build_filling(mebibytes):
    return lambda: np.ones(mebibytes << 20, np.uint8)


def test_a_ratio_is_the_others_value_by_ours():
    assert Row("a", "b", ours=2.0, plain=12.0).ratio == 6.0
    assert Row("a", "b", ours=2.0).ratio is None
    assert Row("a", "b", ours=0.0, plain=1.0).ratio == math.inf


@pytest.mark.parametrize(
    ("target", "ours", "plain", "holds"),
    [
        (Target(6), 1.0, 6.0, True),
        (Target(6), 1.0, 5.9, False),
        (Target(6), 1.0, None, False),
        (Target(0.8, "at most"), 0.8, 100.0, True),
        (Target(0.8, "at most"), 0.81, 100.0, False),
        (Target(0.99, "at least"), 0.99, None, True),
        (Target(0.99, "at least"), 0.98, None, False),
        (Target(0.99, "at least"), math.nan, None, False),
        (Target(1e-5, "at most"), math.nan, None, False),
        (None, 1.0, 6.0, None),
    ],
)
def test_a_target_bounds_the_ratio_or_our_value(target, ours, plain, holds):
    assert Row("a", "b", ours=ours, plain=plain, target=target).holds is holds


def test_numbers_have_three_digits():
    numbers = [0.0, 1.234e-6, 0.0123456, 0.8, 12.345, 999.4, 1234.5, math.inf]
    texts = ["0", "1.2e-06", "0.0123", "0.8", "12.3", "999", "1234", "inf"]
    assert [format_number(number) for number in numbers] == texts


def test_the_table_tells_values_ratio_target_and_verdict():
    rows = [
        Row("forward", "small", 0.2, 1.3, target=Target(6), beside="against Keras", repeats=3),
        Row("forward, memory added", "small", 30.0, 90.0, unit="MiB", target=Target(4)),
        Row("difference", "small", 2e-7, unit="", target=Target(1e-5, "at most")),
        Row("voxelization", "small", 0.5),
    ]
    assert encode_rows(rows).splitlines() == [
        "| what | case | plain | ours | ratio | target | verdict | beside |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| forward | small | 1.3 s | 0.2 s | 6.5 x | at least 6 x | holds | against Keras |",
        "| forward, memory added | small | 90 MiB | 30 MiB | 3 x | at least 4 x | missed |  |",
        "| difference | small |  | 2e-07 |  | at most 1e-05 | holds |  |",
        "| voxelization | small |  | 0.5 s |  |  |  |  |",
    ]
    table = list(csv.DictReader(encode_csv(rows).splitlines()))
    assert float(table[0]["ratio"]) == 1.3 / 0.2
    assert (table[0]["repeats"], table[0]["verdict"], table[3]["plain"]) == ("3", "holds", "")


def test_calls_take_turns_after_a_warm_up():
    called = []
    calls = {name: functools.partial(called.append, name) for name in "ab"}
    seconds = interleaved_seconds(calls, repeats=3, max_seconds=60)
    assert "".join(called) == "ab" * 4
    assert [len(values) for values in seconds.values()] == [3, 3]


def test_without_time_left_one_round_is_made():
    called = []
    calls = {"a": functools.partial(called.append, "a")}
    seconds = interleaved_seconds(calls, repeats=3, max_seconds=0, warm_up=False)
    assert called == ["a"]
    assert len(seconds["a"]) == 1


def test_a_contest_gives_the_medians_and_what_both_sides_returned(clock):
    contest = Contest("sleep", "briefly", lambda: lambda: "us", lambda: lambda: "them", "others")
    row, plain, ours = time_contest(contest, repeats=2, max_seconds=60)
    assert (plain, ours) == ("them", "us")
    assert (row.repeats, row.beside) == (2, "against others")
    contest = Contest(
        "sleep",
        "long",
        lambda: functools.partial(clock.sleep, 1),
        lambda: functools.partial(clock.sleep, 4),
    )
    row, _, _ = time_contest(contest, repeats=3, max_seconds=60)
    assert (row.ours, row.plain, row.ratio, row.repeats) == (1, 4, 4, 3)


def test_no_round_begins_after_the_time_is_up(clock):
    calls = {name: functools.partial(clock.sleep, 10) for name in "ab"}
    seconds = interleaved_seconds(calls, repeats=9, max_seconds=50)
    assert seconds == {"a": [10, 10], "b": [10, 10]}  # after 20 s of warm-up


def test_a_contest_without_an_opponent_has_no_ratio():
    row, plain, _ = time_contest(Contest("a", "b", lambda: lambda: 1), 1, 60)
    assert plain is None
    assert row.plain is None
    assert row.ratio is None


def test_memory_added_is_that_of_the_call():
    assert 190 < added_mebibytes(functools.partial(build_filling, 200)) < 230
    assert added_mebibytes(build_nothing) < 10


def test_memory_is_sampled_where_the_kernels_peak_cannot_be_reset(monkeypatch):
    def refuse(*_, **__):
        raise PermissionError

    monkeypatch.setattr("pathlib.Path.write_text", refuse)

    def build():
        def call():
            filled = np.ones(200 << 20, np.uint8)
            time.sleep(0.1)
            return filled

        return call

    assert 190 < added_mebibytes(build) < 230


def test_memory_is_measured_in_processes_of_their_own():
    held = np.ones(400 << 20, np.uint8)  # what this process holds has no influence

    def filling(mebibytes):  # of NumPy's own functions, which a process imports quickly
        return functools.partial(functools.partial, np.ones, mebibytes << 20, np.uint8)

    row = memory_of_contest(Contest("fill", "much", filling(100), filling(300)))
    assert held[0]
    assert 2.4 < row.ratio < 3.3
    assert (row.what, row.unit) == ("fill, memory added", "MiB")


@pytest.mark.parametrize(
    "size",
    [
        TINY,
        *benchmark.Sizes().rooms,
        *(benchmark.Sizes().growth.room(factor) for factor in growth.BY_SIZE),
        *(benchmark.Sizes().growth.fuller_room(factor) for factor in growth.BY_OCCUPANCY),
        *(benchmark.QUICK.growth.room(factor) for factor in growth.BY_SIZE),
        *(benchmark.QUICK.growth.fuller_room(factor) for factor in growth.BY_OCCUPANCY),
    ],
)
def test_a_room_has_as_many_voxels_as_asked_for(size):
    room = make_room(size)
    assert len(room.coordinates) == round(math.prod(size.grid_shape) * size.occupancy)
    assert len(np.unique(room.coordinates, axis=0)) == len(room.coordinates)
    assert (room.coordinates >= 0).all()
    assert (room.coordinates < size.grid_shape).all()
    assert room.channels.min() == 0
    assert room.channels.max() < size.channels
    assert len(np.unique(room.instance_ids)) > 3
    # Surfaces: floor and walls belong to no object.
    assert not room.instance_ids[room.channels < 2].any()


def test_a_room_too_empty_for_its_floor_is_refused():
    with pytest.raises(ValueError, match=r"16 x 16 x 8, .*: expected at least"):
        make_room(dataclasses.replace(TINY, occupancy=0.01))


def test_a_scan_of_a_room_voxelizes_to_the_room():
    scene = voxel_scene_of(make_room(TINY), SCANNET20, 0.1)
    scan = make_scan(scene, 3000)
    assert len(scan.vertices) == 3000
    again = voxelize(scan, 0.1, SCANNET20, origin=np.zeros(3))
    np.testing.assert_array_equal(again.coordinates, scene.coordinates)
    np.testing.assert_array_equal(again.semantic_ids, scene.semantic_ids)


def test_made_up_clusters_lie_apart():
    clusters = np.arange(3000) % 10
    embedding = make_embedding(clusters)
    middles = np.stack([np.median(embedding[clusters == label], axis=0) for label in range(10)])
    gaps = np.linalg.norm(middles[:, None] - middles, axis=2)[np.triu_indices(10, 1)]
    assert gaps.min() > 2
    assert embedding.dtype == np.float32


def test_made_up_directions_point_to_the_middles():
    coordinates = np.array([[0, 0, 0], [10, 0, 0], [5, 0, 0]], np.int32)
    directions = make_directions(coordinates, np.array([1, 1, 1]))
    np.testing.assert_allclose(directions, [[1, 0, 0], [-1, 0, 0], [0, 0, 0]], atol=0.9)
    assert directions[0, 0] > 0 > directions[1, 0]


def test_the_looped_loss_and_its_gradients_equal_ours():
    rng = np.random.default_rng(0)
    ids = tf.constant(rng.integers(0, 5, 200), tf.int32)
    coordinates = tf.constant(rng.integers(0, 20, (200, 3)), tf.int32)
    embedding = tf.constant(rng.normal(size=(200, 4)), tf.float32)
    direction = tf.constant(rng.normal(size=(200, 3)), tf.float32)
    config = LossConfig(gamma_reg=0.5)
    layer = MultiTaskLoss(config)

    @tf.function
    def both():
        sources = [embedding, direction]
        with tf.GradientTape() as plain_tape, tf.GradientTape() as our_tape:
            plain_tape.watch(sources)
            our_tape.watch(sources)
            looped = plain.looped_loss(*sources, coordinates, ids, config)
            ours = network.joint_loss(layer, *sources, coordinates, ids)
        return looped, ours, plain_tape.gradient(looped, sources), our_tape.gradient(ours, sources)

    looped, ours, of_plain, of_ours = both()
    assert float(looped) != 0
    np.testing.assert_allclose(looped, ours, rtol=1e-5)
    for theirs, mine in zip(of_plain, of_ours, strict=True):
        theirs, mine = tf.convert_to_tensor(theirs).numpy(), tf.convert_to_tensor(mine).numpy()
        np.testing.assert_allclose(theirs, mine, atol=1e-6 * np.abs(theirs).max())


def test_arithmetic_is_counted_from_the_shapes():
    size = RoomSize((2, 2, 2), channels=20, occupancy=0.5)
    # Half width, products and sums; the 8 voxels of the stem, then the single one of half the size.
    full = 27 * 8 * 16 + 27 * 16 * 16 + 8 * 16
    half = 27 * 16 * 32 + 27 * 32 * 32 + 16 * 32 + 2 * 27 * 32 * 32 + 4 * 27 * 32 * 32
    assert network.middle_flop(size) == 2 * (8 * full + half)
    # 4 voxels: taps of the stem; 8 of `up` with the head's first layer folded in; the rest.
    assert network.occupied_flop(size) == 4 * (343 * 8 + 2 * 8 * 128 * 64 + 2 * (64 * 64 + 64 * 7))


def test_both_networks_have_the_same_values_and_a_wrong_one_is_noticed():
    contest = network.forward_contest(TINY)
    _, plain, ours = time_contest(contest, 1, 60)
    assert 0 < network.difference_of_values(TINY, plain, ours).ours < 1e-5
    wrong = {**ours, "embedding": ours["embedding"] + 0.1}
    assert not network.difference_of_values(TINY, plain, wrong).holds


def test_a_training_step_lowers_the_loss():
    call = network.build_training_step("ours", TINY)
    losses = [float(call()) for _ in range(5)]
    assert losses[-1] < losses[0]


def test_every_variant_of_ours_is_measured():
    contests = network.variant_contests(TINY)
    assert [contest.what for contest in contests] == [
        "forward, bfloat16",
        "forward, backward and Adam, bfloat16",
        "forward, backward and Adam, recomputed",
        "forward, backward and Adam, bfloat16, recomputed",
    ]
    _, plain, ours = time_contest(contests[0], 1, 60)
    row = network.difference_of_variant(contests[0], plain, ours)
    assert row.what == "forward, bfloat16, difference"
    assert 0 < row.ours < 0.05
    assert network.difference_of_variant(contests[0], plain, plain).ours == 0


def test_quick_sections_run_and_their_table_is_written_once(tmp_path):
    settings = benchmark.Settings(
        only=("mean_shift", "voxelize", "score"), repeats=1, sizes=benchmark.QUICK
    )
    text = benchmark.benchmark(settings, str(tmp_path / "out"))
    assert (tmp_path / "out" / "benchmark.md").read_text() == text
    table = list(csv.DictReader((tmp_path / "out" / "benchmark.csv").read_text().splitlines()))
    verdicts = {row["what"]: row["verdict"] for row in table}
    assert verdicts["scores, difference"] == "holds"
    assert verdicts["mean shift, adjusted Rand index, bandwidth 1.0"] == "holds"
    assert "Small cases" in text
    assert all(float(row["ours"]) >= 0 for row in table)
    with pytest.raises(ValueError, match=r"benchmark\.md: exists already; .* --overwrite"):
        benchmark.benchmark(settings, str(tmp_path / "out"))


def test_the_whole_path_writes_masks_and_tells_its_stages(tmp_path, monkeypatch):
    clock = Clock(tick=1.0)
    monkeypatch.setattr(processing, "time", clock)
    monkeypatch.setattr(timing, "time", clock)
    size = RoomSize((24, 24, 12), occupancy=0.12, num_objects=3)
    file = tmp_path / "room.ply"
    processing.write_made_scan(size, 0.1, 2000, file)
    target = Target(2, "at most")
    rows = processing.path_rows(
        processing.WholePath(str(file), 0.1), "tiny", repeats=1, target=target
    )
    assert (rows[0].what, rows[0].target) == ("scan file to masks on disk", target)
    stages = [row.what.removeprefix("of which ") for row in rows[1:]]
    assert stages[:3] == ["read the scan", "voxelize", "network"]
    assert stages[-2:] == ["write the masks", timing.OTHER]
    # Nothing is left out but looks at the clock: before the first stage and after the last.
    assert sum(row.ours for row in rows[1:]) == rows[0].ours - 2
    assert min(row.ours for row in rows[1:]) >= 1
    assert "first took" in rows[0].beside


def test_growth_is_told_relative_to_the_smallest_case(clock):
    calls = {n: (f"{n} s", functools.partial(clock.sleep, n)) for n in (1, 4)}
    rows = growth.grown_rows("sleep", calls, repeats=1, max_seconds=60)
    assert [row.what for row in rows] == ["sleep x 1", "sleep x 4"]
    assert rows[0].beside == "1 times the time of x 1"
    assert rows[1].beside == "4 times the time of x 1"
    assert [row.ours for row in rows] == [1, 4]


def test_every_section_has_rows(tmp_path, monkeypatch):
    """All but `memory`, whose processes take a minute; every comparison once, at the least size."""
    for factors in ("BY_SIZE", "BY_INSTANCES"):
        monkeypatch.setattr(growth, factors, (1, 2))
    monkeypatch.setattr(growth, "BY_OCCUPANCY", (1,))
    monkeypatch.setattr(
        benchmark, "memory_of_contest", lambda contest, _: Row("memory", contest.case, 1.0)
    )
    variants = network.variant_contests
    monkeypatch.setattr(network, "variant_contests", lambda size: variants(size)[:1])
    rows = benchmark.run(
        benchmark.Settings(
            only=tuple(name for name in benchmark.SECTIONS if name != "memory"),
            repeats=1,
            sizes=dataclasses.replace(benchmark.QUICK, rooms=benchmark.QUICK.rooms[:2]),
        )
    )
    assert all(np.isfinite(row.ours) and row.ours >= 0 for row in rows)
    counts = collections.Counter(
        re.sub(r" x \d|, bandwidth.*|of which .*", "", row.what) for row in rows
    )
    assert counts["forward"] == counts["forward, difference"] == 2
    assert counts["gradients, difference of the worst variable"] == 2
    assert counts["forward, bfloat16"] == counts["forward, bfloat16, difference"] == 1
    assert counts["forward, share of the matrix-multiply rate"] == 2
    assert counts["scan file to masks on disk"] == 1
    grown = [what for what, count in counts.items() if what.endswith(("voxels", "vertices"))]
    assert {counts[what] for what in grown} == {2}
    assert len(grown) == 6
    assert counts["forward, occupancy"] == 1
    assert len(counts) > 25


def test_unknown_sections_and_a_run_without_scenes_are_refused():
    with pytest.raises(ValueError, match=r"expected sections among forward, .*, found speed"):
        benchmark.Settings(only=("speed",))
    with pytest.raises(ValueError, match=r"runs/rooms: expected a data folder .* --data_dir"):
        benchmark.Settings(run_dir="runs/rooms")
    benchmark.Settings(data_dir="data/rooms")


def test_the_programs_help_names_the_sections():
    program = pathlib.Path(benchmark.__file__).parents[2] / "tools" / "benchmark.py"
    text = re.sub(r'"\s*"', "", program.read_text(encoding="utf-8"))
    (names,) = re.findall(r"Sections to measure, all by default: (.*?)\.", text)
    assert names.split(", ") == list(benchmark.SECTIONS)


@pytest.mark.parametrize(
    "build",
    [
        functools.partial(network.build_forward, size=TINY),
        functools.partial(network.build_training_step, size=TINY),
        functools.partial(network.build_loss, num_voxels=300, num_instances=3),
        functools.partial(processing.build_mean_shift, given=benchmark.QUICK.features),
        functools.partial(processing.build_voxelization, size=TINY, num_vertices=2000),
        functools.partial(processing.build_scoring, folder="none"),
        functools.partial(blocks.build_prediction, size=TINY),
    ],
)
def test_a_side_of_an_unknown_name_is_refused(build):
    with pytest.raises(ValueError, match=r"expected a side among .*ours.*, found 'our'"):
        build("our")


def test_prediction_in_blocks_gives_the_values_of_the_whole():
    contest = blocks.blocks_contest(benchmark.QUICK.blocks_room)
    assert contest.what == "prediction in 2 blocks"
    assert contest.case.endswith("blocks of 152 x 80 x 8 and less")
    whole, in_blocks = contest.plain()(), contest.ours()()
    assert blocks.difference_of_blocks(contest, whole, in_blocks).holds
    wrong = (in_blocks[0], in_blocks[1] + 0.1)
    assert not blocks.difference_of_blocks(contest, whole, wrong).holds
    with pytest.raises(ValueError, match="expected a room larger than the halo"):
        blocks.blocks_contest(TINY)


def test_the_training_pipeline_is_fed_made_up_or_given_scenes(tmp_path):
    folder = tmp_path / "rooms"
    feeding.write_made_rooms(folder, 3, 16, 0.2)
    shapes = [scene.grid_shape for scene in DataFolder(folder).scenes("train")]
    assert len(set(shapes)) == 3
    settings = benchmark.Settings(
        ("pipeline",), 1, sizes=benchmark.QUICK, data_dir=str(folder), split="none"
    )
    rows = benchmark.run(settings)
    assert [(row.what, row.unit) for row in rows] == [
        ("training pipeline, flips and rotations", "scenes/s"),
        ("training pipeline, flips", "scenes/s"),
        ("voxels padded, flips and rotations, bucket_scenes 16", "%"),
        ("voxels padded, flips, bucket_scenes 16", "%"),
    ]
    assert {row.case for row in rows} == {"3 scenes of split train, 2 a batch"}
    assert all(row.ours > 0 for row in rows)
    made_up = benchmark.run(dataclasses.replace(settings, data_dir=""))
    assert {row.case for row in made_up} == {"4 scenes of split train, 2 a batch"}


def test_scenes_a_second_are_scenes_by_seconds(tmp_path, clock, monkeypatch):
    feeding.write_made_rooms(tmp_path / "rooms", 2, 16, 0.2)
    scenes = feeding.Scenes(str(tmp_path / "rooms"), "train", num_steps=6)
    monkeypatch.setattr(
        feeding,
        "build_feeding",
        lambda _, rotations: functools.partial(clock.sleep, 3 if rotations else 2),
    )
    rows = feeding.feeding_rows(scenes, 1, 60)
    assert [row.ours for row in rows[:2]] == [4, 6]  # 12 scenes


def test_padding_is_what_a_batch_has_beyond_its_scenes(tmp_path):
    rooms = [make_room(dataclasses.replace(TINY, grid_shape=s)) for s in ((16, 20, 8), (20, 16, 8))]
    scenes = [
        (dataclasses.replace(voxel_scene_of(room, SCANNET20, 0.1), name=f"room_{number}"), None)
        for number, room in enumerate(rooms)
    ]
    write_data_folder(tmp_path / "rooms", SCANNET20, {"val": scenes})
    given = feeding.Scenes(str(tmp_path / "rooms"), "val", num_steps=1)
    config = DataConfig(batch_size=2, rotations=False)
    # Two grids of 20 x 20 x 8 for two of 16 x 20 x 8.
    assert feeding.padded_percent(given, config) == pytest.approx(25)
    alone = DataConfig(batch_size=1, rotations=False)
    assert feeding.padded_percent(given, alone) == 0


def test_clusters_from_every_point_tell_how_far_scikit_learn_is_from_itself(tmp_path):
    path = tmp_path / "features.npy"
    np.save(path, make_embedding(np.arange(300) % 4))
    given = processing.Features(path=str(path))
    binned, ours = (processing.build_mean_shift(side, given)() for side in ("plain", "ours"))
    rows = processing.spread_rows(given, binned, ours)
    assert len(rows) == len(processing.BANDWIDTHS)
    assert all(0.9 < row.ours <= 1 and 0.9 < row.plain <= 1 for row in rows)
    assert "against its own binned seeds" in rows[0].beside
    wrong = [np.zeros(300, int)] * len(rows)
    assert processing.spread_rows(given, binned, wrong)[0].ours == 0


def test_a_missing_plain_scoring_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(processing, "REFERENCE", tmp_path / "none.py")
    with pytest.raises(ValueError, match=r"none\.py: expected the plain scoring of the tests"):
        processing.plain_scoring()


def test_a_machines_name_makes_a_folders_name():
    assert benchmark.slug("AMD EPYC (tm) 7, 2 cores") == "amd-epyc-tm-7-2-cores"
    assert benchmark.machine()
