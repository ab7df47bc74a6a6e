// Package amqp collects the notifications of OpenStack's services from RabbitMQ.
//
// Each source has a durable queue of its own, bound to the exchanges of the services by <topic>.<priority>. It never
// declares nor consumes the queues of others ("notifications.info"), and declares the exchanges of the services passively:
// what we declare with other flags than a service would make the service fail. Everything that it does declare begins with
// Queue.Prefix.
//
// A notification is acknowledged after it is durable. What the broker hands over again, and what a publisher sent
// again because it never got to know of the first time, is removed by its message_id, by the loop in package collectors.
// The queue has a single active consumer, so that what an earlier, half-dead consumer of ours holds comes first.
//
// Whatever goes wrong with the connection ends Run with the reason; to be run again is the only way back, the same as
// after a crash. Two things prove that a silent queue is a quiet one: heartbeats, and a probe, a message of our own that
// goes through the queue every Config.Probe. What comes back tells, too, up to when everything was collected: the
// watermark.
//
// The broker may lose what never reached our queue, or drop what waits there for too long. A Gap says so for the former;
// the latter goes to a second, small queue of ours and is counted there. Both are kept in the cursor.
package amqp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"
	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/event"
)

// Kind is the name of the kind of source.
const Kind = "amqp"

// maxPause is the longest pause between two tries to connect: what a service publishes on an exchange that is not
// durable is lost to us from a restart of the broker until we are back.
const maxPause = 5 * time.Second

// Hooks is how what happens here becomes metrics. Every function may be nil, must not block, and may be called from
// several goroutines at once.
type Hooks struct {
	// Connected is called with the host when a connection stands, and with "" when it has ended.
	Connected func(host string)
	// Queue says, every now and then, how many notifications wait in our queue and how many consumers it has.
	Queue func(ready, consumers int)
	// Prefetch says how many notifications the broker may hand over ahead from now on.
	Prefetch func(n int)
	// Missing says how many of the configured exchanges do not exist.
	Missing func(exchanges int)
	// Blocked says whether the broker blocks publishers because of an alarm, memory or disk.
	Blocked func(blocked bool)
	// Redelivered counts notifications that the broker handed over once more.
	Redelivered func(n int)
	// Dropped counts notifications that the broker dropped from our queue: "maxlen", "expired". They are lost. There may
	// have been more: what waits to be counted is limited.
	Dropped func(why string, n int)
	// Gap is called for each time in which the broker may have had notifications that never reached our queue.
	Gap func(Gap)
	// Skew is by how much the clocks of those who notify seem to be ahead of ours; negative: behind.
	Skew func(time.Duration)
	// Unknown counts notifications that came with a routing key that is not configured.
	Unknown func(n int)
	// Probe says how long a probe took through the queue.
	Probe func(took time.Duration)
}

// Options are what the process gives to a source, besides its configuration.
type Options struct {
	Provider event.Provider
	Version  string    // of stackstream, for the broker's list of connections
	Host     string    // the name of this machine, for the same
	Began    time.Time // when the process did, from time.Now: no watermark trusts a clock that was set since
	Hooks    Hooks
	Report   collectors.Report
	Log      zerolog.Logger
	// Cursors returns the cursor of every source that ever collected for the provider. Run needs it; Available does not.
	Cursors func(ctx context.Context) (map[event.Source]event.RawCursor, error)
}

// Source is one queue on one broker.
type Source struct {
	cfg       Config
	opts      Options
	name      event.Source
	exchanges []string // none: a former source, which only finishes
	filter    *collectors.Filter
	dialer    *dialer
}

var _ collectors.Source = (*Source)(nil)

// New makes the source of that name, of a valid configuration. It reads the files that cfg names, and talks to nobody.
func New(cfg Config, name event.Source, opts Options) (*Source, error) {
	filter, err := collectors.NewFilter(cfg.EventTypes)
	if err != nil {
		return nil, &event.Error{Kind: event.Invalid, Op: "read event_types", Err: err}
	}
	if opts.Report == nil {
		opts.Report = func(bool, string) {}
	}
	connection := fmt.Sprintf("stackstream %s/%s (%s)", opts.Provider, name, opts.Host)
	dialer, err := newDialer(cfg, connection, opts.Version)
	if err != nil {
		return nil, err
	}
	s := &Source{cfg: cfg, opts: opts, name: name, exchanges: cfg.sources()[name], filter: filter, dialer: dialer}
	return s, nil
}

// Spec is what the loop needs to know of a source with this configuration.
func (c Config) Spec() collectors.Spec {
	return collectors.Spec{Repeats: max(c.Remember, 2*c.Prefetch), Quiet: max(2*c.Probe, 30*time.Second), MaxPause: maxPause}
}

// Available connects, and looks whether any of the exchanges is there.
func (s *Source) Available(ctx context.Context) error {
	conn, _, err := s.dialer.dial(ctx, "check")
	if err != nil {
		return err
	}
	defer hangUp(conn)
	var missing []string
	for _, exchange := range s.exchanges {
		there, err := exists(conn, exchange)
		if err != nil {
			return err
		}
		if there {
			return nil
		}
		missing = append(missing, exchange)
	}
	if len(missing) == 0 || s.cfg.CreateExchanges != createNever {
		return nil
	}
	return &event.Error{Kind: event.Unavailable, Op: "look for exchanges", Err: fmt.Errorf(
		"vhost %q has none of %s: a service makes its exchange with its first notification (is driver = messagingv2 set there, "+
			"and are vhost and exchanges the right ones here?)", s.cfg.VHost, strings.Join(missing, ", "))}
}

// exists asks for an exchange on a channel of its own, which a "no" closes.
func exists(conn *amqp091.Connection, exchange string) (bool, error) {
	ch, err := conn.Channel()
	if err != nil {
		return false, explain("open a channel", err)
	}
	defer ch.Close()
	return existsOn(ch, exchange)
}

// existsOn tells whether there is an exchange. The channel is closed afterwards if there is none.
func existsOn(ch *amqp091.Channel, exchange string) (bool, error) {
	// Passive: the type and the flags are not looked at, and nothing is made.
	err := ch.ExchangeDeclarePassive(exchange, amqp091.ExchangeTopic, false, false, false, false, nil)
	if isCode(err, amqp091.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, explain("look for exchange "+exchange, err)
	}
	return true, nil
}

func isCode(err error, code int) bool {
	var e *amqp091.Error
	return errors.As(err, &e) && e.Code == code
}

// hangUp ends a connection in good order, or in two seconds.
func hangUp(conn *amqp091.Connection) {
	_ = conn.CloseDeadline(time.Now().Add(2 * time.Second)) // it is over in any case
}

// Run consumes until ctx ends or the connection does not do what it should.
func (s *Source) Run(ctx context.Context, from event.From, emit collectors.Emit) error {
	st, err := readState(from.Cursor)
	if err != nil {
		return err
	}
	if s.retired(st) {
		return s.rest(ctx, emit)
	}
	st.moveTo(s.cfg.VHost)
	if err := s.awaitHandover(ctx, emit); err != nil || ctx.Err() != nil {
		return err
	}
	if err = s.connected(ctx, st, from, emit); errors.Is(err, errRetired) {
		return s.rest(ctx, emit)
	}
	return endedBy(ctx, err)
}

// connected works for as long as a connection stands.
func (s *Source) connected(ctx context.Context, st state, from event.From, emit collectors.Emit) error {
	conn, host, err := s.dialer.dial(ctx, "")
	if err != nil {
		return err
	}
	defer hangUp(conn)
	// A broker with an alarm stops reading from a connection that publishes: probes have one of their own.
	prober, err := s.dialer.dialHost(ctx, host, "probe")
	if err != nil {
		return err
	}
	defer hangUp(prober)
	if s.opts.Hooks.Connected != nil {
		s.opts.Hooks.Connected(host)
		defer s.opts.Hooks.Connected("")
	}
	return newSession(s, st, from, conn, prober, emit).run(ctx)
}

// endedBy returns nil for whatever came of it that ctx has ended.
func endedBy(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Candidate makes the sources of a provider ready for its Collector. The configuration must be valid. options is called
// for each source that is made.
func Candidate(cfg Config, options func(s event.Source, report collectors.Report) Options) collectors.Candidate {
	shard := func(name event.Source) collectors.Shard {
		provider := func() event.Provider { return options(name, func(bool, string) {}).Provider }
		made := func(report collectors.Report) (collectors.Source, error) {
			s, err := New(cfg, name, options(name, report))
			if err != nil {
				return nil, err
			}
			return s, nil
		}
		return collectors.Shard{Name: name, Spec: cfg.Spec(), Manual: cfg.manual(provider, name), New: made}
	}
	c := collectors.Candidate{Kind: Kind}
	for _, name := range cfg.sourceNames() {
		c.Shards = append(c.Shards, shard(name))
	}
	c.Former = func(cursors map[event.Source]event.RawCursor) []collectors.Shard {
		var former []collectors.Shard
		for name, cursor := range cursors {
			if ours(name) && !cursor.Retired && !slices.Contains(cfg.sourceNames(), name) {
				former = append(former, shard(name))
			}
		}
		slices.SortFunc(former, func(a, b collectors.Shard) int { return cmp.Compare(a.Name, b.Name) })
		return former
	}
	return c
}
