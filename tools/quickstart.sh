#!/usr/bin/env bash
# The main job end to end on the toy scenes: make them, train for a few minutes, predict, score,
# and print the result beside the paper's Table 1. What is there already is kept, so a second run
# prints the same within seconds. VENV and PYTHON: see tools/setup_venv.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export PATH # in an empty environment it is bash's own only
bash tools/setup_venv.sh
work_dir=runs/quickstart
"${VENV:-.venv}/bin/python" -m experiments.table1 --quick --data_dir=data/toy --work_dir="$work_dir"

echo
echo "The table above is $PWD/$work_dir/table1.md (and .csv)."
pictures="$(find "$work_dir" -name '*.png' | sort)"
if [ -n "$pictures" ]; then
    echo "Pictures of test scenes (labels, truth, prediction):"
    echo "$pictures"
fi
echo "To start afresh, move $work_dir away."
