#!/bin/bash
# install-postgres.sh SUITE VERSION PREFIX
# Unpacks PostgreSQL VERSION of a Debian suite (trixie: 17) into PREFIX, as install-rabbitmq.sh does with RabbitMQ. No
# root, no container, no maintainer script. apt verifies the archive's signatures as always. Does nothing when
# PREFIX/.complete is there; two calls at a time wait for each other. PREFIX holds absolute paths: it cannot be moved,
# and must have no blanks. The time zones are this machine's own (/usr/share/zoneinfo).
set -euo pipefail
suite=$1 version=$2 prefix=$3
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

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

# LLVM (130 MB) only compiles queries: the server runs without it. perl and Debian's wrappers are left out as well.
packages=("postgresql-$version" "postgresql-client-$version")
libraries=$(apt-cache "${options[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
  --no-replaces --no-enhances "${packages[@]}" |
  grep -E '^(lib|zlib1g$)' |
  grep -v -E '^lib(llvm|perl|json-perl|common-sense|types-|ipc-|debconf|pam-|semanage|newt|slang|textwrap|db5|gdbm)' |
  sort -u)
# shellcheck disable=SC2086 # one word for each package
(cd "$state/packages" && apt-get "${options[@]}" download "${packages[@]}" $libraries)

for directory in lib lib64 bin sbin; do # these links merge / into /usr before anything is unpacked
  mkdir -p "$prefix/usr/$directory"
  ln -s "usr/$directory" "$prefix/$directory"
done
for package in "$state"/packages/*.deb; do
  dpkg-deb --fsys-tarfile "$package" | tar -x -C "$prefix" --keep-directory-symlink --no-same-owner \
    --exclude=./usr/share/doc --exclude=./usr/share/man --exclude=./usr/share/locale \
    --exclude="./usr/lib/postgresql/$version/lib/bitcode"
done

# Each program runs through its own suite's loader and libraries. LD_LIBRARY_PATH would also reach the host's sh.
libc=$(ls "$prefix"/usr/lib/*/libc.so.6)
libraries=$(dirname "$libc")
loaders=("$libraries"/ld-linux*.so.*)
find "$prefix/usr/lib/postgresql/$version/bin" -type f -perm -u+x | while read -r program; do
  [ "$(head -c 4 "$program" | tr -d '\0')" = "$(printf '\177ELF')" ] || continue
  mv "$program" "$program.elf"
  printf '#!/bin/sh\nexec %s --library-path %s --argv0 "$0" %s "$@"\n' "${loaders[0]}" "$libraries" "$program.elf" >"$program"
  chmod 755 "$program"
done

rm -rf "$state"
chmod 755 "$prefix"
"$prefix/usr/lib/postgresql/$version/bin/postgres" --version >"$prefix/.complete.new"
mv "$prefix/.complete.new" "$prefix/.complete"
