package amqp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"
	"golang.org/x/sync/errgroup"

	"stackstream/collectors"
	"stackstream/event"
)

// heartbeat is how often at least the loop hears of us.
const heartbeat = 15 * time.Second

// session is one connection's life. One goroutine consumes and is the only one that emits; the others keep the
// bindings, send probes, acknowledge, and watch.
type session struct {
	*Source
	names  names
	keys   []string
	conn   *amqp091.Connection
	prober *amqp091.Connection
	emit   collectors.Emit
	from   time.Time // the watermark at the start
	steady bool      // the queue is a quorum queue, or may be one

	says        *collectors.Conditions
	probes      *probes
	acks        *acks
	droppedAcks *acks
	droppedCh   *amqp091.Channel
	// How droppedCh ends.
	droppedClosed    <-chan *amqp091.Error
	droppedCancelled <-chan string

	// changed has a token when the state is to be written although nothing was delivered.
	changed chan struct{}

	mu    sync.Mutex
	state state
	dirty bool
	// releasing are the exchanges that are no longer bound to the queue, each with the probe that comes behind them.
	releasing map[string]int
}

// names are what a source declares.
type names struct {
	queue   string // and its exchanges
	dropped string
	probe   string
}

func (s *Source) namesOf(source event.Source) names {
	return namesFor(fmt.Sprintf("%s.%s.%s", s.cfg.Queue.Prefix, s.opts.Provider, source))
}

func namesFor(queue string) names {
	return names{queue: queue, dropped: queue + ".dropped", probe: queue + ".probe"}
}

func newSession(
	s *Source, st state, from event.From, conn, prober *amqp091.Connection, emit collectors.Emit,
) *session {
	sess := &session{
		Source: s, names: s.namesOf(s.name), keys: s.cfg.keys(), conn: conn, prober: prober, from: from.Watermark,
		says: newConditions(s.opts.Report), probes: newProbes(s.cfg.Probe), acks: newAcks(), droppedAcks: newAcks(),
		changed: make(chan struct{}, 1), state: st, releasing: map[string]int{},
	}
	sess.emit = func(ctx context.Context, b collectors.Batch) error {
		start := time.Now()
		err := emit(ctx, b)
		if now := time.Now(); now.Sub(start) > s.cfg.Probe/2 {
			sess.probes.heard(now) // what came meanwhile still waits
		}
		return err
	}
	return sess
}

// run works until ctx ends, something fails, or there is nothing left to do: errRetired. The connections must be closed
// after it has returned; they are also closed when something fails, so that nobody waits for them.
func (s *session) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.watch(ctx) })
	group.Go(func() error {
		if err := s.prepare(ctx); err != nil {
			return err
		}
		if err := s.work(ctx, group); !errors.Is(err, errRetired) {
			return err
		}
		return s.retire(ctx)
	})
	return group.Wait()
}

// work returns an error when ctx ends, when something fails, and when there is nothing left to do: errRetired.
// A failure goes to all at once: those who wait for an answer of the broker return when the connections are closed.
func (s *session) work(ctx context.Context, all *errgroup.Group) error {
	kept := map[string]*upkeep{}
	if err := s.keepAll(kept, time.Now()); err != nil {
		return err // before anything is consumed: who may not bind all exchanges is not live for a moment again and again
	}
	s.says.Set(conditionPreparing, "")
	group, ctx := errgroup.WithContext(ctx)
	all.Go(func() error {
		<-ctx.Done()
		if err := context.Cause(ctx); !errors.Is(err, errRetired) {
			return err
		}
		return nil
	})
	group.Go(func() error { return s.keepBindings(ctx, kept) })
	group.Go(func() error { return s.probe(ctx) })
	group.Go(func() error { return s.acks.run(ctx) })
	group.Go(func() error { return s.droppedAcks.run(ctx) })
	group.Go(func() error { return s.consume(ctx) })
	return group.Wait()
}

// watch returns when a connection ends, and ends them with ctx: calls to the broker that wait for an answer return then.
func (s *session) watch(ctx context.Context) error {
	ended := s.conn.NotifyClose(make(chan *amqp091.Error, 1))
	probeEnded := s.prober.NotifyClose(make(chan *amqp091.Error, 1))
	blocked := s.prober.NotifyBlocked(make(chan amqp091.Blocking, 8))
	if s.opts.Hooks.Blocked != nil {
		defer s.opts.Hooks.Blocked(false) // nobody tells us when we are away
	}
	for {
		select {
		case <-ctx.Done():
			var closing sync.WaitGroup
			closing.Go(func() { hangUp(s.conn) })
			closing.Go(func() { hangUp(s.prober) })
			closing.Wait()
			return ctx.Err()
		case err := <-ended:
			return lost("the connection", err)
		case err := <-probeEnded:
			return lost("the connection for probes", err)
		case b, open := <-blocked:
			if !open {
				blocked = nil
				continue
			}
			s.block(b)
		}
	}
}

// lost makes an error of the end of a connection or a channel.
func lost(what string, err *amqp091.Error) error {
	if err == nil {
		return &event.Error{Kind: event.Unavailable, Op: "consume", Err: errors.New(what + " was closed")}
	}
	return explain("keep "+what, err)
}

func (s *session) block(b amqp091.Blocking) {
	s.probes.block(b.Active, time.Now())
	s.says.Set(conditionBlocked, "")
	if b.Active {
		s.says.Set(conditionBlocked, fmt.Sprintf("the broker has an alarm and blocks all who publish (%s)", b.Reason))
	}
	if s.opts.Hooks.Blocked != nil {
		s.opts.Hooks.Blocked(b.Active)
	}
}

// prepare brings the broker and the cursor in line: first it is found out what is there, then what must not be forgotten
// is made durable, and only then is something changed on the broker.
func (s *session) prepare(ctx context.Context) error {
	found, err := s.look()
	if err != nil {
		return err
	}
	leftover := found.queue && s.state.Queue != s.names.queue
	claimed := s.plan(found)
	s.says.Set(conditionPreparing, "the queue is not bound yet") // what is made durable now counts as a sign of life
	if err := s.save(ctx); err != nil {
		return err
	}
	if err := s.agree(ctx, claimed); err != nil {
		return err
	}
	if err := s.declare(); err != nil || !leftover {
		return err
	}
	return s.unbindOthers()
}

// unbindOthers removes bindings to the exchanges of the provider's other sources from a queue that the cursor knows
// nothing of: the streams were made anew, and it had been bound by another configuration.
func (s *session) unbindOthers() error {
	for name, exchanges := range s.cfg.sources() {
		if name == s.name {
			continue
		}
		for _, x := range exchanges {
			if err := s.unbind(s.names.queue, x, s.keys); err != nil {
				return err
			}
		}
	}
	return nil
}

// plan puts into the state what is about to be: claims of all our exchanges, and since when those that the broker lost
// may have had notifications for us. It returns the exchanges whose claims are new.
func (s *session) plan(found findings) (claimed []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	since := s.from
	if since.IsZero() {
		since = time.Now().UTC()
	}
	wasHere := s.state.Queue == s.names.queue
	for _, x := range slices.Sorted(maps.Keys(s.state.Claims)) {
		c := s.state.Claims[x]
		gone := !found.exchanges[x] || !s.cfg.DurableExchanges && !found.canary || !found.queue
		if wasHere && c.Bound && gone && c.Lost.IsZero() {
			c.Lost = since
			s.state.Claims[x] = c
			s.dirty = true
		}
	}
	for _, x := range s.exchanges {
		if _, known := s.state.Claims[x]; !known {
			s.state.Claims[x] = claim{}
			s.dirty = true
			claimed = append(claimed, x)
		}
	}
	for _, key := range s.keys {
		if !slices.Contains(s.state.Keys, key) {
			s.state.Keys = append(slices.Clip(s.state.Keys), key)
			s.dirty = true
		}
	}
	if !wasHere {
		if s.state.Queue != "" {
			s.opts.Log.Warn().Str("provider", string(s.opts.Provider)).Str("source", string(s.name)).Str("queue", s.state.Queue).
				Msg("the queue of an earlier configuration is still bound, fills up to its limit, and is not collected: delete it")
		}
		s.state.Queue = s.names.queue
		s.dirty = true
	}
	return claimed
}

// save hands over the state, if it changed, and waits until it is durable.
func (s *session) save(ctx context.Context) error {
	cursor := s.cursor()
	if cursor == nil {
		return nil
	}
	durable := make(chan struct{})
	if err := s.emit(ctx, collectors.Batch{Cursor: cursor, Urgent: true, Done: func() { close(durable) }}); err != nil {
		return err
	}
	return beatUntil(ctx, s.emit, durable)
}

// beatUntil waits, and lets the loop know that we are there.
func beatUntil(ctx context.Context, emit collectors.Emit, done <-chan struct{}) error {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-beat.C:
			if err := emit(ctx, collectors.Batch{}); err != nil {
				return err
			}
		}
	}
}

// cursor returns the state if it changed since it was last asked for.
func (s *session) cursor() event.Cursor {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dirty {
		return nil
	}
	s.dirty = false
	return s.state.cursor()
}

// change changes the state; the consumer hands it over soon.
func (s *session) change(f func(st *state)) {
	s.mu.Lock()
	f(&s.state)
	s.dirty = true
	s.mu.Unlock()
	s.wake()
}

// wake has the consumer hand over the state.
func (s *session) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// staleKeys are the routing keys that exchanges may be bound by and should not.
func (s *session) staleKeys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.state.Keys), func(key string) bool { return slices.Contains(s.keys, key) })
}

// claims returns a copy of the claims.
func (s *session) claims() map[string]claim {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.state.Claims)
}
