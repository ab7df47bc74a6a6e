package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// RestoreOptions says what to restore and how.
type RestoreOptions struct {
	// Streams are some of BackupStreams; none means all that the backup has. With EVENTS_NORMALIZED comes EVENTS_DEAD.
	Streams []string
	// Replace deletes streams that exist. Without it they are refused, unless nothing is lost with them, see Backup.Left.
	Replace bool
	// Replicas, if not 0, is how many servers are to keep each stream, in place of what the backup says.
	Replicas int
	// MaxBytes is what streams may take, in place of what the backup says.
	MaxBytes map[string]int64
	// Sync, if set, is called before anything is deleted, and makes durable that a restore has begun, where the server did not.
	Sync func() error
	// Settle, if set, is called once all is sent, and makes it durable where the server did not.
	Settle func() error
	// Progress, if set, is told how many messages of a stream are sent, of how many. It must not block.
	Progress func(stream string, done, total uint64)
}

// RestoredStream is a stream that was restored.
type RestoredStream struct {
	Name     string `json:"name"`
	Messages uint64 `json:"messages"`
	// Through is the last sequence up to which the backup has everything, Next the first one that is handed out from now on.
	Through uint64 `json:"through_seq"`
	Next    uint64 `json:"next_seq"`
	// Expired are messages that went at once because of their age.
	Expired uint64 `json:"expired"`
	// Behind is how many replicas do not have all of it yet; they go on by themselves.
	Behind int `json:"behind,omitempty"`
	// Durables came back, each with the position it had, or the last one that the backup has.
	Durables []string `json:"durables,omitempty"`
}

// StreamNow is a stream as it is.
type StreamNow struct {
	Name        string    `json:"name"`
	Messages    uint64    `json:"messages"`
	Last        uint64    `json:"last_seq"`
	LastTime    time.Time `json:"last_time,omitzero"`
	HalfRestore bool      `json:"half_restored,omitempty"` // left by a restore that did not end

	created  time.Time
	metadata map[string]string
}

// is tells whether it is the same stream as another one that was seen, and not one of the same name that was made in its place.
func (s StreamNow) is(other StreamNow) bool {
	return s.Name == other.Name && s.created.Equal(other.created)
}

// Restoring returns the streams that a restore would make, in the order in which it would.
func (b *Backup) Restoring(names []string) ([]string, error) {
	if _, err := chosen(names); err != nil {
		return nil, err
	}
	all := BackupStreams()
	slices.Reverse(all)
	with := slices.Clone(names)
	if len(names) == 0 {
		for _, s := range b.Streams {
			with = append(with, s.Name)
		}
	} else if slices.Contains(names, event.StreamNormalized) && b.stream(event.StreamDead) != nil {
		// A stream that copies another notices that this one was made anew, and copies all of it once more.
		with = append(with, event.StreamDead)
	}
	for _, name := range with {
		if b.stream(name) == nil {
			return nil, fmt.Errorf("the backup does not have %s", name)
		}
	}
	return slices.DeleteFunc(all, func(name string) bool { return !slices.Contains(with, name) }), nil
}

// Look returns those of the streams that exist.
func (c *Client) Look(ctx context.Context, names []string) ([]StreamNow, error) {
	var found []StreamNow
	for _, name := range names {
		s, err := ask(ctx, func(ctx context.Context) (natsjs.Stream, error) { return c.js.Stream(ctx, name) })
		if errors.Is(err, natsjs.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return nil, readError(ctx, "look at "+name, err)
		}
		info := s.CachedInfo()
		found = append(found, StreamNow{
			Name: name, Messages: info.State.Msgs, Last: info.State.LastSeq, LastTime: info.State.LastTime,
			HalfRestore: info.Config.Metadata[metaRestoring] != "", created: info.Created, metadata: info.Config.Metadata,
		})
	}
	return found, nil
}

// AtWork returns the processes that hold leases or wait for some, for people.
func (c *Client) AtWork(ctx context.Context) ([]string, error) {
	const op = "look who is at work"
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	bucket, err := c.js.KeyValue(ctx, BucketLeases)
	if errors.Is(err, natsjs.ErrBucketNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, readError(ctx, op, err)
	}
	keys, err := bucket.Keys(ctx)
	if err != nil && !errors.Is(err, natsjs.ErrNoKeysFound) {
		return nil, readError(ctx, op, err)
	}
	var found []string
	for _, key := range keys {
		entry, err := bucket.Get(ctx, key)
		var p process
		if err != nil || json.Unmarshal(entry.Value(), &p) != nil || p.Dead {
			continue
		}
		role, _, _ := strings.Cut(key, ".")
		found = append(found, role+" "+p.Name)
	}
	slices.Sort(found)
	return found, nil
}

// mayRestore looks for what speaks against it, and returns all streams that exist, and those of them that are to be made, in the order
// of BackupStreams.
func (c *Client) mayRestore(ctx context.Context, b *Backup, names []string, o RestoreOptions) (exist, all []StreamNow, err error) {
	const op = "restore"
	if all, err = c.Look(ctx, BackupStreams()); err != nil {
		return nil, nil, err
	}
	m, err := c.currentMark(ctx, op)
	if err != nil {
		return nil, nil, err
	}
	if err := m.left(names, all); err != nil {
		return nil, nil, invalid(op, err)
	}
	for _, s := range all {
		switch {
		case slices.Contains(names, s.Name):
			exist = append(exist, s)
		case s.Name == event.StreamDead && slices.Contains(names, event.StreamNormalized):
			return nil, nil, invalid(op, fmt.Errorf("the backup does not have %s, which would copy all dead letters of %s once more: "+
				"take a backup that has both", event.StreamDead, event.StreamNormalized))
		}
	}
	for _, s := range exist {
		if !o.Replace && !b.Left(s, exist) {
			return nil, nil, invalid(op, fmt.Errorf("%s exists, with %d messages: it would have to be replaced", s.Name, s.Messages))
		}
	}
	for _, name := range names {
		if err := b.room(b.stream(name), o); err != nil {
			return nil, nil, invalid(op, err)
		}
	}
	return exist, all, nil
}

// left returns an error that names a stream which an earlier restore has left out, or in part, and this one would leave so.
func (m *restoreMark) left(names []string, all []StreamNow) error {
	wanted := map[string]bool{}
	if m != nil {
		for _, name := range slices.Concat(m.Streams, m.There) {
			wanted[name] = true // unless it is there
		}
	}
	for _, s := range all {
		wanted[s.Name] = s.HalfRestore
	}
	for _, name := range BackupStreams() {
		if wanted[name] && !slices.Contains(names, name) {
			return fmt.Errorf("%s is not whole since a restore of %s was interrupted, and has to be restored with the others: "+
				"leave out --stream or name it, too, or take a backup that has it", name, m.dir())
		}
	}
	return nil
}

// Left tells whether nothing is lost with a stream: it never had a message, or was left by a restore that did not end, being
// incomplete itself, or out of this backup while another one is incomplete.
func (b *Backup) Left(s StreamNow, all []StreamNow) bool {
	return s.Last == 0 || s.HalfRestore || s.metadata[metaBackup] == b.ID &&
		slices.ContainsFunc(all, func(other StreamNow) bool { return other.HalfRestore })
}

// room refuses a stream that would not fit its limit.
func (b *Backup) room(s *BackupStream, o RestoreOptions) error {
	if most, ok := o.MaxBytes[s.Name]; ok && most > 0 && s.Bytes > uint64(most) {
		return fmt.Errorf("%s has %d bytes in the backup, and the target allows %d: raise streams.budget or its max_bytes",
			s.Name, s.Bytes, most)
	}
	return nil
}
