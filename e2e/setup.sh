#!/usr/bin/env bash
# Installs what the tests in this folder need: see README.md. Safe to run again:
# what is there already is left alone, and then nothing is asked of the network.
#
#   setup.sh                everything
#   setup.sh --no-kubelet   all but the kubelet, whose build takes some minutes
#
# (--kubelet, which once asked for it, is still taken and changes nothing.)
# CRITAPE_E2E_DIR names the folder to install into (/var/lib/critape-e2e).
# CRITAPE_E2E_MIRROR names a Debian mirror, where this machine's own package
# sources are not to be used for it. To get a part anew, delete its folder.
set -Eeuo pipefail
umask 022

# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

with_kubelet=1
case $#:${1-} in
0: | 1:--kubelet) ;;
1:--no-kubelet) with_kubelet= ;;
*)
  echo "usage: setup.sh [--no-kubelet]" >&2
  exit 2
  ;;
esac

need_root
need_plain_path "$PREFIX"
mkdir -p "$PREFIX/bin" "$RUN"

# One at a time.
exec 7>"$PREFIX/setup.lock"
flock -w 1800 7 || die "another setup.sh has been at work for half an hour"

WORK=$PREFIX/tmp
rm -rf "$WORK"
mkdir "$WORK"
trap 'rm -rf "$WORK"; registry_release setup' EXIT

# --- Debian packages that this machine is to have ----------------------------
#
#   skopeo     puts our images into the registry
#   iptables   containerd's portmap plugin makes host ports with it
#   socat      a hand tool for unix sockets; older runtimes forward ports with it
#   iproute2   runtime.sh looks at routes
#   libseccomp2, ca-certificates   runc and the downloads below need them
#
# None of them starts a service.

install_packages() {
  local package missing=()
  for package in skopeo iptables socat iproute2 libseccomp2 ca-certificates; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing ${missing[*]}"
  apt_quietly apt-get update
  DEBIAN_FRONTEND=noninteractive apt_quietly apt-get install -y --no-install-recommends \
    -o DPkg::Lock::Timeout=300 "${missing[@]}"
}

# Show what a command printed only if it failed.
apt_quietly() {
  "$@" >"$WORK/apt.out" 2>&1 7>&- || {
    cat "$WORK/apt.out" >&2
    die "failed: $*"
  }
}

# --- Debian packages that are only unpacked ----------------------------------
#
# Several containerd versions side by side, and things whose installation would
# start services or push out what the machine has (Docker's own containerd and
# runc, the busybox package). They come from several Debian suites, through a
# configuration of apt that is gone in the end: the machine's own sources, lists and
# preferences are not touched, so no ordinary installation can ever pull from
# those suites.

# What to unpack, and which version of it: the newest one that begins with the
# first of the given beginnings that any suite has; if none is given, the oldest
# of all.
#
#   containerd-1.6   the oldest runtime; speaks CRI v1 and v1alpha2
#   containerd-1.7   the step between; speaks both too
#   containerd-2.1   the newest; v1 only
#   runc             what all of them run containers with
#   cni              ptp, host-local, portmap, loopback: the pod network
#   registry         serves our images on loopback
#   busybox          what our images are made of
unpack_packages() {
  unpack containerd-1.6 containerd 1.6.
  unpack containerd-1.7 containerd 1.7.
  unpack containerd-2.1 containerd 2.1. 2.
  # The oldest of these: linked against libraries that every machine has, and
  # the same everywhere (the images' digests hang on busybox).
  unpack runc runc
  unpack cni containernetworking-plugins
  unpack registry-server docker-registry
  unpack busybox busybox-static

  local version
  for version in 1.6 1.7 2.1; do link "containerd-$version/bin" "containerd-$version" containerd; done
  link runc-bin runc runc
  link cni-bin cni ptp
  link registry-bin registry-server docker-registry
  link busybox-bin busybox busybox
}

# link LINK FOLDER PROGRAM: a fixed name for the place where the unpacked FOLDER
# has PROGRAM: packages move from /bin to /usr/bin from one release to the next.
link() {
  local found
  [ ! -x "$PREFIX/$1/$3" ] || return 0
  found=$(find "$PREFIX/$2" -type f -name "$3" -perm -100 -print -quit)
  [ -n "$found" ] || die "the package unpacked in $PREFIX/$2 has no program $3"
  ln -sfnr "$(dirname "$found")" "$PREFIX/$1"
}

# unpack FOLDER PACKAGE [BEGINNING...]
unpack() {
  local folder=$1 package=$2 version
  shift 2
  [ ! -f "$PREFIX/$folder/version" ] || return 0
  suites_ready
  version=$(pick_version "$package" "$@")
  [ -n "$version" ] || die "no suite has $package ${1-}* (looked at: ${SUITES[*]})"
  say "unpacking $package $version"
  mkdir -p "$WORK/$folder"
  (cd "$WORK/$folder" && APT_CONFIG=$WORK/apt/apt.conf apt_quietly apt-get download "$package=$version")
  dpkg -x "$WORK/$folder"/*.deb "$WORK/$folder/tree"
  # Only the programs: no manuals, service units or default settings.
  rm -rf "$WORK/$folder"/tree/{etc,var,usr/share,lib/systemd,usr/lib/systemd}
  echo "$version" >"$WORK/$folder/tree/version"
  rm -rf "${PREFIX:?}/$folder"
  mv "$WORK/$folder/tree" "$PREFIX/$folder"
}

# pick_version PACKAGE [BEGINNING...]
pick_version() {
  local package=$1 order=gt beginning version best=
  shift
  [ $# -gt 0 ] || { order=lt && set -- ''; }
  for beginning; do
    while read -r version; do
      case $version in "$beginning"*) ;; *) continue ;; esac
      if [ -z "$best" ] || dpkg --compare-versions "$version" "$order" "$best"; then best=$version; fi
    done < <(APT_CONFIG=$WORK/apt/apt.conf apt-cache madison "$package" | cut -d'|' -f2 | tr -d ' ')
    [ -z "$best" ] || break
  done
  echo "$best"
}

SUITES=(bookworm trixie sid)
suites_done=

# Fetch the lists of the suites, once in a run and only if anything is missing.
suites_ready() {
  local mirror apt=$WORK/apt suite
  [ -z "$suites_done" ] || return 0
  mirror=$(debian_mirror)
  say "reading the package lists of ${SUITES[*]}"

  mkdir -p "$apt"/lists/partial "$apt"/archives/partial
  for suite in "${SUITES[@]}"; do
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
  done >"$apt/sources.list"
  cat >"$apt/apt.conf" <<C
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State::lists "$apt/lists";
Dir::Cache::archives "$apt/archives";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons-small::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons-large::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
APT::Sandbox::User "root";
C
  # A suite that the mirror no longer has need not matter: what is missing in
  # the end is told by name.
  APT_CONFIG=$apt/apt.conf apt-get update >"$WORK/apt.out" 2>&1 7>&- ||
    say "not all package lists could be read: $(grep -m 3 '^[EW]:' "$WORK/apt.out" | tr '\n' ' ')"
  suites_done=1
}

# The mirror this machine's own release comes from.
debian_mirror() {
  local release mirror
  if [ -n "${CRITAPE_E2E_MIRROR-}" ]; then
    echo "$CRITAPE_E2E_MIRROR"
    return
  fi
  # shellcheck source=/dev/null
  release=$(. /etc/os-release && [ "$ID" = debian ] && echo "${VERSION_CODENAME-sid}") ||
    die "this machine is not Debian: set CRITAPE_E2E_MIRROR to a Debian mirror"
  mirror=$(mirror_of "$release")
  if [ -z "$mirror" ]; then
    apt_quietly apt-get update
    mirror=$(mirror_of "$release")
  fi
  [ -n "$mirror" ] || die "apt knows no source of Debian $release: set CRITAPE_E2E_MIRROR to a Debian mirror"
  echo "$mirror"
}

mirror_of() {
  # shellcheck disable=SC2016
  apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
    awk -v release="$1" '$1 == release { print $2; exit }'
}

# --- Go programs -------------------------------------------------------------
#
# Each has a module of its own in tools/, so that its dependencies are pinned by
# a go.sum of its own.

# build_go NAME PACKAGE [LDFLAGS]
build_go() {
  local name=$1 package=$2 flags=${3-} module=$E2E_DIR/tools/$1 stamp
  stamp=$(cat "$module/go.mod" "$module/go.sum" <(echo "$package $flags") | sha256sum | cut -d' ' -f1)
  if [ -x "$PREFIX/bin/$name" ] && [ "$(cat "$PREFIX/bin/.$name.stamp" 2>/dev/null)" = "$stamp" ]; then
    return 0
  fi
  command -v go >/dev/null || die "go is needed to build $name (see $module/go.mod for the version)"
  say "building $name (takes a while)"
  (cd "$module" && CGO_ENABLED=0 GOWORK=off nice -n 10 go build -mod=readonly -trimpath \
    -ldflags "-s -w $flags" -o "$WORK/$name" "$package" 7>&-)
  mv "$WORK/$name" "$PREFIX/bin/$name"
  echo "$stamp" >"$PREFIX/bin/.$name.stamp"
}

# module_version NAME MODULE: the version of MODULE that tools/NAME pins.
module_version() { awk -v module="$2" '$1 == module && $2 ~ /^v/ { print $2 }' "$E2E_DIR/tools/$1/go.mod"; }

# The everyday client. Neither of these knows its own version unless told.
build_crictl() {
  local version
  version=$(module_version crictl sigs.k8s.io/cri-tools)
  build_go crictl sigs.k8s.io/cri-tools/cmd/crictl "-X sigs.k8s.io/cri-tools/pkg/version.Version=$version"
}

# The real client.
build_kubelet() {
  local version
  version=$(module_version kubelet k8s.io/kubernetes)
  build_go kubelet k8s.io/kubernetes/cmd/kubelet "-X k8s.io/component-base/version.gitVersion=$version"
}

# --- Python ------------------------------------------------------------------
#
# grpcio: a gRPC client built on another implementation than all the Go ones,
# which says things in its headers that those never say.

make_venv() {
  local wanted=$E2E_DIR/tools/requirements.txt
  cmp -s "$wanted" "$PREFIX/venv/requirements.txt" && return 0
  say "making the Python environment"
  rm -rf "$PREFIX/venv"
  if ! python3 -m venv "$PREFIX/venv" >"$WORK/venv.out" 2>&1; then
    # Debian keeps this module of Python in a package of its own.
    apt_quietly apt-get update
    DEBIAN_FRONTEND=noninteractive apt_quietly apt-get install -y --no-install-recommends \
      -o DPkg::Lock::Timeout=300 python3-venv
    python3 -m venv --clear "$PREFIX/venv"
  fi
  "$PREFIX/venv/bin/python" -m pip install --quiet --only-binary :all: -r "$wanted"
  cp "$wanted" "$PREFIX/venv/requirements.txt"
}

# --- images ------------------------------------------------------------------
#
#   busybox:1.0, busybox:2.0   a shell and its tools, in two versions that can be
#                              told apart (file /etc/critape-image)
#   pause:3.9                  what holds a sandbox: sleeps, ends at once on TERM
#   user:1.0                   as busybox, but runs as user 1000
#
# Made by hand as OCI layouts, with nothing in them that changes from one
# machine or day to the next: their digests are the same everywhere.

# layer TREE: packs a folder; adds it to the blobs; prints its digest.
layer() {
  tar --format=ustar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \
    -C "$1" -cf "$WORK/blob" .
  blob
}

# blob: moves $WORK/blob to where blobs are; prints its digest.
blob() {
  local digest
  digest=$(sha256sum "$WORK/blob" | cut -d' ' -f1)
  mv "$WORK/blob" "$WORK/oci/blobs/sha256/$digest"
  echo "$digest"
}

size_of() { stat -c %s "$WORK/oci/blobs/sha256/$1"; }

# image NAME:TAG CONFIG LAYER...: CONFIG is the inside of the image's "config".
image() {
  local name=$1 settings=$2 digest config layers="" diffs="" size
  shift 2
  for digest; do
    layers+=${layers:+,}"{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"sha256:$digest\",\"size\":$(size_of "$digest")}"
    diffs+=${diffs:+,}"\"sha256:$digest\""
  done
  printf '{"architecture":"%s","os":"linux","created":"1970-01-01T00:00:00Z","config":{%s},"rootfs":{"type":"layers","diff_ids":[%s]}}' \
    "$(dpkg --print-architecture)" "$settings" "$diffs" >"$WORK/blob"
  config=$(blob)
  printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%s},"layers":[%s]}' \
    "$config" "$(size_of "$config")" "$layers" >"$WORK/blob"
  digest=$(blob)
  size=$(size_of "$digest")
  printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,"annotations":{"org.opencontainers.image.ref.name":"this"}}]}' \
    "$digest" "$size" >"$WORK/oci/index.json"
  skopeo --insecure-policy copy --quiet --preserve-digests --dest-tls-verify=false \
    "oci:$WORK/oci:this" "docker://localhost:5000/$name"
  echo "localhost:5000/$name sha256:$digest" >>"$WORK/images.txt"
}

make_images() {
  local stamp tree base path applet version
  stamp=$({
    sha256sum <"$PREFIX/busybox-bin/busybox"
    declare -f make_images image layer blob
  } | sha256sum | cut -d' ' -f1)
  [ "$(cat "$PREFIX/registry/.stamp" 2>/dev/null)" != "$stamp" ] || return 0
  say "making the images"
  if registry_get /v2/ && ! registry_pid >/dev/null; then
    die "something else answers on 127.0.0.1:5000, where the image registry is to be"
  fi
  registry_acquire setup

  mkdir -p "$WORK/oci/blobs/sha256"
  echo '{"imageLayoutVersion":"1.0.0"}' >"$WORK/oci/oci-layout"

  tree=$WORK/base
  mkdir -p "$tree"/{bin,dev,etc,proc,root,run,sys,tmp,var/log}
  chmod 1777 "$tree/tmp"
  cp "$PREFIX/busybox-bin/busybox" "$tree/bin/busybox"
  chmod 755 "$tree/bin/busybox"
  for applet in $("$tree/bin/busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$tree/bin/$applet"
  done
  printf 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\n' >"$tree/etc/passwd"
  printf 'root:x:0:\nuser:x:1000:\n' >"$tree/etc/group"
  base=$(layer "$tree")

  path='"Env":["PATH=/bin"]'
  for version in 1.0 2.0; do
    mkdir -p "$WORK/$version/etc"
    echo "busybox $version" >"$WORK/$version/etc/critape-image"
    image "busybox:$version" "$path,\"Cmd\":[\"sh\"]" "$base" "$(layer "$WORK/$version")"
  done
  image user:1.0 "$path,\"Cmd\":[\"sh\"],\"User\":\"1000\"" "$base"

  # The first process of a pid namespace gets no signal that it does not handle,
  # so a plain sleep would have to be killed, after the grace period. The wait,
  # unlike a sleep in the foreground, is cut short by TERM.
  tree=$WORK/pause
  mkdir -p "$tree/bin"
  cp "$PREFIX/busybox-bin/busybox" "$tree/bin/busybox"
  chmod 755 "$tree/bin/busybox"
  ln -s busybox "$tree/bin/sh"
  ln -s busybox "$tree/bin/sleep"
  image pause:3.9 "$path,\"Entrypoint\":[\"/bin/sh\",\"-c\",\"trap 'exit 0' TERM INT; while :; do sleep 86400 & wait \$!; done\"]" \
    "$(layer "$tree")"

  mv "$WORK/images.txt" "$PREFIX/images.txt"
  echo "$stamp" >"$PREFIX/registry/.stamp"
}

install_packages
unpack_packages
make_venv
build_crictl
make_images
if [ -n "$with_kubelet" ]; then build_kubelet; fi

say "all there, in $PREFIX: containerd $(cat "$PREFIX"/containerd-{1.6,1.7,2.1}/version | paste -sd' '), runc $(cat "$PREFIX/runc/version")"
