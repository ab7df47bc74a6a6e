package show

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"stackstream/event"
	"stackstream/internal/check"
)

func TestPrinter(t *testing.T) {
	var out bytes.Buffer
	p := NewPrinter(&out, false)
	for _, text := range []string{
		`{"message_id":"1","event_type":"compute.instance.create.end","timestamp":"2015-05-12T07:24:39.462895Z",` +
			`"provider":"demo","targets":[{"kind":"instance","id":"i-1"},{"kind":"host","id":"h"}],"message":"Success"}`,
		`{"message_id":"2","event_type":"volume.delete.start","timestamp":"2015-05-12T07:24:40Z","provider":"prod"}`,
		`{"message_id":"3","event_type":"bad\u001b[31m","timestamp":"2015-05-12T07:24:41Z","provider":"prod","message":"a\nb"}`,
	} {
		var e event.Event
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			t.Fatal(err)
		}
		if err := p.Event(&e); err != nil {
			t.Fatal(err)
		}
	}
	want := "" +
		"2015-05-12T07:24:39.462895Z  demo  compute.instance.create.end         instance=i-1 host=h Success\n" +
		"2015-05-12T07:24:40Z         prod  volume.delete.start\n" +
		"2015-05-12T07:24:41Z         prod  bad\\u001b[31m                       a b\n"
	if out.String() != want {
		t.Errorf("printed:\n%s\nwant:\n%s", out.String(), want)
	}
}

func TestPrinterColours(t *testing.T) {
	var out bytes.Buffer
	if err := NewPrinter(&out, true).Event(&event.Event{EventType: "x", Provider: "demo", Level: "critical"}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(out.Bytes(), []byte(red+"x")) || !bytes.Contains(out.Bytes(), []byte(reset)) {
		t.Errorf("a critical event is not red: %q", out.String())
	}
}

func TestWatermarks(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var out bytes.Buffer
	err := Watermarks(&out, []event.Watermark{
		{Provider: "prod", Source: "panko", Collected: 120, Normalized: 100, LagEvents: 20, Lag: 1500 * time.Millisecond,
			NormalizedTime: now.Add(-90 * time.Second), Owner: "host-1"},
		{Provider: "prod", Source: "amqp-nova", Collected: 7, Normalized: 7, NormalizedTime: now.Add(-48 * time.Hour),
			Owner: "host-1", Retired: true},
		{Provider: "stage-2", Source: "panko"},
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	want := "" +
		"PROVIDER  SOURCE     COLLECTED  NORMALIZED  LAG      COMPLETE UP TO        BEHIND NOW  WRITTEN BY\n" +
		"prod      panko      120        100         20 (2s)  2026-01-02T03:02:35Z  1m30s       host-1\n" +
		"prod      amqp-nova  7          7           0        2025-12-31T03:04:05Z  retired     host-1\n" +
		"stage-2   panko      0          0           0        -                     -\n"
	if out.String() != want {
		t.Errorf("printed:\n%s\nwant:\n%s", out.String(), want)
	}
}

func TestWatermarksOfNothing(t *testing.T) {
	var out bytes.Buffer
	if err := Watermarks(&out, nil, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if want := "No source has collected anything yet.\n"; out.String() != want {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
}

func TestFindings(t *testing.T) {
	var out bytes.Buffer
	err := Findings(&out, check.Findings{
		{Severity: check.OK, Subject: "nats", Message: "connected"},
		{Severity: check.Failed, Subject: "provider prod, source panko", Message: "connection refused", Hint: "see auth.url"},
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	want := "" +
		"CHECKED                      RESULT  WHAT WAS FOUND\n" +
		"nats                         ok      connected\n" +
		"provider prod, source panko  failed  connection refused (see auth.url)\n"
	if out.String() != want {
		t.Errorf("printed:\n%s\nwant:\n%s", out.String(), want)
	}
}
