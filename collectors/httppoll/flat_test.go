package httppoll

import (
	"errors"
	"testing"
	"time"

	"stackstream/event"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func begin(text string) Start {
	var s Start
	if err := s.UnmarshalText([]byte(text)); err != nil {
		panic(err)
	}
	return s
}

// spoken is a source with a dialect, which is never asked for anything.
func spoken(t testing.TB, change func(*Cursor)) *Source {
	t.Helper()
	cfg := Default()
	cfg.Cursor = Cursor{
		Type: CursorTime, Order: "ascending", Boundary: "inclusive", Overlap: 30 * time.Second,
		Send: Send{Format: "2006-01-02T15:04:05.000000"},
	}
	if change != nil {
		change(&cfg.Cursor)
	}
	s, err := NewDialect(cfg, Dialect{Kind: "spoken"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// resume finds where a run begins.
func resume(s *Source, from event.From, now time.Time) (at state, fresh bool, err error) {
	if at, err = s.decode(from.Cursor); err != nil {
		return at, false, err
	}
	r := &round{Source: s, from: from, start: now, parts: []string{""}, at: at}
	return r.at, r.take(), nil
}

func TestWhereARunBegins(t *testing.T) {
	earlier := noon.Add(-time.Hour)
	stored := event.Cursor(`{"generated":"2026-11-22T11:00:00.5Z","from":"2026-11-22T10:59:30.5Z"}`)
	for _, tc := range []struct {
		name   string
		change func(*Cursor)
		from   event.From
		want   position
		fresh  bool
	}{
		{name: "at the beginning", fresh: true},
		{name: "now", change: func(c *Cursor) { c.Start = begin("now") }, want: position{Newest: noon, From: noon}, fresh: true},
		{name: "at a time", change: func(c *Cursor) { c.Start = begin(earlier.Format(time.RFC3339)) }, want: position{From: earlier}, fresh: true},
		{name: "at the newest event of RAW, whatever the start", change: func(c *Cursor) { c.Start = begin("now") },
			from: event.From{Newest: earlier}, want: position{Newest: earlier, From: earlier.Add(-30 * time.Second)}, fresh: true},
		{name: "newest event of RAW is in the future", from: event.From{Newest: noon.Add(time.Hour)},
			want: position{Newest: noon, From: noon.Add(-30 * time.Second)}, fresh: true},
		{name: "newest event of RAW, a floor above the overlap", from: event.From{Newest: earlier, Floor: earlier.Add(-time.Second)},
			want: position{Newest: earlier, From: earlier.Add(-time.Second)}, fresh: true},
		{name: "at the cursor, whatever the rest", change: func(c *Cursor) { c.Start, c.Overlap = begin("now"), time.Hour },
			from: event.From{Cursor: stored, Newest: noon},
			want: position{Newest: earlier.Add(500 * time.Millisecond), From: earlier.Add(-29500 * time.Millisecond)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			at, fresh, err := resume(spoken(t, tc.change), tc.from, noon)
			got := at.Parts[""]
			if err != nil || fresh != tc.fresh || !got.From.Equal(tc.want.From) || !got.Newest.Equal(tc.want.Newest) {
				t.Errorf("begins at %+v (fresh %v, %v), want %+v", got, fresh, err, tc.want)
			}
		})
	}
	if _, _, err := resume(spoken(t, nil), event.From{Cursor: event.Cursor(`"x"`)}, noon); !errors.Is(err, event.Invalid) {
		t.Errorf("a cursor that is none: %v", err)
	}
}

func TestTheCursorOnlyMovesForward(t *testing.T) {
	var at position
	step := func(generated time.Time, overlap time.Duration, wantGenerated, wantFrom time.Time) {
		t.Helper()
		at.advance(generated, noon, noon, overlap)
		if !at.Newest.Equal(wantGenerated) || !at.From.Equal(wantFrom) {
			t.Fatalf("after %s: %+v, want %s and %s", generated, at, wantGenerated, wantFrom)
		}
	}
	first := noon.Add(-time.Hour)
	step(first, time.Minute, first, first.Add(-time.Minute))
	step(first.Add(-time.Second), time.Minute, first, first.Add(-time.Minute))
	// A larger overlap must not read back behind what was promised.
	second := first.Add(time.Second)
	step(second, time.Hour, second, first.Add(-time.Minute))
	// A smaller one takes effect.
	step(second.Add(1500*time.Nanosecond), 0, second.Add(1500*time.Nanosecond), second.Add(time.Microsecond))
	// Nothing lies behind the beginning of the run.
	step(noon.Add(time.Hour), 0, noon, noon)
}

func TestACursorOfANewerFormatIsRefused(t *testing.T) {
	_, _, err := resume(spoken(t, nil), event.From{Cursor: event.Cursor(`{"from": "2026-11-22T05:00:00Z", "format": 2}`)}, time.Now())
	var newer *event.NewerError
	if !errors.As(err, &newer) || event.KindOf(err) != event.Invalid {
		t.Errorf("it gives %v", err)
	}
}

// Whatever a cursor is, a run begins where it says or is refused as Invalid; never before what was promised, and the cursor
// that is written comes back as the same, also after it moved.
func FuzzResume(f *testing.F) {
	f.Add([]byte(`{"generated":"2026-11-22T11:00:00.5Z","from":"2026-11-22T10:59:30.5Z","moved":"2026-11-22T11:00:01Z"}`), int64(0), int64(0), int64(1))
	f.Add([]byte(`{"generated":"9999-12-31T23:59:59.999999999Z","from":"0000-01-01T00:00:00+23:59"}`), int64(-62135596800), int64(253402300799), int64(1<<40))
	f.Add([]byte(`{"generated":"2026-11-22T11:00:00+24:00","moved":"9999-12-31T23:59:59-01:00"}`), int64(0), int64(0), int64(0))
	f.Add([]byte(`null`), int64(5), int64(7), int64(-1))
	f.Add([]byte(`{"from":1}`), int64(1), int64(1), int64(0))
	f.Add([]byte(``), int64(1<<33), int64(1), int64(0))
	f.Fuzz(func(t *testing.T, text []byte, newest, floor, generated int64) {
		within := func(s int64) time.Time { return time.Unix(s%(1<<36), 0).UTC() }
		from := event.From{Newest: within(newest), Floor: within(floor)}
		if len(text) > 0 {
			from.Cursor = text
		}
		src := spoken(t, nil)
		begun, _, err := resume(src, from, noon)
		if err != nil {
			if event.KindOf(err) != event.Invalid {
				t.Fatalf("kind %v: %v", event.KindOf(err), err)
			}
			return
		}
		at := *begun.Parts[""]
		if at.From.Before(from.Floor.Truncate(time.Microsecond)) {
			t.Fatalf("begins at %v, promised was %v", at.From, from.Floor)
		}
		before := at
		at.advance(within(generated), noon, noon, src.cfg.Cursor.Overlap)
		at.rest(noon.Add(48*time.Hour), src.cfg.Cursor.Overlap, time.Microsecond)
		if at.From.Before(before.From) || at.Newest.Before(before.Newest) {
			t.Fatalf("%+v moves back to %+v", before, at)
		}
		if y := at.From.Year(); y < 0 || y > 9999 {
			return // beyond what a time in JSON may be: no cursor that was written has it
		}
		written, err := src.encode(state{Parts: map[string]*position{"": &at}})
		if err != nil {
			t.Fatalf("%+v: %v", at, err)
		}
		again, _, err := resume(src, event.From{Cursor: written}, noon)
		if err != nil {
			t.Fatalf("%s is refused: %v", written, err)
		}
		back := again.Parts[""]
		if written != nil && (!back.From.Equal(at.From) || !back.Newest.Equal(at.Newest) || !back.Moved.Equal(at.Moved)) {
			t.Fatalf("%s comes back as %+v", written, back)
		}
	})
}
