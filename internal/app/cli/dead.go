package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stackstream/event"
	"stackstream/internal/app/letters"
	"stackstream/internal/app/show"
	"stackstream/jetstream"
)

func (p Program) deadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dead",
		Short: "Look at dead letters, and have them converted again",
		Long: `A dead letter is a raw event that could not be converted. It is kept whole, with the reason, for 90 days
(streams.dead.max_age), and has a number: its place in the row of a provider's events.

An event that nothing converts, that a mapping is wrong for, or that makes a converter panic becomes one;
nothing is lost by that, and the events behind it go on. When the converter or the mapping is mended,
"dead redrive" has the letters converted again. What cannot be mended is dropped with "dead drop", which
deletes nothing: the letter stays and is no longer open.

A letter is in one of these states:

  open       nothing was done about it
  queued     something is to be done about it; the normalizer has not come to that yet
  redriven   it was converted again and is an event now, marked Evt-Redriven
  dead       it was converted again and is a new dead letter with a number of its own, which is
             open
  dropped    somebody has said that nothing is to be done about it

On a cluster with rights it needs those of the user "operator" in deploy/nats/nats.conf.`,
		Example: `  stackstream dead stats                                    # how many, by reason and converter
  stackstream dead ls --provider prod --reason malformed --since 1d
  stackstream dead show 4711 --provider prod                # everything about one
  stackstream dead redrive --converter 'http/*' --dry-run -c stackstream.yaml
  stackstream dead redrive --converter 'http/*' --why 'mapping of user mended'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q", "dead "+args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(p.deadLsCommand(), p.deadStatsCommand(), p.deadShowCommand(), p.deadExportCommand(),
		p.deadRedriveCommand(), p.deadDropCommand())
	return cmd
}

// letterFlags say which dead letters are meant.
type letterFlags struct {
	provider     string
	numbers      string
	state        string
	since, until sinceValue
	limit        countValue
	filter       letters.Filter
}

// add adds the flags. state is the one that is meant unless another is named, all of them if it is "all".
func (f *letterFlags) add(cmd *cobra.Command, state string) {
	flags := cmd.Flags()
	f.since.now, f.until.now = time.Now, time.Now
	flags.StringVar(&f.provider, "provider", "", "only letters of this `PROVIDER`")
	flags.StringVar(&f.numbers, "number", "", "only the letters with these `NUMBERS`: 17, or 17,20-29")
	flags.StringSliceVar(&f.filter.Reasons, "reason", nil,
		"only letters with this `REASON`: no-converter, malformed, panic, body-lost, too-many, unwritable; may be repeated")
	flags.StringArrayVar(&f.filter.Converters, "converter", nil,
		"only letters that a converter like this `GLOB` refused, such as 'oslo/*'; may be repeated")
	flags.StringSliceVar(&f.filter.Formats, "format", nil, "only raw events of this `FORMAT`, such as oslo; may be repeated")
	flags.StringSliceVar(&f.filter.Sources, "source", nil, "only raw events of this `SOURCE`, such as amqp; may be repeated")
	flags.StringVar(&f.filter.Match, "match", "", "only letters whose detail has this `TEXT` in it")
	flags.Var(&f.since, "since", "only letters written at this `TIME` (RFC 3339) or later, or at most so long ago (1h, 7d)")
	flags.Var(&f.until, "until", "only letters written before this `TIME`, or longer ago than that")
	flags.StringVar(&f.state, "state", state, "only letters in this `STATE`: open, queued, redriven, dead, dropped, or all")
	flags.Var(&f.limit, "limit", "at most `N` letters of each provider, the oldest first")
}

// read returns the filter that the flags describe, and the provider, "" for all.
func (f *letterFlags) read() (*letters.Filter, event.Provider, error) {
	name, err := providerFlag(f.provider)
	if err != nil {
		return nil, "", err
	}
	filter := f.filter
	filter.Since, filter.Until, filter.Limit = f.since.at, f.until.at, uint64(f.limit)
	if filter.State = f.state; filter.State == "all" {
		filter.State = ""
	}
	if f.numbers != "" {
		if filter.Numbers, err = letters.ParseNumbers(f.numbers); err != nil {
			return nil, "", usagef("--number: %w", err)
		}
	}
	if err := filter.Validate(); err != nil {
		return nil, "", usageError{err}
	}
	return &filter, name, nil
}

// deadLetters are the dead letters of a server.
type deadLetters struct {
	client  *jetstream.Client
	streams *jetstream.Letters
	names   []event.Provider
	asked   bool // for one provider
	server  *awaiting
}

// openLetters connects and finds the providers that have dead letters, or the one that is asked for.
func (p Program) openLetters(
	ctx context.Context, nats *natsFlags, settings jetstream.Config, name event.Provider,
) (*deadLetters, error) {
	client, err := p.connect(ctx, settings)
	if err != nil {
		return nil, err
	}
	d := &deadLetters{client: client, streams: client.Letters(), server: p.awaiting()}
	err = d.server.try(ctx, func() error {
		d.names, err = d.streams.Providers(ctx)
		return err
	})
	if err == nil && !slices.Contains(d.names, name) {
		err = p.knownFlag(ctx, client, nats, name)
	}
	if err != nil {
		p.close(ctx, client)
		return nil, err
	}
	if name != "" {
		d.names, d.asked = []event.Provider{name}, true
	}
	return d, nil
}

// withLetters runs what needs the dead letters that flags describe.
func (p Program) withLetters(
	cmd *cobra.Command, nats *natsFlags, which *letterFlags, run func(context.Context, *deadLetters, *letters.Filter) error,
) error {
	filter, name, err := which.read()
	if err != nil {
		return err
	}
	return p.withDead(cmd.Context(), nats, name, func(ctx context.Context, dead *deadLetters) error { return run(ctx, dead, filter) })
}

// withDead runs what needs the dead letters of a provider, or of all.
func (p Program) withDead(
	ctx context.Context, nats *natsFlags, name event.Provider, run func(context.Context, *deadLetters) error,
) error {
	_, settings, err := nats.read(p)
	if err != nil {
		return err
	}
	dead, err := p.openLetters(ctx, nats, settings, name)
	if err != nil {
		return err
	}
	defer p.close(ctx, dead.client)
	return run(ctx, dead)
}

func (d *deadLetters) provider(name event.Provider) *letters.Provider {
	return &letters.Provider{Name: name, Streams: d.streams, Bodies: d.client.Bodies(), Again: d.server.again}
}

// each calls yield for every letter of every provider that the filter wants.
func (d *deadLetters) each(ctx context.Context, f *letters.Filter, yield func(l *event.Letter, state string) error) error {
	for _, name := range d.names {
		of := d.provider(name)
		if err := of.Read(ctx); err != nil {
			return err
		}
		if err := of.Each(ctx, f, yield); err != nil {
			return err
		}
	}
	return nil
}

func (p Program) deadLsCommand() *cobra.Command {
	var nats natsFlags
	var which letterFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List dead letters",
		Long: `ls lists dead letters, the oldest of each provider first: when it was written, where the event came from,
why and by which converter it was refused, its size and its state. It lists those that are open unless
--state says otherwise. It reads EVENTS_DEAD (and EVENTS_NORMALIZED, for what was not copied yet) and
changes nothing.`,
		Example: `  stackstream dead ls
  stackstream dead ls --provider prod --reason malformed --match 'user' --since 1d
  stackstream dead ls --state all --json | jq -r '.[] | select(.converter == "oslo/2") | .number'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withLetters(cmd, &nats, &which, func(ctx context.Context, dead *deadLetters, filter *letters.Filter) error {
				if asJSON {
					return p.listLettersJSON(ctx, dead, filter)
				}
				return p.listLetters(ctx, dead, filter)
			})
		},
	}
	nats.add(cmd)
	which.add(cmd, letters.Open)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return cmd
}

const (
	// listAtOnce is how many lines are aligned with one another: not all of them have to be in memory.
	listAtOnce = 1000
	// maxShown is how much of a detail a line shows.
	maxShown = 100
)

func (p Program) listLetters(ctx context.Context, dead *deadLetters, filter *letters.Filter) error {
	head := []string{"NUMBER", "WRITTEN", "SOURCE", "FORMAT", "REASON", "CONVERTER", "SIZE", "STATE", "DETAIL"}
	if len(dead.names) > 1 {
		head = append([]string{"PROVIDER"}, head...)
	}
	rows := [][]string{head}
	listed := false
	flush := func() error {
		if len(rows) == 1 {
			return nil
		}
		listed = true
		err := show.Table(p.Stdout, rows)
		rows = rows[:1]
		return err
	}
	err := dead.each(ctx, filter, func(l *event.Letter, state string) error {
		row := []string{
			strconv.FormatUint(uint64(l.Number), 10), l.StoredAt.UTC().Format("2006-01-02T15:04:05Z"), orDash(string(l.Origin.Source)),
			orDash(l.Format), orDash(string(l.Reason)), orDash(l.Converter), strconv.FormatInt(l.Size, 10), state, brief(l.Detail),
		}
		if len(dead.names) > 1 {
			row = append([]string{string(l.Provider)}, row...)
		}
		if rows = append(rows, row); len(rows) > listAtOnce {
			return flush()
		}
		return nil
	})
	if err := errors.Join(err, flush()); err != nil || listed {
		return err
	}
	return p.say(dead.none(filter))
}

// none says that there are no letters, or none that is like that.
func (d *deadLetters) none(f *letters.Filter) string {
	text := "There is no dead letter"
	switch {
	case len(d.names) == 0, f.State == "" && !f.Picks() && !d.asked:
		return "There are no dead letters."
	case f.Picks() || d.asked:
		text = "There is no such dead letter"
	}
	if f.State != "" {
		text += " that is " + f.State
	}
	return text + "."
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return show.Clean(text)
}

// brief is the first line of a detail, or what of it there is room for.
func brief(detail string) string {
	line, _, more := strings.Cut(strings.TrimSpace(detail), "\n")
	if runes := []rune(show.Clean(line)); len(runes) > maxShown {
		return string(runes[:maxShown]) + "…"
	} else if more {
		return string(runes) + " …"
	}
	return show.Clean(line)
}

func (p Program) listLettersJSON(ctx context.Context, dead *deadLetters, filter *letters.Filter) error {
	before := "["
	err := dead.each(ctx, filter, func(l *event.Letter, state string) error {
		err := p.elementJSON(before, letters.NewRecord(l, state))
		before = ","
		return err
	})
	if err != nil {
		return err
	}
	if before == "[" {
		return p.say("[]")
	}
	return p.say("\n]")
}

// elementJSON writes one element of an array that is never in memory as a whole.
func (p Program) elementJSON(before string, v any) error {
	text, err := json.Marshal(v)
	if err == nil {
		_, err = fmt.Fprintf(p.Stdout, "%s\n  %s", before, show.JSON(text))
	}
	return err
}

func (p Program) deadStatsCommand() *cobra.Command {
	var nats natsFlags
	var which letterFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Count dead letters by provider, reason, converter and state",
		Long: `stats counts dead letters: for each provider, reason and converter how many are in each state, which
numbers they have, and when the last one was written. It counts all of them unless flags say otherwise,
and changes nothing.`,
		Example: `  stackstream dead stats
  stackstream dead stats --since 1h --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withLetters(cmd, &nats, &which, func(ctx context.Context, dead *deadLetters, filter *letters.Filter) error {
				var groups letters.Groups
				err := dead.each(ctx, filter, func(l *event.Letter, state string) error {
					groups.Add(l, state)
					return nil
				})
				switch {
				case err != nil:
					return err
				case asJSON:
					return p.printJSON(groups.List())
				case len(groups.List()) == 0:
					return p.say(dead.none(filter))
				}
				return showGroups(p.Stdout, groups.List(), letters.States())
			})
		},
	}
	nats.add(cmd)
	which.add(cmd, "all")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return cmd
}

// showGroups writes a line for each group, with how many are in each of the states.
func showGroups(w io.Writer, groups []letters.Group, states []string) error {
	head := []string{"PROVIDER", "REASON", "CONVERTER", "LETTERS"}
	for _, state := range states {
		head = append(head, strings.ToUpper(state))
	}
	rows := [][]string{append(head, "NUMBERS", "LAST WRITTEN")}
	for _, g := range groups {
		row := []string{string(g.Provider), orDash(string(g.Reason)), orDash(g.Converter), strconv.Itoa(g.Letters)}
		for _, state := range states {
			row = append(row, strconv.Itoa(g.States[state]))
		}
		numbers := fmt.Sprint(g.First)
		if g.Last != g.First {
			numbers = fmt.Sprintf("%d…%d", g.First, g.Last)
		}
		rows = append(rows, append(row, numbers, g.Newest.UTC().Format("2006-01-02T15:04:05Z")))
	}
	return show.Table(w, rows)
}
