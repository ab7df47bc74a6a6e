//go:build chaos

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"stackstream/internal/openstack/standin"
)

const (
	// window is how many notifications of a service wait for their confirms at a time.
	window = 100
	// overlap is how far a poll reads back, and latest how long an event may take to show: less than that.
	overlap = 4 * time.Second
	latest  = 3 * time.Second
)

// calm is how an event service behaves that misbehaves no more than usual: one request in twenty fails, and pages end
// early.
var calm = standin.Faults{ErrorRate: 0.05, ShortPages: true}

// exchanges of the services that notify.
var exchanges = []string{"nova", "glance", "keystone"}

// sourceOf is the source that collects from an exchange.
func sourceOf(w *world, provider, exchange string) string {
	if exchange == "nova" && provider != w.opt.notified[0] {
		return "amqp-compute"
	}
	return "amqp"
}

// traffic hands out events, as fast as it may and never far ahead of what is collected, and tells the checker.
type traffic struct {
	w      *world
	vhosts map[string]string // by provider
	pace   *pace
	resent atomic.Int64 // windows of notifications that had to be sent again

	mu     sync.Mutex
	handed map[string]int // by provider, and by provider/source
}

func newTraffic(w *world, vhosts map[string]string) *traffic {
	return &traffic{w: w, vhosts: vhosts, pace: newPace(w.opt.rate), handed: map[string]int{}}
}

func (tr *traffic) count(provider, source string, n int) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.handed[provider] += n
	tr.handed[provider+"/"+source] += n
	tr.handed[""] += n
}

// sum is how many events were handed out, of one provider, of one of its sources (provider/source), or of all ("").
func (tr *traffic) sum(of string) int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.handed[of]
}

// room waits until no more than the backlog is handed out and not yet collected.
func (tr *traffic) room(ctx context.Context, provider string) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for tr.sum(provider)-tr.w.watch.collected(provider) > tr.w.opt.backlog {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return ctx.Err() == nil
}

// run hands out events until ctx ends, and returns when all that was begun is confirmed: confirming ends with give.
func (tr *traffic) run(ctx, give context.Context) error {
	var group sync.WaitGroup
	errs := make(chan error, 100)
	seed := tr.w.opt.seed
	for i, provider := range tr.w.opt.notified {
		for k, exchange := range exchanges {
			random := rand.New(rand.NewPCG(seed, uint64(100+10*i+k)))
			group.Go(func() { errs <- tr.notify(ctx, give, provider, exchange, random) })
		}
	}
	for i, provider := range tr.w.opt.polled {
		random := rand.New(rand.NewPCG(seed, uint64(200+i)))
		group.Go(func() { errs <- tr.show(ctx, provider, random) })
	}
	group.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// notify is one service that publishes one window of notifications after the other, each when the one before is
// confirmed. What is not confirmed because the connection ended is sent again, so that it may come twice.
func (tr *traffic) notify(ctx, give context.Context, provider, exchange string, random *rand.Rand) error {
	p := &publisher{addr: tr.w.addr[brokerHost], vhost: tr.vhosts[provider], exchange: exchange}
	defer p.close()
	if err := p.declare(give); err != nil {
		return err
	}
	tr.w.watch.awaitBound(ctx, provider, sourceOf(tr.w, provider, exchange), exchange)
	lane := provider + "/" + exchange
	for n := 0; tr.room(ctx, provider) && tr.pace.take(ctx, window); n++ {
		notices := make([]notice, window)
		for i := range notices {
			notices[i] = newNotice(random)
		}
		resent, err := p.publish(give, notices)
		if err != nil {
			return fmt.Errorf("publish on %s of %s: %w", exchange, provider, err)
		}
		if resent {
			tr.resent.Add(1)
		}
		now := time.Now()
		for i := range notices {
			h := notices[i].handed(provider)
			h.Lane, h.Window, h.Loose, h.Confirmed = lane, n, resent, now
			tr.w.check.Handed(h)
		}
		tr.count(provider, sourceOf(tr.w, provider, exchange), len(notices))
	}
	return nil
}

// show puts events into an event service that is polled. Several share a time, and one in twenty shows only when newer
// ones have long been read.
func (tr *traffic) show(ctx context.Context, provider string, random *rand.Rand) error {
	service := tr.w.clouds[provider]
	lane := provider + "/panko"
	for n := 0; tr.room(ctx, provider) && tr.pace.take(ctx, window); n++ {
		at := time.Now()
		var events []standin.Event
		for range window {
			e, what := newEvent(random, at)
			h := what.handed(provider)
			shows := at
			h.Lane, h.Window, h.Loose = lane, n, true
			if random.IntN(20) == 0 {
				shows = at.Add(time.Duration(random.Int64N(int64(latest))))
				e.Visible, h.Lane = shows, "" // it comes when it comes
			}
			events = append(events, e)
			h.Confirmed = shows.Add(50 * time.Millisecond) // it is put below, and the service looks at the clock for itself
			tr.w.check.Handed(h)
		}
		service.Put(events...)
		tr.count(provider, "panko", len(events))
		if n%50 == 0 {
			// What is collected is forgotten, as such a service does, so that it does not become slow.
			if mark := tr.w.watch.watermark(provider, "panko"); !mark.IsZero() {
				service.Forget(mark.Add(-time.Minute))
			}
		}
	}
	return nil
}

// pace lets a number of events through in a second.
type pace struct {
	mu   sync.Mutex
	rate int
	next time.Time
}

func newPace(rate int) *pace { return &pace{rate: rate} }

// take waits until n events may go. It is false when ctx has ended.
func (p *pace) take(ctx context.Context, n int) bool {
	if p.rate == 0 {
		return ctx.Err() == nil
	}
	p.mu.Lock()
	now := time.Now()
	if p.next.Before(now.Add(-time.Second)) {
		p.next = now // what was not used in time is not made up for
	}
	wait := p.next.Sub(now)
	p.next = p.next.Add(time.Duration(n) * time.Second / time.Duration(p.rate))
	p.mu.Unlock()
	return sleep(ctx, wait)
}

// sleep waits for d, and is false when ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
