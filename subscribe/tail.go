package subscribe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// TailOptions says what Tail reads and from where.
type TailOptions struct {
	Providers []event.Provider // none means all
	Types     []string         // patterns as in Options; none means all

	// Replay, if set, reads what a job has made of raw events once more, in place of NORMALIZED. The job has numbers of its own.
	Replay event.ReplayName

	// The first of these that is set says where to begin; without one, with the oldest event that there is.
	StartSeq  event.StreamSeq
	StartTime time.Time
	New       bool

	// OnGap is told about missing events; Tail goes on. Without it they go unnoticed.
	OnGap func(Gap)
	// OnDead is given the dead letters in their place between the events.
	OnDead func(ctx context.Context, d Dead) error
}

// Tail hands events to handle, in order and each once, until ctx ends (nil) or handle returns an error, which it returns
// wrapped. Nothing is acknowledged and nothing remembered: it is for people who look, and any number of them may.
// It waits out broken connections and restarted servers, once it has begun.
func Tail(ctx context.Context, nc *nats.Conn, opts TailOptions, handle Handler) error {
	if err := checkProviders(opts.Providers); err != nil {
		return &event.Error{Kind: event.Invalid, Op: "tail", Err: err}
	}
	js, err := natsjs.New(nc)
	if err != nil {
		return fmt.Errorf("tail: %w", err)
	}
	stream, filters := event.StreamNormalized, subjects(opts.Providers)
	if opts.Replay != "" {
		if stream, filters, err = replaySubjects(opts.Replay, opts.Providers); err != nil {
			return &event.Error{Kind: event.Invalid, Op: "tail", Err: err}
		}
	}
	cfg := natsjs.OrderedConsumerConfig{FilterSubjects: filters, DeliverPolicy: natsjs.DeliverAllPolicy}
	switch {
	case opts.StartSeq > 0:
		cfg.DeliverPolicy, cfg.OptStartSeq = natsjs.DeliverByStartSequencePolicy, uint64(opts.StartSeq)
	case !opts.StartTime.IsZero():
		cfg.DeliverPolicy, cfg.OptStartTime = natsjs.DeliverByStartTimePolicy, &opts.StartTime
	case opts.New:
		cfg.DeliverPolicy = natsjs.DeliverNewPolicy
	}
	begin, cancel := context.WithTimeout(ctx, requestTimeout)
	cons, err := js.OrderedConsumer(begin, stream, cfg)
	cancel()
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		kind := event.Unavailable
		if errors.Is(err, natsjs.ErrStreamNotFound) {
			kind = event.Invalid
		}
		return refused(nc, stream, &event.Error{Kind: kind, Op: "tail " + stream, Err: err})
	}
	// In a cluster the first request may come to nobody: it is sent again when heartbeats are missed.
	messages, err := cons.Messages(natsjs.PullMaxMessages(500), natsjs.PullHeartbeat(time.Second))
	if err != nil {
		return fmt.Errorf("tail %s: %w", stream, err)
	}
	defer messages.Stop()
	t := tail{opts: &opts, types: newTypeFilter(opts.Types), bodies: bodies{js}, handle: handle}
	for {
		msg, err := messages.Next(natsjs.NextContext(ctx))
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return &event.Error{Kind: event.Unavailable, Op: "tail " + stream, Err: err}
		}
		if err := t.take(ctx, msg); err != nil {
			if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
				return nil
			}
			return err
		}
	}
}

// replaySubjects are the stream and the filters for what a job has made.
func replaySubjects(n event.ReplayName, providers []event.Provider) (stream string, filters []string, err error) {
	if _, err := event.ParseReplayName(string(n)); err != nil {
		return "", nil, err
	}
	if len(providers) == 0 {
		return event.StreamReplay, []string{event.ReplaySubjects(n)}, nil
	}
	for _, p := range providers {
		filters = append(filters, event.ReplaySubject(n, p), event.ReplayDeadSubject(n, p))
	}
	return event.StreamReplay, filters, nil
}

type tail struct {
	opts    *TailOptions
	types   typeFilter
	bodies  bodies
	handle  Handler
	numbers numbers
}

func (t *tail) take(ctx context.Context, msg natsjs.Msg) error {
	m, err := parse(msg)
	if err != nil {
		return err
	}
	gap, missing, err := t.numbers.check(&m)
	if err != nil {
		return err
	}
	if missing && t.opts.OnGap != nil {
		t.opts.OnGap(gap)
	}
	t.numbers.take(&m)
	switch {
	case m.dead && t.opts.OnDead != nil:
		return t.opts.OnDead(ctx, m.deadLetter())
	case m.dead || !t.types.match(m.eventType()):
		return nil
	}
	e, err := m.decode(ctx, &t.bodies)
	if err != nil {
		return err
	}
	if err := t.handle(ctx, e); err != nil {
		return fmt.Errorf("handle event %d: %w", m.sequence, err)
	}
	return nil
}
