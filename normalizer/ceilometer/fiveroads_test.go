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
func travel(t *testing.T, sent string, posted []byte) map[string]fields {
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
	rules, schema := normalizertest.Rules(t), normalizertest.NewSchema(t)
	out := map[string]fields{}
	for road, raw := range map[string]event.Raw{
		"amqp": collected(sent), "webhook": rawEvent(posted), "panko": rawEvent(asPanko(t, posted)),
		"topic": collected(topic), "amqp1": collected(`{"request": ` + topic + `, "context": {}}`),
	} {
		convert := New(rules).Convert
		if raw.Format == oslo.Format {
			convert = oslo.New(rules).Convert
		}
		converted, err := convert(raw)
		if err != nil || len(converted.Events) != 1 {
			t.Fatalf("%s: %d events, %v", road, len(converted.Events), err)
		}
		one := fields{}
		if err := json.Unmarshal(schema.Encode(t, "x", converted.Events)[0], &one); err != nil {
			t.Fatal(err)
		}
		out[road] = one
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
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	return cmp.Equal(x, y)
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

// One notification makes the same event on all five roads, field by field, but for what the page for operators says.
func TestOneNotificationOnFiveRoads(t *testing.T) {
	paths, err := filepath.Glob("testdata/publisher/*/raw.json")
	if err != nil {
		t.Fatal(err)
	}
	sent, compared := notified(t), 0
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
			events := travel(t, body, way.posted)
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
