// Package replay converts raw events once more: as a job that writes what it makes (Job), or only to see in what that would
// differ from what is there (Compare). Neither touches what subscribers read.
//
// A job has a range of RAW to deal with, which is fixed when it is made, and a record behind what it has written, in the same
// atomic batch. So it may be killed at any moment and goes on exactly behind, and of two processes that work on it one is
// fenced. What RAW has dropped before the job came to it stops the job; nothing is skipped without an operator's word.
//
// A dead letter that was converted again is in RAW twice: as the raw event that it was made of, and as the repair of the
// letter. Where the raw event itself is within the range it is converted there, and the repair is passed over.
//
// The package does not know what a stream is: what it needs of one stands in the interfaces below.
package replay

import (
	"context"

	"stackstream/event"
)

// Committer makes durable what a job has made. It is fenced: only one writer gets through.
type Committer interface {
	// Open reads the job's record; exists is false if there is none. It must be called first and after every error.
	Open(ctx context.Context) (record event.Replay, exists bool, err error)
	// Write replaces the record, and fences whoever worked behind the one before.
	Write(ctx context.Context, record event.Replay) (event.Replay, error)
	// Commit stores the events and dead letters of the outcomes, in order and once, with the record behind them, and returns that.
	// It moves Position, RawSeq and the counts of events and dead letters itself; for what else there is in the record it
	// calls advance once for each batch, with the outcomes that are in it, in their order. It keeps trying while the stream is
	// full or can't be reached. Its errors are event.Fenced, event.Invalid, and ctx's.
	Commit(
		ctx context.Context, outcomes []event.Outcome, advance func(record *event.Replay, outcomes []event.Outcome),
	) (event.Replay, error)
}

// Range is a part of a stream, read in order.
type Range interface {
	// Next returns the next message, and io.EOF behind the last one. After another error it may be called again, and goes on
	// behind the last message.
	Next(ctx context.Context) (event.Stored, error)
	// Reopen makes Next look again for what comes behind a stream sequence.
	Reopen(last event.StreamSeq)
	Close()
}
