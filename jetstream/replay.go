package jetstream

import (
	"cmp"
	"context"
	"slices"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// Replay is the log of what replays made, EVENTS_REPLAY.
func (c *Client) Replay() *Log { return c.newLog(event.StreamReplay) }

// Replays are the jobs that EVENTS_REPLAY has records of. It is safe for concurrent use.
type Replays struct{ log *Log }

// Replays is where the jobs are looked up.
func (c *Client) Replays() *Replays { return &Replays{log: c.Replay()} }

// ReplayJob is a job by its name, with its record and how much of what it has written is still there.
type ReplayJob struct {
	Name event.ReplayName `json:"name"`
	event.Replay
	HeldEvents uint64 `json:"held_events"`
	HeldDead   uint64 `json:"held_dead"`
}

// List returns every job, in order of the names.
func (r *Replays) List(ctx context.Context) ([]ReplayJob, error) {
	subjects, err := r.log.c.subjects(ctx, event.StreamReplay, event.ReplayCursorSubjects())
	if err != nil {
		return nil, err
	}
	jobs := make([]ReplayJob, 0, len(subjects))
	for _, subject := range subjects {
		name, ok := event.ParseReplayCursorSubject(subject)
		if !ok {
			continue // written by somebody else
		}
		job, ok, err := r.Read(ctx, name)
		if err != nil {
			return nil, err
		}
		if ok {
			jobs = append(jobs, job)
		}
	}
	slices.SortFunc(jobs, func(a, b ReplayJob) int { return cmp.Compare(a.Name, b.Name) })
	return jobs, nil
}

// Read returns a job; ok is false if there is none of that name.
func (r *Replays) Read(ctx context.Context, name event.ReplayName) (job ReplayJob, ok bool, err error) {
	m, ok, err := r.log.ReadCursor(ctx, event.ReplayCursorSubject(name), 0)
	if err != nil || !ok {
		return job, false, err
	}
	job.Name = name
	if err := event.DecodeRecord(m, &job.Replay); err != nil {
		return job, false, err
	}
	job.Sequence = m.Sequence
	info, err := r.log.c.streamInfo(ctx, event.StreamReplay, event.ReplaySubjects(name))
	if err != nil {
		return job, false, err
	}
	job.HeldEvents = info.State.Subjects[event.ReplaySubject(name, job.Provider)]
	job.HeldDead = info.State.Subjects[event.ReplayDeadSubject(name, job.Provider)]
	return job, true, nil
}

// Remove removes all that there is of a job, its record last, so that an interrupted removal can be done again.
func (r *Replays) Remove(ctx context.Context, name event.ReplayName) error {
	handle, err := r.log.streamHandle(ctx)
	if err != nil {
		return err
	}
	op := "remove job " + string(name)
	ctx, release := r.log.c.failOnRefusal(ctx, isReplayRequest)
	defer release()
	for _, subject := range []string{
		event.ReplaySubjects(name), event.ReplayCommandsSubject(name), event.ReplayCursorSubject(name),
	} {
		_, err := ask(ctx, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, handle.Purge(ctx, natsjs.WithPurgeSubject(subject))
		})
		if err != nil {
			return readError(ctx, op, err)
		}
	}
	return nil
}
