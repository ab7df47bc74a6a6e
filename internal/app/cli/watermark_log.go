package cli

import (
	"github.com/spf13/cobra"

	"stackstream/event"
	"stackstream/internal/app/show"
	"stackstream/jetstream"
)

func (p Program) watermarkLogCommand() *cobra.Command {
	var nats natsFlags
	var provider string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Show what was done by command: who, when, why, and what it changed",
		Long: `log shows the commands that changed cursors or paused work, oldest first: when, who, what was changed
(collecting, the cursor of a source, or normalizing), how, and why. Each was recorded in the same atomic
write as the change, and is kept for as long as the streams are. It reads and changes nothing.

What was done about a dead letter, and about a job of replay, stands beside it: see "dead show" and "replay
show".`,
		Example: `  stackstream watermark log --provider prod
  stackstream watermark log --json | jq '.[] | select(.verb == "accept-gap") | .gaps'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			return p.connected(ctx, &nats, provider, func(client *jetstream.Client, name event.Provider) error {
				var all []jetstream.Commanded
				err := p.awaiting().try(ctx, func() (err error) {
					all, err = client.Commands(ctx, name)
					return err
				})
				if err != nil {
					return err
				}
				if !asJSON {
					return show.Commands(p.Stdout, all)
				}
				if all == nil {
					all = []jetstream.Commanded{}
				}
				return p.printJSON(all)
			})
		},
	}
	nats.add(cmd)
	cmd.Flags().StringVar(&provider, "provider", "", "only this `PROVIDER`")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array, with the records before and after")
	return cmd
}
