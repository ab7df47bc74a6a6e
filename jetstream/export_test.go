package jetstream

import (
	"context"
	"sync"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// WatchRefusals is watchRefusals, for tests that need a server.
func (c *Client) WatchRefusals(match func(subject string) bool) (refused <-chan error, stop func()) {
	return c.watchRefusals(match)
}

// AwaitConsumer is awaitConsumer, for the same.
func (c *Client) AwaitConsumer(ctx context.Context, consumer natsjs.Consumer) error {
	return c.awaitConsumer(ctx, consumer)
}

// Together is a batch that waits with others, and what its Append is told.
type Together struct {
	Ctx   context.Context //nolint:containedctx // of the batch
	Batch event.Batch

	At  event.StreamSeq
	Err error
}

// AppendTogether lets batches wait for others, in this order, until all of them do. waiting, if set, is called then.
func (l *Log) AppendTogether(waiting func(), batches ...*Together) error {
	var all []*joining
	l.joint <- struct{}{}
	for _, b := range batches {
		handle, err := l.streamHandle(b.Ctx)
		if err != nil {
			return err
		}
		messages, turns := buildMessages(l.stream, b.Batch), clustered(handle)
		if turns {
			messages, err = takeTurn(messages, func() (event.Message, error) { return l.replaced(b.Ctx, b.Batch) })
		}
		if err != nil {
			return err
		}
		all = append(all, l.enter(b.Ctx, &b.Batch, messages, turns))
	}
	if waiting != nil {
		waiting()
	}
	<-l.joint
	var group sync.WaitGroup
	for i, b := range batches {
		group.Go(func() { b.At, b.Err = l.join(b.Ctx, all[i]) })
	}
	group.Wait()
	return nil
}

// Ahead is how many batches are open, or about to be, that nothing is written into yet.
func (l *Log) Ahead() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.ahead)
}

// OpenAhead tells whether the next batch with a cursor on the subject would go into one that is open at the server.
func (l *Log) OpenAhead(subject string) bool {
	l.mu.Lock()
	a := l.ahead[subject]
	l.mu.Unlock()
	if a == nil {
		return false
	}
	select {
	case <-a.answered:
		return a.err == nil
	default:
		return false
	}
}

// Awaits tells whether a batch is open, or about to be, for a cursor's subject.
func (l *Log) Awaits(subject string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ahead[subject] != nil
}
