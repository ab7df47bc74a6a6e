package metrics

import (
	"cmp"
	"slices"

	"stackstream/jetstream"
)

// streams holds the metrics of what is in NATS, whoever wrote it, and of those who read it.
type streams struct {
	messages, bytes, maxBytes, oldest, maxAge, replicas, current *gaugeVec
	subscribers, subscriberLag, unacknowledged, acknowledged     *gaugeVec
}

// mostSubscribers bounds how many durables are shown one by one: anybody who may read can make one.
const mostSubscribers = 100

func newStreams(r *registrar) streams {
	return streams{
		messages: r.gauge("stream_messages", "Messages in a stream.", stream),
		bytes:    r.gauge("stream_bytes", "Bytes that a stream takes on each server that holds it.", stream),
		maxBytes: r.gauge("stream_max_bytes",
			"Bytes that a stream may take. When EVENTS_RAW or EVENTS_NORMALIZED is full, writing waits; of EVENTS_DEAD the oldest go.",
			stream),
		oldest: r.gauge("stream_oldest_time_seconds", "Unix time at which the oldest message of a stream was stored.", stream),
		maxAge: r.gauge("stream_max_age_seconds",
			"Seconds after which a stream drops a message, read or not. Absent where it keeps them.", stream),
		replicas: r.gauge("stream_replicas", "Servers that should hold a stream.", stream),
		current:  r.gauge("stream_replicas_current", "Servers that hold all of a stream.", stream),
		subscribers: r.gauge("subscribers",
			"Durable consumers of EVENTS_NORMALIZED. At most 100 have metrics of their own, the others are added up as other."),
		subscriberLag: r.gauge("subscriber_lag_events",
			"Events of EVENTS_NORMALIZED that a durable consumer has not acknowledged.", durable),
		unacknowledged: r.gauge("subscriber_unacknowledged_events",
			"Events that a durable consumer was sent and has not acknowledged.", durable),
		acknowledged: r.gauge("subscriber_acknowledged_time_seconds",
			"Unix time at which a durable consumer last acknowledged something. Absent where it never did.", durable),
	}
}

// Stream shows what a stream holds.
func (m *Metrics) Stream(s jetstream.StreamState) {
	m.streams.messages.WithLabelValues(s.Name).Set(float64(s.Messages))
	m.streams.bytes.WithLabelValues(s.Name).Set(float64(s.Bytes))
	m.streams.maxBytes.WithLabelValues(s.Name).Set(float64(s.MaxBytes))
	m.streams.replicas.WithLabelValues(s.Name).Set(float64(s.Replicas))
	m.streams.current.WithLabelValues(s.Name).Set(float64(s.Current))
	if s.MaxAge > 0 {
		m.streams.maxAge.WithLabelValues(s.Name).Set(s.MaxAge.Seconds())
	} else {
		m.streams.maxAge.DeleteLabelValues(s.Name)
	}
	if s.Messages == 0 {
		m.streams.oldest.DeleteLabelValues(s.Name)
		return
	}
	setTime(m.streams.oldest.WithLabelValues(s.Name), s.Oldest)
}

// Subscribers shows how far the durable consumers are. Those that are gone are shown no more.
func (m *Metrics) Subscribers(list []jetstream.Subscriber) {
	m.streams.subscribers.WithLabelValues().Set(float64(len(list)))
	for _, gauge := range []*gaugeVec{m.streams.subscriberLag, m.streams.unacknowledged, m.streams.acknowledged} {
		gauge.Reset()
	}
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b jetstream.Subscriber) int { return cmp.Compare(a.Durable, b.Durable) })
	for i, s := range list {
		name := s.Durable
		if i >= mostSubscribers {
			name = other
		}
		m.streams.subscriberLag.WithLabelValues(name).Add(float64(s.Pending + s.Unacknowledged))
		m.streams.unacknowledged.WithLabelValues(name).Add(float64(s.Unacknowledged))
		if name != other {
			setTime(m.streams.acknowledged.WithLabelValues(name), s.AcknowledgedAt)
		}
	}
}
