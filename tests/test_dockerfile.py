"""The Dockerfile as text: what it copies is there, and it installs what the scripts install."""

import configparser
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What `apt-get install python3` gives on the bases that the Dockerfile is for.
PYTHON_OF_BASE = {"debian:12": "3.11", "debian:13": "3.13", "ubuntu:22.04": "3.10"}


def instructions():
    """Returns (name, arguments) of each instruction, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


def arguments(name):
    return [rest for found, rest in instructions() if found == name]


def copied():
    return [source for rest in arguments("COPY") for source in rest.split()[:-1]]


def test_every_source_that_is_copied_is_there_and_not_kept_out():
    sources = copied()
    assert len(sources) == len(set(sources)) > 5
    ignored = (ROOT / ".dockerignore").read_text().split()
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source not in ignored


def test_all_that_the_package_is_built_from_is_copied_before():
    config = (ROOT / "setup.cfg").read_text()
    named = set(re.findall(r"file: *(\S+)", config)) | {"LICENSE", "setup.cfg", "pyproject.toml"}
    assert named <= set(copied())
    order = [name + " " + rest for name, rest in instructions()]
    build = next(i for i, line in enumerate(order) if line.endswith("-e ."))
    assert build > max(i for i, line in enumerate(order) if line.startswith("COPY"))


def test_the_system_packages_are_those_of_the_setup_script():
    (install,) = [rest for rest in arguments("RUN") if "apt-get install" in rest]
    listed = re.search(r"--no-install-recommends (.*?)&&", install).group(1).split()
    script = (ROOT / "tools" / "setup_venv.sh").read_text()
    libraries = re.search(r"for package in (.*?); do", script).group(1).split()
    python = re.search(r"install_packages (python3 .*?) \|\|", script).group(1).split()
    assert sorted(listed) == sorted([*python, *libraries])


def test_the_base_has_a_python_that_the_package_takes():
    base = next(rest for rest in arguments("ARG") if rest.startswith("BASE="))
    name = base.removeprefix("BASE=").removesuffix("-slim")
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    low, high = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", config["options"]["python_requires"]).groups()
    minor = int(PYTHON_OF_BASE[name].removeprefix("3."))
    assert int(low) <= minor < int(high)


def test_requirements_are_installed_with_their_constraints():
    (install,) = [rest for rest in arguments("RUN") if "-r requirements.txt" in rest]
    assert install.endswith("-c constraints.txt")


def test_it_runs_programs_as_an_ordinary_user():
    names = [name for name, _ in instructions()]
    (user,) = arguments("USER")
    assert any(f"useradd --create-home {user}" in rest for rest in arguments("RUN"))
    assert names.index("USER") > max(i for i, name in enumerate(names) if name == "RUN")
    assert arguments("ENTRYPOINT") == ['["python", "-m"]']


def test_the_gpu_build_takes_the_tensorflow_of_the_requirements():
    text = (ROOT / "Dockerfile").read_text()
    pinned = re.search(r"^tensorflow==(\S+); python_version < ", _requirements(), re.MULTILINE)
    if pinned is None:
        pytest.fail("requirements.txt: no TensorFlow for the base's Python")
    assert f'TENSORFLOW="tensorflow[and-cuda]=={pinned.group(1)}"' in text


def _requirements():
    return (ROOT / "requirements.txt").read_text()
