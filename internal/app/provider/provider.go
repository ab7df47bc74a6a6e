// Package provider removes and renames providers: what they leave in the streams when nobody works for them any more.
//
// Two things hold whatever happens, also when it is interrupted. Numbers never go back: a provider that is added again goes on
// behind the last number that it had, in EVENTS_RAW and in EVENTS_NORMALIZED, because subscribers and the normalizer take a number that
// they know for a repeat. And nobody's work is overwritten: each record is replaced only if it is still the one that was looked at,
// and whoever writes under an older choice of source is refused.
package provider

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"stackstream/collectors/backfill"
	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/publisher"
)

// Gone tells whether nothing is left of a provider but its numbers.
func Gone(h *jetstream.Holding) bool {
	if h.Events() > 0 || h.Canonical > 0 || h.Dead > 0 || h.Consumer || len(h.Owners) > 0 || h.Choice.Kind != "" || len(Pauses(h)) > 0 {
		return false
	}
	for s, c := range h.Sources {
		if !forgotten(s, c) {
			return false
		}
	}
	return true
}

// Unknown tells whether the streams have nothing at all of a provider.
func Unknown(h *jetstream.Holding) bool {
	return Gone(h) && len(h.Sources) == 0 && h.Normalized.Position == 0
}

// Pause is a pause and what of a provider's work is paused: "collecting", "normalizing", or "source", collecting by one of its
// sources.
type Pause struct {
	What   string
	Source event.Source
	*event.Pause
}

// Pauses are all that a provider's records have.
func Pauses(h *jetstream.Holding) []Pause {
	var found []Pause
	add := func(what string, s event.Source, p *event.Pause) {
		if p != nil {
			found = append(found, Pause{what, s, p})
		}
	}
	add("collecting", "", h.Choice.Paused)
	for _, s := range sources(h) {
		add("source", s, h.Sources[s].Paused)
	}
	add("normalizing", "", h.Normalized.Paused)
	return found
}

// positioned tells whether any source of the provider stands somewhere. Jobs of operators are no matter of its services.
func positioned(h *jetstream.Holding) bool {
	for s, c := range h.Sources {
		if !s.Job() && !forgotten(s, c) {
			return true
		}
	}
	return false
}

// forgotten tells whether a cursor has its number alone.
func forgotten(s event.Source, c event.RawCursor) bool {
	if c.Emptied() || s.Backfill() == "" {
		return c.Emptied()
	}
	job, err := backfill.ReadState(c.Cursor)
	return err == nil && !job.Removed.IsZero()
}

// empty is a cursor of which the number is left. Sources without a cursor begin as their settings say, and so do jobs that were
// removed.
func empty(s event.Source, c event.RawCursor) event.RawCursor {
	left := event.RawCursor{Position: c.Position, Received: c.Received, Progress: event.Progress{Retired: true}}
	if s.Backfill() != "" {
		if _, err := backfill.Remove(&c, time.Now()); err == nil || forgotten(s, c) {
			left.Cursor = c.Cursor
		}
	}
	return left
}

// Problem is why something is not done, with a way out.
type Problem struct{ What, WayOut string }

func (p *Problem) Error() string { return p.What + ": " + p.WayOut }

// lookAgain is how often it is looked whether somebody works after all.
const lookAgain = 300 * time.Millisecond

// Idle is nil when nobody works for a provider, or a *Problem.
func Idle(ctx context.Context, c *jetstream.Client, p event.Provider) error {
	h, err := now(ctx, c, p)
	if err != nil {
		return err
	}
	return idle(ctx, c, h)
}

// idle is nil when nobody works for a provider. It looks for a while where a lease may be changing hands.
func idle(ctx context.Context, c *jetstream.Client, h *jetstream.Holding) error {
	for until := time.Now().Add(h.Unsure()); ; {
		if err := working(h); err != nil || h.Unsure() == 0 || time.Now().After(until) {
			return err
		}
		select {
		case <-time.After(lookAgain):
		case <-ctx.Done():
			return ctx.Err()
		}
		var err error
		if h, err = now(ctx, c, h.Provider); err != nil {
			return err
		}
	}
}

// working is a *Problem while somebody works for a provider, as far as can be told now.
func working(h *jetstream.Holding) error {
	if working := h.AtWork(time.Now()); len(working) > 0 {
		return &Problem{
			fmt.Sprintf("%s is still worked for (%s)", h.Provider, strings.Join(working, "; ")),
			"take it out of every configuration, wait until its leases are free, and run this again",
		}
	}
	return nil
}

// Operator says who does it, and why.
type Operator struct{ By, Why string }

func (o Operator) options() publisher.Options { return publisher.Options{Owner: o.By} }

// replaceChoice writes the choice of source anew, by which everybody is fenced who collects, and returns it with its sequence.
func replaceChoice(
	ctx context.Context, c *jetstream.Client, p event.Provider, o Operator, verb string, change func(*event.Choice) error,
) (event.Choice, error) {
	wrote, err := publisher.Command(ctx, c.Raw(), event.ChoiceSubject(p), event.RawCommandsSubject(p, ""), o.options(),
		func(choice *event.Choice, _ bool) (event.Command, error) {
			if err := change(choice); err != nil {
				return event.Command{}, err
			}
			choice.At, choice.By = time.Now().UTC(), o.By
			return event.Command{Verb: verb, Why: o.Why}, nil
		})
	if err != nil {
		return event.Choice{}, fmt.Errorf("replace the choice of source: %w", err)
	}
	choice, err := c.Choices().ReadChoice(ctx, p)
	if err == nil && choice.Batch != wrote.Batch {
		err = &Problem{
			fmt.Sprintf("%q has chosen %s for %s meanwhile", choice.By, choice.Kind, p), "take it out of the configuration there",
		}
	}
	return choice, err
}

// replaceCursor writes a source's cursor anew.
func replaceCursor(
	ctx context.Context, c *jetstream.Client, p event.Provider, s event.Source, o Operator, verb string,
	change func(*event.RawCursor, bool) error,
) error {
	_, err := publisher.Command(ctx, c.Raw(), event.RawCursorSubject(p, s), event.RawCommandsSubject(p, s), o.options(),
		func(cursor *event.RawCursor, exists bool) (event.Command, error) {
			if err := change(cursor, exists); err != nil {
				return event.Command{}, err
			}
			return event.Command{Verb: verb, Why: o.Why}, nil
		})
	if err != nil {
		return fmt.Errorf("replace the cursor of %s: %w", s, err)
	}
	return nil
}

func sources(h *jetstream.Holding) []event.Source { return slices.Sorted(maps.Keys(h.Sources)) }

// unless is err, but for one that is none here.
func unless(err, none error) error {
	if errors.Is(err, none) {
		return nil
	}
	return err
}

// replaceNormalized writes the normalizer's cursor anew.
func replaceNormalized(
	ctx context.Context, c *jetstream.Client, p event.Provider, o Operator,
	change func(*event.NormalizedCursor, bool) (event.Command, error),
) error {
	_, err := publisher.Command(ctx, c.Normalized(), event.NormalizedCursorSubject(p), event.NormalizedCommandsSubject(p), o.options(),
		func(cursor *event.NormalizedCursor, exists bool) (event.Command, error) {
			done, err := change(cursor, exists)
			done.Why = o.Why
			return done, err
		})
	if err = unless(err, publisher.ErrUnchanged); err != nil {
		return fmt.Errorf("replace the normalizer's cursor: %w", err)
	}
	return nil
}
