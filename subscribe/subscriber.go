package subscribe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// Handler takes one event. An error stops the Subscriber, and the event comes again in the next run. It is called by one
// goroutine at a time.
type Handler func(ctx context.Context, e Event) error

// Subscriber reads events through a durable.
type Subscriber struct {
	nc      *nats.Conn
	opts    Options
	types   typeFilter
	durable durable
	bodies  bodies
	running atomic.Bool
}

// New checks the options; it talks to nobody. The connection stays the caller's; it should have
// nats.MaxReconnects(-1), for a connection that gives up ends the Subscriber.
func New(nc *nats.Conn, opts Options) (*Subscriber, error) {
	if err := opts.validate(); err != nil {
		return nil, &event.Error{Kind: event.Invalid, Op: "subscribe", Err: err}
	}
	js, err := natsjs.New(nc)
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	opts.Providers, opts.Types = slices.Clone(opts.Providers), slices.Clone(opts.Types)
	s := &Subscriber{nc: nc, opts: opts, types: newTypeFilter(opts.Types), bodies: bodies{js}}
	s.durable = durable{js: js, nc: nc, name: opts.Durable, subjects: subjects(opts.Providers), opts: &s.opts}
	return s, nil
}

// Run hands every event to handle until ctx ends (nil). It waits out whatever passes: servers that restart, connections
// that break, a stream without a leader. It ends with an error only when
//
//   - handle or Options.OnDead returned one, which is wrapped;
//   - events are missing and there is no Options.OnGap (*GapError);
//   - another process reads through the durable (ErrTaken);
//   - the stream is not the one that this call has read, or ends before the position and does so for half a minute (event.Regressed);
//   - the durable, the rights or the data are not what they should be (event.Invalid; data that a newer version of
//     stackstream wrote, which this package can't read, are below that an *event.NewerError), or the connection was closed.
//
// What was handled before is acknowledged when it returns. One Run at a time.
func (s *Subscriber) Run(ctx context.Context, handle Handler) error {
	if !s.running.CompareAndSwap(false, true) {
		return fmt.Errorf("%w: this Subscriber runs already", ErrTaken)
	}
	defer s.running.Store(false)
	claim, err := newClaim(s.nc, s.opts.Durable)
	if err != nil {
		return err
	}
	defer claim.release()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-claim.taken():
			cancel(claim.err())
		case <-ctx.Done():
		}
	}()
	r := &reader{Subscriber: s, claim: claim, handle: handle}
	err = r.run(ctx)
	if lost := claim.err(); lost != nil {
		return lost
	}
	if ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err())) {
		return nil
	}
	return err
}

// errDiscontinuity: what was delivered does not follow what was delivered before. Reading begins again behind the last
// event that was handled.
var errDiscontinuity = errors.New("a delivery is missing or was taken by another reader")

// errReconnected: what was on its way when the connection broke is lost. The server would deliver it again only when it
// has missed the acknowledgement for long enough, which may be long.
var errReconnected = errors.New("the connection was made again")

// reader is one Run.
type reader struct {
	*Subscriber
	claim  *claim
	handle Handler

	next    event.StreamSeq // everything below is handled; 0 until the durable's position is known
	numbers numbers
	// unproven: the first message is to tell whether the stream still has the last one that was handled. moved: the durable may
	// have been moved along with the beginning of the stream.
	unproven, moved bool
	// suspect is the sequence of a message that was seen behind a gap. Seen again after reading anew, the gap is real.
	suspect event.StreamSeq
	acks    acks
	// regressed is since when every look at the stream says that it ends before our position; zero if the last did not.
	regressed time.Time
}

// believed is for how long a stream has to look shorter than it was before we believe it: a server that has just become its
// leader, or no longer is and does not know, shows less than there is.
const believed = 30 * time.Second

// run reads until ctx ends or an error that trying again would not mend.
func (r *reader) run(ctx context.Context) error {
	retry := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(100*time.Millisecond), backoff.WithMaxInterval(5*time.Second), backoff.WithMaxElapsedTime(0),
	)
	for {
		before := r.next
		err := r.session(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case r.final(err):
			return err
		case r.nc.IsClosed():
			return &event.Error{Kind: event.Unavailable, Op: "read " + event.StreamNormalized, Err: nats.ErrConnectionClosed}
		}
		if r.next > before {
			retry.Reset()
		}
		wait := retry.NextBackOff()
		if r.opts.OnRetry != nil {
			r.opts.OnRetry(err, wait)
		}
		pause := time.NewTimer(wait)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		}
	}
}

// final tells errors that end Run from those that pass.
func (r *reader) final(err error) bool {
	var stop *stopError
	if errors.Is(err, errShort) {
		if r.regressed.IsZero() {
			r.regressed = time.Now()
		}
		return time.Since(r.regressed) >= believed
	}
	r.regressed = time.Time{}
	switch event.KindOf(err) {
	case event.Invalid, event.Regressed, event.Expired:
		return true
	}
	return errors.As(err, &stop) || errors.Is(err, ErrTaken)
}

// stopError carries an error of the caller's through the loop.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }
func (e *stopError) Unwrap() error { return e.err }

// session opens the durable behind the last handled event and reads until something is wrong.
func (r *reader) session(ctx context.Context) error {
	connected := r.nc.StatusChanged(nats.CONNECTED)
	defer r.nc.RemoveStatusListener(connected)
	messages, err := r.open(ctx)
	if err != nil {
		return err
	}
	defer func() {
		r.acks.flush()
		messages.Stop()
	}()
	reading, stop := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-connected:
			stop(errReconnected)
		case <-reading.Done():
		}
	})
	defer watching.Wait()
	defer stop(nil)
	for delivery := uint64(1); ; delivery++ {
		msg, err := messages.Next(natsjs.NextContext(reading))
		if err != nil {
			if reading.Err() != nil {
				err = context.Cause(reading)
			}
			return fmt.Errorf("read %s: %w", event.StreamNormalized, err)
		}
		m, err := parse(msg)
		if err != nil {
			return err
		}
		if m.delivery != delivery {
			return errDiscontinuity
		}
		if r.unproven {
			r.recall(&m)
		}
		if m.sequence >= r.next {
			if err := r.take(ctx, &m); err != nil {
				return err
			}
			r.next = m.sequence + 1
		}
		r.acks.add(&m)
	}
}

// open makes sure that nobody else reads, moves the durable behind what is handled, and starts to pull.
func (r *reader) open(ctx context.Context) (natsjs.MessagesContext, error) {
	if err := r.claim.ask(ctx); err != nil {
		return nil, err
	}
	first := r.next == 0
	want, begin := r.next, r.next
	if first && r.opts.After > 0 {
		want, begin = r.opts.After+1, r.opts.After
	}
	state, err := r.durable.stream(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.within(want, state); err != nil {
		return nil, err
	}
	cons, created, err := r.durable.find(ctx, begin)
	if err != nil {
		return nil, err
	}
	if first {
		if err := r.durable.unattended(ctx, cons); err != nil {
			return nil, err
		}
	}
	if want == 0 {
		want = event.StreamSeq(cons.CachedInfo().AckFloor.Stream + 1)
		if state, err = r.durable.stream(ctx); err != nil {
			return nil, err
		}
		if want > r.opts.StartSeq {
			if err := r.within(want, state); err != nil {
				return nil, err
			}
		}
	}
	if first {
		r.unproven = (!created || r.opts.After > 0) && want > 1
	}
	if err := r.place(ctx, want, cons.CachedInfo(), state.FirstSeq); err != nil {
		return nil, err
	}
	r.acks = newAcks(&cons.CachedInfo().Config)
	messages, err := cons.Messages(
		natsjs.PullMaxMessagesWithBytesLimit(500, max(16<<20, 2*int(r.nc.MaxPayload()))),
		natsjs.PullExpiry(pullExpiry), natsjs.PullHeartbeat(pullExpiry/4),
	)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", event.StreamNormalized, err)
	}
	r.next = want
	return messages, nil
}

// place moves the durable to want, or to the message before it, where that is to tell whether something was dropped since. oldest
// is the first sequence of the stream: a durable that stands before it may have been moved along with it. A position that the
// program stored is its own.
func (r *reader) place(ctx context.Context, want event.StreamSeq, at *natsjs.ConsumerInfo, oldest uint64) error {
	if r.unproven {
		r.moved = r.opts.After == 0 && uint64(want) <= oldest
		_, err := r.durable.reset(ctx, want-1)
		if event.KindOf(err) != event.Invalid {
			return err
		}
		// It can't be moved there: it stands where it was made to begin, and nothing was handled yet; or it was made to begin
		// with a time, and stands at the beginning of the stream.
		r.unproven, r.numbers.uncertain = false, uint64(want) < oldest || uint64(want) == oldest && oldest != at.Config.OptStartSeq
	}
	_, err := r.durable.reset(ctx, want)
	if event.KindOf(err) == event.Invalid && at.AckFloor.Stream < uint64(want) {
		// It was made to begin with a time, and all that the stream has from then on comes later: it has dropped what was next.
		// Behind what was acknowledged it may be moved all the same.
		r.numbers.uncertain = true
		_, err = r.durable.reset(ctx, 0)
	}
	return err
}

// recall looks whether the first message is the last one that was handled, or the very next. If the stream has that, it has all
// behind it: the oldest go first. Else there is no telling, for the stream's own first message may be a cursor, and those never
// expire.
func (r *reader) recall(m *message) {
	r.unproven = false
	if m.sequence >= r.next {
		r.numbers.uncertain = m.sequence > r.next || r.moved
		return
	}
	r.numbers.take(m)
	r.acks.add(m)
	r.acks.flush() // so that the durable stands where it did
}

// errShort: the stream ends before what was handled.
var errShort = errors.New("it was restored or made anew")

// within refuses a position that lies beyond the stream: a consumer would stand there and deliver nothing.
func (r *reader) within(want event.StreamSeq, state natsjs.StreamState) error {
	if uint64(want) <= state.LastSeq+1 {
		return nil
	}
	return &event.Error{
		Kind: event.Regressed, Op: "move durable " + r.opts.Durable,
		Err: fmt.Errorf("%s ends at %d and everything up to %d was handled; %w",
			event.StreamNormalized, state.LastSeq, want-1, errShort),
	}
}

// take deals with a message that is new.
func (r *reader) take(ctx context.Context, m *message) error {
	if err := r.prove(m); err != nil {
		return err
	}
	switch {
	case m.dead && r.opts.OnDead != nil:
		if err := r.opts.OnDead(ctx, m.deadLetter()); err != nil {
			return &stopError{fmt.Errorf("handle dead letter %d: %w", m.sequence, err)}
		}
	case !m.dead && r.types.match(m.eventType()):
		e, err := m.decode(ctx, &r.bodies)
		if err != nil {
			return err
		}
		if err := r.handle(ctx, e); err != nil {
			return &stopError{fmt.Errorf("handle event %d: %w", m.sequence, err)}
		}
	}
	// Not before: a body that can't be read now has the message come again.
	r.numbers.take(m)
	return nil
}

// prove makes sure that nothing is missing before m, or says so.
func (r *reader) prove(m *message) error {
	gap, missing, err := r.numbers.check(m)
	switch {
	case err != nil:
		return err
	case missing && r.suspect != m.sequence:
		r.suspect = m.sequence
		return errDiscontinuity
	case missing && r.opts.OnGap == nil:
		return &GapError{gap}
	case missing:
		r.opts.OnGap(gap)
	}
	return nil
}
