import csv
import functools
import math
import threading

import numpy as np
import pytest
from clock import replace_time

from experiments.speed import measuring
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


@pytest.fixture
def clock(monkeypatch):
    return replace_time(monkeypatch, measuring)


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

    samples, status_bytes = threading.Semaphore(0), measuring._status_bytes

    def sample(name):
        value = status_bytes(name)
        samples.release()
        return value

    monkeypatch.setattr(measuring, "_status_bytes", sample)

    def build():
        def call():
            filled = np.ones(200 << 20, np.uint8)
            while samples.acquire(blocking=False):  # those taken before
                pass
            for _ in range(2):  # the first may have been under way
                samples.acquire()
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
