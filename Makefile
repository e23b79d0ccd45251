# Portcullis. "make help" lists the targets.

# Trivy, which portcullis-scanner alone links, is built with this experiment only; everything
# else must build with it and without.
export GOEXPERIMENT := jsonv2

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X github.com/portcullis-dev/portcullis/cmd/internal/version.stamp=$(VERSION)
# Packages tested at once. Those with a cluster wait most of the time: three fill two cores, where there are 12 GB for as many control
# planes and race detectors.
PARALLEL ?= $(shell cat /proc/meminfo /sys/fs/cgroup/memory.max 2>/dev/null | \
	awk '$$1 == "MemTotal:" {m = $$2} NF == 1 && $$1 + 0 > 0 {c = $$1 / 1024} END {if (c && c < m) m = c; print (m > 12000000 ? 3 : 2)}')
# Packages that link Trivy: under the race detector they would take longer to build than
# all the others together, and the child that they run in does one thing at a time.
TRIVY := /scanner/trivy|/cmd/portcullis-scanner

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

.PHONY: build
build: ## build the programs into bin/
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

.PHONY: images
images: ## build the container images for amd64 and arm64 into bin/images, without a container daemon (go run ./charts/images --help)
	$(GO) run ./charts/images

.PHONY: demo
demo: ## real requests to a real webhook and the gate on the same files (KEEP=1 leaves it running)
	$(GO) run ./test/demo

.PHONY: demo-cluster
demo-cluster: ## the same at a real API server, built on first use (KEEP=1 leaves it running)
	$(GO) run ./test/demo -cluster

.PHONY: cluster
cluster: ## a real control plane with the chart installed and everything running, for kubectl and a browser (KEEP=0 ends it after its checks)
	$(GO) run ./test/demo -chart

.PHONY: tour
tour: ## the life of a bundle: Git, signature, cluster, replay, canary, rollback (KEEP=1 leaves it running)
	$(GO) run ./test/tour

.PHONY: controlplane
controlplane: ## build the control plane that tests use; minutes the first time, kept in the user's cache
	$(GO) run ./test/cluster/build

.PHONY: vault
vault: ## build the Vault that tests use; minutes the first time, kept in the user's cache
	$(GO) run ./test/vaultserver/build

.PHONY: test
test: controlplane vault ## all tests, with the race detector but for what links Trivy; short forms of load tests and benchmarks
	$(GO) test -vet=off -p $(PARALLEL) -timeout 20m $$($(GO) list ./... | grep -E '$(TRIVY)')
	$(GO) test -vet=off -race -p $(PARALLEL) -timeout 20m $$($(GO) list ./... | grep -vE '$(TRIVY)')

.PHONY: check
check: lint generated ## what is wrong without running it, and files that are generated

.PHONY: generated
generated: ## files that are generated, among all other tests in make test
	$(GO) test -vet=off -count 1 -run 'Golden|Schema|Documented' ./policies/... ./cmd/... ./admission/...

.PHONY: lint
lint: ## formatting, vet, linters, go.mod
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$unformatted" ]; then echo "run gofmt -w on:" $$unformatted; exit 1; fi
	$(GO) vet ./...
	cd test/controlplane && GOEXPERIMENT= $(GO) vet -trimpath ./... # flags as test/cluster builds it, so that both share what is compiled
	cd test/vault && GOEXPERIMENT= $(GO) vet -trimpath ./...
	$(GO) tool staticcheck $$($(GO) list ./... | grep -vE '$(TRIVY)') # what links Trivy would have all of Trivy analysed, for many minutes
	$(GO) mod tidy -diff

.PHONY: vuln
vuln: ## known vulnerabilities in what we link (GOVULNDB names another database)
	$(GO) tool govulncheck $(if $(GOVULNDB),-db $(GOVULNDB)) ./cmd/...

.PHONY: bench
bench: ## the table of budgets and measured figures, of programs as "go install" builds them
	GOEXPERIMENT= $(GO) run ./test/bench/table

FUZZTIME ?= 30s
.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME each
	@$(GO) list -f '{{$$p := .}}{{range .TestGoFiles}}{{$$p.Dir}}/{{.}} {{end}}{{range .XTestGoFiles}}{{$$p.Dir}}/{{.}} {{end}}' ./... | tr ' ' '\n' | xargs -r grep -oHE '^func Fuzz[A-Za-z0-9_]+' | \
	sed -E 's|^(.*)/[^/]*:func (Fuzz.*)$$|\1 \2|' | while read -r dir target; do \
		echo "== $$dir $$target"; $(GO) test -run XXX -fuzz "^$$target$$" -fuzztime $(FUZZTIME) "$$dir" || exit 1; done

.PHONY: soak
soak: controlplane vault ## an hour of faults around and in a whole installation (PORTCULLIS_SOAK_DURATION=10m for less), then the long forms of the load, restart and kill tests
	PORTCULLIS_SOAK=1 $(GO) test -count 1 -v -timeout 6h ./test/soak
	PORTCULLIS_SOAK=1 $(GO) test -count 1 -v -timeout 60m ./test/e2e/... ./policies ./policies/journal ./runtime/falco ./runtime/isolation

.PHONY: golden
golden: ## write the golden files anew
	$(GO) test -run 'Golden|Script|Schema|Documented|Recorded|KnownKind' \
		$$(grep -rl --include='*_test.go' '"update"' cmd admission policies docs | xargs -n1 dirname | sort -u | sed 's|^|./|') -update

.PHONY: clean
clean: ## remove what build made
	rm -rf bin
