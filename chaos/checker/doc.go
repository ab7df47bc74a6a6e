// Package checker decides whether the pipeline kept its promise in a run: that the streams hold each event that was
// accepted from a source once and in order, whatever died in between, and that subscribers see committed events only.
//
// It is told what was handed over to the pipeline (Handed), what the streams hold (Raw, Normalized, Dead, Cursor) and what
// subscribers saw (Subscribe), each once and in the order in which it is there, while the run goes on and from any number
// of goroutines. How far one of them is ahead of another makes no difference: what takes two of them to be judged is judged
// by Verdict. Reader reads a stream for it, over whatever happens to servers and connections.
//
// It shares nothing with the pipeline. Subjects, headers and records are read as they are documented, by code of its own,
// so that a mistake there is not made here again. It needs some 140 bytes for each event, whatever the size of bodies.
//
// Bodies and ids that it compares are compared by 32 or 64 bits of their hashes: a fault of one message goes unnoticed
// once in four thousand million times.
package checker
