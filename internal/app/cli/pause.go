package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stackstream/event"
	"stackstream/internal/app"
	"stackstream/internal/app/provider"
	"stackstream/internal/app/show"
	"stackstream/publisher"
)

// halves are the parts of a provider's work that may be paused on their own.
type halves struct {
	operator
	source                 string
	collectors, normalizer bool
}

func (h *halves) add(cmd *cobra.Command, verb string) {
	h.operator.add(cmd, verb)
	cmd.Flags().StringVar(&h.source, "source", "", "only collecting by this `SOURCE`, such as amqp-nova")
	cmd.Flags().BoolVar(&h.collectors, "collectors", false, "only collecting, by all sources")
	cmd.Flags().BoolVar(&h.normalizer, "normalizer", false, "only normalizing")
	cmd.MarkFlagsMutuallyExclusive("source", "collectors", "normalizer")
}

// collecting and normalizing tell whether these are meant.
func (h *halves) collecting() bool  { return h.source == "" && !h.normalizer }
func (h *halves) normalizing() bool { return h.source == "" && !h.collectors }

func (p Program) pauseCommand() *cobra.Command {
	h := halves{operator: operator{p: p}}
	cmd := &cobra.Command{
		Use:   "pause --provider PROVIDER --why TEXT",
		Short: "Stop collecting and normalizing for a provider, until resume",
		Long: `pause stops the work for one provider: collecting and normalizing, or only one of the two, or only one
source. It is done by a mark in the stream, behind which nobody can write: it holds from the moment
the command ends, for all processes, also for those that start later, and until "stackstream resume".
Nothing has to be restarted, other providers do not notice, and nothing is lost in the pipeline: who
goes on goes on exactly where it was.

What is outside goes on meanwhile, and the command says what that means: a queue fills up to its limits
(with -c it says which), a service that is polled forgets in the end, and EVENTS_RAW drops what is not
normalized when it is too old. A process that is paused is ready, and says "paused"; its leases stay.

A provider that has not begun yet can be paused, too, so that it will not: give the configuration that
has it with -c. One that neither that nor the streams have is refused.

Interrupted, the command has done all or nothing of each half; run it again. Pausing what is paused
changes nothing and says who did it.`,
		Example: `  stackstream pause --provider prod --why "upgrade of the cloud"
  stackstream pause --provider prod --normalizer --why "wrong converter, see INC-12"
  stackstream pause --provider prod --source amqp-nova --why "floods" -c stackstream.yaml`,
		Args: noArgs,
		RunE: h.explained(h.pause),
	}
	h.add(cmd, "pause")
	return cmd
}

func (p Program) resumeCommand() *cobra.Command {
	h := halves{operator: operator{p: p}}
	cmd := &cobra.Command{
		Use:   "resume --provider PROVIDER",
		Short: "Go on with what was paused",
		Long: `resume ends a pause: of collecting and normalizing, or of only one of the two, or of one source. The
processes that run for the provider go on within five seconds, where they were; the command says where
that is, and what is still paused. Resuming what is not paused changes nothing; a provider that nobody
knows is refused, and so are the names of a rename that is not done: until it is, nobody works under
either. Once it is done the old name is refused, too: nothing is left of it that says what was collected,
so that all would be collected again; "provider rm OLD --clean" frees the name. Interrupted, the command
has done all or nothing of each half; run it again.`,
		Example: `  stackstream resume --provider prod --why "upgrade is done"
  stackstream resume --provider prod --collectors`,
		Args: noArgs,
		RunE: h.connected(h.resume),
	}
	h.add(cmd, "resume")
	return cmd
}

// marked is a pause that a command found or made.
type marked struct {
	pause   *event.Pause
	changed bool
}

// mark sets or ends the pause of a record.
func (h *halves) mark(at **event.Pause, verb string, m *marked) (event.Command, error) {
	*m = marked{pause: *at}
	if paused := *at != nil; paused == (verb == event.VerbPause) {
		return event.Command{}, publisher.ErrUnchanged
	}
	m.changed = true
	if *at = nil; verb == event.VerbPause {
		m.pause = &event.Pause{By: h.by, Why: h.why, At: time.Now().UTC()}
		*at = m.pause
	}
	return event.Command{Verb: verb, Why: h.why}, nil
}

// markAll does so with all that is meant, and calls told after each.
func (h *halves) markAll(ctx context.Context, verb string, told func(half string, m marked) error) error {
	var m marked
	done := func(half string, err error) error {
		if err != nil && !errors.Is(err, publisher.ErrUnchanged) {
			return fmt.Errorf("%s %s of %s: %w", verb, half, h.name, err)
		}
		return told(half, m)
	}
	if h.source != "" {
		s, err := h.knownSource(ctx)
		if err != nil {
			return err
		}
		_, err = h.raw(ctx, s, func(c *event.RawCursor, _ bool) (event.Command, error) { return h.mark(&c.Paused, verb, &m) })
		return done("collecting by "+h.source, err)
	}
	if h.collecting() {
		_, err := h.choice(ctx, func(c *event.Choice, _ bool) (event.Command, error) {
			at := &c.Paused
			if verb == event.VerbResume {
				if err := provider.Resumable(h.name, *c); err != nil {
					return event.Command{}, err // a rename that has begun since
				}
			}
			if c.Taking() != "" {
				at = &c.Paused.Own // it holds when the rename is done
			}
			marked, err := h.mark(at, verb, &m)
			if err == nil {
				c.Removed = nil // it counts again
			}
			return marked, err
		})
		if err := done("collecting", err); err != nil {
			return err
		}
	}
	if h.normalizing() {
		_, err := h.normalized(ctx, func(c *event.NormalizedCursor, _ bool) (event.Command, error) {
			return h.mark(&c.Paused, verb, &m)
		})
		return done("normalizing", err)
	}
	return nil
}

// knownSource is the source that is meant: one with a cursor, or one of the configuration.
func (h *halves) knownSource(ctx context.Context) (event.Source, error) {
	if h.cfg != nil {
		if shard, ok := app.SourceOf(h.cfg, h.name, event.Source(h.source)); ok {
			return shard.Name, nil
		}
	}
	r, err := h.records(ctx)
	if err != nil {
		return "", err
	}
	return h.sourceFlag(h.source, r)
}

func (h *halves) pause(ctx context.Context) error {
	r, err := h.records(ctx)
	if err != nil {
		return err
	}
	if len(r.Raw) == 0 && r.Choice.Sequence == 0 && h.source == "" {
		fmt.Fprintf(h.p.Stderr, "%s has not collected anything yet: it will not begin\n", h.name)
	}
	err = h.markAll(ctx, event.VerbPause, func(half string, m marked) error {
		if !m.changed {
			return h.say("%s: %s is paused already, %s", h.name, half, because(m.pause))
		}
		return h.say("%s: %s is paused", h.name, half)
	})
	if err != nil {
		return err
	}
	if r, err = h.records(ctx); err != nil {
		return fmt.Errorf("it is paused; where it stands is not known: %w", err)
	}
	return h.meanwhile(ctx, r)
}

// meanwhile says what goes on outside.
func (h *halves) meanwhile(ctx context.Context, r event.Records) error {
	stand := r.Stand()
	if !h.normalizer {
		for _, s := range stand.Sources {
			if s.Source.Job() || s.State == event.StandingRetired || s.State == event.StandingReplaced ||
				h.source != "" && string(s.Source) != h.source {
				continue
			}
			upTo := ""
			if !s.CollectedTime.IsZero() {
				upTo = ", complete up to " + stamp(s.CollectedTime)
			}
			if err := h.say("  %s stands at event %d%s: %s", s.Source, s.Collected, upTo, h.outside(s.Source)); err != nil {
				return err
			}
		}
	}
	if !h.normalizing() {
		return nil
	}
	age, used, most, err := h.client.RawAge(ctx)
	if err != nil {
		return fmt.Errorf("it is paused; how long EVENTS_RAW keeps events is not known: %w", err)
	}
	if age > 0 && (stand.LagEvents > 0 || !h.collecting()) {
		begin, what := r.Now, "what is collected from now on"
		if stand.LagEvents > 0 && !r.Waiting.IsZero() {
			begin, what = r.Waiting, fmt.Sprintf("the first of %d events that are not normalized yet", stand.LagEvents)
		}
		if err := h.say("  EVENTS_RAW keeps events for %s: %s is gone after %s, and will not be normalized if nobody resumes before",
			show.Age(age), what, stamp(begin.Add(age))); err != nil {
			return err
		}
	}
	if most > 0 && !h.collecting() {
		return h.say("  EVENTS_RAW has %d of %d MiB; when it is full collecting waits, for all providers", used>>20, most>>20)
	}
	return nil
}

// outside is what becomes of a source's events.
func (h *halves) outside(s event.Source) string {
	if h.cfg != nil {
		if shard, ok := app.SourceOf(h.cfg, h.name, s); ok && shard.Manual.Meanwhile != nil {
			return shard.Manual.Meanwhile()
		}
	}
	switch s.Kind() {
	case "amqp1":
		return "a broker keeps messages in its queues, up to their limits; a router keeps nothing (-c FILE says more)"
	case "amqp":
		return "the broker's queue goes on filling up to its limits, and then the broker drops the oldest notifications " +
			"(-c FILE shows name and limits)"
	case "webhook":
		return "senders are told to come again, or their connections are broken (-c FILE shows which): those lose nothing that try again"
	}
	return "the service keeps its events for a time of its own: what it forgets before it is asked again is lost"
}

func (h *halves) resume(ctx context.Context) error {
	r, err := h.records(ctx)
	if err != nil {
		return err
	}
	if from, to := r.Renaming(); from != "" {
		return provider.Unfinished(from, to)
	}
	if h.collecting() {
		if err := provider.Resumable(h.name, r.Choice); err != nil {
			return err
		}
	}
	err = h.markAll(ctx, event.VerbResume, func(half string, m marked) error {
		if !m.changed {
			return h.say("%s: %s is not paused", h.name, half)
		}
		return h.say("%s: %s goes on; it was paused %s", h.name, half, because(m.pause))
	})
	if err != nil {
		return err
	}
	if r, err = h.records(ctx); err != nil {
		return fmt.Errorf("it goes on; from where is not known: %w", err)
	}
	return h.goesOn(r)
}

// goesOn says from where, and what is still paused.
func (h *halves) goesOn(r event.Records) error {
	still := func(what string, p *event.Pause) error {
		return h.say("  %s is still paused, %s", what, because(p))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Raw)) {
		c := r.Raw[name]
		if h.normalizer || name.Job() || c.Retired || r.Choice.Kind != "" && !name.Of(r.Choice.Kind) ||
			h.source != "" && string(name) != h.source {
			continue
		}
		switch pause := cmp.Or(c.Paused, r.Choice.Paused); {
		case pause != nil:
			if err := still(string(name), pause); err != nil {
				return err
			}
		default:
			from := ""
			if !c.Watermark.IsZero() {
				from = ", from " + stamp(c.Watermark) + " on"
			}
			if err := h.say("  %s goes on behind event %d%s", name, c.Position, from); err != nil {
				return err
			}
		}
	}
	if h.source != "" || h.collectors {
		return nil
	}
	if r.Normalized.Paused != nil {
		return still("normalizing", r.Normalized.Paused)
	}
	stand := r.Stand()
	if r.Trouble != nil {
		return h.say("  normalizing can't go on: %s (see `stackstream watermark accept-gap --help`)", r.Trouble)
	}
	return h.say("  normalizing goes on with %d events that wait", stand.LagEvents)
}

// namesOf are the names of sources in order.
func namesOf(raw map[event.Source]event.RawCursor) string {
	var names []string
	for _, s := range slices.Sorted(maps.Keys(raw)) {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}
