package amqp

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"stackstream/event"
)

const (
	// The queue of what was dropped is only for counting.
	droppedMaxLength = 10_000
	droppedMaxBytes  = 16 << 20
	// deliveryLimit keeps quorum queues from dropping what they handed over 20 times, as they do since RabbitMQ 4.0: it comes
	// again after each loss of the connection. Before 4.0 there is no way to say "without limit".
	deliveryLimit = 1_000_000_000
	// argSingleActive has a queue hand over to one consumer at a time, and to the next one only when nothing is left with it.
	argSingleActive = "x-single-active-consumer"
)

// findings is what there is of what the cursor knows.
type findings struct {
	queue     bool
	canary    bool // the exchange for probes, which lives as long as other exchanges that are not durable
	exchanges map[string]bool
}

// look asks the broker without changing anything.
func (s *session) look() (findings, error) {
	f := findings{exchanges: map[string]bool{}}
	var err error
	if f.queue, err = s.queueExists(s.names.queue); err != nil {
		return f, err
	}
	if f.canary, err = exists(s.conn, s.names.probe); err != nil {
		return f, err
	}
	for x := range s.claims() {
		if f.exchanges[x], err = exists(s.conn, x); err != nil {
			return f, err
		}
	}
	return f, nil
}

func (s *session) queueExists(name string) (bool, error) {
	ch, err := s.conn.Channel()
	if err != nil {
		return false, explain("open a channel", err)
	}
	defer ch.Close()
	_, err = ch.QueueDeclarePassive(name, true, false, false, false, nil)
	if isCode(err, amqp091.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, explain("look for queue "+name, err)
	}
	return true, nil
}

// declare makes what is ours.
func (s *session) declare() error {
	if err := s.declareQueue(s.names); err != nil {
		return err
	}
	return s.onChannel(func(ch *amqp091.Channel) error {
		if err := ch.ExchangeDeclare(s.names.probe, amqp091.ExchangeDirect, false, false, false, false, nil); err != nil {
			return explain("declare exchange "+s.names.probe, err)
		}
		if err := ch.QueueBind(s.names.queue, s.names.queue, s.names.probe, false, nil); err != nil {
			return explain("bind queue "+s.names.queue+" to exchange "+s.names.probe, err)
		}
		return nil
	})
}

// undeclare removes what declare made, unless the queue has something in it or somebody uses it.
func (s *session) undeclare() error {
	return s.onChannel(func(ch *amqp091.Channel) error {
		conditions := !s.steady // a quorum queue knows none
		if !conditions {
			q, err := ch.QueueDeclarePassive(s.names.queue, true, false, false, false, nil)
			if err != nil {
				return explain("look at queue "+s.names.queue, err)
			}
			if q.Messages > 0 {
				return &event.Error{Kind: event.Unavailable, Op: "delete queue " + s.names.queue, Err: errors.New("something is in it")}
			}
		}
		if _, err := ch.QueueDelete(s.names.queue, conditions, conditions, false); err != nil {
			return explain("delete queue "+s.names.queue, err)
		}
		return deleteRest(ch, s.names)
	})
}

// declareQueue makes a queue of ours, and the one for what it drops. A queue that exists with other limits is used as it
// is; one that lets several consumers in at once is refused, since they would overtake each other.
func (s *session) declareQueue(n names) error {
	err := s.onChannel(func(ch *amqp091.Channel) error {
		return ch.ExchangeDeclare(n.dropped, amqp091.ExchangeFanout, true, false, false, false, nil)
	})
	if err != nil && !isCode(err, amqp091.PreconditionFailed) {
		return explain("declare exchange "+n.dropped, err)
	}
	limits := amqp091.Table{"x-max-length": int64(droppedMaxLength), "x-max-length-bytes": int64(droppedMaxBytes)}
	if _, err := s.queue(n.dropped, limits); err != nil {
		return err
	}
	err = s.onChannel(func(ch *amqp091.Channel) error { return ch.QueueBind(n.dropped, "", n.dropped, false, nil) })
	if err != nil {
		return explain("bind queue "+n.dropped, err)
	}
	differs, err := s.queue(n.queue, s.arguments(n))
	if err != nil {
		return err
	}
	if n == s.names {
		s.says.Set(conditionArguments, differs)
		s.steady = s.cfg.Queue.Type == "quorum" || differs != ""
	}
	return nil
}

// arguments are what a queue is declared with.
func (s *session) arguments(n names) amqp091.Table {
	args := amqp091.Table{
		"x-queue-type": s.cfg.Queue.Type, argSingleActive: true, "x-dead-letter-exchange": n.dropped,
	}
	if s.cfg.Queue.Type == "quorum" {
		args["x-delivery-limit"] = int64(deliveryLimit)
	}
	if s.cfg.Queue.MaxBytes > 0 {
		args["x-max-length-bytes"] = s.cfg.Queue.MaxBytes
	}
	if s.cfg.Queue.TTL > 0 {
		args["x-message-ttl"] = s.cfg.Queue.TTL.Milliseconds()
	}
	return args
}

// queue declares a durable queue. differs says what is other than args in a queue that exists.
func (s *session) queue(name string, args amqp091.Table) (differs string, err error) {
	err = s.tryQueue(name, args)
	switch {
	case err == nil:
		return "", nil
	case !isCode(err, amqp091.PreconditionFailed):
		return "", explain("declare queue "+name, err)
	}
	if there, lookErr := s.queueExists(name); lookErr != nil || !there {
		return "", explain("declare queue "+name, cmp.Or(lookErr, err)) // the broker knows no such argument
	}
	if strings.Contains(err.Error(), "'durable'") || strings.Contains(err.Error(), "'auto_delete'") {
		return "", &event.Error{Kind: event.Invalid, Op: "declare queue " + name, Err: fmt.Errorf(
			"it exists and does not last: delete it when it is empty (%w)", err)}
	}
	if _, needed := args[argSingleActive]; needed {
		single, lookErr := s.singleActive(name, args, err)
		if lookErr != nil {
			return "", explain("declare queue "+name, lookErr)
		}
		if !single {
			return "", &event.Error{Kind: event.Invalid, Op: "declare queue " + name, Err: fmt.Errorf(
				"it exists without %s, and so can't keep the order: delete it when it is empty (%w)", argSingleActive, err)}
		}
	}
	return fmt.Sprintf("queue %s has other arguments than are configured, and is used as it is; it has to be deleted "+
		"for a change (%s)", name, reason(err)), nil
}

func (s *session) tryQueue(name string, args amqp091.Table) error {
	return s.onChannel(func(ch *amqp091.Channel) error {
		_, err := ch.QueueDeclare(name, true, false, false, false, args)
		return err
	})
}

// inequivalent is how a broker says that something exists with another argument: which, and what it is there.
var inequivalent = regexp.MustCompile(`inequivalent arg '([^']+)' for .* but current is (?:none|(?:the value )?'(.*)'(?: of type '\w+')?)$`)

// singleActive tells whether a queue hands over to one consumer at a time. A broker names only the first argument that
// differs, so the queue is declared with what it is said to have until nothing differs, or only that. A queue of which
// the broker speaks otherwise is taken for one of ours.
func (s *session) singleActive(queue string, args amqp091.Table, differs error) (bool, error) {
	args = maps.Clone(args)
	for range 20 {
		said := inequivalent.FindStringSubmatch(reason(differs))
		if said == nil {
			return true, nil
		}
		name, value := said[1], said[2]
		if name == argSingleActive {
			return false, nil
		}
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			args[name] = n
		} else if flag, err := strconv.ParseBool(value); err == nil {
			args[name] = flag
		} else if value != "" {
			args[name] = value
		} else {
			delete(args, name)
		}
		if differs = s.tryQueue(queue, args); !isCode(differs, amqp091.PreconditionFailed) {
			return true, differs
		}
	}
	return true, nil
}

// reason is what the broker said.
func reason(err error) string {
	var e *amqp091.Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return err.Error()
}

// onChannel calls f with a channel of its own, which an error of f may close.
func (s *session) onChannel(f func(ch *amqp091.Channel) error) error {
	ch, err := s.conn.Channel()
	if err != nil {
		return explain("open a channel", err)
	}
	defer ch.Close()
	return f(ch)
}

// bind binds a queue to an exchange by keys; false if there is no such exchange, and none is to be made.
func (s *session) bind(queue, exchange string, keys []string) (bool, error) {
	there, err := exists(s.conn, exchange)
	if err != nil {
		return false, err
	}
	if !there && s.cfg.CreateExchanges == createNever {
		return false, nil
	}
	err = s.onChannel(func(ch *amqp091.Channel) error {
		if !there {
			durable := s.cfg.CreateExchanges == createDurable
			if err := ch.ExchangeDeclare(exchange, amqp091.ExchangeTopic, durable, false, false, false, nil); err != nil {
				return explain("create exchange "+exchange, err)
			}
		}
		for _, key := range keys {
			if err := ch.QueueBind(queue, key, exchange, false, nil); err != nil {
				if isCode(err, amqp091.NotFound) {
					return errGone
				}
				return explain("bind queue "+queue+" to exchange "+exchange, err)
			}
		}
		return nil
	})
	if errors.Is(err, errGone) {
		return false, nil
	}
	return err == nil, err
}

// errGone: the exchange was deleted just now.
var errGone = errors.New("the exchange is gone")

// unbind removes bindings; it does no harm where there are none.
func (s *session) unbind(queue, exchange string, keys []string) error {
	return s.onChannel(func(ch *amqp091.Channel) error {
		for _, key := range keys {
			if err := ch.QueueUnbind(queue, key, exchange, nil); err != nil && !isCode(err, amqp091.NotFound) {
				return explain("unbind queue "+queue+" from exchange "+exchange, err)
			} else if err != nil {
				return nil // the exchange is gone, and its bindings with it
			}
		}
		return nil
	})
}

// closeGap ends the time in which an exchange's notifications may have passed by.
func (s *session) closeGap(exchange string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.state.Claims[exchange]
	if c.Lost.IsZero() {
		return
	}
	g := Gap{What: "exchange " + exchange, From: c.Lost, To: time.Now().UTC()}
	c.Lost = time.Time{}
	s.state.Claims[exchange] = c
	s.state.addGap(g)
	s.dirty = true
	s.wake()
	if s.opts.Hooks.Gap != nil {
		s.opts.Hooks.Gap(g)
	}
	s.opts.Log.Warn().Str("provider", string(s.opts.Provider)).Str("source", string(s.name)).Str("exchange", exchange).
		Time("from", g.From).Time("to", g.To).
		Msg("notifications of this time may be missing: the broker had lost the binding of our queue")
}
