#!/usr/bin/env bash
# Checks format, lint and types, and runs all tests; makes the environment first where it lacks.
# Arguments go to pytest: bash tools/test.sh -k voxels. VENV and PYTHON: see tools/setup_venv.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export PATH # in an empty environment it is bash's own only
bash tools/setup_venv.sh --dev
python="${VENV:-.venv}/bin/python"
# More workers than four gain little: each imports TensorFlow first.
workers="$(nproc)"
[ "$workers" -le 4 ] || workers=4

stage() {
    echo "== $*" >&2
    "$python" -m "$@"
}
stage ruff format --check .
stage ruff check .
stage mypy
stage pytest -q -n "$workers" --dist loadfile --no-loadscope-reorder "$@"
