package e2e

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stackstream/event"
	"stackstream/internal/openstack/standin"
)

// What a cloud can hand out besides good events: each comes out either normalized or as a dead letter with its bytes,
// in its place among the others, and the good ones come out whole, however large.
func TestHostileEventsLoseNothing(t *testing.T) {
	t.Parallel()
	const large = 9 << 20 // more than a message takes
	sky := newCloud(t, seed+2)
	at := time.Now().Add(-time.Minute)
	put := func(id, body string) {
		at = at.Add(time.Second)
		sky.put(standin.Event{ID: id, Generated: at, Body: []byte(body)})
	}
	when := func() string { return at.Add(time.Second).UTC().Format("2006-01-02T15:04:05.000000") }
	bad := map[string]string{
		"bad-type":   `{"message_id":"bad-type","event_type":7,"generated":"` + when() + `","traits":[],"raw":{}}`,
		"bad-time":   `{"message_id":"bad-time","event_type":"t","generated":"yesterday","traits":[],"raw":{}}`,
		"bad-traits": `{"message_id":"bad-traits","event_type":"t","generated":"` + when() + `","traits":"none","raw":{}}`,
		"bad-deep": `{"message_id":"bad-deep","event_type":"t","generated":"` + when() + `","traits":[],"raw":{"a":` +
			strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}}`,
	}
	for id, body := range bad {
		put(id, body)
	}
	put("large", `{"message_id":"large","event_type":"t","generated":"`+when()+
		`","traits":[{"name":"text","type":"string","value":"`+strings.Repeat("x", large)+`"}],"raw":{}}`)
	put("odd \"id\" % \u2603", `{"message_id":"odd \"id\" % \u2603","event_type":"t \u2603","generated":"`+when()+
		`","traits":[{"name":"n","type":"integer","value":"123456789012345678901234567890"}],"raw":{}}`)
	for range 20 {
		e := sky.Generate(at.Add(time.Second))
		put(e.ID, string(e.Body))
	}

	addr := freeAddr(t)
	file := sky.configFile(t, "  embedded: {dir: "+filepath.Join(t.TempDir(), "store")+"}")
	running := start(t, "stackstream", "up", "-c", file, "--nats-listen", addr)
	nc := connect(t, "nats://"+addr)
	durable := durableSubscriber(t, nc)
	want := len(sky.handed) - len(bad)
	waitForAll(t, time.Minute, nc, durable, want, running)

	all := dump(t, nc, event.StreamNormalized, "events.normalized.*", "events.dead.*")
	expect(t, "NORMALIZED", checkContiguous(all))
	dead := dump(t, nc, event.StreamDead, "events.dead.*")
	if len(dead) != len(bad) {
		t.Errorf("%d dead letters, want %d", len(dead), len(bad))
	}
	for _, d := range dead {
		if body, ok := bad[d.id]; !ok || !bytes.Equal(d.body, []byte(body)) {
			t.Errorf("dead letter %s does not have the bytes that were handed out", d.id)
		}
	}
	for _, e := range durable.seen() {
		var ev event.Event
		if err := json.Unmarshal(e.body, &ev); err != nil {
			t.Errorf("%s: %v", e.id, err)
			continue
		}
		switch {
		case e.id == "large" && len(ev.Payload) < large:
			t.Errorf("the large event's payload has %d bytes", len(ev.Payload))
		case strings.HasPrefix(e.id, "odd") && !bytes.Contains(ev.Payload, []byte(":123456789012345678901234567890")):
			t.Errorf("the number lost digits: %s", ev.Payload)
		}
		if sky.handed[e.id].IsZero() {
			t.Errorf("%q was never handed out", e.id)
		}
	}
	if code := running.stop(t); code != 0 {
		t.Errorf("up exits with %d on SIGTERM", code)
	}
}
