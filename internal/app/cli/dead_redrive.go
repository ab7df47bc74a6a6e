package cli

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stackstream/event"
	"stackstream/internal/app/letters"
	"stackstream/internal/setting"
	"stackstream/jetstream"
)

// repairOptions say how something is done about dead letters.
type repairOptions struct {
	nats  natsFlags
	which letterFlags
	onRecord
	drop    bool
	wait    time.Duration
	dryRun  bool
	yes     bool
	json    bool
	waiting string // --wait as it was given
}

func (p Program) deadRedriveCommand() *cobra.Command {
	o := repairOptions{}
	cmd := &cobra.Command{
		Use:   "redrive --why TEXT",
		Short: "Have dead letters converted again",
		Long: `redrive has dead letters converted again by the normalizers that run, after a converter or a mapping was
mended. It says how many letters that are, asks, and puts them into EVENTS_RAW as events of the source
"redrive"; the normalizers convert them in their turn, each once. What becomes of a letter is an event on
events.normalized.<provider>, marked Evt-Redriven and out of time order, or a new dead letter with a
number of its own. redrive waits for that, and reports it.

What is collected meanwhile goes on as before: only what is new on the stream comes to subscribers. The
letters stay where they are, with a record of what became of each.

It may be interrupted, or killed, at any moment, and be run again, and several may run at a time: a letter
is never converted again twice. Once a letter is in EVENTS_RAW nobody has to wait for it. While the server
is away it waits, says so, and goes on.

First give the normalizers the mended converter or mapping: a new version, or a changed configuration,
which they take within seconds. Try it before, with -c and --dry-run: the letters are then converted by
this process, with the configuration FILE, and nothing is written. Collectors and normalizers must all be
of a version that has this command: an older one stops at what it does not know, and says so.

Letters whose bodies are gone are left out, unless --reason body-lost or --number asks for them. Letters
that were dropped are taken with --state dropped. Exit code 1: some are dead again, or still wait.`,
		Example: `  stackstream dead redrive --provider prod --reason malformed --dry-run
  stackstream dead redrive --provider prod --converter 'http/*' --dry-run -c stackstream.yaml
  stackstream dead redrive --provider prod --converter 'http/*' --why 'mapping of user mended'
  stackstream dead redrive --number 17,20-29 --provider prod --why 'try again' --yes --wait 0`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.repair(cmd, &o) },
	}
	o.add(cmd)
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false,
		"change nothing: say which letters are meant, and with -c what its converters make of them")
	return cmd
}

func (p Program) deadDropCommand() *cobra.Command {
	o := repairOptions{drop: true}
	cmd := &cobra.Command{
		Use:   "drop --why TEXT",
		Short: "Say that nothing is to be done about dead letters",
		Long: `drop records that nothing is to be done about dead letters: they are no longer open, and who said so, when
and why stays beside them. Nothing is deleted: they can be shown and exported as long as EVENTS_DEAD keeps
them, and "dead redrive --state dropped" still has them converted again.

It goes the same way as redrive: through EVENTS_RAW, and the normalizers record it in their turn. drop says
how many letters are meant, asks, and waits until that is done. It may be interrupted and run again.
Collectors and normalizers must all be of a version that has this command.`,
		Example: `  stackstream dead drop --provider prod --reason body-lost --why 'bodies expired'
  stackstream dead drop --provider prod --number 17 --why 'sent by mistake'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.repair(cmd, &o) },
	}
	o.add(cmd)
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "change nothing: say which letters are meant")
	return cmd
}

func (o *repairOptions) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	o.nats.add(cmd)
	o.which.add(cmd, letters.Open)
	o.onRecord.add(cmd)
	flags.StringVar(&o.waiting, "wait", "5m", "wait at most this `DURATION` for the normalizers to do it; 0 does not wait")
	flags.BoolVar(&o.yes, "yes", false, "do not ask")
	flags.BoolVar(&o.json, "json", false, "print what was done, or would be, as a JSON array, an object for each provider")
}

// maxWhy bounds the reason: it goes with every letter, in a header.
const maxWhy = 500

// read checks what the flags say.
func (o *repairOptions) read(p Program) (*letters.Filter, event.Provider, jetstream.Config, error) {
	var settings jetstream.Config
	filter, name, err := o.which.read()
	if err != nil {
		return nil, "", settings, err
	}
	switch o.why = strings.TrimSpace(o.why); {
	case o.why == "" && !o.dryRun:
		return nil, "", settings, usagef("--why is needed: it stands beside every letter, for whoever asks later")
	case len(o.why) > maxWhy:
		return nil, "", settings, usagef("--why has %d bytes; it goes with every letter, so %d must do", len(o.why), maxWhy)
	}
	if o.wait, err = setting.ParseDuration(o.waiting); err != nil {
		return nil, "", settings, usagef("--wait: %w", err)
	}
	_, settings, err = o.nats.read(p)
	return filter, name, settings, err
}
