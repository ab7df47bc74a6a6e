package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"stackstream/event"
	"stackstream/internal/app"
	"stackstream/internal/app/config"
	"stackstream/internal/app/show"
	"stackstream/internal/setting"
	"stackstream/jetstream"
)

// heartbeat is how often a source that reads writes its cursor at the least.
const heartbeat = time.Minute

// standings says which are shown, and how.
type standings struct {
	provider event.Provider // "": all
	all      bool           // jobs, too, and providers that were removed
	json     bool
	patience time.Duration
	cfg      *config.Config // nil without -c
}

func (p Program) watermarkCommand() *cobra.Command {
	var nats natsFlags
	var provider string
	var watch bool
	o := standings{}
	every, patience := durationValue(2*time.Second), durationValue(3*heartbeat)
	cmd := &cobra.Command{
		Use:   "watermark",
		Short: "Show how far each source is collected and normalized, and act on it",
		Long: `watermark shows, for every source, the number of the last event collected and normalized, what lies
between, the time up to which everything that the source showed is normalized, who wrote its cursor last
(a process, or an operator by a command), who has the lease to collect (in the line "(all)": to
normalize; with the streams inside "up", where there are no leases, the process that wrote within
--stalled-after; - is nobody), and a state:

  live             what comes is collected and normalized
  catching-up      more than a little waits to be normalized
  paused           by an operator, see "stackstream resume"
  stalled          nothing was written for longer than --stalled-after, and something should
                   have been
  unattended       processes are there, and none has the lease
  raw-expired      EVENTS_RAW has dropped events that were not normalized: the normalizer has
                   stopped, see "stackstream watermark accept-gap"
  raw-regressed    EVENTS_RAW was made anew, restored or lost its end: the normalizer has stopped,
                   see there
  never-collected  nothing of the provider was collected yet
  replaced         another kind of source collects since
  retired          no longer configured, and nothing is left to read
  removed          by "provider rm", or renamed, and nobody has worked for it since: shown with
                   --all or its --provider

The line (all) of a provider is what holds of all sources that collect for it: the earliest time and
the worst state; LAG is the sum. Sources of backfills and of redriven dead letters are jobs: they are
shown with --all and count for nothing. -c FILE adds how often each source is asked, for "stalled".
A --provider that neither the streams nor the FILE have is refused.

It reads and changes nothing. With --watch it shows the same again and again until it is interrupted:
in place on a terminal, line after line elsewhere. The commands below it change cursors by hand.`,
		Example: `  stackstream watermark
  stackstream watermark --provider prod --json | jq '.[].normalized_time'
  stackstream watermark --watch -c stackstream.yaml
  stackstream watermark log --provider prod`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var settings jetstream.Config
			var err error
			if o.cfg, settings, err = nats.read(p); err != nil {
				return err
			}
			if o.provider, err = providerFlag(provider); err != nil {
				return err
			}
			o.patience = time.Duration(patience)
			ctx := cmd.Context()
			client, err := p.connect(ctx, settings)
			if err != nil {
				return err
			}
			defer p.close(ctx, client)
			if err := p.knownFlag(ctx, client, &nats, o.provider); err != nil && (!watch || event.KindOf(err) != event.Unavailable) {
				return err
			}
			if watch {
				return p.watchStandings(ctx, client, o, time.Duration(every))
			}
			return p.showStandings(ctx, client, o)
		},
	}
	nats.add(cmd)
	cmd.Flags().StringVar(&provider, "provider", "", "only this `PROVIDER`")
	cmd.Flags().BoolVar(&o.json, "json", false, "print a JSON array, with --watch one on each line")
	cmd.Flags().BoolVar(&o.all, "all", false,
		"also the sources of jobs (backfills, redriven dead letters), and providers that were removed")
	cmd.Flags().BoolVar(&watch, "watch", false, "go on until interrupted")
	cmd.Flags().Var(&every, "every", "with --watch: look again after this `DURATION`")
	cmd.Flags().Var(&patience, "stalled-after", "call stalled what was not written for this `DURATION`")
	cmd.AddCommand(p.watermarkLogCommand(), p.rewindCommand(), p.setCommand(), p.acceptGapCommand())
	return cmd
}

// standings reads where the providers stand.
func (p Program) standings(ctx context.Context, c *jetstream.Client, o standings) ([]event.ProviderStand, error) {
	names := []event.Provider{o.provider}
	if o.provider == "" {
		var err error
		if names, err = c.Providers(ctx); err != nil {
			return nil, err
		}
	}
	holders, err := c.Holders(ctx)
	if err != nil {
		return nil, err
	}
	stands := make([]event.ProviderStand, 0, len(names))
	for _, name := range names {
		r, err := c.Records(ctx, name, holders)
		if err != nil {
			return nil, err
		}
		if o.provider == "" && r.Choice.Sequence == 0 && r.Normalized.Sequence == 0 && len(r.Raw) == 0 {
			continue
		}
		r.Patience, r.Sources = o.patience, o.patiences(name)
		stand := r.Stand()
		if stand.State == event.StandingRemoved && !o.all && o.provider == "" {
			continue
		}
		if !o.all {
			stand.Sources = slices.DeleteFunc(stand.Sources, func(s event.SourceStand) bool { return s.Source.Job() })
		}
		stands = append(stands, stand)
	}
	return stands, nil
}

// patiences are how long the sources of a provider may leave their cursors unwritten: one that is asked once an hour writes
// once an hour.
func (o standings) patiences(p event.Provider) map[event.Source]time.Duration {
	if o.cfg == nil {
		return nil
	}
	all := map[event.Source]time.Duration{}
	for _, shard := range app.SourcesOf(o.cfg, p) {
		all[shard.Name] = 2*heartbeat + shard.Spec.Quiet
	}
	return all
}

// standRow is a source as --json shows it.
type standRow struct {
	event.SourceStand
	Of event.ProviderStand `json:"of_provider"`
}

// standDocument is what --json shows: sources, and providers without any.
func standDocument(stands []event.ProviderStand) []standRow {
	rows := []standRow{}
	for _, stand := range stands {
		for _, s := range stand.Sources {
			rows = append(rows, standRow{s, stand})
		}
		if len(stand.Sources) == 0 {
			none := event.SourceStand{Watermark: event.Watermark{Provider: stand.Provider}, Stand: stand.Stand}
			rows = append(rows, standRow{none, stand})
		}
	}
	return rows
}

func (p Program) showStandings(ctx context.Context, c *jetstream.Client, o standings) error {
	var stands []event.ProviderStand
	err := p.awaiting().try(ctx, func() (err error) {
		stands, err = p.standings(ctx, c, o)
		return err
	})
	if err != nil {
		return err
	}
	if o.json {
		return p.printJSON(standDocument(stands))
	}
	return show.Standings(p.Stdout, stands, time.Now(), p.colour(p.Stdout))
}

// home moves the cursor of a terminal to the first line, and rest clears what is behind it.
const (
	home = "\x1b[H"
	rest = "\x1b[J"
)

// watchStandings shows them until ctx ends. What can't be read now is told, and read the next time.
func (p Program) watchStandings(ctx context.Context, c *jetstream.Client, o standings, every time.Duration) error {
	inPlace := !o.json && isTerminal(p.Stdout)
	tick := time.NewTicker(every)
	defer tick.Stop()
	said := ""
	for {
		brief, cancel := context.WithTimeout(ctx, 2*every+connectWait)
		stands, err := p.standings(brief, c, o)
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		switch {
		case err != nil && inPlace:
			_, err = fmt.Fprintf(p.Stdout, "%s%s%s\n", home+rest, show.Clean(err.Error()), rest)
		case err != nil:
			if text := show.Clean(err.Error()); text != said {
				said = text
				fmt.Fprintln(p.Stderr, text)
			}
			err = nil
		case o.json:
			err = p.printLine(standDocument(stands))
		case inPlace:
			err = p.redraw(stands)
		default:
			err = show.StandLines(p.Stdout, stands, time.Now())
		}
		if err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// printLine writes one document on one line.
func (p Program) printLine(v any) error {
	enc := json.NewEncoder(p.Stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func (p Program) redraw(stands []event.ProviderStand) error {
	if _, err := fmt.Fprintf(p.Stdout, "%s%s%s\n\n", home, rest, time.Now().UTC().Format(time.RFC3339)); err != nil {
		return err
	}
	return show.Standings(p.Stdout, stands, time.Now(), p.colour(p.Stdout))
}

// durationValue is a duration above zero, with a unit.
type durationValue time.Duration

func (v *durationValue) String() string {
	if *v == 0 {
		return ""
	}
	return time.Duration(*v).String()
}
func (v *durationValue) Type() string { return "duration" }

func (v *durationValue) Set(text string) error {
	d, err := setting.ParseDuration(text)
	if err != nil || d <= 0 {
		return errors.New("wants a duration such as 2s or 5m")
	}
	*v = durationValue(d)
	return nil
}
