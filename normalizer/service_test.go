package normalizer

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

func TestReaderThatLosesItsPlaceIsOpenedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for range 5 {
			w.add("panko", "test", "a")
		}
		lost := false
		w.onNext = func(next []event.Stored) ([]event.Stored, error) {
			if !lost && len(next) == 5 {
				lost = true
				return slices.Delete(next, 2, 3), nil
			}
			return next, nil
		}
		w.run(w.service(nil), func(ctx context.Context) { w.await(ctx, "the end", w.allDone) })
		if err := w.check(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"panko 3 4"}, w.gaps); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"starting", "live"}, w.states()); diff != "" {
			t.Errorf("a gap that is none was reported: %s", diff)
		}
	})
}

// A gap that turned out to be none says nothing about the next one, hours of good work later.
func TestReaderThatLosesItsPlaceAgainIsOpenedAnewAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.onNext = func(next []event.Stored) ([]event.Stored, error) {
			if len(next) == 3 {
				return slices.Delete(next, 1, 2), nil
			}
			return next, nil
		}
		addThree := func() {
			for range 3 {
				w.numbers["panko"]++
				n := w.numbers["panko"]
				r := event.Raw{ID: event.ID(fmt.Sprint(n)), Received: time.Now(), Format: "test", Body: []byte("a")}
				w.store(r.Message(testProvider, "panko", n, event.BodyRef{}))
			}
		}
		w.note(addThree)
		w.run(w.service(nil), func(ctx context.Context) {
			w.await(ctx, "the first events", w.allDone)
			w.note(addThree)
			w.await(ctx, "the end", w.allDone)
		})
		if err := w.check(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"panko 2 3", "panko 5 6"}, w.gaps); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"starting", "live"}, w.states()); diff != "" {
			t.Errorf("a gap that is none was reported: %s", diff)
		}
	})
}

func TestMissingEventsStopTheProviderUntilAnOperatorActs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.add("panko", "test", "a")
		w.add("amqp", "test", "a")
		w.lose("panko")
		w.add("panko", "test", "a")
		w.add("amqp", "test", "a")
		w.run(w.service(nil), func(ctx context.Context) {
			w.await(ctx, "stopped", func() bool {
				return len(w.statuses) > 0 && w.statuses[len(w.statuses)-1].State == event.StateStopped
			})
			reason := "raw-expired: source panko: expected event 2, found 3"
			if got := w.statuses[len(w.statuses)-1].Reason; got != reason {
				t.Errorf("reason %q", got)
			}
			if len(w.outcomes) != 2 {
				t.Errorf("%d outcomes before the gap", len(w.outcomes))
			}
			// It looks again, and says nothing new while nothing is new.
			w.await(ctx, "more looks", func() bool { return len(w.gaps) >= 5 })
			w.note(func() {
				w.cursor = cloneCursor(w.cursor)
				w.cursor.Sources["panko"] = event.SourcePosition{Position: 2}
				w.cursor.Sequence++
			})
			w.await(ctx, "the end", w.allDone)
		})
		if err := w.check(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"starting", "live", "stopped", "live"}, w.states()); diff != "" {
			t.Error(diff)
		}
	})
}

// A number that was there before is skipped also where it stands behind in the stream; the cursor moves over it.
func TestNumbersThatComeAgainAreSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for range 3 {
			w.add("panko", "test", "a")
		}
		w.numbers["panko"] = 1
		for range 2 {
			w.add("panko", "test", "again")
		}
		w.run(w.service(nil), func(ctx context.Context) { w.await(ctx, "the end", w.allDone) })
		var got []string
		for _, o := range w.outcomes {
			got = append(got, string(o.Raw.Body))
		}
		if diff := cmp.Diff([]string{"a", "a", "a"}, got); diff != "" || w.skipped != 2 {
			t.Errorf("skipped %d: %s", w.skipped, diff)
		}
	})
}

func TestWhatTheFeedRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		err    error
		states []string
	}{
		{"shorter than the cursor says", &event.Error{Kind: event.Regressed, Op: "open"},
			[]string{"starting", "backoff", "stopped", "live"}},
		{"aged out", &event.Error{Kind: event.Expired, Op: "open"}, []string{"starting", "stopped", "live"}},
		{"unreachable", &event.Error{Kind: event.Unavailable, Op: "open"}, []string{"starting", "backoff", "live"}},
		{"without a kind", errors.New("odd"), []string{"starting", "backoff", "live"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.add("panko", "test", "a")
				opened := 0
				w.onFeed = func(event.NormalizedCursor) error {
					if opened++; opened <= 20 {
						return c.err
					}
					return nil
				}
				w.run(w.service(nil), func(ctx context.Context) { w.await(ctx, "the end", w.allDone) })
				if diff := cmp.Diff(c.states, w.states()); diff != "" {
					t.Error(diff)
				}
				if err := w.check(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A reader that finds the gap by itself is believed after it was opened anew, like a gap found here.
func TestGapFoundByTheReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.add("panko", "test", "a")
		reads := 0
		w.onNext = func(next []event.Stored) ([]event.Stored, error) {
			if reads++; reads <= 10 {
				return nil, &event.Error{Kind: event.Expired, Op: "read"}
			}
			return next, nil
		}
		w.run(w.service(nil), func(ctx context.Context) { w.await(ctx, "the end", w.allDone) })
		if diff := cmp.Diff([]string{"starting", "live", "stopped", "live"}, w.states()); diff != "" {
			t.Error(diff)
		}
		if len(w.gaps) != 10 || w.gaps[0] != " 0 0" {
			t.Errorf("gaps: %q", w.gaps)
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

func TestBodyThatCannotBeReadHoldsUpWhatIsBehindItOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.add("panko", "test", "a")
		w.add("panko", "object", "large")
		w.add("panko", "test", "a")
		var down atomic.Bool
		down.Store(true)
		w.onBody = func(event.BodyRef) error {
			if down.Load() {
				return &event.Error{Kind: event.Unavailable, Op: "read body"}
			}
			return nil
		}
		w.run(w.service(nil), func(ctx context.Context) {
			w.await(ctx, "backoff and the event before", func() bool {
				return len(w.outcomes) == 1 && w.statuses[len(w.statuses)-1].State == event.StateBackoff
			})
			synctest.Wait()
			if len(w.outcomes) != 1 {
				t.Errorf("%d outcomes", len(w.outcomes))
			}
			down.Store(false)
			w.await(ctx, "the end", w.allDone)
		})
		if err := w.check(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"starting", "live", "backoff", "live"}, w.states()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestBatchesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for range BatchEvents + 1 {
			w.add("panko", "test", "a")
		}
		for i := range 6 {
			w.add("panko", "object", strings.Repeat(string(rune('a'+i)), BatchBytes*2/5))
		}
		w.add("panko", "test", strings.Repeat("x", 3*BatchBytes))
		w.add("panko", "test", "a")
		w.run(w.service(nil), func(ctx context.Context) { w.await(ctx, "the end", w.allDone) })
		if err := w.check(); err != nil {
			t.Error(err)
		}
		var sizes []int
		for _, b := range w.batches {
			sizes = append(sizes, len(b))
		}
		// The feed counts the bytes of the messages, so that the objects come with what is around them.
		if diff := cmp.Diff([]int{500, 4, 3, 1, 1}, sizes); diff != "" {
			t.Error(diff)
		}
	})
}

// Small bodies that become large are no way to fill the memory: what they became counts.
func TestBatchesOfInflatedEventsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for range 10 {
			w.add("panko", "test", "a")
		}
		w.run(w.service(map[string]Converter{"test": inflater{}}), func(ctx context.Context) { w.await(ctx, "the end", w.allDone) })
		for _, b := range w.batches {
			if len(b) != 2 {
				t.Errorf("a batch of %d events of half of what a batch takes", len(b))
			}
		}
	})
}

type inflater struct{ testConverter }

func (inflater) Convert(raw event.Raw) (Converted, error) {
	c, err := testConverter{}.Convert(raw)
	c.Events[0].Payload = make([]byte, BatchBytes/2)
	return c, err
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
