#!/usr/bin/env bash
# Tries what the image promises, without an image: the program alone in an empty root that is read-only, as uid 65532, with
# nothing writable but /data, and no /tmp. It must start, answer, write its journal, and end when it is told to. Needs root.
#
#   deploy/try-program.sh target/dist-out/backout-linux-x86_64
#   EMULATOR=/usr/bin/qemu-aarch64-static deploy/try-program.sh target/dist-out/backout-linux-aarch64
#
# EMULATOR: what runs a program of another machine (Debian: qemu-user-static). The memory told is then the emulator's.
set -euo pipefail
program=$(realpath "${1:?the program}")
[ "$(id -u)" = 0 ] || { echo "try-program: needs root, to make a root of its own" >&2; exit 1; }

# In a mount namespace of its own, which takes the mounts with it.
if [ -z "${IN_NAMESPACE:-}" ]; then
    IN_NAMESPACE=1 exec unshare --mount --propagation private "$0" "$program"
fi
root=$(mktemp -d)
# What it logged is told where something went wrong, and goes with the root.
end() {
    code=$?
    [ "$code" = 0 ] || cat "$root/data/log" >&2 || true
    kill "${pid:-}" 2>/dev/null || true
    umount --recursive "$root" 2>/dev/null || true
    rmdir "$root"
    exit "$code"
}
trap end EXIT
mount -t tmpfs -o mode=0755 tmpfs "$root"
mkdir -p "$root/data" "$root/etc/backout/rules"
cp "$program" "$root/backout"
[ -z "${EMULATOR:-}" ] || cp "$EMULATOR" "$root/emulator"
printf 'policies:\n  - name: all\n    decide: [{name: all, page: {}}]\n' >"$root/etc/backout/rules/all.yaml"
printf 'rules: /etc/backout/rules\ndata: /data/journal\nhttp: {listen: "127.0.0.1:0"}\n' >"$root/etc/backout/backout.yaml"
mount -t tmpfs -o mode=0770,uid=0,gid=65532,noexec tmpfs "$root/data"
mount -o remount,ro "$root"

setpriv --no-new-privs chroot --userspec=65532:65532 --groups=65532 "$root" \
    ${EMULATOR:+/emulator} /backout serve --config /etc/backout/backout.yaml >"$root/data/log" 2>&1 &
pid=$!
for _ in $(seq 1 100); do
    [ -s "$root/data/journal/listen" ] && break
    kill -0 "$pid" 2>/dev/null || { cat "$root/data/log" >&2; exit 1; }
    sleep 0.1
done
address=$(cat "$root/data/journal/listen")
curl --silent --fail --noproxy '*' --retry 20 --retry-delay 1 --retry-all-errors "http://$address/-/ready"
curl --silent --fail --noproxy '*' --data '{"version":"4","status":"firing","receiver":"b","alerts":[{"status":"firing","labels":{"alertname":"A"},"startsAt":"2026-01-01T00:00:00Z"}]}' \
    "http://$address/v1/webhook/alertmanager" >/dev/null
grep -E '^(Uid|CapEff|NoNewPrivs)' "/proc/$pid/status"
echo "memory after $((1 + ${SETTLE:-5})) s, kB: $(sleep "${SETTLE:-5}"; awk '/^(VmRSS|RssAnon)/ {printf "%s %s  ", $1, $2}' "/proc/$pid/status")"
kill -TERM "$pid"
wait "$pid"
stat -c '%a %u %n' "$root/data/journal" "$root/data/journal/journal.db"
echo "ok"
