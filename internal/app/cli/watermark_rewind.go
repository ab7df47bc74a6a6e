package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/internal/app"
	"stackstream/jetstream"
)

// rewinding is what the command wants.
type rewinding struct {
	operator
	source     string
	to         sinceValue
	back       durationValue
	duplicates bool
}

func (p Program) rewindCommand() *cobra.Command {
	w := rewinding{operator: operator{p: p}, to: sinceValue{now: time.Now}}
	cmd := &cobra.Command{
		Use:                   "rewind -c FILE --provider PROVIDER --source SOURCE --to TIME --why TEXT",
		DisableFlagsInUseLine: true, // there is no room
		Short:                 "Have a polled source read again from an earlier time",
		Long: `rewind moves the cursor of a source that is polled by time (panko, ceilometer, http with cursor.type:
time) back, so that it reads again from there. What EVENTS_RAW has already is known again and left out;
what it lacks is added behind what is there, under the next numbers, and normalized. So it repairs what
showed too late, or was missed because a service was wrong for a while.

Before it writes it says from when to when is read again and how many events EVENTS_RAW has of that,
and asks. It refuses where EVENTS_RAW no longer has all that the service could show again, unless
--allow-duplicates: then these events come twice. It refuses while a backfill of the provider is not
done that may add what would be read again: let it end, or remove it ("backfill rm").

Collectors need not be stopped: who is at work for the provider is fenced, and the source reads the new
cursor and begins anew within seconds. The command has to come between two writes of the source; where that
writes without pause it goes on trying, and says so: "pause --collectors" before and "resume" after it help.
A backfill that begins at the same moment is fenced, too, and looks again whether it may go on. Until the
range is read the watermark stands at the time. The numbers of events, EVENTS_RAW and EVENTS_NORMALIZED are
not touched. Interrupted before it says "done" it has done all or nothing.

A source whose cursor is a token or a number can't be rewound to a time: see "watermark set". Nor can
amqp: a queue is no log.`,
		Example: `  stackstream watermark rewind -c stackstream.yaml --provider prod --source panko \
      --to 2026-01-31T12:00:00Z --why "panko was down, INC-12"
  stackstream watermark rewind -c stackstream.yaml --provider prod --source panko \
      --back 2h --why "late events" --yes`,
		Args: noArgs,
	}
	cmd.RunE = w.explained(func(ctx context.Context) error { return w.run(ctx, cmd.Flags().Changed("to")) })
	w.add(cmd, "rewind a source of")
	w.asks(cmd)
	cmd.Flags().StringVar(&w.source, "source", "", "the `SOURCE` to rewind")
	cmd.Flags().Var(&w.to, "to", "read again from this `TIME` (RFC 3339) on, or from so long ago (2h, 7d)")
	cmd.Flags().Var(&w.back, "back", "in place of --to: read again from this `DURATION` before its watermark on")
	cmd.Flags().BoolVar(&w.duplicates, "allow-duplicates", false, "also where events may come twice")
	_ = cmd.MarkFlagRequired("source")
	cmd.MarkFlagsMutuallyExclusive("to", "back")
	cmd.MarkFlagsOneRequired("to", "back")
	return cmd
}

// run rewinds the source. byTime tells whether a time was given.
func (w *rewinding) run(ctx context.Context, byTime bool) error {
	if w.cfg == nil {
		return usagef("-c FILE is missing: what a cursor means stands in the configuration of the source")
	}
	r, err := w.records(ctx)
	if err != nil {
		return err
	}
	s, err := w.sourceFlag(w.source, r)
	if err != nil {
		return err
	}
	shard, ok := app.SourceOf(w.cfg, w.name, s)
	if !ok {
		return usagef("%s has no source %s for %s", w.nats.file, s, w.name)
	}
	if shard.Manual.Rewind == nil {
		return usagef("--source %s can't be rewound", s)
	}
	cursor := r.Raw[s]
	to := w.to.at
	if !byTime {
		if cursor.Watermark.IsZero() {
			return usagef("--back: %s has no watermark to count from; give --to", s)
		}
		to = cursor.Watermark.Add(-time.Duration(w.back))
	}
	if to.After(time.Now()) {
		return usagef("--to %s has not come yet: a source is taken back", stamp(to))
	}
	if _, to, err = shard.Manual.Rewind(cursor.Cursor, to, time.Now()); err != nil {
		return fmt.Errorf("%s of %s: %w", s, w.name, err)
	}
	if err := w.notBeside(ctx, to); err != nil {
		return err
	}
	recall, err := w.client.Recall(ctx, w.name, s, to)
	if err != nil {
		return err
	}
	if kind := r.Choice.Kind; kind != "" && !s.Of(kind) {
		err := w.say("Nobody reads %s now: %s was chosen for %s. It reads again from there when it is chosen.", s, kind, w.name)
		if err != nil {
			return err
		}
	}
	if err := w.explain(s, cursor, to, recall, shard); err != nil {
		return err
	}
	if err := w.p.agree(ctx, fmt.Sprintf("Rewind %s of %s to %s?", s, w.name, stamp(to)), w.yes); err != nil {
		return err
	}
	if err := w.notBeside(ctx, to); err != nil { // one that has begun meanwhile
		return err
	}
	done, err := w.setBack(ctx, s, func(c *event.RawCursor, _ bool) (event.Command, error) {
		return w.change(c, to, recall, r.Normalized.Sources[s].Position, shard)
	})
	if err != nil {
		return err
	}
	return w.say("done: %s of %s reads again from %s on; it stands at event %d", s, w.name, stamp(to), done.Position)
}

// change is what becomes of the cursor.
func (w *rewinding) change(
	c *event.RawCursor, to time.Time, recall jetstream.Recall, normalized event.Seq, shard collectors.Shard,
) (event.Command, error) {
	rewound, to, err := shard.Manual.Rewind(c.Cursor, to, time.Now())
	if err != nil {
		return event.Command{}, err
	}
	note := "read again from " + stamp(to)
	if !c.Watermark.IsZero() {
		note += " to " + stamp(c.Watermark)
	}
	c.Cursor, c.Retired = rewound, false
	c.Rewind(to, recall.From, normalized)
	return event.Command{Verb: event.VerbRewind, Why: w.why, Note: note}, nil
}

// explain says what will happen, and refuses what would make events come twice.
func (w *rewinding) explain(s event.Source, c event.RawCursor, to time.Time, recall jetstream.Recall, shard collectors.Shard) error {
	upTo := ""
	if !c.Watermark.IsZero() {
		upTo = ", complete up to " + stamp(c.Watermark)
	}
	if err := w.say("%s of %s stands at event %d%s. It will read again from %s on.", s, w.name, c.Position, upTo, stamp(to)); err != nil {
		return err
	}
	if err := w.say("EVENTS_RAW has %d of its events from there on, which will be left out. What it lacks is added behind event %d.",
		recall.Events, c.Position); err != nil {
		return err
	}
	var twice []string
	if since := recall.Since(time.Now()); to.Before(since) {
		twice = append(twice, fmt.Sprintf("EVENTS_RAW keeps events for %s and has, or soon will have, only those that came after %s: "+
			"what is older and not before %s would come twice (%d events are gone)", recall.Keeps, stamp(since), stamp(to), recall.Gone))
	}
	if known := max(shard.Spec.Repeats, leastKnown); recall.Deep > uint64(known) {
		twice = append(twice, fmt.Sprintf("%d events in EVENTS_RAW have no time, the first of them %d events back, and only of the last "+
			"%d is known for certain that they were there", recall.Timeless, recall.Deep, known))
	}
	if len(twice) == 0 {
		return w.say("Nothing comes twice.")
	}
	what := strings.Join(twice, "; ")
	if !w.duplicates {
		return fmt.Errorf("nothing was changed: %s; --allow-duplicates does it all the same", what)
	}
	return w.say("Events may come twice: %s.", what)
}

// leastKnown is how many of the last events are known again whatever their time, of any source.
const leastKnown = 1000
