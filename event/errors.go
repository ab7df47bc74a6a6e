package event

import (
	"errors"
	"fmt"
)

// Kind sorts errors by what the caller must do. It is itself an error: errors.Is(err, event.Fenced).
type Kind int

const (
	// Fenced means that another writer has written since; nothing was stored. Drop the work and read the cursor again.
	Fenced Kind = iota + 1
	// Full means that the stream takes no more; nothing was stored. Wait and say so.
	Full
	// TooLarge means that a message is larger than the server takes; nothing was stored.
	TooLarge
	// Unknown means that the outcome of a write is not known. Read the cursor before anything else.
	Unknown
	// Unavailable means that the other side can't be reached or can't serve now; nothing was stored. Wait and try again.
	Unavailable
	// Invalid means that the request, the configuration or the data is wrong; trying again would not help.
	Invalid
	// Regressed means that a stream holds less than the cursor says was there (recreated, restored, tail lost). Stop and say so.
	Regressed
	// Expired means that a stream no longer holds what comes after the cursor. Stop and say so.
	Expired
	// Paused means that an operator has stopped this work. Look again now and then whether it may go on.
	Paused
)

func (k Kind) Error() string { return k.String() }

// String is one word, as metrics and logs show it.
func (k Kind) String() string {
	switch k {
	case Fenced:
		return "fenced"
	case Full:
		return "full"
	case TooLarge:
		return "too-large"
	case Unknown:
		return "unknown"
	case Unavailable:
		return "unavailable"
	case Invalid:
		return "invalid"
	case Regressed:
		return "raw-regressed"
	case Expired:
		return "raw-expired"
	case Paused:
		return "paused"
	default:
		return fmt.Sprintf("kind-%d", int(k))
	}
}

// Error is an error with its kind. Op says what was tried, in the form "append to EVENTS_RAW".
type Error struct {
	Kind Kind
	Op   string
	// Last, where the error tells it, is the stream sequence that was found in place of the expected one.
	Last StreamSeq
	Err  error
}

func (e *Error) Error() string {
	switch {
	case e.Op == "" && e.Err == nil:
		return e.Kind.String()
	case e.Err == nil:
		return e.Op + ": " + e.Kind.String()
	case e.Op == "":
		return e.Kind.String() + ": " + e.Err.Error()
	default:
		return e.Op + ": " + e.Kind.String() + ": " + e.Err.Error()
	}
}

// Unwrap gives errors.Is and errors.As both the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// KindOf returns the kind of err, or 0 if it has none.
func KindOf(err error) Kind {
	var k Kind
	if errors.As(err, &k) {
		return k
	}
	return 0
}
