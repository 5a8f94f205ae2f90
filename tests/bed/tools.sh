#!/usr/bin/env bash
# Builds what checks deploy/ and the matchers, and prints the folder it lies in. Costs nothing when it is there already.
#
#   kustomize          as people run it
#   amtool             of an Alertmanager with both parsers of matchers; Debian's has the classic one only
#   crds/              the CustomResourceDefinitions of Prometheus' operator, as published
#   dashboard-check    reads a Grafana dashboard by Grafana's own schema, strictly
#
# Apart from build.sh: what is changed here does not build the control plane anew.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=tools.versions
source tools.versions

cache=${BACKOUT_TESTBED:-${HOME:?HOME or BACKOUT_TESTBED must be set}/.cache/backout-testbed}
hash=$(cat tools.versions tools.sh dashboard-check/go.mod dashboard-check/go.sum dashboard-check/*.go | sha256sum | cut -c1-16)
tools=$cache/tools-$hash
say() { echo "tools for deploy/: $*" >&2; }

if [ ! -e "$tools/complete" ]; then
    command -v go >/dev/null || { say "Go is needed and was not found in PATH: https://go.dev/dl"; exit 1; }
    mkdir -p "$cache"
    # One builder at a time: a second one finds the result.
    exec 9>"$cache/tools.lock"
    command -v flock >/dev/null && flock 9
fi
if [ ! -e "$tools/complete" ]; then
    find "$cache" -maxdepth 1 -name 'new-tools.*' -mmin +120 -exec rm -rf {} +
    new=$(mktemp -d "$cache/new-tools.XXXXXX")
    trap 'rm -rf "$new"' EXIT
    export GOFLAGS="${GOFLAGS:-} -buildvcs=false -trimpath" CGO_ENABLED=0

    say "fetching the definitions of Prometheus' operator $PROMETHEUS_OPERATOR"
    # `go mod download` needs a folder without a go.mod of its own.
    module=$(cd "$new" && go mod download -json "github.com/prometheus-operator/prometheus-operator@v$PROMETHEUS_OPERATOR")
    folder=$(sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p' <<<"$module")
    mkdir "$new/crds"
    for kind in servicemonitors prometheusrules alertmanagerconfigs; do
        cp "$folder/example/prometheus-operator-crd/monitoring.coreos.com_$kind.yaml" "$new/crds/"
    done
    chmod u+w "$new"/crds/*

    say "building kustomize $KUSTOMIZE, amtool $AMTOOL and dashboard-check (some minutes, once)"
    (cd dashboard-check && go build -mod=readonly -ldflags "-s -w" -o "$new/dashboard-check" .)
    GOBIN=$new go install -ldflags "-s -w" "github.com/prometheus/alertmanager/cmd/amtool@v$AMTOOL"
    GOBIN=$new go install -ldflags "-s -w" "sigs.k8s.io/kustomize/kustomize/v5@v$KUSTOMIZE"

    touch "$new/complete"
    rm -rf "$tools"
    mv "$new" "$tools"
    trap - EXIT
    say "ready: $tools"
fi
echo "$tools"
