package provider

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/publisher"
)

// Rename gives what a provider knows of its event services to another name: where each source stands, which kind was chosen,
// which events it has seen, and what is paused, so that the new name begins where the old one ended. Events keep the name that they
// were stored under, and so do jobs, which are about those. The old name is paused until it is removed, and the new one until it has
// everything: what lies between the old position and where a name begins by itself would be missed.
//
// It is refused while anybody works for either name, while the old one has events that are not normalized or a backfill that is not
// done, and where the new one has events or positions of its own. When it was interrupted it is run again, also while the new name is
// configured: nobody collects under that.
func Rename(ctx context.Context, c *jetstream.Client, oldName, newName event.Provider, o Operator) error {
	from, err := now(ctx, c, oldName)
	if err != nil {
		return err
	}
	to, err := now(ctx, c, newName)
	if err != nil {
		return err
	}
	if err := Renameable(from, to); err != nil {
		return err
	}
	if err := idle(ctx, c, from); err != nil {
		return err
	}
	if !positioned(from) { // it was interrupted after all had been taken over
		return finish(ctx, c, from, newName, o)
	}
	if to.Choice.Taking() == "" {
		if err := idle(ctx, c, to); err != nil {
			return err
		}
	}
	until, err := handOver(ctx, c, oldName, newName, o)
	if err != nil {
		return err
	}
	// What is there now is all there will be.
	if from, err = now(ctx, c, oldName); err != nil {
		return err
	}
	if err := whole(from); err != nil {
		return err
	}
	if err := handOverNormalizing(ctx, c, from, newName, o); err != nil {
		return err
	}
	for _, s := range sources(from) {
		if s.Job() || forgotten(s, from.Sources[s]) {
			continue
		}
		if err := handOverCursor(ctx, c, from, newName, s, until, o); err != nil {
			return err
		}
	}
	return finish(ctx, c, from, newName, o)
}

// handOver gives the choice of source to the new name, where nobody collects by it yet, and takes it from the old one: both at once, or
// there would be a moment in which one of them could be put to work. Who would still collect under the old name is fenced, and who has
// that in his configuration by mistake collects nothing, or every event would come under both names. It returns a sequence in EVENTS_RAW
// behind all that was stored under the old name.
func handOver(ctx context.Context, c *jetstream.Client, from, to event.Provider, o Operator) (event.StreamSeq, error) {
	place := func(p event.Provider) publisher.Place {
		return publisher.Place{Record: event.ChoiceSubject(p), Commands: event.RawCommandsSubject(p, "")}
	}
	at, err := publisher.Both(ctx, c.Raw(), place(to), place(from), o.options(),
		func(next, was *event.Choice) (done, doneToo event.Command, err error) {
			if other := was.Renamed(); other != "" && other != to {
				return done, doneToo, interrupted(from, other) // by who was faster
			}
			if other := was.Taking(); other != "" {
				return done, doneToo, interrupted(other, from)
			}
			if other := next.Taking(); other != "" && other != from {
				return done, doneToo, interrupted(other, to)
			}
			why, since := event.RenamedTo(to), time.Now().UTC()
			if next.Taking() == from && was.Why == why && was.Paused != nil {
				return done, doneToo, publisher.ErrUnchanged // before it was interrupted
			}
			*next = event.Choice{
				Kind: cmp.Or(was.Kind, next.Kind), Why: event.RenamedFrom(from), At: since, By: o.By, Paused: &event.Pause{
					By: o.By, Why: undone(from, to), At: since, Taking: from, Own: cmp.Or(pauseOf(*was), pauseOf(*next)),
				},
			}
			*was = event.Choice{Why: why, At: since, By: o.By, Paused: &event.Pause{By: o.By, Why: why, At: since}}
			done = event.Command{Verb: event.VerbRename, Why: o.Why}
			return done, done, nil
		})
	if err = unless(err, publisher.ErrUnchanged); err != nil {
		return 0, fmt.Errorf("hand over the choice of source: %w", err)
	}
	return at, nil
}

// undone is why nobody collects under a name that has not taken over everything yet.
func undone(from, to event.Provider) string {
	return fmt.Sprintf("%s, and that is not done: `stackstream provider rename %s %s` goes on with it", event.RenamedFrom(from), from, to)
}

// pauseOf is the pause of a choice that an operator has made, and not a rename.
func pauseOf(c event.Choice) *event.Pause {
	switch {
	case c.Taking() != "":
		return c.Paused.Own
	case c.Left() != "":
		return nil
	}
	return c.Paused
}

// handOverNormalizing has nobody work under the new name what was paused under the old one.
func handOverNormalizing(ctx context.Context, c *jetstream.Client, from *jetstream.Holding, to event.Provider, o Operator) error {
	pause := from.Normalized.Paused
	if pause == nil {
		return nil
	}
	err := replaceNormalized(ctx, c, to, o, func(cursor *event.NormalizedCursor, _ bool) (event.Command, error) {
		if cursor.Paused != nil {
			return event.Command{}, publisher.ErrUnchanged
		}
		cursor.Paused = pause
		return event.Command{Verb: event.VerbRename}, nil
	})
	if err != nil {
		return err
	}
	return endNormalizedPause(ctx, c, from.Provider, o, event.VerbRename)
}

// handOverCursor gives a source's cursor to the new name, and empties the old one.
func handOverCursor(
	ctx context.Context, c *jetstream.Client, from *jetstream.Holding, to event.Provider, s event.Source, until event.StreamSeq, o Operator,
) error {
	was := from.Sources[s]
	err := replaceCursor(ctx, c, to, s, o, event.VerbRename, func(cursor *event.RawCursor, exists bool) error {
		if exists && took(*cursor, from.Provider) {
			return publisher.ErrUnchanged // before it was interrupted
		}
		*cursor = event.RawCursor{
			Progress: was.Progress, Position: cursor.Position, Received: cursor.Received, Paused: cmp.Or(was.Paused, cursor.Paused),
			Former: append(slices.Clone(was.Former), event.Former{Provider: from.Provider, Until: until}),
		}
		return nil
	})
	if err = unless(err, publisher.ErrUnchanged); err != nil {
		return err
	}
	return replaceCursor(ctx, c, from.Provider, s, o, event.VerbRename, func(cursor *event.RawCursor, _ bool) error {
		if cursor.Batch != was.Batch {
			return &Problem{
				fmt.Sprintf("%q has written the cursor of %s of %s meanwhile", cursor.Owner, s, from.Provider),
				"take " + string(from.Provider) + " out of the configuration there, and run this again",
			}
		}
		*cursor = empty(s, *cursor)
		return nil
	})
}

// finish lets the new name begin, which has everything now, unless an operator has paused it, and leaves the old one.
func finish(ctx context.Context, c *jetstream.Client, from *jetstream.Holding, to event.Provider, o Operator) error {
	_, err := publisher.Command(ctx, c.Raw(), event.ChoiceSubject(to), event.RawCommandsSubject(to, ""), o.options(),
		func(choice *event.Choice, _ bool) (event.Command, error) {
			if choice.Taking() != from.Provider {
				return event.Command{}, publisher.ErrUnchanged
			}
			choice.Paused = choice.Paused.Own
			return event.Command{Verb: event.VerbRename, Why: o.Why, Note: "everything is taken over"}, nil
		})
	if err = unless(err, publisher.ErrUnchanged); err != nil {
		return fmt.Errorf("let %s begin: %w", to, err)
	}
	return leave(ctx, c, from)
}

// leave drops what nobody needs when nobody works under a name.
func leave(ctx context.Context, c *jetstream.Client, h *jetstream.Holding) error {
	if err := c.DropConsumer(ctx, h.Provider); err != nil {
		return err
	}
	return c.DropOwners(ctx, h.Owners)
}

// Renamed tells whether a name has taken over all that a provider knew.
func Renamed(from *jetstream.Holding, to event.Provider) bool {
	return from.Choice.Renamed() == to && !positioned(from)
}

// renaming is the name that has begun to take over what a provider knows, and has not ended; "" if there is none.
func renaming(from *jetstream.Holding) event.Provider {
	if !positioned(from) {
		return ""
	}
	return from.Choice.Renamed()
}

// took tells whether a cursor is one that was taken over from a provider.
func took(c event.RawCursor, from event.Provider) bool {
	return len(c.Former) > 0 && c.Former[len(c.Former)-1].Provider == from
}

// Renameable is nil, or a *Problem that says why a provider can't be renamed now.
func Renameable(from, to *jetstream.Holding) error {
	if err := working(from); err != nil {
		return err
	}
	begun := to.Choice.Taking() == from.Provider
	if begun && !positioned(from) {
		return nil
	}
	if Renamed(from, to.Provider) {
		if from.Consumer || len(from.Owners) > 0 {
			return nil
		}
		return &Problem{
			fmt.Sprintf("%s was renamed to %s already, and stands nowhere", from.Provider, to.Provider),
			"put " + string(to.Provider) + " into the configuration",
		}
	}
	if other := from.Choice.Taking(); other != "" {
		return interrupted(other, from.Provider)
	}
	if other := to.Choice.Taking(); other != "" && !begun {
		return interrupted(other, to.Provider)
	}
	if err := working(to); err != nil && !begun {
		return err
	}
	if err := whole(from); err != nil {
		return err
	}
	if !positioned(from) {
		return &Problem{
			fmt.Sprintf("%s stands nowhere: there is nothing to take over", from.Provider),
			"just use the new name",
		}
	}
	other := renaming(from)
	if other != "" && other != to.Provider {
		return interrupted(from.Provider, other)
	}
	queues, err := Queues(from)
	if err != nil {
		return err
	}
	for _, q := range queues {
		return &Problem{
			fmt.Sprintf("%s consumes the queue %s, which has the name in it: what waits there can't be given to another name",
				from.Provider, q.Queue),
			fmt.Sprintf("configure %s beside %s, so that both get every notification; once %s is live take %s out, and remove what it "+
				"left (provider rm --clean). Nothing is missed, and what comes while both are there is collected under both names",
				to.Provider, from.Provider, to.Provider, from.Provider),
		}
	}
	if other != "" || begun {
		return nil // the name was free when this began; what has come since is known again behind the position that it gets
	}
	return free(to)
}

// interrupted is why a provider can't be renamed that is being renamed to another name.
func interrupted(from, to event.Provider) error {
	return &Problem{
		fmt.Sprintf("%s is being renamed to %s: that was interrupted", from, to),
		fmt.Sprintf("end it first (stackstream provider rename %s %s), and then rename %s", from, to, to),
	}
}

// whole is nil, or a *Problem: something was begun under a name and is not done, and nobody would do it under another.
func whole(from *jetstream.Holding) error {
	if n := from.Unnormalized(); n > 0 {
		return &Problem{
			fmt.Sprintf("%d raw events of %s are not normalized, and nobody would do it under the new name", n, from.Provider),
			"put it back into the normalizer's configuration until `stackstream watermark` shows no lag",
		}
	}
	for _, s := range sources(from) {
		if job := s.Backfill(); job != "" && !from.Sources[s].Retired {
			return &Problem{
				fmt.Sprintf("backfill %s of %s is not done, and can't go on under another name", job, from.Provider),
				fmt.Sprintf("let it end with %s in the configuration (stackstream backfill -c FILE --provider %s --job %s), or give it "+
					"up: stackstream backfill rm %s --provider %s", from.Provider, from.Provider, job, job, from.Provider),
			}
		}
	}
	return nil
}

// free is nil, or a *Problem: a name has something of its own.
func free(to *jetstream.Holding) error {
	if to.Events() > 0 {
		return &Problem{
			fmt.Sprintf("%s has %d raw events of its own", to.Provider, to.Events()),
			"take a name that was not used, or remove that one first: stackstream provider rm --clean --purge-events",
		}
	}
	for _, s := range sources(to) {
		if cursor := to.Sources[s]; !s.Job() && !forgotten(s, cursor) {
			return &Problem{
				fmt.Sprintf("%s has a position of its own in %s", to.Provider, s),
				"take a name that was not used, or remove that one first: stackstream provider rm --clean",
			}
		}
	}
	return nil
}
