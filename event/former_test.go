package event_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
)

// Former names are remembered for as long as events under them are, and a version that does not know them must not go on.
func TestFormerNames(t *testing.T) {
	names := []event.Former{{Provider: "a", Until: 10}, {Provider: "b", Until: 20}}
	for from, want := range map[event.StreamSeq][]event.Former{0: names, 9: names, 10: names[1:], 19: names[1:], 20: nil, 99: nil} {
		if diff := cmp.Diff(want, event.StillFormer(names, from)); diff != "" {
			t.Errorf("from %d on (-want +got):\n%s", from, diff)
		}
	}
	body, err := json.Marshal(event.RawCursor{Former: names})
	if err != nil || !strings.HasPrefix(string(body), `{"format":2,`) {
		t.Errorf("written as %s, %v", body, err)
	}
	var back event.RawCursor
	if err := event.DecodeRecord(event.Stored{Message: event.Message{Body: body}}, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(names, back.Former); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	if body, _ := json.Marshal(event.RawCursor{}); strings.Contains(string(body), "form") {
		t.Errorf("without names it is %s", body)
	}
}
