#!/usr/bin/env bash
# Builds what ships: one static program for each kind of machine, with nothing to install beside it.
#
#   deploy/build-release.sh                  x86-64 and arm64
#   deploy/build-release.sh x86_64           one of them: x86_64, aarch64
#
# Prints the programs, under target/dist-out/, with their hashes. Needs Rust with rustup, and Python with pip, from which it takes
# zig as the C compiler for every target (into target/release-tools, once). `PROFILE=release` builds faster, for trying this script.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

ZIGLANG=0.15.2
CARGO_ZIGBUILD=0.24.1
PROFILE=${PROFILE:-dist}
OUT=target/dist-out

say() { echo "build-release: $*" >&2; }
fail() { say "$*"; exit 1; }

machines=("$@")
[ ${#machines[@]} -gt 0 ] || machines=(x86_64 aarch64)
for machine in "${machines[@]}"; do
    case $machine in x86_64 | aarch64) ;; *) fail "\`$machine\`: expected x86_64 or aarch64" ;; esac
done
for need in cargo rustup python3; do
    command -v "$need" >/dev/null || fail "\`$need\` is needed and was not found"
done

tools=$PWD/target/release-tools
if [ ! -e "$tools/complete-$ZIGLANG-$CARGO_ZIGBUILD" ]; then
    rm -rf "$tools"
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check "ziglang==$ZIGLANG" "cargo-zigbuild==$CARGO_ZIGBUILD"
    touch "$tools/complete-$ZIGLANG-$CARGO_ZIGBUILD"
fi
export PATH="$tools/bin:$PATH"

mkdir -p "$OUT"
for machine in "${machines[@]}"; do
    target=$machine-unknown-linux-musl
    rustup target list --installed | grep -qx "$target" || rustup target add "$target"
    # Kernels of arm64 have pages of 4, 16 or 64 KiB; jemalloc must know the greatest when it is built.
    if [ "$machine" = aarch64 ]; then
        export JEMALLOC_SYS_WITH_LG_PAGE=16
    else
        unset JEMALLOC_SYS_WITH_LG_PAGE
    fi
    say "building for $target ($PROFILE)"
    cargo zigbuild --locked --bin backout --profile "$PROFILE" --target "$target" >&2
    cp "target/$target/$PROFILE/backout" "$OUT/backout-linux-$machine"
done

# What ships must need nothing of the system that it runs on.
for machine in "${machines[@]}"; do
    program=$OUT/backout-linux-$machine
    headers=$(readelf --program-headers --dynamic "$program")
    ! grep -q INTERP <<<"$headers" || fail "$program asks for a dynamic linker"
    ! grep -q NEEDED <<<"$headers" || fail "$program needs shared libraries"
    if [ "$machine" = "$(uname -m)" ]; then
        env -i "$program" --version >&2
    fi
done
(cd "$OUT" && sha256sum "${machines[@]/#/backout-linux-}" | tee SHA256SUMS)
