package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"stackstream/collectors/backfill"
	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/publisher"
)

// BackfillJob is a job as its record tells of it.
type BackfillJob struct {
	Provider event.Provider `json:"provider"`
	Job      string         `json:"job"`
	Service  string         `json:"service"`
	From     time.Time      `json:"from"`
	To       time.Time      `json:"to"`
	// State is "open", "paused" or "done".
	State    string    `json:"state"`
	Began    time.Time `json:"began"`
	Done     time.Time `json:"done,omitzero"`
	Shown    uint64    `json:"shown"`
	There    uint64    `json:"there"`
	Added    uint64    `json:"added"`
	Timeless uint64    `json:"timeless,omitempty"`
	// Owner wrote the record last, at WrittenAt.
	Owner     string    `json:"owner,omitempty"`
	WrittenAt time.Time `json:"written_at"`
	// Trouble is why the record can't be read.
	Trouble string `json:"trouble,omitempty"`
}

// Adds tells whether the job may yet add events of after a time, zero meaning any.
func (j *BackfillJob) Adds(after time.Time) bool {
	return j.Done.IsZero() && (j.Trouble != "" || j.To.After(after))
}

// BackfillJobs are the jobs of a provider, or of all if p is "", but for those that were removed.
func BackfillJobs(ctx context.Context, c *jetstream.Client, p event.Provider) ([]BackfillJob, error) {
	providers := []event.Provider{p}
	if p == "" {
		var err error
		if providers, err = c.Providers(ctx); err != nil {
			return nil, err
		}
	}
	jobs := []BackfillJob{}
	for _, p := range providers {
		cursors, err := c.Memory().Cursors(ctx, p)
		if err != nil {
			return nil, err
		}
		for _, s := range slices.Sorted(maps.Keys(cursors)) {
			if s.Backfill() == "" {
				continue
			}
			if job, there := backfillJob(p, s, cursors[s]); there {
				jobs = append(jobs, job)
			}
		}
	}
	return jobs, nil
}

func backfillJob(p event.Provider, s event.Source, c event.RawCursor) (job BackfillJob, there bool) {
	job = BackfillJob{Provider: p, Job: s.Backfill(), State: "open", Owner: c.Owner, WrittenAt: c.WrittenAt}
	if c.Emptied() {
		return job, false
	}
	state, err := backfill.ReadState(c.Cursor)
	if err != nil {
		job.Trouble = err.Error()
		return job, true
	}
	job.Service, job.From, job.To, job.Began, job.Done = state.Service, state.From, state.To, state.Began, state.Done
	job.Shown, job.There, job.Timeless, job.Added = state.Shown, state.There, state.Timeless, uint64(c.Position-state.Base)
	switch {
	case !state.Done.IsZero():
		job.State = "done"
	case c.Paused != nil:
		job.State = "paused"
	}
	return job, state.Removed.IsZero()
}

// KnownBackfill is nil for a job that is there and was not removed.
func KnownBackfill(ctx context.Context, c *jetstream.Client, p event.Provider, job string) error {
	s, err := event.BackfillSource(job)
	if err != nil {
		return err
	}
	cursors, err := c.Memory().Cursors(ctx, p)
	if err != nil {
		return err
	}
	record, there := cursors[s]
	if !there {
		return errNoJob
	}
	if state, err := backfill.ReadState(record.Cursor); err == nil && !state.Removed.IsZero() {
		return errors.New("it was removed already")
	}
	return nil
}

// RemoveBackfill removes a job for whom by names, and for what why says. What it added stays, and so does the number of the last of it.
func RemoveBackfill(ctx context.Context, c *jetstream.Client, p event.Provider, job, by, why string) error {
	s, err := event.BackfillSource(job)
	if err != nil {
		return err
	}
	_, err = publisher.Command(ctx, c.Raw(), event.RawCursorSubject(p, s), event.RawCommandsSubject(p, s), publisher.Options{Owner: by},
		func(record *event.RawCursor, exists bool) (event.Command, error) {
			if !exists {
				return event.Command{}, errNoJob
			}
			before, err := backfill.Remove(record, time.Now())
			if err != nil {
				return event.Command{}, err
			}
			note := fmt.Sprintf("backfill %s of %s from %s to %s, %d events added", job, before.Service,
				before.From.Format(time.RFC3339), before.To.Format(time.RFC3339), record.Position-before.Base)
			return event.Command{Verb: event.VerbRemove, Why: why, Note: note}, nil
		})
	return err
}

var errNoJob = errors.New("there is no such job: see stackstream backfill ls")
