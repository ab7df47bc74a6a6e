// Package collectors has the contract of an event source and the one loop that runs any source.
//
// A source says whether its service answers, and hands over batches of raw events from a cursor on. Everything else is
// here, once: choosing a source, holding the lease, removing what was seen before, committing events together with the
// cursor behind them, acknowledging upstream after that, backing off, noticing a source that went silent, and stopping
// in good order.
//
// The package does not know what a stream is: what it needs of one stands in the interfaces below.
package collectors

import (
	"context"
	"time"

	"stackstream/event"
)

// Source is one event service of one provider.
type Source interface {
	// Available asks the event service whether it would serve us: nil, or an error that says what is wrong
	// (unreachable, refused credentials, service missing) and which setting to look at. It changes nothing.
	Available(ctx context.Context) error

	// Run hands over batches that come after from, oldest first, until ctx ends (nil) or the source fails. It is not
	// called again before it has returned. An error ends Run; the loop drops what is not durable yet, reads the cursor
	// and calls Run again after a pause. An error with the kind event.Invalid is one that waiting does not mend; it is
	// tried again all the same.
	//
	// A source may hand over an event again, after a restart or within one run: the loop removes it by its identity
	// as long as the source keeps the promise of Batch.Floor.
	//
	// What was handed over before an error is committed all the same, so a batch must not have a cursor that lies
	// beyond an event that was not handed over.
	Run(ctx context.Context, from event.From, emit Emit) error
}

// Rememberer is a Source that has to know how many events are remembered for it, each in some 100 bytes: for how long they are is
// its own doing (Batch.Floor).
type Rememberer interface {
	// Remembers is told when they have been read back, and after each write. It must not block, and may be called by any goroutine,
	// also after Run has returned.
	Remembers(events int)
}

// Emit takes a batch into a queue that is bounded in bytes, and blocks while that is full. It returns an error only
// when the run is over or ctx has ended: nothing of the batch was taken then, and the source returns. It may be called
// by one goroutine at a time. A batch that was taken belongs to the loop.
type Emit func(ctx context.Context, b Batch) error

// Batch is a number of events and what may be said when all of them are durable.
type Batch struct {
	// Events, in order. There may be none: the batch then only says how far the source has read. An event without ID
	// gets the hash of its body for one.
	Events []event.Raw
	// Cursor is where the source would go on after this batch; nil leaves it where it was.
	Cursor event.Cursor
	// Watermark: the source has shown everything up to this time. Zero leaves it where it was.
	Watermark time.Time
	// Floor: no event older than this (by Raw.Time) that RAW holds when this batch is durable will be handed over
	// again, neither after a restart nor with other settings (event.From.Floor brings it back). Zero leaves it where
	// it was. A source that never sets it is remembered by Spec.Repeats alone.
	Floor time.Time
	// Urgent has the cursor written at once, also where there are no events.
	Urgent bool
	// Retired, with a Cursor, says that there is nothing left to read, and that nothing will come.
	Retired bool
	// Filtered is how many events the source left out by its Filter, for counting only: as far as it can tell without
	// those that it left out before.
	Filtered int
	// Done, if set, is called once the batch is durable, in the order of the batches. It must not block. It is not
	// called when the run ends before that.
	Done func()
	// Undone, if set, is called in place of Done when the run has ended before the batch was known to be durable. It may be all
	// the same. It must not block either.
	Undone func()
}

// Spec is what the loop needs to know of a source's ways.
type Spec struct {
	// Repeats is how many of the last events a source may show again whatever their time; they are always remembered.
	Repeats int
	// Quiet is the longest time in which a healthy source hands over nothing, not even an empty batch. A source that
	// stays silent for three times as long is ended and run again. Zero: it is never taken for silent.
	Quiet time.Duration
	// MaxPause bounds the growing pauses between tries (60 s), but for a service that asks for a longer one. A source
	// that loses events while it is away wants short ones.
	MaxPause time.Duration
	// Shared says that the other sources of the kind may be handed the same events at the same time: each event is stored once,
	// whichever of them it comes through, as far back as Floor says. The Writer must be a Sharer.
	Shared bool
}

// Report is how a source tells people about itself while it runs on: nothing (""), something worth knowing, or trouble,
// which makes it count as not ready. Each call replaces what was said before. It may be called at any time, by any
// goroutine.
type Report func(trouble bool, what string)

// Writer makes events durable. It is fenced: only one writer of a provider's source gets through.
type Writer interface {
	// Open reads where the source stands. It must be called first and after every Fenced.
	Open(ctx context.Context) (event.RawCursor, error)
	// Commit stores the events, in order and once, together with the progress behind them; it returns the stream
	// sequence of each event. It keeps trying while the stream is full or can't be reached, and settles by itself
	// what became of a write whose outcome was not known. The errors it returns: event.Fenced (another writer has
	// written: drop everything and Open), event.Invalid, and ctx's.
	Commit(ctx context.Context, events []event.Raw, p event.Progress) ([]event.StreamSeq, error)
}

// Sharer is what a Writer can do for a source that shares its events with others.
type Sharer interface {
	// Share has Commit refuse events with an *event.OvertakenError as long as the other sources that share have stored some that
	// this Writer did not tell of. It is called before Open.
	Share()
	// Look returns the *event.OvertakenError that Commit would return now, or nil.
	Look(ctx context.Context) error
}

// Memory reads back which identities RAW holds.
type Memory interface {
	// Identities calls yield for the raw events of all of the provider's sources from a stream sequence on, in order,
	// 0 meaning from the first that is left. It misses none that was durable when it was called, nor any up to upTo, which
	// the caller knows to be there. A message that is no raw event is passed over.
	Identities(ctx context.Context, p event.Provider, from, upTo event.StreamSeq, yield func(event.Seen)) error
	// Cursors returns the cursor of every source that ever collected for the provider.
	Cursors(ctx context.Context, p event.Provider) (map[event.Source]event.RawCursor, error)
}

// Choices keeps which kind of source collects for a provider.
type Choices interface {
	// ReadChoice returns the zero Choice if none was made.
	ReadChoice(ctx context.Context, p event.Provider) (event.Choice, error)
	// WriteChoice replaces the choice with the sequence c.Sequence; Fenced if another was made meanwhile. It returns
	// the choice with its new sequence.
	WriteChoice(ctx context.Context, p event.Provider, c event.Choice) (event.Choice, error)
}

// Lease keeps others from doing the same work. It saves work and nothing more: correctness rests on the fenced Writer.
type Lease interface {
	// Hold waits for the lease of key, calls work with a context that ends when the lease is lost, and releases the
	// lease after work has returned. It returns work's error, or ctx's. Holding is called with true when the lease is
	// got, and with false and who holds it while it waits.
	Hold(ctx context.Context, key string, holding func(held bool, by string), work func(ctx context.Context) error) error
}
