package collectors

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stackstream/event"
)

var epoch = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

// modelEntry is what the model knows of an identity that the set took.
type modelEntry struct {
	id      event.ID
	at      time.Time
	seq     event.StreamSeq
	durable bool
}

// mustKnow says what the set promises to remember.
func mustKnow(entries []modelEntry, i, repeats int, floor time.Time) bool {
	e := entries[i]
	if !e.durable {
		return true
	}
	nth := 0
	for _, other := range entries[i:] {
		if other.durable {
			nth++
		}
	}
	if nth <= repeats {
		return true
	}
	if e.at.IsZero() || floor.IsZero() {
		return nth <= minRemembered
	}
	return !e.at.Before(floor)
}

func TestSeenAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		repeats := rapid.IntRange(0, 8).Draw(t, "repeats")
		s := newSeen(repeats, time.Time{})
		var entries []modelEntry
		var floor time.Time
		next, ids := event.StreamSeq(0), 0
		draw := func() time.Time {
			if rapid.Bool().Draw(t, "timed") {
				return epoch.Add(time.Duration(rapid.IntRange(0, 50).Draw(t, "at")) * time.Second)
			}
			return time.Time{}
		}
		pending := func() (n int) {
			for _, e := range entries {
				if !e.durable {
					n++
				}
			}
			return n
		}
		for range rapid.IntRange(0, 20).Draw(t, "recalled") {
			ids, next = ids+1, next+2
			e := modelEntry{id: event.ID(fmt.Sprint("id", ids)), at: draw(), seq: next, durable: true}
			s.recall(recalled(event.Seen{ID: e.id, Time: e.at, Sequence: e.seq}))
			entries = append(entries, e)
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				ids++
				e := modelEntry{id: event.ID(fmt.Sprint("id", ids)), at: draw()}
				if !s.add(e.id, e.at) {
					t.Fatalf("%s was never added, and is known", e.id)
				}
				entries = append(entries, e)
			},
			"take back": func(t *rapid.T) {
				n := rapid.IntRange(0, pending()).Draw(t, "n")
				s.takeBack(n)
				entries = entries[:len(entries)-n]
			},
			"durable": func(t *rapid.T) {
				waiting := pending()
				n := rapid.IntRange(0, waiting).Draw(t, "n")
				if rapid.Bool().Draw(t, "with floor") {
					floor = later(floor, epoch.Add(time.Duration(rapid.IntRange(0, 50).Draw(t, "floor"))*time.Second))
				}
				var seqs []event.StreamSeq
				first := len(entries) - waiting
				for i := range n {
					next++
					seqs = append(seqs, next)
					entries[first+i].seq, entries[first+i].durable = next, true
				}
				s.durable(seqs, floor)
			},
			"": func(t *rapid.T) {
				from := s.from(next)
				for i, e := range entries {
					if !mustKnow(entries, i, repeats, floor) {
						continue
					}
					if _, known := s.ids[identityOf(e.id)]; !known {
						t.Fatalf("%s is forgotten: %+v, floor %s", e.id, e, floor)
					}
					if e.durable && e.seq < from {
						t.Fatalf("%s at %d must be remembered, and is read back from %d on", e.id, e.seq, from)
					}
				}
			},
		})
	})
}

func TestSeenStaysSmall(t *testing.T) {
	at := func(i int) time.Time { return epoch.Add(time.Duration(i) * time.Second) }
	for _, c := range []struct {
		name    string
		repeats int
		first   time.Time // of an event that comes before all others
		time    func(i int) time.Time
		floor   func(i int) time.Time
		most    int
	}{
		{"with a floor", 10, at(0), at, func(i int) time.Time { return at(i - 30) }, 64},
		{"an event from the future stays", 10, at(1 << 30), at, func(i int) time.Time { return at(i - 30) }, 2 * minRemembered},
		{"without times", 10, time.Time{}, func(int) time.Time { return time.Time{} }, at, minRemembered},
		{"without a floor", 10, at(0), at, func(int) time.Time { return time.Time{} }, minRemembered},
		{"more repeats than the minimum", 3000, at(0), at, func(int) time.Time { return time.Time{} }, 3000},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSeen(c.repeats, time.Time{})
			s.add("first", c.first)
			s.durable([]event.StreamSeq{1}, time.Time{})
			for i := range 50_000 {
				if !s.add(event.ID(fmt.Sprint(i)), c.time(i)) {
					t.Fatalf("%d is new, and is known", i)
				}
				s.durable([]event.StreamSeq{event.StreamSeq(i + 2)}, c.floor(i))
				if n := s.size(); n > c.most {
					t.Fatalf("%d identities are remembered after %d events; want at most %d", n, i, c.most)
				}
			}
			if n := cap(s.list); n > 8*c.most {
				t.Errorf("the list has room for %d", n)
			}
			if c.first.After(at(1 << 29)) {
				if s.add("first", c.first) {
					t.Error("the event from the future is forgotten")
				}
				if from := s.from(0); from != 1 {
					t.Errorf("identities are read back from %d on; want 1", from)
				}
			}
		})
	}
}

func TestSeenKeepsWhatWasReadBack(t *testing.T) {
	s := newSeen(10, time.Time{})
	for i := range 5000 {
		s.recall(recalled(event.Seen{ID: event.ID(fmt.Sprint("old", i)), Sequence: event.StreamSeq(i + 1)}))
	}
	if n := s.size(); n != 5000 {
		t.Fatalf("%d of 5000 identities are left after the start", n)
	}
	for i := range 4000 {
		s.add(event.ID(fmt.Sprint("new", i)), time.Time{})
		s.durable([]event.StreamSeq{event.StreamSeq(5001 + i)}, time.Time{})
		if n, most := s.size(), max(5000-i-1, minRemembered); n != most {
			t.Fatalf("%d identities after %d new ones; want %d", n, i+1, most)
		}
	}
}

// What the first new events push out is bounded also where something that stays stands in front of it.
func TestSeenKeepsWhatWasReadBackBehindOneThatStays(t *testing.T) {
	s := newSeen(0, epoch)
	s.recall(recalled(event.Seen{ID: "stays", Time: epoch.Add(time.Hour), Sequence: 1}))
	n := 1
	for ; n < 2*s.swept+minRemembered || s.swept == 0; n++ { // the next one makes it sweep
		s.recall(recalled(event.Seen{ID: event.ID(fmt.Sprint("old", n)), Sequence: event.StreamSeq(n + 1)}))
	}
	s.add("new", time.Time{})
	s.durable([]event.StreamSeq{event.StreamSeq(n + 1)}, time.Time{})
	if got, want := s.size(), n+1-2; got < want {
		t.Errorf("%d of %d identities are left after a single new event; want at least %d", got, n+1, want)
	}
}

func TestSeenDropsBelowTheFloorWhileReadingBack(t *testing.T) {
	s := newSeen(10, epoch.Add(time.Hour))
	s.recall(recalled(event.Seen{ID: "future", Time: epoch.Add(1e6 * time.Second), Sequence: 1}))
	for i := range 20_000 {
		s.recall(recalled(event.Seen{ID: event.ID(fmt.Sprint(i)), Time: epoch, Sequence: event.StreamSeq(i + 2)}))
	}
	if n := s.size(); n > 2*minRemembered {
		t.Errorf("%d identities; want no more than %d", n, 2*minRemembered)
	}
	if s.add("future", epoch) {
		t.Error("an identity above the floor is forgotten")
	}
}

func TestSeenKnowsLongIDsInTheFormOfTheStream(t *testing.T) {
	long := event.ID(strings.Repeat("x", event.MaxID+1))
	s := newSeen(0, time.Time{})
	s.recall(recalled(event.Seen{ID: event.BoundID(long), Sequence: 1}))
	if s.add(long, time.Time{}) {
		t.Error("a long id is not known by its bounded form")
	}
}

func TestSeenFromWithoutEntries(t *testing.T) {
	s := newSeen(0, time.Time{})
	s.add("pending", time.Time{})
	if from := s.from(41); from != 42 {
		t.Errorf("from is %d; want 42, the one after the cursor", from)
	}
}

// A backfill of any size does not push out what a source itself may repeat, and is forgotten with what it lies behind.
func TestWhatJobsBroughtIsAside(t *testing.T) {
	const repeats = 3000
	s := newSeen(repeats, time.Time{})
	seq := event.StreamSeq(0)
	recall := func(source event.Source, what string, n int) {
		for i := range n {
			seq++
			s.recall((&kept{source: "amqp"}).entry(event.Seen{ID: event.ID(fmt.Sprint(what, i)), Source: source, Sequence: seq, Time: epoch}))
		}
	}
	recall("amqp", "own", repeats)
	recall("backfill-day", "job", 10*repeats)
	known := func(what string, i int) bool { _, ok := s.ids[identityOf(event.ID(fmt.Sprint(what, i)))]; return ok }
	for i := range 3 * repeats {
		seq++
		s.add(event.ID(fmt.Sprint("new", i)), epoch)
		s.durable([]event.StreamSeq{seq}, time.Time{})
		if i < repeats-1 {
			if last := repeats - 1; !known("own", last) || !known("own", i+1) {
				t.Fatalf("after %d new events an own one is forgotten that is among the last %d", i+1, repeats)
			}
			if !known("job", 0) || s.from(seq) > event.StreamSeq(i+2) {
				t.Fatalf("after %d new events what lies behind own ones is forgotten, or read back from %d on", i+1, s.from(seq))
			}
		}
	}
	if n := s.size(); n > repeats || known("job", 0) {
		t.Errorf("%d identities are remembered", n)
	}
}

// What lies below the floor of a source that has one is not kept at all.
func TestWhatJobsBroughtBelowTheFloor(t *testing.T) {
	s := newSeen(0, epoch)
	for i := range 1000 {
		e := event.Seen{ID: event.ID(fmt.Sprint(i)), Source: "backfill-day", Sequence: event.StreamSeq(i + 1)}
		if e.Time = epoch.Add(-time.Hour); i >= 900 {
			e.Time = epoch.Add(time.Duration(i) * time.Second)
		}
		s.recall(recalled(e))
	}
	if n, from := s.size(), s.from(2000); n != 100 || from != 901 {
		t.Errorf("%d are remembered, from %d on", n, from)
	}
	s.add("new", epoch.Add(time.Hour))
	s.durable([]event.StreamSeq{2001}, epoch.Add(950*time.Second))
	if n, from := s.size(), s.from(2001); n != 51 || from != 951 {
		t.Errorf("%d are remembered, from %d on", n, from)
	}
}

// BenchmarkSeen has as many identities as a source of notifications remembers: one comes that is new, and pushes an old one out;
// or one that is known.
func BenchmarkSeen(b *testing.B) {
	const remembered = 100_000
	ids := make([]event.ID, 4*remembered)
	for i := range ids {
		ids[i] = event.ID(fmt.Sprintf("0f4e1b9e-4b1c-4d0e-9c1e-%012d", i))
	}
	s := newSeen(remembered, time.Time{})
	last := 0
	take := func() bool {
		known := !s.add(ids[last%len(ids)], epoch)
		last++
		s.durable([]event.StreamSeq{event.StreamSeq(last)}, time.Time{})
		return known
	}
	for range 2 * remembered {
		take()
	}
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if take() {
				b.Fatal("it is known")
			}
		}
	})
	b.Run("known", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if s.add(ids[(last-1)%len(ids)], epoch) {
				b.Fatal("it is new")
			}
		}
	})
}

func recalled(e event.Seen) known { return (&kept{}).entry(e) }
