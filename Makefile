# make help lists the targets. Nothing here needs more than Go, make and, for
# packages that are missing, root or sudo on Debian.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export PATH := $(CURDIR)/.tmp/bin:$(PATH)
export CGO_ENABLED ?= 1
# The version is stamped below, so that a checkout of another user builds too.
export GOFLAGS := $(GOFLAGS) -buildvcs=false

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null)
LDFLAGS := -X github.com/openmnq/mnq/internal/service.version=$(VERSION) -X github.com/openmnq/mnq/internal/service.commit=$(COMMIT)

.PHONY: help build test quick bench faults release screenshots fmt lint generate tools

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile

build: ## write bin/mnq
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/mnq ./cmd/mnq

test: ## install what the tests need, then format, vet, lint, race, fuzz, end to end, consumers
	@scripts/install
	@scripts/test full

quick: tools ## format, vet, lint, unit tests: the inner loop
	@scripts/test quick

bench: build ## benchmarks, cold start and memory
	@scripts/bench

faults: build ## every fault that can be made here, in full: under 30 minutes, as root
	@scripts/faults

release: ## binaries, packages, image, chart, bill of materials and checksums in dist
	@scripts/release

screenshots: build ## pictures of every page of the console, in .tmp/screenshots
	@scripts/install
	MNQ_BIN=$(CURDIR)/bin/mnq MNQ_SCREENSHOTS=$(CURDIR)/.tmp/screenshots go test -count=1 -tags e2e -run TestConsole/Pages ./test/console

fmt: tools ## format the code
	find . -name '*.go' -not -path './.tmp/*' | xargs gofumpt -w
	golangci-lint fmt

lint: tools ## lint only
	golangci-lint run ./...

generate: ## run the generators
	go generate ./...

tools: .tmp/tools.stamp

.tmp/tools.stamp: tools/go.mod tools/go.sum
	@mkdir -p .tmp/bin
	cd tools && GOBIN=$(CURDIR)/.tmp/bin go install tool
	@touch $@
