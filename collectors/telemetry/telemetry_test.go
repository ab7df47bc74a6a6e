package telemetry

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stackstream/collectors/httppoll"
	"stackstream/internal/openstack/standin"
	"stackstream/internal/records"
)

// element is one event of a page.
type element struct {
	body []byte
	httppoll.Reading
}

// decodePage takes an answer apart as the engine does.
func decodePage(body []byte) ([]element, error) {
	page, err := records.Decoder{Form: records.JSON, Strict: true}.Decode(body)
	var out []element
	for _, record := range page.Records {
		out = append(out, element{record, Read(record)})
	}
	return out, err
}

func TestDecodesTheRecordedPages(t *testing.T) {
	pages := 0
	for _, x := range standin.Recorded() {
		isJSON := x.Response.Header["Content-Type"] == "application/json"
		if x.Request.Path != "/v2/events" || x.Response.Status != 200 || !isJSON {
			continue
		}
		t.Run(x.Name, func(t *testing.T) {
			elements, err := decodePage([]byte(x.Response.Body))
			if err != nil {
				t.Fatalf("decode: %v", err)
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
				if !bytes.Equal(e.body, want[i]) || e.ID != known.ID || !e.Time.Equal(known.Generated) || e.Type != known.Type || e.Odd != nil {
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
		id         string
		at         time.Time
		eventType  string
		odd        []string
	}{
		{"plain", `{"message_id":"a","event_type":"x","generated":"2026-01-02T03:04:05.123456"}`, "a", at, "x", nil},
		{"NaN and Infinity", `{"message_id":"a","raw":{"v":NaN,"w":[-Infinity,Infinity,-1]},"event_type":"x","generated":"2026-01-02T03:04:05.123456"}`,
			"a", at, "x", nil},
		{"their names in a text", `{"message_id":"NaN \" Infinity","v":NaN,"generated":"2026-01-02T03:04:05.123456"}`,
			`NaN " Infinity`, at, "", nil},
		{"brackets in a text", `{"message_id":"}]\\","generated":"2026-01-02T03:04:05.123456"}`, `}]\`, at, "", nil},
		{"no message_id", `{"generated":"2026-01-02T03:04:05.123456"}`, "", at, "", []string{"no-id"}},
		{"message_id is a number", `{"message_id":7.50,"generated":"2026-01-02T03:04:05.123456"}`, "7.50", at, "", nil},
		{"message_id is a list", `{"message_id":[7],"generated":"2026-01-02T03:04:05.123456"}`, "", at, "", []string{"no-id"}},
		{"message_id is no UTF-8", "{\"message_id\":\"a\xff\",\"generated\":\"2026-01-02T03:04:05.123456\"}", "a\xff", at, "", []string{"not-utf8"}},
		{"no generated", `{"message_id":"a"}`, "a", time.Time{}, "", []string{"no-time"}},
		{"generated is garbage", `{"message_id":"a","generated":"yesterday"}`, "a", time.Time{}, "", []string{"no-time"}},
		{"generated is null", `{"message_id":"a","generated":null}`, "a", time.Time{}, "", []string{"no-time"}},
		{"no JSON at all", `{message_id: a}`, "", time.Time{}, "", []string{"not-json", "no-id", "no-time"}},
		{"fields of the same name further down", `{"raw":{"message_id":"b"},"message_id":"a","generated":"2026-01-02T03:04:05.123456"}`,
			"a", at, "", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			elements, err := decodePage([]byte(" [ " + tc.body + " ]\n"))
			if err != nil || len(elements) != 1 {
				t.Fatalf("%d elements, %v", len(elements), err)
			}
			e := elements[0]
			if e.ID != tc.id || !e.Time.Equal(tc.at) || e.Type != tc.eventType {
				t.Errorf("decoded as %+v", e)
			}
			if string(e.body) != tc.body {
				t.Errorf("body is %s, want %s", e.body, tc.body)
			}
			if !slices.Equal(e.Odd, tc.odd) {
				t.Errorf("counted %v, want %v", e.Odd, tc.odd)
			}
		})
	}
}

func TestRefusesWhatIsNoPage(t *testing.T) {
	for _, tc := range []struct{ name, body, want string }{
		{"null", "null", "it is no list"},
		{"nothing", "", "it is empty"},
		{"an object", `{"error": {"code": 500}}`, `it is no list but begins with "{\"error\": {\"code\": 5"`},
		{"HTML", "<html><body>login</body></html>", `the answer is no JSON but begins with "<html><body>login</b"`},
		{"a list of texts", `["a"]`, `record 0 is no object but begins with "\"a\""`},
		{"a list with null", `[{}, null]`, `record 1 is no object but begins with "null"`},
		{"a comma too many", `[{},]`, `where a value should be stands "]"`},
		{"no comma", `[{} {}]`, `behind a value comes "{}]"`},
		{"something behind", `[{}] []`, `behind its end comes "[]"`},
		{"cut in an element", `[{"a": "b`, "cut off"},
		{"cut after an element", `[{}`, "cut off"},
		{"cut after a comma", `[{},`, "cut off"},
		{"cut at the beginning", `[`, "cut off"},
		{"cut in an escape", `[{"a\`, "cut off"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := decodePage([]byte(tc.body))
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
		elements, err := decodePage(body)
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
			got = append(got, e.body)
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

func TestStart(t *testing.T) {
	for text, want := range map[string]Start{
		"beginning": {}, "now": StartNow(), "2026-01-02T15:04:05Z": StartAt(time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)),
		"2026-01-02T16:04:05+01:00": StartAt(time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)),
	} {
		var s Start
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%q was read as %+v, %v", text, s, err)
		}
		back, err := s.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var again Start
		if err := again.UnmarshalText(back); err != nil || again != s {
			t.Errorf("%q was written as %q and read as %+v", text, back, again)
		}
	}
	var s Start
	if err := s.UnmarshalText([]byte("yesterday")); err == nil {
		t.Error("yesterday was taken for a time")
	}
}
