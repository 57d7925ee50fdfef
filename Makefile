# make lists what there is.

GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  := -s -w -X main.version=$(VERSION)
FUZZTIME ?= 60s
BENCH    ?=
CHAOS    ?=

# The packages whose goroutines share state run under the race detector; the others would only be slower.
RACE := ./internal/ingest/... ./internal/lane/... ./internal/store/... ./internal/step/... ./internal/app/...

LINT_VERSION := v2.15.0
LINT         := .tools/bin/golangci-lint-$(LINT_VERSION)

PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

.DEFAULT_GOAL := help
.PHONY: help build setup test test-full lint bench bench-long chaos chaos-cluster fuzz release clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## bin/relais for this machine
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/relais ./cmd/relais

setup: ## install what the tests need and this machine lacks
	@scripts/setup

test: setup ## all tests, in under ten minutes on two cores
	$(GO) test -count 1 -timeout 9m $$($(GO) list ./... | grep -vxF "$$($(GO) list $(RACE))")
	$(GO) test -count 1 -race -timeout 9m $(RACE)

test-full: setup ## all tests under the race detector, twice, then 200 kills
	$(GO) test -race -count 2 -timeout 60m ./...
	$(MAKE) chaos

lint: $(LINT) ## golangci-lint with .golangci.yml
	$(LINT) run ./...

$(LINT):
	GOBIN='$(CURDIR)/.tools/bin' $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	mv .tools/bin/golangci-lint $@

bench: build ## the table of speeds, and its JSON in bench/results (BENCH='--only latency')
	bin/relais bench --dir bin --results bench/results $(BENCH)

bench-long: build ## the rows that take longer: fair, drop, stored-long (25 GB, 40 minutes)
	bin/relais bench --dir bin --results bench/results --only fair --only drop --only stored-long $(BENCH)

chaos: ## kill relais 200 times under load and count what was lost or done twice (CHAOS='-kills 20')
	$(GO) run ./test/chaos $(CHAOS)

chaos-cluster: setup ## three nodes on one PostgreSQL: killed, stalled, cut off, rolled; the database stopped (CLUSTER='-cluster-rounds 1')
	$(GO) test -count 1 -v -timeout 60m -run TestNothingIsLost ./test/chaos -args -cluster-rounds 3 -cluster-results $(CURDIR)/bench/results $(CLUSTER)

fuzz: ## every fuzz target for FUZZTIME (60s)
	@scripts/fuzz $(FUZZTIME)

release: ## dist/ with a binary for each system, and their checksums
	@rm -rf dist && mkdir -p dist
	@for platform in $(PLATFORMS); do \
		os=$${platform%/*}; arch=$${platform#*/}; extension=; \
		if [ "$$os" = windows ]; then extension=.exe; fi; \
		echo "dist/relais_$(VERSION)_$${os}_$${arch}$${extension}"; \
		CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch $(GO) build -trimpath -ldflags '$(LDFLAGS)' \
			-o "dist/relais_$(VERSION)_$${os}_$${arch}$${extension}" ./cmd/relais || exit 1; \
	done
	@cd dist && sha256sum relais_* > checksums.txt && echo dist/checksums.txt

clean: ## remove what was built
	rm -rf bin dist
