package backfill

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"stackstream/event"
)

// ahead is by how much the time of an event may be later than when it was collected.
const ahead = 10 * time.Minute

// Outlook is what can be said of a job before it begins.
type Outlook struct {
	// Before is the state that an earlier run of the job has left, nil if there was none.
	Before *State
	// Added is how many events it had added.
	Added uint64
	// Owner is who wrote that last, and WrittenAt when.
	Owner     string
	WrittenAt time.Time
	// Raw is how many events of the range RAW has, Older how many RAW has dropped since and the other streams know.
	Raw, Older uint64
	// Doubts are why events may come twice, if that was allowed.
	Doubts []string

	choice event.Choice
	base   event.Seq
	given  event.GivenUp
}

// Look reads what there is to know, and refuses what can't be done. It changes nothing.
func (j *Job) Look(ctx context.Context) (Outlook, error) {
	var o Outlook
	err := j.Check()
	if err != nil {
		return o, err
	}
	// The choice and the promises first: what was taken before them is in RAW when that is read.
	if o.choice, err = j.Deps.Choices.ReadChoice(ctx, j.Provider); err != nil {
		return o, fmt.Errorf("read the choice of source: %w", err)
	}
	if err := o.choice.Paused.Err(); err != nil {
		return o, fmt.Errorf("collecting for %s is %w", j.Provider, err)
	}
	// They say what was promised when the choice was made, or what is now: who takes back a promise later fences the job.
	cursors, err := j.Deps.Memory.CursorsAsOf(ctx, j.Provider, o.choice.Sequence)
	if err != nil {
		return o, fmt.Errorf("read cursors: %w", err)
	}
	// Before RAW is read, too: what is given up later than this is found when the job ends.
	if o.given, err = j.Deps.Archive.GivenUp(ctx, j.Provider); err != nil {
		return o, fmt.Errorf("look what was given up: %w", err)
	}
	own := cursors[j.source]
	if err := j.before(own, &o); err != nil || o.Before != nil && !o.Before.Done.IsZero() && !j.Dry {
		return o, err
	}
	if err := j.rivals(cursors); err != nil {
		return o, err
	}
	if err := j.bounds(ctx, cursors, &o); err != nil {
		return o, err
	}
	upTo := o.choice.Sequence
	for _, c := range cursors {
		upTo = max(upTo, c.Sequence)
	}
	if err := j.hold(ctx, &o, upTo); err != nil {
		return o, err
	}
	if j.held.own > own.Position {
		return o, j.refused("its cursor stands at event %d, and RAW has event %d: another process is at work on it", own.Position,
			j.held.own)
	}
	o.Raw, o.Older = j.held.raw, j.held.older
	return o, nil
}

// before reads what an earlier run has left.
func (j *Job) before(own event.RawCursor, o *Outlook) error {
	if err := own.Paused.Err(); err != nil {
		return fmt.Errorf("the job is %w", err)
	}
	o.base = own.Position
	if own.Sequence == 0 || own.Emptied() {
		return nil
	}
	s, err := ReadState(own.Cursor)
	if err != nil {
		return err
	}
	if !s.Removed.IsZero() {
		return nil
	}
	if !s.From.Equal(j.From) || !s.To.Equal(j.To) || s.Service != j.Kind {
		return j.refused("there is a job of this name that asks %s for %s to %s: give this one another name, or remove that one",
			s.Service, stamp(s.From), stamp(s.To))
	}
	s.since(o.given)
	o.Before, o.base, o.Added = &s, s.Base, uint64(own.Position-s.Base)
	o.Owner, o.WrittenAt = own.Owner, own.WrittenAt
	return nil
}

// rivals refuses what overlaps with another job that is not done: neither would know what the other adds.
func (j *Job) rivals(cursors map[event.Source]event.RawCursor) error {
	for _, s := range slices.Sorted(maps.Keys(cursors)) {
		c := cursors[s]
		if s.Backfill() == "" || s == j.source || c.Retired {
			continue
		}
		other, err := ReadState(c.Cursor)
		if err != nil {
			return fmt.Errorf("job %s: %w", s.Backfill(), err)
		}
		if other.Overlaps(j.From, j.To) {
			return j.refused("job %s, which asks %s for %s to %s, is not done, and the ranges overlap: let it end, or remove it",
				s.Backfill(), other.Service, stamp(other.From), stamp(other.To))
		}
	}
	return nil
}

// bounds refuses a range that reaches too far to either side.
func (j *Job) bounds(ctx context.Context, cursors map[event.Source]event.RawCursor, o *Outlook) error {
	if over := time.Now().Add(-j.Settles); j.To.After(over) {
		return j.refused("the range ends at %s, and what is of the last %s may still show: the latest end is %s", stamp(j.To),
			j.Settles, stamp(over.Truncate(time.Second)))
	}
	doubt := func(err error) error {
		if !j.AllowDuplicates {
			return err
		}
		why := err.Error()
		if e := (*event.Error)(nil); errors.As(err, &e) {
			why = e.Err.Error()
		}
		o.Doubts = append(o.Doubts, why)
		return nil
	}
	if err := j.late(o.choice, cursors); err != nil {
		if err := doubt(err); err != nil {
			return err
		}
	}
	since, err := j.Deps.Archive.Since(ctx, j.Provider)
	if err != nil {
		return fmt.Errorf("look from when on the streams know everything: %w", err)
	}
	if !since.IsZero() {
		since = since.Add(ahead)
	}
	if j.From.Before(since) {
		return doubt(j.refused("the range begins at %s, and the streams know all that was collected from %s on only: what is older "+
			"may have been there and would come twice", stamp(j.From), stamp(since)))
	}
	return nil
}

// late refuses a range that a live source may still hand over something of.
func (j *Job) late(choice event.Choice, cursors map[event.Source]event.RawCursor) error {
	live := map[event.Source]bool{}
	for _, s := range j.Deps.Live(choice.Kind) {
		live[s] = true
	}
	for s, c := range cursors {
		if !s.Job() && !c.Retired && s.Of(choice.Kind) {
			live[s] = true
		}
	}
	for _, s := range slices.Sorted(maps.Keys(live)) {
		switch at := j.Deps.Promised(s, cursors[s]); {
		case at.IsZero():
			return j.refused("the live source %s has not promised to hand over nothing of any time again, so that it may be shown the "+
				"same events", s)
		case j.To.After(at):
			return j.refused("the range ends at %s, and the live source %s will read what is later than %s itself: that is the latest "+
				"end", stamp(j.To), s, stamp(at))
		}
	}
	return nil
}

func (j *Job) refused(format string, args ...any) error {
	return &event.Error{Kind: event.Invalid, Op: "backfill " + j.Name, Err: fmt.Errorf(format, args...)}
}
