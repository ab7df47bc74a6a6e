package jetstream

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"stackstream/event"
)

// In a cluster a batch waits until those before it are through, and a server that is alone stages and stores one batch at a time, too.
// Small ones take as long as large ones: each costs a round of the servers and their disks. So the small batches of a process that wait
// go together, as one atomic batch of the server's. To each of them nothing changes: its messages are contiguous with its cursor last,
// its cursor and its fence are expected as before, and it is stored whole or not at all. Of those that go together all are stored or
// none; where that is refused, since one of them has been overtaken for instance, each half of them goes by itself, and so on down to
// the one that is the reason: each is told its own answer. An answer that does not say what became of the batch is told to all, and
// each finds its own cursor, or what it replaces.

const (
	// joinMessages and joinBytes bound a batch that goes with others. A larger one would keep those waiting while it is sent, and is at
	// the server already when its turn comes.
	joinMessages = 50
	joinBytes    = 64 << 10
	// jointMessages and jointBytes bound what goes together.
	jointMessages = 500
	jointBytes    = 1 << 20
	// jointPatience is how long those that go together ask for their turn, so that they don't wait all for what only one of them
	// meets.
	jointPatience = 2 * turnOpen
)

// joining is a batch that waits for others to go with, and for its turn.
type joining struct {
	ctx      context.Context //nolint:containedctx // of the caller that waits for it
	batch    *event.Batch
	messages []*nats.Msg   // as it would go by itself
	turns    bool          // in a cluster
	done     chan struct{} // closed when what follows is known
	at       event.StreamSeq
	err      error
}

// mayJoin tells whether a batch goes with others: a small one. What replaces its own fence goes by itself: others expect something of
// that, and a backup knows it by its place in the batch.
func mayJoin(b *event.Batch, messages []*nats.Msg) bool {
	return len(messages) <= joinMessages && bytesOf(messages) <= joinBytes && !replaces(b)
}

func bytesOf(messages []*nats.Msg) (n int) {
	for _, m := range messages {
		n += headerSize(m.Header) + len(m.Data)
	}
	return n
}

// enter has a batch wait behind those that wait already.
func (l *Log) enter(ctx context.Context, b *event.Batch, messages []*nats.Msg, turns bool) *joining {
	j := &joining{ctx: ctx, batch: b, messages: messages, turns: turns, done: make(chan struct{})}
	l.mu.Lock()
	l.waiting = append(l.waiting, j)
	l.mu.Unlock()
	return j
}

// join returns when a batch that waits was sent with others, or by itself where there are none.
func (l *Log) join(ctx context.Context, j *joining) (event.StreamSeq, error) {
	op := "append to " + l.stream
	long := time.NewTimer(turnPatience)
	defer long.Stop()
	for {
		select {
		case <-j.done:
			return j.at, j.err
		case l.joint <- struct{}{}:
			select {
			case <-j.done: // by who sent before
				<-l.joint
				return j.at, j.err
			default:
			}
			together := l.gather()
			if len(together) == 1 && together[0] == j {
				l.sendTogether(together)
				<-l.joint
				return j.at, j.err
			}
			// By itself, since each may leave before the others. It ends with those who wait for it.
			go func() {
				l.sendTogether(together)
				<-l.joint
			}()
		case <-long.C:
			if l.leave(j) {
				return 0, unavailable(op, errInProcess)
			}
		case <-ctx.Done():
			if l.leave(j) {
				return 0, unavailable(op, context.Cause(ctx))
			}
			select {
			case <-j.done:
				return j.at, j.err
			default:
			}
			// It is under way, and goes on while there is another that waits for it.
			return 0, &event.Error{Kind: event.Unknown, Op: op, Err: context.Cause(ctx)}
		}
	}
}

// leave takes a batch back that nobody sends yet.
func (l *Log) leave(j *joining) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, waiting := range l.waiting {
		if waiting == j {
			l.waiting = append(l.waiting[:i:i], l.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// gather takes those that go together: the first that waits, and what may go with it. None of them writes what another expects
// something of: the server would refuse both.
func (l *Log) gather() (together []*joining) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var left []*joining
	written, expected := map[string]bool{}, map[string]bool{}
	messages, bytes := 0, 0
	for _, j := range l.waiting {
		m, b := len(j.messages), bytesOf(j.messages)
		writes, expects := subjectsOf(j.batch)
		fits := messages+m <= jointMessages && bytes+b <= jointBytes && !anyOf(expected, writes) && !anyOf(written, expects)
		mark(written, writes)
		mark(expected, expects) // of those that are left as well: nothing of their subjects goes before them
		if !fits {
			left = append(left, j)
			continue
		}
		messages, bytes = messages+m, bytes+b
		together = append(together, j)
	}
	l.waiting = left
	return together
}

// subjectsOf returns the subjects that a batch writes on, and those of which it expects something.
func subjectsOf(b *event.Batch) (writes, expects []string) {
	for i, m := range b.Messages {
		if i == 0 || m.Subject != b.Messages[i-1].Subject {
			writes = append(writes, m.Subject)
		}
	}
	for _, subject := range []string{b.Shared.Subject, b.Cursor.Subject} {
		if subject != "" {
			writes, expects = append(writes, subject), append(expects, subject)
		}
	}
	if b.Fence.Subject != "" {
		expects = append(expects, b.Fence.Subject)
	}
	return writes, expects
}

func anyOf(set map[string]bool, subjects []string) bool {
	return slices.ContainsFunc(subjects, func(subject string) bool { return set[subject] })
}

func mark(set map[string]bool, subjects []string) {
	for _, subject := range subjects {
		set[subject] = true
	}
}

// sendTogether sends those that go together and tells each what became of it.
func (l *Log) sendTogether(together []*joining) {
	if len(together) == 1 {
		j := together[0]
		j.at, j.err = l.appendOne(j.ctx, j.batch, j.messages, j.turns)
		close(j.done)
		return
	}
	err := l.commitJoint(together)
	size := (len(together) + 1) / 2
	switch kind := event.KindOf(err); {
	case errors.Is(err, errInProcess):
		size = 1 // it took long, and would again
	case kind == 0, kind == event.Unknown, kind == event.Unavailable:
		for _, j := range together {
			j.err = err
			close(j.done)
		}
		return
	}
	// Nothing of it is stored, and one of them may be the reason. They go beside each other, so that none waits in vain for as long
	// as all those before it do.
	var group sync.WaitGroup
	for part := range slices.Chunk(together, size) {
		group.Go(func() { l.sendTogether(part) })
	}
	group.Wait()
}

// commitJoint stores batches as one.
func (l *Log) commitJoint(together []*joining) error {
	ctx, release := whileAny(together)
	defer release()
	var messages []*nats.Msg
	for _, j := range together {
		messages = append(messages, buildMessages(l.stream, *j.batch)...)
	}
	last := together[len(together)-1]
	turns := last.turns
	if turns {
		var err error
		messages, err = takeTurn(messages, func() (event.Message, error) { return l.replaced(ctx, *last.batch) })
		if err != nil {
			return err
		}
	}
	handle, err := l.streamHandle(ctx)
	if err != nil {
		return err
	}
	if err := checkSizes(messages, l.c.nc.MaxPayload(), handle.CachedInfo().Config.MaxMsgSize); err != nil {
		return err
	}
	ack, err := l.commit(ctx, messages, turns, jointPatience, nil)
	if err != nil {
		return err
	}
	at := event.StreamSeq(ack.Sequence)
	for _, j := range slices.Backward(together) {
		l.dropAhead(j.batch.Cursor.Subject) // what it expects is gone
		j.at = l.committed(j.batch, ack.Batch, at)
		at -= event.StreamSeq(sizeOf(j.batch))
	}
	return nil
}

// whileAny returns a context that ends when those of all batches have.
func whileAny(together []*joining) (ctx context.Context, release func()) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(together[0].ctx))
	var left atomic.Int64
	left.Store(int64(len(together)))
	stops := make([]func() bool, 0, len(together))
	for _, j := range together {
		stops = append(stops, context.AfterFunc(j.ctx, func() {
			if left.Add(-1) == 0 {
				cancel(context.Cause(j.ctx))
			}
		}))
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel(nil)
	}
}
