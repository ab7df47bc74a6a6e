package event_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
)

func TestStand(t *testing.T) {
	now := noon
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	pause := &event.Pause{By: "ada", Why: "upgrade", At: ago(time.Hour)}
	// What is healthy: collected a moment ago, by a process with the lease, and normalized.
	healthy := func() *event.Records {
		return &event.Records{
			Provider: "cloud", Choice: event.Choice{Kind: "panko", At: ago(24 * time.Hour)},
			Raw: map[event.Source]event.RawCursor{"panko": {
				Position: 10, Received: ago(2 * time.Second), WrittenAt: ago(time.Second), Owner: "old/1",
				Progress: event.Progress{Watermark: ago(30 * time.Second)},
			}},
			Normalized: event.NormalizedCursor{
				Position: 12, WrittenAt: ago(time.Second), Owner: "norm/2",
				Sources: map[event.Source]event.SourcePosition{"panko": {Position: 10, Watermark: ago(40 * time.Second)}},
			},
			Collectors: map[event.Source]event.Holder{"panko": {Name: "host/1", Processes: 2}},
			Normalizer: event.Holder{Name: "norm/2", Processes: 2},
			Patience:   3 * time.Minute, Now: now,
		}
	}
	raw := func(r *event.Records, change func(c *event.RawCursor)) {
		c := r.Raw["panko"]
		change(&c)
		r.Raw["panko"] = c
	}
	behind := func(r *event.Records, events event.Seq, waited time.Duration) {
		raw(r, func(c *event.RawCursor) { c.Position += events })
		r.Waiting = ago(waited)
	}
	nobody := func(r *event.Records) {
		r.Collectors, r.Normalizer = map[event.Source]event.Holder{}, event.Holder{}
	}
	removed := func(r *event.Records) {
		nobody(r)
		r.Choice.Sequence, r.Choice.Removed = 20, &event.Removed{By: "ada", At: ago(time.Hour)}
		raw(r, func(c *event.RawCursor) { c.Sequence, c.WrittenAt = 19, ago(2*time.Hour) })
	}
	renamed := func(r *event.Records) {
		nobody(r)
		why := event.RenamedTo("berlin")
		r.Choice = event.Choice{Why: why, At: ago(time.Hour), Sequence: 20, Paused: &event.Pause{By: "ada", Why: why, At: ago(time.Hour)}}
		raw(r, func(c *event.RawCursor) { c.Sequence, c.Retired = 21, true })
		r.Raw["backfill-old"] = event.RawCursor{Sequence: 12}
	}
	expired := &event.Error{Kind: event.Expired, Op: "read", Err: errors.New("events 3 to 7 are gone")}
	for _, tt := range []struct {
		name   string
		change func(r *event.Records)
		want   event.Stand // of the source
		all    event.Stand // of the provider, where it differs
	}{
		{name: "live", change: func(*event.Records) {}, want: event.Stand{State: event.StandingLive}},
		{"in one process, without leases", nobody, event.Stand{State: event.StandingLive}, event.Stand{}},
		{"a little behind", func(r *event.Records) { behind(r, 3, time.Second) }, event.Stand{State: event.StandingLive}, event.Stand{}},
		{"far behind", func(r *event.Records) { behind(r, 5000, time.Second) }, event.Stand{
			State: event.StandingCatchingUp, Since: ago(time.Second)}, event.Stand{}},
		{"long behind", func(r *event.Records) { behind(r, 3, time.Minute) }, event.Stand{
			State: event.StandingCatchingUp, Since: ago(time.Minute)}, event.Stand{}},
		{"normalizing has stalled", func(r *event.Records) {
			behind(r, 3, time.Hour)
			r.Normalized.WrittenAt = ago(30 * time.Minute)
		}, event.Stand{State: event.StandingStalled, Since: ago(30 * time.Minute), Reason: "normalizing: its cursor is not written"},
			event.Stand{}},
		{"a quiet normalizer has not", func(r *event.Records) { r.Normalized.WrittenAt = ago(time.Hour) },
			event.Stand{State: event.StandingLive}, event.Stand{}},
		{"nor one that something has just come for", func(r *event.Records) {
			r.Normalized.WrittenAt = ago(time.Hour)
			behind(r, 3, time.Second)
		}, event.Stand{State: event.StandingLive}, event.Stand{}},
		{"collecting has stalled", func(r *event.Records) {
			raw(r, func(c *event.RawCursor) { c.WrittenAt = ago(4 * time.Minute) })
		}, event.Stand{State: event.StandingStalled, Since: ago(4 * time.Minute),
			Reason: "collecting: its cursor is not written, and host/1 has the lease"}, event.Stand{}},
		{"collecting has stalled, or nobody does it", func(r *event.Records) {
			nobody(r)
			raw(r, func(c *event.RawCursor) { c.WrittenAt = ago(4 * time.Minute) })
		}, event.Stand{State: event.StandingStalled, Since: ago(4 * time.Minute),
			Reason: "collecting: its cursor is not written, and nobody has a lease"}, event.Stand{}},
		{"a source that is asked once an hour has not", func(r *event.Records) {
			raw(r, func(c *event.RawCursor) { c.WrittenAt = ago(40 * time.Minute) })
			r.Sources = map[event.Source]time.Duration{"panko": time.Hour}
		}, event.Stand{State: event.StandingLive}, event.Stand{}},
		{"a source without a watermark writes only what is new", func(r *event.Records) {
			raw(r, func(c *event.RawCursor) { c.WrittenAt, c.Watermark = ago(40*time.Minute), time.Time{} })
		}, event.Stand{State: event.StandingLive, Reason: "nothing new since 2026-11-22T11:20:00Z"}, event.Stand{}},
		{"nobody has the lease to collect", func(r *event.Records) {
			r.Collectors["panko"] = event.Holder{Processes: 2}
		}, event.Stand{State: event.StandingUnattended, Since: ago(time.Second), Reason: "none of 2 collectors has the lease"},
			event.Stand{}},
		{"nobody has the lease to normalize", func(r *event.Records) { r.Normalizer.Name = "" }, event.Stand{
			State: event.StandingUnattended, Since: ago(time.Second), Reason: "none of 2 normalizers has the lease"}, event.Stand{}},
		{"a provider is paused", func(r *event.Records) {
			other := *pause
			other.At = pause.At.Add(time.Millisecond)
			r.Choice.Paused, r.Normalized.Paused = pause, &other
			raw(r, func(c *event.RawCursor) { c.WrittenAt = ago(time.Hour) })
		}, event.Stand{State: event.StandingPaused, Since: pause.At, Reason: "collecting and normalizing, by ada: upgrade"}, event.Stand{}},
		{"collecting is paused", func(r *event.Records) { r.Choice.Paused = pause },
			event.Stand{State: event.StandingPaused, Since: pause.At, Reason: "collecting, by ada: upgrade"}, event.Stand{}},
		{"a source is paused", func(r *event.Records) { raw(r, func(c *event.RawCursor) { c.Paused = pause }) },
			event.Stand{State: event.StandingPaused, Since: pause.At, Reason: "collecting, by ada: upgrade"}, event.Stand{}},
		{"normalizing is paused, and waits for long", func(r *event.Records) {
			r.Normalized.Paused = pause
			behind(r, 5000, time.Hour)
		}, event.Stand{State: event.StandingPaused, Since: pause.At, Reason: "normalizing, by ada: upgrade"}, event.Stand{}},
		{"raw events are gone", func(r *event.Records) {
			r.Trouble = expired
			behind(r, 7, time.Hour)
		}, event.Stand{State: event.StandingExpired, Since: ago(time.Second), Reason: "events 3 to 7 are gone"}, event.Stand{}},
		{"RAW is another one", func(r *event.Records) {
			r.Trouble = &event.Error{Kind: event.Regressed, Err: errors.New("created later")}
		}, event.Stand{State: event.StandingRegressed, Since: ago(time.Second), Reason: "created later"}, event.Stand{}},
		{"retired", func(r *event.Records) { raw(r, func(c *event.RawCursor) { c.Retired = true }) },
			event.Stand{State: event.StandingRetired}, event.Stand{}},
		{"retired, and not all is normalized", func(r *event.Records) {
			raw(r, func(c *event.RawCursor) { c.Retired = true })
			behind(r, 5000, time.Second)
		}, event.Stand{State: event.StandingCatchingUp, Since: ago(time.Second)}, event.Stand{}},
		{"another kind was chosen", func(r *event.Records) { r.Choice.Kind = "amqp" },
			event.Stand{State: event.StandingReplaced, Since: ago(24 * time.Hour), Reason: "by amqp"},
			event.Stand{State: event.StandingNever, Since: ago(24 * time.Hour), Reason: "since amqp was chosen"}},
		{"removed", removed, event.Stand{State: event.StandingRemoved, Since: ago(time.Hour), Reason: "by ada"}, event.Stand{}},
		{"removed, and something is not normalized", func(r *event.Records) {
			removed(r)
			behind(r, 5000, time.Hour)
		}, event.Stand{State: event.StandingRemoved, Since: ago(time.Hour), Reason: "by ada"}, event.Stand{}},
		{"removed, and collected from since", func(r *event.Records) {
			removed(r)
			raw(r, func(c *event.RawCursor) { c.Sequence, c.WrittenAt = 21, ago(time.Second) })
		}, event.Stand{State: event.StandingLive}, event.Stand{}},
		{"removed, and somebody is there again", func(r *event.Records) {
			removed(r)
			r.Normalizer.Name = "norm/3"
			raw(r, func(c *event.RawCursor) { c.WrittenAt = ago(time.Second) })
		}, event.Stand{State: event.StandingLive}, event.Stand{}},
		{"removed while it was paused", func(r *event.Records) {
			removed(r)
			r.Normalized.Paused = pause
			raw(r, func(c *event.RawCursor) { c.WrittenAt = ago(time.Second) })
		}, event.Stand{State: event.StandingPaused, Since: pause.At, Reason: "normalizing, by ada: upgrade"}, event.Stand{}},
		{"renamed", renamed, event.Stand{State: event.StandingRemoved, Since: ago(time.Hour), Reason: "renamed to berlin"}, event.Stand{}},
		{"a rename was interrupted", func(r *event.Records) {
			renamed(r)
			raw(r, func(c *event.RawCursor) { c.Retired = false })
			r.Normalizer.Processes = 1 // which has no reason to work for it
		}, event.Stand{State: event.StandingPaused, Since: ago(time.Hour), Reason: "collecting, by ada: renamed to berlin, and that is " +
			"not done: `stackstream provider rename cloud berlin` goes on with it"}, event.Stand{}},
		{"renamed, and still configured", func(r *event.Records) {
			renamed(r)
			r.Normalizer = event.Holder{Name: "norm/3", Processes: 1}
		}, event.Stand{State: event.StandingRetired},
			event.Stand{State: event.StandingPaused, Since: ago(time.Hour), Reason: "collecting, by ada: renamed to berlin"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := healthy()
			tt.change(r)
			got := r.Stand()
			source := got.Sources[len(got.Sources)-1]
			if source.Source != "panko" {
				t.Fatalf("its sources are %+v", got.Sources)
			}
			if diff := cmp.Diff(tt.want, source.Stand); diff != "" {
				t.Errorf("source (-want +got):\n%s", diff)
			}
			all := tt.all
			if all == (event.Stand{}) {
				all = tt.want
			}
			if diff := cmp.Diff(all, got.Stand); diff != "" {
				t.Errorf("provider (-want +got):\n%s", diff)
			}
		})
	}
}

// Who holds something has its lease. Only where there are no leases is it who wrote last, unless that was an operator, or long ago.
func TestStandHolders(t *testing.T) {
	now, late := noon, noon.Add(-time.Hour)
	none, held := event.Holder{}, event.Holder{Name: "host/2", Processes: 1}
	for _, tt := range []struct {
		name               string
		lease              event.Holder
		written, commanded time.Time
		want               string
	}{
		{"a lease", held, late, time.Time{}, "host/2"},
		{"a lease, and a command since", held, now, now, "host/2"},
		{"nobody has the lease", event.Holder{Processes: 1}, now, time.Time{}, ""},
		{"no leases", none, now, time.Time{}, "host/1"},
		{"no leases, and a command before", none, now, late, "host/1"},
		{"no leases, and a command", none, now, now, ""},
		{"no leases, and written long ago", none, late, time.Time{}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := event.Records{
				Provider: "cloud", Now: now, Patience: time.Minute, Normalizer: tt.lease,
				Collectors: map[event.Source]event.Holder{"panko": tt.lease},
				Raw: map[event.Source]event.RawCursor{
					"panko":             {Owner: "host/1", WrittenAt: tt.written, Commanded: tt.commanded},
					event.SourceRedrive: {Owner: "stackstream dead, ada", WrittenAt: now},
				},
				Normalized: event.NormalizedCursor{Owner: "host/1", WrittenAt: tt.written, Commanded: tt.commanded},
			}
			got := r.Stand()
			if panko, redrive := got.Sources[0], got.Sources[1]; panko.Holder != tt.want || panko.Owner != "host/1" || redrive.Holder != "" {
				t.Errorf("the source is held by %q, written by %q, redrive by %q; want %q", panko.Holder, panko.Owner, redrive.Holder, tt.want)
			}
			if got.Normalizer != tt.want || got.Owner != "host/1" {
				t.Errorf("the normalizer is %q, written by %q; want %q", got.Normalizer, got.Owner, tt.want)
			}
		})
	}
}

// What holds of a provider is what holds of all its sources: the earliest time, the worst state, and all that waits.
func TestStandOfSeveralSources(t *testing.T) {
	now := noon
	cursor := func(position event.Seq, upTo time.Duration) event.RawCursor {
		return event.RawCursor{
			Position: position, WrittenAt: now, Owner: "host/1", Progress: event.Progress{Watermark: now.Add(-upTo)},
		}
	}
	retired, replaced := cursor(9, 100*time.Hour), cursor(9, 200*time.Hour)
	retired.Retired = true
	paused := cursor(7, 2*time.Hour)
	paused.Paused = &event.Pause{By: "ada", At: now}
	r := &event.Records{
		Provider: "cloud", Choice: event.Choice{Kind: "amqp"}, Now: now, Patience: time.Minute,
		Raw: map[event.Source]event.RawCursor{
			"amqp": cursor(5, time.Hour), "amqp-nova": paused, "amqp-old": retired, "panko": replaced,
			"backfill-x": cursor(100, 300*time.Hour), event.SourceRedrive: cursor(3, 300*time.Hour),
		},
		Normalized: event.NormalizedCursor{WrittenAt: now, Owner: "norm/1", Position: 77, Sources: map[event.Source]event.SourcePosition{
			"amqp": {Position: 5}, "amqp-nova": {Position: 7}, "amqp-old": {Position: 9}, "panko": {Position: 9},
		}},
	}
	got := r.Stand()
	want := event.ProviderStand{
		Provider: "cloud", Kind: "amqp", Position: 77, Normalizer: "norm/1", Owner: "norm/1",
		Stand:         event.Stand{State: event.StandingPaused, Since: now, Reason: "collecting, by ada"},
		CollectedTime: now.Add(-2 * time.Hour), NormalizedTime: now.Add(-2 * time.Hour),
	}
	sources := got.Sources
	got.Sources = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("provider (-want +got):\n%s", diff)
	}
	if len(sources) != 6 {
		t.Errorf("%d sources, want also the jobs", len(sources))
	}

	empty := event.Records{Provider: "cloud", Choice: event.Choice{Paused: paused.Paused}, Now: now}
	if got := empty.Stand(); got.State != event.StandingPaused || len(got.Sources) != 0 {
		t.Errorf("a provider without a source is %+v", got)
	}
	empty.Choice = event.Choice{Kind: "none", Why: "configured"}
	if got := empty.Stand(); got.State != event.StandingNever || got.Reason != "none was chosen: configured" {
		t.Errorf("a provider without a source is %+v", got)
	}
}
