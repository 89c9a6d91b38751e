#!/usr/bin/env bash
# Runs one kubelet for the tests: see usage below, and README.md.
set -Eeuo pipefail

usage() {
  cat >&2 <<'U'
usage: kubelet.sh SOCKET DIR PORT PLAIN_PORT [ARGUMENT...]
       runs a kubelet on the CRI endpoint at SOCKET, with all it keeps below DIR, until the end of
       standard input or SIGTERM or SIGINT; then ends it, takes away its mounts and deletes DIR.
       Prints its pid at once. Its pods go on: `runtime.sh stop` removes them.

Pods are manifests in DIR/pods, which may be there before; the kubelet's log is DIR/kubelet.log.
It listens on 127.0.0.1, at PORT with https and at PLAIN_PORT without. ARGUMENTs are the kubelet's
own. Only one kubelet runs at a time, as it has files at fixed places: another one waits.
U
  exit 2
}

# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_root
need_plain_path "$PREFIX"
[ $# -ge 4 ] || usage
socket=$1 dir=$(realpath -m -- "$2") port=$3 plain_port=$4
shift 4
need_plain_path "$socket"
need_plain_path "$dir"
[ -x "$PREFIX/bin/kubelet" ] || die "no kubelet below $PREFIX: run e2e/setup.sh first"

# It is deleted in the end: no folder that somebody works in.
[ -z "$(find "$dir" -mindepth 1 -maxdepth 1 ! -name pods 2>/dev/null)" ] || die "$dir holds more than a folder pods"

pid= reader=
stop() {
  [ -z "$reader" ] || kill "$reader" 2>/dev/null || true
  end_process "$pid" "$dir/kubelet.yaml" 20
  unmount_below "$dir"
  rm -rf --one-file-system "$dir"
}

mkdir -p "$RUN"
exec 9>"$RUN/kubelet.lock"
flock -w 600 9 || die "another kubelet has been at work for ten minutes"
# As in runtime.sh: a shell runs a trap only between commands, and waiting is the
# one command that a signal cuts short.
trap '' PIPE
trap stop EXIT
trap 'exit 0' TERM INT HUP
mkdir -p "$dir"/{pods,logs,certs}
render kubelet.yaml "$dir/kubelet.yaml" SOCKET="$socket" PODS="$dir/pods" LOGS="$dir/logs" \
  PORT="$port" PLAIN_PORT="$plain_port"
spawn "$dir/kubelet.log" "$PREFIX/bin/kubelet" --config "$dir/kubelet.yaml" \
  --root-dir "$dir/root" --cert-dir "$dir/certs" --hostname-override n1 "$@"
pid=$SPAWNED
cat >/dev/null <&0 9>&- &
reader=$!
echo "$pid"
wait -n "$reader" "$pid" || true
if ! alive "$pid"; then
  tail -n 5 "$dir/kubelet.log" >&2
  die "the kubelet has ended by itself (its last log lines are above)"
fi
