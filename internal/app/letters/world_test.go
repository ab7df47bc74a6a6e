package letters

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"stackstream/event"
)

const cloud event.Provider = "cloud"

var errCrash = errors.New("killed")

// world is a provider's streams, with a normalizer at work and operators who come and go.
type world struct {
	t       *rapid.T
	letters []event.Letter // of EVENTS_DEAD up to copied, of EVENTS_NORMALIZED behind
	copied  int
	next    event.Seq // number in NORMALIZED

	raw    []event.StoredRaw // what RAW has of the source
	sent   []event.StoredRaw // all that it ever had
	cursor event.RawCursor
	end    event.StreamSeq // of RAW

	done   event.Seq // up to which the normalizer has come
	states []event.LetterState

	// calm: nothing happens by itself, and nobody is killed.
	calm  bool
	depth int
}

func (w *world) plant(reason event.Reason, repair *event.Repair) {
	w.next += event.Seq(rapid.IntRange(1, 3).Draw(w.t, "events between"))
	n := w.next
	l := event.Letter{
		Raw:      event.Raw{ID: event.ID(fmt.Sprint("id-", n)), Body: []byte(fmt.Sprint("body ", n)), Repair: repair},
		Provider: cloud, Number: n, DeadLetter: event.DeadLetter{Reason: reason, Detail: "d"}, Converter: "c/1",
		Made: event.RawPlace{Source: "http", Seq: n, Sequence: event.StreamSeq(n)}, Stored: event.Header{},
		Size: int64(rapid.SampledFrom([]int{10, 400 << 10, 2 << 20}).Draw(w.t, "size")), StoredAt: time.Unix(int64(n), 0),
	}
	l.Origin = l.Made
	w.letters = append(w.letters, l)
}

// step is what may happen at any moment.
func (w *world) step() {
	if w.calm {
		return
	}
	switch rapid.IntRange(0, 5).Draw(w.t, "meanwhile") {
	case 0:
		w.normalize()
	case 1:
		w.copied += rapid.IntRange(0, len(w.letters)-w.copied).Draw(w.t, "copied")
	case 2:
		// What is normalized ages out.
		n := 0
		for n < len(w.raw) && w.raw[n].Seq <= w.done && rapid.Bool().Draw(w.t, "expires") {
			n++
		}
		w.raw = w.raw[n:]
	case 3:
		if w.depth < 2 {
			w.operate()
		}
	}
}

// normalize deals with the next raw event.
func (w *world) normalize() {
	for _, raw := range w.raw {
		if raw.Seq != w.done+1 {
			continue
		}
		w.done++
		s := event.LetterState{Letter: raw.Repair.Letter, State: event.LetterDropped}
		if !raw.Repair.Drop {
			if rapid.IntRange(0, 3).Draw(w.t, "converts") > 0 {
				w.next++
				s.State, s.Seq = event.LetterRedriven, w.next
			} else {
				w.plant(event.ReasonMalformed, raw.Repair)
				s.State, s.Seq = event.LetterDead, w.next
			}
		}
		w.states = append(w.states, s)
		return
	}
}

// operate runs a command that may be killed at any moment.
func (w *world) operate() {
	w.depth++
	defer func() { w.depth-- }()
	drop := rapid.IntRange(0, 3).Draw(w.t, "drops") == 0
	f := &Filter{
		State: rapid.SampledFrom([]string{Open, Open, Open, Dropped, Dead, Redriven, ""}).Draw(w.t, "state"),
		Limit: rapid.Uint64Range(0, 5).Draw(w.t, "limit"),
	}
	_, err := w.run(drop, f)
	if err != nil && !errors.Is(err, errCrash) {
		w.t.Fatal(err)
	}
}

func (w *world) run(drop bool, f *Filter) (Sent, error) {
	again := func(context.Context, error) error { return nil }
	j := &Job{Provider: &Provider{Name: cloud, Streams: w, Bodies: w, Again: again}, Writer: &writer{world: w}, Drop: drop, By: "ada", Why: "test"}
	if err := j.Open(w.t.Context()); err != nil {
		return Sent{}, err
	}
	picked, err := j.Pick(w.t.Context(), f)
	if err != nil {
		return Sent{}, err
	}
	return j.Send(w.t.Context(), picked, func(int) { w.step() })
}

// away is the error of a server that can't be asked now.
func (w *world) away() error {
	if !w.calm && rapid.IntRange(0, 9).Draw(w.t, "away") == 9 {
		return &event.Error{Kind: event.Unavailable, Op: "ask"}
	}
	return nil
}

func (w *world) Each(_ context.Context, _ event.Provider, yield func(event.Letter) error) error {
	w.step()
	for i, l := range slices.Clone(w.letters) {
		l.Body = nil
		l.Stream, l.Sequence = w.place(i)
		if err := yield(l); err != nil {
			return err
		}
	}
	return w.away()
}

// place is where a letter is read.
func (w *world) place(i int) (string, event.StreamSeq) {
	if i < w.copied {
		return event.StreamDead, event.StreamSeq(i + 1)
	}
	return event.StreamNormalized, event.StreamSeq(w.letters[i].Number)
}

// Whole has in NORMALIZED also what was copied from there.
func (w *world) Whole(_ context.Context, _ event.Provider, stream string, from event.StreamSeq, yield func(event.Letter) bool) error {
	w.step()
	for i, l := range slices.Clone(w.letters) {
		l.Stream, l.Sequence = event.StreamNormalized, event.StreamSeq(l.Number)
		if stream == event.StreamDead {
			l.Stream, l.Sequence = event.StreamDead, event.StreamSeq(i+1)
		}
		if l.Sequence >= from && !yield(l) {
			return nil
		}
	}
	return w.away()
}

func (w *world) States(_ context.Context, _ event.Provider, yield func(event.LetterState) error) error {
	w.step()
	for _, s := range slices.Clone(w.states) {
		if err := yield(s); err != nil {
			return err
		}
	}
	return w.away()
}

func (w *world) Sent(_ context.Context, _ event.Provider, from, _ event.StreamSeq, yield func(event.StoredRaw) error) error {
	w.step()
	for _, raw := range slices.Clone(w.raw) {
		if raw.Sequence >= from {
			if err := yield(raw); err != nil {
				return err
			}
		}
	}
	return w.away()
}

func (w *world) Normalized(context.Context, event.Provider) (event.NormalizedCursor, error) {
	w.step()
	return event.NormalizedCursor{Sources: map[event.Source]event.SourcePosition{event.SourceRedrive: {Position: w.done}}}, nil
}

func (w *world) GetBody(context.Context, event.BodyRef) ([]byte, error) {
	return nil, errors.New("no body is in an object")
}

// writer is one that may be killed before and after it has written.
type writer struct {
	*world
	cursor event.RawCursor
}

func (w *writer) Open(context.Context) (event.RawCursor, error) {
	w.step()
	w.cursor = w.world.cursor
	return w.cursor, w.away()
}

func (w *writer) Commit(_ context.Context, events []event.Raw, _ event.Progress) ([]event.StreamSeq, error) {
	w.step()
	if w.killed() {
		return nil, errCrash
	}
	if w.cursor.Sequence != w.world.cursor.Sequence {
		return nil, &event.Error{Kind: event.Fenced, Op: "commit"}
	}
	bytes := 0
	for _, raw := range events {
		w.end++
		bytes += len(raw.Body)
		w.world.cursor.Position++
		stored := event.StoredRaw{
			Raw: raw, Provider: cloud, Source: event.SourceRedrive, Seq: w.world.cursor.Position, Sequence: w.end,
		}
		w.raw, w.sent = append(w.raw, stored), append(w.sent, stored)
	}
	if len(events) > chunkLetters || bytes > chunkBytes && len(events) > 1 {
		w.t.Fatalf("%d events with %d bytes are more than a batch", len(events), bytes)
	}
	w.end++
	w.world.cursor.Sequence = w.end
	w.cursor = w.world.cursor
	if w.killed() {
		return nil, errCrash
	}
	return make([]event.StreamSeq, len(events)), nil
}

func (w *writer) killed() bool { return !w.calm && rapid.IntRange(0, 6).Draw(w.t, "killed") == 0 }

// check finds fault unless nothing was done about a letter twice.
func (w *world) check() {
	redriven, dropped := map[event.Seq]bool{}, map[event.Seq]bool{}
	for _, raw := range w.sent {
		n := raw.Repair.Letter
		at := slices.IndexFunc(w.letters, func(l event.Letter) bool { return l.Number == n })
		switch {
		case at < 0:
			w.t.Fatalf("letter %d is not there", n)
		case redriven[n]:
			w.t.Fatalf("something is done about letter %d although it was redriven", n)
		case raw.Repair.Drop && dropped[n]:
			w.t.Fatalf("letter %d is dropped twice", n)
		case raw.Repair.Drop:
			dropped[n] = true
			continue
		case string(raw.Body) != fmt.Sprint("body ", n) || raw.ID != w.letters[at].ID:
			w.t.Fatalf("letter %d is redriven as %s with %q", n, raw.ID, raw.Body)
		}
		redriven[n] = true
	}
}
