"""What oneDNN, and the CPU's instructions, are worth: our network in processes of their own.

TensorFlow and oneDNN read their settings from the environment when they are loaded.
"""

import concurrent.futures
import functools
import multiprocessing
import os

from experiments.speed.measuring import Build, Call, Contest
from experiments.speed.scenes import RoomSize

_ON_THE_CPU = {"CUDA_VISIBLE_DEVICES": "-1"}
# What ours is measured against, and the variables that make it.
OTHERS = {
    "without oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "with AVX2 only": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
}

_built: list[Call] = []  # in the other process


def onednn_contests(size: RoomSize) -> list[Contest]:
    """Forward pass and training step of a room: as the package sets it, against the others."""
    from experiments.speed.network import build_forward, build_training_step

    builds = {"forward": build_forward, "forward, backward and Adam": build_training_step}
    return [
        Contest(
            f"{what}, {other}",
            str(size),
            build_elsewhere(functools.partial(build, "ours", size), _ON_THE_CPU),
            build_elsewhere(functools.partial(build, "ours", size), _ON_THE_CPU | environment),
            "our own network as it is",
        )
        for what, build in builds.items()
        for other, environment in OTHERS.items()
    ]


def build_elsewhere(build: Build, environment: dict[str, str]) -> Build:
    """Returns a build whose call runs in a process of its own, with these variables set."""

    def elsewhere() -> Call:
        executor = concurrent.futures.ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn"), _set_variables, (environment,)
        )
        executor.submit(_build, build).result()
        return lambda: executor.submit(_call).result()

    return elsewhere


def _set_variables(environment: dict[str, str]) -> None:
    os.environ.update(environment)


def _build(build: Build) -> None:
    _built.append(build())


def _call() -> None:
    _built[0]()
