//go:build chaos

package chaos

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"stackstream/chaos/checker"
	"stackstream/internal/openstack/standin"
)

// notice is a notification and what has to become of it.
type notice struct {
	id   string // in the streams
	body []byte
	fate checker.Fate
	// What has to be in the canonical event; no type where nobody can say.
	eventType string
	at        time.Time
	payload   string
}

func newID(random *rand.Rand) string {
	return fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", random.Uint32(), random.Uint32()&0xffff, random.Uint32()&0xfff,
		random.Uint32()&0xfff, random.Uint64()&0xffffffffffff)
}

// types of events that services notify of, some with a group and a level of their own.
var types = []string{
	"compute.instance.create.end", "compute.instance.delete.start", "image.update", "identity.project.created", "network.create.end",
	"volume.attach.end", "compute.instance.power_off.end", "port.update.end",
}

// newNotice makes a notification of oslo.messaging: mostly a small one. One in a hundred is what no service would send.
func newNotice(random *rand.Rand) notice {
	id := newID(random)
	if random.IntN(100) == 0 {
		return hostile(random, id)
	}
	text := random.IntN(400)
	switch random.IntN(5000) {
	case 0, 1, 2, 3, 4, 5, 6, 7, 8, 9:
		text = 20_000 + random.IntN(80_000) // over several frames
	case 10:
		text = 400_000 // more than a message takes
	}
	at := time.Now().UTC().Truncate(time.Microsecond)
	payload := fmt.Sprintf(`{"instance_id": "%s", "n": %d.%04d, "text": "%s"}`, newID(random), random.Uint32(), random.IntN(10000),
		strings.Repeat("x", text))
	eventType := types[random.IntN(len(types))]
	inner := fmt.Sprintf(`{"message_id": "%s", "publisher_id": "compute.host%d", "event_type": "%s", "priority": "INFO", "payload": %s, `+
		`"timestamp": "%s", "_unique_id": "%x", "_context_request_id": "req-%s"}`, id, random.IntN(50), eventType, payload,
		at.Format("2006-01-02 15:04:05.000000"), random.Uint64(), newID(random))
	return notice{
		id: id, body: fmt.Appendf(nil, `{"oslo.version": "2.0", "oslo.message": "%s"}`, strings.ReplaceAll(inner, `"`, `\"`)),
		eventType: eventType, at: at, payload: payload,
	}
}

// hostile is what a broker can hand out besides what services send.
func hostile(random *rand.Rand, id string) notice {
	dead := func(body string) notice {
		sum := sha256.Sum256([]byte(body))
		return notice{id: hex.EncodeToString(sum[:]), body: []byte(body), fate: checker.DeadLetter}
	}
	with := func(payload string) notice {
		return notice{id: id, body: fmt.Appendf(nil, `{"message_id": "%s", "event_type": "x.hostile", "publisher_id": "p", `+
			`"priority": "INFO", "timestamp": "2026-11-23T01:02:03Z", "payload": {"a": %s}}`, id, payload)}
	}
	switch random.IntN(7) {
	case 0:
		return dead("this is no JSON " + id)
	case 1:
		return dead("\xff\xfe\x00binary " + id + "\x80")
	case 2:
		return dead(`{"oslo.version": "2.0", "oslo.message": "{\"message_id\": \"cut off ` + id)
	case 3:
		return with(`NaN`)
	case 4:
		return with("\"\xff\xfe\"")
	case 5:
		return with(`[` + strings.Repeat(`{"deep":`, 200) + `1` + strings.Repeat(`}`, 200) + `, 123456789012345678901234567890]`)
	default:
		return notice{id: id, body: fmt.Appendf(nil, `{"message_id": "%s", "payload": {}}`, id), fate: checker.DeadLetter} // of no type
	}
}

// newEvent makes an event of a Panko service, and what has to be in the canonical event.
func newEvent(random *rand.Rand, at time.Time) (standin.Event, notice) {
	n := notice{id: newID(random), eventType: types[random.IntN(len(types))], at: at.UTC().Truncate(time.Microsecond)}
	resource, size := newID(random), random.Uint32()
	n.body = fmt.Appendf(nil, `{"message_id": "%s", "event_type": "%s", "generated": "%s", "traits": [{"name": "resource_id", `+
		`"type": "string", "value": "%s"}, {"name": "size", "type": "integer", "value": "%d"}], "raw": {}}`,
		n.id, n.eventType, n.at.Format("2006-01-02T15:04:05.000000"), resource, size)
	n.payload = fmt.Sprintf(`{"resource_id": "%s", "size": %d}`, resource, size)
	return standin.Event{ID: n.id, Type: n.eventType, Generated: n.at, Body: n.body}, n
}

func (n *notice) handed(provider string) checker.Handed {
	return checker.Handed{
		Provider: provider, ID: n.id, Body: n.body, Fate: n.fate, Type: n.eventType, At: n.at, Payload: []byte(n.payload),
	}
}
