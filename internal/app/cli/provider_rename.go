package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"stackstream/event"
	"stackstream/internal/app/provider"
)

func (p Program) providerRenameCommand() *cobra.Command {
	var s providerScene
	var record onRecord
	var yes bool
	cmd := &cobra.Command{
		Use:   "rename OLD NEW [-c FILE]",
		Short: "Let a provider go on under another name",
		Long: `rename lets the provider NEW begin where OLD ended: where each source stands, which kind was chosen, which
events were seen and what is paused go over to NEW, so that nothing is missed and what OLD has collected is
not collected again.

What is stored does not move, because the name is part of the subjects and of the identity of every event:
events of OLD stay on events.normalized.OLD and events.raw.OLD until they expire, its dead letters and the
records of its backfills stay its own, and NEW has numbers of its own. Subscribers have to subscribe to NEW.
OLD is paused, so that who still has it configured collects nothing under it; provider rm OLD --clean makes
the name free again. To redrive a dead letter of OLD, configure OLD once more with "events: none".

Collectors of NEW read the identities of OLD's last events for as long as the service may show those again:
where collectors have rights for single providers, they need that of OLD's events until then.

How to rename:

  1. take OLD out of the configuration; running programs let go of it within half a minute
  2. stackstream provider rename OLD NEW
  3. put NEW into the configuration, with the settings that OLD had

It refuses while anybody works for one of them, while raw events of OLD are not normalized or a backfill of
OLD is not done, and when NEW has events or positions of its own. It also refuses for the source amqp, whose
queue has the name in it, and says how to do that.

Interrupted, or killed, it is run again and goes on where it ended. Until then nobody collects under OLD or
NEW, also where one of them is configured: watermark shows both as paused and names the rename, and resume,
rm and another rename of either are refused. A pause of your own of NEW counts when all is done. Run once
more then, it says so and changes nothing.`,
		Example: "  stackstream provider rename my-cloud berlin -c stackstream.yaml",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usagef("takes the old name and the new one, has %d", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			from, err := providerArgument(args[0])
			if err != nil {
				return err
			}
			to, err := providerArgument(args[1])
			if err != nil {
				return err
			}
			if from == to {
				return usagef("both names are %s", from)
			}
			closeIt, err := s.open(p, cmd)
			if err != nil {
				return err
			}
			defer closeIt()
			return p.renameProvider(cmd.Context(), &s, from, to, yes, &record)
		},
	}
	s.add(cmd)
	record.add(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (p Program) renameProvider(ctx context.Context, s *providerScene, from, to event.Provider, yes bool, record *onRecord) error {
	if err := s.unconfigured(from); err != nil {
		return err
	}
	old, err := s.look(ctx, from)
	if err != nil {
		return err
	}
	next, err := s.look(ctx, to)
	if err != nil {
		return err
	}
	if provider.Unknown(old) {
		return p.unknown(ctx, s, from)
	}
	if !provider.Renamed(old, to) && next.Choice.Taking() != from {
		if err := s.unconfigured(to); err != nil {
			return err
		}
	}
	if err := provider.Renameable(old, next); err != nil {
		return err
	}
	for _, line := range []string{
		fmt.Sprintf("%s begins where %s ended: nothing is missed, nothing that %s has collected is collected again.", to, from, from),
		fmt.Sprintf("%d raw and %d canonical events stay under %s until they expire, and so do its dead letters.",
			old.Events(), old.Canonical, from),
		fmt.Sprintf("The next event of %s has number %d.", to, next.Normalized.Position+1),
	} {
		if err := p.say(line); err != nil {
			return err
		}
	}
	if len(provider.Pauses(old)) > 0 && old.Choice.Renamed() == "" {
		err := p.say(fmt.Sprintf("What is paused of %s stays paused as %s: stackstream resume --provider %s.", from, to, to))
		if err != nil {
			return err
		}
	}
	if err := p.agree(ctx, fmt.Sprintf("Rename %s to %s?", from, to), yes); err != nil {
		return err
	}
	p.sayPatience(old)
	if err := provider.Rename(ctx, s.client, from, to, record.because(p)); err != nil {
		return rerun(err)
	}
	return p.say(fmt.Sprintf("Done: put %s into the configuration now.", to))
}
