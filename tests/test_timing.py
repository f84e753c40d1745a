"""Tests of mtml_tf.timing."""

import time
import types

import pytest

from mtml_tf import timing


def test_stages_add_up_while_somebody_records(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(timing, "time", types.SimpleNamespace(perf_counter=lambda: now[0]))
    with timing.recording() as seconds:
        with timing.stage("work"):
            now[0] += 0.5
        now[0] += 8.0  # in no stage
        with timing.stage("nothing"):
            pass
        with timing.stage("work"):
            now[0] += 0.25
    assert seconds == {"work": 0.75, "nothing": 0.0, timing.OTHER: 8.0}
    assert list(seconds) == ["work", "nothing", timing.OTHER]


def test_stages_are_told_in_seconds():
    start = time.perf_counter()
    with timing.recording() as seconds, timing.stage("sleep"):
        time.sleep(0.02)
    assert 0.02 <= seconds["sleep"] <= time.perf_counter() - start


def test_outside_a_recording_nothing_is_kept():
    with timing.recording() as seconds:
        pass
    with timing.stage("late"):
        pass
    assert list(seconds) == [timing.OTHER]


def test_a_stage_that_fails_is_timed_too():
    with (
        timing.recording() as seconds,
        pytest.raises(ValueError, match="no"),
        timing.stage("failing"),
    ):
        raise ValueError("no")
    assert "failing" in seconds


def test_the_table_sets_the_first_scene_apart():
    scenes = [{"read": 3.0}, {"read": 1.0, "write": 0.5}, {"read": 2.0}]
    assert timing.encode_table({"imports": 2.5}, scenes) == (
        "| stage | first scene | median of 2 more |\n"
        "| --- | ---: | ---: |\n"
        "| imports (once) | 2.50 | |\n"
        "| read | 3.000 | 1.500 |\n"
        "| write | 0.000 | 0.250 |\n"
        "| a scene in all | 3.000 | 1.750 |\n"
    )


def test_one_scene_has_no_median():
    table = timing.encode_table({}, [{"read": 1.0}])
    assert table.splitlines()[-1] == "| a scene in all | 1.000 |  |"
