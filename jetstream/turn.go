package jetstream

import (
	"context"
	"errors"
	"maps"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// In a cluster the batches of all writers go through a stream one at a time.
//
// What is proposed together travels in raft entries of at most 256 KiB, so that one entry may hold the tail of one batch and
// the head of the next. While that next batch is not complete, the leader counts the entry as not applied, though the first
// batch is stored. If it takes its snapshot then, a server that comes back and is caught up from it applies the entry once
// more: it takes the tail for a batch without a beginning, counts its messages as refused, and from there on takes as many
// others for ones that it has. Its copy lacks them for ever, and everything behind them has other sequences than on the other
// servers (nats-server 2.15.2 and 2.15.3, applyStreamEntries).
//
// With one batch on its way at a time no entry holds two of which one is incomplete. The leader itself sees to that, for all
// processes: it refuses a batch that expects something of a subject of which one that is proposed and not applied yet expects
// something too, and it applies none before all of it is in the log of most servers. So every batch expects that there is
// nothing on turnSubject, and there never is. A new leader knows of no batch on its way, but takes none before it has applied
// what its log holds, and what is incomplete there is abandoned by all servers alike. Messages that are written by themselves
// do no harm: applied once more, they are taken for what they are.

// turnSubject is one that the streams do not take and that nothing is stored on.
const turnSubject = "events.turn"

const (
	// turnPatience is how long a batch asks for its turn. Batches of other processes take some milliseconds each.
	turnPatience = 30 * time.Second
	// turnOpen is how long a batch that waits for its turn is kept open; the server gives it up after ten seconds.
	turnOpen = 5 * time.Second
	// turnPause is the longest pause before it is asked again whether the way is free. It is short, and differs from one time to
	// the next, so that a writer finds its moment among others that have always something to write.
	turnPause = 10 * time.Millisecond
	// refusedPause is the longest pause before a batch is sent again that was refused though the way was free.
	refusedPause = 50 * time.Millisecond
)

// clustered says whether a stream is one of a cluster: it has replicas, or may get them while this process runs. A server that
// is alone speaks of a cluster without a name.
func clustered(stream natsjs.Stream) bool {
	cluster := stream.CachedInfo().Cluster
	return cluster != nil && cluster.Name != ""
}

// takeTurn makes the batch one that the leader takes by itself only. A message can expect one thing: the first expects what
// the fence says, the last what the cursor replaces. Where that leaves none, the cursor that is replaced is written again
// before the first, so that all three have their place and the sequences of what follows stay what they are; it goes with the
// next cursor, as any other that is replaced.
func takeTurn(messages []*nats.Msg, replaced func() (event.Message, error)) ([]*nats.Msg, error) {
	expect := func(m *nats.Msg) {
		m.Header[headerExpectSubject] = []string{turnSubject}
		m.Header[headerExpectLast] = []string{formatSeq(0)}
	}
	for _, m := range messages {
		if m.Header.Get(headerExpectLast) == "" {
			expect(m)
			return messages, nil
		}
	}
	before, err := replaced()
	if err != nil {
		return nil, err
	}
	first, cursor := buildMessage(before), messages[len(messages)-1]
	for _, name := range []string{headerExpectStream, headerExpectLast, headerRollup} {
		first.Header[name] = cursor.Header[name]
		delete(cursor.Header, name)
	}
	first.Header[headerTTL] = cursor.Header[headerTTL]
	expect(cursor)
	return append([]*nats.Msg{first}, messages...), nil
}

// replaced returns the cursor that a batch replaces. A source that has none yet is given an empty one, which says as much.
// What it returns need not be right where another than the one that is expected is there: the batch is refused then.
func (l *Log) replaced(ctx context.Context, b event.Batch) (event.Message, error) {
	empty := event.Message{Subject: b.Cursor.Subject, Body: []byte("{}")}
	if b.Expect == 0 {
		return empty, nil
	}
	m, ok := l.c.known.message(b.Cursor.Subject)
	if !ok || m.Sequence != b.Expect {
		var err error
		m, ok, err = l.ReadCursor(ctx, b.Cursor.Subject, b.Expect)
		switch {
		case event.KindOf(err) == event.Regressed, err == nil && !ok:
			return empty, nil
		case err != nil:
			return empty, err
		}
	}
	again := event.Message{Subject: m.Subject, Header: maps.Clone(m.Header), Body: m.Body}
	maps.DeleteFunc(again.Header, func(name string, _ []string) bool { return strings.HasPrefix(name, "Nats-") })
	return again, nil
}

// awaitTurn returns when the batch, of which all but the message that commits is at the server, may be committed; end ends its
// turn. The batches of one process take turns among themselves, in the order in which they come here, so that only those of other
// processes are met at the server. Where one of those was in the way before, the server is asked until none is: with a message
// that it refuses in any case, since it expects something where there is nothing. If that takes long, or the server can't be
// asked, the commit tells.
func (l *Log) awaitTurn(ctx context.Context, cursor *nats.Msg, refused bool) (end func(), err error) {
	long := time.NewTimer(turnOpen)
	defer long.Stop()
	select {
	case l.turn <- struct{}{}:
	case <-long.C:
		return nil, errInProcess // the server would give it up: it is sent again
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	end = func() { <-l.turn }
	if !refused {
		return end, nil
	}
	question := &nats.Msg{Subject: cursor.Subject, Header: nats.Header{
		headerExpectStream: {l.stream}, headerExpectSubject: {turnSubject}, headerExpectLast: {formatSeq(1)},
	}}
	pause := backoff.NewExponentialBackOff(backoff.WithInitialInterval(time.Millisecond), backoff.WithMaxInterval(turnPause),
		backoff.WithMaxElapsedTime(0))
	for {
		var api *natsjs.APIError
		if _, err := l.c.request(ctx, question); !errors.As(err, &api) || api.ErrorCode != codeWrongLastConstant {
			break
		}
		select {
		case <-time.After(pause.NextBackOff()):
			continue
		case <-long.C:
		case <-ctx.Done():
		}
		break
	}
	if ctx.Err() != nil {
		end()
		return nil, context.Cause(ctx)
	}
	return end, nil
}
