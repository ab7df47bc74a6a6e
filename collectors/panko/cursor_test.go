package panko

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"stackstream/event"
	"stackstream/internal/openstack/standin"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestWhereARunBegins(t *testing.T) {
	earlier := noon.Add(-time.Hour)
	stored := event.Cursor(`{"generated":"2026-11-22T11:00:00.5Z","from":"2026-11-22T10:59:30.5Z"}`)
	for _, tc := range []struct {
		name   string
		change func(*Config)
		from   event.From
		want   cursor
		fresh  bool
	}{
		{name: "at the beginning"},
		{name: "now", change: func(c *Config) { c.Start = StartNow() }, want: cursor{Generated: noon, From: noon}, fresh: true},
		{name: "without history", change: func(c *Config) { c.SkipHistory = true }, want: cursor{Generated: noon, From: noon}, fresh: true},
		{name: "at a time", change: func(c *Config) { c.Start = StartAt(earlier) }, want: cursor{From: earlier}, fresh: true},
		{name: "at the newest event of RAW, whatever the start", change: func(c *Config) { c.Start = StartNow() },
			from: event.From{Newest: earlier}, want: cursor{Generated: earlier, From: earlier.Add(-30 * time.Second)}, fresh: true},
		{name: "newest event of RAW is in the future", from: event.From{Newest: noon.Add(time.Hour)},
			want: cursor{Generated: noon, From: noon.Add(-30 * time.Second)}, fresh: true},
		{name: "newest event of RAW, a floor above the overlap", from: event.From{Newest: earlier, Floor: earlier.Add(-time.Second)},
			want: cursor{Generated: earlier, From: earlier.Add(-time.Second)}, fresh: true},
		{name: "at the cursor, whatever the rest", change: func(c *Config) { c.SkipHistory, c.Overlap = true, time.Hour },
			from: event.From{Cursor: stored, Newest: noon},
			want: cursor{Generated: earlier.Add(500 * time.Millisecond), From: earlier.Add(-29500 * time.Millisecond)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := Default()
			if tc.change != nil {
				tc.change(&cfg)
			}
			got, fresh, err := cfg.resume(tc.from, noon)
			if err != nil || fresh != tc.fresh || !got.From.Equal(tc.want.From) || !got.Generated.Equal(tc.want.Generated) {
				t.Errorf("begins at %+v (fresh %v, %v), want %+v", got, fresh, err, tc.want)
			}
		})
	}
	if _, _, err := Default().resume(event.From{Cursor: event.Cursor(`"x"`)}, noon); !errors.Is(err, event.Invalid) {
		t.Errorf("a cursor that is none: %v", err)
	}
}

func TestTheCursorOnlyMovesForward(t *testing.T) {
	var at cursor
	step := func(generated time.Time, overlap time.Duration, wantGenerated, wantFrom time.Time) {
		t.Helper()
		at.advance(generated, noon, overlap)
		if !at.Generated.Equal(wantGenerated) || !at.From.Equal(wantFrom) {
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
	again := at
	encoded, err := at.encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(encoded, &again); err != nil || !again.From.Equal(at.From) || !again.Generated.Equal(at.Generated) {
		t.Errorf("%s was read back as %+v (%v)", encoded, again, err)
	}
}

func TestAStartAtNowIsDurableBeforeTheFirstEvent(t *testing.T) {
	s := standin.New(standin.Options{})
	s.Put(made(t, "old", time.Now().Add(-time.Hour)))
	src := local(t, s, func(c *Config) { c.SkipHistory = true })
	var out sink
	if err := out.once(t, src); err != nil {
		t.Fatal(err)
	}
	first := out.batches[0]
	if len(first.Events) != 0 || first.Cursor == nil || first.Floor.IsZero() {
		t.Fatalf("the first batch is %+v", first)
	}
	s.Put(made(t, "new", time.Now()))
	if err := out.once(t, src); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, out.ids(), []string{"new"})
}

func TestACursorOfANewerFormatIsRefused(t *testing.T) {
	_, _, err := Default().resume(event.From{Cursor: event.Cursor(`{"from": "2026-11-22T05:00:00Z", "format": 2}`)}, time.Now())
	var newer *event.NewerError
	if !errors.As(err, &newer) || event.KindOf(err) != event.Invalid {
		t.Errorf("it gives %v", err)
	}
}
