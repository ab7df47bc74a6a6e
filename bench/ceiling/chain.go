package main

import (
	"context"
	"fmt"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// sent are messages that were published and are acknowledged upstream when all of them are stored.
type sent struct {
	stored []natsjs.PubAckFuture
	ack    func() error
}

// settle waits for what was sent, in order, and acknowledges it.
func settle(groups <-chan sent, c *counter) error {
	for g := range groups {
		for _, f := range g.stored {
			select {
			case <-f.Ok():
			case err := <-f.Err():
				return fmt.Errorf("publish: %w", err)
			}
		}
		if err := g.ack(); err != nil {
			return err
		}
		c.add(len(g.stored))
	}
	return nil
}

// relay has groups of messages settled while the next are sent.
func relay(ctx context.Context, c *counter, send func(ctx context.Context, hand func(sent) error) error) error {
	groups := make(chan sent, 8)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return settle(groups, c) })
	group.Go(func() error {
		defer close(groups)
		return send(ctx, func(s sent) error {
			select {
			case groups <- s:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	return group.Wait()
}

// collect moves a queue into a stream.
func collect(ctx context.Context, o options, c *counter) error {
	conn, ch, all, err := deliveries(ctx, o)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	nc, js, err := connect(o)
	if err != nil {
		return err
	}
	defer nc.Close()
	return relay(ctx, c, func(_ context.Context, hand func(sent) error) error {
		for left := o.events; left > 0; {
			batch, err := gather(all, min(o.batch, left))
			if err != nil {
				return err
			}
			left -= len(batch)
			group := sent{ack: func() error { return ch.Ack(batch[len(batch)-1].DeliveryTag, true) }}
			for i := range batch {
				f, err := js.PublishAsync(o.subject, batch[i].Body)
				if err != nil {
					return err
				}
				group.stored = append(group.stored, f)
			}
			if err := hand(group); err != nil {
				return err
			}
		}
		return nil
	})
}

// normalize moves one stream into another, converting each message.
func normalize(ctx context.Context, o options, c *counter) error {
	nc, js, err := connect(o)
	if err != nil {
		return err
	}
	defer nc.Close()
	all, err := messages(ctx, js, o)
	if err != nil {
		return err
	}
	defer all.Stop()
	// What comes is settled when so many have come, or when no more are here: a group is never waited for.
	arrived := make(chan natsjs.Msg, o.window)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(arrived)
		for range o.events {
			m, err := all.Next()
			if err != nil {
				return err
			}
			select {
			case arrived <- m:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	group.Go(func() error {
		return relay(ctx, c, func(_ context.Context, hand func(sent) error) error {
			var notice []byte
			next := sent{}
			for m := range arrived {
				out, err := convert(m.Data(), &notice)
				if err != nil {
					return err
				}
				f, err := js.PublishAsync(o.subject, out)
				if err != nil {
					return err
				}
				next.stored, next.ack = append(next.stored, f), m.Ack
				if len(next.stored) < o.batch && len(arrived) > 0 {
					continue
				}
				if err := hand(next); err != nil {
					return err
				}
				next = sent{}
			}
			return nil
		})
	})
	return group.Wait()
}
