package jetstream

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"stackstream/event"
)

func TestServersThatDifferShowByTheirCursors(t *testing.T) {
	const raw, s, other = event.StreamRaw, "events.cursor.raw.p.s", "events.cursor.raw.p.t"
	var all sightings
	now := time.Now()
	want := func(after time.Duration, want ...Differing) {
		t.Helper()
		got := all.differing(now.Add(after))
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Differing{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("they differ (-want +got):\n%s", diff)
		}
	}
	all.see(raw, s, "a", 10, now)
	all.see(raw, s, "a", 10, now) // read again
	all.see(raw, other, "a", 9, now)
	all.see(raw, s, "b", 20, now)
	all.see(raw, s, "a", 10, now) // a server that lags
	all.see(raw, s, "", 5, now)   // written by itself
	all.see(raw, s, "", 6, now)
	want(0)
	all.see(raw, s, "b", 13, now)
	want(0, Differing{Stream: raw, Subject: s, Sequences: [2]event.StreamSeq{20, 13}})
	want(differsFor, Differing{Stream: raw, Subject: s, Sequences: [2]event.StreamSeq{20, 13}})
	want(differsFor + 1)
	all.see(raw, s, "b", 13, now)
	want(0)

	for i := range 2 * seenBatches {
		all.see(raw, s, fmt.Sprint(i), event.StreamSeq(100+i), now)
	}
	if n := len(all.batches[s]); n != seenBatches {
		t.Errorf("%d batches are remembered, want %d", n, seenBatches)
	}
}
