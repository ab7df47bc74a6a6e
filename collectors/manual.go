package collectors

import (
	"time"

	"stackstream/event"
)

// Manual is what is known of a source's cursors by those who change one from outside, while nobody need be at work. Its
// functions are pure.
type Manual struct {
	// Rewind returns the cursor from which the source reads again what is not older than a time, and the time from which it
	// does: not later than the one asked for. nil where nothing can be read again. An error says what can be done instead.
	Rewind func(cursor event.Cursor, to, now time.Time) (event.Cursor, time.Time, error)
	// Set returns the cursor that a text stands for: a whole cursor, as JSON, or the value that it consists of. cursor is the
	// one there is, nil if there is none.
	Set func(cursor event.Cursor, text string, now time.Time) (event.Cursor, error)
	// Meanwhile says what becomes of events outside as long as nobody collects them.
	Meanwhile func() string
}
