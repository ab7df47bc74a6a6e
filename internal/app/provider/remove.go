package provider

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/publisher"
)

// Removal is what is to be removed of a provider that nobody works for any more.
type Removal struct {
	Operator
	// Purge also removes the events in EVENTS_RAW and EVENTS_NORMALIZED. Those that are not normalized are lost.
	Purge bool
}

// Remove removes what a provider left. It is refused while anybody works for it; when it was interrupted, it is run again.
//
// As long as the streams hold events of the provider, its cursors stay: added again it goes on from them, so that nothing is
// missed that the service still shows, and nothing comes twice. When there are none, because they were purged or have expired, the
// cursors are emptied but for their numbers. What a service then shows to a provider of that name is collected, whether it was
// before or not: nothing remembers it.
func Remove(ctx context.Context, c *jetstream.Client, p event.Provider, r Removal) error {
	h, err := now(ctx, c, p)
	if err != nil {
		return err
	}
	if err := idle(ctx, c, h); err != nil {
		return err
	}
	if err := forgettable(ctx, c, h); r.Purge && err != nil {
		return err
	}
	switch {
	case r.Purge || Empties(h):
		err = forget(ctx, c, h, r)
	case h.Choice.Kind == "" && h.Choice.Paused != nil:
		err = release(ctx, c, p, r.Operator) // it was renamed, and its name is to be free
	}
	if err != nil {
		return err
	}
	if err := c.DropConsumer(ctx, h.Provider); err != nil {
		return err
	}
	return c.DropOwners(ctx, h.Owners)
}

// forgettable refuses to purge events that another provider remembers: one that had this name.
func forgettable(ctx context.Context, c *jetstream.Client, h *jetstream.Holding) error {
	if h.Events() == 0 {
		return nil
	}
	all, err := c.Holdings(ctx, "")
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for s, cursor := range all[name].Sources {
			for _, f := range event.StillFormer(cursor.Former, cursor.DedupeFrom) {
				if f.Provider == h.Provider {
					return &Problem{
						fmt.Sprintf("%s had the name %s, and its source %s may still show events again that are stored under it",
							name, f.Provider, s),
						"wait until it has collected more of its own, or until those events have expired",
					}
				}
			}
		}
	}
	return nil
}

// Removable is nil, or a *Problem: somebody works for the provider.
func Removable(h *jetstream.Holding) error { return working(h) }

// Empties tells whether the cursors of a provider are emptied though nothing is purged: the streams have no events of it.
func Empties(h *jetstream.Holding) bool { return h.Events() == 0 && h.Canonical == 0 }

// forget empties the records, and purges events if that is wanted. The choice comes first, which fences whoever would still write;
// then the normalizer's cursor moves behind all there is, so that numbers of raw events which are no longer there are not waited
// for; then the sources forget where they stood; and last the events go that the records no longer speak of.
func forget(ctx context.Context, c *jetstream.Client, h *jetstream.Holding, r Removal) error {
	p := h.Provider
	choice, err := unchoose(ctx, c, p, r.Operator)
	if err != nil {
		return err
	}
	if h, err = now(ctx, c, p); err != nil {
		return err
	}
	_, err = publisher.Command(ctx, c.Normalized(), event.NormalizedCursorSubject(p), event.NormalizedCommandsSubject(p), r.options(),
		func(cursor *event.NormalizedCursor, exists bool) (event.Command, error) {
			if !exists && len(h.Sources) == 0 {
				return event.Command{}, publisher.ErrUnchanged
			}
			lost := pass(cursor, h, choice.Sequence)
			note := ""
			if lost > 0 {
				note = fmt.Sprintf("%d raw events are lost: they were not normalized", lost)
			}
			return event.Command{Verb: verbRemove, Why: r.Why, Note: note}, nil
		})
	if err != nil && !errors.Is(err, publisher.ErrUnchanged) {
		return fmt.Errorf("move the normalizer's cursor: %w", err)
	}
	for _, s := range sources(h) {
		err := replaceCursor(ctx, c, p, s, r.Operator, verbRemove, func(cursor *event.RawCursor, _ bool) error {
			*cursor = empty(*cursor)
			return nil
		})
		if err != nil {
			return err
		}
	}
	if !r.Purge {
		return nil
	}
	if h, err = now(ctx, c, p); err != nil {
		return err
	}
	return c.PurgeEvents(ctx, p, choice.Sequence, h.Normalized.Sequence)
}

// unchoose fences whoever collects for a provider. Who begins then chooses anew.
func unchoose(ctx context.Context, c *jetstream.Client, p event.Provider, o Operator) (event.Choice, error) {
	return replaceChoice(ctx, c, p, o, verbRemove, func(choice *event.Choice) error {
		*choice = event.Choice{Why: "removed"}
		return nil
	})
}

func release(ctx context.Context, c *jetstream.Client, p event.Provider, o Operator) error {
	_, err := unchoose(ctx, c, p, o)
	return err
}

// pass moves the normalizer's cursor behind all that the sources have collected, and returns how many events that are. upTo is a
// sequence in EVENTS_RAW behind all of them.
func pass(cursor *event.NormalizedCursor, h *jetstream.Holding, upTo event.StreamSeq) (lost uint64) {
	if cursor.Sources == nil {
		cursor.Sources = map[event.Source]event.SourcePosition{}
	}
	for s, collected := range h.Sources {
		at := cursor.Sources[s]
		if collected.Position > at.Position {
			lost += uint64(collected.Position - at.Position)
			at.Position, at.Received = collected.Position, collected.Received
		}
		cursor.Sources[s] = at
	}
	cursor.RawSeq = max(cursor.RawSeq, upTo)
	return lost
}

// now looks at a provider again.
func now(ctx context.Context, c *jetstream.Client, p event.Provider) (*jetstream.Holding, error) {
	all, err := c.Holdings(ctx, p)
	if err != nil {
		return nil, err
	}
	return all[p], nil
}
