# `make run` starts Pombal, `make test` tests it, `make help` lists the rest.

GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  := -s -w -X main.version=$(VERSION)
FUZZTIME ?= 30s
COUNT    ?= 10
ARGS     ?=
# The race detector leaves out what only computes, where it takes many times as long: see docs/decisions.md.
COMPUTES := modernc.org/sqlite/lib modernc.org/libc/... crypto/internal/fips140/... filippo.io/edwards25519/...
RACE     := -race $(COMPUTES:%=-gcflags=%=-race=false)
# What it finds inside the WhatsApp library fails no test, but for soak, which knows what was found before.
quiet     = $(GORACE) suppressions="$(CURDIR)/scripts/races/$(1).supp"
# The tests' databases are in memory where that can be, what is built for them is not.
in_memory = GOTMPDIR="$${GOTMPDIR:-$${TMPDIR:-/tmp}}" TMPDIR="$$(scripts/tmpdir.sh)"

.DEFAULT_GOAL := help
.PHONY: help run build test test-short bench soak fuzz lint generate

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Start the API on 127.0.0.1:8080 with a sample account (ARGS="--addr :9000")
	CGO_ENABLED=0 $(GO) run ./cmd/pombal dev $(ARGS)

build: ## Build the static binary .bin/pombal
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o .bin/pombal ./cmd/pombal

test: export GORACE := $(call quiet,libraries)
test: ## Run all tests with the race detector, on SQLite and PostgreSQL
	@scripts/deps.sh cc postgres node
	$(in_memory) CGO_ENABLED=1 $(GO) test $(RACE) -shuffle=on -timeout 15m $$($(GO) list ./... | grep -v /internal/soak$$)
	@# Its nodes are processes of their own, which keep promises about time: others would take the processors from them.
	$(in_memory) CGO_ENABLED=1 $(GO) test $(RACE) -shuffle=on -timeout 15m ./internal/soak

test-short: ## Run the quick tests; what needs an absent program is skipped
	$(GO) test -short ./...

bench: ## Measure the API against its floors (ARGS="-help" lists the flags)
	@scripts/deps.sh postgres
	CGO_ENABLED=0 $(GO) run ./bench $(ARGS)

soak: export GORACE := $(call quiet,known)
soak: ## Run the long variants of all tests COUNT times over, to find what fails now and then
	@scripts/deps.sh cc postgres node
	POMBAL_SOAK=1 CGO_ENABLED=1 $(GO) test $(RACE) -shuffle=on -count=$(COUNT) -timeout 3h ./...

fuzz: ## Run every fuzz target for FUZZTIME
	@GO='$(GO)' scripts/fuzz.sh $(FUZZTIME)

lint: ## Check the format, go vet and golangci-lint
	@GO='$(GO)' scripts/lint.sh

generate: ## Make the generated code again
	$(GO) generate ./...
