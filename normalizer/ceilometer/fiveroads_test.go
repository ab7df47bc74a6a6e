package ceilometer

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
	"stackstream/internal/notification"
	"stackstream/internal/openstack/standin"
	"stackstream/internal/rawjson"
	"stackstream/normalizer/normalizertest"
	"stackstream/normalizer/oslo"
)

// notified are the recorded notifications that the agent was seen to post, too, by their identity.
func notified(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, name := range []string{"keystone_cadf", "oslo_matrix", "glance", "nova"} {
		data, err := os.ReadFile("../oslo/testdata/recorded/" + name + ".jsonl")
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(data) {
			var r struct{ Body string }
			if err := json.Unmarshal(line, &r); err != nil {
				t.Fatal(err)
			}
			found[string(new(notification.Reader).Read([]byte(r.Body)).ID)] = r.Body
		}
	}
	return found
}

// fields are the fields of a canonical event.
type fields map[string]json.RawMessage

// travel is the canonical event of one notification on each road: what a service sent, and what the agent posted of it.
func travel(t *testing.T, sent string, posted []byte, of func(event.Raw) fields) map[string]fields {
	t.Helper()
	signed := strings.TrimSuffix(strings.TrimSpace(string(posted)), "}") + `, "message_signature": "ab"}`
	around, err := json.Marshal(`{"message_id": "another", "publisher_id": "telemetry.publisher.h1", "event_type": "event", ` +
		`"priority": "SAMPLE", "payload": [` + signed + `], "timestamp": "2026-11-22 05:45:55.000000"}`)
	if err != nil {
		t.Fatal(err)
	}
	topic := `{"oslo.version": "2.0", "oslo.message": ` + string(around) + `}`
	collected := func(body string) event.Raw {
		raws, _, _ := new(notification.Reader).Raws(rawEvent([]byte(body)), []byte(body), func(string) bool { return true })
		if len(raws) != 1 {
			t.Fatalf("%d events in %s", len(raws), body)
		}
		return raws[0]
	}
	out := map[string]fields{}
	for road, raw := range map[string]event.Raw{
		"amqp": collected(sent), "webhook": rawEvent(posted), "panko": rawEvent(asPanko(t, posted)),
		"topic": collected(topic), "amqp1": collected(`{"request": ` + topic + `, "context": {}}`),
	} {
		out[road] = of(raw)
	}
	return out
}

// differ are the names of fields that are not the same.
func differ(a, b fields) []string {
	var names []string
	for name := range maps.Keys(a) {
		if !equalJSON(a[name], b[name]) {
			names = append(names, name)
		}
	}
	for name := range maps.Keys(b) {
		if _, there := a[name]; !there {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func equalJSON(a, b json.RawMessage) bool {
	x, errX := decoded(a)
	y, errY := decoded(b)
	return errX == nil && errY == nil && cmp.Equal(x, y)
}

// decoded is what JSON says, with numbers as they are written: 2^53 and 2^53 + 1 are two.
func decoded(text []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

func TestEqualJSON(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{`{"a": 1, "b": [null]}`, `{"b":[null],"a":1}`, true}, {`9007199254740992`, `9007199254740993`, false}, {`1.50`, `1.5`, false},
		{`"1"`, `1`, false}, {`1`, ``, false}, {``, ``, false},
	} {
		if equalJSON([]byte(c.a), []byte(c.b)) != c.want {
			t.Errorf("%s and %s are the same: %v", c.a, c.b, !c.want)
		}
	}
}

// inherent are the fields in which the page for operators says that the agent's event differs from that of the notification itself:
// with store_raw, and without.
func inherent(t *testing.T) (raw, bare map[string]bool) {
	t.Helper()
	page, err := os.ReadFile("../../docs/ceilometer-roads.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n## What differs in the canonical events\n")
	raw, bare = map[string]bool{}, map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|[^|]*\\| ([^|]*) \\| ([^|]*) \\|$").FindAllStringSubmatch(table, -1) {
		raw[row[1]], bare[row[1]] = row[2] != "the same", row[3] != "the same"
	}
	return raw, bare
}

// without is what the agent posts without store_raw.
func without(t *testing.T, posted []byte) []byte {
	t.Helper()
	v, _, err := rawjson.ParseMended(posted)
	if err != nil {
		t.Fatal(err)
	}
	members, _ := v.Members()
	before, after, _ := bytes.Cut(v, members.Get("raw"))
	return slices.Concat(before, []byte("{}"), after)
}

// A number has every digit on every road.
func TestLargeNumbersOnAllRoads(t *testing.T) {
	const digits = "9007199254740993" // which a float can't have
	sent := `{"message_id": "m", "event_type": "x.y", "publisher_id": "p", "payload": {"size": ` + digits + `}, "timestamp": "2026-11-22 05:45:55"}`
	posted := `{"message_id": "m", "event_type": "x.y", "generated": "2026-11-22T05:45:55", "traits": [["size", 2, ` + digits + `]], "raw": {}}`
	events := travel(t, sent, []byte(posted), eventOf(t))
	for road, e := range events {
		if payload, err := decoded(e["payload"]); err != nil || !cmp.Equal(payload, any(map[string]any{"size": json.Number(digits)})) {
			t.Errorf("%s: %s", road, e["payload"])
		}
	}
	if len(events) != 5 {
		t.Errorf("%d roads", len(events))
	}
}

// eventOf returns what makes the canonical event of a raw event.
func eventOf(t *testing.T) func(event.Raw) fields {
	rules, schema := normalizertest.Rules(t), normalizertest.NewSchema(t)
	return func(raw event.Raw) fields {
		t.Helper()
		convert := New(rules).Convert
		if raw.Format == oslo.Format {
			convert = oslo.New(rules).Convert
		}
		converted, err := convert(raw)
		if err != nil || len(converted.Events) != 1 {
			t.Fatalf("%d events, %v", len(converted.Events), err)
		}
		one := fields{}
		if err := json.Unmarshal(schema.Encode(t, "x", converted.Events)[0], &one); err != nil {
			t.Fatal(err)
		}
		return one
	}
}

// What the real Panko handed out of notifications that were recorded as well differs from them in what the page says, and in nothing
// else.
func TestRecordedByPanko(t *testing.T) {
	sent, of, compared := notified(t), eventOf(t), 0
	may, _ := inherent(t)
	for _, e := range standin.RecordedEvents() {
		body, there := sent[e.ID]
		if !there {
			continue
		}
		compared++
		notification := rawEvent([]byte(body))
		notification.Format = oslo.Format
		itself, asked := of(notification), of(rawEvent(e.Body))
		for _, name := range differ(itself, asked) {
			if !may[name] {
				t.Errorf("%s: %s is %s in the notification, and %s from Panko", e.ID, name, itself[name], asked[name])
			}
		}
	}
	if compared < 2 {
		t.Errorf("%d notifications were recorded on both roads", compared)
	}
}

// One notification makes the same event on all five roads, field by field, but for what the page for operators says.
func TestOneNotificationOnFiveRoads(t *testing.T) {
	paths, err := filepath.Glob("testdata/publisher/*/raw.json")
	if err != nil {
		t.Fatal(err)
	}
	sent, of, compared := notified(t), eventOf(t), 0
	mayRaw, mayBare := inherent(t)
	seenRaw, seenBare := map[string]bool{}, map[string]bool{}
	for _, path := range paths {
		posted, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		body, there := sent[string(new(notification.Reader).Read(posted).ID)]
		if !there {
			continue
		}
		compared++
		for _, way := range []struct {
			name   string
			posted []byte
			may    map[string]bool
			seen   map[string]bool
		}{{"with store_raw", posted, mayRaw, seenRaw}, {"without store_raw", without(t, posted), mayBare, seenBare}} {
			events := travel(t, body, way.posted, of)
			for _, road := range []string{"panko", "topic", "amqp1"} {
				if names := differ(events["webhook"], events[road]); names != nil {
					t.Errorf("%s %s: %v are not on the road %s what they are on the webhook", path, way.name, names, road)
				}
			}
			for _, name := range differ(events["amqp"], events["webhook"]) {
				way.seen[name] = true
				if !way.may[name] {
					t.Errorf("%s %s: %s is %s in the notification, and %s from the agent",
						path, way.name, name, events["amqp"][name], events["webhook"][name])
				}
			}
		}
	}
	if compared < 10 {
		t.Errorf("only %d notifications were recorded on both roads", compared)
	}
	for name := range mayRaw {
		if mayRaw[name] != seenRaw[name] || mayBare[name] != seenBare[name] {
			t.Errorf("%s differs with store_raw: %v, without: %v; the page says %v and %v",
				name, seenRaw[name], seenBare[name], mayRaw[name], mayBare[name])
		}
	}
}
