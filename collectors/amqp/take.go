package amqp

import (
	"time"
	"unicode/utf8"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/internal/broker"
	"stackstream/internal/kombu"
)

// taken is what is made of a number of deliveries.
type taken struct {
	*consumer
	now   time.Time
	batch collectors.Batch

	tag                          uint64
	count, bytes                 int
	redelivered, unknown, probed int
	finished                     bool
}

func (t *taken) add(d *amqp091.Delivery) {
	t.tag = d.DeliveryTag
	if d.Exchange == t.names.probe {
		t.probe(d)
		return
	}
	t.consumer.bytes = broker.Average(t.consumer.bytes, len(d.Body)+beside)
	if d.Redelivered {
		t.redelivered++
	}
	if !t.known[d.RoutingKey] {
		t.unknown++
	}
	raws, filtered, sent := t.reader.Raws(raw(d), uncompressed(d), t.filter.Keep)
	t.count += max(1, len(raws)) // a notification of Ceilometer's makes several
	for i := range raws {
		t.bytes += len(raws[i].Body)
	}
	t.batch.Filtered += filtered
	if !d.Redelivered && t.probes.quick() && filtered == 0 {
		t.skew.add(t.now, sent)
	}
	t.batch.Events = append(t.batch.Events, raws...)
}

// beside is what a delivery takes beside its body: for headers, and in any case.
const beside = 512

// maxDecompressed bounds what a compressed body may become for us to look for its identity in it.
const maxDecompressed = 16 << 20

// uncompressed is the body of a delivery as its publisher had it. What can't be decompressed is left to the converter.
func uncompressed(d *amqp091.Delivery) []byte {
	if method := compression(d); method != "" {
		if body, err := kombu.Decompress(method, d.Body, maxDecompressed); err == nil {
			return body
		}
	}
	return d.Body
}

func compression(d *amqp091.Delivery) string {
	method, _ := d.Headers[kombu.Property].(string)
	return method
}

// raw is what is known of a delivery without looking into its body.
func raw(d *amqp091.Delivery) event.Raw {
	e := event.Raw{
		ContentType: d.ContentType, Body: d.Body,
		Header: map[string]string{"Evt-Exchange": d.Exchange, "Evt-Routing-Key": d.RoutingKey},
	}
	if utf8.ValidString(d.MessageId) { // what is no text identifies nothing: no event can tell it
		e.ID = event.BoundID(event.ID(d.MessageId))
	}
	if d.Redelivered {
		e.Header["Evt-Redelivered"] = "true"
	}
	if d.ContentEncoding != "" && d.ContentEncoding != "utf-8" {
		e.Header["Evt-Content-Encoding"] = d.ContentEncoding
	}
	if method := compression(d); method != "" {
		e.Header[kombu.Header] = method
	}
	for _, name := range []string{event.HeaderTraceparent, event.HeaderTracestate} {
		if value, ok := d.Headers[name].(string); ok {
			e.Header[name] = value
		}
	}
	return e
}

// probe takes a probe: all that was in the queue before it has been handed over, or is in this batch.
func (t *taken) probe(d *amqp091.Delivery) {
	number, at, ours := t.probes.back(d.MessageId, t.now)
	if !ours {
		return
	}
	t.probed++
	t.batch.Watermark = collectors.Told(t.opts.Began, at).Add(-settle)
	if t.opts.Hooks.Probe != nil {
		t.opts.Hooks.Probe(t.now.Sub(at))
	}
	t.finished = t.released(number)
}

// tell reports what the deliveries showed.
func (t *taken) tell() {
	hooks := t.opts.Hooks
	if t.redelivered > 0 && hooks.Redelivered != nil {
		hooks.Redelivered(t.redelivered)
	}
	if t.unknown > 0 {
		t.strange = true
		if hooks.Unknown != nil {
			hooks.Unknown(t.unknown)
		}
		t.says.Set(conditionUnknown, "notifications come with routing keys that are not configured, through bindings that are not ours")
	}
	if t.probed == 0 {
		return
	}
	if !t.strange {
		t.says.Set(conditionUnknown, "")
	}
	t.strange = false
	if ahead, known := t.skew.take(); known {
		if hooks.Skew != nil {
			hooks.Skew(ahead)
		}
		t.says.Set(conditionSkew, skewText(ahead))
	}
	t.keepSize()
}

// keepSize puts the size of bodies into the state when it is far from what stands there; it is written with the next
// events.
func (t *taken) keepSize() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b := t.consumer.bytes; b > 0 && (b > 2*t.state.BodyBytes || 2*b < t.state.BodyBytes) {
		t.state.BodyBytes = b
		t.dirty = true
	}
}
