package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"stackstream/internal/app/show"
	"stackstream/jetstream"
)

// abandonArgs is dirArg where nothing is restored.
func abandonArgs(cmd *cobra.Command, args []string) error {
	if abandon, err := cmd.Flags().GetBool("abandon"); err != nil || !abandon {
		return dirArg(cmd, args)
	}
	if len(args) > 0 {
		return usagef("--abandon reads no backup, has %q", args[0])
	}
	for _, name := range []string{"replace", "replicas", "stream"} {
		if cmd.Flags().Changed(name) {
			return usagef("--abandon restores nothing: --%s means nothing with it", name)
		}
	}
	return nil
}

// abandon ends an interrupted restore that has left nothing undone.
func (p Program) abandon(ctx context.Context, nats *natsFlags, o restoreOptions) error {
	r, err := p.reach(ctx, nats, false)
	if err != nil {
		return err
	}
	defer r.close()
	if err := r.idle(ctx); err != nil {
		return err
	}
	found, err := r.client.Interrupted(ctx)
	if err != nil {
		return err
	}
	if found == nil {
		if o.json {
			return p.printJSON(found)
		}
		return p.say(fmt.Sprintf("At %s is no restore that has not ended. Nothing was done.", r.where))
	}
	fmt.Fprintf(p.Stderr, "A restore of %s that began at %s has not ended. Of what it was to make or to delete nothing is missing:\n\n",
		show.Clean(dashed(found.Dir)), timeOrDash(found.Began))
	if err := show.Table(p.Stderr, abandonRows(found)); err != nil {
		return err
	}
	fmt.Fprintf(p.Stderr, "\nThe streams stay as they are, and whatever starts may work with them again. If that restore runs still, "+
		"it ends at its next step.\n")
	if err := p.agree(ctx, "Abandon it?", o.yes); err != nil {
		return err
	}
	if err := r.client.Abandon(ctx); err != nil {
		return err
	}
	if o.json {
		return p.printJSON(found)
	}
	return p.say("Abandoned. Start the collectors again.")
}

func abandonRows(found *jetstream.Interrupted) [][]string {
	rows := [][]string{{"STREAM", "MESSAGES", "UP TO", "LAST MESSAGE", "IS"}}
	for _, s := range found.Streams {
		is := "as it was"
		if s.Restored {
			is = "restored"
		}
		rows = append(rows, []string{
			s.Name, strconv.FormatUint(s.Messages, 10), strconv.FormatUint(s.Last, 10), timeOrDash(s.LastTime), is,
		})
	}
	return rows
}
