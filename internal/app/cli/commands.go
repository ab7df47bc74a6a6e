package cli

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"stackstream/event"
	"stackstream/internal/app"
	"stackstream/internal/app/config"
	"stackstream/internal/app/show"
	"stackstream/jetstream"
)

func (p Program) upCommand() *cobra.Command {
	var file, listen, dir string
	cmd := &cobra.Command{
		Use:   "up -c FILE",
		Short: "Run everything in one process",
		Long: `up creates the streams that are missing, collects from the configured providers and normalizes what
comes, until it is interrupted. Without nats.url in the configuration the streams are in this process
and in the directory nats.embedded.dir, every write synced to disk.

` + takesChanges,
		Example: `  stackstream up -c stackstream.yaml
  stackstream up -c stackstream.yaml --nats-listen 127.0.0.1:4222   # let nats, tail and others in
  curl http://127.0.0.1:8321/readyz                                 # what is not ready, and why`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.run(cmd.Context(), file, &app.Pipeline{Collect: true, Normalize: true, Provision: true, OpenStore: p.openStore},
				func() (*config.Config, error) {
					cfg, err := p.load(file)
					if err != nil {
						return nil, err
					}
					return cfg, embeddedFlags(cmd, cfg, listen, dir)
				})
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().StringVar(&listen, "nats-listen", "",
		"`ADDRESS` on loopback where other NATS clients may come in; port 0 takes a free one")
	cmd.Flags().StringVar(&dir, "store-dir", "", "`DIR` for the streams, in place of nats.embedded.dir")
	_ = cmd.MarkFlagDirname("store-dir")
	return cmd
}

// embeddedFlags puts flags in place of settings of the embedded server.
func embeddedFlags(cmd *cobra.Command, cfg *config.Config, listen, dir string) error {
	for _, name := range []string{"nats-listen", "store-dir"} {
		if cmd.Flags().Changed(name) && !cfg.NATS.UseEmbedded() {
			return usagef("--%s is for a server in this process, and nats.url names a cluster", name)
		}
	}
	if listen != "" {
		cfg.NATS.Embedded.Listen = listen
	}
	if dir != "" {
		cfg.NATS.Embedded.Dir = dir
	}
	for _, problem := range cfg.NATS.Embedded.Validate() {
		return usagef("nats.embedded.%s", problem)
	}
	return nil
}

// providerFlag checks the name of a provider; "" stands for all.
func providerFlag(name string) (event.Provider, error) {
	if name == "" {
		return "", nil
	}
	provider, err := event.ParseProvider(name)
	if err != nil {
		return "", usageError{err}
	}
	return provider, nil
}

// printJSON writes one indented document to standard output.
func (p Program) printJSON(v any) error {
	enc := json.NewEncoder(p.Stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func (p Program) provisionCommand() *cobra.Command {
	var nats natsFlags
	var apply, dryRun bool
	var replicas int
	cmd := &cobra.Command{
		Use:   "provision",
		Short: "Create the streams, or show what would have to be done",
		Long: `provision compares the streams on the server with the configuration, shows every difference, and
creates what is missing. It changes a stream that exists only with --apply. With --dry-run it changes
nothing and exits 1 when something would have to be done. No event is touched. Where a restore was
interrupted it does nothing and says how to go on. Interrupted itself, it may be run again: what was
created or changed stays so.`,
		Example: `  stackstream provision -c stackstream.yaml --dry-run
  stackstream provision --nats nats://127.0.0.1:4222 --creds admin.creds
  stackstream provision -c stackstream.yaml --apply`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, settings, err := nats.read(p)
			if err != nil {
				return err
			}
			layout := config.Default().Streams
			layout.Replicas = 1
			if cfg != nil {
				layout = cfg.Streams
			}
			if cmd.Flags().Changed("replicas") {
				layout.Replicas = replicas
			}
			for _, problem := range layout.Validate() {
				return usagef("streams.%s", problem)
			}
			ctx := cmd.Context()
			client, err := p.connect(ctx, settings)
			if err != nil {
				return err
			}
			defer p.close(ctx, client)
			return p.provision(cmd, client, layout, apply, dryRun)
		},
	}
	nats.add(cmd)
	cmd.Flags().IntVar(&replicas, "replicas", 0,
		"keep every stream on `N` servers of a cluster; default: what the configuration says, else 1")
	cmd.Flags().BoolVar(&apply, "apply", false, "also change streams that exist and differ")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "change nothing; exit 1 if something would have to be done")
	cmd.MarkFlagsMutuallyExclusive("apply", "dry-run")
	return cmd
}

func (p Program) provision(cmd *cobra.Command, client *jetstream.Client, layout jetstream.Layout, apply, dryRun bool) error {
	ctx := cmd.Context()
	plan, err := client.Plan(ctx, layout)
	if err != nil {
		return err
	}
	if err := plan.HalfRestored(); err != nil {
		return err
	}
	if err := plan.Write(p.Stdout); err != nil {
		return err
	}
	toDo := plan.Missing() || plan.Lacks() != nil || plan.Differs()
	switch {
	case !toDo:
		return p.say("Nothing to do.")
	case dryRun:
		return errors.Join(p.say("Nothing was changed."), errReported)
	case !apply && !plan.Missing() && plan.Lacks() == nil:
		if err := p.say("Nothing is missing; --apply changes what differs."); err != nil {
			return err
		}
		return plan.Broken()
	}
	mode := jetstream.CreateMissing
	if apply {
		mode = jetstream.Apply
	}
	done, err := client.Provision(ctx, layout, mode)
	if err != nil {
		return err
	}
	if s := done.Lacks(); s != nil && s.Problem != nil {
		fmt.Fprintf(p.Stderr, "%s was not created, and only stackstream replay needs it: %s\n", s.Name,
			show.Clean(s.Problem.Error()))
	}
	if plan.Differs() && !apply {
		if err := p.say("Created what was missing; --apply changes what differs."); err != nil {
			return err
		}
		return plan.Broken()
	}
	return p.say("Done.")
}

func (p Program) say(text string) error {
	_, err := fmt.Fprintln(p.Stdout, text)
	return err
}
