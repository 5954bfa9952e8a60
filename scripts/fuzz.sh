#!/bin/sh
# Runs every fuzz target for a while: scripts/fuzz.sh 30s. What is found stays in the
# package's testdata/fuzz and from then on is a test.
set -eu
cd "$(dirname "$0")/.."
GO=${GO:-go}
time=${1:-30s}
for package in $("$GO" list ./...); do
	for target in $("$GO" test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
		echo "== $target in $package"
		"$GO" test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package"
	done
done
