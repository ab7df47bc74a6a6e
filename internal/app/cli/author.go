package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"stackstream/internal/app"
	"stackstream/internal/app/author"
	"stackstream/internal/app/config"
	"stackstream/internal/app/show"
	"stackstream/internal/cassette"
	"stackstream/internal/check"
)

// fileArg lets the configuration be the one argument, or given with -c.
func fileArg(file *string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) > 1:
			return usagef("takes one FILE, has %q as well", args[1])
		case len(args) == 1 && *file != "":
			return usagef("takes one configuration, has %q and %q", *file, args[0])
		case len(args) == 1:
			*file = args[0]
		}
		return nil
	}
}

// subject reads a configuration and chooses the source that it is about. Offline a variable that is not set stands for a
// secret that is not there.
func (p Program) subject(file, provider string, offline bool) (*author.Subject, error) {
	if file == "" {
		return nil, usagef("a configuration is needed: give it with -c FILE")
	}
	name, err := providerFlag(provider)
	if err != nil {
		return nil, err
	}
	var fromEnv []string
	read := func(missing bool) (*config.Config, error) {
		fromEnv = nil
		return config.Reader{Kinds: app.Kinds(), Env: func(name string) (string, bool) {
			value, ok := p.Env(name)
			if !ok && missing {
				return cassette.Placeholder, true
			}
			fromEnv = append(fromEnv, value)
			return value, ok
		}}.File(file)
	}
	cfg, err := read(false)
	if err != nil && offline {
		if again, errAgain := read(true); errAgain == nil {
			cfg, err = again, nil
		}
	}
	if err != nil {
		return nil, err
	}
	s, err := author.Choose(cfg, name)
	if err != nil {
		return nil, usageError{err}
	}
	s.Version, s.FromEnv = versionShort(), fromEnv
	return s, nil
}

func (p Program) recordCommand() *cobra.Command {
	var file, provider, out string
	var force bool
	runs := countValue(1)
	cmd := &cobra.Command{
		Use:   "record -c FILE -o CASSETTE",
		Short: "Record how an HTTP event service answers",
		Long: `record polls the event service of a provider as "up" would and saves the conversation, without the
secrets, for "test" to play back. It writes into no stream. The file is a cassette of go-vcr. Interrupted,
it writes no file.`,
		Example: "  stackstream record -c my-service.yaml -o my-service.cassette.yaml --runs 2",
		Args:    fileArg(&file),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return usagef("a file to write is needed: give it with -o CASSETTE")
			}
			s, err := p.subject(file, provider, false)
			if err != nil {
				return err
			}
			if err := cassette.Free(out, force); err != nil {
				return replaces(err)
			}
			c, err := s.Record(cmd.Context(), int(runs), func(run int, r author.Recorded) {
				more := ""
				if r.Why != "" {
					more = fmt.Sprintf("; it goes on in %s: %s", r.In.Round(time.Second), show.Clean(r.Why))
				}
				fmt.Fprintf(p.Stderr, "run %d, by %s: %s, %s%s\n", run, r.Clock.Format(time.RFC3339), count(r.Requests, "request"),
					count(r.Events, "event"), more)
			})
			if err != nil {
				return err
			}
			if err := c.Save(out, force); err != nil {
				return replaces(err)
			}
			return p.say(fmt.Sprintf("%s has %s; the secrets are not in it, the events are.", out, count(len(c.Interactions), "request")))
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().StringVar(&provider, "provider", "", "`PROVIDER` whose service is asked; the only one by default")
	cmd.Flags().StringVarP(&out, "output", "o", "", "`CASSETTE` to write")
	cmd.Flags().Var(&runs, "runs", "poll `N` times, schedule.every apart")
	cmd.Flags().BoolVar(&force, "force", false, "replace the file if it is there")
	_ = cmd.MarkFlagFilename("output", "yaml", "yml")
	return cmd
}

// replaces says how to replace a file that is there.
func replaces(err error) error {
	if errors.Is(err, cassette.ErrExists) {
		return fmt.Errorf("%w: --force replaces it", err)
	}
	return err
}

func (p Program) tryCommand() *cobra.Command {
	var file, provider string
	var asJSON bool
	pages, events := countValue(1), countValue(3)
	cmd := &cobra.Command{
		Use:   "try FILE",
		Short: "Ask an HTTP event service once, and show what comes of it",
		Long: `try asks the event service of a provider for its first page and shows the request, without the secrets,
the answer, what each expression comes to for the first records, where the cursor would stand and what
would be asked next. It writes nothing and holds no lease.`,
		Example: "  stackstream try my-service.yaml\n  stackstream try my-service.yaml --pages 2 --events 10",
		Args:    fileArg(&file),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := p.subject(file, provider, false)
			if err != nil {
				return err
			}
			result, err := s.Try(cmd.Context(), int(pages), int(events))
			if err != nil {
				return err
			}
			if asJSON {
				err = p.printJSON(struct {
					*author.Trial
					Doubts check.Findings `json:"doubts"`
				}{result, s.Doubts})
			} else if err = result.Write(p.Stdout); err == nil && len(s.Doubts) > 0 {
				err = errors.Join(p.say(""), show.Findings(p.Stdout, s.Doubts, p.colour(p.Stdout)))
			}
			if err == nil && !result.OK() {
				err = errReported
			}
			return err
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().StringVar(&provider, "provider", "", "`PROVIDER` whose service is asked; the only one by default")
	cmd.Flags().Var(&pages, "pages", "ask for `N` pages at most")
	cmd.Flags().Var(&events, "events", "show the first `N` events")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p Program) newCommand() *cobra.Command {
	var out string
	var force bool
	cmd := &cobra.Command{
		Use:   "new KIND",
		Short: "Write a configuration to begin with",
		Long: `new writes a short configuration with comments that help to decide. The places to fill in are marked
with <angle brackets>. There is one for the kind http: any event service that is asked by HTTP.`,
		Example:   "  stackstream new http -o my-service.yaml",
		ValidArgs: []string{"http"},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] != "http" {
				return usagef("takes one kind: http")
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			if out == "" {
				_, err := p.Stdout.Write(author.Beginning())
				return err
			}
			if err := cassette.WriteFile(out, author.Beginning(), force); err != nil {
				return replaces(err)
			}
			return p.say(fmt.Sprintf("%s is to be filled in where <it says so>; then: stackstream try %s", out, out))
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "`FILE` to write, standard output by default")
	cmd.Flags().BoolVar(&force, "force", false, "replace the file if it is there")
	_ = cmd.MarkFlagFilename("output", "yaml", "yml")
	return cmd
}

func (p Program) testCommand() *cobra.Command {
	var file string
	o := testOptions{}
	at := sinceValue{now: time.Now}
	cmd := &cobra.Command{
		Use:   "test FILE --cassette CASSETTE",
		Short: "Play a recorded conversation back, as it was and with faults",
		Long: `test plays back what "record" has recorded, asking nobody: it shows the requests, the moves of the cursor
and the events. Then it plays it again and again, each time with one fault at one request (a page twice, an
answer cut short, 429, 500, 401, a late record, …), and says which events were lost or came twice. Neither
secrets nor the network are needed. docs/authoring.md says what that proves.`,
		Example: `  stackstream test my-service.yaml --cassette my-service.cassette.yaml
  stackstream test my-service.yaml --cassette my-service.cassette.yaml --expect events.json`,
		Args: fileArg(&file),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.cassette == "" {
				return usagef("a recorded conversation is needed: give it with --cassette CASSETTE, `stackstream record` makes one")
			}
			if o.update && o.expect == "" {
				return usagef("--update wants the file to write: give it with --expect FILE")
			}
			s, err := p.subject(file, o.provider, true)
			if err != nil {
				return err
			}
			o.at = at.at
			return p.test(cmd.Context(), s, o)
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().StringVar(&o.provider, "provider", "", "`PROVIDER` that was recorded; the only one by default")
	cmd.Flags().StringVar(&o.cassette, "cassette", "", "`CASSETTE` to play back")
	cmd.Flags().StringVar(&o.expect, "expect", "", "`FILE` of the events that should come of it")
	cmd.Flags().BoolVar(&o.update, "update", false, "write that file")
	cmd.Flags().IntVar(&o.places, "places", 12, "inject each fault in at most `N` places, 0 for all there are")
	cmd.Flags().Var(&at, "clock", "`TIME` that the first run goes by, where the cassette does not say")
	cmd.Flags().BoolVar(&o.json, "json", false, "print JSON")
	_ = cmd.MarkFlagFilename("cassette", "yaml", "yml")
	return cmd
}

type testOptions struct {
	provider, cassette, expect string
	update, json               bool
	places                     int
	at                         time.Time
}

func (p Program) test(ctx context.Context, s *author.Subject, o testOptions) error {
	c, err := cassette.Load(o.cassette)
	if err != nil {
		return err
	}
	replay, failed := s.Replay(ctx, c, o.at)
	if replay == nil {
		return failed
	}
	result := testResult{Replay: replay}
	if failed != nil {
		result.Failed = append(result.Failed, failed.Error())
	} else if result.Tests, err = s.Faults(ctx, c, replay, o.places); err != nil {
		return err
	}
	switch {
	case failed != nil:
	case o.update:
		if err := author.Update(o.expect, replay.Events); err != nil {
			return err
		}
	case o.expect != "":
		differences, err := author.Differences(o.expect, replay.Events)
		if err != nil {
			return err
		}
		for _, d := range differences {
			result.Failed = append(result.Failed, o.expect+": "+d)
		}
	}
	if o.json {
		err = p.printJSON(result)
	} else {
		err = result.write(p.Stdout)
	}
	if err == nil && !result.ok() {
		err = errReported
	}
	return err
}

// testResult is everything that a test found.
type testResult struct {
	*author.Replay
	*author.Tests
	Failed []string `json:"failed"`
}

func (r testResult) ok() bool { return len(r.Failed) == 0 && (r.Tests == nil || r.OK()) }

func (r testResult) write(w io.Writer) error {
	if err := r.Replay.Write(w); err != nil {
		return err
	}
	if r.Tests != nil {
		if err := r.Tests.Write(w); err != nil {
			return err
		}
	}
	verdict := fmt.Sprintf("ok: %s", count(len(r.Events), "event"))
	if !r.ok() {
		verdict = "FAILED"
	}
	if _, err := fmt.Fprintf(w, "\n%s\n", verdict); err != nil {
		return err
	}
	for _, f := range r.Failed {
		if _, err := fmt.Fprintf(w, "  %s\n", show.Clean(f)); err != nil {
			return err
		}
	}
	return nil
}
