package amqp1

import (
	"errors"
	"time"

	"stackstream/collectors"
	"stackstream/event"
)

// manual is for operators who change the cursor of a source. There is little to change: the peer knows what was settled.
func manual() collectors.Manual {
	return collectors.Manual{
		Rewind: func(event.Cursor, time.Time, time.Time) (event.Cursor, time.Time, error) {
			return nil, time.Time{}, &event.Error{Kind: event.Invalid, Op: "rewind", Err: errors.New(
				"a queue is no log: what was settled is gone from the peer. What another service still has of that time, " +
					"such as Panko, can be collected from there with `stackstream backfill`")}
		},
		Set: func(_ event.Cursor, text string, _ time.Time) (event.Cursor, error) {
			st, err := readState(event.Cursor(text))
			if err != nil {
				return nil, err
			}
			return st.cursor(), nil
		},
		Meanwhile: func() string {
			return "a broker keeps messages in its queues, up to their limits; a router keeps nothing: with one the agent's publisher " +
				"can't send, and loses what it then drops"
		},
	}
}
