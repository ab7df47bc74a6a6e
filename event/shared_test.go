package event_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"stackstream/event"
)

// However many batches there were, the record has the last of them, enough, and tells what came behind one that it has.
func TestShared(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var record event.Shared
		var all []event.SharedBlock
		for i := range rapid.SampledFrom([]int{1, 5, 12, 66}).Draw(t, "batches") {
			b := event.SharedBlock{Batch: fmt.Sprint("b", i)}
			for j := range rapid.SampledFrom([]int{1, 1, 1, 2, 200}).Draw(t, "events") {
				b.Events = append(b.Events, event.ID(fmt.Sprint(i, "-", j)).Identity())
			}
			all = append(all, b)
			body, err := json.Marshal(record.With(b))
			if err != nil {
				t.Fatal(err)
			}
			if record = (event.Shared{}); json.Unmarshal(body, &record) != nil {
				t.Fatalf("can't be read: %s", body)
			}
			first := len(all) - len(record.Blocks)
			if first < 0 || !reflect.DeepEqual(all[first:], record.Blocks) {
				t.Fatalf("the record differs from the last of %d batches: %s", len(all), body)
			}
			n := 0
			for _, b := range record.Blocks {
				n += len(b.Events)
			}
			if first > 0 && n < 512 && len(record.Blocks) < 65 || n > 512+200+200 || len(record.Blocks) > 65 {
				t.Fatalf("%d of %d batches are left with %d events", len(record.Blocks), len(all), n)
			}
			for at := range all {
				since := record.Since(all[at].Batch)
				if at < first {
					if since != nil {
						t.Fatalf("batch %d is gone, and behind it are %d", at, len(since))
					}
				} else if since == nil || len(since) != len(all)-1-at {
					t.Fatalf("behind batch %d of %d are %d", at, len(all), len(since))
				}
			}
			if record.Batch() != b.Batch {
				t.Fatalf("it was written by %q", record.Batch())
			}
		}
	})
}

func TestIdentitiesCutOff(t *testing.T) {
	for _, text := range []string{`"AAAA"`, `"?"`, `3`} {
		if err := json.Unmarshal([]byte(text), new(event.Identities)); err == nil {
			t.Errorf("%s is read", text)
		}
	}
}
