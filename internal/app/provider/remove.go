package provider

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/publisher"
)

// Removal is what is to be removed of a provider that nobody works for any more.
type Removal struct {
	Operator
	// Purge also removes the events in EVENTS_RAW and EVENTS_NORMALIZED. Those that are not normalized are lost.
	Purge bool
	// Remembers says how many of its last events a source knows again whatever their time, negative where that is not known, as for
	// all without it.
	Remembers func(event.Provider, event.Source) int
}

// Remove removes what a provider left. It is refused while anybody works for it; when it was interrupted, it is run again.
//
// As long as the streams hold events of the provider, its cursors stay, with the pauses that they have: added again it goes on from
// them, so that nothing is missed that the service still shows, and nothing comes twice. When there are none, because they were
// purged or have expired, the cursors are emptied but for their numbers. What a service then shows to a provider of that name is
// collected, whether it was before or not: nothing remembers it.
func Remove(ctx context.Context, c *jetstream.Client, p event.Provider, r Removal) error {
	h, err := now(ctx, c, p)
	if err != nil {
		return err
	}
	if err := Removable(h); err != nil {
		return err
	}
	if err := idle(ctx, c, h); err != nil {
		return err
	}
	if r.Purge {
		if err := Forgettable(ctx, c, h, r.Remembers); err != nil {
			return err
		}
	}
	empties, err := Empties(ctx, c, h)
	switch {
	case err != nil:
	case r.Purge || empties:
		err = forget(ctx, c, h, r)
	case Keeps(h):
		err = giveUp(ctx, c, p, r.Operator)
	default:
		err = release(ctx, c, h, r.Operator)
	}
	if err != nil {
		return err
	}
	return leave(ctx, c, h)
}

// remembers tells whether there are events that the provider collected under a name that it had, and that its sources may show again.
// It returns a *Problem where the provider has not taken over all that the other name knew.
func remembers(ctx context.Context, c *jetstream.Client, h *jetstream.Holding) (events bool, err error) {
	for _, s := range sources(h) {
		for _, f := range event.StillFormer(h.Sources[s].Former, h.Sources[s].DedupeFrom) {
			old, err := now(ctx, c, f.Provider)
			if err != nil {
				return false, err
			}
			if renaming(old) == h.Provider {
				return false, interrupted(f.Provider, h.Provider)
			}
			again, err := mayShow(ctx, c, h.Sources[s], f)
			if err != nil {
				return false, err
			}
			events = events || again
		}
	}
	return events, nil
}

// mayShow tells whether there are events under a former name of a provider that the source with the cursor may show again. That they
// are there is all by which they are known.
func mayShow(ctx context.Context, c *jetstream.Client, cursor event.RawCursor, f event.Former) (bool, error) {
	return c.HasRaw(ctx, f.Provider, cursor.DedupeFrom, f.Until)
}

// Forgettable is nil, or a *Problem: events of the provider can't be purged, because another one, which had this name, may be shown
// them again and would collect them once more. remembers is as in Removal.
func Forgettable(
	ctx context.Context, c *jetstream.Client, h *jetstream.Holding, remembers func(event.Provider, event.Source) int,
) error {
	if h.Events() == 0 {
		return nil
	}
	all, err := c.Holdings(ctx, "")
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		other := all[name]
		for _, s := range sources(other) {
			for _, f := range event.StillFormer(other.Sources[s].Former, other.Sources[s].DedupeFrom) {
				if f.Provider != h.Provider {
					continue
				}
				again, err := mayShow(ctx, c, other.Sources[s], f)
				if err != nil {
					return err
				}
				if again {
					known := -1
					if remembers != nil {
						known = remembers(other.Provider, s)
					}
					return remembered(ctx, c, h, other, s, known)
				}
			}
		}
	}
	return nil
}

// remembered is why events are not purged that a source of another provider may show again, and when they may be.
func remembered(ctx context.Context, c *jetstream.Client, h, other *jetstream.Holding, s event.Source, known int) error {
	var subjects []string
	for s := range h.Raw {
		subjects = append(subjects, event.RawSubject(h.Provider, s))
	}
	gone, err := c.Expiry(ctx, event.StreamRaw, subjects...)
	if err != nil {
		return err
	}
	wayOut := "run this again when it " + enough(other, s, known)
	switch {
	case other.Choice.Removed != nil:
		wayOut = fmt.Sprintf("%s was removed: remove its events and positions first (stackstream provider rm %s --clean --purge-events)",
			other.Provider, other.Provider)
	case other.Sources[s].Retired || other.Choice.Kind != "" && !s.Of(other.Choice.Kind):
		wayOut = "that source does not collect now, and forgets nothing before it does"
	case other.Choice.Paused != nil || other.Sources[s].Paused != nil:
		wayOut = fmt.Sprintf("it is paused: resume it (stackstream resume --provider %s), and ", other.Provider) + wayOut
	case len(other.AtWork(time.Now())) == 0:
		wayOut = fmt.Sprintf("nobody works for %s: put it into the configuration, and ", other.Provider) + wayOut
	}
	if !gone.IsZero() {
		wayOut += fmt.Sprintf("; or wait, nothing has to be purged: the last event of %s expires at %s, and from then on --clean removes "+
			"what is left", h.Provider, gone.UTC().Format(time.RFC3339))
	}
	return &Problem{
		fmt.Sprintf("%s had the name %s, and its source %s may still show events that are stored under it: they would be collected again",
			other.Provider, h.Provider, s),
		wayOut,
	}
}

// enough is what has to become of a source that it needs no events of a former name any more. known is how many of its last events it
// knows again whatever their time.
func enough(h *jetstream.Holding, s event.Source, known int) string {
	own := h.Raw[s]
	switch {
	case known < 0:
		return fmt.Sprintf("has collected so many events of its own as it remembers whatever their time, and none that is asked by time "+
			"looks back as far as to the old ones: EVENTS_RAW has %d of its own; how many it remembers is its setting remember, 100000 "+
			"by default for http, amqp and amqp1 (-c FILE, which has %s, tells how many are missing)", own, h.Provider)
	case uint64(known) > own:
		return fmt.Sprintf("has collected about %d events more: it remembers the last %d whatever their time (its setting remember), and "+
			"EVENTS_RAW has %d of its own", uint64(known)-own, known, own)
	}
	return "has collected more of its own, so that its overlap does not look back that far"
}

// Removable is nil, or a *Problem: somebody works for the provider, or it is one of the names of a rename that is not done.
func Removable(h *jetstream.Holding) error {
	if from := h.Choice.Taking(); from != "" {
		return Unfinished(from, h.Provider)
	}
	if to := renaming(h); to != "" {
		return Unfinished(h.Provider, to)
	}
	return working(h)
}

// Unfinished is why nothing else is done to the names of a rename that is not done.
func Unfinished(from, to event.Provider) error {
	return &Problem{
		fmt.Sprintf("the rename of %s to %s is not done", from, to),
		fmt.Sprintf("end it first: stackstream provider rename %s %s", from, to),
	}
}

// Resumable is nil, or a *Problem: collecting is paused by a rename. Before it is done nobody works under either name. Afterwards
// nobody does under the old one, of which nothing is left that says what was collected.
func Resumable(p event.Provider, c event.Choice) error {
	if from := c.Taking(); from != "" {
		return Unfinished(from, p)
	}
	to := c.Left()
	if to == "" {
		return nil
	}
	return &Problem{
		fmt.Sprintf("%s was renamed to %s, which goes on where it ended: resumed, all that its service still shows would be collected "+
			"once more, as events of %s", p, to, p),
		fmt.Sprintf("take %s out of the configuration; if the name is to be used for another service, free it then: stackstream provider "+
			"rm %s --clean", p, p),
	}
}

// Keeps tells whether positions and pauses stay as long as there are events: one that was renamed has none to keep, and its name
// is to be free.
func Keeps(h *jetstream.Holding) bool { return h.Choice.Kind != "" || positioned(h) }

// Empties tells whether the cursors of a provider are emptied though nothing is purged: the streams have no events of it, nor any that
// it collected under another name and might be shown again. It returns a *Problem where it has not taken over all from that name.
func Empties(ctx context.Context, c *jetstream.Client, h *jetstream.Holding) (bool, error) {
	former, err := remembers(ctx, c, h)
	return err == nil && !former && h.Events() == 0 && h.Canonical == 0, err
}

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
	err = replaceNormalized(ctx, c, p, r.Operator, func(cursor *event.NormalizedCursor, exists bool) (event.Command, error) {
		if !exists && len(h.Sources) == 0 {
			return event.Command{}, publisher.ErrUnchanged
		}
		note := ""
		if lost := pass(cursor, h, choice.Sequence); lost > 0 {
			note = fmt.Sprintf("%d raw events are lost: they were not normalized", lost)
		}
		cursor.Paused = nil
		return event.Command{Verb: event.VerbRemove, Note: note}, nil
	})
	if err != nil {
		return err
	}
	for _, s := range sources(h) {
		err := replaceCursor(ctx, c, p, s, r.Operator, event.VerbRemove, func(cursor *event.RawCursor, _ bool) error {
			*cursor = empty(s, *cursor)
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
	return replaceChoice(ctx, c, p, o, event.VerbRemove, func(choice *event.Choice) error {
		if from := choice.Taking(); from != "" {
			return Unfinished(from, p) // which has begun since
		}
		*choice = event.Choice{Why: "removed", Removed: o.removed()}
		return nil
	})
}

func (o Operator) removed() *event.Removed { return &event.Removed{By: o.By, At: time.Now().UTC()} }

// giveUp says in the choice, which stays, that the provider is removed, so that nobody takes it for one that has stalled.
func giveUp(ctx context.Context, c *jetstream.Client, p event.Provider, o Operator) error {
	_, err := publisher.Command(ctx, c.Raw(), event.ChoiceSubject(p), event.RawCommandsSubject(p, ""), o.options(),
		func(choice *event.Choice, _ bool) (event.Command, error) {
			if from := choice.Taking(); from != "" {
				return event.Command{}, Unfinished(from, p) // which has begun since
			}
			choice.Removed = o.removed()
			return event.Command{Verb: event.VerbRemove, Why: o.Why}, nil
		})
	if err != nil {
		return fmt.Errorf("mark it as removed: %w", err)
	}
	return nil
}

// release ends the pauses of a name that nothing stands under, so that it is free.
func release(ctx context.Context, c *jetstream.Client, h *jetstream.Holding, o Operator) error {
	if h.Choice.Removed == nil || h.Choice.Paused != nil {
		if _, err := unchoose(ctx, c, h.Provider, o); err != nil {
			return err
		}
	}
	for _, s := range sources(h) {
		if h.Sources[s].Paused == nil {
			continue
		}
		err := replaceCursor(ctx, c, h.Provider, s, o, event.VerbRemove, func(cursor *event.RawCursor, _ bool) error {
			cursor.Paused = nil
			return nil
		})
		if err != nil {
			return err
		}
	}
	if h.Normalized.Paused == nil {
		return nil
	}
	return endNormalizedPause(ctx, c, h.Provider, o, event.VerbRemove)
}

// endNormalizedPause has nothing to do where there is none.
func endNormalizedPause(ctx context.Context, c *jetstream.Client, p event.Provider, o Operator, verb string) error {
	return replaceNormalized(ctx, c, p, o, func(cursor *event.NormalizedCursor, _ bool) (event.Command, error) {
		if cursor.Paused == nil {
			return event.Command{}, publisher.ErrUnchanged
		}
		cursor.Paused = nil
		return event.Command{Verb: verb}, nil
	})
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
