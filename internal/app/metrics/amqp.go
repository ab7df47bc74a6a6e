package metrics

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stackstream/collectors/amqp"
	"stackstream/event"
)

// broker holds the metrics of the sources that consume from RabbitMQ. The gauges are there while a source is connected.
type broker struct {
	connected, ready, consumers, prefetch, missing, blocked, skew *gaugeVec
	redelivered, dropped, gaps, unknown                           *counterVec
	probe                                                         *prometheus.HistogramVec
}

func newBroker(r *registrar) broker {
	return broker{
		connected: r.gauge("amqp_connected", "1 while the source is connected to the broker.", provider, source),
		ready: r.gauge("amqp_queue_ready",
			"Notifications that wait in our queue, as the broker said last.", provider, source),
		consumers: r.gauge("amqp_queue_consumers", "Consumers of our queue, as the broker said last.", provider, source),
		prefetch: r.gauge("amqp_prefetch",
			"Notifications that the broker may hand over ahead of their acknowledgement.", provider, source),
		missing: r.gauge("amqp_exchanges_missing", "Configured exchanges that do not exist.", provider, source),
		blocked: r.gauge("amqp_blocked",
			"1 while the broker takes no messages because of an alarm, memory or disk.", provider, source),
		skew: r.gauge("amqp_clock_skew_seconds",
			"Seconds by which the clocks of the services seem to be ahead of ours; negative: behind.", provider, source),
		redelivered: r.counter("amqp_redelivered_total",
			"Notifications that the broker handed over once more.", provider, source),
		dropped: r.counter("amqp_dropped_total",
			"Notifications that the broker dropped from our queue, by reason. They are lost: page.",
			provider, source, "reason"),
		gaps: r.counter("amqp_gaps_total",
			"Times in which notifications may have passed by our queue, by what was gone. Events may be lost.",
			provider, source, "what"),
		unknown: r.counter("amqp_unknown_routing_keys_total",
			"Notifications with a routing key that is not configured.", provider, source),
		probe: r.histogram("amqp_probe_seconds", "Seconds that a message of our own took through our queue.",
			prometheus.ExponentialBuckets(0.002, 4, 10), provider, source),
	}
}

// AMQP is what an amqp source reports to. A nil Metrics listens to nothing.
func (m *Metrics) AMQP(p event.Provider, s event.Source) amqp.Hooks {
	if m == nil {
		return amqp.Hooks{}
	}
	b, labels := m.broker, []string{string(p), sourceName(s)}
	with := func(value string) []string { return append(slices.Clone(labels), value) }
	// See Expect.
	b.redelivered.WithLabelValues(labels...)
	b.unknown.WithLabelValues(labels...)
	for _, reason := range dropReasons {
		b.dropped.WithLabelValues(with(reason)...)
	}
	for _, what := range gapsOf {
		b.gaps.WithLabelValues(with(what)...)
	}
	return amqp.Hooks{
		Connected: func(host string) {
			b.connected.WithLabelValues(labels...).Set(truth(host != ""))
			if host != "" {
				return
			}
			// What the broker said last says nothing about now.
			for _, gauge := range []*gaugeVec{b.ready, b.consumers, b.prefetch, b.missing, b.blocked, b.skew} {
				gauge.DeleteLabelValues(labels...)
			}
		},
		Queue: func(ready, consumers int) {
			b.ready.WithLabelValues(labels...).Set(float64(ready))
			b.consumers.WithLabelValues(labels...).Set(float64(consumers))
		},
		Prefetch:    func(n int) { b.prefetch.WithLabelValues(labels...).Set(float64(n)) },
		Missing:     func(n int) { b.missing.WithLabelValues(labels...).Set(float64(n)) },
		Blocked:     func(blocked bool) { b.blocked.WithLabelValues(labels...).Set(truth(blocked)) },
		Redelivered: func(n int) { b.redelivered.WithLabelValues(labels...).Add(float64(n)) },
		Dropped: func(why string, n int) {
			b.dropped.WithLabelValues(with(oneOf(dropReasons, why))...).Add(float64(n))
		},
		Gap: func(g amqp.Gap) {
			what, _, _ := strings.Cut(g.What, " ")
			b.gaps.WithLabelValues(with(oneOf(gapsOf, what))...).Inc()
		},
		Skew:    func(d time.Duration) { b.skew.WithLabelValues(labels...).Set(d.Seconds()) },
		Unknown: func(n int) { b.unknown.WithLabelValues(labels...).Add(float64(n)) },
		Probe:   func(took time.Duration) { b.probe.WithLabelValues(labels...).Observe(took.Seconds()) },
	}
}
