package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"stackstream/internal/app"
	"stackstream/internal/app/show"
	"stackstream/jetstream"
)

// lookWait is how long the watermarks may take at the end of a demo.
const lookWait = 5 * time.Second

func (p Program) demoCommand() *cobra.Command {
	var events countValue
	var asJSON, keep bool
	var listen string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole pipeline at work; needs nothing but this program",
		Long: `demo starts a stand-in for an OpenStack cloud (Keystone and Panko over real HTTP on loopback, serving
recorded events with fresh ids and times), the embedded NATS server in a temporary directory, a collector
and a normalizer. It prints the canonical events as they arrive, and at the end how far each source is
collected and normalized. It runs until it is interrupted, or until --events have been printed.`,
		Example: `  stackstream demo
  stackstream demo --events 200 --json | jq -r .event_type | sort | uniq -c
  stackstream demo --nats-listen 127.0.0.1:4222      # and elsewhere: nats sub 'events.normalized.*'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.demo(cmd.Context(), demoOptions{events: uint64(events), json: asJSON, keep: keep, listen: listen})
		},
	}
	cmd.Flags().Var(&events, "events", "end after `N` events")
	cmd.Flags().BoolVar(&asJSON, "json", false,
		"print one canonical event per line, as JSON, and nothing else on standard output")
	cmd.Flags().BoolVar(&keep, "keep", false, "keep the directory with the streams and say where it is")
	cmd.Flags().StringVar(&listen, "nats-listen", "",
		"`ADDRESS` on loopback where other NATS clients may come in; port 0 takes a free one")
	return cmd
}

type demoOptions struct {
	events     uint64
	json, keep bool
	listen     string
}

func (p Program) demo(ctx context.Context, o demoOptions) (err error) {
	if problems := (jetstream.EmbeddedConfig{Dir: ".", Listen: o.listen}).Validate(); len(problems) > 0 {
		return usagef("--nats-listen: %s", problems[0].Msg)
	}
	log, err := p.logger("warn", "auto")
	if err != nil {
		return err
	}
	// What the embedded server warns of concerns those who run it for good.
	log = log.Hook(zerolog.HookFunc(func(e *zerolog.Event, level zerolog.Level, message string) {
		if message == "nats-server" && level < zerolog.ErrorLevel {
			e.Discard()
		}
	}))
	dir, err := os.MkdirTemp("", "stackstream-demo-")
	if err != nil {
		return fmt.Errorf("make a directory for the streams: %w", err)
	}
	defer func() {
		if o.keep {
			_, sayErr := fmt.Fprintf(p.Stderr, "The streams are kept in %s\n", dir)
			err = errors.Join(err, sayErr)
			return
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	// What is not an event goes where it does not disturb a program that reads the events.
	notes := p.Stdout
	if o.json {
		notes = p.Stderr
	}
	demo := app.Demo{Dir: dir, Listen: o.listen, Events: o.events, Version: versionShort(), Log: log, OpenStore: p.openStore}
	return demo.Run(ctx, func(ctx context.Context, r app.Running, cloud string) error {
		if err := p.introduce(notes, r, cloud, o); err != nil {
			return err
		}
		tail := tailOptions{json: o.json, count: o.events}
		if err := p.follow(ctx, r.Client, tail); err != nil {
			return err
		}
		// The interruption that ends the demo does not keep it from showing the result.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookWait)
		defer cancel()
		marks, err := r.Client.Watermarks(ctx, "")
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(notes); err != nil {
			return err
		}
		return show.Watermarks(notes, marks, time.Now())
	})
}

func (p Program) introduce(w io.Writer, r app.Running, cloud string, o demoOptions) error {
	text := fmt.Sprintf("A stand-in for an OpenStack cloud answers at %s.\n", cloud)
	if o.listen != "" {
		text += fmt.Sprintf("NATS clients may come in: nats --server %s sub 'events.normalized.*'\n", r.NATS)
	}
	if o.events == 0 {
		text += "Ctrl-C ends.\n"
	}
	_, err := fmt.Fprintln(w, text)
	return err
}
