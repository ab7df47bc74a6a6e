package poison

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"stackstream/event"
	"stackstream/internal/kombu"
	"stackstream/internal/rawjson"
	"stackstream/normalizer/ceilometer"
	"stackstream/normalizer/oslo"
)

// base is an event as a real service, or somebody who knew what one might send, has written it.
type base struct {
	format string
	body   string
	id     string // in the body, "" if it has none
}

var messageID = regexp.MustCompile(`message_id\\*": ?\\*"([^"\\]+)`)

// bases are what mutants are made of: recorded notifications and the events of the tests of ceilometer's converter. Lists of such events
// in a notification are not among them: each makes several events, and internal/notification has fuzz targets for them.
func bases(t testing.TB) []base {
	t.Helper()
	var all []base
	add := func(format, body string) {
		b := base{format: format, body: body}
		if found := messageID.FindStringSubmatch(body); found != nil {
			b.id = found[1]
		}
		all = append(all, b)
	}
	for _, name := range glob(t, "../../../normalizer/oslo/testdata/recorded/*.jsonl") {
		for line := range bytes.Lines(read(t, name)) {
			var recording struct{ Body string }
			if err := json.Unmarshal(line, &recording); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			add(oslo.Format, recording.Body)
		}
	}
	for _, name := range glob(t, "../../../normalizer/ceilometer/testdata/*/*/raw.json") {
		if body := string(read(t, name)); !strings.Contains(body, "oslo.message") {
			add(ceilometer.Format, body)
		}
	}
	return all
}

func glob(t testing.TB, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.FromSlash(pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("nothing is %s: %v", pattern, err)
	}
	return names
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// identify says what an event is known by: its message_id where one can be read, without regard to anything else that may
// be wrong with it, and otherwise the hash of its bytes. hashed is true for the latter.
func identify(format, compression string, body []byte) (id event.ID, hashed bool) {
	plain := body
	if compression != "" {
		if whole, err := kombu.Decompress(compression, body, 16<<20); err == nil {
			plain = whole
		}
	}
	outer, err := rawjson.Parse(plain)
	members, _ := outer.Members()
	inner, version := members.Get("oslo.message"), members.Get("oslo.version")
	if err == nil && format == oslo.Format && (inner != nil || version != nil) {
		if major, _, _ := strings.Cut(version.ID(), "."); major != "2" && !version.IsNull() {
			inner = nil
		}
		if text, ok := inner.Text(); ok {
			inner, _ = rawjson.Parse([]byte(text))
		}
		members, _ = inner.Members()
	}
	if id := event.ID(members.Get("message_id").ID()); id != "" {
		return event.BoundID(id), false
	}
	sum := sha256.Sum256(body)
	return event.ID(hex.EncodeToString(sum[:])), true
}
