// Package replay has the tests that convert raw events once more with the real program, as a process of its own: killed in the
// middle, with a great many events, and beside a pipeline that goes on.
package replay
