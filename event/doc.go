// Package event is the vocabulary of stackstream: what a provider, a source, a raw event, a canonical event, a cursor
// and a message are, what they are called on the wire, and which kinds of error the other packages tell apart.
//
// It has types and names and no mechanism: it talks to nothing, starts nothing and imports the standard library only.
// Every other package may import it; it imports none of them.
//
// # Formats
//
// Processes of two versions work on the same streams while one replaces the other, in either direction. So what stands
// in the streams has a format, a number: of a record (RawCursor, NormalizedCursor, Choice, Replay) in its member "format",
// of a message in the header Evt-Message-Format. No number means 1. A source's own Cursor has a number of its own, likewise,
// which is that source's business.
//
// A reader refuses a number that it does not know, and reads and writes nothing behind it: a writer that can't read a
// cursor has nothing to replace, and one that was at work when it changed is fenced. A writer puts the lowest number that
// what it writes needs, and none for 1, so that the version before can go on as long as nothing new was used.
//
// The number is raised when a reader that does not know the change would do something wrong: a member or header that
// must not be passed over, another meaning, something that is gone. It is not raised for a member or a header that may be
// absent at any time and then means what was meant before there was one. Who adds such a one has to expect that it is
// gone again: a version that does not know it writes the record without it. Nothing is carried along unread, because a
// value that somebody kept who moved the rest of the record would be worse than none.
//
// Format 2: a record may have a Pause, a RawCursor may have Former names, and a raw event may be a Repair. A record or a message
// that has none of them is written with format 1.
package event
