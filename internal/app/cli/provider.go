package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stackstream/event"
	"stackstream/internal/app/config"
	"stackstream/internal/app/provider"
	"stackstream/internal/app/show"
	"stackstream/jetstream"
)

func (p Program) providerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "provider",
		Short: "List providers, remove what one left behind, rename one",
		Long: `provider looks after what the streams have of providers, also of those that no configuration has any
more. To add, change or stop one, edit the configuration: running programs take that by themselves.`,
		Example: `  stackstream provider ls -c stackstream.yaml
  stackstream provider rm my-cloud -c stackstream.yaml`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q: ls, rm or rename is meant", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(p.providerListCommand(), p.providerRemoveCommand(), p.providerRenameCommand())
	return cmd
}

// providerScene is what the commands about providers work with.
type providerScene struct {
	natsFlags
	client *jetstream.Client
	server *awaiting
	// configured is nil where no file says who is.
	configured config.Providers
}

// open reads the configuration, if there is one, and connects. close must be called.
func (s *providerScene) open(p Program, cmd *cobra.Command) (closeIt func(), err error) {
	cfg, settings, err := s.read(p)
	if err != nil {
		return nil, err
	}
	if cfg != nil {
		s.configured = cfg.Providers
	}
	s.server = p.awaiting()
	if s.client, err = p.connect(cmd.Context(), settings); err != nil {
		return nil, err
	}
	return func() { p.close(cmd.Context(), s.client) }, nil
}

// look is what there is of a provider.
func (s *providerScene) look(ctx context.Context, name event.Provider) (*jetstream.Holding, error) {
	found, err := s.holdings(ctx, name)
	if err != nil {
		return nil, err
	}
	return found[name], nil
}

// holdings is what there is of a provider, or of all if name is "".
func (s *providerScene) holdings(ctx context.Context, name event.Provider) (found map[event.Provider]*jetstream.Holding, err error) {
	err = s.server.try(ctx, func() (err error) {
		found, err = s.client.Holdings(ctx, name)
		return err
	})
	return found, err
}

// unknown is the error about a provider of which the streams have nothing.
func (p Program) unknown(ctx context.Context, s *providerScene, name event.Provider) error {
	if err := p.known(ctx, s.client, &s.natsFlags, "", name); err != nil {
		return err
	}
	return fmt.Errorf("the streams have nothing of %s: `stackstream provider ls` lists those that they know", name)
}

// unconfigured refuses a provider that the configuration still has.
func (s *providerScene) unconfigured(name event.Provider) error {
	if _, there := s.configured[name]; there {
		return fmt.Errorf("%s has provider %s: take it out first, so that whoever reads that file stops working for it", s.file, name)
	}
	return nil
}

// providerArgument is an argument that names a provider.
func providerArgument(name string) (event.Provider, error) {
	found, err := event.ParseProvider(name)
	if err != nil {
		return "", usageError{err}
	}
	return found, nil
}

// sayPatience says why nothing seems to happen: where somebody waits for a lease, it is looked for a while.
func (p Program) sayPatience(h *jetstream.Holding) {
	if d := h.Unsure(); d > 0 {
		fmt.Fprintf(p.Stderr, "Looking for up to %s whether anybody works for %s after all, since some process waits for a lease.\n",
			d, h.Provider)
	}
}

// because is who gives a command and why, for the record of it.
func (r *onRecord) because(p Program) provider.Operator {
	return provider.Operator{By: r.who(p), Why: r.why}
}

// heldProvider is a provider as `provider ls --json` shows it.
type heldProvider struct {
	Provider event.Provider `json:"provider"`
	// Configured is absent where no file was given.
	Configured *bool        `json:"configured,omitempty"`
	Chosen     string       `json:"chosen,omitempty"`
	Why        string       `json:"why,omitempty"`
	Sources    []heldSource `json:"sources"`
	Raw        uint64       `json:"raw_events"`
	Pending    uint64       `json:"not_normalized"`
	Canonical  uint64       `json:"normalized_events"`
	Dead       uint64       `json:"dead_letters"`
	Consumer   bool         `json:"consumer"`
	// Working says who works for it.
	Working []string `json:"worked_for_by"`
	// Pauses are what operators have stopped of it.
	Pauses []heldPause `json:"pauses,omitempty"`
	// Gone: nothing is left but its numbers.
	Gone bool `json:"gone"`
}

type heldSource struct {
	Source     event.Source `json:"source"`
	Position   event.Seq    `json:"position"`
	Normalized event.Seq    `json:"normalized"`
	Raw        uint64       `json:"raw_events"`
	Retired    bool         `json:"retired,omitempty"`
	WrittenAt  time.Time    `json:"written_at,omitzero"`
}

type heldPause struct {
	// What is "collecting", "normalizing", or "source".
	What   string       `json:"what"`
	Source event.Source `json:"source,omitempty"`
	event.Pause
}

func held(h *jetstream.Holding, configured config.Providers) heldProvider {
	out := heldProvider{
		Provider: h.Provider, Chosen: h.Choice.Kind, Why: h.Choice.Why, Sources: []heldSource{}, Raw: h.Events(),
		Pending: h.Unnormalized(), Canonical: h.Canonical, Dead: h.Dead, Consumer: h.Consumer,
		Working: append([]string{}, h.AtWork(time.Now())...), Gone: provider.Gone(h),
	}
	if configured != nil {
		_, there := configured[h.Provider]
		out.Configured = &there
		out.Gone = out.Gone && !there
	}
	for _, s := range slices.Sorted(maps.Keys(h.Sources)) {
		c := h.Sources[s]
		out.Sources = append(out.Sources, heldSource{
			Source: s, Position: c.Position, Normalized: h.Normalized.Sources[s].Position, Raw: h.Raw[s], Retired: c.Retired,
			WrittenAt: c.WrittenAt,
		})
	}
	for _, pause := range provider.Pauses(h) {
		out.Pauses = append(out.Pauses, heldPause{pause.What, pause.Source, *pause.Pause})
	}
	return out
}

func (p Program) providerListCommand() *cobra.Command {
	var s providerScene
	var asJSON, all bool
	cmd := &cobra.Command{
		Use:   "ls [-c FILE]",
		Short: "List the providers that the configuration or the streams have",
		Long: `ls lists every provider that the configuration has, or of which the streams have anything: which kind
of source was chosen for it, where each source stands, how many events are kept in EVENTS_RAW,
EVENTS_NORMALIZED and EVENTS_DEAD, who works for it now, and what an operator has paused, when and why. A
provider that nobody works for and that is not configured has left something behind: see stackstream
provider rm. It changes nothing.

It reads how the streams and their consumers stand, which needs the rights of an administrator.`,
		Example: `  stackstream provider ls -c stackstream.yaml
  stackstream provider ls --json | jq -r '.[] | select(.worked_for_by == []) | .provider'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			closeIt, err := s.open(p, cmd)
			if err != nil {
				return err
			}
			defer closeIt()
			holdings, err := s.holdings(cmd.Context(), "")
			if err != nil {
				return err
			}
			for name := range s.configured {
				if holdings[name] == nil {
					holdings[name] = &jetstream.Holding{Provider: name}
				}
			}
			list := []heldProvider{}
			for _, name := range slices.Sorted(maps.Keys(holdings)) {
				if h := held(holdings[name], s.configured); all || !h.Gone {
					list = append(list, h)
				}
			}
			if asJSON {
				return p.printJSON(list)
			}
			if len(list) == 0 {
				return p.say("There is no provider.")
			}
			return show.Table(p.Stdout, providerRows(list))
		},
	}
	s.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	cmd.Flags().BoolVar(&all, "all", false, "also list removed providers, of which the numbers are kept and nothing else")
	return cmd
}

// providerRows has one line for each source, with what is true of the provider in its first.
func providerRows(list []heldProvider) [][]string {
	rows := [][]string{{
		"PROVIDER", "CONFIGURED", "CHOSEN", "RAW", "NORMALIZED", "DEAD", "SOURCE", "POSITION", "TO NORMALIZE", "WORKED FOR BY", "PAUSED",
	}}
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	for _, h := range list {
		configured, chosen, working := "-", h.Chosen, "nobody"
		if h.Configured != nil {
			configured = map[bool]string{true: "yes", false: "no"}[*h.Configured]
		}
		if chosen == "" {
			chosen = "-"
		}
		if len(h.Working) > 0 {
			working = show.Clean(strings.Join(h.Working, "; "))
		}
		row := []string{
			string(h.Provider), configured, chosen, number(h.Raw), number(h.Canonical), number(h.Dead), "-", "-",
			number(h.Pending), working, pausesOf(h.Pauses, ""),
		}
		for i, s := range h.Sources {
			if i > 0 {
				row = make([]string, len(row))
				row[10] = pausesOf(h.Pauses, s.Source)
			} else {
				row[10] = pausesOf(h.Pauses, "", s.Source)
			}
			row[6], row[7] = string(s.Source), number(uint64(s.Position))
			if s.Retired {
				row[7] += " (retired)"
			}
			rows = append(rows, row)
		}
		if len(h.Sources) == 0 {
			rows = append(rows, row)
		}
	}
	return rows
}

// pausesOf says what is paused of the provider as a whole (""), or of a source.
func pausesOf(pauses []heldPause, of ...event.Source) string {
	var text []string
	for _, p := range pauses {
		if slices.Contains(of, p.Source) {
			text = append(text, show.Clean(cmp.Or(string(p.Source), p.What)+" "+because(&p.Pause)))
		}
	}
	if len(text) == 0 {
		return "-"
	}
	return strings.Join(text, "; ")
}
