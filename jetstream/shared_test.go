package jetstream_test

import (
	"testing"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
)

// sharedBatch is a batch of n events of a source with a record that both sources replace.
func sharedBatch(s event.Source, first, n int, expect, shared event.StreamSeq) event.Batch {
	b := rawBatch(s, first, n, expect)
	b.Shared = event.Message{Subject: event.SharedSubject(prov), Body: []byte(`{"by":"` + string(s) + `"}`)}
	b.SharedExpect = shared
	return b
}

// Of two sources that replace one record, the one that did not see the other's is refused, whole, also with a single event; a fence
// holds beside it.
func TestSharedRecord(t *testing.T) {
	for name, client := range map[string]func(*testing.T) *jetstream.Client{
		"one server": func(t *testing.T) *jetstream.Client { return jetstreamtest.Server(t).Client(t) },
		"a cluster":  func(t *testing.T) *jetstream.Client { return jetstreamtest.Cluster(t).Client(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := client(t)
			log := c.Raw()
			fence := event.Batch{ID: "choice", Cursor: event.Message{Subject: event.ChoiceSubject(prov), Body: []byte(`{}`)}}
			choice := mustAppend(t, log, fence)
			first := sharedBatch("webhook", 1, 3, 0, 0)
			first.Fence = event.Fence{Subject: event.ChoiceSubject(prov), Sequence: choice}
			at := mustAppend(t, log, first)
			shared, ok, err := log.ReadCursor(t.Context(), event.SharedSubject(prov), 0)
			if err != nil || !ok || shared.Sequence != at-1 {
				t.Fatalf("the shared record is at %d (%v), before the cursor at %d", shared.Sequence, err, at)
			}
			for _, n := range []int{1, 3} {
				late := sharedBatch("webhook-2", 1, n, 0, 0)
				late.Fence = first.Fence
				if _, err := log.Append(t.Context(), late); event.KindOf(err) != event.Fenced {
					t.Fatalf("%d events of a source that knows nothing of the other: %v", n, err)
				}
			}
			if _, ok, err := log.ReadCursor(t.Context(), event.RawCursorSubject(prov, "webhook-2"), 0); ok || err != nil {
				t.Fatalf("something of a refused batch is stored (%v)", err)
			}
			seen := sharedBatch("webhook-2", 1, 1, 0, shared.Sequence)
			seen.Fence = first.Fence
			next := mustAppend(t, log, seen)
			moved := sharedBatch("webhook", 4, 1, at, next-1)
			moved.Fence = event.Fence{Subject: event.ChoiceSubject(prov), Sequence: choice + 1}
			if _, err := log.Append(t.Context(), moved); event.KindOf(err) != event.Fenced {
				t.Fatalf("the fence does not hold: %v", err)
			}
			moved.Fence = first.Fence
			mustAppend(t, log, moved)
			if marks, err := c.Watermarks(t.Context(), prov); err != nil || len(marks) != 2 {
				t.Errorf("the watermarks are %v (%v)", marks, err)
			}
		})
	}
}
