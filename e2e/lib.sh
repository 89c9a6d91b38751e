# Shared by setup.sh, runtime.sh and kubelet.sh; to be sourced, not run.
# shellcheck shell=bash

E2E_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# ip, iptables and dpkg are to be found, whoever calls us.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
PREFIX=${CRITAPE_E2E_DIR:-/var/lib/critape-e2e}
# Who runs what: pid files, locks, which subnet belongs to which instance.
RUN=$PREFIX/run

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() {
  say "error: $*"
  exit 1
}

# No failure without a word, whichever command it was.
# (In a subshell it may not matter; where it does, it fails out here too.)
trap '[ "$BASHPID" != $$ ] || say "failed at line $LINENO: $BASH_COMMAND"' ERR

need_root() {
  [ "$(id -u)" = 0 ] || die "must be run as root"
}

# Paths end up in TOML, JSON, YAML and mount tables: refuse what would need quoting.
need_plain_path() {
  case $1 in
  *[!A-Za-z0-9._/-]*) die "the path '$1' may hold only letters, digits and . _ / -" ;;
  /?*) ;;
  *) die "the path '$1' must be absolute" ;;
  esac
}

# --- processes ---------------------------------------------------------------

cmdline() { { tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null; }

# alive PID: is it there, and no zombie?
alive() {
  local line
  [ -n "$1" ] && { line=$(cat "/proc/$1/stat"); } 2>/dev/null || return 1
  line=${line##*) }
  [ "${line:0:1}" != Z ]
}

# proc_is PID TEXT: is PID alive, with TEXT in its command line? Guards against a
# pid file that outlived its process and names a stranger now.
proc_is() {
  local pid=$1 text=$2 line tries=50
  while alive "$pid"; do
    line=$(cmdline "$pid") || return 1
    case $line in
    *"$text"*) return 0 ;;
    # While a process starts another program in its place, it shows none.
    '') [ $((tries--)) -gt 0 ] && sleep 0.01 || return 1 ;;
    *) return 1 ;;
    esac
  done
  return 1
}

# wait_gone PID TEXT SECONDS
wait_gone() {
  local tries=$(($3 * 10))
  while proc_is "$1" "$2"; do
    [ $((tries--)) -gt 0 ] || return 1
    sleep 0.1
  done
}

# end_process PID TEXT SECONDS: TERM, and KILL if that was not enough.
end_process() {
  proc_is "$1" "$2" || return 0
  kill -TERM "$1" 2>/dev/null || true
  wait_gone "$1" "$2" "$3" && return 0
  say "process $1 ($2) did not end within $3 s: killing it"
  kill -KILL "$1" 2>/dev/null || true
  wait_gone "$1" "$2" 10 || die "process $1 ($2) cannot be killed"
}

# --- locks -------------------------------------------------------------------

# with_lock NAME COMMAND...: one at a time over all our scripts on this machine.
# The command runs in a subshell; processes it leaves in the background must
# close the lock's descriptor: spawn does.
with_lock() {
  local name=$1
  shift
  mkdir -p "$RUN"
  (
    exec 9>"$RUN/$name.lock"
    flock -w 120 9 || die "the lock $RUN/$name.lock is held for over 120 s"
    "$@"
  )
}

# spawn LOG COMMAND...: start a process of its own session in the background,
# holding on to none of our locks (descriptors 7 and 9). SPAWNED is its pid.
spawn() {
  local log=$1
  shift
  setsid "$@" >>"$log" 2>&1 </dev/null 7>&- 9>&- &
  SPAWNED=$!
  # Until the program has taken the place of this script's copy, a look at its
  # command line would take it for something else.
  while proc_is "$SPAWNED" "$(cmdline $$)"; do sleep 0.01; done
}

# --- mounts ------------------------------------------------------------------

mounts_below() {
  awk -v dir="$1/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | tac
}

unmount_below() {
  local mount
  for mount in $(mounts_below "$1"); do
    umount "$mount" 2>/dev/null || umount -l "$mount" 2>/dev/null || true
  done
  [ -z "$(mounts_below "$1")" ] || die "still mounted below $1: $(mounts_below "$1" | tr '\n' ' ')"
}

# --- templates ---------------------------------------------------------------

# render TEMPLATE TARGET NAME=VALUE...
render() {
  local template=$E2E_DIR/runtimes/$1 target=$2 pair script=
  shift 2
  for pair; do script+="s|@${pair%%=*}@|${pair#*=}|g;"; done
  mkdir -p "$(dirname "$target")"
  sed "$script" "$template" >"$target.new"
  # A comment may speak of @NAME@; anything else left over is a mistake.
  if grep -v '^ *#' "$target.new" | grep -q '@[A-Z_]*@'; then
    die "a placeholder of $template was left unfilled in $target.new"
  fi
  mv "$target.new" "$target"
}

# --- the image registry ------------------------------------------------------
#
# One registry on 127.0.0.1:5000 serves all runtimes. It is started by the first
# that needs it and stopped by the last that had it in use.

# registry_get PATH: does the registry answer this with 200?
registry_get() (
  exec 2>/dev/null
  exec 8<>/dev/tcp/127.0.0.1/5000 || exit 1
  printf 'GET %s HTTP/1.0\r\nHost: localhost:5000\r\nAccept: %s\r\n\r\n' "$1" \
    'application/vnd.oci.image.manifest.v1+json' >&8
  IFS= read -r -t 5 line <&8 || exit 1
  case $line in *' 200 '*) exit 0 ;; esac
  exit 1
)

registry_pid() {
  local pid
  pid=$(cat "$RUN/registry.pid" 2>/dev/null) || return 1
  proc_is "$pid" "serve $PREFIX/registry.yml" || return 1
  echo "$pid"
}

user_key() { printf %s "$1" | sha256sum | cut -c1-16; }

# A user of the registry: a folder with a runtime in it, or a script still at work.
registry_forget_dead_users() {
  local file dir script
  for file in "$RUN"/registry.users/*; do
    [ -f "$file" ] || continue
    { read -r dir && read -r script; } <"$file" || { rm -f "$file" && continue; }
    proc_is "$script" .sh && continue
    proc_is "$(cat "$dir/containerd.pid" 2>/dev/null)" "$dir/config.toml" && continue
    rm -f "$file"
  done
}

registry_acquire_locked() {
  local user=$1 pid tries=100
  mkdir -p "$RUN/registry.users"
  registry_forget_dead_users
  if ! registry_get /v2/ && ! registry_pid >/dev/null; then
    [ -x "$PREFIX/registry-bin/docker-registry" ] ||
      die "no image registry below $PREFIX: run e2e/setup.sh first"
    render registry.yml "$PREFIX/registry.yml" STORE="$PREFIX/registry"
    # The settings are in the file alone: environment variables of that name
    # pattern would override it.
    spawn "$RUN/registry.log" env -i PATH="$PATH" HOME=/ \
      "$PREFIX/registry-bin/docker-registry" serve "$PREFIX/registry.yml"
    pid=$SPAWNED
    echo "$pid" >"$RUN/registry.pid"
  fi
  printf '%s\n%s\n' "$user" $$ >"$RUN/registry.users/$(user_key "$user")"
  until registry_get /v2/; do
    if [ $((tries--)) -le 0 ] || ! registry_pid >/dev/null; then
      tail -n 5 "$RUN/registry.log" >&2 || true
      die "the image registry does not answer on 127.0.0.1:5000; the end of $RUN/registry.log is above"
    fi
    sleep 0.1
  done
}

registry_release_locked() {
  local pid
  rm -f "$RUN/registry.users/$(user_key "$1")"
  registry_forget_dead_users
  if [ -z "$(ls -A "$RUN/registry.users" 2>/dev/null)" ] && pid=$(registry_pid); then
    end_process "$pid" "serve $PREFIX/registry.yml" 10
    rm -f "$RUN/registry.pid"
  fi
}

registry_acquire() { with_lock registry registry_acquire_locked "$1"; }
registry_release() { with_lock registry registry_release_locked "$1"; }
