package provider

import (
	"context"
	"fmt"
	"slices"
	"time"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/publisher"
)

// Rename gives what a provider knows of its event services to another name: where each source stands, which kind was chosen, and
// which events it has seen, so that the new name begins where the old one ended. Events keep the name that they were stored under.
// The old name is paused until it is removed.
//
// It is refused while anybody works for either name, while the old one has events that are not normalized, and where the new one
// has events or positions of its own. When it was interrupted it is run again.
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
	if Renamed(from, newName) {
		return leave(ctx, c, from) // it was interrupted after all had been taken over
	}
	if err := idle(ctx, c, to); err != nil {
		return err
	}
	why := renamedTo(newName)
	if kind := from.Choice.Kind; kind != "" {
		_, err := replaceChoice(ctx, c, newName, o, verbRename, func(choice *event.Choice) error {
			*choice = event.Choice{Kind: kind, Why: "renamed from " + string(oldName), Paused: from.Choice.Paused}
			return nil
		})
		if err != nil {
			return err
		}
	}
	// Whoever would still collect under the old name is fenced from here on: what is copied is all there will be. And whoever has
	// it in his configuration by mistake collects nothing, or every event would come under both names.
	fence := from.Choice
	if fence.Why != why {
		fence, err = replaceChoice(ctx, c, oldName, o, verbRename, func(choice *event.Choice) error {
			*choice = event.Choice{Why: why, Paused: &event.Pause{By: o.By, Why: why, At: time.Now().UTC()}}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if from, err = now(ctx, c, oldName); err != nil {
		return err
	}
	for _, s := range sources(from) {
		was := from.Sources[s]
		if emptied(was) {
			continue
		}
		err := replaceCursor(ctx, c, newName, s, o, verbRename, func(cursor *event.RawCursor, exists bool) error {
			if exists && took(*cursor, oldName) {
				return publisher.ErrUnchanged // before it was interrupted
			}
			*cursor = event.RawCursor{
				Progress: was.Progress, Position: cursor.Position, Received: cursor.Received, Paused: was.Paused,
				Former: append(slices.Clone(was.Former), event.Former{Provider: oldName, Until: fence.Sequence}),
			}
			return nil
		})
		if err = unless(err, publisher.ErrUnchanged); err != nil {
			return err
		}
		err = replaceCursor(ctx, c, oldName, s, o, verbRename, func(cursor *event.RawCursor, _ bool) error {
			*cursor = empty(*cursor)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return leave(ctx, c, from)
}

// leave drops what nobody needs who works under the new name.
func leave(ctx context.Context, c *jetstream.Client, from *jetstream.Holding) error {
	if err := c.DropConsumer(ctx, from.Provider); err != nil {
		return err
	}
	return c.DropOwners(ctx, from.Owners)
}

func renamedTo(p event.Provider) string { return "renamed to " + string(p) }

// Renamed tells whether a name has taken over all that a provider knew.
func Renamed(from *jetstream.Holding, to event.Provider) bool {
	return from.Choice.Why == renamedTo(to) && !positioned(from)
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
	if Renamed(from, to.Provider) {
		if from.Consumer || len(from.Owners) > 0 {
			return nil
		}
		return &Problem{
			fmt.Sprintf("%s was renamed to %s already, and stands nowhere", from.Provider, to.Provider),
			"put " + string(to.Provider) + " into the configuration",
		}
	}
	if err := working(to); err != nil {
		return err
	}
	again := from.Choice.Why == renamedTo(to.Provider)
	if n := from.Unnormalized(); n > 0 {
		return &Problem{
			fmt.Sprintf("%d raw events of %s are not normalized, and nobody would do it under the new name", n, from.Provider),
			"put it back into the normalizer's configuration until `stackstream watermark` shows no lag",
		}
	}
	if !positioned(from) {
		return &Problem{
			fmt.Sprintf("%s stands nowhere: there is nothing to take over", from.Provider),
			"just use the new name",
		}
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
	if to.Events() > 0 {
		return &Problem{
			fmt.Sprintf("%s has %d raw events of its own", to.Provider, to.Events()),
			"take a name that was not used, or remove that one first: stackstream provider rm --clean --purge-events",
		}
	}
	for s, cursor := range to.Sources {
		if !emptied(cursor) && (!again || !took(cursor, from.Provider)) {
			return &Problem{
				fmt.Sprintf("%s has a position of its own in %s", to.Provider, s),
				"take a name that was not used, or remove that one first: stackstream provider rm --clean",
			}
		}
	}
	return nil
}
