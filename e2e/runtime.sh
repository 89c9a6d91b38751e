#!/usr/bin/env bash
# Runs one containerd for the tests: see usage below, and README.md.
set -Eeuo pipefail

usage() {
  cat >&2 <<'U'
usage: runtime.sh start VERSION DIR      start containerd VERSION (1.6, 1.7 or 2.1) with all it
                                         keeps below DIR; prints its pid once it answers
       runtime.sh restart DIR [VERSION]  end the containerd process and start it again (as another
                                         version if given) on the same folders; containers run on
       runtime.sh stop DIR               remove all pods, end everything, delete DIR
       runtime.sh run VERSION DIR        start, wait for the end of standard input or for SIGTERM
                                         or SIGINT, stop: nothing stays behind when the caller dies
       runtime.sh list                   the folders of all instances that were not stopped
       runtime.sh stop-all               stop all of those

The socket is DIR/containerd.sock, the log DIR/containerd.log, a crictl configuration
DIR/crictl.yaml. CRITAPE_E2E_DIR names the folder that setup.sh installed into.
U
  exit 2
}

# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# What marks a folder as ours; holds the version.
MARK=critape-e2e-runtime

version_of() { cat "$1/$MARK"; }
network_of() { echo "critape-$(user_key "$1")"; }
containerd_pid() { cat "$1/containerd.pid" 2>/dev/null || true; }
cri() { timeout 60 "$PREFIX/bin/crictl" --config "$1/crictl.yaml" "${@:2}"; }

check_version() {
  case $1 in
  1.6 | 1.7 | 2.1) ;;
  *) die "unknown version '$1': want 1.6, 1.7 or 2.1" ;;
  esac
  if [ ! -x "$PREFIX/containerd-$1/bin/containerd" ] || [ ! -x "$PREFIX/bin/crictl" ]; then
    die "containerd $1 or crictl is not below $PREFIX: run e2e/setup.sh first"
  fi
}

# dir_arg DIR: the real path of DIR, as mount tables will show it.
dir_arg() {
  local dir
  dir=$(realpath -m -- "$1")
  need_plain_path "$dir"
  # containerd makes DIR/containerd.sock.ttrpc; a unix socket's path holds 107 bytes.
  [ ${#dir} -le 76 ] || die "the path '$dir' is too long for unix sockets below it (76 bytes at most)"
  echo "$dir"
}

# --- each instance's pod network ---------------------------------------------

subnet_acquire_locked() {
  local dir=$1 n file
  mkdir -p "$RUN/subnets"
  for n in $(seq 1 250); do
    file=$RUN/subnets/$n
    if [ -f "$file" ]; then
      [ -e "$(cat "$file")/$MARK" ] && continue
      rm -f "$file"
    fi
    # Routes inside of it: somebody else's network, or pods that were left over.
    [ -z "$(ip -4 route show root "10.213.$n.0/24" 2>/dev/null)" ] || continue
    echo "$dir" >"$file"
    echo "10.213.$n.0/24"
    return
  done
  die "no free subnet 10.213.N.0/24; see runtime.sh list"
}

subnet_release_locked() {
  local file
  for file in "$RUN"/subnets/*; do
    [ -f "$file" ] && [ "$(cat "$file")" = "$1" ] && rm -f "$file"
  done
  return 0
}

# --- starting ----------------------------------------------------------------

# Overlayfs where the folder's file system bears it, else plain copies.
pick_snapshotter() {
  local probe=$1/probe
  mkdir -p "$probe"/{lower,upper,work,merged}
  if mount -t overlay overlay -o "lowerdir=$probe/lower,upperdir=$probe/upper,workdir=$probe/work" \
    "$probe/merged" 2>/dev/null; then
    umount "$probe/merged"
    echo overlayfs
  else
    echo native
  fi
  rm -rf --one-file-system "$probe"
}

write_config() {
  local dir=$1 version=$2 template=containerd-v2.toml
  [ "${version%%.*}" = 1 ] || template=containerd-v3.toml
  render "$template" "$dir/config.toml" \
    ROOT="$dir/root" STATE="$dir/state" SOCKET="$dir/containerd.sock" \
    OPT="$dir/opt" RUNC="$dir/runc" HOSTS="$dir/hosts" \
    CNI_CONF="$dir/cni" CNI_BIN="$PREFIX/cni-bin" \
    SNAPSHOTTER="$(cat "$dir/snapshotter")" ARCH="$(dpkg --print-architecture)"
  echo "$version" >"$dir/$MARK"
}

# Start the process on a folder that is all set up, and wait until it answers.
launch() {
  local dir=$1 version=$2 pid deadline
  # Its own bin first: it looks for its shim in PATH.
  spawn "$dir/containerd.log" env \
    PATH="$PREFIX/containerd-$version/bin:$PREFIX/runc-bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
    "$PREFIX/containerd-$version/bin/containerd" --config "$dir/config.toml"
  pid=$SPAWNED
  # Whoever crashes it needs no word about that from this shell.
  disown "$pid"
  echo "$pid" >"$dir/containerd.pid"
  deadline=$((SECONDS + 60))
  until [ -S "$dir/containerd.sock" ] && cri "$dir" version >/dev/null 2>&1; do
    if ! alive "$pid"; then
      tail -n 15 "$dir/containerd.log" >&2
      say "containerd $version ended while starting (its last log lines are above)"
      return 1
    fi
    if [ $SECONDS -ge $deadline ]; then
      tail -n 15 "$dir/containerd.log" >&2
      say "containerd $version does not answer within 60 s (its last log lines are above)"
      return 1
    fi
    sleep 0.1
  done
}

start() {
  local version=$1 dir=$2 subnet
  check_version "$version"
  [ ! -e "$dir" ] || [ -z "$(ls -A "$dir")" ] || die "$dir exists and is not empty"
  mkdir -p "$dir"
  echo "$version" >"$dir/$MARK"
  trap 'trap - EXIT; stop "$dir" >&2 || true' EXIT
  subnet=$(with_lock subnets subnet_acquire_locked "$dir")
  registry_acquire "$dir"
  registry_get /v2/pause/manifests/3.9 ||
    die "127.0.0.1:5000 has no pause:3.9: another registry is there, or e2e/setup.sh has not run"
  pick_snapshotter "$dir" >"$dir/snapshotter"
  write_config "$dir" "$version"
  render cni.conflist "$dir/cni/10-critape.conflist" \
    NETWORK="$(network_of "$dir")" IPAM="$dir/ipam" SUBNET="$subnet"
  render hosts.toml "$dir/hosts/localhost:5000/hosts.toml"
  render crictl.yaml "$dir/crictl.yaml" SOCKET="$dir/containerd.sock"
  launch "$dir" "$version" || exit 1
  trap - EXIT
  containerd_pid "$dir"
}

restart() {
  local dir=$1 version=$2
  check_version "$version"
  end_process "$(containerd_pid "$dir")" "$dir/config.toml" 20
  # Not left to be taken for a sign of life.
  rm -f "$dir/containerd.sock" "$dir/containerd.sock.ttrpc"
  registry_acquire "$dir"
  write_config "$dir" "$version"
  launch "$dir" "$version" || exit 1
  containerd_pid "$dir"
}

# --- stopping ----------------------------------------------------------------

# The shims of this instance: processes that were told its socket.
shim_pids() {
  local entry pid
  for entry in /proc/[0-9]*; do
    pid=${entry#/proc/}
    case $(cmdline "$pid") in
    *containerd-shim*"-address $1/containerd.sock "*) echo "$pid" ;;
    esac
  done
}

# A process's descendants, the deepest first.
descendants() {
  local child
  for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do
    descendants "$child"
    echo "$child"
  done
}

remove_pods() {
  local dir=$1 pods
  # Failures here are made good below, with the signal that cannot be refused.
  pods=$(cri "$dir" pods -q 2>/dev/null) || return 0
  [ -n "$pods" ] || return 0
  # shellcheck disable=SC2086
  cri "$dir" stopp $pods >/dev/null || say "not all pods could be stopped"
  # shellcheck disable=SC2086
  cri "$dir" rmp -f $pods >/dev/null || say "not all pods could be removed"
}

end_shims() {
  local dir=$1 namespace container pid child
  # Containers that outlived their pods' removal. This also takes their cgroups.
  for namespace in "$dir"/runc/*; do
    [ -d "$namespace" ] || continue
    for container in "$namespace"/*; do
      [ -d "$container" ] || continue
      timeout 20 "$PREFIX/runc-bin/runc" --root "$namespace" delete --force "${container##*/}" 2>/dev/null || true
    done
  done
  for pid in $(shim_pids "$dir"); do
    # A shim whose last container is gone ends by itself, shortly.
    wait_gone "$pid" "$dir/containerd.sock" 1 && continue
    for child in $(descendants "$pid"); do kill -KILL "$child" 2>/dev/null || true; done
    end_process "$pid" "$dir/containerd.sock" 2
  done
}

# Shims make their sockets in a folder that is fixed at build time. One that was
# killed leaves them; each task's folder tells their names.
remove_shim_sockets() {
  local socket
  for socket in $(cat "$1"/state/io.containerd.runtime.v2.task/*/*/{address,bootstrap.json} 2>/dev/null |
    grep -o '/run/containerd/s/[0-9a-f]*'); do
    rm -f "$socket"
  done
}

# Pods that were removed in order have taken their network along. After a crash
# the veth pairs go with the network namespaces; this is for the rest: host port
# rules and remembered results, found by the network's name.
remove_network() {
  local network pod tool rule rules words chain
  network=$(network_of "$1")
  # What is left of removed pods' folders is named by their ids.
  for pod in "$1"/{root,state}/io.containerd.grpc.v1.cri/sandboxes/*; do
    [ -d "$pod" ] || continue
    rm -f /var/lib/cni/results/*-"${pod##*/}"-*
  done
  rm -f /var/lib/cni/results/"$network"-*
  for tool in iptables ip6tables; do
    rules=$("$tool" -w 5 -t nat -S 2>/dev/null | grep -F "$network") || continue
    while IFS= read -r rule; do
      # The listing is quoted for a shell.
      eval "words=(${rule#-A })"
      "$tool" -w 5 -t nat -D "${words[@]}" 2>/dev/null || true
    done <<<"$rules"
    for chain in $(grep -o -- '-j CNI-[A-Z]*-[0-9a-f]*' <<<"$rules" | cut -c4- | sort -u); do
      "$tool" -w 5 -t nat -F "$chain" 2>/dev/null || true
      "$tool" -w 5 -t nat -X "$chain" 2>/dev/null || true
    done
  done
}

stop() {
  local dir=$1 group
  if proc_is "$(containerd_pid "$dir")" "$dir/config.toml"; then
    [ ! -S "$dir/containerd.sock" ] || remove_pods "$dir"
    end_process "$(containerd_pid "$dir")" "$dir/config.toml" 20
  fi
  end_shims "$dir"
  remove_shim_sockets "$dir"
  unmount_below "$dir"
  remove_network "$dir"
  # The parent that our examples use, and containerd's own for pods that name
  # none. Either stays while it is in use.
  for group in /sys/fs/cgroup/{,*/}{critape-e2e,k8s.io}; do
    rmdir "$group" 2>/dev/null || true
  done
  rm -rf --one-file-system "$dir"
  with_lock subnets subnet_release_locked "$dir"
  registry_release "$dir"
}

# --- commands ----------------------------------------------------------------

existing_dir() {
  local dir
  dir=$(dir_arg "$1")
  [ -f "$dir/$MARK" ] || die "$dir holds no runtime that was started by this script"
  echo "$dir"
}

list() {
  local file
  for file in "$RUN"/subnets/*; do
    [ -f "$file" ] && [ -e "$(cat "$file")/$MARK" ] && cat "$file"
  done
  return 0
}

need_root
need_plain_path "$PREFIX"
case ${1-}:$# in
start:3)
  dir=$(dir_arg "$3")
  start "$2" "$dir"
  ;;
restart:2 | restart:3)
  dir=$(existing_dir "$2")
  restart "$dir" "${3-$(version_of "$dir")}"
  ;;
stop:2)
  # Already stopped is as good as stopped.
  [ -e "$2" ] || exit 0
  dir=$(existing_dir "$2")
  stop "$dir"
  ;;
run:3)
  dir=$(dir_arg "$3")
  start "$2" "$dir"
  # Reads in the background: the shell runs a trap only between commands, and
  # waiting is the one command that a signal cuts short.
  cat >/dev/null <&0 &
  reader=$!
  # Whoever listened to what we print may be gone as well.
  trap '' PIPE
  trap 'kill "$reader" 2>/dev/null || true; stop "$dir"' EXIT
  trap 'exit 0' TERM INT HUP
  wait "$reader" || true
  ;;
list:1) list ;;
stop-all:1)
  for dir in $(list); do stop "$dir"; done
  ;;
*) usage ;;
esac
