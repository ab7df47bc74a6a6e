// Package subscribe reads the canonical events of stackstream in a Go program: in order, each once, with proof that none
// is missing.
//
// A Subscriber reads through a durable consumer of the stream EVENTS_NORMALIZED. What it promises:
//
//   - Events come in the order of the stream, one at a time, and each once as long as the process lives; lost
//     acknowledgements, redeliveries, reconnections, restarted servers and a deleted consumer make no difference.
//   - Across a crash each event comes at least once: the ones whose handling was not acknowledged come again, first and
//     in order. If the program stores Event.Sequence together with the effect of handling the event, and hands it back
//     as Options.After, each event takes effect exactly once. Where a process may be stopped for a while and replaced, it
//     must store both only if the sequence that is stored is still less: the one that wakes up again is in the middle
//     of an event, and finds out too late.
//   - Every event and dead letter of a provider has a contiguous number. Where one is missing, because the stream has
//     dropped or lost it, the Subscriber says so: through Options.OnGap, or else by stopping with a *GapError.
//   - One process reads through a durable at a time. A second one is refused with ErrTaken.
//
// What it does not promise: numbers of earlier processes are not known, so that a message that an operator deletes from
// the middle of the stream between two processes goes unnoticed; what the stream dropped at its beginning is noticed.
//
// Tail reads without a durable, for people who look.
//
// Programs that need none of this subscribe to events.normalized.* with any NATS client.
package subscribe
