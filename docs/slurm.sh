#!/usr/bin/env bash
# Trains on all GPUs of several machines under Slurm, one worker a machine. Flags go to the training:
#
#   sbatch --nodes=4 docs/slurm.sh --flagfile=experiments/scans.cfg --data_dir=data/mine --run_dir=runs/mine --batch_size=64
#
# Cut off by the time limit or with a machine, it is queued again and goes on from its checkpoint.
# Environment variables: PYTHON, default .venv/bin/python; PORT of the workers, default 23456;
# RESTARTS at most, default 20.
#
#SBATCH --job-name=mtml_tf
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
# SIGTERM to the workers a minute before the end: they save a checkpoint, and end.
#SBATCH --signal=TERM@60
set -euo pipefail

workers="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed "s/.*/\"&:${PORT:-23456}\"/" | paste -sd,)"
export CLUSTER="{\"worker\": [$workers]}" PYTHON="${PYTHON:-.venv/bin/python}"
status=0
# Each task knows its own number only.
srun bash -c '
    export TF_CONFIG="{\"cluster\": $CLUSTER, \"task\": {\"type\": \"worker\", \"index\": $SLURM_PROCID}}"
    exec "$PYTHON" -m mtml_tf.train --strategy=multiworker "$@"' worker "$@" || status=$?

# 0 done, 2 wrong flags; with anything else the same command may go on.
if [ "$status" -ne 0 ] && [ "$status" -ne 2 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt "${RESTARTS:-20}" ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
