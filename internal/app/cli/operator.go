package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stackstream/event"
	"stackstream/internal/app"
	"stackstream/internal/app/config"
	"stackstream/internal/app/show"
	"stackstream/jetstream"
	"stackstream/publisher"
)

// operator is what every command has that changes a record: on which server, of which provider, who does it and why.
type operator struct {
	p        Program
	nats     natsFlags
	provider string
	onRecord
	yes bool

	name   event.Provider
	cfg    *config.Config // nil without -c
	client *jetstream.Client
}

func (o *operator) add(cmd *cobra.Command, what string) {
	o.nats.add(cmd)
	cmd.Flags().StringVar(&o.provider, "provider", "", what+" this `PROVIDER`")
	o.onRecord.add(cmd)
	o.reasoned(cmd)
	_ = cmd.MarkFlagRequired("provider")
}

// asks adds the flag of those who ask first.
func (o *operator) asks(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.yes, "yes", false, "do not ask")
}

// open reads the flags and connects.
func (o *operator) open(ctx context.Context) (err error) {
	if o.name, err = providerFlag(o.provider); err != nil {
		return err
	}
	if o.name == "" {
		return usagef("--provider is empty: which provider?")
	}
	o.by = o.who(o.p)
	var settings jetstream.Config
	if o.cfg, settings, err = o.nats.read(o.p); err != nil {
		return err
	}
	o.client, err = o.p.connect(ctx, settings)
	return err
}

// explained is what a command runs that has to say why: what it did can't be understood by itself later.
func (o *operator) explained(run func(ctx context.Context) error) func(*cobra.Command, []string) error {
	connected := o.connected(run)
	return func(cmd *cobra.Command, args []string) error {
		if strings.TrimSpace(o.why) == "" {
			return usagef("--why is missing: say why, for those who look later")
		}
		return connected(cmd, args)
	}
}

// connected is what a command runs on a connection.
func (o *operator) connected(run func(ctx context.Context) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		if err := o.open(ctx); err != nil {
			return err
		}
		defer o.p.close(ctx, o.client)
		if err := o.p.knownFlag(ctx, o.client, &o.nats, o.name); err != nil {
			return err
		}
		return run(ctx)
	}
}

// manyMisses is how often others may write first until that is told: so often is no accident, and may go on for hours.
const manyMisses = 10

// options are those of the writer of a command. Who waits for a stream that is full or away says so, and so does who does not come
// between the writes of those at work; wayOut is how he would.
func (o *operator) options(wayOut string) publisher.Options {
	said, misses := "", 0
	tell := func(text string) {
		if text = show.Clean(text); text != said {
			said = text
			fmt.Fprintf(o.p.Stderr, "waiting: %s\n", text)
		}
	}
	return publisher.Options{Owner: o.by, Hooks: publisher.Hooks{Waiting: func(err error) {
		switch {
		case event.KindOf(err) != event.Fenced:
			tell(err.Error())
		case misses == manyMisses:
		default: // somebody is at work
			if misses++; misses == manyMisses {
				tell(fmt.Sprintf("somebody writes for %s without pause, and has been first %d times; still trying%s",
					o.name, misses, wayOut))
			}
		}
	}}}
}

// pausing is how a command comes between the writes of collectors.
func (o *operator) pausing() string {
	return fmt.Sprintf("; while collecting is paused it is done at once: stackstream pause --provider %s --collectors --why TEXT", o.name)
}

func (o *operator) say(format string, args ...any) error {
	return o.p.say(show.Clean(fmt.Sprintf(format, args...)))
}

// raw changes the cursor of a source.
func (o *operator) raw(ctx context.Context, s event.Source, change func(*event.RawCursor, bool) (event.Command, error)) (
	event.RawCursor, error,
) {
	return publisher.Command(ctx, o.client.Raw(), event.RawCursorSubject(o.name, s), event.RawCommandsSubject(o.name, s),
		o.options(o.pausing()), change)
}

// setBack changes the cursor of a source that is to read again, for whoever reckons with what it has passed.
func (o *operator) setBack(ctx context.Context, s event.Source, change func(*event.RawCursor, bool) (event.Command, error)) (
	event.RawCursor, error,
) {
	return publisher.SetBack(ctx, o.client.Raw(), o.name, s, o.options(o.pausing()), change)
}

// notBeside refuses to set a source back while a backfill is not done that may add what the source would read again: events of
// after a time, zero meaning any.
func (o *operator) notBeside(ctx context.Context, after time.Time) error {
	jobs, err := app.BackfillJobs(ctx, o.client, o.name)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		if j.Adds(after) {
			return fmt.Errorf("nothing was changed: backfill %s, for %s to %s, is not done, and the source would read what it adds: let "+
				"it end (stackstream backfill -c FILE --provider %s --job %s goes on with it), or remove it (stackstream backfill rm %s "+
				"--provider %s)", j.Job, stamp(j.From), stamp(j.To), o.name, j.Job, j.Job, o.name)
		}
	}
	return nil
}

// choice changes the choice of source.
func (o *operator) choice(ctx context.Context, change func(*event.Choice, bool) (event.Command, error)) (event.Choice, error) {
	return publisher.Command(ctx, o.client.Raw(), event.ChoiceSubject(o.name), event.RawCommandsSubject(o.name, ""), o.options(""),
		change)
}

// normalized changes the normalizer's cursor.
func (o *operator) normalized(ctx context.Context, change func(*event.NormalizedCursor, bool) (event.Command, error)) (
	event.NormalizedCursor, error,
) {
	return publisher.Command(ctx, o.client.Normalized(), event.NormalizedCursorSubject(o.name),
		event.NormalizedCommandsSubject(o.name), o.options(""), change)
}

// records reads where the provider stands.
func (o *operator) records(ctx context.Context) (event.Records, error) {
	holders, err := o.client.Holders(ctx)
	if err != nil {
		return event.Records{}, err
	}
	return o.client.Records(ctx, o.name, holders)
}

// sourceFlag checks the name of a source that must be there.
func (o *operator) sourceFlag(text string, r event.Records) (event.Source, error) {
	s, err := event.ParseSource(text)
	if err != nil {
		return "", usageError{err}
	}
	if _, there := r.Raw[s]; !there {
		known := "no source has"
		switch names := namesOf(r.Raw); {
		case len(r.Raw) == 1:
			known = names + " has"
		case names != "":
			known = names + " have"
		}
		return "", usagef("--source %s has no cursor for %s: %s", s, o.name, known)
	}
	return s, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// because says who paused something, when and why.
func because(pause *event.Pause) string { return event.PauseReason(pause.Err()) }
