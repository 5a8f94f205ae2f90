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

if [ ! -e "$bed/complete" ]; then
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
if [ ! -e "$bed/complete" ]; then
    # Whatever a killed build left.
    find "$cache" -maxdepth 1 -name 'new.*' -mmin +120 -exec rm -rf {} +
    new=$(mktemp -d "$cache/new.XXXXXX")
    trap 'rm -rf "$new"' EXIT
    export GOFLAGS="${GOFLAGS:-} -buildvcs=false -trimpath"

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
