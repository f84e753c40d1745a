"""Tests of how programs start, fail and show progress, each in a process of its own."""

import subprocess
import sys
import textwrap

import pytest

PROGRAM = '''
"""Adds up numbers."""

from absl import flags, logging

from mtml_tf import program

_COUNT = flags.DEFINE_integer("count", None, "how many")
_DO = flags.DEFINE_string("do", "", "what else to do")


def main() -> None:
    logging.info("counting")
    exec(_DO.value)
    print(sum(program.progress(range(_COUNT.value), "numbers")))


if __name__ == "__main__":
    program.run(main, required=["count"])
'''


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "adds.py"
    path.write_text(textwrap.dedent(PROGRAM).lstrip())

    def start(*arguments):
        command = [sys.executable, str(path), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return start


def test_results_go_to_stdout_and_the_log_to_stderr(run):
    done = run("--count=4")
    assert (done.returncode, done.stdout) == (0, "6\n")
    assert "counting" in done.stderr


def test_verbosity_silences_the_log(run):
    assert run("--count=4", "--verbosity=-1").stderr == ""


@pytest.mark.parametrize("flag", ["--help", "--helpshort", "--helpfull", "-?"])
def test_help_names_the_program_and_its_flags_and_exits_0(run, flag):
    done = run(flag)
    assert done.returncode == 0
    assert "Adds up numbers." in done.stdout
    assert "--count: how many" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "adds.py: --count is required; --helpfull"),
        (["--count="], "--count"),
        (["rest"], "found 'rest'; --count is required; --helpfull"),
        (["--count=many"], "many"),
        (["--count=1", "--cuont=2"], "Unknown command line flag 'cuont'"),
        (["--count=1", "rest"], "expected flags only (--name=value), found 'rest'"),
        (["--flagfile=nowhere.cfg"], "adds.py: nowhere.cfg: expected a file of flags, found: No"),
        (["--flagfile=/bin/sh"], "expected a file of flags in UTF-8, found"),
    ],
)
def test_wrong_usage_exits_2(run, arguments, sentence):
    done = run(*arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "--helpfull lists the flags" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_number_may_be_zero_and_still_is_given(run):
    assert run("--count=0").stdout == "0\n"


def test_flags_come_from_a_flagfile(run, tmp_path):
    (tmp_path / "a.cfg").write_text("# a comment\n--count=5\n")
    assert run(f"--flagfile={tmp_path}/a.cfg").stdout == "10\n"


@pytest.mark.parametrize(
    ("do", "sentence"),
    [
        ("raise ValueError('a.ply: expected 3, found 2')", "error: a.ply: expected 3, found 2"),
        ("open('nowhere.txt')", "nowhere.txt"),
        ("raise MemoryError", "error: MemoryError"),
        ("import not_installed", "not_installed"),
        (
            "raise OSError(5, 'Input/output error', '/data/a')",
            "error: /data/a: expected a disk that works, found that it fails (Input/output error); "
            "mend it or its mount and start again",
        ),
        (  # as TensorFlow tells it
            "raise type('E', (Exception,), {'__module__': 'tensorflow.errors'})("
            "'/data/a; No space left on device')",
            "error: /data/a: expected room to write it, found the disk full; make room and start "
            "again",
        ),
    ],
)
def test_a_failure_is_told_in_one_sentence(run, do, sentence):
    done = run("--count=1", f"--do={do}", "--verbosity=0")
    assert (done.returncode, done.stdout) == (1, "")
    assert sentence in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_verbosity_1_adds_the_traceback(run):
    done = run("--count=1", "--do=raise ValueError('wrong')", "--verbosity=1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_a_mistake_in_the_program_is_not_hidden(run):
    done = run("--count=1", "--do=raise TypeError('a bug')")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_an_interruption_exits_1_without_a_traceback(run):
    done = run("--count=1", "--do=raise KeyboardInterrupt")
    assert (done.returncode, done.stdout) == (1, "")
    assert "interrupted" in done.stderr
    assert "Traceback" not in done.stderr


def test_progress_elsewhere_than_a_terminal_is_plain_lines_at_intervals(run):
    # The third second is shown: every second is an interval.
    do = (
        "import itertools; from unittest import mock; "
        "program._INTERVAL_S = 2.0; "
        "program.time = mock.Mock(monotonic=itertools.count(0.0).__next__)"
    )
    done = run("--count=5", f"--do={do}")
    assert done.stdout == "10\n"
    lines = [line for line in done.stderr.splitlines() if "numbers:" in line]
    assert [line.partition("] ")[2] for line in lines] == [
        "numbers: 2 of 5, 3 s left, 1/s",
        "numbers: 4 of 5, 1 s left, 1/s",
    ]
