#!/usr/bin/env bash
# Runs pre-commit, which it installs when it is not there.
#
#   tests/git/pre-commit.sh [ARGUMENT...]
#   tests/git/pre-commit.sh --where    the folder that holds the program, and nothing is run
#
# Needs python3 with venv, and PyPI the first time; every version is in tests/git/requirements.txt.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

cache=${BACKOUT_TESTBED:-$HOME/.cache/backout-testbed}
venv=$cache/pre-commit-$(sha256sum "$here/requirements.txt" | cut -c1-12)
mkdir -p "$cache"
(
    # Two tests may want it at once.
    flock 9
    if [ ! -e "$venv/complete" ]; then
        command -v python3 >/dev/null || { echo "pre-commit.sh: python3 is needed (Debian: python3-venv)" >&2; exit 1; }
        rm -rf "$venv"
        python3 -m venv "$venv"
        "$venv/bin/pip" install --quiet --no-deps --requirement "$here/requirements.txt"
        touch "$venv/complete"
    fi
) 9>"$cache/pre-commit.lock"

if [ "${1:-}" = --where ]; then
    echo "$venv/bin"
    exit
fi
exec "$venv/bin/pre-commit" "$@"
