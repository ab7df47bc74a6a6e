package subscribe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

const (
	// requestTimeout is how long one request to the server may take.
	requestTimeout = 5 * time.Second
	// ackWait is when the server delivers again what is not acknowledged. Redeliveries are dropped here, so that it
	// matters only for a reader that vanished without its connection being closed.
	ackWait = 30 * time.Second
	// maxUnacked bounds what is delivered and not acknowledged.
	maxUnacked = 2048
	// pullExpiry bounds how long a pull of a process that vanished lingers on the server.
	pullExpiry = 10 * time.Second
	// resetWait is how long the answer to a reset is waited for before it is sent again, the first time.
	resetWait = 250 * time.Millisecond
)

// durable is the consumer on the server.
type durable struct {
	js       natsjs.JetStream
	nc       *nats.Conn
	name     string
	subjects []string
	opts     *Options
}

// find returns the consumer, creating it if there is none. begin is where a new one begins; 0 leaves it to the options.
// created says that it did not exist.
func (d *durable) find(ctx context.Context, begin event.StreamSeq) (cons natsjs.Consumer, created bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	cons, err = d.js.Consumer(ctx, event.StreamNormalized, d.name)
	switch {
	case err == nil:
		return cons, false, d.check(&cons.CachedInfo().Config)
	case !errors.Is(err, natsjs.ErrConsumerNotFound):
		return nil, false, d.failed("look for the durable", err)
	}
	cfg, err := d.config(ctx, begin)
	if err != nil {
		return nil, false, err
	}
	if cons, err = d.js.CreateConsumer(ctx, event.StreamNormalized, cfg); err != nil {
		return nil, false, d.failed("create the durable", err)
	}
	return cons, true, nil
}

func (d *durable) config(ctx context.Context, begin event.StreamSeq) (natsjs.ConsumerConfig, error) {
	cfg := natsjs.ConsumerConfig{
		Durable: d.name, FilterSubjects: d.subjects, AckPolicy: natsjs.AckAllPolicy, AckWait: ackWait,
		MaxAckPending: maxUnacked, MaxDeliver: -1, DeliverPolicy: natsjs.DeliverByStartSequencePolicy,
	}
	if begin == 0 {
		begin = d.opts.StartSeq
	}
	switch {
	case begin > 0:
	case !d.opts.StartTime.IsZero():
		cfg.DeliverPolicy, cfg.OptStartTime = natsjs.DeliverByStartTimePolicy, &d.opts.StartTime
		return cfg, nil
	default:
		// Not the policies "new", with which a consumer can't be set back to a sequence, and "all", with which nothing tells
		// that it stands where it was made to begin.
		state, err := d.stream(ctx)
		if err != nil {
			return cfg, err
		}
		begin = max(event.StreamSeq(state.FirstSeq), 1)
		if d.opts.New {
			begin = event.StreamSeq(state.LastSeq + 1)
		}
	}
	cfg.OptStartSeq = uint64(begin)
	return cfg, nil
}

// check refuses a durable that reads something else or in another way. It is never changed: that would move events of
// another provider out of reach, or another program's position.
func (d *durable) check(cfg *natsjs.ConsumerConfig) error {
	has := append([]string(nil), cfg.FilterSubjects...)
	if cfg.FilterSubject != "" {
		has = append(has, cfg.FilterSubject)
	}
	slices.Sort(has)
	want := slices.Sorted(slices.Values(d.subjects))
	var wrong string
	switch {
	case !slices.Equal(has, want):
		wrong = fmt.Sprintf("it reads %s, and this program wants %s", strings.Join(has, ", "), strings.Join(want, ", "))
	case cfg.AckPolicy != natsjs.AckAllPolicy:
		wrong = fmt.Sprintf("its acknowledgement policy is %s, not all", cfg.AckPolicy)
	case cfg.DeliverSubject != "":
		wrong = "it is a push consumer"
	case cfg.MaxDeliver > 0:
		wrong = fmt.Sprintf("it gives up after %d deliveries", cfg.MaxDeliver)
	default:
		return nil
	}
	return &event.Error{
		Kind: event.Invalid, Op: "use durable " + d.name,
		Err: fmt.Errorf("%s; take another name, or delete the durable and with it its position", wrong),
	}
}

// stream returns what the stream holds.
func (d *durable) stream(ctx context.Context) (natsjs.StreamState, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := d.js.Stream(ctx, event.StreamNormalized)
	if err != nil {
		return natsjs.StreamState{}, d.failed("look at "+event.StreamNormalized, err)
	}
	return stream.CachedInfo().State, nil
}

// reset moves the consumer so that next is delivered next, or what follows its last acknowledgement if next is 0. It
// forgets what is in flight, so that it comes again in order. It returns the sequence that is next.
//
// In a cluster the server that we are connected to may not have heard yet of a durable that was just made, and loses what is sent to
// it: so the request is sent again, soon. Where several arrive they are dealt with in the order in which they were sent, all of them
// before the last one is answered.
func (d *durable) reset(ctx context.Context, next event.StreamSeq) (event.StreamSeq, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	for wait := resetWait; ; wait *= 2 {
		brief, cancel := context.WithTimeout(ctx, wait)
		done, err := d.js.ResetConsumerToSequence(brief, event.StreamNormalized, d.name, uint64(next))
		cancel()
		switch {
		case err == nil:
			return event.StreamSeq(done.ResetSeq), nil
		case !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil:
			return 0, d.failed("move the durable", err)
		}
	}
}

// unattended waits until nothing is waiting on the consumer: a pull of a process that vanished may linger. What goes on
// waiting belongs to somebody who does not know of claims.
func (d *durable) unattended(ctx context.Context, cons natsjs.Consumer) error {
	const margin = 5 * time.Second
	limit := time.NewTimer(pullExpiry + margin)
	defer limit.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		one, cancel := context.WithTimeout(ctx, requestTimeout)
		info, err := cons.Info(one)
		cancel()
		if err != nil {
			return d.failed("look at the durable", err)
		}
		if info.NumWaiting == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-limit.C:
			return fmt.Errorf("%w: %d pulls wait on %s", ErrTaken, info.NumWaiting, d.name)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// failed gives an error of the server its kind.
func (d *durable) failed(op string, err error) error {
	op = fmt.Sprintf("%s %s", op, d.name)
	var api *natsjs.APIError
	switch {
	case errors.Is(err, natsjs.ErrStreamNotFound):
		// It may be about to be provisioned, or the account is another one: waiting is all that can be done.
		return &event.Error{Kind: event.Unavailable, Op: op, Err: fmt.Errorf("no stream %s: %w", event.StreamNormalized, err)}
	case errors.As(err, &api) && api.Code >= 400 && api.Code < 500:
		return &event.Error{Kind: event.Invalid, Op: op, Err: err}
	}
	return refused(d.nc, event.StreamNormalized, &event.Error{Kind: event.Unavailable, Op: op, Err: err})
}

// refused turns a time-out into event.Invalid if the server has just refused us a subject that contains part: a refused
// request is not answered, and trying again would not help.
func refused(nc *nats.Conn, part string, err *event.Error) error {
	if last := nc.LastError(); last != nil && errors.Is(last, nats.ErrPermissionViolation) &&
		strings.Contains(strings.ToLower(last.Error()), strings.ToLower(part)) {
		return &event.Error{Kind: event.Invalid, Op: err.Op, Err: errors.Join(err.Err, last)}
	}
	return err
}
