package checker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Reader reads a stream in order, each message once, from its beginning and over whatever happens to connections, servers
// and consumers: each time something is amiss it goes on with a new consumer behind the last message. It belongs to one
// goroutine, but for Position.
type Reader struct {
	JS     jetstream.JetStream
	Stream string
	// Subjects to read; none means all. Cursors are few, since a stream keeps the last one of each subject only.
	Subjects []string
	// Stall is how long reading may be stuck: the stream can't be asked, or has more and none of it comes. 0 is a minute.
	Stall time.Duration

	position atomic.Uint64
	created  time.Time
	server   atomic.Pointer[string]
}

// StallError says that reading a stream got stuck, and where.
type StallError struct {
	Stream   string
	Position uint64 // the last message that was read
	Last     uint64 // the stream's, as far as is known
	For      time.Duration
	Err      error // what went wrong last, nil if nothing shows
}

func (e *StallError) Error() string {
	return fmt.Sprintf("read %s: stuck behind message %d for %s, the stream ends at %d: %v", e.Stream, e.Position,
		e.For.Round(time.Second), e.Last, e.Err)
}

// Unwrap returns what went wrong last.
func (e *StallError) Unwrap() error { return e.Err }

const (
	readAhead      = 2000
	readAheadBytes = 16 << 20
	pullExpiry     = 10 * time.Second
	pullHeartbeat  = 2 * time.Second
	// lookEvery is how often the stream is asked where it ends while nothing comes.
	lookEvery = 250 * time.Millisecond
	// askTimeout is how long one request may take.
	askTimeout = 2 * time.Second
	// settle is for how long a consumer that has nothing more must say so before that counts, while the stream's last
	// message was not among what it had: a replica that lags may be what it reads.
	settle = 5 * time.Second
	// silence is for how long nothing may come although the stream has more, before the consumer is made anew.
	silence = 5 * time.Second
	// pause is between two consumers.
	pause = 100 * time.Millisecond
	// idleConsumer is how long the server keeps a consumer that nobody uses any more.
	idleConsumer = time.Minute
)

// Position is the sequence of the last message that was handed on, 0 if none was.
func (r *Reader) Position() uint64 { return r.position.Load() }

// Server is the name of the server that it reads from, or last did; "" if that is not known.
func (r *Reader) Server() string {
	if name := r.server.Load(); name != nil {
		return *name
	}
	return ""
}

// Follow hands every message to take, and waits for more, until ctx ends: then it returns nil. It returns a *StallError
// when it is stuck for too long. It waits for take, and reads no further meanwhile than fits its buffer. It may be called
// again and goes on then where it was.
func (r *Reader) Follow(ctx context.Context, take func(Message)) error {
	err := r.read(ctx, 0, take)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// ToEnd hands every message to take that the stream has when it is called, and returns. It goes on where an earlier call
// or Follow was. An error is ctx's or a *StallError.
func (r *Reader) ToEnd(ctx context.Context, take func(Message)) error {
	stalled := r.stallTimer()
	for {
		last, err := r.end(ctx)
		switch {
		case err == nil:
			if last <= r.Position() {
				return nil
			}
			return r.read(ctx, last, take)
		case ctx.Err() != nil:
			return ctx.Err()
		case stalled.over():
			return r.stuck(stalled, 0, err)
		}
		wait(ctx, pause)
	}
}

// end asks where the stream ends.
func (r *Reader) end(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	stream, err := r.JS.Stream(ctx, r.Stream) // this asks the leader
	if err != nil {
		return 0, err
	}
	info := stream.CachedInfo()
	if r.created.IsZero() {
		r.created = info.Created
	}
	if !info.Created.Equal(r.created) {
		return 0, fmt.Errorf("the stream was made anew at %s", info.Created)
	}
	return info.State.LastSeq, nil
}

// read goes through consumers until everything up to a sequence is read, or for ever if that is 0.
func (r *Reader) read(ctx context.Context, upTo uint64, take func(Message)) error {
	stalled := r.stallTimer()
	for {
		s := &session{r: r, upTo: upTo, take: take, stalled: stalled, trouble: make(chan error, 1)}
		s.last.Store(time.Now().UnixNano())
		err := s.run(ctx)
		var stuck *StallError
		switch {
		case err == nil || errors.As(err, &stuck):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case stalled.over():
			return r.stuck(stalled, upTo, err)
		}
		wait(ctx, pause)
	}
}

func (r *Reader) stuck(stalled *stallTimer, last uint64, err error) error {
	return &StallError{Stream: r.Stream, Position: r.Position(), Last: last, For: time.Since(stalled.since()), Err: err}
}

// session reads through one consumer.
type session struct {
	r       *Reader
	upTo    uint64
	take    func(Message)
	stalled *stallTimer

	trouble chan error   // what ended it
	last    atomic.Int64 // when something came

	mu       sync.Mutex // held by the callback while it works
	ended    bool
	delivery uint64 // number of the last delivery
}

func (s *session) run(ctx context.Context) error {
	consumer, err := s.open(ctx)
	if err != nil {
		return err
	}
	if c := consumer.CachedInfo().Cluster; c != nil {
		s.r.server.Store(&c.Leader)
	}
	consume, err := consumer.Consume(s.handle, jetstream.PullMaxMessagesWithBytesLimit(readAhead, readAheadBytes),
		jetstream.PullExpiry(pullExpiry), jetstream.PullHeartbeat(pullHeartbeat),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
			if errors.Is(err, jetstream.ErrNoHeartbeat) || errors.Is(err, jetstream.ErrConsumerDeleted) ||
				errors.Is(err, jetstream.ErrConsumerNotFound) {
				s.fail(err)
			}
		}))
	if err != nil {
		return err
	}
	err = s.watch(ctx, consumer)
	consume.Stop()
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.remove(consumer)
	return err
}

func (s *session) open(ctx context.Context) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return s.r.JS.CreateConsumer(ctx, s.r.Stream, jetstream.ConsumerConfig{
		FilterSubjects: s.r.Subjects, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: s.r.Position() + 1,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: idleConsumer,
	})
}

// remove does not wait long: a consumer that stays goes by itself.
func (s *session) remove(consumer jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.Background(), pause)
	defer cancel()
	_ = s.r.JS.DeleteConsumer(ctx, s.r.Stream, consumer.CachedInfo().Name)
}

// handle is called with one message after the other.
func (s *session) handle(msg jetstream.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	meta, err := msg.Metadata()
	if err != nil {
		s.end(err)
		return
	}
	if meta.Sequence.Consumer != s.delivery+1 {
		s.end(fmt.Errorf("delivery %d came behind delivery %d", meta.Sequence.Consumer, s.delivery))
		return
	}
	s.delivery = meta.Sequence.Consumer
	if s.upTo > 0 && meta.Sequence.Stream > s.upTo {
		s.end(nil)
		return
	}
	s.take(Message{
		Subject: msg.Subject(), Header: msg.Headers(), Body: msg.Data(), Sequence: meta.Sequence.Stream, Time: meta.Timestamp,
	})
	s.r.position.Store(meta.Sequence.Stream)
	s.stalled.reset()
	s.last.Store(time.Now().UnixNano())
	if meta.Sequence.Stream == s.upTo {
		s.end(nil)
	}
}

func (s *session) end(err error) {
	s.ended = true
	s.fail(err)
}

func (s *session) fail(err error) {
	select {
	case s.trouble <- err:
	default:
	}
}

// watch waits for what ends the session. While nothing comes it asks whether there is something to come.
func (s *session) watch(ctx context.Context, consumer jetstream.Consumer) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-s.trouble:
			return err
		case <-tick.C:
		}
		quiet := time.Unix(0, s.last.Load()) // since then nothing came
		if time.Since(quiet) < lookEvery {
			continue
		}
		last, err := s.r.end(ctx)
		if err == nil && last < s.r.Position() {
			err = fmt.Errorf("the stream ends at %d now", last)
		}
		if err != nil {
			if s.stalled.over() {
				return s.r.stuck(s.stalled, last, err)
			}
			continue
		}
		if done, err := s.look(ctx, consumer, last, quiet); done || err != nil {
			return err
		}
	}
}

// look judges a silence: done says that everything is read, an error that the consumer is of no use.
func (s *session) look(ctx context.Context, consumer jetstream.Consumer, last uint64, quiet time.Time) (done bool, err error) {
	if last == s.r.Position() {
		s.stalled.reset()
		return s.upTo > 0 && last >= s.upTo, nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	info, err := consumer.Info(ctx)
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	all := info.NumPending == 0 && info.Delivered.Consumer == s.delivery
	s.mu.Unlock()
	switch {
	case all && time.Since(quiet) > settle:
		// What is behind the last message has another subject, or is gone.
		s.stalled.reset()
		return s.upTo > 0, nil
	case !all && s.stalled.over():
		return false, s.r.stuck(s.stalled, last, nil)
	case !all && time.Since(quiet) > silence:
		return false, errors.New("nothing comes although there is more")
	}
	return false, nil
}

// stallTimer measures for how long nothing has moved.
type stallTimer struct {
	limit time.Duration
	last  atomic.Int64
}

func (r *Reader) stallTimer() *stallTimer {
	t := &stallTimer{limit: r.Stall}
	if t.limit == 0 {
		t.limit = time.Minute
	}
	t.reset()
	return t
}

func (t *stallTimer) reset()           { t.last.Store(time.Now().UnixNano()) }
func (t *stallTimer) since() time.Time { return time.Unix(0, t.last.Load()) }
func (t *stallTimer) over() bool       { return time.Since(t.since()) > t.limit }

// wait returns after d or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
