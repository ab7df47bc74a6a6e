package e2e

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"stackstream/internal/rabbitmqtest"
)

// notice is a notification as it is published, and what has to become of it.
type notice struct {
	id   string // in the streams
	key  string
	body []byte
	// property is the message_id that AMQP has for a message, which services of OpenStack do not set.
	property string
	dead     bool // it is to be a dead letter
	mended   bool // it is to be converted, and to say that something in it was no JSON
}

func (n notice) message(exchange string) rabbitmqtest.Message {
	m := rabbitmqtest.Message{Exchange: exchange, Key: n.key, Publishing: rabbitmqtest.JSON(n.body)}
	m.Publishing.MessageId = n.property
	return m
}

// recording is a notification that a real service has sent.
type recording struct {
	Exchange string   `json:"exchange"`
	Keys     []string `json:"routing_keys"`
	Body     string   `json:"body"`
	id       string
}

var (
	messageID = regexp.MustCompile(`message_id\\*": ?\\*"([^"\\]+)`)
	bound     = regexp.MustCompile(`^(versioned_)?notifications\.(audit|debug|info|warn|error|critical)$`)
)

// recordings are those that came with a routing key that the source binds by default, by exchange.
func recordings(t testing.TB) map[string][]recording {
	t.Helper()
	files, err := filepath.Glob(filepath.FromSlash("../../normalizer/oslo/testdata/recorded/*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	found := map[string][]recording{}
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		lines := bufio.NewScanner(file)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var r recording
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			id := messageID.FindStringSubmatch(r.Body)
			if id == nil || len(r.Keys) == 0 || !bound.MatchString(r.Keys[0]) {
				continue
			}
			r.id = id[1]
			found[r.Exchange] = append(found[r.Exchange], r)
		}
		if err := lines.Err(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return found
}

// fresh is the recording with an identity of its own.
func (r recording) fresh() notice {
	var random [16]byte
	_, _ = rand.Read(random[:]) // it never fails
	x := hex.EncodeToString(random[:])
	id := strings.Join([]string{x[:8], x[8:12], x[12:16], x[16:20], x[20:]}, "-")
	return notice{id: id, key: r.Keys[0], body: []byte(strings.ReplaceAll(r.Body, r.id, id))}
}

const (
	several = 5 << 20 // more than a batch takes, less than a message
	larger  = 9 << 20 // more than a message takes
)

// hostile is the nth of what a broker can hand out besides what services send.
func hostile(n int) notice {
	id := fmt.Sprintf("hostile-%d", n)
	with := func(payload string) []byte {
		inner := fmt.Sprintf(`{"message_id": "%s", "event_type": "x.hostile", "publisher_id": "p", "priority": "INFO", `+
			`"timestamp": "2026-11-23 01:02:03.000004", "payload": %s}`, id, payload)
		return fmt.Appendf(nil, `{"oslo.version": "2.0", "oslo.message": %s}`, quote(inner))
	}
	hashed := func(body string) notice {
		sum := sha256.Sum256([]byte(body))
		return notice{id: hex.EncodeToString(sum[:]), body: []byte(body), dead: true}
	}
	var h notice
	switch n % hostileKinds {
	case 0:
		h = hashed(fmt.Sprintf("this is no JSON %d", n))
	case 1:
		h = hashed(fmt.Sprintf("\xff\xfe\x00binary %d\x80", n))
	case 2:
		h = hashed(fmt.Sprintf(`{"oslo.version": "2.0", "oslo.message": "{\"message_id\": \"cut off %d`, n))
	case 3: // an identity that only AMQP knows
		h = notice{id: id, property: id, body: []byte("[]"), dead: true}
	case 4:
		h = notice{id: id, body: []byte(fmt.Sprintf(`{"message_id": "%s", "payload": {}}`, id)), dead: true} // of no type
	case 5:
		h = notice{id: id, body: with(`{"a": NaN, "b": -Infinity}`), mended: true}
	case 6:
		h = notice{id: id, body: with("{\"a\": \"\xff\xfe\"}"), mended: true}
	case 7:
		h = hashed(string(with(`{"a": ` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`)))
	case 8:
		h = notice{id: id, body: with(`null`)}
	case 9:
		h = notice{id: id, body: with(`"` + strings.Repeat("y", 200_000) + `"`)} // over several frames
	}
	h.key = "notifications.info"
	return h
}

const hostileKinds = 10

// quote makes a string of JSON, whatever bytes are in it.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// huge are notifications and what is none, of sizes that take ways of their own, and nothing at all.
func huge() []notice {
	sum := sha256.Sum256(nil)
	all := []notice{{id: hex.EncodeToString(sum[:]), body: []byte{}, dead: true}}
	for _, size := range []int{several, larger} {
		id := fmt.Sprintf("huge-%d", size)
		all = append(all, notice{id: id, body: fmt.Appendf(nil, `{"message_id": "%s", "event_type": "x.huge", `+
			`"timestamp": "2026-11-23 01:02:03.000004", "payload": {"text": "%s"}}`, id, strings.Repeat("z", size))})
		bad := []byte(strings.Repeat("no JSON ", size/8))
		sum := sha256.Sum256(bad)
		all = append(all, notice{id: hex.EncodeToString(sum[:]), body: bad, dead: true})
	}
	for i := range all {
		all[i].key = "notifications.info"
	}
	return all
}
