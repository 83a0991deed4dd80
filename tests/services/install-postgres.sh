#!/bin/bash
# install-postgres.sh SUITE VERSION PREFIX
# Unpacks PostgreSQL VERSION of a Debian suite (trixie: 17) into PREFIX, as install-rabbitmq.sh does with RabbitMQ. No
# root, no container, no maintainer script. apt verifies the archive's signatures as always. Does nothing when
# PREFIX/.complete is there; two calls at a time wait for each other. PREFIX holds absolute paths: it cannot be moved,
# and must have no blanks. The time zones are this machine's own (/usr/share/zoneinfo).
set -euo pipefail
suite=$1 version=$2 prefix=$3
. "$(dirname "$0")/debian-suite.sh"
open_suite

# LLVM (130 MB) only compiles queries: the server runs without it. perl and Debian's wrappers are left out as well.
packages=("postgresql-$version" "postgresql-client-$version")
libraries=$(apt-cache "${options[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
  --no-replaces --no-enhances "${packages[@]}" |
  grep -E '^(lib|zlib1g$)' |
  grep -v -E '^lib(llvm|perl|json-perl|common-sense|types-|ipc-|debconf|pam-|semanage|newt|slang|textwrap|db5|gdbm)' |
  sort -u)
# shellcheck disable=SC2086 # one word for each package
(cd "$state/packages" && apt-get "${options[@]}" download "${packages[@]}" $libraries)

unpack_packages --exclude="./usr/lib/postgresql/$version/lib/bitcode"
run_through_own_loader "$prefix/usr/lib/postgresql/$version/bin"

rm -rf "$state"
chmod 755 "$prefix"
"$prefix/usr/lib/postgresql/$version/bin/postgres" --version >"$prefix/.complete.new"
mv "$prefix/.complete.new" "$prefix/.complete"
