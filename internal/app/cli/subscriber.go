package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"stackstream/event"
	"stackstream/internal/app/show"
	"stackstream/internal/setting"
	"stackstream/jetstream"
	"stackstream/subscribe"
)

func (p Program) subscriberCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "subscriber",
		Short: "Add, list, set back and remove the durables of programs that read events",
		Long: `A durable is a position in EVENTS_NORMALIZED that outlives the program which reads through it: one for
each program that is to see every event. These commands touch durables on EVENTS_NORMALIZED that read
events, and nothing else: no event, no other durable, not what other programs read. docs/subscribers.md
shows how programs read through them.`,
		Example: `  stackstream subscriber add billing        # before the program billing starts for the first time
  stackstream subscriber ls                 # who is behind, and by how much`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q: add, ls, reset or rm is meant", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(p.subscriberAddCommand(), p.subscriberListCommand(), p.subscriberResetCommand(), p.subscriberRemoveCommand())
	return cmd
}

// nameArg takes the name of a durable.
func nameArg(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef("takes one NAME, has %d", len(args))
	}
	return nil
}

// positionFlags say where in EVENTS_NORMALIZED.
type positionFlags struct {
	word     string // "from" or "to"
	at       string
	since    sinceValue
	sequence countValue
}

func (f *positionFlags) add(cmd *cobra.Command, word, oldest string) {
	f.word, f.since.now = word, time.Now
	cmd.Flags().StringVar(&f.at, word, "", "`POSITION`: oldest, new, or a time (RFC 3339)"+oldest)
	cmd.Flags().Var(&f.since, "since", word+" so long ago: a `DURATION` such as 1h or 7d")
	cmd.Flags().Var(&f.sequence, "sequence", word+" the stream sequence `N`")
	cmd.MarkFlagsMutuallyExclusive(word, "since", "sequence")
}

func (f *positionFlags) position() (subscribe.Position, error) {
	switch {
	case f.sequence > 0:
		return subscribe.Position{Seq: event.StreamSeq(f.sequence)}, nil
	case !f.since.at.IsZero():
		return subscribe.Position{Time: f.since.at}, nil
	}
	switch f.at {
	case "", "oldest":
		return subscribe.Position{}, nil
	case "new":
		return subscribe.Position{New: true}, nil
	}
	at := sinceValue{now: time.Now}
	if _, err := setting.ParseDuration(f.at); err == nil {
		return subscribe.Position{}, usagef("--%s %s is a duration: --since %s means so long ago", f.word, f.at, f.at)
	}
	if err := at.Set(f.at); err != nil {
		return subscribe.Position{}, usagef("--%s %q is not oldest, new, or a time such as 2026-01-31T12:00:00Z", f.word, f.at)
	}
	return subscribe.Position{Time: at.at}, nil
}

func (p Program) subscriberAddCommand() *cobra.Command {
	var nats natsFlags
	var from positionFlags
	var providers []string
	var eventsOnly bool
	var inactive string
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Make a durable for a program that is to see every event",
		Long: `add makes a durable on EVENTS_NORMALIZED. A program that uses the package subscribe needs none made for
it, unless its NATS user may not make one; it refuses a durable that reads other providers than it wants.
What it reads through has the dead letters as well: they share the numbers that prove nothing is missing.
With --events-only the durable suits any NATS client: canonical events alone, each acknowledged by itself.

It begins with the oldest event unless told otherwise, and is there until it is removed: a position has to
outlive the longest outage of its program. --inactive-after has the server delete it, and the position with
it, when nobody has used it for so long. At most 2048 events are on their way to a reader unacknowledged;
what is not acknowledged within 30 s comes again. A provider that has not begun yet needs the configuration
that has it, with -c FILE. Interrupted, it has made the durable or not: see "subscriber ls".`,
		Example: `  stackstream subscriber add billing
  stackstream subscriber add audit --provider prod --provider lab --from 2026-01-31T00:00:00Z
  stackstream subscriber add dashboard --events-only --from new --inactive-after 7d`,
		Args: nameArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			n := subscribe.NewDurable{Name: args[0], Kind: subscribe.DurableWhole}
			if eventsOnly {
				n.Kind = subscribe.DurableEvents
			}
			err := subscribe.CheckDurable(n.Name)
			if err != nil {
				return usageError{err}
			}
			if n.From, err = from.position(); err != nil {
				return err
			}
			for _, name := range providers {
				provider, err := providerFlag(name)
				if err != nil || provider == "" {
					return usagef("--provider %q is no provider", name)
				}
				n.Providers = append(n.Providers, provider)
			}
			if inactive != "" {
				if n.InactiveAfter, err = setting.ParseDuration(inactive); err != nil || n.InactiveAfter <= 0 {
					return usagef("--inactive-after wants a duration such as 7d")
				}
			}
			return p.managed(cmd.Context(), &nats, func(m *subscribe.Manager) error {
				if err := m.Add(cmd.Context(), n); err != nil {
					return err
				}
				return p.sayPosition(cmd.Context(), m, n.Name)
			}, n.Providers...)
		},
	}
	nats.add(cmd)
	from.add(cmd, "from", "; the oldest by default")
	cmd.Flags().StringArrayVar(&providers, "provider", nil, "events of this `PROVIDER` only; may be repeated; default: all")
	cmd.Flags().BoolVar(&eventsOnly, "events-only", false, "for any NATS client: no dead letters, every event acknowledged by itself")
	cmd.Flags().StringVar(&inactive, "inactive-after", "", "delete the durable when it was not used for this `DURATION`; default: never")
	return cmd
}

func (p Program) subscriberListCommand() *cobra.Command {
	var nats natsFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the durables of EVENTS_NORMALIZED: how far each is, and who is behind",
		Long: `ls shows, for every durable of EVENTS_NORMALIZED, which providers it reads, up to which stream sequence all
is acknowledged, how many messages are still to come and how old the first of them is, how many are on
their way unacknowledged, when it was used last, and whether somebody is reading now. Durables of the kind
"whole" are what package subscribe reads through, "events" suit any client, and what "other" ones are for
only their owners know. One that nobody has used for a day is marked: remove it if its program is gone.`,
		Example: "  stackstream subscriber ls\n  stackstream subscriber ls --json | jq '.[] | select(.behind > 1000).name'",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.managed(cmd.Context(), &nats, func(m *subscribe.Manager) error {
				var found []subscribe.Durable
				err := p.awaiting().try(cmd.Context(), func() (err error) {
					found, err = m.List(cmd.Context())
					return err
				})
				if err != nil {
					return err
				}
				if asJSON {
					if found == nil {
						found = []subscribe.Durable{}
					}
					return p.printJSON(found)
				}
				return show.Durables(p.Stdout, found, time.Now())
			})
		},
	}
	nats.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return cmd
}

func (p Program) subscriberResetCommand() *cobra.Command {
	var nats natsFlags
	var to positionFlags
	var yes bool
	cmd := &cobra.Command{
		Use:   "reset NAME",
		Short: "Set a durable to another position: its program reads events again, or skips some",
		Long: `reset sets a durable to a position. Set back, its program reads the events from there on again, with the same
message_id and sequence as before; set forward, it does not see what lies between. No other program notices
anything, and no event is changed.

It refuses while somebody reads through the durable: stop the program first. The durable is deleted and made
again with the same settings, which the program does not notice. A program that stores its position itself
(Options.After) goes by that, and not by the durable. Interrupted, the command has done all or nothing.
Killed at that moment it may leave no durable: "subscriber ls" shows that, and "subscriber add NAME
--sequence N" makes it again.`,
		Example: `  stackstream subscriber reset billing --since 2d
  stackstream subscriber reset billing --to oldest --yes
  stackstream subscriber reset billing --sequence 120000`,
		Args: nameArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("to") && !cmd.Flags().Changed("since") && !cmd.Flags().Changed("sequence") {
				return usagef("where to? Give --to oldest, --to TIME, --since 1h or --sequence N")
			}
			position, err := to.position()
			if err != nil {
				return err
			}
			return p.managed(cmd.Context(), &nats, func(m *subscribe.Manager) error {
				return p.resetSubscriber(cmd.Context(), m, args[0], position, yes)
			})
		},
	}
	nats.add(cmd)
	to.add(cmd, "to", "")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (p Program) resetSubscriber(ctx context.Context, m *subscribe.Manager, name string, to subscribe.Position, yes bool) error {
	one, next, err := m.Target(ctx, name, to)
	if err != nil {
		return err
	}
	question := fmt.Sprintf("%s is at sequence %d. Set to %d, it reads again what lies between.", name, one.Position, next)
	if next > one.Position+1 {
		question = fmt.Sprintf("%s is at sequence %d. Set to %d, it never sees what lies between.", name, one.Position, next)
	}
	if err := p.agree(ctx, question+" Set it?", yes); err != nil {
		return err
	}
	if _, err = m.Reset(ctx, name, subscribe.Position{Seq: next}); err != nil {
		return err
	}
	return p.sayPosition(ctx, m, name)
}

// sayPosition says where a durable that was just made begins.
func (p Program) sayPosition(ctx context.Context, m *subscribe.Manager, name string) error {
	one, _, err := m.Get(ctx, name)
	if err != nil {
		return err
	}
	return p.say(fmt.Sprintf("%s begins with sequence %d; %s to read.", name, one.Position+1, count(int(one.Behind), "message")))
}

func (p Program) subscriberRemoveCommand() *cobra.Command {
	var nats natsFlags
	var yes bool
	cmd := &cobra.Command{
		Use:   "rm NAME",
		Short: "Remove a durable, and its position with it",
		Long: `rm deletes a durable. Its position is lost: a program that comes back under this name begins anew. Events
are not touched. It refuses while somebody reads through the durable: stop the program first. Interrupted,
it has happened or not.`,
		Example: "  stackstream subscriber rm billing\n  stackstream subscriber rm billing --yes",
		Args:    nameArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, name := cmd.Context(), args[0]
			return p.managed(ctx, &nats, func(m *subscribe.Manager) error {
				one, _, err := m.Target(ctx, name, subscribe.Position{})
				if err != nil {
					return err
				}
				if err := p.agree(ctx, fmt.Sprintf("The position of %s, sequence %d, will be lost, with %s to read. Remove it?",
					name, one.Position, count(int(one.Behind), "message")), yes); err != nil {
					return err
				}
				if err := m.Remove(ctx, name); err != nil {
					return err
				}
				return p.say(name + " is removed.")
			})
		},
	}
	nats.add(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// managed runs a command about durables, for providers that have to be there.
func (p Program) managed(ctx context.Context, nats *natsFlags, do func(*subscribe.Manager) error, of ...event.Provider) error {
	return p.withNATS(ctx, nats, func(ctx context.Context, client *jetstream.Client) error {
		for _, name := range of {
			if err := p.knownFlag(ctx, client, nats, name); err != nil {
				return err
			}
		}
		m, err := subscribe.NewManager(client.Conn())
		if err != nil {
			return err
		}
		return do(m)
	})
}
