# shellcheck shell=bash
# debian-suite.sh: packages of any Debian suite, unpacked into a prefix. For install-*.sh, which source it with `suite` and
# `prefix` set. No root, no container, no maintainer script; apt verifies the archive's signatures as always.
#   open_suite                  ends the caller when PREFIX/.complete is there; else `state` and `options` for apt-get are
#                               ready. Two calls at a time wait for each other.
#   unpack_packages EXCLUDE...  unpacks what stands in $state/packages, without documentation and what EXCLUDE names
#   run_through_own_loader DIR  each ELF program below DIR runs through the suite's own loader and libraries

open_suite() {
  local keyring=/usr/share/keyrings/debian-archive-keyring.gpg tool host_suite mirror security
  for tool in apt-get apt-cache dpkg-deb tar flock; do
    command -v "$tool" >/dev/null || { echo "needs $tool: run this on Debian 12 or later" >&2; exit 1; }
  done
  [ -r "$keyring" ] || { echo "needs $keyring: apt-get install debian-archive-keyring" >&2; exit 1; }

  mkdir -p "$(dirname "$prefix")"
  exec 9>"$prefix.lock"
  flock -w 600 9
  [ -e "$prefix/.complete" ] && exit 0

  # The mirrors are the ones that this machine's own apt uses.
  host_suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  mirror_of() {
    { apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' || true; } |
      awk -v suite="$1" '$1 == suite && !seen { print $2; seen = 1 }'
  }
  mirror=$(mirror_of "$host_suite")
  security=$(mirror_of "$host_suite-security")
  [ -n "$mirror" ] || { echo "apt on this machine has no mirror for Debian $host_suite" >&2; exit 1; }

  rm -rf "$prefix" "$prefix.apt"
  mkdir -p "$prefix" "$prefix.apt"/{state/lists/partial,cache/archives/partial,packages}
  state=$prefix.apt
  : >"$state/status" # nothing counts as installed, so every library is fetched
  echo "deb [signed-by=$keyring] $mirror $suite main" >"$state/sources.list"
  [ -z "$security" ] || echo "deb [signed-by=$keyring] $security $suite-security main" >>"$state/sources.list"
  options=(-q -q
    -o Dir::State="$state/state" -o Dir::State::status="$state/status" -o Dir::Cache="$state/cache"
    -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none -o Debug::NoLocking=1
    -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false -o Acquire::Retries=3)
  apt-get "${options[@]}" update
}

unpack_packages() {
  local directory package
  # bookworm's packages still ship /lib: the links merge it into /usr before anything is unpacked.
  for directory in lib lib64 bin sbin; do
    mkdir -p "$prefix/usr/$directory"
    ln -s "usr/$directory" "$prefix/$directory"
  done
  for package in "$state"/packages/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x -C "$prefix" --keep-directory-symlink --no-same-owner \
      --exclude=./usr/share/doc --exclude=./usr/share/man --exclude=./usr/share/locale "$@"
  done
}

# LD_LIBRARY_PATH would also reach the host's sh.
run_through_own_loader() {
  local libc libraries loaders program
  libc=$(ls "$prefix"/usr/lib/*/libc.so.6)
  libraries=$(dirname "$libc")
  loaders=("$libraries"/ld-linux*.so.*)
  find "$1" -type f -perm -u+x ! -name '*.so*' | while read -r program; do
    [ "$(head -c 4 "$program" | tr -d '\0')" = "$(printf '\177ELF')" ] || continue
    mv "$program" "$program.elf"
    printf '#!/bin/sh\nexec %s --library-path %s --argv0 "$0" %s "$@"\n' \
      "${loaders[0]}" "$libraries" "$program.elf" >"$program"
    chmod 755 "$program"
  done
}
