package subscribe_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
	"stackstream/jetstream/jetstreamtest"
	"stackstream/subscribe"
)

func TestEventsComeInOrderWithWhatTheyCarry(t *testing.T) {
	s := newStand(t)
	m := message("p", "compute.instance.create.end", 1)
	m.Header.Set(event.HeaderRedriven, "1")
	m.Header.Set("Evt-Exchange", "nova")
	first := s.publish("p", m)
	s.events("q", 1)
	s.events("p", 1)

	l := newLog()
	start(t, dial(t, s.server.URL()), subscribe.Options{Durable: "d"}, l.handle)
	l.wait(t, 3)
	if got, want := l.ids(), []string{"p-1", "q-1", "p-2"}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	e := l.all()[0]
	if e.Sequence != first || e.Seq != 1 || e.Provider != "p" || e.Redriven != 1 || e.Backfill != "" || e.StoredAt.IsZero() {
		t.Errorf("event is %+v", e)
	}
	if got := e.Header.Get("Evt-Exchange"); got != "nova" {
		t.Errorf("header Evt-Exchange is %q", got)
	}
	if diff := cmp.Diff(string(m.Data), string(e.Body)); diff != "" {
		t.Errorf("body differs (-want +got):\n%s", diff)
	}
	if string(e.Payload) != `{"n":1}` || e.EventType != "compute.instance.create.end" {
		t.Errorf("decoded %+v", e.Event)
	}
}

func TestStopAndGoOn(t *testing.T) {
	s := newStand(t)
	nc := dial(t, s.server.URL())
	want := s.events("p", 3)
	l := newLog()
	p := start(t, nc, subscribe.Options{Durable: "d"}, l.handle)
	l.wait(t, 3)
	p.stopped()
	want = append(want, s.events("p", 3)...)
	start(t, nc, subscribe.Options{Durable: "d"}, l.handle)
	l.wait(t, 6)
	s.acked("d")
	if got := l.ids(); !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

// The cursors between the events, of which only the last one stays, are none of a durable's business.
func TestStopAndGoOnBetweenCursors(t *testing.T) {
	s := newStand(t)
	nc := dial(t, s.server.URL())
	l := newLog()
	var want []string
	for range 3 {
		for range 2 {
			want = append(want, s.events("p", 2)...)
			if _, err := s.js.Publish(within(t), "ingest.cursor.normalized.p", []byte("{}")); err != nil {
				t.Fatal(err)
			}
		}
		p := start(t, nc, subscribe.Options{Durable: "d"}, l.handle)
		l.wait(t, len(want))
		s.acked("d")
		p.stopped()
		if got := l.ids(); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}

// Who dies when the durable was placed at the last message that was handled, and before that was acknowledged again, has it
// stand at the message before: a cursor, perhaps.
func TestACrashWhileTheDurableIsPlaced(t *testing.T) {
	s := newStand(t)
	nc := dial(t, s.server.URL())
	want := s.events("p", 2)
	if _, err := s.js.Publish(within(t), "ingest.cursor.normalized.p", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	third := s.publish("p", message("p", "t", 3))
	l := newLog()
	p := start(t, nc, subscribe.Options{Durable: "d"}, l.handle)
	l.wait(t, 3)
	s.acked("d")
	p.stopped()
	if _, err := s.js.ResetConsumerToSequence(within(t), event.StreamNormalized, "d", uint64(third)); err != nil {
		t.Fatal(err)
	}
	s.publish("p", message("p", "t", 4))
	start(t, nc, subscribe.Options{Durable: "d"}, l.handle)
	l.wait(t, 5)
	if got, want := l.ids(), append(want, "p-3", "p-3", "p-4"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAfterACrashUnacknowledgedEventsComeAgainInOrder(t *testing.T) {
	s := newStand(t)
	want := s.events("p", 40)
	crashed := errors.New("the process is dead")
	l := newLog()
	nc := dial(t, s.server.URL(), nats.NoReconnect())
	p := start(t, nc, subscribe.Options{Durable: "d"}, func(ctx context.Context, e subscribe.Event) error {
		_ = l.handle(ctx, e)
		if e.Seq == 25 {
			nc.Close() // as if the process died: nothing of this is acknowledged
			return crashed
		}
		return nil
	})
	mustBe(t, p.ended(), crashed)
	if got := l.ids(); !slices.Equal(got, want[:25]) {
		t.Fatalf("before the crash: %v", got)
	}

	again := newLog()
	p = start(t, dial(t, s.server.URL()), subscribe.Options{Durable: "d"}, again.handle)
	again.wait(t, 40)
	p.stopped()
	if got := again.ids(); !slices.Equal(got, want) {
		t.Fatalf("after the crash: %v, want all of %v", got, want)
	}
}

// A server that has just become leader may show less than there is. A program does not end because of that.
func TestRedeliveriesAreDropped(t *testing.T) {
	s := newStand(t)
	// A durable that delivers again after 50 ms, so that a slow handler gets everything many times.
	_, err := s.js.CreateConsumer(within(t), event.StreamNormalized, natsjs.ConsumerConfig{
		Durable: "d", AckPolicy: natsjs.AckAllPolicy, AckWait: 50 * time.Millisecond, MaxDeliver: -1,
		FilterSubjects: []string{"events.dead.*", "events.normalized.*"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := s.events("p", 30)
	l := newLog()
	start(t, dial(t, s.server.URL()), subscribe.Options{Durable: "d"}, func(ctx context.Context, e subscribe.Event) error {
		if e.Seq%10 == 5 {
			delivered := func() uint64 {
				cons, err := s.js.Consumer(ctx, event.StreamNormalized, "d")
				if err != nil {
					return 0
				}
				return cons.CachedInfo().Delivered.Consumer
			}
			before := delivered()
			eventually(t, "for a redelivery", func() bool { return delivered() > before })
		}
		return l.handle(ctx, e)
	})
	want = append(want, func() []string { l.wait(t, 30); return s.events("p", 5) }()...)
	l.wait(t, 35)
	s.acked("d")
	if got := l.ids(); !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func TestDisturbancesRepeatAndLoseNothing(t *testing.T) {
	for name, disturb := range map[string]func(s *stand) error{
		"the server restarts": func(s *stand) error { s.server.Restart(s.t); return nil },
		"the consumer is deleted": func(s *stand) error {
			return s.js.DeleteConsumer(within(s.t), event.StreamNormalized, "d")
		},
		"an operator sets the consumer back": func(s *stand) error {
			_, err := s.js.ResetConsumerToSequence(within(s.t), event.StreamNormalized, "d", 1)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			l := newLog()
			retried := make(chan error, 100)
			start(t, dial(t, s.server.URL()), subscribe.Options{
				Durable: "d", OnRetry: func(err error, _ time.Duration) { retried <- err },
			}, l.handle)
			want := s.events("p", 20)
			l.wait(t, 20)
			if err := disturb(s); err != nil {
				t.Fatal(err)
			}
			want = append(want, s.events("p", 20)...)
			l.wait(t, 40)
			s.acked("d")
			if got := l.ids(); !slices.Equal(got, want) {
				t.Fatalf("got %v, want %v", got, want)
			}
			if name != "the server restarts" && len(retried) == 0 {
				t.Error("OnRetry was not told")
			}
		})
	}
}

func TestClusterThatLosesServers(t *testing.T) {
	cluster := jetstreamtest.Cluster(t)
	s := standAt(t, strings.Join(cluster.URLs(), ","))
	l := newLog()
	start(t, dial(t, s.url), subscribe.Options{Durable: "d"}, l.handle)
	want := s.events("p", 20)
	l.wait(t, 1)
	for round := range 3 {
		leader := cluster.Leader(event.StreamNormalized)
		if round == 1 {
			cluster.StepDown(event.StreamNormalized)
		} else {
			cluster.Restart(leader)
		}
		want = append(want, s.events("p", 20)...)
	}
	l.wait(t, len(want))
	if got := l.ids(); !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func TestHandlerErrorStopsAndTheEventComesAgain(t *testing.T) {
	s := newStand(t)
	nc := dial(t, s.server.URL())
	want := s.events("p", 5)
	broken := errors.New("the database is down")
	l := newLog()
	p := start(t, nc, subscribe.Options{Durable: "d"}, func(ctx context.Context, e subscribe.Event) error {
		if e.Seq == 3 {
			return broken
		}
		return l.handle(ctx, e)
	})
	mustBe(t, p.ended(), broken)
	start(t, nc, subscribe.Options{Durable: "d"}, l.handle)
	l.wait(t, 5)
	if got := l.ids(); !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func TestWhereANewDurableBegins(t *testing.T) {
	s := newStand(t)
	s.events("p", 2)
	third := s.publish("p", message("p", "t", 3))
	stored, err := s.stream().GetMsg(within(t), uint64(third))
	if err != nil {
		t.Fatal(err)
	}
	for name, opts := range map[string]subscribe.Options{
		"all":      {},
		"sequence": {StartSeq: third},
		"time":     {StartTime: stored.Time},
		"new":      {New: true},
	} {
		want := map[string]string{"all": "p-1", "sequence": "p-3", "time": "p-3", "new": "p-4"}[name]
		t.Run(name, func(t *testing.T) {
			opts.Durable = name
			l := newLog()
			start(t, dial(t, s.server.URL()), opts, l.handle)
			if name == "new" {
				eventually(t, "for the durable", func() bool {
					_, err := s.js.Consumer(within(t), event.StreamNormalized, name)
					return err == nil
				})
				s.events("p", 1)
			}
			l.wait(t, 1)
			if got := l.ids()[0]; got != want {
				t.Errorf("begins with %s, want %s", got, want)
			}
		})
	}
}

func TestFilters(t *testing.T) {
	s := newStand(t)
	for i, eventType := range []string{"compute.instance.create.end", "image.create", "compute.instance.delete.end"} {
		for _, p := range []event.Provider{"p", "q"} {
			s.publish(p, message(p, eventType, i+1))
		}
	}
	l := newLog()
	opts := subscribe.Options{Durable: "d", Providers: []event.Provider{"q"}, Types: []string{"compute.instance.*"}}
	start(t, dial(t, s.server.URL()), opts, l.handle)
	l.wait(t, 2)
	s.acked("d")
	if got, want := l.ids(), []string{"q-1", "q-3"}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	other := start(t, dial(t, s.server.URL()), subscribe.Options{Durable: "e", Providers: []event.Provider{"p"}}, l.handle)
	l.wait(t, 5)
	other.stopped()
	changed := start(t, dial(t, s.server.URL()), subscribe.Options{Durable: "e"}, l.handle)
	err := changed.ended()
	mustBe(t, err, event.Invalid)
	if !strings.Contains(err.Error(), "it reads events.dead.p, events.normalized.p") {
		t.Errorf("error does not say what the durable reads: %v", err)
	}
}

func TestDeadLetters(t *testing.T) {
	s := newStand(t)
	s.events("p", 1)
	dead := message("p", "", 2)
	dead.Subject, dead.Data = "ingest.dead.p", []byte("not JSON")
	dead.Header.Set(event.HeaderReason, string(event.ReasonMalformed))
	dead.Header.Set(event.HeaderDetail, event.EncodeHeader("line 1: unexpected n"))
	dead.Header.Set(event.HeaderRawSeq, "77")
	s.publish("p", dead)
	s.events("p", 1)

	var got []subscribe.Dead
	opts := subscribe.Options{Durable: "d", OnDead: func(_ context.Context, d subscribe.Dead) error {
		got = append(got, d)
		return nil
	}}
	l := newLog()
	start(t, dial(t, s.server.URL()), opts, l.handle)
	l.wait(t, 2) // without a gap, although no event has the number 2
	if len(got) != 1 || got[0].Reason != event.ReasonMalformed || got[0].Detail != "line 1: unexpected n" ||
		got[0].RawSequence != 77 || string(got[0].Body) != "not JSON" || got[0].Seq != 2 || got[0].Provider != "p" {
		t.Errorf("dead letters are %+v", got)
	}
	broken := errors.New("no room for dead letters")
	p := start(t, dial(t, s.server.URL()), subscribe.Options{
		Durable: "e", OnDead: func(context.Context, subscribe.Dead) error { return broken },
	}, newLog().handle)
	mustBe(t, p.ended(), broken)
}

func TestLargeBodyComesFromTheObjectStore(t *testing.T) {
	s := newStand(t)
	whole := message("p", "compute.instance.create.end", 1)
	ref := event.NewBodyRef(whole.Data)
	client := s.server.Client(t)
	if err := client.Bodies().PutBody(within(t), ref, whole.Data); err != nil {
		t.Fatal(err)
	}
	short := event.Message{Header: event.Header(whole.Header)}
	event.SetBodyRef(&short, ref)
	s.publish("p", &nats.Msg{Subject: whole.Subject, Header: nats.Header(short.Header), Data: []byte(`{"payload":null}`)})

	l := newLog()
	p := start(t, dial(t, s.server.URL()), subscribe.Options{Durable: "d"}, l.handle)
	l.wait(t, 1)
	if e := l.all()[0]; string(e.Body) != string(whole.Data) || string(e.Payload) != `{"n":1}` {
		t.Errorf("body is %s, payload %s", e.Body, e.Payload)
	}
	lost := message("p", "compute.instance.create.end", 2)
	short = event.Message{Header: event.Header(lost.Header)}
	event.SetBodyRef(&short, event.NewBodyRef(lost.Data))
	s.publish("p", &nats.Msg{Subject: lost.Subject, Header: nats.Header(short.Header)})
	mustBe(t, p.ended(), event.Expired)
}

func TestMistakesInOptions(t *testing.T) {
	for name, opts := range map[string]subscribe.Options{
		"no durable":     {},
		"durable dotted": {Durable: "a.b"},
		"two starts":     {Durable: "d", New: true, StartSeq: 4},
		"provider":       {Durable: "d", Providers: []event.Provider{"P.x"}},
	} {
		if _, err := subscribe.New(&nats.Conn{}, opts); event.KindOf(err) != event.Invalid {
			t.Errorf("%s: error is %v, want one of the kind invalid", name, err)
		}
	}
}
