"""Tests of experiments.kills and experiments.disk_faults, on a program that takes no time."""

import random
import textwrap

import pytest

from experiments import disk_faults, four_programs, kills
from experiments.four_programs import Ended, Found, Program

WRITES = """
import pathlib, sys, time

output = pathlib.Path(sys.argv[1].partition("=")[2])
output.mkdir(exist_ok=True)
for number in range(8):
    path = output / f"{number}.txt"
    if path.exists():
        continue
    new = path if CARELESS else path.with_suffix(".new")
    with new.open("w") as file:
        file.write("half")
        file.flush()
        time.sleep(0.02)
        file.write(" and half")
    new.replace(path)
"""


def read(folder):
    parts = {path.name: path.read_text() for path in folder.glob("*.txt")}
    if set(parts.values()) - {"half and half"}:
        raise ValueError(f"{folder}: expected two halves")
    return Found(len(parts), parts)


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.setattr(four_programs, "_PRELOADED", ("experiments.four_programs",))

    def victim(careless):
        script = tmp_path / "writes.py"
        script.write_text(textwrap.dedent(WRITES).replace("CARELESS", str(careless)))
        before, whole = tmp_path / "before", tmp_path / "whole"
        before.mkdir()
        (before / "0.txt").write_text("half and half")
        program = Program("writes", (str(script),), "output_dir", read, before, whole)
        assert program.start(whole).status == 0
        return program

    return victim


def test_a_program_that_writes_carefully_survives(make, tmp_path):
    count = kills.try_program(make(careless=False), tmp_path / "try", 6, 2, random.Random(0))
    assert (len(count.shares), count.lost, count.broken, count.faults) == (6, 0, 0, [])
    assert count.same == count.ends >= 3
    assert count.row("writes")[-1] == f"{count.same} of {count.ends}"


def test_a_program_that_writes_carelessly_does_not(make, tmp_path):
    count = kills.try_program(make(careless=True), tmp_path / "try", 6, 2, random.Random(0))
    assert len(count.shares) == 6
    assert count.broken > 0
    assert count.same < count.ends
    assert len(count.faults) == count.broken + count.ends - count.same


def test_what_was_there_and_is_gone_is_counted(tmp_path):
    count, whole = kills.Count(), Found(3, {"a": "1"})
    victim = Program("reads", (), "", lambda _: Found(1, {"a": "2"}), tmp_path, tmp_path)
    assert kills.check(victim, tmp_path, 2, whole, count) == 1
    assert (count.lost, count.broken) == (1, 1)
    assert count.faults == [
        "reads: a is another than undisturbed",
        "reads: 2 were done, 1 are left",
    ]


def test_moments_come_by_time_or_by_changes_of_files():
    whole = Ended(0, 4.0, 10, "")
    by_time = by_change = 0
    for seed in range(40):
        moment = kills.draw_moment(whole, random.Random(seed))
        if moment(4.0, 0):
            by_time += 1
        else:
            assert not moment(9.0, 0)
            moment(9.0, 10)
            assert moment(9.02, 10)
            by_change += 1
    assert min(by_time, by_change) > 10


@pytest.mark.parametrize(
    ("status", "told", "good"),
    [
        (1, "log\nerror: a: expected b\n", True),
        (0, "error: a: expected b\n", False),
        (1, "error: a: expected b\nmore\n", False),
        (1, "Traceback (most recent call last):\nerror: a: expected b\n", False),
        (1, "", False),
    ],
)
def test_a_failure_is_told_in_the_last_line_alone(status, told, good):
    assert disk_faults.is_one_sentence(Ended(status, 1.0, 1, told)) == good
