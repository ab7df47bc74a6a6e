package notification

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"stackstream/event"
)

// eventOf is an event as Ceilometer's agent writes it.
func eventOf(id string) string {
	return `{"message_id": "` + id + `", "event_type": "image.delete", "generated": "2026-11-22T06:26:46.006319", ` +
		`"traits": [["service", 1, "h1"], ["size", 2, 5]], "raw": {}}`
}

// listOf is the notification of a list of events.
func listOf(events ...string) string {
	return `{"message_id": "envelope", "event_type": "event", "priority": "SAMPLE", "payload": [` + strings.Join(events, ", ") +
		`], "timestamp": "2026-11-22 06:26:46.006319"}`
}

// travels are the forms in which a notification travels.
var travels = map[string]func(string) string{
	"version 1":            func(s string) string { return s },
	"version 2":            wrap,
	"version 2, an object": func(s string) string { return `{"oslo.message": ` + s + `, "oslo.version": 2}` },
	"over AMQP 1.0":        func(s string) string { return `{"request": ` + wrap(s) + `, "context": {}}` },
	"with space":           func(s string) string { return "\n " + wrap(" "+s+" ") + "\r\n" },
	"with a mark":          func(s string) string { return "\xef\xbb\xbf" + s },
}

// joined undoes Events: what stands before the list and behind it is the same in all of them.
func joined(events []Event, empty string) string {
	at := strings.Index(empty, "[]") + 1
	parts := make([]string, len(events))
	for i, e := range events {
		parts[i] = strings.TrimSuffix(strings.TrimPrefix(string(e.Body), empty[:at]), empty[at:])
	}
	return empty[:at] + strings.Join(parts, ",") + empty[at:]
}

func TestEvents(t *testing.T) {
	for name, travel := range travels {
		for n := 1; n <= 3; n++ {
			var ids []string
			var list []string
			for i := range n {
				ids = append(ids, fmt.Sprintf("id-%d", i))
				list = append(list, eventOf(ids[i]))
			}
			body := travel(listOf(list...))
			got := new(Reader).Events([]byte(body))
			if len(got) != n {
				t.Fatalf("%s: %d events of %d", name, len(got), n)
			}
			for i, e := range got {
				if string(e.ID) != ids[i] || e.Type != "image.delete" || e.Time.IsZero() || !e.Readable || e.Number != i+1 || e.Of != n {
					t.Errorf("%s: event %d is %+v", name, i, e)
				}
				if want := travel(listOf(strings.Repeat(" ", min(i, 1)) + list[i])); string(e.Body) != want {
					t.Errorf("%s: the body of event %d is\n%s\nwant\n%s", name, i, e.Body, want)
				}
				if n := new(Reader).Read(e.Body); n.ID != "envelope" || !n.Readable {
					t.Errorf("%s: the body of event %d is no notification: %+v", name, i, n)
				}
			}
			if again := joined(got, travel(listOf())); again != body {
				t.Errorf("%s: joined they are\n%s\nwant\n%s", name, again, body)
			}
		}
	}
}

func TestWhatIsNoneOfCeilometers(t *testing.T) {
	for name, body := range map[string]string{
		"nothing":                    ``,
		"the word alone":             `traits`,
		"no notification":            `[` + eventOf("a") + `]`,
		"an event by itself":         eventOf("a"),
		"a payload that is an event": strings.NewReplacer("[{", "{", "}], \"time", "}, \"time").Replace(listOf(`{"traits": 1, "event_type": "x"}`)),
		"a list of something else":   listOf(`{"traits": []}`, `1`),
		"an empty list":              listOf() + " ",
		"another version":            strings.Replace(wrap(listOf(eventOf("a"))), "2.0", "3.0", 1),
		"cut off":                    wrap(listOf(eventOf("a")))[:300],
	} {
		if got := new(Reader).Events([]byte(body)); got != nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// What is in the list and no event is taken out all the same, and told from the others.
func TestWhatIsNoEventInTheList(t *testing.T) {
	got := new(Reader).Events([]byte(wrap(listOf(`null`, eventOf("a"), `{"message_id": 7}`, `"é \u00e9 😀 \ud83d\ude00 \ud800"`, `{"x": NaN}`, eventOf("z")))))
	var ids []event.ID
	for _, e := range got {
		ids = append(ids, e.ID)
	}
	if diff := cmp.Diff([]event.ID{"", "a", "7", "", "", "z"}, ids); diff != "" {
		t.Error(diff)
	}
}

// Who sends a long notification with very many events in it does not fill the memory by that.
func TestNothingGrowsWithoutEnd(t *testing.T) {
	many := strings.Repeat("{},", 20_000) + eventOf("a")
	body := strings.Replace(listOf(many), `"priority"`, `"x": "`+strings.Repeat("y", 1000)+`", "priority"`, 1)
	got := new(Reader).Events([]byte(body))
	if len(got) != 1 || string(got[0].Body) != body || got[0].ID != "envelope" {
		t.Errorf("%d events", len(got))
	}
}

// The list stays as it is where its commas can't be told from the bytes.
func TestCommasThatAreNone(t *testing.T) {
	body := strings.Replace(wrap(listOf(eventOf("a"), eventOf("b"))), `}, {`, `}\u002c {`, 1)
	if got := new(Reader).Events([]byte(body)); len(got) != 1 || string(got[0].Body) != body {
		t.Errorf("%d events", len(got))
	}
}

func TestRecordedEvents(t *testing.T) {
	file, err := os.Open("testdata/stf.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	n := 0
	for lines := bufio.NewScanner(file); lines.Scan(); n++ {
		var r struct{ Body string }
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		got := new(Reader).Events([]byte(r.Body))
		if len(got) != 1 || string(got[0].Body) != r.Body || got[0].Type != "compute.instance.create.end" || got[0].ID == "" {
			t.Errorf("%+v", got)
		}
	}
	if n < 6 {
		t.Errorf("only %d recordings", n)
	}
}

// No byte is lost, whatever stands in the events and however it is written.
func TestEventsLoseNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var list []string
		for i := range rapid.IntRange(1, 5).Draw(rt, "events") {
			text, err := json.Marshal(rapid.String().Draw(rt, "text"))
			if err != nil {
				rt.Fatal(err)
			}
			list = append(list, strings.Replace(eventOf(fmt.Sprint(i)), `"raw": {}`, `"raw": `+string(text), 1))
		}
		name := rapid.SampledFrom([]string{"version 1", "version 2", "version 2, an object", "over AMQP 1.0", "with space"}).Draw(rt, "form")
		body := travels[name](listOf(list...))
		got := new(Reader).Events([]byte(body))
		if len(got) != len(list) {
			rt.Fatalf("%d events of %d in %s", len(got), len(list), body)
		}
		for i, e := range got {
			if string(e.ID) != fmt.Sprint(i) {
				rt.Fatalf("event %d has the id %q", i, e.ID)
			}
		}
		if again := joined(got, travels[name](listOf())); again != body {
			rt.Fatalf("joined they are\n%s\nwant\n%s", again, body)
		}
	})
}

func FuzzEvents(f *testing.F) {
	for _, travel := range travels {
		f.Add([]byte(travel(listOf(eventOf("a"), eventOf("b")))))
	}
	f.Add([]byte(wrap(listOf(eventOf(`\ud83d\ude00`), `NaN`, `"traits"`))))
	f.Add([]byte(`{"event_type":"e","payload":[{"traits":0,"event_type":0} ,0]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		kept := bytes.Clone(body)
		got := new(Reader).Events(body)
		if !bytes.Equal(kept, body) {
			t.Fatal("the body was changed")
		}
		whole := new(Reader).Read(body)
		if _, list := findList(body); list && whole.Readable && bytes.Contains(body, []byte("traits")) && got == nil {
			t.Fatalf("%q is not taken apart", body)
		}
		size := 0
		for i, e := range got {
			if e.Number != i+1 || e.Of != len(got) {
				t.Fatalf("%+v is number %d of %d", e, i, len(got))
			}
			if n := new(Reader).Read(e.Body); n != whole {
				t.Fatalf("%q becomes %q, which is %+v and not %+v", body, e.Body, n, whole)
			}
			size += len(e.Body)
		}
		if size > len(body)+maxGrowth {
			t.Fatalf("%d bytes became %d", len(body), size)
		}
	})
}
