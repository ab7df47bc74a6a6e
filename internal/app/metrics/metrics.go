// Package metrics turns what the other packages report through their hooks into Prometheus metrics and into the status
// board. It is the only package that knows Prometheus' types besides the admin server; the registry is its own.
package metrics

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"stackstream/event"
	"stackstream/internal/app/admin"
)

// Metrics holds the metrics of one process. It is safe for concurrent use.
type Metrics struct {
	Registry *prometheus.Registry
	board    *admin.Board
	list     []Description

	collected, duplicates, filtered, hashed, sourceErrors *counterVec
	collectedTime, newestTime, commitTime                 *gaugeVec

	normalized, dead, redacted, skipped, gaps, fenced *counterVec
	normalizeLag                                      *gaugeVec
	delay                                             *prometheus.HistogramVec
	collectedPosition, normalizedPosition, lagEvents  *gaugeVec
	lagSeconds, watermark, cursorTime                 *gaugeVec

	batches, rereads              *counterVec
	batchEvents, batchBytes, took *prometheus.HistogramVec
	waiting                       *gaugeVec

	pages, pageRetries, odd *counterVec
	pageTook                *prometheus.HistogramVec

	broker  broker
	links   links
	posts   posts
	streams streams

	state                  *stateVec
	since                  *gaugeVec
	leaseHeld              *gaugeVec
	leaseMoves             *counterVec
	connected              gauge
	reconnects, permission counter
	storeFree, storeSize   *gaugeVec   // shown where there is an embedded server
	serverRestarts         *counterVec // the same

	configReads                  *counterVec // shown where a change of the configuration is taken
	configApplied, configRestart *gaugeVec   // the same

	vectors []vector // everything with labels

	mu   sync.Mutex
	held map[string]bool // by role, provider and source: whether this process last had the lease
}

// New registers all metrics. version is what the build says of itself.
func New(board *admin.Board, version string) *Metrics {
	m := &Metrics{Registry: prometheus.NewRegistry(), board: board, held: map[string]bool{}}
	r := &registrar{registry: m.Registry}
	counter, gauge, histogram := r.counter, r.gauge, r.histogram

	r.part = "Collecting"
	m.collected = counter("collected_events_total", "Raw events committed to EVENTS_RAW.", provider, source)
	m.duplicates = counter("duplicate_events_total",
		"Events that a source showed again and that were left out.", provider, source)
	m.filtered = counter("filtered_events_total", "Events left out by the filter of a source.", provider, source)
	m.hashed = counter("hashed_events_total",
		"Events without an id of their own, identified by a hash.", provider, source)
	m.sourceErrors = counter("source_errors_total",
		"Times a source's loop ended with an error, by kind of error.", provider, source, "kind")
	m.collectedTime = gauge("collected_time_seconds",
		"Unix time up to which this process has collected everything the source showed.", provider, source)
	m.newestTime = gauge("newest_event_time_seconds",
		"Unix time of the newest event that this process has collected, by the source's clock.", provider, source)
	m.commitTime = gauge("last_commit_time_seconds",
		"Unix time of this process's last write to EVENTS_RAW, empty runs included.", provider, source)

	r.part = "Normalizing"
	m.normalized = counter("normalized_events_total", "Canonical events committed to EVENTS_NORMALIZED.", provider)
	m.dead = counter("dead_letters_total", "Raw events that could not be converted, by reason.", provider, "reason")
	m.redacted = counter("redacted_fields_total", "Fields whose value was redacted.", provider)
	m.skipped = counter("skipped_events_total",
		"Raw events handed over again although they had been dealt with.", provider)
	m.gaps = counter("sequence_gaps_total",
		"Times that raw events were found missing. More than 0 is a loss: page.", provider, source)
	m.fenced = counter("fenced_total", "Times that another writer turned out to be at work too.", "role", provider)
	m.normalizeLag = gauge("normalizer_batch_lag_seconds",
		"Seconds that the last event of the last batch had been in EVENTS_RAW.", provider)
	m.delay = histogram("normalize_delay_seconds",
		"Seconds from the arrival of a raw event in EVENTS_RAW to the commit of what became of it, for the last event of each batch.",
		prometheus.ExponentialBuckets(0.01, 4, 12))

	r.part = "Where the sources stand"
	m.collectedPosition = gauge("collected_position",
		"Number of the last raw event of a source in EVENTS_RAW.", provider, source)
	m.normalizedPosition = gauge("normalized_position",
		"Number of the last raw event of a source that is normalized.", provider, source)
	m.lagEvents = gauge("normalizer_lag_events", "Raw events that are not normalized yet.", provider, source)
	m.lagSeconds = gauge("normalizer_lag_seconds",
		"Seconds of receipt between the last raw event and the last normalized one.", provider, source)
	m.watermark = gauge("watermark_time_seconds",
		"Unix time up to which everything the source showed is normalized.", provider, source)
	m.cursorTime = gauge("cursor_written_time_seconds",
		"Unix time at which a collector last wrote the source's cursor.", provider, source)

	r.part = "Writing"
	m.batches = counter("batches_total",
		"Attempts to write an atomic batch, by result (ok or the kind of error).", "role", provider, "result")
	m.rereads = counter("cursor_rereads_total",
		"Times the cursor was read to learn what became of a batch.", "role", provider)
	m.batchEvents = histogram("batch_events",
		"Messages of a committed batch.", []float64{1, 5, 20, 50, 100, 200, 500, 900}, "role")
	m.batchBytes = histogram("batch_bytes",
		"Bytes of bodies of a committed batch.", prometheus.ExponentialBuckets(1<<10, 4, 8), "role")
	m.took = histogram("batch_commit_seconds",
		"Seconds that the server took to commit a batch.", prometheus.ExponentialBuckets(0.001, 2, 14), "role")
	m.waiting = gauge("write_waiting",
		"1 while a writer waits because a stream is full or can't be reached.", "role", provider)

	r.part = "Sources that are asked over HTTP"
	m.pages = counter("source_pages_total", "Pages of events read from an event service.", provider, source)
	m.pageTook = histogram("source_page_seconds",
		"Seconds that an event service took for a page.", prometheus.ExponentialBuckets(0.005, 2, 14), provider, source)
	m.pageRetries = counter("source_page_retries_total",
		"Times a page was asked for again, by reason.", provider, source, "why")
	m.odd = counter("source_odd_events_total",
		"Events that an event service should not send like this, by what is odd.", provider, source, "what")

	r.part = "Sources that consume from RabbitMQ"
	m.broker = newBroker(r)

	r.part = "Sources that receive over AMQP 1.0"
	m.links = newLinks(r)

	r.part = "Sources that are posted to"
	m.posts = newPosts(r)

	r.part = "Streams and their subscribers"
	m.streams = newStreams(r)

	r.part = "States and leases"
	m.state = newStateVec(r, "state", "1 for the state that a collector or normalizer is in.")
	m.since = gauge("not_ready_since_seconds",
		"Unix time since which a part is not ready, 0 while it is.", "role", provider, source)
	m.leaseHeld = gauge("lease_held",
		"1 while this process works for the provider, 0 while another holds the lease.", "role", provider, source)
	m.leaseMoves = counter("lease_transitions_total",
		"Times this process got or lost the lease of a provider.", "role", provider, source)

	r.function("ready", "1 while the process is ready, as /readyz says.", func() float64 { return truth(board.Ready()) })
	r.function("stuck_loops", "Loops that give no sign of life, for which /healthz fails: restart the process.",
		func() float64 { return float64(len(board.Stuck())) })

	r.part = "NATS and the process"
	m.connected = gauge("nats_connected", "1 while there is a usable connection to NATS.").WithLabelValues()
	m.reconnects = counter("nats_reconnects_total", "Times the connection to NATS was made again.").WithLabelValues()
	m.permission = counter("nats_refused_total", "Publishes and subscribes that NATS did not permit.").WithLabelValues()
	m.storeFree = gauge("store_free_bytes", "Bytes that are free on the disk of the embedded NATS server.")
	m.storeSize = gauge("store_size_bytes", "Bytes that the disk of the embedded NATS server has.")
	m.serverRestarts = counter("embedded_restarts_total",
		"Times the embedded NATS server was restarted because it could not write any more.")
	gauge("build_info", "1, with the version as a label.", "version").WithLabelValues(version).Set(1)

	r.part = "Configuration"
	m.configReads = counter("config_reloads_total",
		"Times the configuration was read again, by result: applied, unchanged, refused.", "result")
	m.configApplied = gauge("config_applied_time_seconds", "Unix time at which the configuration in use was read.")
	m.configRestart = gauge("config_restart_needed",
		"1 while the configuration file has changes that only a restart takes.")
	m.Registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.list, m.vectors = r.list, r.vectors
	return m
}

// List returns every metric of ours, in the order in which they are made. Those of the Go runtime and of the process are
// Prometheus' own.
func (m *Metrics) List() []Description { return slices.Clone(m.list) }

// Status puts a status on the board and into the metrics.
func (m *Metrics) Status(s event.Status) {
	m.board.Set(s)
	labels := []string{string(s.Role), string(s.Provider), sourceName(s.Source)}
	m.state.set(stateKey{labels[0], labels[1], labels[2]}, s.State)
	m.lease(labels, s.State)
	since := m.board.NotReadySince(s.Role, s.Provider, s.Source)
	if since.IsZero() {
		m.since.WithLabelValues(labels...).Set(0)
	} else {
		setTime(m.since.WithLabelValues(labels...), since)
	}
}

// Expect shows the counters of a provider's normalizer before there is anything to count. A series that begins with its
// first event has not increased, as Prometheus sees it, and no alert would tell of that event.
func (m *Metrics) Expect(p event.Provider) {
	for _, reason := range reasons {
		m.dead.WithLabelValues(string(p), reason)
	}
	for _, counter := range []*counterVec{m.normalized, m.redacted, m.skipped} {
		counter.WithLabelValues(string(p))
	}
}

// Watermarks shows where the sources of a provider stand, whoever collected and normalized. kind is the kind of source
// that was chosen for it, "" if that is not known. A source of another kind, or one that is retired, is not collected any
// more: how old its cursor and its watermark are says nothing then, and is not shown. Nor do those of what operators do.
func (m *Metrics) Watermarks(marks []event.Watermark, kind string) {
	jobs := map[event.Provider]event.Watermark{}
	for _, w := range marks {
		if w.Source.Kind() == backfill {
			all := jobs[w.Provider]
			jobs[w.Provider] = event.Watermark{LagEvents: all.LagEvents + w.LagEvents, Lag: max(all.Lag, w.Lag)}
			continue
		}
		labels := []string{string(w.Provider), string(w.Source)}
		m.gaps.WithLabelValues(labels...) // see Expect
		m.collectedPosition.WithLabelValues(labels...).Set(float64(w.Collected))
		m.normalizedPosition.WithLabelValues(labels...).Set(float64(w.Normalized))
		m.lagEvents.WithLabelValues(labels...).Set(float64(w.LagEvents))
		if w.Source != event.SourceRedrive { // whose events were received whenever they were
			m.lagSeconds.WithLabelValues(labels...).Set(w.Lag.Seconds())
		}
		if w.Retired || w.Source == event.SourceRedrive || kind != "" && !ofKind(w.Source, kind) {
			for _, gauge := range []*gaugeVec{m.watermark, m.cursorTime, m.collectedTime} {
				gauge.DeleteLabelValues(labels...)
			}
			continue
		}
		setTime(m.watermark.WithLabelValues(labels...), w.NormalizedTime)
		setTime(m.cursorTime.WithLabelValues(labels...), w.WrittenAt)
	}
	for p, all := range jobs {
		m.gaps.WithLabelValues(string(p), backfill)
		m.lagEvents.WithLabelValues(string(p), backfill).Set(float64(all.LagEvents))
		m.lagSeconds.WithLabelValues(string(p), backfill).Set(all.Lag.Seconds())
	}
}

// ofKind tells whether a source is the one of a kind, or a shard of it: "amqp", "amqp-nova".
func ofKind(s event.Source, kind string) bool {
	return string(s) == kind || strings.HasPrefix(string(s), kind+"-")
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// setTime leaves a gauge alone while there is no time to show.
func setTime(g gauge, t time.Time) {
	if !t.IsZero() {
		g.Set(float64(t.UnixMicro()) / 1e6)
	}
}
