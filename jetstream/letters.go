package jetstream

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

const (
	// headerCopied is where a server writes which message of EVENTS_NORMALIZED it has copied: "EVENTS_NORMALIZED 17 …".
	headerCopied = "Nats-Stream-Source"
	// headerMsgSize has the size of a body that is left out.
	headerMsgSize = "Nats-Msg-Size"
	// wholeAhead and wholeAheadBytes bound what is asked for before it is wanted, where bodies are read.
	wholeAhead      = 100
	wholeAheadBytes = 16 << 20
	// wholeTries is how many consumers in a row may bring nothing before it is given up.
	wholeTries = 3
	// wholeIdle is when the server forgets a consumer of whole letters that is not read.
	wholeIdle = 20 * time.Second
)

// Letters reads the dead letters of EVENTS_DEAD, and what became of them: from EVENTS_NORMALIZED what EVENTS_DEAD has not
// copied yet. Only one letter is in memory at a time. It is safe for concurrent use.
type Letters struct{ c *Client }

// Letters is where dead letters are read.
func (c *Client) Letters() *Letters { return &Letters{c: c} }

// Providers returns every provider that has a dead letter, in order.
func (l *Letters) Providers(ctx context.Context) ([]event.Provider, error) {
	found := map[event.Provider]bool{}
	for _, stream := range []string{event.StreamDead, event.StreamNormalized} {
		subjects, err := l.c.subjects(ctx, stream, "events.dead.*")
		if err != nil {
			return nil, err
		}
		for _, subject := range subjects {
			if p, _, ok := event.SubjectProvider(subject); ok {
				found[p] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// Each calls yield for every dead letter of a provider, in order, without its body. Messages that stackstream did not write
// are passed over, and the log says so. An error of yield ends it.
func (l *Letters) Each(ctx context.Context, p event.Provider, yield func(event.Letter) error) error {
	var foreign foreigners
	err := l.read(ctx, p, event.DeadSubject(p), true, func(stream string, m event.Stored) error {
		letter, err := event.ParseLetter(m)
		if err != nil {
			return foreign.pass(err)
		}
		if size, err := strconv.ParseInt(m.Header.Get(headerMsgSize), 10, 64); err == nil && letter.BodyRef.Object == "" {
			letter.Size = size
		}
		delete(letter.Stored, headerMsgSize)
		letter.Stream = stream
		return yield(letter)
	})
	foreign.tell(l.c.log, p)
	return err
}

// States calls yield for every record of what became of a dead letter of a provider, in order: of several about one letter
// the last one counts. It has all that the normalizer had written when it was called. An error of yield ends it.
func (l *Letters) States(ctx context.Context, p event.Provider, yield func(event.LetterState) error) error {
	var foreign foreigners
	err := l.read(ctx, p, event.DeadStateSubject(p), false, func(_ string, m event.Stored) error {
		var state event.LetterState
		if err := event.CheckFormat(m.Header); err != nil {
			return foreign.pass(err)
		}
		if err := json.Unmarshal(m.Body, &state); err != nil || state.Letter == 0 {
			return foreign.pass(fmt.Errorf("message %d on %s is not what became of a dead letter", m.Sequence, m.Subject))
		}
		return yield(state)
	})
	foreign.tell(l.c.log, p)
	return err
}

// Sent calls yield for every raw event by which something is done about a dead letter of a provider, in order, without its
// body: what EVENTS_RAW holds from a stream sequence on, and at least up to another. An error of yield ends it.
func (l *Letters) Sent(ctx context.Context, p event.Provider, from, upTo event.StreamSeq, yield func(event.StoredRaw) error) error {
	subject := event.RawSubject(p, event.SourceRedrive)
	var foreign foreigners
	err := l.recollect(ctx, recollection{
		name: event.StreamRaw, reader: "redrive-" + string(p), subject: subject, headersOnly: true, next: max(from, 1), upTo: upTo,
		yield: func(m event.Stored) error {
			raw, err := event.ParseRaw(m)
			if err == nil && raw.Repair == nil {
				err = fmt.Errorf("message %d on %s says nothing about a dead letter", m.Sequence, m.Subject)
			}
			if err != nil {
				return foreign.pass(err)
			}
			return yield(raw)
		},
	})
	foreign.tell(l.c.log, p)
	return err
}

// Whole calls yield for the dead letters of a provider in a stream with their bodies, unless those are in objects, in order
// from a stream sequence on, until yield returns false or the stream ends.
func (l *Letters) Whole(ctx context.Context, p event.Provider, stream string, from event.StreamSeq, yield func(event.Letter) bool) error {
	op := "read dead letters of " + string(p)
	handle, err := l.c.stream(ctx, stream)
	if err != nil {
		return err
	}
	ctx, release := l.c.failOnRefusal(ctx, isConsumerRequest(stream))
	defer release()
	next, idle := from, 0
	for {
		w := whole{c: l.c, stream: handle, name: "letters-" + string(p) + "-" + newID(), subject: event.DeadSubject(p), from: next}
		err := w.read(ctx, max(wholeAheadBytes, int(l.c.nc.MaxPayload())), func(m event.Stored) bool {
			next, idle = m.Sequence+1, 0
			letter, err := event.ParseLetter(m)
			if err != nil {
				return true // Each has said so
			}
			letter.Stream = stream
			return yield(letter)
		})
		if stream == event.StreamDead { // on the other one a right to delete would be one to delete those of subscribers
			w.remove(ctx)
		}
		// What was on its way may be lost with a connection, a server or a consumer: another one goes on behind what came.
		if idle++; err == nil || idle > wholeTries || ctx.Err() != nil {
			if err != nil {
				return readError(ctx, op, err)
			}
			return nil
		}
	}
}

// Normalized returns how far a provider is normalized, and whether an operator has paused that.
func (l *Letters) Normalized(ctx context.Context, p event.Provider) (event.NormalizedCursor, error) {
	return l.c.Normalized().readNormalizedCursor(ctx, p)
}

// read reads a subject of EVENTS_DEAD, and of EVENTS_NORMALIZED what was not copied from there.
func (l *Letters) read(
	ctx context.Context, p event.Provider, subject string, headersOnly bool, yield func(stream string, m event.Stored) error,
) error {
	done, err := l.c.Normalized().readNormalizedCursor(ctx, p)
	if err != nil {
		return err
	}
	var copied event.StreamSeq
	err = l.recollect(ctx, recollection{
		name: event.StreamDead, reader: "letters-" + string(p), subject: subject, headersOnly: headersOnly, next: 1,
		yield: func(m event.Stored) error {
			copied = max(copied, Copied(m.Header))
			return yield(event.StreamDead, m)
		},
	})
	if err != nil {
		return err
	}
	normalized, err := l.c.stream(ctx, event.StreamNormalized)
	if err != nil {
		return err
	}
	if uint64(copied) > normalized.CachedInfo().State.LastSeq {
		copied = 0 // from a stream that was there before this one
	}
	return l.recollect(ctx, recollection{
		name: event.StreamNormalized, reader: "letters-" + string(p), subject: subject, headersOnly: headersOnly,
		next: copied + 1, upTo: done.Sequence,
		yield: func(m event.Stored) error { return yield(event.StreamNormalized, m) },
	})
}

// recollect reads r, which lacks the stream.
func (l *Letters) recollect(ctx context.Context, r recollection) error {
	handle, err := l.c.stream(ctx, r.name)
	if err != nil {
		return err
	}
	ctx, release := l.c.failOnRefusal(ctx, isConsumerRequest(r.name))
	defer release()
	var ended error
	yield := r.yield
	r.stream = handle
	r.yield = func(m event.Stored) error {
		ended = yield(m)
		return ended
	}
	if err := r.run(ctx); ended != nil {
		return ended
	} else if err != nil {
		return readError(ctx, "read "+r.subject, err)
	}
	return nil
}

// Copied is the sequence that a message of EVENTS_DEAD has in EVENTS_NORMALIZED, 0 if it does not say so.
func Copied(h event.Header) event.StreamSeq {
	stream, rest, _ := strings.Cut(h.Get(headerCopied), " ")
	text, _, _ := strings.Cut(rest, " ")
	if name, _, _ := strings.Cut(stream, ":"); name != event.StreamNormalized {
		return 0
	}
	n, _ := strconv.ParseUint(text, 10, 64)
	return event.StreamSeq(n)
}

// whole is one reading of messages with their bodies.
type whole struct {
	c             *Client
	stream        natsjs.Stream
	name, subject string
	from          event.StreamSeq
}

func (w *whole) read(ctx context.Context, bytes int, yield func(event.Stored) bool) error {
	brief, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	consumer, err := w.stream.CreateConsumer(brief, natsjs.ConsumerConfig{
		Name: w.name, FilterSubject: w.subject, DeliverPolicy: natsjs.DeliverByStartSequencePolicy,
		OptStartSeq: uint64(max(w.from, 1)), AckPolicy: natsjs.AckNonePolicy, MemoryStorage: true, Replicas: 1,
		InactiveThreshold: wholeIdle,
	})
	if err != nil {
		return err
	}
	left := consumer.CachedInfo().NumPending
	if left == 0 {
		return nil
	}
	if err := w.c.awaitConsumer(ctx, consumer); err != nil {
		return err
	}
	messages, err := consumer.Messages(natsjs.PullMaxMessagesWithBytesLimit(wholeAhead, bytes),
		natsjs.PullExpiry(pullExpiry), natsjs.PullHeartbeat(pullHeartbeat))
	if err != nil {
		return err
	}
	defer messages.Stop()
	for delivered := uint64(1); left > 0; delivered++ {
		msg, err := messages.Next(natsjs.NextContext(ctx))
		if err != nil {
			return err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		if meta.Sequence.Consumer != delivered {
			return fmt.Errorf("%w: delivery %d with sequence %d comes for delivery %d", errDiscontinuity, meta.Sequence.Consumer,
				meta.Sequence.Stream, delivered)
		}
		left = meta.NumPending
		if !yield(stored(msg, meta)) {
			return nil
		}
	}
	return nil
}

// remove does not wait long: a consumer that stays goes by itself.
func (w *whole) remove(ctx context.Context) {
	brief, cancel := context.WithTimeout(context.WithoutCancel(ctx), consumerWait)
	defer cancel()
	_ = w.stream.DeleteConsumer(brief, w.name)
}
