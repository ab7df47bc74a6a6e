package letters

import (
	"context"
	"errors"
	"slices"
	"time"

	"stackstream/event"
)

// Outcome is what became of letters that were sent.
type Outcome struct {
	Redriven, Dropped int
	// Dead are the new letters that were made of those that could not be converted again.
	Dead []event.Seq
	// Waiting are those that the normalizer has not come to.
	Waiting int
	// Groups has the new letters.
	Groups Groups
}

// pollEvery is how often it is looked whether the normalizer has come to what was sent.
const pollEvery = 250 * time.Millisecond

// Await waits until the normalizer has dealt with all that RAW has of the source, as long as ctx lasts, which is no error. told is
// called now and then with how many raw events are left, and with the normalizer's cursor.
func (j *Job) Await(ctx context.Context, told func(left event.Seq, cursor event.NormalizedCursor)) (bool, error) {
	if err := j.patiently(ctx, func() error { return j.refresh(ctx) }); err != nil {
		return false, unlessEnded(ctx, err)
	}
	end := j.position
	for {
		var at event.NormalizedCursor
		err := j.patiently(ctx, func() (err error) {
			at, err = j.Streams.Normalized(ctx, j.Name)
			return err
		})
		if err != nil {
			return false, unlessEnded(ctx, err)
		}
		done := at.Sources[event.SourceRedrive].Position
		if done >= end {
			return true, nil
		}
		told(end-done, at)
		if wait(ctx, pollEvery) != nil {
			return false, nil
		}
	}
}

// unlessEnded is nil where ctx has ended.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Outcome tells what became of letters so far.
func (j *Job) Outcome(ctx context.Context, of []event.Seq) (o Outcome, err error) {
	err = j.patiently(ctx, func() (err error) {
		o, err = j.outcome(ctx, of)
		return err
	})
	return o, err
}

func (j *Job) outcome(ctx context.Context, of []event.Seq) (Outcome, error) {
	var o Outcome
	if err := j.states(ctx); err != nil {
		return o, err
	}
	var dead []event.Seq
	for _, n := range of {
		switch state, made := j.book.State(n); state {
		case Redriven:
			o.Redriven++
		case Dropped:
			o.Dropped++
		case Dead:
			dead = append(dead, made)
		default:
			o.Waiting++
		}
	}
	if len(dead) == 0 {
		return o, nil
	}
	slices.Sort(dead)
	o.Dead = dead
	found := 0
	err := j.each(ctx, &Filter{}, func(l *event.Letter, state string) error {
		if _, is := slices.BinarySearch(dead, l.Number); is {
			o.Groups.add(l, state)
			if found++; found == len(dead) {
				return errEnough
			}
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return o, err
}
