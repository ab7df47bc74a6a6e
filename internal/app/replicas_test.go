package app

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/jetstream"
)

// A server that is behind for long is named, one that is so for a moment is not.
func TestReplicasThatStayBehindAreNamed(t *testing.T) {
	var said []string
	r := replicas{since: map[string]time.Time{}, log: zerolog.Nop(), report: func(s event.Status) {
		reason, _, _ := strings.Cut(s.Reason, ":")
		said = append(said, strings.TrimSpace(string(s.State)+" "+reason))
	}}
	now := time.Now()
	behind := func(stream, server string) jetstream.Behind { return jetstream.Behind{Stream: stream, Server: server} }
	both := []jetstream.Behind{behind("EVENTS_RAW", "nats-2"), behind("EVENTS_NORMALIZED", "nats-2")}
	r.look(nil, now)
	r.look(both, now.Add(5*time.Second))
	r.look(nil, now.Add(10*time.Second))
	r.look(both, now.Add(15*time.Second))
	r.look(append(both, behind("EVENTS_RAW", "nats-3")), now.Add(25*time.Second))
	r.look(append(both, behind("EVENTS_RAW", "nats-3")), now.Add(36*time.Second))
	r.look(nil, now.Add(40*time.Second))
	want := []string{"live", "live", "live", "live", "live",
		"degraded NATS server nats-2 does not keep up with EVENTS_RAW and EVENTS_NORMALIZED", "live"}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("said (-want +got):\n%s", diff)
	}
}
