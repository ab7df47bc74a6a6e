package publisher

import (
	"context"
	"maps"
	"slices"
	"time"

	"stackstream/event"
)

// Replay writes what a job has made of raw events to EVENTS_REPLAY, as Normalized writes it to NORMALIZED: each event
// numbered, in the order of RAW and once, with the job's record behind them. It is fenced likewise. It is not safe for
// concurrent use.
type Replay struct {
	normalized Normalized
	record     event.Replay
}

// NewReplay makes a writer for a job. It must be opened before use.
func NewReplay(log Log, bodies Bodies, name event.ReplayName, p event.Provider, opts Options) *Replay {
	return &Replay{normalized: Normalized{
		writer:   newWriter(log, bodies, event.ReplayCursorSubject(name), event.Fence{}, opts),
		provider: p,
		subjects: subjects{events: event.ReplaySubject(name, p), dead: event.ReplayDeadSubject(name, p)},
	}}
}

// Open reads the job's record; exists is false if there is none. It asks once and returns what the Log returned. It must be
// called first and again after every error.
func (r *Replay) Open(ctx context.Context) (record event.Replay, exists bool, err error) {
	if err := r.normalized.open(ctx, &record); err != nil {
		return event.Replay{}, false, err
	}
	record.Sequence = r.normalized.expect
	r.keep(record)
	return r.copy(), record.Sequence > 0, nil
}

// Write replaces the record by another one, and so fences whoever worked behind the one before. Its errors are Commit's.
func (r *Replay) Write(ctx context.Context, record event.Replay) (written event.Replay, err error) {
	w := &r.normalized.writer
	if err := w.mustBeOpen(); err != nil {
		return event.Replay{}, err
	}
	defer func() { w.end(err) }()
	return r.write(ctx, piece{}, func(int) piece { return piece{} }, record)
}

// Commit stores the events and dead letters of the outcomes, in order and once, together with the record behind them, and
// returns that record. Outcomes that are more than one batch are stored in several, each with its own record; what became of
// one raw event is always in one batch. Position, RawSeq and the counts of events and dead letters of the record move behind
// the outcomes of a batch; advance is called once for each batch, with those, to move the rest of it.
//
// It waits and fails as Normalized.Commit does. Without outcomes it stores nothing.
func (r *Replay) Commit(
	ctx context.Context, outcomes []event.Outcome, advance func(record *event.Replay, outcomes []event.Outcome),
) (record event.Replay, err error) {
	n := &r.normalized
	if err := n.mustBeOpen(); err != nil {
		return event.Replay{}, err
	}
	defer func() { n.end(err) }()
	for len(outcomes) > 0 {
		p, taken := n.build(outcomes, n.maxBody)
		now := outcomes[:taken]
		next := r.copy()
		next.RawSeq = max(next.RawSeq, now[taken-1].Raw.Sequence)
		next.Position += event.Seq(p.numbered())
		for i := range p.messages {
			if p.messages[i].Subject == n.subjects.dead {
				next.Counts.Dead++
			} else {
				next.Counts.Events++
			}
		}
		advance(&next, now)
		rebuild := func(maxBody int) piece {
			again := piece{messages: make([]event.Message, 0, len(p.messages))}
			for i := range now {
				n.add(&again, &now[i], maxBody)
			}
			return again
		}
		if _, err := r.write(ctx, p, rebuild, next); err != nil {
			return event.Replay{}, err
		}
		outcomes = outcomes[taken:]
	}
	return r.copy(), nil
}

func (r *Replay) write(
	ctx context.Context, p piece, rebuild func(maxBody int) piece, record event.Replay,
) (event.Replay, error) {
	seq, err := r.normalized.write(ctx, p, rebuild, func(batch string) any {
		record.Stamp(batch, r.normalized.owner, time.Now().UTC())
		return record
	})
	if err != nil {
		return event.Replay{}, err
	}
	record.Sequence = seq
	r.keep(record)
	return r.copy(), nil
}

// keep makes record the one that the next batch follows.
func (r *Replay) keep(record event.Replay) {
	r.record = record
	r.normalized.cursor.Position = record.Position
}

// copy is the record for a caller, who may do with it what he likes.
func (r *Replay) copy() event.Replay {
	c := r.record
	c.Sources, c.Gaps = maps.Clone(c.Sources), slices.Clone(c.Gaps)
	return c
}
