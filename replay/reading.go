package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"stackstream/event"
	"stackstream/normalizer"
)

// reading turns the raw events of a job's range into batches, in order. It belongs to one goroutine.
type reading struct {
	*Job
	raw     Range
	batches chan<- *batch
	limiter *rate.Limiter // nil without a limit
	most    int           // events in a batch

	record   event.Replay // as it will be when all that was read is committed
	looked   bool         // again, whether something is really missing
	trailing []event.ReplayGap
	batch    *batch
}

// batch is what one commit deals with: outcomes, and what else there is to say of each.
type batch struct {
	outcomes []event.Outcome
	notes    []note
	bytes    int
}

type note struct {
	filtered uint64
	skipped  bool
	gap      *event.ReplayGap // before it
}

func newReading(j *Job, record event.Replay, raw Range, batches chan<- *batch) *reading {
	r := &reading{Job: j, raw: raw, batches: batches, most: batchEvents, record: record, batch: &batch{}}
	r.record.Sources, r.record.Gaps = maps.Clone(record.Sources), slices.Clone(record.Gaps)
	if record.Rate > 0 {
		r.most = int(min(record.Rate, batchEvents))
		r.limiter = rate.NewLimiter(rate.Limit(record.Rate), r.most)
	}
	return r
}

// run reads to the end of the range.
func (r *reading) run(ctx context.Context) error {
	for {
		m, err := next(ctx, r.raw, r.wait(ctx))
		if errors.Is(err, io.EOF) {
			again, err := r.atEnd()
			if err != nil || !again {
				return errors.Join(r.handOver(ctx), err)
			}
			continue
		}
		if err != nil {
			return errors.Join(r.handOver(ctx), err)
		}
		if err := r.take(ctx, m); err != nil {
			return errors.Join(r.handOver(ctx), err)
		}
	}
}

// next returns the next message of a range. It tries as long as the stream can't be read; waits is told why before each pause,
// and ends that with an error.
func next(ctx context.Context, r Range, waits func(error) error) (event.Stored, error) {
	pause := newBackOff()
	var shorter time.Time // since when the stream looks shorter than it was
	for {
		m, err := r.Next(ctx)
		switch kind := event.KindOf(err); {
		case err == nil, errors.Is(err, io.EOF), ctx.Err() != nil, kind == event.Invalid:
			return m, err
		case kind == event.Regressed && shorter.IsZero():
			shorter = time.Now()
		case kind == event.Regressed && time.Since(shorter) > believed:
			return m, err
		case kind != event.Regressed:
			shorter = time.Time{}
		}
		if err := waits(err); err != nil {
			return m, err
		}
		if err := wait(ctx, pause.NextBackOff()); err != nil {
			return m, err
		}
	}
}

// atEnd tells what is missing at the end of the range, and whether to look for it once more.
func (r *reading) atEnd() (again bool, err error) {
	for _, s := range slices.Sorted(maps.Keys(r.record.Sources)) {
		at := r.record.Sources[s]
		if at.Position >= at.Last {
			continue
		}
		if !r.looked {
			r.looked = true
			r.raw.Reopen(r.record.RawSeq)
			return true, nil
		}
		gap := event.ReplayGap{Source: s, From: at.Position + 1, To: at.Last}
		if !r.AcceptGap {
			return false, &GapError{gap}
		}
		r.trailing = append(r.trailing, gap)
	}
	return false, nil
}

// take adds what becomes of one message to the batch.
func (r *reading) take(ctx context.Context, m event.Stored) error {
	if m.Sequence <= r.record.RawSeq {
		return nil
	}
	raw, malformed, err := normalizer.ParseRaw(m, r.record.Provider, func(s event.Source) event.Seq {
		return r.record.Sources[s].Position + 1
	})
	if err != nil {
		return err
	}
	if malformed != nil {
		o := event.Outcome{Raw: raw, Dead: &event.DeadLetter{Reason: event.ReasonMalformed, Detail: malformed.Error()}}
		return r.add(ctx, o, note{}, len(raw.Body))
	}
	var n note
	at := r.record.Sources[raw.Source]
	gap := missing(raw.Source, at, raw.Seq-1)
	if gap == nil && raw.Repair != nil && r.within(raw.Repair) {
		// What a repair speaks of comes before it.
		gap = missing(raw.Repair.Source, r.record.Sources[raw.Repair.Source], raw.Repair.Seq)
	}
	switch {
	case gap != nil && !r.looked:
		// A reader may have lost its place.
		r.looked = true
		r.raw.Reopen(r.record.RawSeq)
		return nil
	case gap != nil && !r.AcceptGap:
		return &GapError{*gap}
	case gap != nil:
		n.gap = gap
		lose(&r.record, *gap)
	case raw.Seq <= at.Position:
		// Numbered like one that was dealt with, but behind it in the stream.
		n.skipped = true
	}
	r.looked = false
	if raw.Repair != nil && (raw.Drops() || r.has(raw.Repair)) {
		n.skipped = true
	}
	if n.skipped {
		raw.Body = nil
		return r.add(ctx, event.Outcome{Raw: raw}, n, 0)
	}
	o, bytes, err := r.Conversion.Outcome(ctx, raw, r.wait(ctx))
	if err != nil {
		return err
	}
	if r.Match != nil && o.Dead == nil {
		o.Events, n.filtered = wanted(o.Events, r.Match)
	}
	return r.add(ctx, o, n, bytes)
}

// wanted returns the events whose type matches, and how many others there are.
func wanted(events []event.Event, match func(string) bool) (kept []event.Event, filtered uint64) {
	for i := range events {
		if match(events[i].EventType) {
			kept = append(kept, events[i])
		}
	}
	return kept, uint64(len(events) - len(kept))
}

// missing is what is missing of a source that should have been dealt with up to a number, nil if nothing is.
func missing(s event.Source, at event.ReplaySource, upTo event.Seq) *event.ReplayGap {
	if at.First == 0 || upTo <= at.Position {
		return nil
	}
	return &event.ReplayGap{Source: s, From: at.Position + 1, To: upTo}
}

// within tells whether the raw event that a repair speaks of lies within the range.
func (r *reading) within(repair *event.Repair) bool {
	return r.record.From <= repair.Sequence && repair.Sequence <= r.record.To
}

// has tells whether the raw event that a repair speaks of was converted in its own place.
func (r *reading) has(repair *event.Repair) bool {
	if !r.within(repair) || repair.Seq == 0 {
		return r.within(repair)
	}
	at := r.record.Sources[repair.Source]
	if repair.Seq < at.First || repair.Seq > at.Position {
		return false
	}
	return !slices.ContainsFunc(r.record.Gaps, func(g event.ReplayGap) bool {
		return g.Source == repair.Source && g.From <= repair.Seq && repair.Seq <= g.To
	})
}

// add puts an outcome into the batch, and hands the batch over when it is full.
func (r *reading) add(ctx context.Context, o event.Outcome, n note, bytes int) error {
	r.record.RawSeq = o.Raw.Sequence
	if o.Raw.Source != "" && o.Raw.Seq > 0 {
		move(&r.record, o.Raw.Source, o.Raw.Seq)
	}
	r.batch.outcomes = append(r.batch.outcomes, o)
	r.batch.notes = append(r.batch.notes, n)
	r.batch.bytes += bytes
	if len(r.batch.outcomes) < r.most && r.batch.bytes < batchBytes {
		return nil
	}
	return r.handOver(ctx)
}

// wait says why there is a pause; what was read before does not wait for it.
func (r *reading) wait(ctx context.Context) func(error) error {
	return func(why error) error {
		r.waits(why)
		return r.handOver(ctx)
	}
}

// handOver waits until the batch may be committed and is taken.
func (r *reading) handOver(ctx context.Context) error {
	if len(r.batch.outcomes) == 0 {
		return nil
	}
	if r.limiter != nil {
		if err := r.limiter.WaitN(ctx, len(r.batch.outcomes)); err != nil {
			return fmt.Errorf("wait for the rate: %w", err)
		}
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case r.batches <- r.batch:
		r.batch = &batch{}
		return nil
	}
}

// advance moves the record behind outcomes of the batch, which are the next ones each time it is called.
func (b *batch) advance(record *event.Replay, outcomes []event.Outcome) {
	for i := range outcomes {
		raw, n := &outcomes[i].Raw, b.notes[i]
		if n.gap != nil {
			lose(record, *n.gap)
		}
		record.Counts.Raw++
		record.Counts.Filtered += n.filtered
		if n.skipped {
			record.Counts.Skipped++
		}
		if raw.Source != "" && raw.Seq > 0 {
			move(record, raw.Source, raw.Seq)
		}
	}
	b.notes = b.notes[len(outcomes):]
}
