# Copyright The edge-anomaly Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Needs go, git and make; a C compiler too for the race detector. All else is
# built from the Go module proxy, pinned by test/tools/go.mod.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Two steps at once would only fight for the cores that each uses in full.
.NOTPARALLEL:

GO ?= go
# What bench runs and for how long; how long fuzz-smoke runs each target.
BENCH ?= .
BENCHTIME ?= 1s
FUZZTIME ?= 1000x

# The module at the top and those below test/, whose needs stay out of go.mod.
# The module that only pins a Kubernetes API server is left to test-apiserver: it has no code, and hundreds of needs.
MODULES := . $(patsubst ./%/go.mod,%,$(shell find ./test -name go.mod -not -path '*/testdata/*' -not -path '*/apiserver/tools/*'))
READMES := README.md README_zh.md
PROTOS := anomalydetector/v1/anomalydetector.proto

# Tools are kept by Go version: a linter built by an older Go misreads a newer
# standard library.
TOOLS := bin/tools/$(shell $(GO) env GOVERSION)
LINT := $(TOOLS)/golangci-lint
PROTOGEN := $(TOOLS)/protogen
PLUGINS := $(TOOLS)/protoc-gen-go $(TOOLS)/protoc-gen-go-grpc

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^##@ / { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ Try it
.PHONY: demo demo-live
demo: ## Simulated EdgeCore, room and mapper: faults are injected, detected and listed
	$(GO) run ./examples/demo

demo-live: ## The same, left running until Ctrl-C
	$(GO) run ./examples/demo --live

##@ Build and test
.PHONY: build test vet unit race fuzz-smoke
build: ## Compile everything; programs go to bin/
	$(GO) build -o bin/ ./...

test: vet unit race ## All that a change must pass before it is sent: vet, tests, race-checked tests

vet: ## go vet, in every module
	@for dir in $(MODULES); do echo "$(GO) vet ./... # in $$dir"; (cd $$dir && $(GO) vet ./...); done

unit: ## All tests
	$(GO) test -timeout 8m ./...

# The long statistical tests are left to unit: they start no goroutine. The race detector needs cgo.
race: ## Tests under the race detector, without the long ones
	@cc="$$($(GO) env CC)"; \
	if command -v "$${cc%% *}" >/dev/null; then set -x; $(GO) test -race -short -timeout 8m ./...; \
	else echo "no C compiler ($$cc): the race detector is left out" >&2; fi

fuzz-smoke: ## Every fuzz target for FUZZTIME (1000 inputs) each
	@grep -roE --include='*_test.go' '^func Fuzz[[:alnum:]_]*' --exclude-dir=test --exclude-dir=bin . | sort | \
	while IFS=: read -r file decl; do \
		echo "$$(dirname $$file) $${decl#func }"; \
		$(GO) test -run '^$$' -fuzz "^$${decl#func }$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "$$(dirname $$file)" </dev/null; \
	done

.PHONY: test-apiserver interop scaffold-check
test-apiserver: ## Sinks against a real Kubernetes API server; builds it once, in some ten minutes
	dir="$$(GO='$(GO)' test/apiserver/build.sh)"; cd test/apiserver && EDGE_ANOMALY_APISERVER="$$dir" $(GO) test -timeout 20m ./...

interop: ## Python peers that know only the proposal's fields; needs Debian's python3-grpcio
	examples/interop/run.sh

scaffold-check: ## A new mapper and a patched one, built and tested
	$(GO) test -timeout 10m -run 'TestProjectWorks|TestPatchedMapperBuilds' ./pkg/scaffold

##@ Measure
.PHONY: bench bench-speed bench-accuracy
bench: ## Benchmarks matching BENCH (all), for BENCHTIME (1s) each
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem ./...

bench-speed: ## Cost of a reading and of a stream: every detector, alone and on its whole way
	$(GO) run ./cmd/adctl bench speed

bench-accuracy: ## What is found: synthetic faults, and NAB and SKAB where EDGE_ANOMALY_DATASETS has them
	$(GO) run ./cmd/adctl bench faults
	@data="$${EDGE_ANOMALY_DATASETS:-../shared/datasets}"; \
	if [ -d "$$data/nab" ] && [ -d "$$data/skab" ]; then set -x; \
		$(GO) run ./cmd/adctl bench nab --data "$$data/nab" --leave-one-out; $(GO) run ./cmd/adctl bench skab --data "$$data/skab"; \
	else echo "no benchmark data in $$data: EDGE_ANOMALY_DATASETS names the directory that holds nab and skab" >&2; fi

##@ Keep it clean
.PHONY: fmt lint tidy check-tidy generate check-generated docs check-docs ci clean
fmt: $(LINT) ## Format and sort imports
	$(LINT) fmt

lint: $(LINT) ## golangci-lint, import floors included, in every module
	@for dir in $(MODULES); do echo "golangci-lint run # in $$dir"; (cd $$dir && $(abspath $(LINT)) run ./...); done

tidy: ## go mod tidy, in every module
	@for dir in $(MODULES); do (cd $$dir && set -x && $(GO) mod tidy); done

check-tidy: ## Fail if go mod tidy would change a module
	@for dir in $(MODULES); do echo "$(GO) mod tidy -diff # in $$dir"; (cd $$dir && $(GO) mod tidy -diff); done

generate: $(PROTOGEN) $(PLUGINS) ## Generate code from the .proto files
	$(PROTOGEN) -root proto $(PLUGINS:%=-plugin %) $(PROTOS)

check-generated: $(PROTOGEN) $(PLUGINS) ## Fail if generated code is not current
	$(PROTOGEN) -check -root proto $(PLUGINS:%=-plugin %) $(PROTOS)

docs: ## Write the detectors' reference into the READMEs
	$(GO) run ./cmd/adctl docs --write $(READMES)

check-docs: ## Fail if that reference is not current
	$(GO) run ./cmd/adctl docs --check $(READMES)

ci: check-generated check-tidy check-docs build lint test fuzz-smoke demo ## All of the above that can fail, as CI runs it

clean: ## Remove what make has built
	rm -rf bin

# The linter takes a minute or two to build, once per version.
$(LINT): test/tools/go.mod test/tools/go.sum
	cd test/tools && $(GO) build -o $(abspath $@) github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(TOOLS)/protoc-gen-go: test/tools/go.mod test/tools/go.sum
	cd test/tools && $(GO) build -o $(abspath $@) google.golang.org/protobuf/cmd/protoc-gen-go

$(TOOLS)/protoc-gen-go-grpc: test/tools/go.mod test/tools/go.sum
	cd test/tools && $(GO) build -o $(abspath $@) google.golang.org/grpc/cmd/protoc-gen-go-grpc

$(PROTOGEN): test/tools/go.mod test/tools/go.sum $(wildcard test/tools/protogen/*.go)
	cd test/tools && $(GO) build -o $(abspath $@) ./protogen
