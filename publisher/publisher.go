// Package publisher says what a batch is and when it is safe.
//
// It gives events their identity headers and contiguous numbers, splits them into atomic batches by count and bytes,
// puts bodies that are too large for a message into an object store first, and keeps the one rule of writing: after any
// error that is not a definite refusal it reads the cursor again and never resends blindly.
//
// Raw is the collectors' Writer, Normalized is the normalizer's Committer. Both stand on a Log. Neither ever gives up
// while the stream is full or can't be reached: they wait, and say so through Hooks. Neither skips an event: what can't
// be written as it is (a body, a set of headers, a canonical event that is too large) is kept in an object that the
// message names, and what can't be written at all stops the writer with event.Invalid.
package publisher

import (
	"context"

	"stackstream/event"
)

// Log appends atomic batches to one stream and reads its cursors.
type Log interface {
	// Append stores the batch, all or nothing, durable when it returns, and returns the stream sequence of the
	// cursor; the message before it has the sequence one less, and so on. Errors have a kind: Fenced (with Last where
	// the server told it), Full, TooLarge, Unavailable and Invalid are definite, nothing was stored; Unknown, and any
	// error without a kind, is not.
	Append(ctx context.Context, b event.Batch) (event.StreamSeq, error)
	// ReadCursor returns the last message on a cursor's subject; ok is false if there is none. It waits until it sees
	// the stream at atLeast or later: a replica that lags is asked again. Regressed: the stream ends before atLeast.
	ReadCursor(ctx context.Context, subject string, atLeast event.StreamSeq) (m event.Stored, ok bool, err error)
}

// Bodies stores bodies that are too large for a message.
type Bodies interface {
	// PutBody stores body under ref.Object and is done when it is durable. Storing the same body again is no error.
	PutBody(ctx context.Context, ref event.BodyRef, body []byte) error
}
