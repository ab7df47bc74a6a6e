package rabbitmqtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	amqp "github.com/rabbitmq/amqp091-go"
)

// Message is one message for a Publisher. Its ID is what the publisher remembers, and is not sent; a message without an
// ID is published and not remembered.
type Message struct {
	ID         string
	Exchange   string
	Key        string
	Publishing amqp.Publishing
}

// PublisherOption changes how a Publisher publishes.
type PublisherOption func(*Publisher)

// As declares like the variant; the default is Transient.
func As(v Variant) PublisherOption { return func(p *Publisher) { p.variant = v } }

// Window lets up to n messages wait for their confirms at the same time; the default, 1, is what oslo.messaging does.
func Window(n int) PublisherOption { return func(p *Publisher) { p.window = n } }

// Through connects to these addresses, proxies or members of a cluster, in turn until one answers.
func Through(addrs ...string) PublisherOption { return func(p *Publisher) { p.addrs = addrs } }

// Login connects as another user than guest.
func Login(user, password string) PublisherOption {
	return func(p *Publisher) { p.user, p.password = user, password }
}

// Publisher publishes like a service that uses oslo.messaging: it declares an exchange and the queue of a routing key
// before it first publishes there on a connection, and waits for the broker's confirm. When the connection is lost it
// connects and declares again and sends what was not confirmed, so that a message can arrive twice.
//
// It is safe for concurrent use; calls that publish wait for one another.
type Publisher struct {
	addrs          []string
	vhost          string
	user, password string
	variant        Variant
	window         int
	ended          context.Context // when the test ends

	busy     sync.Mutex       // held while publishing; guards what follows
	conn     *amqp.Connection // nil while there is none
	socket   net.Conn
	channel  *amqp.Channel
	declared map[[2]string]bool

	mu     sync.Mutex
	sent   map[string][]*outgoing // by exchange, in the order of first publishing
	resent atomic.Int64
}

type outgoing struct {
	Message
	tries     int
	confirm   *amqp.DeferredConfirmation
	confirmed bool // under Publisher.mu
}

// Publisher makes a publisher for a virtual host, which connects when it publishes first. It is closed with the test.
func (b *Broker) Publisher(tb testing.TB, vhost string, opts ...PublisherOption) *Publisher {
	tb.Helper()
	ended, end := context.WithCancel(context.Background())
	p := &Publisher{
		addrs: []string{b.Addr()}, vhost: vhost, user: "guest", password: "guest", variant: Transient(), window: 1,
		ended: ended, sent: map[string][]*outgoing{},
	}
	for _, opt := range opts {
		opt(p)
	}
	tb.Cleanup(func() {
		end()
		p.Close()
	})
	return p
}

// Notify publishes notifications to an exchange, as Publish does.
func (p *Publisher) Notify(ctx context.Context, exchange string, notifications ...Notification) error {
	messages := make([]Message, len(notifications))
	for i, n := range notifications {
		var err error
		if messages[i], err = n.message(exchange); err != nil {
			return err
		}
	}
	return p.Publish(ctx, messages...)
}

// Publish returns nil when the broker has confirmed all messages. It returns an error when ctx ends before, or when the
// broker will never take them: wrong credentials, missing rights, something declared with other flags. Everything else is
// tried again.
func (p *Publisher) Publish(ctx context.Context, messages ...Message) error {
	p.busy.Lock()
	defer p.busy.Unlock()
	for len(messages) > 0 {
		n := min(p.window, len(messages))
		if err := p.publish(ctx, p.remember(messages[:n])); err != nil {
			return err
		}
		messages = messages[n:]
	}
	return nil
}

// Declare declares an exchange and the queue of a routing key without publishing, and errs as Publish does.
func (p *Publisher) Declare(ctx context.Context, exchange, key string) error {
	p.busy.Lock()
	defer p.busy.Unlock()
	return p.retry(ctx, func(context.Context) error { return p.declare(exchange, key) })
}

func (p *Publisher) remember(messages []Message) []*outgoing {
	p.mu.Lock()
	defer p.mu.Unlock()
	var batch []*outgoing
	for _, m := range messages {
		o := &outgoing{Message: m}
		batch = append(batch, o)
		if m.ID != "" {
			p.sent[m.Exchange] = append(p.sent[m.Exchange], o)
		}
	}
	return batch
}

func (p *Publisher) publish(ctx context.Context, batch []*outgoing) error {
	return p.retry(ctx, func(ctx context.Context) error {
		err := p.send(ctx, batch)
		if left := p.settle(ctx, batch); left != nil || err != nil {
			return errors.Join(err, left)
		}
		return nil
	})
}

// send publishes what is not confirmed yet, in order.
func (p *Publisher) send(ctx context.Context, batch []*outgoing) error {
	for _, o := range batch {
		o.confirm = nil
	}
	for _, o := range batch {
		if o.confirmed {
			continue
		}
		if err := p.declare(o.Exchange, o.Key); err != nil {
			return err
		}
		c, err := p.channel.PublishWithDeferredConfirmWithContext(ctx, o.Exchange, o.Key, false, false, o.Publishing)
		if err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		if o.tries++; o.tries > 1 {
			p.resent.Add(1)
		}
		o.confirm = c
	}
	return nil
}

// settle waits for the confirms of what was sent. The client settles them all when the channel is lost.
func (p *Publisher) settle(ctx context.Context, batch []*outgoing) error {
	var left error
	for _, o := range batch {
		if o.confirm == nil {
			continue
		}
		acked, err := o.confirm.WaitContext(ctx)
		if err != nil {
			return err
		}
		if !acked {
			left = errors.New("the broker did not confirm")
			continue
		}
		p.mu.Lock()
		o.confirmed = true
		p.mu.Unlock()
	}
	return left
}

func (p *Publisher) declare(exchange, key string) error {
	if p.declared[[2]string{exchange, key}] {
		return nil
	}
	if err := p.variant.declare(p.channel, exchange, key); err != nil {
		return fmt.Errorf("declare %s and %s: %w", exchange, key, err)
	}
	p.declared[[2]string{exchange, key}] = true
	return nil
}

// retry does something on a connection until it succeeds. After an error the connection is made anew: what was declared
// may be gone.
func (p *Publisher) retry(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.ended, cancel)()
	pause := backoff.NewExponentialBackOff(backoff.WithInitialInterval(50*time.Millisecond),
		backoff.WithMaxInterval(time.Second), backoff.WithMaxElapsedTime(0))
	return backoff.Retry(func() error {
		err := p.connect(ctx)
		if err == nil {
			// A write to a broker that does not read ends only with the connection.
			socket := p.socket
			stop := context.AfterFunc(ctx, func() { _ = socket.Close() })
			err = do(ctx)
			stop()
		}
		if err == nil {
			return nil
		}
		p.disconnect()
		if refused(err) {
			return backoff.Permanent(err)
		}
		return err
	}, backoff.WithContext(pause, ctx))
}

// refused says whether trying again is of no use.
func refused(err error) bool {
	var e *amqp.Error
	return errors.As(err, &e) && (e.Code == amqp.AccessRefused || e.Code == amqp.PreconditionFailed || e.Code == amqp.NotAllowed)
}

func (p *Publisher) connect(ctx context.Context) error {
	if p.conn != nil {
		return nil
	}
	var errs []error
	for _, addr := range p.addrs {
		err := p.dial(ctx, addr)
		if err == nil {
			return nil
		}
		p.disconnect()
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (p *Publisher) dial(ctx context.Context, addr string) (err error) {
	const limit = 10 * time.Second
	stop := func() bool { return true }
	p.conn, err = amqp.DialConfig(URL(addr, p.user, p.password, p.vhost), amqp.Config{
		Heartbeat: 5 * time.Second,
		Dial: func(network, addr string) (net.Conn, error) {
			c, err := (&net.Dialer{Timeout: limit}).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			p.socket = c
			stop = context.AfterFunc(ctx, func() { _ = c.Close() })
			return c, c.SetDeadline(time.Now().Add(limit)) // of the handshake: the client takes it away
		},
	})
	defer func() { stop() }()
	if err != nil {
		p.conn = nil
		return fmt.Errorf("connect to %s: %w", addr, err)
	}
	if p.channel, err = p.conn.Channel(); err != nil {
		return fmt.Errorf("open a channel: %w", err)
	}
	if err := p.channel.Confirm(false); err != nil {
		return fmt.Errorf("ask for confirms: %w", err)
	}
	p.declared = map[[2]string]bool{}
	return nil
}

// Close closes the connection once nothing is being published. Publishing after it connects again.
func (p *Publisher) Close() {
	p.busy.Lock()
	defer p.busy.Unlock()
	p.disconnect()
}

func (p *Publisher) disconnect() {
	if p.conn == nil {
		return
	}
	_ = p.conn.CloseDeadline(time.Now().Add(time.Second)) // it may be broken already
	p.conn = nil
}

// Confirmed are the IDs of the messages to an exchange that the broker has confirmed, in the order in which they were
// published first.
func (p *Publisher) Confirmed(exchange string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ids []string
	for _, o := range p.sent[exchange] {
		if o.confirmed {
			ids = append(ids, o.ID)
		}
	}
	return ids
}

// Resent is how many times a message was published that had been published before, and so may be there twice.
func (p *Publisher) Resent() int { return int(p.resent.Load()) }
