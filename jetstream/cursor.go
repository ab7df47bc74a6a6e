package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// settle is how long a replica may lag behind its leader before what it says counts as all there is. Correctness does
// not rest on it: a writer with an old cursor is refused.
const settle = 2 * time.Second

// ReadCursor returns the last message on a cursor's subject; ok is false if there is none. A replica answers, which may
// lag: while what it has on the subject is older than atLeast, it is asked again until the leader says that the stream
// is at atLeast, and for a while after. A stream whose leader says for as long that it ends before atLeast is
// event.Regressed: it was made again, or has lost its tail. All other errors are event.Unavailable or event.Invalid;
// nothing was changed.
//
// Nor does the answer go back behind what this Client has read or written on the subject before, as long as the stream
// has not been made again.
func (l *Log) ReadCursor(ctx context.Context, subject string, atLeast event.StreamSeq) (event.Stored, bool, error) {
	known := l.c.known.at(subject)
	m, ok, err := l.readCursor(ctx, subject, max(atLeast, known))
	if known > atLeast && event.KindOf(err) == event.Regressed {
		m, ok, err = l.readCursor(ctx, subject, atLeast)
	}
	if err == nil {
		l.c.known.read(subject, known, m)
	}
	return m, ok, err
}

func (l *Log) readCursor(ctx context.Context, subject string, atLeast event.StreamSeq) (m event.Stored, ok bool, err error) {
	op := "read " + subject
	if err := checkSubject(subject); err != nil {
		return m, false, invalid(op, err)
	}
	handle, err := l.streamHandle(ctx)
	if err != nil {
		return m, false, err
	}
	ctx, release := l.c.failOnRefusal(ctx, func(refused string) bool { return strings.HasSuffix(refused, "."+subject) })
	defer release()

	pause := backoff.NewExponentialBackOff(backoff.WithInitialInterval(5*time.Millisecond),
		backoff.WithMaxInterval(250*time.Millisecond), backoff.WithMaxElapsedTime(0))
	var since time.Time
	for {
		m, ok, err = lastOn(ctx, handle, subject)
		if err != nil {
			return event.Stored{}, false, readError(ctx, op, err)
		}
		if m.Header.Get(headerBatchSequence) != "1" { // else it is the one that a batch replaces, whose end is to come
			l.c.seen.see(l.stream, subject, m.Header.Get(headerBatchID), m.Sequence, time.Now())
		}
		if m.Sequence >= atLeast {
			return m, ok, nil
		}
		info, err := infoOf(ctx, handle)
		if err != nil {
			return event.Stored{}, false, readError(ctx, op, err)
		}
		reached := event.StreamSeq(info.State.LastSeq) >= atLeast
		replicated := info.Cluster != nil && len(info.Cluster.Replicas) > 0
		switch {
		case since.IsZero():
			since = time.Now()
		case time.Since(since) < settle && (replicated || !reached):
		case reached:
			return m, ok, nil
		default:
			return event.Stored{}, false, &event.Error{Kind: event.Regressed, Op: op, Last: event.StreamSeq(info.State.LastSeq),
				Err: fmt.Errorf("%s ends at %d, %d was there", l.stream, info.State.LastSeq, atLeast)}
		}
		select {
		case <-time.After(pause.NextBackOff()):
		case <-ctx.Done():
			return event.Stored{}, false, readError(ctx, op, ctx.Err())
		}
	}
}

// knownCursors remembers the last message that was read or written on each cursor's subject; only that of one that was written has a
// time. The zero value is empty.
type knownCursors struct{ messages sync.Map } // of *event.Stored, by subject

func (k *knownCursors) at(subject string) event.StreamSeq {
	m, _ := k.message(subject)
	return m.Sequence
}

func (k *knownCursors) message(subject string) (event.Stored, bool) {
	known, ok := k.messages.Load(subject)
	if !ok {
		return event.Stored{}, false
	}
	return *known.(*event.Stored), true
}

// wrote takes a message that was stored.
func (k *knownCursors) wrote(m event.Stored) { k.messages.Store(m.Subject, &m) }

// read takes a message that was read, the zero one if there was none. known is what was known before; if that has changed
// meanwhile, only a larger sequence counts.
func (k *knownCursors) read(subject string, known event.StreamSeq, m event.Stored) {
	m.Time = time.Time{}
	for {
		was, loaded := k.messages.LoadOrStore(subject, &m)
		if !loaded {
			return
		}
		at := was.(*event.Stored).Sequence
		if at == m.Sequence || at != known && at > m.Sequence || k.messages.CompareAndSwap(subject, was, &m) {
			return
		}
	}
}

// lastOn asks one of the stream's servers for the last message on a subject.
func lastOn(ctx context.Context, stream natsjs.Stream, subject string) (event.Stored, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	raw, err := stream.GetLastMsgForSubject(ctx, subject)
	switch {
	case errors.Is(err, natsjs.ErrMsgNotFound):
		return event.Stored{}, false, nil
	case err != nil:
		return event.Stored{}, false, err
	}
	return event.Stored{
		Message:  event.Message{Subject: raw.Subject, Header: event.Header(raw.Header), Body: raw.Data},
		Sequence: event.StreamSeq(raw.Sequence),
		Time:     raw.Time,
	}, true, nil
}

func infoOf(ctx context.Context, stream natsjs.Stream, opts ...natsjs.StreamInfoOpt) (*natsjs.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return stream.Info(ctx, opts...)
}

// stream asks about a stream. The error has a kind, event.Invalid for one that is restored in part.
func (c *Client) stream(ctx context.Context, name string) (natsjs.Stream, error) {
	op := "look up stream " + name
	ctx, release := c.failOnRefusal(ctx, func(subject string) bool { return strings.HasSuffix(subject, ".STREAM.INFO."+name) })
	defer release()
	brief, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	handle, err := c.js.Stream(brief, name)
	if err != nil {
		return nil, readError(ctx, op, err)
	}
	if metadata := handle.CachedInfo().Config.Metadata; metadata[metaRestoring] != "" {
		return nil, notWhole(op, name, markIn(metadata))
	}
	return handle, nil
}

// streamInfo asks about a stream and how many messages it has on each subject that filter matches. The error has a
// kind.
func (c *Client) streamInfo(ctx context.Context, name, filter string) (*natsjs.StreamInfo, error) {
	handle, err := c.stream(ctx, name)
	if err != nil {
		return nil, err
	}
	info, err := infoOf(ctx, handle, natsjs.WithSubjectFilter(filter))
	if err != nil {
		return nil, readError(ctx, "look up subjects of "+name, err)
	}
	return info, nil
}

// subjects lists the subjects of a stream that filter matches and that have a message, in order.
func (c *Client) subjects(ctx context.Context, stream, filter string) ([]string, error) {
	info, err := c.streamInfo(ctx, stream, filter)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(info.State.Subjects))
	for name := range info.State.Subjects {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}
