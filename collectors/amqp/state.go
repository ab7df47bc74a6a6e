package amqp

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"stackstream/event"
)

// keptGaps is how many gaps a cursor keeps.
const keptGaps = 16

// stateFormat is the newest format of the state that this version reads; by the rules of package event.
const stateFormat = 1

// state is the source's cursor: not how far it has read, which the broker knows by the acknowledgements, but what it
// must find again on the broker, and what was lost.
type state struct {
	// Queue is the name of the queue that was declared, VHost where.
	Queue string `json:"queue,omitempty"`
	VHost string `json:"vhost,omitempty"`
	// Keys are the routing keys that the exchanges are bound by, or were and may still be.
	Keys []string `json:"keys,omitempty"`
	// Claims are the exchanges that the queue is bound to, or will be. No two sources of a provider claim the same.
	Claims map[string]claim `json:"claims,omitempty"`
	// Gaps are the last ones that have ended, GapsTotal is how many there were.
	Gaps      []Gap `json:"gaps,omitempty"`
	GapsTotal int64 `json:"gaps_total,omitempty"`
	// Dropped counts what the broker dropped from the queue, by reason: at least so many, since what is dropped is kept
	// for counting in a queue that is limited, too. Counted are marks of the last ones, as many as can be handed over again.
	Dropped map[string]int64 `json:"dropped,omitempty"`
	Counted []string         `json:"counted,omitempty"`
	// BodyBytes is the size of a notification, about, to begin with the right prefetch.
	BodyBytes int `json:"body_bytes,omitempty"`
}

// claim is an exchange.
type claim struct {
	// Bound: it was bound once.
	Bound bool `json:"bound,omitempty"`
	// Lost is since when it may have had notifications that did not reach the queue.
	Lost time.Time `json:"lost,omitzero"`
}

// Gap is a time in which notifications may have passed us by.
type Gap struct {
	// What was not bound to our queue: "exchange nova".
	What string    `json:"what"`
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

func readState(cursor event.Cursor) (state, error) {
	var st state
	if len(cursor) > 0 {
		err := event.Decode(cursor, stateFormat, &st)
		if newer := (*event.NewerError)(nil); errors.As(err, &newer) {
			return st, &event.Error{Kind: event.Invalid, Op: "read the cursor", Err: err}
		}
		if err == nil && len(st.Keys) == 0 {
			err = errors.New("it has no routing keys")
		}
		if err == nil {
			_, err = json.Marshal(st) // a time may have been read that can't be written
		}
		if err != nil {
			return st, &event.Error{
				Kind: event.Invalid, Op: "read the cursor", Err: fmt.Errorf("not one of this kind of source: %w", err),
			}
		}
	}
	if st.Claims == nil {
		st.Claims = map[string]claim{}
	}
	if st.Dropped == nil {
		st.Dropped = map[string]int64{}
	}
	return st, nil
}

// moveTo forgets what there was in another vhost: nothing of it can be found here, and it is not ours to look after any
// more.
func (st *state) moveTo(vhost string) {
	if st.VHost != "" && st.VHost != vhost {
		st.Queue, st.Claims, st.Counted = "", map[string]claim{}, nil
	}
	st.VHost = vhost
}

func (st *state) cursor() event.Cursor {
	text, err := json.Marshal(st)
	if err != nil {
		panic(err) // strings, numbers, and times of our own or as they were read: it can't fail
	}
	return text
}

func (st *state) count(why, mark string) {
	st.Dropped[why]++
	st.Counted = append(st.Counted, mark)
	st.Counted = st.Counted[max(0, len(st.Counted)-droppedPrefetch):]
}

func (st *state) addGap(g Gap) {
	st.GapsTotal++
	st.Gaps = append(st.Gaps, g)
	st.Gaps = slices.Clone(st.Gaps[max(0, len(st.Gaps)-keptGaps):])
}
