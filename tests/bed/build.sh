#!/usr/bin/env bash
# Builds what the tests run against and prints the folder it lies in. Costs nothing when it is there already.
#
#   tests/bed/build.sh          build if needed, print the folder
#   tests/bed/build.sh --where  print the folder only, whether it exists or not
#
# The folder's name is a hash of all that goes in, under ${BACKOUT_TESTBED:-~/.cache/backout-testbed}.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=versions
source bed/versions

cache=${BACKOUT_TESTBED:-${HOME:?HOME or BACKOUT_TESTBED must be set}/.cache/backout-testbed}
hash=$(cat bed/versions bed/build.sh testplane/go.mod testplane/go.sum testplane/*.go | sha256sum | cut -c1-16)
bed=$cache/$hash
if [ "${1:-}" = --where ]; then
    echo "$bed"
    exit
fi

say() { echo "test bed: $*" >&2; }

# Complete, and what it links to in the system is still there.
complete() { [ -e "$bed/complete" ] && [ -x "$bed/prometheus" ] && [ -x "$bed/prometheus-alertmanager" ]; }

# Programs of Debian packages, linked when they are installed, else taken out of the packages: an
# installed package would start a service that listens on every address.
from_debian() { # FOLDER PACKAGE...
    local to=$1 missing=() package
    shift
    for package in "$@"; do
        if command -v "$package" >/dev/null; then
            ln -sf "$(command -v "$package")" "$to/$package"
        else
            missing+=("$package")
        fi
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
        say "needed and not in PATH: ${missing[*]} (the programs are called like Debian's packages); install them, then run this again"
        return 1
    fi
    say "fetching from Debian: ${missing[*]}"
    (
        mkdir "$to/debian" && cd "$to/debian"
        if ! apt-get download -qq "${missing[@]}" 2>apt.log; then
            if [ "$(id -u)" = 0 ]; then
                apt-get update -qq >>apt.log 2>&1
            fi
            apt-get download -qq "${missing[@]}" 2>>apt.log || {
                cat apt.log >&2
                say "could not be fetched; as root: apt-get update && apt-get install --no-install-recommends ${missing[*]}"
                exit 1
            }
        fi
        for package in *.deb; do
            dpkg-deb -x "$package" . && rm "$package"
        done
        cd .. && for package in "${missing[@]}"; do
            ln -sf "debian/usr/bin/$package" "$package"
        done
    )
}

if ! complete; then
    if ! command -v go >/dev/null; then
        say "Go $GO_MINIMUM or newer is needed to build the control plane and was not found in PATH"
        say "get it from https://go.dev/dl/ or your distribution, then run this again"
        exit 1
    fi
    found=$(GOTOOLCHAIN=local go env GOVERSION)
    if [ "$(printf '%s\n' "$GO_MINIMUM" "${found#go}" | sort -V | head -1)" != "$GO_MINIMUM" ] &&
        [ "$(go env GOTOOLCHAIN)" = local ]; then
        say "Go $GO_MINIMUM or newer is needed, found ${found#go}"
        exit 1
    fi

    mkdir -p "$cache"
    # One builder at a time: a second one finds the result.
    exec 9>"$cache/lock"
    command -v flock >/dev/null && flock 9
fi
if ! complete; then
    # Whatever a killed build left.
    find "$cache" -maxdepth 1 -name 'new.*' -mmin +120 -exec rm -rf {} +
    new=$(mktemp -d "$cache/new.XXXXXX")
    trap 'rm -rf "$new"' EXIT
    export GOFLAGS="${GOFLAGS:-} -buildvcs=false -trimpath"

    from_debian "$new" prometheus prometheus-alertmanager

    say "building the control plane, Kubernetes $KUBERNETES (the first time about 4 minutes on 2 cores)"
    stamp=-X\ k8s.io/component-base/version.gitVersion=v$KUBERNETES\ -X\ k8s.io/client-go/pkg/version.gitVersion=v$KUBERNETES
    # Without the stamp the server names no version, and clients that parse it fail.
    (cd testplane && CGO_ENABLED=0 go build -mod=readonly -ldflags "-s -w $stamp" -o "$new/testplane" .)

    say "building Alertmanager $ALERTMANAGER"
    GOBIN=$new CGO_ENABLED=0 go install -ldflags "-s -w -X github.com/prometheus/common/version.Version=$ALERTMANAGER" \
        "github.com/prometheus/alertmanager/cmd/alertmanager@v$ALERTMANAGER"

    touch "$new/complete"
    rm -rf "$bed"
    mv "$new" "$bed"
    trap - EXIT
    say "ready: $bed"
fi
echo "$bed"
