package replay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"stackstream/event"
	"stackstream/normalizer"
)

const (
	// batchEvents and batchBytes bound what is read, converted and committed at once. Two batches are in memory at most.
	batchEvents = 500
	batchBytes  = 1 << 20
	// drainTimeout is how long a commit may still take after the job was told to end.
	drainTimeout = 10 * time.Second
	// believed is for how long RAW has to look shorter than it was before that counts.
	believed = 30 * time.Second
)

// Job is a job at work. All of it is required but for Match, Progress and Waiting.
type Job struct {
	Committer Committer
	// Raw reads the raw events that a job has still to deal with.
	Raw        func(record *event.Replay) Range
	Conversion normalizer.Conversion
	// Match tells whether events of a type are wanted.
	Match func(eventType string) bool
	// AcceptGap goes on where RAW has dropped raw events, and counts them as lost.
	AcceptGap bool
	// Progress is called with the record after each commit, Waiting with the reason before each pause. They must not block.
	Progress func(event.Replay)
	Waiting  func(error)
}

// Start opens the job and writes the record that decide makes of the one that is there: whoever worked on the job until now is
// fenced. An error of decide ends it, and nothing is written. decide is called again when somebody else writes meanwhile.
func (j *Job) Start(
	ctx context.Context, decide func(record event.Replay, exists bool) (event.Replay, error),
) (event.Replay, error) {
	pause := newBackOff()
	for {
		record, exists, err := j.Committer.Open(ctx)
		if err != nil {
			return record, err
		}
		want, err := decide(record, exists)
		if err != nil {
			return record, err
		}
		written, err := j.Committer.Write(ctx, want)
		if event.KindOf(err) != event.Fenced {
			return written, err
		}
		if err := wait(ctx, pause.NextBackOff()); err != nil {
			return record, err
		}
	}
}

// Run works on the job behind the record, which Start has returned, until all is done, and returns the record then. When ctx
// ends the batch being committed is finished first. A *HaltedError says that somebody else has written the record, a *GapError
// that RAW has dropped raw events that come next. Other errors are event.Invalid, event.Regressed and ctx's.
func (j *Job) Run(ctx context.Context, record event.Replay) (event.Replay, error) {
	raw := j.Raw(&record)
	defer raw.Close()
	reading, stop := context.WithCancel(ctx)
	batches := make(chan *batch)
	r := newReading(j, record, raw, batches)
	var readErr error
	var done sync.WaitGroup
	done.Go(func() {
		defer close(batches)
		readErr = r.run(reading)
	})
	record, err := j.commit(ctx, record, batches)
	stop()
	done.Wait()
	if err == nil {
		err = readErr
	}
	if err != nil {
		return record, err
	}
	return j.end(ctx, record, r.trailing)
}

// commit commits batch after batch.
func (j *Job) commit(ctx context.Context, record event.Replay, batches <-chan *batch) (event.Replay, error) {
	draining, stop := drainContext(ctx)
	defer stop()
	for b := range batches {
		next, err := j.Committer.Commit(draining, b.outcomes, b.advance)
		if err != nil {
			return record, j.halted(draining, err)
		}
		record = next
		j.progress(record)
	}
	return record, nil
}

// end writes that all is done.
func (j *Job) end(ctx context.Context, record event.Replay, trailing []event.ReplayGap) (event.Replay, error) {
	last := record
	last.Sources, last.Gaps = maps.Clone(record.Sources), slices.Clone(record.Gaps)
	for _, g := range trailing {
		lose(&last, g)
	}
	last.State, last.RawSeq, last.EndedAt = event.ReplayDone, record.To, time.Now().UTC()
	last, err := j.Committer.Write(ctx, last)
	if err != nil {
		return record, j.halted(ctx, err)
	}
	j.progress(last)
	return last, nil
}

func (j *Job) progress(record event.Replay) {
	if j.Progress != nil {
		j.Progress(record)
	}
}

func (j *Job) waits(why error) {
	if j.Waiting != nil {
		j.Waiting(why)
	}
}

// HaltedError says that somebody else has written the record of a job, and that this process no longer works on it.
type HaltedError struct {
	Record event.Replay
	Exists bool
}

func (e *HaltedError) Error() string {
	r := &e.Record
	switch {
	case !e.Exists:
		return "the job was removed"
	case r.State == event.ReplayDone:
		return fmt.Sprintf("%s has finished the job", r.Owner)
	case r.Halted != nil:
		return fmt.Sprintf("%s %s", r.State, event.PauseReason(r.Halted.Err()))
	default:
		return fmt.Sprintf("%s works on the job since %s", r.Owner, r.WrittenAt.UTC().Format(time.RFC3339))
	}
}

// halted makes a HaltedError of event.Fenced.
func (j *Job) halted(ctx context.Context, err error) error {
	if event.KindOf(err) != event.Fenced {
		return err
	}
	record, exists, openErr := j.Committer.Open(ctx)
	if openErr != nil {
		return errors.Join(err, openErr)
	}
	return &HaltedError{Record: record, Exists: exists}
}

// GapError says that RAW no longer has raw events that a job has not dealt with. It has the kind event.Expired.
type GapError struct{ Gap event.ReplayGap }

func (e *GapError) Error() string {
	return fmt.Sprintf("%s no longer has events %d to %d of source %s (%d): they expired before the job came to them",
		event.StreamRaw, e.Gap.From, e.Gap.To, e.Gap.Source, e.Gap.To-e.Gap.From+1)
}

// Unwrap makes errors.Is(err, event.Expired) hold.
func (e *GapError) Unwrap() error { return event.Expired }

// lose counts a gap in the record.
func lose(r *event.Replay, g event.ReplayGap) {
	r.Counts.Lost += uint64(g.To-g.From) + 1
	if n := len(r.Gaps); n > 0 && r.Gaps[n-1].Source == g.Source && r.Gaps[n-1].To+1 == g.From {
		r.Gaps[n-1].To = g.To
	} else {
		r.Gaps = append(r.Gaps, g)
	}
	move(r, g.Source, g.To)
}

// move makes a number the last one of its source that was dealt with.
func move(r *event.Replay, s event.Source, to event.Seq) {
	if r.Sources == nil {
		r.Sources = map[event.Source]event.ReplaySource{}
	}
	at := r.Sources[s]
	at.Position = max(at.Position, to)
	r.Sources[s] = at
}

// drainContext returns a context that ends drainTimeout after ctx does.
func drainContext(ctx context.Context) (context.Context, context.CancelFunc) {
	draining, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		_ = wait(draining, drainTimeout)
		cancel()
	})
	return draining, func() {
		stop()
		cancel()
	}
}

func newBackOff() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(50*time.Millisecond), backoff.WithMultiplier(2),
		backoff.WithMaxInterval(5*time.Second), backoff.WithMaxElapsedTime(0))
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
