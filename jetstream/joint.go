package jetstream

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"stackstream/event"
)

// In a cluster a batch waits until those before it are through, and small ones then take as long as large ones: each costs a round
// of the servers and their disks. So the small batches of a process that wait for their turn go through it together, as one atomic
// batch of the server's. To each of them nothing changes: its messages are contiguous with its cursor last, its cursor and its fence
// are expected as before, and it is stored whole or not at all. Of those that go together all are stored or none; where that is
// refused, since one of them has been overtaken for instance, each is sent by itself and is told its own answer.

const (
	// joinMessages and joinBytes bound a batch that goes with others. A larger one would keep those waiting while it is sent, and is at
	// the server already when its turn comes.
	joinMessages = 50
	joinBytes    = 64 << 10
	// jointMessages and jointBytes bound what goes together.
	jointMessages = 500
	jointBytes    = 1 << 20
)

// joining is a batch that waits for others to go with, and for its turn.
type joining struct {
	ctx      context.Context //nolint:containedctx // of the caller that waits for it
	batch    *event.Batch
	messages []*nats.Msg   // as it would go by itself
	done     chan struct{} // closed when what follows is known
	at       event.StreamSeq
	err      error
}

// mayJoin tells whether a batch goes with others: a small one that writes on no subject but its source's and its cursor's.
func mayJoin(b *event.Batch, messages []*nats.Msg) bool {
	return len(messages) <= joinMessages && bytesOf(messages) <= joinBytes && !replaces(b)
}

func bytesOf(messages []*nats.Msg) (n int) {
	for _, m := range messages {
		n += len(m.Data)
	}
	return n
}

// join waits until somebody has sent the batch, or does it for all that wait. As Append it waits at most for ctx, unless it is the
// one that sends: then it goes on while there is another that waits for it.
func (l *Log) join(ctx context.Context, j *joining) (event.StreamSeq, error) {
	j.ctx, j.done = ctx, make(chan struct{})
	l.mu.Lock()
	l.waiting = append(l.waiting, j)
	l.mu.Unlock()
	for {
		select {
		case <-j.done:
			return j.at, j.err
		case l.joint <- struct{}{}:
			select {
			case <-j.done: // by who sent before
			default:
				l.sendJoint(l.gather())
			}
			<-l.joint
		case <-ctx.Done():
			if l.leave(j) {
				return 0, unavailable("append to "+l.stream, context.Cause(ctx))
			}
			// It is under way.
			return 0, &event.Error{Kind: event.Unknown, Op: "append to " + l.stream, Err: context.Cause(ctx)}
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
	written, fences := map[string]bool{}, map[string]bool{}
	messages, bytes := 0, 0
	for _, j := range l.waiting {
		messages, bytes = messages+len(j.messages), bytes+bytesOf(j.messages)
		cursor, fence := j.batch.Cursor.Subject, j.batch.Fence.Subject
		if messages > jointMessages || bytes > jointBytes || written[cursor] || fences[cursor] || fence != "" && written[fence] {
			messages, bytes = messages-len(j.messages), bytes-bytesOf(j.messages)
			left = append(left, j)
			continue
		}
		written[cursor], fences[fence] = true, true
		together = append(together, j)
	}
	l.waiting = left
	return together
}

// sendJoint sends those that go together and tells each what became of it.
func (l *Log) sendJoint(together []*joining) {
	alone := len(together) == 1
	if !alone {
		err := l.commitJoint(together)
		switch kind := event.KindOf(err); {
		case err == nil:
		case kind == event.Unknown, kind == event.Unavailable:
			for _, j := range together {
				j.err = err
			}
		default: // nothing of it is stored, and one of them may be the reason
			alone = true
		}
	}
	var group sync.WaitGroup
	for _, j := range together {
		if !alone {
			close(j.done)
			continue
		}
		// Beside each other, so that none waits in vain for as long as all those before it do.
		group.Go(func() {
			j.at, j.err = l.appendOne(j.ctx, j.batch, j.messages, true)
			close(j.done)
		})
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
	messages, err := takeTurn(messages, func() (event.Message, error) { return l.replaced(ctx, *last.batch) })
	if err != nil {
		return err
	}
	handle, err := l.streamHandle(ctx)
	if err != nil {
		return err
	}
	if err := checkSizes(messages, l.c.nc.MaxPayload(), handle.CachedInfo().Config.MaxMsgSize); err != nil {
		return err
	}
	ack, err := l.commit(ctx, messages, true)
	if err != nil {
		return err
	}
	at := event.StreamSeq(ack.Sequence)
	for i := len(together) - 1; i >= 0; i-- {
		j := together[i]
		j.at = l.committed(j.batch, ack.Batch, at)
		at -= event.StreamSeq(len(j.batch.Messages) + 1)
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
