package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stackstream/internal/app"
	"stackstream/internal/app/config"
	"stackstream/jetstream"
)

// Stackstream is the program with everything in it, the server that openStore opens included.
func Stackstream(openStore app.OpenStore) func(context.Context, Program) int {
	return func(ctx context.Context, p Program) int {
		p.openStore = openStore
		return p.execute(ctx, p.stackstream())
	}
}

func (p Program) stackstream() *cobra.Command {
	root := &cobra.Command{
		Use:   "stackstream",
		Short: "Collect events into NATS JetStream, once and in order",
		Long: `stackstream reads the events of OpenStack clouds, and of any service that hands them out over HTTP,
keeps every one of them once and in order in NATS JetStream, and hands them out in one canonical form
on events.normalized.<provider>.

Start with "stackstream demo": it needs no configuration and no other service.
Then copy examples/amqp.yaml or examples/panko.yaml, name your cloud in it, and run
"stackstream check -c FILE" and "stackstream up -c FILE". For another service "stackstream new http"
writes a file to begin with. docs/operating.md is the handbook, by task.

Every command exits with 0 when it has done what it was told, with 1 when it failed, and with 2 when it
was used wrongly or the configuration has a mistake.`,
		Example: `  stackstream demo
  stackstream check -c stackstream.yaml
  stackstream up -c stackstream.yaml
  stackstream watermark`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.AddGroup(&cobra.Group{ID: "run", Title: "Run:"}, &cobra.Group{ID: "look", Title: "Look:"},
		&cobra.Group{ID: "repair", Title: "Repair:"}, &cobra.Group{ID: "operate", Title: "Operate:"},
		&cobra.Group{ID: "set up", Title: "Set up:"}, &cobra.Group{ID: "describe", Title: "Describe a service:"})
	add := func(group string, cmds ...*cobra.Command) {
		for _, cmd := range cmds {
			cmd.GroupID = group
			root.AddCommand(cmd)
		}
	}
	add("run", p.demoCommand(), p.upCommand())
	add("look", p.tailCommand(), p.watermarkCommand())
	add("repair", p.deadCommand(), p.replayCommand(), p.backfillCommand())
	add("operate", p.pauseCommand(), p.resumeCommand(), p.providerCommand(), p.subscriberCommand(), p.backupCommand(),
		p.restoreCommand())
	add("set up", p.checkCommand(), p.provisionCommand())
	add("describe", p.newCommand(), p.tryCommand(), p.recordCommand(), p.testCommand())
	root.AddCommand(p.schemaCommand(), p.versionCommand())
	return root
}

// takesChanges is what the help of every program says that runs for long.
const takesChanges = `A changed configuration file is taken within two seconds, or at once on SIGHUP, without a restart; so
are new contents of the files with passwords, keys and certificates that providers name. Only the
providers whose settings changed are ended (what is being committed is finished) and begun again,
added ones begin, removed ones end, once what was collected is normalized; all others do not notice.
A file with a mistake in it is not used at all: the log tells every mistake, /readyz the first, and the
configuration in use stays in use. What can't change while the program runs (nats, streams, admin,
log.format) is named in both, and waits for a restart.

Interrupted (SIGINT or SIGTERM) it finishes what is being committed and ends; a second time it ends at
once. Nothing is lost by either, nor by a kill: started again, it goes on exactly where it was.`

// Collector is the program that only collects.
func Collector(ctx context.Context, p Program) int { return p.execute(ctx, p.collector()) }

func (p Program) collector() *cobra.Command {
	var file, kind string
	cmd := &cobra.Command{
		Use:   "collector -c FILE [--source KIND]",
		Short: "Collect events into EVENTS_RAW",
		Long: `collector reads the event services of the configured providers and writes what they show to the
stream EVENTS_RAW. Any number of collectors may run for the same providers: one works for each source
of a provider, the others stand by. The streams must exist: run "stackstream provision" first.

` + takesChanges,
		Example: "  collector -c /etc/stackstream/stackstream.yaml\n  collector -c stackstream.yaml --source panko",
		Args:    noArgs,
		Version: versionLine(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.runHalf(cmd.Context(), file, &app.Pipeline{Collect: true, Kind: kind})
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().StringVar(&kind, "source", "", "collect with sources of this `KIND` only: "+app.KindList())
	return cmd
}

// Normalizer is the program that only normalizes.
func Normalizer(ctx context.Context, p Program) int { return p.execute(ctx, p.normalizer()) }

func (p Program) normalizer() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "normalizer -c FILE",
		Short: "Turn raw events into canonical ones",
		Long: `normalizer reads EVENTS_RAW and writes canonical events to EVENTS_NORMALIZED, for the configured
providers. Any number of normalizers may run for the same providers: one works for each, the others
stand by. The streams must exist: run "stackstream provision" first.

` + takesChanges,
		Example: "  normalizer -c /etc/stackstream/stackstream.yaml",
		Args:    noArgs,
		Version: versionLine(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.runHalf(cmd.Context(), file, &app.Pipeline{Normalize: true})
		},
	}
	configFlag(cmd, &file)
	return cmd
}

// runHalf runs one half of the pipeline against a cluster.
func (p Program) runHalf(ctx context.Context, file string, pipeline *app.Pipeline) error {
	if pipeline.Kind != "" && !app.IsKind(pipeline.Kind) {
		return usagef("--source %q is no kind of source: %s", pipeline.Kind, app.KindList())
	}
	return p.run(ctx, file, pipeline, func() (*config.Config, error) {
		cfg, err := p.load(file)
		if err == nil && cfg.NATS.UseEmbedded() {
			return nil, usagef("%s names no nats.url: this program works against a cluster; "+
				"`stackstream up` runs everything in one process", file)
		}
		return cfg, err
	})
}

// run completes a pipeline and runs it. load reads the file, at the beginning and when it has changed.
func (p Program) run(ctx context.Context, file string, pipeline *app.Pipeline, load func() (*config.Config, error)) error {
	var told <-chan os.Signal
	if p.Hangups != nil {
		told = p.Hangups(ctx) // before all else: one that comes early is no reason to end
	}
	cfg, err := load()
	if err != nil {
		return err
	}
	log, setLevel, err := p.changingLogger(cfg.Log.Level, cfg.Log.Format)
	if err != nil {
		return err
	}
	pipeline.Config, pipeline.Log, pipeline.Version = cfg, log, versionShort()
	pipeline.Reload = &app.Reload{File: file, Load: load, Hangups: told, SetLevel: setLevel}
	log.Info().Str("version", versionLine()).Int("providers", len(cfg.Providers)).Msg("starting")
	if err := pipeline.Run(ctx); err != nil {
		return err
	}
	log.Info().Msg("stopped")
	return nil
}

// load reads the configuration.
func (p Program) load(file string) (*config.Config, error) {
	if file == "" {
		return nil, usagef("a configuration is needed: give it with -c FILE")
	}
	return config.Reader{Env: p.Env, Kinds: app.Kinds()}.File(file)
}

const (
	// connectWait is how long a command that people wait for tries to reach NATS where nobody answers.
	connectWait = 3 * time.Second
	// answerWait is how long it waits for a server that is there and slow: it may be the busy one that somebody wants to look at.
	answerWait = 10 * time.Second
)

var errNoAnswer = errors.New("no server answered in time")

// clientSettings is how a command reaches the NATS of a configuration. Where that is embedded, it is in the process that
// runs `up`, and reachable only if it listens.
func clientSettings(cfg *config.Config, file string) (jetstream.Config, error) {
	if !cfg.NATS.UseEmbedded() {
		return cfg.NATS.Config, nil
	}
	if cfg.NATS.Embedded.Listen == "" {
		return jetstream.Config{}, usagef("%s runs NATS inside `stackstream up` without an address for others: "+
			"set nats.embedded.listen, or give `up` --nats-listen and this command --nats", file)
	}
	return jetstream.Config{URLs: []string{"nats://" + cfg.NATS.Embedded.Listen}}, nil
}

// connect reaches NATS for a command that people wait for: it gives up after a while.
func (p Program) connect(ctx context.Context, settings jetstream.Config) (*jetstream.Client, error) {
	log, err := p.logger("error", "auto")
	if err != nil {
		return nil, err
	}
	settings.Name = "stackstream " + app.ClientName()
	limited, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	began := time.Now()
	late := time.AfterFunc(answerWait, func() { cancel(errNoAnswer) })
	defer late.Stop()
	client, err := jetstream.Connect(limited, settings, log, jetstream.Hooks{Connected: func(problem error) {
		wait := answerWait
		if problem != nil {
			wait = connectWait
		}
		late.Reset(wait - time.Since(began))
	}})
	if err != nil && errors.Is(context.Cause(limited), errNoAnswer) {
		return nil, fmt.Errorf("no NATS server answers at %s (is `stackstream up` or the cluster running? "+
			"--nats, or nats.url of the configuration, names another): %w", strings.Join(settings.URLs, ", "), err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", strings.Join(settings.URLs, ", "), err)
	}
	return client, nil
}

// withNATS connects for the time of a call.
func (p Program) withNATS(ctx context.Context, nats *natsFlags, call func(context.Context, *jetstream.Client) error) error {
	_, settings, err := nats.read(p)
	if err != nil {
		return err
	}
	client, err := p.connect(ctx, settings)
	if err != nil {
		return err
	}
	defer p.close(ctx, client)
	return call(ctx, client)
}

// close ends a command's connection. What it has to say no longer matters to the command's result.
func (p Program) close(ctx context.Context, client *jetstream.Client) {
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = client.Close(grace)
}
