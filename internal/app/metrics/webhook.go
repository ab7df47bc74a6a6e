package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stackstream/collectors/webhook"
	"stackstream/event"
)

// posts holds the metrics of what is posted to us.
type posts struct {
	refused, repeated                       *counterVec
	pending, bytes, connections, remembered *gaugeVec
	took                                    *prometheus.HistogramVec
}

func newPosts(r *registrar) posts {
	return posts{
		refused: r.counter("webhook_refused_total",
			"Requests with events that were not answered with success, by reason. What their senders do not post again is lost.",
			provider, "reason"),
		repeated: r.counter("webhook_repeated_total",
			"Requests that were posted with the same signature before, and stored: they were answered with success again, and nothing was "+
				"stored. Their senders did not hear of it, or somebody posts what was recorded.", provider),
		pending:     r.gauge("webhook_pending_requests", "Requests that wait for their events to be stored.", provider),
		bytes:       r.gauge("webhook_pending_bytes", "Memory that requests take, those that are being read included.", provider),
		connections: r.gauge("webhook_connections", "Connections of senders.", provider),
		remembered: r.gauge("webhook_remembered_events",
			"Events that are known again by their ids until the window is over, each in about 100 bytes. limits.remembered bounds them.",
			provider),
		took: r.histogram("webhook_answer_seconds", "Seconds until a request was answered with success.",
			prometheus.ExponentialBuckets(0.004, 4, 7), provider),
	}
}

// Webhook is what the sources of a provider that are posted to report to. A nil Metrics listens to nothing.
func (m *Metrics) Webhook(p event.Provider) webhook.Hooks {
	if m == nil {
		return webhook.Hooks{}
	}
	name := string(p)
	for _, reason := range webhook.Reasons() { // see Expect
		m.posts.refused.WithLabelValues(name, reason)
	}
	m.posts.repeated.WithLabelValues(name)
	return webhook.Hooks{
		Again: func() { m.posts.repeated.WithLabelValues(name).Inc() },
		Answered: func(reason string, took time.Duration) {
			if reason == "" {
				m.posts.took.WithLabelValues(name).Observe(took.Seconds())
				return
			}
			m.posts.refused.WithLabelValues(name, oneOf(webhook.Reasons(), reason)).Inc()
		},
		Pending: func(requests int, bytes int64) {
			m.posts.pending.WithLabelValues(name).Set(float64(requests))
			m.posts.bytes.WithLabelValues(name).Set(float64(bytes))
		},
		Remembered:  func(n int) { m.posts.remembered.WithLabelValues(name).Set(float64(n)) },
		Connections: func(n int) { m.posts.connections.WithLabelValues(name).Set(float64(n)) },
	}
}
