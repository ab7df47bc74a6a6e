package amqp1

import (
	"encoding/json"
	"errors"
	"fmt"

	"stackstream/event"
)

// stateFormat is the newest format of the state that this version reads; by the rules of package event.
const stateFormat = 1

// state is the source's cursor: not how far it has read, which the peer knows by what was settled, but what was turned away.
type state struct {
	// Rejected counts messages that were rejected, by reason.
	Rejected map[string]int64 `json:"rejected"`
}

func readState(cursor event.Cursor) (state, error) {
	var st state
	if len(cursor) > 0 {
		err := event.Decode(cursor, stateFormat, &st)
		if newer := (*event.NewerError)(nil); errors.As(err, &newer) {
			return st, &event.Error{Kind: event.Invalid, Op: "read the cursor", Err: err}
		}
		if err == nil && st.Rejected == nil {
			err = errors.New("it does not say what was rejected")
		}
		if err != nil {
			return st, &event.Error{
				Kind: event.Invalid, Op: "read the cursor", Err: fmt.Errorf("not one of this kind of source: %w", err),
			}
		}
	}
	if st.Rejected == nil {
		st.Rejected = map[string]int64{}
	}
	return st, nil
}

func (st *state) cursor() event.Cursor {
	text, err := json.Marshal(st)
	if err != nil {
		panic(err) // words and numbers: it can't fail
	}
	return text
}
