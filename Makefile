# make test is everything but harm (make chaos) and real OpenStack services (make e2e-openstack), which continuous integration
# runs as well; each installs and starts what it needs. make help lists the rest.

GO    ?= go
TOOLS := bin/tools
LINT  := $(TOOLS)/golangci-lint
VULN  := $(TOOLS)/govulncheck
STAT  := $(TOOLS)/benchstat
# How long each fuzz target runs under make fuzz.
FUZZTIME ?= 20s

.PHONY: help build test check fmt lint vuln unit generate fuzz clean compiler rabbitmq proton promtool

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## static binaries into bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w' -o bin/ ./cmd/...

test: check lint vuln unit ## everything: format, vet, linter, known vulnerabilities, all tests with the race detector

check: ## formatting and go vet
	@bad=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$bad" ]; then echo "gofmt would change: $$bad"; exit 1; fi
	$(GO) vet -tags openstack,chaos,bench ./...

fmt: ## format all Go files
	gofmt -w $$(git ls-files '*.go')

lint: $(LINT) ## the linter, with the import rules
	$(LINT) run ./...

# The database of vulnerabilities is on the network. Not reaching it is said and is no failure; a finding is one.
vuln: $(VULN) ## known vulnerabilities in what we call
	@if out=$$($(VULN) ./... 2>&1); then echo "$$out"; \
	elif echo "$$out" | grep -qE 'dial tcp|no such host|connection refused|i/o timeout|TLS handshake|proxyconnect|fetching vulnerabilities'; then \
		echo "govulncheck: the database of vulnerabilities can't be reached from here: not checked"; \
	else echo "$$out"; exit 1; fi

# What takes longest comes first, so that the rest runs beside it.
unit: compiler rabbitmq proton promtool ## all tests with the race detector
	$(GO) test -race -timeout 45m ./internal/e2e ./...

# The race detector needs a C compiler.
compiler:
	@command -v gcc >/dev/null || command -v clang >/dev/null || { \
		if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
			apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev; \
		else echo "go test -race needs a C compiler: install gcc"; exit 1; fi; }

# $(call debian,PACKAGES,MESSAGE) installs packages, or says what is missing. They would start their services: policy-rc.d keeps
# dpkg from it meanwhile.
POLICY := /usr/sbin/policy-rc.d
debian = if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		[ -e $(POLICY) ] || { trap 'rm -f $(POLICY)' EXIT && trap 'exit 1' INT TERM && \
			printf '\#!/bin/sh\nexit 101\n' >$(POLICY) && chmod +x $(POLICY); } && \
		apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends $(1); \
	else echo "$(2)"; exit 1; fi

# Tests start RabbitMQ brokers of their own.
rabbitmq: ## RabbitMQ, which tests start
	@[ -e /usr/lib/rabbitmq/bin/rabbitmq-server ] || { \
		$(call debian,rabbitmq-server,tests of the AMQP sources need RabbitMQ: install rabbitmq-server); }

# Those who send to STF use this library: tests of the AMQP 1.0 source do, too.
proton: ## qpid-proton for Python, which tests use as a peer
	@/usr/bin/python3 -c 'import proton' 2>/dev/null || { \
		$(call debian,python3-qpid-proton,tests of the AMQP 1.0 source need qpid-proton: install python3-qpid-proton); }

promtool: ## promtool, which tries the alerts and the dashboard
	@command -v promtool >/dev/null || { $(call debian,prometheus,tests of the alerts need promtool: install prometheus); }

# Real OpenStack services, in addition to these two those that SERVICES names: cinder, neutron, nova.
SERVICES ?= keystone glance
OPENSTACK_keystone := keystone
OPENSTACK_glance   := glance-api
OPENSTACK_cinder   := cinder-api cinder-scheduler cinder-volume
OPENSTACK_neutron  := neutron-server
OPENSTACK_nova     := nova-api nova-conductor nova-scheduler nova-compute placement-api
# Ceilometer's agent speaks AMQP 1.0 by the last two.
AGENT     := ceilometer-agent-notification python3-qpid-proton python3-pyngus
OPENSTACK := uwsgi-core uwsgi-plugin-python3 $(AGENT) $(foreach s,$(sort keystone glance $(SERVICES)),$(OPENSTACK_$(s)))

.PHONY: e2e-openstack openstack
e2e-openstack: compiler rabbitmq openstack ## the pipeline beside a real keystone and glance, SERVICES="cinder neutron nova" for more
	SERVICES="$(SERVICES)" $(GO) test -race -tags openstack -count=1 -timeout 15m -v ./internal/e2e/openstack/

# What is done to the programs, and when, comes from SEED. RELIABILITY.md has the longer runs.
SEED  ?= $(shell date +%s)
CHAOS ?= -time 80s -most 120s -lease 5s -rereads 4
.PHONY: chaos hostile
chaos: compiler rabbitmq ## real processes, killed, paused, cut off and starved, and a verdict; SEED= does it again, CHAOS= does more
	$(GO) test -tags chaos -count=1 -timeout 24h -v ./chaos -run TestChaos -args -seed $(SEED) $(CHAOS)

# How many notifications make hostile hands over.
HOSTILE ?= 1000000
hostile: ## a million random and mutated notifications through the pipeline, HOSTILE=n for another number
	$(GO) test -count=1 -timeout 90m -v -run TestEveryNotificationComesOut ./internal/e2e/poison -hostile $(HOSTILE)

# What is measured, and how: bench/README.md. BENCH=-short is a minute that shows that it works.
.PHONY: bench bench-parts bench-compare
bench: rabbitmq ## throughput, latency and start of the pipeline beside the ceilings, BENCH="-what growth,providers -json FILE" for more
	$(GO) test -tags bench -count=1 -timeout 24h -v ./bench -run TestBench -args $(BENCH)

# The parts by themselves, in one processor, since that is what can be compared. PARTS is where the figures go.
PARTS ?= bin/parts.txt
bench-parts: ## the Go benchmarks of the parts, COUNT times, into PARTS=FILE
	@mkdir -p $(dir $(PARTS))
	$(GO) test -run '^$$' -bench . -benchmem -count $(COUNT) -cpu 1 -timeout 24h $(PARTS_OF) >$(PARTS) || { cat $(PARTS); exit 1; }
COUNT    ?= 10
PARTS_OF := ./event ./collectors ./collectors/amqp ./collectors/httppoll ./normalizer/... ./publisher ./jetstream ./internal/expr ./internal/notification

# The last release's are the newest in bench/results.
BEFORE ?= $(shell ls -v bench/results/parts-*.txt 2>/dev/null | tail -n 1)
bench-compare: $(STAT) ## PARTS beside those of the last release, BEFORE=FILE for others
	@[ -e "$(BEFORE)" ] || { echo "bench/results has no figures of a release: name others with BEFORE=FILE"; exit 1; }
	@[ -e "$(PARTS)" ] || { echo "there is no $(PARTS): run make bench-parts first"; exit 1; }
	$(STAT) before=$(BEFORE) now=$(PARTS)

openstack:
	@missing=; for p in $(OPENSTACK); do \
		dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q ' installed$$' || missing="$$missing $$p"; done; \
	[ -z "$$missing" ] || { \
		$(call debian,$$missing,these tests need OpenStack as Debian 12 packages it: install$$missing); }

generate: ## the schema and the reference of the configuration, and the page about the metrics, from the code
	$(GO) test ./internal/app/schema -run TestGenerated -update
	$(GO) test ./internal/app/metrics -run TestGenerated -update

fuzz: ## every fuzz target for FUZZTIME
	@set -e; for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' "$$pkg" | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s "$$pkg"; \
		done; done

# The tools have a module of their own, so that what they depend on is not what the product depends on.
$(LINT): tools/go.mod tools/go.sum
	$(GO) build -modfile=tools/go.mod -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(VULN): tools/go.mod tools/go.sum
	$(GO) build -modfile=tools/go.mod -o $@ golang.org/x/vuln/cmd/govulncheck

$(STAT): tools/go.mod tools/go.sum
	$(GO) build -modfile=tools/go.mod -o $@ golang.org/x/perf/cmd/benchstat

clean: ## remove what was built
	rm -rf bin
