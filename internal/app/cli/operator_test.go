package cli

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"stackstream/event"
)

// A command that others are always faster than says so once, with a way out, and what else it waits for each time that changes.
func TestCommandsThatWait(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	o := operator{p: Program{Stderr: &said}, name: "prod"}
	waiting := o.options(o.pausing()).Hooks.Waiting
	for range manyMisses - 1 {
		waiting(&event.Error{Kind: event.Fenced})
	}
	if said.Len() > 0 {
		t.Errorf("it said %s", said.String())
	}
	for range 3 * manyMisses {
		waiting(&event.Error{Kind: event.Fenced})
	}
	const want = "waiting: somebody writes for prod without pause, and has been first 10 times; still trying; while collecting is paused " +
		"it is done at once: stackstream pause --provider prod --collectors --why TEXT\n"
	if said.String() != want {
		t.Errorf("it said %s", said.String())
	}
	said.Reset()
	for range 2 {
		waiting(&event.Error{Kind: event.Full, Err: errors.New("maximum bytes exceeded")})
	}
	if got := said.String(); strings.Count(got, "waiting: full: maximum bytes exceeded\n") != 1 {
		t.Errorf("it said %s", got)
	}
}
