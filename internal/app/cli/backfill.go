package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"stackstream/collectors/backfill"
	"stackstream/collectors/httppoll"
	"stackstream/event"
	"stackstream/internal/app"
	"stackstream/internal/app/show"
)

// backfillFlags is what a backfill is told.
type backfillFlags struct {
	nats                  natsFlags
	provider, source, job string
	from, to              timeValue
	rate                  rateValue
	duplicates, dryRun    bool
	yes, asJSON           bool
}

func (p Program) backfillCommand() *cobra.Command {
	var f backfillFlags
	cmd := &cobra.Command{
		Use:   "backfill -c FILE --provider PROVIDER --from TIME --to TIME",
		Short: "Ask an event service for a past range of time again, and add what is missing",
		Long: `backfill asks an event service for a range of time that is over, and adds to EVENTS_RAW the events that
the streams do not have: after an outage, or where a service showed events too late. From there they
are normalized and handed out like any other, behind what is there, each marked with the header
Evt-Backfill: JOB.

The range has the events from --from on and before --to, by the service's own time of each event. An
event without a time is left out and counted.

Nothing comes twice: what the streams hold of the provider (EVENTS_RAW, and of what that has dropped
EVENTS_NORMALIZED and EVENTS_DEAD) is read first. A range that begins before they remember everything
is refused, and so is one that ends later than what the live source has promised not to read again:
what is later it reads itself. Each refusal names the time from or up to which it can be done. What a
normalizer was told to give up ("watermark accept-gap") does not count as held, and where that is still
to be done it comes first: until then a backfill refuses. One that was done before is done anew if it is
run again after that.

The live source, its cursor and its watermark are not touched, nor is the choice of source. The job has
a source of its own, backfill-JOB, and its own cursor, which says in the end that it is done. While
collecting for the provider is paused, or its choice of source changes, nothing is added. As long as the
job is not done, "watermark rewind" does not take a source back into its range; where both begin at the
same moment the job looks again, and ends if the live source reads the range itself from then on.

Services that can be asked: panko, ceilometer, and http with cursor.type: time. amqp can't, a queue
holds no past; a provider that collects over amqp may have a section panko beside it ("events: amqp"
keeps it from collecting), which --source panko asks. What the service itself has forgotten is lost.

Interrupted or killed, it goes on where it was with the same command: what was added stays, and is not
added again. What has to be asked for once more then counts again in what was shown and what was there;
what was added is exact. If the same job is started twice, the later one takes over and the other ends.
Errors of the service that may pass are waited out, and so is a NATS server that is away; one that needs
a change ends the command, with exit code 1.

It needs the rights to write to EVENTS_RAW and to read all streams, as the administrator of deploy/ has
them.`,
		Example: `  # A cloud was not collected from for a day. See what is missing, then add it:
  stackstream backfill -c stackstream.yaml --provider prod \
      --from 2026-01-30 --to 2026-01-31 --dry-run
  stackstream backfill -c stackstream.yaml --provider prod --from 2026-01-30 --to 2026-01-31

  # It collects over amqp, and Panko knows the past; by a script, at 5 requests a second:
  stackstream backfill -c stackstream.yaml --provider prod --source panko \
      --from 2026-01-30T22:00:00Z --to 2026-01-31T06:00:00Z --rate 5/s --yes

  # Which are there, and go on with one that is not done:
  stackstream backfill ls
  stackstream backfill -c stackstream.yaml --provider prod --job JOB`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("%q is no command of backfill: ls or rm; without one it takes no argument", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return p.backfill(cmd.Context(), &f) },
	}
	f.nats.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.provider, "provider", "", "whose service is asked: a `PROVIDER` of the configuration")
	flags.StringVar(&f.source, "source", "",
		"the `KIND` of service to ask: panko, ceilometer or http; default: the one that collects, or the only one that can be asked")
	flags.Var(&f.from, "from", "`TIME` of the first event: 2026-01-30T22:00:00Z, 2026-01-30T22:00 or 2026-01-30, UTC")
	flags.Var(&f.to, "to", "`TIME` behind the last event; events of that very time are not of the range")
	flags.StringVar(&f.job, "job", "", "`NAME` of the job; default: made of service and range")
	flags.Var(&f.rate, "rate", "ask no faster than `RATE`: 5/s, 100/m, 5000/h; a rate_limit of the configuration holds as well")
	flags.BoolVar(&f.duplicates, "allow-duplicates", false,
		"go on where it can't be known that no event comes twice: before what the streams remember, or beside the live source")
	flags.BoolVar(&f.dryRun, "dry-run", false, "ask the service, count what is missing, show the first few, and write nothing")
	flags.BoolVar(&f.yes, "yes", false, "do not ask")
	flags.BoolVar(&f.asJSON, "json", false, "print what was done as a JSON object, and nothing else on standard output")
	cmd.AddCommand(p.backfillListCommand(), p.backfillRemoveCommand())
	return cmd
}

// backfill looks, asks, and does it.
func (p Program) backfill(ctx context.Context, f *backfillFlags) error {
	if f.provider == "" {
		return usagef("--provider is missing: whose service is to be asked")
	}
	provider, err := providerFlag(f.provider)
	if err != nil {
		return err
	}
	if !f.from.at.IsZero() && !f.to.at.IsZero() && !f.from.at.Before(f.to.at) {
		return usagef("--from %s is not before --to %s: nothing lies between", f.from.text, f.to.text)
	}
	if f.source != "" && !app.IsKind(f.source) {
		return usagef("--source %q is no kind of source: %s", f.source, app.KindList())
	}
	if f.nats.file == "" {
		return usagef("a configuration is needed: give it with -c FILE")
	}
	cfg, settings, err := f.nats.read(p)
	if err != nil {
		return err
	}
	client, err := p.connect(ctx, settings)
	if err != nil {
		return err
	}
	defer p.close(ctx, client)
	log, err := p.logger("error", cfg.Log.Format)
	if err != nil {
		return err
	}
	server := newAwaiting(p.note)
	var b *app.Backfill
	err = server.try(ctx, func() (err error) {
		b, err = app.NewBackfill(ctx, cfg, client, app.BackfillRequest{
			Provider: provider, Source: f.source, From: f.from.at, To: f.to.at, Job: f.job, Rate: f.rate.Rate,
			AllowDuplicates: f.duplicates, Dry: f.dryRun,
		}, versionShort(), log)
		return err
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(p.Stderr, "reading what the streams have of %s\n", provider)
	var outlook backfill.Outlook
	err = server.try(ctx, func() (err error) {
		outlook, err = b.Look(ctx)
		return err
	})
	if err != nil {
		return err
	}
	if before := outlook.Before; before != nil && !before.Done.IsZero() && !f.dryRun {
		return p.report(f, b, backfill.Progress{State: *before, Added: outlook.Added})
	}
	p.explain(f, b, &outlook)
	if err := p.awaiting().try(ctx, func() error { return b.Past.Available(ctx) }); err != nil {
		return fmt.Errorf("%s does not serve us: %w", b.Kind, err)
	}
	if f.dryRun {
		return p.tryBackfill(ctx, f, b, outlook)
	}
	if err := p.agree(ctx, "Ask for it, and add what is missing?", f.yes); err != nil {
		return err
	}
	meter := p.follows(b)
	done, err := b.Run(ctx, outlook)
	meter.end()
	if err == nil && outlook.Before != nil {
		p.note("it was interrupted before: what was asked for once more is counted again in what was shown and what was there")
	}
	if err != nil {
		p.note("%s so far: what was added stays, and the same command goes on behind it", added(done.Added))
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		return err
	}
	return p.report(f, b, done)
}

// explain says what would be done.
func (p Program) explain(f *backfillFlags, b *app.Backfill, o *backfill.Outlook) {
	p.note("job %s of provider %s", b.Name, b.Provider)
	p.note("  asks    %s at %s for what is from %s on and before %s (%s)", b.Kind, b.Past.Address, exactly(b.From), exactly(b.To),
		show.Age(b.To.Sub(b.From)))
	p.note("  there   %s of that time in EVENTS_RAW, and %s that EVENTS_RAW has dropped and the other streams know",
		count(int(o.Raw), "event"), plain(o.Older))
	if !f.dryRun {
		p.note("  adds    what is missing, once, through the source %s, marked %s: %s", b.Source(), event.HeaderBackfill, b.Name)
	}
	p.note("  leaves  the live source as it is, its cursor and watermark, and the choice of source")
	if o.Before != nil && !f.dryRun {
		p.note("  goes on where %s was at %s, with %s so far; if that still runs it is fenced and ends", o.Owner,
			exactly(o.WrittenAt.Truncate(time.Second)), added(o.Added))
	}
	for _, doubt := range o.Doubts {
		p.note("  doubt   events may come twice: %s", doubt)
	}
}

// shownFew is how many of the missing events a dry run shows.
const shownFew = 5

func (p Program) tryBackfill(ctx context.Context, f *backfillFlags, b *app.Backfill, o backfill.Outlook) error {
	meter := p.follows(b)
	missing, few := uint64(0), []string{}
	done, err := b.Try(ctx, o, func(e event.Raw) {
		if missing++; missing <= shownFew {
			few = append(few, fmt.Sprintf("  %s  %s", exactly(e.Time), e.ID))
		}
	})
	meter.end()
	if err != nil {
		return err
	}
	if !f.asJSON {
		for _, line := range few {
			p.note("%s", line)
		}
		if missing > shownFew {
			p.note("  and %d more", missing-shownFew)
		}
	}
	done.Added = missing
	return p.report(f, b, done)
}

// result is what --json prints.
type result struct {
	Provider event.Provider `json:"provider"`
	Job      string         `json:"job"`
	Service  string         `json:"service"`
	From     time.Time      `json:"from"`
	To       time.Time      `json:"to"`
	DryRun   bool           `json:"dry_run,omitempty"`
	Done     time.Time      `json:"done,omitzero"`
	// Shown is how many events of the range the service showed, There how many the streams had, Added how many were added, or
	// would be.
	Shown    uint64   `json:"shown"`
	There    uint64   `json:"there"`
	Added    uint64   `json:"added"`
	Timeless uint64   `json:"timeless"`
	Left     []string `json:"left_partitions,omitempty"`
}

func (p Program) report(f *backfillFlags, b *app.Backfill, done backfill.Progress) error {
	if f.asJSON {
		return p.printJSON(result{
			Provider: b.Provider, Job: b.Name, Service: b.Kind, From: b.From, To: b.To, DryRun: f.dryRun, Done: done.Done,
			Shown: done.Shown, There: done.There, Added: done.Added, Timeless: done.Timeless, Left: b.Left,
		})
	}
	for _, part := range b.Left {
		p.note("left out: %s, which the live source has not read yet", part)
	}
	if done.Timeless > 0 {
		p.note("left out: %s without a time that is not there", count(int(done.Timeless), "event"))
	}
	shown := fmt.Sprintf("%s showed %s from %s to %s: %s there", b.Kind, count(int(done.Shown), "event"), exactly(b.From), exactly(b.To),
		were(done.There))
	switch {
	case f.dryRun && done.Added == 0:
		return p.say(shown + ", nothing is missing. Nothing was written.")
	case f.dryRun:
		return p.say(shown + fmt.Sprintf(", %d would be added. Nothing was written.", done.Added))
	default:
		return p.say(shown + ", " + were(done.Added) + " added. The job is done since " + exactly(done.Done.Truncate(time.Second)) + ".")
	}
}

func (p Program) note(format string, args ...any) {
	fmt.Fprintln(p.Stderr, show.Clean(fmt.Sprintf(format, args...)))
}

func exactly(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func plain(n uint64) string { return fmt.Sprint(n) }

func added(n uint64) string { return count(int(n), "event") + " added" }

func were(n uint64) string {
	if n == 1 {
		return "1 was"
	}
	return fmt.Sprintf("%d were", n)
}

// timeValue is a point in time.
type timeValue struct {
	text string
	at   time.Time
}

func (v *timeValue) String() string { return v.text }
func (v *timeValue) Type() string   { return "time" }

func (v *timeValue) Set(text string) error {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if at, err := time.Parse(layout, text); err == nil {
			v.text, v.at = text, at.UTC()
			return nil
		}
	}
	return errors.New("wants a time such as 2026-01-31T12:00:00Z; one that is relative would be another range each time")
}

// rateValue is a pace.
type rateValue struct{ httppoll.Rate }

func (v *rateValue) String() string {
	text, _ := v.MarshalText()
	return string(text)
}
func (v *rateValue) Type() string          { return "rate" }
func (v *rateValue) Set(text string) error { return v.UnmarshalText([]byte(text)) }
