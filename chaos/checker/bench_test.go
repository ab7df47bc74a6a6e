package checker_test

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"stackstream/chaos/checker"
	"stackstream/jetstream/jetstreamtest"
)

// teller tells a Checker of one event after the other: that it was handed over, is in both streams, and was seen by two
// subscribers.
type teller struct {
	c                       *checker.Checker
	durable, plain          *checker.Subscription
	start                   time.Time
	rawSequence, normalized uint64
}

func newTeller() *teller {
	c := checker.New(checker.Options{Marker: marker})
	return &teller{
		c: c, durable: c.Subscribe(checker.Subscriber{Name: "durable"}),
		plain: c.Subscribe(checker.Subscriber{Name: "plain", Promise: checker.Plain}), start: time.Now(),
	}
}

// payload makes bodies of about one KiB, as notifications have them.
var payload = fmt.Sprintf("%0900d", 1)

func (b *teller) tell(i int) {
	id := fmt.Sprintf("%08x-1111-2222-3333-444444444444", i)
	body := fmt.Appendf(nil, `{"message_id": "%s", "payload": {"token": "%s%d", "more": "%s"}}`, id, marker, i, payload)
	b.c.Handed(checker.Handed{Provider: "prod", ID: id, Body: body, Lane: "nova", Window: i / 50, Confirmed: b.start.Add(time.Duration(i))})
	number := strconv.Itoa(i + 1)
	if i%100 == 0 { // a batch
		b.rawSequence++
		b.normalized++
	}
	b.rawSequence++
	b.c.Raw(checker.Message{Subject: "events.raw.prod.amqp", Sequence: b.rawSequence, Body: body,
		Header: map[string][]string{"Evt-Id": {id}, "Evt-Seq": {number}}})
	last := b.normalized
	if i%100 == 0 {
		last--
	}
	if i == 0 {
		last = 0
	}
	b.normalized++
	m := checker.Message{Subject: "events.normalized.prod", Sequence: b.normalized,
		Header: map[string][]string{"Evt-Seq": {number}, "Evt-Raw-Seq": {strconv.FormatUint(b.rawSequence, 10)}, "Evt-Raw-Source": {"amqp"},
			"Evt-Raw-Evt-Seq": {number}, "ce-id": {id}, "ce-specversion": {"1.0"}, "ce-source": {"/providers/prod"},
			"ce-type": {"compute.instance.update"}, "ce-evtsource": {"amqp"}, "Nats-Last-Sequence": {strconv.FormatUint(last, 10)}},
		Body: fmt.Appendf(nil, `{"message_id":"%s","event_type":"compute.instance.update","timestamp":"2026-11-22T06:06:06.755824Z",`+
			`"payload":{"token":"%s%d","more":"%s"},"provider":"prod","source":"amqp"}`, id, marker, i, payload),
	}
	b.c.Normalized(m)
	b.durable.Saw(m)
	b.plain.Saw(m)
}

// BenchmarkChecker reports what one event costs: told of by its source, in both streams, and seen by two subscribers.
// With -benchtime=1000000x it is what a run of a million events costs.
func BenchmarkChecker(b *testing.B) {
	before := heap()
	t := newTeller()
	for i := 0; b.Loop(); i++ {
		t.tell(i)
	}
	b.StopTimer()
	b.ReportMetric(float64(heap()-before)/float64(b.N), "heap-B/event")
	start := time.Now()
	v := t.c.Verdict()
	b.ReportMetric(float64(time.Since(start).Nanoseconds())/float64(b.N), "verdict-ns/event")
	if !v.OK() {
		b.Fatal(v)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkReader reads a stream on a server in this process.
func BenchmarkReader(b *testing.B) {
	js := dial(b, jetstreamtest.Server(b, jetstreamtest.Bare()).URL())
	if _, err := js.CreateStream(b.Context(), jetstream.StreamConfig{
		Name: stream, Subjects: []string{"test.*"}, Storage: jetstream.MemoryStorage, Replicas: 1,
	}); err != nil {
		b.Fatal(err)
	}
	publish(b, js, 0, b.N)
	r := &checker.Reader{JS: js, Stream: stream}
	n := 0
	b.ResetTimer()
	if err := r.ToEnd(context.Background(), func(checker.Message) { n++ }); err != nil || n != b.N {
		b.Fatalf("read %d of %d: %v", n, b.N, err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}
