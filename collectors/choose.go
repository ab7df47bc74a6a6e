package collectors

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"stackstream/event"
)

// askTimeout bounds how long one source may take to say whether it is available.
const askTimeout = 30 * time.Second

// chooser finds out which kind of source collects for a provider, and records it.
//
// A choice is kept as long as its kind is configured. One that this process's configuration does not allow is written
// over once in the life of a Collector; if such a one is found after that, somebody made it later, and two processes
// with different configurations do not take the provider from each other for ever.
type chooser struct {
	*Collector
	asserted bool // the choice has once been one that the configuration allows
}

// choose returns the choice that holds, recorded, and its candidate. The candidate may be of a kind that the
// configuration does not allow, which somebody chose later; it has no sources then.
func (c *chooser) choose(ctx context.Context) (Candidate, event.Choice, error) {
	for {
		choice, err := c.Deps.Choices.ReadChoice(ctx, c.Provider)
		if err != nil {
			return Candidate{}, choice, fmt.Errorf("read the choice of source: %w", err)
		}
		if choice.Paused != nil {
			return Candidate{Kind: choice.Kind}, choice, nil // nobody is asked, and another choice would have no pause
		}
		candidate, next, err := c.decide(ctx, choice)
		if err != nil || next == nil {
			return candidate, choice, err
		}
		next.At, next.By, next.Sequence = time.Now().UTC(), c.Deps.Owner, choice.Sequence
		choice, err = c.Deps.Choices.WriteChoice(ctx, c.Provider, *next)
		switch {
		case errors.Is(err, event.Fenced):
			if pause(ctx, newBackOff(maxPause).NextBackOff()) != nil {
				return Candidate{}, choice, ctx.Err()
			}
			continue // somebody chose meanwhile: that counts
		case err != nil:
			return Candidate{}, choice, fmt.Errorf("record the choice of source: %w", err)
		}
		c.asserted = true
		return candidate, choice, nil
	}
}

// decide returns the candidate to run, and the choice to record where it differs from the one there is.
func (c *chooser) decide(ctx context.Context, was event.Choice) (Candidate, *event.Choice, error) {
	chosen, known := c.candidate(was.Kind)
	if c.Want == Auto {
		switch {
		case known:
			c.asserted = true
			return chosen, nil, nil
		case c.asserted && was.Kind != "":
			return Candidate{Kind: was.Kind}, nil, nil
		}
		candidate, why, err := c.ask(ctx)
		if err != nil {
			return Candidate{}, nil, err
		}
		if was.Kind != "" {
			why = fmt.Sprintf("%s is no longer configured; %s", was.Kind, why)
		}
		return candidate, &event.Choice{Kind: candidate.Kind, Why: why}, nil
	}
	wanted, ok := c.candidate(c.Want)
	switch {
	case !ok:
		return Candidate{}, nil, &event.Error{
			Kind: event.Invalid, Op: "choose a source", Err: fmt.Errorf("%s is not configured for %s", c.Want, c.Provider),
		}
	case was.Kind == c.Want:
		c.asserted = true
		return wanted, nil, nil
	case c.asserted && was.Kind != "":
		return Candidate{Kind: was.Kind}, nil, nil
	default:
		return wanted, &event.Choice{Kind: c.Want, Why: "configured"}, nil
	}
}

// allows tells whether a kind may be run here.
func (c *chooser) allows(kind string) bool {
	_, known := c.candidate(kind)
	return kind == c.Want || c.Want == Auto && known
}

func (c *chooser) candidate(kind string) (Candidate, bool) {
	for _, candidate := range c.Candidates {
		if candidate.Kind == kind {
			return candidate, true
		}
	}
	return Candidate{}, false
}

// ask returns the first candidate that answers, and why. One that collects nothing is taken only if there is no other:
// an event service that is down for a moment is no reason to collect nothing from then on.
func (c *chooser) ask(ctx context.Context) (Candidate, string, error) {
	var said []string
	for _, candidate := range c.Candidates {
		if len(candidate.Shards) == 0 {
			continue
		}
		if err := c.available(ctx, candidate); err != nil {
			said = append(said, candidate.Kind+": "+err.Error())
			continue
		}
		why := candidate.Kind + " answers"
		if len(said) > 0 {
			why += "; " + strings.Join(said, "; ")
		}
		return candidate, why, nil
	}
	switch {
	case len(said) > 0:
		return Candidate{}, "", &event.Error{
			Kind: event.Unavailable, Op: "choose a source",
			Err: errors.New("no event service answers: " + strings.Join(said, "; ")),
		}
	case len(c.Candidates) == 0:
		return Candidate{}, "", &event.Error{
			Kind: event.Invalid, Op: "choose a source", Err: fmt.Errorf("none is configured for %s", c.Provider),
		}
	default:
		return c.Candidates[0], "nothing else is configured", nil
	}
}

// available asks every source of a kind: the kind answers if all of them do. A source that ignores its time is noticed
// by the beat that it owes.
func (c *chooser) available(ctx context.Context, candidate Candidate) error {
	defer c.Deps.Hooks.beat(c.Provider, "", 0)
	for _, s := range candidate.Shards {
		c.Deps.Hooks.beat(c.Provider, "", askTimeout)
		err := guard(func() error {
			source, err := s.New(func(bool, string) {})
			if err != nil {
				return err
			}
			askCtx, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			return source.Available(askCtx)
		})
		if err != nil && len(candidate.Shards) > 1 {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
