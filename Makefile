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
# Copies of public benchmark data.
DATASETS := $(or $(EDGE_ANOMALY_DATASETS),../shared/datasets)
# How long CI may build a Kubernetes API server that is not cached.
APISERVER_BUILD ?= 12m

# The module at the top, and those below test/ and otelcol/, whose needs stay out of go.mod.
# The module that only pins a Kubernetes API server is left to test-apiserver: it has no code, and hundreds of needs.
MODULES := . $(patsubst ./%/go.mod,%,$(shell find ./test ./otelcol -name go.mod -not -path '*/testdata/*' -not -path '*/apiserver/tools/*'))
REFERENCE := docs/reference.md
PROTOS := anomalydetector/v1/anomalydetector.proto remotewrite/remotewrite.proto sparkplug/sparkplug.proto

# Tools are kept by Go version: a linter built by an older Go misreads a newer
# standard library.
TOOLS := bin/tools/$(shell $(GO) env GOVERSION)
LINT := $(TOOLS)/golangci-lint
PROTOGEN := $(TOOLS)/protogen
PLUGINS := $(TOOLS)/protoc-gen-go $(TOOLS)/protoc-gen-go-grpc
SBOM := $(TOOLS)/cyclonedx-gomod

# What is released, and for which processors; .goreleaser.yaml says the same.
PROGRAMS := ./cmd/adctl ./examples/restful-light-mapper ./cmd/anomaly-detector ./examples/room-simulator
PLATFORMS := amd64 arm64 arm/7

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^##@ / { printf "\n%s\n", substr($$0, 5) } /^[a-z0-9-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ Try it
.PHONY: demo demo-live demo-cloud guide
demo: ## Simulated EdgeCore, room and mapper: faults are injected, detected and listed
	$(GO) run ./examples/demo

demo-live: ## The same, left running until Ctrl-C
	$(GO) run ./examples/demo --live

demo-cloud: ## Devices whose mapper knows nothing of detection, watched by anomaly-detector from KubeEdge's API and a broker; half a minute
	$(GO) run ./examples/demo-cloud

guide: ## The commands of examples/loop/README.md, as they are printed there: record, train, try, deploy
	EDGE_ANOMALY_GUIDE=1 $(GO) test -count=1 -timeout 10m -v -run 'TestGuide$$' ./examples/loop

##@ Build and test
.PHONY: build test vet vet-modules unit test-long test-bus race fuzz-smoke
build: ## Compile everything; programs go to bin/
	$(GO) build -o bin/ ./...

# vet is left to lint, whose checks its own are among: go test would read all that is imported for them, a minute of two cores.
test: unit race ## All that a change must pass before it is sent: tests, race-checked tests

vet: ## go vet
	$(GO) vet ./...

# What the nested modules need is downloaded first, and compiled: minutes that are no test of a change.
vet-modules: ## go vet in the nested modules: tools, API server, the collector's processor
	@for dir in $(filter-out .,$(MODULES)); do echo "$(GO) vet ./... # in $$dir"; (cd $$dir && $(GO) vet ./...); done

# Many packages wait for a peer, a timer or a process: two more at a time than there are cores keep the cores busy.
AT_ONCE ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 2)))

unit: ## All tests
	$(GO) test -vet=off -p $(AT_ONCE) -timeout 8m ./...

test-long: ## The statistical tests in full: ten streams of each sort, a restart at each of 5,000 lengths, every cost; four minutes
	EDGE_ANOMALY_HEAVY=1 $(GO) test -vet=off -timeout 20m ./driver/builtin ./pkg/engine/group ./pkg/engine/watch ./cmd/adctl/cli

test-bus: ## Workers and NATS nodes are killed under 2,000,000 readings, in full; a quarter of an hour of two cores
	EDGE_ANOMALY_HEAVY=1 $(GO) test -count=1 -vet=off -v -timeout 45m -run AtLength ./admethod/bus

# The long statistical tests are left to unit, and so are packages that are not made for several goroutines, and whose tests
# start none: a lock in a test alone is no reason, the templates of scaffold only speak of goroutines, and what adctl runs at
# once is below cli; and benchmarks, and checks of documents by a server of the test. The race detector needs cgo.
STARTS := ^\s*(defer )?go (func\b|[[:alnum:]_.]+\()|\.Go\(
FIND := grep -rlE --exclude-dir={bin,test,otelcol,testdata,cli,scaffold,bench,batch}
RACED = { $(FIND) --include='*_test.go' '$(STARTS)|"testing/synctest"|\bchan\b' .; \
	$(FIND) --include='*.go' --exclude='*_test.go' --exclude='*.pb.go' '$(STARTS)|"(sync|sync/atomic)"|\bchan\b' .; } | xargs -rn1 dirname | sort -u

race: ## Tests under the race detector, without the long ones
	@cc="$$($(GO) env CC)"; \
	if command -v "$${cc%% *}" >/dev/null; then echo "$(GO) test -race -short -vet=off"; $(GO) test -race -short -vet=off -p $(AT_ONCE) -timeout 8m $$($(RACED)); \
	else echo "no C compiler ($$cc): the race detector is left out" >&2; fi

fuzz-smoke: ## Every fuzz target for FUZZTIME (1000 inputs) each
	@grep -roE --include='*_test.go' '^func Fuzz[[:alnum:]_]*' --exclude-dir=test --exclude-dir=bin . | sort | \
	while IFS=: read -r file decl; do \
		echo "$$(dirname $$file) $${decl#func }"; \
		$(GO) test -run '^$$' -fuzz "^$${decl#func }$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "$$(dirname $$file)" </dev/null; \
	done

.PHONY: test-otelcol
test-otelcol: ## The processor of the OpenTelemetry Collector, a collector that is built with it, and what OpenTelemetry's SDK pushes
	cd otelcol && $(GO) test -vet=off -timeout 8m ./...
	cd otelcol/e2e && $(GO) test -vet=off -timeout 10m ./...

.PHONY: test-apiserver test-apiserver-ci interop monitoring test-page scaffold-check packaging
test-apiserver: ## Sinks against a real Kubernetes API server; builds it once, in some ten minutes
	dir="$$(GO='$(GO)' test/apiserver/build.sh)"; cd test/apiserver && EDGE_ANOMALY_APISERVER="$$dir" $(GO) test -timeout 20m ./...

test-apiserver-ci: ## The same if its programs are built, or can be within APISERVER_BUILD (12m)
	@code=0; dir="$$(GO='$(GO)' test/apiserver/build.sh --within $(APISERVER_BUILD))" || code=$$?; \
	if ((code == 75)); then echo "test-apiserver is left out: its programs are not built yet" >&2; exit 0; fi; \
	((code == 0)) && cd test/apiserver && EDGE_ANOMALY_APISERVER="$$dir" $(GO) test -timeout 20m ./...

interop: ## Python peers that know only the proposal's fields; needs Debian's python3-grpcio and python3-grpc-tools
	examples/interop/run.sh

monitoring: ## Sinks, sources, rules and dashboard with a real Prometheus, Alertmanager, Mosquitto and MariaDB; Debian's packages
	examples/monitoring/run.sh

test-page: ## The page for operators in a real Chromium; Debian's package, which CI installs
	test/page/run.sh

scaffold-check: ## A new mapper, and patched ones of KubeEdge v1.18 to v1.23, built, tested and run
	EDGE_ANOMALY_BUILDS=1 $(GO) test -timeout 15m -run 'TestProjectWorks|TestPatched(Mapper|Release)|TestAdaptedTemplateBuilds' ./pkg/scaffold ./cmd/adctl/cli

packaging: ## Helm chart, manifests and Dockerfiles: linted, rendered, and held against the types of Kubernetes
	cd test/packaging && $(GO) test -timeout 10m ./...

##@ Release
.PHONY: cross test-32bit sbom sbom-tool release-check
cross: ## The released programs for linux on amd64, arm64 and armv7, static, in dist/
	@for platform in $(PLATFORMS); do \
		dir="dist/linux_$${platform/\//v}"; mkdir -p "$$dir"; echo "$(GO) build $(PROGRAMS) # to $$dir"; \
		CGO_ENABLED=0 GOOS=linux GOARCH="$${platform%/*}" GOARM="$${platform#*/}" $(GO) build -trimpath -ldflags='-s -w' -o "$$dir/" $(PROGRAMS); \
	done

test-32bit: ## go vet for 386, and the libraries' tests as 386 programs, which amd64 runs; without the long ones
	GOARCH=386 CGO_ENABLED=0 $(GO) vet ./...
	GOARCH=386 CGO_ENABLED=0 $(GO) test -short -timeout 8m ./proto/... ./pkg/... ./driver/... ./admethod/...

sbom: cross $(SBOM) ## A CycloneDX bill of materials beside each of those programs
	@for platform in $(PLATFORMS); do for program in $(notdir $(PROGRAMS)); do \
		file="dist/linux_$${platform/\//v}/$$program"; echo "$$file.cdx.json"; \
		GOOS=linux GOARCH="$${platform%/*}" $(SBOM) bin -json -std -output "$$file.cdx.json" "$$file"; \
	done; done

sbom-tool: $(SBOM)
	@echo $(abspath $(SBOM))

release-check: ## .goreleaser.yaml, and what cross and sbom have made
	cd test/release && $(GO) test -count=1 ./...

##@ Measure
.PHONY: bench bench-speed bench-sources bench-accuracy check-accuracy bench-recording
bench: ## Benchmarks matching BENCH (all), for BENCHTIME (1s) each
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem ./...

bench-speed: ## Cost of a reading and of a stream: every detector, alone and on its whole way
	$(GO) run ./cmd/adctl bench speed

bench-sources: ## Readings a second that one core judges by MQTT and OTLP together, a million of each, over ten restarts of a real Mosquitto
	MONITORING=1 EDGE_ANOMALY_HEAVY=1 $(GO) test -count=1 -timeout 15m -v -run 'TestThroughput$$' ./admethod/source/all

bench-recording: ## Cost of recording, memory, and exports of ten million readings; two minutes, half a gigabyte of disk
	EDGE_ANOMALY_HEAVY=1 $(GO) test -count=1 -timeout 15m -v -run 'TestTenMillion|TestMemory|TestCostOfRecording' ./pkg/dataset/store ./admethod/recorder

bench-accuracy: ## What is found, as one table: on recordings, boards and synthetic faults, in EDGE_ANOMALY_DATASETS (../shared/datasets)
	$(GO) run ./cmd/adctl bench accuracy --data "$(DATASETS)"

check-accuracy: ## The same, failing if a figure falls under its floor; left out where there is no data
	@if [ -d "$(DATASETS)" ]; then set -x; $(GO) run ./cmd/adctl bench accuracy --hold --data "$(DATASETS)"; \
	else echo "check-accuracy is left out: no benchmark data in $(DATASETS); EDGE_ANOMALY_DATASETS names it" >&2; fi

##@ Keep it clean
.PHONY: fmt lint tidy check-tidy generate check-generated docs page-chart page-picture check-docs ci clean
fmt: $(LINT) ## Format and sort imports
	$(LINT) fmt

# A linter cache shared by checkouts reports findings in files of another one, which may be gone.
lint: export GOLANGCI_LINT_CACHE := $(abspath bin/lint-cache)
lint: $(LINT) ## golangci-lint, import floors included, in every module
	@for dir in $(MODULES); do echo "golangci-lint run # in $$dir"; (cd $$dir && $(abspath $(LINT)) run --allow-parallel-runners ./...); done

tidy: ## go mod tidy, in every module
	@for dir in $(MODULES); do (cd $$dir && set -x && $(GO) mod tidy); done

check-tidy: ## Fail if go mod tidy would change a module
	@for dir in $(MODULES); do echo "$(GO) mod tidy -diff # in $$dir"; (cd $$dir && $(GO) mod tidy -diff); done

generate: $(PROTOGEN) $(PLUGINS) ## Generate code from the .proto files
	$(PROTOGEN) -root proto $(PLUGINS:%=-plugin %) $(PROTOS)

check-generated: $(PROTOGEN) $(PLUGINS) ## Fail if generated code is not current
	$(PROTOGEN) -check -root proto $(PLUGINS:%=-plugin %) $(PROTOS)

UPLOT := 1.6.32
UPLOT_SHA512 := 2883159c6ebccefbb95d751b0b82d010f9e1c0ec41b8bc96d401eda66e882935c89a46cb824332fa369b8cb8122cc6ac36e186cd09bf7a9ded3a4c93c6989023
page-chart: ## Take the chart library of the page from the npm registry, by its checksum
	@dir="$$(mktemp -d)"; trap 'rm -rf "$$dir"' EXIT; \
	curl -fsSL -o "$$dir/uplot.tgz" https://registry.npmjs.org/uplot/-/uplot-$(UPLOT).tgz; \
	echo "$(UPLOT_SHA512)  $$dir/uplot.tgz" | sha512sum --check --quiet; \
	tar -xzf "$$dir/uplot.tgz" -C "$$dir"; cd admethod/page/assets; \
	cp "$$dir/package/dist/uPlot.iife.min.js" uplot.js; cp "$$dir/package/dist/uPlot.min.css" uplot.css; cp "$$dir/package/LICENSE" uplot-LICENSE.txt

page-picture: ## Take the pictures of the page in docs/ anew, in a real Chromium
	PAGE_REQUIRED=1 PAGE_PICTURE=$(abspath docs/page.png) test/page/run.sh -run TestPicture

docs: ## Write the reference of keys, detectors, adapters and sinks into docs/reference.md
	$(GO) run ./cmd/adctl docs --write $(REFERENCE)

check-docs: ## Fail if that reference is not current
	$(GO) run ./cmd/adctl docs --check $(REFERENCE)

ci: check-generated check-tidy check-docs build lint test test-long vet-modules test-otelcol scaffold-check fuzz-smoke check-accuracy demo demo-cloud guide interop monitoring test-page packaging test-32bit sbom release-check test-apiserver-ci ## All of the above that can fail, as CI runs it

clean: ## Remove what make has built
	rm -rf bin dist

# The linter takes a minute or two to build, once per version.
$(LINT): test/tools/go.mod test/tools/go.sum
	cd test/tools && $(GO) build -o $(abspath $@) github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(TOOLS)/protoc-gen-go: test/tools/go.mod test/tools/go.sum
	cd test/tools && $(GO) build -o $(abspath $@) google.golang.org/protobuf/cmd/protoc-gen-go

$(TOOLS)/protoc-gen-go-grpc: test/tools/go.mod test/tools/go.sum
	cd test/tools && $(GO) build -o $(abspath $@) google.golang.org/grpc/cmd/protoc-gen-go-grpc

$(SBOM): test/tools/go.mod test/tools/go.sum
	cd test/tools && CGO_ENABLED=0 $(GO) build -o $(abspath $@) github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod

$(PROTOGEN): test/tools/go.mod test/tools/go.sum $(wildcard test/tools/protogen/*.go)
	cd test/tools && $(GO) build -o $(abspath $@) ./protogen
