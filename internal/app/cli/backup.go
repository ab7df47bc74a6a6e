package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stackstream/event"
	"stackstream/internal/app/show"
	"stackstream/jetstream"
)

// dirArg takes the directory of a backup.
func dirArg(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef("takes one DIR, has %d", len(args))
	}
	return nil
}

func (p Program) backupCommand() *cobra.Command {
	var nats natsFlags
	var streams []string
	var verify, asJSON bool
	cmd := &cobra.Command{
		Use:   "backup DIR",
		Short: "Write the streams with their cursors into a directory",
		Long: `backup writes what is in the streams into DIR: raw and canonical events, dead letters, large bodies, the
cursors of all of them, and the durables of subscribers with their positions. It may run while everything
works: it holds up nobody and changes nothing, and what it writes fits together, as if all of it had been
written down at one moment. Leases are not part of it, nor are the normalizer's durables on EVENTS_RAW,
which it makes again from its cursor, nor the configuration: keep that elsewhere.

DIR must not exist, or be empty; only its owner may read it. The manifest is written last, so that a
backup which was interrupted is not taken for one: remove its directory and begin again. --verify reads a
backup, compares every hash and looks whether the streams fit together, and needs no NATS.

With a configuration whose NATS is embedded, the streams are read through the "up" that runs, if it has
nats.embedded.listen, and otherwise from its directory, which nobody may use meanwhile.
It needs nats-server ` + jetstream.BackupVersion + ` and the rights of the administrator.`,
		Example: `  stackstream backup -c stackstream.yaml /var/backups/events-$(date +%F)
  stackstream backup --nats nats://127.0.0.1:4222 --creds admin.creds /var/backups/events
  stackstream backup --verify /var/backups/events`,
		Args: dirArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if verify {
				for _, name := range []string{"config", "nats", "creds", "stream"} {
					if cmd.Flags().Changed(name) {
						return usagef("--verify reads the directory alone: --%s means nothing with it", name)
					}
				}
				b, err := p.verified(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return p.showBackup(b, asJSON, "The backup is whole.")
			}
			if err := knownStreams(streams); err != nil {
				return err
			}
			r, err := p.reach(cmd.Context(), &nats, false)
			if err != nil {
				return err
			}
			defer r.close()
			progress := p.newProgress()
			b, err := r.client.Backup(cmd.Context(), jetstream.BackupOptions{
				Dir: args[0], Streams: streams, Version: versionShort(), Progress: progress.report,
			})
			progress.done()
			if err != nil && event.KindOf(err) != event.Invalid {
				return fmt.Errorf("%w (what is in %s is no backup: remove it)", err, args[0])
			}
			if err != nil {
				return err
			}
			return p.showBackup(b, asJSON, "")
		},
	}
	nats.add(cmd)
	streamFlag(cmd, &streams, "back up")
	cmd.Flags().BoolVar(&verify, "verify", false, "check a backup that is there")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the manifest as JSON")
	return cmd
}

func streamFlag(cmd *cobra.Command, streams *[]string, what string) {
	cmd.Flags().StringArrayVar(streams, "stream", nil,
		what+" this `STREAM` alone; may be repeated; of "+strings.Join(jetstream.BackupStreams(), ", "))
}

// knownStreams refuses names that are none of the streams of a backup.
func knownStreams(streams []string) error {
	for _, name := range streams {
		if known := jetstream.BackupStreams(); !slices.Contains(known, name) {
			return usagef("--stream: %q is none of the streams %s", name, strings.Join(known, ", "))
		}
	}
	return nil
}

// verified opens a backup and checks all of it.
func (p Program) verified(ctx context.Context, dir string) (*jetstream.Backup, error) {
	b, err := jetstream.OpenBackup(dir)
	if err != nil {
		return nil, err
	}
	progress := p.newProgress()
	err = b.Verify(ctx, func(stream string, done, total uint64) { progress.report("check "+stream, done, total) })
	progress.done()
	return b, err
}

func (p Program) showBackup(b *jetstream.Backup, asJSON bool, verdict string) error {
	if asJSON {
		return p.printJSON(b)
	}
	rows := [][]string{{"STREAM", "MESSAGES", "BYTES", "UP TO", "LAST MESSAGE", "DURABLES"}}
	for _, s := range b.Streams {
		rows = append(rows, []string{
			s.Name, strconv.FormatUint(s.Messages, 10), strconv.FormatUint(s.Bytes, 10), strconv.FormatUint(s.Through, 10),
			timeOrDash(s.LastTime), strconv.Itoa(len(s.Durables)),
		})
	}
	if err := show.Table(p.Stdout, rows); err != nil {
		return err
	}
	for _, s := range b.Streams {
		for _, doubt := range s.Doubts {
			fmt.Fprintf(p.Stderr, "%s: %s (it was so in the stream)\n", s.Name, show.Clean(doubt))
		}
	}
	if verdict != "" {
		verdict = " " + verdict
	}
	return p.say(fmt.Sprintf("%s has %d bytes, of %s, by stackstream %s.%s", b.Dir(), b.Size(), timeOrDash(b.Began),
		show.Clean(b.Stackstream), verdict))
}

func timeOrDash(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}
