package collectors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stackstream/event"
)

// shelf is a Memory whose content a test decides.
type shelf struct {
	Memory
	events []event.Seen
	err    error // what reading ends with, after half of it
	read   int   // how many were yielded
}

func (s *shelf) Identities(ctx context.Context, _ event.Provider, from, _ event.StreamSeq, yield func(event.Seen)) error {
	for i, e := range s.events {
		switch {
		case s.err != nil && i >= len(s.events)/2:
			return s.err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		if e.Sequence >= from {
			s.read++
			yield(e)
		}
	}
	return s.err
}

func (s *shelf) add(n int) {
	for range n {
		seq := event.StreamSeq(1)
		if len(s.events) > 0 {
			seq = s.events[len(s.events)-1].Sequence + 1
		}
		s.events = append(s.events, event.Seen{ID: event.ID(fmt.Sprint("id", seq)), Source: "amqp", Seq: event.Seq(seq), Sequence: seq})
	}
}

func (k *kept) all(t interface{ Fatal(...any) }, from event.StreamSeq) []known {
	var all []known
	if err := k.drain(context.Background(), from, 0, func(e known) { all = append(all, e) }); err != nil {
		t.Fatal(err)
	}
	return all
}

// Whatever was read before, and whatever became of RAW since, what is told is what RAW holds, and a little of what expired.
func TestKeptIsWhatRawHolds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		raw := &shelf{}
		k := newKept(raw, "p", "amqp", Spec{})
		k.limit = rapid.IntRange(20, 200).Draw(t, "limit")
		next, made := event.StreamSeq(1), 0
		from := event.StreamSeq(0)
		t.Repeat(map[string]func(*rapid.T){
			"collect": func(t *rapid.T) {
				for range rapid.IntRange(1, 9).Draw(t, "events") {
					made++
					raw.events = append(raw.events, event.Seen{
						ID: event.ID(fmt.Sprint("id", made)), Sequence: next, Seq: event.Seq(made),
						Source: rapid.SampledFrom([]event.Source{"amqp", "panko"}).Draw(t, "source"),
						Time:   rapid.SampledFrom([]time.Time{{}, time.Unix(int64(made), 0)}).Draw(t, "time"),
					})
					next += event.StreamSeq(rapid.IntRange(1, 3).Draw(t, "step"))
				}
			},
			"stand by": func(t *rapid.T) {
				k.forget(event.Seq(len(raw.events)))
				raw.err = rapid.SampledFrom([]error{nil, nil, errors.New("no answer")}).Draw(t, "fault")
				err := k.refresh(context.Background(), from, 0)
				if err != nil && !errors.Is(err, raw.err) && !errors.Is(err, errTooMany) {
					t.Fatal(err)
				}
				raw.err = nil
			},
			"move on": func(t *rapid.T) {
				from += event.StreamSeq(rapid.IntRange(0, 5).Draw(t, "by"))
			},
			"expire": func(t *rapid.T) {
				raw.events = raw.events[rapid.IntRange(0, min(5, len(raw.events))).Draw(t, "events"):]
				if len(raw.events) > 0 {
					from = max(from, raw.events[0].Sequence)
				} else {
					from = max(from, next)
				}
			},
			"restore a copy": func(t *rapid.T) {
				lost := rapid.IntRange(0, min(10, len(raw.events))).Draw(t, "events")
				raw.events = slices.Clone(raw.events[:len(raw.events)-lost])
				if next = 1; len(raw.events) > 0 {
					next = raw.events[len(raw.events)-1].Sequence + 1
				}
				from = min(from, next)
			},
			"take over": func(t *rapid.T) {
				var want []known
				for _, e := range raw.events {
					if e.Sequence >= from {
						want = append(want, k.entry(e))
					}
				}
				if got := k.all(t, from); !slices.Equal(got, want) {
					t.Fatalf("from %d on it is told %v; RAW has %v", from, got, want)
				}
			},
		})
	})
}

func TestKeptIsNotReadAgain(t *testing.T) {
	raw := &shelf{}
	raw.add(1000)
	k := newKept(raw, "p", "amqp", Spec{})
	if err := k.refresh(t.Context(), 100, 0); err != nil {
		t.Fatal(err)
	}
	raw.add(10)
	if err := k.refresh(t.Context(), 200, 0); err != nil {
		t.Fatal(err)
	}
	raw.add(5)
	raw.read = 0
	if all := k.all(t, 300); len(all) != 716 || all[0].seq != 300 || all[715].seq != 1015 {
		t.Errorf("%d are told; want 716", len(all))
	}
	if raw.read != 6 {
		t.Errorf("%d were read; want the last one again and the five behind it", raw.read)
	}
	raw.read = 0
	if all := k.all(t, 300); len(all) != 716 || raw.read != 716 {
		t.Errorf("%d are told, %d were read, of a list that was used before", len(all), raw.read)
	}
}

func TestKeptKeepsWhatItReadBeforeAnError(t *testing.T) {
	raw := &shelf{err: errors.New("no answer")}
	raw.add(1000)
	k := newKept(raw, "p", "amqp", Spec{})
	if err := k.refresh(t.Context(), 0, 0); !errors.Is(err, raw.err) {
		t.Fatal(err)
	}
	raw.err, raw.read = nil, 0
	if all := k.all(t, 0); len(all) != 1000 || raw.read != 501 {
		t.Errorf("%d are told, and %d were read; want 1000, and half of them and one", len(all), raw.read)
	}
}

func TestKeptForgetsAShorterRaw(t *testing.T) {
	raw := &shelf{}
	raw.add(1000)
	k := newKept(raw, "p", "amqp", Spec{})
	k.read = 1000
	if err := k.refresh(t.Context(), 0, 0); err != nil {
		t.Fatal(err)
	}
	if k.forget(1000); len(k.list) != 1000 {
		t.Error("nothing was lost, and it forgets")
	}
	if k.forget(999); k.list != nil || k.read != 0 {
		t.Error("an event was lost, and it does not forget")
	}
}

func TestKeptHasALimit(t *testing.T) {
	raw := &shelf{}
	k := newKept(raw, "p", "amqp", Spec{Repeats: keepAtLeast})
	if k.limit != 2*keepAtLeast {
		t.Errorf("the limit is %d", k.limit)
	}
	k.limit = 100
	raw.add(5000)
	if err := k.refresh(t.Context(), 0, 0); !errors.Is(err, errTooMany) {
		t.Errorf("5000 of at most 100: %v", err)
	}
	if raw.read > 102 {
		t.Errorf("%d were read before it gave up", raw.read)
	}
	if all := k.all(t, 0); len(all) != 5000 {
		t.Errorf("%d are told", len(all))
	}
}
