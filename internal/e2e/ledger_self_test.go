package e2e

import (
	"testing"
	"time"
)

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

func TestArrivalsAndClaimsFindPlantedFaults(t *testing.T) {
	at := func(second int) time.Time { return time.Unix(int64(second), 0) }
	in := func(window int, resent bool, id string, confirmed int) published {
		return published{notice: notice{id: id}, exchange: "nova", window: window, resent: resent, confirmed: at(confirmed)}
	}
	sent := []published{in(0, false, "a", 1), in(0, false, "b", 1), in(1, true, "c", 3), in(1, true, "d", 3), in(2, false, "e", 5)}
	got := func(ids ...string) (all []entry) {
		for _, id := range ids {
			all = append(all, entry{id: id})
		}
		return all
	}
	inOrder := got("a", "b", "c", "d", "e")
	tests := []struct {
		name  string
		err   error
		fails bool
	}{
		{"in order", checkArrival(sent, inOrder), false},
		{"sent twice, in another order", checkArrival(sent, got("a", "b", "d", "c", "e")), false},
		{"swapped in a window", checkArrival(sent, got("b", "a", "c", "d", "e")), true},
		{"swapped between windows", checkArrival(sent, got("a", "c", "b", "d", "e")), true},
		{"overtakes what was sent twice", checkArrival(sent, got("a", "b", "c", "e", "d")), true},
		{"a true watermark", checkClaims(sent, inOrder, []claim{{at(2), 2}, {at(4), 4}, {at(9), 5}}), false},
		{"a cautious watermark", checkClaims(sent, inOrder, []claim{{at(1), 5}}), false},
		{"a watermark that is too early", checkClaims(sent, inOrder, []claim{{at(4), 3}}), true},
		{"a watermark over what is missing", checkClaims(sent, got("a", "b", "c", "d"), []claim{{at(6), 4}}), true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if (test.err != nil) != test.fails {
				t.Errorf("found %v, wanted a fault: %v", test.err, test.fails)
			}
		})
	}
}
