package jetstream

import (
	"context"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// CursorsAsOf returns the cursor of every source that ever collected for a provider, as they were when the stream had come to a
// sequence, or later: none is one that was replaced before that.
//
// Cursors asks any server, which may lag by a command that set a source back, and what is read so would promise more than
// the source does. So the leader is asked, which before and after has to show that sequence.
func (m *Memory) CursorsAsOf(ctx context.Context, p event.Provider, asOf event.StreamSeq) (map[event.Source]event.RawCursor, error) {
	op := "read the cursors of " + string(p)
	handle, err := m.raw.streamHandle(ctx)
	if err != nil {
		return nil, err
	}
	ctx, release := m.raw.c.failOnRefusal(ctx, func(refused string) bool { return refused == "$JS.API.STREAM.MSG.GET."+event.StreamRaw })
	defer release()
	pause := backoff.NewExponentialBackOff(backoff.WithInitialInterval(20*time.Millisecond), backoff.WithMaxInterval(time.Second),
		backoff.WithMaxElapsedTime(0))
	for began := time.Now(); ; {
		before, err := infoOf(ctx, handle)
		if err != nil {
			return nil, readError(ctx, op, err)
		}
		cursors, err := m.leadersCursors(ctx, p)
		if err != nil {
			return nil, readError(ctx, op, err)
		}
		after, err := infoOf(ctx, handle)
		if err != nil {
			return nil, readError(ctx, op, err)
		}
		shows := func(s *natsjs.StreamInfo) bool { return event.StreamSeq(s.State.LastSeq) >= asOf }
		if shows(before) && shows(after) && leaderOf(before) == leaderOf(after) {
			return cursors, nil
		}
		if time.Since(began) > catchUp {
			return nil, unavailable(op, fmt.Errorf("the leader of %s ends at %d, and %d was there", event.StreamRaw,
				after.State.LastSeq, asOf))
		}
		select {
		case <-time.After(pause.NextBackOff()):
		case <-ctx.Done():
			return nil, readError(ctx, op, context.Cause(ctx))
		}
	}
}

func (m *Memory) leadersCursors(ctx context.Context, p event.Provider) (map[event.Source]event.RawCursor, error) {
	found, err := m.raw.c.lastOfEach(ctx, event.StreamRaw, event.RawCursorSubjects(p), isCursor)
	if err != nil {
		return nil, err
	}
	cursors := make(map[event.Source]event.RawCursor, len(found))
	for _, m := range found {
		source, err := sourceOf(p, m.Subject)
		if err != nil {
			return nil, err
		}
		stored := event.Stored{Message: event.Message{Subject: m.Subject, Body: m.Data}, Sequence: event.StreamSeq(m.Sequence)}
		if cursors[source], err = decodeRawCursor(stored); err != nil {
			return nil, err
		}
	}
	return cursors, nil
}
