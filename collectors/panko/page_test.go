package panko

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
	"stackstream/internal/openstack/standin"
)

func TestDecodesTheRecordedPages(t *testing.T) {
	pages := 0
	for _, x := range standin.Recorded() {
		isJSON := x.Response.Header["Content-Type"] == "application/json"
		if x.Request.Path != "/v2/events" || x.Response.Status != 200 || !isJSON {
			continue
		}
		t.Run(x.Name, func(t *testing.T) {
			elements, odd, err := decodePage([]byte(x.Response.Body), time.Now())
			if err != nil || odd != (oddities{}) {
				t.Fatalf("decode: %v, %+v", err, odd)
			}
			var want []json.RawMessage
			if err := json.Unmarshal([]byte(x.Response.Body), &want); err != nil || len(want) != len(elements) {
				t.Fatalf("%d elements, want %d (%v)", len(elements), len(want), err)
			}
			for i, e := range elements {
				known, err := standin.ParseEvent(want[i])
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(e.raw.Body, want[i]) || string(e.raw.ID) != known.ID || e.raw.Hashed ||
					!e.raw.Time.Equal(known.Generated) || e.eventType != known.Type || e.raw.Format != Format {
					t.Errorf("element %d decoded as %+v", i, e)
				}
			}
			pages++
		})
	}
	if pages < 10 {
		t.Errorf("only %d pages were decoded", pages)
	}
}

func TestDecodesOddElements(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 123456000, time.UTC)
	for _, tc := range []struct {
		name, body string
		id         string // empty: hashed
		at         time.Time
		eventType  string
		odd        oddities
	}{
		{"plain", `{"message_id":"a","event_type":"x","generated":"2026-01-02T03:04:05.123456"}`, "a", at, "x", oddities{}},
		{"NaN and Infinity", `{"message_id":"a","raw":{"v":NaN,"w":[-Infinity,Infinity,-1]},"event_type":"x","generated":"2026-01-02T03:04:05.123456"}`,
			"a", at, "x", oddities{}},
		{"their names in a text", `{"message_id":"NaN \" Infinity","v":NaN,"generated":"2026-01-02T03:04:05.123456"}`,
			`NaN " Infinity`, at, "", oddities{}},
		{"brackets in a text", `{"message_id":"}]\\","generated":"2026-01-02T03:04:05.123456"}`, `}]\`, at, "", oddities{}},
		{"no message_id", `{"generated":"2026-01-02T03:04:05.123456"}`, "", at, "", oddities{noID: 1}},
		{"message_id is no text", `{"message_id":7,"generated":"2026-01-02T03:04:05.123456"}`, "", at, "", oddities{noID: 1}},
		{"no generated", `{"message_id":"a"}`, "a", time.Time{}, "", oddities{noTime: 1}},
		{"generated is garbage", `{"message_id":"a","generated":"yesterday"}`, "a", time.Time{}, "", oddities{noTime: 1}},
		{"generated is null", `{"message_id":"a","generated":null}`, "a", time.Time{}, "", oddities{noTime: 1}},
		{"no JSON at all", `{message_id: a}`, "", time.Time{}, "", oddities{noID: 1, noTime: 1, notJSON: 1}},
		{"fields of the same name further down", `{"raw":{"message_id":"b"},"message_id":"a","generated":"2026-01-02T03:04:05.123456"}`,
			"a", at, "", oddities{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			elements, odd, err := decodePage([]byte(" [ "+tc.body+" ]\n"), time.Now())
			if err != nil || len(elements) != 1 {
				t.Fatalf("%d elements, %v", len(elements), err)
			}
			e := elements[0]
			want := event.ID(tc.id)
			if tc.id == "" {
				want = event.HashID([]byte(tc.body))
			}
			if e.raw.ID != want || e.raw.Hashed != (tc.id == "") || !e.raw.Time.Equal(tc.at) || e.eventType != tc.eventType {
				t.Errorf("decoded as %+v", e)
			}
			if string(e.raw.Body) != tc.body {
				t.Errorf("body is %s, want %s", e.raw.Body, tc.body)
			}
			if odd != tc.odd {
				t.Errorf("counted %+v, want %+v", odd, tc.odd)
			}
		})
	}
}

func TestRefusesWhatIsNoPage(t *testing.T) {
	for _, tc := range []struct{ name, body, want string }{
		{"nothing", "", "the answer is empty"},
		{"an object", `{"error": {"code": 500}}`, `no list of events but begins with "{\"error\": {\"code\": 5"`},
		{"HTML", "<html><body>login</body></html>", `no list of events but begins with "<html><body>login</b"`},
		{"a list of texts", `["a"]`, `element 0 of the list is no event but begins with "\"a\"]"`},
		{"a list with null", `[{}, null]`, `element 1 of the list is no event but begins with "null]"`},
		{"a comma too many", `[{},]`, `element 1 of the list is no event but begins with "]"`},
		{"no comma", `[{} {}]`, `after element 0 of the list comes "{}]"`},
		{"something behind", `[{}] []`, `after the list comes "[]"`},
		{"cut in an element", `[{"a": "b`, "cut off"},
		{"cut after an element", `[{}`, "cut off"},
		{"cut after a comma", `[{},`, "cut off"},
		{"cut at the beginning", `[`, "cut off"},
		{"cut in an escape", `[{"a\`, "cut off"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := decodePage([]byte(tc.body), time.Now())
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want %q", err, tc.want)
			}
		})
	}
}

// FuzzDecodePage: whatever is a list of objects to encoding/json is split in the same way, and nothing panics.
func FuzzDecodePage(f *testing.F) {
	// Whole pages are left out: the fuzzing engine shrinks whatever it makes of a seed before it goes on, for up to a
	// minute each, and does nothing else meanwhile.
	for _, x := range standin.Recorded() {
		if len(x.Response.Body) < 400 {
			f.Add([]byte(x.Response.Body))
		}
	}
	f.Add([]byte(`[{"message_id": "a", "event_type": "b", "generated": "2026-11-22T06:06:06.755824", "traits": [["c", 1]]}]`))
	f.Add([]byte(`[{"message_id":"a","generated":"2026-01-02 03:04:05+00:00","v":NaN}, {}]`))
	f.Add([]byte(`[{"a":"\\\"]}"},{"b":[{}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		elements, _, err := decodePage(body, time.Time{})
		var list []json.RawMessage
		if json.Unmarshal(body, &list) != nil || list == nil {
			return
		}
		for _, raw := range list {
			if raw[0] != '{' {
				if err == nil {
					t.Fatalf("took %q for an event", raw)
				}
				return
			}
		}
		if err != nil {
			t.Fatalf("refused a list of objects: %v", err)
		}
		var got []json.RawMessage
		for _, e := range elements {
			got = append(got, e.raw.Body)
			if e.raw.ID == "" {
				t.Fatal("an event has no identity")
			}
		}
		if diff := cmp.Diff(len(list), len(got)); diff != "" {
			t.Fatal(diff)
		}
		for i := range list {
			if !bytes.Equal(list[i], got[i]) {
				t.Fatalf("element %d is %q, want %q", i, got[i], list[i])
			}
		}
	})
}
