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

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/publisher"
)

// Verbs of the commands that are recorded.
const (
	verbRemove = "remove"
	verbRename = "rename"
)

// Gone tells whether nothing is left of a provider but its numbers.
func Gone(h *jetstream.Holding) bool {
	if h.Events() > 0 || h.Canonical > 0 || h.Dead > 0 || h.Consumer || len(h.Owners) > 0 || h.Choice.Kind != "" ||
		h.Choice.Paused != nil {
		return false
	}
	return !positioned(h)
}

// Unknown tells whether the streams have nothing at all of a provider.
func Unknown(h *jetstream.Holding) bool {
	return Gone(h) && len(h.Sources) == 0 && h.Normalized.Position == 0
}

// positioned tells whether any source of the provider stands somewhere: a cursor that was emptied has its number alone.
func positioned(h *jetstream.Holding) bool {
	for _, c := range h.Sources {
		if !emptied(c) {
			return true
		}
	}
	return false
}

func emptied(c event.RawCursor) bool { return len(c.Cursor) == 0 && c.Retired }

// empty is a cursor of which the number is left. Sources without a cursor begin as their settings say.
func empty(c event.RawCursor) event.RawCursor {
	return event.RawCursor{Position: c.Position, Received: c.Received, Progress: event.Progress{Retired: true}}
}

// Problem is why something is not done, with a way out.
type Problem struct{ What, WayOut string }

func (p *Problem) Error() string { return p.What + ": " + p.WayOut }

// lookAgain is how often it is looked whether somebody works after all.
const lookAgain = 300 * time.Millisecond

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
