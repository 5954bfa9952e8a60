#!/bin/sh
# Checks the format, go vet and golangci-lint.
set -eu
cd "$(dirname "$0")/.."
GO=${GO:-go}
version=2.15.0
linter=.bin/golangci-lint-$version

unformatted=$("$("$GO" env GOROOT)/bin/gofmt" -l .)
if [ -n "$unformatted" ]; then
	echo "Run gofmt -w on:" >&2
	echo "$unformatted" >&2
	exit 1
fi

"$GO" vet ./...

# Kept outside of go.mod, whose dependencies are those of the program.
if [ ! -x "$linter" ]; then
	echo "Building golangci-lint $version, once…" >&2
	GOBIN="$PWD/.bin/build" GOFLAGS= CGO_ENABLED=0 "$GO" install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$version"
	mv .bin/build/golangci-lint "$linter"
	rmdir .bin/build
fi
"$linter" run
