// Package normalizer turns raw events into canonical ones.
//
// Converters are pure functions, one package each below this one. The service here runs them: per provider, in the
// order of RAW, committing what became of the raw events together with the cursor behind them. What can't be converted
// becomes a dead letter in the same batch, whole, with the reason; nothing is skipped.
//
// The package does not know what a stream is: what it needs of one stands in the interfaces below.
package normalizer

import (
	"context"

	"stackstream/event"
)

// Converter makes canonical events of a raw event. It is a pure function: the same raw event always gives the same
// events. An error says that the raw event is not what its format says.
type Converter interface {
	// Name and version, "ceilometer/1": it changes with the output.
	Name() string
	// Convert makes at least one event, or an error. It may be called by several goroutines at once. It must not change
	// the raw event; what it returns may share memory with it.
	Convert(raw event.Raw) (Converted, error)
}

// Converted is what a converter made of one raw event.
type Converted struct {
	// Events, in order: usually one. The service fills in Provider and Source.
	Events []event.Event
	// Redacted is how many fields had their value redacted.
	Redacted int
	// Mended is how many values were no JSON (NaN, Infinity, bytes that are no UTF-8) and became strings or part of one.
	Mended int
	// Trace is the trace context that the body has, if it has one. One that came beside the body, with the message, counts more.
	Trace event.Trace
}

// Committer makes outcomes durable. It is fenced: only one writer of a provider gets through.
type Committer interface {
	// Open reads where the provider stands. It must be called first and after every Fenced.
	Open(ctx context.Context) (event.NormalizedCursor, error)
	// Commit stores the events and dead letters of the outcomes, in order and once, together with the cursor behind
	// them. raw is the stream they come from. RawSeq moves to the last outcome's; the position of a source moves to the
	// highest Raw.Seq among its outcomes that have events or a dead letter. An outcome with neither was dealt with
	// before, and one with Raw.Seq 0 has no number: for both only RawSeq moves. A raw event whose events can't be
	// written (a payload that is not JSON) becomes a dead letter, too.
	//
	// It keeps trying while the stream is full or can't be reached, and settles by itself what became of a write whose
	// outcome was not known. It returns the new cursor. The errors it returns: event.Fenced (another writer has
	// written: drop everything and Open), event.Invalid, and ctx's.
	Commit(ctx context.Context, outcomes []event.Outcome, raw event.RawStream) (event.NormalizedCursor, error)
}

// Feed reads RAW for one provider.
type Feed interface {
	// Open places the provider's durable consumer behind the cursor. It refuses with event.Regressed when RAW holds
	// less than the cursor says was there, and with event.Expired when RAW has already dropped raw events behind the
	// cursor that were not normalized; the error says which.
	Open(ctx context.Context, p event.Provider, from event.NormalizedCursor) (Reader, error)
}

// Reader hands over raw events in stream order. Ack may be called while Next waits; otherwise it is used by one
// goroutine at a time.
type Reader interface {
	// Stream identifies what is read.
	Stream() event.RawStream
	// Next waits for the next raw events and returns those that are there, at most max and at most maxBytes of bodies
	// (but at least one). An error ends the Reader.
	Next(ctx context.Context, max, maxBytes int) ([]event.Stored, error)
	// Ack tells the server that everything up to seq is dealt with, so that operators see the lag. The cursor is the
	// truth; an error here loses nothing.
	Ack(ctx context.Context, seq event.StreamSeq) error
	Close()
}

// Bodies reads bodies that were too large for a message.
type Bodies interface {
	// GetBody returns the object's content, checked against its name. A missing object is event.Expired.
	GetBody(ctx context.Context, ref event.BodyRef) ([]byte, error)
}

// Lease keeps other instances from doing the same work. Correctness rests on the fenced Committer.
type Lease interface {
	Hold(ctx context.Context, key string, holding func(held bool, by string), work func(ctx context.Context) error) error
}
