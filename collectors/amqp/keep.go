package amqp

import (
	"context"
	"fmt"
	"strings"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"stackstream/event"
)

const (
	// keepEvery is how often bindings are made again, and the queue looked at.
	keepEvery = 30 * time.Second
	// An exchange that is gone is looked for at short intervals, one that never was at longer ones: each look makes a
	// line in the broker's log.
	goneFirst, goneMost   = time.Second, 5 * time.Second
	neverFirst, neverMost = 2 * time.Second, 30 * time.Second
	// growingLooks is after how many looks in a row that found the queue longer it is said to grow, if it has more than
	// growingFrom.
	growingLooks = 6
	growingFrom  = 10_000
)

// upkeep is when to look after an exchange again.
type upkeep struct {
	next  time.Time
	pause time.Duration
	there bool
	last  time.Time // when it was last bound
}

// keepBindings binds our queue to our exchanges as soon as they are there, again and again, and looks at the queue.
func (s *session) keepBindings(ctx context.Context, kept map[string]*upkeep) error {
	var q depth
	tick := time.NewTicker(min(goneFirst, s.cfg.Probe))
	defer tick.Stop()
	for {
		now := time.Now()
		if err := s.keepAll(kept, now); err != nil {
			return err
		}
		if err := s.release(ctx); err != nil {
			return err
		}
		if len(s.staleKeys()) > 0 && len(s.leaving()) == 0 {
			s.change(func(st *state) { st.Keys = s.keys }) // every exchange that is there has been dealt with
		}
		if err := s.lookAtQueue(&q, now); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// keepAll does what is due for each exchange.
func (s *session) keepAll(kept map[string]*upkeep, now time.Time) error {
	changed := false
	for _, x := range s.exchanges {
		k := kept[x]
		if k == nil {
			k = &upkeep{}
			kept[x] = k
		}
		if now.Before(k.next) {
			continue
		}
		if err := s.keep(x, k, now); err != nil {
			return err
		}
		changed = true
	}
	if changed {
		s.tellMissing(kept)
	}
	return nil
}

// keep binds one exchange, if it is there.
func (s *session) keep(exchange string, k *upkeep, now time.Time) error {
	there, err := s.bind(s.names.queue, exchange, s.keys)
	if err != nil {
		return err
	}
	c := s.claims()[exchange]
	if there {
		if err := s.unbind(s.names.queue, exchange, s.staleKeys()); err != nil {
			return err
		}
		s.closeGap(exchange)
		if !c.Bound {
			s.change(func(st *state) { st.Claims[exchange] = claim{Bound: true} })
		}
		*k = upkeep{there: true, last: now, next: now.Add(keepEvery)}
		return nil
	}
	if c.Bound && c.Lost.IsZero() {
		c.Lost = k.last
		if k.last.IsZero() {
			c.Lost = now
		}
		s.change(func(st *state) { st.Claims[exchange] = c })
	}
	k.missed(now, c.Bound)
	return nil
}

// missed says when to look again for an exchange that is not there; bound: it was there once.
func (k *upkeep) missed(now time.Time, bound bool) {
	first, most := neverFirst, neverMost
	if bound {
		first, most = goneFirst, goneMost
	}
	k.there = false
	k.pause = min(max(k.pause*3/2, first), most)
	k.next = now.Add(k.pause)
}

// tellMissing says which exchanges are not there. One that never was is no trouble: not every cloud has every service.
func (s *session) tellMissing(kept map[string]*upkeep) {
	var missing, gone []string
	claims := s.claims()
	for _, x := range s.exchanges {
		if kept[x].there {
			continue
		}
		missing = append(missing, x)
		if claims[x].Bound {
			gone = append(gone, x)
		}
	}
	if s.opts.Hooks.Missing != nil {
		s.opts.Hooks.Missing(len(missing))
	}
	text := ""
	switch {
	case len(gone) > 0:
		text = "exchanges are gone: " + strings.Join(gone, ", ") + " (their services make them again with the next notification)"
	case len(missing) == len(s.exchanges) && len(missing) > 0 && len(s.cfg.Shards) == 0:
		text = "none of the exchanges is there yet: " + strings.Join(missing, ", ")
	}
	s.says.Set(conditionMissing, text)
}

// depth follows how many notifications wait.
type depth struct {
	next   time.Time
	ready  int
	longer int // how many looks in a row found more than the one before
}

// grows takes how many wait, and tells whether that has become more and more.
func (q *depth) grows(ready int) bool {
	switch {
	case ready < q.ready || ready <= growingFrom:
		q.longer = 0
	case ready > q.ready:
		q.longer++
	}
	q.ready = ready
	return q.longer >= growingLooks
}

func (s *session) lookAtQueue(q *depth, now time.Time) error {
	if now.Before(q.next) {
		return nil
	}
	q.next = now.Add(keepEvery)
	if !s.probes.proven() {
		q.next = now.Add(goneFirst) // there may be somebody before us
	}
	var found amqp091.Queue
	err := s.onChannel(func(ch *amqp091.Channel) (err error) {
		found, err = ch.QueueDeclarePassive(s.names.queue, true, false, false, false, nil)
		return err
	})
	if err != nil {
		if isCode(err, amqp091.NotFound) {
			return &event.Error{Kind: event.Unavailable, Op: "look at queue " + s.names.queue, Err: fmt.Errorf("it was deleted: %w", err)}
		}
		return explain("look at queue "+s.names.queue, err)
	}
	if s.opts.Hooks.Queue != nil {
		s.opts.Hooks.Queue(found.Messages, found.Consumers)
	}
	text := ""
	if found.Consumers > 1 {
		text = "queue " + s.names.queue + " has another consumer, which comes first: the broker takes an earlier connection for alive"
		s.wake() // it is the first that is heard of us, if nothing can come
	}
	s.says.Set(conditionBehind, text)
	text = ""
	if q.grows(found.Messages) {
		text = "queue " + s.names.queue + " grows: notifications come faster than they are collected"
	}
	s.says.Set(conditionGrowing, text)
	return nil
}
