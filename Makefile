# Tarn's build. GNU make 4.3 or later; `make help` lists the targets.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

GO ?= go
PYTHON ?= python3

# One binary for each folder of cmd/ that holds Go files; cmd/internal is shared.
BINARIES := $(sort $(patsubst cmd/%/,%,$(dir $(wildcard cmd/*/*.go))))

# A shallow clone has no tags and an archive no git: both give a development version.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
LDFLAGS := -s -w -X tarn/cmd/internal/boot.version=$(VERSION)

# The linters' requirements are not the product's.
TOOL := $(GO) tool -modfile=tools/go.mod

# Tests read these; TARN_TESTDATA (a folder of shared test data, optional) is
# passed through from the environment as it is.
export TARN_PYTHON := $(CURDIR)/build/venv/bin/python
export TARN_NODE_MODULES := $(CURDIR)/build/node/node_modules
export TARN_PROMETHEUS := $(CURDIR)/build/prometheus

# Arithmetic that the race detector makes ten times slower: with it one test, which
# stops all that runs at once.
ARITHMETIC := tarn/bench/attack

# Thousands of random sequences, of which the same is true: with it what runs at once.
SEQUENCES := tarn/keys/holder/internal/requests

# Packages that start other programs, whose changes the test cache cannot see.
UNCACHED := ./cmd/...
TEST_TIMEOUT ?= 20m
# The fuzz target to run, or all of them, and for how long each.
FUZZ ?=
FUZZTIME ?= 5m
# A suite of tarn bench, or all of them; small ends within ten minutes a suite.
BENCH ?=
BENCH_SCALE ?= small

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

.PHONY: build
build: ## static binaries in bin/
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/ $(addprefix ./cmd/,$(BINARIES))

# The program that builds images, and the words that it begins with.
BUILDAH ?= buildah

.PHONY: images
images: build ## the images of the three services, with buildah: docs/deployment.md
	rm -rf build/images
	mkdir -p build/images/empty
	chmod 700 build/images/empty
	cp bin/tokeniser bin/keyholder bin/auditor build/images/
	for service in tokeniser keyholder witness; do \
		$(BUILDAH) build --build-arg VERSION='$(VERSION)' -t "localhost/tarn-$$service" -f "deploy/container/Containerfile.$$service" build/images; \
	done

.PHONY: demo
demo: build ## everything end to end on synthetic people, in about a minute; leaves build/demo
	bin/tarn demo --out build/demo

.PHONY: demo-up
demo-up: build ## a key holder with its pages, kept running on loopback for whoever wants to click through them; Ctrl-C ends it
	bin/tarn demo up

.PHONY: test
test: lint unit exhaustive ## all tests; installs what they need
	@echo 'make test: every check and test passed'

.PHONY: lint
lint: fmt vet staticcheck vuln ## the checks that read the code

.PHONY: fmt
fmt: ## gofmt finds nothing to change
	@echo gofmt
	@unformatted=$$(gofmt -l $$(find . -name '*.go' -not -path './build/*' -not -path './.venv/*')); \
	if [ -n "$$unformatted" ]; then echo "gofmt would change:" >&2; echo "$$unformatted" >&2; exit 1; fi

.PHONY: vet
vet:
	$(GO) vet ./...
	$(GO) vet -tags heavy ./cmd/ ./keys/holder ./keys/holder/internal/store
	$(GO) vet -tags faults ./cmd/ ./keys/holder/internal/store

.PHONY: staticcheck
staticcheck:
	$(TOOL) staticcheck ./...

.PHONY: vuln
vuln: ## known vulnerabilities; says so where the database is out of reach
	@tools/vuln $(TOOL) govulncheck ./...

.PHONY: unit
unit: venv node browser curl systemd prometheus compiler ## unit, property, fuzz-seed, import-policy and end-to-end tests, with the race detector
	CGO_ENABLED=1 $(GO) test -race -timeout $(TEST_TIMEOUT) $$($(GO) list ./... | grep -v '^tarn/cmd\(/\|$$\)' | grep -v '^$(ARITHMETIC)$$' | grep -v '^$(SEQUENCES)$$')
	CGO_ENABLED=1 $(GO) test -race -timeout $(TEST_TIMEOUT) -run 'CanBeStopped' $(ARITHMETIC)
	CGO_ENABLED=1 $(GO) test -race -timeout $(TEST_TIMEOUT) -run 'AtOnce|Parallel' $(SEQUENCES)
	$(GO) test -timeout $(TEST_TIMEOUT) $(ARITHMETIC) $(SEQUENCES)
	CGO_ENABLED=1 $(GO) test -race -timeout $(TEST_TIMEOUT) -count=1 $(UNCACHED)

.PHONY: exhaustive
exhaustive: ## tests that try everything: every character, every date, every postcode of some letters
	$(GO) test -timeout $(TEST_TIMEOUT) -run '^TestEvery' ./tokenise/demographics

# The fault scenarios, and the fault tests of the key holder's store.
SCENARIOS := TestFaultScenarios
STOREFAULTS := TestPowerCut|TestFullDisk

.PHONY: test-heavy
test-heavy: venv node browser disk systemd prometheus buildah ## tests that take minutes and gigabytes of disk (in TMPDIR): memory at ten million rows, the fault tests in short, the leak test in full, the privacy self-audit, the pages in a browser (pictures in build/console), images and units
	$(GO) test -tags heavy -timeout 15m -count=1 -run '^TestConsole' -v ./cmd/
	$(GO) test -tags heavy -timeout 40m -count=1 -run 'TestMemoryIsBounded|TestLinkMemoryIsBounded|TestAttack|$(SCENARIOS)' -v ./cmd/
	$(GO) test -tags heavy -timeout 10m -count=1 -run '$(STOREFAULTS)' -v ./keys/holder/internal/store
	$(GO) test -tags heavy -timeout 10m -count=1 -run 'TestNothingLeaks' -v ./cmd/
	$(GO) test -tags heavy -timeout 10m -count=1 -run '^TestPeopleAreAnsweredAsDescribed' -v ./keys/holder
	$(GO) test -tags heavy -timeout 10m -count=1 -run '^TestSoak$$' -v ./cmd/
	$(GO) test -tags heavy -timeout 30m -count=1 -run 'TestDeploy' -v ./cmd/

.PHONY: pictures
pictures: node browser ## the pictures in docs/images of the key holder's pages, as they are now
	mkdir -p docs/images/console
	rm -f docs/images/console/*.png
	$(GO) test -tags heavy -timeout 15m -count=1 -run '^TestConsole$$' ./cmd/ -args -pictures

.PHONY: test-faults
test-faults: disk ## fault scenarios and tests in full (as root; says what it leaves out): docs/reliability.md
	$(GO) test -tags faults -timeout 40m -count=1 -run '$(SCENARIOS)' -v ./cmd/
	$(GO) test -tags faults -timeout 40m -count=1 -v ./keys/holder/internal/store

.PHONY: faults
faults: build disk compiler ## the fault scenarios in full, as root, and the table of their results in docs/reliability.md
	CGO_ENABLED=1 $(GO) build -race -o build/race/ ./cmd/tokeniser
	bin/tarn faults --scale full --race build/race/tokeniser --out docs/reliability
	bin/tarn faults table --in docs/reliability --document docs/reliability.md

# A soak lasts so many minutes.
SOAK_MINUTES ?= 30

.PHONY: soak
soak: build ## load on the tokenise service for half an hour, with a key rotation and SIGTERM in the middle (SOAK_MINUTES=2 for less); leaves bench/results/soak
	bin/tarn soak --minutes '$(SOAK_MINUTES)' --out bench/results/soak

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (5m each; FUZZ=Name for one); stops at the first thing found
	@GO='$(GO)' FUZZ='$(FUZZ)' tools/fuzz '$(FUZZTIME)'

.PHONY: bench
bench: build venv ## the benchmarks beside their peers (BENCH=suite for one, BENCH_SCALE=small or full); leaves bench/results
	bin/tarn bench $(BENCH) --scale '$(BENCH_SCALE)' --python '$(TARN_PYTHON)' --out bench/results

.PHONY: venv
venv: build/venv/.complete ## the Python that some tests compare with

build/venv/.complete: testdata/python/requirements.txt tools/venv
	tools/venv '$(PYTHON)' build/venv $<
	@touch $@

.PHONY: node
node: build/node/.complete ## the npm packages that some tests compare with

build/node/.complete: testdata/node/package.json testdata/node/package-lock.json testdata/node/.npmrc tools/node
	tools/node testdata/node build/node
	@touch $@

.PHONY: browser
browser:
	@tools/browser

.PHONY: curl
curl:
	@tools/curl

.PHONY: systemd
systemd:
	@tools/systemd

.PHONY: prometheus
prometheus:
	@tools/prometheus build/prometheus

.PHONY: buildah
buildah:
	@tools/buildah

.PHONY: disk
disk:
	@tools/disk

# The race detector needs a C compiler; the binaries do not.
.PHONY: compiler
compiler:
	@tools/compiler

.PHONY: clean
clean: ## remove what was built
	rm -rf bin build
