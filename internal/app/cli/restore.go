package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"stackstream/event"
	"stackstream/internal/app/show"
	"stackstream/jetstream"
)

func (p Program) restoreCommand() *cobra.Command {
	var nats natsFlags
	o := restoreOptions{}
	cmd := &cobra.Command{
		Use:   "restore DIR | --abandon",
		Short: "Make the streams again from a backup",
		Long: `restore makes the streams as they were when "stackstream backup" wrote DIR: with the same sequences and
times, the cursors, and the durables of subscribers at their positions. First it checks the whole backup.

Nobody may be at work: it refuses while collectors or normalizers hold leases, and inside an "up" that
runs. Streams that exist are refused; with --replace they are deleted, and with them everything that came
after the backup. It says what that is, and asks. Streams that the backup does not have are left alone,
EVENTS_REPLAY always; of the buckets of leases OWNERS is made if it is missing, and bears a mark from before
the first change to behind the last one. "up" or "provision" makes what else is missing.

While it runs, and when it was interrupted, by kill -9 or a failure too, nothing works on half of the
streams: collectors can't write to one that is not complete, and "up", collectors, normalizers, "provision"
and "backup" refuse to start and say how to go on. Run the same restore again, with --replace: it begins
anew. One of another backup does as well, if that has the streams that the interrupted one was to make.
Interrupted before it deletes anything it leaves everything as it was. Of two restores at once the one that
began last goes on; the other ends at its next step, and says so.

--abandon, without a DIR, is for a restore that was killed just after it had made its mark, or at its very
end. It looks whether every stream that the mark stands for is there, and either the one that was there
before or completely restored; shows them, asks, and takes the mark away. It touches no stream. If one is
missing or has only a part of its messages, it refuses and says which; there is no other way then than to
run the restore again, or that of another backup. Where no restore is interrupted it does nothing.

The streams get the settings they had, but for --replicas and, with -c, streams.replicas and the sizes of
the configuration: so a backup may go into another cluster, or out of one. EVENTS_NORMALIZED is never
restored without EVENTS_DEAD, which would copy all dead letters once more. A restored EVENTS_RAW beside an
EVENTS_NORMALIZED that was not restored is refused by the normalizers, as raw-regressed.
It needs nats-server ` + jetstream.BackupVersion + ` and the rights of the administrator.`,
		Example: `  stackstream restore -c stackstream.yaml /var/backups/events
  stackstream restore --nats nats://new:4222 --creds admin.creds --replicas 3 /var/backups/events
  stackstream restore -c stackstream.yaml --replace /var/backups/events
  stackstream restore -c stackstream.yaml --abandon`,
		Args: abandonArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.abandon {
				return p.abandon(cmd.Context(), &nats, o)
			}
			o.replicasSet = cmd.Flags().Changed("replicas")
			return p.restore(cmd.Context(), &nats, args[0], o)
		},
	}
	nats.add(cmd)
	streamFlag(cmd, &o.streams, "restore")
	cmd.Flags().BoolVar(&o.replace, "replace", false, "delete streams that exist, with all that came after the backup")
	cmd.Flags().IntVar(&o.replicas, "replicas", 0, "keep every stream on `N` servers; default: what the configuration or the backup says")
	cmd.Flags().BoolVar(&o.abandon, "abandon", false, "end an interrupted restore that has left nothing undone, and restore nothing")
	cmd.Flags().BoolVar(&o.yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&o.json, "json", false, "print what was restored, or abandoned, as JSON")
	return cmd
}

type restoreOptions struct {
	streams                     []string
	replace, abandon, yes, json bool
	replicas                    int
	replicasSet                 bool
}

func (p Program) restore(ctx context.Context, nats *natsFlags, dir string, o restoreOptions) error {
	if o.replicasSet && (o.replicas < 1 || o.replicas > 5 || o.replicas%2 == 0) {
		return usagef("--replicas is %d; 1, 3 or 5 is meant", o.replicas)
	}
	b, err := p.verified(ctx, dir)
	if err != nil {
		return err
	}
	names, err := b.Restoring(o.streams)
	if err != nil {
		return usageError{err}
	}
	r, err := p.reach(ctx, nats, true)
	if err != nil {
		return err
	}
	defer r.close()
	if err := r.idle(ctx); err != nil {
		return err
	}
	options := jetstream.RestoreOptions{Streams: o.streams, Replace: o.replace, Replicas: o.replicas}
	if r.server != nil {
		options.Sync, options.Settle = r.server.Sync, r.server.Settle
	}
	if r.layout != nil {
		options.MaxBytes = r.layout.MaxBytes()
		if !o.replicasSet {
			options.Replicas = r.layout.Replicas
		}
	}
	exist, err := r.client.Look(ctx, names)
	if err != nil {
		return err
	}
	if err := p.mayReplace(ctx, b, exist, r, o); err != nil {
		return err
	}
	progress := p.newProgress()
	options.Progress = progress.report
	done, err := r.client.Restore(ctx, b, options)
	progress.done()
	if err != nil {
		return err
	}
	if o.json {
		return p.printJSON(done)
	}
	first, err := r.lacksLeases(ctx)
	if err != nil {
		return err
	}
	return p.showRestored(b, done, first)
}

// lacksLeases returns what has to be said where nothing was before: an embedded server's "up" makes what is missing.
func (r reached) lacksLeases(ctx context.Context) ([]string, error) {
	if r.server != nil {
		return nil, nil
	}
	found, err := r.client.Look(ctx, []string{"KV_" + jetstream.BucketLeases})
	if err != nil || len(found) > 0 {
		return nil, err
	}
	return []string{`The buckets that collectors and normalizers need beside the streams are missing: run "stackstream provision"
first.`}, nil
}

// idle returns an error if somebody is at work.
func (r reached) idle(ctx context.Context) error {
	atWork, err := r.client.AtWork(ctx)
	if err != nil {
		return err
	}
	if len(atWork) > 0 {
		return fmt.Errorf("at work at %s: %s; stop them first (one that was killed is forgotten after streams.lease_ttl)",
			r.where, show.Clean(strings.Join(atWork, ", ")))
	}
	if r.client.InUp() {
		return fmt.Errorf("the NATS server at %s is inside a `stackstream up` that runs: stop that, and come again with -c FILE", r.where)
	}
	return nil
}

// mayReplace says what would be lost, and asks.
func (p Program) mayReplace(ctx context.Context, b *jetstream.Backup, exist []jetstream.StreamNow, r reached, o restoreOptions) error {
	whole := slices.DeleteFunc(slices.Clone(exist), func(s jetstream.StreamNow) bool { return b.Left(s, exist) })
	if len(whole) == 0 {
		return nil
	}
	var lines []string
	for _, s := range whole {
		line := fmt.Sprintf("%s, with %s up to %d", s.Name, count(int(s.Messages), "message"), s.Last)
		if !s.LastTime.IsZero() && s.Messages > 0 {
			line += ", the last one of " + timeOrDash(s.LastTime)
		}
		lines = append(lines, line)
	}
	if !o.replace {
		begun := ""
		if event.KindOf(r.client.HalfRestored(ctx)) == event.Invalid {
			begun = ", which a restore has begun and not ended"
		}
		return fmt.Errorf("streams exist at %s: %s; --replace deletes them and all that came after the backup of %s%s", r.where,
			strings.Join(lines, "; "), timeOrDash(b.Began), begun)
	}
	fmt.Fprintf(p.Stderr, "These streams at %s are deleted:\n  %s\nWhat came into them after the backup of %s is lost, unless its "+
		"service shows it again.\n", r.where, strings.Join(lines, "\n  "), timeOrDash(b.Began))
	return p.agree(ctx, "Delete and restore them?", o.yes)
}

func (p Program) showRestored(b *jetstream.Backup, done []jetstream.RestoredStream, first []string) error {
	rows := [][]string{{"STREAM", "MESSAGES", "UP TO", "NEXT", "DURABLES"}}
	var notes []string
	for _, s := range done {
		rows = append(rows, []string{
			s.Name, strconv.FormatUint(s.Messages, 10), strconv.FormatUint(s.Through, 10), strconv.FormatUint(s.Next, 10),
			dashed(strings.Join(s.Durables, " ")),
		})
		if s.Expired > 0 {
			notes = append(notes, fmt.Sprintf("%s of %s were older than its max_age and went at once.",
				count(int(s.Expired), "message"), s.Name))
		}
		if s.Behind > 0 {
			notes = append(notes, fmt.Sprintf("%s of %s do not have all of it yet; they go on by themselves.",
				count(s.Behind, "replica"), s.Name))
		}
	}
	if err := show.Table(p.Stdout, rows); err != nil {
		return err
	}
	notes = slices.Concat(notes, first, afterwards(b, done))
	return p.say("\n" + strings.Join(notes, "\n\n"))
}

const (
	startAgain = `Start the collectors again. Services that are polled are read from where the backup's cursors stand, so
what they show of the time since %s comes again, and is lost only where they have forgotten it.
Notifications over AMQP that were acknowledged since then are gone from the broker: where a polled service
keeps the same events, ask it for that time with a backfill. "stackstream watermark" shows the cursors.`
	readAgain = `What subscribers saw after the backup comes again, with the same message_id and another stream sequence:
sequences begin at %d, so that none is used twice. Durables that are part of the backup go on where they
stood in it. A program that keeps its position itself and is beyond %d must go on with that (Options.After),
and know by their message_id the events that it had; with a larger one it is told of a gap, or stops with
"raw-regressed".`
)

// afterwards is what an operator has to know of a restored system.
func afterwards(b *jetstream.Backup, done []jetstream.RestoredStream) []string {
	restored := map[string]jetstream.RestoredStream{}
	for _, s := range done {
		restored[s.Name] = s
	}
	var notes []string
	_, hasRaw := restored[event.StreamRaw]
	normalized, hasNormalized := restored[event.StreamNormalized]
	if hasRaw {
		notes = append(notes, fmt.Sprintf(startAgain, timeOrDash(b.Began)))
	}
	if hasNormalized {
		notes = append(notes, fmt.Sprintf(readAgain, normalized.Next, normalized.Through))
	}
	if hasRaw && !hasNormalized {
		notes = append(notes, `EVENTS_NORMALIZED was not restored: the normalizers will stop as raw-regressed, because its cursors speak of
another EVENTS_RAW. Restore it from the same backup as well.`)
	}
	return notes
}

func dashed(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
