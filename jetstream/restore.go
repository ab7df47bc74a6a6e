package jetstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

const (
	// A restored stream leaves out sequences, so that those which it handed out after the backup are not used again for other
	// messages: who remembers one of them then sees that something is missing, and does not take what is new for what it
	// knows. At least and at most so many are left out, twice as many as would have come since at the pace that it had.
	leastSkipped = 1 << 20
	mostSkipped  = 1 << 28

	// gone is how long a server may take to forget a stream that was deleted.
	gone = 15 * time.Second
	// refusedSends is how often a server may refuse a stream for another reason than that there is one, before that is believed.
	refusedSends = 2
	// settleCreated is how long a cluster may take to say when a restored stream was made. One that says it at once is waited
	// for in vain.
	settleCreated = 5 * time.Second
	// replicaWait is how long the replicas of a restored stream are waited for.
	replicaWait = 2 * time.Minute
)

// Restore makes streams of a backup, which should have been verified. Nobody may be at work. From before the first change until all
// streams are complete, programs refuse to start and what is not complete can't be written to; a restore that ended early, however it
// did, is simply begun anew. An error that comes before the first change leaves everything as it was.
func (c *Client) Restore(ctx context.Context, b *Backup, o RestoreOptions) ([]RestoredStream, error) {
	const op = "restore"
	if err := c.canBackUp(op); err != nil {
		return nil, err
	}
	names, err := b.Restoring(o.Streams)
	if err != nil {
		return nil, invalid(op, err)
	}
	if o.Replicas == 0 && c.nc.ConnectedClusterName() == "" {
		o.Replicas = 1 // a single server takes no more
	}
	ctx, release := c.failOnRefusal(ctx, func(string) bool { return true })
	defer release()
	exist, all, err := c.mayRestore(ctx, b, names, o)
	if err != nil {
		return nil, err
	}
	r := &restoring{c: c, b: b, o: o, last: map[string]uint64{}, final: map[string]natsjs.StreamConfig{}}
	for _, s := range all {
		r.last[s.Name] = s.Last
	}
	done, err := r.run(ctx, names, exist, all)
	switch {
	case errors.Is(err, errTakenOver):
		return nil, err
	case err != nil && r.begun:
		return nil, fmt.Errorf("%w (the streams do not have all that they should now, and nothing starts with them: "+
			"run the same restore again, with --replace)", readError(ctx, op, err))
	case err != nil:
		r.retract(ctx)
		return nil, readError(ctx, op, err)
	}
	return done, nil
}

// run does what there is to do.
func (r *restoring) run(ctx context.Context, names []string, exist, all []StreamNow) ([]RestoredStream, error) {
	if err := r.mark(ctx, names, r.config(r.b.stream(names[0])).Replicas, all); err != nil {
		return nil, err
	}
	if r.o.Sync != nil {
		if err := r.o.Sync(); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// Who has begun since it was looked has not seen the mark.
	if at, err := r.c.AtWork(ctx); err != nil {
		return nil, err
	} else if len(at) > 0 {
		return nil, invalid("restore", fmt.Errorf("%s began to work just now: stop them first", strings.Join(at, ", ")))
	}
	if err := r.same(ctx, all); err != nil {
		return nil, err
	}
	r.begun = true
	// What is made of something goes before that of which it is made, so that nothing copies from what is not complete.
	for _, s := range exist {
		if err := r.forget(ctx, s.Name); err != nil {
			return nil, fmt.Errorf("delete %s: %w", s.Name, err)
		}
	}
	var done []RestoredStream
	for _, name := range names {
		s, err := r.stream(ctx, r.b.stream(name))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		done = append(done, s)
	}
	if err := r.bodies(ctx); err != nil {
		return nil, err
	}
	if r.o.Settle != nil {
		if err := r.o.Settle(); err != nil {
			return nil, err
		}
	}
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	if err := r.c.unmark(ctx, r.mine); err != nil {
		return nil, fmt.Errorf("end: %w", err)
	}
	r.begun, r.first = false, false // all is there
	for i := range done {
		var err error
		if done[i].Behind, err = r.c.whole(ctx, done[i].Name, r.final[done[i].Name].Replicas); err != nil {
			return nil, fmt.Errorf("all is restored, wait for its replicas: %w", err)
		}
	}
	return done, nil
}

// same returns an error if a stream that is whole was made since it was looked what there is: nobody was asked whether it may go, and
// the mark does not speak of it.
func (r *restoring) same(ctx context.Context, all []StreamNow) error {
	if err := r.holds(ctx); err != nil {
		return err
	}
	now, err := r.c.Look(ctx, BackupStreams())
	if err != nil {
		return err
	}
	for _, s := range now {
		if !s.HalfRestore && !slices.ContainsFunc(all, func(was StreamNow) bool { return was.is(s) }) {
			return invalid("restore", fmt.Errorf("%s was made just now: look who does that, and begin again", s.Name))
		}
	}
	return nil
}

// forget deletes a stream.
func (r *restoring) forget(ctx context.Context, name string) error {
	if err := r.holds(ctx); err != nil {
		return err
	}
	_, err := ask(ctx, func(ctx context.Context) (struct{}, error) {
		err := r.c.js.DeleteStream(ctx, name)
		if errors.Is(err, natsjs.ErrStreamNotFound) {
			err = nil
		}
		return struct{}{}, err
	})
	return err
}

// restoring is one restore.
type restoring struct {
	c     *Client
	b     *Backup
	o     RestoreOptions
	last  map[string]uint64              // the last sequences of all streams that are there, or were when an earlier restore began
	final map[string]natsjs.StreamConfig // how those that are restored are to be in the end
	first bool                           // no earlier restore has left its mark
	mine  *restoreClaim                  // of the mark
	text  string                         // of the mark
	begun bool                           // something is deleted or made, and not everything is there yet
}

// stream restores one stream. Nothing can be written to it before open.
func (r *restoring) stream(ctx context.Context, s *BackupStream) (RestoredStream, error) {
	final := r.config(s)
	hidden := final
	hidden.Metadata = maps.Clone(final.Metadata)
	hidden.Metadata[metaRestoring] = r.b.ID
	if len(hidden.Subjects) > 0 {
		hidden.Subjects = []string{"stackstream.restoring." + s.Name}
	}
	// One server has it at first. Where several get it at once the leader says another time when it was made than the others
	// (nats-server 2.15.2), and the cursors and copies that go by that would hold for another stream after each election.
	hidden.Replicas = 1
	change, err := r.change(ctx, s)
	if err != nil {
		return RestoredStream{}, err
	}
	rw := rewrite{durables: durablesOf(s), last: r.lastOf(s), change: change}
	state := streamState{
		Msgs: s.Messages, Bytes: s.Bytes, FirstSeq: s.First, LastSeq: rw.last, Consumers: len(rw.durables), LastTime: s.LastTime,
	}
	info, err := r.insist(ctx, s.Name, func() (*natsjs.StreamInfo, error) { return r.send(ctx, s, hidden, state, rw) })
	if err != nil {
		return RestoredStream{}, err
	}
	if info.State.LastSeq != max(rw.last, s.Last) || info.State.Msgs > s.Messages {
		return RestoredStream{}, unavailable("restore "+s.Name, fmt.Errorf("it has %d messages up to %d, %d up to %d were sent",
			info.State.Msgs, info.State.LastSeq, s.Messages, max(rw.last, s.Last)))
	}
	if err := r.known(ctx, s.Name, info.Created); err != nil {
		return RestoredStream{}, err
	}
	r.final[s.Name] = final
	done := RestoredStream{
		Name: s.Name, Messages: info.State.Msgs, Through: s.Through, Next: info.State.LastSeq + 1, Expired: s.Messages - info.State.Msgs,
	}
	for _, d := range rw.durables {
		done.Durables = append(done.Durables, d.Config.name())
	}
	return done, nil
}

// insist sends a stream until the server takes it. What is in its way is of no worth: a stream that a cluster takes a while to
// forget; one of an earlier restore that appears only now, or that nobody sees because it was interrupted; files that were left
// when a server was killed while it made or deleted a stream.
func (r *restoring) insist(ctx context.Context, name string, send func() (*natsjs.StreamInfo, error)) (*natsjs.StreamInfo, error) {
	for deadline, refused := time.Now().Add(gone), 0; ; {
		info, err := send()
		var api *natsjs.APIError
		if !errors.As(err, &api) || time.Now().After(deadline) {
			return info, err
		}
		if api.ErrorCode != codeRestoreExists {
			if refused++; refused > refusedSends {
				return info, err
			}
		}
		if err := r.forget(ctx, name); err != nil {
			return nil, err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// known waits until a cluster goes by the time that it gave the stream when it took the request. What the server that received
// it says at the end is another one, and it says so for a moment longer.
func (r *restoring) known(ctx context.Context, name string, first time.Time) error {
	for deadline := time.Now().Add(settleCreated); r.c.nc.ConnectedClusterName() != "" && time.Now().Before(deadline); {
		now, err := r.c.Look(ctx, []string{name})
		if err != nil {
			return err
		}
		if len(now) == 1 && !now[0].created.Equal(first) {
			break
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

const codeRestoreExists natsjs.ErrorCode = 10130

func (r *restoring) send(ctx context.Context, s *BackupStream, config natsjs.StreamConfig, state streamState,
	rw rewrite) (*natsjs.StreamInfo, error) {
	scan, file, err := r.b.open(s)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return r.c.restoreStream(ctx, config, state, func(w io.Writer) error {
		reported := rw
		reported.change = func(m *message) error {
			if r.o.Progress != nil {
				r.o.Progress(s.Name, scan.held.Messages, s.Messages)
			}
			if rw.change != nil {
				return rw.change(m)
			}
			return nil
		}
		return scan.write(file, w, reported)
	})
}

// config is how the stream is to be in the end.
func (r *restoring) config(s *BackupStream) natsjs.StreamConfig {
	config := s.Config
	config.Metadata = map[string]string{}
	for name, value := range s.Config.Metadata {
		if !strings.HasPrefix(name, "_nats.") && name != metaRestoring { // those are the server's own
			config.Metadata[name] = value
		}
	}
	config.Metadata[metaBackup] = r.b.ID
	if r.o.Replicas > 0 {
		config.Replicas = r.o.Replicas
	}
	if most := r.o.MaxBytes[s.Name]; most > 0 {
		config.MaxBytes = most
	}
	return config
}

// lastOf is what the last sequence of a restored stream is to be. Objects are found by name.
func (r *restoring) lastOf(s *BackupStream) uint64 {
	if s.Name == streamBodies {
		return s.Last
	}
	skip := uint64(leastSkipped)
	if span, since := s.LastTime.Sub(s.FirstTime), time.Since(r.b.Began); span > 0 && since > 0 {
		pace := float64(s.Last-min(s.First, s.Last)) / span.Seconds()
		skip = uint64(min(max(2*pace*since.Seconds(), leastSkipped), mostSkipped))
	}
	return max(s.Last+skip, r.last[s.Name])
}

// change returns what has to become of the messages of a stream: some name another one by when that was made, and it is made
// anew.
func (r *restoring) change(ctx context.Context, s *BackupStream) (func(*message) error, error) {
	switch s.Name {
	case event.StreamNormalized:
		raw, ours, err := r.sibling(ctx, event.StreamRaw)
		if err != nil || !ours {
			return nil, err
		}
		return func(m *message) error { return setRawCreated(m, raw.created) }, nil
	case event.StreamDead:
		_, ours, err := r.sibling(ctx, event.StreamNormalized)
		if err != nil || !ours {
			return nil, err
		}
		return dropIdentity, nil
	}
	return nil, nil
}

// sibling returns another stream, and whether it came out of the same backup.
func (r *restoring) sibling(ctx context.Context, name string) (StreamNow, bool, error) {
	found, err := r.c.Look(ctx, []string{name})
	if err != nil || len(found) == 0 {
		return StreamNow{}, false, err
	}
	return found[0], found[0].metadata[metaBackup] == r.b.ID, nil
}

// durablesOf are the consumers of a stream, none with a position beyond what the backup has.
func durablesOf(s *BackupStream) []Durable {
	var durables []Durable
	for _, d := range s.Durables {
		config, state := maps.Clone(d.Config), d.State
		if config.replicas() > 1 {
			config.set("num_replicas", 0) // as many as the stream, which begins with one
		}
		state.AckFloor.Stream = min(state.AckFloor.Stream, s.Through)
		state.Delivered.Stream = min(state.Delivered.Stream, s.Through)
		durables = append(durables, Durable{config, state})
	}
	return durables
}
