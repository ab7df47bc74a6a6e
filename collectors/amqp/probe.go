package amqp

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nuid"
	amqp091 "github.com/rabbitmq/amqp091-go"

	"stackstream/event"
)

const (
	// settle is what a watermark stays behind the time of its probe: notifications come to the queue on other ways
	// through the broker than the probe.
	settle = time.Second
	// forgotten is after how many intervals a probe is taken for dropped, and another one is sent.
	forgotten = 8
	// patience is after how many intervals without any delivery a probe under way is overdue.
	patience = 2
	// leastPatience is for short intervals, and a broker that has much to do.
	leastPatience = 5 * time.Second
	// atOnce is how long a probe takes at most through a queue in which nothing waits.
	atOnce = 2 * time.Second
)

// probes keeps account of the messages that we send through our own queue.
type probes struct {
	every   time.Duration
	session string // tells our probes from those of an earlier session that are still in the queue

	mu       sync.Mutex
	sent     int               // the number of the last one
	underway map[int]time.Time // those that are not back, with the time they were sent
	sentAt   time.Time
	heardAt  time.Time // when something was last delivered
	took     time.Duration
	blocked  bool
	urgent   bool // the next one is to be sent at once
}

func newProbes(every time.Duration) *probes {
	return &probes{every: every, session: nuid.Next(), underway: map[int]time.Time{}, heardAt: time.Now()}
}

// next returns the probe to send now, if one is due: the last one is back, or has been away for so long that the queue
// may have dropped it.
func (p *probes) next(now time.Time) (id string, due bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pause := p.every
	if len(p.underway) > 0 {
		pause *= forgotten
	}
	if p.blocked || now.Sub(p.sentAt) < pause && !p.urgent {
		return "", false
	}
	p.urgent = false
	p.sent++
	p.sentAt = now
	p.underway[p.sent] = now
	return p.session + "/" + strconv.Itoa(p.sent), true
}

// back takes a probe that came out of the queue and returns its number and when it was sent; what the broker had put
// into the queue before that came before. A probe of another session is none of ours.
func (p *probes) back(id string, now time.Time) (number int, at time.Time, ours bool) {
	session, n, _ := strings.Cut(id, "/")
	number, err := strconv.Atoi(n)
	if session != p.session || err != nil {
		return 0, time.Time{}, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ours = p.underway[number]
	if !ours {
		return 0, time.Time{}, false // it was handed over before, on a channel that we closed
	}
	for earlier := range p.underway {
		if earlier <= number {
			delete(p.underway, earlier)
		}
	}
	p.took = now.Sub(at)
	return number, at, true
}

// dropped takes note that the queue dropped a probe: it will not come back, and whoever hears of it is not cut off.
func (p *probes) dropped(id string, now time.Time) {
	session, n, _ := strings.Cut(id, "/")
	number, err := strconv.Atoi(n)
	if session != p.session || err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.underway, number)
	p.heardAt = now
}

// heard says that something was delivered, or that nothing can be delivered for reasons of our own.
func (p *probes) heard(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heardAt = now
}

// hurry has another probe sent at once, and returns its number.
func (p *probes) hurry() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.urgent = true
	return p.sent + 1
}

// block stops the probes, or has them go on; one under way gets its time again.
func (p *probes) block(blocked bool, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blocked, p.heardAt = blocked, now
}

// quick tells whether the last probe came back at once: what is delivered then was published just before.
func (p *probes) quick() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.took > 0 && p.took < atOnce
}

// proven tells whether a probe came back.
func (p *probes) proven() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.took > 0
}

// overdue tells whether a probe is under way and nothing at all was delivered for a while.
func (p *probes) overdue(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	limit := max(patience*p.every, leastPatience)
	if p.blocked || now.Sub(p.heardAt) <= limit {
		return false
	}
	for _, sent := range p.underway {
		if now.Sub(sent) > limit {
			return true
		}
	}
	return false
}

// probe sends probes until ctx or its channel ends.
func (s *session) probe(ctx context.Context) error {
	ch, err := s.prober.Channel()
	if err != nil {
		return explain("open a channel for probes", err)
	}
	closed := ch.NotifyClose(make(chan *amqp091.Error, 1))
	tick := time.NewTicker(min(time.Second, s.cfg.Probe/2))
	defer tick.Stop()
	for {
		if id, due := s.probes.next(time.Now()); due {
			err := ch.PublishWithContext(ctx, s.names.probe, s.names.queue, false, false, amqp091.Publishing{
				MessageId: id, AppId: "stackstream", Type: "probe", DeliveryMode: amqp091.Persistent,
			})
			if err != nil {
				return explain("send a probe", err)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-closed:
			return lost("the channel for probes", err)
		case <-tick.C:
		}
	}
}

// errSilent is the end of a consumer that gets nothing although there is something.
func errSilent() error {
	return &event.Error{Kind: event.Unavailable, Op: "consume", Err: errors.New("a probe that was sent through the queue " +
		"does not come back, and nothing else comes: the connection is dead, the node of the queue does not answer, or the " +
		"broker takes an earlier consumer of the queue for alive")}
}
