package poison

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/normalizer"
	"stackstream/normalizer/oslo"
)

// fragile is a converter with mistakes: it panics in as many ways as there are, by what the body says.
type fragile struct{ normalizer.Converter }

func (fragile) Name() string { return "fragile/7" }

func (f fragile) Convert(raw event.Raw) (normalizer.Converted, error) {
	if how, ok := bytes.CutPrefix(raw.Body, []byte("panic: ")); ok {
		deepWithin(string(how), 30)
	}
	return f.Converter.Convert(raw)
}

type liar struct{}

func (liar) Error() string { panic("an error that panics when it is asked what it is") }

func deepWithin(how string, depth int) {
	if depth > 0 {
		deepWithin(how, depth-1)
		return
	}
	var nothing struct {
		numbers map[string]int
		event   *event.Event
	}
	switch how {
	case "index":
		_ = []byte(how)[len(how)]
	case "nil map":
		nothing.numbers[how] = 1
	case "nil pointer":
		nothing.event.MessageID = how
	case "nil":
		panic(nil)
	case "error":
		panic(fmt.Errorf("wrapped: %w", errors.New("the cause")))
	case "liar":
		panic(liar{})
	case "long":
		panic(strings.Repeat("\x00\r\n", 100_000))
	case "twice":
		defer func() { panic("and again") }()
		panic("once")
	}
}

// A converter that panics costs the one event its place among the normalized ones: it is a dead letter, whole, that says
// where it happened, and what comes behind it goes on in order.
func TestConverterThatPanics(t *testing.T) {
	client := openServer(t, 256<<20)
	var bodies []string
	good := 0
	for _, how := range []string{"index", "nil map", "nil pointer", "nil", "error", "liar", "long", "twice"} {
		for range 3 {
			good++
			bodies = append(bodies, fmt.Sprintf(`{"message_id":"good-%d","event_type":"x.y","payload":{}}`, good))
		}
		bodies = append(bodies, "panic: "+how)
	}
	bodies = append(bodies, `{"message_id":"last","event_type":"x.y"}`)
	stop := pipeline(t, client, fixed(bodies), map[string]normalizer.Converter{oslo.Format: fragile{converters(t)[oslo.Format]}})
	awaitNormalized(t, client, func() int { return len(bodies) })
	stop()

	n := 0
	newLedger(t, client, &mutator{}).each(event.StreamNormalized, func(m natsjs.Msg, _ event.StreamSeq) {
		h, body := event.Header(m.Headers()), bodies[n]
		n++
		if got := h.Get(event.HeaderSeq); got != fmt.Sprint(n) || h.Get(event.HeaderConverter) != "fragile/7" {
			t.Errorf("outcome %d: %v", n, h)
		}
		how, panics := strings.CutPrefix(body, "panic: ")
		isDead := m.Subject() == event.DeadSubject(provider)
		switch {
		case isDead != panics:
			t.Errorf("%s is on %s", body, m.Subject())
		case isDead && string(m.Data()) != body:
			t.Errorf("the dead letter of %s has the body %s", body, m.Data())
		case panics:
			detail := event.DecodeHeader(h.Get(event.HeaderDetail))
			if h.Get(event.HeaderReason) != "panic" || !strings.HasPrefix(detail, "panic: ") ||
				!strings.Contains(detail, "poison.deepWithin panic_test.go:") {
				t.Errorf("%s: %s, %.500q", how, h.Get(event.HeaderReason), detail)
			}
			if strings.Count(detail, "deepWithin") < 20 {
				t.Errorf("%s: the stack is cut: %q", how, detail)
			}
		}
	}, "events.normalized.>", "events.dead.>")
	if n != len(bodies) {
		t.Errorf("%d outcomes of %d events", n, len(bodies))
	}
}

// fixed is a source of these bodies.
func fixed(bodies []string) collectors.Candidate {
	return collectors.Candidate{Kind: "amqp", Shards: []collectors.Shard{{
		Name: "amqp", New: func(collectors.Report) (collectors.Source, error) { return list(bodies), nil },
	}}}
}

type list []string

func (list) Available(context.Context) error { return nil }

func (l list) Run(ctx context.Context, _ event.From, emit collectors.Emit) error {
	b := collectors.Batch{Cursor: event.Cursor("1")}
	for _, body := range l {
		b.Events = append(b.Events, event.Raw{Format: oslo.Format, Body: []byte(body)})
	}
	if err := emit(ctx, b); err != nil {
		return nil
	}
	<-ctx.Done()
	return nil
}
