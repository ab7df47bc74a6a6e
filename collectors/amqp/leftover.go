package amqp

import (
	"context"
	"errors"
	"fmt"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"stackstream/event"
)

// Leftover is a queue that a source declared and has not removed: it fills up to its limits when nobody consumes it.
type Leftover struct {
	Source event.Source `json:"source"`
	Queue  string       `json:"queue"`
	VHost  string       `json:"vhost"`
}

// LeftBy tells what the source of that name has on its broker, by its cursor; ok is false where that is nothing, and for a source
// of another kind.
func LeftBy(name event.Source, cursor event.RawCursor) (l Leftover, ok bool, err error) {
	if !ours(name) || len(cursor.Cursor) == 0 {
		return l, false, nil
	}
	st, err := readState(cursor.Cursor)
	if err != nil {
		return l, false, fmt.Errorf("cursor of %s: %w", name, err)
	}
	return Leftover{Source: name, Queue: st.Queue, VHost: st.VHost}, st.Queue != "", nil
}

// Remove deletes the queue, the one for what it dropped, and their exchanges, and returns how many notifications were in it: they
// are lost. What is not there is no error. A queue that somebody consumes is left alone, and so is one in another virtual host
// than cfg has.
func (l Leftover) Remove(ctx context.Context, cfg Config, opts Options) (lost int, err error) {
	op := "delete queue " + l.Queue
	if l.VHost != cfg.VHost {
		return 0, invalid(op, fmt.Errorf("it is in vhost %q, and the settings have %q", l.VHost, cfg.VHost))
	}
	d, err := newDialer(cfg, fmt.Sprintf("stackstream %s/%s (%s)", opts.Provider, l.Source, opts.Host), opts.Version)
	if err != nil {
		return 0, err
	}
	conn, _, err := d.dial(ctx, "remove")
	if err != nil {
		return 0, err
	}
	defer hangUp(conn)
	n := namesFor(l.Queue)
	ch, err := conn.Channel()
	if err != nil {
		return 0, explain("open a channel", err)
	}
	defer ch.Close()
	q, err := ch.QueueDeclarePassive(n.queue, true, false, false, false, nil)
	switch {
	case isCode(err, amqp091.NotFound):
		if ch, err = conn.Channel(); err != nil { // the answer closed the one before
			return 0, explain("open a channel", err)
		}
		defer ch.Close()
	case err != nil:
		return 0, explain("look at queue "+n.queue, err)
	case q.Consumers > 0:
		return 0, &event.Error{Kind: event.Unavailable, Op: op, Err: errors.New("somebody consumes it")}
	}
	// Deleting what is not there is no error for the broker.
	if _, err := ch.QueueDelete(n.queue, false, false, false); err != nil {
		return 0, explain(op, err)
	}
	return q.Messages, deleteRest(ch, n)
}

// deleteRest removes what belongs to a queue that is gone.
func deleteRest(ch *amqp091.Channel, n names) error {
	if err := ch.ExchangeDelete(n.probe, false, false); err != nil {
		return explain("delete exchange "+n.probe, err)
	}
	if err := ch.ExchangeDelete(n.dropped, false, false); err != nil {
		return explain("delete exchange "+n.dropped, err)
	}
	if _, err := ch.QueueDelete(n.dropped, false, false, false); err != nil {
		return explain("delete queue "+n.dropped, err)
	}
	return nil
}
