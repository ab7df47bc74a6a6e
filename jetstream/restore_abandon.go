package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A restore that was killed just before its first deletion, or just after it has opened the last stream, leaves a mark on a store that
// lacks nothing. To run it again would be to lose what came after the backup, or to do all of it once more. Such a mark may go; the
// mark itself says which streams it stands for, and each of them has to be the very one that stood there before, or one that a
// restore has made completely.

// abandonWait is how long a restore may need for the step that it has begun before its mark was claimed.
const abandonWait = 2 * time.Second

// Interrupted is a restore that has not ended and has left nothing undone.
type Interrupted struct {
	Dir   string    `json:"dir"`
	Began time.Time `json:"began"`
	// Streams are those that it was to make or might have deleted.
	Streams []WholeStream `json:"streams"`
}

// WholeStream is a stream that lacks nothing.
type WholeStream struct {
	StreamNow
	// Restored: a restore has made it completely since. Otherwise it is as it was before.
	Restored bool `json:"restored"`
}

// Interrupted returns the restore that has not ended, nil if there is none. An error of the kind event.Invalid says what is not whole,
// and what has to be done then.
func (c *Client) Interrupted(ctx context.Context) (*Interrupted, error) {
	const op = "abandon the restore"
	ctx, release := c.failOnRefusal(ctx, func(string) bool { return true })
	defer release()
	m, err := c.currentMark(ctx, op)
	if err != nil {
		return nil, err
	}
	all, err := c.Look(ctx, BackupStreams())
	if err != nil {
		return nil, err
	}
	var claim *restoreClaim
	if m != nil {
		if claim, err = c.claimed(ctx); err != nil {
			return nil, readError(ctx, op, err)
		}
	}
	streams, err := m.whole(all, claim)
	switch {
	case err != nil:
		return nil, invalid(op, fmt.Errorf("%w: run it again, `%s` with the same -c or --nats, or restore another backup",
			err, m.command()))
	case m == nil:
		return nil, nil
	}
	return &Interrupted{Dir: m.Dir, Began: m.Began, Streams: streams}, nil
}

// whole returns the streams that the mark stands for, or an error that names one which lacks something, or might.
func (m *restoreMark) whole(all []StreamNow, claim *restoreClaim) ([]WholeStream, error) {
	for _, s := range all {
		if s.HalfRestore {
			return nil, fmt.Errorf("%s has only a part of what a restore of %s was to put into it", s.Name, m.dir())
		}
	}
	switch {
	case m == nil:
		return nil, nil
	case len(m.Streams) == 0:
		return nil, errors.New("what the restore was to make can't be read")
	}
	var backups []string
	if claim != nil {
		backups = claim.Backups
	}
	var found []WholeStream
	for _, name := range BackupStreams() {
		if !m.speaksOf(name) {
			continue
		}
		at := slices.IndexFunc(all, func(s StreamNow) bool { return s.Name == name })
		if at < 0 {
			return nil, fmt.Errorf("%s is missing since a restore of %s was interrupted", name, m.dir())
		}
		s := WholeStream{StreamNow: all[at]}
		made, known := m.Made[name]
		s.Restored = !known || !made.Equal(s.created)
		if s.Restored && !slices.Contains(backups, s.metadata[metaBackup]) {
			return nil, fmt.Errorf("%s is not known to be the stream that was there before the restore of %s, nor was it restored since",
				name, m.dir())
		}
		found = append(found, s)
	}
	return found, nil
}

// Abandon takes away the mark of a restore that has left nothing undone, and changes nothing else. Nobody may be at work. A restore
// that runs still ends at its next step; what it has begun is waited for, and looked at again.
func (c *Client) Abandon(ctx context.Context) error {
	const op = "abandon the restore"
	if m, err := c.Interrupted(ctx); err != nil || m == nil {
		return err
	}
	ctx, release := c.failOnRefusal(ctx, func(string) bool { return true })
	defer release()
	mine, err := c.claim(ctx, nil, true)
	if err != nil {
		return readError(ctx, op, err)
	}
	if c.nc.Opts.InProcessServer == nil { // into which nobody else comes
		select {
		case <-time.After(abandonWait):
		case <-ctx.Done():
			return readError(ctx, op, ctx.Err())
		}
	}
	at, err := c.AtWork(ctx)
	if err != nil {
		return err
	}
	if len(at) > 0 {
		return invalid(op, fmt.Errorf("%s began to work just now: stop them first", strings.Join(at, ", ")))
	}
	if m, err := c.Interrupted(ctx); err != nil || m == nil {
		return err
	}
	if err := c.unmark(ctx, mine); err != nil {
		return readError(ctx, op, err)
	}
	return nil
}
