"""Tests of docs/slurm.sh and docs/kubernetes.yaml, with stand-ins for the clusters."""

import json
import os
import pathlib
import subprocess
import textwrap

import pytest

EXAMPLES = pathlib.Path(__file__).resolve().parent.parent / "docs"
STAND_INS = {
    "scontrol": 'if [ "$1" = show ]; then echo node-a; echo node-b; else echo "$@"; fi',
    "srun": 'SLURM_PROCID=1 "$@"',
    "python": 'echo "$TF_CONFIG"; echo "$@"; exit "${STATUS:-0}"',
}
TASK = {"type": "worker", "index": 1}


@pytest.fixture
def run(tmp_path):
    """Runs a script with its arguments, where the commands of `STAND_INS` stand for the cluster."""
    for name, text in STAND_INS.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (tmp_path / name).chmod(0o755)

    def run(*arguments, **environment):
        return subprocess.run(
            ["bash", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}", **environment},
        )

    return run


SLURM = {"SLURM_JOB_NODELIST": "node-[a-b]", "SLURM_JOB_ID": "7", "PYTHON": "python"}


def test_slurm_starts_workers_that_know_one_another(run):
    done = run(str(EXAMPLES / "slurm.sh"), "--run_dir=my run", **SLURM)
    assert done.returncode == 0, done.stderr
    config, command = done.stdout.splitlines()
    cluster = {"worker": ["node-a:23456", "node-b:23456"]}
    assert json.loads(config) == {"cluster": cluster, "task": TASK}
    assert command == "-m mtml_tf.train --strategy=multiworker --run_dir=my run"


@pytest.mark.parametrize(
    ("status", "restarts", "again"), [("1", "0", True), ("1", "20", False), ("2", "0", False)]
)
def test_slurm_queues_again_what_was_cut_off(run, status, restarts, again):
    done = run(str(EXAMPLES / "slurm.sh"), **SLURM, STATUS=status, SLURM_RESTART_COUNT=restarts)
    assert done.returncode == int(status)
    assert ("requeue 7" in done.stdout) == again


def test_kubernetes_starts_workers_that_know_one_another(run):
    text = (EXAMPLES / "kubernetes.yaml").read_text()
    script = textwrap.dedent(
        text.partition("            - |\n")[2].partition("          resources")[0]
    )
    done = run("-c", script, WORKERS="2", JOB_COMPLETION_INDEX="1")
    assert done.returncode == 0, done.stderr
    config, command = done.stdout.splitlines()
    cluster = {"worker": ["mtml-0.mtml:23456", "mtml-1.mtml:23456"]}
    assert json.loads(config) == {"cluster": cluster, "task": TASK}
    assert command.startswith("-m mtml_tf.train --strategy=multiworker ")
