package show

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/replay"
)

func TestProgress(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		var out bytes.Buffer
		p := NewProgress(&out, "job fix", terminal, func() time.Time { return now })
		p.Begin(1000, 11_000)
		for i := range uint64(10) {
			now = now.Add(500 * time.Millisecond)
			p.Update(1000+(i+1)*1000, "3 dead")
		}
		p.Wait("full\x1b[2J")
		p.Wait("full\x1b[2J")
		p.Wait("")
		p.Wait("")
		p.End()
		want := "job fix: 11,000 raw events, 10,000 of them to do\n" +
			"job fix: 27 %, 3,000 of 11,000, 2,000/s, 4s left, 3 dead\n" +
			"job fix: 45 %, 5,000 of 11,000, 2,000/s, 3s left, 3 dead\n" +
			"job fix: 63 %, 7,000 of 11,000, 2,000/s, 2s left, 3 dead\n" +
			"job fix: 81 %, 9,000 of 11,000, 2,000/s, 1s left, 3 dead\n" +
			"job fix: 100 %, 11,000 of 11,000, 2,000/s, 3 dead\n"
		if terminal {
			want = "\r[####--------------------]  18 %  2,000 of 11,000, 2,000/s, 4s left, 3 dead\x1b[K"
			if !strings.HasPrefix(out.String(), want) || strings.Count(out.String(), "\r") != 10 {
				t.Errorf("the bar is %q", out.String())
			}
			want = out.String()[:strings.Index(out.String(), "\n")+1]
		}
		want += "job fix: waits: full\\u001b[2J\njob fix: goes on\n"
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("terminal %v (-want +got):\n%s", terminal, diff)
		}
	}
	var out bytes.Buffer
	p := NewProgress(&out, "diff", true, time.Now)
	p.Begin(0, 0)
	p.Update(0, "")
	if !strings.Contains(out.String(), "100 %  0 of 0") {
		t.Errorf("nothing to do is %q", out.String())
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", 100000: "100,000"} {
		if got := Count(n); got != want {
			t.Errorf("%d is %s", n, got)
		}
	}
}

func TestReplays(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	made := event.Replay{
		Provider: "prod", From: 5, To: 90, Since: "2h", Until: "1h", Types: []string{"compute.*"}, Rate: 1500, State: event.ReplayPaused,
		Halted:     &event.Pause{By: "ada", Why: "lunch", At: now.Add(-time.Minute)},
		Converters: map[string]string{"oslo": "oslo/1", "ceilometer": "ceilometer/1"},
		MadeBy:     "host/1", MadeAt: now.Add(-time.Hour), Owner: "host/2\x1b", WrittenAt: now.Add(-2 * time.Minute),
		Sources: map[event.Source]event.ReplaySource{"panko": {First: 1, Last: 2000}},
		Counts:  event.ReplayCounts{Raw: 1000, Events: 900, Dead: 2, Filtered: 90, Skipped: 8, Lost: 5},
	}
	job := jetstream.ReplayJob{Name: "fix", Replay: made, HeldEvents: 800, HeldDead: 1}
	killed := job
	killed.State, killed.Halted = event.ReplayRunning, nil
	var out bytes.Buffer
	if err := Replays(&out, []jetstream.ReplayJob{job, killed}, now); err != nil {
		t.Fatal(err)
	}
	if err := Replay(&out, &job, now); err != nil {
		t.Fatal(err)
	}
	want := `JOB  PROVIDER  STATE             DONE            EVENTS  DEAD  MADE                  WRITTEN   BY
fix  prod      paused            1,005 of 2,000  900     2     2026-01-02T02:04:05Z  2m0s ago  host/2\u001b
fix  prod      no sign for 2m0s  1,005 of 2,000  900     2     2026-01-02T02:04:05Z  2m0s ago  host/2\u001b
job           fix
state         paused
provider      prod
range         EVENTS_RAW 5 to 90 (--since 2h --until 1h)
              since 2026-01-02T03:03:05Z by ada: lunch
types         compute.*
rate          1,500/s at most
converters    ceilometer/1 oslo/1
made          2026-01-02T02:04:05Z by host/1
last written  2026-01-02T03:02:05Z by host/2\u001b
raw events    1,005 of 2,000
events        900, of which 800 are still kept
dead letters  2, of which 1 are still kept
other types   90 left out
repairs       8 passed over: their raw events are converted in their own place, or stay dead
lost          5 raw events that RAW had dropped, which was accepted
Read it:
  stackstream tail --replay fix
  nats stream view EVENTS_REPLAY --subject 'events.replay.fix.prod'
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("printed (-want +got):\n%s", diff)
	}
}

func TestDifferences(t *testing.T) {
	var out bytes.Buffer
	change := func(path, before, after string) replay.Change {
		return replay.Change{Path: path, Old: json.RawMessage(before), New: json.RawMessage(after)}
	}
	many := replay.Difference{Kind: replay.Changed, EventType: "b", ID: "2", Source: "panko", RawNumber: 2, RawSeq: 3, Of: 2}
	for range 25 {
		many.Changes = append(many.Changes, change("x", "1", "2"))
	}
	for _, d := range []replay.Difference{
		{
			Kind: replay.Changed, EventType: "a\x1b[2J", ID: "1", Source: "panko", RawNumber: 1, RawSeq: 1,
			Changes: []replay.Change{change("message", `"old"`, `"`+strings.Repeat("n", 200)+`"`), {Path: "group", New: json.RawMessage(`"g"`)}},
		},
		{Kind: replay.Revived, EventType: "c", ID: "3", Source: "amqp", RawNumber: 9, RawSeq: 12, Reason: "malformed", Detail: "no\ntype", New: json.RawMessage(`{"a":1}`)},
		{Kind: replay.Died, EventType: "d", ID: "4", Source: "amqp", RawNumber: 10, RawSeq: 13, Reason: "panic", Detail: "oh", Old: json.RawMessage(`{"a":1}`)},
		many,
	} {
		if err := Difference(&out, &d, false); err != nil {
			t.Fatal(err)
		}
	}
	want := `a\u001b[2J  1  (panko 1, raw sequence 1)
  message: "old" → "` + strings.Repeat("n", 88) + `…
  group: (nothing) → "g"
c  3  (amqp 9, raw sequence 12)
  - dead letter: malformed: no type
  + {"a":1}
d  4  (amqp 10, raw sequence 13)
  - {"a":1}
  + dead letter: panic: oh
b  2  (panko 2, raw sequence 3, event 2 of it)
` + strings.Repeat("  x: 1 → 2\n", 20) + "  … and 5 values more\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("printed (-want +got):\n%s", diff)
	}

	out.Reset()
	if err := Tally(&out, &replay.Tally{
		Raw: 12345, Same: 12000, Changed: 300, Revived: 40, Redriven: 3, Died: 0, Missing: 5,
		Fields: map[string]uint64{"message": 300, "a": 2, "b": 2}, Types: map[string]uint64{"t": 300}, OtherTypes: 7,
	}); err != nil {
		t.Fatal(err)
	}
	want = `12,345  raw events compared
12,000  would stay as they are
   300  would change
    40  are dead letters and would be events (3 dead letters of the range were converted again since)
     0  are events and would be dead letters
     5  have expired in EVENTS_NORMALIZED, so that there is nothing to compare with

CHANGED FIELD  EVENTS
message        300
a              2
b              2

CHANGED TYPE  EVENTS
t             300
(others)      7
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("printed (-want +got):\n%s", diff)
	}
}
