"""Tests of experiments.speed.benchmark and its parts: the benchmark itself, on cases of no size."""

import collections
import csv
import dataclasses
import functools
import os
import pathlib
import re

import numpy as np
import pytest
from clock import replace_time

from experiments.speed import (
    benchmark,
    blocks,
    feeding,
    growth,
    measuring,
    network,
    onednn,
    plain,
    processing,
)
from experiments.speed.measuring import Row, time_contest
from experiments.speed.scenes import RoomSize, make_room, voxel_scene_of
from experiments.speed.sizes import QUICK
from mtml_tf.backend import tf
from mtml_tf.classes import SCANNET20
from mtml_tf.config import DataConfig, LossConfig
from mtml_tf.data.records import DataFolder
from mtml_tf.data.writing import write_data_folder
from mtml_tf.network import architecture
from mtml_tf.network.losses import MultiTaskLoss

TINY = RoomSize((16, 16, 8), channels=20, occupancy=0.2, num_objects=3)


@pytest.fixture
def clock(monkeypatch):
    return replace_time(monkeypatch, measuring)


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
            scene = {"embedding": embedding, "direction": direction}
            scene |= {"coordinates": coordinates, "instance_ids": ids}
            ours = network.joint_loss(layer, scene)
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


def test_every_variant_of_ours_is_measured(bfloat16):
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


def test_variants_are_measured_without_bfloat16_where_the_machine_has_none(monkeypatch):
    monkeypatch.setattr(architecture, "_sum_in_bfloat16", lambda: 4096.0)
    (contest,) = network.variant_contests(TINY)
    assert contest.what == "forward, backward and Adam, recomputed"
    row, _, _ = time_contest(contest, 1, 60)
    assert row.what == contest.what


def build_variables():
    environment = dict(os.environ)

    def call():
        assert environment["MTML_TEST"] == "set"

    return call


def test_a_call_elsewhere_has_variables_of_its_own():
    onednn.build_elsewhere(build_variables, {"MTML_TEST": "set"})()()
    other = onednn.build_elsewhere(build_variables, {"MTML_TEST": "other"})()
    with pytest.raises(AssertionError):
        other()
    assert "MTML_TEST" not in os.environ


def test_our_network_is_measured_against_itself_without_onednn():
    contests = onednn.onednn_contests(TINY)
    assert [contest.what for contest in contests] == [
        "forward, without oneDNN",
        "forward, with AVX2 only",
        "forward, backward and Adam, without oneDNN",
        "forward, backward and Adam, with AVX2 only",
    ]
    row, _, _ = time_contest(contests[0], 1, 60)
    assert row.plain > 0
    assert row.ours > 0


def test_quick_sections_run_and_their_table_is_written_once(tmp_path):
    settings = benchmark.Settings(only=("mean_shift", "voxelize", "score"), repeats=1, sizes=QUICK)
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


def test_growth_is_told_relative_to_the_smallest_case(clock):
    calls = {n: (f"{n} s", functools.partial(clock.sleep, n)) for n in (1, 4)}
    rows = growth.grown_rows("sleep", calls, repeats=1, max_seconds=60)
    assert [row.what for row in rows] == ["sleep x 1", "sleep x 4"]
    assert rows[0].beside == "1 times the time of x 1"
    assert rows[1].beside == "4 times the time of x 1"
    assert [row.ours for row in rows] == [1, 4]


def test_every_other_section_has_rows(tmp_path, monkeypatch):
    """All that no other test runs, but those whose processes take a minute; at the least size."""
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
            only=("forward", "train", "variants", "loss", "path", "peak", "growth"),
            repeats=1,
            sizes=dataclasses.replace(QUICK, rooms=QUICK.rooms[:2]),
        )
    )
    assert all(np.isfinite(row.ours) and row.ours >= 0 for row in rows)
    counts = collections.Counter(
        re.sub(r" x \d|, bandwidth.*|of which .*", "", row.what) for row in rows
    )
    assert counts["forward"] == counts["forward, difference"] == 2
    assert counts["gradients, difference of the worst variable"] == 2
    (first,) = network.variant_contests(QUICK.rooms[1])
    assert counts[first.what] == 1
    assert counts[f"{first.what}, difference"] == (first.what == "forward, bfloat16")
    assert counts["forward, share of the matrix-multiply rate"] == 2
    assert counts["scan file to masks on disk"] == 1
    grown = [what for what, count in counts.items() if what.endswith(("voxels", "vertices"))]
    assert {counts[what] for what in grown} == {2}
    assert len(grown) == 6
    assert counts["forward, occupancy"] == 1
    assert len(counts) > 15


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
        functools.partial(processing.build_mean_shift, given=QUICK.features),
        functools.partial(processing.build_voxelization, size=TINY, num_vertices=2000),
        functools.partial(processing.build_scoring, folder="none"),
        functools.partial(blocks.build_prediction, size=TINY),
    ],
)
def test_a_side_of_an_unknown_name_is_refused(build):
    with pytest.raises(ValueError, match=r"expected a side among .*ours.*, found 'our'"):
        build("our")


def test_prediction_in_blocks_gives_the_values_of_the_whole():
    contest = blocks.blocks_contest(QUICK.blocks_room)
    assert contest.what == "prediction in 2 blocks"
    assert contest.case.endswith("blocks of 152 x 80 x 8 and less")
    whole, in_blocks = contest.plain()(), contest.ours()()
    assert blocks.difference_of_blocks(contest, whole, in_blocks).holds
    wrong = in_blocks._replace(direction=in_blocks.direction + 0.1)
    assert not blocks.difference_of_blocks(contest, whole, wrong).holds
    with pytest.raises(ValueError, match="expected a room larger than the halo"):
        blocks.blocks_contest(TINY)


def test_the_training_pipeline_is_fed_made_up_or_given_scenes(tmp_path):
    folder = tmp_path / "rooms"
    feeding.write_made_rooms(folder, 3, 16, 0.2)
    shapes = [scene.grid_shape for scene in DataFolder(folder).scenes("train")]
    assert len(set(shapes)) == 3
    settings = benchmark.Settings(("pipeline",), 1, sizes=QUICK, data_dir=str(folder), split="none")
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


def test_a_machines_name_makes_a_folders_name():
    assert benchmark.slug("AMD EPYC (tm) 7, 2 cores") == "amd-epyc-tm-7-2-cores"
    assert benchmark.machine()
