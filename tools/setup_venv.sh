#!/usr/bin/env bash
# Makes or completes the virtual environment: bash tools/setup_venv.sh [--dev]
#
# Does nothing where everything is installed already. Environment variables:
#   VENV    folder of the environment, default .venv
#   PYTHON  interpreter to make it with, default the first of Python 3.11, 3.12, 3.13, 3.10 found
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# In an empty environment bash finds commands by a default path that its children don't see.
export PATH
venv="${VENV:-.venv}"
requirements=(-r requirements.txt)
if [ "${1:-}" = "--dev" ]; then
    requirements+=(-r requirements-dev.txt)
elif [ $# -gt 0 ]; then
    echo "usage: bash tools/setup_venv.sh [--dev]" >&2
    exit 2
fi

say() { echo "setup: $*" >&2; }

# Installs Debian packages as root; otherwise says what to type.
install_packages() {
    local command="apt-get update && apt-get install -y --no-install-recommends $*"
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        say "needs the system packages $*; as root type: $command"
        return 1
    fi
    say "installing the system packages $*"
    apt-get update -qq >&2 || say "apt-get update failed; trying with the package lists at hand"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# Open3D loads these libraries when it is imported; training and scoring do without.
install_libraries() {
    command -v dpkg-query >/dev/null || return 0
    local package missing=()
    for package in libusb-1.0-0 libgl1 libegl1 libx11-6; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "ok installed" ||
            missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}" ||
        say "going on without ${missing[*]}; drawing and simulated scanning need them"
}

# Whether an interpreter is Python 3.10 to 3.13 and can make virtual environments (on Debian
# ensurepip comes with python3-venv).
suits() {
    "$1" -c 'import sys, venv, ensurepip
sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3.10 python3 python}; do
        if suits "$candidate"; then
            echo "$candidate"
            return 0
        fi
    done
    return 1
}

make_venv() {
    local python
    if ! python="$(find_python)"; then
        [ -n "${PYTHON:-}" ] || install_packages python3 python3-venv || true
        if ! python="$(find_python)"; then
            say "expected Python 3.10 to 3.13 with its venv module, found none in" \
                "${PYTHON:-the search path}"
            exit 1
        fi
    fi
    say "making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
}

install_libraries
# An environment that was cut off while it was made has no working pip; it is made anew.
if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    if [ -n "$(ls -A "$venv" 2>/dev/null)" ] && [ ! -e "$venv/pyvenv.cfg" ]; then
        say "$venv: expected a virtual environment, found something else; move it away"
        exit 1
    fi
    make_venv
fi

# The path is part of the stamp because the editable install points to it.
stamp="$venv/.installed${1:-}"
digest="$( (pwd && cat requirements*.txt constraints.txt setup.cfg pyproject.toml) | sha256sum)"
if [ ! -e "$stamp" ] || [ "$(cat "$stamp")" != "$digest" ]; then
    say "installing Python packages into $venv (about 1 GB to load, some minutes)"
    pip=("$venv/bin/python" -m pip --disable-pip-version-check --no-input install --quiet)
    "${pip[@]}" "${requirements[@]}" -c constraints.txt
    "${pip[@]}" --no-deps --no-build-isolation -e .
    echo "$digest" | tee "$stamp" >"$venv/.installed"
fi
