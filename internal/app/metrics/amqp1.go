package metrics

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stackstream/collectors/amqp1"
	"stackstream/event"
)

// links holds the metrics of the sources that receive over AMQP 1.0.
type links struct {
	up, configured, held, heldBytes             *gaugeVec
	redelivered, presettled, rejected, linkLost *counterVec
	probe                                       *prometheus.HistogramVec
}

func newLinks(r *registrar) links {
	return links{
		up:         r.gauge("amqp1_links", "Addresses to which there is a link.", provider, source),
		configured: r.gauge("amqp1_addresses", "Addresses to which there should be one.", provider, source),
		held:       r.gauge("amqp1_held_messages", "Messages that were received and are not settled.", provider, source),
		heldBytes:  r.gauge("amqp1_held_bytes", "Bytes that they take in memory.", provider, source),
		redelivered: r.counter("amqp1_redelivered_total",
			"Messages of which the peer says that it had handed them over before.", provider, source),
		presettled: r.counter("amqp1_presettled_total",
			"Messages that the peer had settled when it sent them: what is on its way when a process ends is lost.", provider, source),
		rejected: r.counter("amqp1_rejected_total",
			"Messages that were rejected, by reason. They are lost, but for what the peer does with them: page.",
			provider, source, "reason"),
		linkLost: r.counter("amqp1_links_lost_total", "Links that ended by themselves.", provider, source),
		probe: r.histogram("amqp1_probe_seconds", "Seconds that the peer took to say that it has sent all there was.",
			prometheus.ExponentialBuckets(0.002, 4, 10), provider, source),
	}
}

// AMQP1 is what an amqp1 source reports to. A nil Metrics listens to nothing.
func (m *Metrics) AMQP1(p event.Provider, s event.Source) amqp1.Hooks {
	if m == nil {
		return amqp1.Hooks{}
	}
	l, labels := m.links, []string{string(p), sourceName(s)}
	// See Expect.
	for _, counter := range []*counterVec{l.redelivered, l.presettled, l.linkLost} {
		counter.WithLabelValues(labels...)
	}
	for _, reason := range rejectReasons {
		l.rejected.WithLabelValues(append(slices.Clone(labels), reason)...)
	}
	return amqp1.Hooks{
		Links: func(up, of int) {
			l.up.WithLabelValues(labels...).Set(float64(up))
			l.configured.WithLabelValues(labels...).Set(float64(of))
		},
		Held: func(messages, bytes int) {
			l.held.WithLabelValues(labels...).Set(float64(messages))
			l.heldBytes.WithLabelValues(labels...).Set(float64(bytes))
		},
		Redelivered: func(n int) { l.redelivered.WithLabelValues(labels...).Add(float64(n)) },
		Presettled:  func(n int) { l.presettled.WithLabelValues(labels...).Add(float64(n)) },
		Rejected: func(reason string, n int) {
			l.rejected.WithLabelValues(append(slices.Clone(labels), oneOf(rejectReasons, reason))...).Add(float64(n))
		},
		Lost:  func() { l.linkLost.WithLabelValues(labels...).Inc() },
		Probe: func(took time.Duration) { l.probe.WithLabelValues(labels...).Observe(took.Seconds()) },
	}
}
