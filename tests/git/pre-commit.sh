#!/usr/bin/env bash
# Runs pre-commit, which it installs when it is not there.
#
#   tests/git/pre-commit.sh [ARGUMENT...]
#   tests/git/pre-commit.sh --where    the folder that holds the program, and nothing is run
#
# Needs python3 with venv, and PyPI the first time; every version is in tests/git/requirements.txt.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

venv=$("$here/../bed/venv.sh" pre-commit "$here/requirements.txt")

if [ "${1:-}" = --where ]; then
    echo "$venv/bin"
    exit
fi
exec "$venv/bin/pre-commit" "$@"
