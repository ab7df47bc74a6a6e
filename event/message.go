package event

import "time"

// Message is one message of a stream: Subject as it is stored ("events.…").
type Message struct {
	Subject string
	Header  Header
	Body    []byte
}

// Stored is a message and where a stream holds it.
type Stored struct {
	Message
	Sequence StreamSeq
	Time     time.Time // when the server stored it
}

// Batch is one atomic write to a stream: all of it is stored, contiguous and in order with the cursor last, or none.
type Batch struct {
	// ID names this attempt; the cursor's body carries it, so that who finds the cursor knows whose write it was.
	ID string
	// Messages come before the cursor; there may be none.
	Messages []Message
	// Shared, if its Subject is set, comes between them and the cursor, and replaces the last message on its subject likewise, which
	// has the sequence SharedExpect.
	Shared       Message
	SharedExpect StreamSeq
	// Cursor replaces the last message on its subject.
	Cursor Message
	// Expect is the stream sequence of the message that Cursor replaces, 0 if there is none. If another is there, the
	// batch is refused with Fenced.
	Expect StreamSeq
	// Fence, if its Subject is set, refuses the batch likewise when another subject's last message is not the given
	// one. It needs at least one message before the cursor and is ignored otherwise. The first message may be on that very
	// subject: it replaces the one that is there, as the cursor does on its own.
	Fence Fence
}

// Fence says which message is expected to be the last on a subject.
type Fence struct {
	Subject  string
	Sequence StreamSeq
}

// RawStream identifies one incarnation of the RAW stream.
type RawStream struct {
	Created time.Time
}
