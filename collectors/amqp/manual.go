package amqp

import (
	"errors"
	"fmt"
	"time"

	"stackstream/collectors"
	"stackstream/event"
)

// manual is for operators who change the cursor of a source. There is little to change: the broker knows what was read.
func (c Config) manual(p func() event.Provider, name event.Source) collectors.Manual {
	return collectors.Manual{
		Rewind: func(event.Cursor, time.Time, time.Time) (event.Cursor, time.Time, error) {
			return nil, time.Time{}, &event.Error{Kind: event.Invalid, Op: "rewind", Err: errors.New(
				"a queue is no log: what was taken from it is gone from the broker. What another service still has of that time, " +
					"such as Panko, can be collected from there with `stackstream backfill`")}
		},
		Set:       func(was event.Cursor, text string, _ time.Time) (event.Cursor, error) { return WholeCursor(was, text) },
		Meanwhile: func() string { return c.meanwhile(p(), name) },
	}
}

// WholeCursor reads a whole cursor that an operator wrote. What the one that is there is like does not matter.
func WholeCursor(_ event.Cursor, text string) (event.Cursor, error) {
	st, err := readState(event.Cursor(text))
	if newer := (*event.NewerError)(nil); errors.As(err, &newer) {
		return nil, err
	}
	if strict := collectors.ReadCursor(text, &state{}); strict != nil {
		return nil, strict
	}
	if err != nil {
		return nil, err
	}
	return st.cursor(), nil
}

// meanwhile is what becomes of notifications that nobody takes from our queue.
func (c Config) meanwhile(p event.Provider, name event.Source) string {
	queue := fmt.Sprintf("%s.%s.%s", c.Queue.Prefix, p, name)
	var limits string
	switch size, ttl := c.Queue.MaxBytes, c.Queue.TTL; {
	case size > 0 && ttl > 0:
		limits = fmt.Sprintf("%d bytes, and what has waited for %s", size, ttl)
	case size > 0:
		limits = fmt.Sprintf("%d bytes", size)
	case ttl > 0:
		limits = fmt.Sprintf("what has waited for %s", ttl)
	default:
		return fmt.Sprintf("the broker's queue %s goes on filling, up to what the broker allows", queue)
	}
	return fmt.Sprintf("the broker's queue %s goes on filling up to its limits (%s): then the broker drops the oldest notifications, "+
		"which is counted", queue, limits)
}
