#!/bin/bash
# install-rabbitmq.sh SUITE PREFIX
# Unpacks RabbitMQ and Erlang of a Debian suite (bookworm: 3.10.8, trixie: 4.0.5) into PREFIX. No root, no container, no
# maintainer script. apt verifies the archive's signatures as always. Does nothing when PREFIX/.complete is there; two
# calls at a time wait for each other. PREFIX holds absolute paths: it cannot be moved, and must have no blanks.
set -euo pipefail
suite=$1 prefix=$2
. "$(dirname "$0")/debian-suite.sh"
open_suite

erlang=$(apt-cache "${options[@]}" depends rabbitmq-server | awk '/Depends: erlang/ { print $2 }')
# shellcheck disable=SC2086 # one word for each package
libraries=$(apt-cache "${options[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
  --no-replaces --no-enhances $erlang |
  grep -E '^(erlang-|lib|zlib1g$)' |
  grep -v -E '^lib(pam|semanage|debian-installer|newt|slang|textwrap|db5|debconf|audit)' | sort -u)
# shellcheck disable=SC2086
(cd "$state/packages" && apt-get "${options[@]}" download rabbitmq-server $libraries)

unpack_packages

run_through_own_loader "$prefix/usr/lib/erlang"
{ grep -rlI '/usr/lib/erlang' "$prefix"/usr/lib/erlang/bin "$prefix"/usr/lib/erlang/erts-*/bin || true; } |
  xargs -r sed -i "s#\([^A-Za-z0-9._-]\|^\)/usr/lib/erlang#\1$prefix/usr/lib/erlang#g"

servers=("$prefix"/usr/lib/rabbitmq/lib/rabbitmq_server-*)
ln -sfn "$(basename "${servers[0]}")" "$prefix/usr/lib/rabbitmq/lib/current"
rm -rf "$state"
basename "${servers[0]}" >"$prefix/.complete"
