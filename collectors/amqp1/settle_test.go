package amqp1

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"stackstream/collectors"
	"stackstream/event"
)

// What is not durable when the source is told to end is released, in the order in which it came, so that the peer has it for the next:
// also what would have been rejected, which is not counted yet.
func TestReleasedAtTheEnd(t *testing.T) {
	t.Parallel()
	const n = 20
	links := make(chan *peerLink, 1)
	peer := newPeer(t, func(l *peerLink) {
		for i := range n {
			payload := data(notified(fmt.Sprintf("e-%d", i)))
			if i == 7 {
				payload = "nonsense"
			}
			l.send(payload)
		}
		links <- l
		l.await(func() bool { return false })
	})
	r := newRig(t, config(peer.addr(), "a"))
	r.limits.Drain = time.Second
	r.wrap = func(w collectors.Writer) collectors.Writer {
		return &shutWriter{Writer: w, opened: make(chan struct{})}
	}
	stop := r.run()
	l := <-links
	r.eventually("all of them to be held", func() bool { return r.told().held == n })
	if s := l.settled(); len(s) != 0 {
		t.Errorf("before anything is durable it was settled with %+v", s)
	}
	stop()
	l.await(func() bool { return len(l.outcomes) >= n })
	l.mu.Lock()
	defer l.mu.Unlock()
	var order []uint32
	for _, o := range l.outcomes {
		if o.state != released {
			t.Errorf("settled with %+v", o)
		}
		for id := o.first; id <= o.last; id++ {
			order = append(order, id)
		}
	}
	if len(order) != n || !slices.IsSorted(order) {
		t.Errorf("released was %v", order)
	}
	if len(r.log.IDs(cloud)) != 0 {
		t.Errorf("stored was %v", r.log.IDs(cloud))
	}
}

// Who sent what can't be taken learns of it when it is counted for good: nobody may have it any more from then on.
func TestRejectedWhenItIsCounted(t *testing.T) {
	t.Parallel()
	links := make(chan *peerLink, 1)
	peer := newPeer(t, func(l *peerLink) {
		l.send("nonsense")
		links <- l
		l.await(func() bool { return false })
	})
	r := newRig(t, config(peer.addr(), "a"))
	shut := &shutWriter{opened: make(chan struct{}), counted: make(chan struct{}, 1)}
	r.wrap = func(w collectors.Writer) collectors.Writer {
		shut.Writer = w
		return shut
	}
	stop := r.run()
	defer stop()
	l := <-links
	<-shut.counted
	if s := l.settled(); len(s) != 0 {
		t.Errorf("before it is counted for good it was settled with %+v", s)
	}
	close(shut.opened)
	l.await(func() bool { return len(l.outcomes) > 0 })
	if o := l.settled()[0]; o.state != rejected || o.text != "amqp:decode-error" || o.why != "not a message of AMQP 1.0" {
		t.Errorf("%+v", o)
	}
	st, err := readState(r.log.Cursor(cloud, Kind).Cursor)
	if err != nil || st.Rejected[reasonUndecodable] != 1 {
		t.Errorf("the cursor has %+v, %v", st, err)
	}
}

// shutWriter stores nothing until it is opened, not even a cursor.
type shutWriter struct {
	collectors.Writer
	opened  chan struct{}
	counted chan struct{} // has a token when a cursor with a count came
}

func (w *shutWriter) Commit(ctx context.Context, events []event.Raw, p event.Progress) ([]event.StreamSeq, error) {
	if st, err := readState(p.Cursor); err == nil && st.Rejected[reasonUndecodable] > 0 {
		select {
		case w.counted <- struct{}{}:
		default:
		}
	}
	select {
	case <-w.opened:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return w.Writer.Commit(ctx, events, p)
}
