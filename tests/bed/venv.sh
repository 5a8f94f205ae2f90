#!/usr/bin/env bash
# Makes a Python environment of a list of requirements where it is not there, once for all who ask, and prints its folder.
#
#   tests/bed/venv.sh NAME REQUIREMENTS
#
# Needs python3 with venv, and PyPI the first time; every version is in the list.
set -euo pipefail
name=$1 requirements=$2

cache=${BACKOUT_TESTBED:-$HOME/.cache/backout-testbed}
venv=$cache/$name-$(sha256sum "$requirements" | cut -c1-12)
mkdir -p "$cache"
(
    # Two tests may want it at once.
    flock 9
    if [ ! -e "$venv/complete" ]; then
        command -v python3 >/dev/null || { echo "$name: python3 is needed (Debian: python3-venv)" >&2; exit 1; }
        rm -rf "$venv"
        python3 -m venv "$venv"
        "$venv/bin/pip" install --quiet --no-deps --requirement "$requirements"
        touch "$venv/complete"
    fi
) 9>"$cache/$name.lock" >&2
echo "$venv"
