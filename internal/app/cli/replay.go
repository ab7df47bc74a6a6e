package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stackstream/event"
	"stackstream/internal/app"
	"stackstream/internal/app/config"
	"stackstream/internal/app/show"
	"stackstream/jetstream"
	"stackstream/replay"
)

// replayOptions are what a job is to do.
type replayOptions struct {
	nats           natsFlags
	provider, name string
	since, until   boundValue
	types          []string
	rate           paceValue
	acceptGap      bool

	diff  bool
	limit countValue
	json  bool
}

func (p Program) replayCommand() *cobra.Command {
	o := replayOptions{limit: 10, since: boundValue{now: time.Now}, until: boundValue{now: time.Now}}
	cmd := &cobra.Command{
		Use:   "replay -c FILE --provider PROVIDER --since TIME {--diff | --job NAME}",
		Short: "Convert raw events once more, with the converters of today",
		Long: `replay converts raw events that EVENTS_RAW still has once more, with the converters of this program and
the mappings of this configuration: after a converter was mended, for instance.

With --diff it only compares: every raw event of the range is converted and compared with what
EVENTS_NORMALIZED has of it, value by value. Nothing is written.

With --job it is a job that writes what it makes to the stream EVENTS_REPLAY: events on
events.replay.NAME.PROVIDER, numbered from 1, in the order of EVENTS_RAW and each once; what can't be
converted on events.replay.NAME.PROVIDER.dead. It does not touch EVENTS_RAW, EVENTS_NORMALIZED, the
collectors, the normalizers, nor anybody who reads events.normalized.*: those who want the result read
it where it is (stackstream tail --replay NAME). It is kept for streams.replay.max_age, 7 days.

The range is by when EVENTS_RAW stored the events, and is fixed when the job is made: what is collected
later is not in it. A job runs in the foreground. Interrupted, killed or disconnected, it goes on exactly
behind what it has written when the same command is given again, or "stackstream replay resume NAME -c FILE".
Of two processes that work on one job the earlier one is fenced, and says so. When EVENTS_RAW has
dropped events of the range before the job came to them it stops and says which; --accept-gap goes on.

Dead letters of the range that were redriven are in EVENTS_RAW twice; each is converted once, in its
first place.

Exit codes: 0 all of it is done, 1 it is not, 2 wrong usage.`,
		Example: `  stackstream replay -c stackstream.yaml --provider prod --since 2d --diff
  stackstream replay -c stackstream.yaml --provider prod --since 2d --diff --json > diff.jsonl
  stackstream replay -c stackstream.yaml --provider prod \
      --since 2026-01-31T12:00:00Z --until 2026-02-01 --job fix-1
  stackstream replay -c stackstream.yaml --provider prod \
      --since 18250 --type 'compute.*' --job fix-2 --rate 500/s
  stackstream replay resume fix-1 -c stackstream.yaml
  stackstream tail --replay fix-1`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(cmd); err != nil {
				return err
			}
			if o.diff {
				return p.replayDiff(cmd.Context(), &o)
			}
			return p.replayJob(cmd.Context(), &o, cmd.Flags().Changed("rate"))
		},
	}
	f := cmd.Flags()
	o.nats.add(cmd)
	f.StringVar(&o.provider, "provider", "", "the `PROVIDER` whose raw events are converted")
	f.Var(&o.since, "since", "begin with what EVENTS_RAW stored at this `TIME` (RFC 3339), so long ago (2h, 7d), or at this sequence")
	f.Var(&o.until, "until", "end before this `TIME`, so long ago, or with this sequence; default: with what is there now")
	f.StringArrayVar(&o.types, "type", nil, "only events of types like this `GLOB`, such as 'compute.instance.*'; may be repeated")
	f.StringVar(&o.name, "job", "", "`NAME` of the job: small letters, digits, _ and -")
	f.Var(&o.rate, "rate", "convert at most `N/s` raw events a second; default: as many as can be")
	f.BoolVar(&o.acceptGap, "accept-gap", false, "go on where EVENTS_RAW has dropped events of the range, and count them as lost")
	f.BoolVar(&o.diff, "diff", false, "write nothing; show in what the result would differ from what is there")
	f.Var(&o.limit, "limit", "with --diff: show the first `N` differences")
	f.BoolVar(&o.json, "json", false, "with --diff: print every difference as a line of JSON, and what was counted as the last one")
	cmd.AddCommand(p.replayResumeCommand(), p.replayListCommand(), p.replayShowCommand(), p.replayPauseCommand(),
		p.replayCancelCommand(), p.replayRemoveCommand())
	return cmd
}

// check refuses what does not go together.
func (o *replayOptions) check(cmd *cobra.Command) error {
	switch {
	case o.nats.file == "":
		return usagef("a configuration is needed, for its converters: give it with -c FILE")
	case o.provider == "":
		return usagef("--provider says whose raw events are converted, and is missing")
	case o.since.text == "":
		return usagef("--since says where to begin, and is missing: a time, a duration to look back, or a sequence of EVENTS_RAW")
	case o.diff == (o.name != ""):
		return usagef("either --diff compares, or --job NAME makes a job")
	case o.until.before(&o.since):
		return usagef("--until %s ends before --since %s begins: nothing lies between", o.until.text, o.since.text)
	}
	for flag, isFor := range map[string]bool{"limit": o.diff, "json": o.diff, "rate": !o.diff, "accept-gap": !o.diff} {
		if cmd.Flags().Changed(flag) && !isFor {
			return usagef("--%s does not go with %s", flag, map[bool]string{true: "--diff", false: "--job"}[o.diff])
		}
	}
	if o.name != "" {
		if _, err := event.ParseReplayName(o.name); err != nil {
			return usageError{err}
		}
	}
	return nil
}

// want is the range that the options ask for.
func (o *replayOptions) want() app.ReplayRange {
	return app.ReplayRange{Provider: event.Provider(o.provider), Since: o.since.bound, Until: o.until.bound, Types: o.types}
}

// replays reads the configuration and connects. The provider has to be in it, since its converters may be its own; "" is any.
func (p Program) replays(
	ctx context.Context, nats *natsFlags, provider string,
) (*app.Replays, *jetstream.Client, *config.Config, error) {
	cfg, settings, err := nats.read(p)
	if err != nil {
		return nil, nil, nil, err
	}
	if provider != "" && cfg.Providers[event.Provider(provider)] == nil {
		return nil, nil, nil, usagef("--provider %s is not in %s: it names %s", provider, nats.file, names(cfg))
	}
	client, err := p.connect(ctx, settings)
	if err != nil {
		return nil, nil, nil, err
	}
	replays, err := app.NewReplays(client, cfg, app.ClientName())
	if err != nil {
		p.close(ctx, client)
		return nil, nil, nil, err
	}
	return replays, client, cfg, nil
}

func names(cfg *config.Config) string {
	var all []string
	for _, name := range cfg.Providers.Names() {
		all = append(all, string(name))
	}
	return strings.Join(all, ", ")
}

// errDone ends a start of a job that is done.
var errDone = errors.New("done")

// replayJob makes a job, or goes on with the one of that name if it is to do the same.
func (p Program) replayJob(ctx context.Context, o *replayOptions, newRate bool) error {
	replays, client, cfg, err := p.replays(ctx, &o.nats, o.provider)
	if err != nil {
		return err
	}
	defer p.close(ctx, client)
	if err := client.CheckReplay(ctx, cfg.Streams); err != nil {
		return err
	}
	name := event.ReplayName(o.name)
	_, exists, err := client.Replays().Read(ctx, name)
	if err != nil {
		return err
	}
	var made event.Replay
	if !exists {
		var span jetstream.RawSpan
		if made, span, err = replays.New(ctx, o.want()); err != nil {
			return err
		}
		made.Since, made.Until, made.Rate = o.since.text, o.until.text, uint64(o.rate)
		p.sayDropped(span)
	}
	run := replayRun{
		replays: replays, client: client, name: name, provider: event.Provider(o.provider), types: o.types, nats: &o.nats,
		acceptGap: o.acceptGap,
	}
	return p.runReplay(ctx, run, func(record event.Replay, exists bool) (event.Replay, error) {
		if !exists {
			return made, nil
		}
		if different := o.differs(&record); different != "" {
			return record, usagef("there is a job %s that does something else: %s; go on with it with `stackstream replay resume %s "+
				"%s`, or take another name", name, different, name, o.nats.args())
		}
		if newRate {
			record.Rate = uint64(o.rate)
		}
		return record, run.mayGoOn(&record)
	})
}

// differs says in what a job does something else than the options say, "" if in nothing.
func (o *replayOptions) differs(r *event.Replay) string {
	switch {
	case string(r.Provider) != o.provider:
		return "--provider " + string(r.Provider)
	case r.Since != o.since.text:
		return "--since " + r.Since
	case r.Until != o.until.text && r.Until == "":
		return "no --until"
	case r.Until != o.until.text:
		return "--until " + r.Until
	case !slices.Equal(r.Types, o.types):
		return "--type " + strings.Join(r.Types, " ")
	}
	return ""
}

// sayDropped says what a job can't have.
func (p Program) sayDropped(span jetstream.RawSpan) {
	for _, source := range slices.Sorted(maps.Keys(span.Dropped)) {
		fmt.Fprintf(p.Stderr, "%s no longer has events of source %s up to number %d: they have expired\n", event.StreamRaw, source,
			span.Dropped[source])
	}
}

// replayRun is a job that is to be worked on.
type replayRun struct {
	replays   *app.Replays
	client    *jetstream.Client
	name      event.ReplayName
	provider  event.Provider
	types     []string
	nats      *natsFlags
	acceptGap bool
}

// mayGoOn returns an error if nobody may work on the job now.
func (r *replayRun) mayGoOn(record *event.Replay) error {
	switch record.State {
	case event.ReplayDone:
		return errDone
	case event.ReplayCancelled:
		return fmt.Errorf("job %s is cancelled, %s; `stackstream replay rm %s` removes what it has written", r.name,
			event.PauseReason(record.Halted.Err()), r.name)
	case event.ReplayPaused:
		return fmt.Errorf("job %s is paused, %s; `stackstream replay resume %s %s` goes on with it", r.name,
			event.PauseReason(record.Halted.Err()), r.name, r.nats.args())
	}
	if err := r.replays.CheckSame(record); err != nil {
		return fmt.Errorf("job %s: %w: go on with what it was made with, or make a new job", r.name, err)
	}
	return nil
}

// runReplay works on a job and shows how it fares.
func (p Program) runReplay(
	ctx context.Context, run replayRun, decide func(event.Replay, bool) (event.Replay, error),
) error {
	progress := show.NewProgress(p.Stderr, "job "+string(run.name), isTerminal(p.Stderr), time.Now)
	job := run.replays.Job(run.name, run.provider, run.types, func(err error) {
		why := err.Error()
		if event.KindOf(err) == event.Full {
			why += "; `stackstream replay rm` makes room"
		}
		progress.Wait(why)
	}, func() { progress.Wait("") })
	job.AcceptGap = run.acceptGap
	record, err := job.Start(ctx, decide)
	if errors.Is(err, errDone) {
		return p.replaySummary(ctx, run)
	}
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("job %s: interrupted before it began", run.name)
	}
	if err != nil {
		return err
	}
	progress.Begin(record.Counts.Raw+record.Counts.Lost, record.Total())
	job.Progress = func(r event.Replay) {
		progress.Wait("")
		progress.Update(r.Counts.Raw+r.Counts.Lost, figures(&r))
	}
	record, err = job.Run(ctx, record)
	progress.End()
	if err == nil {
		return p.replaySummary(ctx, run)
	}
	return run.explain(ctx, &record, err)
}

func figures(r *event.Replay) string {
	text := show.Count(r.Counts.Events) + " events"
	if r.Counts.Dead > 0 {
		text += ", " + show.Count(r.Counts.Dead) + " dead"
	}
	if r.Counts.Lost > 0 {
		text += ", " + show.Count(r.Counts.Lost) + " lost"
	}
	return text
}

// explain says what to do about a job that has not come to its end.
func (r *replayRun) explain(ctx context.Context, record *event.Replay, err error) error {
	resume := fmt.Sprintf("stackstream replay resume %s %s", r.name, r.nats.args())
	var halted *replay.HaltedError
	var gap *replay.GapError
	switch {
	case errors.As(err, &halted) && halted.Record.State == event.ReplayPaused:
		return fmt.Errorf("job %s: %w; `%s` goes on", r.name, err, resume)
	case errors.As(err, &halted):
		return fmt.Errorf("job %s: %w; this process has stopped", r.name, err)
	case errors.As(err, &gap):
		return fmt.Errorf("job %s: %w; `%s --accept-gap` goes on without them", r.name, err, resume)
	case ctx.Err() != nil:
		return fmt.Errorf("job %s: interrupted at %s of %s raw events; `%s` goes on exactly behind", r.name,
			show.Count(record.Counts.Raw+record.Counts.Lost), show.Count(record.Total()), resume)
	}
	return fmt.Errorf("job %s: %w", r.name, err)
}

func (p Program) replaySummary(ctx context.Context, run replayRun) error {
	job, ok, err := run.client.Replays().Read(ctx, run.name)
	if err != nil || !ok {
		return err
	}
	return show.Replay(p.Stdout, &job, time.Now())
}

// boundValue is where a range begins or ends: a duration to look back, a time, or a stream sequence.
type boundValue struct {
	text  string
	now   func() time.Time
	bound jetstream.Bound
}

// before tells whether a bound is before another one, or the same time, as far as that is known without a look at the stream.
func (v *boundValue) before(other *boundValue) bool {
	a, b := v.bound, other.bound
	return !a.Time.IsZero() && !b.Time.IsZero() && !a.Time.After(b.Time) || a.Seq > 0 && b.Seq > 0 && a.Seq < b.Seq
}

func (v *boundValue) String() string { return v.text }
func (v *boundValue) Type() string   { return "bound" }

func (v *boundValue) Set(text string) error {
	if seq, err := strconv.ParseUint(text, 10, 64); err == nil && seq > 0 {
		v.text, v.bound = text, jetstream.Bound{Seq: event.StreamSeq(seq)}
		return nil
	}
	at := sinceValue{now: v.now}
	if err := at.Set(text); err != nil {
		return fmt.Errorf("%w, or a stream sequence such as 18250", err)
	}
	v.text, v.bound = text, jetstream.Bound{Time: at.at}
	return nil
}

// paceValue is a number of events a second.
type paceValue uint64

func (v *paceValue) String() string { return strconv.FormatUint(uint64(*v), 10) }
func (v *paceValue) Type() string   { return "rate" }

func (v *paceValue) Set(text string) error {
	n, err := strconv.ParseUint(strings.TrimSuffix(text, "/s"), 10, 32)
	if err != nil || n == 0 {
		return errors.New("wants a whole number of events a second from 1, such as 500/s")
	}
	*v = paceValue(n)
	return nil
}
