package notification

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"stackstream/event"
	"stackstream/internal/rawjson"
	"stackstream/normalizer/normalizertest"
	"stackstream/normalizer/oslo"
)

// recording is one line of the recorded notifications.
type recording struct {
	Exchange   string `json:"exchange"`
	RoutingKey string `json:"routing_key"`
	Body       string `json:"body"`
}

func recordings(tb testing.TB) []recording {
	tb.Helper()
	text, err := os.ReadFile("testdata/notifications.jsonl")
	if err != nil {
		tb.Fatal(err)
	}
	var all []recording
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		var r recording
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			tb.Fatal(err)
		}
		all = append(all, r)
	}
	if len(all) < 20 {
		tb.Fatalf("only %d recordings", len(all))
	}
	return all
}

// wrap puts a notification into an envelope of version 2 as oslo.messaging does.
func wrap(notification string) string {
	quoted, err := json.Marshal(notification)
	if err != nil {
		panic(err)
	}
	return `{"oslo.version": "2.0", "oslo.message": ` + string(quoted) + `}`
}

func TestRead(t *testing.T) {
	at := time.Date(2026, 11, 22, 5, 42, 9, 830894000, time.UTC)
	bare := `{"message_id": "m-1", "event_type": "a.b", "timestamp": "2026-11-22 05:42:09.830894", "payload": {"message_id": "no"}}`
	converter := oslo.New(normalizertest.Rules(t))
	whole := Notice{ID: "m-1", Type: "a.b", Time: at, Readable: true}
	for _, tc := range []struct {
		name, body string
		want       Notice
	}{
		{"version 1", bare, whole},
		{"version 2", wrap(bare), whole},
		{"version 2 as an object", `{"oslo.message": ` + bare + `, "oslo.version": "2.1"}`, whole},
		{"version 2 without its version", `{"oslo.message": ` + bare + `}`, whole},
		{"version as a number", `{"oslo.version": 2.0, "oslo.message": ` + bare + `}`, whole},
		{"version 3", strings.Replace(wrap(bare), "2.0", "3.0", 1), Notice{}},
		{"version without a message", `{"oslo.version": "2.0", "message_id": "m", "event_type": "a"}`, Notice{}},
		{"message is null", `{"oslo.message": null, "message_id": "m", "event_type": "a"}`, Notice{}},
		{"message is empty", `{"oslo.message": "", "message_id": "m", "event_type": "a"}`, Notice{}},
		{"message is no JSON", wrap(`{"message_id": "m",`), Notice{}},
		{"message is no object", wrap(`"null"`), Notice{}},
		{"envelope in an envelope", wrap(wrap(bare)), Notice{}},
		{"over AMQP 1.0", `{"request": ` + wrap(bare) + `, "context": {}}`, whole},
		{"over AMQP 1.0, version 1", `{"context": {}, "request": ` + bare + `}`, whole},
		{"a request in a notification", strings.Replace(bare, `"payload"`, `"request": {"event_type": "no"}, "payload"`, 1), whole},
		{"a request in a request", `{"request": {"request": ` + bare + `}}`, Notice{}},
		{"a request that is no object", `{"request": "x", "message_id": "m"}`, Notice{ID: "m"}},
		{"space around", " \r\n\t" + bare + "\n", whole},
		{"byte order mark", "\xef\xbb\xbf" + bare, whole},
		{"byte order mark inside", wrap("\ufeff" + bare), whole},
		{"words of Python", wrap(strings.Replace(bare, `"no"`, `NaN, "x": [Infinity, -Infinity]`, 1)), whole},
		{"payload that is no UTF-8", strings.Replace(bare, "no", "\xff\xfe", 1), whole},
		{"id that is no UTF-8", strings.Replace(bare, "m-1", "m\xff\xfe1", 1),
			Notice{Vague: true, Type: "a.b", Time: at, Readable: true}},
		{"id with U+FFFD in it", strings.Replace(bare, "m-1", "m\uFFFD\\ufffd1", 1),
			Notice{ID: "m\uFFFD\uFFFD1", Type: "a.b", Time: at, Readable: true}},
		{"members twice", `{"message_id": "x", "event_type": "x.y", ` + bare[1:], whole},
		{"envelope twice", `{"oslo.message": "{}", "oslo.message": ` + bare + `}`, whole},
		{"names with escapes", strings.Replace(bare, `"message_id": "m`, `"message\u005fid": "m`, 1), whole},
		{"values with escapes", strings.Replace(wrap(bare), "m-1", `\\u006d\u002d1`, 1), whole},
		{"half of a surrogate pair", strings.Replace(bare, "m-1", `m\ud83d`, 1),
			Notice{Vague: true, Type: "a.b", Time: at, Readable: true}},
		{"half of a surrogate pair in the envelope", strings.Replace(wrap(bare), "m-1", `m\ud83d`, 1),
			Notice{Vague: true, Type: "a.b", Time: at, Readable: true}},
		{"surrogate pair in the envelope", strings.Replace(wrap(bare), "m-1", `m\ud83d\ude00`, 1),
			Notice{ID: "m😀", Type: "a.b", Time: at, Readable: true}},
		{"id as a number", strings.Replace(bare, `"m-1"`, `-1.50e3`, 1),
			Notice{ID: "-1.50e3", Type: "a.b", Time: at, Readable: true}},
		{"id of another kind", strings.Replace(bare, `"m-1"`, `["m"]`, 1), Notice{Type: "a.b", Time: at, Readable: true}},
		{"no id", `{"event_type": "a.b"}`, Notice{Type: "a.b", Readable: true}},
		{"event type of another kind", `{"message_id": "m", "event_type": 7}`, Notice{ID: "m"}},
		{"CADF's time", strings.Replace(bare, "2026-11-22 05:42:09.830894", "2026-11-22T06:42:09.830894+0100", 1), whole},
		{"time in no known form", strings.Replace(bare, "2026-11-22 ", "yesterday ", 1),
			Notice{ID: "m-1", Type: "a.b", Readable: true}},
		{"time is null", `{"message_id": "m", "event_type": "a", "timestamp": null}`, Notice{ID: "m", Type: "a", Readable: true}},
		{"empty object", `{}`, Notice{}},
		{"no object", `[{"message_id": "m"}]`, Notice{}},
		{"nothing", ``, Notice{}},
		{"no JSON", `hello`, Notice{}},
		{"more behind it", bare + `{}`, Notice{}},
		{"cut off", bare[:len(bare)-1], Notice{}},
		{"nested too deep", `{"event_type": "a", "payload": ` + strings.Repeat("[", 256) + strings.Repeat("]", 256) + `}`, Notice{}},
		{"nested as deep as allowed", `{"event_type": "a", "payload": ` + strings.Repeat("[", 255) + strings.Repeat("]", 255) + `}`,
			Notice{Type: "a", Readable: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := new(Reader).Read([]byte(tc.body)); got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
			agrees(t, converter, []byte(tc.body))
		})
	}
}

// What services really send takes the shorter way, but for the words that only Python writes.
func TestReadRecordings(t *testing.T) {
	for _, r := range recordings(t) {
		want := decodeNotice(t, strings.ReplaceAll(r.Body, ": Infinity", ": null"))
		if want.ID == "" || want.Type == "" || want.Time.IsZero() {
			t.Fatalf("a recording without id, type or time: %+v", want)
		}
		if got := new(Reader).Read([]byte(r.Body)); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

// decodeNotice reads valid JSON with the standard library.
func decodeNotice(tb testing.TB, body string) Notice {
	tb.Helper()
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(body), &members); err != nil {
		tb.Fatal(err)
	}
	if quoted, ok := members["oslo.message"]; ok {
		var inner string
		if err := json.Unmarshal(quoted, &inner); err != nil {
			tb.Fatal(err)
		}
		return decodeNotice(tb, inner)
	}
	var n Notice
	var id, timestamp string
	for name, to := range map[string]*string{"message_id": &id, "event_type": &n.Type, "timestamp": &timestamp} {
		if err := json.Unmarshal(members[name], to); err != nil {
			tb.Fatalf("%s: %v", name, err)
		}
	}
	ts, err := event.ParseTimestamp(timestamp)
	if err != nil {
		tb.Fatal(err)
	}
	n.ID, n.Time, n.Readable = event.ID(id), ts.Time(), true
	return n
}

// agrees fails the test if a notification that the converter takes has another identity or type for it.
func agrees(t *testing.T, converter *oslo.Converter, body []byte) {
	t.Helper()
	got := new(Reader).Read(body)
	converted, err := converter.Convert(event.Raw{
		ID: cmp.Or(got.ID, "a hash"), Body: body, Format: oslo.Format, Received: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC),
	})
	if err != nil {
		return
	}
	e := converted.Events[0]
	if !got.Readable || got.Type != e.EventType || string(cmp.Or(got.ID, "a hash")) != e.MessageID {
		t.Fatalf("got %+v; the converter reads id %q and type %q", got, e.MessageID, e.EventType)
	}
	if !got.Time.IsZero() && !got.Time.Equal(e.Timestamp.Time()) {
		t.Fatalf("the time is %s; the converter reads %s", got.Time, e.Timestamp)
	}
}

func TestNoticeAgreesWithTheConverter(t *testing.T) {
	converter := oslo.New(normalizertest.Rules(t))
	for _, r := range recordings(t) {
		if _, err := converter.Convert(event.Raw{ID: "a hash", Body: []byte(r.Body), Received: time.Now()}); err != nil {
			t.Errorf("the converter refuses a recording: %v", err)
		}
		agrees(t, converter, []byte(r.Body))
	}
}

// The notice must not keep the body, or its copy, in memory.
func TestNoticeDoesNotShareTheBody(t *testing.T) {
	for _, wrapped := range []bool{false, true} {
		text := `{"message_id": "m-1", "event_type": "a.b"}`
		if wrapped {
			text = wrap(text)
		}
		body := []byte(text)
		n := new(Reader).Read(body)
		clear(body)
		if n.ID != "m-1" || n.Type != "a.b" {
			t.Errorf("wrapped %v: after the body was overwritten it is %+v", wrapped, n)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, r := range recordings(f)[:4] {
		f.Add([]byte(r.Body))
	}
	bare := `{"message_id":"m","event_type":"a.b","timestamp":"2026-11-22 05:42:09.830894","payload":[1.5e3,"\u00e9\"",null,true,{}]}`
	for _, seed := range []string{
		bare, wrap(bare), wrap(wrap(bare)), `{"oslo.message":` + bare + `,"oslo.version":2}`, "\xef\xbb\xbf" + bare,
		wrap(`{"message_id": 1, "event_type": "a\ud800", "payload": {"n": Infinity, "m": -Infinity}}`),
		`{"oslo.message":"","message\u005fid":"\xff"}`, `{"oslo.message":"\ud83d\ude00"}`, `[{}]`, `{"event_type":"a","x":[[[[]]]]} `,
	} {
		f.Add([]byte(seed))
	}
	converter := oslo.New(normalizertest.Rules(f))
	f.Fuzz(func(t *testing.T, body []byte) {
		agrees(t, converter, body)
		got := new(Reader).Read(body)
		if got.Readable != (got.Type != "") || got.Time.Location() != time.UTC {
			t.Fatalf("%+v contradicts itself", got)
		}
		compareWithStandard(t, body, got)
	})
}

// compareWithStandard reads a notification without an envelope with the standard library, if that can.
func compareWithStandard(t *testing.T, body []byte, got Notice) {
	var members map[string]json.RawMessage
	if !utf8.Valid(body) || json.Unmarshal(body, &members) != nil || members == nil {
		return
	}
	if members["oslo.message"] != nil || members["oslo.version"] != nil || members["request"] != nil {
		return
	}
	if _, err := rawjson.Parse(body); err != nil {
		return // nested too deep
	}
	var eventType, id string
	if text := members["event_type"]; len(text) > 0 && text[0] == '"' {
		if err := json.Unmarshal(text, &eventType); err != nil {
			t.Fatal(err)
		}
	}
	if text := members["message_id"]; len(text) > 0 && text[0] == '"' {
		if err := json.Unmarshal(text, &id); err != nil {
			t.Fatal(err)
		}
	} else if len(text) > 0 && (text[0] == '-' || text[0] >= '0' && text[0] <= '9') {
		id = string(text)
	}
	if got.Vague && strings.Contains(id, "\uFFFD") {
		id = ""
	}
	if got.Type != eventType || string(got.ID) != id {
		t.Fatalf("got %+v, encoding/json reads %q and %q", got, id, eventType)
	}
}

func BenchmarkRead(b *testing.B) {
	big := `{"message_id": "m", "event_type": "x.big", "timestamp": "2026-11-22 05:42:09.830894", "payload": {"blob": "` +
		strings.Repeat("x", 64<<10) + `"}}`
	bodies := map[string]string{"64KiB": wrap(big)}
	for _, r := range recordings(b) {
		switch n := new(Reader).Read([]byte(r.Body)); {
		case n.Type == "volume.create.end":
			bodies["volume"] = r.Body
		case n.Type == "instance.create.end" && len(r.Body) > 3000:
			bodies["instance"] = r.Body
		case n.Type == "x.unicode":
			bodies["mended"] = r.Body
		}
	}
	for name, body := range bodies {
		b.Run(name, func(b *testing.B) {
			text, reader := []byte(body), new(Reader)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if !reader.Read(text).Readable {
					b.Fatal("not readable")
				}
			}
		})
	}
}

// BenchmarkRaws makes the raw event of a message: its identity, type and time read, its body as it came.
func BenchmarkRaws(b *testing.B) {
	all := recordings(b)
	messages := make([]event.Raw, len(all))
	size := 0
	for i, r := range all {
		messages[i] = event.Raw{ContentType: "application/json", Body: []byte(r.Body)}
		size += len(r.Body)
	}
	b.SetBytes(int64(size / len(all)))
	b.ReportAllocs()
	reader := new(Reader)
	for i := 0; b.Loop(); i++ {
		m := messages[i%len(messages)]
		if raws, _, _ := reader.Raws(m, m.Body, func(string) bool { return true }); len(raws) == 0 {
			b.Fatal("no event")
		}
	}
}
