package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stackstream/event"
	"stackstream/internal/app"
)

// settingCursor is what the command wants.
type settingCursor struct {
	operator
	source, cursor string
	at             sinceValue
}

func (p Program) setCommand() *cobra.Command {
	w := settingCursor{operator: operator{p: p}, at: sinceValue{now: time.Now}}
	cmd := &cobra.Command{
		Use:   "set --provider PROVIDER --source SOURCE --cursor VALUE --why TEXT",
		Short: "Set a source's own cursor, or its watermark",
		Long: `set puts a source where it is told, for what rewind can't do: a cursor that is a token or a number, or
one that the service no longer takes. With -c FILE the cursor may be the value alone (a time, a number, a
token). Without -c it must be the whole cursor as JSON, as "watermark log --json" and the record
events.cursor.raw.PROVIDER.SOURCE show it. Either way the kind of source reads it first: what it does
not know, or what is of another type than what is there, is refused, and named.

What lies between the old cursor and the new one is skipped, or read again. What is read again is known
again as far as EVENTS_RAW still has it: all its identities of the provider are read back, 40 bytes of
memory each; a source that remembers a number of events only (remember) still knows no more than twice
as many new ones pass. Both are for you to judge: the command shows both cursors and asks. It refuses
while a backfill of the provider is not done: let it end, or remove it ("backfill rm").

--time sets only the watermark, up to which the source claims to be complete. Nothing is read for it, and it
holds until the source claims more itself, which one that is at work does within seconds: it knows nothing
of what it may lack. It says so before it asks. To have it stand, pause the collecting first ("pause
--collectors"); to have what is missing read again, "rewind" the source or "backfill" the time.

Collectors need not be stopped: who is at work for the provider is fenced, and the source goes on from the
new cursor. The command has to come between two writes of the source; where that writes without pause it
goes on trying, and says so: "pause --collectors" before and "resume" after it help. A backfill that begins
at the same moment is fenced, too, and looks again whether it may go on. Interrupted before it says "done"
it has done all or nothing. Every change is on record, with the old cursor: see "watermark log".`,
		Example: `  stackstream watermark set -c stackstream.yaml --provider shop --source http \
      --cursor 120345 --why "the service counts anew"
  stackstream watermark set --provider shop --source http \
      --cursor '{"parts":{"":{"token":"abc","began":true}}}' --why "as before"
  stackstream watermark set --provider prod --source panko \
      --time 2026-01-31T12:00:00Z --why "known to lack events since"`,
		Args: noArgs,
	}
	cmd.RunE = w.explained(func(ctx context.Context) error { return w.run(ctx, cmd.Flags().Changed("time")) })
	w.add(cmd, "set a source of")
	w.asks(cmd)
	cmd.Flags().StringVar(&w.source, "source", "", "the `SOURCE` to set")
	cmd.Flags().StringVar(&w.cursor, "cursor", "", "its new cursor: JSON, or with -c a `VALUE`")
	cmd.Flags().Var(&w.at, "time", "in place of --cursor: set only the watermark, to this `TIME` (RFC 3339), or to so long ago (2h)")
	_ = cmd.MarkFlagRequired("source")
	cmd.MarkFlagsMutuallyExclusive("cursor", "time")
	cmd.MarkFlagsOneRequired("cursor", "time")
	return cmd
}

func (w *settingCursor) run(ctx context.Context, claim bool) error {
	r, err := w.records(ctx)
	if err != nil {
		return err
	}
	s, err := w.sourceFlag(w.source, r)
	if err != nil {
		return err
	}
	if claim {
		return w.claim(ctx, s, r)
	}
	cursor, err := w.parse(s, r.Raw[s].Cursor)
	if err != nil {
		return err
	}
	if err := w.notBeside(ctx, time.Time{}); err != nil {
		return err
	}
	was := "none"
	if old := r.Raw[s].Cursor; old != nil {
		was = string(old)
	}
	if err := w.say("%s of %s stands at event %d, by this cursor:", s, w.name, r.Raw[s].Position); err != nil {
		return err
	}
	for _, line := range []string{"  was: " + was, "  new: " + string(cursor)} {
		if err := w.say("%s", line); err != nil {
			return err
		}
	}
	if err := w.p.agree(ctx, fmt.Sprintf("Set the cursor of %s of %s?", s, w.name), w.yes); err != nil {
		return err
	}
	if err := w.notBeside(ctx, time.Time{}); err != nil { // one that has begun meanwhile
		return err
	}
	done, err := w.setBack(ctx, s, func(c *event.RawCursor, _ bool) (event.Command, error) {
		c.Cursor, c.Retired = cursor, false
		// Where it reads is not known by time: everything is to be known again, and nothing was promised.
		c.Floor, c.DedupeFrom = time.Time{}, 0
		return event.Command{Verb: event.VerbSet, Why: w.why, Note: "the source goes on from another cursor"}, nil
	})
	if err != nil {
		return err
	}
	return w.say("done: %s of %s goes on from there, behind event %d", s, w.name, done.Position)
}

// parse reads the new cursor; old is the one there is.
func (w *settingCursor) parse(s event.Source, old event.Cursor) (event.Cursor, error) {
	if w.cfg == nil {
		text := strings.TrimSpace(w.cursor)
		if !strings.HasPrefix(text, "{") {
			return nil, usagef("--cursor: without -c it must be the whole cursor, a JSON object; with -c FILE it may be its value")
		}
		cursor, err := app.WholeCursor(s, old, text)
		if err != nil {
			return nil, usagef("--cursor: %w", err)
		}
		return cursor, nil
	}
	shard, ok := app.SourceOf(w.cfg, w.name, s)
	if !ok || shard.Manual.Set == nil {
		return nil, usagef("%s has no source %s for %s whose cursor can be set", w.nats.file, s, w.name)
	}
	cursor, err := shard.Manual.Set(old, w.cursor, time.Now())
	if err != nil {
		return nil, usagef("--cursor: %w", err)
	}
	return cursor, nil
}

// claim sets the watermark alone.
func (w *settingCursor) claim(ctx context.Context, s event.Source, r event.Records) error {
	was := "none"
	if at := r.Raw[s].Watermark; !at.IsZero() {
		was = stamp(at)
	}
	if now := time.Now(); w.at.at.After(now) {
		return usagef("--time %s has not come yet", stamp(w.at.at))
	}
	if err := w.say("%s of %s claims to be complete up to %s; it will claim %s.", s, w.name, was, stamp(w.at.at)); err != nil {
		return err
	}
	until := holdsUntil(s, r)
	if err := w.say("That holds until %s.", until); err != nil {
		return err
	}
	if err := w.p.agree(ctx, fmt.Sprintf("Set the watermark of %s of %s?", s, w.name), w.yes); err != nil {
		return err
	}
	_, err := w.raw(ctx, s, func(c *event.RawCursor, _ bool) (event.Command, error) {
		c.Claim(w.at.at.UTC(), r.Normalized.Sources[s].Position)
		return event.Command{Verb: event.VerbSet, Why: w.why, Note: "the watermark alone"}, nil
	})
	if err != nil {
		return err
	}
	return w.say("done: the watermark of %s of %s is %s, until %s", s, w.name, stamp(w.at.at), until)
}

// holdsUntil says for how long a watermark stands that was set by hand.
func holdsUntil(s event.Source, r event.Records) string {
	switch kind := r.Choice.Kind; {
	case r.Raw[s].Retired:
		return "the source collects again, which has ended"
	case s.Job():
		return "the job claims more itself"
	case kind != "" && !s.Of(kind):
		return fmt.Sprintf("the source is chosen again (%s was) and claims more itself", kind)
	case r.Choice.Paused != nil || r.Raw[s].Paused != nil:
		return "collecting is resumed and the source claims more itself"
	default:
		return "the source claims more itself, within seconds if it is at work: it is not paused"
	}
}
