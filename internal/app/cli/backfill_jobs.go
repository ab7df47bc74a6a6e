package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"stackstream/event"
	"stackstream/internal/app"
	"stackstream/internal/app/show"
	"stackstream/jetstream"
)

func (p Program) backfillListCommand() *cobra.Command {
	var nats natsFlags
	var provider string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the backfills, and how far each is",
		Long: `ls lists the backfills that were begun, by their records in EVENTS_RAW: what was asked, how many events
the service showed, how many of them were there and how many were added. SHOWN and THERE are at the most
that where a job was interrupted: what was asked for once more is counted again; ADDED is exact. One that is open is at work, or
was interrupted: "stackstream backfill -c FILE --provider PROVIDER --job JOB" goes on with it.`,
		Example: "  stackstream backfill ls\n  stackstream backfill ls --json | jq '.[] | select(.state == \"open\")'",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			return p.connected(ctx, &nats, provider, func(client *jetstream.Client, name event.Provider) error {
				var jobs []app.BackfillJob
				err := p.awaiting().try(ctx, func() (err error) {
					jobs, err = app.BackfillJobs(ctx, client, name)
					return err
				})
				switch {
				case err != nil:
					return err
				case asJSON:
					return p.printJSON(jobs)
				case len(jobs) == 0:
					return p.say("There is no backfill.")
				}
				return show.Table(p.Stdout, jobRows(jobs))
			})
		},
	}
	nats.add(cmd)
	cmd.Flags().StringVar(&provider, "provider", "", "only those of this `PROVIDER`")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return cmd
}

func jobRows(jobs []app.BackfillJob) [][]string {
	rows := [][]string{{"PROVIDER", "JOB", "SERVICE", "FROM", "TO", "STATE", "SHOWN", "THERE", "ADDED", "WRITTEN", "BY"}}
	for _, j := range jobs {
		state := j.State
		if j.Trouble != "" {
			state = "unreadable: " + show.Clean(j.Trouble)
		}
		rows = append(rows, []string{
			string(j.Provider), j.Job, show.Clean(j.Service), j.From.UTC().Format(time.RFC3339), j.To.UTC().Format(time.RFC3339), state,
			plain(j.Shown), plain(j.There), plain(j.Added), j.WrittenAt.UTC().Format(time.RFC3339), show.Clean(j.Owner),
		})
	}
	return rows
}

func (p Program) backfillRemoveCommand() *cobra.Command {
	var nats natsFlags
	var record onRecord
	var provider string
	var yes bool
	cmd := &cobra.Command{
		Use:   "rm JOB --provider PROVIDER",
		Short: "Remove the record of a backfill; what it added stays",
		Long: `rm removes the record of a backfill: its range is no longer in the way of others, and its name may be used
again. The events that it added stay in all streams, with their marks. One that is at work is fenced, and
ends. What is kept is the number of its last event, which must not be given to another one.

Interrupted, it has either happened or not.`,
		Example: "  stackstream backfill rm panko-20260130t000000-20260131t000000 --provider prod",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("takes the name of one job, as backfill ls shows it")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if provider == "" {
				return usagef("--provider is missing: whose job it is")
			}
			ctx := cmd.Context()
			return p.connected(ctx, &nats, provider, func(client *jetstream.Client, name event.Provider) error {
				if err := app.KnownBackfill(ctx, client, name, args[0]); err != nil {
					return err
				}
				p.note("removes the record of backfill %s of provider %s; the events it added stay", args[0], name)
				if err := p.agree(ctx, "Remove it?", yes); err != nil {
					return err
				}
				if err := app.RemoveBackfill(ctx, client, name, args[0], record.who(p), record.why); err != nil {
					return err
				}
				return p.say("Removed.")
			})
		},
	}
	nats.add(cmd)
	record.add(cmd)
	cmd.Flags().StringVar(&provider, "provider", "", "whose job it is: a `PROVIDER`")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// connected calls f with a connection, and the provider that was named, if one was, which has to be there.
func (p Program) connected(ctx context.Context, nats *natsFlags, provider string, f func(*jetstream.Client, event.Provider) error) error {
	name, err := providerFlag(provider)
	if err != nil {
		return err
	}
	return p.withNATS(ctx, nats, func(ctx context.Context, client *jetstream.Client) error {
		if err := p.knownFlag(ctx, client, nats, name); err != nil {
			return err
		}
		return f(client, name)
	})
}
