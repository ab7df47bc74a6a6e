package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

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
	cmd.Flags().StringVarP(file, "config", "c", "", "configuration `FILE`; examples/ shows every setting")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
}

// natsFlags says how a client command reaches NATS.
type natsFlags struct {
	file, url, creds string
}

func (f *natsFlags) add(cmd *cobra.Command) {
	configFlag(cmd, &f.file)
	cmd.Flags().StringVar(&f.url, "nats", "", "NATS server `URL` (default $NATS_URL, then nats://127.0.0.1:4222)")
	cmd.Flags().StringVar(&f.creds, "creds", "", "NATS credentials `FILE`")
	cmd.MarkFlagsMutuallyExclusive("config", "nats")
	cmd.MarkFlagsMutuallyExclusive("config", "creds")
	_ = cmd.MarkFlagFilename("creds", "creds")
}

// settings returns the connection that the flags, the file or the environment describe.
func (f *natsFlags) settings(p Program) (jetstream.Config, error) {
	if f.file != "" {
		cfg, err := p.load(f.file)
		if err != nil {
			return jetstream.Config{}, err
		}
		return clientSettings(cfg, f.file)
	}
	url := f.url
	if url == "" {
		url, _ = p.Env("NATS_URL")
	}
	if url == "" {
		url = "nats://127.0.0.1:4222"
	}
	cfg := jetstream.Config{URLs: strings.Split(url, ","), CredentialsFile: f.creds}
	if problems := cfg.Validate(); len(problems) > 0 {
		return jetstream.Config{}, usagef("NATS server: %s", problems[0])
	}
	return cfg, nil
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
