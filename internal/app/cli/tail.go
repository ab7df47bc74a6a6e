package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"stackstream/event"
	"stackstream/internal/app/show"
	"stackstream/jetstream"
	"stackstream/subscribe"
)

// tailOptions say which events are printed and how.
type tailOptions struct {
	provider event.Provider // "": all
	types    []string       // globs; none: all
	since    time.Time      // zero: from the oldest event kept
	live     bool           // only what comes from now on
	count    uint64         // 0: no end
	json     bool
	replay   event.ReplayName // "": what is normalized
}

func (p Program) tailCommand() *cobra.Command {
	var nats natsFlags
	var provider, job string
	var count countValue
	o := tailOptions{}
	since := sinceValue{now: time.Now}
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Print canonical events as they arrive",
		Long: `tail follows EVENTS_NORMALIZED: events come in order, none twice, and where some are missing it says
so on standard error. Without --since it begins with the next event. It goes on until it is interrupted,
or until --count events were printed, and changes nothing.

With --replay it reads what a job of "stackstream replay" has made instead, from its beginning on.`,
		Example: `  stackstream tail
  stackstream tail --provider prod --type 'compute.instance.*.end' --since 1h
  stackstream tail --since 2026-01-31T12:00:00Z --count 100 --json > events.jsonl`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if o.provider, err = providerFlag(provider); err != nil {
				return err
			}
			if job != "" {
				if o.replay, err = event.ParseReplayName(job); err != nil {
					return usageError{err}
				}
			}
			o.count, o.since, o.live = uint64(count), since.at, !cmd.Flags().Changed("since") && job == ""
			return p.withNATS(cmd.Context(), &nats, func(ctx context.Context, client *jetstream.Client) error {
				var unknown unknownProvider
				if errors.As(p.knownFlag(ctx, client, &nats, o.provider), &unknown) {
					p.note("%s. Waiting for its first event.", unknown.what) // it may come
				}
				if o.replay != "" {
					if _, err := readJob(ctx, client, o.replay); err != nil && event.KindOf(err) != event.Invalid { // what it may not read
						return err
					}
				}
				return p.follow(ctx, client, o)
			})
		},
	}
	nats.add(cmd)
	cmd.Flags().StringVar(&provider, "provider", "", "only events of this `PROVIDER`")
	cmd.Flags().StringArrayVar(&o.types, "type", nil,
		"only events of types like this `GLOB`, such as 'compute.instance.*'; may be repeated")
	cmd.Flags().Var(&since, "since", "begin at this `TIME` (RFC 3339), or so long ago (1h, 7d)")
	cmd.Flags().Var(&count, "count", "end after `N` events")
	cmd.Flags().StringVar(&job, "replay", "", "read what this `JOB` has made of raw events once more")
	cmd.Flags().BoolVar(&o.json, "json", false, "print one canonical event per line, as JSON")
	return cmd
}

// errEnough ends a tail after the last event that was asked for.
var errEnough = errors.New("enough")

// follow prints events until ctx ends or there were enough. Gaps are told on standard error; what follows them is
// printed.
func (p Program) follow(ctx context.Context, c *jetstream.Client, o tailOptions) error {
	lines := show.NewPrinter(p.Stdout, p.colour(p.Stdout))
	options := subscribe.TailOptions{
		Types: o.types, StartTime: o.since, New: o.live, Replay: o.replay,
		OnGap: func(g subscribe.Gap) { fmt.Fprintf(p.Stderr, "missing: %s\n", g) },
	}
	if o.provider != "" {
		options.Providers = []event.Provider{o.provider}
	}
	printed := uint64(0)
	err := subscribe.Tail(ctx, c.Conn(), options, func(_ context.Context, e subscribe.Event) error {
		var err error
		if o.json {
			_, err = fmt.Fprintf(p.Stdout, "%s\n", show.JSON(e.Body))
		} else {
			err = lines.Event(&e.Event)
		}
		if printed++; err == nil && printed == o.count {
			err = errEnough
		}
		return err
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}
