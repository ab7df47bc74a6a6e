package cli

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stackstream/internal/app/config"
	"stackstream/internal/setting"
	"stackstream/jetstream"
)

// noArgs refuses arguments by name; most often a flag's value stands after a flag that takes none.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("takes no argument, has %q", args[0])
	}
	return nil
}

// configFlag adds -c.
func configFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVarP(file, "config", "c", "", "configuration `FILE`; docs/reference.md has every setting")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
}

// natsFlags says how a client command reaches NATS. What proves who we are to one server is not shown to another: of the
// configuration's section nats nothing is used for a server that --nats names.
type natsFlags struct {
	file       string
	url, creds givenValue
	cfg        *config.Config // what file has, nil without one; known once it was read
}

func (f *natsFlags) add(cmd *cobra.Command) {
	configFlag(cmd, &f.file)
	cmd.Flags().Var(&f.url, "nats", "NATS server `URL`, in place of the configuration's section nats, of which nothing is used then, "+
		"neither credentials nor tls; without -c the default is $NATS_URL, then nats://127.0.0.1:4222")
	cmd.Flags().Var(&f.creds, "creds", "NATS credentials `FILE`, in place of who the configuration says we are")
	_ = cmd.MarkFlagFilename("creds", "creds")
}

// read returns the configuration, nil without one, and the connection that the flags, it or the environment describe.
func (f *natsFlags) read(p Program) (*config.Config, jetstream.Config, error) {
	if f.file != "" {
		var err error
		if f.cfg, err = p.load(f.file); err != nil {
			return nil, jetstream.Config{}, err
		}
	}
	settings, err := f.connection(p, f.cfg)
	return f.cfg, settings, err
}

// connection is what the flags, the configuration, if there is one, or the environment describe.
func (f *natsFlags) connection(p Program, cfg *config.Config) (jetstream.Config, error) {
	var settings jetstream.Config
	switch {
	case f.url != "":
		settings.URLs = strings.Split(string(f.url), ",")
	case cfg != nil:
		var err error
		if settings, err = clientSettings(cfg, f.file); err != nil {
			return jetstream.Config{}, err
		}
	default:
		url, _ := p.Env("NATS_URL")
		settings.URLs = strings.Split(cmp.Or(url, "nats://127.0.0.1:4222"), ",")
	}
	if f.creds != "" {
		settings.User, settings.Password, settings.PasswordFile, settings.NKeyFile, settings.TokenFile = "", "", "", "", ""
		settings.CredentialsFile = string(f.creds)
	}
	if problems := settings.Validate(); len(problems) > 0 {
		return jetstream.Config{}, usagef("NATS server: %s", problems[0])
	}
	return settings, nil
}

// args are the flags as they were given, for a command that is to be given next.
func (f *natsFlags) args() string {
	args := "-c " + f.file
	if f.url != "" {
		args += " --nats " + string(f.url)
	}
	if f.creds != "" {
		args += " --creds " + string(f.creds)
	}
	return args
}

// givenValue is a text that is not empty where it is given: a variable that a script has not set is no wish.
type givenValue string

func (v *givenValue) String() string { return string(*v) }
func (v *givenValue) Type() string   { return "string" }

func (v *givenValue) Set(text string) error {
	if text == "" {
		return errors.New("is empty")
	}
	*v = givenValue(text)
	return nil
}

// onRecord is what stays on record of a command: why it was given, and by whom.
type onRecord struct{ why, by string }

func (r *onRecord) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.why, "why", "", "why, in a few words; `TEXT` stays on record")
	cmd.Flags().StringVar(&r.by, "by", "", "`WHO` does it, for the record; default: user@host")
}

// who is by whom the command was given.
func (r *onRecord) who(p Program) string { return cmp.Or(r.by, p.operator()) }

// reasoned takes --reason for --why, without telling, where it is not the reason of a dead letter.
func (r *onRecord) reasoned(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.why, "reason", "", "another name of --why")
	_ = cmd.Flags().MarkHidden("reason")
}

// sinceValue is a duration to look back, or a time.
type sinceValue struct {
	text string
	now  func() time.Time
	at   time.Time
}

func (v *sinceValue) String() string { return v.text }
func (v *sinceValue) Type() string   { return "since" }

func (v *sinceValue) Set(text string) error {
	if back, err := setting.ParseDuration(text); err == nil {
		v.text, v.at = text, v.now().Add(-back)
		return nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if at, err := time.Parse(layout, text); err == nil {
			v.text, v.at = text, at
			return nil
		}
	}
	return fmt.Errorf("wants a duration such as 1h or a time such as 2026-01-31T12:00:00Z")
}

// countValue is a number of events, 0 for no limit.
type countValue uint64

func (v *countValue) String() string { return fmt.Sprint(uint64(*v)) }
func (v *countValue) Type() string   { return "count" }

func (v *countValue) Set(text string) error {
	var n uint64
	if _, err := fmt.Sscanf(text, "%d", &n); err != nil || n == 0 || fmt.Sprint(n) != text {
		return fmt.Errorf("wants a whole number from 1")
	}
	*v = countValue(n)
	return nil
}
