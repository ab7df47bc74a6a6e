package model_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"stackstream/event"
	"stackstream/publisher"
)

// build fills a world: services, processes, and what is complete.
type build func(w *world, parts parts)

// simulate makes a schedule of a world. Fates that are not among only do not come to pass; nil: all do.
func simulate(t *testing.T, parts parts, only []fate, build build) schedule {
	return simulateAndCount(t, parts, only, build, map[fate]int{})
}

// simulateAndCount counts the fates as well.
func simulateAndCount(t *testing.T, parts parts, only []fate, build build, fates map[fate]int) schedule {
	return func(c chooser) error {
		var w *world
		synctest.Test(t, func(t *testing.T) {
			w = &world{
				t: t, choose: c, fates: fates, bodies: map[string][]byte{}, consumer: &consumer{},
				raw: newStream(event.StreamRaw, epoch), norm: newStream(event.StreamNormalized, epoch),
			}
			if only != nil {
				w.only = map[fate]bool{}
				for _, f := range only {
					w.only[f] = true
				}
			}
			build(w, parts)
			w.raw.stored, w.norm.stored = w.check.storedRaw, w.check.storedNormalized
			w.run()
		})
		if w.err != nil {
			return fmt.Errorf("%w\n%s\n%s\n%s", w.err, strings.Join(w.trace, "\n"), w.raw, w.norm)
		}
		return nil
	}
}

// collecting is a number of processes that collect from one service, n events of it.
func collecting(kind string, n, processes int) build {
	return func(w *world, parts parts) {
		svc := newService(w, event.Source(kind), n)
		w.check = newChecker(w, svc)
		w.complete = w.check.collectedAll
		for i := range processes {
			main := w.polls(svc, parts)
			if kind == "queue" {
				main = w.consumes(svc, parts)
			}
			w.add("collector "+strconv.Itoa(i+1), main)
		}
	}
}

// normalizing is a number of processes that normalize n raw events that are there.
func normalizing(n, processes int) build {
	return func(w *world, parts parts) {
		svc := newService(w, "poll", n)
		w.check = newChecker(w, svc)
		w.complete = w.check.normalizedAll
		w.raw.stored = w.check.storedRaw
		fill(w, svc)
		for i := range processes {
			w.add("normalizer "+strconv.Itoa(i+1), w.normalizes(parts))
		}
	}
}

// fill puts the events of a service into RAW that are not there, two by two.
func fill(w *world, svc *service) {
	writer := publisher.NewRaw(direct{w.raw}, direct{w.raw}.bodies(w), cloud, svc.source, event.Fence{}, publisher.Options{Limits: limits})
	there, err := writer.Open(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	for i := int(there.Position); i < len(svc.events); i += 2 {
		end := min(i+2, len(svc.events))
		p := event.Progress{Watermark: timeOf(end - 1)}
		if _, err := writer.Commit(context.Background(), svc.events[i:end], p); err != nil {
			w.t.Fatal(err)
		}
	}
}

// direct is a stream that never fails.
type direct struct{ s *stream }

func (d direct) Append(_ context.Context, b event.Batch) (event.StreamSeq, error) {
	return d.s.append(b)
}

func (d direct) ReadCursor(_ context.Context, subject string, _ event.StreamSeq) (event.Stored, bool, error) {
	m, ok := d.s.at(subject, d.s.end())
	return m, ok, nil
}

func (d direct) bodies(w *world) publisher.Bodies { return directBodies{w} }

type directBodies struct{ w *world }

func (d directBodies) PutBody(_ context.Context, ref event.BodyRef, body []byte) error {
	d.w.bodies[ref.Object] = body
	return nil
}

// chain is all of it: collectors of two sources, and normalizers.
func chain(n, collectors, normalizers int) build {
	return func(w *world, parts parts) {
		poll, queue := newService(w, "poll", n), newService(w, "queue", n)
		w.check = newChecker(w, poll, queue)
		w.complete = func() bool { return w.check.collectedAll() && w.check.normalizedAll() }
		for i := range collectors {
			w.add("poller "+strconv.Itoa(i+1), w.polls(poll, parts))
			w.add("consumer "+strconv.Itoa(i+1), w.consumes(queue, parts))
		}
		for i := range normalizers {
			w.add("normalizer "+strconv.Itoa(i+1), w.normalizes(parts))
		}
	}
}

// choosing is two kinds of source that show the same events, one process of each, and a choice that changes at any time.
func choosing(n int) build {
	return func(w *world, parts parts) {
		poll, queue := newServiceOf(w, "poll", "e", n), newServiceOf(w, "queue", "e", n)
		w.check = newChecker(w, poll, queue)
		w.complete = w.check.collectedAll
		w.add("poller", w.polls(poll, parts))
		w.add("consumer", w.consumes(queue, parts))
		w.raw.stored = w.check.storedRaw
		w.chooses("poll")
		w.disaster = func() { w.chooses("queue") }
	}
}

// broken is a normalizer of n raw events, and a disaster in RAW before it has dealt with them.
func broken(n int, kind event.Kind, disaster func(w *world), may func(w *world) bool) build {
	return func(w *world, parts parts) {
		normalizing(n, 1)(w, parts)
		w.disaster = func() {
			w.raw.stored = nil
			w.consumer.reader = nil // gone, as the server was for a while
			disaster(w)
		}
		w.may = func() bool { return may(w) }
		w.later = func() { fill(w, newService(w, "poll", 3)) }
		// All may be in memory when it is dropped.
		w.complete = func() bool { return w.disaster == nil && kind == event.Expired && w.check.normalizedAll() }
		w.stops = kind
	}
}

func (w *world) someNormalized() bool { return w.check.normalized > 0 }

// recreated is a RAW that was made anew, with other events under the same numbers.
var recreated = broken(5, event.Regressed, func(w *world) {
	w.raw.renew()
	fill(w, newServiceOf(w, "poll", "new", 7))
}, (*world).someNormalized)

// restored is a RAW that has lost its tail, part of which was normalized. A normalizer that then gets an old cursor from a
// replica that lags finds out with the next event at the latest: it is refused.
// What is collected again meanwhile must not have come as far as what was normalized: then nothing tells the two apart.
var restored = broken(5, event.Regressed, func(w *world) { w.raw.cut(3) }, func(w *world) bool {
	return w.check.cursor.Sources["poll"].Position > 3
})

// expired is a RAW that drops events before they are normalized.
var expired = broken(6, event.Expired, func(w *world) {
	w.raw.expire(w.raw.end()-1, func(subject string) bool { return !strings.HasPrefix(subject, "events.raw.") })
}, func(w *world) bool { return true })

// scopes are worlds small enough to run every schedule within bounds: all that can become of the first few decisions, and
// all pairs of what goes wrong anywhere in the first many.
var scopes = []struct {
	name        string
	build       build
	few, anyTwo bounds
}{
	{"one_poller", collecting("poll", 5, 1), bounds{5, 5}, bounds{16, 2}},
	{"one_consumer", collecting("queue", 5, 1), bounds{5, 5}, bounds{16, 2}},
	{"two_pollers", collecting("poll", 4, 2), bounds{5, 5}, bounds{13, 2}},
	{"two_consumers", collecting("queue", 4, 2), bounds{5, 5}, bounds{13, 2}},
	{"one_normalizer", normalizing(5, 1), bounds{4, 4}, bounds{12, 2}},
	{"two_normalizers", normalizing(4, 2), bounds{5, 5}, bounds{13, 2}},
	{"change_of_kind", choosing(2), bounds{1, 1}, bounds{19, 2}},
	{"chain", chain(3, 1, 1), bounds{4, 4}, bounds{11, 2}},
	{"recreated", recreated, bounds{1, 1}, bounds{10, 2}},
	{"restored", restored, bounds{1, 1}, bounds{9, 2}},
	{"expired", expired, bounds{1, 1}, bounds{10, 2}},
}

// distinct are the fates that are explored: full is unavailable by another name, and a replica that lags a little one that
// lags less.
var distinct = []fate{unanswered, late, unavailable, lagsFar, diesBefore, diesAfter, diesLate, stops, repeats, one, skips}

func TestEverySchedule(t *testing.T) {
	seen, ran := map[fate]int{}, 0
	for _, scope := range scopes {
		t.Run(scope.name, func(t *testing.T) {
			run := simulateAndCount(t, parts{}, distinct, scope.build, seen)
			few, anyTwo := scope.few, scope.anyTwo
			few.depth += *deep
			few.deviations += *deep
			anyTwo.depth += 5 * *deep
			anyTwo.deviations += *deep
			exhaust(t, few, run)
			exhaust(t, anyTwo, run)
			ran++
		})
	}
	for _, f := range distinct {
		if *replay == "" && ran == len(scopes) && seen[f] == 0 {
			t.Errorf("it never came to pass: %s", f)
		}
	}
}

// Worlds of any size, in which much more goes wrong. What fails shrinks to little.
func TestRandomSchedules(t *testing.T) {
	for _, world := range []struct {
		name  string
		build func(rt *rapid.T) build
	}{
		{"chain", func(rt *rapid.T) build {
			n := rapid.IntRange(1, 15).Draw(rt, "events of each source")
			return chain(n, rapid.IntRange(1, 3).Draw(rt, "collectors of each"), rapid.IntRange(1, 3).Draw(rt, "normalizers"))
		}},
		{"change of kind", func(rt *rapid.T) build { return choosing(rapid.IntRange(1, 15).Draw(rt, "events")) }},
		{"recreated", func(*rapid.T) build { return recreated }},
		{"restored", func(*rapid.T) build { return restored }},
		{"expired", func(*rapid.T) build { return expired }},
	} {
		t.Run(world.name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				if err := simulate(t, parts{}, nil, world.build(rt))(drawDecisions(rt)); err != nil {
					rt.Fatal(err)
				}
			})
		})
	}
}
