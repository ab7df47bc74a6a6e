package normalizer

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
)

func TestEveryRawEventBecomesEventsOrADeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for _, body := range []string{"a", "bb", "malformed", "panic", "none", "no id", "a"} {
			w.add("panko", "test", body)
		}
		w.add("amqp", "unknown", "x")
		w.add("amqp", "object", "a large body")
		w.add("amqp", "object", "a lost body")
		delete(w.bodies, event.NewBodyRef([]byte("a lost body")).Object)
		w.add("panko", "test", "a")
		w.run(w.service(nil), func(ctx context.Context) {
			w.await(ctx, "the end", w.allDone)
			w.add("panko", "test", "b")
			w.await(ctx, "one that comes later", func() bool { return w.allDone() && w.acked == w.cursor.RawSeq })
		})
		if err := w.check(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"starting", "live"}, w.states()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestDeadLettersSayWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.add("panko", "test", "panic")
		w.add("panko", "oslo", "x")
		w.add("panko", "test", "none")
		w.add("panko", "object", "lost")
		clear(w.bodies)
		w.run(w.service(nil), func(ctx context.Context) { w.await(ctx, "the end", w.allDone) })
		var details []string
		for _, o := range w.outcomes {
			details = append(details, o.Dead.Detail+" | "+o.Converter)
		}
		where := "panic: assignment to entry in nil map\nstackstream/normalizer.deepInTheConverter world_test.go:"
		if !strings.HasPrefix(details[0], where) ||
			strings.Contains(details[0], "runtime.") || !strings.HasSuffix(details[0], " | test/1") {
			t.Errorf("panic: %s", details[0])
		}
		want := []string{
			`nothing converts the format "oslo" | `, "the converter made no event of it | test/1", "read body: raw-expired | ",
		}
		if diff := cmp.Diff(want, details[1:]); diff != "" {
			t.Error(diff)
		}
		lost := w.outcomes[3].Raw
		if lost.BodyRef != event.NewBodyRef([]byte("lost")) || lost.Body != nil {
			t.Errorf("the dead letter does not refer to the body: %+v", lost)
		}
	})
}

// What a converter says when it panics may be as long as the event. It must not take the place of where that happened.
func TestLongPanicLeavesRoomForTheStack(t *testing.T) {
	_, panicked, err := callConverter(panicConverter{strings.Repeat("ü", 1<<20)}, event.Raw{})
	if !panicked {
		t.Fatalf("no panic: %v", err)
	}
	said, stack, _ := strings.Cut(err.Error(), "\n")
	if want := "panic: " + strings.Repeat("ü", maxPanic/2) + "…"; said != want {
		t.Errorf("%d bytes are said: %.100q", len(said), said)
	}
	if !strings.HasPrefix(stack, "stackstream/normalizer.panicConverter.Convert service_test.go:") {
		t.Errorf("the stack is %q", stack)
	}
}

// panicConverter panics with what it is made of.
type panicConverter struct{ with any }

func (panicConverter) Name() string { return "panic/1" }

func (c panicConverter) Convert(event.Raw) (Converted, error) { panic(c.with) }

func TestMessagesThatNoCollectorWrote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.add("panko", "test", "a")
		foreign := func(subject string, headers ...string) {
			h := event.Header{}
			for i := 0; i < len(headers); i += 2 {
				h.Set(headers[i], headers[i+1])
			}
			w.addMessage(event.Message{Subject: subject, Header: h, Body: []byte("hello")})
		}
		foreign("events.raw.cloud.panko")                                                         // nothing at all
		foreign("events.raw.cloud.panko", event.HeaderSeq, "900")                                 // a number far ahead
		foreign("events.raw.cloud.panko", event.HeaderSeq, "2", "Evt-Queue", "q", "X-Other", "y") // the next number, no id
		foreign("events.raw.cloud.a.b", event.HeaderSeq, "1", event.HeaderID, "x")                // no source
		foreign("events.raw.other.panko", event.HeaderSeq, "1", event.HeaderID, "x")              // of another provider
		foreign("events.raw.cloud.panko", event.HeaderBodyObject, strings.Repeat("x", 60_000))    // with a body beside it
		w.numbers["panko"] = 2
		w.add("panko", "test", "a")
		w.run(w.service(nil), func(ctx context.Context) { w.await(ctx, "the end", w.allDone) })

		type row struct {
			Source event.Source
			Seq    event.Seq
			ID     event.ID
			Dead   bool
		}
		var got []row
		for _, o := range w.outcomes {
			got = append(got, row{o.Raw.Source, o.Raw.Seq, o.Raw.ID, o.Dead != nil})
			if o.Dead != nil && (string(o.Raw.Body) != "hello" || o.Raw.BodyRef.Object != "" || o.Raw.Provider != testProvider ||
				o.Dead.Reason != event.ReasonMalformed) {
				t.Errorf("%+v %+v", o.Raw, o.Dead)
			}
		}
		hash := event.HashID([]byte("hello"))
		want := []row{
			{"panko", 1, "panko-1", false}, {"panko", 0, hash, true}, {"panko", 0, hash, true}, {"panko", 2, hash, true},
			{"", 0, "x", true}, {"", 0, "x", true}, {"panko", 0, hash, true}, {"panko", 3, "panko-3", false},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if got := w.outcomes[3].Raw.Header["Evt-Queue"]; got != "q" {
			t.Errorf("header of the source: %q", got)
		}
		if len(w.gaps) > 0 {
			t.Errorf("gaps: %v", w.gaps)
		}
	})
}

func TestInvalidCommitStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.add("panko", "test", "a")
		commits := 0
		w.onCommit = func(context.Context, []event.Outcome) error {
			if commits++; commits <= 3 {
				return &event.Error{Kind: event.Invalid, Op: "commit"}
			}
			return nil
		}
		w.run(w.service(nil), func(ctx context.Context) { w.await(ctx, "the end", w.allDone) })
		if diff := cmp.Diff([]string{"starting", "live", "stopped", "live"}, w.states()); diff != "" {
			t.Error(diff)
		}
		if err := w.check(); err != nil {
			t.Error(err)
		}
	})
}

func TestNewNamesEveryThingThatIsMissing(t *testing.T) {
	_, err := New(Config{Converters: map[string]Converter{"x": nil}})
	want := "normalizer: no committer\nnormalizer: no feed\nnormalizer: no bodies\nnormalizer: no converter for format \"x\""
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestBeatStopsWhileAConversionDoesNotComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var beats atomic.Int64
		w.beat = func(event.Provider) { w.note(func() { beats.Add(1) }) }
		hold := make(chan struct{})
		s := w.service(map[string]Converter{"test": stuckConverter{hold}})
		w.run(s, func(ctx context.Context) {
			w.await(ctx, "beats while there is nothing to do", func() bool { return beats.Load() >= 3 })
			w.add("panko", "test", "a")
			before := beats.Load()
			wait(ctx, time.Hour)
			if got := beats.Load() - before; got > 1 { // the one that saw the conversion for the first time
				t.Errorf("%d beats in an hour that one conversion took", got)
			}
			before = beats.Load()
			close(hold)
			w.await(ctx, "beats again", func() bool { return w.allDone() && beats.Load() > before })
		})
	})
}

type stuckConverter struct{ hold chan struct{} }

func (stuckConverter) Name() string { return "stuck/1" }

func (c stuckConverter) Convert(raw event.Raw) (Converted, error) {
	<-c.hold
	return testConverter{}.Convert(raw)
}
