#!/bin/sh
# Makes sure that the programs which the tests need are there.
#
#   scripts/deps.sh [cc] [postgres] [node]
#
# Where it may (root on a Debian-like system) it installs what is missing; elsewhere it
# says what to install and fails. It prints nothing when everything is there.
set -eu

# The race detector is linked with the C compiler, against the C library.
has_cc() {
	echo '#include <stdlib.h>' | ${CC:-$(go env CC)} -x c -E - >/dev/null 2>&1
}

# The tests start servers of their own, so the client is not enough.
has_postgres() {
	for dir in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql@*/bin \
		/usr/local/opt/postgresql@*/bin /usr/local/pgsql/bin "$(dirname "$(command -v postgres || echo /none/x)")"; do
		[ -x "$dir/postgres" ] && [ -x "$dir/initdb" ] && [ -x "$dir/pg_ctl" ] || continue
		major=$("$dir/postgres" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
		[ "$major" -ge 15 ] && return 0
	done
	return 1
}

has_node() {
	major=$(node --version 2>/dev/null | sed 's/^v\([0-9]*\).*/\1/')
	[ "${major:-0}" -ge 18 ]
}

missing() {
	for need in "$@"; do
		"has_$need" || echo "$need"
	done
}

name_of() {
	case $1 in
	cc) echo "a C compiler with the C library's headers (gcc)" ;;
	postgres) echo "the PostgreSQL server, 15 or newer" ;;
	node) echo "Node.js, 18 or newer" ;;
	esac
}

packages_of() {
	case $1 in
	cc) echo gcc libc6-dev ;;
	postgres) echo postgresql ;;
	node) echo nodejs ;;
	esac
}

# install uses apt, and keeps Debian from making and starting a database cluster.
install() {
	packages=$(for need in "$@"; do packages_of "$need"; done)
	echo "Installing what the tests need:" $packages >&2
	drop_in=/etc/postgresql-common/createcluster.d/pombal-tests.conf
	mkdir -p "${drop_in%/*}"
	echo "create_main_cluster = false" >"$drop_in"
	trap 'rm -f "$drop_in"' EXIT
	export DEBIAN_FRONTEND=noninteractive
	log=$(mktemp)
	# shellcheck disable=SC2086 # one word for each package
	if ! { apt-get update && apt-get install -y --no-install-recommends $packages; } >"$log" 2>&1; then
		tail -n 20 "$log" >&2
	fi
	rm -f "$log"
}

needs=$(missing "$@")
[ -n "$needs" ] || exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
	# shellcheck disable=SC2086 # one word for each need
	install $needs
	# shellcheck disable=SC2086
	needs=$(missing $needs)
fi
[ -n "$needs" ] || exit 0
for need in $needs; do
	echo "Please install $(name_of "$need") and run this again; make test-short does without." >&2
done
exit 1
