package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"stackstream/event"
	"stackstream/jetstream"
)

// accepting is what the command wants.
type accepting struct {
	operator
	duplicates bool
}

func (p Program) acceptGapCommand() *cobra.Command {
	a := accepting{operator: operator{p: p}}
	cmd := &cobra.Command{
		Use:   "accept-gap --provider PROVIDER --why TEXT",
		Short: "Let a normalizer go on that has stopped because raw events are gone",
		Long: `accept-gap is for a normalizer that has stopped and says why, in "stackstream watermark" and /readyz:

raw-expired: EVENTS_RAW has dropped events before they were normalized. They are lost here. The command
moves the normalizer's cursor over what is gone, and over what EVENTS_RAW is about to drop: without that
the next events would be gone before the normalizer gets to them. It records which events these were,
with when they were received. What a service still has of them is collected again with "stackstream
backfill" afterwards: that adds all that was given up, also what EVENTS_RAW still has for a moment, and it
refuses before. A backfill that is at work meanwhile reads its range once more.

raw-regressed: EVENTS_RAW was made anew, was restored from a backup, or has lost its end. The command
takes it over as it is: what has the number of an event that was normalized and was received before the
last of them is what was there before; all else is normalized. Events that were normalized and that
EVENTS_RAW no longer has may come again under other numbers if their service shows them again, and
nobody knows them then: where that can be it refuses without --allow-duplicates.

It says what it will do and asks. If more is lost than it has shown by the time of the answer, or
EVENTS_RAW has become another one, it shows that and asks anew. It refuses where there is no gap. EVENTS_RAW and what is in
EVENTS_NORMALIZED are not touched; the numbers of NORMALIZED go on without a hole, so that subscribers
see no gap. The normalizer goes on by itself within seconds. Interrupted before it says "done" it has
done all or nothing.`,
		Example: `  stackstream watermark accept-gap --provider prod --why "the normalizer was down for ten days"
  stackstream watermark accept-gap --provider prod --why "restored from a backup" \
      --allow-duplicates --yes
  stackstream watermark log --provider prod --json | jq '.[].gaps'`,
		Args: noArgs,
		RunE: a.explained(a.run),
	}
	a.add(cmd, "let the normalizer go on for")
	a.asks(cmd)
	cmd.Flags().BoolVar(&a.duplicates, "allow-duplicates", false, "also where events may come twice")
	return cmd
}

// errWentOn says that what was found no longer holds.
var errWentOn = errors.New("nothing was changed: the normalizer has written meanwhile; look again with `stackstream watermark`")

func (a *accepting) run(ctx context.Context) error {
	m, err := a.agreed(ctx)
	if err != nil {
		return err
	}
	done, err := a.normalized(ctx, func(c *event.NormalizedCursor, exists bool) (event.Command, error) {
		if !exists || c.Batch != m.Cursor.Batch {
			return event.Command{}, errWentOn
		}
		c.RawSeq, c.RawCreated, c.Sources = m.Cursor.RawSeq, m.Cursor.RawCreated, m.Cursor.Sources
		return event.Command{Verb: event.VerbAcceptGap, Why: a.why, Note: note(m), Gaps: m.Gaps}, nil
	})
	if err != nil {
		return err
	}
	if done.Paused != nil {
		return a.say("done: the normalizer of %s can go on; it is paused, %s (see `stackstream resume`)", a.name, because(done.Paused))
	}
	return a.say("done: the normalizer of %s goes on within seconds", a.name)
}

// agreed is what was shown and agreed to. What has become of it while the question stood is shown anew.
func (a *accepting) agreed(ctx context.Context) (jetstream.Mend, error) {
	m, err := a.look(ctx)
	for err == nil {
		if err = a.explain(m); err != nil {
			break
		}
		asked := time.Now()
		if err = a.p.agree(ctx, fmt.Sprintf("Let the normalizer of %s go on?", a.name), a.yes); err != nil || a.yes {
			break
		}
		stood := time.Since(asked)
		now, failed := a.client.Mend(ctx, a.name)
		if failed != nil {
			return m, failed
		}
		if holds(m, now, stood) {
			break
		}
		if err = a.say("\nIt is another loss than %s ago, and nothing was changed yet.", stood.Round(time.Second)); err == nil {
			m, err = a.look(ctx)
		}
	}
	return m, err
}

func (a *accepting) look(ctx context.Context) (jetstream.Mend, error) {
	m, err := a.client.Mend(ctx, a.name)
	if err != nil || event.KindOf(m.Found) != event.Regressed || !m.Replicated {
		return m, err
	}
	if err := a.believe(ctx); err != nil {
		return m, err
	}
	return a.client.Mend(ctx, a.name)
}

// holds tells whether what was shown can still be done, though the question stood for a while, and now is what there is. What
// EVENTS_RAW has dropped since is among what was shown, as long as enough is left of the time for which that reaches ahead.
func holds(shown, now jetstream.Mend, stood time.Duration) bool {
	if event.KindOf(shown.Found) != event.KindOf(now.Found) || !shown.Cursor.RawCreated.Equal(now.Cursor.RawCreated) {
		return false
	}
	if event.KindOf(now.Found) == event.Expired && shown.Ahead > 0 && stood <= shown.Ahead/2 {
		return true
	}
	same := func(a, b event.RawGap) bool { return a.Source == b.Source && a.From == b.From && a.To == b.To }
	return slices.EqualFunc(shown.Gaps, now.Gaps, same) && slices.EqualFunc(shown.Again, now.Again, same)
}

// believe waits until EVENTS_RAW has looked shorter than it was for as long as the normalizer itself would wait.
func (a *accepting) believe(ctx context.Context) error {
	fmt.Fprintf(a.p.Stderr, "EVENTS_RAW looks shorter than it was; a server that has just become its leader shows less than there is: "+
		"looking again for %s\n", jetstream.Believed)
	enough := time.NewTimer(jetstream.Believed)
	defer enough.Stop()
	tick := time.NewTicker(jetstream.Believed / 10)
	defer tick.Stop()
	for {
		select {
		case <-enough.C:
			return nil
		case <-ctx.Done():
			return errNotAgreed
		case <-tick.C:
		}
		shorter, err := a.client.LooksShorter(ctx, a.name)
		if err == nil && !shorter {
			return errors.New("nothing was changed: EVENTS_RAW does not look shorter any more; the normalizer will go on by itself")
		}
	}
}

// explain says what is lost and what may come twice, and refuses the latter.
func (a *accepting) explain(m jetstream.Mend) error {
	if err := a.say("The normalizer of %s has stopped: %s", a.name, m.Found); err != nil {
		return err
	}
	for _, g := range m.Gaps {
		if err := a.say("  lost: %s (%d)", g, g.Events()); err != nil {
			return err
		}
	}
	if m.Ahead > 0 {
		if err := a.say("  with what EVENTS_RAW drops in the next %s, before the normalizer goes on", m.Ahead); err != nil {
			return err
		}
	}
	for _, g := range m.Again {
		if err := a.say("  normalized, and may come again: %s (%d)", g, g.Events()); err != nil {
			return err
		}
	}
	if len(m.Gaps)+len(m.Again) == 0 {
		if err := a.say("  nothing is lost, and nothing comes twice"); err != nil {
			return err
		}
	}
	if len(m.Again) > 0 && !a.duplicates {
		return errors.New("nothing was changed: events may come twice; --allow-duplicates does it all the same")
	}
	return nil
}

// note is what stays on record.
func note(m jetstream.Mend) string {
	text := event.PauseReason(m.Found)
	for _, g := range m.Gaps {
		text += "; lost: " + g.String()
	}
	for _, g := range m.Again {
		text += "; may come again: " + g.String()
	}
	return text
}
