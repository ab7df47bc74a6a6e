package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// A restore deletes streams before it has made others in their place. What it leaves when it is killed then is what a new
// installation looks like: everything would be collected once more, and numbers begin anew. So from before the first change to
// behind the last one a mark stands where no restore deletes it and whoever begins to work looks: on the stream of the bucket
// OWNERS.

const (
	// metaBackup names the backup that a stream came from, metaRestoring that it is not complete yet: a server keeps what it
	// has got of a stream whose rest never came, and it looks like any other.
	metaBackup    = "stackstream.backup"
	metaRestoring = "stackstream.restoring"
	// metaMark is the mark, a restoreMark.
	metaMark = "stackstream.restore"

	streamOwners = "KV_" + BucketOwners
)

// restoreMark says which restore has not ended.
type restoreMark struct {
	Dir   string    `json:"dir"`
	Began time.Time `json:"began"`
	// Streams are those that it makes: without them the next restore must not take the mark away.
	Streams []string `json:"streams"`
	// There are the streams that stood there when it began, whether it makes them or not: a later restore may delete them without
	// writing the mark again.
	There []string `json:"there,omitempty"`
	// Last are the last sequences of those: none may be handed out again, also when they are gone.
	Last map[string]uint64 `json:"last,omitempty"`
	// Made is when those of them were made that were whole: a stream of that time is the one that stood there.
	Made map[string]time.Time `json:"made,omitempty"`
}

// markIn returns the mark in the metadata of a stream, nil if there is none. One that can't be read is a mark all the same.
func markIn(metadata map[string]string) *restoreMark {
	text := metadata[metaMark]
	if text == "" {
		return nil
	}
	m := &restoreMark{}
	if json.Unmarshal([]byte(text), m) != nil {
		return &restoreMark{}
	}
	return m
}

// speaksOf tells whether the mark says that a stream has to be there.
func (m *restoreMark) speaksOf(name string) bool {
	return m != nil && (slices.Contains(m.Streams, name) || slices.Contains(m.There, name))
}

// makes tells whether the restore makes one of the streams. One that can't be read makes any.
func (m *restoreMark) makes(names []string) bool {
	made := func(name string) bool { return slices.Contains(m.Streams, name) }
	return m != nil && (len(m.Streams) == 0 || slices.ContainsFunc(names, made))
}

// command is how the restore is run again, for people.
func (m *restoreMark) command() string {
	text := "stackstream restore --replace "
	if m != nil && len(m.Streams) < len(BackupStreams()) {
		for _, name := range m.Streams {
			text += "--stream " + name + " "
		}
	}
	return text + m.dir()
}

// dir is where the backup is, for people.
func (m *restoreMark) dir() string {
	if m == nil || m.Dir == "" {
		return "DIR"
	}
	return m.Dir
}

// notWhole is why nothing may use the streams: m is the mark, or stream is incomplete and says so itself.
func notWhole(op, stream string, m *restoreMark) error {
	what, end := "a restore has not ended", "; where it was killed before it deleted anything, or at its very end, "+
		"`stackstream restore --abandon` ends it"
	switch {
	case m == nil:
		what, end = stream+" was restored in part", ""
	case m.Dir != "":
		what = fmt.Sprintf("a restore of %s that began at %s has not ended", m.Dir, m.Began.Format(time.RFC3339))
	}
	return invalid(op, fmt.Errorf("%s, and what the streams lack would never be missed: unless it runs still, run it again, "+
		"`%s` with the same -c or --nats%s", what, m.command(), end))
}

// ownersStream returns the stream with the mark as it is, nil if it is missing.
func (c *Client) ownersStream(ctx context.Context) (*natsjs.StreamInfo, error) {
	s, err := ask(ctx, func(ctx context.Context) (natsjs.Stream, error) { return c.js.Stream(ctx, streamOwners) })
	switch {
	case errors.Is(err, natsjs.ErrStreamNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return s.CachedInfo(), nil
}

// HalfRestored returns an error of the kind event.Invalid that says so, and the way out, where a restore runs or was interrupted.
// Who may not look at the bucket OWNERS goes by what the streams say.
func (c *Client) HalfRestored(ctx context.Context) error {
	return c.halfRestored(ctx, "use the streams", BackupStreams())
}

// Marked is HalfRestored for who may not look at the streams: it goes by the mark alone. Who may not look at that either learns nothing.
func (c *Client) Marked(ctx context.Context) error {
	const op = "use the streams"
	m, err := c.currentMark(ctx, op)
	if m != nil {
		return notWhole(op, "", m)
	}
	return unlessRefused(err)
}

// halfRestored is HalfRestored for some of the streams: a restore that makes none of them does not count.
func (c *Client) halfRestored(ctx context.Context, op string, names []string) error {
	m, err := c.currentMark(ctx, op)
	if unlessRefused(err) != nil {
		return err
	}
	if m.makes(names) {
		return notWhole(op, "", m)
	}
	ctx, release := c.failOnRefusal(ctx, isStreamRequest)
	defer release()
	exist, err := c.Look(ctx, names)
	if err != nil {
		return err
	}
	for _, s := range exist {
		if s.HalfRestore {
			return notWhole(op, s.Name, nil)
		}
	}
	return nil
}

// currentMark returns the mark, nil if there is none. The error has a kind.
func (c *Client) currentMark(ctx context.Context, op string) (*restoreMark, error) {
	ctx, release := c.failOnRefusal(ctx, isStreamRequest)
	defer release()
	info, err := c.ownersStream(ctx)
	if err != nil {
		return nil, readError(ctx, op, err)
	}
	if info == nil {
		return nil, nil
	}
	return markIn(info.Config.Metadata), nil
}

// mark claims the mark and puts it where it stays. One that is there and speaks of all that is deleted now is not written again: an
// embedded server that is killed while it writes the settings of a stream does not find that stream again.
func (r *restoring) mark(ctx context.Context, names []string, replicas int, all []StreamNow) error {
	info, err := r.c.ownersStream(ctx)
	if err != nil {
		return err
	}
	if info == nil {
		bucket := ownersBucket(replicas)
		s, err := ask(ctx, func(ctx context.Context) (natsjs.Stream, error) { return r.c.js.CreateStream(ctx, bucket) })
		if err != nil {
			return provisionError(ctx, "create stream "+streamOwners, err)
		}
		info = s.CachedInfo()
	}
	if r.mine, err = r.c.claim(ctx, r.b, info.Config.Metadata[metaMark] != ""); err != nil {
		return provisionError(ctx, "claim the mark in "+streamOwners, err)
	}
	if info, err = r.c.ownersInfo(ctx); err != nil { // what an earlier one wrote before it noticed the claim
		return err
	}
	was := markIn(info.Config.Metadata)
	r.first = was == nil
	there := slices.Sorted(maps.Keys(r.last))
	m := restoreMark{
		Dir: r.mine.Dir, Began: r.mine.At, Streams: slices.Clone(names), There: there, Last: maps.Clone(r.last),
	}
	if was != nil {
		for name, last := range was.Last {
			r.last[name] = max(r.last[name], last)
		}
		if !slices.ContainsFunc(there, func(name string) bool { return slices.Contains(names, name) && !was.speaksOf(name) }) {
			r.text = info.Config.Metadata[metaMark]
			return nil
		}
		m.Streams = slices.Compact(slices.Sorted(slices.Values(append(m.Streams, was.Streams...))))
		m.There = slices.Compact(slices.Sorted(slices.Values(append(m.There, was.There...))))
		m.Last = maps.Clone(r.last)
	}
	m.Made = map[string]time.Time{}
	for _, s := range all {
		if !s.HalfRestore && s.Last >= r.last[s.Name] { // not one that somebody made in the place of one that is gone
			m.Made[s.Name] = s.created
		}
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	r.text = string(text)
	if err := r.c.writeMark(ctx, info.Config, r.text); err != nil {
		return provisionError(ctx, "mark the restore in "+streamOwners, err)
	}
	return nil
}

// holds returns an error if another one has claimed the mark. Where nobody has, the mark is what it was when it was claimed: one that
// noticed the claim too late may have written or removed it at the same moment.
func (r *restoring) holds(ctx context.Context) error {
	if err := r.c.holds(ctx, r.mine); err != nil {
		return err
	}
	info, err := r.c.ownersInfo(ctx)
	if err != nil || info.Config.Metadata[metaMark] == r.text {
		return err
	}
	r.c.log.Warn().Msg("the mark of the restore was changed by somebody else, writing it again")
	return r.c.writeMark(ctx, info.Config, r.text)
}

// retract takes the mark away that this restore made, which has done nothing else.
func (r *restoring) retract(ctx context.Context) {
	if !r.first || r.text == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
	defer cancel()
	err := nats.ErrDisconnected
	if r.c.nc.IsConnected() {
		err = r.c.unmark(ctx, r.mine)
	}
	if err != nil {
		r.c.log.Warn().Err(err).Msg("nothing was restored or deleted, but programs refuse to start before a restore has ended")
	}
}

// unmark takes the mark away.
func (c *Client) unmark(ctx context.Context, mine *restoreClaim) error {
	info, err := c.ownersInfo(ctx)
	if err == nil {
		err = c.holds(ctx, mine)
	}
	if err != nil {
		return err
	}
	return c.writeMark(ctx, info.Config, "")
}

// ownersInfo returns the stream with the mark while there is one.
func (c *Client) ownersInfo(ctx context.Context) (*natsjs.StreamInfo, error) {
	info, err := c.ownersStream(ctx)
	if err == nil && info == nil {
		err = unavailable("go on with the restore", errors.New(streamOwners+", which bears its mark, is not to be found"))
	}
	return info, err
}

func (c *Client) writeMark(ctx context.Context, config natsjs.StreamConfig, text string) error {
	config.Metadata = maps.Clone(config.Metadata)
	if config.Metadata == nil {
		config.Metadata = map[string]string{}
	}
	if config.Metadata[metaMark] = text; text == "" {
		delete(config.Metadata, metaMark)
	}
	_, err := ask(ctx, func(ctx context.Context) (natsjs.Stream, error) { return c.js.UpdateStream(ctx, config) })
	return err
}
