package subscribe_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
	"stackstream/subscribe"
)

func manager(t *testing.T, s *stand) *subscribe.Manager {
	t.Helper()
	m, err := subscribe.NewManager(dial(t, s.server.URL()))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func add(t *testing.T, m *subscribe.Manager, n subscribe.NewDurable) {
	t.Helper()
	if err := m.Add(within(t), n); err != nil {
		t.Fatal(err)
	}
}

// What the command makes is what a Subscriber reads through, from wherever it is to begin, without a gap.
func TestADurableThatWasAddedIsReadOnceAndWhole(t *testing.T) {
	s := newStand(t)
	m := manager(t, s)
	all := slices.Concat(s.events("p", 3), s.events("q", 2))
	later := s.publish("p", message("p", "t", 4))
	s.events("q", 1)
	info, err := s.js.Stream(within(t), event.StreamNormalized)
	if err != nil {
		t.Fatal(err)
	}
	at, err := info.GetMsg(within(t), uint64(later))
	if err != nil {
		t.Fatal(err)
	}
	all = append(all, "p-4", "q-3")
	for name, test := range map[string]struct {
		providers []event.Provider
		from      subscribe.Position
		want      []string
	}{
		"oldest":   {want: all},
		"q":        {providers: []event.Provider{"q"}, want: []string{"q-1", "q-2", "q-3"}},
		"sequence": {from: subscribe.Position{Seq: later}, want: all[5:]},
		"time":     {from: subscribe.Position{Time: at.Time}, want: all[5:]},
		"new":      {from: subscribe.Position{New: true}},
	} {
		t.Run(name, func(t *testing.T) {
			add(t, m, subscribe.NewDurable{Name: name, Kind: subscribe.DurableWhole, Providers: test.providers, From: test.from})
			l := newLog()
			p := start(t, dial(t, s.server.URL()), subscribe.Options{Durable: name, Providers: test.providers}, l.handle)
			l.wait(t, len(test.want))
			p.stopped()
			if got := l.ids(); !slices.Equal(got, test.want) {
				t.Errorf("read %v, want %v", got, test.want)
			}
		})
	}
	if err := m.Add(within(t), subscribe.NewDurable{Name: "oldest"}); event.KindOf(err) != event.Invalid ||
		!strings.Contains(err.Error(), "exists already") {
		t.Errorf("another one of its name: %v", err)
	}
}

// A durable that is set back reads again, without a gap, and a program that reads is not disturbed.
func TestResetAndRemove(t *testing.T) {
	s := newStand(t)
	m := manager(t, s)
	all := s.events("p", 5)
	add(t, m, subscribe.NewDurable{Name: "d", Kind: subscribe.DurableWhole, From: subscribe.Position{New: true}, InactiveAfter: time.Hour})
	all = append(all, s.events("p", 5)...)
	nc := dial(t, s.server.URL())
	l := newLog()
	p := start(t, nc, subscribe.Options{Durable: "d"}, l.handle)
	l.wait(t, 5)
	if _, err := m.Reset(within(t), "d", subscribe.Position{}); event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), "reads through it") {
		t.Errorf("reset while it is read: %v", err)
	}
	if err := m.Remove(within(t), "d"); event.KindOf(err) != event.Invalid {
		t.Errorf("removed while it is read: %v", err)
	}
	p.stopped()
	for _, test := range []struct {
		to   subscribe.Position
		want []string
	}{{subscribe.Position{}, all}, {subscribe.Position{Seq: 4}, all[3:]}, {subscribe.Position{New: true}, nil}} {
		if err := retried(t, func() error { _, err := m.Reset(within(t), "d", test.to); return err }); err != nil {
			t.Fatal(err)
		}
		l := newLog()
		p := start(t, nc, subscribe.Options{Durable: "d"}, l.handle)
		l.wait(t, len(test.want))
		p.stopped()
		if got := l.ids(); !slices.Equal(got, test.want) {
			t.Errorf("from %+v it reads %v, want %v", test.to, got, test.want)
		}
	}
	one, ok, err := m.Get(within(t), "d")
	if err != nil || !ok || one.InactiveAfter != time.Hour || one.Kind != subscribe.DurableWhole || one.Behind != 0 {
		t.Errorf("it is %+v, %v, %v", one, ok, err)
	}
	if err := retried(t, func() error { return m.Remove(within(t), "d") }); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := m.Get(within(t), "d"); ok || err != nil {
		t.Errorf("it is still there: %v", err)
	}
	if err := m.Remove(within(t), "d"); event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), "no such durable") {
		t.Errorf("removed twice: %v", err)
	}
}

// retried waits until the pulls of a program that has ended are over.
func retried(t *testing.T, do func() error) error {
	t.Helper()
	for {
		err := do()
		if err == nil || !strings.Contains(err.Error(), "reads through it") || within(t).Err() != nil {
			return err
		}
	}
}

// A durable for any NATS client, read as docs/subscribers.md says.
func TestADurableForAnyClient(t *testing.T) {
	s := newStand(t)
	m := manager(t, s)
	s.events("p", 2)
	letter := message("p", "t", 1)
	letter.Subject = strings.Replace(letter.Subject, ".normalized.", ".dead.", 1)
	s.publish("p", letter)
	s.events("p", 1)
	add(t, m, subscribe.NewDurable{Name: "plain", Kind: subscribe.DurableEvents, Providers: []event.Provider{"p"}})
	cons, err := s.js.Consumer(within(t), event.StreamNormalized, "plain")
	if err != nil {
		t.Fatal(err)
	}
	batch, err := cons.Fetch(2)
	if err != nil {
		t.Fatal(err)
	}
	for msg := range batch.Messages() {
		if msg.Subject() != "events.normalized.p" {
			t.Errorf("it reads %s", msg.Subject())
		}
		if err := msg.DoubleAck(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.js.CreateConsumer(within(t), event.StreamNormalized, natsjs.ConsumerConfig{
		Durable: "foreign", FilterSubject: "events.cursor.>", AckPolicy: natsjs.AckExplicitPolicy,
	}); err != nil {
		t.Fatal(err)
	}
	found, err := m.List(within(t))
	if err != nil || len(found) != 2 {
		t.Fatalf("there are %+v, %v", found, err)
	}
	foreign, plain := found[0], found[1]
	if plain.Kind != subscribe.DurableEvents || plain.Position != 2 || plain.Behind != 1 || plain.Unacknowledged != 0 ||
		plain.Oldest.IsZero() || plain.Active.IsZero() || !slices.Equal(plain.Providers, []event.Provider{"p"}) {
		t.Errorf("the one that was added is %+v", plain)
	}
	if foreign.Kind != subscribe.DurableOther {
		t.Errorf("the foreign one is %+v", foreign)
	}
	if err := m.Remove(within(t), "foreign"); event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), "no subscriber's") {
		t.Errorf("the foreign one is removed: %v", err)
	}
}
