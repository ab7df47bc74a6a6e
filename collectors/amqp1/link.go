package amqp1

import (
	"context"
	"errors"
	"sync"
	"time"

	amqp "github.com/Azure/go-amqp"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/internal/notification"
)

const (
	// beatEvery is how often at least the loop hears of us.
	beatEvery = 15 * time.Second
	// lookEvery is how often at least a link that is quiet is looked after.
	lookEvery = 250 * time.Millisecond
	// settle is what a watermark stays behind the time of its probe: who publishes may be ahead of what the peer has taken in.
	settle = time.Second
	// After patience intervals of probes, and between the two times, a probe that is not answered is overdue.
	patience = 2
	// longest is after how many intervals a peer is asked although something comes.
	longest                     = 4
	leastPatience, mostPatience = 5 * time.Second, 10 * time.Second
	firstCredit, leastCredit    = 64, 8
	// mostWithheld is how often running a peer may say that it has messages, and credit for them, and send none.
	mostWithheld = 4
)

// link is one connection to an address. One goroutine receives, and another one settles.
type link struct {
	*session
	index   int
	address string
	wire    *wire

	// Of the goroutine that receives:
	reader   notification.Reader
	numbered uint64
	heard    time.Time // when something last came, or could not for reasons of our own
	came     time.Time // when something last came
	asked    time.Time // when the peer was last asked whether all is sent, for the first time of two
	waiting  time.Time // when it was last asked
	asking   question
	sure     bool // it has said so once
	answered bool // it has said something when it was asked, once
	draining bool // it is asked in the other way
	mute     bool // it does not answer
	withheld int  // how often it said since something came that there is something
	beat     time.Time

	wake chan struct{} // has a token when something is to be settled

	mu   sync.Mutex
	size int                  // of a message, about
	open map[*delivery]uint64 // received and not settled, with their numbers
	kept int                  // of those, how many were not handed over

	ready   sync.Mutex // for durable alone: who says what is durable must not wait
	durable []*delivery
}

// delivery is a message that was received.
type delivery struct {
	message *amqp.Message
	cost    int
	no      *verdict // it is rejected
}

func newLink(s *session, i int) *link {
	return &link{
		session: s, index: i, address: s.cfg.Addresses[i], wake: make(chan struct{}, 1), open: map[*delivery]uint64{},
	}
}

// run receives until ctx ends or the link does.
func (l *link) run(ctx context.Context) error {
	w, err := l.dialer.dial(ctx, l.address)
	if err != nil {
		return err
	}
	defer w.hangUp()
	l.wire = w
	l.linked(l.index)
	settling, stop := context.WithCancel(context.WithoutCancel(ctx))
	var settled sync.WaitGroup
	settled.Go(func() { l.settle(settling) })
	err = l.receive(ctx)
	if ctx.Err() != nil {
		l.linger(settling)
	}
	stop()
	settled.Wait()
	if ctx.Err() != nil {
		l.release()
	}
	l.forget()
	return explain("receive from "+l.address, w.cause(err))
}

// receive hands over what comes.
func (l *link) receive(ctx context.Context) error {
	l.heard = time.Now()
	l.asked = l.heard.Add(-l.cfg.Probe)                         // as soon as nothing comes, and not while the first messages do
	if err := l.handOver(ctx, collectors.Batch{}); err != nil { // it is live
		return err
	}
	for {
		if err := l.issue(); err != nil {
			return err
		}
		first, err := l.next(ctx)
		if err == nil && first != nil {
			err = l.take(ctx, first)
		}
		if err == nil {
			err = l.look(ctx, time.Now())
		}
		if err != nil {
			return err
		}
	}
}

// next waits for a message; nil if none came within a short time.
func (l *link) next(ctx context.Context) (*amqp.Message, error) {
	wait, cancel := context.WithTimeout(ctx, l.tick())
	defer cancel()
	message, err := l.wire.receiver.Receive(wait, nil)
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) && wait.Err() != nil {
		return nil, nil
	}
	return message, err
}

func (l *link) tick() time.Duration { return min(lookEvery, l.cfg.Probe/4) }

// handOver emits a batch. That nothing can come meanwhile is not the peer's fault.
func (l *link) handOver(ctx context.Context, b collectors.Batch) error {
	start := time.Now()
	err := l.emit(ctx, b)
	l.beat = time.Now()
	if l.beat.Sub(start) > l.cfg.Probe/2 {
		l.heard = l.beat
	}
	return err
}

// wanted is how many messages may be held, for their size, while so many of that size fill the room. It is called with mu held.
func (l *link) wanted() int {
	if l.size == 0 {
		return min(firstCredit, l.cfg.Prefetch)
	}
	return min(max(l.cfg.PrefetchBytes/l.size, leastCredit), l.cfg.Prefetch)
}

// issue gives the peer credit for what may be held and is not, in portions.
func (l *link) issue() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	want := l.wanted()
	n, credit := l.room(want)
	if n <= 0 || credit > 0 && n < want/4 {
		return nil
	}
	return l.wire.gate.give(n)
}

// room is for how many more messages there is credit, and how much the peer has. It is called with mu held.
func (l *link) room(want int) (n, credit int) {
	credit, used := l.wire.gate.credit()
	return want - credit - used - len(l.open), credit
}

// look does what is due.
func (l *link) look(ctx context.Context, now time.Time) error {
	l.calm(now)
	if now.Sub(l.beat) >= beatEvery {
		if err := l.handOver(ctx, collectors.Batch{}); err != nil {
			return err
		}
	}
	return l.probe(ctx, now)
}

// probe asks the peer whether all is sent, and takes its answer. It does so when nothing comes: a peer may take what is said of the
// credit for more of it, where something is on its way. It counts when the peer has said so twice: RabbitMQ may tell its state
// before it sends what it had taken from the queue by then. A peer that answers in no way is not asked again on this link; one that
// has answered before, and does not any more, is taken for dead.
func (l *link) probe(ctx context.Context, now time.Time) error {
	if l.asking == nothing {
		since := now.Sub(l.asked)
		if l.mute || since < l.cfg.Probe || now.Sub(l.came) < l.tick() && since < longest*l.cfg.Probe {
			return nil
		}
		l.asked, l.sure = now, false
		return l.ask(now)
	}
	select {
	case all := <-l.wire.gate.answers():
		return l.answer(ctx, now, all)
	default:
	}
	limit := min(max(patience*l.cfg.Probe, leastPatience), mostPatience)
	if now.Sub(l.waiting) <= limit || now.Sub(l.heard) <= limit || l.wire.gate.full() {
		return nil
	}
	how := l.asking
	l.asking = nothing
	spoke, err := l.wire.gate.forgetAsking()
	switch {
	case err != nil || spoke: // it lives, and said something else
		l.answered = l.answered || spoke
		return err
	case l.answered:
		return &event.Error{Kind: event.Unavailable, Op: "receive from " + l.address, Err: errors.New(
			"the peer does not say any more whether all is sent, and nothing else comes: the connection or the queue is dead")}
	case how == echo:
		l.draining = true
		return l.ask(now)
	}
	l.mute = true
	l.note(conditionMute, "the peer of "+l.address+" does not say whether all is sent: up to when everything was collected is not known")
	return nil
}

func (l *link) ask(now time.Time) error {
	how := echo
	if l.draining {
		how = drain
	}
	l.mu.Lock()
	n, _ := l.room(l.wanted())
	l.mu.Unlock()
	asked, err := l.wire.gate.ask(how, n < 0)
	if asked {
		l.asking, l.waiting = how, now
	}
	return err
}

// answer takes the answer of the peer.
func (l *link) answer(ctx context.Context, now time.Time, all bool) error {
	how := l.asking
	l.asking = nothing
	l.answered = l.answered || l.wire.gate.spoke()
	for { // what came before the answer is there, or on its way through the library
		message := l.wire.receiver.Prefetched()
		if _, used := l.wire.gate.credit(); message == nil && used == 0 {
			break
		}
		if message == nil {
			var err error
			if message, err = l.next(ctx); message == nil {
				return err // the next question is soon enough
			}
		}
		if err := l.take(ctx, message); err != nil {
			return err
		}
	}
	switch {
	case !all && how == echo:
		if l.withheld++; l.withheld >= mostWithheld {
			return &event.Error{Kind: event.Unavailable, Op: "receive from " + l.address, Err: errors.New(
				"the peer has messages for us and sends none, although it may: another receiver has them to itself, or it is stuck")}
		}
		return nil
	case !all:
		return nil
	case how == echo && !l.sure:
		l.sure = true
		return l.ask(now)
	}
	l.withheld = 0
	if l.opts.Hooks.Probe != nil {
		l.opts.Hooks.Probe(time.Since(l.asked))
	}
	at := collectors.Told(l.opts.Began, l.asked).Add(-settle)
	return l.handOver(ctx, collectors.Batch{Watermark: l.showed(l.index, at)})
}
