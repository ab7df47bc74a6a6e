package backfill_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"stackstream/collectors/backfill"
	"stackstream/event"
)

func TestRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(w *world, j *backfill.Job)
		want    string
		allowed bool // with AllowDuplicates
	}{
		"what the live source reads itself": {
			change:  func(_ *world, j *backfill.Job) { j.To = midnight.Add(-30 * time.Minute) },
			want:    "the live source panko will read what is later than 1999-12-31T23:00:00Z itself: that is the latest end",
			allowed: true,
		},
		"a live source that promises nothing": {
			change: func(w *world, _ *backfill.Job) {
				w.choose("http")
				w.live = []event.Source{"http"}
				w.collect("http", event.Progress{})
			},
			want: "the live source http has not promised", allowed: true,
		},
		"a shard that has not begun": {
			change: func(w *world, _ *backfill.Job) { w.live = append(w.live, "panko-new") },
			want:   "the live source panko-new has not promised", allowed: true,
		},
		"what may still show": {
			change: func(_ *world, j *backfill.Job) { j.To, j.Settles = midnight, time.Minute },
			want:   "the latest end is 1999-12-31T23:59:00Z",
		},
		"from before what the streams know": {
			change: func(w *world, _ *backfill.Job) { w.archive.since = second(50) },
			want:   "the streams know all that was collected from 1999-12-31T00:10:50Z on only", allowed: true,
		},
		"a range that ends before it begins": {
			change: func(_ *world, j *backfill.Job) { j.To = j.From }, want: "which is not after its beginning",
		},
		"a name that is none": {
			change: func(_ *world, j *backfill.Job) { j.Name = "No Name" }, want: "only a-z",
		},
		"a name that is too long": {
			change: func(_ *world, j *backfill.Job) { j.Name = strings.Repeat("x", 55) }, want: "is longer than 54 characters",
		},
		"another job on part of the range": {
			change: func(w *world, _ *backfill.Job) {
				s := &service{records: history(0, 99), fail: func() error { return &event.Error{Kind: event.Invalid, Err: errBoom} }}
				if _, err := run(w.t.Context(), w.job("other", second(60), second(70), s)); !errors.Is(err, errBoom) {
					w.t.Fatal(err)
				}
			},
			want: "job other, which asks panko for 1999-12-31T00:01:00Z to 1999-12-31T00:01:10Z, is not done",
		},
		"another range under the name": {
			change: func(w *world, _ *backfill.Job) {
				if _, err := run(w.t.Context(), w.job("gap", second(60), second(70), &service{})); err != nil {
					w.t.Fatal(err)
				}
			},
			want: "there is a job of this name that asks panko for",
		},
		"a paused provider": {
			change: func(w *world, _ *backfill.Job) {
				choice, err := w.ReadChoice(w.t.Context(), cloud)
				choice.Paused = &event.Pause{By: "somebody", Why: "a fire"}
				if err == nil {
					_, err = w.WriteChoice(w.t.Context(), cloud, choice)
				}
				if err != nil {
					w.t.Fatal(err)
				}
			},
			want: "collecting for cloud is paused: since 0001-01-01T00:00:00Z by somebody: a fire",
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				all := history(0, 99)
				w := newWorld(t, midnight.Add(-time.Hour), all[:50]...)
				j := w.job("gap", second(0), second(90), &service{records: all})
				test.change(w, j)
				commits := w.Commits()
				_, err := j.Look(t.Context())
				if err == nil || !strings.Contains(err.Error(), test.want) || event.KindOf(err) == 0 {
					t.Errorf("error is %v, want %q", err, test.want)
				}
				if w.Commits() != commits {
					t.Error("something was written")
				}
				j.AllowDuplicates = true
				if o, err := j.Look(t.Context()); (err == nil) != test.allowed || err == nil && len(o.Doubts) != 1 {
					t.Errorf("with duplicates allowed: %v, doubts %v", err, o.Doubts)
				}
			})
		})
	}
}

// Sources of kinds that do not collect, retired ones and other jobs hold nothing up.
func TestWhoDoesNotMatter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		all := history(0, 99)
		w := newWorld(t, midnight.Add(-time.Hour), all[:50]...)
		w.collect("ceilometer", event.Progress{Floor: second(0)})
		w.collect("panko-old", event.Progress{Retired: true})
		w.collect("backfill-past", event.Progress{Retired: true})
		w.collect("redrive", event.Progress{})
		if done, err := run(t.Context(), w.job("gap", second(0), second(90), &service{records: all})); err != nil || done.Added != 40 {
			t.Errorf("%+v, %v", done, err)
		}
	})
}
