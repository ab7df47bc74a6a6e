package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"stackstream/collectors/amqp"
	"stackstream/event"
	"stackstream/internal/app"
	"stackstream/internal/app/config"
	"stackstream/internal/app/provider"
	"stackstream/internal/app/show"
	"stackstream/jetstream"
)

// removalFlags say how much of a provider is to be removed.
type removalFlags struct {
	onRecord
	clean, purge, yes bool
	brokerFrom        string
}

func (p Program) providerRemoveCommand() *cobra.Command {
	var s providerScene
	var f removalFlags
	cmd := &cobra.Command{
		Use:   "rm NAME [-c FILE] [--clean [--purge-events]]",
		Short: "Say what a provider left behind, and remove it",
		Long: `rm says what the streams, the buckets and the message broker still have of a provider that was taken
out of the configuration. Without --clean it changes nothing.

--clean removes the normalizer's durable consumer, the leases of processes that are gone, and, with
--broker-from, the RabbitMQ queues, which fill up until somebody does. The positions stay as long as
the streams hold events of the provider: added again it goes on from them, so that nothing is missed
that the service still shows and nothing comes twice, and what is paused stays paused until resume. Once
all events have expired, or with --purge-events, positions and pauses are removed, too: then nothing
remembers what was collected, and a service that is added under the same name begins as its settings
say. "watermark" does not show a provider that was removed, unless it is asked to.

--purge-events also removes the provider's events in EVENTS_RAW and EVENTS_NORMALIZED. Subscribers that have
not read them never will; what is not normalized is lost. EVENTS_DEAD refuses to be purged: dead letters there
stay until they expire, and so do large bodies, which other events may share.

After "provider rename OLD NEW" the events of OLD are what NEW knows them by: purged, those that a source
of NEW shows once more would be collected again. So --purge-events of OLD is refused until every source of
NEW has collected so much that it knows no event of OLD again: as many new ones as its setting remember says
(100000 by default for http, also where that is asked by time, amqp and amqp1; none for panko and
ceilometer), and, asked by time, past its overlap. It says which source it is, what keeps it, and, with a
configuration that has NEW, how many events are missing. A source that is quiet, or collects no more, may
never come to that. Then wait: once OLD's last event in EVENTS_RAW has expired, the time of which is shown,
--clean removes all that is left.

What always stays are the numbers of the last events, a few hundred bytes: numbers never go back, because
subscribers take a number that they know for a repeat.

It refuses while anybody works for the provider. Take it out of the configuration first: running programs
normalize what was collected and let go of it within half a minute. (With the streams inside "up" nothing
tells who works but what was written: there it takes a minute and a quarter.) Interrupted, it may be run
again.`,
		Example: `  stackstream provider rm my-cloud -c stackstream.yaml                     # only look
  stackstream provider rm my-cloud -c stackstream.yaml --clean
  stackstream provider rm my-cloud -c stackstream.yaml --clean --broker-from stackstream.yaml~
  stackstream provider rm my-cloud -c stackstream.yaml --clean --purge-events --yes`,
		Args: oneProvider,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !f.clean && (f.purge || f.brokerFrom != "") {
				return usagef("--purge-events and --broker-from say how to --clean: give that, too")
			}
			name, err := providerArgument(args[0])
			if err != nil {
				return err
			}
			closeIt, err := s.open(p, cmd)
			if err != nil {
				return err
			}
			defer closeIt()
			return p.removeProvider(cmd.Context(), &s, name, f)
		},
	}
	s.add(cmd)
	cmd.Flags().BoolVar(&f.clean, "clean", false, "remove what is left, but for events and the positions that they need")
	cmd.Flags().BoolVar(&f.purge, "purge-events", false, "also remove the events, and with them the positions")
	cmd.Flags().StringVar(&f.brokerFrom, "broker-from", "",
		"remove the RabbitMQ queues by the settings that this configuration `FILE` has, or had, for the provider")
	f.add(cmd)
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do not ask")
	_ = cmd.MarkFlagFilename("broker-from")
	return cmd
}

func oneProvider(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef("takes the name of one provider, has %d", len(args))
	}
	return nil
}

func (p Program) removeProvider(ctx context.Context, s *providerScene, name event.Provider, f removalFlags) error {
	if err := s.unconfigured(name); err != nil {
		return err
	}
	h, err := s.look(ctx, name)
	if err != nil {
		return err
	}
	queues, err := provider.Queues(h)
	if err != nil {
		return err
	}
	if provider.Unknown(h) {
		return p.unknown(ctx, s, name)
	}
	if provider.Gone(h) {
		return p.say(fmt.Sprintf("Nothing is left of %s but the numbers of its last events, which are kept.", name))
	}
	broker, err := p.brokerOf(name, f.brokerFrom, queues)
	if err != nil {
		return err
	}
	if err := p.sayLeft(ctx, s.client, h, queues); err != nil {
		return err
	}
	empties, err := provider.Empties(ctx, s.client, h)
	if err != nil {
		return err
	}
	if err := provider.Removable(h); err != nil || !f.clean {
		return errors.Join(err, p.sayMore(!f.clean && err == nil, "Nothing was changed; --clean removes what can be removed."))
	}
	if f.purge {
		if err := provider.Forgettable(ctx, s.client, h, s.remembers); err != nil {
			return err
		}
	}
	what := p.plan(h, f, empties, broker != nil, queues)
	if err := p.agree(ctx, what, f.yes); err != nil {
		return err
	}
	p.sayPatience(h)
	if broker != nil {
		if err := provider.Idle(ctx, s.client, name); err != nil {
			return err
		}
		log, err := p.logger("error", "auto")
		if err != nil {
			return err
		}
		for _, q := range queues {
			lost, err := provider.RemoveQueue(ctx, name, broker, q, versionShort(), app.ClientName(), log)
			if err != nil {
				return err
			}
			if err := p.say(fmt.Sprintf("Removed queue %s; %s in it.", q.Queue, wereOf(lost, "notification"))); err != nil {
				return err
			}
		}
	}
	err = provider.Remove(ctx, s.client, name, provider.Removal{Operator: f.because(p), Purge: f.purge, Remembers: s.remembers})
	if err != nil {
		return rerun(err)
	}
	if !f.purge && !empties && provider.Keeps(h) {
		return p.say("Done. Its positions" + andPauses(h) + " stay as long as its events do: run this again when those have expired.")
	}
	return p.say("Done.")
}

// remembers is how many of its last events a source knows again whatever their time, -1 where no configuration says so.
func (s *providerScene) remembers(name event.Provider, source event.Source) int {
	if s.cfg == nil {
		return -1
	}
	shard, there := app.SourceOf(s.cfg, name, source)
	if !there {
		return -1
	}
	return shard.Spec.Repeats
}

func andPauses(h *jetstream.Holding) string {
	if len(provider.Pauses(h)) > 0 {
		return " and pauses"
	}
	return ""
}

// rerun says what to do about a command that was interrupted; one that was refused says that by itself.
func rerun(err error) error {
	if problem := (*provider.Problem)(nil); errors.As(err, &problem) {
		return err
	}
	return fmt.Errorf("%w (run it again: it goes on where it ended)", err)
}

// brokerOf is the settings of a provider in the file that says how to reach its broker; nil without one.
func (p Program) brokerOf(name event.Provider, file string, queues []amqp.Leftover) (*config.Provider, error) {
	if file == "" || len(queues) == 0 {
		return nil, nil //nolint:nilnil // not asked for, or nothing to remove
	}
	cfg, err := p.load(file)
	if err != nil {
		return nil, err
	}
	if cfg.Providers[name] == nil {
		return nil, usagef("--broker-from: %s has no provider %s", file, name)
	}
	return cfg.Providers[name], nil
}

// sayLeft says what there is of a provider.
func (p Program) sayLeft(ctx context.Context, c *jetstream.Client, h *jetstream.Holding, queues []amqp.Leftover) error {
	var raw []string
	for s := range h.Raw {
		raw = append(raw, event.RawSubject(h.Provider, s))
	}
	expiry := func(stream string, subjects ...string) (string, error) {
		at, err := c.Expiry(ctx, stream, subjects...)
		if err != nil || at.IsZero() {
			return "", err
		}
		return ", the last of which expires at " + at.UTC().Format(time.RFC3339), nil
	}
	lines := []string{fmt.Sprintf("The streams have of %s:", h.Provider)}
	for _, l := range []struct {
		n        uint64
		what     string
		stream   string
		subjects []string
	}{
		{h.Events(), "raw event", event.StreamRaw, raw},
		{h.Canonical, "canonical event or dead letter", event.StreamNormalized,
			[]string{event.NormalizedSubject(h.Provider), event.DeadSubject(h.Provider)}},
		{h.Dead, "dead letter that can't be purged", event.StreamDead, []string{event.DeadSubject(h.Provider)}},
	} {
		if l.n == 0 {
			continue
		}
		until, err := expiry(l.stream, l.subjects...)
		if err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("  %s: %d (%s)%s", l.stream, l.n, l.what, until))
	}
	if n := h.Unnormalized(); n > 0 {
		lines = append(lines, fmt.Sprintf("  %d of the raw events are not normalized: they will be if the provider is added again "+
			"before they expire, and are lost otherwise", n))
	}
	for _, s := range slices.Sorted(maps.Keys(h.Sources)) {
		lines = append(lines, fmt.Sprintf("  position of %s: event %d", s, h.Sources[s].Position))
	}
	for _, pause := range provider.Pauses(h) {
		what := pause.What
		if pause.Source != "" {
			what = "collecting by " + string(pause.Source)
		}
		lines = append(lines, show.Clean(fmt.Sprintf("  a pause: %s, %s", what, because(pause.Pause))))
	}
	if h.Consumer {
		lines = append(lines, "  the normalizer's durable consumer "+jetstream.ConsumerName(h.Provider))
	}
	for _, o := range h.Owners {
		of := "is gone"
		if o.Alive {
			of = "is alive"
		}
		lines = append(lines, show.Clean(fmt.Sprintf("  a lease as %s of %s, who %s", o.Role, o.Name, of)))
	}
	for _, q := range queues {
		lines = append(lines, show.Clean(fmt.Sprintf(
			"  RabbitMQ queue %s in vhost %s, which fills up until it is deleted (%s.dropped with it)", q.Queue, q.VHost, q.Queue)))
	}
	for _, line := range lines {
		if err := p.say(line); err != nil {
			return err
		}
	}
	return nil
}

func (p Program) sayMore(say bool, text string) error {
	if !say {
		return nil
	}
	return p.say(text)
}

// plan is the question that is asked before anything is removed.
func (p Program) plan(h *jetstream.Holding, f removalFlags, empties, broker bool, queues []amqp.Leftover) string {
	text := fmt.Sprintf("Remove the durable consumer and the leases that %s left", h.Provider)
	switch {
	case f.purge:
		text = fmt.Sprintf("Remove %d raw and %d canonical events of %s for good, its positions%s, its durable consumer and the leases "+
			"it left", h.Events(), h.Canonical, h.Provider, andPauses(h))
		if n := h.Unnormalized(); n > 0 {
			text += fmt.Sprintf("; %d of the raw events were never normalized", n)
		}
	case empties:
		text += ", and its positions" + andPauses(h) + ", since the streams have no events of it"
	case provider.Keeps(h):
		text += "; its positions" + andPauses(h) + " stay as long as there are events of it"
	default:
		text += ", and free its name"
	}
	if broker {
		text += fmt.Sprintf(", and %s with what waits there", count(len(queues), "RabbitMQ queue"))
	} else if len(queues) > 0 {
		text += fmt.Sprintf(" (%s stay: --broker-from removes them)", count(len(queues), "RabbitMQ queue"))
	}
	return text + "?"
}

// wereOf is "1 notification was" or "3 notifications were".
func wereOf(n int, what string) string {
	if n == 1 {
		return "1 " + what + " was"
	}
	return count(n, what) + " were"
}
