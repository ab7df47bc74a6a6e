package event_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
)

func TestNewWatermark(t *testing.T) {
	at := func(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }
	raw := event.RawCursor{
		Position: 10, Received: at(8), Progress: event.Progress{Watermark: at(9)}, WrittenAt: at(10), Owner: "host-1",
	}
	rewound := raw
	rewound.Watermark, rewound.Rewound = at(4), &event.Rewound{Position: 10, To: at(4)}
	reread := rewound
	reread.Position, reread.Received, reread.Watermark = 12, at(19), at(20)
	tests := []struct {
		name string
		raw  event.RawCursor
		norm event.SourcePosition
		want event.Watermark
	}{
		{"nothing collected", event.RawCursor{}, event.SourcePosition{}, event.Watermark{}},
		{
			"nothing normalized", raw, event.SourcePosition{},
			event.Watermark{Collected: 10, CollectedTime: at(9), LagEvents: 10},
		},
		{
			"behind", raw, event.SourcePosition{Position: 7, Received: at(3), Watermark: at(2)},
			event.Watermark{
				Collected: 10, Normalized: 7, CollectedTime: at(9), NormalizedTime: at(2), LagEvents: 3, Lag: 5 * time.Second,
			},
		},
		{
			"behind, and the clock went back", raw, event.SourcePosition{Position: 9, Received: at(11), Watermark: at(2)},
			event.Watermark{Collected: 10, Normalized: 9, CollectedTime: at(9), NormalizedTime: at(2), LagEvents: 1},
		},
		{
			"up to date, so that an empty poll moves both times", raw,
			event.SourcePosition{Position: 10, Received: at(8), Watermark: at(2)},
			event.Watermark{Collected: 10, Normalized: 10, CollectedTime: at(9), NormalizedTime: at(9)},
		},
		{
			"the two cursors were not read at the same moment", raw,
			event.SourcePosition{Position: 12, Received: at(15), Watermark: at(14)},
			event.Watermark{Collected: 10, Normalized: 12, CollectedTime: at(9), NormalizedTime: at(9)},
		},
		{
			"rewound, and nothing was read again", rewound, event.SourcePosition{Position: 10, Received: at(8), Watermark: at(9)},
			event.Watermark{Collected: 10, Normalized: 10, CollectedTime: at(4), NormalizedTime: at(4)},
		},
		{
			"rewound before all was normalized", rewound, event.SourcePosition{Position: 9, Received: at(7), Watermark: at(9)},
			event.Watermark{
				Collected: 10, Normalized: 9, CollectedTime: at(4), NormalizedTime: at(4), LagEvents: 1, Lag: time.Second,
			},
		},
		{
			"rewound, and read again further than before", reread, event.SourcePosition{Position: 10, Received: at(8), Watermark: at(9)},
			event.Watermark{
				Collected: 12, Normalized: 10, CollectedTime: at(20), NormalizedTime: at(4), LagEvents: 2, Lag: 11 * time.Second,
			},
		},
		{
			"and some of that is normalized", reread, event.SourcePosition{Position: 11, Received: at(18), Watermark: at(6)},
			event.Watermark{
				Collected: 12, Normalized: 11, CollectedTime: at(20), NormalizedTime: at(6), LagEvents: 1, Lag: time.Second,
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.Provider, tt.want.Source = "cloud", "panko"
			tt.want.WrittenAt, tt.want.Owner = tt.raw.WrittenAt, tt.raw.Owner
			got := event.NewWatermark("cloud", "panko", tt.raw, tt.norm)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("watermark (-want +got):\n%s", diff)
			}
		})
	}
}

// The records are what one version of a process leaves for the next.
func TestRecords(t *testing.T) {
	raw := event.RawCursor{
		Progress: event.Progress{
			Cursor: json.RawMessage(`{"since":"x"}`), Watermark: noon, Newest: noon, Floor: noon, DedupeFrom: 4,
		},
		Position: 5, Received: noon, Batch: "b", Owner: "host-1", WrittenAt: noon,
	}
	const at = `"2026-11-22T12:00:00.123456789Z"`
	want := strings.ReplaceAll(`{"cursor":{"since":"x"},"watermark":T,"newest":T,"floor":T,"dedupe_from":4,`+
		`"position":5,"received":T,"batch":"b","owner":"host-1","written_at":T}`, "T", at)
	checkRecord(t, raw, want)
	checkRecord(t, event.NormalizedCursor{
		RawSeq: 9, RawCreated: noon, Position: 5, Batch: "b", WrittenAt: noon,
		Sources: map[event.Source]event.SourcePosition{"panko": {Position: 3, Received: noon}},
	}, strings.ReplaceAll(`{"raw_seq":9,"raw_created":T,"position":5,"sources":{"panko":{"position":3,"received":T}},`+
		`"batch":"b","written_at":T}`, "T", at))
	checkRecord(t, event.Choice{Kind: "panko", Why: "first that answers", At: noon},
		strings.ReplaceAll(`{"kind":"panko","why":"first that answers","at":T}`, "T", at))
}

func checkRecord[T any](t *testing.T, record T, want string) {
	t.Helper()
	body, err := json.Marshal(record)
	if err != nil || string(body) != want {
		t.Errorf("record %s, %v; want %s", body, err, want)
	}
	var back T
	if err := event.DecodeRecord(event.Stored{Message: event.Message{Body: body}}, &back); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(record, back); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}

func TestDecodeRecordNamesTheSubject(t *testing.T) {
	var c event.RawCursor
	m := event.Stored{Message: event.Message{Subject: "events.cursor.raw.cloud.panko", Body: []byte(`{"position":-1}`)}}
	err := event.DecodeRecord(m, &c)
	if event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), m.Subject) {
		t.Errorf("got %v", err)
	}
}
