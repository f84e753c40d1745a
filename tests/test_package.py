"""Tests of the package as a whole: its public names, and what starting it imports."""

import pathlib
import subprocess
import sys

import pytest

import mtml_tf

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAMS = [
    *(
        ["-m", f"mtml_tf.{path.stem}"]
        for path in sorted(ROOT.glob("mtml_tf/*.py"))
        if "program.run(" in path.read_text() and path.stem != "program"
    ),
    *([str(path.relative_to(ROOT))] for path in sorted(ROOT.glob("tools/*.py"))),
    *(
        ["-m", f"experiments.{path.stem}"]
        for path in sorted(ROOT.glob("experiments/*.py"))
        if "program.run(" in path.read_text()
    ),
]
HEAVY = ("tensorflow", "keras", "open3d", "sklearn", "matplotlib")


def python(*arguments):
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("module", ["mtml_tf", "mtml_tf.evaluate", "mtml_tf.evaluate_semantic"])
def test_starting_imports_nothing_heavy(module):
    code = f"import sys, {module}; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    run = python("-c", code)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "\n"


def test_every_public_name_is_there():
    for name in mtml_tf.__all__:
        assert callable(getattr(mtml_tf, name)), name
    assert set(mtml_tf.__all__) == set(mtml_tf._MODULES)
    assert set(mtml_tf.__all__) <= set(dir(mtml_tf))


def test_a_name_that_is_not_there_is_named():
    with pytest.raises(AttributeError, match="module 'mtml_tf' has no attribute 'segmnt'"):
        _ = mtml_tf.segmnt


def test_the_version_is_three_numbers():
    assert [part.isdecimal() for part in mtml_tf.__version__.split(".")] == [True] * 3


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program[-1])
def test_every_program_answers_for_help_and_refuses_unknown_flags(program):
    helped = python(*program, "--helpfull")
    assert helped.returncode == 0, helped.stderr
    assert "--flagfile" in helped.stdout
    assert "Traceback" not in helped.stderr
    wrong = python(*program, "--no_such_flag=1")
    assert wrong.returncode == 2, wrong.stderr
    assert "no_such_flag" in wrong.stderr
    assert "Traceback" not in wrong.stderr
