package e2e

import "testing"

// The ledger itself is tested with planted faults: a check that can't fail proves nothing.
func TestLedgerFindsPlantedFaults(t *testing.T) {
	a, b, c := entry{id: "a", seq: 1}, entry{id: "b", seq: 2}, entry{id: "c", seq: 3}
	want := map[string]bool{"a": true, "b": true, "c": true}
	tests := []struct {
		name  string
		err   error
		fails bool
	}{
		{"all there", checkOnce(want, []entry{a, b, c}), false},
		{"lost", checkOnce(want, []entry{a, c}), true},
		{"twice", checkOnce(want, []entry{a, b, b, c}), true},
		{"invented", checkOnce(want, []entry{a, b, c, {id: "x"}}), true},
		{"contiguous", checkContiguous([]entry{a, b, c}), false},
		{"hole in the numbers", checkContiguous([]entry{a, c}), true},
		{"same order", checkSameOrder([]entry{a, b, c}, []entry{a, c}), false},
		{"swapped", checkSameOrder([]entry{a, b, c}, []entry{b, a}), true},
		{"repeated", checkSameOrder([]entry{a, b, c}, []entry{a, a}), true},
		{"not committed", checkSameOrder([]entry{a}, []entry{b}), true},
		{"not JSON", checkCanonical([]entry{{id: "a", body: []byte("{")}}), true},
		{"other id", checkCanonical([]entry{{id: "a", body: []byte(
			`{"message_id":"b","event_type":"t","timestamp":"2026-01-01T00:00:00Z","payload":{}}`)}}), true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if (test.err != nil) != test.fails {
				t.Errorf("found %v, wanted a fault: %v", test.err, test.fails)
			}
		})
	}
}
