# SPDX-License-Identifier: Apache-2.0
# `make demo` and `make test` are the two commands to know: as root, on a fresh Debian 12 with Go. `make help` has the rest.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

export CGO_ENABLED := 0
version := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
generated := $(wildcard $(addsuffix /*_bpfel.*,bpf test/bench test/dataplane/limit) config/schema/*.json config/dashboards/*.json)
stream = $$(awk '$$3 == "$(1)" {print "./" $$1}' .ci/budget)
c_files := $(wildcard bpf/*.c bpf/*.h)

help: ## print every target with its sentence
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: ## install what is missing from Debian (root), and say what, first
	@.ci/deps

generate: ## write the Go bindings of the dataplane (needs clang-19) and the JSON schemas again
	go generate ./...

generate-check: ## fail when what is committed is not what generate writes
	@mkdir -p bin; sha256sum $(generated) >bin/.generated.sum; trap 'rm -f bin/.generated.sum' EXIT; \
	$(MAKE) generate; \
	sha256sum --quiet --check bin/.generated.sum || { echo "generate-check: these files were out of date: commit what changed" >&2; exit 1; }

build: ## build bin/spillway, one static binary (needs Go only)
	go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(version)' -o bin/spillway ./cmd/spillway

demo: root deps build ## block bots in front of a real web server, in namespaces of its own, in two minutes (root)
	go build -trimpath -buildvcs=false -o bin/ ./test/support/bots/mimic ./cmd/spillway-demo
	bin/spillway-demo

# Three streams (.ci/budget): what makes traffic runs one package at a time, and beside it what computes. The emulated kernels get
# what the others leave. A stream that ran in the background says its lines at the end. What is compared with a model begins at one
# seed: a run fails for what was changed. A short part has a new one, and what that finds is filed in bin/finds; soak and fuzz look on.
test: root deps generate-check lint build ## run all that can be run on one machine (root); its own output comes last
	@mkdir -p bin
	@{ nice -n 5 go test -count=1 -v -timeout 30m $(call stream,guests) >bin/guests.log 2>&1 & guests=$$!; \
	SPILLWAY_SEED=$${SPILLWAY_SEED:-20261128} SPILLWAY_FINDS=$(CURDIR)/bin/finds \
		go test -count=1 -v -p 1 -timeout 30m $(call stream,beside) >bin/beside.log 2>&1 & beside=$$!; \
	trap 'kill $$guests $$beside 2>/dev/null || true' EXIT; failed=0; \
	SPILLWAY_SWAPS=$${SPILLWAY_SWAPS:-200} go test -count=1 -v -p 1 -timeout 30m $(call stream,live) | tee bin/live.log || failed=1; \
	wait $$beside || failed=1; cat bin/beside.log; \
	wait $$guests || failed=1; cat bin/guests.log; exit $$failed; } | .ci/tell

unit: ## run the tests that need neither root nor clang, and say which were left out
	@env -u CI go test -count=1 -short -v ./... | env -u CI .ci/tell

soak: root build ## the long versions: 1,000 swaps, a minute of each flood, every fault, a million ClientHellos, 100,000 schedules (root)
	SPILLWAY_SWAPS=1000 SPILLWAY_ATTACK_FOR=1m SPILLWAY_FAULTS=all SPILLWAY_HELLOS=1000000 SPILLWAY_SCHEDULES=100000 \
		SPILLWAY_CAPTURES=100000 SPILLWAY_TRACES=300 SPILLWAY_HISTORIES=30000 go test -count=1 -p 1 -timeout 4h \
		$(addprefix ./test/system/,swap attack fault upgrade) $(addprefix ./test/dataplane/,ja4 receiver fingerprints rollout) \
		./userspace/stages

fuzz: root ## compare the dataplane with its model, and with the reader of captures, until SPILLWAY_FUZZ_FOR has passed (8h)
	SPILLWAY_FUZZ_FOR=$${SPILLWAY_FUZZ_FOR:-8h} go test -count=1 -timeout 0 -v -run 'TestA22ProgramAndModelAgree|TestBothReadersOfCaptures' \
		./test/dataplane/oracle ./test/dataplane/fingerprints

verdicts: root ## write docs/VERDICTS.md again, by program runs
	go test -count=1 -run TestVerdicts ./test/dataplane/matrix -update

acceptance: root ## run the tests of docs/ACCEPTANCE.md, switch off each guard in turn, and write the page (hours; root)
	go run ./test/acceptance -tests -faults

acceptance-page: ## write docs/ACCEPTANCE.md of what the last `make test` said
	go run ./test/acceptance -read bin/live.log,bin/beside.log,bin/guests.log

lint: ## go vet, gofmt, go.mod, licences, and the direction of imports
	go vet ./...
	@go mod tidy -diff || { echo "lint: go.mod or go.sum is not tidy: run go mod tidy" >&2; exit 1; }
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$unformatted" ]; then \
		echo "lint: not formatted (make fmt): $$unformatted" >&2; exit 1; fi
	go test -count=1 -run 'Import|Licence|Lines' ./test/
	@if command -v clang-format-19 >/dev/null; then clang-format-19 --dry-run -Werror $(c_files); fi

# It builds the linter first, which takes minutes on two cores: so it is no part of `make test`.
golangci := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
lint-more: ## staticcheck, long lines and misspelt words, by golangci-lint (builds it first)
	go run $(golangci) run

fmt: ## format Go, and C by its committed style
	gofmt -w $$(git ls-files '*.go')
	clang-format-19 -i $(c_files)

clean: ## remove what was built
	rm -rf bin
	go clean -testcache

include test/bench/bench.mk test/system/kernels/kernels.mk

root:
	@[ "$$(id -u)" -eq 0 ] || { echo 'this needs root: sudo env "PATH=$$PATH" make $(MAKECMDGOALS)   (make unit does not)' >&2; exit 1; }

.PHONY: help deps generate generate-check build demo test soak fuzz verdicts acceptance acceptance-page unit lint lint-more fmt clean root
