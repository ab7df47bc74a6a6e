// Package event is the vocabulary of stackstream: what a provider, a source, a raw event, a canonical event, a cursor
// and a message are, what they are called on the wire, and which kinds of error the other packages tell apart.
//
// It has types and names and no mechanism: it talks to nothing, starts nothing and imports the standard library only.
// Every other package may import it; it imports none of them.
package event
