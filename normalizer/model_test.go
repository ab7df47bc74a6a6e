package normalizer

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"stackstream/event"
)

// faults decides what goes wrong, from a seed, until there has been enough of it.
type faults struct {
	w    *world // its lock guards the rest
	rand *rand.Rand
	left int
}

func (f *faults) now(oneIn int) bool {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if f.left == 0 || f.rand.IntN(oneIn) != 0 {
		return false
	}
	f.left--
	return true
}

func (f *faults) below(n int) int {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	return f.rand.IntN(n)
}

var (
	errCrash       = errors.New("crash")
	errUnavailable = &event.Error{Kind: event.Unavailable, Op: "ask"}
)

// install lets everything around the service fail in the ways it may.
func (f *faults) install() {
	fail := func(oneIn int) error {
		if f.now(oneIn) {
			return errUnavailable
		}
		return nil
	}
	f.w.onOpen = func(context.Context) error { return fail(8) }
	f.w.onFeed = func(event.NormalizedCursor) error {
		if f.now(20) {
			return &event.Error{Kind: event.Expired, Op: "open"} // a replica that lags
		}
		return fail(8)
	}
	f.w.onBody = func(event.BodyRef) error { return fail(2) }
	f.w.onCommit = func(context.Context, []event.Outcome) error { return fail(5) } // nothing was stored
	f.w.afterCommit = func() error {                                               // stored, and the instance does not learn it
		if f.left > 0 && f.rand.IntN(5) == 0 { // called with the lock held
			f.left--
			return errCrash
		}
		return nil
	}
	f.w.onNext = func(next []event.Stored) ([]event.Stored, error) {
		switch {
		case f.now(6): // the connection breaks
			return nil, errUnavailable
		case f.now(6): // all of RAW comes again, up to here
			f.w.mu.Lock()
			defer f.w.mu.Unlock()
			var again []event.Stored
			for _, m := range f.w.raw {
				if m.Sequence <= next[len(next)-1].Sequence {
					again = append(again, m)
				}
			}
			return again, nil
		case f.now(6): // the last one is handed over twice
			return append(next[:len(next):len(next)], next[len(next)-1]), nil
		case len(next) > 1 && f.now(6) && numbered(next): // one of them is lost on the way
			i := f.below(len(next) - 1)
			return slices.Delete(slices.Clone(next), i, i+1), nil
		}
		return next[:1+f.below(len(next))], nil
	}
}

// numbered tells whether the loss of any but the last of the messages shows in the numbers of those behind it.
func numbered(next []event.Stored) bool {
	for _, m := range next {
		if r, err := event.ParseRaw(m); err != nil || r.Source != "panko" {
			return false
		}
	}
	return true
}

// plan is one run of the model.
type plan struct {
	seed   uint64
	faults int
	two    bool // instances
	events []planned
}

type planned struct {
	kind   string
	source event.Source
}

func drawPlan(rt *rapid.T) plan {
	kinds := []string{"a", "bb", "malformed", "panic", "none", "object", "lost", "unknown", "foreign"}
	one := rapid.Custom(func(rt *rapid.T) planned {
		return planned{
			kind:   rapid.SampledFrom(kinds).Draw(rt, "kind"),
			source: rapid.SampledFrom([]event.Source{"panko", "amqp"}).Draw(rt, "source"),
		}
	})
	return plan{
		seed:   rapid.Uint64().Draw(rt, "seed"),
		faults: rapid.IntRange(0, 60).Draw(rt, "faults"),
		two:    rapid.Bool().Draw(rt, "two instances"),
		events: rapid.SliceOfN(one, 1, 40).Draw(rt, "events"),
	}
}

func (p plan) fill(w *world) {
	for _, e := range p.events {
		switch e.kind {
		case "object":
			w.add(e.source, "object", "kept "+string(e.source))
		case "lost":
			w.add(e.source, "object", "lost "+string(e.source))
			delete(w.bodies, event.NewBodyRef([]byte("lost "+string(e.source))).Object)
		case "unknown":
			w.add(e.source, "unknown", "x")
		case "foreign":
			w.addMessage(event.Message{Subject: event.RawSubject(testProvider, e.source), Body: []byte("hello")})
		default:
			w.add(e.source, "test", e.kind)
		}
	}
}

// However the feed, the stream, the object store and the instances fail: every raw event becomes events or a dead letter,
// once and in order.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPlan(rt)
		var err error
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			p.fill(w)
			f := &faults{w: w, rand: rand.New(rand.NewPCG(p.seed, 0)), left: p.faults}
			f.install()
			work := func(ctx context.Context) { w.await(ctx, "the end", w.allDone) }
			if first := w.service(nil); p.two {
				second := w.service(nil)
				w.run(first, func(context.Context) { w.run(second, work) })
			} else {
				w.run(first, work)
			}
			err = w.check()
		})
		if err != nil {
			rt.Fatal(err)
		}
	})
}
