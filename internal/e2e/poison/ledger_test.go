package poison

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/normalizer/normalizertest"
)

// sampled is how many canonical events there are for each that is checked against the schema.
const sampled = 50

// ledger compares what the streams hold with what was handed over.
type ledger struct {
	t      *testing.T
	client *jetstream.Client
	want   []wanted
	byID   map[[16]byte]int32
	schema *normalizertest.Schema

	raw    int
	ids    [][16]byte        // of the raw events
	rawAt  []event.StreamSeq // their sequences
	events int
	dead   map[event.Reason]int
	byKind [][2]int // per way: normalized, dead
	faults []string
}

func newLedger(t *testing.T, client *jetstream.Client, m *mutator) *ledger {
	return &ledger{
		t: t, client: client, want: m.want, byID: m.byID, schema: normalizertest.NewSchema(t),
		dead: map[event.Reason]int{}, byKind: make([][2]int, len(ways)),
	}
}

func (l *ledger) fault(format string, args ...any) {
	if len(l.faults) < 20 {
		l.faults = append(l.faults, fmt.Sprintf(format, args...))
	}
	if len(l.faults) == 20 {
		l.t.Fatalf("too many faults:\n%s", l.text())
	}
}

func (l *ledger) text() string {
	var all []error
	for _, f := range l.faults {
		all = append(all, errors.New(f))
	}
	return errors.Join(all...).Error()
}

// check reads both streams from end to end.
func (l *ledger) check() {
	l.t.Helper()
	l.each(event.StreamRaw, l.rawMessage, "events.raw.>")
	if l.raw != len(l.want) {
		l.fault("RAW has %d events, want %d", l.raw, len(l.want))
	}
	next := 0
	l.each(event.StreamNormalized, func(m natsjs.Msg, at event.StreamSeq) { next = l.outcome(m, next) }, "events.normalized.>", "events.dead.>")
	if next != len(l.want) {
		l.fault("NORMALIZED has what became of %d events, want %d", next, len(l.want))
	}
	var cursors []string
	total := map[string]int{event.StreamRaw: l.raw, event.StreamNormalized: next}
	for stream := range total {
		l.each(stream, func(m natsjs.Msg, _ event.StreamSeq) {
			total[stream]++
			// A batch may begin with the cursor that it replaces.
			if !slices.Contains(cursors, m.Subject()) {
				cursors = append(cursors, m.Subject())
			}
		}, "events.cursor.>")
	}
	slices.Sort(cursors)
	if want := []string{"events.cursor.normalized.cloud", "events.cursor.raw.cloud", "events.cursor.raw.cloud.amqp"}; !slices.Equal(cursors, want) {
		l.fault("cursors are %v, want %v", cursors, want)
	}
	for stream, want := range total {
		if n := l.messages(stream); n != want {
			l.fault("%s has %d messages, want %d", stream, n, want)
		}
	}
	for i, w := range ways {
		l.t.Logf("%-15s %7d normalized %7d dead", w.name, l.byKind[i][0], l.byKind[i][1])
	}
	l.t.Logf("%d events: %d normalized, dead %v", l.raw, l.events, l.dead)
	if len(l.faults) > 0 {
		l.t.Errorf("%s", l.text())
	}
}

// rawMessage checks that the next event of RAW is the next one that was handed over, byte for byte.
func (l *ledger) rawMessage(m natsjs.Msg, at event.StreamSeq) {
	header := event.Header(m.Headers())
	r, err := event.ParseRaw(event.Stored{Message: event.Message{Subject: m.Subject(), Header: header, Body: m.Data()}, Sequence: at})
	switch {
	case err != nil:
		l.fault("%v", err)
	case l.raw == len(l.want):
		l.fault("RAW has more than was handed over: %s", r.ID)
		return
	case r.Seq != event.Seq(l.raw+1):
		l.fault("raw event %d has the number %d", l.raw+1, r.Seq)
	}
	l.compare("RAW", l.raw, header, m.Data())
	if place, known := l.byID[keyOf(r.ID)]; !known || int(place) != l.raw {
		l.fault("raw event %d has the id %q", l.raw+1, r.ID)
	}
	l.ids = append(l.ids, keyOf(r.ID))
	l.rawAt = append(l.rawAt, at)
	l.raw++
}

func (l *ledger) compare(stream string, n int, h event.Header, body []byte) {
	w := &l.want[n]
	if ref := event.BodyRefOf(h); ref.Object != "" {
		var err error
		if body, err = l.client.Bodies().GetBody(l.t.Context(), ref); err != nil {
			l.fault("%s: event %d (%s): %v", stream, n+1, ways[w.kind].name, err)
		}
	}
	if sha256.Sum256(body) != w.sum {
		l.fault("%s: event %d (%s) has other bytes than were handed over", stream, n+1, ways[w.kind].name)
	}
}

// outcome checks that the next message of NORMALIZED is what has to become of the next raw event.
func (l *ledger) outcome(m natsjs.Msg, n int) int {
	h := event.Header(m.Headers())
	number := func(name string) int {
		x, _ := strconv.Atoi(h.Get(name))
		return x
	}
	if n == len(l.want) {
		l.fault("NORMALIZED has more than was handed over: %v", h)
		return n
	}
	w := &l.want[n]
	name := ways[w.kind].name
	if number(event.HeaderSeq) != n+1 || number(event.HeaderRawEvtSeq) != n+1 || n < len(l.rawAt) && number(event.HeaderRawSeq) != int(l.rawAt[n]) {
		l.fault("outcome %d (%s) has the numbers %v", n+1, name, h)
	}
	switch m.Subject() {
	case event.NormalizedSubject(provider):
		l.events++
		l.byKind[w.kind][0]++
		if w.fate == dead {
			l.fault("event %d (%s) was converted: %.300s", n+1, name, m.Data())
		}
		l.canonical(n, name, h, m.Data())
	case event.DeadSubject(provider):
		l.byKind[w.kind][1]++
		reason := event.Reason(event.DecodeHeader(h.Get(event.HeaderReason)))
		l.dead[reason]++
		if w.fate == normalized || reason != event.ReasonMalformed && reason != event.ReasonNoConverter || h.Get(event.HeaderDetail) == "" {
			l.fault("event %d (%s) is dead: %s, %s", n+1, name, reason, event.DecodeHeader(h.Get(event.HeaderDetail)))
		}
		if n < len(l.ids) && keyOf(event.ID(event.DecodeHeader(h.Get(event.HeaderID)))) != l.ids[n] {
			l.fault("dead letter %d (%s) has another id: %v", n+1, name, h)
		}
		l.compare("NORMALIZED", n, h, m.Data())
	default:
		l.fault("a message on %s", m.Subject())
	}
	return n + 1
}

// canonical checks an event as a subscriber sees it.
func (l *ledger) canonical(n int, name string, h event.Header, body []byte) {
	if ref := event.BodyRefOf(h); ref.Object != "" {
		var err error
		if body, err = l.client.Bodies().GetBody(l.t.Context(), ref); err != nil {
			l.fault("event %d (%s): %v", n+1, name, err)
		}
	}
	var e event.Event
	switch err := json.Unmarshal(body, &e); {
	case err != nil:
		l.fault("event %d (%s): %v: %.300s", n+1, name, err, body)
	case e.MessageID == "" || e.EventType == "" || e.Timestamp.IsZero() || len(e.Payload) == 0 || e.Provider != provider || e.Source != "amqp":
		l.fault("event %d (%s) is not canonical: %.300s", n+1, name, body)
	case n < len(l.ids) && keyOf(event.BoundID(event.ID(e.MessageID))) != l.ids[n]:
		l.fault("event %d (%s) has another id: %.300s", n+1, name, body)
	case event.DecodeHeader(h.Get("ce-id")) != string(event.BoundID(event.ID(e.MessageID))):
		l.fault("event %d (%s) has the ids %q and %q", n+1, name, h.Get("ce-id"), e.MessageID)
	}
	if n%sampled == 0 {
		l.schema.Check(l.t, body)
	}
}

func (l *ledger) messages(stream string) int {
	js, err := natsjs.New(l.client.Conn())
	if err != nil {
		l.t.Fatal(err)
	}
	s, err := js.Stream(l.t.Context(), stream)
	if err != nil {
		l.t.Fatal(err)
	}
	return int(s.CachedInfo().State.Msgs)
}

// each calls f with every message of a stream on some subjects, in order.
func (l *ledger) each(stream string, f func(m natsjs.Msg, at event.StreamSeq), subjects ...string) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 15*time.Minute)
	defer cancel()
	js, err := natsjs.New(l.client.Conn())
	if err != nil {
		l.t.Fatal(err)
	}
	c, err := js.OrderedConsumer(ctx, stream, natsjs.OrderedConsumerConfig{FilterSubjects: subjects})
	if err != nil {
		l.t.Fatal(err)
	}
	info, err := c.Info(ctx)
	if err != nil {
		l.t.Fatal(err)
	}
	if info.NumPending == 0 {
		return
	}
	messages, err := c.Messages(natsjs.PullMaxBytes(16 << 20))
	if err != nil {
		l.t.Fatal(err)
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(natsjs.NextContext(ctx))
		if err != nil {
			l.t.Fatal(err)
		}
		meta, err := m.Metadata()
		if err != nil {
			l.t.Fatal(err)
		}
		f(m, event.StreamSeq(meta.Sequence.Stream))
		if meta.NumPending == 0 {
			return
		}
	}
}
