package metrics

import (
	"strings"
	"time"

	"stackstream/collectors"
	"stackstream/collectors/httppoll"
	"stackstream/event"
	"stackstream/internal/app/admin"
	"stackstream/jetstream"
	"stackstream/normalizer"
	"stackstream/publisher"
)

// Collectors is what the collectors report to.
func (m *Metrics) Collectors() collectors.Hooks {
	return collectors.Hooks{
		Status: m.Status,
		Committed: func(p event.Provider, s event.Source, c collectors.Commit) {
			labels := []string{string(p), sourceName(s)}
			m.collected.WithLabelValues(labels...).Add(float64(c.Events))
			m.commitTime.WithLabelValues(labels...).SetToCurrentTime()
			setTime(m.collectedTime.WithLabelValues(labels...), c.Progress.Watermark)
			setTime(m.newestTime.WithLabelValues(labels...), c.Progress.Newest)
		},
		Duplicates: func(p event.Provider, s event.Source, n int) {
			m.duplicates.WithLabelValues(string(p), sourceName(s)).Add(float64(n))
		},
		Filtered: func(p event.Provider, s event.Source, n int) {
			m.filtered.WithLabelValues(string(p), sourceName(s)).Add(float64(n))
		},
		Hashed: func(p event.Provider, s event.Source, n int) {
			m.hashed.WithLabelValues(string(p), sourceName(s)).Add(float64(n))
		},
		Failed: func(p event.Provider, s event.Source, err error) {
			m.sourceErrors.WithLabelValues(string(p), sourceName(s), errorName(err)).Inc()
		},
		Beat: func(p event.Provider, s event.Source, within time.Duration) {
			m.board.Beat("collector "+string(p)+" ("+string(s)+")", within)
		},
	}
}

// HTTP is what a source reports to that is asked page by page. A nil Metrics listens to nothing.
func (m *Metrics) HTTP(p event.Provider, s event.Source) httppoll.Hooks {
	if m == nil {
		return httppoll.Hooks{}
	}
	labels := []string{string(p), sourceName(s)}
	m.pages.WithLabelValues(labels...) // see Expect
	return httppoll.Hooks{
		Page: func(_ int, _ int64, took time.Duration) {
			m.pages.WithLabelValues(labels...).Inc()
			m.pageTook.WithLabelValues(labels...).Observe(took.Seconds())
		},
		Retry: func(why string) {
			m.pageRetries.WithLabelValues(string(p), sourceName(s), oneOf(retryReasons, why)).Inc()
		},
		Odd: func(what string, n int) {
			m.odd.WithLabelValues(string(p), sourceName(s), oneOf(oddities, what)).Add(float64(n))
		},
	}
}

// Normalizer is what the normalizer reports to.
func (m *Metrics) Normalizer() normalizer.Hooks {
	return normalizer.Hooks{
		Status: m.Status,
		Normalized: func(p event.Provider, events, _ int, _ time.Duration) {
			m.normalized.WithLabelValues(string(p)).Add(float64(events))
		},
		Lag: func(p event.Provider, lag time.Duration) {
			m.normalizeLag.WithLabelValues(string(p)).Set(lag.Seconds())
			m.delay.WithLabelValues().Observe(max(0, lag.Seconds()))
		},
		DeadLetter: func(p event.Provider, reason event.Reason) {
			m.dead.WithLabelValues(string(p), oneOf(reasons, string(reason))).Inc()
		},
		Redacted: func(p event.Provider, fields int) { m.redacted.WithLabelValues(string(p)).Add(float64(fields)) },
		Skipped:  func(p event.Provider, events int) { m.skipped.WithLabelValues(string(p)).Add(float64(events)) },
		SequenceGap: func(p event.Provider, s event.Source, _, _ event.Seq) {
			m.gaps.WithLabelValues(string(p), sourceName(s)).Inc()
		},
		Fenced: func(p event.Provider) {
			m.fenced.WithLabelValues(string(event.RoleNormalizer), string(p)).Inc()
		},
		Beat: func(p event.Provider) { m.board.Beat(normalizerLoop(p), normalizer.BeatEvery) },
	}
}

func normalizerLoop(p event.Provider) string { return "normalizer " + string(p) }

// Writer is what the writer of one provider's events reports to.
func (m *Metrics) Writer(role event.Role, p event.Provider) publisher.Hooks {
	r, name := string(role), string(p)
	waiting := m.waiting.WithLabelValues(r, name)
	m.fenced.WithLabelValues(r, name) // see Expect
	m.rereads.WithLabelValues(r, name)
	return publisher.Hooks{
		Result: func(kind event.Kind, events, bytes int, took time.Duration) {
			m.batches.WithLabelValues(r, name, kindName(kind)).Inc()
			if kind == event.Fenced && role == event.RoleCollector {
				m.fenced.WithLabelValues(r, name).Inc()
			}
			if kind != 0 {
				return
			}
			m.batchEvents.WithLabelValues(r).Observe(float64(events))
			m.batchBytes.WithLabelValues(r).Observe(float64(bytes))
			m.took.WithLabelValues(r).Observe(took.Seconds())
		},
		Reread:  func() { m.rereads.WithLabelValues(r, name).Inc() },
		Waiting: func(error) { waiting.Set(1) },
		Resumed: func() { waiting.Set(0) },
	}
}

// NATS is what the connection reports to.
func (m *Metrics) NATS() jetstream.Hooks {
	return jetstream.Hooks{
		Connected: func(problem error) {
			m.connected.Set(truth(problem == nil))
			s := event.Status{Role: admin.RoleNATS, State: event.StateLive}
			if problem != nil {
				s.State, s.Reason = event.StateBackoff, problem.Error()
			}
			m.Status(s)
		},
		Reconnected: m.reconnects.Inc,
		Refused:     func(string) { m.permission.Inc() },
	}
}

// Store is what the keeper of the embedded server reports to.
func (m *Metrics) Store() jetstream.DiskHooks {
	m.serverRestarts.WithLabelValues() // see Expect
	return jetstream.DiskHooks{
		State: func(state event.State, reason string) {
			m.Status(event.Status{Role: admin.RoleStore, State: state, Reason: reason})
		},
		Free: func(bytes, size int64) {
			m.storeFree.WithLabelValues().Set(float64(bytes))
			m.storeSize.WithLabelValues().Set(float64(size))
		},
		Restarted: func(error) { m.serverRestarts.WithLabelValues().Inc() },
	}
}

// lease follows who works for a provider from the states that the lease leads to.
func (m *Metrics) lease(labels []string, state event.State) {
	held := state == event.StateLive || state == event.StateDegraded
	if !held && state != event.StateStandby || labels[0] != string(event.RoleNormalizer) && labels[2] == "" {
		return // not about a lease: NATS, the streams, or a collector that is choosing a source
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	key := strings.Join(labels, " ")
	if was, known := m.held[key]; !known || was != held {
		m.held[key] = held
		m.leaseHeld.WithLabelValues(labels...).Set(truth(held))
		if known || held {
			m.leaseMoves.WithLabelValues(labels...).Inc()
		}
	}
}

// errorName is the kind of an error, other for one without.
func errorName(err error) string {
	if k := event.KindOf(err); k != 0 {
		return k.String()
	}
	return other
}

func kindName(k event.Kind) string {
	if k == 0 {
		return "ok"
	}
	return k.String()
}
